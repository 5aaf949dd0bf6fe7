/*
 * One look at the threads of one container: their states for the load, the CPUs that they ran on,
 * and which one is the newest. The container chooses how many there are, so everything is bounded.
 */
#include "sample.h"

#include "procview/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Threads looked at; beyond that the counts are an extrapolation. */
#define THREADS_MAX 4096

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

/* A thread as the last sample saw it. start_ticks tells it from one that got its number later. */
typedef struct {
    pid_t tid;
    guint64 start_ticks;
    guint64 used_ticks;
} ThreadRecord;

/* What is remembered between samples: lives with the container's account. */
typedef struct {
    GArray *threads; /* of ThreadRecord, by tid; empty when CPUs are not asked for */
    guint depth;     /* of the container's pid namespace, ours being 1; 0: not known yet */
    pid_t newest_tid;
    guint64 newest_start_ticks;
    pid_t last_pid; /* of the newest, as the container numbers it */
} Memory;

/* A sample while it is taken. */
typedef struct {
    PvTaskCounts counts;
    guint n_cpus; /* 0 when CPUs are not asked for */
    guint64 *cpu_ticks;
    GArray *threads; /* of ThreadRecord, as they come */
    pid_t newest_tid;
    guint64 newest_start_ticks;
} Look;

static void memory_free(gpointer data)
{
    Memory *memory = data;
    g_array_unref(memory->threads);
    g_free(memory);
}

static Memory *memory_new(void)
{
    Memory *memory = g_new0(Memory, 1);
    memory->threads = g_array_new(FALSE, FALSE, sizeof(ThreadRecord));
    return memory;
}

/* ---- the newest pid ---- */

/* A thread's number in the pid namespace of a depth (1: ours), or how deep it is itself for 0. */
static pid_t read_nspid(PvHost *host, pid_t tid, guint depth)
{
    PvTaskPids pids;
    char path[32];

    g_snprintf(path, sizeof path, "%d/status", (int)tid);
    if (!pv_task_pids_read(pv_host_procfs(host), path, &pids) || pids.levels < depth)
        return 0;
    return depth == 0 ? (pid_t)pids.levels : pids.pids[depth - 1];
}

/* The newest thread stays the newest when it has ended: pids go up. */
static void update_last_pid(PvHost *host, const PvContainer *container, const Look *look,
                            Memory *memory)
{
    if (look->newest_tid == 0 || look->newest_start_ticks < memory->newest_start_ticks ||
        (look->newest_tid == memory->newest_tid &&
         look->newest_start_ticks == memory->newest_start_ticks))
        return;
    if (memory->depth == 0)
        memory->depth =
            container->is_host_pidns ? 1 : (guint)read_nspid(host, container->init_pid, 0);
    pid_t pid = memory->depth > 0 ? read_nspid(host, look->newest_tid, memory->depth) : 0;
    if (pid == 0)
        return;
    memory->last_pid = pid;
    memory->newest_tid = look->newest_tid;
    memory->newest_start_ticks = look->newest_start_ticks;
}

/* ---- threads ---- */

static gboolean collect_tid(pid_t tid, gpointer data)
{
    g_array_append_val((GArray *)data, tid);
    return TRUE;
}

static int compare_records(gconstpointer a, gconstpointer b)
{
    const ThreadRecord *left = a, *right = b;
    return (left->tid > right->tid) - (left->tid < right->tid);
}

/* Ticks that a thread has used since the last sample; all of them when it is a new one. */
static guint64 ticks_since(const Memory *memory, const ThreadRecord *now)
{
    if (memory->threads->len == 0)
        return now->used_ticks;
    const ThreadRecord *then = bsearch(now, memory->threads->data, memory->threads->len,
                                       sizeof(ThreadRecord), compare_records);
    if (then == NULL || then->start_ticks != now->start_ticks)
        return now->used_ticks;
    return pv_sat_sub(now->used_ticks, then->used_ticks);
}

