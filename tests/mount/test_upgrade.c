/*
 * A new version in the place of the running one: the worker first, then the supervisor itself;
 * what is done when the new one is no good; the signals, also under the name lxcfs; the file of the
 * process id.
 */
#include "readers.h"

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_KB PVT_READERS_LIMIT_KB

/* Put a program into a place as a package manager does: by rename, while the old one runs. */
static void install(const char *from, const char *to)
{
    g_autofree char *fresh = g_strconcat(to, ".new", NULL);
    g_autofree char *data = NULL;
    g_autoptr(GError) error = NULL;
    gsize length;

    if (!g_file_get_contents(from, &data, &length, &error) ||
        !g_file_set_contents_full(fresh, data, (gssize)length, 0, 0755, &error))
        pvt_fail("%s", error->message);
    assert_int_equal(g_rename(fresh, to), 0);
}

/* The same for a program of one line. */
static void install_script(const char *line, const char *to)
{
    g_autofree char *from = pvt_path("script");
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", line);

    assert_true(g_file_set_contents(from, text, -1, NULL));
    install(from, to);
}

static const char *under_test(void)
{
    const char *path = g_getenv("PROCVIEWD");

    return path != NULL ? path : PROCVIEWD;
}

/* A daemon that runs from a place of its own. */
static PvtDaemon *start_installed(char **ret_program)
{
    PvtDaemon *daemon;

    *ret_program = pvt_path("procviewd");
    install(under_test(), *ret_program);
    daemon = pvt_daemon_start_program(*ret_program, (char *[]){(char *)"--watchdog=1", NULL});
    pvt_expect_ends(daemon);
    return daemon;
}

static gboolean runs_file(pid_t pid, const char *path)
{
    g_autofree char *exe = g_strdup_printf("/proc/%d/exe", (int)pid);
    struct stat running, installed;

    return stat(exe, &running) == 0 && stat(path, &installed) == 0 &&
           running.st_ino == installed.st_ino && running.st_dev == installed.st_dev;
}

/* The worker that serves may be another one again a moment later. */
static void wait_until_all_run(PvtDaemon *daemon, const char *path)
{
    g_autofree char *log = NULL;

    for (guint i = 0; i < pvt_timeout_msec(10000) / 5; i++) {
        if (runs_file(daemon->pid, path) && runs_file(pvt_daemon_worker(daemon), path))
            return;
        pvt_sleep_msec(5);
    }
    log = pvt_daemon_log(daemon);
    pvt_fail("the old program goes on:\n%s", log);
}

static void wait_for_log(PvtDaemon *daemon, const char *part)
{
    for (guint i = 0; i < pvt_timeout_msec(15000) / 20; i++) {
        g_autofree char *log = pvt_daemon_log(daemon);
        if (strstr(log, part) != NULL)
            return;
        pvt_sleep_msec(20);
    }
    pvt_fail("not in the log: %s", part);
}

