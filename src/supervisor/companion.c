/*
 * The process that serves the cgroup tree: a supervisor like this one, with a mount inside ours and
 * more privileges than our workers have. It is started when the mount is served, and ended before
 * it goes away; when this supervisor dies it goes on, and the next one finds it by its lock.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 256
#define PAUSE_MSEC    1000
#define END_WAIT_MSEC 8000

static int mountpoint_of(const Supervisor *self, char *ret_path, size_t size)
{
    int n = snprintf(ret_path, size, "%s/%s", self->mount.mountpoint, PV_CGROUP_TREE_NAME);

    return n < (int)size ? 0 : -ENAMETOOLONG;
}

/* The pid of whoever holds the lock of the tree's mount, or 0. */
static pid_t find_running(Supervisor *self)
{
    char mountpoint[PATH_MAX], lock[PATH_MAX], text[64];
    pv_autofd int fd = -1;
    ssize_t n;

    if (mountpoint_of(self, mountpoint, sizeof mountpoint) < 0 ||
        pv_mount_state_path(self->options->state_dir, "mount", mountpoint, "lock", lock,
                            sizeof lock) < 0)
        return 0;
    fd = open(lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0)
        return 0;
    n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return atoi(text) > 1 ? atoi(text) : 0;
}

__attribute__((noreturn)) static void become_companion(Supervisor *self, int stdout_fd)
{
    const char *argv[ARGUMENTS_MAX] = {self->options->argv[0], PV_ONLY_CGROUP_TREE_ARGUMENT};
    sigset_t none;
    int n = 2;

    for (int i = 1; self->options->argv[i] != NULL && n < ARGUMENTS_MAX - 1; i++)
        argv[n++] = self->options->argv[i];
    argv[n] = NULL;
    dup2(stdout_fd, STDOUT_FILENO);
    unsetenv("NOTIFY_SOCKET"); /* the service manager speaks with us */
    unsetenv("LISTEN_FDS");
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv("/proc/self/exe", (char *const *)argv);
    _exit(127);
}

static int start(Supervisor *self)
{
    int fds[2], r;
    pid_t pid;

    /* Its workers hold the other end, too, and outlive it: to read must not be to wait. */
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    pid = fork();
    if (pid == 0)
        become_companion(self, fds[1]);
    r = pid < 0 ? -errno : 0;
    close(fds[1]);
    if (r < 0) {
        close(fds[0]);
        return r;
    }
    self->companion.pid = pid;
    self->companion.is_child = true;
    self->companion.ready_fd = fds[0];
    return 0;
}

void pv_companion_attend(Supervisor *self)
{
    Companion *companion = &self->companion;
    pid_t running;
    int r = 0;

    if (!self->options->has_companion || companion->pid != 0 || self->is_stopping)
        return;
    companion->start_at_msec = 0;
    running = find_running(self);
    if (running > 0) {
        companion->pid = running;
        companion->is_child = false;
        companion->was_ready = true;
    } else {
        r = start(self);
    }
    if (r == 0) {
        companion->pidfd = pv_sys_pidfd_open(companion->pid, 0);
        r = companion->pidfd < 0 ? companion->pidfd : 0;
    }
    if (r < 0) {
        say_error("cannot start the server of the cgroup tree: %s", strerror(-r));
        companion->pid = 0;
        companion->start_at_msec = pv_now_msec() + PAUSE_MSEC;
    }
}

int pv_companion_end_fd(const Supervisor *self)
{
    return self->companion.pid != 0 ? self->companion.pidfd : -1;
}

bool pv_companion_is_starting(const Supervisor *self)
{
    return self->companion.ready_fd >= 0;
}

void pv_companion_on_ready(Supervisor *self)
{
    char text[256];

    self->companion.was_ready |= read(self->companion.ready_fd, text, sizeof text) > 0;
    pv_clear_fd(&self->companion.ready_fd);
}

void pv_companion_on_end(Supervisor *self)
{
    Companion *companion = &self->companion;
    siginfo_t info = {0};
    bool was_killed;

    /* When it does not end, even by SIGKILL, nobody waits for it. */
    if (companion->is_child)
        waitid(P_PID, (id_t)companion->pid, &info, WEXITED | WNOHANG);
    was_killed = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
    if (companion->ready_fd >= 0)
        pv_companion_on_ready(self);
    pv_clear_fd(&companion->pidfd);
    companion->pid = 0;
    /* One that never was ready has said why, when it could. */
    if ((companion->was_ready || was_killed) && !self->is_stopping) {
        say_warning("the server of the cgroup tree has ended; another one is started");
        companion->start_at_msec = pv_now_msec() + PAUSE_MSEC;
    }
}

void pv_companion_signal(const Supervisor *self, int signal_number)
{
    if (self->companion.pid != 0)
        pv_sys_pidfd_send_signal(self->companion.pidfd, signal_number);
}

void pv_companion_stop(Supervisor *self, bool leave)
{
    struct pollfd ended = {.fd = pv_companion_end_fd(self), .events = POLLIN};
    char mountpoint[PATH_MAX];

    if (self->companion.pid == 0)
        return;
    pv_companion_signal(self, leave ? SIGQUIT : SIGTERM);
    if (poll(&ended, 1, END_WAIT_MSEC) == 0) {
        say_warning("the server of the cgroup tree does not end: it is killed");
        pv_companion_signal(self, SIGKILL);
        poll(&ended, 1, END_WAIT_MSEC);
        if (!leave && mountpoint_of(self, mountpoint, sizeof mountpoint) == 0)
            umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    pv_companion_on_end(self);
}
