#!/bin/bash
# Every way to the views once, with every manager, in as few starts as possible: for the virtual machine, where a start
# takes seconds. The other tests here go into each of them.

stop_manager() {
    [ -z "${watch_pid:-}" ] || end_process "$watch_pid"
    stop_lxc
    stop_podman
    stop_dockerd
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/docker.sh"
. "$(dirname "$0")/lxc.sh"
. "$(dirname "$0")/podman.sh"

make_runtime
start_dockerd --add-runtime procview="$work/bin/procview-runtime"
start_procviewd
make_image
limit=" 262144 "
meminfo=(/bin/grep MemTotal /proc/meminfo)
views_of=(/bin/grep -c fuse.procview /proc/self/mountinfo)
has_limit() { # has_limit COMMAND…: what it prints of meminfo
    case $("$@" "${meminfo[@]}") in *"$limit"*) ;; *) return 1 ;; esac
}

# docker: the runtime wrapper, attach, watch.
docker_limits=(--network none -m 256m --cpus 0.5)
mounts=$(docker run --rm --runtime=procview "${docker_limits[@]}" pv-busybox sh -c \
    "${meminfo[*]}; ${views_of[*]}" 2>/dev/null)
contains "docker run --runtime=procview: the limit" "$mounts" "$limit"
mounts=${mounts##*$'\n'}
ok "docker: every row is mounted ($mounts mounts)" [ "$mounts" -ge 13 ]
id=$(docker run -d --name pv-web "${docker_limits[@]}" pv-busybox sleep 1000 2>/dev/null)
contains "docker: attach by name" "$(attach pv-web)" " files attached"
ok "docker: the limit" has_limit docker exec pv-web
contains "docker: attach by the cgroup" "$(attach "/docker/$id")" "attached already"
"$PROCVIEW" watch --views "$views" >"$work/watch.log" 2>&1 &
watch_pid=$!
docker restart -t 0 pv-web >/dev/null
wait_for has_limit docker exec pv-web
contains "docker: watch attaches to a container that starts" "$(cat "$work/watch.log")" "$id"
docker rm -f pv-web >/dev/null

# containerd, which is docker's: its client, with the wrapper.
containerd_socket=$(find "$work/exec" -name containerd.sock | head -n 1)
contains "ctr run --runc-binary: the limit" "$(ctr --address "$containerd_socket" --namespace pv-managers run --rm \
    --rootfs --memory-limit $((256 << 20)) --cpus 0.5 --runc-binary "$work/bin/procview-runtime" \
    "$work/rootfs" pv-ctr "${meminfo[@]}")" "$limit"
rmdir /sys/fs/cgroup/{,*/}pv-managers 2>/dev/null || true

# LXC: the mount hook, and watch.
sed "s|^lxc.hook.mount = .*|lxc.hook.mount = $HOOK_PROGRAM --views $views|" \
    "$(dirname "$HOOK_PROGRAM")/procview.conf" >"$work/procview.conf"
lxc_make pv-each-hook "lxc.include = $work/procview.conf" "${mapped[@]}"
lxc_start pv-each-hook || fail "lxc-start: $(tail -5 "$work/pv-each-hook.log")"
ok "LXC: the hook, in an unprivileged container" has_limit lxc_inside pv-each-hook
# runc binds /proc/sys over itself, with what is mounted in it: some are there twice.
mounts=$(lxc_inside pv-each-hook "${views_of[@]}")
ok "LXC: every row is mounted ($mounts mounts)" [ "$mounts" -ge 13 ]
lxc_make pv-each-plain
lxc_start pv-each-plain || fail "lxc-start: $(tail -5 "$work/pv-each-plain.log")"
wait_for has_limit lxc_inside pv-each-plain
echo "ok: LXC: watch attaches to a container that starts"
contains "LXC: attach by name" "$(attach pv-each-plain)" "attached already"
end_process "$watch_pid"
watch_pid=
contains "LXC: detach by name" "$("$PROCVIEW" detach pv-each-plain)" " files detached"

# podman: the wrapper, hooks.d, CDI, attach.
make_podman_image
ok "podman --runtime: the limit" has_limit podman --runtime "$work/bin/procview-runtime" run --rm \
    "${podman_limits[@]}" pv-busybox
mkdir "$work/hooks.d"
sed -e "s|\"path\": \".*\"|\"path\": \"$HOOK_PROGRAM\"|" \
    -e "s|\"createContainer\"],\$|\"createContainer\", \"--views\", \"$views\"],|" \
    "$(dirname "$HOOK_PROGRAM")/procview-always.json" >"$work/hooks.d/procview-always.json"
ok "podman hooks.d: the limit" has_limit podman --hooks-dir "$work/hooks.d" run --rm "${podman_limits[@]}" pv-busybox
podman run -d --name pv-pod "${podman_limits[@]}" "${podman_mapped[@]}" pv-busybox sleep 1000 >/dev/null
contains "podman: attach by name" "$(attach pv-pod)" " files attached"
ok "podman: the limit" has_limit podman exec pv-pod

# lxcfs by its name: what docker's users have in their scripts.
ln -s "$PROCVIEWD" "$work/lxcfs"
"$work/lxcfs" -f -p "$work/lxcfs.pid" --runtime-dir "$work/run" "$work/lxcfs-dir" >"$work/lxcfs.log" 2>&1 &
lxcfs_pid=$!
wait_for test -r "$work/lxcfs-dir/proc/meminfo"
ok "lxcfs: docker's binds" has_limit docker run --rm "${docker_limits[@]}" \
    -v "$work/lxcfs-dir/proc/meminfo:/proc/meminfo:rw" pv-busybox
end_process "$lxcfs_pid"
