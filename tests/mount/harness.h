/*
 * The harness of the mount tests: the real daemon, real cgroups, real namespaces.
 *
 *     int main(void)
 *     {
 *         const struct CMUnitTest tests[] = {cmocka_unit_test(test_something)};
 *         return pvt_main(tests);
 *     }
 *
 *     static void test_something(void **state)
 *     {
 *         PvtDaemon *daemon = pvt_daemon_start();
 *         PvtCgroup *cgroup = pvt_cgroup_new(NULL, "name");
 *         pvt_cgroup_limit_memory(cgroup, 64 << 20);
 *         PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
 *         g_autofree char *text = pvt_run(container, "cat /proc/meminfo");
 *         assert_int_equal(pvt_field(text, "MemTotal:"), 65536);
 *         pvt_container_stop(container);
 *         pvt_daemon_stop(daemon);
 *     }
 *
 * Nothing has to be freed or taken away for tidiness: each test's daemons, containers and cgroups
 * are ended after it, also when it failed. The program runs in a mount namespace of its own, every
 * process that it starts dies with it, and a guardian process removes its cgroups and files when it
 * has ended, in whatever way.
 *
 * The same tests run on cgroup v1, v2 and hybrid: limits are set by what they mean.
 * Functions that cannot do what they are asked for fail the test with a message.
 */
#pragma once

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

/*
 * Run the tests, each with a clean-up after it. Returns what main() is to return: 0, 1 after a
 * failure, 77 (skipped), with the reason printed, where the machine cannot run them.
 */
#define pvt_main(tests) pvt_run_tests(tests, G_N_ELEMENTS(tests), NULL, NULL)

/* The same with what is to be done before the first test and after the last one. */
#define pvt_main_with(tests, setup, teardown)                                                      \
    pvt_run_tests(tests, G_N_ELEMENTS(tests), setup, teardown)

/* Either fixture may be NULL. */
int pvt_run_tests(const struct CMUnitTest *tests, gsize n_tests, CMFixtureFunction group_setup,
                  CMFixtureFunction group_teardown);

/* Time limits are for a fast machine; $PV_TEST_SLOW multiplies them. In ms. */
guint pvt_timeout_msec(guint msec);

/* The factor on a machine that is slow (PV_TEST_SLOW), else 1. */
guint pvt_slow(guint factor);

/* For a process that a test forks: it dies with its parent, and blocks no signal. Call it first.
 * parent  as the child sees it; 0: it is outside of the child's pid namespace */
void pvt_child_setup(pid_t parent);

/* What the names of this program's cgroups and folder begin with: "pv-test-PID". The guardian
 * removes every cgroup whose name begins with this and a "-", and ends what is in it. */
const char *pvt_prefix(void);

/* A file of this test program's own folder: "/tmp/pv-test-PID/NAME". Free with g_free. */
char *pvt_path(const char *name);

/* ---- the daemon ---- */

typedef struct {
    pid_t pid;     /* 0 once it has ended */
    char *program; /* its file */
    char *base;    /* the folder of the next three */
    char *mountpoint;
    char *state_dir;
    char *log_path;      /* its stderr */
    GPtrArray *expected; /* of char *: see pvt_daemon_expect() */
} PvtDaemon;

/* Start procviewd on a mount point of its own, and wait for "ready". */
PvtDaemon *pvt_daemon_start(void);

/* The same with options, ended by NULL. */
PvtDaemon *pvt_daemon_start_with(const char *first_option, ...) G_GNUC_NULL_TERMINATED;

/* The same with another program (NULL: the one under test). One whose file is called lxcfs is given
 * lxcfs's options. */
PvtDaemon *pvt_daemon_start_program(const char *program, char **options);

/* The same on the mount point and with the state of another daemon, which has ended. */
PvtDaemon *pvt_daemon_start_after(const PvtDaemon *other);

/* SIGKILL: it has no time to do anything. What it mounted stays. */
void pvt_daemon_kill(PvtDaemon *daemon);

/* Kill the supervisor only: its worker serves on. */
void pvt_daemon_kill_supervisor(PvtDaemon *daemon);

/* The process that serves; 0 while there is none. */
pid_t pvt_daemon_worker(const PvtDaemon *daemon);

/* The same for the cgroup tree, which a daemon started with "--cgroup-tree=yes" has. */
pid_t pvt_daemon_tree_worker(const PvtDaemon *daemon);

/* SIGTERM, and wait. Fails when the exit status is not 0, something stays mounted, or the log has a
 * warning or an error that was not expected. */
void pvt_daemon_stop(PvtDaemon *daemon);

/* A warning or error in the log that has this in it is no failure. */
void pvt_daemon_expect(PvtDaemon *daemon, const char *part);

/* What it has logged so far. Free with g_free. */
char *pvt_daemon_log(const PvtDaemon *daemon);

/*
 * Run procviewd with exactly these arguments (NULL ends them) until it ends by itself; fails when
 * it does not. ret_output  stdout and stderr together; free with g_free Returns the exit status.
 */
