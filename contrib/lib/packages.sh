# shellcheck shell=bash disable=SC2034,SC2086 # tables for others; lists of packages
# What building, running and testing needs on Debian and Ubuntu, and how it gets there. Sourced.
#
# A row of a table is "PROBE PACKAGE": pc:NAME is a pkg-config module, cmd:NAME a program, file:PATH[,PATH] a file;
# the package is installed when the probe fails. Nothing is upgraded.

build_needs="
cmd:gcc gcc
cmd:meson meson
cmd:ninja ninja-build
cmd:pkg-config pkg-config
file:/usr/include/stdlib.h libc6-dev
pc:fuse3 libfuse3-dev
pc:glib-2.0 libglib2.0-dev
pc:gio-2.0 libglib2.0-dev
pc:json-glib-1.0 libjson-glib-dev
pc:libseccomp libseccomp-dev
pc:libcap libcap-dev
cmd:free procps
cmd:lscpu util-linux"

test_needs="
pc:cmocka libcmocka-dev
cmd:htop htop
cmd:tmux tmux
cmd:vmstat procps
cmd:mpstat sysstat
cmd:strace strace
cmd:busybox busybox-static
cmd:node nodejs
file:/usr/bin/python3 python3
file:/usr/lib/python3/dist-packages/psutil python3-psutil
cmd:ip iproute2
cmd:dockerd docker.io
cmd:runc runc
cmd:podman podman
cmd:crun crun
cmd:lxc-start lxc
file:/usr/share/lxcfs/lxc.mount.hook lxcfs
cmd:ctr containerd
cmd:curl curl
file:/usr/lib/python3/dist-packages/yaml python3-yaml
cmd:mandoc mandoc
cmd:zsh zsh
cmd:debootstrap debootstrap"

vm_needs="
cmd:qemu-system-x86_64 qemu-system-x86
cmd:depmod kmod
cmd:zstd zstd
cmd:xz xz-utils
cmd:lz4 lz4
cmd:mkfs.ext4 e2fsprogs
file:/lib/systemd/systemd systemd
cmd:dbus-daemon dbus-daemon"

# Debian 12 has it within QEMU's packages, so it is looked for when those are there.
vm_needs_then="
file:/usr/lib/qemu/virtiofsd,/usr/libexec/virtiofsd virtiofsd"

ci_needs="
cmd:clang clang
cmd:shellcheck shellcheck"

say() {
    echo "== $*"
}

stop() {
    echo "${0##*/}: $*" >&2
    exit 1
}

have() { # have PROBE
    local path
    case $1 in
    pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
    cmd:*) PATH=$PATH:/usr/sbin:/sbin command -v "${1#cmd:}" >/dev/null ;;
    file:*)
        for path in $(tr , ' ' <<<"${1#file:}"); do
            [ ! -e "$path" ] || return 0
        done
        return 1
        ;;
    esac
}

missing_packages() { # missing_packages TABLE: one a line
    local probe package
    while read -r probe package; do
        [ -z "$probe" ] || have "$probe" || echo "$package"
    done <<<"$1" | sort -u
}

# apt-get with what makes it silent and patient; once more when the network was not there at first.
apt_quietly() {
    local log status=0
    log=$(mktemp)
    for _ in 1 2; do
        status=0
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=2 -o Acquire::http::Timeout=60 \
            -o Acquire::https::Timeout=60 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
            "$@" >"$log" 2>&1 </dev/null || status=$?
        [ "$status" != 0 ] || break
    done
    # Its last line names what to do; that is not for scripts.
    [ "$status" = 0 ] || grep -E '^[EW]: ' "$log" | tail -n 3 >&2
    rm -f "$log"
    return "$status"
}

lists_updated=""
update_lists() {
    [ -z "$lists_updated" ] || return 0
    say "apt-get update"
    apt_quietly update ||
        stop "the package lists cannot be fetched: is there a network? (apt-get update says more)"
    lists_updated=yes
}

need_root() {
    [ "$(id -u)" = 0 ] || stop "needs root: cgroups, namespaces and mounts are made (try: sudo $0)"
}

# install_needs TABLE: what is missing of it. A service that a package starts is none of ours to start.
install_needs() {
    local packages package
    packages=$(missing_packages "$1")
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null ||
        stop "missing, and there is no apt-get to install it:" $packages
    update_lists
    say "installing" $packages
    if ! apt_quietly --no-install-recommends install $packages; then
        # One that this distribution does not have must not cost the others.
        for package in $packages; do
            apt_quietly --no-install-recommends install "$package" ||
                echo "${0##*/}: cannot install $package" >&2
        done
    fi
}

# Stops when what the build cannot do without is not there.
require_build_needs() {
    local packages
    install_needs "$build_needs"
    packages=$(missing_packages "$build_needs")
    [ -z "$packages" ] || stop "cannot be built without:" $packages
    pkg-config --atleast-version=3.14 fuse3 ||
        stop "libfuse $(pkg-config --modversion fuse3) is too old: 3.14 is needed (Debian 12, Ubuntu 24.04, or newer)"
}
