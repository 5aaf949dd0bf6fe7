#!/bin/bash
# Containers of containerd with procview-runtime: what ctr and the CRI's BinaryName do.

stop_manager() {
    [ -z "${containerd_pid:-}" ] || {
        for name in $(ctr tasks list -q 2>/dev/null); do ctr tasks kill -s KILL "$name"; done
        end_process "$containerd_pid"
    } >/dev/null 2>&1
    umount -l "$work/rootfs" "$work"/state/*/*/*/rootfs 2>/dev/null
    [ -n "${had_default:-}" ] || rmdir /sys/fs/cgroup/{,*/}pv-managers 2>/dev/null
}

. "$(dirname "$0")/lib.sh"

need_root
need_static_busybox
command -v containerd >/dev/null && command -v ctr >/dev/null ||
    skip "containerd is not installed (containerd)"
command -v runc >/dev/null || skip "runc is not installed (runc)"
make_runtime
cat >"$work/containerd.toml" <<END
version = 2
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$work/containerd.sock"
END
containerd -c "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
containerd_pid=$!
export CONTAINERD_ADDRESS=$work/containerd.sock CONTAINERD_NAMESPACE=pv-managers
wait_for ctr version || fail "containerd: $(tail -5 "$work/containerd.log")"
start_procviewd
make_rootfs "$work/rootfs"
ln -s busybox "$work/rootfs/bin/true"

run() {
    ctr run --rm --rootfs --memory-limit $((256 << 20)) --cpus 0.5 "$@"
}
views_of='grep -c fuse.procview /proc/self/mountinfo'
wrapped=(--runc-binary "$work/bin/procview-runtime")

run "$work/rootfs" pv-zero /bin/true || fail "ctr: $(tail -5 "$work/containerd.log")"
contains "without the runtime the host is seen" \
    "$(run "$work/rootfs" pv-plain /bin/grep MemTotal /proc/meminfo)" " $host_total_kb "
contains "ctr run --runc-binary shows the limit" \
    "$(run "${wrapped[@]}" "$work/rootfs" pv-one /bin/grep MemTotal /proc/meminfo)" " 262144 "
mounts=$(run "${wrapped[@]}" "$work/rootfs" pv-two /bin/sh -c "$views_of")
ok "every row is mounted ($mounts mounts)" [ "$mounts" -ge 13 ]
equal "with a read-only root" \
    "$(run "${wrapped[@]}" --read-only "$work/rootfs" pv-three /bin/sh -c "$views_of")" "$mounts"
status=0
run "${wrapped[@]}" "$work/rootfs" pv-four /bin/sh -c 'exit 42' || status=$?
equal "the exit status passes" $status 42
