#!/bin/bash
# procview run and doctor, for real: namespaces, cgroups, signals, and that nothing is left.
#
#   run.sh BUILD-DIR [TEST...]
#
# Runs as root on cgroup v1, v2 and hybrid. Prints a line a test and, for one that failed, what it had printed;
# exits 1 when one failed, 77 with a reason where the machine cannot run them.
set -u

build=$(realpath "${1:?usage: run.sh BUILD-DIR [TEST...]}")
shift
procview=$build/src/cli/procview
export PROCVIEW_DAEMON=$build/src/daemon/procviewd
slow=${PV_TEST_SLOW:-1}
# Two of these may run at once.
export id=pvt$$

[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
[ -c /dev/fuse ] || { echo "SKIP: no /dev/fuse"; exit 77; }
scratch=$(mktemp -d /tmp/pv-test-run.XXXXXX) || exit 1
chmod 755 "$scratch"
# What a test that failed has left goes by its name.
clean_up() {
    for record in /run/procview/run/"$id"-*; do
        [ -e "$record" ] && kill "$(cat "$record")" && sleep 1
    done 2>/dev/null
    "$procview" doctor >/dev/null 2>&1
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 1' TERM INT HUP
# shellcheck source=tests/guardian.sh
. "$(dirname "$0")/../guardian.sh"
guard "$scratch" "$id-" "$procview" doctor

# ---- helpers ----

run() { "$procview" run "$@"; }
plain() { "$procview" run --no-views "$@"; }

fail() {
    echo "    $*"
    exit 1
}

# equal WHAT ACTUAL EXPECTED
equal() { [ "$2" = "$3" ] || fail "$1: '$2', expected '$3'"; }

# contains WHAT TEXT PART
contains() {
    case $2 in
    *"$3"*) ;;
    *) fail "$1: '$2' has no '$3'" ;;
    esac
}

# status_is EXPECTED COMMAND...: its output is in $output
status_is() {
    local expected=$1 status=0
    shift
    output=$("$@" 2>&1) || status=$?
    [ "$status" = "$expected" ] || fail "exit status $status, expected $expected: $* -> $output"
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
    local n=$(($1 * 20 * slow))
    shift
    until "$@" 2>/dev/null; do
        n=$((n - 1))
        [ $n -gt 0 ] || fail "not in time: $*"
        sleep 0.05
    done
}

# The cgroup file of a controller: v1's or v2's name of it.
# limit_file CONTAINER CONTROLLER V1-FILE V2-FILE
limit_file() {
    local dir
    dir=$(awk -v c="$2" '{
        n = split($0, half, " - "); split(half[1], a, " "); split(half[2], b, " ")
        if (b[1] == "cgroup" && ("," b[3] ",") ~ ("," c ",")) { print a[5]; exit }
    }' /proc/self/mountinfo)
    if [ -n "$dir" ]; then
        echo "$dir/procview/$1/$3"
    else
        dir=$(awk '{
            split($0, half, " - "); split(half[1], a, " "); split(half[2], b, " ")
            if (b[1] == "cgroup2") { print a[5]; exit }
        }' /proc/self/mountinfo)
        echo "$dir/procview/$1/$4"
    fi
}

is_v1() { grep -q -- ' - cgroup .*memory' /proc/self/mountinfo; }

has_controller() { is_v1 || grep -qw "$1" /sys/fs/cgroup/cgroup.controllers; }

# Everything of a container that the host can see.
traces_of() {
    awk '{ split($0, half, " - "); split(half[1], a, " ")
           if (half[2] ~ /^cgroup/) print a[5] }' /proc/self/mountinfo |
        while read -r dir; do ls -d "$dir/procview/$1" 2>/dev/null; done
    ls -d "/run/procview/run/$1" "/run/procview/views/$1" 2>/dev/null
    grep "/run/procview/views/$1" /proc/self/mountinfo
    return 0
}

nothing_left() { equal "left of $1" "$(traces_of "$1")" ""; }
is_gone() { [ -z "$(traces_of "$1")" ]; }
is_stopped() { [ "$(awk '/^State:/ { print $2 }' "/proc/$1/status")" = T ]; }
ended() { ! kill -0 "$1" 2>/dev/null; }

# start_in_background NAME ARGUMENT...: $launcher is its pid, $log its output; waits for the line "up"
start_in_background() {
    name=$1
    shift
    log=$scratch/$name.log
    # A group of its own; and the shell has background jobs ignore SIGINT and SIGQUIT.
    setsid env --default-signal "$procview" run --name "$name" "$@" >"$log" 2>&1 &
    launcher=$!
    wait_for 20 grep -q . "$log"
    grep -q up "$log" || fail "$(cat "$log")"
}

# ---- exit status ----

test_exit_status_is_that_of_the_command() {
    status_is 0 plain -- true
    status_is 7 plain -- sh -c 'exit 7'
    status_is 255 plain -- sh -c 'exit 255'
}

