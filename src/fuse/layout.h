/*
 * What is the same for every caller: the directories above the rows of the table, and those to
 * which sysfs, containers/ and the cgroup tree belong; size and permissions of the rows' files.
 */
#pragma once

#include "node.h"

#include "procview/host.h"
#include "procview/view.h"

#include <sys/stat.h>

#define PV_LAYOUT_CPU_PATH        "sys/devices/system/cpu"
#define PV_LAYOUT_NUMA_PATH       "sys/devices/system/node"
#define PV_LAYOUT_CONTAINERS_PATH "containers"
#define PV_LAYOUT_CGROUP_PATH     "cgroup" /* an empty directory: the cgroup tree is mounted there */

/* What a directory shows besides what the table puts there. */
typedef enum {
    PV_EXTRA_NONE,
    PV_EXTRA_CPU,
    PV_EXTRA_NUMA,
    PV_EXTRA_CONTAINERS,
    PV_EXTRA_CGROUP,
} PvLayoutExtra;

typedef struct {
    char *name;
    PvNode node;
} PvLayoutChild;

typedef struct {
    char *path; /* "" is the root */
    PvNode node;
    PvLayoutExtra extra;
    GPtrArray *children; /* of PvLayoutChild */
} PvLayoutDir;

typedef struct PvLayout PvLayout;

/*
 * options            what of all this is wanted
 * has_cpu, has_numa  these directories of sysfs are served
 *
 * Errors: INVALID for a table whose paths cannot be told apart by their numbers.
 */
PvLayout *pv_layout_new(PvHost *host, const PvServeOptions *options, gboolean has_cpu,
                        gboolean has_numa, GError **error);
void pv_layout_free(PvLayout *layout);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvLayout, pv_layout_free)

/* NULL for a node that is none of its directories. */
const PvLayoutDir *pv_layout_dir(const PvLayout *layout, const PvNode *node);

/* The entry of a name; NULL when there is none. */
const PvLayoutChild *pv_layout_find(const PvLayoutDir *dir, const char *name);

/* Mode and size of the file of a row, by the row's number; all else is left as it is. */
void pv_layout_stat_row(const PvLayout *layout, guint number, struct stat *st);
