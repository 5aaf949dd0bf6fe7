/* The daemon as a program: its start, its end, and what it says when something is wrong. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* The output must have this in it, the exit status be this. */
static void check(int status, const char *output, int expected_status, const char *part)
{
    if (status != expected_status || strstr(output, part) == NULL)
        print_error("exit status %d, output: %s\n", status, output);
    assert_int_equal(status, expected_status);
    assert_non_null(strstr(output, part));
}

static void test_sigterm_unmounts_and_exits_0(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();

    (void)state;
    assert_true(pvt_is_mounted(daemon->mountpoint));
    pvt_daemon_stop(daemon);
    assert_false(pvt_is_mounted(daemon->mountpoint));
}

static void test_mount_is_read_only_nosuid_nodev_noexec(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    const long wanted = 0x1 | 0x2 | 0x4 | 0x8; /* ST_RDONLY, NOSUID, NODEV, NOEXEC */
    struct statfs st;

    (void)state;
    assert_int_equal(statfs(daemon->mountpoint, &st), 0);
    assert_int_equal(st.f_flags & wanted, wanted);
    pvt_daemon_stop(daemon);
}

static void test_mount_that_is_in_use_goes_away_with_the_daemon(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    int fd = open(daemon->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    pvt_daemon_stop(daemon);
    close(fd);
}

static void test_stop_while_containers_read(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "busy"), 0);

    (void)state;
    g_free(pvt_run(container, "for i in 1 2 3 4 5 6 7 8; do (while cat /proc/stat; do :; done "
                              ">/dev/null 2>&1) & done"));
    pvt_sleep_msec(100);
    pvt_daemon_stop(daemon);
    /* Readers end with an error; none hangs. */
    g_free(pvt_run(container, "cat /proc/meminfo >/dev/null 2>&1; true"));
}

static void test_second_instance_is_refused(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *state_option = g_strconcat("--state-dir=", daemon->state_dir, NULL);
    g_autofree char *part = g_strdup_printf("%s: another procviewd serves it already: pid %d",
                                            daemon->mountpoint, (int)daemon->pid);
    g_autofree char *output = NULL;
    int status = pvt_daemon_run(&output, state_option, daemon->mountpoint, NULL);

    (void)state;
    check(status, output, 1, part);
    assert_true(pvt_is_mounted(daemon->mountpoint));
    pvt_daemon_stop(daemon);
}

static void test_second_instance_with_another_state_is_refused_too(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *other = pvt_path("other-state");
    g_autofree char *state_option = g_strconcat("--state-dir=", other, NULL);
    g_autofree char *output = NULL;
    int status = pvt_daemon_run(&output, state_option, daemon->mountpoint, NULL);

    (void)state;
    check(status, output, 1, "another procviewd serves it already");
    pvt_daemon_stop(daemon);
}

static void test_dead_mount_is_replaced(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtDaemon *next;
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);
    g_autofree char *text = NULL;
    struct statfs st;

    (void)state;
    pvt_daemon_kill(daemon);
    assert_int_equal(statfs(daemon->mountpoint, &st), -1);
    assert_int_equal(errno, ENOTCONN);
    next = pvt_daemon_start_after(daemon);
    text = pvt_read_file(path);
    assert_true(pvt_field(text, "MemTotal:") > 0);
    pvt_daemon_stop(next);
}

static void test_file_as_mount_point_is_refused(void **state)
{
    g_autofree char *path = pvt_path("file");
    g_autofree char *other = pvt_path("state");
    g_autofree char *state_option = g_strconcat("--state-dir=", other, NULL);
    g_autofree char *output = NULL;
    int status;

    (void)state;
    assert_true(g_file_set_contents(path, "", 0, NULL));
    status = pvt_daemon_run(&output, state_option, path, NULL);
    check(status, output, 1, "/file: not a directory");
}

