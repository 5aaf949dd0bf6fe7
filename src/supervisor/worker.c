/* Starting and ending processes. */
#include "internal.h"

#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX    256
#define DETACH_WAIT_MSEC 5000
#define REAPED_AT_ONCE   16

uint64_t pv_now_msec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Put descriptors at the places 3, 4, …, where they stay open; all others are closed by execve.
 * They may be in each other's places: first they are moved out of the way. */
static int place_fds(const int *fds, int n)
{
    int moved[8];

    for (int i = 0; i < n; i++) {
        moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, PV_WORKER_CONTROL_FD + n);
        if (moved[i] < 0)
            return -errno;
    }
    for (int i = 0; i < n; i++) {
        if (dup2(moved[i], PV_WORKER_CONTROL_FD + i) < 0)
            return -errno;
    }
    return 0;
}

__attribute__((noreturn)) static void become(const char *path, char *const *argv)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* Its own program, also when another one has been installed meanwhile. */
    execv(path != NULL ? path : "/proc/self/exe", argv);
    _exit(127);
}

static void fill_arguments(Supervisor *self, const char *mode, const char *argv[ARGUMENTS_MAX])
{
    int n = 0;

    argv[n++] = self->options->argv[0];
    argv[n++] = mode;
    for (int i = 1; self->options->argv[i] != NULL && n < ARGUMENTS_MAX - 1; i++)
        argv[n++] = self->options->argv[i];
    argv[n] = NULL;
}

int pv_worker_open_file(Supervisor *self)
{
    if (self->worker_file_fd >= 0)
        return 0;
    self->worker_file_fd = open(self->worker_file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (self->worker_file_fd < 0) {
        say_warning("%s: %s: should procviewd die, the next one has to look for its worker",
                    self->worker_file, strerror(errno));
        self->worker_file_fd = memfd_create("procview-worker", MFD_CLOEXEC);
    }
    return self->worker_file_fd >= 0 ? 0 : -errno;
}

/* A lock belongs to who opened the file: each worker has its own opening of the same file, which
 * may have lost its name, or lie on what cannot be written any more. */
static int reopen_file(Supervisor *self)
{
    int r = pv_worker_open_file(self), fd;
    char path[32];

    if (r < 0)
        return r;
    snprintf(path, sizeof path, "/proc/self/fd/%d", self->worker_file_fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

int pv_worker_start(Supervisor *self, const char *path, Worker *ret_worker)
{
    const char *argv[ARGUMENTS_MAX];
    pv_autofd int pidfile = reopen_file(self);
    int sockets[2], saved_errno;
    pid_t pid;

    fill_arguments(self, self->is_safe ? PV_WORKER_SAFE_ARGUMENT : PV_WORKER_ARGUMENT, argv);
    if (pidfile < 0)
        return pidfile;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    pid = fork();
    if (pid == 0) {
        const int fds[] = {sockets[1], self->fuse_fd, self->shared.fd, pidfile};
        if (place_fds(fds, 4) < 0)
            _exit(127);
        become(path, (char *const *)argv);
    }
    saved_errno = errno;
    close(sockets[1]);
    if (pid < 0) {
        close(sockets[0]);
        return -saved_errno;
    }
    *ret_worker = (Worker){.pid = pid,
                           .pidfd = pv_sys_pidfd_open(pid, 0),
                           .control = sockets[0],
                           .since_msec = pv_now_msec(),
                           .is_new_program = path != NULL};
    return 0;
}

int pv_worker_spawn(Supervisor *self, const char *mode, Worker *ret_worker)
{
    const char *argv[ARGUMENTS_MAX];
    pid_t pid;

    fill_arguments(self, mode, argv);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        become(NULL, (char *const *)argv);
    }
    if (pid < 0)
        return -errno;
    *ret_worker = (Worker){.pid = pid, .pidfd = pv_sys_pidfd_open(pid, 0), .control = -1};
    return 0;
}

void pv_worker_signal(const Worker *worker, int signal_number)
{
    if (worker->pid == 0)
        return;
    if (worker->pidfd < 0 || pv_sys_pidfd_send_signal(worker->pidfd, signal_number) == -ENOSYS)
        kill(worker->pid, signal_number);
}

void pv_worker_clear(Worker *worker)
{
    pv_clear_fd(&worker->pidfd);
    pv_clear_fd(&worker->control);
    *worker = (Worker){.pidfd = -1, .control = -1};
}

void pv_worker_drop(Worker *worker)
{
    if (worker->pid == 0)
        return;
    /* It may take its time to end (a frozen cgroup, a file system that hangs). */
    pv_worker_signal(worker, SIGKILL);
    waitpid(worker->pid, NULL, WNOHANG);
    pv_worker_clear(worker);
}

void pv_worker_reap_forgotten(const Supervisor *self)
{
    for (int i = 0; i < REAPED_AT_ONCE; i++) {
        siginfo_t info = {0};
        pid_t pid;

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        pid = info.si_pid;
        /* Whose end is about to be noticed. */
        if (pid == self->active.pid || pid == self->standby.pid || pid == self->helper.pid ||
            pid == self->companion.pid)
            return;
        waitpid(pid, NULL, WNOHANG);
    }
}

/* The number by which mountinfo calls the file system: "0:45". Not by stat: it might not answer. */
static bool device_number(const char *mountpoint, char *ret_number, size_t size)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[PATH_MAX * 2], number[32], point[PATH_MAX];
    bool found = false;

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%*d %*d %31s %*s %4095s", number, point) == 2 &&
            strcmp(point, mountpoint) == 0) {
            found = true;
            snprintf(ret_number, size, "%s", number);
        }
    }
    if (file != NULL)
        fclose(file);
    return found;
}

void pv_worker_detach_views(Supervisor *self)
{
    const char *argv[ARGUMENTS_MAX];
    char number[32];
    uint64_t until = pv_now_msec() + DETACH_WAIT_MSEC;
    pid_t pid;

    if (!device_number(self->mount.mountpoint, number, sizeof number))
        return;
    argv[0] = self->options->argv[0];
    argv[1] = PV_DETACH_ARGUMENT;
    argv[2] = number;
    argv[3] = NULL;
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        become(NULL, (char *const *)argv);
    }
    while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0) {
        if (pv_now_msec() > until) {
            say_warning("views are left in containers: taking them out lasts too long");
            kill(pid, SIGKILL);
            return;
        }
        poll(NULL, 0, 5);
    }
}
