/* How long a read takes, as a reader in a container sees it. */
#pragma once

/* Open, read to the end, close, again and again; prints the median and the 99th percentile in us.
 * Returns an exit status. */
int pvb_measure_latency(const char *path);
