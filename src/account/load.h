/*
 * Exponential averages in the kernel's fixed point. kernel/sched/loadavg.c.
 */
#pragma once

#include <glib.h>

#define PV_LOAD_SHIFT     11
#define PV_LOAD_ONE       (G_GUINT64_CONSTANT(1) << PV_LOAD_SHIFT)
#define PV_LOAD_STEP_NSEC (5 * G_GUINT64_CONSTANT(1000000000))

/*
 * Advance the averages over 1, 5 and 15 minutes.
 * n_active  threads that run or wait uninterruptibly, all through these steps
 * n_steps   of 5 s
 */
void pv_load_advance(guint64 average[3], guint64 n_active, guint64 n_steps);
