/*
 * proc/meminfo and the nodes' meminfo: the lines of the host's own file, in its order and columns,
 * with the container's values. fs/proc/meminfo.c, drivers/base/node.c.
 */
#include "meminfo_values.h"
#include "procview/parse.h"
#include "render.h"

void pv_render_meminfo(const PvSnapshot *snapshot, GString *out)
{
    PvMeminfoValues values;
    PvMeminfoLine line;
    PvSpan text;

    pv_meminfo_values_init(snapshot, &values);
    for (const char *cursor = snapshot->host_meminfo; pv_span_next_line(&cursor, &text);) {
        if (pv_meminfo_line_parse(text, &line))
            pv_meminfo_line_print(&line, pv_meminfo_value(&values, &line), out);
    }
}

guint64 pv_node_meminfo_total_kb(const char *host_node_meminfo)
{
    PvMeminfoLine line;
    PvSpan text;

    for (const char *cursor = host_node_meminfo; pv_span_next_line(&cursor, &text);) {
        if (pv_meminfo_line_parse(text, &line) && pv_span_equal(line.key, "MemTotal"))
            return line.value;
    }
    return 0;
}

void pv_render_node_meminfo(const PvSnapshot *snapshot, const char *host_node_meminfo,
                            guint64 all_nodes_kb, GString *out)
{
    PvMeminfoValues values;
    PvMeminfoLine line;
    PvSpan text;

    pv_meminfo_values_init(snapshot, &values);
    guint64 node_kb = pv_node_meminfo_total_kb(host_node_meminfo);
    guint64 total_kb = pv_share(values.figures.total_bytes / 1024, node_kb, all_nodes_kb);
    guint64 free_kb = pv_share(values.figures.free_bytes / 1024, node_kb, all_nodes_kb);

    for (const char *cursor = host_node_meminfo; pv_span_next_line(&cursor, &text);) {
        if (!pv_meminfo_line_parse(text, &line))
            continue;
        /* A difference of rounded numbers: the three lines must add up. */
        if (pv_span_equal(line.key, "MemUsed"))
            pv_meminfo_line_print(&line, pv_sat_sub(total_kb, free_kb), out);
        else
            pv_meminfo_line_print(
                &line, pv_share(pv_meminfo_value(&values, &line), node_kb, all_nodes_kb), out);
    }
}
