/*
 * The renderers: pure functions from a snapshot to the text of one file. No I/O, no clock, no
 * state, so that a text can be compared with a golden file and a fuzzer can feed them anything.
 *
 * A renderer reads the sections that its row in table.c names. The host's texts in a snapshot give
 * lines, order and columns; a line that is not in the kernel's own form is left out.
 */
#pragma once

#include "procview/snapshot.h"

#include <glib.h>

/* ---- one per row of the table; PvRenderFunc ---- */

void pv_render_meminfo(const PvSnapshot *snapshot, GString *out);      /* MEMORY, HUGETLB */
void pv_render_cpuinfo(const PvSnapshot *snapshot, GString *out);      /* CPUS, HOST_CPUINFO */
void pv_render_stat(const PvSnapshot *snapshot, GString *out);         /* CPUS, CPU_TICKS, UPTIME,
                                                                          LOAD, HOST_STAT */
void pv_render_uptime(const PvSnapshot *snapshot, GString *out);       /* UPTIME, IDLE */
void pv_render_loadavg(const PvSnapshot *snapshot, GString *out);      /* LOAD */
void pv_render_swaps(const PvSnapshot *snapshot, GString *out);        /* MEMORY */
void pv_render_diskstats(const PvSnapshot *snapshot, GString *out);    /* IO, HOST_DISKSTATS */
void pv_render_vmstat(const PvSnapshot *snapshot, GString *out);       /* MEMORY, IO,
                                                                          HOST_VMSTAT */
void pv_render_pressure_cpu(const PvSnapshot *snapshot, GString *out); /* PRESSURE_CPU */
void pv_render_pressure_memory(const PvSnapshot *snapshot, GString *out); /* PRESSURE_MEMORY */
void pv_render_pressure_io(const PvSnapshot *snapshot, GString *out);     /* PRESSURE_IO */
void pv_render_pressure_irq(const PvSnapshot *snapshot, GString *out);    /* PRESSURE_IRQ */
void pv_render_interrupts(const PvSnapshot *snapshot, GString *out);   /* CPUS, HOST_INTERRUPTS */
void pv_render_softirqs(const PvSnapshot *snapshot, GString *out);     /* CPUS, HOST_SOFTIRQS */
void pv_render_schedstat(const PvSnapshot *snapshot, GString *out);    /* CPUS, HOST_SCHEDSTAT */
void pv_render_partitions(const PvSnapshot *snapshot, GString *out);   /* IO, HOST_PARTITIONS */
void pv_render_slabinfo(const PvSnapshot *snapshot, GString *out);     /* HOST_SLABINFO */
void pv_render_pid_max(const PvSnapshot *snapshot, GString *out);      /* PIDS, HOST_PID_MAX */
void pv_render_threads_max(const PvSnapshot *snapshot, GString *out);  /* PIDS, HOST_THREADS_MAX */
void pv_render_cpu_online(const PvSnapshot *snapshot, GString *out);   /* CPUS; present too */
void pv_render_cpu_possible(const PvSnapshot *snapshot, GString *out); /* HOST_CPUS */

/* ---- sysfs files of which there are many: CPUS ---- */

/*
 * A file of sysfs that is a list ("0-3,8") or a mask ("f,ffffffff") of CPUs
 * (cpuN/topology/thread_siblings_list, core_cpus, cpuN/cache/indexM/shared_cpu_map, …), cut to the
 * set and numbered as it is shown.
 * host_text  the kernel's own text
 * Returns FALSE, with nothing appended, when that is not of the format.
 */
gboolean pv_render_cpu_list_file(const PvSnapshot *snapshot, const char *host_text, GString *out);
gboolean pv_render_cpu_mask_file(const PvSnapshot *snapshot, const char *host_text, GString *out);

/*
 * nodeN/cpulist and nodeN/cpumap.
 * node_cpus  the real ids of the node's CPUs
 * n_bits     of the mask: the host's highest possible CPU id + 1
 */
void pv_render_node_cpulist(const PvSnapshot *snapshot, const PvCpuSet *node_cpus, GString *out);
void pv_render_node_cpumap(const PvSnapshot *snapshot, const PvCpuSet *node_cpus, guint n_bits,
                           GString *out);

/* ---- nodes' memory: MEMORY, HUGETLB ---- */

/* MemTotal of a node's own meminfo in kB, or 0 when it has none. */
guint64 pv_node_meminfo_total_kb(const char *host_node_meminfo);

/*
 * nodeN/meminfo: the container's figures, of which the node has the share that it has of the host's
 * memory.
 * host_node_meminfo  the kernel's own text
 * all_nodes_kb       sum of pv_node_meminfo_total_kb() over all nodes of the host
 */
void pv_render_node_meminfo(const PvSnapshot *snapshot, const char *host_node_meminfo,
                            guint64 all_nodes_kb, GString *out);
