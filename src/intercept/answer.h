/*
 * The answers themselves: pure functions from a snapshot to the bytes that the kernel would have
 * written.
 */
#pragma once

#include "procview/snapshot.h"

#include <stddef.h>
#include <sys/sysinfo.h>

/* struct sysinfo as a 32-bit program on a 64-bit kernel has it (struct compat_sysinfo in
 * kernel/sys.c). */
typedef struct {
    gint32 uptime;
    guint32 loads[3];
    guint32 totalram, freeram, sharedram, bufferram, totalswap, freeswap;
    guint16 procs, pad;
    guint32 totalhigh, freehigh;
    guint32 mem_unit;
    char padding[8];
} PvSysinfo32;

typedef union {
    struct sysinfo native;
    PvSysinfo32 compat;
} PvSysinfo;

/*
 * Fill in what sysinfo(2) gives. The same figures as meminfo, uptime and loadavg.
 * snapshot   with MEMORY, UPTIME and LOAD
 * is_32_bit  for a 32-bit program: sizes that do not fit 32 bits are given in larger units
 * Returns the size in bytes of the member that was filled.
 */
size_t pv_answer_sysinfo(const PvSnapshot *snapshot, gboolean is_32_bit, PvSysinfo *ret_answer);

/*
 * Cut an affinity mask (as the kernel lays it out: bit n of the little-endian words is CPU n) to
 * the CPUs that are shown. A thread that may run on none of them keeps as many of its own CPUs as
 * are shown: an empty mask is none that the kernel ever gives. shown  real ids
 */
void pv_answer_affinity(const PvCpuSet *shown, guint8 *mask, size_t size);
