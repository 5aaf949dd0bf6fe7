/*
 * A long run: readers that check every byte, workers and supervisors that are killed, upgrades,
 * containers that come and go. At the end no process of the daemon may be larger than it was after
 * the first tenth.
 */
#include "../mount/readers.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECONDS_DEFAULT 600
#define SAMPLES         10
#define SLACK_KB        4096
#define SLACK_FDS       16

typedef struct {
    guint64 rss_kb, fds, threads;
} Size;

/* The memory of its own: what is shared does not count for each. */
static Size size_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_autofree char *fd_path = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autofree char *text = NULL;
    GDir *dir = g_dir_open(fd_path, 0, NULL);
    Size size = {0};

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        if (dir != NULL)
            g_dir_close(dir);
        return size;
    }
    size.rss_kb = pvt_field(text, "RssAnon:");
    size.threads = pvt_field(text, "Threads:");
    while (dir != NULL && g_dir_read_name(dir) != NULL)
        size.fds++;
    if (dir != NULL)
        g_dir_close(dir);
    return size;
}

static void print_size(guint number, const char *who, const Size *size)
{
    print_message("%2u/%u  %-10s  %6" G_GUINT64_FORMAT " KiB, %3" G_GUINT64_FORMAT
                  " descriptors, %2" G_GUINT64_FORMAT " threads\n",
                  number, SAMPLES, who, size->rss_kb, size->fds, size->threads);
}

static void check_growth(const char *who, const Size *first, const Size *last)
{
    if (last->rss_kb > first->rss_kb + SLACK_KB || last->fds > first->fds + SLACK_FDS ||
        last->threads > first->threads + 1) {
        print_error("the %s has grown\n", who);
        fail();
    }
}

static void come_and_go(PvtDaemon *daemon, guint number)
{
    g_autofree char *name = g_strdup_printf("soak-%u", number);
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, name);
    PvtContainer *container;

    pvt_cgroup_limit_memory(cgroup, 32 << 20);
    container = pvt_container_start(daemon, cgroup, 0);
    g_free(pvt_run(container, "cat /proc/meminfo /proc/stat /proc/loadavg"));
    pvt_container_stop(container);
}

/* One thing that may happen to a daemon. */
static PvtDaemon *disturb(PvtReaders *run, PvtDaemon *daemon, guint number)
{
    switch (number % 8) {
    case 0:
        kill(daemon->pid, SIGUSR1);
        pvt_sleep_msec(100);
        return daemon;
    case 3:
        come_and_go(daemon, number);
        return daemon;
    case 6:
        pvt_daemon_kill_supervisor(daemon);
        daemon = pvt_daemon_start_after(daemon);
        pvt_expect_ends(daemon);
        run->daemon = daemon;
        return daemon;
    default:
        pvt_kill_at_random(run, 5);
        return run->daemon;
    }
}

static void test_soak(void **state)
{
    const char *wanted = g_getenv("PV_SOAK_SECONDS");
    gint64 seconds = wanted != NULL ? MAX(atoi(wanted), 10) : SECONDS_DEFAULT;
    gint64 start = g_get_monotonic_time();
    PvtDaemon *daemon = pvt_daemon_start();
    Size first_supervisor = {0}, first_worker = {0}, supervisor, worker;
    PvtReaders run;
    guint number = 0;

    (void)state;
    alarm((unsigned)seconds + 120); /* the harness gives a test less */
    pvt_expect_ends(daemon);
    pvt_readers_start(&run, daemon);
    for (guint sample = 1; sample <= SAMPLES; sample++) {
        while (g_get_monotonic_time() - start < seconds * G_USEC_PER_SEC * sample / SAMPLES) {
            daemon = disturb(&run, daemon, ++number);
            pvt_sleep_msec(200);
        }
        supervisor = size_of(daemon->pid);
        worker = size_of(pvt_wait_for_worker(daemon, 0));
        print_size(sample, "supervisor", &supervisor);
        print_size(sample, "worker", &worker);
        if (sample == 1) {
            first_supervisor = supervisor;
            first_worker = worker;
        }
    }
    check_growth("supervisor", &first_supervisor, &supervisor);
    check_growth("worker", &first_worker, &worker);
    pvt_readers_end(&run);
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_soak)};

    return pvt_main(tests);
}
