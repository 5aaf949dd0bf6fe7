/*
 * The control files of cgroup v1: memory, cpu, cpuset, pids and hugetlb. (v1_cpuacct.c and v1_io.c
 * have those that are tables.)
 *
 * Documentation/admin-guide/cgroup-v1/{memory,cpusets,hugetlb,pids}.rst,
 * Documentation/scheduler/sched-bwc.rst
 */
#include "v1.h"

#include "procview/file.h"

#include <errno.h>

static const char *const FILE_NAMES[V1_FILE_COUNT] = {
    [V1_MEMORY_STAT] = "memory.stat",
    [V1_MEMORY_LIMIT] = "memory.limit_in_bytes",
    [V1_MEMORY_USAGE] = "memory.usage_in_bytes",
    [V1_MEMSW_LIMIT] = "memory.memsw.limit_in_bytes",
    [V1_MEMSW_USAGE] = "memory.memsw.usage_in_bytes",
    [V1_KMEM_USAGE] = "memory.kmem.usage_in_bytes",
    [V1_CPU_QUOTA] = "cpu.cfs_quota_us",
    [V1_CPU_PERIOD] = "cpu.cfs_period_us",
    [V1_CPU_STAT] = "cpu.stat",
    [V1_CPUSET_EFFECTIVE] = "cpuset.effective_cpus",
    [V1_CPUSET_CPUS] = "cpuset.cpus",
    [V1_CPUACCT_USAGE] = "cpuacct.usage",
    [V1_CPUACCT_PERCPU] = "cpuacct.usage_percpu",
    [V1_CPUACCT_ALL] = "cpuacct.usage_all",
    [V1_CPUACCT_STAT] = "cpuacct.stat",
    [V1_IO_BYTES_THROTTLE_RECURSIVE] = "blkio.throttle.io_service_bytes_recursive",
    [V1_IO_BYTES_RECURSIVE] = "blkio.io_service_bytes_recursive",
    [V1_IO_BYTES_BFQ_RECURSIVE] = "blkio.bfq.io_service_bytes_recursive",
    [V1_IO_BYTES_THROTTLE] = "blkio.throttle.io_service_bytes",
    [V1_IO_SERVICED_THROTTLE_RECURSIVE] = "blkio.throttle.io_serviced_recursive",
    [V1_IO_SERVICED_RECURSIVE] = "blkio.io_serviced_recursive",
    [V1_IO_SERVICED_BFQ_RECURSIVE] = "blkio.bfq.io_serviced_recursive",
    [V1_IO_SERVICED_THROTTLE] = "blkio.throttle.io_serviced",
    [V1_IO_TIME_RECURSIVE] = "blkio.io_service_time_recursive",
    [V1_IO_TIME_BFQ_RECURSIVE] = "blkio.bfq.io_service_time_recursive",
    [V1_PIDS_MAX] = "pids.max",
    [V1_PIDS_CURRENT] = "pids.current",
    [V1_HUGETLB_LIMIT] = "hugetlb.*.limit_in_bytes",
    [V1_HUGETLB_USAGE] = "hugetlb.*.usage_in_bytes",
};

/* ---- memory ---- */

/* The lines of memory.stat that count the descendants too, in the kernel's order. */
#define TOTAL_KEYS(X)                                                                              \
    X("total_cache", PV_MEMORY_FILE)                                                               \
    X("total_rss", PV_MEMORY_ANON)                                                                 \
    X("total_rss_huge", PV_MEMORY_ANON_THP)                                                        \
    X("total_shmem", PV_MEMORY_SHMEM)                                                              \
    X("total_mapped_file", PV_MEMORY_FILE_MAPPED)                                                  \
    X("total_dirty", PV_MEMORY_FILE_DIRTY)                                                         \
    X("total_writeback", PV_MEMORY_FILE_WRITEBACK)                                                 \
    X("total_workingset_refault_anon", PV_MEMORY_WORKINGSET_REFAULT_ANON)                          \
    X("total_workingset_refault_file", PV_MEMORY_WORKINGSET_REFAULT_FILE)                          \
    X("total_swapcached", PV_MEMORY_SWAPCACHED)                                                    \
    X("total_pgpgin", PV_MEMORY_PGPGIN)                                                            \
    X("total_pgpgout", PV_MEMORY_PGPGOUT)                                                          \
    X("total_pgfault", PV_MEMORY_PGFAULT)                                                          \
    X("total_pgmajfault", PV_MEMORY_PGMAJFAULT)                                                    \
    X("total_inactive_anon", PV_MEMORY_INACTIVE_ANON)                                              \
    X("total_active_anon", PV_MEMORY_ACTIVE_ANON)                                                  \
    X("total_inactive_file", PV_MEMORY_INACTIVE_FILE)                                              \
    X("total_active_file", PV_MEMORY_ACTIVE_FILE)                                                  \
    X("total_unevictable", PV_MEMORY_UNEVICTABLE)

