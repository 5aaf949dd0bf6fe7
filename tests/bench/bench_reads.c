/*
 * What a read costs: for every file of the table, the daemon's system calls per warm cat, and the
 * time from open to close as a container sees it, beside that of the kernel's own file. Fails when
 * a file that has a target is above it.
 */
#include "harness.h"
#include "latency.h"

#include "procview/view.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CATS   40
#define TRACES 5

#define TIME_LIMIT_MSEC 240000

/* A cat is four requests: to read one and to answer one is a call each. */
#define CALLS_MIN 4

/* At most so many system calls per cat. */
static const struct {
    const char *path;
    double calls;
} targets[] = {
    {"proc/meminfo", 20},
    {"proc/uptime", 14},
    {"proc/loadavg", 14},
};

static char *own_path; /* of this program */

/* ---- system calls ---- */

/* Start strace on all threads of the daemon, and wait until it has them. */
static pid_t start_strace(pid_t pid, const char *out_path)
{
    g_autofree char *pid_text = g_strdup_printf("%d", (int)pid);
    g_autofree char *err_path = g_strconcat(out_path, ".err", NULL);
    pid_t strace;

    g_file_set_contents(err_path, "", 0, NULL);
    strace = fork();
    if (strace == 0) {
        int fd = open(err_path, O_WRONLY | O_APPEND | O_CLOEXEC);
        dup2(fd, 2);
        execlp("strace", "strace", "-f", "-c", "-U", "calls,name", "-o", out_path, "-p", pid_text,
               (char *)NULL);
        _exit(127);
    }
    for (guint i = 0; i < 200; i++) {
        g_autofree char *text = pvt_read_file(err_path);
        if (strstr(text, "attached") != NULL)
            break;
        pvt_sleep_msec(10);
    }
    pvt_sleep_msec(50); /* the other threads */
    return strace;
}

/* The calls of a cat in one trace, by name in ret_names ("5 read, 4 writev, …"). */
static double trace_cats(PvtDaemon *daemon, PvtContainer *container, const char *path,
                         char **ret_names)
{
    g_autofree char *out_path = pvt_path("strace");
    g_autofree char *text = NULL;
    g_autoptr(GString) names = g_string_new(NULL);
    g_auto(GStrv) lines = NULL;
    guint64 total = 0;
    pid_t strace;

    g_free(pvt_run(container, "for i in 1 2 3; do cat /%s >/dev/null; done", path));
    strace = start_strace(pvt_daemon_worker(daemon), out_path);
    g_free(pvt_run(container, "i=0; while [ $i -lt %d ]; do cat /%s >/dev/null; i=$((i+1)); done",
                   CATS, path));
    pvt_sleep_msec(20); /* the last RELEASE */
    kill(strace, SIGINT);
    waitpid(strace, NULL, 0);
    text = pvt_read_file(out_path);
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        char name[64];
        unsigned long calls;

        if (sscanf(lines[i], "%lu %63s", &calls, name) != 2)
            continue;
        if (strcmp(name, "total") == 0)
            continue;
        total += calls;
        if (calls >= CATS / 4)
            g_string_append_printf(names, "%s%.1f %s", names->len > 0 ? ", " : "",
                                   (double)calls / CATS, name);
    }
    *ret_names = g_string_free(g_steal_pointer(&names), FALSE);
    return (double)total / CATS;
}

typedef struct {
    double calls;
    char *names;
} Trace;

static int compare_traces(const void *a, const void *b)
{
    const Trace *x = a, *y = b;

    return x->calls < y->calls ? -1 : x->calls > y->calls;
}

/* The median of some traces: what the daemon does now and then on its own is in few of them. */
static double count_calls(PvtDaemon *daemon, PvtContainer *container, const char *path,
                          char **ret_names)
{
    Trace traces[TRACES];

    for (guint i = 0; i < TRACES; i++)
        traces[i].calls = trace_cats(daemon, container, path, &traces[i].names);
    qsort(traces, TRACES, sizeof traces[0], compare_traces);
    *ret_names = g_steal_pointer(&traces[TRACES / 2].names);
    for (guint i = 0; i < TRACES; i++)
        g_free(traces[i].names);
    return traces[TRACES / 2].calls;
}

static double target_of(const char *path)
{
    for (guint i = 0; i < G_N_ELEMENTS(targets); i++) {
        if (strcmp(targets[i].path, path) == 0)
            return targets[i].calls;
    }
    return 0;
}

static void test_cost_of_a_read(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--sample-interval=60", NULL);
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "bench");
    PvtContainer *container, *native;
    guint n_above = 0;

    (void)state;
    alarm(pvt_timeout_msec(TIME_LIMIT_MSEC) / 1000); /* a table, not one thing */
    pvt_cgroup_limit_memory(cgroup, (guint64)256 << 20);
    pvt_cgroup_limit_cpu(cgroup, 400000, 100000);
    container = pvt_container_start(daemon, cgroup, 0);
    native = pvt_container_start(daemon, cgroup, PVT_NO_VIEWS);

    printf("%-34s %10s %19s %19s\n", "", "calls/cat", "p50/p99 us", "the kernel's own");
    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        g_autofree char *own = NULL;
        g_autofree char *served = NULL;
        g_autofree char *names = NULL;
        double calls;

        if (pvt_run_status(container, NULL, "test -e /%s", row->path) != 0)
            continue;
        calls = count_calls(daemon, container, row->path, &names);
        served = g_strstrip(pvt_run(container, "%s --latency /%s", own_path, row->path));
        own = g_strstrip(pvt_run(native, "%s --latency /%s", own_path, row->path));
        printf("%-34s %10.1f %19s %19s  %s\n", row->path, calls, served, own, names);
        fflush(stdout);
        if (calls < CALLS_MIN)
            fail_msg("%s: the process that was traced has not served it", row->path);
        if (target_of(row->path) > 0 && calls > target_of(row->path)) {
            printf("%-34s above its target of %.0f\n", "", target_of(row->path));
            n_above++;
        }
    }
    assert_int_equal(n_above, 0);
    pvt_daemon_stop(daemon);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cost_of_a_read)};
    g_autofree char *strace = g_find_program_in_path("strace");

    if (argc == 3 && strcmp(argv[1], "--latency") == 0)
        return pvb_measure_latency(argv[2]);
    if (strace == NULL) {
        printf("skipped: there is no strace\n");
        return 77;
    }
    own_path = g_file_read_link("/proc/self/exe", NULL);
    return pvt_main(tests);
}
