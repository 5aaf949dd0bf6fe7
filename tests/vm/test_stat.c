/*
 * proc/stat on cgroup v2, which counts CPU time but not by CPU: throttled time is steal, and the
 * time falls upon the CPUs on which it was used. That it is conserved under load is the mount
 * tests' matter, on any version.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, COLUMNS };

#define MAX_CPUS 64

typedef struct {
    guint64 total[COLUMNS];
    guint64 cpu[MAX_CPUS][COLUMNS];
    gboolean has_cpu[MAX_CPUS];
} Stat;

static void parse_columns(const char *text, guint64 *columns)
{
    for (guint i = 0; i < COLUMNS; i++) {
        char *end;
        columns[i] = g_ascii_strtoull(text, &end, 10);
        text = end;
    }
}

static void parse_stat(const char *text, Stat *stat)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    memset(stat, 0, sizeof *stat);
    for (guint i = 0; lines[i] != NULL && g_str_has_prefix(lines[i], "cpu"); i++) {
        char *end;
        guint64 cpu = g_ascii_strtoull(lines[i] + 3, &end, 10);

        if (lines[i][3] == ' ') {
            parse_columns(lines[i] + 4, stat->total);
            continue;
        }
        assert_true(cpu < MAX_CPUS);
        parse_columns(end, stat->cpu[cpu]);
        stat->has_cpu[cpu] = TRUE;
    }
}

static guint64 sum(const guint64 *columns)
{
    guint64 total = 0;

    for (guint i = 0; i < COLUMNS; i++)
        total += columns[i];
    return total;
}

static guint64 use(const guint64 *columns)
{
    return columns[USER] + columns[NICE] + columns[SYSTEM];
}

static void assert_not_less(const guint64 *now, const guint64 *before)
{
    for (guint i = 0; i < COLUMNS; i++)
        assert_true(now[i] >= before[i]);
}

/* From outside, by the container's name: a reader inside would be throttled with it. */
static char *read_view(PvtDaemon *daemon, const char *name, const char *file)
{
    g_autofree char *container = g_strdup_printf("pv-test-%d-%s", (int)getpid(), name);
    g_autofree char *path =
        g_build_filename(daemon->mountpoint, "containers", container, "proc", file, NULL);

    return pvt_read_file(path);
}

/* What holds of any reading, and of one that comes after another. */
static void check_reading(PvtDaemon *daemon, const char *name, Stat *stat, const Stat *before)
{
    g_autofree char *uptime = read_view(daemon, name, "uptime");
    g_autofree char *text = read_view(daemon, name, "stat");
    guint64 uptime_ticks = (guint64)(g_ascii_strtod(uptime, NULL) * 100 + 0.5);
    guint64 all[COLUMNS] = {0};

    parse_stat(text, stat);
    for (guint cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (!stat->has_cpu[cpu])
            continue;
        pvt_assert_between(sum(stat->cpu[cpu]) + 2, uptime_ticks, uptime_ticks + 4 + 100);
        for (guint i = 0; i < COLUMNS; i++)
            all[i] += stat->cpu[cpu][i];
        if (before != NULL && before->has_cpu[cpu])
            assert_not_less(stat->cpu[cpu], before->cpu[cpu]);
    }
    for (guint i = 0; i < COLUMNS; i++)
        assert_int_equal(stat->total[i], all[i]);
    if (before != NULL)
        assert_not_less(stat->total, before->total);
}

static void start_burners(PvtContainer *container, guint n, const char *prefix)
{
    for (guint i = 0; i < n; i++)
        g_free(pvt_run(container, "%s sh -c 'while :; do :; done' >/dev/null 2>&1 &", prefix));
}

static void throttled_time_is_steal(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    const char *name = "steal";
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, name);
    PvtContainer *container;
    Stat first, last;
    guint64 elapsed, stolen;

    (void)state;
    pvt_cgroup_write(cgroup, "cpu", "cpu.max", "50000 100000");
    container = pvt_container_start(daemon, cgroup, 0);
    start_burners(container, 1, "");
    pvt_sleep_msec(500);
    check_reading(daemon, name, &first, NULL);
    pvt_sleep_msec(4000);
    check_reading(daemon, name, &last, &first);
    elapsed = sum(last.total) - sum(first.total);
    stolen = last.total[STEAL] - first.total[STEAL];
    pvt_assert_between(stolen * 100 / elapsed, 35, 65);
    pvt_assert_between((use(last.total) - use(first.total)) * 100 / elapsed, 35, 65);
    pvt_daemon_stop(daemon);
}

static void time_is_shown_on_the_cpu_where_it_was_used(void **state)
{
    PvtDaemon *daemon;
    PvtContainer *container;
    const char *name = "pinned";
    Stat first, last;
    guint64 all, pinned;

    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 4) {
        print_message("skipped: it needs 4 CPUs\n");
        skip();
    }
    daemon = pvt_daemon_start();
    container = pvt_container_start(daemon, pvt_cgroup_new(NULL, name), 0);
    start_burners(container, 1, "taskset -c 2");
    pvt_sleep_msec(6000); /* until it has been sampled */
    check_reading(daemon, name, &first, NULL);
    pvt_sleep_msec(12000);
    check_reading(daemon, name, &last, &first);
    all = use(last.total) - use(first.total);
    pinned = use(last.cpu[2]) - use(first.cpu[2]);
    assert_true(all > 500);
    pvt_assert_between(pinned * 100 / all, 90, 100);
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(throttled_time_is_steal),
        cmocka_unit_test(time_is_shown_on_the_cpu_where_it_was_used),
    };

    if (pvt_cgroup_version("cpu") != 2) {
        printf("skipped: the cpu controller of this machine is not cgroup v2's\n");
        return 77;
    }
    return pvt_main(tests);
}