#define KEY_OF(key, stat)  key,
#define STAT_OF(key, stat) stat,

enum { KEY_LIMIT, KEY_MEMSW_LIMIT, KEY_FIRST_TOTAL };

static const char *const STAT_KEYS[] = {"hierarchical_memory_limit", "hierarchical_memsw_limit",
                                        TOTAL_KEYS(KEY_OF)};
static const PvMemoryStat STATS[] = {TOTAL_KEYS(STAT_OF)};

#define N_KEYS G_N_ELEMENTS(STAT_KEYS)

/* Linux 5.11 removed hierarchies that are not hierarchical; before, the root's word is final when
 * it is 1. */
static gboolean uses_hierarchy(int dirfd)
{
    char text[32];
    return pv_read_text_at(dirfd, "memory.use_hierarchy", text, sizeof text) < 0 || text[0] != '0';
}

static void inspect(PvChain *chain)
{
    if (!(chain->hierarchy->controllers >> PV_CONTROLLER_MEMORY & 1) ||
        uses_hierarchy(chain->levels[chain->n_levels].dirfd))
        return;
    for (guint level = 0; level < chain->n_levels && !chain->limits_need_walk; level++)
        chain->limits_need_walk = !uses_hierarchy(chain->levels[level].dirfd);
}

/*
 * A limit's effective value: memory.stat tells it, except where hierarchy is not used, and on
 * kernels that leave the line out.
 */
static int effective_limit(PvChain *chain, guint file, const guint64 *stat_value,
                           guint64 *ret_limit)
{
    guint64 limit = PV_UNLIMITED;
    if (stat_value != NULL && *stat_value < G_GUINT64_CONSTANT(1) << 62)
        limit = *stat_value;

    if (stat_value == NULL || chain->limits_need_walk) {
        guint64 walked;
        int rc = pv_chain_min_limit(chain, 0, file, &walked);
        if (rc < 0)
            return rc;
        limit = MIN(limit, walked);
    }
    *ret_limit = limit;
    return 0;
}

static void set_stat(PvMemory *memory, PvMemoryStat stat, guint64 bytes)
{
    memory->stat[stat] = bytes;
    memory->stat_valid[stat / 64] |= G_GUINT64_CONSTANT(1) << (stat % 64);
}

/* memory.stat, and the limits that it tells. */
static int read_stat(PvChain *chain, PvMemory *memory)
{
    char text[PV_CONTROL_FILE_MAX];
    ssize_t n = pv_chain_read(chain, 0, V1_MEMORY_STAT, text, sizeof text);
    if (n < 0)
        return (int)n;

    guint64 values[N_KEYS], valid[(N_KEYS + 63) / 64] = {0};
    pv_keys_parse(text, STAT_KEYS, N_KEYS, values, valid);
    for (guint i = KEY_FIRST_TOTAL; i < N_KEYS; i++) {
        PvMemoryStat stat = STATS[i - KEY_FIRST_TOTAL];
        if (pv_bit(valid, i))
            set_stat(memory, stat, values[i]);
    }
    int rc = pv_memory_check(memory);
    if (rc == 0)
        rc = effective_limit(chain, V1_MEMORY_LIMIT,
                             pv_bit(valid, KEY_LIMIT) ? &values[KEY_LIMIT] : NULL,
                             &memory->limit_bytes);
    if (rc == 0 && memory->has_swap)
        rc = effective_limit(chain, V1_MEMSW_LIMIT,
                             pv_bit(valid, KEY_MEMSW_LIMIT) ? &values[KEY_MEMSW_LIMIT] : NULL,
                             &memory->memsw_limit_bytes);
    return rc;
}

/* What the kernel holds for the container. How much of it could be reclaimed is not told. Nothing
 * is told at all without kernel memory accounting. */
static int read_kmem(PvChain *chain, PvMemory *memory)
{
    guint64 bytes;
    int rc = pv_chain_number(chain, 0, V1_KMEM_USAGE, &bytes);
    if (rc == 0)
        set_stat(memory, PV_MEMORY_SLAB_UNRECLAIMABLE, bytes);
    return rc == -ENOENT ? 0 : rc;
}

