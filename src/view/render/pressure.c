/*
 * proc/pressure: the container's own stall times. kernel/sched/psi.c.
 */
#include "render.h"

static void append_line(const char *name, const PvPressureLine *line, GString *out)
{
    static const char *const AVERAGES[] = {"avg10", "avg60", "avg300"};

    g_string_append(out, name);
    for (guint i = 0; i < G_N_ELEMENTS(AVERAGES); i++)
        g_string_append_printf(out, " %s=%u.%02u", AVERAGES[i], line->avg_centi[i] / 100,
                               line->avg_centi[i] % 100);
    g_string_append_printf(out, " total=%" G_GUINT64_FORMAT "\n", line->total_usec);
}

static void render(const PvSnapshot *snapshot, PvPressureKind kind, PvSection section, GString *out)
{
    /* All tasks wait for an interrupt handler, or none. */
    const PvPressure no_data = {.has_some = kind != PV_PRESSURE_IRQ, .has_full = TRUE};
    const PvPressure *pressure = &snapshot->pressure[kind];

    if (!(snapshot->valid & section) || (!pressure->has_some && !pressure->has_full))
        pressure = &no_data;
    if (pressure->has_some)
        append_line("some", &pressure->some, out);
    if (pressure->has_full)
        append_line("full", &pressure->full, out);
}

void pv_render_pressure_cpu(const PvSnapshot *snapshot, GString *out)
{
    render(snapshot, PV_PRESSURE_CPU, PV_SECTION_PRESSURE_CPU, out);
}

void pv_render_pressure_memory(const PvSnapshot *snapshot, GString *out)
{
    render(snapshot, PV_PRESSURE_MEMORY, PV_SECTION_PRESSURE_MEMORY, out);
}

void pv_render_pressure_io(const PvSnapshot *snapshot, GString *out)
{
    render(snapshot, PV_PRESSURE_IO, PV_SECTION_PRESSURE_IO, out);
}

void pv_render_pressure_irq(const PvSnapshot *snapshot, GString *out)
{
    render(snapshot, PV_PRESSURE_IRQ, PV_SECTION_PRESSURE_IRQ, out);
}