/* There it would wait for itself. */
static void test_mount_point_over_what_the_daemon_needs_is_refused(void **state)
{
    static const char *const PATHS[] = {"/sys/kernel", "/dev", "/dev/.."};
    g_autofree char *state_dir = pvt_path("state");
    g_autofree char *state_option = g_strdup_printf("--state-dir=%s", state_dir);

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(PATHS); i++) {
        g_autofree char *output = NULL;

        assert_int_equal(pvt_daemon_run(&output, state_option, PATHS[i], NULL), 1);
        assert_non_null(strstr(output, "cannot be"));
    }
}

static void test_bad_configuration_is_refused_with_its_line(void **state)
{
    g_autofree char *path = pvt_path("bad.conf");
    g_autofree char *part = g_strdup_printf(
        "procviewd: %s:2: bad value \"sparse\" of \"cpu-ids\"; allowed: real, dense\n", path);
    g_autofree char *output = NULL;
    int status;

    (void)state;
    assert_true(g_file_set_contents(path, "[procview]\ncpu-ids=sparse\n", -1, NULL));
    status = pvt_daemon_run(&output, "--config", path, NULL);
    check(status, output, 2, part);
}

static void test_missing_configuration_is_refused(void **state)
{
    g_autofree char *output = NULL;
    int status = pvt_daemon_run(&output, "--config=/nonexistent/x.conf", NULL);

    (void)state;
    check(status, output, 2, "/nonexistent/x.conf");
}

static void test_unknown_option_is_refused(void **state)
{
    g_autofree char *output = NULL;
    int status = pvt_daemon_run(&output, "--frobnicate", NULL);

    (void)state;
    check(status, output, 2, "unknown option \"--frobnicate\"");
}

static void test_help_and_version(void **state)
{
    g_autofree char *help = NULL;
    g_autofree char *version = NULL;
    int help_status = pvt_daemon_run(&help, "--help", NULL);
    int version_status = pvt_daemon_run(&version, "--version", NULL);

    (void)state;
    check(help_status, help, 0, "--cpu-ids KIND");
    check(version_status, version, 0, "procviewd 0.");
}

/* ---- how it is started ---- */

static const char *under_test(void)
{
    const char *path = g_getenv("PROCVIEWD");

    return path != NULL ? path : PROCVIEWD;
}

/* Run procviewd by a shell that does this first; it must refuse, and leave nothing mounted. */
static void check_limit(const char *first, const char *part)
{
    g_autofree char *mountpoint = pvt_path("limited");
    g_autofree char *line =
        g_strdup_printf("%s; exec setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource %s "
                        "--state-dir=%s.state --cgroup-tree=no %s 2>&1",
                        first, under_test(), mountpoint, mountpoint);
    char *argv[] = {(char *)"/bin/sh", (char *)"-c", line, NULL};
    g_autofree char *output = NULL;
    int status;

    assert_true(
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, NULL, &status, NULL));
    check(WIFEXITED(status) ? WEXITSTATUS(status) : -1, output, 1, part);
    assert_false(pvt_is_mounted(mountpoint));
}

/* With the right to raise limits it would do so. */
static void test_limits_that_are_too_low_are_refused_before_the_mount(void **state)
{
    (void)state;
    check_limit("ulimit -f 1000", "the size of files is limited to ");
    check_limit("ulimit -n 16", "the number of open files is limited to 16");
}

static void test_serves_with_few_open_files(void **state)
{
    g_autofree char *line =
        g_strdup_printf("#!/bin/sh\nulimit -n 256\nexec %s \"$@\"\n", under_test());
    g_autofree char *script = pvt_path("few-files");
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;
    PvtDaemon *daemon;

    (void)state;
    assert_true(g_file_set_contents_full(script, line, -1, 0, 0755, NULL));
    daemon = pvt_daemon_start_program(script, NULL);
    path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);
    text = pvt_read_file(path);
    assert_true(pvt_field(text, "MemTotal:") > 0);
    pvt_daemon_stop(daemon);
}

static void check_stream(pid_t pid, int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", (int)pid, fd);
    g_autofree char *target = g_file_read_link(path, NULL);

    assert_string_equal(target, "/dev/null");
}

