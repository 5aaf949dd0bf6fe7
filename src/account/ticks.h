/*
 * How CPU time is distributed and shown: arithmetic on an account's state, without clock and lock.
 */
#pragma once

#include "state.h"

typedef struct {
    guint n_cpus;
    guint64 tick_nsec;
} PvTickUnits;

/*
 * Take in what was read: the time since the last call is divided into use, steal, iowait and idle.
 * give_to_cpus  TRUE divides it among the CPUs of the set too, and brings their shown ticks up to
 *               date; FALSE leaves it in the pool
 */
void pv_ticks_advance(PvAccountState *state, const PvTickUnits *units, const PvAccountInput *input,
                      gboolean give_to_cpus);

/* The shown ticks of all CPUs that are in the set or ever were. */
void pv_ticks_total(const PvAccountState *state, const PvTickUnits *units, PvCpuTicks *ret_total);

/* The idle time of the same, with what is in the pool, in ticks. */
guint64 pv_ticks_idle(const PvAccountState *state, const PvTickUnits *units);
