#!/bin/bash
# Attach to real LXC containers, privileged and unprivileged: by name and by what lxc-info says.

stop_manager() {
    [ -z "${watch_pid:-}" ] || end_process "$watch_pid"
    stop_lxc
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lxc.sh"

start_procviewd

# make_container NAME LINE…: with lines of its configuration
make_container() {
    lxc_make "$@"
    start "$1"
    echo "ok: $1 runs"
}
start() {
    lxc_start "$1" || fail "lxc-start: $(tail -5 "$work/$1.log")"
    wait_for lxc-info -P "$work" -n "$1" -p -H
}
total_in() {
    lxc_inside "$1" /bin/grep MemTotal /proc/meminfo | awk '{ print $2 }'
}

check() {
    name=$1
    equal "$name: before, it sees the host's memory" "$(total_in "$name")" "$host_total_kb"
    contains "$name: attach by name" "$(attach "$name")" " files attached"
    equal "$name: meminfo shows the limit" "$(total_in "$name")" 262144
    equal "$name: online shows one CPU" \
        "$(lxc_inside "$name" /bin/cat /sys/devices/system/cpu/online)" 0
    contains "$name: attach by the pid" \
        "$(attach "$(lxc-info -P "$work" -n "$name" -p -H)")" "attached already"
    contains "$name: ps lists it" "$("$PROCVIEW" ps)" "$name"
    contains "$name: detach" "$("$PROCVIEW" detach "$name")" " files detached"
    equal "$name: the kernel's own file is seen again" "$(total_in "$name")" "$host_total_kb"
}

make_container pv-attach-root
check pv-attach-root

make_container pv-attach-user "${mapped[@]}"
check pv-attach-user

# By itself: what runs, and what starts again.
"$PROCVIEW" watch --views "$views" --rule '/lxc.payload.pv-attach-*' >"$work/watch.log" 2>&1 &
watch_pid=$!
shows_limit() { # shows_limit NAME
    [ "$(total_in "$1")" = 262144 ]
}
wait_for shows_limit pv-attach-root
wait_for shows_limit pv-attach-user
lxc-stop -P "$work" -n pv-attach-user -k
start pv-attach-user
wait_for shows_limit pv-attach-user
echo "ok: watch attaches to what runs, and to a container that starts again"
equal "it has no trouble" "$(grep -c 'procview:' "$work/watch.log" || true)" 0
