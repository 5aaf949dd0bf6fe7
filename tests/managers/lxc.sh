# shellcheck shell=bash
# LXC's containers for the tests; read after lib.sh. They are named after $1 of end_lxc, and made in $work.

# end_lxc PREFIX: for stop_manager; containers whose names begin so
end_lxc() {
    local config name
    for config in "$work/$1"*/config; do
        [ -e "$config" ] || continue
        name=$(basename "$(dirname "$config")")
        lxc-stop -P "$work" -n "$name" -k >/dev/null 2>&1
    done
    # LXC leaves its parking place behind, and now and then its monitor's cgroup.
    rmdir /sys/fs/cgroup/{,*/}lxc.monitor."$1"* 2>/dev/null
    [ -n "${had_pivot:-}" ] || rmdir /sys/fs/cgroup/{,*/}lxc.pivot 2>/dev/null
}

need_lxc() {
    need_root
    need_static_busybox
    command -v lxc-start >/dev/null || skip "LXC is not installed (lxc)"
    [ -d /sys/fs/cgroup/memory ] || [ -f /sys/fs/cgroup/cgroup.controllers ] || skip "no memory cgroup"
    [ -e /etc/subuid ] && [ -e /etc/subgid ] || skip "there is no /etc/subuid or /etc/subgid (uidmap)"
    had_pivot=$(ls -d /sys/fs/cgroup/lxc.pivot /sys/fs/cgroup/*/lxc.pivot 2>/dev/null || true)
    echo root:100000:65536 >"$work/subid"
    chmod 755 "$work" # an unprivileged container's root is another user
}

# start_lxc NAME LOG-LEVEL LINE…: a container of 256 MiB and half a CPU, with lines of its configuration. FALSE
# when it does not start.
start_lxc() {
    local name=$1 level=$2
    shift 2
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
    # root may map ids only where these files say so; the machine's own are not to be changed.
    # shellcheck disable=SC2016 # for the shell in there
    unshare --mount --propagation private sh -c '
        mount --bind "$0/subid" /etc/subuid && mount --bind "$0/subid" /etc/subgid && exec "$@"' \
        "$work" lxc-start -P "$work" -n "$name" -d -l "$level" -o "$work/$name.log" -- /bin/sleep 1000
}

in_container() {
    local name=$1
    shift
    lxc-attach -P "$work" -n "$name" -- "$@"
}

# For the two ids of an unprivileged container.
# shellcheck disable=SC2034 # used by who reads this
maps=("lxc.idmap = u 0 100000 65536" "lxc.idmap = g 0 100000 65536")