int pvt_daemon_run(char **ret_output, const char *first_argument, ...) G_GNUC_NULL_TERMINATED;

/* TRUE when something is mounted on the path, as mountinfo has it. */
gboolean pvt_is_mounted(const char *path);

/* ---- cgroups ---- */

typedef struct PvtCgroup PvtCgroup;

/* A cgroup in every hierarchy. parent NULL: below the roots. On v2, one that has children cannot
 * hold a container. */
PvtCgroup *pvt_cgroup_new(PvtCgroup *parent, const char *name);

/* 1 or 2: which version has the controller ("memory"); 0 for none. */
int pvt_cgroup_version(const char *controller);

void pvt_cgroup_limit_memory(PvtCgroup *cgroup, guint64 bytes);
void pvt_cgroup_limit_cpu(PvtCgroup *cgroup, guint64 quota_usec, guint64 period_usec);
void pvt_cgroup_set_cpus(PvtCgroup *cgroup, const char *list);
void pvt_cgroup_limit_pids(PvtCgroup *cgroup, guint max);

/* What the kernel says. In bytes; in ns. */
guint64 pvt_cgroup_memory_usage(PvtCgroup *cgroup);
guint64 pvt_cgroup_cpu_usage_nsec(PvtCgroup *cgroup);

/* A line of memory.stat by v2's name of it ("file", "anon", …) and, on v1, the one given for it
 * ("total_cache"). Bytes. */
guint64 pvt_cgroup_memory_stat(PvtCgroup *cgroup, const char *v2_key, const char *v1_key);

/* Any control file of a controller, for what has no function here. Free with g_free. */
char *pvt_cgroup_read(PvtCgroup *cgroup, const char *controller, const char *file);
void pvt_cgroup_write(PvtCgroup *cgroup, const char *controller, const char *file,
                      const char *text);

/* Put a process into it, in every hierarchy. */
void pvt_cgroup_enter(PvtCgroup *cgroup, pid_t pid);

/* Take a process out of it, in the controller's v1 hierarchy only: into the root. */
void pvt_cgroup_leave(const char *controller, pid_t pid);

/* Remove it now. Its processes must have ended. */
void pvt_cgroup_remove(PvtCgroup *cgroup);

/* ---- containers ---- */

typedef struct {
    pid_t init_pid; /* of its pid 1 (or, with pvt_container_join(), its first process), as seen from
                       here */
    int socket;     /* commands and answers */
    pid_t parent_pid;
} PvtContainer;

enum {
    PVT_OWN_CGROUP_NS = 1 << 0, /* a cgroup namespace of its own */
    PVT_NO_VIEWS = 1 << 1,      /* nothing is mounted over its /proc and /sys */
};

/*
 * A process that is pid 1 of new pid and mount namespaces, in the cgroup, with a fresh /proc and
 * the daemon's files bound over it and over /sys/devices/system/cpu. cgroup NULL: where the test
 * program is.
 */
PvtContainer *pvt_container_start(PvtDaemon *daemon, PvtCgroup *cgroup, guint flags);

/* The same in the pid namespace of another container (a pod that shares it). */
PvtContainer *pvt_container_join(PvtContainer *other, PvtDaemon *daemon, PvtCgroup *cgroup,
                                 guint flags);

/* Run a shell command in it; fails when its exit status is not 0. Returns its output (stdout and
 * stderr); free with g_free. */
char *pvt_run(PvtContainer *container, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The same, whatever the exit status: that is returned. ret_output may be NULL. */
int pvt_run_status(PvtContainer *container, char **ret_output, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* What a shell command in it prints. */
void pvt_assert_text(PvtContainer *container, const char *command, const char *expected);

/* Kill its init, and with it everything in it. */
void pvt_container_stop(PvtContainer *container);

/*
 * A container that is one function: pid 1 of a new pid namespace in the cgroup, in this program's
 * mount namespace. It begins when a byte is written to *ret_go. Returns its process.
 */
pid_t pvt_run_function(PvtCgroup *cgroup, int (*func)(const void *), const void *data, int *ret_go);

/* Wait for its end; fails when what the function returned (an errno, a step) is not 0. */
void pvt_expect_success(pid_t pid);

/* ---- texts ---- */

/* A host's file, whole; free with g_free. */
char *pvt_read_file(const char *path);

/* The first number of the line that begins with the key: pvt_field(meminfo, "MemFree:"). Fails when
 * there is none. */
guint64 pvt_field(const char *text, const char *key);

/* How many lines begin with this. */
guint pvt_count_lines(const char *text, const char *prefix);

/* Sum of the first n numbers of the line that begins with the key ("cpu ", 10 of them or less). */
guint64 pvt_sum_fields(const char *text, const char *key, guint n);

/* low and high are allowed. */
void pvt_assert_between(guint64 value, guint64 low, guint64 high);

/* Sleep. */
void pvt_sleep_msec(guint msec);
