#!/bin/bash
# meson install: exactly these files, with the right paths in them.
#
#   files.sh BUILD-FOLDER
set -eu
build=$1
root=$(mktemp -d)
trap 'rm -rf "$root" "$root.got" "$root.expected"' EXIT
option() {
    meson introspect --buildoptions "$build" | python3 -c "
import json, sys
print({o['name']: o['value'] for o in json.load(sys.stdin)}['$1'])"
}
prefix=$(option prefix)
etc=$(option sysconfdir)
[ "${etc#/}" != "$etc" ] || etc=$prefix/$etc
if [ "$prefix" = /usr ] || [ "$(option lxcfs-name)" = True ]; then
    echo "SKIP: the list of files is that of a prefix that is not /usr, without -Dlxcfs-name=true"
    exit 77
fi
DESTDIR=$root meson install -C "$build" --no-rebuild --quiet
(cd "$root" && find . ! -type d -printf '%P %#m\n' | sort) >"$root.got"
cat >"$root.expected" <<END
${etc#/}/procview/lxcfs-compat.conf 0644
${etc#/}/procview/procview.conf 0644
${prefix#/}/bin/procview 0755
${prefix#/}/bin/procview-runtime 0755
${prefix#/}/lib/systemd/system/procview-cgroup.service 0644
${prefix#/}/lib/systemd/system/procview.service 0644
${prefix#/}/lib/tmpfiles.d/procview.conf 0644
${prefix#/}/libexec/procview/procview-hook 0755
${prefix#/}/sbin/procviewd 0755
${prefix#/}/share/bash-completion/completions/procview 0644
${prefix#/}/share/bash-completion/completions/procviewd 0777
${prefix#/}/share/man/man1/procview.1 0644
${prefix#/}/share/man/man5/procview.conf.5 0644
${prefix#/}/share/man/man8/procview-hook.8 0644
${prefix#/}/share/man/man8/procview-runtime.8 0644
${prefix#/}/share/man/man8/procviewd.8 0644
${prefix#/}/share/procview/examples/service-with-views.conf 0644
${prefix#/}/share/procview/hooks/procview-always.json 0644
${prefix#/}/share/procview/hooks/procview-annotation.json 0644
${prefix#/}/share/procview/kubernetes/README.md 0644
${prefix#/}/share/procview/kubernetes/daemonset.yaml 0644
${prefix#/}/share/procview/kubernetes/pod.yaml 0644
${prefix#/}/share/procview/kubernetes/runtimeclass.yaml 0644
${prefix#/}/share/procview/lxc/procview.conf 0644
${prefix#/}/share/procview/podman/50-procview.conf 0644
${prefix#/}/share/zsh/site-functions/_procview 0644
END
sort -o "$root.expected" "$root.expected"
status=0
diff "$root.expected" "$root.got" || status=1
rm -f "$root.got" "$root.expected"
[ $status = 0 ] || { echo "FAIL: < expected, > installed"; exit 1; }
grep -qx "ExecStart=$prefix/sbin/procviewd --cgroup-tree=separate" "$root$prefix/lib/systemd/system/procview.service" ||
    { echo "FAIL: the unit does not start $prefix/sbin/procviewd"; exit 1; }
# understood FILE: the daemon gets past it to an option that is wrong
understood() {
    "$root$prefix/sbin/procviewd" --config "$1" --threads=never 2>&1 | grep -q 'of --threads' ||
        { echo "FAIL: $1 is not understood"; exit 1; }
}
understood "$root$etc/procview/procview.conf"
understood "$root$etc/procview/lxcfs-compat.conf"
# Its examples too, each of which has a value that is allowed.
sed 's/^#\([a-z-]*=\)/\1/' "$root$etc/procview/procview.conf" >"$root/all.conf"
[ "$(grep -c '^[a-z]' "$root/all.conf")" -gt 5 ] || { echo "FAIL: procview.conf has no examples"; exit 1; }
understood "$root/all.conf"
if command -v systemd-analyze >/dev/null; then
    messages=$(systemd-analyze verify --man=no --root="$root" procview.service procview-cgroup.service 2>&1 | grep -i 'unknown\|parse\|invalid\|ignoring' || true)
    [ -z "$messages" ] || { echo "FAIL: $messages"; exit 1; }
else
    echo "skip: systemd-analyze is not installed; the unit is not verified"
fi
echo ok
