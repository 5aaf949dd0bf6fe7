#!/bin/bash
# procview-runtime called by hand in front of runc and crun: what happens to a bundle, also to bad
# ones; and procview-hook called with nonsense.

stop_manager() {
    : # containers end with their one command
}

. "$(dirname "$0")/lib.sh"

need_root
need_static_busybox
command -v runc >/dev/null || skip "runc is not installed (runc)"
command -v python3 >/dev/null || skip "python3 is not installed (python3)"
make_runtime
start_procviewd
bundle=$work/bundle
make_rootfs "$bundle/rootfs"

# config CODE: the bundle's config.json, as runc's template changed by python code on c
config() {
    rm -f "$bundle/config.json"
    runc spec --bundle "$bundle"
    python3 - "$bundle/config.json" "$1" <<'END'
import json, sys
c = json.load(open(sys.argv[1]))
c['process'].update(terminal=False, rlimits=[], args=['/bin/sh', '-c', 'grep MemTotal /proc/meminfo'])
c['linux']['namespaces'] = [n for n in c['linux']['namespaces'] if n['type'] != 'network']
c['linux']['resources'] = {'memory': {'limit': 256 << 20}}
exec(sys.argv[2])
json.dump(c, open(sys.argv[1], 'w'), indent=1)
END
    cp "$bundle/config.json" "$work/before.json"
}
wrapped() {
    "$work/bin/procview-runtime" --root "$work/root" --log "$work/log" --log-format json "$@"
}
run() {
    : >"$work/log"
    wrapped run --bundle "$bundle" "pv-bundle-$$" 2>"$work/err"
}
untouched() {
    cmp "$bundle/config.json" "$work/before.json"
}
warned() {
    contains "$1: one line in the log says why" "$(grep procview: "$work/log")" "$2"
    equal "$1: one line" "$(grep -c procview: "$work/log")" 1
}

config ''
# Numbers and strings that readers of JSON lose.
sed -i '1s/{/{"x-limit":18446744073709551615, "x-nul":"a\\u0000b",\r/' "$bundle/config.json"
cp "$bundle/config.json" "$work/before.json"
contains "runc: the limit is seen" "$(run)" " 262144 "
python3 - "$work/before.json" "$bundle/config.json" <<'END' || fail "more than additions"
import difflib, sys
a, b = (open(p, 'rb').read() for p in sys.argv[1:])
# Every byte of the old text is there, in order: what was added is in three places.
at, gaps, i = 0, 0, 0
for tag, *_ in difflib.SequenceMatcher(None, a.decode('latin1'), b.decode('latin1'), False).get_opcodes():
    assert tag in ('equal', 'insert'), tag
    gaps += tag == 'insert'
assert gaps <= 4, gaps
END
echo "ok: runc: bytes were added, none changed"
cp "$bundle/config.json" "$work/before.json"
contains "the same bundle again" "$(run)" " 262144 "
ok "nothing is added twice" untouched
views_of='grep -c fuse.procview /proc/self/mountinfo'
config "c['process']['args'][2] = '$views_of'"
mounts=$(run)
ok "every row is mounted ($mounts mounts)" [ "$mounts" -ge 13 ]
config "c['process']['args'][2] = 'grep fuse.procview /proc/self/mountinfo | grep -vc \" ro,nosuid,nodev,noexec\"; true'"
equal "all of them read-only, nosuid, nodev and noexec" "$(run)" 0
config ''
contains "the bundle in the working directory" \
    "$(cd "$bundle" && wrapped run "pv-bundle-$$")" " 262144 "

