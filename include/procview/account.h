/*
 * What must be remembered of a container between reads: the CPU ticks that proc/stat has already
 * shown, and the load averages.
 *
 * The invariants of proc/stat are kept here, and only here:
 *  - each CPU's ticks add up to the container's uptime, in ticks, exactly;
 *  - no column of any line ever decreases: what was shown is remembered, in ticks, and later figures only add to it.
 * A CPU outside the shown set goes on in the background, all idle, so that its line is right when it
 * appears; use on it is folded into CPUs of the set that have room.
 * With a state file, the ticks shown and the averages outlive the daemon: the struct is the file, mapped shared.
 */
#pragma once

#include "procview/cgroup.h"
#include "procview/cpuset.h"

#include <glib.h>

typedef struct PvAccount PvAccount;

/*
 * n_cpus          the host's possible CPUs (their highest id + 1)
 * ticks_per_sec   USER_HZ
 * state_dirfd     directory of state files, -1 for none
 * state_name      file name there; made when missing, ignored (and made anew) when it does not fit
 * writable        FALSE reads a state file if there is one, and changes nothing (procview show)
 */
PvAccount *pv_account_new(guint n_cpus, guint ticks_per_sec, int state_dirfd,
                          const char *state_name, gboolean writable);
PvAccount *pv_account_ref(PvAccount *account);
void pv_account_unref(PvAccount *account); /* leaves the state file */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvAccount, pv_account_unref)

typedef struct {
    guint64 user, nice, system, idle, iowait, steal;
} PvCpuTicks;

/* What was just read for a container. */
typedef struct {
    guint64 uptime_nsec;     /* of the container, see pv_container_uptime_nsec() */
    const PvCpuUsage *usage;
    guint64 iowait_nsec;     /* total of the cgroup's io pressure ("some"); 0 where there is none */
    const PvCpuSet *cpus;    /* the set that is shown */
} PvAccountInput;

/*
 * Bring the ticks up to date. The first call for a container distributes the totals since its start; later
 * ones distribute what was added since the call before. Locks the account; no I/O.
 */
void pv_account_update(PvAccount *account, const PvAccountInput *input);

/*
 * The ticks to show.
 * cpus       the shown set: per_cpu[i] is that of its i-th member
 * per_cpu    room for pv_cpu_set_count(cpus)
 * ret_total  the sum of per_cpu, plus what CPUs that have left the set since had shown (as the kernel's cpu
 *            line keeps the time of CPUs taken offline): it never decreases
 */
void pv_account_get(PvAccount *account, const PvCpuSet *cpus, PvCpuTicks *per_cpu,
                    PvCpuTicks *ret_total);

/* ---- threads: load, and on v2 the split over CPUs ---- */

typedef struct {
    guint running;       /* state R */
    guint uninterruptible; /* state D */
    guint total;         /* threads */
    pid_t last_pid;      /* newest, as the container's own pid namespace numbers it */
} PvTaskCounts;

/* Load averages in the kernel's fixed point (FIXED_1 = 2048), kernel/sched/loadavg.c. */
typedef struct {
    guint64 average[3];  /* 1, 5, 15 minutes */
    PvTaskCounts tasks;
} PvLoad;

void pv_account_get_load(PvAccount *account, PvLoad *ret_load);

/* One sample of the threads of a container. */
typedef struct {
    PvTaskCounts tasks;
    guint n_cpus;
    const guint64 *cpu_ticks; /* [n_cpus]: ticks that its threads used on each CPU since the last sample */
} PvTaskSample;

/*
 * Take in a sample.
 * now_nsec     CLOCK_MONOTONIC; the averages advance by as many 5 s steps as have gone by
 * uptime_nsec  of the container; seeds the averages at the first sample: as if the present number had
 *              been active since the container started
 */
void pv_account_add_sample(PvAccount *account, const PvTaskSample *sample, guint64 now_nsec,
                           guint64 uptime_nsec);
