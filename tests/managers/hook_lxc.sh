#!/bin/bash
# LXC's mount hook, with the configuration that is shipped: privileged and unprivileged
# containers, both versions of hooks.

stop_manager() {
    stop_lxc
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lxc.sh"

: "${HOOK_PROGRAM:?names the procview-hook to test}"
start_procviewd
sed "s|^lxc.hook.mount = .*|lxc.hook.mount = $HOOK_PROGRAM --views $views|" \
    "$(dirname "$HOOK_PROGRAM")/procview.conf" >"$work/procview.conf"

# start NAME LINE…: a container with lines of its configuration. FALSE when it does not start.
start() {
    lxc_make "$@"
    lxc_start "$1"
}
mounts_in() {
    lxc_inside "$1" /bin/grep -c fuse.procview /proc/self/mountinfo
}

# check NAME LINE…
check() {
    start "$@" 2>/dev/null || fail "lxc-start: $(tail -5 "$work/$1.log")"
    contains "$1: meminfo shows the limit" \
        "$(lxc_inside "$1" /bin/grep MemTotal /proc/meminfo)" " 262144 "
    ok "$1: every row is mounted ($(mounts_in "$1") mounts)" [ "$(mounts_in "$1")" -ge 13 ]
    contains "$1: they are read-only" \
        "$(lxc_inside "$1" /bin/grep " /proc/meminfo " /proc/self/mountinfo)" \
        " ro,nosuid,nodev,noexec"
}

include="lxc.include = $work/procview.conf"
check pv-hook-root-0 "$include"
check pv-hook-root-1 "lxc.hook.version = 1" "$include"
check pv-hook-user-0 "$include" "${mapped[@]}"
check pv-hook-user-1 "lxc.hook.version = 1" "$include" "${mapped[@]}"

end_process "$procviewd_pid"
umount -l "$views" 2>/dev/null || true
rm -rf "$views"
start pv-hook-none "$include" 2>/dev/null || fail "without a daemon: $(tail -5 "$work/pv-hook-none.log")"
contains "without a daemon the container starts, and sees the host" \
    "$(lxc_inside pv-hook-none /bin/grep MemTotal /proc/meminfo)" " $host_total_kb "
contains "and LXC's log says why" "$(cat "$work/pv-hook-none.log")" "is procviewd running?"
sed -i 's|--views|--strict --views|' "$work/procview.conf"
status=0
start pv-hook-strict "$include" 2>/dev/null || status=$?
ok "but for a strict hook" [ $status -ne 0 ]