static void test_streams_that_are_closed_are_not_taken_by_other_files(void **state)
{
    g_autofree char *line = g_strdup_printf("#!/bin/sh\nexec %s \"$@\" <&- 2>&-\n", under_test());
    g_autofree char *script = pvt_path("closed");
    PvtDaemon *daemon;

    (void)state;
    assert_true(g_file_set_contents_full(script, line, -1, 0, 0755, NULL));
    daemon = pvt_daemon_start_program(script, NULL); /* which waits for "ready" on stdout */
    check_stream(daemon->pid, 0);
    check_stream(daemon->pid, 2);
    check_stream(pvt_daemon_worker(daemon), 2);
    pvt_daemon_stop(daemon);
}

static void check_status(pid_t pid, const char *line)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_autofree char *text = pvt_read_file(path);

    if (strstr(text, line) == NULL)
        fail_msg("%s has no line %s:%s", path, line, strstr(text, "\nCapInh"));
}

/* CAP_DAC_READ_SEARCH, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN and no other. */
static void test_worker_has_few_privileges(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    pid_t worker = pvt_daemon_worker(daemon);

    (void)state;
    check_status(worker, "\nCapBnd:\t00000000002c0004\n");
    check_status(worker, "\nCapPrm:\t00000000002c0004\n");
    check_status(worker, "\nNoNewPrivs:\t1\n");
    check_status(worker, "\nSeccomp:\t2\n");
    pvt_daemon_stop(daemon);
}

static void test_service_manager_is_told(void **state)
{
    g_autofree char *path = pvt_path("notify");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval timeout = {.tv_sec = 5};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    PvtDaemon *daemon;
    char buf[64] = "";

    (void)state;
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    g_setenv("NOTIFY_SOCKET", path, TRUE);
    daemon = pvt_daemon_start();
    g_unsetenv("NOTIFY_SOCKET");
    assert_true(recv(fd, buf, sizeof buf - 1, 0) > 0);
    assert_string_equal(buf, "READY=1");
    pvt_daemon_stop(daemon);
    memset(buf, 0, sizeof buf);
    assert_true(recv(fd, buf, sizeof buf - 1, 0) > 0);
    assert_string_equal(buf, "STOPPING=1");
    close(fd);
}

static void test_end_of_the_mount_ends_the_daemon(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *log = NULL;

    (void)state;
    assert_int_equal(umount2(daemon->mountpoint, 0), 0);
    for (guint i = 0; i < pvt_timeout_msec(5000) / 10; i++) {
        g_free(log);
        log = pvt_daemon_log(daemon);
        if (strstr(log, "the mount has gone away") != NULL)
            break;
        pvt_sleep_msec(10);
    }
    assert_non_null(strstr(log, "the mount has gone away"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sigterm_unmounts_and_exits_0),
        cmocka_unit_test(test_mount_is_read_only_nosuid_nodev_noexec),
        cmocka_unit_test(test_mount_that_is_in_use_goes_away_with_the_daemon),
        cmocka_unit_test(test_stop_while_containers_read),
        cmocka_unit_test(test_second_instance_is_refused),
        cmocka_unit_test(test_second_instance_with_another_state_is_refused_too),
        cmocka_unit_test(test_dead_mount_is_replaced),
        cmocka_unit_test(test_file_as_mount_point_is_refused),
        cmocka_unit_test(test_mount_point_over_what_the_daemon_needs_is_refused),
        cmocka_unit_test(test_bad_configuration_is_refused_with_its_line),
        cmocka_unit_test(test_missing_configuration_is_refused),
        cmocka_unit_test(test_unknown_option_is_refused),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_limits_that_are_too_low_are_refused_before_the_mount),
        cmocka_unit_test(test_serves_with_few_open_files),
        cmocka_unit_test(test_streams_that_are_closed_are_not_taken_by_other_files),
        cmocka_unit_test(test_worker_has_few_privileges),
        cmocka_unit_test(test_service_manager_is_told),
        cmocka_unit_test(test_end_of_the_mount_ends_the_daemon),
    };

    return pvt_main(tests);
}
