/*
 * Conservation of CPU time: while something burns CPUs in a container, its proc/stat neither loses
 * nor invents time. What is compared is what the clock and the kernel's own accounting say of the
 * same moment, never what a burner should have got: the machine may have other things to do.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CPUS_MAX  1024
#define N_FIELDS  10
#define BURN_MSEC 6000
#define POLL_MSEC 50

/* The period of the quotas. Throttled groups may use in an instant what is to last for one, on more
 * CPUs than they are shown: that much use may still wait for its time to come. */
#define PERIOD_USEC 100000

/* A burner that used less has not burnt. */
#define BURNT_MIN_NSEC (250 * NSEC_PER_MSEC)
#define GIVE_UP_MSEC   40000

#define NSEC_PER_MSEC G_GUINT64_CONSTANT(1000000)
#define NSEC_PER_SEC  G_GUINT64_CONSTANT(1000000000)

static guint64 now_nsec(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (guint64)now.tv_sec * NSEC_PER_SEC + (guint64)now.tv_nsec;
}

static guint64 ticks_per_sec(void)
{
    return (guint64)sysconf(_SC_CLK_TCK);
}

/* ---- proc/stat as a container reads it ---- */

enum { USER, NICE, SYSTEM };

typedef struct {
    gboolean is_shown;
    guint64 ticks[N_FIELDS];
} Cpu;

/* One reading, between two readings of everything that it is compared with. */
typedef struct {
    guint64 nsec[2];      /* of the clock */
    double uptime_sec[2]; /* the container's */
    guint64 used_nsec[2]; /* what the cgroup's own file says */
    Cpu total;
    Cpu cpu[CPUS_MAX];
    guint n_cpus;
    guint64 processes;
} Reading;

static guint64 sum(const Cpu *cpu, guint n_fields)
{
    guint64 sum = 0;
    for (guint i = 0; i < n_fields; i++)
        sum += cpu->ticks[i];
    return sum;
}

static guint64 used(const Cpu *cpu)
{
    return cpu->ticks[USER] + cpu->ticks[NICE] + cpu->ticks[SYSTEM];
}

static void parse_cpu_line(const char *line, Reading *reading)
{
    Cpu *cpu = &reading->total;
    char *p = (char *)line + strlen("cpu");

    if (*p != ' ') {
        gulong id = strtoul(p, &p, 10);
        assert_in_range(id, 0, CPUS_MAX - 1);
        cpu = &reading->cpu[id];
        reading->n_cpus++;
    }
    assert_false(cpu->is_shown);
    cpu->is_shown = TRUE;
    for (guint i = 0; i < N_FIELDS; i++) {
        assert_int_equal(*p, ' ');
        cpu->ticks[i] = strtoull(p, &p, 10);
    }
    assert_int_equal(*p, '\0');
}

static Reading *read_stat(PvtContainer *container, PvtCgroup *cgroup)
{
    g_autofree Reading *reading = g_new0(Reading, 1);
    guint n_uptimes = 0;

    reading->used_nsec[0] = pvt_cgroup_cpu_usage_nsec(cgroup);
    reading->nsec[0] = now_nsec();
    g_autofree char *text = pvt_run(container, "cat /proc/uptime /proc/stat /proc/uptime");
    reading->nsec[1] = now_nsec();
    reading->used_nsec[1] = pvt_cgroup_cpu_usage_nsec(cgroup);

    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], "cpu"))
            parse_cpu_line(lines[i], reading);
        else if (g_ascii_isdigit(lines[i][0]) && n_uptimes < 2)
            reading->uptime_sec[n_uptimes++] = g_ascii_strtod(lines[i], NULL);
    }
    assert_int_equal(n_uptimes, 2);
    assert_true(reading->total.is_shown && reading->n_cpus > 0);
    reading->processes = pvt_field(text, "processes");
    return g_steal_pointer(&reading);
}

/* ---- what must hold for each reading ---- */

static void check_range(const char *what, double value, double low, double high)
{
    if (value < low || value > high)
        fail_msg("%s: %.1f is not between %.1f and %.1f", what, value, low, high);
}

/* The CPUs' ticks add up to the uptime, each, and to the first line, all together. */
static void check_sums(const Reading *reading)
{
    double hz = (double)ticks_per_sec();
    Cpu all = {0};

    for (guint i = 0; i < CPUS_MAX; i++) {
        const Cpu *cpu = &reading->cpu[i];
        if (!cpu->is_shown)
            continue;
        for (guint f = 0; f < N_FIELDS; f++)
            all.ticks[f] += cpu->ticks[f];
        /* Uptime has hundredths of a second: one more in doubt, besides the tick. */
        check_range("ticks of a CPU since the container's start", (double)sum(cpu, N_FIELDS),
                    (reading->uptime_sec[0] - 0.01) * hz - 1,
                    (reading->uptime_sec[1] + 0.01) * hz + 1);
    }
    for (guint f = 0; f < N_FIELDS; f++)
        assert_int_equal(reading->total.ticks[f], all.ticks[f]);
}

