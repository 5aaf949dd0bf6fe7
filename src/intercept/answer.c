/*
 * What sysinfo(2) and sched_getaffinity(2) answer in a container. No I/O: tested on snapshots.
 */
#include "answer.h"

#include "procview/figures.h"

#include <string.h>

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

/* The kernel keeps load averages with 11 fractional bits and reports them with 16 (SI_LOAD_SHIFT).
 */
#define LOAD_SHIFT (SI_LOAD_SHIFT - 11)

static guint16 clamp_procs(guint threads)
{
    return (guint16)MIN(threads, G_MAXUINT16);
}

/* Seconds, a begun one counted whole, as the kernel does. */
static guint64 uptime_seconds(const PvSnapshot *snapshot)
{
    return (snapshot->uptime_nsec + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
}

static size_t answer_native(const PvSnapshot *snapshot, const PvMemoryFigures *memory,
                            struct sysinfo *info)
{
    memset(info, 0, sizeof *info);
    info->uptime = (long)uptime_seconds(snapshot);
    for (guint i = 0; i < 3; i++)
        info->loads[i] = snapshot->load.average[i] << LOAD_SHIFT;
    info->totalram = memory->total_bytes;
    info->freeram = memory->free_bytes;
    info->sharedram = memory->shared_bytes;
    info->bufferram = memory->buffers_bytes;
    info->totalswap = memory->swap_total_bytes;
    info->freeswap = memory->swap_free_bytes;
    info->procs = clamp_procs(snapshot->load.tasks.total);
    info->mem_unit = 1;
    return sizeof *info;
}

static size_t answer_compat(const PvSnapshot *snapshot, const PvMemoryFigures *memory,
                            PvSysinfo32 *info)
{
    /* Bytes while they fit, else pages: the kernel's own choice for such programs. */
    guint64 unit =
        MAX(memory->total_bytes, memory->swap_total_bytes) > G_MAXUINT32 ? snapshot->page_bytes : 1;
    memset(info, 0, sizeof *info);
    info->uptime = (gint32)uptime_seconds(snapshot);
    for (guint i = 0; i < 3; i++)
        info->loads[i] = (guint32)(snapshot->load.average[i] << LOAD_SHIFT);
    info->totalram = (guint32)(memory->total_bytes / unit);
    info->freeram = (guint32)(memory->free_bytes / unit);
    info->sharedram = (guint32)(memory->shared_bytes / unit);
    info->bufferram = (guint32)(memory->buffers_bytes / unit);
    info->totalswap = (guint32)(memory->swap_total_bytes / unit);
    info->freeswap = (guint32)(memory->swap_free_bytes / unit);
    info->procs = clamp_procs(snapshot->load.tasks.total);
    info->mem_unit = (guint32)unit;
    return sizeof *info;
}

size_t pv_answer_sysinfo(const PvSnapshot *snapshot, gboolean is_32_bit, PvSysinfo *ret_answer)
{
    PvMemoryFigures memory;
    pv_memory_figures(snapshot, &memory);
    return is_32_bit ? answer_compat(snapshot, &memory, &ret_answer->compat)
                     : answer_native(snapshot, &memory, &ret_answer->native);
}

/* The kernel's mask is an array of longs; on little-endian machines that is an array of bytes,
 * on big-endian ones the bytes of each long are in the other order. */
static guint8 *mask_byte(guint8 *mask, guint cpu)
{
    guint byte = cpu / 8;
#if G_BYTE_ORDER == G_BIG_ENDIAN
    byte ^= sizeof(long) - 1;
#endif
    return &mask[byte];
}

void pv_answer_affinity(const PvCpuSet *shown, guint8 *mask, size_t size)
{
    guint n_bits = (guint)MIN(size * 8, (size_t)PV_CPU_MAX);
    PvCpuSet own;
    pv_cpu_set_clear(&own);
    for (guint cpu = 0; cpu < n_bits; cpu++) {
        if (*mask_byte(mask, cpu) & (1u << cpu % 8))
            pv_cpu_set_add(&own, cpu);
    }

    PvCpuSet cut = own;
    pv_cpu_set_intersect(&cut, shown);
    if (pv_cpu_set_count(&cut) == 0) {
        cut = own;
        pv_cpu_set_keep_first(&cut, pv_cpu_set_count(shown));
    }

    memset(mask, 0, size);
    PV_CPU_SET_FOREACH (cpu, &cut)
        *mask_byte(mask, (guint)cpu) |= (guint8)(1u << (guint)cpu % 8);
}
