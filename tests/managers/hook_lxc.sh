#!/bin/bash
# LXC's mount hook, with the configuration that is shipped: privileged and unprivileged
# containers, both versions of hooks.

stop_manager() {
    for name in $(ls "$work" | grep ^pv-hook-); do
        lxc-stop -P "$work" -n "$name" -k >/dev/null 2>&1
    done
    rmdir /sys/fs/cgroup/{,*/}lxc.monitor.pv-hook-* 2>/dev/null
    [ -n "${had_pivot:-}" ] || rmdir /sys/fs/cgroup/{,*/}lxc.pivot 2>/dev/null
}

. "$(dirname "$0")/lib.sh"

need_root
need_static_busybox
command -v lxc-start >/dev/null || skip "LXC is not installed (lxc)"
[ -d /sys/fs/cgroup/memory ] || [ -f /sys/fs/cgroup/cgroup.controllers ] || skip "no memory cgroup"
had_pivot=$(ls -d /sys/fs/cgroup/lxc.pivot /sys/fs/cgroup/*/lxc.pivot 2>/dev/null || true)
[ -e /etc/subuid ] && [ -e /etc/subgid ] || skip "there is no /etc/subuid or /etc/subgid (uidmap)"
: "${HOOK_PROGRAM:?names the procview-hook to test}"
echo root:100000:65536 >"$work/subid"
start_procviewd
chmod 755 "$work"
sed "s|^lxc.hook.mount = .*|lxc.hook.mount = $HOOK_PROGRAM --views $views|" \
    "$(dirname "$HOOK_PROGRAM")/procview.conf" >"$work/procview.conf"

# LXC keeps what hooks say at the level debug.
# start NAME LINE…: a container with lines of its configuration. FALSE when it does not start.
start() {
    name=$1
    shift
    make_rootfs "$work/$name/rootfs"
    {
        echo "lxc.uts.name = $name"
        echo "lxc.rootfs.path = dir:$work/$name/rootfs"
        echo "lxc.net.0.type = empty"
        echo "lxc.mount.auto = proc:mixed sys:mixed"
        echo "lxc.apparmor.profile = unconfined"
        echo "lxc.autodev = 1"
        if [ -d /sys/fs/cgroup/memory ]; then
            echo "lxc.cgroup.memory.limit_in_bytes = 256M"
            echo "lxc.cgroup.cpu.cfs_quota_us = 50000"
        else
            echo "lxc.cgroup2.memory.max = 256M"
            echo "lxc.cgroup2.cpu.max = 50000 100000"
        fi
        printf '%s\n' "$@"
    } >"$work/$name/config"
    unshare --mount --propagation private sh -c '
        mount --bind "$0/subid" /etc/subuid && mount --bind "$0/subid" /etc/subgid && exec "$@"' \
        "$work" lxc-start -P "$work" -n "$name" -d -l debug -o "$work/$name.log" -- /bin/sleep 1000
}
in_container() {
    name=$1
    shift
    lxc-attach -P "$work" -n "$name" -- "$@"
}
mounts_in() {
    in_container "$1" /bin/grep -c fuse.procview /proc/self/mountinfo
}

# check NAME LINE…
check() {
    start "$@" 2>/dev/null || fail "lxc-start: $(tail -5 "$work/$1.log")"
    contains "$1: meminfo shows the limit" \
        "$(in_container "$1" /bin/grep MemTotal /proc/meminfo)" " 262144 "
    ok "$1: every row is mounted ($(mounts_in "$1") mounts)" [ "$(mounts_in "$1")" -ge 13 ]
    contains "$1: they are read-only" \
        "$(in_container "$1" /bin/grep " /proc/meminfo " /proc/self/mountinfo)" \
        " ro,nosuid,nodev,noexec"
}

include="lxc.include = $work/procview.conf"
maps=("lxc.idmap = u 0 100000 65536" "lxc.idmap = g 0 100000 65536")
check pv-hook-root-0 "$include"
check pv-hook-root-1 "lxc.hook.version = 1" "$include"
check pv-hook-user-0 "$include" "${maps[@]}"
check pv-hook-user-1 "lxc.hook.version = 1" "$include" "${maps[@]}"

end_process "$procviewd_pid"
umount -l "$views" 2>/dev/null || true
rm -rf "$views"
start pv-hook-none "$include" 2>/dev/null || fail "without a daemon: $(tail -5 "$work/pv-hook-none.log")"
contains "without a daemon the container starts, and sees the host" \
    "$(in_container pv-hook-none /bin/grep MemTotal /proc/meminfo)" " $host_total_kb "
contains "and LXC's log says why" "$(cat "$work/pv-hook-none.log")" "is procviewd running?"
sed -i 's|--views|--strict --views|' "$work/procview.conf"
status=0
start pv-hook-strict "$include" 2>/dev/null || status=$?
ok "but for a strict hook" [ $status -ne 0 ]
