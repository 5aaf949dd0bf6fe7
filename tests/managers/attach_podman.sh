#!/bin/bash
# Attach to real podman containers, with and without a user namespace: by name, id and cgroup.

stop_manager() {
    end_podman
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/podman.sh"

need_podman
set_up_podman
start_procviewd

# The limits: without CAP_SYS_RESOURCE podman's own defaults are refused.
run() {
    podman run -d --network none -m 256m --cpus 0.5 --ulimit nofile=1024:1024 \
        --ulimit nproc=4096:4096 "$@" pv-busybox sleep 1000
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
check pv-mapped "$(run --name pv-mapped --uidmap 0:100000:65536 --gidmap 0:100000:65536)"
