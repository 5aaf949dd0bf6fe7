/*
 * The control files of cgroup v1 and the functions of its table that live in files of their own.
 */
#pragma once

#include "internal.h"

typedef enum {
    V1_MEMORY_STAT,
    V1_MEMORY_LIMIT,
    V1_MEMORY_USAGE,
    V1_MEMSW_LIMIT,
    V1_MEMSW_USAGE,
    V1_KMEM_USAGE,
    V1_CPU_QUOTA,
    V1_CPU_PERIOD,
    V1_CPU_STAT,
    V1_CPUSET_EFFECTIVE,
    V1_CPUSET_CPUS,
    V1_CPUACCT_USAGE,
    V1_CPUACCT_PERCPU,
    V1_CPUACCT_ALL,
    V1_CPUACCT_STAT,
    V1_IO_BYTES_THROTTLE_RECURSIVE,
    V1_IO_BYTES_RECURSIVE,
    V1_IO_BYTES_BFQ_RECURSIVE,
    V1_IO_BYTES_THROTTLE,
    V1_IO_SERVICED_THROTTLE_RECURSIVE,
    V1_IO_SERVICED_RECURSIVE,
    V1_IO_SERVICED_BFQ_RECURSIVE,
    V1_IO_SERVICED_THROTTLE,
    V1_IO_TIME_RECURSIVE,
    V1_IO_TIME_BFQ_RECURSIVE,
    V1_PIDS_MAX,
    V1_PIDS_CURRENT,
    V1_HUGETLB_LIMIT,
    V1_HUGETLB_USAGE,
    V1_FILE_COUNT
} V1File;

/* v1_cpuacct.c */
int pv_v1_read_cpu_usage(PvChain *chain, gboolean want_cpus, PvCpuUsage **ret_usage,
                         gboolean *ret_has_throttled, guint64 *ret_throttled_nsec);
int pv_v1_read_throttled(PvChain *chain, guint level, guint64 *ret_nsec);

/* v1_io.c */
int pv_v1_read_io(PvChain *chain, GArray *devices);
