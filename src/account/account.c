/*
 * The account: one lock around the state of a container, and nothing slow under it.
 */
#include "procview/account.h"

#include "load.h"
#include "state.h"
#include "ticks.h"

#include <pthread.h>
#include <string.h>

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

/* An uptime that is lower than the one remembered by more than this is another container's. */
#define UPTIME_SLACK_NSEC NSEC_PER_SEC

struct PvAccount {
    gint ref_count; /* atomic */
    guint n_cpus;
    guint ticks_per_sec;

    pthread_mutex_t lock;
    PvStateMemory memory; /* protected by lock */
    gboolean is_checked;  /* protected by lock: the state is known to be this container's */

    pthread_mutex_t sampler_lock;
    gpointer sampler_place; /* protected by sampler_lock, as the next */
    GDestroyNotify sampler_free;
};

PvAccount *pv_account_new(guint n_cpus, guint ticks_per_sec, int state_dirfd,
                          const char *state_name, gboolean writable)
{
    PvAccount *account = g_new0(PvAccount, 1);

    account->ref_count = 1;
    account->n_cpus = CLAMP(n_cpus, 1, PV_CPU_MAX);
    account->ticks_per_sec = CLAMP(ticks_per_sec, 1, 1000000);
    pthread_mutex_init(&account->lock, NULL);
    pthread_mutex_init(&account->sampler_lock, NULL);
    pv_state_open(&account->memory, account->n_cpus, account->ticks_per_sec, state_dirfd,
                  state_name, writable);
    account->is_checked = !account->memory.is_old;
    return account;
}

PvAccount *pv_account_ref(PvAccount *account)
{
    g_atomic_int_inc(&account->ref_count);
    return account;
}

void pv_account_unref(PvAccount *account)
{
    if (account == NULL || !g_atomic_int_dec_and_test(&account->ref_count))
        return;
    if (account->sampler_place != NULL)
        account->sampler_free(account->sampler_place);
    pv_state_close(&account->memory);
    pthread_mutex_destroy(&account->lock);
    pthread_mutex_destroy(&account->sampler_lock);
    g_free(account);
}

/* ---- CPU time ---- */

static PvTickUnits account_units(const PvAccount *account)
{
    return (PvTickUnits){account->n_cpus, NSEC_PER_SEC / account->ticks_per_sec};
}

/* A state file may fit in all and still be of a container that had the same name before. */
static void check_uptime(PvAccount *account, PvAccountState *state, guint64 uptime_nsec)
{
    if (!account->is_checked && state->uptime_nsec > pv_sat_add(uptime_nsec, UPTIME_SLACK_NSEC))
        memset(state, 0, sizeof *state + account->n_cpus * sizeof state->cpu[0]);
    account->is_checked = TRUE;
}

/* One change of the state; called with the lock. */
static const PvAccountState *advance(PvAccount *account, const PvAccountInput *input,
                                     gboolean give_to_cpus)
{
    PvTickUnits units = account_units(account);
    PvAccountState *state = pv_state_begin(&account->memory);

    check_uptime(account, state, input->uptime_nsec);
    pv_ticks_advance(state, &units, input, give_to_cpus);
    pv_state_commit(&account->memory);
    return state;
}

void pv_account_update(PvAccount *account, const PvAccountInput *input, PvCpuTicks *per_cpu,
                       PvCpuTicks *ret_total)
{
    PvTickUnits units = account_units(account);
    guint i = 0;

    pthread_mutex_lock(&account->lock);
    const PvAccountState *state = advance(account, input, TRUE);
    PV_CPU_SET_FOREACH (cpu, input->cpus)
        per_cpu[i++] = (guint)cpu < account->n_cpus ? state->cpu[cpu].ticks : (PvCpuTicks){0};
    pv_ticks_total(state, &units, ret_total);
    pthread_mutex_unlock(&account->lock);
}

guint64 pv_account_update_idle(PvAccount *account, const PvAccountInput *input)
{
    PvTickUnits units = account_units(account);

    pthread_mutex_lock(&account->lock);
    guint64 idle = pv_ticks_idle(advance(account, input, FALSE), &units);
    pthread_mutex_unlock(&account->lock);
    return idle;
}

gboolean pv_account_cpus_known(PvAccount *account, guint64 uptime_nsec, guint64 max_age_nsec)
{
    pthread_mutex_lock(&account->lock);
    const PvAccountState *state = pv_state_current(&account->memory);
    gboolean known = account->is_checked && state->is_started &&
                     pv_sat_sub(uptime_nsec, state->cpus_uptime_nsec) <= max_age_nsec;
    pthread_mutex_unlock(&account->lock);
    return known;
}

/* ---- load ---- */