static void check_upgrade(const char *next, void (*start_readers)(PvtReaders *, PvtDaemon *))
{
    g_autofree char *program = NULL;
    PvtDaemon *daemon = start_installed(&program);
    PvtReaders run;

    start_readers(&run, daemon);
    for (guint i = 0; i < 2; i++) {
        install(i == 0 ? next : under_test(), program);
        pvt_readers_note_kill(&run);
        kill(daemon->pid, SIGUSR1);
        wait_until_all_run(daemon, program);
        pvt_sleep_msec(50 * pvt_slow(10));
    }
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

static void test_upgrade_runs_the_installed_program(void **state)
{
    (void)state;
    check_upgrade(under_test(), pvt_readers_start);
}

static void test_upgrade_to_another_layout_of_the_shared_memory_and_back(void **state)
{
    (void)state;
    /* The handles are lost with the layout. */
    check_upgrade(PROCVIEWD_NEXT, pvt_readers_start_at_once);
}

/* Readers go on, and a good program is taken the next time. */
static void check_bad_upgrade(const char *line, const char *complaint)
{
    g_autofree char *program = NULL;
    PvtDaemon *daemon = start_installed(&program);
    pid_t supervisor = daemon->pid, worker = pvt_wait_for_worker(daemon, 0);
    PvtReaders run;

    pvt_daemon_expect(daemon, "upgrade is given up");
    pvt_readers_start(&run, daemon);
    install_script(line, program);
    kill(supervisor, SIGUSR1);
    wait_for_log(daemon, complaint);
    wait_for_log(daemon, "the upgrade is given up");
    assert_int_equal(pvt_daemon_worker(daemon), worker);
    install(under_test(), program);
    kill(supervisor, SIGUSR1);
    wait_until_all_run(daemon, program);
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

static void test_program_that_does_not_start_is_not_taken(void **state)
{
    (void)state;
    check_bad_upgrade("exit 1", "does not start");
}

static void test_program_that_hangs_is_not_taken(void **state)
{
    (void)state;
    check_bad_upgrade("exec sleep 100", "the standby has not got ready: it is killed");
}

/* As with versions side by side: the link is what is installed. */
static void test_upgrade_follows_the_link_by_which_it_was_started(void **state)
{
    g_autofree char *old = pvt_path("procviewd-1.0");
    g_autofree char *next = pvt_path("procviewd-1.1");
    g_autofree char *link = pvt_path("procviewd-link");
    g_autofree char *fresh = pvt_path("fresh");
    PvtDaemon *daemon;

    (void)state;
    install(under_test(), old);
    install(under_test(), next);
    assert_int_equal(symlink("procviewd-1.0", link), 0);
    daemon = pvt_daemon_start_program(link, NULL);
    pvt_expect_ends(daemon);
    for (guint i = 0; i < 2; i++) {
        assert_int_equal(symlink(i == 0 ? "procviewd-1.1" : "procviewd-1.0", fresh), 0);
        assert_int_equal(g_rename(fresh, link), 0);
        kill(daemon->pid, SIGUSR1);
        wait_until_all_run(daemon, i == 0 ? next : old);
    }
    pvt_daemon_stop(daemon);
    assert_int_equal(g_unlink(link), 0);
}

/* A new program is not ready yet, or never will be, when the worker dies: the old one goes on. */
static void test_program_that_hangs_is_never_promoted(void **state)
{
    g_autofree char *program = pvt_path("procviewd");
    char *options[] = {(char *)"--watchdog=0", NULL};
    PvtDaemon *daemon;
    pid_t worker;

    (void)state;
    install(under_test(), program);
    daemon = pvt_daemon_start_program(program, options);
    pvt_expect_ends(daemon);
    worker = pvt_wait_for_worker(daemon, 0);
    install_script("exec sleep 100", program);
    kill(daemon->pid, SIGUSR1);
    pvt_sleep_msec(300 * pvt_slow(5));
    kill(worker, SIGKILL);
    pvt_wait_for_worker(daemon, worker);
    /* Whoever asks again is heard, also without a watchdog. */
    install(under_test(), program);
    pvt_sleep_msec(2000);
    kill(daemon->pid, SIGUSR1);
    wait_until_all_run(daemon, program);
    pvt_daemon_stop(daemon);
}

/* ---- signals, and the name lxcfs ---- */

static guint64 total_kb(PvtContainer *container)
{
    g_autofree char *text = pvt_run(container, "cat /proc/meminfo");

    return pvt_field(text, "MemTotal:");
}

static void wait_for_total(PvtContainer *container, guint64 expected_kb)
{
    for (guint i = 0; i < pvt_timeout_msec(5000) / 5; i++) {
        if (total_kb(container) == expected_kb)
            return;
        pvt_sleep_msec(5);
    }
    assert_int_equal(total_kb(container), expected_kb);
}

/* SIGUSR2, twice; a worker that comes meanwhile does as the one before. */
static void check_passthrough(PvtDaemon *daemon)
{
    g_autofree char *host = pvt_read_file("/proc/meminfo");
    guint64 host_kb = pvt_field(host, "MemTotal:");
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "passthrough");
    PvtContainer *container;
    pid_t worker;

    pvt_cgroup_limit_memory(cgroup, (guint64)LIMIT_KB * 1024);
    container = pvt_container_start(daemon, cgroup, 0);
    assert_int_equal(total_kb(container), LIMIT_KB);
    kill(daemon->pid, SIGUSR2);
    wait_for_total(container, host_kb);
    worker = pvt_wait_for_worker(daemon, 0);
    kill(worker, SIGKILL);
    pvt_wait_for_worker(daemon, worker);
    assert_int_equal(total_kb(container), host_kb);
    kill(daemon->pid, SIGUSR2);
    wait_for_total(container, LIMIT_KB);
}

static void test_sigusr2_shows_the_kernels_own_files_until_the_next(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();

    (void)state;
    pvt_expect_ends(daemon);
    check_passthrough(daemon);
    pvt_daemon_stop(daemon);
}

static void test_open_files_follow_sigusr2(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *path = NULL;
    g_autofree char *host = pvt_read_file("/proc/meminfo");
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "kept");
    guint64 expected = LIMIT_KB, seen = 0;
    int fd;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, (guint64)LIMIT_KB * 1024);
    pvt_container_start(daemon, cgroup, 0);
    path = g_strdup_printf("%s/containers/pv-test-%d-kept/proc/meminfo", daemon->mountpoint,
                           (int)getpid());
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (guint i = 0; i < 3; i++) {
        for (guint k = 0; k < pvt_timeout_msec(5000) / 5; k++) {
            char text[65536] = "";
            assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
            seen = pvt_field(text, "MemTotal:");
            if (seen == expected)
                break;
            pvt_sleep_msec(5);
        }
        assert_int_equal(seen, expected);
        kill(daemon->pid, SIGUSR2);
        expected = i == 0 ? pvt_field(host, "MemTotal:") : LIMIT_KB;
    }
    close(fd);
    pvt_daemon_stop(daemon);
}

