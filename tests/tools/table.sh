# shellcheck shell=bash disable=SC2154 # what describes the container is set by the script that reads this
# What each program has to say in the container. Sourced once for every container, with these set:
#
#   memory_kb, memory_mib, memory_bytes    its limit
#   swap_kb, swap_mib, swap_bytes          its swap
#   cpus, cpu_list                         how many CPUs, and which as the kernel writes it: 0, 1, 0-1
#   cpu_lines                              one word a CPU: "0 1"
#
# A row: row PROGRAM COMMAND LINES EXPECTED. Of COMMAND's output the lines that match LINES, joined by "; ", have to match
# EXPECTED; no line of it may hold a number of the host (see host_numbers in the script). Both are extended
# regular expressions. A container just started is up 0 minutes, or 2 on a slow machine.

load='0\.[0-9][0-9]'
up='up +([0-2] min|[0-9]+ sec)'

# One line a CPU and no more: each_cpu BEFORE AFTER.
each_cpu() {
    local cpu regex=""
    for cpu in $cpu_lines; do regex+="${regex:+; }$1$cpu$2[^;]*"; done
    echo "^$regex\$"
}

# Seconds since a date that a program prints: seconds_since COMMAND.
seconds_since() {
    echo "echo \$((\$(date +%s) - \$(date -d \"\$($1)\" +%s)))"
}
seconds='(-1|1?[0-9]?[0-9])' # up to 199; a clock read between two others may be one behind

row free "free -k" "^Mem:" "^Mem: +$memory_kb +[0-9]{1,6} "
row free "free -m" "^Mem:" "^Mem: +$memory_mib +[0-9]{1,3} "
row free "free -b" "^Mem:" "^Mem: +$memory_bytes "
row free "free -k" "^Swap:" "^Swap: +$swap_kb +[0-9]+ +[0-9]+\$"
row top "top -bn1 -w 100" "^MiB Mem" "MiB Mem : +$memory_mib\.0 total"
row top "top -bn1 -w 100" "^MiB Swap" "MiB Swap: +$swap_mib\.0 total"
row top "top -bn1 -w 100" "^top - " "$up, .*load average: $load, $load, $load\$"
row top "top -1 -bn1 -w 100 | grep -o '%Cpu[0-9]*'" "." "$(each_cpu '%Cpu' '')"
# htop calls the only CPU "CPU", several by their numbers, and shows the numbers left out as offline; two of them
# share a line.
htop="export TMUX_TMPDIR=/tmp TERM=screen; tmux -f /dev/null new-session -d -x 100 -y 30 htop;
for i in 1 2 3 4 5 6 7 8; do sleep 0.5; tmux capture-pane -p | grep -q 'Uptime: [0-9]' && break; done;
tmux capture-pane -p; tmux kill-server"
htop_cpus="^[^[]*CPU\[( *offline\][^[]*CPU\[)?[^[]*\$"
[ "$cpus" = 1 ] || htop_cpus="^[^[]* ${cpu_list%-*}\[[^[]* ${cpu_list#*-}\[[^[]*\$"
row htop "$htop" "Mem\[" "Mem\[.*[0-9][KM]/$memory_mib(\.0)?M\]"
row htop "$htop" "Swp\[" "Swp\[.*[0-9][KM]/$swap_mib(\.0)?(M|K)\]"
row htop "$htop" "Uptime:" "Uptime: 00:0[0-2]:"
row htop "$htop" "(CPU| [0-9]+)\[" "$htop_cpus"
row nproc "nproc" "." "^$cpus\$"
row getconf "getconf _NPROCESSORS_ONLN" "." "^$cpus\$"
row lscpu "lscpu" "^CPU\(s\):" "^CPU\(s\): +$cpus\$"
row lscpu "lscpu" "^On-line" "^On-line CPU\(s\) list: +${cpu_list/-/[-,]}\$"
row lscpu "lscpu -p=CPU" "^[0-9]" "$(each_cpu '' '')"
row uptime "uptime" "." "$up, .*load average: $load, $load, $load\$"
row uptime "uptime -p" "." "^up ([0-2] minutes?)?\$"
row uptime "$(seconds_since 'uptime -s')" "." "^$seconds\$"
row w "w" "load" "$up, .*load average: $load, $load, $load\$"
row vmstat "vmstat -s" "total" "^ *$memory_kb K total memory; *$swap_kb K total swap\$"
row vmstat "vmstat" "^ *[0-9]" "^ *[0-9]+ +[0-9]+ +[0-9]{1,6} +[0-9]{1,6} "
row vmstat "vmstat -s" "interrupts|context" "^ *0 interrupts; *0 CPU context switches\$"
row vmstat "echo \$((\$(date +%s) - \$(vmstat -s | sed -n 's/ boot time//p')))" "." "^$seconds\$"
row mpstat "mpstat" "^Linux" "\($cpus CPU\)\$"
row mpstat "mpstat -P ALL | awk '\$2 ~ /^[0-9]+\$/ || \$3 ~ /^[0-9]+\$/ {print (\$2 ~ /^[0-9]+\$/) ? \$2 : \$3}'" \
    "." "$(each_cpu '' '')"