# The bundle is found where the runtime finds it.
mkdir -p "$work/elsewhere/deep"
ln -s "$bundle" "$work/elsewhere/deep/link"
cp "$work/before.json" "$work/elsewhere/config.json"
for line in "run pv-bundle-$$ --bundle $bundle" "run pv-bundle-$$ -b=$bundle" \
    "run --bundle $work/elsewhere/deep/link/../bundle pv-bundle-$$"; do
    config ''
    # shellcheck disable=SC2086 # words
    contains "$(echo "$line" | sed "s#$work/##"): the limit is seen" \
        "$(cd "$work/elsewhere" && wrapped $line)" " 262144 "
    ok "and the working directory's config.json is untouched" \
        cmp "$work/elsewhere/config.json" "$work/before.json"
done
mv "$bundle/rootfs" "$work/rootfs"
config "c['root']['path'] = '../rootfs'; c['process']['args'][2] = '$views_of'"
equal "every row is mounted in a bundle behind a symbolic link, with a root beside it" \
    "$(wrapped run --bundle "$work/elsewhere/deep/link" "pv-bundle-$$")" "$mounts"
config "c['root']['path'] = '../rootfs'; c['process']['args'][2] = '$views_of'"
equal "so it is when called from it" \
    "$(cd "$work/elsewhere/deep/link/../bundle" && wrapped run "pv-bundle-$$")" "$mounts"
mv "$work/rootfs" "$bundle/rootfs"

# The hook's complaints are where the runtime's own are. (Its mount point is not the daemon's.)
config "c['hooks'] = {'createContainer': [{'path': '$HOOK_PROGRAM', 'args': ['procview-hook',
    'createContainer', '--views', '$work', '--log', '$work/log', '--log-format', 'json']}]}"
run >/dev/null
warned "the hook" "procview: the container has no views: there are no views at $work"
config ''
run >/dev/null
contains "the wrapper tells its hook the log" "$(cat "$bundle/config.json")" \
    "\"--log\",\"$work/log\",\"--log-format\",\"json\"]"

# shared SYS PROPAGATION: in a mount namespace like a host's, where all is shared, a container with
# this entry for /sys; prints its mounts of ours, and those that are new outside. It is not that of
# process 1, as a manager's need not be.
cat >"$work/shared.sh" <<'END'
mount --make-rshared /
umount -l /sys/fs/cgroup/unified 2>/dev/null # crun does not know the mixture of v1 and an empty v2
outside() {
    awk '/ - fuse.procview / { print $5 }' /proc/self/mountinfo | sort
}
before=$(outside)
"$@"
[ "$(outside)" = "$before" ] || outside | grep '^/[ps]'
END
shared() {
    config "c['mounts'] = [m for m in c['mounts'] if not m['destination'].startswith('/sys')] + [
    dict($1, destination='/sys')]
if '$2': c['linux']['rootfsPropagation'] = '$2'
c['linux']['maskedPaths'] = c['linux']['readonlyPaths'] = []
c['process']['args'][2] = '$views_of'"
    unshare --mount --propagation private bash "$work/shared.sh" \
        "$work/bin/procview-runtime" --root "$work/root-shared" --log "$work/log" \
        run --bundle "$bundle" "pv-shared-$$" 2>&1
}
bound="type='bind', source='/sys', options="
for real in runc crun; do
    command -v "$real" >/dev/null || continue
    export PROCVIEW_RUNTIME=$real
    all=$(shared "type='sysfs', source='sysfs', options=['ro']" "")
    ok "$real: every row is mounted with a sysfs of its own ($all mounts)" [ "$all" -ge 13 ]
    : >"$work/log"
    for propagation in shared slave; do
        for options in "['rbind']" "['rbind', 'rshared']"; do
            out=$(shared "$bound$options" $propagation)
            equal "$real: nothing is mounted on the host: $propagation root, /sys $options" \
                "$(grep -v '^[0-9]*$' <<<"$out")" ""
        done
    done
    contains "$real: the log says why" "$(cat "$work/log")" "its mount is shared with the host's"
    equal "$real: all views with a sysfs of its own in a shared root" \
        "$(shared "type='sysfs', source='sysfs', options=['ro']" shared)" "$all"
    equal "$real: all views in the host's /sys, not shared" \
        "$(shared "${bound}['rbind', 'rprivate']" rshared)" "$all"
    equal "$real: all views in the host's /sys in an ordinary root" \
        "$(shared "${bound}['rbind']" "")" "$all"
