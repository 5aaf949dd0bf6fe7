/*
 * The memory figures that more than one view shows. meminfo, swaps, vmstat, the nodes' meminfo and
 * the answers to sysinfo(2) all take them from here, so that they cannot disagree.
 */
#pragma once

#include "procview/snapshot.h"

#include <glib.h>

typedef struct {
    guint64 total_bytes;      /* MemTotal: the limit, at most the host's */
    guint64 free_bytes;       /* MemFree */
    guint64 available_bytes;  /* MemAvailable */
    guint64 buffers_bytes;    /* Buffers: 0, the kernel counts them per machine only */
    guint64 cached_bytes;     /* Cached, with what is in tmpfs, as the kernel's */
    guint64 shared_bytes;     /* Shmem */
    guint64 swap_total_bytes; /* SwapTotal */
    guint64 swap_free_bytes;  /* SwapFree */
} PvMemoryFigures;

/*
 * Work out the figures from a snapshot's MEMORY section (limits, use, memory.stat, and the host's
 * own meminfo for the bounds).
 *
 * SwapTotal is memory.swap.max on v2, and on v1 what the memory+swap limit leaves above the memory
 * limit, or what is swapped out already where that is more. With PV_SWAP_TOTAL_MEMSW it is the
 * whole of memory + swap instead, as a container may swap out all of its memory. Never more than
 * the host has, and 0 where the kernel does not account swap for the container.
 */
void pv_memory_figures(const PvSnapshot *snapshot, PvMemoryFigures *ret_figures);
