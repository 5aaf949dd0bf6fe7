/* What the parts of the harness share. */
#pragma once

#include "harness.h"

/* After each test. */
void pvt_containers_end(void);
void pvt_cgroups_end(void);

/* Remove all cgroups whose names begin with the prefix, and end what is in them. For the guardian.
 * Returns how many there were. */
guint pvt_cgroups_sweep(const char *prefix);

/* Fail the test with a message. Outside of a test, as in children, print it and exit. */
G_NORETURN void pvt_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* The cgroup's cgroup.procs files, opened for writing, to enter it later: from namespaces in which
 * it cannot be reached. */
GArray *pvt_cgroup_open_procs(PvtCgroup *cgroup);
