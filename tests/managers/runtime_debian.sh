#!/bin/bash
# A Debian system, made by debootstrap, in docker: with procview-runtime and by attach, what its own programs say.
# It is made once, into the build folder; where it cannot be, that is said, and the test is skipped.

stop_manager() {
    stop_dockerd
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/docker.sh"

suite=bookworm
archive=$PWD/debian-$suite.tar
command -v debootstrap >/dev/null || skip "debootstrap is not installed (debootstrap)"
if [ ! -f "$archive" ]; then
    timeout 270 debootstrap --variant=minbase --include=procps $suite "$work/debian" >"$work/debootstrap.log" 2>&1 ||
        skip "a Debian system cannot be had: $(tail -n 1 "$work/debootstrap.log")"
    tar -C "$work/debian" --one-file-system --exclude=./dev/* --exclude=./var/cache/apt/* -cf "$archive.new" .
    mv "$archive.new" "$archive"
    rm -rf "$work/debian"
fi

make_runtime
start_dockerd --add-runtime procview="$work/bin/procview-runtime"
start_procviewd
docker import - pv-debian <"$archive" >/dev/null

container=(--network none -m 256m --cpus 0.5 --cpuset-cpus 0 pv-debian)
# What a person would type: MiB of memory, CPUs, minutes.
programs='free -m | awk "/^Mem:/ { print \$2 }"; nproc; grep -c ^processor /proc/cpuinfo
    uptime | sed -E "s/.* up +([0-9]+) min,.*/\1/"; top -bn1 | awk "/Mem :/ { print \$4 }"; vmstat -s | awk "/total memory/ { print \$1 }"'
expected="256 1 1 0 256.0 262144 "

equal "with procview-runtime: free, nproc, cpuinfo, uptime, top, vmstat" \
    "$(docker run --rm --runtime=procview "${container[@]}" sh -c "$programs" | tr '\n' ' ')" "$expected"
id=$(docker run -d "${container[@]}" sleep 1000)
"$PROCVIEW" attach --views "$views" "$id" >/dev/null
equal "attached" "$(docker exec "$id" sh -c "$programs" | tr '\n' ' ')" "$expected"
"$PROCVIEW" detach "$id" >/dev/null
equal "detached: the machine's" \
    "$(docker exec "$id" sh -c 'free | awk "/^Mem:/ { print \$2 }"')" "$host_total_kb"
docker rm -f "$id" >/dev/null
