#!/bin/bash
# procview watch with a real docker daemon: containers get the views as they start, restart or lose them.

stop_manager() {
    stop_watch
    stop_slow
    stop_dockerd
}

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/docker.sh"

start_watch() { # start_watch OPTION…: its report goes to $work/watch.log
    "$PROCVIEW" watch --views "$views" --json "$@" >"$work/watch.log" 2>"$work/watch.err" &
    watch_pid=$!
    wait_for grep -q '"event": "watching"' "$work/watch.log"
}
stop_watch() {
    [ -z "${watch_pid:-}" ] || end_process "$watch_pid"
    watch_pid=
}
run() { # run NAME OPTION…
    name=$1
    shift
    docker run -d --name "$name" --network none -m 256m --cpus 0.5 "$@" pv-busybox sleep 1000
}
total_in() {
    docker exec "$1" grep MemTotal /proc/meminfo | awk '{ print $2 }'
}
has_views() { # has_views CONTAINER
    [ "$(total_in "$1")" = 262144 ]
}
count() { # count EVENT ID
    grep "\"event\": \"$1\"" "$work/watch.log" | grep -c "$2" || true
}
reported() { # reported EVENT ID N: so often, or more
    [ "$(count "$1" "$2")" -ge "${3:-1}" ]
}

stop_slow() {
    cat /sys/fs/cgroup/{,*/}pv-watch-slow/cgroup.procs 2>/dev/null | sort -u | xargs -r kill -KILL 2>/dev/null || true
    for _ in $(seq 50); do
        rmdir /sys/fs/cgroup/{,*/}pv-watch-slow 2>/dev/null || true
        [ -n "$(ls -d /sys/fs/cgroup/{,*/}pv-watch-slow 2>/dev/null)" ] || break
        sleep 0.1
    done
}

start_dockerd
start_procviewd
make_image

early=$(run pv-early)
equal "before, the host is seen" "$(total_in pv-early)" "$host_total_kb"
start_watch
wait_for has_views pv-early
echo "ok: a container that runs already gets views"
wait_for reported attached "${early:0:12}"
echo "ok: it is reported"

late=$(run pv-late)
wait_for has_views pv-late
echo "ok: a container that starts later gets them"
equal "what is read by its first process is its own, mostly" "$(for i in 1 2 3 4 5; do
    docker run --rm --network none -m 256m pv-busybox grep MemTotal /proc/meminfo
done | grep -c ' 262144 ' | sed 's/[1-5]/some/')" some
run pv-closed --read-only --user 1000:1000 --cap-drop ALL --security-opt no-new-privileges >/dev/null
wait_for has_views pv-closed
echo "ok: a read-only one of an ordinary user"
run pv-pids --pid host >/dev/null
sleep 1
equal "one without a pid namespace does not, unless a rule names it" "$(total_in pv-pids)" "$host_total_kb"

docker restart -t 0 pv-late >/dev/null
wait_for has_views pv-late
wait_for reported attached "${late:0:12}" 2
echo "ok: a restarted one gets them again"
wait_for reported ended "${late:0:12}"
echo "ok: its end is reported"

pid=$(docker inspect -f '{{.State.Pid}}' pv-late)
nsenter --target "$pid" --mount /bin/umount /proc/meminfo
wait_for has_views pv-late
wait_for reported attached "${late:0:12}" 3
echo "ok: views that were taken away are put back"

seq 12 | xargs -P 6 -I N docker run -d --name pv-many-N --network none -m 256m pv-busybox sleep 1000 >/dev/null
for i in $(seq 12); do
    wait_for has_views "pv-many-$i"
done
echo "ok: many at once"
ids=$(docker ps -q --filter name=pv-many)
equal "each is attached to once" "$(for id in $ids; do count attached "$id"; done | sort -u)" 1
# shellcheck disable=SC2086
docker rm -f $ids >/dev/null

end_process "$procviewd_pid"
rmdir "$views" 2>/dev/null || umount -l "$views"
rm -rf "$views"
equal "without a daemon the host is seen" "$(total_in pv-late)" "$host_total_kb"
run pv-between >/dev/null
start_procviewd
for name in pv-early pv-late pv-between; do
    wait_for has_views $name
done
echo "ok: a daemon that comes back is put in everywhere, also into what started meanwhile"

stop_watch
ok "the views stay when the watch ends" has_views pv-late
equal "it had no trouble" "$(cat "$work/watch.err")$(count trouble .)" 0

docker rm -f pv-late pv-early >/dev/null
left_out=$(run pv-left)
start_watch --rule '/docker/*' --rule '/system.slice/docker-*.scope' \
    --rule "!/docker/$left_out" --rule "!/system.slice/docker-$left_out.scope" --rule /pv-watch-slow
# One that takes its time from its cgroup to namespaces of its own, of which nothing tells.
into pv-watch-slow sh -c 'sleep 3; exec unshare --mount --pid --fork --mount-proc sleep 1000' &
disown
wait_for has_views pv-pids
echo "ok: a rule names cgroups, also such without a pid namespace"
run pv-late >/dev/null
wait_for has_views pv-late
equal "what is left out is left out" "$(total_in pv-left)" "$host_total_kb"
wait_for reported attached pv-watch-slow
echo "ok: one that starts slowly gets them"
stop_watch
stop_slow
"$PROCVIEW" detach pv-late >/dev/null
start_watch --dry-run
wait_for reported would-attach "$(docker inspect -f '{{.Id}}' pv-late)"
equal "a dry run changes nothing" "$(total_in pv-late)" "$host_total_kb"
stop_watch
status=0
"$PROCVIEW" watch --rule docker 2>"$work/err" || status=$?
equal "a bad rule is a usage error" $status 2
contains "which is named" "$(cat "$work/err")" 'bad rule "docker"'

# The same by the daemon itself.
end_process "$procviewd_pid"
umount -l "$views" 2>/dev/null || true
rm -rf "$views"
start_procviewd --auto-attach '/docker/* /system.slice/docker-*.scope'
helpers() {
    pgrep -P "$procviewd_pid" -f -- --auto-attach-helper
}
wait_for has_views pv-late
wait_for has_views pv-pids
echo "ok: procviewd --auto-attach does the same"
helper=$(helpers)
ok "in a process of its own" [ -n "$helper" ]
kill -KILL "$helper"
docker restart -t 0 pv-late >/dev/null
wait_for has_views pv-late
echo "ok: which is started again when it dies"
helper=$(helpers)
end_process "$procviewd_pid"
equal "at the end the views are taken out" "$(total_in pv-late)" "$host_total_kb"
ok "and the process has ended" [ ! -e "/proc/$helper" ]
