/*
 * System calls that tell of the machine without reading a file: sysinfo(2) and
 * sched_getaffinity(2). A seccomp filter in the container sends them to a supervisor outside, which
 * answers from the same snapshot as the files. seccomp_unotify(2).
 */
#pragma once

#include "procview/view.h"

/*
 * In the container's init, before it drops privileges and executes anything: install the filter.
 * Needs CAP_SYS_ADMIN in its user namespace, or no_new_privs.
 * Returns the listener's descriptor (close-on-exec), or a negative errno: -ENOSYS where this
 * architecture or kernel cannot do it, -EBUSY where a listener is installed already.
 */
int pv_intercept_install(void);

typedef struct PvIntercept PvIntercept;

/*
 * Answer the calls in a thread of its own until the container ends or pv_intercept_stop().
 * listener_fd  owned by the interceptor from now on
 * On any doubt a call is let through to the kernel (CONTINUE).
 */
PvIntercept *pv_intercept_start(int listener_fd, PvHost *host, PvContainers *containers,
                                PvViews *views, GError **error);
void pv_intercept_stop(PvIntercept *intercept);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvIntercept, pv_intercept_stop)