test_a_killed_command_is_128_and_the_signal() {
    status_is 137 plain -- sh -c 'kill -9 $$'
    status_is 143 plain -- sh -c 'kill -TERM $$'
}

test_a_command_that_is_not_there_is_127() {
    status_is 127 plain -- /no/such/command
    contains message "$output" "/no/such/command: not found"
    status_is 127 plain -- no-such-command-either
}

test_a_script_without_its_interpreter_is_told_apart() {
    mkdir "$scratch/scripts"
    printf '#!/no/such/interpreter\n' >"$scratch/scripts/script"
    chmod -R 755 "$scratch/scripts"
    for program in usr bin lib lib64; do
        [ ! -L /$program ] || ln -s "usr/$program" "$scratch/scripts/$program"
    done
    status_is 127 plain --rootfs "$scratch/scripts" -- /script
    contains message "$output" "the interpreter that it names is not in the container"
}

test_closed_stdin_is_no_trouble() {
    status_is 0 run -- true <&-
    status_is 0 run -- sh -c 'readlink /proc/self/fd/0' <&- >&-
}

test_a_signal_that_comes_as_soon_as_the_command_runs_is_its_own() {
    for _ in 1 2 3 4 5; do
        start_in_background $id-early --no-views -- sh -c 'trap "exit 5" TERM; echo up; while :; do sleep 0.1; done'
        kill -TERM "$launcher"
        wait "$launcher"
        equal "exit status" $? 5
    done
}

test_what_cannot_be_printed_is_no_success() {
    for command in ps "ps --json" "show meminfo --pid $$" "status --help" "--version"; do
        # shellcheck disable=SC2086
        "$procview" $command >/dev/full 2>"$scratch/said"
        equal "procview $command" $? 1
        contains "procview $command" "$(cat "$scratch/said")" "No space left on device"
    done
}

test_a_command_that_cannot_be_executed_is_126() {
    status_is 126 plain -- /etc/passwd
    contains message "$output" "cannot be executed: Permission denied"
    status_is 126 plain -- /etc
}

test_output_and_input_pass_through() {
    equal output "$(echo in | plain -- sh -c 'cat; echo out; echo err >&2' 2>"$scratch/err")" \
        "in
out"
    equal stderr "$(cat "$scratch/err")" err
}

# ---- messages ----

# refused PART OPTION...
refused() {
    local part=$1
    shift
    status_is 125 plain --name $id-refused "$@" -- true
    contains "message of $*" "$output" "$part"
    nothing_left $id-refused
}

test_what_cannot_be_had_is_explained() {
    refused "--memory 1k: below what a process needs (min 4M)" --memory 1k
    refused "--memory lots: not a size" --memory lots
    refused "--cpus 5000: more than this machine has online" --cpus 5000
    refused "--cpuset 8000: CPU 8000 is not online here (" --cpuset 8000
    refused "--pids 1: the container's init and COMMAND are two" --pids 1
    refused "--net bridge: none or host" --net bridge
    refused "--rootfs /no/such/dir: no such directory" --rootfs /no/such/dir
    refused "--workdir /no/such/dir: No such file or directory" --workdir /no/such/dir
    refused "Unknown option --bogus" --bogus
    status_is 125 plain
    contains message "$output" "no COMMAND"
}

test_swap_without_memory_is_explained_on_v1() {
    is_v1 || { echo "    skipped: cgroup v2 limits swap alone"; return; }
    refused "--swap: needs --memory too" --swap 1M
}

test_systemd_manager_without_systemd_is_explained() {
    [ ! -d /run/systemd/system ] || { echo "    skipped: systemd is running"; return; }
    refused "systemd does not manage this machine (no /run/systemd/system); use --cgroup-manager cgroupfs" \
        --cgroup-manager systemd
}

test_systemd_makes_a_scope() {
    [ -S /run/dbus/system_bus_socket ] && [ -d /run/systemd/system ] ||
        { echo "    skipped: no systemd with a system bus"; return; }
    start_in_background "$id-scope" --no-views --cgroup-manager systemd --memory 64M --pids 50 -- \
        sh -c 'cut -d: -f3 /proc/self/cgroup | sort -u; echo up; exec sleep 60'
    equal paths "$(head -1 "$log")" /
    equal memory "$(systemctl show -P MemoryMax "procview-$id-scope.scope")" 67108864
    equal tasks "$(systemctl show -P TasksMax "procview-$id-scope.scope")" 50
    kill "$launcher"
    wait "$launcher"
    nothing_left "$id-scope"
    equal state "$(systemctl is-active "procview-$id-scope.scope")" inactive
}

test_ps_tells_who_cannot_see_all() {
    # Opened as root: nobody may not get to where the program is.
    output=$(setpriv --reuid=65534 --clear-groups --inh-caps=-all --bounding-set=-all \
        /proc/self/fd/9 ps 9<"$procview" 2>&1 >/dev/null)
    contains message "$output" "only root can see"
}

