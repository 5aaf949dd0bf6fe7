/* procview status, upgrade and doctor, with daemons in every state. */
#include "readers.h"

#include "internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STALE " has files of a procviewd that does not serve here"

enum { HEALTHY = 0, DEGRADED = 1, NOT_RUNNING = 3 };

/* Run procview with a daemon's state directory. ret_output: stdout and stderr; free with g_free. */
static int run_as(uid_t uid, const char *state_dir, char **ret_output, const char *command,
                  const char *option)
{
    const char *program = g_getenv("PROCVIEW");
    g_autofree char *state_option = g_strconcat("--state-dir=", state_dir, NULL);
    g_autofree char *line = g_strdup_printf(
        "%s%s %s %s %s 2>&1", uid == 0 ? "" : "setpriv --reuid=65534 --clear-groups ",
        program != NULL ? program : PROCVIEW, command, state_option, option);
    char *argv[] = {(char *)"/bin/sh", (char *)"-c", line, NULL};
    g_autoptr(GError) error = NULL;
    int status;

    if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, ret_output, NULL, &status,
                      &error))
        pvt_fail("%s", error->message);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run(const PvtDaemon *daemon, char **ret_output, const char *command, const char *option)
{
    return run_as(0, daemon->state_dir, ret_output, command, option);
}

static void check_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        pvt_fail("\"%s\" is not in:\n%s", part, text);
}

/* A member of status --json; -1 without one. */
static gint64 number_of(const PvtDaemon *daemon, const char *name)
{
    g_autofree char *key = g_strdup_printf("\"%s\": ", name);
    g_autofree char *json = NULL;
    const char *at;

    run(daemon, &json, "status", "--json");
    at = strstr(json, key);
    return at != NULL ? g_ascii_strtoll(at + strlen(key), NULL, 10) : -1;
}

static void wait_for_number(const PvtDaemon *daemon, const char *name, gint64 expected)
{
    for (guint i = 0; i < pvt_timeout_msec(10000) / 20; i++) {
        if (number_of(daemon, name) == expected)
            return;
        pvt_sleep_msec(20);
    }
    assert_int_equal(number_of(daemon, name), expected);
}

static void check_state(const PvtDaemon *daemon, int expected_status, const char *state)
{
    g_autofree char *expected = g_strdup_printf("\"state\": \"%s\"", state);
    g_autofree char *json = NULL;
    g_autofree char *text = NULL;
    g_autofree char *nothing = NULL;

    assert_int_equal(run(daemon, &json, "status", "--json"), expected_status);
    check_contains(json, expected);
    assert_int_equal(run(daemon, &text, "status", ""), expected_status);
    check_contains(text, state);
    assert_int_equal(run(daemon, &nothing, "status", "--quiet"), expected_status);
    assert_string_equal(nothing, "");
}

static void check_doctor(const PvtDaemon *daemon, const char *line, const char *advice)
{
    g_autofree char *text = NULL;

    run(daemon, &text, "doctor", "--dry-run");
    check_contains(text, line);
    if (advice != NULL)
        check_contains(text, advice);
}

/* Whether doctor finds files of a dead daemon in the container; it names any process of its. */
static gboolean is_found_stale(const PvtDaemon *daemon, const PvtContainer *container)
{
    const pid_t pids[] = {container->parent_pid, container->init_pid};
    g_autofree char *text = NULL;
    gboolean is_found = FALSE;

    run(daemon, &text, "doctor", "--dry-run");
    for (guint i = 0; i < G_N_ELEMENTS(pids); i++) {
        g_autofree char *part =
            g_strdup_printf("the container of process %d" STALE "\n", (int)pids[i]);
        is_found |= strstr(text, part) != NULL;
    }
    return is_found;
}

/* The last of a daemon's processes may die a moment after it was killed. */
static void check_becomes_stale(const PvtDaemon *daemon, const PvtContainer *container)
{
    for (guint i = 0; i < pvt_timeout_msec(5000) / 50; i++) {
        if (is_found_stale(daemon, container))
            return;
        pvt_sleep_msec(50);
    }
    pvt_fail("doctor does not find the container's files of a dead daemon");
}

