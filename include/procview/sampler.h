/*
 * The sampler: one thread that looks at the threads of every cached container each 5 seconds, for
 * the load average, the counts in loadavg and stat, and on v2 for the CPUs that the container ran
 * on. One open per thread (cgroup.threads, then /proc/TID/stat); bounded per container and per
 * round.
 */
#pragma once

#include "procview/container.h"

typedef struct PvSampler PvSampler;

/*
 * Start the thread.
 * interval_seconds  5, the step of the load averages
 * Returns NULL (and says so in the log) when there can be no more threads.
 */
PvSampler *pv_sampler_start(PvHost *host, PvContainers *containers, guint interval_seconds);

/* Stop and join. */
void pv_sampler_stop(PvSampler *sampler);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvSampler, pv_sampler_stop)

/*
 * Sample one container now, unless it was sampled within max_age_msec. Safe from any thread; two at
 * once for one container: the second returns at once, or waits where there was no sample before.
 * Used at the first read of a container, and before a stat on v2 is rendered.
 * Returns 0, or a negative errno when its threads cannot be listed (-ENODATA: its cgroup is the
 * root, where everybody's threads are).
 */
int pv_sampler_sample(PvHost *host, PvContainer *container, guint max_age_msec);