static void look_at(const Memory *memory, pid_t tid, const PvTaskStat *stat, Look *look)
{
    look->counts.running += stat->state == 'R';
    look->counts.uninterruptible += stat->state == 'D';
    if (stat->start_ticks > look->newest_start_ticks ||
        (stat->start_ticks == look->newest_start_ticks && tid > look->newest_tid)) {
        look->newest_start_ticks = stat->start_ticks;
        look->newest_tid = tid;
    }
    if (look->n_cpus == 0)
        return;
    ThreadRecord record = {
        .tid = tid,
        .start_ticks = stat->start_ticks,
        .used_ticks = pv_sat_add(stat->user_ticks, stat->system_ticks),
    };
    if (stat->processor >= 0 && (guint)stat->processor < look->n_cpus)
        look->cpu_ticks[stat->processor] += ticks_since(memory, &record);
    g_array_append_val(look->threads, record);
}

/* Those that were not looked at are taken to be like the others. */
static void extrapolate(PvCgroup *cgroup, PvTaskCounts *counts)
{
    PvPids pids;
    guint seen = counts->total;

    if (seen == 0 || pv_cgroup_read_pids(cgroup, &pids) < 0 || pids.current <= seen)
        return;
    guint64 total = MIN(pids.current, G_MAXINT);
    counts->running = (guint)(counts->running * total / seen);
    counts->uninterruptible = (guint)(counts->uninterruptible * total / seen);
    counts->total = (guint)total;
}

static int look_at_all(PvHost *host, PvCgroup *cgroup, const Memory *memory, Look *look)
{
    g_autoptr(GArray) tids = g_array_new(FALSE, FALSE, sizeof(pid_t));

    int result = pv_cgroup_foreach_thread(cgroup, THREADS_MAX, collect_tid, tids);
    if (result < 0 && result != -E2BIG)
        return result;
    for (guint i = 0; i < tids->len; i++) {
        pid_t tid = g_array_index(tids, pid_t, i);
        PvTaskStat stat;
        /* 0: a thread that our pid namespace does not have a number for. */
        if (tid > 0 && pv_host_read_task_stat(host, tid, &stat) < 0)
            continue;
        look->counts.total++;
        if (tid > 0)
            look_at(memory, tid, &stat, look);
    }
    if (result == -E2BIG)
        extrapolate(cgroup, &look->counts);
    return 0;
}

/* ---- all together ---- */

static int take_sample(PvHost *host, PvContainer *container, Memory *memory)
{
    g_autoptr(GArray) threads = g_array_new(FALSE, FALSE, sizeof(ThreadRecord));
    guint n_cpus = pv_account_sample_cpus(container->account);
    g_autofree guint64 *cpu_ticks = g_new0(guint64, n_cpus);
    Look look = {.n_cpus = n_cpus, .cpu_ticks = cpu_ticks, .threads = threads};

    int result = look_at_all(host, container->cgroup, memory, &look);
    if (result < 0)
        return result;
    update_last_pid(host, container, &look, memory);
    look.counts.last_pid = memory->last_pid;

    g_array_sort(threads, compare_records);
    g_array_unref(memory->threads);
    memory->threads = g_steal_pointer(&threads);

    const PvTaskSample sample = {
        .tasks = look.counts,
        .newest_start_ticks = memory->newest_start_ticks,
        .has_own_pids = !container->is_host_pidns,
        .n_cpus = look.n_cpus,
        .cpu_ticks = look.cpu_ticks,
    };
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pv_account_add_sample(container->account, &sample,
                          (guint64)now.tv_sec * NSEC_PER_SEC + (guint64)now.tv_nsec,
                          pv_container_uptime_nsec(container, host));
    return 0;
}

int pv_sample_container(PvHost *host, PvContainer *container, gboolean wait)
{
    PvLoad load;
    int result = 0;

    if (pv_cgroup_is_root(container->cgroup, PV_CONTROLLER_TASKS))
        return -ENODATA;
    gpointer *place = pv_account_sampler_lock(container->account, wait, memory_free);
    if (place == NULL)
        return 0;
    if (*place == NULL)
        *place = memory_new();
    if (!wait || !pv_account_get_load(container->account, &load))
        result = take_sample(host, container, *place);
    pv_account_sampler_unlock(container->account);
    return result;
}