/* ---- status ---- */

static void test_status_without_a_daemon(void **state)
{
    g_autofree char *nowhere = pvt_path("nowhere");
    g_autofree char *text = NULL;
    g_autofree char *json = NULL;

    (void)state;
    assert_int_equal(run_as(0, nowhere, &text, "status", ""), NOT_RUNNING);
    assert_string_equal(text, "procviewd is not running.\n");
    assert_int_equal(run_as(0, nowhere, &json, "status", "--json"), NOT_RUNNING);
    assert_string_equal(json, "[]\n");
}

static void test_status_counts_what_happened(void **state)
{
    static const int signals[] = {SIGKILL, SIGKILL, SIGSEGV};
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "counted"), 0);
    g_autofree char *text = NULL;

    (void)state;
    pvt_expect_ends(daemon);
    check_state(daemon, HEALTHY, "serving");
    for (guint i = 0; i < G_N_ELEMENTS(signals); i++) {
        pid_t worker = pvt_wait_for_worker(daemon, 0);

        kill(worker, signals[i]);
        pvt_wait_for_worker(daemon, worker);
        g_free(pvt_run(container, "cat /proc/meminfo"));
    }
    wait_for_number(daemon, "stalls", 3);
    assert_int_equal(number_of(daemon, "killed"), 2);
    assert_int_equal(number_of(daemon, "crashed"), 1);
    assert_int_equal(number_of(daemon, "hung"), 0);
    assert_int_equal(number_of(daemon, "worker_pid"), pvt_daemon_worker(daemon));
    assert_int_equal(number_of(daemon, "supervisor_pid"), daemon->pid);
    assert_true(number_of(daemon, "requests") > 3);
    assert_true(number_of(daemon, "worst_stall_nsec") > 0);
    assert_true(number_of(daemon, "worker_age_nsec") > 0);
    wait_for_number(daemon, "containers", 1);
    run(daemon, &text, "status", "");
    check_contains(text, "restarts    3 (2 killed, 1 crashed, 0 hung, 0 ended)");
    check_contains(text, "stalls      3: last ");
    pvt_daemon_stop(daemon);
}

/* The readers' time counts: from the request that hung, not from the worker's death. */
static void test_stall_begins_with_the_request_that_hangs(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--watchdog=1", NULL);
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);

    (void)state;
    pvt_expect_ends(daemon);
    kill(pvt_wait_for_worker(daemon, 0), SIGSTOP);
    g_free(pvt_read_file(path));
    wait_for_number(daemon, "stalls", 1);
    assert_true(number_of(daemon, "worst_stall_nsec") > 900 * 1000 * 1000);
    pvt_daemon_stop(daemon);
}

/* And until somebody serves, whoever else died meanwhile. */
static void test_stall_lasts_until_somebody_serves(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    pid_t worker = pvt_wait_for_worker(daemon, 0);
    gint64 standby = 0;

    (void)state;
    pvt_expect_ends(daemon);
    for (guint i = 0; i < pvt_timeout_msec(10000) / 20 && standby <= 0; i++) {
        standby = number_of(daemon, "standby_pid");
        pvt_sleep_msec(20);
    }
    assert_true(standby > 1);
    pvt_sleep_msec(300 * pvt_slow(10)); /* it gets ready */
    kill((pid_t)standby, SIGSTOP);
    kill(worker, SIGKILL);
    pvt_wait_for_worker(daemon, worker);
    wait_for_number(daemon, "stalls", 1);
    assert_true(number_of(daemon, "worst_stall_nsec") > 1400 * 1000 * 1000);
    pvt_daemon_stop(daemon);
}

static void test_status_counts_requests_sent_again_and_refused(void **state)
{
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;
    PvtDaemon *daemon;

    (void)state;
    g_setenv("PROCVIEW_FAULT", "abort@proc/swaps", TRUE);
    daemon = pvt_daemon_start();
    g_unsetenv("PROCVIEW_FAULT");
    pvt_expect_ends(daemon);
    path = g_build_filename(daemon->mountpoint, "proc/swaps", NULL);
    assert_false(g_file_get_contents(path, &text, NULL, NULL));
    assert_true(number_of(daemon, "resent") >= 3);
    assert_int_equal(number_of(daemon, "refused"), 1);
    assert_int_equal(number_of(daemon, "crashed"), 3);
    pvt_daemon_stop(daemon);
}

