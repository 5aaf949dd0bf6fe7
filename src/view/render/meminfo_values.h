/*
 * The value of each line of meminfo, by its exact key: shared by proc/meminfo and the nodes' own.
 */
#pragma once

#include "procview/figures.h"
#include "text.h"

typedef struct {
    const PvSnapshot *snapshot;
    PvMemoryFigures figures;
    guint64 huge_page_kb; /* the host's Hugepagesize; 0 when it has none */
    guint64 huge_pages;   /* HugePages_Total */
} PvMeminfoValues;

/* Work out what the lines need. */
void pv_meminfo_values_init(const PvSnapshot *snapshot, PvMeminfoValues *ret_values);

/*
 * The value for a line, in the unit in which it is printed (kB or pages).
 * A line that is not known, or that the kernel does not account per container, is 0; one that
 * describes the machine keeps the host's value.
 */
guint64 pv_meminfo_value(const PvMeminfoValues *values, const PvMeminfoLine *line);
