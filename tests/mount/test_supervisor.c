/*
 * The supervisor has to go on whatever becomes of those around it: its companion, those who read
 * its log, its state directory, a standby that does not answer, a program that hangs.
 */
#include "readers.h"

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The supervisor does its work: a worker that is killed is replaced. */
static void check_worker_is_replaced(PvtDaemon *daemon)
{
    pid_t worker = pvt_wait_for_worker(daemon, 0);

    kill(worker, SIGKILL);
    pvt_wait_for_worker(daemon, worker);
}

/* ---- the companion ---- */

/* A child of the process that has this among its arguments; 0 without one. */
static pid_t find_child(pid_t parent, const char *argument)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)parent, (int)parent);
    g_autofree char *text = NULL;
    g_auto(GStrv) children = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    children = g_strsplit(g_strstrip(text), " ", -1);
    for (guint i = 0; children[i] != NULL && children[i][0] != '\0'; i++) {
        g_autofree char *cmdline_path = g_strdup_printf("/proc/%s/cmdline", children[i]);
        g_autofree char *cmdline = NULL;
        gsize length;

        if (g_file_get_contents(cmdline_path, &cmdline, &length, NULL) &&
            memmem(cmdline, length, argument, strlen(argument) + 1) != NULL)
            return atoi(children[i]);
    }
    return 0;
}

static pid_t wait_for_companion(PvtDaemon *daemon, pid_t not_this_one)
{
    for (guint i = 0; i < pvt_timeout_msec(10000); i++) {
        pid_t pid = find_child(daemon->pid, "--only-cgroup-tree");
        if (pid > 0 && pid != not_this_one && find_child(pid, "--worker") > 0)
            return pid;
        pvt_sleep_msec(1);
    }
    pvt_fail("no server of the cgroup tree is started");
}

/* Of its first worker nobody is left behind: the next one begins from nothing. */
static void kill_companion_and_workers(PvtDaemon *daemon, pid_t companion)
{
    pid_t worker;

    kill(companion, SIGKILL);
    for (guint i = 0; i < 200; i++) {
        worker = pvt_daemon_tree_worker(daemon);
        if (worker > 0)
            kill(worker, SIGKILL);
        pvt_sleep_msec(2);
    }
}

/* The worker that it leaves behind holds the pipe on which it was to say that it is ready. */
static void test_companion_that_dies_at_its_start_does_not_stop_the_supervisor(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--cgroup-tree=yes", NULL);
    pid_t companion = wait_for_companion(daemon, 0);

    (void)state;
    pvt_expect_ends(daemon);
    pvt_daemon_expect(daemon, "the server of the cgroup tree has ended");
    kill_companion_and_workers(daemon, companion);
    kill(wait_for_companion(daemon, companion), SIGKILL);
    for (guint i = 0; i < 3; i++)
        check_worker_is_replaced(daemon);
    pvt_daemon_stop(daemon);
}

/* ---- the log ---- */

static const char *under_test(void)
{
    const char *path = g_getenv("PROCVIEWD");

    return path != NULL ? path : PROCVIEWD;
}

/* A program of one line, in a file of that name. Free with g_free. */
static char *make_script(const char *name, const char *line)
{
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", line);
    char *path = pvt_path(name);

    assert_true(g_file_set_contents_full(path, text, -1, 0, 0755, NULL));
    return path;
}

/* Nothing fits in any more. */
static void fill(int fd)
{
    char byte = '.';

    while (write(fd, &byte, 1) == 1)
        ;
    assert_int_equal(errno, EAGAIN);
}