gboolean pv_account_get_load(PvAccount *account, PvLoad *ret_load)
{
    *ret_load = (PvLoad){0};
    pthread_mutex_lock(&account->lock);
    const PvAccountState *state = pv_state_current(&account->memory);
    gboolean sampled = state->sample_nsec > 0;
    if (sampled) {
        memcpy(ret_load->average, state->average, sizeof ret_load->average);
        ret_load->tasks = (PvTaskCounts){
            .running = state->running,
            .uninterruptible = state->uninterruptible,
            .total = state->total,
            .last_pid = state->last_pid,
        };
        ret_load->n_forks = state->n_forks;
    }
    pthread_mutex_unlock(&account->lock);
    return sampled;
}

static void advance_load(PvAccountState *state, guint64 n_active, guint64 now_nsec,
                         guint64 uptime_nsec)
{
    guint64 n_steps;

    /* Without an earlier sample, or with one of another boot of the machine: from the start. */
    if (state->sample_nsec == 0 || state->sample_nsec > now_nsec) {
        memset(state->average, 0, sizeof state->average);
        n_steps = uptime_nsec / PV_LOAD_STEP_NSEC;
        state->load_nsec = now_nsec;
    } else {
        n_steps = pv_sat_sub(now_nsec, state->load_nsec) / PV_LOAD_STEP_NSEC;
        state->load_nsec += n_steps * PV_LOAD_STEP_NSEC;
    }
    pv_load_advance(state->average, n_active, n_steps);
}

/*
 * Pids go up one by one until they begin anew, so each newer thread's says how many were made since
 * the one before. One that is older than the last one known (which has ended, and this daemon has
 * not seen it) says nothing.
 */
static void note_newest(PvAccountState *state, const PvTaskSample *sample)
{
    gint32 pid = sample->tasks.last_pid;
    gboolean is_newer =
        sample->newest_start_ticks > state->newest_start_ticks ||
        (sample->newest_start_ticks == state->newest_start_ticks && pid > state->last_pid);

    if (pid > 0 && is_newer) {
        guint64 n_new = (guint64)(pid > state->last_pid ? pid - state->last_pid : pid);
        if (sample->has_own_pids)
            state->n_forks = pv_sat_add(state->n_forks, n_new);
        state->newest_start_ticks = sample->newest_start_ticks;
        state->last_pid = pid;
    }
    state->n_forks = MAX(state->n_forks, sample->tasks.total);
}

void pv_account_add_sample(PvAccount *account, const PvTaskSample *sample, guint64 now_nsec,
                           guint64 uptime_nsec)
{
    const PvTaskCounts *tasks = &sample->tasks;

    pthread_mutex_lock(&account->lock);
    PvAccountState *state = pv_state_begin(&account->memory);
    check_uptime(account, state, uptime_nsec);
    advance_load(state, (guint64)tasks->running + tasks->uninterruptible, now_nsec, uptime_nsec);
    state->sample_nsec = MAX(now_nsec, 1);
    state->running = tasks->running;
    state->uninterruptible = tasks->uninterruptible;
    state->total = tasks->total;
    note_newest(state, sample);
    for (guint i = 0; i < MIN(sample->n_cpus, account->n_cpus); i++)
        state->cpu[i].seen_ticks = pv_sat_add(state->cpu[i].seen_ticks, sample->cpu_ticks[i]);
    pv_state_commit(&account->memory);
    pthread_mutex_unlock(&account->lock);
}

gboolean pv_account_sampled_within(PvAccount *account, guint64 now_nsec, guint64 max_age_nsec)
{
    pthread_mutex_lock(&account->lock);
    const PvAccountState *state = pv_state_current(&account->memory);
    gboolean sampled = account->is_checked && state->sample_nsec > 0 &&
                       state->sample_nsec <= pv_sat_add(now_nsec, max_age_nsec) &&
                       pv_sat_sub(now_nsec, state->sample_nsec) <= max_age_nsec;
    pthread_mutex_unlock(&account->lock);
    return sampled;
}

guint pv_account_sample_cpus(PvAccount *account)
{
    pthread_mutex_lock(&account->lock);
    gboolean has_cpu_usage = pv_state_current(&account->memory)->has_cpu_usage != 0;
    pthread_mutex_unlock(&account->lock);
    return has_cpu_usage ? 0 : account->n_cpus;
}

gpointer *pv_account_sampler_lock(PvAccount *account, gboolean wait, GDestroyNotify free_func)
{
    if (wait)
        pthread_mutex_lock(&account->sampler_lock);
    else if (pthread_mutex_trylock(&account->sampler_lock) != 0)
        return NULL;
    account->sampler_free = free_func;
    return &account->sampler_place;
}

void pv_account_sampler_unlock(PvAccount *account)
{
    pthread_mutex_unlock(&account->sampler_lock);
}
