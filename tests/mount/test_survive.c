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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX (256 * 1024)

/* A slow machine kills less often, unless PV_TEST_KILLS says how often. */
static guint how_often(guint n_kills)
{
    const char *text = g_getenv("PV_TEST_KILLS");

    return text != NULL ? (guint)CLAMP(atoi(text), 1, PVT_KILLS_MAX) : n_kills / pvt_slow(8);
}

static void kill_while_reading(guint n_kills)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtReaders run;

    pvt_expect_ends(daemon);
    pvt_readers_start(&run, daemon);
    pvt_sleep_msec(200);
    pvt_kill_at_random(&run, how_often(n_kills));
    pvt_sleep_msec(100);
    pvt_readers_end(&run);
    pvt_daemon_stop(run.daemon);
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
    pid_t killed = 0;

    (void)state;
    pvt_readers_start(&run, daemon);
    for (guint i = 0; i < 6; i++) {
        pvt_sleep_msec(60);
        pvt_wait_for_worker(daemon, killed); /* somebody must be left who has the connection */
        pvt_readers_note_kill(&run);
        pvt_daemon_kill_supervisor(daemon);
        if (i % 2 == 1)
            pvt_sleep_msec(50);
        daemon = pvt_daemon_start_after(daemon);
        pvt_expect_ends(daemon);
        /* The new one must be able to replace what it found. */
        killed = i % 2 == 0 ? pvt_wait_for_worker(daemon, 0) : 0;
        if (killed != 0)
            kill(killed, SIGKILL);
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

/* ---- what survives ---- */

/* busybox cat copies by sendfile(2): the text of a page cache that all share must never be there.
 */
static void check_sendfile(PvtContainer *container, guint64 expected_kb)
{
    g_autofree char *text = pvt_run(container, "busybox cat /proc/meminfo");

    assert_int_equal(pvt_field(text, "MemTotal:"), expected_kb);
    assert_true(text[strlen(text) - 1] == '\n' && strstr(text, "SwapTotal:") != NULL);
}

static void kill_worker(PvtDaemon *daemon)
{
    pid_t pid = pvt_wait_for_worker(daemon, 0);

    kill(pid, SIGKILL);
    pvt_wait_for_worker(daemon, pid);
}

static void check_attached_container(void)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "attached");
    PvtContainer *container;

    pvt_expect_ends(daemon);
    pvt_cgroup_limit_memory(cgroup, (guint64)PVT_READERS_LIMIT_KB * 1024);
    container = pvt_container_start(daemon, cgroup, 0);
    for (guint i = 0; i < 4; i++) {
        g_autofree char *text = pvt_run(container, "cat /proc/meminfo");

        assert_int_equal(pvt_field(text, "MemTotal:"), PVT_READERS_LIMIT_KB);
        check_sendfile(container, PVT_READERS_LIMIT_KB);
        if (i % 2 == 0) {
            kill_worker(daemon);
        } else {
            pvt_daemon_kill_supervisor(daemon);
            daemon = pvt_daemon_start_after(daemon);
            pvt_expect_ends(daemon);
        }
    }
    pvt_daemon_stop(daemon);
}

static void test_attached_containers_keep_their_views(void **state)
{
    (void)state;
    check_attached_container();
}

static void test_attached_containers_keep_their_views_without_resend(void **state)
{
    (void)state;
    g_setenv("PROCVIEW_NO_RESEND", "1", TRUE);
    check_attached_container();
    g_unsetenv("PROCVIEW_NO_RESEND");
}