test_without_privileges_it_says_so() {
    status_is 125 setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$procview" run -- true
    contains message "$output" "needs root with CAP_SYS_ADMIN"
}

test_cgroups_that_cannot_be_written_are_named() {
    status_is 125 unshare --mount sh -c '
        for dir in $(awk "/ - cgroup/ { print \$5 }" /proc/self/mountinfo); do
            mount -o remount,bind,ro "$dir"
        done
        exec "$0" run --no-views --name $id-readonly -- true' "$procview"
    contains message "$output" "cannot make the cgroup /sys/fs/cgroup"
    contains message "$output" "cgroups are mounted read-only here"
    nothing_left $id-readonly
}

test_a_missing_daemon_is_explained() {
    PROCVIEW_DAEMON=/no/such/procviewd status_is 125 run --name $id-nodaemon -- true
    if ! grep -q ' /var/lib/procview .* - fuse.procview' /proc/self/mountinfo; then
        contains message "$output" "PROCVIEW_DAEMON: /no/such/procviewd cannot be executed"
    fi
    nothing_left $id-nodaemon
}

test_a_daemon_that_fails_is_quoted() {
    if grep -q ' /var/lib/procview .* - fuse.procview' /proc/self/mountinfo; then
        echo "    skipped: the host's daemon is used"
        return
    fi
    printf '#!/bin/sh\necho "no way"\nexit 1\n' >"$scratch/bad-daemon"
    chmod +x "$scratch/bad-daemon"
    PROCVIEW_DAEMON=$scratch/bad-daemon status_is 125 run --name $id-baddaemon -- true
    contains message "$output" "ended instead of serving: no way"
    nothing_left $id-baddaemon
}

test_a_name_in_use_is_refused() {
    start_in_background $id-twice --no-views -- sh -c 'echo up; sleep 60'
    status_is 125 plain --name $id-twice -- true
    contains message "$output" "--name $id-twice: a container of that name is running"
    contains message "$output" "process $launcher"
    kill "$launcher"
    wait "$launcher"
    wait_for 10 is_gone $id-twice
}

# ---- signals ----

test_signals_reach_the_command() {
    local signal
    for signal in TERM INT HUP QUIT USR1 USR2; do
        start_in_background "$id-$signal" --no-views -- sh -c \
            "trap 'echo got; exit 3' $signal; echo up; while :; do sleep 0.05; done"
        kill "-$signal" "$launcher"
        wait "$launcher"
        equal "status after $signal" $? 3
        equal "lines after $signal" "$(grep -c got "$log")" 1
    done
}

test_signals_to_pid_1_reach_the_command() {
    status_is 4 plain -- sh -c 'trap "exit 4" TERM; kill -TERM 1; sleep 5 & wait'
}

test_an_unhandled_signal_ends_the_container() {
    start_in_background $id-term --no-views -- sh -c 'echo up; exec sleep 60'
    kill -TERM "$launcher"
    wait "$launcher"
    equal status $? 143
    nothing_left $id-term
}

# type_into LOG COMMAND...: a terminal of its own runs it; what stdin says is typed
type_into() {
    local log=$1
    shift
    timeout $((60 * slow)) script -qefc "$*" /dev/null >"$log" 2>&1
}

test_ctrl_c_arrives_once() {
    # The terminal sends it to the whole group; the shell inside counts what it got until a line comes.
    local log=$scratch/ctrl-c
    : >"$log"
    {
        wait_for 20 grep -q up "$log"
        printf '\003'
        wait_for 20 grep -q got "$log"
        sleep 0.5 # for a second one
        printf '\n'
    } | type_into "$log" "$procview run --no-views -- sh -c \
        'n=0; trap \"n=\\\$((n+1)); echo got\" INT; echo up; until read line; do :; done; echo count=\$n'"
    contains output "$(cat "$log")" "count=1"
}

test_the_container_cannot_signal_the_launchers_group() {
    status_is 143 plain -- sh -c 'kill -TERM 0; sleep 1' </dev/null
    (
        trap 'echo reached >"$scratch/reached"' TERM
        plain -- sh -c 'trap "" TERM; kill -TERM 0' </dev/null >/dev/null 2>&1
    )
    [ ! -e "$scratch/reached" ] || fail "the shell around it got the signal"
}

test_it_stops_when_told_to() {
    start_in_background "$id-tstp" --no-views -- sh -c 'echo up; sleep 1; exit 6'
    kill -TSTP "$launcher"
    wait_for 10 is_stopped "$launcher"
    kill -CONT "$launcher"
    wait "$launcher"
    equal status $? 6
}

