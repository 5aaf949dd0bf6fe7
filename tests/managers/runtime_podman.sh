#!/bin/bash
# Containers of podman with procview-runtime, with hooks.d, and with CDI.

stop_manager() {
    [ -z "${had_cdi:-}" ] || rm -f "$cdi_file"
    [ -n "${had_cdi_dir:-}" ] || rmdir /etc/cdi 2>/dev/null
    stop_podman
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/podman.sh"

cdi_file=/etc/cdi/procview-test.json
had_cdi_dir=$(ls -d /etc/cdi 2>/dev/null || true)
make_runtime
start_procviewd
make_podman_image
run() {
    podman "${global[@]}" run --rm "${podman_limits[@]}" "$@"
}
total='grep MemTotal /proc/meminfo'
views_of='grep -c fuse.procview /proc/self/mountinfo'

# check NAME OPTION…: views in plain and other containers, started with the options
check() {
    name=$1
    shift
    contains "$name: meminfo shows the limit" "$(run "$@" pv-busybox $total)" " 262144 "
    mounts=$(run "$@" pv-busybox sh -c "$views_of")
    ok "$name: every row is mounted ($mounts mounts)" [ "$mounts" -ge 13 ]
    equal "$name: with a user namespace" "$(run "$@" "${podman_mapped[@]}" pv-busybox sh -c "$views_of")" \
        "$mounts"
    equal "$name: an ordinary user with a read-only root" \
        "$(run "$@" --read-only --user 1000:1000 --cap-drop all pv-busybox sh -c "$views_of")" \
        "$mounts"
    equal "$name: the kernel's own file that the user mounted is left" \
        "$(run "$@" -v /proc/version:/proc/uptime:ro pv-busybox sh -c "$views_of")" \
        "$((mounts - 1))"
}

global=()
contains "without procview the host is seen" "$(run pv-busybox $total)" " $host_total_kb "

global=(--runtime "$work/bin/procview-runtime")
check "runtime"
status=0
run pv-busybox sh -c 'exit 42' || status=$?
equal "runtime: the exit status passes" $status 42
status=0
run pv-busybox /nonexistent >/dev/null 2>&1 || status=$?
equal "runtime: so does 'command not found'" $status 127

# The abilities that the shipped configuration tells podman of. Which of them the real runtime has is its own affair.
{
    sed '/^runtime_supports/d' "$CONTAINERS_CONF"
    grep '^runtime_supports' "$(dirname "$HOOK_PROGRAM")/50-procview.conf"
} >"$work/shipped.conf"
said=$(CONTAINERS_CONF=$work/shipped.conf run --cgroups=disabled pv-busybox sh -c : 2>&1) || true
ok "runtime: podman lets it run without cgroups" [ "${said/NoCgroups/}" = "$said" ]
contains "runtime: meminfo shows the limit, with the shipped configuration" \
    "$(CONTAINERS_CONF=$work/shipped.conf run pv-busybox $total)" " 262144 "

# What is shipped, but for where the hook and its daemon are.
hooks_from() {
    rm -rf "$work/hooks.d"
    mkdir "$work/hooks.d"
    sed -e "s|\"path\": \".*\"|\"path\": \"$HOOK_PROGRAM\"|" \
        -e "s|\"createContainer\"],\$|\"createContainer\", \"--views\", \"$views\"],|" \
        "$(dirname "$HOOK_PROGRAM")/$1" >"$work/hooks.d/$1"
    global=(--hooks-dir "$work/hooks.d")
}
hooks_from procview-annotation.json
contains "hooks.d: without the annotation nothing happens" "$(run pv-busybox $total)" \
    " $host_total_kb "
check "hooks.d by annotation" --annotation procview.enable=1
hooks_from procview-always.json
check "hooks.d always"

global=()
"$PROCVIEW" cdi --hook "$HOOK_PROGRAM" --views "$views" --output "$cdi_file"
had_cdi=1
check "CDI" --device procview.dev/views=all

# The same hook from outside of the container's namespaces, from where pid_max may not be reached.
but_pid_max='grep fuse.procview /proc/self/mountinfo | grep -vc pid_max'
mounts=$(run --device procview.dev/views=all pv-busybox sh -c "$but_pid_max")
for stage in prestart createRuntime; do
    hooks_from procview-always.json
    sed -i "s|createContainer|$stage|" "$work/hooks.d/procview-always.json"
    equal "hooks.d: stage $stage" "$(run pv-busybox sh -c "$but_pid_max")" "$mounts"
done

hooks_from procview-always.json
end_process "$procviewd_pid"
umount -l "$views" 2>/dev/null || true
rm -rf "$views"
contains "without a daemon hooks.d starts the container" "$(run pv-busybox $total)" \
    " $host_total_kb "
sed -i 's|"createContainer", |"createContainer", "--strict", |' "$work/hooks.d/procview-always.json"
ok "but for a strict hook" sh -c "! podman --hooks-dir '$work/hooks.d' run --rm --network none \
    --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 pv-busybox sh -c : 2>/dev/null"
global=(--runtime "$work/bin/procview-runtime")
contains "without a daemon the runtime starts the container" \
    "$(run pv-busybox $total 2>/dev/null)" " $host_total_kb "
