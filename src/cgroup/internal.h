/*
 * What the files of this folder share: hierarchies, a cgroup's chain of directories in one
 * hierarchy, and the table of functions behind which v1 and v2 stand.
 */
#pragma once

#include "procview/cgroup.h"

#include <stdatomic.h>

/* Of a cgroup nested deeper, the levels in the middle are passed over: each level costs
 * descriptors, and a container that may make cgroups chooses how many. The outer ones have the
 * limits that others gave it, the inner ones those that it gave itself last. */
#define PV_CGROUP_DEPTH_MAX 48

/* The most that a file of a line for each CPU or device may hold. */
#define PV_LARGE_FILE_MAX (1 << 20)

/* One mounted hierarchy. */
typedef struct {
    int version; /* 1 or 2 */
    dev_t device;
    guint controllers; /* mask of 1 << PvController: those that the mount says it has */
    char *names;       /* v1: ",cpu,cpuacct," or ",name=systemd,"; v2: "" */
    char *root;        /* the mount's root, as a path in the reader's cgroup namespace */
    char *mount_point;
    int dirfd; /* of the mount point */
    /* The mount's root is not the hierarchy's (the reader is in a container itself): it has limits
     * and accounts like any other cgroup. */
    gboolean root_counts;
} PvHierarchy;

struct PvHierarchies {
    gatomicrefcount refs;
    GPtrArray *list;                              /* of PvHierarchy, owned */
    GPtrArray *others;                            /* the same: v1's without a controller that we
                                                     know (name=systemd, devices, freezer …) */
    PvHierarchy *controller[PV_CONTROLLER_COUNT]; /* into list, or NULL */
};

/*
 * A control file that stays open. `fd` goes from PV_FILE_UNTRIED or PV_FILE_MISSING to a
 * descriptor and then never changes: what the descriptor refers to is replaced with dup3, so that a
 * thread that is about to read it reads either file, and never one of somebody else.
 */
typedef struct {
    atomic_int fd;
    atomic_uint tried_sec; /* monotonic, when it was last found missing */
} PvControlFile;

#define PV_FILE_UNTRIED (-1)
#define PV_FILE_MISSING (-2)

typedef struct {
    int dirfd;
    PvControlFile *files; /* ops->n_files of them */
} PvLevel;

typedef struct PvCgroupOps PvCgroupOps;

/* A cgroup in one hierarchy. */
typedef struct {
    const PvHierarchy *hierarchy;
    const PvCgroupOps *ops;
    char *path;
    guint n_levels;  /* cgroups that account: [0] is the cgroup itself, then its ancestors */
    PvLevel *levels; /* n_levels + 1 of them: the last is the hierarchy's root */
    /* v1 memory: some level has memory.use_hierarchy 0, so that memory.stat does not tell the
     * effective limits */
    gboolean limits_need_walk;
    atomic_int quota_level; /* the nearest with the tightest cpu quota, else 0; -1: not known yet */
    atomic_uint_least64_t huge_page_kb; /* the page size that the hugetlb files kept open are of */
} PvChain;

struct PvCgroup {
    gatomicrefcount refs;
    PvHierarchies *hierarchies;
    guint n_chains;
    PvChain chains[PV_CONTROLLER_COUNT];
    PvChain *controller[PV_CONTROLLER_COUNT]; /* into chains, or NULL */
};

/*
 * What differs between v1 and v2. Functions return 0 or a negative errno and are called for a
 * chain with at least one level, except read_cpus, which may be asked for the root.
 */
struct PvCgroupOps {
    const char *const *file_names; /* a "*" in one stands for the huge page size */
    guint n_files;
    guint missing_retry_sec; /* how long a missing file is believed to be missing; 0: for ever */
    const char *threads_file;

    /* Look once at what does not change while the cgroup exists; may be NULL. */
    void (*inspect)(PvChain *chain);

    int (*read_memory)(PvChain *chain, gboolean want_swap, PvMemory *ret_memory);

    /* The tightest quota; also sets chain->quota_level. */
    int (*read_quota)(PvChain *chain, guint64 *ret_quota_usec, guint64 *ret_period_usec);

    /* -ENOENT when no level has a cpuset. */
    int (*read_cpus)(PvChain *chain, PvCpuSet *ret_cpus);

    /* ret_throttled_nsec: set, and *ret_has_throttled TRUE, when the same file tells it. */
    int (*read_cpu_usage)(PvChain *chain, gboolean want_cpus, PvCpuUsage **ret_usage,
                          gboolean *ret_has_throttled, guint64 *ret_throttled_nsec);
    int (*read_throttled)(PvChain *chain, guint level, guint64 *ret_nsec);