test_it_stops_and_continues_with_the_command() {
    start_in_background $id-stop --no-views -- sh -c 'echo up; kill -STOP $$; echo continued; exit 5'
    wait_for 10 is_stopped "$launcher"
    kill -CONT "$launcher"
    wait "$launcher"
    equal status $? 5
    contains output "$(cat "$log")" continued
}

test_ctrl_z_gives_the_shell_its_prompt_back() {
    local log=$scratch/ctrl-z
    : >"$log"
    cat >"$scratch/job.sh" <<-END
	set -m
	$procview run --no-views -- sh -c 'echo up; read line; echo finished'
	echo "stopped with \$?"
	fg
	echo "ended with \$?"
	END
    {
        wait_for 20 grep -q up "$log"
        printf '\032'
        wait_for 20 grep -q "stopped with" "$log"
        printf '\n'
    } | type_into "$log" "bash $scratch/job.sh"
    contains output "$(cat "$log")" "stopped with 148"
    contains output "$(cat "$log")" finished
    contains output "$(cat "$log")" "ended with 0"
}

test_a_signal_while_it_starts_is_not_lost() {
    if grep -q ' /var/lib/procview .* - fuse.procview' /proc/self/mountinfo; then
        echo "    skipped: the host's daemon is used"
        return
    fi
    printf '#!/bin/sh\ntouch %s/starting\nsleep 1\nexec %s "$@"\n' \
        "$scratch" "$PROCVIEW_DAEMON" \
        >"$scratch/late-daemon"
    chmod +x "$scratch/late-daemon"
    PROCVIEW_DAEMON=$scratch/late-daemon "$procview" run --name $id-early -- sleep 60 &
    launcher=$!
    wait_for 10 test -e "$scratch/starting"
    kill -USR2 "$launcher"
    wait "$launcher"
    equal status $? 140
    nothing_left $id-early
}

test_a_signal_while_it_starts_leaves_nothing() {
    printf '#!/bin/sh\nsleep 60\n' >"$scratch/slow-daemon"
    chmod +x "$scratch/slow-daemon"
    if grep -q ' /var/lib/procview .* - fuse.procview' /proc/self/mountinfo; then
        echo "    skipped: the host's daemon is used"
        return
    fi
    PROCVIEW_DAEMON=$scratch/slow-daemon setsid "$procview" run --name $id-early -- true \
        >"$scratch/early" 2>&1 &
    launcher=$!
    wait_for 10 test -e /run/procview/views/$id-early
    kill -TERM $launcher
    wait $launcher
    equal status $? 143
    nothing_left $id-early
}

# ---- limits ----

test_limits_are_in_the_kernels_files() {
    local name=$id-limits cpus=0
    start_in_background $name --no-views --memory 64M --cpus 0.5 --cpuset 0 --pids 50 -- \
        sh -c 'echo up; exec sleep 60'
    equal memory "$(cat "$(limit_file $name memory memory.limit_in_bytes memory.max)")" 67108864
    equal pids "$(cat "$(limit_file $name pids pids.max pids.max)")" 50
    equal cpuset "$(cat "$(limit_file $name cpuset cpuset.cpus cpuset.cpus)")" "$cpus"
    if is_v1; then
        equal quota "$(cat "$(limit_file $name cpu cpu.cfs_quota_us -)")" 50000
        equal period "$(cat "$(limit_file $name cpu cpu.cfs_period_us -)")" 100000
    else
        equal quota "$(cat "$(limit_file $name cpu - cpu.max)")" "50000 100000"
    fi
    kill "$launcher"
    wait "$launcher"
    nothing_left $name
}

test_swap_is_limited() {
    local name=$id-swap file value=83886080
    file=$(limit_file $name memory memory.memsw.limit_in_bytes memory.swap.max)
    if is_v1 && [ ! -e "${file%/procview/*}/memory.memsw.limit_in_bytes" ]; then
        echo "    skipped: this kernel does not account swap"
        return
    fi
    is_v1 || value=16777216
    start_in_background $name --no-views --memory 64M --swap 16M -- sh -c 'echo up; exec sleep 60'
    equal swap "$(cat "$file")" $value
    kill "$launcher"
    wait "$launcher"
}

test_the_pids_limit_holds() {
    status_is 2 plain --pids 2 -- sh -c 'sleep 0; sleep 0'
    contains output "$output" "Cannot fork"
}

test_running_out_of_memory_is_told() {
    status_is 137 plain --memory 16M --swap 0 -- sh -c 'exec dd if=/dev/zero of=/dev/shm/x bs=1M count=60'
    contains message "$output" "procview: the container has used up its memory limit"
}

# ---- namespaces ----

test_the_container_is_at_the_root_of_its_cgroups() {
    status_is 0 plain --memory 64M -- sh -c 'cut -d: -f3 /proc/self/cgroup | sort -u'
    equal paths "$output" /
}

