#!/bin/bash
# What the DaemonSet's pod does on its node, on a node that is a mount namespace of its own: the daemon outlives the
# pod, an upgrade and a new configuration; containers keep their views, and readers in them see no error.

stop_manager() {
    end_cgroup pv-node-pod KILL
    end_cgroup pv-node-box KILL
    [ -z "${node:-}" ] || {
        namespace=$(readlink "/proc/$node/ns/mnt")
        for process in /proc/[0-9]*; do # the daemon, when the test has failed
            [ "$(readlink "$process/ns/mnt" 2>/dev/null)" != "$namespace" ] || kill -KILL "${process##*/}"
        done
    }
    for _ in $(seq 50); do
        rmdir /sys/fs/cgroup/{,*/}pv-node-{pod,box} 2>/dev/null
        [ -n "$(ls -d /sys/fs/cgroup/{,*/}pv-node-* 2>/dev/null)" ] || break
        sleep 0.1
    done
}
processes_of() { # processes_of CGROUP
    cat /sys/fs/cgroup/{,*/}"$1"/cgroup.procs 2>/dev/null | sort -u
}
end_cgroup() { # end_cgroup CGROUP SIGNAL
    for pid in $(processes_of "$1"); do
        kill "-$2" "$pid" 2>/dev/null || true
    done
}

# shellcheck source=tests/managers/lib.sh
. "$(dirname "$0")/lib.sh"

: "${RUNTIME_PROGRAM:?names the procview-runtime}" "${HOOK_PROGRAM:?names the procview-hook}"
need_root
need_static_busybox
for program in nsenter setsid; do
    command -v $program >/dev/null || skip "$program is not installed (util-linux)"
done
kubernetes=$(realpath "$(dirname "$0")/../../contrib/kubernetes")

# The image's files, with the programs of this build.
mkdir -p "$work/files/sbin" "$work/files/bin" "$work/files/libexec/procview"
cp "$PROCVIEWD" "$work/files/sbin/procviewd"
cp "$RUNTIME_PROGRAM" "$work/files/bin/"
cp "$HOOK_PROGRAM" "$work/files/libexec/procview/"
printf '%s\n' '[procview]' 'auto-attach=/pv-node-box' >"$work/node.conf"

# into CGROUP COMMAND…
into() {
    cgroup=$1
    shift
    # shellcheck disable=SC2016 # expanded there
    sh -c 'for procs in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
            folder=${procs%/*}/$0
            case $procs in */cpuset/* | */unified/*) continue ;; esac
            [ -f "$procs" ] && mkdir -p "$folder" && echo $$ >"$folder/cgroup.procs"
        done
        exec "$@"' "$cgroup" "$@"
}

# The node: its /opt, /run and /var are its own.
# shellcheck disable=SC2016
unshare --mount --propagation private sh -c 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib &&
    mkdir -p /opt && mount -t tmpfs tmpfs /opt && exec sleep 100000' &
node=$!
wait_for grep -q " /opt " "/proc/$node/mountinfo"

export PROCVIEW_FILES=$work/files PROCVIEW_CONFIG=$work/node.conf PROCVIEW_HOST_PID=$node PROCVIEW_CHECK_SECONDS=1
agent() {
    "$kubernetes/procview-node" "$@"
}
daemon() {
    cat "/proc/$node/root/run/procview/node.pid" 2>/dev/null
}

# A container on the node that reads all the time: a line for each read that shows something else than its limit.
make_rootfs "$work/box"
[ ! -d /sys/fs/cgroup/memory ] || limit=memory/pv-node-box/memory.limit_in_bytes
limit=/sys/fs/cgroup/${limit:-pv-node-box/memory.max}
cat >"$work/box/read" <<'END'
while :; do
    while read -r key value unit; do
        [ "$key" = MemTotal: ] && break
    done </proc/meminfo || value=failed
    echo "$value" >>/tmp/reads
done
END
into pv-node-box nsenter --target "$node" --mount -- unshare --mount --pid --fork --propagation private sh -c '
    cd "$0" && mount --bind . . && cd "$0" && mount -t proc proc proc && mount --rbind /sys sys && mkdir -p old &&
        pivot_root . old && exec /bin/busybox sh -c "umount -l /old; exec /bin/busybox sh /read"' "$work/box" &
wait_for test -f "$limit"
echo $((256 << 20)) >"$limit"
last() {
    tail -n 1 "$work/box/tmp/reads"
}
shows() { # shows KB
    [ "$(last)" = "$1" ]
}
wait_for shows "$host_total_kb"

into pv-node-pod "$kubernetes/procview-node" run >"$work/agent.log" 2>&1 &
pod=$!
wait_for agent status
echo "ok: the pod installs the daemon on its node, and starts it"
wait_for shows 262144
echo "ok: containers get their views without being configured"
first=$(daemon)
ok "the daemon is none of the pod's processes" \
    sh -c "! echo '$(processes_of pv-node-pod)' | grep -qx $first"
: >"$work/box/tmp/reads"

end_cgroup pv-node-pod KILL
wait "$pod" 2>/dev/null || true
ok "when the pod is killed, the daemon stays" agent status
printf x >>"$work/files/sbin/procviewd"
agent install >"$work/agent.log"
contains "a new image upgrades it" "$(cat "$work/agent.log")" "upgrading"
new_program() {
    cmp -s "/proc/$(daemon)/exe" "$work/files/sbin/procviewd"
}
wait_for new_program
equal "in place" "$(daemon)" "$first"
echo 'sample-interval=7' >>"$work/node.conf"
agent install >"$work/agent.log"
contains "a new configuration restarts it" "$(cat "$work/agent.log")" "restarting"
wait_for agent status
ok "with another process" [ "$(daemon)" != "$first" ]
agent install >"$work/agent.log"
equal "the same image again changes nothing" "$(cat "$work/agent.log")" ""

into pv-node-pod "$kubernetes/procview-node" run >"$work/agent.log" 2>&1 &
pod=$!
pod_runs() {
    [ -n "$(processes_of pv-node-pod)" ]
}
wait_for pod_runs
kill -KILL "$(daemon)"
killed=$(daemon)
restarted() {
    [ "$(daemon)" != "$killed" ] && agent status
}
wait_for restarted
echo "ok: the pod starts a daemon that was killed"
end_cgroup pv-node-pod TERM
wait "$pod" || true
sleep 0.2
equal "all that was read meanwhile is the container's own" "$(sort -u "$work/box/tmp/reads")" 262144

agent uninstall >/dev/null
wait_for shows "$host_total_kb"
echo "ok: uninstall takes the views out"
equal "and removes the programs" "$(ls "/proc/$node/root/opt")" ""
