#!/bin/bash
# Attach to real LXC containers, privileged and unprivileged: by name and by what lxc-info says.

stop_manager() {
    end_lxc pv-attach-
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lxc.sh"

need_lxc
start_procviewd

# make_container NAME LINE…: with lines of its configuration
make_container() {
    start_lxc "$1" info "${@:2}" || fail "lxc-start: $(tail -5 "$work/$1.log")"
    wait_for lxc-info -P "$work" -n "$1" -p -H
    echo "ok: $1 runs"
}

total_in() {
    in_container "$1" /bin/grep MemTotal /proc/meminfo | awk '{ print $2 }'
}

check() {
    name=$1
    equal "$name: before, it sees the host's memory" "$(total_in "$name")" "$host_total_kb"
    contains "$name: attach by name" "$(attach "$name")" " files attached"
    equal "$name: meminfo shows the limit" "$(total_in "$name")" 262144
    equal "$name: online shows one CPU" \
        "$(in_container "$name" /bin/cat /sys/devices/system/cpu/online)" 0
    contains "$name: attach by the pid" \
        "$(attach "$(lxc-info -P "$work" -n "$name" -p -H)")" "attached already"
    contains "$name: ps lists it" "$("$PROCVIEW" ps)" "$name"
    contains "$name: detach" "$("$PROCVIEW" detach "$name")" " files detached"
    equal "$name: the kernel's own file is seen again" "$(total_in "$name")" "$host_total_kb"
}

make_container pv-attach-root
check pv-attach-root

make_container pv-attach-user "${maps[@]}"
check pv-attach-user