test_nothing_above_the_cgroup_is_visible() {
    status_is 0 plain -- sh -c 'find /sys/fs/cgroup -maxdepth 3 -name procview; cat /proc/self/mountinfo'
    case $output in
    */procview*) fail "the host's cgroups are visible: $output" ;;
    esac
    # Field 4 of a cgroup mount is the root of what it shows.
    equal roots "$(echo "$output" | awk '/ - cgroup/ { print $4 }' | sort -u)" /
}

# The v1 or v2 names of a file of the memory controller in the view.
memory_dir() { if is_v1; then echo /sys/fs/cgroup/memory; else echo /sys/fs/cgroup; fi; }
memory_max() { if is_v1; then echo memory.limit_in_bytes; else echo memory.max; fi; }

test_cgroups_by_fuse_are_the_containers_own() {
    local dir max
    dir=$(memory_dir) max=$(memory_max)
    equal "type" "$(run --cgroup-view=fuse -- findmnt -no FSTYPE /sys/fs/cgroup)" fuse.procview
    equal "limit" "$(run --cgroup-view=fuse --memory 64M -- cat "$dir/$max")" 67108864
    equal "processes" "$(run --cgroup-view=fuse -- sh -c "grep -cx 1 $dir/cgroup.procs")" 1
    equal "what is above" "$(run --cgroup-view=fuse -- sh -c "ls $dir/.. $dir/../.. 2>&1 | grep -c procview")" 0
}

test_cgroups_by_fuse_can_be_made_but_not_raised() {
    local dir max
    dir=$(memory_dir) max=$(memory_max)
    status_is 0 run --cgroup-view=fuse --memory 64M -- sh -c "
        echo 1073741824 >$dir/$max && exit 1
        mkdir $dir/inner && mkdir $dir/inner/most && rmdir $dir/inner && exit 2
        rmdir $dir/inner/most && rmdir $dir/inner || exit 3
        [ \"\$(cat $dir/$max)\" = 67108864 ]"
}

# The same names stand for other cgroups in each of them.
test_cgroups_by_fuse_are_not_disturbed_by_another_containers() {
    local dir
    dir=$(memory_dir)
    start_in_background $id-still --cgroup-view=fuse -- sh -c "mkdir $dir/same && cd $dir/same && echo up
        for i in \$(seq 30); do env pwd -P; sleep 0.1; done; cd / && rmdir $dir/same"
    status_is 0 run --cgroup-view=fuse -- sh -c "mkdir $dir/same && for i in \$(seq 30); do ls $dir >/dev/null
        [ -e $dir/same ] || exit 1; sleep 0.1; done; rmdir $dir/same"
    wait "$launcher"
    equal "where it is" "$(sort -u "$log" | grep -v '^up$')" "$dir/same"
}

# The kernel's word for what one sees of another: a process that has entered its cgroup namespace.
kernel_says() { # kernel_says PID SEEN-BY
    nsenter --target "$2" --cgroup cat "/proc/$1/cgroup" | sort
}

init_of() { head -n 1 "$(limit_file "$1" memory cgroup.procs cgroup.procs)"; }

test_cgroup_paths_are_those_that_the_kernel_says() {
    local a b
    start_in_background $id-seen --no-views --memory 64M --cpus 0.5 --pids 50 --cpuset 0 -- sh -c 'echo up; exec sleep 60'
    local first=$launcher
    start_in_background $id-seer --no-views --memory 64M --cpus 0.5 --pids 50 --cpuset 0 -- sh -c 'echo up; exec sleep 60'
    a=$(init_of $id-seen) b=$(init_of $id-seer)
    equal "itself" "$("$procview" cgroup "$a" | sort)" "$(kernel_says "$a" "$a")"
    equal "by another" "$("$procview" cgroup "$a" --seen-by "$b" | sort)" "$(kernel_says "$a" "$b")"
    contains "by another" "$("$procview" cgroup "$a" --seen-by "$b")" ":/../$id-seen"
    equal "the host's, by a container" "$("$procview" cgroup $$ --seen-by "$b" | sort)" "$(kernel_says $$ "$b")"
    kill "$first" "$launcher"
    wait "$first" "$launcher"
}

test_cgroups_are_read_only() {
    status_is 0 plain -- sh -c 'for f in $(find /sys/fs/cgroup -name cgroup.procs); do
        echo 1 2>/dev/null >"$f" && echo "wrote $f"; done; mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; :'
    equal output "$output" ""
}

test_no_mount_of_the_host_is_left_in_it() {
    status_is 0 plain -- cat /proc/self/mountinfo
    case $output in
    *"$scratch"* | */run/procview*) fail "$output" ;;
    esac
    # Nothing can propagate in or out.
    case $output in
    *shared:* | *master:*) fail "$output" ;;
    esac
}

test_pids_begin_anew() {
    status_is 0 plain -- sh -c 'set -- /proc/[0-9]*; echo "$$ $*"'
    equal output "$output" "2 /proc/1 /proc/2"
}