static void test_status_without_a_supervisor(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();

    (void)state;
    check_doctor(daemon, ": supervisor and worker", NULL);
    pvt_daemon_kill_supervisor(daemon);
    check_state(daemon, DEGRADED, "orphaned");
    check_doctor(daemon, "a worker serves without a supervisor",
                 "-> start procviewd: it takes the mount over");
    daemon = pvt_daemon_start_after(daemon);
    check_state(daemon, HEALTHY, "serving");
    pvt_daemon_stop(daemon);
}

/* Shared memory goes on saying that all is well. */
static void test_status_of_a_worker_that_does_not_move(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    pid_t worker = pvt_wait_for_worker(daemon, 0);
    g_autofree char *text = NULL;

    (void)state;
    kill(daemon->pid, SIGSTOP); /* its watchdog is not to be faster than we */
    kill(worker, SIGSTOP);
    pvt_sleep_msec(2000);
    check_state(daemon, DEGRADED, "not-answering");
    run(daemon, &text, "status", "");
    check_contains(text, "cause       the worker has not moved for ");
    check_doctor(daemon, " does not answer", "-> start procviewd again");
    kill(worker, SIGCONT);
    check_state(daemon, HEALTHY, "serving");
    kill(daemon->pid, SIGCONT);
    pvt_daemon_stop(daemon);
}

static void test_status_of_a_worker_that_is_dead(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    pid_t worker = pvt_wait_for_worker(daemon, 0);
    g_autofree char *ended = g_strdup_printf("process %d, which has ended", (int)worker);
    g_autofree char *text = NULL;

    (void)state;
    pvt_expect_ends(daemon);
    kill(daemon->pid, SIGSTOP);
    kill(worker, SIGKILL);
    check_state(daemon, DEGRADED, "not-answering");
    run(daemon, &text, "status", "");
    check_contains(text, ended);
    kill(daemon->pid, SIGCONT);
    pvt_wait_for_worker(daemon, worker);
    wait_for_number(daemon, "stalls", 1);
    check_state(daemon, HEALTHY, "serving");
    pvt_daemon_stop(daemon);
}

/* Wait until status says it. */
static void wait_for_text(const PvtDaemon *daemon, const char *part)
{
    g_autofree char *text = NULL;

    for (guint i = 0; i < pvt_timeout_msec(10000) / 20; i++) {
        g_clear_pointer(&text, g_free);
        run(daemon, &text, "status", "");
        if (strstr(text, part) != NULL)
            return;
        pvt_sleep_msec(20);
    }
    check_contains(text, part);
}

/* It does not serve: it has no age. */
static void test_status_of_a_worker_that_is_starting(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    pid_t worker = pvt_wait_for_worker(daemon, 0), standby = 0;
    g_autofree char *starting = NULL;

    (void)state;
    pvt_expect_ends(daemon);
    for (guint i = 0; i < pvt_timeout_msec(10000) / 20 && standby <= 0; i++) {
        standby = (pid_t)number_of(daemon, "standby_pid");
        pvt_sleep_msec(20);
    }
    assert_true(standby > 0);
    starting = g_strdup_printf("worker      process %d, starting\n", (int)standby);
    kill(standby, SIGSTOP);
    kill(worker, SIGKILL);
    wait_for_text(daemon, starting);
    kill(standby, SIGCONT);
    wait_for_text(daemon, ": serving\n");
    pvt_daemon_stop(daemon);
}

static void test_status_of_a_daemon_without_supervisor_by_choice(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--standalone", NULL);
    g_autofree char *text = NULL;
    g_autofree char *upgrade = NULL;

    (void)state;
    check_state(daemon, HEALTHY, "serving");
    assert_int_equal(number_of(daemon, "worker_pid"), daemon->pid);
    assert_int_equal(number_of(daemon, "supervisor_pid"), 0);
    run(daemon, &text, "status", "");
    check_contains(text, "supervisor  none: --standalone");
    check_doctor(daemon, ": one process, without a supervisor", NULL);
    assert_int_equal(run(daemon, &upgrade, "upgrade", ""), 1);
    check_contains(upgrade, "it has to be started again");
    pvt_daemon_stop(daemon);
}

