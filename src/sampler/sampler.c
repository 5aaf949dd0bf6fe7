/*
 * The sampler. Its thread goes round all cached containers each interval, a few at a time so that
 * readers are not kept waiting for a CPU; sample.c looks at one.
 */
#include "procview/sampler.h"

#include "procview/log.h"

#include "sample.h"

#include <malloc.h>
#include <pthread.h>
#include <time.h>

#define NSEC_PER_MSEC G_GUINT64_CONSTANT(1000000)
#define NSEC_PER_SEC  G_GUINT64_CONSTANT(1000000000)

/* Work at most so long without a pause, and pause four times as long. */
#define BURST_NSEC (10 * NSEC_PER_MSEC)
#define PAUSE_NSEC (4 * BURST_NSEC)

/* Memory that is free, and that the allocator has not given back to the kernel. */
#define KEPT_BYTES_MAX (16u << 20)

struct PvSampler {
    PvHost *host;
    PvContainers *containers;
    guint64 interval_nsec;

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop_asked; /* on CLOCK_MONOTONIC */
    gboolean stop;             /* protected by lock */
};

static guint64 now_nsec(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (guint64)now.tv_sec * NSEC_PER_SEC + (guint64)now.tv_nsec;
}

/* Sleep until a time of CLOCK_MONOTONIC. FALSE when the sampler is to stop. */
static gboolean sleep_until(PvSampler *sampler, guint64 deadline_nsec)
{
    const struct timespec deadline = {
        .tv_sec = (time_t)(deadline_nsec / NSEC_PER_SEC),
        .tv_nsec = (long)(deadline_nsec % NSEC_PER_SEC),
    };
    int result = 0;

    pthread_mutex_lock(&sampler->lock);
    while (!sampler->stop && result == 0)
        result = pthread_cond_timedwait(&sampler->stop_asked, &sampler->lock, &deadline);
    gboolean go_on = !sampler->stop;
    pthread_mutex_unlock(&sampler->lock);
    return go_on;
}

/* FALSE when the sampler is to stop. */
static gboolean sample_all(PvSampler *sampler)
{
    g_autoptr(GPtrArray) containers = pv_containers_list(sampler->containers);
    guint64 burst_start_nsec = now_nsec();

    for (guint i = 0; i < containers->len; i++) {
        pv_sample_container(sampler->host, g_ptr_array_index(containers, i), FALSE);
        guint64 now = now_nsec();
        if (now - burst_start_nsec < BURST_NSEC)
            continue;
        if (!sleep_until(sampler, now + PAUSE_NSEC))
            return FALSE;
        burst_start_nsec = now_nsec();
    }
    return TRUE;
}

/* After a storm the allocator would keep what the storm needed. */
static void give_memory_back(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    if (mallinfo2().fordblks > KEPT_BYTES_MAX)
        malloc_trim(0);
#endif
}

static void *sampler_main(void *data)
{
    PvSampler *sampler = data;
    guint64 deadline_nsec = now_nsec() + sampler->interval_nsec;

    while (sleep_until(sampler, deadline_nsec)) {
        pv_containers_collect_garbage(sampler->containers);
        if (!sample_all(sampler))
            break;
        give_memory_back();
        /* Rounds keep their distance to the first one; those that the last one took the time of
         * are left out (the averages make up for them). */
        guint64 now = now_nsec();
        guint64 n_missed = pv_sat_sub(now, deadline_nsec) / sampler->interval_nsec;
        deadline_nsec += (n_missed + 1) * sampler->interval_nsec;
    }
    return NULL;
}

PvSampler *pv_sampler_start(PvHost *host, PvContainers *containers, guint interval_seconds)
{
    PvSampler *sampler = g_new0(PvSampler, 1);
    pthread_condattr_t attr;

    sampler->host = host;
    sampler->containers = containers;
    sampler->interval_nsec = MAX(interval_seconds, 1) * NSEC_PER_SEC;
    pthread_mutex_init(&sampler->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sampler->stop_asked, &attr);
    pthread_condattr_destroy(&attr);

    int error = pthread_create(&sampler->thread, NULL, sampler_main, sampler);
    if (error == 0)
        return sampler;
    pv_log_error("cannot start the sampler: %s; load averages are not kept", g_strerror(error));
    pthread_cond_destroy(&sampler->stop_asked);
    pthread_mutex_destroy(&sampler->lock);
    g_free(sampler);
    return NULL;
}

void pv_sampler_stop(PvSampler *sampler)
{
    if (sampler == NULL)
        return;
    pthread_mutex_lock(&sampler->lock);
    sampler->stop = TRUE;
    pthread_cond_signal(&sampler->stop_asked);
    pthread_mutex_unlock(&sampler->lock);

    pthread_join(sampler->thread, NULL);
    pthread_cond_destroy(&sampler->stop_asked);
    pthread_mutex_destroy(&sampler->lock);
    g_free(sampler);
}

int pv_sampler_sample(PvHost *host, PvContainer *container, guint max_age_msec)
{
    PvLoad load;

    if (pv_account_sampled_within(container->account, now_nsec(), max_age_msec * NSEC_PER_MSEC))
        return 0;
    /* One who comes second may show the sample before, but there has to be one. */
    return pv_sample_container(host, container, !pv_account_get_load(container->account, &load));
}