/* Use is what the cgroup's own file said before and after. */
static void check_use(const Reading *reading, guint n_host_cpus)
{
    double tick_nsec = (double)NSEC_PER_SEC / (double)ticks_per_sec();
    double period_ticks = PERIOD_USEC * 1e3 / tick_nsec;
    double rounding = 2 * reading->n_cpus;

    check_range("ticks used since the container's start", (double)used(&reading->total),
                (double)reading->used_nsec[0] / tick_nsec - rounding - period_ticks * n_host_cpus,
                (double)reading->used_nsec[1] / tick_nsec + rounding);
}

static void check_not_decreased(const Reading *before, const Reading *after)
{
    assert_int_equal(before->n_cpus, after->n_cpus);
    for (guint i = 0; i <= CPUS_MAX; i++) {
        const Cpu *x = i < CPUS_MAX ? &before->cpu[i] : &before->total;
        const Cpu *y = i < CPUS_MAX ? &after->cpu[i] : &after->total;
        assert_int_equal(x->is_shown, y->is_shown);
        for (guint f = 0; f < N_FIELDS; f++) {
            if (y->ticks[f] < x->ticks[f])
                fail_msg("field %u of CPU %u fell from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                         f, i, x->ticks[f], y->ticks[f]);
        }
    }
    assert_true(after->processes >= before->processes);
}

/* From the first reading to the last: the clock's time ±2 %, for each CPU. */
static void check_elapsed(const Reading *first, const Reading *last)
{
    double tick_nsec = (double)NSEC_PER_SEC / (double)ticks_per_sec();
    double least = (double)(last->nsec[0] - first->nsec[1]) / tick_nsec;
    double most = (double)(last->nsec[1] - first->nsec[0]) / tick_nsec;

    for (guint i = 0; i < CPUS_MAX; i++) {
        if (last->cpu[i].is_shown)
            check_range("ticks of a CPU while the burners ran",
                        (double)(sum(&last->cpu[i], N_FIELDS) - sum(&first->cpu[i], N_FIELDS)),
                        least * 0.98, most * 1.02);
    }
}

/* ---- burners ---- */

/* Returns the pid in the container of the last one. */
static pid_t start_burners(PvtContainer *container, guint n, const char *prefix)
{
    pid_t pid = 0;
    for (guint i = 0; i < n; i++) {
        g_autofree char *text =
            pvt_run(container,
                    "%s sh -c 'while :; do :; done' </dev/null >/dev/null 2>&1 & echo $!", prefix);
        pid = (pid_t)strtol(text, NULL, 10);
        assert_true(pid > 1);
    }
    return pid;
}

/*
 * Whether enough was used for a test to tell something: else all of it would hold for a container
 * that does nothing. On a busy machine this takes its time; it fails when it takes too long.
 */
static gboolean has_burnt(const Reading *first, const Reading *last)
{
    guint64 burnt_nsec = MAX(last->used_nsec[0], first->used_nsec[1]) - first->used_nsec[1];

    if (burnt_nsec >= BURNT_MIN_NSEC)
        return TRUE;
    if (last->nsec[1] - first->nsec[0] > pvt_timeout_msec(GIVE_UP_MSEC) * NSEC_PER_MSEC)
        fail_msg("the burners used no more than %.3f s", (double)burnt_nsec / 1e9);
    return FALSE;
}

static guint host_cpus(void)
{
    return (guint)CLAMP(sysconf(_SC_NPROCESSORS_ONLN), 1, CPUS_MAX);
}

/* ---- tests ---- */

typedef struct {
    guint n_burners;
    guint quota_percent; /* of a CPU; 0: none */
    guint seconds;
} Burn;

static void burn(const Burn *row)
{
    guint n_host_cpus = host_cpus();
    guint n_quota_cpus = row->quota_percent > 0 ? (row->quota_percent + 99) / 100 : n_host_cpus;
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "burn");

    if (row->quota_percent > 0)
        pvt_cgroup_limit_cpu(cgroup, row->quota_percent * PERIOD_USEC / 100, PERIOD_USEC);
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    start_burners(container, row->n_burners, "exec");

    g_autofree Reading *first = read_stat(container, cgroup);
    g_autofree Reading *last = g_memdup2(first, sizeof *first);
    guint64 end_nsec = first->nsec[1] + row->seconds * NSEC_PER_SEC;
    guint n_polls = 0;

    assert_int_equal(first->n_cpus, MIN(n_quota_cpus, n_host_cpus));
    for (; now_nsec() < end_nsec || !has_burnt(first, last); n_polls++) {
        pvt_sleep_msec(POLL_MSEC);
        Reading *reading = read_stat(container, cgroup);
        check_sums(reading);
        check_use(reading, n_host_cpus);
        check_not_decreased(last, reading);
        g_free(last);
        last = reading;
    }
    assert_true(used(&last->total) > used(&first->total));
    check_elapsed(first, last);
    print_message("%u burners, quota %u %%: %u CPUs, %u readings, %.2f s used in %.2f s\n",
                  row->n_burners, row->quota_percent, last->n_cpus, n_polls,
                  (double)(last->used_nsec[0] - first->used_nsec[1]) / 1e9,
                  (double)(last->nsec[1] - first->nsec[0]) / 1e9);
    pvt_container_stop(container);
    pvt_cgroup_remove(cgroup);
    pvt_daemon_stop(daemon);
}

