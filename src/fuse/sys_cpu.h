/*
 * sys/devices/system/cpu: the host's own directory, cut to the CPUs of a container. What says which
 * CPUs there are or are related is cut to the set, what counts the host's activity is 0, the rest
 * is hardware and passes through. Nothing is writable.
 *
 * A node is a CPU, by the id under which it is shown, and a path in its directory; or a path beside
 * the cpuN. The paths behind the hashes in inode numbers are remembered at lookup; those that an
 * earlier server handed out are found again by a walk over the host's directory.
 */
#pragma once

#include "node.h"

#include "procview/cpuset.h"
#include "procview/host.h"

#include <sys/stat.h>

/* The CPUs that a container is shown. */
typedef struct {
    gboolean is_host; /* everything, as the host has it */
    PvCpuSet real;    /* real ids */
    PvCpuSet shown;   /* the ids under which they are shown, in the same order */
} PvCpuView;

typedef struct PvSysCpu PvSysCpu;

/* Returns NULL when the host has no such directory. */
PvSysCpu *pv_sys_cpu_new(PvHost *host);
void pv_sys_cpu_free(PvSysCpu *sys);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvSysCpu, pv_sys_cpu_free)

/*
 * The functions below return 0 or a negative errno: -ENOENT for what the container has not, -ESTALE
 * for a number behind which there is no path (any more). Nodes are PV_NODE_CPU and PV_NODE_CPU_TOP;
 * a NULL parent is the directory itself.
 */

/* A name in a directory. */
int pv_sys_cpu_lookup(PvSysCpu *sys, const PvCpuView *view, const PvNode *parent, const char *name,
                      PvNode *ret_node, struct stat *ret_stat);

int pv_sys_cpu_stat(PvSysCpu *sys, const PvCpuView *view, const PvNode *node,
                    struct stat *ret_stat);

int pv_sys_cpu_readlink(PvSysCpu *sys, const PvCpuView *view, const PvNode *node, GString *out);

/* Append a file's text. */
int pv_sys_cpu_read(PvSysCpu *sys, const PvCpuView *view, const PvNode *node, GString *out);

/* One entry of a directory; mode has the file type only. */
typedef void (*PvSysCpuEntryFunc)(const char *name, const PvNode *node, mode_t mode, gpointer data);

int pv_sys_cpu_list(PvSysCpu *sys, const PvCpuView *view, const PvNode *directory,
                    PvSysCpuEntryFunc func, gpointer data);

/* The number in "PREFIX<number>" without a leading zero, or -1: "cpu12" is 12, "cpufreq" -1. */
int pv_sys_numbered_name(const char *name, const char *prefix);
