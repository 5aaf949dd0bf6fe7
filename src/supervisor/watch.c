/*
 * What is wrong with workers: one that hangs, a request that kills them, a program that cannot
 * live.
 */
#include "internal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* Workers in a row that die before they have served anything, and crashes within a minute, that
 * make us serve the kernel's own files; for how long. */
#define BARREN_MAX         8
#define CRASHES_MSEC       60000
#define SAFE_MSEC          60000
#define SAFE_MAX_MSEC      3600000
#define SAFE_QUIET_MSEC    600000 /* after which all is forgotten */
#define PAUSE_MSEC         1000
#define NSEC_PER_MSEC      1000000
#define BARREN_PAUSE_AFTER 3
/* Until a worker is ready, as long as the watchdog waits for a request: at least; without a
 * watchdog. Until one that was ready has begun to serve. */
#define START_WAIT_MSEC     5000
#define START_WAIT_MAX_MSEC 20000
#define GO_WAIT_MSEC        1500

static const char *const END_NAMES[PV_END_KINDS] = {
    [PV_END_KILLED] = "was killed (by somebody, or for want of memory)",
    [PV_END_CRASHED] = "crashed",
    [PV_END_HUNG] = "did not answer any more and was killed",
    [PV_END_EXITED] = "ended by itself",
    [PV_END_REPLACED] = "was replaced",
};

static uint64_t count_served(const PvSharedMemory *memory)
{
    uint64_t sum = 0;

    for (int i = 0; i < PV_SHARED_THREADS; i++)
        sum += __atomic_load_n(&memory->slots[i].n_served, __ATOMIC_RELAXED);
    return sum;
}

void pv_watch_reset(Supervisor *self)
{
    memset(self->slots, 0, sizeof self->slots);
    self->heartbeat = (Watch){.since_msec = pv_now_msec()};
    self->active.served_before = count_served(self->shared.memory);
}

/* For how long a value has been the same. */
static uint64_t age_msec(Watch *watch, uint64_t value, uint64_t now)
{
    if (watch->value != value || watch->since_msec == 0)
        *watch = (Watch){.value = value, .since_msec = now};
    return now - watch->since_msec;
}

/* Readers have been waiting since `since_msec`, not since the worker is dead. */
static void kill_hung(Supervisor *self, const char *what, uint64_t limit, uint64_t since_msec)
{
    if (self->stall_since_nsec == 0)
        self->stall_since_nsec =
            pv_shared_now_nsec() - (pv_now_msec() - since_msec) * NSEC_PER_MSEC;
    say_warning("the worker %s for more than %g seconds: it is killed", what, (double)limit / 1000);
    self->active.was_hung = true;
    pv_worker_signal(&self->active, SIGKILL);
}

/* Starting takes as long as the machine is slow, not as long as somebody wants to wait for a read;
 * also where nobody watches requests. Who was ready has little left to do. */
static void watch_start(Supervisor *self, uint64_t now)
{
    uint64_t limit = (uint64_t)self->options->watchdog_sec * 1000;
    Worker *active = &self->active, *standby = &self->standby;
    uint64_t go_limit;

    if (limit < START_WAIT_MSEC)
        limit = limit == 0 ? START_WAIT_MAX_MSEC : START_WAIT_MSEC;
    go_limit = active->is_ready ? GO_WAIT_MSEC : limit;
    if (active->pid != 0 && active->is_told_to_go && !active->is_serving && !active->was_hung &&
        now - active->since_msec > go_limit)
        kill_hung(self, "has not begun to serve", go_limit, active->since_msec);
    if (standby->pid != 0 && !standby->is_ready && !standby->was_hung &&
        now - standby->since_msec > limit) {
        say_warning("the standby has not got ready: it is killed");
        standby->was_hung = true;
        pv_worker_signal(standby, SIGKILL);
    }
}

void pv_watch(Supervisor *self)
{
    PvSharedMemory *memory = self->shared.memory;
    uint64_t now = pv_now_msec(), limit = (uint64_t)self->options->watchdog_sec * 1000;
    uint64_t beat = __atomic_load_n(&memory->status.heartbeat, __ATOMIC_RELAXED);
    uint64_t hangs_since = 0;

    watch_start(self, now);
    if (limit == 0 || self->active.pid == 0 || !self->active.is_serving || self->active.was_hung ||
        self->active.is_retiring)
        return;
    for (unsigned i = 0; i < pv_shared_count_slots(memory); i++) {
        uint64_t unique = pv_shared_slot_busy_unique(&memory->slots[i]);
        if (unique != 0 && age_msec(&self->slots[i], unique, now) > limit) {
            pv_shared_poison_add(memory, unique);
            if (hangs_since == 0 || self->slots[i].since_msec < hangs_since)
                hangs_since = self->slots[i].since_msec;
        } else if (unique == 0) {
            self->slots[i] = (Watch){0};
        }
    }
    /* It beats each second. */
    if (hangs_since != 0)
        kill_hung(self, "has been busy with one request", limit, hangs_since);
    else if (age_msec(&self->heartbeat, beat, now) > limit + 1500)
        kill_hung(self, "has not moved", limit, self->heartbeat.since_msec);
}

/* ---- ends ---- */

/* What it said itself. UNKNOWN when it was not asked: SIGKILL, or a signal in its first moments. */
static PvCrashKind crash_of(const Supervisor *self, const Worker *worker)
{
    const PvCrash *crash = &self->shared.memory->crash;
    uint32_t kind = __atomic_load_n(&crash->kind, __ATOMIC_ACQUIRE);

    return crash->pid == worker->pid ? (PvCrashKind)kind : PV_CRASH_UNKNOWN;
}

