/* What a worker may do. */
#pragma once

#include <glib.h>

/*
 * Give up what a worker does not need, for good: capabilities, gaining new ones by execve, and the
 * system calls that it never makes. What could not be had in the first place is no error. To be
 * called before there are threads.
 *
 * is_cgroup_tree  it does for callers what they may do, and needs what they may have; else it reads
 */
void pv_drop_privileges(gboolean is_cgroup_tree);
