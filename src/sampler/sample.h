/*
 * One look at the threads of one container.
 */
#pragma once

#include "procview/container.h"

/*
 * Count the container's threads and give the result to its account.
 * wait  FALSE returns at once when another thread is at it; TRUE waits for that one to end, and is
 *       content with its sample
 * Returns as pv_sampler_sample().
 */
int pv_sample_container(PvHost *host, PvContainer *container, gboolean wait);