/* The number in a file, 0 without one. */
static pid_t read_pid(const char *path)
{
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? atoi(text) : 0;
}

static void test_pid_file_is_the_supervisors_and_goes_with_it(void **state)
{
    g_autofree char *path = pvt_path("daemon.pid");
    g_autofree char *option = g_strconcat("--pid-file=", path, NULL);
    PvtDaemon *daemon = pvt_daemon_start_with(option, NULL);
    pid_t worker = pvt_wait_for_worker(daemon, 0);

    (void)state;
    pvt_expect_ends(daemon);
    assert_int_equal(read_pid(path), daemon->pid);
    kill(daemon->pid, SIGUSR1);
    worker = pvt_wait_for_worker(daemon, worker);
    kill(worker, SIGKILL);
    pvt_wait_for_worker(daemon, worker);
    assert_int_equal(read_pid(path), daemon->pid);
    pvt_daemon_stop(daemon);
    assert_int_equal(access(path, F_OK), -1);
}

static void check_command_line(pid_t worker, const char *program)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)worker);
    g_autofree char *text = NULL;
    gsize length;

    assert_true(g_file_get_contents(path, &text, &length, NULL));
    assert_string_equal(text, program);
    assert_string_equal(text + strlen(text) + 1, "--worker");
}

/* The program by that name: a link, as one is installed. */
static char *lxcfs_program(void)
{
    char *program = pvt_path("lxcfs");

    assert_true(symlink(under_test(), program) == 0 || errno == EEXIST);
    return program;
}

static void test_under_the_name_lxcfs(void **state)
{
    g_autofree char *program = lxcfs_program();
    g_autofree char *path = NULL;
    PvtDaemon *daemon;
    PvtReaders run;
    pid_t worker;

    (void)state;
    daemon = pvt_daemon_start_program(program, NULL);
    pvt_expect_ends(daemon);
    path = g_build_filename(daemon->base, "lxcfs.pid", NULL);
    assert_int_equal(read_pid(path), daemon->pid);
    worker = pvt_wait_for_worker(daemon, 0);
    check_command_line(worker, program);
    check_passthrough(daemon);

    pvt_readers_start(&run, daemon);
    pvt_kill_at_random(&run, 20 / pvt_slow(4));
    daemon = run.daemon; /* it may be the next one */
    worker = pvt_wait_for_worker(daemon, 0);
    kill(daemon->pid, SIGUSR1);
    check_command_line(pvt_wait_for_worker(daemon, worker), program);
    pvt_readers_end(&run);
    assert_int_equal(read_pid(path), daemon->pid);
    pvt_daemon_stop(daemon);
    assert_int_equal(access(path, F_OK), -1);
}

