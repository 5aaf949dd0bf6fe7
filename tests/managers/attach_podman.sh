#!/bin/bash
# Attach to real podman containers, with and without a user namespace: by name, id and cgroup.

stop_manager() {
    [ ! -f "${CONTAINERS_STORAGE_CONF:-/nonexistent}" ] || podman rm -f -a -t 0 >/dev/null 2>&1
    # podman mounts its layers' directories on themselves.
    umount -l "$work/storage/overlay" "$work/storage" \
        "$work"/storage/*-containers/*/userdata/shm 2>/dev/null
    [ -z "${had_parent:-}" ] || return 0
    for _ in $(seq 50); do # conmon ends a little later than its container
        rmdir /sys/fs/cgroup/{,*/}libpod_parent/conmon /sys/fs/cgroup/{,*/}libpod_parent 2>/dev/null
        [ -n "$(ls -d /sys/fs/cgroup/{,*/}libpod_parent 2>/dev/null)" ] || return 0
        sleep 0.1
    done
}

. "$(dirname "$0")/lib.sh"

need_root
need_static_busybox
command -v podman >/dev/null || skip "podman is not installed (podman)"
command -v runc >/dev/null || skip "runc is not installed (runc)"
had_parent=$(ls -d /sys/fs/cgroup/libpod_parent /sys/fs/cgroup/*/libpod_parent 2>/dev/null || true)

# In the environment, so that the podman that procview asks looks at the same containers.
export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "vfs"
graphroot = "$work/storage"
runroot = "$work/run"
END
cat >"$CONTAINERS_CONF" <<END
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$work/tmp"
END
start_procviewd

make_rootfs "$work/rootfs"
tar -C "$work/rootfs" -c . | podman import - pv-busybox >/dev/null 2>&1 || fail "podman import"
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
