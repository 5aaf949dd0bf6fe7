/*
 * proc/loadavg: averages, threads, and the newest pid. fs/proc/loadavg.c.
 */
#include "render.h"

/* include/linux/sched/loadavg.h */
#define FSHIFT  11
#define FIXED_1 (G_GUINT64_CONSTANT(1) << FSHIFT)

/* So that two digits are rounded and not cut. */
#define ROUNDING (FIXED_1 / 200)

void pv_render_loadavg(const PvSnapshot *snapshot, GString *out)
{
    const PvTaskCounts *tasks = &snapshot->load.tasks;

    for (guint i = 0; i < G_N_ELEMENTS(snapshot->load.average); i++) {
        guint64 average = snapshot->load.average[i] + ROUNDING;
        g_string_append_printf(out, "%" G_GUINT64_FORMAT ".%02" G_GUINT64_FORMAT " ",
                               average >> FSHIFT, (average & (FIXED_1 - 1)) * 100 >> FSHIFT);
    }
    /* The reader runs while it reads. */
    guint running = MAX(tasks->running, 1);
    g_string_append_printf(out, "%u/%u %d\n", running, MAX(tasks->total, running), tasks->last_pid);
}