/* Every name in a directory of the mount is in `allowed`. Returns how many there are. */
static guint check_names(const PvtDaemon *daemon, const char *folder, const char *allowed)
{
    g_auto(GStrv) names = g_strsplit(allowed, " ", -1);
    g_autofree char *path = g_build_filename(daemon->mountpoint, folder, NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    guint n = 0;

    assert_non_null(dir);
    while ((name = g_dir_read_name(dir)) != NULL) {
        if (!g_strv_contains((const char *const *)names, name))
            pvt_fail("%s/%s: lxcfs has no such file", path, name);
        n++;
    }
    return n;
}

/* Its hook for LXC covers each entry of proc/ of a container by ours: with a proc/sys all sysctls
 * were gone. */
static void test_the_name_lxcfs_serves_the_files_of_lxcfs_only(void **state)
{
    const char *const always[] = {"cpuinfo", "diskstats", "loadavg", "meminfo",
                                  "stat",    "swaps",     "uptime"};
    g_autofree char *program = lxcfs_program();
    PvtDaemon *daemon = pvt_daemon_start_program(program, NULL);
    g_autofree char *pressure = g_build_filename(daemon->mountpoint, "proc/pressure", NULL);

    (void)state;
    check_names(daemon, "", "proc sys containers");
    check_names(daemon, "sys/devices/system", "cpu");
    check_names(daemon, "proc",
                "cpuinfo diskstats loadavg meminfo pressure slabinfo stat swaps uptime");
    for (guint i = 0; i < G_N_ELEMENTS(always); i++) {
        g_autofree char *path = g_build_filename(daemon->mountpoint, "proc", always[i], NULL);
        assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
    }
    if (g_file_test(pressure, G_FILE_TEST_IS_DIR)) { /* whole, or not at all */
        g_autoptr(GDir) kernels = g_dir_open("/proc/pressure", 0, NULL);
        guint n = 0;
        while (kernels != NULL && g_dir_read_name(kernels) != NULL)
            n++;
        assert_true(check_names(daemon, "proc/pressure", "cpu io irq memory") >= n);
    }
    pvt_daemon_stop(daemon);
}

/* ---- a service manager that keeps descriptors, sd_notify(3) ---- */

typedef struct {
    int socket;
    GThread *thread;
    GMutex mutex;
    int fds[2]; /* /dev/fuse, the memory; -1 */
} Manager;

static void on_message(Manager *self, const char *text, int fd)
{
    int which = strstr(text, "FDNAME=procview-fuse") != NULL ? 0 : 1;

    if (!g_str_has_prefix(text, "FDSTORE"))
        return;
    g_mutex_lock(&self->mutex);
    if (self->fds[which] >= 0)
        close(self->fds[which]);
    self->fds[which] = fd;
    g_mutex_unlock(&self->mutex);
}

static gpointer manage(gpointer data)
{
    Manager *self = data;

    for (;;) {
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
        char text[512];
        struct iovec part = {.iov_base = text, .iov_len = sizeof text - 1};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = control,
                                .msg_controllen = sizeof control};
        ssize_t n = recvmsg(self->socket, &header, MSG_CMSG_CLOEXEC);
        const struct cmsghdr *head = CMSG_FIRSTHDR(&header);
        int fd = -1;

        if (n <= 0)
            return NULL;
        text[n] = '\0';
        if (head != NULL && head->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(head), sizeof fd);
        on_message(self, text, fd);
    }
}

static void manager_start(Manager *self)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *path = pvt_path("notify");

    *self = (Manager){.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), .fds = {-1, -1}};
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    assert_int_equal(bind(self->socket, (struct sockaddr *)&address, sizeof address), 0);
    g_mutex_init(&self->mutex);
    self->thread = g_thread_new("manager", manage, self);
    g_setenv("NOTIFY_SOCKET", path, TRUE);
    g_setenv("FDSTORE", "8", TRUE);
}

