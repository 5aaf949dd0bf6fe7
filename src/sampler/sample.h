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

/*
 * A thread's id in the pid namespace of a given depth, from the text of its /proc/TID/status
 * (fs/proc/array.c): "NSpid:" lists them from the reader's namespace (depth 1) inwards.
 * depth  0 counts the levels: the number returned is the thread's own depth
 * Returns 0 when the line is missing or has not so many numbers.
 */
pid_t pv_status_nspid(const char *text, guint depth);
