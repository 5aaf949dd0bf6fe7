#!/bin/bash
# Attach to real podman containers, with and without a user namespace: by name, id and cgroup.

stop_manager() {
    [ -z "${watch_pid:-}" ] || end_process "$watch_pid"
    stop_podman
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/podman.sh"

start_procviewd
make_podman_image
run() {
    podman run -d "${podman_limits[@]}" "$@" pv-busybox sleep 1000
}
total_in() {
    podman exec "$1" grep MemTotal /proc/meminfo | awk '{ print $2 }'
}
check() {
    name=$1 id=$2
    equal "$name: before, it sees the host's memory" "$(total_in "$name")" "$host_total_kb"
    contains "$name: attach by name" "$(attach "$name")" " files attached"
    equal "$name: meminfo shows the limit" "$(total_in "$name")" 262144
    equal "$name: online shows one CPU" \
        "$(podman exec "$name" cat /sys/devices/system/cpu/online)" 0
    contains "$name: attach by the short id" "$(attach "${id:0:12}")" "attached already"
    contains "$name: detach" "$("$PROCVIEW" detach "$name")" " files detached"
    equal "$name: the kernel's own file is seen again" "$(total_in "$name")" "$host_total_kb"
}

check pv-plain "$(run --name pv-plain)"
check pv-mapped "$(run --name pv-mapped "${podman_mapped[@]}")"

# By itself, by the cgroup that podman makes.
"$PROCVIEW" watch --views "$views" --rule '/libpod_parent/libpod-*' >"$work/watch.log" 2>&1 &
watch_pid=$!
wait_for grep -q watching "$work/watch.log"
run --name pv-watched >/dev/null
has_views() {
    [ "$(total_in pv-watched)" = 262144 ]
}
wait_for has_views
echo "ok: watch attaches to a container that starts"