static void test_operators_tree_survives(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "tree");
    g_autofree char *path = NULL;
    struct stat before, after;
    char text[16384];
    ssize_t n;
    int fd;

    (void)state;
    pvt_expect_ends(daemon);
    pvt_cgroup_limit_memory(cgroup, (guint64)PVT_READERS_LIMIT_KB * 1024);
    pvt_container_start(daemon, cgroup, 0);
    path = g_strdup_printf("%s/containers/pv-test-%d-tree/proc/meminfo", daemon->mountpoint,
                           (int)getpid());
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &before), 0);
    kill_worker(daemon);
    n = pread(fd, text, sizeof text - 1, 0); /* by the file that was open */
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(pvt_field(text, "MemTotal:"), PVT_READERS_LIMIT_KB);
    assert_int_equal(stat(path, &after), 0); /* and by its name */
    assert_int_equal(after.st_ino, before.st_ino);
    close(fd);
    pvt_daemon_stop(daemon);
}

typedef struct {
    double load;
    guint64 ticks, user, uptime_sec;
} Accounts;

static Accounts read_accounts(PvtContainer *container)
{
    g_autofree char *load = pvt_run(container, "cat /proc/loadavg");
    g_autofree char *stat = pvt_run(container, "cat /proc/stat");
    g_autofree char *uptime = pvt_run(container, "cat /proc/uptime");

    return (Accounts){.load = g_ascii_strtod(load, NULL),
                      .ticks = pvt_sum_fields(stat, "cpu ", 10),
                      .user = pvt_sum_fields(stat, "cpu ", 1),
                      .uptime_sec = g_ascii_strtoull(uptime, NULL, 10)};
}

/* The load average may fall a little while nobody looks, but not to 0. */
static void check_accounts(const Accounts *before, const Accounts *after)
{
    assert_true(before->load > 0.03);
    assert_true(after->load > before->load / 2);
    assert_true(after->ticks >= before->ticks && after->user >= before->user);
    assert_true(after->uptime_sec >= before->uptime_sec);
}

static void test_accounts_go_on(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--sample-interval=1", NULL);
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "accounts");
    PvtContainer *container;
    Accounts before, after;

    (void)state;
    pvt_expect_ends(daemon);
    container = pvt_container_start(daemon, cgroup, 0);
    g_free(pvt_run(container, "for i in 1 2; do (while :; do :; done) >/dev/null 2>&1 & done"));
    do {
        pvt_sleep_msec(500);
        before = read_accounts(container);
    } while (before.load <= 0.03 || before.user == 0); /* the alarm ends what never comes */

    kill_worker(daemon);
    after = read_accounts(container);
    check_accounts(&before, &after);
    /* And when all processes die: the mount is a new one, what was counted is not. */
    pvt_daemon_kill(daemon);
    daemon = pvt_daemon_start_after(daemon);
    pvt_expect_ends(daemon);
    container = pvt_container_join(container, daemon, cgroup, 0);
    before = after;
    after = read_accounts(container);
    check_accounts(&before, &after);
    pvt_daemon_stop(daemon);
}

/* ---- stop ---- */

