# shellcheck shell=bash disable=SC2034 # for those who read it
# Shared by the tests with real container managers; read by them with `.`.
#
# PROCVIEW and PROCVIEWD name the programs under test. Everything is made below $work, and taken
# away again by clean_up, whatever happened: containers first (stop_manager, which each test
# defines), then the daemon.

set -eu

: "${PROCVIEW:?names the procview to test}" "${PROCVIEWD:?names the procviewd to test}"

work=$(mktemp -d /tmp/pv-managers-XXXXXX)
views=$work/views
procviewd_pid=

skip() {
    echo "SKIP: $*"
    exit 77
}

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

# ok DESCRIPTION COMMAND…
ok() {
    description=$1
    shift
    "$@" || fail "$description"
    echo "ok: $description"
}

# equal DESCRIPTION GOT EXPECTED
equal() {
    [ "$2" = "$3" ] || fail "$1: '$2' is not '$3'"
    echo "ok: $1"
}

# contains DESCRIPTION TEXT PART
contains() {
    case $2 in
    *"$3"*) echo "ok: $1" ;;
    *) fail "$1: '$2' does not contain '$3'" ;;
    esac
}

# Where everything is so many times slower (PV_TEST_SLOW), that is waited for; not without end, for a hang is to be seen.
slow=${PV_TEST_SLOW:-1}
[ "$slow" -le 6 ] || slow=6
wait_seconds=$((20 * slow))

# wait_for COMMAND…: until it succeeds, for 20 seconds
wait_for() {
    deadline=$((SECONDS + wait_seconds))
    while [ $SECONDS -le $deadline ]; do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.1
    done
    fail "'$*' did not succeed in $wait_seconds s"
}

# end_process PID: SIGTERM, and SIGKILL after 15 seconds
end_process() {
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 150); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
}

clean_up() {
    status=$?
    trap - EXIT
    set +e
    stop_manager
    [ -z "$procviewd_pid" ] || end_process "$procviewd_pid"
    umount -l "$views" 2>/dev/null
    rm -rf --one-file-system "$work"
    exit $status
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
# shellcheck source=tests/guardian.sh
. "$(dirname "$0")/../guardian.sh"
guard "$work" "$work" stop_manager

need_root() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    [ -c /dev/fuse ] || skip "there is no /dev/fuse"
}

start_procviewd() { # start_procviewd OPTION…
    mkdir "$views"
    "$PROCVIEWD" --state-dir "$work/state" "$@" "$views" >>"$work/procviewd.log" 2>&1 &
    procviewd_pid=$!
    wait_for test -r "$views/proc/meminfo"
}

attach() {
    "$PROCVIEW" attach --views "$views" "$@"
}

# A root file system with busybox in $1.
make_rootfs() {
    mkdir -p "$1/bin" "$1/proc" "$1/sys" "$1/dev" "$1/etc" "$1/tmp" "$1/run"
    cp "$(command -v busybox)" "$1/bin/busybox"
    for tool in sh cat grep cut sleep head mount ls; do
        ln -s busybox "$1/bin/$tool"
    done
}

need_static_busybox() {
    command -v busybox >/dev/null || skip "busybox is not installed (busybox-static)"
    ! ldd "$(command -v busybox)" >/dev/null 2>&1 || skip "busybox is not static (busybox-static)"
}

# into CGROUP COMMAND…: in a cgroup of that name, in every hierarchy. The test removes it.
into() {
    cgroup=$1
    shift
    # shellcheck disable=SC2016 # expanded there
    sh -c 'roots=/sys/fs/cgroup/cgroup.procs # v2 has one root, v1 one in each hierarchy
        [ -e $roots ] || roots=/sys/fs/cgroup/*/cgroup.procs
        for procs in $roots; do
            folder=${procs%/*}/$0
            case $procs in */cpuset/* | */unified/*) continue ;; esac
            mkdir -p "$folder" && echo $$ >"$folder/cgroup.procs"
        done
        exec "$@"' "$cgroup" "$@"
}

host_total_kb=$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo)

# The runtime wrapper as managers call it, set up for $views; LINE… go to its configuration.
make_runtime() {
    : "${RUNTIME_PROGRAM:?names the procview-runtime to test}" "${HOOK_PROGRAM:?names the procview-hook}"
    printf '%s\n' "[runtime]" "views=$views" "hook=$HOOK_PROGRAM" "$@" >"$work/runtime.conf"
    mkdir -p "$work/bin"
    cat >"$work/bin/procview-runtime" <<END
#!/bin/sh
PROCVIEW_RUNTIME_CONF=$work/runtime.conf exec $RUNTIME_PROGRAM "\$@"
END
    chmod 755 "$work/bin/procview-runtime" "$work"
}
