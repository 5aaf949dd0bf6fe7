/*
 * What must be remembered of a container between reads: the CPU time that proc/stat has already
 * shown, and the load averages.
 *
 * The invariants of proc/stat are kept here, and only here:
 *  - each CPU's ticks add up to the container's uptime, in ticks, exactly;
 *  - no column of any line ever decreases: what was shown is remembered, and later figures only add
 *    to it.
 * A CPU outside the shown set goes on in the background, all idle, so that its line is right when
 * it appears; use on it is folded into CPUs of the set that have room.
 * With a state file, what was shown and the averages outlive the daemon: the struct is the file,
 * mapped shared, and a daemon killed at any moment leaves it whole.
 */
#pragma once

#include "procview/cgroup.h"
#include "procview/cpuset.h"

#include <glib.h>

typedef struct PvAccount PvAccount;

/*
 * n_cpus          the host's possible CPUs (their highest id + 1), at most PV_CPU_MAX
 * ticks_per_sec   USER_HZ
 * state_dirfd     directory of state files, -1 for none; needed only during the call
 * state_name      file name there; made when missing, ignored (and made anew) when it does not fit
 * writable        FALSE reads a state file if there is one, and changes nothing (procview show)
 * Never fails: without a state file that can be used, the account lives in memory only.
 */
PvAccount *pv_account_new(guint n_cpus, guint ticks_per_sec, int state_dirfd,
                          const char *state_name, gboolean writable);
PvAccount *pv_account_ref(PvAccount *account);
void pv_account_unref(PvAccount *account); /* leaves the state file */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvAccount, pv_account_unref)

typedef struct {
    guint64 user, nice, system, idle, iowait, steal;
} PvCpuTicks;

/* What was just read for a container. The clock is to be read before the figures: use that was
 * counted after it waits for its time to come, where time without its use would be shown as idle.
 */
typedef struct {
    guint64 uptime_nsec; /* of the container, see pv_container_uptime_nsec() */
    const PvCpuUsage *usage;
    gboolean has_waits;   /* FALSE: throttled and iowait time were not looked at; the next time
                             makes up for it */
    guint64 iowait_nsec;  /* total of the cgroup's io pressure ("some"); 0 where there is none */
    const PvCpuSet *cpus; /* the set that is shown */
} PvAccountInput;

/*
 * Bring the ticks up to date, and get them. The first call for a container distributes the totals
 * since its start (use that does not fit into its uptime is older than the container and left out);
 * later ones distribute what was added since the call before. Locks the account; no I/O.
 * per_cpu    room for pv_cpu_set_count(input->cpus): per_cpu[i] is that of the set's i-th member
 * ret_total  the sum of per_cpu, plus what CPUs that have left the set since had shown (as the
 *            kernel's cpu line keeps the time of CPUs taken offline): no column ever decreases
 */
void pv_account_update(PvAccount *account, const PvAccountInput *input, PvCpuTicks *per_cpu,
                       PvCpuTicks *ret_total);

/*
 * The same for one who shows only the idle time of all CPUs (proc/uptime): usage needs no per-CPU
 * figures, and the set may be left out.
 * input  cpus may be NULL: the set of the last call that gave one
 * Returns idle ticks, the total of those CPUs that pv_account_update() adds up: it never decreases,
 * and agrees with what that function returned or is going to return for the same moment, but for
 * the rounding of each CPU to whole ticks. How the time falls upon the CPUs is left to the next
 * pv_account_update().
 */
guint64 pv_account_update_idle(PvAccount *account, const PvAccountInput *input);

/* TRUE when a set was given within max_age_nsec before uptime_nsec: it needs not be read again. */
gboolean pv_account_cpus_known(PvAccount *account, guint64 uptime_nsec, guint64 max_age_nsec);

/* ---- threads: load, and on v2 the split over CPUs ---- */

typedef struct {
    guint running;         /* state R */
    guint uninterruptible; /* state D */
    guint total;           /* threads */
    pid_t last_pid;        /* newest, as the container's own pid namespace numbers it; 0: unknown */
} PvTaskCounts;

/* Load averages in the kernel's fixed point (FIXED_1 = 2048), kernel/sched/loadavg.c. */
typedef struct {
    guint64 average[3]; /* 1, 5, 15 minutes */
    PvTaskCounts tasks;
    guint64 n_forks; /* threads made so far, as far as known: never decreases */
} PvLoad;

/* FALSE, and ret_load is all zero, when there has been no sample yet. */
gboolean pv_account_get_load(PvAccount *account, PvLoad *ret_load);

/* One sample of the threads of a container. */
typedef struct {
    PvTaskCounts tasks;
    guint64 newest_start_ticks; /* of the thread that last_pid is of; USER_HZ since boot */
    gboolean has_own_pids; /* pids count the container's own forks: it does not share the host's pid
                              namespace */
    guint n_cpus;          /* entries of cpu_ticks; 0 when nobody needs them */
    const guint64 *cpu_ticks; /* ticks that its threads used on each CPU since the last sample */
} PvTaskSample;

/*
 * Take in a sample.
 * now_nsec     CLOCK_MONOTONIC; the averages advance by as many 5 s steps as have gone by
 * uptime_nsec  of the container; seeds the averages at the first sample: as if the present number
 *              had been active since the container started
 */
void pv_account_add_sample(PvAccount *account, const PvTaskSample *sample, guint64 now_nsec,
                           guint64 uptime_nsec);

/* TRUE when a sample was taken within max_age_nsec before now_nsec (CLOCK_MONOTONIC). */
gboolean pv_account_sampled_within(PvAccount *account, guint64 now_nsec, guint64 max_age_nsec);

/* How many CPUs the samples should tell of: 0 when the cgroup itself does (v1). */
guint pv_account_sample_cpus(PvAccount *account);

/*
 * A place for what the sampler remembers of the container's threads, and the lock that lets one
 * thread at a time take a sample. Freed with the account.
 * wait       FALSE returns NULL when another thread has it
 * free_func  frees what is in the place
 * Returns the place; give it back with pv_account_sampler_unlock().
 */
gpointer *pv_account_sampler_lock(PvAccount *account, gboolean wait, GDestroyNotify free_func);
void pv_account_sampler_unlock(PvAccount *account);
