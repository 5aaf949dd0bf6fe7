/*
 * What one reader pays for another container's storm of reads: alone, beside 64 readers of the
 * views, and beside as many of the kernel's own files, which only take its CPU.
 */
#include "harness.h"
#include "latency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STORM_READERS   64
#define STORM_PATH      "/proc/stat"
#define LONE_PATH       "/proc/meminfo"
#define TIME_LIMIT_MSEC 240000

static char *own_path; /* of this program */

/* Readers that never rest, in the background of a container. */
static void start_storm(PvtContainer *container)
{
    g_free(pvt_run(container,
                   "for i in $(seq %d); do (while %s " STORM_PATH "; do :; done) "
                   ">/dev/null 2>&1 & done",
                   STORM_READERS, own_path));
    pvt_sleep_msec(1000);
}

static void test_storm_of_another_container(void **state)
{
    static const struct {
        const char *name;
        gboolean has_storm;
        guint flags;
    } cases[] = {
        {"alone", FALSE, 0},
        {"beside readers of the views", TRUE, 0},
        {"beside readers of the kernel's own", TRUE, PVT_NO_VIEWS},
    };
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *lone = pvt_container_start(daemon, pvt_cgroup_new(NULL, "lone"), 0);

    (void)state;
    alarm(pvt_timeout_msec(TIME_LIMIT_MSEC) / 1000);
    printf("%-36s %s\n", LONE_PATH, "p50/p99 us");
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strdup_printf("storm%u", i);
        g_autofree char *text = NULL;
        PvtContainer *storm =
            pvt_container_start(daemon, pvt_cgroup_new(NULL, name), cases[i].flags);

        if (cases[i].has_storm)
            start_storm(storm);
        text = g_strstrip(pvt_run(lone, "%s " LONE_PATH, own_path));
        printf("%-36s %s\n", cases[i].name, text);
        fflush(stdout);
        pvt_container_stop(storm);
    }
    pvt_daemon_stop(daemon);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_storm_of_another_container)};

    if (argc == 2)
        return pvb_measure_latency(argv[1]);
    own_path = g_file_read_link("/proc/self/exe", NULL);
    return pvt_main(tests);
}
