/*
 * The CPU set in sysfs's formats. drivers/base/cpu.c, topology.c, node.c;
 * Documentation/admin-guide/cputopology.rst.
 */
#include "render.h"

#include <string.h>

/* The digits of a mask say how many bits the host's masks have, up to a multiple of 4. */
#define BITS_PER_DIGIT 4

/* Cut real ids to the set, and give them the numbers under which it is shown. */
static PvCpuSet shown_part(const PvSnapshot *snapshot, const PvCpuSet *real_cpus)
{
    PvCpuSet part = *real_cpus;
    pv_cpu_set_intersect(&part, &snapshot->cpus);
    if (pv_cpu_set_equal(&snapshot->cpus, &snapshot->shown_cpus))
        return part;

    PvCpuSet shown = {0};
    PV_CPU_SET_FOREACH (cpu, &part) {
        int id = pv_cpu_set_nth(&snapshot->shown_cpus,
                                (guint)pv_cpu_set_rank(&snapshot->cpus, (guint)cpu));
        if (id >= 0)
            pv_cpu_set_add(&shown, (guint)id);
    }
    return shown;
}

static void append_list(const PvCpuSet *set, GString *out)
{
    pv_cpu_set_format_list(set, out);
    g_string_append_c(out, '\n');
}

static void append_mask(const PvCpuSet *set, guint n_bits, GString *out)
{
    pv_cpu_set_format_mask(set, MAX(n_bits, 1), out);
    g_string_append_c(out, '\n');
}

void pv_render_cpu_online(const PvSnapshot *snapshot, GString *out)
{
    append_list(&snapshot->shown_cpus, out);
}

void pv_render_cpu_possible(const PvSnapshot *snapshot, GString *out)
{
    append_list(&snapshot->host_possible, out);
}

gboolean pv_render_cpu_list_file(const PvSnapshot *snapshot, const char *host_text, GString *out)
{
    PvCpuSet set;
    if (!pv_cpu_set_parse_list(host_text, &set))
        return FALSE;
    pv_render_node_cpulist(snapshot, &set, out);
    return TRUE;
}

gboolean pv_render_cpu_mask_file(const PvSnapshot *snapshot, const char *host_text, GString *out)
{
    PvCpuSet set;
    guint n_digits = 0;

    if (!pv_cpu_set_parse_mask(host_text, &set))
        return FALSE;
    for (const char *p = host_text; *p != '\0'; p++)
        n_digits += g_ascii_isxdigit(*p);
    pv_render_node_cpumap(snapshot, &set, n_digits * BITS_PER_DIGIT, out);
    return TRUE;
}

void pv_render_node_cpulist(const PvSnapshot *snapshot, const PvCpuSet *node_cpus, GString *out)
{
    PvCpuSet part = shown_part(snapshot, node_cpus);
    append_list(&part, out);
}

void pv_render_node_cpumap(const PvSnapshot *snapshot, const PvCpuSet *node_cpus, guint n_bits,
                           GString *out)
{
    PvCpuSet part = shown_part(snapshot, node_cpus);
    append_mask(&part, n_bits, out);
}
