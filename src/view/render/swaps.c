/*
 * proc/swaps: one line that stands for what meminfo calls SwapTotal. mm/swapfile.c, swap_show().
 */
#include "procview/figures.h"
#include "render.h"

/* No file or device of the host is named; and swapon --show, which prints the names, needs one. */
#define NAME "none"
#define TYPE "virtual"

/* The kernel's default priorities are negative, from -2 down. */
#define PRIORITY (-2)

/* Numbers shorter than a tab's width are followed by another tab. */
static const char *pad(guint64 value)
{
    return value < 10000000 ? "\t" : "";
}

void pv_render_swaps(const PvSnapshot *snapshot, GString *out)
{
    PvMemoryFigures figures;
    pv_memory_figures(snapshot, &figures);
    guint64 total_kb = figures.swap_total_bytes / 1024;
    guint64 free_kb = figures.swap_free_bytes / 1024;

    g_string_append(out, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    if (total_kb == 0)
        return;
    guint64 used_kb = total_kb - free_kb;
    g_string_append_printf(out, "%-40s%s\t\t%" G_GUINT64_FORMAT "\t%s%" G_GUINT64_FORMAT "\t%s%d\n",
                           NAME, TYPE, total_kb, pad(total_kb), used_kb, pad(used_kb), PRIORITY);
}