static void test_log_that_nobody_reads_does_not_stop_anybody(void **state)
{
    g_autofree char *fifo = pvt_path("fifo");
    g_autofree char *line = g_strdup_printf("exec %s \"$@\" 2>%s", under_test(), fifo);
    g_autofree char *script = make_script("full-log", line);
    g_autofree char *log = g_malloc0(2 * 65536);
    PvtDaemon *daemon;
    gsize n = 0;
    int fd;

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0 && fcntl(fd, F_SETPIPE_SZ, 4096) == 4096);
    fill(fd);
    daemon = pvt_daemon_start_program(script, NULL);
    for (guint i = 0; i < 5; i++)
        check_worker_is_replaced(daemon);
    assert_true(read(fd, log, 65536) == 4096);
    check_worker_is_replaced(daemon);
    for (guint i = 0; i < 500 && strstr(log, "another one goes on") == NULL; i++) {
        ssize_t more = read(fd, log + n, 4096);
        n += more > 0 ? (gsize)more : 0;
        log[n] = '\0';
        pvt_sleep_msec(10);
    }
    assert_non_null(strstr(log, "lines of the log were dropped"));
    pvt_daemon_stop(daemon);
    close(fd);
}

/* ---- the state directory ---- */

static void remove_state(PvtDaemon *daemon)
{
    char *argv[] = {(char *)"rm", (char *)"-rf", daemon->state_dir, NULL};

    pvt_daemon_expect(daemon, "was gone: it is made again");
    pvt_daemon_expect(daemon, "will not "); /* survive: the accounts */
    assert_true(
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
}

/* The oldest one is the one that serves. */
static void kill_workers(PvtDaemon *daemon)
{
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);

    for (guint i = 0; i < 3; i++) {
        g_autofree char *text = NULL;
        pid_t worker = find_child(daemon->pid, "--worker");

        assert_true(worker > 0);
        kill(worker, SIGKILL);
        text = pvt_read_file(path);
        assert_true(pvt_field(text, "MemTotal:") > 0);
    }
}

static void test_mount_outlives_its_state_directory(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();

    (void)state;
    pvt_expect_ends(daemon);
    remove_state(daemon);
    kill_workers(daemon);
    pvt_daemon_stop(daemon);
}

/* Also in the moment before the lock is there again. */
static void test_second_instance_is_refused_when_the_state_was_removed(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *state_option = g_strconcat("--state-dir=", daemon->state_dir, NULL);
    g_autofree char *part = g_strdup_printf("%s: another procviewd serves it already: pid %d",
                                            daemon->mountpoint, (int)daemon->pid);

    (void)state;
    pvt_expect_ends(daemon);
    for (guint i = 0; i < 2; i++) {
        g_autofree char *output = NULL;

        remove_state(daemon);
        pvt_sleep_msec(i * 1500);
        assert_int_equal(pvt_daemon_run(&output, state_option, daemon->mountpoint, NULL), 1);
        if (strstr(output, part) == NULL)
            pvt_fail("not in the output: %s:\n%s", part, output);
        kill_workers(daemon);
    }
    pvt_daemon_stop(daemon);
}

/* A pid file that is there does not make a supervisor that lives a dead one. */
static void test_supervisor_that_lives_is_not_succeeded(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *other = pvt_path("copied-state");
    g_autofree char *state_option = g_strconcat("--state-dir=", other, NULL);
    g_autofree char *command =
        g_strdup_printf("mkdir %s && ln %s/worker-* %s/", other, daemon->state_dir, other);
    g_autofree char *part = g_strdup_printf("already: pid %d", (int)daemon->pid);
    g_autofree char *output = NULL;
    pid_t worker = pvt_wait_for_worker(daemon, 0);

    (void)state;
    assert_int_equal(system(command), 0);
    assert_int_equal(pvt_daemon_run(&output, state_option, daemon->mountpoint, NULL), 1);
    assert_non_null(strstr(output, part));
    assert_int_equal(pvt_daemon_worker(daemon), worker);
    pvt_daemon_stop(daemon);
}

