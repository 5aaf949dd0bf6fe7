#!/bin/bash
# procviewd in the place of lxcfs, by its name and its command line: LXC with the hook and the configuration that
# Debian ships for lxcfs, unedited, and docker's binds of /var/lib/lxcfs/proc/….
# All of it happens in a mount namespace of its own, so that the machine's /var/lib/lxcfs stays as it is.

if [ -z "${PV_OWN_NAMESPACE:-}" ]; then
    PV_OWN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi

stop_manager() {
    lxc-stop -P "$work" -n pv-lxcfs -k >/dev/null 2>&1
    [ -z "${lxcfs_pid:-}" ] || end_process "$lxcfs_pid"
    [ -z "${dockerd_pid:-}" ] || {
        "$docker" ps -q | xargs -r "$docker" rm -f >/dev/null 2>&1
        end_process "$dockerd_pid"
    }
    rmdir /sys/fs/cgroup/{,*/}lxc.monitor.pv-lxcfs* 2>/dev/null
    [ -n "${had_pivot:-}" ] || rmdir /sys/fs/cgroup/{,*/}lxc.pivot 2>/dev/null
    [ -n "${had_docker:-}" ] || rmdir /sys/fs/cgroup/{,*/}docker 2>/dev/null
}

. "$(dirname "$0")/lib.sh"

hook_conf=/usr/share/lxc/config/common.conf.d/00-lxcfs.conf
need_root
need_static_busybox
command -v lxc-start >/dev/null || skip "LXC is not installed (lxc)"
[ -x /usr/share/lxcfs/lxc.mount.hook ] && [ -f $hook_conf ] ||
    skip "the hook of lxcfs is not installed (lxcfs)"
had_pivot=$(ls -d /sys/fs/cgroup/lxc.pivot /sys/fs/cgroup/*/lxc.pivot 2>/dev/null || true)
had_docker=$(ls -d /sys/fs/cgroup/{,*/}docker 2>/dev/null || true)

# lxcfs ARGUMENT…: procviewd by the name lxcfs
ln -s "$PROCVIEWD" "$work/lxcfs"
mount -t tmpfs -o mode=755 tmpfs /var/lib/lxcfs
mkdir "$work/run"
"$work/lxcfs" -f -l -u -p "$work/lxcfs.pid" --enable-cfs --enable-pidfd --runtime-dir "$work/run" \
    -o allow_other /var/lib/lxcfs >"$work/lxcfs.log" 2>&1 &
lxcfs_pid=$!
wait_for test -r /var/lib/lxcfs/proc/meminfo
wait_for test -s "$work/lxcfs.pid"
equal "the file of the process id" "$(cat "$work/lxcfs.pid")" "$lxcfs_pid"

# All that lxcfs serves is where it was.
for file in proc/{cpuinfo,diskstats,loadavg,meminfo,stat,swaps,uptime} sys/devices/system/cpu/online; do
    ok "/var/lib/lxcfs/$file" test -r "/var/lib/lxcfs/$file"
done

# And nothing else: the hook covers every entry of a container's proc by ours.
expected='containers|proc|sys|sys/devices/system/cpu'
expected+='|proc/(cpuinfo|diskstats|loadavg|meminfo|pressure|slabinfo|stat|swaps|uptime)'
equal "no other file, no sysctl, no cgroup tree" \
    "$(cd /var/lib/lxcfs && printf '%s\n' * proc/* sys/devices/system/* | grep -vxE "$expected")" ""

# A container on the last CPU of the machine: by lxcfs's rule it is CPU 0 in there.
last_cpu=$(($(nproc --all) - 1))
make_rootfs "$work/pv-lxcfs/rootfs"
{
    echo "lxc.uts.name = pv-lxcfs"
    echo "lxc.rootfs.path = dir:$work/pv-lxcfs/rootfs"
    echo "lxc.net.0.type = empty"
    echo "lxc.mount.auto = proc:mixed sys:mixed"
    echo "lxc.apparmor.profile = unconfined"
    echo "lxc.autodev = 1"
    echo "lxc.include = $hook_conf"
    if [ -d /sys/fs/cgroup/memory ]; then
        echo "lxc.cgroup.memory.limit_in_bytes = 256M"
        echo "lxc.cgroup.cpuset.cpus = $last_cpu"
    else
        echo "lxc.cgroup2.memory.max = 256M"
        echo "lxc.cgroup2.cpuset.cpus = $last_cpu"
    fi
} >"$work/pv-lxcfs/config"
lxc-start -P "$work" -n pv-lxcfs -d -l info -o "$work/lxc.log" -- /bin/sleep 1000 ||
    fail "lxc-start: $(tail -5 "$work/lxc.log")"
