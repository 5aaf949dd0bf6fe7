/*
 * The figures of memory and swap that every view of them is made from.
 */
#include "procview/figures.h"

#include "procview/parse.h"

enum { HOST_MEM_TOTAL, HOST_MEM_AVAILABLE, HOST_SWAP_TOTAL, N_HOST_KEYS };

static const char *const HOST_KEYS[N_HOST_KEYS] = {
    [HOST_MEM_TOTAL] = "MemTotal",
    [HOST_MEM_AVAILABLE] = "MemAvailable",
    [HOST_SWAP_TOTAL] = "SwapTotal",
};

/* The host's own figures in bytes; PV_UNLIMITED for those that its meminfo has not. */
static void parse_host(const char *meminfo, guint64 bytes[N_HOST_KEYS])
{
    guint64 kb[N_HOST_KEYS];
    guint64 valid = 0;

    if (meminfo != NULL)
        pv_keys_parse(meminfo, HOST_KEYS, N_HOST_KEYS, kb, &valid);
    for (guint i = 0; i < N_HOST_KEYS; i++) {
        gboolean is_known = pv_bit(&valid, i) && kb[i] < PV_UNLIMITED / 1024;
        bytes[i] = is_known ? kb[i] * 1024 : PV_UNLIMITED;
    }
}

/* What could be used without swapping: what is free, and what the kernel can drop. */
static guint64 available_bytes(const PvMemory *memory, const PvMemoryFigures *figures,
                               guint64 host_available_bytes)
{
    guint64 reclaimable = pv_sat_add(pv_sat_add(pv_memory_stat(memory, PV_MEMORY_ACTIVE_FILE),
                                                pv_memory_stat(memory, PV_MEMORY_INACTIVE_FILE)),
                                     pv_memory_stat(memory, PV_MEMORY_SLAB_RECLAIMABLE));
    guint64 available = pv_sat_add(figures->free_bytes, reclaimable);

    /* Above memory.high the container is slowed down to a crawl: what lies there is no more
     * available than what lies above the limit. */
    if (memory->high_bytes < figures->total_bytes) {
        guint64 unreclaimable = pv_sat_sub(memory->usage_bytes, reclaimable);
        available = MIN(available, pv_sat_sub(memory->high_bytes, unreclaimable));
    }
    available = MIN(available, figures->total_bytes);
    return MIN(available, host_available_bytes);
}

/* Before the host's own swap bounds it. */
static guint64 swap_limit_bytes(const PvMemory *memory, PvSwapTotal rule)
{
    if (rule == PV_SWAP_TOTAL_MEMSW)
        return MIN(memory->memsw_limit_bytes,
                   pv_sat_add(memory->limit_bytes, memory->swap_limit_bytes));
    /* v1 bounds the sum of memory and swap: while less is in memory, more than the difference of
     * the two limits may be swapped out. */
    if (memory->memsw_limit_bytes != PV_UNLIMITED)
        return MAX(memory->swap_limit_bytes, memory->swap_usage_bytes);
    return memory->swap_limit_bytes;
}

void pv_memory_figures(const PvSnapshot *snapshot, PvMemoryFigures *ret_figures)
{
    const PvMemory *memory = &snapshot->memory;
    PvMemoryFigures figures = {0};
    guint64 host[N_HOST_KEYS];
    parse_host(snapshot->host_meminfo, host);

    figures.total_bytes = MIN(memory->limit_bytes, host[HOST_MEM_TOTAL]);
    if (figures.total_bytes == PV_UNLIMITED)
        figures.total_bytes = 0; /* nobody knows */
    figures.free_bytes = pv_sat_sub(figures.total_bytes, memory->usage_bytes);
    figures.available_bytes = available_bytes(memory, &figures, host[HOST_MEM_AVAILABLE]);
    figures.cached_bytes = pv_memory_stat(memory, PV_MEMORY_FILE);
    figures.shared_bytes = pv_memory_stat(memory, PV_MEMORY_SHMEM);

    if (memory->has_swap && host[HOST_SWAP_TOTAL] != PV_UNLIMITED &&
        snapshot->swap_total != PV_SWAP_TOTAL_NONE) {
        figures.swap_total_bytes =
            MIN(swap_limit_bytes(memory, snapshot->swap_total), host[HOST_SWAP_TOTAL]);
        figures.swap_free_bytes = pv_sat_sub(figures.swap_total_bytes, memory->swap_usage_bytes);
    }
    *ret_figures = figures;
}
