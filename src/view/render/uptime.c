/*
 * proc/uptime: how long the container has run, and how long its CPUs were idle. fs/proc/uptime.c.
 */
#include "render.h"

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

void pv_render_uptime(const PvSnapshot *snapshot, GString *out)
{
    guint64 uptime_centi = snapshot->uptime_nsec / (NSEC_PER_SEC / 100);
    guint64 hz = MAX(snapshot->ticks_per_second, 1);
    guint64 idle = snapshot->ticks_total.idle;

    g_string_append_printf(out,
                           "%" G_GUINT64_FORMAT ".%02" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                           ".%02" G_GUINT64_FORMAT "\n",
                           uptime_centi / 100, uptime_centi % 100, idle / hz, idle % hz * 100 / hz);
}
