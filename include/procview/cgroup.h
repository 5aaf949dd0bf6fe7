/*
 * cgroups, v1 and v2 alike: where the hierarchies are mounted, which cgroup a process is in, and
 * what a cgroup's controllers say. v1.c and v2.c stand behind one table of functions, chosen
 * for each controller on its own, so that a hybrid host is nothing special. Numbers in,
 * numbers out: no caller sees a control file's text.
 *
 * Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst; cgroup_namespaces(7).
 */
#pragma once

#include "procview/cpuset.h"
#include "procview/parse.h"

#include <glib.h>
#include <sys/types.h>

typedef enum {
    PV_CONTROLLER_CPU,
    PV_CONTROLLER_CPUACCT, /* v2: the core's cpu.stat */
    PV_CONTROLLER_CPUSET,
    PV_CONTROLLER_MEMORY,
    PV_CONTROLLER_IO, /* v1: blkio */
    PV_CONTROLLER_PIDS,
    PV_CONTROLLER_HUGETLB,
    PV_CONTROLLER_PRESSURE, /* v2's *.pressure; on a hybrid host those of the unified hierarchy */
    PV_CONTROLLER_TASKS,    /* membership itself: some hierarchy in which every container has a
                               cgroup of its own (v2; else pids, cpuacct, memory, …) */
    PV_CONTROLLER_COUNT
} PvController;

/* ---- where the hierarchies are ---- */

typedef struct PvHierarchies PvHierarchies;

/*
 * Find the mounted hierarchies in `self/mountinfo` and hold a directory of each.
 * procfs_fd  a directory: /proc, or a captured copy
 * root_fd    the directory from which the mount points are walked: "/", or a captured tree
 * Errors: FAILED or PERMISSION when mountinfo cannot be read, UNSUPPORTED when there is no
 * hierarchy at all.
 */
PvHierarchies *pv_hierarchies_load(int procfs_fd, int root_fd, GError **error);
PvHierarchies *pv_hierarchies_ref(PvHierarchies *hierarchies);
void pv_hierarchies_unref(PvHierarchies *hierarchies);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvHierarchies, pv_hierarchies_unref)

/* 1 or 2, or 0 when the controller is in no mounted hierarchy. */
int pv_hierarchies_version(const PvHierarchies *hierarchies, PvController controller);

/* The mount point in the namespace of mountinfo ("/sys/fs/cgroup/memory"), or NULL. */
const char *pv_hierarchies_mount_point(const PvHierarchies *hierarchies, PvController controller);

/* One mounted hierarchy, whether it has controllers that we know or not. Strings belong to the
 * hierarchies. */
typedef struct {
    int version;
    const char *names; /* v1: ",cpu,cpuacct," or ",name=systemd,"; v2: "" */
    const char *mount_point;
    int dirfd;            /* of the mount's root */
    gboolean root_counts; /* that root is not the hierarchy's own: we are in a container */
} PvHierarchyInfo;

guint pv_hierarchies_count(const PvHierarchies *hierarchies);
void pv_hierarchies_info(const PvHierarchies *hierarchies, guint index, PvHierarchyInfo *ret_info);

/* The path of a process in a hierarchy, below its mount, from the text of /proc/PID/cgroup; as in
 * PvCgroupPaths. NULL when it is not told, or out of the mount's reach. Free with g_free. */
char *pv_hierarchies_path(const PvHierarchies *hierarchies, guint index, const char *text);

/* ---- which cgroup ---- */

/*
 * A cgroup path for each controller, relative to the hierarchy's mount: "/" is its root, no "." or
 * ".." component is left, no slash at the end. NULL where the controller has no hierarchy.
 */
typedef struct {
    char *path[PV_CONTROLLER_COUNT];
} PvCgroupPaths;

void pv_cgroup_paths_clear(PvCgroupPaths *paths);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvCgroupPaths, pv_cgroup_paths_clear)

/*
 * Parse the text of /proc/PID/cgroup (proc_cgroup_show() in the kernel). Paths with "/../" (the
 * process is outside the reader's cgroup namespace) are resolved against the mount's own root. A
 * process whose cgroup was removed (" (deleted)") keeps the path without the mark. Errors: INVALID
 * for malformed text; NOT_FOUND for a path that the mount cannot reach.
 */
gboolean pv_cgroup_paths_parse(const PvHierarchies *hierarchies, const char *text,
                               PvCgroupPaths *ret_paths, GError **error);

