/*
 * The child that works in another mount namespace, and its pieces. See enter.h for the rules.
 */
#include "enter.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A child that was killed, or has reported all, is gone after so long, or it hangs in the kernel.
 */
#define REAP_MSEC 500

/* ---- the child's pieces ---- */

void pv_enter_report(const PvEnter *enter, const PvReport *report)
{
    /* Smaller than PIPE_BUF, thus whole or not at all; a parent that died needs no report. */
    ssize_t written = write(enter->report_fd, report, sizeof(*report));
    (void)written;
}

/* O_PATH|O_NOFOLLOW opens a symbolic link itself, which is no directory, so that the next step
 * fails. */
int pv_enter_open_by_components(int root_fd, const char *path)
{
    char component[NAME_MAX + 1];
    int fd = root_fd;

    while (*path != '\0') {
        const char *end = path;
        while (*end != '\0' && *end != '/')
            end++;
        size_t length = (size_t)(end - path);
        while (*end == '/')
            end++;
        if (length == 0) {
            path = end;
            continue;
        }
        if (length > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(component, path, length);
        component[length] = '\0';
        int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC | (*end != '\0' ? O_DIRECTORY : 0);
        int next = strcmp(component, "..") == 0 ? -1 : openat(fd, component, flags);
        int saved_errno = strcmp(component, "..") == 0 ? EXDEV : errno;
        if (fd != root_fd)
            close(fd);
        if (next < 0)
            return -saved_errno;
        fd = next;
        path = end;
    }
    return fd == root_fd ? -EINVAL : fd;
}

int pv_enter_open(int root_fd, const char *path)
{
    while (*path == '/')
        path++;
    int fd = pv_sys_openat2(root_fd, path, O_PATH | O_NOFOLLOW, 0,
                            RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    /* EPERM: seccomp profiles refuse unknown calls in this way. */
    return fd == -ENOSYS || fd == -EPERM ? pv_enter_open_by_components(root_fd, path) : fd;
}

/* "N" of a descriptor; buf has room for any int. */
static const char *format_fd(int fd, char buf[12])
{
    char *p = buf + 11;

    *p = '\0';
    do {
        *--p = (char)('0' + fd % 10);
        fd /= 10;
    } while (fd > 0);
    return p;
}

gint64 pv_enter_mount_id(const PvEnter *enter, int fd)
{
    static const char key[] = "\nmnt_id:";
    char name[12], text[512];
    pv_autofd int info = openat(enter->fdinfo_dirfd, format_fd(fd, name), O_RDONLY | O_CLOEXEC);

    if (info < 0)
        return -errno;
    ssize_t length = read(info, text, sizeof(text) - 1);
    if (length <= 0)
        return -EIO;
    text[length] = '\0';
    const char *p = strstr(text, key);
    if (p == NULL)
        return -EIO;
    for (p += strlen(key); *p == ' ' || *p == '\t'; p++)
        ;
    gint64 id = 0;
    if (*p < '0' || *p > '9')
        return -EIO;
    for (; *p >= '0' && *p <= '9' && id < G_MAXINT64 / 16; p++)
        id = id * 10 + (*p - '0');
    return id;
}

int pv_enter_namespace(const PvEnter *enter, int mntns_fd)
{
    if (mntns_fd >= 0 && setns(mntns_fd, CLONE_NEWNS) < 0)
        return -errno;
    /* Descriptors are named from here on as entries of the caller's /proc/self/fd: the container's
     * own /proc is not to be trusted, and need not be there. */
    return fchdir(enter->fd_dirfd) < 0 ? -errno : 0;
}

int pv_enter_unmount(int fd)
{
    char name[12];

    return umount2(format_fd(fd, name), MNT_DETACH) < 0 ? -errno : 0;
}

/* Returns the status, or -1 when the child does not end in time. It mostly has ended already, or is
 * about to: the first looks come quickly. */
static int reap(pid_t pid, guint timeout_msec)
{
    const guint64 timeout_usec = (guint64)timeout_msec * 1000;
    guint64 step_usec = 20;

    for (guint64 waited_usec = 0;; waited_usec += step_usec) {
        int status;
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid)
            return status;
        if ((r < 0 && errno != EINTR) || waited_usec >= timeout_usec)
            return -1;
        if (waited_usec > 0)
            step_usec = MIN(step_usec * 2, 5000);
        struct timespec step = {.tv_nsec = (long)step_usec * 1000};
        nanosleep(&step, NULL);
    }
}

int pv_enter_probe(const PvEnter *enter, int fd, guint timeout_msec)
{
    int pipe_fds[2];

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        struct statfs buf;
        close(enter->report_fd); /* or the parent would wait for a hung one */
        gint32 answer = fstatfs(fd, &buf) < 0 ? -errno : 0;
        ssize_t written = write(pipe_fds[1], &answer, sizeof(answer));
        _exit(written == sizeof(answer) ? 0 : 1);
    }
    close(pipe_fds[1]);
    gint32 answer = pid < 0 ? -errno : -ETIMEDOUT;
    struct pollfd poll_fd = {.fd = pipe_fds[0], .events = POLLIN};
    if (pid > 0 && poll(&poll_fd, 1, (int)timeout_msec) > 0 &&
        read(pipe_fds[0], &answer, sizeof(answer)) != sizeof(answer))
        answer = -EIO;
    close(pipe_fds[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        reap(pid, answer == -ETIMEDOUT ? 0 : REAP_MSEC);
    }
    return answer == -ECONNABORTED || answer == -ECONNREFUSED ? -ENOTCONN : answer;
}

/* ---- the parent ---- */

G_GNUC_NORETURN
static void child_main(PvEnterFunc func, gpointer data, int procfs_fd, int report_fd,
                       guint deadline_msec)
{
    PvEnter enter = {.report_fd = report_fd};

    /* Ctrl-C at the wrong moment must not leave half of the work: the child ends it, or undoes it.
     * The alarm is for a child whose parent is not there any more to kill it. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, SIG_DFL);
    alarm(deadline_msec / 1000 + 2);

    enter.fd_dirfd = openat(procfs_fd, "self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    enter.fdinfo_dirfd = openat(procfs_fd, "self/fdinfo", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (enter.fd_dirfd < 0 || enter.fdinfo_dirfd < 0) {
        PvReport report = {.index = -1, .step = PV_STEP_PREPARE, .errnum = errno, .mount_id = -1};
        pv_enter_report(&enter, &report);
        _exit(1);
    }
    func(&enter, data);
    _exit(0);
}

/* Wait until the child closes the pipe. FALSE when the time is over. */
static gboolean wait_for_end(int fd, guint deadline_msec)
{
    gint64 end_usec = g_get_monotonic_time() + (gint64)deadline_msec * 1000;

    for (;;) {
        gint64 left_usec = end_usec - g_get_monotonic_time();
        struct pollfd poll_fd = {.fd = fd}; /* POLLHUP is always told */
        int r = left_usec <= 0 ? 0 : poll(&poll_fd, 1, (int)(left_usec / 1000) + 1);
        if (r >= 0)
            return r > 0;
    }
}

/* All of the child's reports at once: to be woken for each costs both of us more than the work. A
 * pipe has room for some hundred at least, and a child makes a few for each of its files. */
static gboolean collect_reports(int fd, guint deadline_msec, GArray *reports)
{
    gboolean in_time = wait_for_end(fd, deadline_msec);
    PvReport report;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (read(fd, &report, sizeof report) == sizeof report)
        g_array_append_val(reports, report);
    return in_time;
}

gboolean pv_enter_run(PvEnterFunc func, gpointer data, int procfs_fd, guint deadline_msec,
                      GArray *reports, GError **error)
{
    int pipe_fds[2];

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return pv_error_set_errno(error, errno, "cannot make a pipe");
    pv_autofd int read_fd = pipe_fds[0];
    pv_autofd int write_fd = pipe_fds[1];

    pid_t pid = fork();
    if (pid < 0)
        return pv_error_set_errno(error, errno, "cannot fork");
    if (pid == 0)
        child_main(func, data, procfs_fd, write_fd, deadline_msec);
    pv_clear_fd(&write_fd);

    if (!collect_reports(read_fd, deadline_msec, reports)) {
        kill(pid, SIGKILL);
        reap(pid, REAP_MSEC);
        return pv_error_set(error, PV_ERROR_FAILED,
                            "not done in time (%.1f s): a file system hangs",
                            deadline_msec / 1000.0);
    }
    int status = reap(pid, REAP_MSEC);
    if (status != -1 && WIFSIGNALED(status))
        return pv_error_set(error, PV_ERROR_FAILED, "the helper process was killed by signal %d",
                            WTERMSIG(status));
    return TRUE;
}
