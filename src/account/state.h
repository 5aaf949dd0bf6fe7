/*
 * The memory of an account: numbers only, of a fixed layout, so that it can be a file.
 *
 * There are two copies. A change is made in the copy that is not current and takes effect with one
 * store, so that whoever is killed at any moment leaves one whole copy. A reader of the file that
 * finds the same number of changes before and after reading has read a whole copy too.
 */
#pragma once

#include "procview/account.h"

/* What a CPU's time is given to. Use is divided into user, nice and system when it is shown. */
typedef enum {
    PV_SHARE_USE,
    PV_SHARE_STEAL,
    PV_SHARE_IOWAIT,
    PV_SHARE_IDLE,
    PV_SHARE_COUNT
} PvShare;

typedef struct {
    guint64 nsec[PV_SHARE_COUNT]; /* adds up to the uptime at which the CPU was settled last */
    guint64 own_nsec;    /* the part of nsec[USE] that was used on this very CPU, not folded in */
    guint64 source_nsec; /* of the use that the kernel counted on this CPU: what was given to some
                            CPU already */
    guint64 seen_ticks;  /* by samples since the last settlement */
    guint64 weight;      /* this CPU's part in the use, by the newest knowledge; any unit */
    PvCpuTicks ticks;    /* shown */
} PvCpuState;

typedef struct {
    /* Time. uptime_nsec is a multiple of a tick, and all that the CPUs of the set and the pool have
     * been given adds up to it. */
    guint64 uptime_nsec;
    guint64 cpus_uptime_nsec; /* when the set was given */
    PvCpuSet cpus;            /* the set that is shown */
    guint32 is_started;       /* an update has been */
    guint32 has_cpu_usage;    /* the kernel counts use for each CPU (v1) */
    guint32 throttled_level;  /* whose counter throttled_nsec is of */
    guint32 reserved;

    /* The kernel's counters as of the last update. */
    guint64 total_nsec, throttled_nsec, iowait_nsec;

    guint64 late_use_nsec;   /* counted, but its time has not come yet */
    guint64 late_steal_nsec; /* the same; bounded */

    guint64 late_iowait_nsec;

    /* Idle time that was given while steal and iowait were not looked at, as far as it is not known
     * to be right: so much of them may come late, and later idle time makes up for it. */
    guint64 unchecked_idle_nsec;

    guint64 pool_nsec[PV_SHARE_COUNT]; /* of the set's time, what is not yet given to a CPU */

    /* Load. */
    guint64 average[3];
    guint64 load_nsec;   /* CLOCK_MONOTONIC of the last step */
    guint64 sample_nsec; /* and of the last sample; 0 before the first */
    guint32 running, uninterruptible, total;
    gint32 last_pid;
    guint64 newest_start_ticks; /* of the thread with that pid */
    guint64 n_forks;

    PvCpuState cpu[];
} PvAccountState;

typedef struct {
    struct PvStateHeader *header;
    gsize size;         /* of all, in bytes */
    gboolean is_mapped; /* else from the heap */
    gboolean is_old;    /* came from a file that was there */
} PvStateMemory;

/* Parameters as for pv_account_new(). Never fails. */
void pv_state_open(PvStateMemory *memory, guint n_cpus, guint ticks_per_sec, int dirfd,
                   const char *name, gboolean writable);
void pv_state_close(PvStateMemory *memory);

/* The current copy. */
const PvAccountState *pv_state_current(const PvStateMemory *memory);

/* Begin a change: the other copy, made equal to the current one. Takes effect with
 * pv_state_commit(); one who does not call that has changed nothing. */
PvAccountState *pv_state_begin(PvStateMemory *memory);
void pv_state_commit(PvStateMemory *memory);
