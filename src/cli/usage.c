/*
 * Reads the numbers of procview ps from rendered files.
 */
#include "usage.h"

#include "procview/parse.h"

#include <string.h>

gboolean pv_usage_meminfo_kb(const char *meminfo, const char *key, guint64 *ret_kb)
{
    guint64 valid = 0;

    pv_keys_parse(meminfo, &key, 1, ret_kb, &valid);
    return valid != 0;
}

gboolean pv_usage_parse_load(const char *loadavg, char load[3][16])
{
    for (guint i = 0; i < 3; i++) {
        gsize length = strcspn(loadavg, " ");
        if (length == 0 || length >= 16 || loadavg[length] != ' ')
            return FALSE;
        memcpy(load[i], loadavg, length);
        load[i][length] = '\0';
        loadavg += length + 1;
    }
    return TRUE;
}

/* The container's text of a file; NULL where only the host's could be had. */
static GString *render(const PvCliContext *context, PvContainer *container, const char *path)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const PvRow *row = pv_row_find(path);
    PvViewCounters before, after;

    pv_views_counters(context->views, &before);
    if (row == NULL || pv_views_render(context->views, container, row, text) < 0)
        return NULL;
    pv_views_counters(context->views, &after);
    return after.fallbacks == before.fallbacks ? g_steal_pointer(&text) : NULL;
}

static void read_memory(const PvCliContext *context, PvContainer *container, PvUsage *usage)
{
    g_autoptr(GString) text = render(context, container, "proc/meminfo");
    guint64 total_kb, available_kb, swap_total_kb = 0, swap_free_kb = 0;
    PvMemory memory;

    if (text == NULL || !pv_usage_meminfo_kb(text->str, "MemTotal", &total_kb) ||
        !pv_usage_meminfo_kb(text->str, "MemAvailable", &available_kb))
        return;
    pv_usage_meminfo_kb(text->str, "SwapTotal", &swap_total_kb);
    pv_usage_meminfo_kb(text->str, "SwapFree", &swap_free_kb);
    usage->has_memory = TRUE;
    usage->memory_total_bytes = total_kb * 1024;
    usage->memory_used_bytes = pv_sat_sub(total_kb, available_kb) * 1024;
    usage->swap_total_bytes = swap_total_kb * 1024;
    usage->swap_used_bytes = pv_sat_sub(swap_total_kb, swap_free_kb) * 1024;
    usage->memory_limit_bytes = PV_UNLIMITED;
    if (pv_cgroup_read_memory(container->cgroup, FALSE, &memory) == 0 &&
        memory.limit_bytes / 1024 <= total_kb)
        usage->memory_limit_bytes = usage->memory_total_bytes;
}

void pv_usage_read(const PvCliContext *context, PvContainer *container, PvUsage *ret_usage)
{
    PvUsage usage = {.tasks_max = PV_UNLIMITED};
    PvCpuSet real_cpus, shown_cpus;
    PvPids pids;

    read_memory(context, container, &usage);
    g_autoptr(GString) load = render(context, container, "proc/loadavg");
    usage.has_load = load != NULL && pv_usage_parse_load(load->str, usage.load);
    if (pv_cgroup_read_pids(container->cgroup, &pids) == 0) {
        usage.has_pids = TRUE;
        usage.tasks = pids.current;
        usage.tasks_max = pids.max;
    }
    if (pv_views_cpus(context->views, container, &real_cpus, &shown_cpus) == 0) {
        usage.has_cpus = TRUE;
        usage.n_cpus = pv_cpu_set_count(&shown_cpus);
    }
    usage.uptime_nsec = pv_container_uptime_nsec(container, context->host);
    *ret_usage = usage;
}