static void test_status_of_a_safe_worker_says_why(void **state)
{
    PvtDaemon *daemon;

    (void)state;
    g_setenv("PROCVIEW_FAULT", "abort", TRUE);
    daemon = pvt_daemon_start();
    g_unsetenv("PROCVIEW_FAULT");
    pvt_expect_ends(daemon);
    check_state(daemon, DEGRADED, "safe");
    g_autofree char *text = NULL;
    run(daemon, &text, "status", "");
    check_contains(text, "cause       workers die before they serve anything");
    check_doctor(daemon, "the kernel's own files are served: workers die before",
                 "-> look into the log of procviewd");
    pvt_daemon_stop(daemon);
}

/* What is used of the memory cannot be read: the kernel's own file for want of better. */
static void test_status_counts_fallbacks(void **state)
{
    gboolean is_v2 = pvt_cgroup_version("memory") == 2;
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "unreadable");
    g_autofree char *file =
        g_strdup_printf("/sys/fs/cgroup/%s/pv-test-%d-unreadable/%s", is_v2 ? "" : "memory",
                        (int)getpid(), is_v2 ? "memory.current" : "memory.usage_in_bytes");
    PvtContainer *container;

    (void)state;
    pvt_expect_ends(daemon);
    pvt_cgroup_limit_memory(cgroup, 64 << 20);
    container = pvt_container_start(daemon, cgroup, 0);
    g_free(pvt_run(container, "cat /proc/uptime"));
    assert_int_equal(number_of(daemon, "fallbacks"), 0);
    assert_int_equal(mount("/dev/null", file, NULL, MS_BIND, NULL), 0);
    g_free(pvt_run(container, "cat /proc/meminfo"));
    wait_for_number(daemon, "fallbacks", 1);
    pvt_container_stop(container);
    assert_int_equal(umount2(file, MNT_DETACH), 0); /* the daemon has it open */
    pvt_daemon_stop(daemon);
}

static void test_status_of_passthrough(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();

    (void)state;
    kill(daemon->pid, SIGUSR2);
    pvt_sleep_msec(100 * pvt_slow(10));
    check_state(daemon, DEGRADED, "passthrough");
    check_doctor(daemon, "SIGUSR2 was sent", "-> send SIGUSR2 to procviewd's supervisor");
    pvt_daemon_stop(daemon);
}

static void test_upgrade_waits_for_it(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    pid_t worker = pvt_wait_for_worker(daemon, 0);
    g_autofree char *output = NULL;

    (void)state;
    assert_int_equal(run(daemon, &output, "upgrade", ""), 0);
    check_contains(output, ": upgraded\n");
    assert_int_not_equal(pvt_wait_for_worker(daemon, worker), worker);
    wait_for_number(daemon, "upgrades", 1);
    pvt_daemon_stop(daemon);
}

/* The daemon says so itself: nobody waits for a time limit. */
static void test_upgrade_tells_of_a_program_that_does_not_start(void **state)
{
    const char *program = g_getenv("PROCVIEWD");
    g_autofree char *installed = pvt_path("procviewd");
    g_autofree char *fresh = pvt_path("procviewd.new");
    g_autofree char *command =
        g_strdup_printf("cp %s %s", program != NULL ? program : PROCVIEWD, installed);
    g_autofree char *output = NULL;
    PvtDaemon *daemon;
    pid_t worker;

    (void)state;
    assert_int_equal(system(command), 0);
    daemon = pvt_daemon_start_program(installed, NULL);
    worker = pvt_wait_for_worker(daemon, 0);
    pvt_daemon_expect(daemon, "upgrade is given up");
    assert_true(g_file_set_contents_full(fresh, "#!/bin/sh\nexit 3\n", -1, 0, 0755, NULL));
    assert_int_equal(rename(fresh, installed), 0);
    assert_int_equal(run(daemon, &output, "upgrade", ""), 1);
    check_contains(output, "not upgraded: the version that is installed does not start");
    assert_int_equal(pvt_daemon_worker(daemon), worker);
    assert_int_equal(number_of(daemon, "upgrades"), 0);
    pvt_daemon_stop(daemon);
}