test_the_host_name_is_its_own() {
    local before
    before=$(hostname)
    equal name "$(plain --hostname web.example -- hostname)" web.example
    equal default "$(plain --name $id-host -- hostname)" $id-host
    equal "the host's" "$(hostname)" "$before"
}

test_uptime_begins_at_the_start() {
    [ -e /proc/self/ns/time ] || { echo "    skipped: no time namespaces"; return; }
    status_is 0 plain -- cut -d. -f1 /proc/uptime
    [ "$output" -le $((5 * slow)) ] || fail "uptime $output"
    if [ "$(printf '5.11\n%s\n' "$(uname -r)" | sort -V | head -n 1)" != 5.11 ]; then
        echo "    skipped: before Linux 5.11 the start times of processes do not know time namespaces"
        return
    fi
    status_is 0 plain -- sh -c 'ps -o etimes= -p 1'
    [ "$output" -le $((5 * slow)) ] || fail "the init's age is $output"
}

test_without_a_network_there_is_lo() {
    equal devices "$(plain -- ls /sys/class/net)" lo
    status_is 0 plain -- sh -c 'cat /sys/class/net/lo/flags'
    [ $((output & 1)) = 1 ] || fail "lo is down: $output"
}

test_the_hosts_network_can_be_shared() {
    equal devices "$(plain --net host -- ls /sys/class/net)" "$(ls /sys/class/net)"
    equal devices "$(plain --net host --user-ns -- ls /sys/class/net)" "$(ls /sys/class/net)"
}

test_user_namespace_has_root_inside_only() {
    status_is 0 plain --user-ns -- sh -c 'id -u; id -g; cat /etc/shadow >/dev/null 2>&1 || echo refused'
    equal ids "$output" "0
0
refused"
    start_in_background $id-user --no-views --user-ns -- sh -c 'echo up; exec sleep 60'
    local child
    child=$(pgrep -P "$launcher" | head -1)
    [ "$(awk '/^Uid:/ { print $2 }' "/proc/$child/status")" -ge 100000 ] || fail "init runs as root"
    kill "$launcher"
    wait "$launcher"
}

# ---- the file system ----

test_the_hosts_root_is_read_only() {
    status_is 0 plain -- sh -c 'touch /pv-test /etc/pv-test /usr/pv-test 2>/dev/null; touch /tmp/a /run/b /dev/shm/c && echo ok'
    equal output "$output" ok
    for file in /pv-test /etc/pv-test /usr/pv-test; do
        [ ! -e $file ] || { rm -f $file; fail "$file was written"; }
    done
}

# make_rootfs DIR: busybox and nothing else
make_rootfs() {
    mkdir -p "$1/bin" "$1/etc"
    cp "$(command -v busybox)" "$1/bin/busybox"
    ln -s busybox "$1/bin/sh"
}

test_a_root_directory_is_writable() {
    busybox true || { echo "    skipped: no busybox"; return; }
    make_rootfs "$scratch/root"
    status_is 0 plain --rootfs "$scratch/root" -- /bin/sh -c 'echo x >/etc/new; busybox ls /; busybox ls -l /dev/null'
    contains listing "$output" proc
    contains device "$output" "1,   3"
    equal file "$(cat "$scratch/root/etc/new")" x
    rm -rf "$scratch/root"
}

test_a_root_directory_belongs_to_the_user_namespace() {
    busybox true || { echo "    skipped: no busybox"; return; }
    make_rootfs "$scratch/root"
    status_is 0 plain --user-ns --rootfs "$scratch/root" -- /bin/sh -c 'busybox id -u'
    equal id "$output" 0
    rm -rf "$scratch/root"
}

test_symbolic_links_in_a_root_directory_lead_nowhere() {
    busybox true || { echo "    skipped: no busybox"; return; }
    local top
    for top in proc sys dev tmp; do
        make_rootfs "$scratch/root"
        mkdir "$scratch/target"
        ln -s "$scratch/target" "$scratch/root/$top"
        status_is 125 plain --name $id-link --rootfs "$scratch/root" -- /bin/sh -c :
        contains message "$output" "no usable /$top"
        equal target "$(ls -A "$scratch/target")" ""
        nothing_left $id-link
        rm -rf "$scratch/root" "$scratch/target"
    done
}

test_the_kernels_dangerous_files_are_out_of_reach() {
    status_is 0 plain -- sh -c 'for f in /proc/kcore /proc/keys /proc/timer_list; do
            [ -e $f ] && [ -n "$(head -c 1 $f | tr -d "\0")" ] && echo "$f can be read"; done
        echo 1 2>/dev/null >/proc/sys/kernel/panic && echo "panic was written"
        echo b 2>/dev/null >/proc/sysrq-trigger && echo "sysrq was written"; :'
    equal output "$output" ""
}