wait_for lxc-info -P "$work" -n pv-lxcfs -p -H
inside() {
    lxc-attach -P "$work" -n pv-lxcfs -- "$@"
}
equal "LXC: meminfo shows the limit" \
    "$(inside /bin/grep MemTotal /proc/meminfo | awk '{ print $2 }')" 262144
equal "LXC: one CPU, counted from 0" "$(inside /bin/cat /sys/devices/system/cpu/online)" 0
equal "LXC: the same CPU in cpuinfo" "$(inside /bin/grep -c '^processor' /proc/cpuinfo)" 1
equal "LXC: the same CPU in stat" "$(inside /bin/grep '^cpu[0-9]' /proc/stat | cut -d' ' -f1)" cpu0
# What lxcfs does not serve is the kernel's: all sysctls, and those of the container's namespaces can be written.
# shellcheck disable=SC2012 # names that the kernel gives
equal "LXC: /proc/sys is the kernel's" "$(inside /bin/ls /proc/sys | sort | xargs)" "$(ls /proc/sys | sort | xargs)"
equal "LXC: hostname" "$(inside /bin/cat /proc/sys/kernel/hostname)" pv-lxcfs
boot_id=$(inside /bin/cat /proc/sys/kernel/random/boot_id) # one of its own, by LXC
equal "LXC: boot_id is there" "${#boot_id}" 36
inside /bin/sh -c 'echo 4321 65432 >/proc/sys/net/ipv4/ip_local_port_range' || fail "LXC: a sysctl cannot be written"
equal "LXC: a sysctl is written" "$(inside /bin/cat /proc/sys/net/ipv4/ip_local_port_range | xargs)" "4321 65432"
# shellcheck disable=SC2012
[ ! -d /proc/pressure ] ||
    equal "LXC: all pressures are there" "$(inside /bin/ls /proc/pressure | sort | xargs)" "$(ls /proc/pressure | sort | xargs)"
uptime=$(inside /bin/head -n 1 /proc/uptime)
ok "LXC: uptime is the container's" test "${uptime%%.*}" -lt 120
lxc-stop -P "$work" -n pv-lxcfs -k

# docker: the binds that everybody has in scripts and Kubernetes webhooks in pod specs.
docker=/usr/bin/docker
if command -v dockerd >/dev/null && [ -x $docker ]; then
    export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config
    dockerd --iptables=false --ip6tables=false --bridge=none --host "$DOCKER_HOST" \
        --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
        >"$work/dockerd.log" 2>&1 &
    dockerd_pid=$!
    wait_for $docker info
    make_rootfs "$work/rootfs"
    tar -C "$work/rootfs" -c . | $docker import - pv-busybox >/dev/null
    binds=()
    for file in cpuinfo diskstats loadavg meminfo stat swaps uptime; do
        binds+=(-v "/var/lib/lxcfs/proc/$file:/proc/$file:rw")
    done
    binds+=(-v /var/lib/lxcfs/sys/devices/system/cpu/online:/sys/devices/system/cpu/online:ro)
    shown=$($docker run --rm --network none -m 256m --cpus 0.5 "${binds[@]}" pv-busybox \
        sh -c 'grep MemTotal /proc/meminfo; grep -c "^cpu[0-9]" /proc/stat
            grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online')
    equal "docker: meminfo, stat, cpuinfo and online" "$(tr -s " \n" " " <<<"$shown")" \
        "MemTotal: 262144 kB 1 1 0 "
    equal "docker: a bind of the whole folder" "$($docker run --rm --network none --cpus 0.5 \
        -v /var/lib/lxcfs/sys/devices/system/cpu:/sys/devices/system/cpu:ro pv-busybox \
        cat /sys/devices/system/cpu/online)" 0
    end_process "$dockerd_pid"
    dockerd_pid=
else
    echo "SKIP: docker is not installed (docker.io)"
fi

kill "$lxcfs_pid"
wait "$lxcfs_pid" || fail "lxcfs ended with status $?: $(tail -5 "$work/lxcfs.log")"
lxcfs_pid=
ok "the file of the process id is gone" test ! -e "$work/lxcfs.pid"
ok "nothing is mounted" sh -c '! grep -q "fuse.* /var/lib/lxcfs\| /var/lib/lxcfs fuse" /proc/mounts'
