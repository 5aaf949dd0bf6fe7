/*
 * proc/stat. The ticks come ready from the account; everything the kernel counts per machine only
 * is 0. fs/proc/stat.c.
 */
#include "render.h"
#include "text.h"

/* A kernel of today: the total and ten kinds. */
#define SOFTIRQ_COLUMNS 11

/* irq, softirq, guest and guest_nice are not accounted per container. */
static void append_ticks(const PvCpuTicks *ticks, GString *out)
{
    const guint64 columns[] = {
        ticks->user, ticks->nice, ticks->system, ticks->idle, ticks->iowait,
        0,           0,           ticks->steal,  0,           0,
    };
    for (guint i = 0; i < G_N_ELEMENTS(columns); i++)
        g_string_append_printf(out, " %" G_GUINT64_FORMAT, columns[i]);
    g_string_append_c(out, '\n');
}

static void append_cpus(const PvSnapshot *snapshot, GString *out)
{
    guint i = 0;

    if (snapshot->ticks == NULL)
        return;
    PV_CPU_SET_FOREACH (cpu, &snapshot->shown_cpus) {
        if (i == snapshot->n_cpus)
            break;
        g_string_append_printf(out, "cpu%d", cpu);
        append_ticks(&snapshot->ticks[i++], out);
    }
}

/* How many numbers the host's softirq line has. */
static guint softirq_columns(const char *host_stat)
{
    PvSpan line, word;

    for (const char *cursor = host_stat; pv_span_next_line(&cursor, &line);) {
        if (!pv_span_next_word(&line, &word) || !pv_span_equal(word, "softirq"))
            continue;
        guint n = 0;
        while (pv_span_next_word(&line, &word))
            n++;
        return MAX(n, 1);
    }
    return SOFTIRQ_COLUMNS;
}

void pv_render_stat(const PvSnapshot *snapshot, GString *out)
{
    const PvTaskCounts *tasks = &snapshot->load.tasks;

    g_string_append(out, "cpu ");
    append_ticks(&snapshot->ticks_total, out);
    append_cpus(snapshot, out);

    /* The reader runs while it reads. */
    g_string_append_printf(out,
                           "intr 0\n"
                           "ctxt 0\n"
                           "btime %" G_GUINT64_FORMAT "\n"
                           "processes %" G_GUINT64_FORMAT "\n"
                           "procs_running %u\n"
                           "procs_blocked %u\n"
                           "softirq",
                           snapshot->btime_sec, snapshot->load.n_forks, MAX(tasks->running, 1),
                           tasks->uninterruptible);
    for (guint n = softirq_columns(snapshot->host_stat); n > 0; n--)
        g_string_append(out, " 0");
    g_string_append_c(out, '\n');
}
