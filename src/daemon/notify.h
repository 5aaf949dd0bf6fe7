/* Messages to the service manager: sd_notify(3), without its library. */
#pragma once

/*
 * Send "READY=1", "STOPPING=1", … to the socket that $NOTIFY_SOCKET names.
 * Returns 0, also when nobody listens (no $NOTIFY_SOCKET), or a negative errno.
 */
int pv_notify(const char *message);
