# shellcheck shell=bash
# A docker daemon of a test's own, read with `.` after lib.sh. The test's stop_manager calls stop_dockerd.

# The client must be of the daemon's age: Debian's is in /usr/bin, beside its dockerd.
docker=/usr/bin/docker
need_root
need_static_busybox
command -v dockerd >/dev/null && [ -x $docker ] || skip "docker is not installed (docker.io)"
had_docker=$(ls -d /sys/fs/cgroup/{,*/}docker 2>/dev/null || true)
# shellcheck disable=SC2154 # work is of lib.sh
export DOCKER_HOST=unix://$work/docker.sock
export DOCKER_CONFIG=$work/config # podman reads it too
mkdir "$DOCKER_CONFIG"
echo "{}" >"$DOCKER_CONFIG/config.json"
mkdir -p "$work/bin" && ln -s $docker "$work/bin/docker"
export PATH="$work/bin:$PATH" # procview asks the docker that it finds first

start_dockerd() { # start_dockerd OPTION…
    dockerd --iptables=false --ip6tables=false --bridge=none --host "$DOCKER_HOST" \
        --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
        "$@" >"$work/dockerd.log" 2>&1 &
    dockerd_pid=$!
    (wait_for docker info) || fail "dockerd: $(tail -5 "$work/dockerd.log")"
}

# An image pv-busybox with some tools.
make_image() {
    make_rootfs "$work/rootfs"
    for tool in free nproc id uptime true umount; do ln -s busybox "$work/rootfs/bin/$tool"; done
    tar -C "$work/rootfs" -c . | docker import - pv-busybox >/dev/null
}

stop_dockerd() {
    [ -z "${dockerd_pid:-}" ] || {
        docker ps -aq | xargs -r "$docker" rm -f >/dev/null 2>&1
        end_process "$dockerd_pid"
    }
    [ -n "${had_docker:-}" ] || rmdir /sys/fs/cgroup/{,*/}docker 2>/dev/null
}
