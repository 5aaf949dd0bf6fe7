#!/bin/bash
# Attach to containers of a real docker daemon: by name, id, cgroup and pid; read-only,
# unprivileged, restarted.

stop_manager() {
    stop_dockerd
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/docker.sh"

start_dockerd
start_procviewd

make_image
run() {
    docker run -d --network none -m 256m --cpus 0.5 "$@" pv-busybox sleep 1000
}
in_web() {
    docker exec pv-web "$@"
}
total_in() {
    docker exec "$1" grep MemTotal /proc/meminfo | awk '{ print $2 }'
}

id=$(run --name pv-web)
equal "before, the container sees the host's memory" "$(total_in pv-web)" "$host_total_kb"
text=$(attach pv-web)
contains "attach by name" "$text" "pv-web: "
contains "attach says how many files" "$text" " files attached"
equal "meminfo shows the limit" "$(total_in pv-web)" 262144
equal "online shows one CPU" "$(in_web cat /sys/devices/system/cpu/online)" 0
equal "stat has one CPU" "$(in_web grep -c '^cpu[0-9]' /proc/stat)" 1
ok "the files are read-only" sh -c "! docker exec pv-web sh -c 'echo 1 >/proc/uptime' 2>/dev/null"

before=$(in_web cat /proc/self/mountinfo | grep -c fuse.procview)
contains "attach by the short id" "$(attach "${id:0:12}")" "attached already"
contains "attach by the full id" "$(attach "$id")" "attached already"
contains "attach by the cgroup" "$(attach "/docker/$id")" "attached already"
contains "attach by the pid" "$(attach "$(docker inspect -f '{{.State.Pid}}' pv-web)")" \
    "attached already"
equal "attaching again changed nothing" \
    "$(in_web cat /proc/self/mountinfo | grep -c fuse.procview)" \
    "$before"

contains "ps lists it" "$("$PROCVIEW" ps)" "${id:0:12}"
contains "show needs no mount" "$("$PROCVIEW" show meminfo --pid pv-web | head -1)" "262144 kB"

docker update --memory 128m --memory-swap 128m pv-web >/dev/null
equal "a new limit is seen at once" "$(total_in pv-web)" 131072

contains "detach" "$("$PROCVIEW" detach pv-web)" " files detached"
equal "the kernel's own file is seen again" "$(total_in pv-web)" "$host_total_kb"
equal "no mount is left" "$(in_web cat /proc/self/mountinfo | grep -c fuse.procview || true)" 0

attach pv-web >/dev/null
docker restart -t 0 pv-web >/dev/null
equal "a restarted container is a new one" "$(total_in pv-web)" "$host_total_kb"
attach pv-web >/dev/null
equal "and can be attached again" "$(total_in pv-web)" 131072

run --name pv-closed --read-only --user 1000:1000 --cap-drop ALL \
    --security-opt no-new-privileges >/dev/null
attach pv-closed >/dev/null
equal "a read-only container of an ordinary user" "$(total_in pv-closed)" 262144

run --name pv-own -v "$work/rootfs/bin/busybox:/proc/uptime:ro" >/dev/null
contains "a user's own mount is left" "$(attach pv-own 2>&1)" "/proc/uptime skipped: "

docker create --name pv-stopped --network none pv-busybox sleep 1 >/dev/null
contains "a stopped container is told" "$(attach pv-stopped 2>&1 || true)" "not running"

contains "a cgroup of several containers is told" "$(attach /docker 2>&1 || true)" \
    "holds several containers"

attach pv-web pv-closed >/dev/null
end_process "$procviewd_pid"
rmdir "$views" 2>/dev/null || umount -l "$views"
rm -rf "$views"
contains "without a daemon the cause is told" "$(attach pv-web 2>&1 || true)" \
    "is procviewd running?"
start_procviewd
contains "after a restart of the daemon" "$(attach pv-web pv-closed)" \
    "files attached"
equal "the views are back" "$(total_in pv-web)" 131072