static PvEndKind kind_of(const Supervisor *self, const Worker *worker, int code, int status)
{
    if (worker->was_hung)
        return PV_END_HUNG;
    if (worker->is_retiring)
        return PV_END_REPLACED;
    if (code == CLD_EXITED) /* it ends like that when somebody sends it SIGTERM */
        return status == 0 ? PV_END_KILLED : PV_END_EXITED;
    if (code == 0)
        return crash_of(self, worker) != PV_CRASH_UNKNOWN ? PV_END_CRASHED : PV_END_KILLED;
    return status == SIGKILL || status == SIGTERM ? PV_END_KILLED : PV_END_CRASHED;
}

/* Remember which request it was; when a worker that served could not say, any of them may have
 * been. */
static void blame(Supervisor *self, const Worker *worker, PvCrashKind crash)
{
    PvSharedMemory *memory = self->shared.memory;

    if (crash == PV_CRASH_REQUEST) {
        pv_shared_poison_add(memory, memory->crash.unique);
    } else if (crash == PV_CRASH_UNKNOWN && worker->is_serving) {
        for (unsigned i = 0; i < pv_shared_count_slots(memory); i++) {
            uint64_t unique = pv_shared_slot_busy_unique(&memory->slots[i]);
            if (unique != 0)
                pv_shared_poison_add(memory, unique);
        }
    }
}

static bool crashes_often(Supervisor *self, uint64_t now)
{
    uint64_t *oldest = &self->crash_msec[self->n_crashes++ % CRASHES_REMEMBERED];
    bool often = *oldest != 0 && now - *oldest < CRASHES_MSEC;

    *oldest = now;
    return often;
}

uint64_t pv_watch_safe_msec(uint64_t last_msec, uint64_t quiet_msec)
{
    if (last_msec == 0 || (quiet_msec >= SAFE_QUIET_MSEC && quiet_msec >= last_msec))
        return SAFE_MSEC;
    return last_msec < SAFE_MAX_MSEC / 2 ? last_msec * 2 : SAFE_MAX_MSEC;
}

static void become_safe(Supervisor *self, const char *why, uint64_t now)
{
    PvStatus *status = &self->shared.memory->status;

    snprintf(status->cause, sizeof status->cause, "%s", why);
    status->is_safe = 1;
    self->is_safe = true;
    self->safe_msec = pv_watch_safe_msec(self->safe_msec, now - self->safe_until_msec);
    self->safe_until_msec = now + self->safe_msec;
    self->n_barren = 0;
    memset(self->crash_msec, 0, sizeof self->crash_msec);
    say_error("%s: the kernel's own files are served for the next %u seconds", why,
              (unsigned)(self->safe_msec / 1000));
    /* It is of the kind that dies; a new program may be the cure. */
    if (!self->standby.is_new_program)
        pv_worker_drop(&self->standby);
}

void pv_watch_describe(const Worker *worker, PvEndKind kind, int code, int status)
{
    char how[64] = "";

    if (kind == PV_END_REPLACED)
        return;
    if (kind == PV_END_CRASHED && code != 0)
        snprintf(how, sizeof how, " (signal %d, %s)", status, strsignal(status));
    else if (kind == PV_END_EXITED)
        snprintf(how, sizeof how, " (exit status %d)", status);
    say_warning("worker %d %s%s; another one goes on", (int)worker->pid, END_NAMES[kind], how);
}

bool pv_watch_is_outside(const Supervisor *self, const Worker *worker, PvEndKind kind)
{
    return kind == PV_END_KILLED || kind == PV_END_REPLACED ||
           (kind == PV_END_CRASHED && crash_of(self, worker) == PV_CRASH_OUTSIDE);
}

PvEndKind pv_watch_end(Supervisor *self, const Worker *worker, int code, int status)
{
    PvSharedMemory *memory = self->shared.memory;
    PvEndKind kind = kind_of(self, worker, code, status);
    PvCrashKind crash = crash_of(self, worker);
    bool is_own_fault = kind == PV_END_EXITED ||
                        (kind == PV_END_CRASHED && crash != PV_CRASH_OUTSIDE) ||
                        (kind == PV_END_KILLED && !worker->is_serving) ||
                        (kind == PV_END_HUNG && !worker->is_serving);
    bool is_barren = is_own_fault && count_served(memory) == worker->served_before;
    uint64_t now = pv_now_msec();

    memory->status.ends[kind]++;
    if (kind == PV_END_REPLACED)
        return kind;
    if (kind == PV_END_CRASHED)
        blame(self, worker, crash);
    self->n_barren = is_barren ? self->n_barren + 1 : 0;
    if (self->is_safe) {
        if (self->n_barren > BARREN_PAUSE_AFTER)
            self->start_at_msec = now + PAUSE_MSEC;
        return kind;
    }
    /* Readers have waited long enough. One that was ready before is somebody's doing. */
    if (kind == PV_END_HUNG && !worker->is_serving && !worker->is_ready)
        become_safe(self, "a worker hangs before it serves anything", now);
    else if (self->n_barren >= BARREN_MAX)
        become_safe(self, "workers die before they serve anything", now);
    else if (is_own_fault && crashes_often(self, now))
        become_safe(self, "workers crash too often", now);
    return kind;
}
