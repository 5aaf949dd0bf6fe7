#!/bin/bash
# Containers of a real docker daemon with procview-runtime: asked for, and by default.

stop_manager() {
    stop_dockerd
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/docker.sh"

make_runtime
with_runtime=(--add-runtime procview="$work/bin/procview-runtime")
run() {
    $docker run --rm --network none -m 256m --cpus 0.5 "$@"
}
views_of='grep -c fuse.procview /proc/self/mountinfo'

start_dockerd "${with_runtime[@]}"
start_procviewd
make_image

equal "without the runtime the host is seen" \
    "$(run pv-busybox grep MemTotal /proc/meminfo | awk '{ print $2 }')" "$host_total_kb"
free=$(run --runtime=procview pv-busybox grep MemTotal /proc/meminfo | awk '{ print $2 / 1024 }')
equal "docker run --runtime=procview -m 256m shows 256" "$free" 256
equal "and one CPU" "$(run --runtime=procview pv-busybox grep -c '^cpu[0-9]' /proc/stat)" 1
uptime=$(run --runtime=procview pv-busybox cat /proc/uptime)
ok "and its own uptime" [ "${uptime%%.*}" -lt 120 ]
# The command of the sample pod for Kubernetes, which promises to show the container, in this busybox, too.
mapfile -d '' -t sample_command < <(sed -n 's/^ *command: //p' "$(dirname "$0")/../../contrib/kubernetes/pod.yaml" |
    python3 -c 'import json, sys; [print(word, end="\0") for word in json.load(sys.stdin)]')
sample=$(run --runtime=procview pv-busybox "${sample_command[@]}")
equal "the sample pod's command shows its memory and one CPU" "$(head -n 2 <<<"$sample" | tr -s ' \n' ' ')" \
    "MemTotal: 262144 kB 1 "
uptime=$(sed -n 3p <<<"$sample")
ok "its own uptime" [ "${uptime%%.*}" -lt 120 ]
ok "and the number of its CPU" grep -qx '[0-9]*' <<<"$(tail -n +4 <<<"$sample")"
mounts=$(run --runtime=procview pv-busybox sh -c "$views_of")
ok "every row is mounted ($mounts mounts)" [ "$mounts" -ge 13 ]
contains "also those that runc refuses in a configuration" \
    "$(run --runtime=procview pv-busybox cat /proc/self/mountinfo)" " /proc/vmstat ro,"
equal "for an ordinary user with a read-only root" "$(run --runtime=procview --read-only \
    --user 1000:1000 --cap-drop ALL --security-opt no-new-privileges pv-busybox sh -c "$views_of")" \
    "$mounts"
equal "in the host's pid namespace" \
    "$(run --runtime=procview --pid=host pv-busybox sh -c "$views_of")" "$mounts"
equal "without a seccomp profile" \
    "$(run --runtime=procview --security-opt seccomp=unconfined pv-busybox sh -c "$views_of")" \
    "$mounts"
own=$(run --runtime=procview -v /proc/version:/proc/uptime:ro pv-busybox sh -c \
    'read first rest </proc/uptime; echo $first; grep -c fuse.procview /proc/self/mountinfo')
equal "a user's own mount on a file is left" "$own" "Linux
$((mounts - 1))"
status=0
run --runtime=procview pv-busybox sh -c 'exit 42' || status=$?
equal "the exit status passes" $status 42
status=0
run --runtime=procview pv-busybox /nonexistent >/dev/null 2>"$work/err" || status=$?
equal "the runtime's own failure passes" $status 127
contains "with its message" "$(cat "$work/err")" "no such file"

id=$($docker run -d --runtime=procview --network none -m 256m pv-busybox sleep 1000)
equal "exec passes" "$($docker exec "$id" sh -c "$views_of")" "$mounts"
$docker update --memory 128m --memory-swap 128m "$id" >/dev/null
contains "update passes" "$($docker exec "$id" grep MemTotal /proc/meminfo)" " 131072 "
$docker pause "$id" >/dev/null && $docker unpause "$id" >/dev/null
contains "top passes" "$($docker top "$id")" "sleep 1000"
$docker restart -t 0 "$id" >/dev/null
equal "a restarted container has views again, each once" \
    "$($docker exec "$id" sh -c "$views_of")" "$mounts"
config=$(ls -d "$work"/exec/containerd/daemon/io.containerd.runtime.v2.task/moby/"$id"/config.json)
equal "nothing is left beside config.json" "$(find "$(dirname "$config")" -name 'config.json?*')" ""
$docker rm -f "$id" >/dev/null

end_process "$procviewd_pid"
umount -l "$views" 2>/dev/null || true
rm -rf "$views"
equal "without a daemon the container starts, and sees the host" \
    "$(run --runtime=procview pv-busybox grep MemTotal /proc/meminfo | awk '{ print $2 }')" \
    "$host_total_kb"
make_runtime "strict=true"
status=0
run --runtime=procview pv-busybox true 2>"$work/err" || status=$?
ok "strict: it does not start" [ $status -ne 0 ]
contains "strict: docker says why" "$(cat "$work/err")" "is procviewd running?"
make_runtime
start_procviewd

end_process "$dockerd_pid"
start_dockerd "${with_runtime[@]}" --default-runtime procview
equal "as the default runtime" "$(run pv-busybox sh -c "$views_of")" "$mounts"