    int (*read_io)(PvChain *chain, GArray *devices);
    int (*read_pids)(PvChain *chain, PvPids *ret_pids);
    int (*read_hugetlb)(PvChain *chain, guint64 page_kb, PvHugetlb *ret_hugetlb);
    int (*read_pressure)(PvChain *chain, PvPressureKind kind, PvPressure *ret_pressure);
};

extern const PvCgroupOps pv_cgroup_v1;
extern const PvCgroupOps pv_cgroup_v2;

/* ---- hierarchies.c ---- */

/* The controllers that we know, as a mask, among v1's comma-separated names ("rw,cpu,cpuacct"). */
guint pv_v1_controllers(const char *list);

/* All that are mounted: those of `list`, then the others. */
const PvHierarchy *pv_hierarchies_nth(const PvHierarchies *hierarchies, guint index);

/* ---- control.c: directories and control files ---- */

/*
 * Open the directory `path` (relative, may have several components) strictly below dirfd, through
 * no symbolic link. The empty path opens dirfd's own directory again.
 * Returns the descriptor or a negative errno.
 */
int pv_dir_open_beneath(int dirfd, const char *path);

/* Open the levels of a chain whose hierarchy, ops and path are set. Returns 0 or a negative errno;
 * pv_chain_clear is due in both cases. */
int pv_chain_open(PvChain *chain);
void pv_chain_clear(PvChain *chain);

/* FALSE once the cgroup was removed. */
gboolean pv_chain_alive(const PvChain *chain);

/*
 * Read a control file of a level into buf. Returns its length; -ENOENT when the level has no such
 * file, -ENODEV when the cgroup was removed, -EINVAL when the text stops in the middle of a line.
 */
ssize_t pv_chain_read(PvChain *chain, guint level, guint file, char *buf, size_t size);

/* The same into memory that the caller frees; -EFBIG above PV_LARGE_FILE_MAX. */
int pv_chain_read_large(PvChain *chain, guint level, guint file, char **ret_text);

/* A file of one number; -EINVAL for anything else and for numbers past 2^63. */
int pv_chain_number(PvChain *chain, guint level, guint file, guint64 *ret_value);

/* pv_chain_number of the nearest level, from the cgroup upwards, that has the file; -ENOENT when
 * none has it. */
int pv_chain_nearest_number(PvChain *chain, guint file, guint *ret_level, guint64 *ret_value);

/* A file of one number or "max". */
int pv_chain_limit(PvChain *chain, guint level, guint file, guint64 *ret_value);

/* The minimum of a limit over the levels from `level` upwards; those without the file do not
 * limit. */
int pv_chain_min_limit(PvChain *chain, guint level, guint file, guint64 *ret_value);

/* Clear the valid bits of numbers past 2^63 in memory.stat. Returns -EINVAL when anonymous memory
 * or the page cache is not told: the file is empty, cut or garbage. */
int pv_memory_check(PvMemory *memory);

/* A file of a CPU list. */
int pv_chain_cpus(PvChain *chain, guint level, guint file, PvCpuSet *ret_cpus);

/* Whether quota/period of the first pair allows less than the second's; PV_UNLIMITED is no quota.
 */
gboolean pv_quota_is_tighter(guint64 quota_a, guint64 period_a, guint64 quota_b, guint64 period_b);

/* Read the tightest quota of a chain with a function that reads that of one level (-ENOENT: the
 * level has none), and remember the nearest level that has it. */
typedef int (*PvLevelQuotaFunc)(PvChain *chain, guint level, guint64 *ret_quota_usec,
                                guint64 *ret_period_usec);
int pv_chain_quota(PvChain *chain, PvLevelQuotaFunc read_level, guint64 *ret_quota_usec,
                   guint64 *ret_period_usec);

/* Limit and use of one huge page size, from the files whose names have a "*" for it. Those of the
 * size that is asked for first are kept open. -ENOENT when no level has them. */
int pv_chain_hugetlb(PvChain *chain, guint64 page_kb, guint limit_file, guint usage_file,
                     PvHugetlb *ret_hugetlb);

/* ---- iodevice.c: the devices of one reading ---- */

/* The entry of a device in an array of PvIoDevice, added when it is new; NULL when the array is
 * full. */
PvIoDevice *pv_io_device(GArray *devices, guint first, guint64 major, guint64 minor);

/* Remove the devices from `first` on that had no traffic. */
void pv_io_drop_idle(GArray *devices, guint first);
