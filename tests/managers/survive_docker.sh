#!/bin/bash
# A container of a real docker daemon that reads while procviewd is killed 200 times in every way; and what it sees
# when the daemon is stopped.

stop_manager() {
    stop_dockerd
    # A worker outlives its supervisor.
    read -r worker _ 2>/dev/null <"$worker_file" && kill -KILL "$worker" 2>/dev/null
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/docker.sh"

: "${READERS_PROGRAM:?names the readers}"
worker_file=$work/state/worker$(echo "$views" | sed 's/[-%]/%2d/g; s,/,-,g').pid

start_dockerd
start_procviewd

# The readers are a program of this machine: they bring its libraries.
mkdir -p "$work/rootfs/usr" "$work/rootfs/lib" "$work/rootfs/lib64"
make_image
libraries=(-v /usr:/usr:ro -v /lib:/lib:ro)
[ ! -d /lib64 ] || libraries+=(-v /lib64:/lib64:ro)
docker run -d --name pv-readers --network none -m 64m "${libraries[@]}" \
    -v "$READERS_PROGRAM:/readers:ro" pv-busybox sleep 1000 >/dev/null
# The views by -v, as many have them in their configuration.
docker run -d --name pv-bound --network none -m 64m -v "$views/proc/meminfo:/proc/meminfo:ro" \
    pv-busybox sleep 1000 >/dev/null
total_in() {
    docker exec "$1" grep MemTotal /proc/meminfo | awk '{ print $2 }'
}
equal "attached" "$(attach pv-readers | grep -c 'files attached')" 1
equal "it sees its limit" "$(total_in pv-readers)" 65536

# Without processes of our own for each step: a machine may be busy.
mkfifo "$work/never" && exec 8<>"$work/never"
pause_msec() {
    local seconds
    printf -v seconds '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
    read -rt "$seconds" -u 8 _ || true
}
# wait_for_worker PID: sets $worker, once it is another one
wait_for_worker() {
    local tries
    for ((tries = 0; tries < 4000; tries++)); do
        worker=
        read -r worker _ <"$worker_file" 2>/dev/null || true
        [ -z "$worker" ] || [ "$worker" = "$1" ] || ! kill -0 "$worker" 2>/dev/null || return 0
        pause_msec 5
    done
    fail "no worker came: $(tail -5 "$work/procviewd.log")"
}
# Once it has the connection: when the worker dies before that, nobody may have it.
next_supervisor() {
    local tries adopted
    adopted=$(grep -c "took over the mount" "$work/procviewd.log" || true)
    kill -KILL "$procviewd_pid"
    wait "$procviewd_pid" 2>/dev/null || true
    "$PROCVIEWD" --state-dir "$work/state" "$views" >>"$work/procviewd.log" 2>&1 7>&- 8>&- &
    procviewd_pid=$!
    for ((tries = 0; tries < 4000; tries++)); do
        [ "$(grep -c "took over the mount" "$work/procviewd.log")" = "$adopted" ] || return 0
        pause_msec 5
    done
    fail "no supervisor came: $(tail -5 "$work/procviewd.log")"
}

mkfifo "$work/stdin"
docker exec -i pv-readers /readers / <"$work/stdin" >"$work/readers.log" 2>&1 &
readers_pid=$!
exec 7>"$work/stdin"
sleep 0.5
RANDOM=1
ways=(KILL SEGV ABRT KILL TERM BUS KILL upgrade ILL supervisor)
kills=200
[ -z "${PV_TEST_SLOW:-}" ] || kills=25 # in a slow machine each takes longer
last=0 started=$SECONDS
for ((i = 0; i < kills; i++)); do
    way=${ways[RANDOM % ${#ways[@]}]}
    wait_for_worker "$last"
    last=0
    printf . >&7 # they measure how long they wait
    case $way in
    upgrade) kill -USR1 "$procviewd_pid" ;;
    supervisor) next_supervisor ;;
    *)
        last=$worker
        kill "-$way" "$worker" 2>/dev/null || true
        ;;
    esac
    pause_msec $((5 + RANDOM % 26))
done
exec 7>&-
wait "$readers_pid" || fail "the readers in the container, after $kills kills: $(cat "$work/readers.log")"
echo "ok: $kills kills in $((SECONDS - started)) s"
sed 's/^/  | /' "$work/readers.log"
equal "it still sees its limit" "$(total_in pv-readers)" 65536
equal "so does the one with -v" "$(total_in pv-bound)" 65536

end_process "$procviewd_pid"
equal "stopped: not mounted any more" "$(grep -c " $views " /proc/self/mountinfo || true)" 0
equal "stopped: the attached container sees the kernel's own file" "$(total_in pv-readers)" "$host_total_kb"
equal "stopped: so does the one with -v" "$(total_in pv-bound)" "$host_total_kb"
equal "stopped: no view is left in it" "$(docker exec pv-bound grep -c fuse.procview /proc/self/mountinfo || true)" 0
