/*
 * Files in which the kernel counts events of the machine by CPU: proc/interrupts, proc/softirqs and
 * proc/schedstat. The container has none of its own: the rows are the host's, the columns those of
 * its CPUs, and the counts 0. kernel/irq/proc.c, fs/proc/softirqs.c, kernel/sched/stats.c.
 */
#include "render.h"
#include "text.h"

#include <string.h>

/* ---- interrupts, softirqs: a column a CPU ---- */

/* "           CPU0       CPU1": the blanks before the first are those of the host. Returns how many
 * columns the host has. */
static guint append_heading(const PvSnapshot *snapshot, PvSpan line, GString *out)
{
    PvSpan rest = line, word;
    guint n_columns = 0;

    while (pv_span_next_word(&rest, &word)) {
        if (n_columns++ == 0)
            g_string_append_len(out, line.start, word.start - line.start);
    }
    if (n_columns == 0)
        return 0;
    PV_CPU_SET_FOREACH (cpu, &snapshot->shown_cpus) {
        g_string_append_printf(out, "CPU%-8d", cpu);
    }
    g_string_append_c(out, '\n');
    return n_columns;
}

/* " 24:          1          0  IO-APIC   5-edge      ACPI:Ged", or "ERR:          0": not by CPU.
 */
static void append_row(const PvSnapshot *snapshot, PvSpan line, guint n_columns, GString *out)
{
    const char *colon = memchr(line.start, ':', line.length);
    PvSpan word;
    guint64 value;
    guint n = 0;

    if (colon == NULL)
        return;
    gsize label = (gsize)(colon + 1 - line.start);
    PvSpan rest = {line.start + label, line.length - label}, next = rest;
    while (n < n_columns && pv_span_next_word(&next, &word) && pv_span_parse_u64(word, &value)) {
        rest = next;
        n++;
    }
    if (n == 0)
        return;
    g_string_append_len(out, line.start, (gssize)label);
    for (guint i = 0; i < (n < n_columns ? n : snapshot->n_cpus); i++)
        g_string_append_printf(out, " %10u", 0);
    g_string_append_len(out, rest.start, (gssize)rest.length);
    g_string_append_c(out, '\n');
}

static void append_table(const PvSnapshot *snapshot, const char *host_text, GString *out)
{
    PvSpan line;

    if (!pv_span_next_line(&host_text, &line))
        return;
    guint n_columns = append_heading(snapshot, line, out);
    while (n_columns > 0 && pv_span_next_line(&host_text, &line))
        append_row(snapshot, line, n_columns, out);
}

void pv_render_interrupts(const PvSnapshot *snapshot, GString *out)
{
    append_table(snapshot, snapshot->host_interrupts, out);
}

void pv_render_softirqs(const PvSnapshot *snapshot, GString *out)
{
    append_table(snapshot, snapshot->host_softirqs, out);
}

/* ---- schedstat: a row a CPU ---- */

/* How many numbers the first "cpuN" row has. */
static guint count_numbers(const char *host_text)
{
    PvSpan line, word;

    while (pv_span_next_line(&host_text, &line)) {
        guint n = 0;
        if (line.length < 3 || strncmp(line.start, "cpu", 3) != 0)
            continue;
        while (pv_span_next_word(&line, &word))
            n++;
        return n - 1;
    }
    return 0;
}

/* The version tells the format. The scheduling domains are the machine's: a kernel without them has
 * no such rows either. */
void pv_render_schedstat(const PvSnapshot *snapshot, GString *out)
{
    const char *cursor = snapshot->host_schedstat;
    guint n = count_numbers(cursor);
    PvSpan line;

    if (!pv_span_next_line(&cursor, &line) || line.length < 8 ||
        strncmp(line.start, "version ", 8) != 0)
        return;
    g_string_append_len(out, line.start, (gssize)line.length);
    g_string_append(out, "\ntimestamp 0\n");
    PV_CPU_SET_FOREACH (cpu, &snapshot->shown_cpus) {
        g_string_append_printf(out, "cpu%d", cpu);
        for (guint i = 0; i < n; i++)
            g_string_append(out, " 0");
        g_string_append_c(out, '\n');
    }
}
