/*
 * The kernel's own text of a served file, as the container's processes would read it from procfs or
 * sysfs without us.
 */
#pragma once

#include "procview/container.h"
#include "procview/view.h"

/*
 * container  NULL: nothing is known of the reader. Else what the kernel derives from the reader's
 *            time namespace (uptime, and btime of stat) is the container's.
 * out        is appended to; as before on failure
 * Returns 0 or a negative errno.
 */
int pv_kernels_own(const PvHost *host, const PvContainer *container, const PvRow *row,
                   GString *out);