/* TRUE when `ancestor` is `path` or lies above it ("/a" above "/a/b", not above "/ab"). */
gboolean pv_cgroup_path_contains(const char *ancestor, const char *path);

/* ---- an open cgroup ---- */

/*
 * One cgroup in every hierarchy, with its ancestors: directories and control files are opened
 * once and read with pread from then on. Reference-counted; any thread may read.
 * Functions that read return 0 or a negative errno: -ENODEV once the cgroup was removed,
 * -ENODATA when the controller accounts nothing for this cgroup (it is the root, or the controller
 * is enabled in none of its ancestors), -EINVAL when a file is empty, cut or garbage, else what
 * openat or pread said (-EMFILE …). Outputs are untouched on failure. Each directory and each
 * control file that was read costs a descriptor: some 30 a container.
 */
typedef struct PvCgroup PvCgroup;

PvCgroup *pv_cgroup_open(PvHierarchies *hierarchies, const PvCgroupPaths *paths, GError **error);
PvCgroup *pv_cgroup_ref(PvCgroup *cgroup);
void pv_cgroup_unref(PvCgroup *cgroup);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvCgroup, pv_cgroup_unref)

const char *pv_cgroup_path(const PvCgroup *cgroup, PvController controller);

/* TRUE when the controller's cgroup is its hierarchy's root: nothing is limited or accounted. */
gboolean pv_cgroup_is_root(const PvCgroup *cgroup, PvController controller);

/* A descriptor of the cgroup's directory in the controller's hierarchy, owned by the cgroup; -1
 * without. */
int pv_cgroup_dirfd(const PvCgroup *cgroup, PvController controller);

/* ---- memory ---- */

/* The lines of memory.stat that some view shows, in v2's terms and bytes (events: counts).
 * v1 fills those that it has, from its total_ lines. */
typedef enum {
    PV_MEMORY_ANON,
    PV_MEMORY_FILE,
    PV_MEMORY_KERNEL_STACK,
    PV_MEMORY_PAGETABLES,
    PV_MEMORY_SEC_PAGETABLES,
    PV_MEMORY_PERCPU,
    PV_MEMORY_SHMEM,
    PV_MEMORY_ZSWAP,
    PV_MEMORY_ZSWAPPED,
    PV_MEMORY_FILE_MAPPED,
    PV_MEMORY_FILE_DIRTY,
    PV_MEMORY_FILE_WRITEBACK,
    PV_MEMORY_SWAPCACHED,
    PV_MEMORY_ANON_THP,
    PV_MEMORY_FILE_THP,
    PV_MEMORY_SHMEM_THP,
    PV_MEMORY_INACTIVE_ANON,
    PV_MEMORY_ACTIVE_ANON,
    PV_MEMORY_INACTIVE_FILE,
    PV_MEMORY_ACTIVE_FILE,
    PV_MEMORY_UNEVICTABLE,
    PV_MEMORY_SLAB_RECLAIMABLE,
    PV_MEMORY_SLAB_UNRECLAIMABLE,
    PV_MEMORY_SLAB,
    PV_MEMORY_WORKINGSET_REFAULT_ANON,
    PV_MEMORY_WORKINGSET_REFAULT_FILE,
    PV_MEMORY_WORKINGSET_ACTIVATE_ANON,
    PV_MEMORY_WORKINGSET_ACTIVATE_FILE,
    PV_MEMORY_WORKINGSET_RESTORE_ANON,
    PV_MEMORY_WORKINGSET_RESTORE_FILE,
    PV_MEMORY_WORKINGSET_NODERECLAIM,
    PV_MEMORY_PGSCAN,
    PV_MEMORY_PGSTEAL,
    PV_MEMORY_PGSCAN_KSWAPD,
    PV_MEMORY_PGSCAN_DIRECT,
    PV_MEMORY_PGSCAN_KHUGEPAGED,
    PV_MEMORY_PGSTEAL_KSWAPD,
    PV_MEMORY_PGSTEAL_DIRECT,
    PV_MEMORY_PGSTEAL_KHUGEPAGED,
    PV_MEMORY_PGFAULT,
    PV_MEMORY_PGMAJFAULT,
    PV_MEMORY_PGREFILL,
    PV_MEMORY_PGACTIVATE,
    PV_MEMORY_PGDEACTIVATE,
    PV_MEMORY_PGLAZYFREE,
    PV_MEMORY_PGLAZYFREED,
    PV_MEMORY_PSWPIN,
    PV_MEMORY_PSWPOUT,
    PV_MEMORY_ZSWPIN,
    PV_MEMORY_ZSWPOUT,
    PV_MEMORY_ZSWPWB,
    PV_MEMORY_THP_FAULT_ALLOC,
    PV_MEMORY_THP_COLLAPSE_ALLOC,
    PV_MEMORY_THP_SWPOUT,
    PV_MEMORY_THP_SWPOUT_FALLBACK,
    PV_MEMORY_PGPGIN,  /* v1: pages charged (v1's meaning of the word, not vmstat's) */
    PV_MEMORY_PGPGOUT, /* v1: pages uncharged */
    PV_MEMORY_PGSCAN_PROACTIVE,
    PV_MEMORY_PGSTEAL_PROACTIVE,
    PV_MEMORY_PGDEMOTE_KSWAPD,
    PV_MEMORY_PGDEMOTE_DIRECT,
    PV_MEMORY_PGDEMOTE_KHUGEPAGED,
    PV_MEMORY_PGDEMOTE_PROACTIVE,
    PV_MEMORY_PGPROMOTE_SUCCESS,
    PV_MEMORY_STAT_COUNT
} PvMemoryStat;