static void manager_end(Manager *self)
{
    g_unsetenv("NOTIFY_SOCKET");
    g_unsetenv("FDSTORE");
    shutdown(self->socket, SHUT_RDWR);
    g_thread_join(self->thread);
    close(self->socket);
}

static gboolean manager_has_both(Manager *self)
{
    gboolean has;

    g_mutex_lock(&self->mutex);
    has = self->fds[0] >= 0 && self->fds[1] >= 0;
    g_mutex_unlock(&self->mutex);
    return has;
}

/* A program that hands what is kept to procviewd, as a manager does. */
static char *make_starter(Manager *manager)
{
    char *path = pvt_path("starter");
    g_autofree char *text = NULL;

    g_mutex_lock(&manager->mutex);
    for (guint i = 0; i < G_N_ELEMENTS(manager->fds); i++) {
        int fd = fcntl(manager->fds[i], F_DUPFD, 20); /* not closed by exec, and in nobody's way */
        close(manager->fds[i]);
        manager->fds[i] = fd;
    }
    text = g_strdup_printf("#!/bin/bash\n"
                           "exec 3<&%d- 4<&%d-\n"
                           "export LISTEN_PID=$$ LISTEN_FDS=2 "
                           "LISTEN_FDNAMES=procview-fuse:procview-shared\n"
                           "exec %s \"$@\"\n",
                           manager->fds[0], manager->fds[1], under_test());
    g_mutex_unlock(&manager->mutex);
    assert_true(g_file_set_contents_full(path, text, -1, 0, 0755, NULL));
    return path;
}

/* The manager keeps the connection of a mount point that nobody wants any more. */
static void test_restart_with_another_mount_point_takes_the_old_mount_away(void **state)
{
    Manager manager;
    PvtDaemon *before, *after;
    g_autofree char *starter = NULL;
    g_autofree char *told = NULL;
    g_autofree char *log = NULL;

    (void)state;
    manager_start(&manager);
    before = pvt_daemon_start();
    for (guint i = 0; i < pvt_timeout_msec(10000) / 5 && !manager_has_both(&manager); i++)
        pvt_sleep_msec(5);
    assert_true(manager_has_both(&manager));
    kill(before->pid, SIGQUIT);
    assert_int_equal(waitpid(before->pid, NULL, 0), before->pid);
    before->pid = 0;
    assert_true(pvt_is_mounted(before->mountpoint));

    starter = make_starter(&manager);
    after = pvt_daemon_start_program(starter, NULL);
    assert_false(pvt_is_mounted(before->mountpoint));
    told = g_strdup_printf("%s: unmounted: the mount point is %s now", before->mountpoint,
                           after->mountpoint);
    log = pvt_daemon_log(after);
    if (strstr(log, told) == NULL)
        pvt_fail("\"%s\" is not in:\n%s", told, log);
    pvt_daemon_stop(after);
    manager_end(&manager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upgrade_runs_the_installed_program),
        cmocka_unit_test(test_upgrade_to_another_layout_of_the_shared_memory_and_back),
        cmocka_unit_test(test_program_that_does_not_start_is_not_taken),
        cmocka_unit_test(test_program_that_hangs_is_not_taken),
        cmocka_unit_test(test_program_that_hangs_is_never_promoted),
        cmocka_unit_test(test_upgrade_follows_the_link_by_which_it_was_started),
        cmocka_unit_test(test_sigusr2_shows_the_kernels_own_files_until_the_next),
        cmocka_unit_test(test_open_files_follow_sigusr2),
        cmocka_unit_test(test_pid_file_is_the_supervisors_and_goes_with_it),
        cmocka_unit_test(test_under_the_name_lxcfs),
        cmocka_unit_test(test_the_name_lxcfs_serves_the_files_of_lxcfs_only),
        cmocka_unit_test(test_restart_with_another_mount_point_takes_the_old_mount_away),
    };

    return pvt_main(tests);
}
