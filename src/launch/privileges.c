/*
 * Capabilities and a seccomp filter, as the last steps before the container's own programs.
 */
#include "privileges.h"

#include "procview/error.h"
#include "procview/log.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

static const cap_value_t KEPT[] = {
    CAP_CHOWN,   CAP_DAC_OVERRIDE,     CAP_FOWNER,  CAP_FSETID,      CAP_KILL,
    CAP_SETGID,  CAP_SETUID,           CAP_SETPCAP, CAP_SYS_CHROOT,  CAP_MKNOD,
    CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_SETFCAP, CAP_AUDIT_WRITE,
};

static gboolean is_kept(cap_value_t cap)
{
    for (guint i = 0; i < G_N_ELEMENTS(KEPT); i++) {
        if (KEPT[i] == cap)
            return TRUE;
    }
    return FALSE;
}

gboolean pv_launch_drop_capabilities(GError **error)
{
    cap_t present = cap_get_proc();
    cap_t wanted = cap_init();
    gboolean ok = present != NULL && wanted != NULL;

    for (cap_value_t cap = 0; ok && CAP_IS_SUPPORTED(cap); cap++) {
        cap_flag_value_t value = CAP_CLEAR;
        if (!is_kept(cap)) {
            ok = cap_drop_bound(cap) == 0;
            continue;
        }
        /* The launcher itself may lack some. */
        ok = cap_get_flag(present, cap, CAP_PERMITTED, &value) == 0;
        if (ok && value == CAP_SET)
            ok = cap_set_flag(wanted, CAP_PERMITTED, 1, &cap, CAP_SET) == 0 &&
                 cap_set_flag(wanted, CAP_EFFECTIVE, 1, &cap, CAP_SET) == 0;
    }
    if (ok)
        ok = cap_reset_ambient() == 0 && cap_set_proc(wanted) == 0;
    int errnum = errno;
    cap_free(present);
    cap_free(wanted);
    return ok || pv_error_set_errno(error, errnum, "cannot give up capabilities");
}

/* Add the other architectures whose programs this kernel runs: the rules are for them too. What is
 * of none of them has no system calls. */
static int add_architectures(scmp_filter_ctx filter)
{
    static const uint32_t others[][2] = {
        {SCMP_ARCH_X86_64, SCMP_ARCH_X86},
        {SCMP_ARCH_X86_64, SCMP_ARCH_X32},
        {SCMP_ARCH_AARCH64, SCMP_ARCH_ARM},
        {SCMP_ARCH_S390X, SCMP_ARCH_S390},
    };
    int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));

    for (guint i = 0; r == 0 && i < G_N_ELEMENTS(others); i++) {
        if (others[i][0] == seccomp_arch_native())
            r = seccomp_arch_add(filter, others[i][1]);
    }
    return r;
}

/*
 * No user namespaces: in one, root has all capabilities again, and could mount the container's own
 * cgroups, whose files belong to root, writable: its limits would be its own to change. clone3's
 * flags are in memory, where a filter cannot see them; without it everybody takes clone.
 */
static int refuse_user_namespaces(scmp_filter_ctx filter)
{
    const gboolean is_s390 =
        seccomp_arch_native() == SCMP_ARCH_S390X || seccomp_arch_native() == SCMP_ARCH_S390;
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    if (r == 0 && is_s390) /* its arguments are the other way round */
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    else if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    return r;
}

gboolean pv_launch_install_filter(GError **error)
{
    /* Keys belong to users, not to namespaces, and so does the kernel's log; the others are a large
     * part of the kernel that few programs need and all can do without. */
    static const int calls[] = {
        SCMP_SYS(add_key),     SCMP_SYS(keyctl),
        SCMP_SYS(request_key), SCMP_SYS(syslog),
        SCMP_SYS(bpf),         SCMP_SYS(perf_event_open),
        SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
    };
    static const unsigned int requests[] = {TIOCSTI, TIOCLINUX};
    const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter == NULL ? -ENOMEM : seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);

    if (r == 0)
        r = add_architectures(filter);
    for (guint i = 0; r == 0 && i < G_N_ELEMENTS(calls); i++)
        r = seccomp_rule_add(filter, refuse, calls[i], 0);
    if (r == 0)
        r = refuse_user_namespaces(filter);
    /* The kernel looks at the lower half of the request only. */
    for (guint i = 0; r == 0 && i < G_N_ELEMENTS(requests); i++)
        r = seccomp_rule_add(filter, refuse, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, requests[i]));
    if (r == 0)
        r = seccomp_load(filter);
    if (filter != NULL)
        seccomp_release(filter);
    if (r == -EINVAL || r == -ENOSYS) {
        pv_log_warning("no seccomp filter (%s): root in the container could lift its limits",
                       g_strerror(-r));
        return TRUE;
    }
    return r == 0 || pv_error_set_errno(error, -r, "cannot install the seccomp filter");
}
