/*
 * What a container uses and may use, for people: taken from the very texts that the container
 * reads, so that procview ps and free in the container cannot disagree.
 */
#pragma once

#include "common.h"

typedef struct {
    gboolean has_memory, has_load, has_pids, has_cpus; /* what could be read */
    guint64 memory_total_bytes; /* MemTotal: the limit, or the host's memory */
    guint64 memory_used_bytes;
    guint64 memory_limit_bytes; /* PV_UNLIMITED without one */
    guint64 swap_total_bytes, swap_used_bytes;
    char load[3][16];         /* "0.52": 1, 5, 15 minutes */
    guint64 tasks, tasks_max; /* threads; PV_UNLIMITED */
    guint n_cpus;
    guint64 uptime_nsec;
} PvUsage;

void pv_usage_read(const PvCliContext *context, PvContainer *container, PvUsage *ret_usage);

/* The number of a line "KEY: N kB" of a meminfo; FALSE without the line. Exact key. */
gboolean pv_usage_meminfo_kb(const char *meminfo, const char *key, guint64 *ret_kb);

/* The first three fields of a loadavg. */
gboolean pv_usage_parse_load(const char *loadavg, char load[3][16]);