static void test_files_open_at_the_stop_give_an_error(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/stat", NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[4096];

    (void)state;
    assert_true(read(fd, text, 10) == 10);
    pvt_daemon_stop(daemon);
    assert_int_equal(pread(fd, text, sizeof text, 0), -1);
    assert_int_equal(errno, ENOTCONN);
    close(fd);
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
    int fd = open_view(daemon, "proc/vmstat");
    g_autofree char *before = g_malloc0(TEXT_MAX);
    g_autofree char *after = g_malloc0(TEXT_MAX);
    ssize_t length;
    pid_t pid;

    (void)state;
    pvt_expect_ends(daemon);
    length = pread(fd, before, TEXT_MAX - 1, 0); /* rendered here … */
    assert_true(length > 100);
    pid = pvt_wait_for_worker(daemon, 0);
    kill(pid, SIGKILL);
    pvt_wait_for_worker(daemon, pid);
    pvt_sleep_msec(50);
    assert_int_equal(pread(fd, after, TEXT_MAX - 1, 50), length - 50); /* … not here */
    assert_memory_equal(after, before + 50, length - 50);
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

static guint64 oom_kills(PvtCgroup *cgroup)
{
    gboolean is_v2 = pvt_cgroup_version("memory") == 2;
    g_autofree char *text =
        pvt_cgroup_read(cgroup, "memory", is_v2 ? "memory.events" : "memory.oom_control");

    return pvt_field(text, "oom_kill ");
}

/* After the limit of memory: v1 has one of both. */
static void forbid_swap(PvtCgroup *cgroup)
{
    gboolean is_v2 = pvt_cgroup_version("memory") == 2;
    const char *file = is_v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";

    pvt_cgroup_write(cgroup, "memory", file, is_v2 ? "0" : "1048576");
}

/* Texts of open files are the worker's memory: enough of them, and its cgroup has none left. */
static void test_worker_killed_for_want_of_memory_is_replaced(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "small");
    g_autofree char *log = NULL;
    char text[16384];
    int fds[700];
    pid_t worker;

    (void)state;
    pvt_expect_ends(daemon);
    worker = pvt_wait_for_worker(daemon, 0);
    pvt_cgroup_limit_memory(cgroup, 1 << 20);
    forbid_swap(cgroup);
    pvt_cgroup_enter(cgroup, worker);
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = open_view(daemon, "proc/stat");
        assert_true(read(fds[i], text, sizeof text) > 0);
    }
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
    assert_int_equal(oom_kills(cgroup), 1);
    assert_int_not_equal(pvt_wait_for_worker(daemon, worker), worker);
    log = pvt_daemon_log(daemon);
    assert_non_null(strstr(log, "was killed (by somebody, or for want of memory)"));
    pvt_daemon_stop(daemon);
}

static void test_worker_that_hangs_at_its_start_is_replaced_by_a_safe_one(void **state)
{
    PvtDaemon *daemon = start_faulty("hang");
    g_autofree char *log = pvt_daemon_log(daemon);
    char text[16384];

    (void)state;
    assert_non_null(
        strstr(log, "a worker hangs before it serves anything: the kernel's own files"));
    assert_true(read_view(daemon, "proc/meminfo", text, sizeof text) > 0);
    pvt_daemon_stop(daemon);
}

/* Each of these reads is an error after four crashes, until there were too many. */
static void test_crash_loop_ends_with_a_safe_worker(void **state)
{
    PvtDaemon *daemon = start_faulty("segv@proc/swaps");
    g_autofree char *log = NULL;
    char text[16384];
    guint n_errors = 0;

    (void)state;
    while (n_errors < 20 && read_view(daemon, "proc/swaps", text, sizeof text) < 0)
        n_errors++;
    assert_in_range(n_errors, 3, 7);
    log = pvt_daemon_log(daemon);
    assert_non_null(strstr(log, "workers crash too often: the kernel's own files"));
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
    check_sendfile(pvt_container_start(daemon, pvt_cgroup_new(NULL, "safe"), 0),
                   pvt_field(host, "MemTotal:"));
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
        cmocka_unit_test(test_attached_containers_keep_their_views),
        cmocka_unit_test(test_attached_containers_keep_their_views_without_resend),
        cmocka_unit_test(test_operators_tree_survives),
        cmocka_unit_test(test_accounts_go_on),
        cmocka_unit_test(test_files_open_at_the_stop_give_an_error),
        cmocka_unit_test(test_stop_gives_containers_the_kernels_own_files_back),
        cmocka_unit_test(test_request_that_crashes_workers_gets_an_error),
        cmocka_unit_test(test_request_that_aborts_workers_gets_an_error),
        cmocka_unit_test(test_request_that_hangs_workers_gets_an_error),
        cmocka_unit_test(test_stopped_worker_is_replaced),
        cmocka_unit_test(test_worker_killed_for_want_of_memory_is_replaced),
        cmocka_unit_test(test_worker_that_hangs_at_its_start_is_replaced_by_a_safe_one),
        cmocka_unit_test(test_crash_loop_ends_with_a_safe_worker),
        cmocka_unit_test(test_workers_that_cannot_live_are_replaced_by_a_safe_one),
    };

    return pvt_main(tests);
}