row busybox "busybox free" "^Mem:" "^Mem: +$memory_kb +[0-9]{1,6} "
row busybox "busybox free" "^Swap:" "^Swap: +$swap_kb "
row busybox "busybox top -bn1 | sed -n 's/^Mem: \([0-9]*\)K used, \([0-9]*\)K free.*/\1 \2/p' |
    { read -r used free; echo \$((used + free)); }" "." "^$memory_kb\$"
row busybox "busybox nproc" "." "^$cpus\$"
row busybox "busybox uptime" "." "$up, .*load average: $load, $load, $load\$"
# Both are slow to start, so each prints all at once.
python="/usr/bin/python3 -c '
import os, time, psutil
memory = psutil.virtual_memory()
print(\"cpu_count\", psutil.cpu_count(), psutil.cpu_count(logical=True), os.cpu_count())
print(\"affinity\", len(os.sched_getaffinity(0)), len(psutil.Process().cpu_affinity()))
print(\"memory\", memory.total, memory.available <= memory.total)
print(\"swap\", psutil.swap_memory().total)
print(\"booted\", int(time.time() - psutil.boot_time()))
print(\"started\", int(time.time() - psutil.Process().create_time()))
print(\"load\", *psutil.getloadavg())
print(\"cpu_times\", len(psutil.cpu_times(percpu=True)), int(sum(psutil.cpu_times()[:8])))'"
row python3-psutil "$python" "^cpu_count" "^cpu_count $cpus $cpus $cpus\$"
row python3-psutil "$python" "^affinity" "^affinity $cpus $cpus\$"
row python3-psutil "$python" "^memory" "^memory $memory_bytes True\$"
row python3-psutil "$python" "^swap" "^swap $swap_bytes\$"
row python3-psutil "$python" "^booted" "^booted $seconds\$"
[ -z "$knows_start_times" ] || row python3-psutil "$python" "^started" "^started $seconds\$"
row python3-psutil "$python" "^load" "^load 0\.[0-9]+ 0\.[0-9]+ 0\.[0-9]+\$"
row python3-psutil "$python" "^cpu_times" "^cpu_times $cpus [12]?[0-9]?[0-9]\$"
node="node -e '
const os = require(\"os\");
console.log(\"memory\", os.totalmem(), os.freemem() <= os.totalmem());
console.log(\"cpus\", os.cpus().length, os.availableParallelism ? os.availableParallelism() : os.cpus().length);
console.log(\"uptime\", Math.floor(os.uptime()));
console.log(\"load\", ...os.loadavg());'"
row node "$node" "^memory" "^memory $memory_bytes true\$"
row node "$node" "^cpus" "^cpus $cpus $cpus\$"
row node "$node" "^uptime" "^uptime $seconds\$"
row node "$node" "^load" "^load 0(\.[0-9]+)? 0(\.[0-9]+)? 0(\.[0-9]+)?\$"
if [ -n "$knows_start_times" ]; then
row ps "ps -o etimes= -p 1" "." "^ *$seconds\$"
row ps "ps -o etime= -p 1" "." "^ *0[0-2]:[0-9][0-9]\$"
row ps "$(seconds_since 'ps -o lstart= -p 1')" "." "^$seconds\$"
else
    echo "skip: ps and psutil's start times: before Linux 5.11 the kernel does not apply time namespaces to them"
fi
