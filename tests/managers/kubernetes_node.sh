#!/bin/bash
# What the DaemonSet's pod does on its node, on a node that is a mount namespace of its own: the daemon outlives the
# pod, an upgrade and a new configuration; containers keep their views, and readers in them see no error. What was
# uninstalled stays so until the next pod. With systemd, for which a script stands, the same by its units.

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
        rmdir /sys/fs/cgroup/{,*/}pv-node-{pod,box,zz} 2>/dev/null
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
for program in nsenter setsid flock setpriv; do
    command -v $program >/dev/null || skip "$program is not installed (util-linux)"
done
contrib=$(realpath "$(dirname "$0")/../../contrib")
kubernetes=$contrib/kubernetes

# The image's files, with the programs of this build.
mkdir -p "$work/files/sbin" "$work/files/bin" "$work/files/libexec/procview"
cp "$PROCVIEWD" "$work/files/sbin/procviewd"
cp "$RUNTIME_PROGRAM" "$work/files/bin/"
cp "$HOOK_PROGRAM" "$work/files/libexec/procview/"
for unit in procview.service procview-cgroup.service; do
    sed 's|@sbindir@|/usr/sbin|' "$contrib/systemd/$unit.in" >"$work/files/$unit"
done
printf '%s\n' '[procview]' 'auto-attach=/pv-node-box' >"$work/node.conf"

# cgroup v2 hands controllers down only when it is told to.
[ ! -f /sys/fs/cgroup/cgroup.subtree_control ] || echo +memory >/sys/fs/cgroup/cgroup.subtree_control

# The node: its /opt, /run and /var are its own.
# shellcheck disable=SC2016
unshare --mount --propagation private sh -c 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib &&
    mkdir -p /opt && mount -t tmpfs tmpfs /opt && exec sleep 100000' &
node=$!
wait_for grep -q " /opt " "/proc/$node/mountinfo"

export PROCVIEW_FILES=$work/files PROCVIEW_CONFIG=$work/node.conf PROCVIEW_HOST_PID=$node PROCVIEW_CHECK_SECONDS=1
export PROCVIEW_POD=first
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

# Another cgroup of the node, the last by name: with v2 it lies beside the root's own files.
into pv-node-zz true
start_pod() {
    into pv-node-pod "$kubernetes/procview-node" run >"$work/pod.log" 2>&1 &
    pod=$!
}
start_pod
wait_for agent status
echo "ok: the pod installs the daemon on its node, and starts it"
wait_for shows 262144
echo "ok: containers get their views without being configured"
first=$(daemon)
equal "the daemon is in none of the cgroups, but in the node's root" \
    "$(grep pv-node- "/proc/$first/cgroup" || true)" ""
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

start_pod
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
equal "all that was read meanwhile is the container's own" "$(sort -u "$work/box/tmp/reads")" 262144

# The pod lives, as it does when this is said through kubectl exec.
restart_pod() { # restart_pod UID
    end_cgroup pv-node-pod TERM
    wait "$pod" || true
    export PROCVIEW_POD=$1
    start_pod
}
is_clean() {
    [ -z "$(daemon)" ] && ! agent status && [ -z "$(ls "/proc/$node/root/opt")" ] &&
        [ -z "$(ls -A "/proc/$node/root/run/systemd/system" 2>/dev/null)" ] && shows "$host_total_kb"
}
agent uninstall >/dev/null
wait_for shows "$host_total_kb"
echo "ok: uninstall takes the views out"
equal "and removes the programs" "$(ls "/proc/$node/root/opt")" ""
sleep 3 # a check takes place every second
ok "the pod that lives on" pod_runs
ok "brings neither the daemon back nor the programs" is_clean
restart_pod first
said() {
    grep -q "uninstalled from this node" "$work/pod.log"
}
wait_for said
sleep 2
ok "nor does its container when it is restarted" is_clean
agent install >/dev/null
wait_for agent status
echo "ok: it can be installed again"
agent uninstall >/dev/null
restart_pod second
wait_for agent status
wait_for shows 262144
echo "ok: and a new pod installs it"
agent uninstall >/dev/null
wait_for is_clean
end_cgroup pv-node-pod TERM
wait "$pod" || true

# systemd, as far as it is needed: the services have the privileges that their units leave them.
mkdir -p "$work/bin" "/proc/$node/root/run/systemd/system"
cat >"$work/bin/systemctl" <<'END'
#!/bin/bash
set -eu
echo "$*" >>"$SYSTEMCTL_LOG"
verb=$1
shift
runs() { # runs UNIT: sets $pid
    pid=$(cat "/run/$1.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null
}
for unit; do
    file=/run/systemd/system/$unit
    [ -f "$file" ] || { echo "Unit $unit not found." >&2; exit 5; }
    case $verb in
    start)
        runs "$unit" && continue
        command=$(sed -n 's/^ExecStart=//p' "$file")
        capabilities=$(sed -n 's/^CapabilityBoundingSet=//p' "$file" | tr 'A-Z\n' 'a-z ' | sed 's/ *cap_/,+/g')
        # shellcheck disable=SC2086 # words
        setsid setpriv --no-new-privs --bounding-set "-all${capabilities% }" $command </dev/null >"/run/$unit.log" 2>&1 &
        echo $! >"/run/$unit.pid"
        # The next one comes after it (Type=notify).
        while runs "$unit" && ! grep -q 'procviewd: ready' "/run/$unit.log"; do sleep 0.1; done
        ;;
    stop)
        runs "$unit" || continue
        kill "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        ;;
    reload) runs "$unit" && kill -USR1 "$pid" ;;
    *) exit 1 ;;
    esac
done
END
chmod 755 "$work/bin/systemctl"
export PATH=$work/bin:$PATH SYSTEMCTL_LOG=$work/systemctl.log
has_tree() {
    [ -n "$(nsenter --target "$node" --mount ls /var/lib/procview/cgroup)" ]
}
service_runs() { # service_runs UNIT
    kill -0 "$(cat "/proc/$node/root/run/$1.pid")" 2>/dev/null
}
agent install >"$work/agent.log"
wait_for agent status
wait_for has_tree
ok "with systemd the daemon is a service" service_runs procview.service
ok "and the cgroup tree, which is there, another one" service_runs procview-cgroup.service
equal "with the privileges that they need" "$(grep -h CAP_ "/proc/$node/root/run"/procview*.log || true)" ""
wait_for shows 262144
printf x >>"$work/files/sbin/procviewd"
agent install >"$work/agent.log"
wait_for new_program
wait_for has_tree
ok "both are upgraded" grep -qx 'reload procview.service procview-cgroup.service' "$SYSTEMCTL_LOG"
start_pod
wait_for pod_runs
agent uninstall >/dev/null
wait_for is_clean
sleep 2
ok "uninstall removes the units, too, and the pod leaves it so" is_clean
ok "the service has ended" eval '! service_runs procview.service'
ok "and that of the cgroup tree" eval '! service_runs procview-cgroup.service'
