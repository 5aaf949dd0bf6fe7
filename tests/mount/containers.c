/*
 * Containers for the tests: a process in namespaces of its own, which runs the commands that it is
 * sent.
 *
 * The message to it is the command; the answer is the exit status and the output, each with its
 * length before it.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static GPtrArray *containers; /* of PvtContainer */

static gboolean read_exactly(int fd, void *buf, size_t size, guint timeout_msec)
{
    for (size_t done = 0; done < size;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (timeout_msec != 0 && poll(&p, 1, (int)timeout_msec) <= 0)
            return FALSE;
        n = read(fd, (char *)buf + done, size - done);
        if (n <= 0)
            return FALSE;
        done += (size_t)n;
    }
    return TRUE;
}

static gboolean write_exactly(int fd, const void *buf, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(fd, (const char *)buf + done, size - done, MSG_NOSIGNAL);
        if (n < 0)
            return FALSE;
        done += (size_t)n;
    }
    return TRUE;
}

/* ---- inside ---- */

/* The output of a command until it has ended; what it left in the background may still hold the
 * pipe. */
static int collect_output(pid_t pid, int fd, GString *out)
{
    gboolean is_open = TRUE, has_ended = FALSE;
    int status = 0;

    while (is_open || !has_ended) {
        struct pollfd p = {.fd = is_open ? fd : -1, .events = POLLIN};
        int n_ready = poll(&p, 1, has_ended ? 0 : 10);
        pid_t ended;

        if (n_ready > 0) {
            char buf[65536];
            ssize_t n = read(fd, buf, sizeof buf);
            if (n > 0)
                g_string_append_len(out, buf, n);
            is_open = n > 0;
        } else if (has_ended) {
            break;
        }
        /* Orphans too: it is an init. */
        while (!has_ended && (ended = waitpid(-1, &status, is_open ? WNOHANG : 0)) > 0)
            has_ended = ended == pid;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_command(const char *command, GString *out)
{
    int pipe_fds[2], status;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return 126;
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(pipe_fds[1], 1);
        dup2(pipe_fds[1], 2);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    status = collect_output(pid, pipe_fds[0], out);
    close(pipe_fds[0]);
    return status;
}

G_NORETURN static void serve_commands(int fd)
{
    for (;;) {
        guint32 length;
        g_autofree char *command = NULL;
        g_autoptr(GString) out = g_string_new(NULL);
        gint32 status;

        if (!read_exactly(fd, &length, sizeof length, 0))
            _exit(0);
        command = g_malloc0((gsize)length + 1);
        if (!read_exactly(fd, command, length, 0))
            _exit(0);
        status = run_command(command, out);
        length = (guint32)out->len;
        if (!write_exactly(fd, &status, sizeof status) ||
            !write_exactly(fd, &length, sizeof length) || !write_exactly(fd, out->str, length))
            _exit(0);
    }
}

static void bind_file(const char *from, const char *to)
{
    if (mount(from, to, NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
        pvt_fail("bind %s on %s: %s", from, to, g_strerror(errno));
}

/* Every file of the daemon's proc/ over the same one of /proc. */
static void bind_files(const char *from_dir, const char *to_dir)
{
    GDir *dir = g_dir_open(from_dir, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *from = g_build_filename(from_dir, name, NULL);
        g_autofree char *to = g_build_filename(to_dir, name, NULL);
        if (g_file_test(from, G_FILE_TEST_IS_DIR))
            bind_files(from, to);
        else
            bind_file(from, to);
    }
    if (dir != NULL)
        g_dir_close(dir);
}

static void mount_views(const char *mountpoint)
{
    g_autofree char *proc = g_build_filename(mountpoint, "proc", NULL);
    g_autofree char *cpu = g_build_filename(mountpoint, "sys/devices/system/cpu", NULL);
    g_autofree char *node = g_build_filename(mountpoint, "sys/devices/system/node", NULL);

    bind_files(proc, "/proc");
    bind_file(cpu, "/sys/devices/system/cpu");
    if (g_file_test(node, G_FILE_TEST_IS_DIR))
        bind_file(node, "/sys/devices/system/node");
}

G_NORETURN static void container_init(const PvtDaemon *daemon, guint flags, int fd)
{
    const char ready = 'r';

    pvt_child_setup(0); /* its parent is not seen from its pid namespace */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        pvt_fail("mount /proc: %s", g_strerror(errno));
    if (daemon != NULL && (flags & PVT_NO_VIEWS) == 0)
        mount_views(daemon->mountpoint);
    if (!write_exactly(fd, &ready, 1))
        _exit(1);
    serve_commands(fd);
}

static void enter_namespaces(guint flags, int pidns_fd)
{
    int unshared = CLONE_NEWNS;

    if (flags & PVT_OWN_CGROUP_NS)
        unshared |= CLONE_NEWCGROUP;
    if (pidns_fd < 0)
        unshared |= CLONE_NEWPID;
    else if (setns(pidns_fd, CLONE_NEWPID) < 0)
        pvt_fail("setns: %s", g_strerror(errno));
    if (unshare(unshared) < 0)
        pvt_fail("unshare: %s", g_strerror(errno));
}

/* The parent of its init, outside of its pid namespace: tells the init's pid and waits for it. */
G_NORETURN static void container_parent(const PvtDaemon *daemon, GArray *procs, guint flags,
                                        pid_t parent, int pidns_fd, int fd)
{
    gint32 init;
    int told[2]; /* closed when the pid has been told: the init's own first word comes after it */
    char byte;

    pvt_child_setup(parent);
    for (guint i = 0; procs != NULL && i < procs->len; i++) {
        if (write(g_array_index(procs, int, i), "0", 1) < 0)
            pvt_fail("enter the cgroup: %s", g_strerror(errno));
    }
    enter_namespaces(flags, pidns_fd);
    if (pipe2(told, O_CLOEXEC) < 0)
        _exit(1);
    init = fork();
    if (init == 0) {
        close(told[1]);
        (void)!read(told[0], &byte, 1);
        container_init(daemon, flags, fd);
    }
    if (init < 0 || !write_exactly(fd, &init, sizeof init))
        _exit(1);
    close(told[0]);
    close(told[1]);
    close(fd);
    while (waitpid(init, NULL, 0) < 0 && errno == EINTR)
        ;
    _exit(0);
}

/* ---- outside ---- */

static PvtContainer *start(PvtContainer *other, PvtDaemon *daemon, PvtCgroup *cgroup, guint flags)
{
    PvtContainer *container = g_new0(PvtContainer, 1);
    GArray *procs = cgroup != NULL ? pvt_cgroup_open_procs(cgroup) : NULL;
    pid_t self = getpid();
    int sockets[2], pidns_fd = -1;
    gint32 init_pid;
    char ready;

    if (other != NULL) {
        g_autofree char *path = g_strdup_printf("/proc/%d/ns/pid", (int)other->init_pid);
        pidns_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (pidns_fd < 0)
            pvt_fail("%s: %s", path, g_strerror(errno));
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        pvt_fail("socketpair: %s", g_strerror(errno));
    container->parent_pid = fork();
    if (container->parent_pid == 0) {
        close(sockets[0]);
        container_parent(daemon, procs, flags, self, pidns_fd, sockets[1]);
    }
    close(sockets[1]);
    if (pidns_fd >= 0)
        close(pidns_fd);
    for (guint i = 0; procs != NULL && i < procs->len; i++)
        close(g_array_index(procs, int, i));
    g_clear_pointer(&procs, g_array_unref);
    container->socket = sockets[0];
    if (containers == NULL)
        containers = g_ptr_array_new();
    g_ptr_array_add(containers, container);
    if (!read_exactly(sockets[0], &init_pid, sizeof init_pid, pvt_timeout_msec(10000)) ||
        !read_exactly(sockets[0], &ready, 1, pvt_timeout_msec(10000)))
        pvt_fail("the container did not start");
    container->init_pid = init_pid;
    return container;
}

PvtContainer *pvt_container_start(PvtDaemon *daemon, PvtCgroup *cgroup, guint flags)
{
    return start(NULL, daemon, cgroup, flags);
}

PvtContainer *pvt_container_join(PvtContainer *other, PvtDaemon *daemon, PvtCgroup *cgroup,
                                 guint flags)
{
    return start(other, daemon, cgroup, flags);
}

static int run(PvtContainer *container, char **ret_output, const char *command)
{
    guint timeout = pvt_timeout_msec(60000);
    guint32 length = (guint32)strlen(command);
    gint32 status;
    char *output;

    if (!write_exactly(container->socket, &length, sizeof length) ||
        !write_exactly(container->socket, command, length) ||
        !read_exactly(container->socket, &status, sizeof status, timeout) ||
        !read_exactly(container->socket, &length, sizeof length, timeout))
        pvt_fail("no answer to: %s", command);
    output = g_malloc0((gsize)length + 1);
    if (!read_exactly(container->socket, output, length, timeout))
        pvt_fail("no output of: %s", command);
    *ret_output = output;
    return status;
}

char *pvt_run(PvtContainer *container, const char *format, ...)
{
    g_autofree char *command = NULL;
    char *output = NULL;
    va_list args;
    int status;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    status = run(container, &output, command);
    if (status != 0)
        pvt_fail("%s: exit status %d: %s", command, status, output);
    return output;
}

int pvt_run_status(PvtContainer *container, char **ret_output, const char *format, ...)
{
    g_autofree char *command = NULL;
    g_autofree char *output = NULL;
    va_list args;
    int status;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    status = run(container, &output, command);
    if (ret_output != NULL)
        *ret_output = g_steal_pointer(&output);
    return status;
}

void pvt_assert_text(PvtContainer *container, const char *command, const char *expected)
{
    g_autofree char *text = pvt_run(container, "%s", command);

    assert_string_equal(text, expected);
}

void pvt_container_stop(PvtContainer *container)
{
    /* Either dies with the other, but the init is killed first, for its processes to have gone when
     * this returns. */
    if (container->init_pid > 0)
        kill(container->init_pid, SIGKILL);
    else
        kill(container->parent_pid, SIGKILL);
    while (waitpid(container->parent_pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(container->socket);
    g_ptr_array_remove(containers, container);
    g_free(container);
}

void pvt_containers_end(void)
{
    while (containers != NULL && containers->len > 0)
        pvt_container_stop(g_ptr_array_index(containers, containers->len - 1));
}

pid_t pvt_run_function(PvtCgroup *cgroup, int (*func)(const void *), const void *data, int *ret_go)
{
    struct clone_args args = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
    int go[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(read(go[0], &byte, 1) == 1 ? func(data) : 100);
    assert_true(pid > 0);
    pvt_cgroup_enter(cgroup, pid);
    close(go[0]);
    *ret_go = go[1];
    return pid;
}

void pvt_expect_success(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("a container's process failed with %d (status %x)", WEXITSTATUS(status), status);
}