static void test_upgrade_without_a_daemon(void **state)
{
    g_autofree char *nowhere = pvt_path("nowhere");
    g_autofree char *output = NULL;

    (void)state;
    assert_int_equal(run_as(0, nowhere, &output, "upgrade", ""), 1);
    check_contains(output, "procviewd is not running");
}

/* ---- what is dead ---- */

static void test_dead_daemon_and_its_mounts(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "stale"), 0);
    g_autofree char *mount_line = g_strdup_printf("%s does not answer: ", daemon->mountpoint);
    g_autofree char *advice =
        g_strdup_printf("-> umount -l %s, or start procviewd on it again", daemon->mountpoint);

    (void)state;
    /* As a manager's container: it has the views, and not the whole mount. */
    g_free(pvt_run(container, "umount -l %s", daemon->mountpoint));
    pvt_daemon_kill(daemon);
    check_state(daemon, NOT_RUNNING, "dead");
    check_doctor(daemon, mount_line, advice);
    check_doctor(daemon, STALE, "-> procview attach with its id puts live ones in their place");
    /* The same when the mount is gone and only the container still has it. */
    assert_int_equal(umount2(daemon->mountpoint, MNT_DETACH), 0);
    check_doctor(daemon, STALE, NULL);
    pvt_container_stop(container);
}

/* In a namespace that has the daemon's whole mount, too, as every copy of the host's has. */
static void test_dead_view_beside_the_dead_mount(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container =
        pvt_container_start(daemon, pvt_cgroup_new(NULL, "beside"), PVT_NO_VIEWS);

    (void)state;
    g_free(pvt_run(container, "mount --bind %s/proc/meminfo /proc/meminfo", daemon->mountpoint));
    pvt_daemon_kill(daemon);
    check_becomes_stale(daemon, container);
    assert_int_equal(umount2(daemon->mountpoint, MNT_DETACH), 0);
    assert_int_not_equal(pvt_run_status(container, NULL, "cat /proc/meminfo"), 0);
    check_becomes_stale(daemon, container);
    pvt_container_stop(container);
}

/* The cgroup tree is bound as a whole. */
static void test_dead_cgroup_tree_of_a_container(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--cgroup-tree=yes", NULL);
    PvtContainer *container =
        pvt_container_start(daemon, pvt_cgroup_new(NULL, "deadtree"), PVT_NO_VIEWS);
    g_autofree char *tree = g_build_filename(daemon->mountpoint, "cgroup", NULL);

    (void)state;
    g_free(pvt_run(container, "mount --bind %s /sys/fs/cgroup && umount -l %s", tree,
                   daemon->mountpoint));
    assert_false(is_found_stale(daemon, container));
    pvt_daemon_kill(daemon);
    check_becomes_stale(daemon, container);
    umount2(tree, MNT_DETACH);
    assert_int_equal(umount2(daemon->mountpoint, MNT_DETACH), 0);
    check_becomes_stale(daemon, container);
    pvt_container_stop(container);
}

/* It has the mount as the host has it: that is the host's matter. */
static void test_copy_of_the_hosts_dead_mount_is_no_view(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container =
        pvt_container_start(daemon, pvt_cgroup_new(NULL, "copy"), PVT_NO_VIEWS);

    (void)state;
    pvt_daemon_kill(daemon);
    assert_false(is_found_stale(daemon, container));
    pvt_container_stop(container);
}

