/*
 * sys/devices/system/node: the host's nodes, with the CPUs of a container and its share of their
 * memory. Which files there are is a table; links to memory blocks, counts of the host's allocator
 * and what can be written are left out.
 */
#pragma once

#include "sys_cpu.h"

#include "procview/view.h"

typedef struct PvSysNuma PvSysNuma;

/* Returns NULL when the host has no such directory. */
PvSysNuma *pv_sys_numa_new(PvHost *host);
void pv_sys_numa_free(PvSysNuma *sys);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvSysNuma, pv_sys_numa_free)

/* As those of sys_cpu.h; nodes are PV_NODE_NUMA and PV_NODE_NUMA_CPU, a NULL parent is the
 * directory itself. */
int pv_sys_numa_lookup(PvSysNuma *sys, const PvCpuView *view, const PvNode *parent,
                       const char *name, PvNode *ret_node, struct stat *ret_stat);
int pv_sys_numa_stat(PvSysNuma *sys, const PvCpuView *view, const PvNode *node,
                     struct stat *ret_stat);
int pv_sys_numa_readlink(PvSysNuma *sys, const PvCpuView *view, const PvNode *node, GString *out);
int pv_sys_numa_list(PvSysNuma *sys, const PvCpuView *view, const PvNode *directory,
                     PvSysCpuEntryFunc func, gpointer data);

/* container  for meminfo; NULL with a view of the host */
int pv_sys_numa_read(PvSysNuma *sys, PvViews *views, const PvCpuView *view, PvContainer *container,
                     const PvNode *node, GString *out);

/* TRUE when what the name stands for differs from caller to caller. */
gboolean pv_sys_numa_differs(const PvNode *node);
