/*
 * A worker is root with little left of it. Who reads for containers cannot write anything of
 * theirs; who changes cgroups for them has no other capability than those that cgroups ask for.
 * The same lists stand in the units of systemd, for the supervisors too.
 */
#include "privileges.h"

#include "procview/log.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
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

/*
 * What neither kind of worker ever does, and an attacker would: other programs, mounts, other
 * processes' memory, the network, the machine's own settings, and large parts of the kernel. They
 * serve on descriptors that they were given. Mounts that are attached nowhere are theirs: an
 * instance of procfs, and what lies below a mount.
 */
static const int refused_calls[] = {
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(fspick),
    SCMP_SYS(move_mount),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(syslog),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(add_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(request_key),
};

/* Returns 0 or a negative errno. */
static int refuse_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter == NULL
                ? -ENOMEM
                : seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));

    for (guint i = 0; r == 0 && i < G_N_ELEMENTS(refused_calls); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused_calls[i], 0);
    if (r == 0)
        r = seccomp_load(filter);
    if (filter != NULL)
        seccomp_release(filter);
    return r;
}

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
    if (r == 0)
        r = refuse_calls();
    if (r < 0)
        pv_log_warning("privileges cannot be given up: %s", g_strerror(-r));
}
