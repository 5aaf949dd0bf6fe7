/*
 * The snapshot: everything that one text is made of, taken once. Renderers get nothing else.
 * A section that was not asked for, or could not be read, has its bit cleared in `valid`.
 */
#pragma once

#include "procview/account.h"
#include "procview/cgroup.h"
#include "procview/container.h"
#include "procview/cpuset.h"

#include <glib.h>

typedef enum {
    PV_SECTION_CPUS = 1 << 0,      /* the CPU set */
    PV_SECTION_MEMORY = 1 << 1,    /* limits, use, memory.stat; host_meminfo */
    PV_SECTION_CPU_TICKS = 1 << 2, /* proc/stat's columns (CPUS too) */
    PV_SECTION_UPTIME = 1 << 3,
    PV_SECTION_LOAD = 1 << 4, /* averages and task counts */
    PV_SECTION_IO = 1 << 5,
    PV_SECTION_PRESSURE_CPU = 1 << 6,
    PV_SECTION_PRESSURE_MEMORY = 1 << 7,
    PV_SECTION_PRESSURE_IO = 1 << 8,
    PV_SECTION_HOST_CPUINFO = 1 << 9,
    PV_SECTION_HOST_VMSTAT = 1 << 10,
    PV_SECTION_HOST_DISKSTATS = 1 << 11,
    PV_SECTION_HOST_STAT = 1 << 12,
    PV_SECTION_HUGETLB = 1 << 13,
    PV_SECTION_HOST_CPUS = 1 << 14, /* host_possible */
    PV_SECTION_IDLE =
        1 << 15, /* uptime's second field: ticks_total alone, without the per-CPU figures */
    PV_SECTION_PRESSURE_IRQ = 1 << 16,
    PV_SECTION_PIDS = 1 << 17, /* cleared where nothing is limited */
    PV_SECTION_HOST_INTERRUPTS = 1 << 18,
    PV_SECTION_HOST_SOFTIRQS = 1 << 19,
    PV_SECTION_HOST_SCHEDSTAT = 1 << 20,
    PV_SECTION_HOST_PARTITIONS = 1 << 21,
    PV_SECTION_HOST_SLABINFO = 1 << 22,
    PV_SECTION_HOST_PID_MAX = 1 << 23,
    PV_SECTION_HOST_THREADS_MAX = 1 << 24,
} PvSection;
typedef guint PvSections;

/* What SwapTotal is: the values of swap-total, in their order. */
typedef enum {
    PV_SWAP_TOTAL_SWAP,
    PV_SWAP_TOTAL_MEMSW, /* lxcfs's rule: on v1 the limit of memory and swap together */
    PV_SWAP_TOTAL_NONE,  /* 0, and lxcfs's when it is told to leave swap out */
} PvSwapTotal;

typedef struct {
    PvSections valid;

    guint ticks_per_second; /* USER_HZ */
    guint64 page_bytes;

    /* CPUS */
    PvCpuSet cpus;       /* real ids, the set that is shown */
    PvCpuSet shown_cpus; /* the ids under which they are shown: the same, or 0..n-1 when dense */
    guint n_cpus;        /* its size, at least 1 */

    /* HOST_CPUS: sysfs's possible, and its highest id + 1 */
    PvCpuSet host_possible;

    /* MEMORY, HUGETLB */
    PvMemory memory;
    PvSwapTotal swap_total;
    const char *host_meminfo; /* the kernel's own text: gives lines, order, and the host's bounds */
    PvHugetlb hugetlb;        /* of the default huge page size */
    gboolean has_hugetlb;

    /* CPU_TICKS, IDLE */
    PvCpuTicks ticks_total;
    PvCpuTicks *ticks; /* [n_cpus], in the order of cpus */

    /* UPTIME */
    guint64 uptime_nsec;
    guint64 btime_sec; /* for stat's btime */

    /* LOAD */
    PvLoad load;

    /* IO */
    GArray *io; /* of PvIoDevice */

    PvPressure pressure[4]; /* by PvPressureKind */

    /* PIDS */
    PvPids pids;

    /* HOST_…: texts of the kernel's own files */
    const char *host_cpuinfo;
    const char *host_vmstat;
    const char *host_diskstats;
    const char *host_stat;
    const char *host_interrupts;
    const char *host_softirqs;
    const char *host_schedstat;
    const char *host_partitions;
    const char *host_slabinfo;
    const char *host_pid_max;
    const char *host_threads_max;
} PvSnapshot;