test_devices_are_those_that_programs_need() {
    status_is 0 plain -- sh -c 'for d in null zero full random urandom; do [ -c /dev/$d ] || echo "no $d"; done
        ls /dev | grep -v -x -E "null|zero|full|random|urandom|tty|console|pts|ptmx|shm|mqueue|fd|stdin|stdout|stderr"
        head -c 4 /dev/zero | wc -c; echo x >/dev/null; [ -c /dev/pts/ptmx ] || echo "no ptmx"; :'
    equal output "$output" 4
}

test_device_nodes_do_not_open() {
    status_is 0 plain -- sh -c 'mknod /tmp/mem c 1 1 2>/dev/null && head -c 1 /tmp/mem >/dev/null 2>&1 && echo opened; :'
    equal output "$output" ""
}

# ---- privileges ----

test_capabilities_are_few_and_stay_so() {
    status_is 0 plain -- sh -c 'grep -E "^(CapEff|CapBnd|CapInh|NoNewPrivs)" /proc/self/status | cut -f2'
    equal sets "$output" "0000000000000000
00000000a80425fb
00000000a80425fb
1"
}

# In a user namespace root could mount its cgroups writable, and lift its limits.
test_root_cannot_get_its_capabilities_back() {
    local option
    for option in --memory=64M --user-ns; do
        status_is 1 plain $option -- unshare --user --map-root-user --mount --cgroup true
        contains message "$output" "not permitted"
    done
    if command -v python3 >/dev/null; then # by clone, and by clone3 (which threads try first)
        status_is 0 plain -- python3 -c '
import ctypes, platform, threading
clone = 56 if platform.machine() == "x86_64" else 220
assert ctypes.CDLL(None).syscall(clone, 0x10000011, 0, 0, 0, 0) == -1
thread = threading.Thread(target=print)
thread.start()
thread.join()'
    fi
}

test_no_descriptor_of_the_host_leaks() {
    exec 7</etc/passwd 8<"$scratch"
    status_is 0 plain -- ls /proc/self/fd
    exec 7<&- 8<&-
    equal descriptors "$(echo "$output" | tr '\n' ' ')" "0 1 2 3 "
}

test_the_init_tells_nothing_of_the_host() {
    status_is 0 plain --env SECRET=of-the-host -- sh -c 'tr "\0" " " </proc/1/cmdline; readlink /proc/1/exe; ls /proc/1/fd; cat /proc/1/environ; :'
    case $output in
    *--env* | *of-the-host* | *"$build"*) fail "$output" ;;
    esac
    contains name "$output" procview-init
}

test_typing_into_the_users_terminal_is_refused() {
    command -v python3 >/dev/null || { echo "    skipped: no python3"; return; }
    timeout $((30 * slow)) script -qec "$procview run --no-views -- python3 -c \
        'import fcntl,termios;fcntl.ioctl(0,termios.TIOCSTI,b\"x\")'" /dev/null >"$scratch/tiocsti" 2>&1
    contains output "$(cat "$scratch/tiocsti")" "Operation not permitted"
}

test_the_environment_is_small() {
    PV_TEST_SECRET=1 status_is 0 plain --env A=b -- env
    contains environment "$output" A=b
    contains environment "$output" container=procview
    case $output in
    *PV_TEST_SECRET*) fail "$output" ;;
    esac
}

test_the_working_directory_can_be_chosen() {
    equal directory "$(plain --workdir /usr/bin -- pwd)" /usr/bin
    equal default "$(plain -- pwd)" /
}

# ---- the init ----

test_orphans_are_reaped() {
    status_is 0 plain -- sh -c '(sh -c "sleep 0.1 & sleep 0.1 & sleep 0.1 &") ; sleep 0.5
        grep -l "^State:.Z" /proc/[0-9]*/status | wc -l'
    equal zombies "$output" 0
}

test_what_the_command_leaves_behind_ends_with_it() {
    status_is 0 plain --name $id-left -- sh -c 'setsid sleep 1234 & setsid sleep 1235 & exit 0'
    equal processes "$(pgrep -f 'sleep 123[45]')" ""
    nothing_left $id-left
}

# ---- views ----

test_views_show_the_container() {
    status_is 0 run --memory 64M --cpus 0.5 -- sh -c 'grep MemTotal: /proc/meminfo; grep -c ^processor /proc/cpuinfo'
    contains meminfo "$output" "65536 kB"
    equal cpus "$(echo "$output" | tail -1)" 1
}

test_views_reach_a_user_namespace() {
    status_is 0 run --user-ns --memory 64M -- grep MemTotal: /proc/meminfo
    contains meminfo "$output" "65536 kB"
}

test_views_are_in_a_root_directory() {
    busybox true || { echo "    skipped: no busybox"; return; }
    make_rootfs "$scratch/root"
    status_is 0 run --memory 64M --rootfs "$scratch/root" -- /bin/busybox grep MemTotal: /proc/meminfo
    contains meminfo "$output" "65536 kB"
    rm -rf "$scratch/root"
}

