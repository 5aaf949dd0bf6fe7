/*
 * A worker is root with little left of it. Who reads for containers cannot write anything of
 * theirs; who changes cgroups for them has no other capability than those that cgroups ask for.
 * The same lists stand in the units of systemd, for the supervisors too.
 */
#include "privileges.h"

#include "procview/log.h"
#include "procview/syscalls.h"

#include <linux/capability.h>
#include <sys/prctl.h>

#define MASK(cap) (G_GUINT64_CONSTANT(1) << (cap))

/* Other users' processes and their namespaces are looked into; cgroup namespaces are entered. */
#define LOOKING                                                                                    \
    (MASK(CAP_SYS_PTRACE) | MASK(CAP_DAC_READ_SEARCH) | MASK(CAP_SYS_ADMIN) | MASK(CAP_SYS_CHROOT))

/* Becoming the caller, and what a caller may have. */
#define CHANGING                                                                                   \
    (MASK(CAP_SETUID) | MASK(CAP_SETGID) | MASK(CAP_SETPCAP) | MASK(CAP_CHOWN) |                   \
     MASK(CAP_DAC_OVERRIDE) | MASK(CAP_FOWNER) | MASK(CAP_FSETID) | MASK(CAP_SYS_NICE) |           \
     MASK(CAP_SYS_RESOURCE))

void pv_drop_privileges(gboolean is_cgroup_tree)
{
    const guint64 kept = is_cgroup_tree ? LOOKING | CHANGING : LOOKING;
    guint64 effective, permitted;
    int r;

    for (int cap = 0; cap <= 63 && prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
        if ((kept & MASK(cap)) == 0)
            prctl(PR_CAPBSET_DROP, cap);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    r = pv_sys_get_caps(&effective, &permitted);
    if (r == 0)
        r = pv_sys_set_caps(effective & kept, permitted & kept);
    if (r < 0)
        pv_log_warning("privileges cannot be given up: %s", g_strerror(-r));
}
