/*
 * Small files: proc/slabinfo, proc/sys/kernel/pid_max and threads-max. mm/slab_common.c,
 * Documentation/admin-guide/sysctl/kernel.rst.
 */
#include "render.h"
#include "text.h"

/* The caches are the machine's, also those that hold the container's objects: only what says how
 * the file is made up. */
void pv_render_slabinfo(const PvSnapshot *snapshot, GString *out)
{
    PvSpan line, word;

    for (const char *cursor = snapshot->host_slabinfo; pv_span_next_line(&cursor, &line);) {
        PvSpan rest = line;
        if (pv_span_next_word(&rest, &word) &&
            (pv_span_equal(word, "slabinfo") || pv_span_equal(word, "#"))) {
            g_string_append_len(out, line.start, (gssize)line.length);
            g_string_append_c(out, '\n');
        }
    }
}

/* The host's number, or pids.max where that is lower. */
static void append_limited(const PvSnapshot *snapshot, const char *host_text, GString *out)
{
    PvSpan line, word;
    guint64 value;

    if (!pv_span_next_line(&host_text, &line) || !pv_span_next_word(&line, &word) ||
        !pv_span_parse_u64(word, &value))
        return;
    if (snapshot->valid & PV_SECTION_PIDS)
        value = MIN(value, snapshot->pids.max);
    g_string_append_printf(out, "%" G_GUINT64_FORMAT "\n", value);
}

void pv_render_pid_max(const PvSnapshot *snapshot, GString *out)
{
    append_limited(snapshot, snapshot->host_pid_max, out);
}

void pv_render_threads_max(const PvSnapshot *snapshot, GString *out)
{
    append_limited(snapshot, snapshot->host_threads_max, out);
}
