# shellcheck shell=bash disable=SC2034,SC2154 # shared with those that read it
# podman with a storage of a test's own, read with `.` after lib.sh. The test's stop_manager calls stop_podman.

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
runtime_supports_json = ["crun", "runc", "procview-runtime"]
END

# An image pv-busybox.
make_podman_image() {
    make_rootfs "$work/podman-rootfs"
    tar -C "$work/podman-rootfs" -c . | podman import - pv-busybox >/dev/null 2>&1 || fail "podman import"
}

# 256 MiB and half a CPU. The other limits: without CAP_SYS_RESOURCE podman's own defaults are refused.
podman_limits=(--network none -m 256m --cpus 0.5 --ulimit nofile=1024:1024 --ulimit nproc=4096:4096)
podman_mapped=(--uidmap 0:100000:65536 --gidmap 0:100000:65536)

stop_podman() {
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