static int read_memory(PvChain *chain, gboolean want_swap, PvMemory *ret_memory)
{
    PvMemory memory = {.high_bytes = PV_UNLIMITED,
                       .swap_limit_bytes = PV_UNLIMITED,
                       .memsw_limit_bytes = PV_UNLIMITED};
    int rc = pv_chain_number(chain, 0, V1_MEMORY_USAGE, &memory.usage_bytes);
    if (rc < 0)
        return rc;

    if (want_swap) {
        guint64 memsw_usage;
        rc = pv_chain_number(chain, 0, V1_MEMSW_USAGE, &memsw_usage);
        if (rc < 0 && rc != -ENOENT) /* without swap accounting there is no such file */
            return rc;
        memory.has_swap = rc == 0;
        if (memory.has_swap)
            memory.swap_usage_bytes = pv_sat_sub(memsw_usage, memory.usage_bytes);
    }

    rc = read_stat(chain, &memory);
    if (rc == 0)
        rc = read_kmem(chain, &memory);
    if (rc < 0)
        return rc;
    if (memory.memsw_limit_bytes != PV_UNLIMITED)
        memory.swap_limit_bytes = pv_sat_sub(memory.memsw_limit_bytes, memory.limit_bytes);
    *ret_memory = memory;
    return 0;
}

/* ---- cpu, cpuset ---- */

static int read_level_quota(PvChain *chain, guint level, guint64 *ret_quota_usec,
                            guint64 *ret_period_usec)
{
    guint64 quota, period = 100000;
    int rc = pv_chain_limit(chain, level, V1_CPU_QUOTA, &quota); /* -1: none */
    if (rc == 0 && quota != PV_UNLIMITED)
        rc = pv_chain_number(chain, level, V1_CPU_PERIOD, &period);
    if (rc < 0)
        return rc;
    if (period == 0)
        return -EINVAL;
    *ret_quota_usec = quota;
    *ret_period_usec = period;
    return 0;
}

static int read_quota(PvChain *chain, guint64 *ret_quota_usec, guint64 *ret_period_usec)
{
    return pv_chain_quota(chain, read_level_quota, ret_quota_usec, ret_period_usec);
}

static int read_cpus(PvChain *chain, PvCpuSet *ret_cpus)
{
    for (guint level = 0; level <= chain->n_levels; level++) {
        PvCpuSet cpus;
        int rc = pv_chain_cpus(chain, level, V1_CPUSET_EFFECTIVE, &cpus);
        if (rc == -ENOENT) /* before Linux 3.17 */
            rc = pv_chain_cpus(chain, level, V1_CPUSET_CPUS, &cpus);
        if (rc < 0 && rc != -ENOENT)
            return rc;
        if (rc == 0 && pv_cpu_set_count(&cpus) > 0) {
            *ret_cpus = cpus;
            return 0;
        }
    }
    return -ENOENT;
}

/* ---- pids, hugetlb ---- */

static int read_pids(PvChain *chain, PvPids *ret_pids)
{
    PvPids pids;
    int rc = pv_chain_number(chain, 0, V1_PIDS_CURRENT, &pids.current);
    if (rc == 0)
        rc = pv_chain_min_limit(chain, 0, V1_PIDS_MAX, &pids.max);
    if (rc == 0)
        *ret_pids = pids;
    return rc;
}

static int read_hugetlb(PvChain *chain, guint64 page_kb, PvHugetlb *ret_hugetlb)
{
    return pv_chain_hugetlb(chain, page_kb, V1_HUGETLB_LIMIT, V1_HUGETLB_USAGE, ret_hugetlb);
}

const PvCgroupOps pv_cgroup_v1 = {
    .file_names = FILE_NAMES,
    .n_files = V1_FILE_COUNT,
    .missing_retry_sec = 0, /* a v1 hierarchy has its controllers everywhere or nowhere */
    .threads_file = "tasks",
    .inspect = inspect,
    .read_memory = read_memory,
    .read_quota = read_quota,
    .read_cpus = read_cpus,
    .read_cpu_usage = pv_v1_read_cpu_usage,
    .read_throttled = pv_v1_read_throttled,
    .read_io = pv_v1_read_io,
    .read_pids = read_pids,
    .read_hugetlb = read_hugetlb,
    .read_pressure = NULL,
};
