/*
 * Sets of CPUs by their real ids, in the kernel's list ("0-3,8") and mask ("ff,ffffffff")
 * formats (Documentation/admin-guide/cputopology.rst).
 */
#pragma once

#include <glib.h>

/* The largest NR_CPUS that a Linux configuration allows. */
#define PV_CPU_MAX 8192

typedef struct {
    guint64 bits[PV_CPU_MAX / 64];
} PvCpuSet;

void pv_cpu_set_clear(PvCpuSet *set);
void pv_cpu_set_add(PvCpuSet *set, guint cpu);
void pv_cpu_set_remove(PvCpuSet *set, guint cpu);
gboolean pv_cpu_set_has(const PvCpuSet *set, guint cpu);
guint pv_cpu_set_count(const PvCpuSet *set);
gboolean pv_cpu_set_equal(const PvCpuSet *a, const PvCpuSet *b);

/* The first member at or above `from`, or -1. */
int pv_cpu_set_next(const PvCpuSet *set, guint from);

#define PV_CPU_SET_FOREACH(cpu, set)                                                               \
    for (int cpu = pv_cpu_set_next((set), 0); cpu >= 0; cpu = pv_cpu_set_next((set), cpu + 1))

/* set &= other */
void pv_cpu_set_intersect(PvCpuSet *set, const PvCpuSet *other);

/* Keep the n lowest members. */
void pv_cpu_set_keep_first(PvCpuSet *set, guint n);

/*
 * The member's position in the set, counted from 0 (the id that it has when ids are dense), or -1.
 */
int pv_cpu_set_rank(const PvCpuSet *set, guint cpu);

/* The member at a position, or -1. */
int pv_cpu_set_nth(const PvCpuSet *set, guint rank);

/*
 * Parse the list format; white space at the end is allowed, the empty list is a valid, empty set.
 * Returns FALSE, and leaves ret_set alone, for anything malformed or an id of PV_CPU_MAX or more.
 */
gboolean pv_cpu_set_parse_list(const char *text, PvCpuSet *ret_set);

/* Parse the mask format; same rules. */
gboolean pv_cpu_set_parse_mask(const char *text, PvCpuSet *ret_set);

/* Append the list format, without a newline; nothing for the empty set. */
void pv_cpu_set_format_list(const PvCpuSet *set, GString *out);

/* Append the mask format of n_bits bits (words of 8 hex digits, highest first; the kernel prints
 * nr_cpu_ids bits, the first word with as many digits as are needed for them). No newline. */
void pv_cpu_set_format_mask(const PvCpuSet *set, guint n_bits, GString *out);
