#!/bin/bash
# Attach to real LXC containers, privileged and unprivileged: by name and by what lxc-info says.

stop_manager() {
    [ -z "${watch_pid:-}" ] || end_process "$watch_pid"
    for name in pv-attach-root pv-attach-user; do
        lxc-stop -P "$work" -n $name -k >/dev/null 2>&1
    done
    # LXC leaves its parking place behind, and now and then its monitor's cgroup.
    rmdir /sys/fs/cgroup/{,*/}lxc.monitor.pv-attach-* 2>/dev/null
    [ -n "${had_pivot:-}" ] || rmdir /sys/fs/cgroup/{,*/}lxc.pivot 2>/dev/null
}

. "$(dirname "$0")/lib.sh"

need_root
need_static_busybox
command -v lxc-start >/dev/null || skip "LXC is not installed (lxc)"
[ -d /sys/fs/cgroup/memory ] || [ -f /sys/fs/cgroup/cgroup.controllers ] || skip "no memory cgroup"
had_pivot=$(ls -d /sys/fs/cgroup/lxc.pivot /sys/fs/cgroup/*/lxc.pivot 2>/dev/null || true)
[ -e /etc/subuid ] && [ -e /etc/subgid ] || skip "there is no /etc/subuid or /etc/subgid (uidmap)"
echo root:100000:65536 >"$work/subid"
start_procviewd

# make_container NAME LINE…: with lines of its configuration
make_container() {
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
    chmod 755 "$work" # an unprivileged container's root is another user
    lxc_start "$name"
    echo "ok: $name runs"
}

lxc_start() {
    # root may map ids only where these files say so; the machine's own are not to be changed.
    unshare --mount --propagation private sh -c '
        mount --bind "$0/subid" /etc/subuid && mount --bind "$0/subid" /etc/subgid && exec "$@"' \
        "$work" lxc-start -P "$work" -n "$1" -d -l info -o "$work/$1.log" -- /bin/sleep 1000 ||
        fail "lxc-start: $(tail -5 "$work/$1.log")"
    wait_for lxc-info -P "$work" -n "$1" -p -H
}

in_container() {
    name=$1
    shift
    lxc-attach -P "$work" -n "$name" -- "$@"
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

make_container pv-attach-user "lxc.idmap = u 0 100000 65536" "lxc.idmap = g 0 100000 65536"
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
lxc_start pv-attach-user
wait_for shows_limit pv-attach-user
echo "ok: watch attaches to what runs, and to a container that starts again"
equal "it has no trouble" "$(grep -c 'procview:' "$work/watch.log" || true)" 0