typedef struct {
    guint64 limit_bytes;      /* effective: minimum over the cgroup and its ancestors */
    guint64 high_bytes;       /* effective memory.high; PV_UNLIMITED on v1 */
    guint64 usage_bytes;      /* memory.current, memory.usage_in_bytes */
    gboolean has_swap;        /* swap is accounted: the next three are meaningful */
    guint64 swap_limit_bytes; /* effective memory.swap.max; v1: memsw limit - memory limit */
    guint64 swap_usage_bytes; /* memory.swap.current; v1: memsw usage - memory usage, not below 0 */
    guint64 memsw_limit_bytes; /* v1: effective memory.memsw.limit_in_bytes; v2: PV_UNLIMITED */
    guint64 stat[PV_MEMORY_STAT_COUNT];
    guint64 stat_valid[(PV_MEMORY_STAT_COUNT + 63) / 64];
} PvMemory;

/*
 * Read limits, use and memory.stat.
 * want_swap  FALSE leaves the swap fields out (has_swap FALSE): a host without swap needs none
 * Files: memory.{max,high,current,stat,swap.max,swap.current};
 *        memory.{limit_in_bytes,usage_in_bytes,stat,memsw.limit_in_bytes,memsw.usage_in_bytes}
 */
int pv_cgroup_read_memory(PvCgroup *cgroup, gboolean want_swap, PvMemory *ret_memory);

/* A line of memory.stat, or 0 when the kernel has no such line. */
static inline guint64 pv_memory_stat(const PvMemory *memory, PvMemoryStat stat)
{
    return pv_bit(memory->stat_valid, stat) ? memory->stat[stat] : 0;
}

/* ---- cpu ---- */

/* The tightest quota over the cgroup and its ancestors, and the CPUs that it may run on. */
typedef struct {
    guint64 quota_usec;      /* PV_UNLIMITED without a quota */
    guint64 period_usec;     /* never 0 */
    gboolean has_cpus;       /* a cpuset controller says which CPUs */
    PvCpuSet effective_cpus; /* real ids */
} PvCpuLimits;

/* Files: cpu.max, cpuset.cpus.effective; cpu.cfs_quota_us, cpu.cfs_period_us, cpuset.effective_cpus
 * (cpuset.cpus before it). An empty cpuset takes the nearest ancestor's, the root's at last.
 * The root cgroup has no quota, and the root's CPUs; that is no error. */
int pv_cgroup_read_cpu_limits(PvCgroup *cgroup, PvCpuLimits *ret_limits);

