#!/bin/bash
# What procview-runtime adds to the start of a container: runc with and without it, in turn, on one bundle: medians and the least.
# "Start" is create and start of a container whose command ends at once. Printed with its parts; fails at 10 ms.

stop_manager() {
    : # containers end with their one command
}

# shellcheck source=tests/managers/lib.sh
. "$(dirname "$0")/../managers/lib.sh"

rounds=${PV_BENCH_ROUNDS:-60}
renice --priority -15 $$ >/dev/null 2>&1 || true
need_root
need_static_busybox
command -v runc >/dev/null || skip "runc is not installed (runc)"
command -v python3 >/dev/null || skip "python3 is not installed (python3)"
start_procviewd
bundle=$work/bundle
make_rootfs "$bundle/rootfs"
ln -s busybox "$bundle/rootfs/bin/true"
printf '%s\n' "[runtime]" "views=$views" "hook=$HOOK_PROGRAM" >"$work/runtime.conf"
export PROCVIEW_RUNTIME_CONF=$work/runtime.conf
runc spec --bundle "$bundle"

python3 - "$RUNTIME_PROGRAM" "$bundle" "$work" "$rounds" <<'END'
import json, os, resource, statistics, subprocess, sys, time

wrapper, bundle, work, rounds = sys.argv[1:4] + [int(sys.argv[4])]
config = json.load(open(f"{bundle}/config.json"))
config["process"].update(terminal=False, rlimits=[], args=["/bin/true"])
config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "network"]
# All that a start does is done before others are served, who may keep the machine busy: so is what is in its cgroup.
config["linux"]["resources"] = {"memory": {"limit": 256 << 20}, "cpu": {"shares": 262144}}
text = json.dumps(config)


def cpu():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime


def start(program, text, environment=None):
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
        file.write(text)
    before_cpu, before = cpu(), time.perf_counter()
    subprocess.run([*program, "--root", f"{work}/root", "run", "-b", bundle, f"pv-start-{os.getpid()}"],
                   check=True, env=environment)
    return (time.perf_counter() - before) * 1000, (cpu() - before_cpu) * 1000


start([wrapper], text)
edited = open(f"{bundle}/config.json", encoding="utf-8").read()
# The same without its hook, and without its mounts and hook but in the time namespace.
no_hook = json.loads(edited)
del no_hook["hooks"]["createContainer"]
no_mounts = json.loads(edited)
no_mounts["mounts"] = config["mounts"]
only_time = json.loads(json.dumps(no_mounts))
del only_time["hooks"]["createContainer"]
ways = {
    "runc": (["runc"], text),
    "procview-runtime": ([wrapper], text),
    "of that, the wrapper itself": ([wrapper], text),
    "runc with what it adds": (["runc"], edited),
    "without the hook": (["runc"], json.dumps(no_hook)),
    "without the mounts": (["runc"], json.dumps(no_mounts)),
    "without both": (["runc"], json.dumps(only_time)),
}
alone = dict(os.environ, PROCVIEW_RUNTIME="/bin/true")
times = {name: [] for name in ways}
for _ in range(rounds):
    for name, (program, config_text) in ways.items():
        times[name].append(start(program, config_text, alone if "itself" in name else None))
for name, values in times.items():
    walls, cpus = zip(*values)
    print(f"{name:28} {statistics.median(walls):7.2f} ms, least {min(walls):6.2f};"
          f" on CPUs {statistics.median(cpus):6.2f}, least {min(cpus):6.2f}")
# What else the machine does can only add to it.
added = min(of([wall for wall, _ in times["procview-runtime"]]) - of([wall for wall, _ in times["runc"]])
            for of in (statistics.median, min))
print(f"procview-runtime adds {added:.2f} ms")
sys.exit(added > 10)
END
