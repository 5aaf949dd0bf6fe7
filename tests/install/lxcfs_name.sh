#!/bin/bash
# meson install with -Dlxcfs-name=true: the link, and procviewd behind it by that name.
#
#   lxcfs_name.sh SOURCE-FOLDER BUILD-FOLDER
set -eu
source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "FAIL: $*"
    exit 1
}
# The programs are there already: the same build with another option, in a copy that shares its files.
cp -al "$build" "$work/build" 2>/dev/null || cp -a "$build" "$work/build"
for file in build.ninja meson-private meson-info meson-logs; do # which meson rewrites
    cp -a "$work/build/$file" "$work/own" && rm -rf "${work:?}/build/$file" && mv "$work/own" "$work/build/$file"
done
meson setup --reconfigure "$work/build" "$source" -Dlxcfs-name=true >"$work/log" 2>&1 || fail "$(tail -n 5 "$work/log")"
DESTDIR=$work/root meson install -C "$work/build" --no-rebuild --quiet
link=$(find "$work/root" -name lxcfs)
[ -L "$link" ] || fail "there is no link lxcfs"
target=$(readlink "$link")
program=$work/root/${target#/}
[ "$(basename "$program")" = procviewd ] && [ -x "$program" ] || fail "lxcfs is a link to $target"
ln -sf "$program" "$link"
"$link" --help | grep -q '^Usage: lxcfs ' || fail "by this name it does not take lxcfs's options"
page=$(find "$work/root" -path '*/man8/lxcfs.8')
[ -n "$page" ] && [ -f "$page" ] || fail "there is no manual page of lxcfs"
echo ok
