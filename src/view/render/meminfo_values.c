/*
 * One row per line of meminfo. A line that has no row is 0, so a kernel newer than this table
 * never shows the host's number.
 */
#include "meminfo_values.h"

#include "procview/parse.h"

#include <stddef.h>

typedef struct {
    const char *key;
    enum {
        FROM_FIGURES, /* the PvMemoryFigures member at this offset */
        FROM_STAT,    /* the sum of two lines of memory.stat */
        FROM_FUNC,
        FROM_HOST, /* a property of the machine */
    } source;
    size_t offset;
    PvMemoryStat stats[2];
    guint64 (*func)(const PvMeminfoValues *values); /* in the unit of the line */
} Row;

#define NO_STAT PV_MEMORY_STAT_COUNT

static guint64 stat_bytes(const PvMeminfoValues *values, PvMemoryStat stat)
{
    return stat == NO_STAT ? 0 : pv_memory_stat(&values->snapshot->memory, stat);
}

/* Older kernels have the two halves only. */
static guint64 slab_kb(const PvMeminfoValues *values)
{
    const PvMemory *memory = &values->snapshot->memory;
    if (pv_bit(memory->stat_valid, PV_MEMORY_SLAB))
        return memory->stat[PV_MEMORY_SLAB] / 1024;
    return pv_sat_add(stat_bytes(values, PV_MEMORY_SLAB_RECLAIMABLE),
                      stat_bytes(values, PV_MEMORY_SLAB_UNRECLAIMABLE)) /
           1024;
}

static guint64 commit_limit_kb(const PvMeminfoValues *values)
{
    return pv_sat_add(values->figures.total_bytes, values->figures.swap_total_bytes) / 1024;
}

/* An estimate: the kernel accounts what is promised per machine only. What the container has
 * written to of it is the part that counts. */
static guint64 committed_kb(const PvMeminfoValues *values)
{
    return pv_sat_add(stat_bytes(values, PV_MEMORY_ANON), stat_bytes(values, PV_MEMORY_SHMEM)) /
           1024;
}

static guint64 huge_pages_total(const PvMeminfoValues *values)
{
    return values->huge_pages;
}

static guint64 huge_pages_free(const PvMeminfoValues *values)
{
    if (values->huge_pages == 0)
        return 0;
    guint64 page_bytes = values->huge_page_kb * 1024;
    return pv_sat_sub(values->huge_pages, values->snapshot->hugetlb.usage_bytes / page_bytes);
}

static guint64 hugetlb_kb(const PvMeminfoValues *values)
{
    return values->huge_pages * values->huge_page_kb;
}

#define FIGURE(name, member)                                                                       \
    {                                                                                              \
        name, FROM_FIGURES, offsetof(PvMemoryFigures, member), {NO_STAT, NO_STAT}, NULL            \
    }
#define STAT(name, stat)                                                                           \
    {                                                                                              \
        name, FROM_STAT, 0, {stat, NO_STAT}, NULL                                                  \
    }
#define STATS(name, a, b)                                                                          \
    {                                                                                              \
        name, FROM_STAT, 0, {a, b}, NULL                                                           \
    }
#define FUNC(name, func)                                                                           \
    {                                                                                              \
        name, FROM_FUNC, 0, {NO_STAT, NO_STAT}, func                                               \
    }
#define MACHINE(name)                                                                              \
    {                                                                                              \
        name, FROM_HOST, 0, {NO_STAT, NO_STAT}, NULL                                               \
    }