/* Those for which this machine has the CPUs, one after the other. */
static void time_is_conserved_under_burners(void **state)
{
    static const Burn ROWS[] = {
        {1, 50, 10}, {1, 150, 3}, {1, 0, 3},   {2, 50, 3}, {2, 150, 10},
        {2, 0, 3},   {4, 50, 3},  {4, 150, 3}, {4, 0, 10},
    };
    guint n_run = 0;

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(ROWS); i++) {
        if (ROWS[i].n_burners > host_cpus()) {
            print_message("skip: %u burners, quota %u %%: this machine has only %u CPUs\n",
                          ROWS[i].n_burners, ROWS[i].quota_percent, host_cpus());
            continue;
        }
        burn(&ROWS[i]);
        n_run++;
    }
    assert_true(n_run > 0);
}

static guint64 burner_ticks(PvtContainer *container, pid_t pid)
{
    g_autofree char *text = pvt_run(container, "cut -d' ' -f14,15 /proc/%d/stat", (int)pid);
    char *p = text;
    guint64 user = strtoull(p, &p, 10);
    return user + strtoull(p, NULL, 10);
}

/* The only thing that runs for long runs on one CPU: that CPU has its time. */
static void use_is_shown_on_the_cpu_where_it_was(void **state)
{
    guint pinned = host_cpus() - 1;

    (void)state;
    if (pinned == 0) {
        print_message("skipped: this machine has one CPU\n");
        skip();
    }
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "pinned");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    g_autofree char *prefix = g_strdup_printf("exec taskset -c %u", pinned);
    pid_t pid = start_burners(container, 1, prefix);

    pvt_sleep_msec(200); /* the shell that became it is on its CPU now */
    /* Its own ticks around the readings and between them: on a slow machine to ask takes its time.
     */
    guint64 before_first = burner_ticks(container, pid);
    g_autofree Reading *first = read_stat(container, cgroup);
    guint64 after_first = burner_ticks(container, pid);
    guint64 before_last;
    g_autofree Reading *last = NULL;
    /* One reading at the end: readers use CPUs too, and where the machine is slow not little. */
    do {
        pvt_sleep_msec(BURN_MSEC);
        before_last = burner_ticks(container, pid);
        g_free(last);
        last = read_stat(container, cgroup);
    } while (!has_burnt(first, last));
    double least = (double)(before_last - after_first);
    double most = (double)(burner_ticks(container, pid) - before_first);
    assert_true(last->cpu[pinned].is_shown);
    double tick_nsec = (double)NSEC_PER_SEC / (double)ticks_per_sec();
    double all = (double)(last->used_nsec[1] - first->used_nsec[0]) / tick_nsec;
    double by_others = MAX(all - least, 0); /* who ran on any CPU */
    double shown = (double)(used(&last->cpu[pinned]) - used(&first->cpu[pinned]));
    double elsewhere = (double)(used(&last->total) - used(&first->total)) - shown;
    check_range("ticks used on the burner's CPU", shown, least * 0.9 - 3,
                most * 1.1 + by_others + 3);
    check_range("ticks used on other CPUs", elsewhere, 0, most * 0.1 + by_others + 3);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_conserved_under_burners),
        cmocka_unit_test(use_is_shown_on_the_cpu_where_it_was),
    };
    return pvt_main(tests);
}