/* Killed, and unmounted by hand: what is left is in nobody's way. */
static void test_leftover_of_a_killed_daemon(void **state)
{
    PvtDaemon *dead = pvt_daemon_start(), *daemon;
    g_autofree char *told =
        g_strdup_printf("%s: a lock file of a procviewd that was killed", dead->mountpoint);
    g_autofree char *removed =
        g_strdup_printf("%s: removed the lock file of a procviewd that was", dead->mountpoint);
    g_autofree char *option = NULL;
    g_autofree char *none = NULL;
    g_autofree char *upgrade = NULL;
    g_autofree char *doctor = NULL;
    g_autofree char *again = NULL;
    g_autofree char *json = NULL;

    (void)state;
    pvt_daemon_kill(dead);
    assert_int_equal(umount2(dead->mountpoint, MNT_DETACH), 0);
    assert_int_equal(run(dead, &none, "status", ""), NOT_RUNNING);
    assert_string_equal(none, "procviewd is not running.\n");
    option = g_strconcat("--state-dir=", dead->state_dir, NULL);
    daemon = pvt_daemon_start_with(option, NULL);
    check_state(dead, HEALTHY, "serving");
    run(dead, &json, "status", "--json");
    assert_null(strstr(json, dead->mountpoint));
    assert_int_equal(run(dead, &upgrade, "upgrade", ""), 0);
    check_doctor(dead, told, "-> procview doctor without --dry-run removes it");
    run(dead, &doctor, "doctor", "");
    check_contains(doctor, removed);
    run(dead, &again, "doctor", "");
    assert_null(strstr(again, "lock file"));
    check_state(dead, HEALTHY, "serving"); /* and it keeps its own */
    pvt_daemon_stop(daemon);
}

static void test_live_views_are_no_matter(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "live"), 0);

    (void)state;
    assert_false(is_found_stale(daemon, container));
    pvt_daemon_stop(daemon);
}

/* ---- who may not look ---- */

static void test_without_permission(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *status = NULL;
    g_autofree char *doctor = NULL;

    (void)state;
    assert_int_equal(run_as(65534, daemon->state_dir, &status, "status", ""), 1);
    check_contains(status, "procview: status: ");
    check_contains(status, "Permission denied");
    run_as(65534, daemon->state_dir, &doctor, "doctor", "--dry-run");
    check_contains(doctor, "-> run procview doctor as root");
    pvt_daemon_stop(daemon);
}

static void test_doctor_looks_at_the_kernel(void **state)
{
    static const char *const checks[] = {"fuse",    "mount calls", "namespaces", "seccomp",
                                         "cgroups", "pressure",    "views"};
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *json = NULL;

    (void)state;
    run(daemon, &json, "doctor", "--dry-run --json");
    for (guint i = 0; i < G_N_ELEMENTS(checks); i++) {
        g_autofree char *part = g_strdup_printf("{\"check\": \"%s\", \"status\": ", checks[i]);
        check_contains(json, part);
    }
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_without_a_daemon),
        cmocka_unit_test(test_status_counts_what_happened),
        cmocka_unit_test(test_stall_begins_with_the_request_that_hangs),
        cmocka_unit_test(test_stall_lasts_until_somebody_serves),
        cmocka_unit_test(test_status_counts_requests_sent_again_and_refused),
        cmocka_unit_test(test_status_without_a_supervisor),
        cmocka_unit_test(test_status_of_a_worker_that_does_not_move),
        cmocka_unit_test(test_status_of_a_worker_that_is_dead),
        cmocka_unit_test(test_status_of_a_worker_that_is_starting),
        cmocka_unit_test(test_status_of_a_daemon_without_supervisor_by_choice),
        cmocka_unit_test(test_status_of_a_safe_worker_says_why),
        cmocka_unit_test(test_status_counts_fallbacks),
        cmocka_unit_test(test_status_of_passthrough),
        cmocka_unit_test(test_upgrade_waits_for_it),
        cmocka_unit_test(test_upgrade_tells_of_a_program_that_does_not_start),
        cmocka_unit_test(test_upgrade_without_a_daemon),
        cmocka_unit_test(test_dead_daemon_and_its_mounts),
        cmocka_unit_test(test_dead_view_beside_the_dead_mount),
        cmocka_unit_test(test_dead_cgroup_tree_of_a_container),
        cmocka_unit_test(test_copy_of_the_hosts_dead_mount_is_no_view),
        cmocka_unit_test(test_leftover_of_a_killed_daemon),
        cmocka_unit_test(test_live_views_are_no_matter),
        cmocka_unit_test(test_without_permission),
        cmocka_unit_test(test_doctor_looks_at_the_kernel),
    };

    return pvt_main(tests);
}