/* Its file is gone, too: the next supervisor looks for it. */
static void test_worker_without_its_file_is_taken_over(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[64];

    (void)state;
    assert_true(fd >= 0);
    remove_state(daemon);
    pvt_daemon_kill_supervisor(daemon);
    daemon = pvt_daemon_start_after(daemon);
    pvt_expect_ends(daemon);
    pvt_daemon_expect(daemon, "will not ");                  /* said before */
    pvt_daemon_expect(daemon, "was gone: it is made again"); /* the same, when there was time */
    assert_true(pread(fd, text, sizeof text, 0) > 0);        /* of a mount anew it would be none */
    close(fd);
    kill_workers(daemon);
    pvt_daemon_stop(daemon);
}

/* ---- a standby that is not what it was ---- */

static pid_t wait_for_standby(PvtDaemon *daemon)
{
    pid_t worker = pvt_wait_for_worker(daemon, 0);

    for (guint i = 0; i < pvt_timeout_msec(10000) / 10; i++) {
        g_autofree char *path =
            g_strdup_printf("/proc/%d/task/%d/children", (int)daemon->pid, (int)daemon->pid);
        g_autofree char *text = pvt_read_file(path);
        g_auto(GStrv) children = g_strsplit(g_strstrip(text), " ", -1);

        for (guint k = 0; children[k] != NULL; k++) {
            if (atoi(children[k]) > 0 && atoi(children[k]) != worker)
                return atoi(children[k]);
        }
        pvt_sleep_msec(10);
    }
    pvt_fail("there is no standby");
}

static void check_standby_that_is_stopped(const char *watchdog)
{
    PvtDaemon *daemon = pvt_daemon_start_with(watchdog, NULL);
    pid_t worker = pvt_wait_for_worker(daemon, 0), standby = wait_for_standby(daemon);
    g_autofree char *log = NULL;

    pvt_expect_ends(daemon);
    pvt_sleep_msec(300 * pvt_slow(10)); /* it gets ready */
    kill(standby, SIGSTOP);
    kill(worker, SIGKILL);
    assert_int_not_equal(pvt_wait_for_worker(daemon, worker), standby);
    log = pvt_daemon_log(daemon);
    assert_null(strstr(log, "the kernel's own files are served"));
    pvt_daemon_stop(daemon);
}

static void test_standby_that_is_stopped_is_replaced(void **state)
{
    (void)state;
    check_standby_that_is_stopped("--watchdog=20");
}

static void test_standby_that_is_stopped_is_replaced_without_a_watchdog(void **state)
{
    (void)state;
    check_standby_that_is_stopped("--watchdog=0");
}

/* ---- leaving ---- */

/* The worker that is being replaced has to be outlived: at any moment of it. */
static void test_sigquit_during_an_upgrade_leaves_a_worker(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);

    (void)state;
    for (guint i = 0; i < 16; i++) {
        g_autofree char *text = NULL;
        int status;

        pvt_expect_ends(daemon);
        wait_for_standby(daemon);
        kill(daemon->pid, SIGUSR1);
        pvt_sleep_msec((5 + 3 * i) * pvt_slow(5));
        kill(daemon->pid, SIGQUIT);
        assert_int_equal(waitpid(daemon->pid, &status, 0), daemon->pid);
        assert_int_equal(status, 0);
        daemon->pid = 0;
        text = pvt_read_file(path);
        daemon = pvt_daemon_start_after(daemon);
    }
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sigquit_during_an_upgrade_leaves_a_worker),
        cmocka_unit_test(test_standby_that_is_stopped_is_replaced),
        cmocka_unit_test(test_standby_that_is_stopped_is_replaced_without_a_watchdog),
        cmocka_unit_test(test_mount_outlives_its_state_directory),
        cmocka_unit_test(test_second_instance_is_refused_when_the_state_was_removed),
        cmocka_unit_test(test_supervisor_that_lives_is_not_succeeded),
        cmocka_unit_test(test_worker_without_its_file_is_taken_over),
        cmocka_unit_test(test_log_that_nobody_reads_does_not_stop_anybody),
        cmocka_unit_test(test_companion_that_dies_at_its_start_does_not_stop_the_supervisor),
    };

    return pvt_main(tests);
}
