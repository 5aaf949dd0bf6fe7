/* Messages to the service manager: sd_notify(3), without its library. */
#pragma once

/*
 * Send "READY=1", "STOPPING=1", … to the socket that $NOTIFY_SOCKET names.
 * Returns 0, also when nobody listens (no $NOTIFY_SOCKET), or a negative errno.
 */
int pv_notify(const char *message);

/* Have the service manager keep a descriptor under a name, while it restarts us and after a crash.
 */
int pv_notify_store(const char *name, int fd);
void pv_notify_unstore(const char *name);

/* TRUE (1) when the service manager keeps descriptors. */
int pv_notify_can_store(void);

/* The descriptor that the service manager has kept under a name, or -1. It is the caller's. */
int pv_notify_stored(const char *name);

/* How often the service manager wants to hear "WATCHDOG=1", in milliseconds; 0: not at all. */
unsigned int pv_notify_watchdog_msec(void);
