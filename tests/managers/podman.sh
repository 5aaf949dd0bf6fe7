# shellcheck shell=bash
# podman for the tests, with everything of it in $work; read after lib.sh.

# end_podman: for stop_manager
end_podman() {
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

need_podman() {
    need_root
    need_static_busybox
    command -v podman >/dev/null || skip "podman is not installed (podman)"
    command -v runc >/dev/null || skip "runc is not installed (runc)"
    had_parent=$(ls -d /sys/fs/cgroup/libpod_parent /sys/fs/cgroup/*/libpod_parent 2>/dev/null || true)
}

# set_up_podman LINE…: lines of its [engine] configuration. In the environment, so that the podman that procview
# asks looks at the same containers.
set_up_podman() {
    export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
    cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "vfs"
graphroot = "$work/storage"
runroot = "$work/run"
END
    {
        cat <<END
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$work/tmp"
END
        printf '%s\n' "$@"
    } >"$CONTAINERS_CONF"
    make_rootfs "$work/rootfs"
    tar -C "$work/rootfs" -c . | podman import - pv-busybox >/dev/null 2>&1 || fail "podman import"
}