test_system_calls_show_the_container() {
    busybox true || { echo "    skipped: no busybox"; return; }
    [ "$(uname -m)" = x86_64 ] || { echo "    skipped: for x86_64"; return; }
    status_is 0 run --memory 64M --cpus 0.5 -- sh -c 'busybox free -k | awk "/^Mem/ { print \$2 }"; nproc'
    equal "total and CPUs" "$output" "65536
1"
}

test_without_views_the_files_are_the_kernels() {
    status_is 0 plain --memory 64M -- sh -c 'grep -c fuse /proc/self/mountinfo; grep MemTotal /proc/meminfo'
    case $output in
    0*" 65536 kB"*) fail "$output" ;;
    0*) ;;
    *) fail "$output" ;;
    esac
}

test_its_own_daemon_is_gone_afterwards() {
    # Told by its arguments: others may start daemons of theirs meanwhile.
    start_in_background $id-daemon -- sh -c 'echo up; exec sleep 60'
    if ! grep -q ' /var/lib/procview .* - fuse.procview' /proc/self/mountinfo; then
        pgrep -f "procviewd.*/$id-daemon/" >/dev/null || fail "it has no daemon of its own"
    fi
    kill "$launcher"
    wait "$launcher"
    pgrep -a -f "procviewd.*/$id-daemon/" && fail "its daemon is there still"
    nothing_left $id-daemon
}

# ---- nothing is left ----

test_nothing_is_left_after_the_end() {
    status_is 3 run --name $id-end --memory 64M -- sh -c 'exit 3'
    nothing_left $id-end
}

test_killing_the_launcher_kills_the_container() {
    start_in_background $id-kill -- sh -c 'echo up; setsid sleep 4321 & exec sleep 4321'
    kill -KILL "$launcher"
    wait "$launcher" 2>/dev/null
    wait_for 10 sh -c '! pgrep -f "[s]leep 4321"'
    "$procview" doctor >"$scratch/doctor" 2>&1
    nothing_left $id-kill
    contains doctor "$(cat "$scratch/doctor")" "container $id-kill: its launcher was killed; removed"
}

test_the_next_run_cleans_up() {
    start_in_background $id-next --no-views -- sh -c 'echo up; exec sleep 60'
    kill -KILL "$launcher"
    wait "$launcher" 2>/dev/null
    [ -n "$(traces_of $id-next)" ] || fail "nothing to clean"
    status_is 0 plain -- true
    nothing_left $id-next
}

test_a_dry_run_of_doctor_changes_nothing() {
    start_in_background $id-dry --no-views -- sh -c 'echo up; exec sleep 60'
    kill -KILL "$launcher"
    wait "$launcher" 2>/dev/null
    output=$("$procview" doctor --dry-run)
    contains doctor "$output" "container $id-dry: its launcher was killed"
    [ -n "$(traces_of $id-dry)" ] || fail "it was cleaned"
    "$procview" doctor >/dev/null
    nothing_left $id-dry
}

test_doctor_leaves_running_containers_alone() {
    start_in_background $id-alive --no-views -- sh -c 'echo up; exec sleep 60'
    "$procview" doctor >/dev/null
    ended "$launcher" && fail "the container has ended"
    [ -n "$(traces_of $id-alive)" ] || fail "its cgroups are gone"
    kill "$launcher"
    wait "$launcher"
    nothing_left $id-alive
}

test_doctor_knows_json() {
    command -v python3 >/dev/null || { echo "    skipped: no python3"; return; }
    "$procview" doctor --json | python3 -c '
import json, sys
checks = json.load(sys.stdin)
assert any(c["check"] == "fuse" and c["status"] == "ok" for c in checks), checks
assert all(c["status"] in ("ok", "warn", "fail") for c in checks), checks' || fail "bad JSON"
}

test_several_at_once() {
    local n pids=()
    for n in 1 2 3 4; do
        run --name "$id-par$n" --memory 64M -- sh -c 'grep -q " 65536 kB" /proc/meminfo' &
        pids+=($!)
    done
    for n in 1 2 3 4; do
        wait "${pids[$((n - 1))]}" || fail "the ${n}th failed"
        nothing_left "$id-par$n"
    done
}

# ---- all of them ----

failed=0
mapfile -t names < <(declare -F | awk '{ print $3 }' | grep ^test_)
[ $# -eq 0 ] || names=("$@")
for name in "${names[@]}"; do
    if ("$name"; exit 0) >"$scratch/output" 2>&1; then
        if grep -q skipped: "$scratch/output"; then
            echo "SKIP $name: $(sed -n 's/.*skipped: //p' "$scratch/output" | head -1)"
        else
            echo "ok   $name"
        fi
    else
        echo "FAIL $name"
        cat "$scratch/output"
        failed=$((failed + 1))
    fi
done
[ $failed = 0 ] || { echo "$failed failed"; exit 1; }
