#!/bin/bash
# Pods by containerd's CRI, as the kubelet makes them: with the runtime handler of a RuntimeClass, whose BinaryName is
# procview-runtime, and with the default one.

stop_manager() {
    [ -z "${containerd_pid:-}" ] || {
        for pod in ${pods:-}; do "$cri" "$work/containerd.sock" remove-pod "$pod"; done
        end_process "$containerd_pid"
    } >/dev/null 2>&1
    umount -l "$work"/state/*/*/*/rootfs "$work"/state/*/sandboxes/*/shm 2>/dev/null
    rmdir /sys/fs/cgroup/{,*/}pv-managers-cri 2>/dev/null
}

# shellcheck source=tests/managers/lib.sh
. "$(dirname "$0")/lib.sh"

need_root
need_static_busybox
for program in containerd ctr runc curl python3; do
    command -v $program >/dev/null || skip "$program is not installed ($program)"
done
cri=$(dirname "$0")/cri
cgroup=/pv-managers-cri
make_runtime
cat >"$work/containerd.toml" <<END
version = 2
root = "$work/root"
state = "$work/state"
[grpc]
  address = "$work/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pv-pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.procview]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.procview.options]
        BinaryName = "$work/bin/procview-runtime"
END
containerd -c "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
containerd_pid=$!
export CONTAINERD_ADDRESS=$work/containerd.sock CONTAINERD_NAMESPACE=k8s.io
wait_for ctr version || fail "containerd: $(tail -5 "$work/containerd.log")"
start_procviewd
make_rootfs "$work/rootfs"
for image in pause box; do
    "$(dirname "$0")/oci-image" "$work/rootfs" localhost/pv-$image:1 "$work/$image.tar" /bin/sleep 1000
    ctr images import --snapshotter native "$work/$image.tar" >/dev/null
done

# pod NAME HANDLER: sets $pod and $container, with a limit of 256 MiB and half a CPU
pod() {
    pod=$("$cri" "$CONTAINERD_ADDRESS" run-pod "$1" "$2" $cgroup) || fail "no pod"
    pods="${pods:-} $pod"
    container=$("$cri" "$CONTAINERD_ADDRESS" create "$pod" "$1" $cgroup localhost/pv-box:1 $((256 << 20)) 50000 \
        /bin/sleep 1000) || fail "no container"
    "$cri" "$CONTAINERD_ADDRESS" start "$container" || fail "it does not start"
}
inside() {
    "$cri" "$CONTAINERD_ADDRESS" exec "$container" "$@"
}

pod plain ""
contains "without the handler the host is seen" "$(inside /bin/grep MemTotal /proc/meminfo)" " $host_total_kb "
pod views procview
contains "with the handler procview the limit is seen" "$(inside /bin/grep MemTotal /proc/meminfo)" " 262144 "
equal "and one CPU" "$(inside /bin/cat /sys/devices/system/cpu/online)" 0
mounts=$(inside /bin/grep -c fuse.procview /proc/self/mountinfo)
ok "every row is mounted ($mounts mounts)" [ "$mounts" -ge 13 ]
status=0
inside /bin/sh -c 'exit 42' || status=$?
equal "exec passes" $status 42