/* CPU time used since the cgroup was made, in ns. */
typedef struct {
    guint64 total_nsec; /* the exact figure: user, system and nice add up to it */
    guint64 user_nsec;  /* without nice */
    guint64 nice_nsec;  /* 0 where the kernel does not tell (before 6.11) */
    guint64 system_nsec;
    /* cpu.stat's throttled time of the nearest cgroup that has the tightest quota, from the cgroup
     * itself upwards; without a quota its own (0). It follows pv_cgroup_read_cpu_limits(): when the
     * tightest quota is another cgroup's than before, this is another counter. */
    guint64 throttled_nsec;
    guint throttled_level; /* whose it is: 0 the cgroup's own, 1 its parent's, … */
    guint n_cpus;          /* entries of cpu[]; 0 on v2, which has only totals */
    struct {
        guint64 total_nsec;  /* cpuacct.usage_percpu: exact */
        guint64 user_nsec;   /* cpuacct.usage_all: counted by ticks; only the ratio */
        guint64 system_nsec; /*                    of the two is of use */
    } cpu[];
} PvCpuUsage;

/* How much of it is wanted: on v1 each more costs another file. */
typedef enum {
    PV_CPU_USAGE_TOTAL,     /* total_nsec; throttled_nsec is not to be looked at */
    PV_CPU_USAGE_THROTTLED, /* throttled_nsec too */
    PV_CPU_USAGE_CPUS,      /* all */
} PvCpuUsageDetail;

/*
 * Without CPUS, v1 does not tell user time from system time: user_nsec is the whole total. With
 * them it has both by ticks: the total never decreases, each of the two may. Free with g_free.
 * Files: cpu.stat; cpuacct.usage, cpuacct.usage_all, cpuacct.usage_percpu, cpuacct.stat, cpu.stat
 */
int pv_cgroup_read_cpu_usage(PvCgroup *cgroup, PvCpuUsageDetail detail, PvCpuUsage **ret_usage);

/* ---- io ---- */

typedef struct {
    guint major, minor;
    guint64 read_bytes, write_bytes, discard_bytes;
    guint64 read_ios, write_ios, discard_ios;
    guint64 service_nsec; /* v1's blkio.io_service_time_recursive; 0 elsewhere */
} PvIoDevice;

/* At most this many devices are reported. */
#define PV_IO_DEVICES_MAX 1024

/* Append one PvIoDevice for each device with traffic to `devices` (a GArray of PvIoDevice).
 * Files: io.stat; blkio.throttle.io_service_bytes_recursive and io_serviced_recursive (the ones
 * that are filled whatever the I/O scheduler), else blkio.io_service_bytes_recursive and kin. */
int pv_cgroup_read_io(PvCgroup *cgroup, GArray *devices);

/* ---- pids, hugetlb, pressure ---- */

typedef struct {
    guint64 max;     /* effective pids.max */
    guint64 current; /* tasks (threads) in the subtree */
} PvPids;

int pv_cgroup_read_pids(PvCgroup *cgroup, PvPids *ret_pids);

typedef struct {
    guint64 limit_bytes; /* effective; PV_UNLIMITED where not limited */
    guint64 usage_bytes;
} PvHugetlb;

/* page_kb  the huge page size. Files: hugetlb.<SIZE>.{max,current}; …limit_in_bytes, usage_in_bytes
 */
int pv_cgroup_read_hugetlb(PvCgroup *cgroup, guint64 page_kb, PvHugetlb *ret_hugetlb);

typedef enum {
    PV_PRESSURE_CPU,
    PV_PRESSURE_MEMORY,
    PV_PRESSURE_IO,
    PV_PRESSURE_IRQ
} PvPressureKind;

typedef struct {
    guint avg_centi[3]; /* avg10, avg60, avg300 in hundredths of a percent */
    guint64 total_usec;
} PvPressureLine;

typedef struct {
    gboolean has_some, has_full;
    PvPressureLine some, full;
} PvPressure;

/* -ENODATA without PSI in this kernel or cgroup. Files: cpu.pressure and kin. */
int pv_cgroup_read_pressure(PvCgroup *cgroup, PvPressureKind kind, PvPressure *ret_pressure);

/* ---- threads ---- */

/* Called for each thread id, in the daemon's pid namespace (0: not visible). FALSE ends the walk.
 */
typedef gboolean (*PvThreadFunc)(pid_t tid, gpointer data);

/*
 * Walk the threads of the cgroup and all its descendants.
 * max_threads  the walk ends after so many; the number of cgroups is bounded too
 * Returns 0; -E2BIG when a bound cut the walk short (func has seen what came before); -ENODATA when
 * there is no hierarchy or the cgroup is its root; -ENODEV when it was removed.
 * Files: cgroup.threads; tasks
 */
int pv_cgroup_foreach_thread(PvCgroup *cgroup, guint max_threads, PvThreadFunc func, gpointer data);
