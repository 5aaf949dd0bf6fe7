/*
 * A mount that never dies: readers that check every byte go on while workers and supervisors are
 * killed in every way.
 */
#include "readers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX (256 * 1024)

static void kill_while_reading(guint n_kills)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtReaders run;

    pvt_expect_ends(daemon);
    pvt_readers_start(&run, daemon);
    pvt_sleep_msec(200);
    pvt_kill_workers(&run, n_kills / pvt_slow(8));
    pvt_sleep_msec(100);
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

static void test_readers_do_not_notice_200_kills(void **state)
{
    (void)state;
    kill_while_reading(200);
}

static void test_readers_do_not_notice_kills_where_the_kernel_cannot_resend(void **state)
{
    (void)state;
    g_setenv("PROCVIEW_NO_RESEND", "1", TRUE);
    kill_while_reading(200);
    g_unsetenv("PROCVIEW_NO_RESEND");
}

static void test_readers_do_not_notice_upgrades(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtReaders run;
    pid_t pid = 0;

    (void)state;
    pvt_expect_ends(daemon);
    pvt_readers_start(&run, daemon);
    for (guint i = 0; i < 20; i++) {
        pid = pvt_wait_for_worker(daemon, pid);
        pvt_readers_note_kill(&run);
        kill(daemon->pid, SIGUSR1);
        pvt_sleep_msec(40 * pvt_slow(10));
    }
    pvt_sleep_msec(100);
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

static void test_readers_do_not_notice_the_death_of_supervisors(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtReaders run;

    (void)state;
    pvt_readers_start(&run, daemon);
    for (guint i = 0; i < 6; i++) {
        pvt_sleep_msec(60);
        pvt_readers_note_kill(&run);
        pvt_daemon_kill_supervisor(daemon);
        if (i % 2 == 1)
            pvt_sleep_msec(50);
        daemon = pvt_daemon_start_after(daemon);
        pvt_expect_ends(daemon);
        /* The new one must be able to replace what it found. */
        if (i % 2 == 0)
            kill(pvt_wait_for_worker(daemon, 0), SIGKILL);
    }
    pvt_sleep_msec(100);
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

/* The standby is there for that, too. */
static void test_readers_do_not_notice_the_death_of_supervisor_and_worker(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtReaders run;

    (void)state;
    pvt_readers_start(&run, daemon);
    for (guint i = 0; i < 4; i++) {
        pid_t worker = pvt_wait_for_worker(daemon, 0);

        pvt_sleep_msec(300 * pvt_slow(5)); /* until there is a standby */
        pvt_readers_note_kill(&run);
        kill(worker, SIGKILL);
        pvt_daemon_kill_supervisor(daemon);
        daemon = pvt_daemon_start_after(daemon);
        pvt_expect_ends(daemon);
    }
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

static void test_next_supervisor_takes_over_after_sigquit(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtReaders run;
    int status;

    (void)state;
    pvt_readers_start(&run, daemon);
    pvt_sleep_msec(50);
    kill(daemon->pid, SIGQUIT);
    assert_int_equal(waitpid(daemon->pid, &status, 0), daemon->pid);
    assert_int_equal(status, 0);
    daemon->pid = 0;
    daemon = pvt_daemon_start_after(daemon);
    pvt_sleep_msec(50);
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

static void test_stop_gives_containers_the_kernels_own_files_back(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtDaemon *other = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "attached"), *next = pvt_cgroup_new(NULL, "other");
    PvtContainer *container, *others;
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    g_autofree char *elsewhere = NULL;
    g_autofree char *host = pvt_read_file("/proc/meminfo");

    (void)state;
    pvt_cgroup_limit_memory(cgroup, (guint64)PVT_READERS_LIMIT_KB * 1024);
    pvt_cgroup_limit_memory(next, (guint64)PVT_READERS_LIMIT_KB * 1024);
    container = pvt_container_start(daemon, cgroup, 0);
    others = pvt_container_start(other, next, 0);
    before = pvt_run(container, "cat /proc/meminfo");
    assert_int_equal(pvt_field(before, "MemTotal:"), PVT_READERS_LIMIT_KB);
    pvt_daemon_stop(daemon);
    after = pvt_run(container, "cat /proc/meminfo");
    assert_int_equal(pvt_field(after, "MemTotal:"), pvt_field(host, "MemTotal:"));
    /* Another daemon's views stay. */
    elsewhere = pvt_run(others, "cat /proc/meminfo");
    assert_int_equal(pvt_field(elsewhere, "MemTotal:"), PVT_READERS_LIMIT_KB);
    pvt_daemon_stop(other);
}

/* ---- one reader ---- */

static int open_view(PvtDaemon *daemon, const char *path)
{
    g_autofree char *full = g_build_filename(daemon->mountpoint, path, NULL);
    int fd = open(full, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* Read it whole; -1 with errno. */
static ssize_t read_view(PvtDaemon *daemon, const char *path, char *text, gsize size)
{
    int fd = open_view(daemon, path);
    gsize length = 0;
    ssize_t n;

    while ((n = read(fd, text + length, size - 1 - length)) > 0)
        length += (gsize)n;
    close(fd);
    text[length] = '\0';
    return n < 0 ? n : (ssize_t)length;
}

static void test_half_read_text_goes_on_after_the_kill(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    int fd = open_view(daemon, "proc/stat");
    g_autofree char *before = g_malloc0(TEXT_MAX);
    g_autofree char *after = g_malloc0(TEXT_MAX);
    ssize_t length;
    pid_t pid;

    (void)state;
    pvt_expect_ends(daemon);
    length = pread(fd, before, TEXT_MAX - 1, 0); /* rendered here … */
    assert_true(length > 200);
    pid = pvt_wait_for_worker(daemon, 0);
    kill(pid, SIGKILL);
    pvt_wait_for_worker(daemon, pid);
    pvt_sleep_msec(50);
    assert_int_equal(pread(fd, after + 100, TEXT_MAX - 101, 100), length - 100); /* … not here */
    assert_memory_equal(after + 100, before + 100, length - 100);
    close(fd);
    pvt_daemon_stop(daemon);
}

static PvtDaemon *start_faulty(const char *fault)
{
    PvtDaemon *daemon;

    g_setenv("PROCVIEW_FAULT", fault, TRUE);
    daemon = pvt_daemon_start_with("--watchdog=1", NULL);
    g_unsetenv("PROCVIEW_FAULT");
    pvt_expect_ends(daemon);
    return daemon;
}

/* While somebody waits for a file that no worker survives, the others are not harmed. */
static void check_poison(const char *fault)
{
    PvtDaemon *daemon = start_faulty(fault);
    char text[16384];
    PvtReaders run;

    pvt_readers_start(&run, daemon);
    pvt_sleep_msec(100);
    for (guint i = 0; i < 2; i++) {
        assert_int_equal(read_view(daemon, "proc/swaps", text, sizeof text), -1);
        assert_int_equal(errno, EIO);
    }
    assert_true(read_view(daemon, "proc/meminfo", text, sizeof text) > 0);
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

static void test_request_that_crashes_workers_gets_an_error(void **state)
{
    (void)state;
    check_poison("segv@proc/swaps");
}

static void test_request_that_aborts_workers_gets_an_error(void **state)
{
    (void)state;
    check_poison("abort@proc/swaps");
}

static void test_request_that_hangs_workers_gets_an_error(void **state)
{
    (void)state;
    check_poison("hang@proc/swaps");
}

static void test_stopped_worker_is_replaced(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--watchdog=1", NULL);
    char text[16384];

    (void)state;
    pvt_expect_ends(daemon);
    kill(pvt_wait_for_worker(daemon, 0), SIGSTOP);
    assert_true(read_view(daemon, "proc/meminfo", text, sizeof text) > 0);
    pvt_daemon_stop(daemon);
}

static void test_workers_that_cannot_live_are_replaced_by_a_safe_one(void **state)
{
    PvtDaemon *daemon = start_faulty("abort");
    g_autofree char *log = pvt_daemon_log(daemon);
    g_autofree char *host = pvt_read_file("/proc/meminfo");
    char text[16384];

    (void)state;
    assert_non_null(strstr(log, "workers die before they serve anything: the kernel's own files"));
    assert_true(read_view(daemon, "proc/meminfo", text, sizeof text) > 0);
    assert_int_equal(pvt_field(text, "MemTotal:"), pvt_field(host, "MemTotal:"));
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_read_text_goes_on_after_the_kill),
        cmocka_unit_test(test_readers_do_not_notice_200_kills),
        cmocka_unit_test(test_readers_do_not_notice_kills_where_the_kernel_cannot_resend),
        cmocka_unit_test(test_readers_do_not_notice_upgrades),
        cmocka_unit_test(test_readers_do_not_notice_the_death_of_supervisors),
        cmocka_unit_test(test_readers_do_not_notice_the_death_of_supervisor_and_worker),
        cmocka_unit_test(test_next_supervisor_takes_over_after_sigquit),
        cmocka_unit_test(test_stop_gives_containers_the_kernels_own_files_back),
        cmocka_unit_test(test_request_that_crashes_workers_gets_an_error),
        cmocka_unit_test(test_request_that_aborts_workers_gets_an_error),
        cmocka_unit_test(test_request_that_hangs_workers_gets_an_error),
        cmocka_unit_test(test_stopped_worker_is_replaced),
        cmocka_unit_test(test_workers_that_cannot_live_are_replaced_by_a_safe_one),
    };

    return pvt_main(tests);
}
