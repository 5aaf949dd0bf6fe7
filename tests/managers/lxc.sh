# shellcheck shell=bash disable=SC2034,SC2154 # shared with those that read it
# LXC containers of a test's own, read with `.` after lib.sh. The test's stop_manager calls stop_lxc.

need_root
need_static_busybox
command -v lxc-start >/dev/null || skip "LXC is not installed (lxc)"
[ -d /sys/fs/cgroup/memory ] || [ -f /sys/fs/cgroup/cgroup.controllers ] || skip "no memory cgroup"
had_pivot=$(ls -d /sys/fs/cgroup/lxc.pivot /sys/fs/cgroup/*/lxc.pivot 2>/dev/null || true)
[ -e /etc/subuid ] && [ -e /etc/subgid ] || skip "there is no /etc/subuid or /etc/subgid (uidmap)"
echo root:100000:65536 >"$work/subid"
chmod 755 "$work" # an unprivileged container's root is another user
mapped=("lxc.idmap = u 0 100000 65536" "lxc.idmap = g 0 100000 65536")

# lxc_make NAME LINE…: a container of 256 MiB and half a CPU, with lines of its configuration
lxc_make() {
    local name=$1
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
    lxc_names="${lxc_names:-} $name"
}

# lxc_start NAME: its log, with what hooks say, is $work/NAME.log
lxc_start() {
    # root may map ids only where these files say so; the machine's own are not to be changed.
    # shellcheck disable=SC2016 # expanded there
    unshare --mount --propagation private sh -c '
        mount --bind "$0/subid" /etc/subuid && mount --bind "$0/subid" /etc/subgid && exec "$@"' \
        "$work" lxc-start -P "$work" -n "$1" -d -l debug -o "$work/$1.log" -- /bin/sleep 1000
}

lxc_inside() { # lxc_inside NAME COMMAND…
    local name=$1
    shift
    lxc-attach -P "$work" -n "$name" -- "$@"
}

stop_lxc() {
    for name in ${lxc_names:-}; do
        lxc-stop -P "$work" -n "$name" -k >/dev/null 2>&1
        # LXC leaves its parking place behind, and now and then its monitor's cgroup.
        rmdir /sys/fs/cgroup/{,*/}lxc.monitor."$name"* 2>/dev/null
    done
    [ -n "${had_pivot:-}" ] || rmdir /sys/fs/cgroup/{,*/}lxc.pivot 2>/dev/null
}