/* In the order of strcmp. */
static const Row ROWS[] = {
    STATS("Active", PV_MEMORY_ACTIVE_ANON, PV_MEMORY_ACTIVE_FILE),
    STAT("Active(anon)", PV_MEMORY_ACTIVE_ANON),
    STAT("Active(file)", PV_MEMORY_ACTIVE_FILE),
    STAT("AnonHugePages", PV_MEMORY_ANON_THP),
    STAT("AnonPages", PV_MEMORY_ANON),
    FIGURE("Buffers", buffers_bytes),
    FIGURE("Cached", cached_bytes),
    FUNC("CommitLimit", commit_limit_kb),
    FUNC("Committed_AS", committed_kb),
    STAT("Dirty", PV_MEMORY_FILE_DIRTY),
    STAT("FileHugePages", PV_MEMORY_FILE_THP),
    /* the nodes' word; with what is in the swap cache, as in the kernel */
    STATS("FilePages", PV_MEMORY_FILE, PV_MEMORY_SWAPCACHED),
    FUNC("HugePages_Free", huge_pages_free),
    FUNC("HugePages_Total", huge_pages_total),
    MACHINE("Hugepagesize"),
    FUNC("Hugetlb", hugetlb_kb),
    STATS("Inactive", PV_MEMORY_INACTIVE_ANON, PV_MEMORY_INACTIVE_FILE),
    STAT("Inactive(anon)", PV_MEMORY_INACTIVE_ANON),
    STAT("Inactive(file)", PV_MEMORY_INACTIVE_FILE),
    STAT("KReclaimable", PV_MEMORY_SLAB_RECLAIMABLE),
    STAT("KernelStack", PV_MEMORY_KERNEL_STACK),
    STAT("Mapped", PV_MEMORY_FILE_MAPPED),
    FIGURE("MemAvailable", available_bytes),
    FIGURE("MemFree", free_bytes),
    FIGURE("MemTotal", total_bytes),
    STAT("PageTables", PV_MEMORY_PAGETABLES),
    STAT("Percpu", PV_MEMORY_PERCPU),
    STAT("SReclaimable", PV_MEMORY_SLAB_RECLAIMABLE),
    STAT("SUnreclaim", PV_MEMORY_SLAB_UNRECLAIMABLE),
    STAT("SecPageTables", PV_MEMORY_SEC_PAGETABLES),
    FIGURE("Shmem", shared_bytes),
    STAT("ShmemHugePages", PV_MEMORY_SHMEM_THP),
    FUNC("Slab", slab_kb),
    STAT("SwapCached", PV_MEMORY_SWAPCACHED),
    FIGURE("SwapFree", swap_free_bytes),
    FIGURE("SwapTotal", swap_total_bytes),
    STAT("Unevictable", PV_MEMORY_UNEVICTABLE),
    MACHINE("VmallocTotal"),
    STAT("Writeback", PV_MEMORY_FILE_WRITEBACK),
    STAT("Zswap", PV_MEMORY_ZSWAP),
    STAT("Zswapped", PV_MEMORY_ZSWAPPED),
};

enum { HOST_HUGE_PAGES, HOST_HUGE_PAGE_KB, N_HOST_KEYS };

static const char *const HOST_KEYS[N_HOST_KEYS] = {
    [HOST_HUGE_PAGES] = "HugePages_Total",
    [HOST_HUGE_PAGE_KB] = "Hugepagesize",
};

void pv_meminfo_values_init(const PvSnapshot *snapshot, PvMeminfoValues *ret_values)
{
    PvMeminfoValues values = {.snapshot = snapshot};
    guint64 host[N_HOST_KEYS] = {0};
    guint64 valid = 0;

    pv_memory_figures(snapshot, &values.figures);
    if (snapshot->host_meminfo != NULL)
        pv_keys_parse(snapshot->host_meminfo, HOST_KEYS, N_HOST_KEYS, host, &valid);
    if (host[HOST_HUGE_PAGE_KB] <= G_MAXUINT32)
        values.huge_page_kb = host[HOST_HUGE_PAGE_KB];
    if (snapshot->has_hugetlb && snapshot->hugetlb.limit_bytes != PV_UNLIMITED &&
        values.huge_page_kb > 0) {
        guint64 limit = snapshot->hugetlb.limit_bytes / (values.huge_page_kb * 1024);
        values.huge_pages = MIN(limit, host[HOST_HUGE_PAGES]);
    }
    *ret_values = values;
}

guint64 pv_meminfo_value(const PvMeminfoValues *values, const PvMeminfoLine *line)
{
    const Row *row = pv_span_find_row(line->key, ROWS, G_N_ELEMENTS(ROWS), sizeof ROWS[0]);
    if (row == NULL)
        return 0;

    switch (row->source) {
    case FROM_FIGURES:
        return *(const guint64 *)((const char *)&values->figures + row->offset) / 1024;
    case FROM_STAT:
        return pv_sat_add(stat_bytes(values, row->stats[0]), stat_bytes(values, row->stats[1])) /
               1024;
    case FROM_FUNC:
        return row->func(values);
    case FROM_HOST:
        return line->value;
    }
    return 0;
}