done
unset PROCVIEW_RUNTIME

if command -v crun >/dev/null; then
    config ''
    # crun does not know the mixture of cgroup v1 and an empty v2.
    out=$(unshare --mount --propagation private sh -c '
        umount /sys/fs/cgroup/unified 2>/dev/null; PROCVIEW_RUNTIME=crun exec "$@"' sh \
        "$work/bin/procview-runtime" --root "$work/root-crun" run -b "$bundle" "pv-crun-$$")
    contains "crun: the limit is seen" "$out" " 262144 "
    crun_run() { # crun_run WORD… in $work/elsewhere
        (cd "$work/elsewhere" && unshare --mount --propagation private sh -c '
            umount -l /sys/fs/cgroup/unified 2>/dev/null; PROCVIEW_RUNTIME=crun exec "$@"' sh \
            "$work/bin/procview-runtime" --root "$work/root-crun" run "$@" "pv-crun-$$")
    }
    config ''
    contains "crun: the beginning of --bundle" "$(crun_run --bund "$bundle")" " 262144 "
    config ''
    contains "crun: --bundle without a space" "$(crun_run -b"$bundle")" " 262144 "
    config "c['process']['args'] = ['/bin/false']" # not the one that is taken
    cp "$work/elsewhere/config.json" "$work/elsewhere/other.json"
    contains "crun: --config is looked for in the working directory" \
        "$(crun_run -f other.json -b "$bundle")" " 262144 "
else
    echo "SKIP: crun is not installed (crun): not tested with it"
fi

config "c['root']['readonly'] = True; c['linux']['maskedPaths'].append('/proc/loadavg')
c['process']['args'][2] += '; $views_of; grep -c . /proc/loadavg'"
contains "a read-only root, and a masked path of ours" "$(run || true)" " 262144 kB
$mounts
0"

config "c['mounts'] = [m for m in c['mounts'] if m['destination'] != '/proc']
c['process']['args'][2] = 'echo started'; c['linux']['maskedPaths'] = c['linux']['readonlyPaths'] = []"
run >"$work/out" || true
ok "no /proc: config.json is untouched" untouched
warned "no /proc" "no /proc of its own"

config "del c['linux']"
run >/dev/null || true
ok "no linux section: config.json is untouched" untouched
warned "no linux section" '\"linux\"'

config ''
head -c 500 "$work/before.json" >"$bundle/config.json"
cp "$bundle/config.json" "$work/before.json"
status=0
run || status=$?
equal "a broken config.json: runc's own exit status" $status \
    "$(runc --root "$work/root" run --bundle "$bundle" pv-x >/dev/null 2>&1; echo $?)"
ok "a broken config.json is untouched" untouched
warned "a broken config.json" "no valid JSON"

rm "$bundle/config.json"
run || true
warned "no config.json" "cannot read it"
ok "no config.json: none is made" [ ! -e "$bundle/config.json" ]

config "c['linux']['namespaces'] += [{'type': 'user'}, {'type': 'network'}]
m = [{'containerID': 0, 'hostID': 0, 'size': 65536}]
c['linux'].update(uidMappings=m, gidMappings=m)
c['process']['args'][2] += '; $views_of'"
contains "a user namespace" "$(run || cat "$work/err" "$work/log")" " 262144 kB
$mounts"
chmod 700 "$work"
config "c['linux']['namespaces'] += [{'type': 'user'}, {'type': 'network'}]
m = [{'containerID': 0, 'hostID': 100000, 'size': 65536}]
c['linux'].update(uidMappings=m, gidMappings=m)"
run >/dev/null || true
ok "a user namespace that cannot reach the views: config.json is untouched" untouched
warned "a user namespace that cannot reach the views" "user namespace may not go to"
chmod 755 "$work"

# Exit statuses and arguments of everything else.
without_time() {
    sed 's/time=[^ ]*//'
}
for line in "--version" "state nonexistent" "kill nonexistent" "delete nonexistent" "nonsense" ""; do
    # shellcheck disable=SC2086 # words
    equal "'$line' passes" \
        "$("$work/bin/procview-runtime" --root "$work/root" $line 2>&1 | without_time
            echo "${PIPESTATUS[0]}")" \
        "$(runc --root "$work/root" $line 2>&1 | without_time
            echo "${PIPESTATUS[0]}")"
done
PROCVIEW_RUNTIME=/nonexistent "$work/bin/procview-runtime" create x 2>"$work/err" && fail "no runtime"
contains "no real runtime is told" "$(cat "$work/err")" "the real runtime /nonexistent is not found"

config ''
make_runtime "strict=true" "hook=/nonexistent"
status=0
run >"$work/out" || status=$?
equal "strict, without the hook: nothing is started" "$status$(cat "$work/out")" 1
ok "strict: config.json is untouched" untouched
warned "strict" "the container is not started"
make_runtime

# The hook.
for state in "" nonsense '{"pid":1}' '[]' '{"bundle":"/nonexistent","pid":0}'; do
    status=0
    printf %s "$state" | "$HOOK_PROGRAM" createContainer 2>"$work/err" || status=$?
    equal "hook: '$state' on stdin is no failure of the container" $status 0
    equal "hook: but one line" "$(grep -c 'the container has no views: ' "$work/err")" 1
done
status=0
echo nonsense | "$HOOK_PROGRAM" createContainer --strict 2>/dev/null || status=$?
equal "hook: strict makes it one" $status 1
status=0
"$HOOK_PROGRAM" --strict --nonsense </dev/null 2>/dev/null || status=$?
equal "hook: and a bad option, too" $status 1
before=$(cat /proc/self/mountinfo)
for rootfs in / "$bundle/rootfs" "$bundle/nonexistent"; do
    echo '{"pid":0}' | "$HOOK_PROGRAM" createContainer --views "$views" --rootfs "$rootfs" \
        2>"$work/err"
    contains "hook: not called in a container ($rootfs)" "$(cat "$work/err")" \
        "the container has no views: "
done
equal "hook: and nothing is mounted" "$(cat /proc/self/mountinfo)" "$before"

# What it costs: a wrapped start against a bare one, in turn, the least of 20 each. Printed, not judged.
config "c['process']['args'] = ['/bin/true']"
ln -s busybox "$bundle/rootfs/bin/true"
least() {
    python3 - "$@" <<'END'
import os, resource, shutil, subprocess, sys, time
bare, wrapped, bundle, before, root = sys.argv[1:]
def cpu():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime
cpus, walls = {bare: [], wrapped: []}, {bare: [], wrapped: []}
for i in range(20):
    for program in bare, wrapped:
        shutil.copy(before, bundle + '/config.json')
        c, t = cpu(), time.monotonic()
        subprocess.run([program, '--root', root, 'run', '-b', bundle, 'pv-time-%d' % os.getpid()],
                       check=True)
        walls[program].append((time.monotonic() - t) * 1000)
        cpus[program].append((cpu() - c) * 1000)
print(*('%.1f' % min(v) for v in (walls[bare], walls[wrapped], cpus[bare], cpus[wrapped])))
END
}
read -r bare wrapped bare_cpu wrapped_cpu <<<"$(PROCVIEW_RUNTIME_CONF="$work/runtime.conf" least \
    runc "$RUNTIME_PROGRAM" "$bundle" "$work/before.json" "$work/root")"
echo "a start takes $bare ms with runc ($bare_cpu on a CPU), $wrapped ($wrapped_cpu) with procview"
