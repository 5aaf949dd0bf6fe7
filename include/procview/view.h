/*
 * The views: one table row per served file; collect fills the sections of a snapshot that a row
 * names; a renderer turns the snapshot into text and does nothing else.
 */
#pragma once

#include "procview/snapshot.h"

#include <glib.h>
#include <sys/types.h>

typedef struct PvRow PvRow;

/* snapshot in, text out: no I/O, no clock, no state. Appends to out. */
typedef void (*PvRenderFunc)(const PvSnapshot *snapshot, GString *out);

struct PvRow {
    const char *path;    /* "proc/meminfo": relative to the mount */
    guint number;        /* its inode number is made from it: never reuse or renumber one */
    mode_t mode;         /* as procfs or sysfs has it: 0444 */
    PvSections sections; /* what the renderer reads */
    guint controllers; /* mask of 1 << PV_CONTROLLER_…: when the container's cgroup is the root for
                          all of them, nothing of it is limited, and the kernel's own file is
                          served. 0 where that would show what the machine does (stat,
                          pressure, diskstats): only a process of the host gets the kernel's own */
    gboolean is_optional; /* there is none where the host's kernel has no such file, or forbids it:
                             it depends on how that was built */
    gboolean is_of_lxcfs; /* lxcfs has it, too: runc lets a configuration mount over these, and
                             refuses the container for any other file of /proc */
    PvRenderFunc render;
    const char *host_path; /* the kernel's own file, "proc/meminfo" */
    const char *help;      /* one line for --help, man page and README */
};

/* The rows, ended by one whose path is NULL, in the order of their paths. */
const PvRow *pv_rows(void);
const PvRow *pv_row_find(const char *path);
const PvRow *pv_row_by_number(guint number);

/* FALSE when the host's kernel has no such file, or it cannot be read. */
gboolean pv_row_is_on_host(const PvRow *row, const PvHost *host);

/* How numbers are to be shown: the daemon's configuration. */
typedef struct {
    gboolean dense_cpu_ids; /* cpu-ids=dense: renumber from 0 everywhere */
    PvSwapTotal swap_total;
} PvViewOptions;

/* What is served: the daemon's configuration. All FALSE: everything. */
typedef struct {
    gboolean lxcfs_files; /* files=lxcfs: what lxcfs serves, and containers/. Who binds each entry
                             of proc/ over a container's then covers nothing but what is served */
    gboolean no_cgroup;   /* no directory that the cgroup tree is mounted on */
} PvServeOptions;

typedef struct PvViews PvViews;

/* Fallbacks counted, for status. */
typedef struct {
    guint64 renders; /* texts rendered */
    guint64
        fallbacks; /* of them the kernel's own because the container's numbers could not be read */
} PvViewCounters;

PvViews *pv_views_new(PvHost *host, PvContainers *containers, const PvViewOptions *options);
void pv_views_free(PvViews *views);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvViews, pv_views_free)

void pv_views_counters(PvViews *views, PvViewCounters *ret_counters);

/*
 * Render a row for a container.
 * container  NULL: the caller could not be told; the kernel's own file is served, and counted
 * out        is appended to
 * Returns 0, or a negative errno when not even the kernel's own file can be read.
 */
int pv_views_render(PvViews *views, PvContainer *container, const PvRow *row, GString *out);

/* The kernel's own file, for whoever is meant to see it: no fallback. Errors as above. */
int pv_views_render_kernels_own(PvViews *views, const PvRow *row, GString *out);

/* The CPUs that a container is shown: for directories (cpuN) and masks. real_cpus are the real ids,
 * whatever the numbering; shown_cpus the ids that the container sees (the same unless dense).
 * A container at the root gets the host's online CPUs. Returns 0 or a negative errno. */
int pv_views_cpus(PvViews *views, PvContainer *container, PvCpuSet *ret_real_cpus,
                  PvCpuSet *ret_shown_cpus);

/*
 * Take a snapshot without rendering it, for answers that are not texts.
 * Returns 0 and a snapshot, to be freed with pv_snapshot_free(), or a negative errno: nothing is
 * made up from the host's numbers.
 */
int pv_views_snapshot(PvViews *views, PvContainer *container, PvSections sections,
                      PvSnapshot **ret_snapshot);
void pv_snapshot_free(PvSnapshot *snapshot);
