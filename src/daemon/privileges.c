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
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

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
 * processes' memory and descriptors, signals to them, the network, the machine's own settings, and
 * large parts of the kernel. They serve on descriptors that they were given. Mounts that are
 * attached nowhere are theirs: an instance of procfs, and what lies below a mount.
 *
 * This is a list of what is refused, not of what is allowed, and is no jail. Who has taken over a
 * worker is still a process of user 0 with the capabilities below: it can open and write files of
 * root's wherever their owner may write (in /etc, in /proc/sys, in cgroups), read any file and what
 * procfs tells of any process, and make file systems that are attached nowhere. The worker of the
 * tree can do so with files of anybody and as anybody. The unit of systemd takes more away; what a
 * container can reach is limited by what the code does with its requests.
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
    SCMP_SYS(process_madvise),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kcmp),
    SCMP_SYS(move_pages),
    SCMP_SYS(migrate_pages),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(tkill),
    SCMP_SYS(unshare),
    SCMP_SYS(personality),
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
    SCMP_SYS(quotactl_fd),
    SCMP_SYS(ioperm),
    SCMP_SYS(iopl),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(lookup_dcookie),
    SCMP_SYS(vhangup),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(syslog),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(add_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(request_key),
};

/* The same of calls that have a use: threads, signals to itself, cgroup namespaces; and for the
 * tree, directories by their number. */
static int refuse_other_uses(scmp_filter_ctx filter, gboolean is_cgroup_tree)
{
    const guint32 refused = SCMP_ACT_ERRNO(EPERM);
    int r = seccomp_rule_add(filter, refused, SCMP_SYS(kill), 1, SCMP_A1(SCMP_CMP_NE, 0, 0));

    if (r == 0)
        r = seccomp_rule_add(filter, refused, SCMP_SYS(tgkill), 1,
                             SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid(), 0));
    if (r == 0)
        r = seccomp_rule_add(filter, refused, SCMP_SYS(setns), 1,
                             SCMP_A1(SCMP_CMP_NE, CLONE_NEWCGROUP, 0));
    if (r == 0)
        r = seccomp_rule_add(filter, refused, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    /* Its flags cannot be looked at. The C library makes threads by clone then. */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0 && !is_cgroup_tree)
        r = seccomp_rule_add(filter, refused, SCMP_SYS(open_by_handle_at), 0);
    return r;
}

/* Returns 0 or a negative errno. */
static int refuse_calls(gboolean is_cgroup_tree)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter == NULL
                ? -ENOMEM
                : seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));

    for (guint i = 0; r == 0 && i < G_N_ELEMENTS(refused_calls); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused_calls[i], 0);
    if (r == 0)
        r = refuse_other_uses(filter, is_cgroup_tree);
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
        r = refuse_calls(is_cgroup_tree);
    if (r < 0)
        pv_log_warning("privileges cannot be given up: %s", g_strerror(-r));
}
