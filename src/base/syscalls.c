/*
 * Raw system calls, with one convention: the result, or a negative errno.
 */
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioctl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers that are the same on every architecture since 5.1, for older kernel headers. */
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

#ifndef __NR_faccessat2
#define __NR_faccessat2 439
#endif

/* <linux/nsfs.h>, Linux 6.11 */
#define PV_NS_GET_PID_FROM_PIDNS _IOR(0xb7, 0x6, int)
#define PV_NS_GET_PID_IN_PIDNS   _IOR(0xb7, 0x8, int)

static int result(long value)
{
    return value < 0 ? -errno : (int)value;
}

int pv_sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC),
        .mode = mode,
        .resolve = resolve,
    };
    return result(syscall(__NR_openat2, dirfd, path, &how, sizeof how));
}

int pv_sys_open_tree(int dirfd, const char *path, unsigned int flags)
{
    return result(syscall(__NR_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC));
}

int pv_sys_move_mount(int from_fd, const char *from_path, int to_fd, const char *to_path,
                      unsigned int flags)
{
    return result(syscall(__NR_move_mount, from_fd, from_path, to_fd, to_path, flags));
}

int pv_sys_mount_setattr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr)
{
    return result(syscall(__NR_mount_setattr, dirfd, path, flags, attr, sizeof *attr));
}

int pv_sys_fsopen(const char *fs_name)
{
    return result(syscall(__NR_fsopen, fs_name, FSOPEN_CLOEXEC));
}

int pv_sys_fsconfig(int fs_fd, unsigned int command, const char *key, const void *value, int aux)
{
    return result(syscall(__NR_fsconfig, fs_fd, command, key, value, aux));
}

int pv_sys_fsmount(int fs_fd, unsigned int mount_attrs)
{
    return result(syscall(__NR_fsmount, fs_fd, FSMOUNT_CLOEXEC, mount_attrs));
}

int pv_sys_pidfd_open(pid_t pid, unsigned int flags)
{
    return result(syscall(__NR_pidfd_open, pid, flags));
}

int pv_sys_pidfd_send_signal(int pidfd, int signal)
{
    return result(syscall(__NR_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int pv_sys_pidfd_getfd(int pidfd, int target_fd)
{
    return result(syscall(__NR_pidfd_getfd, pidfd, target_fd, 0));
}

pid_t pv_sys_clone3(struct clone_args *args, size_t size)
{
    return result(syscall(__NR_clone3, args, size));
}

int pv_sys_pivot_root(const char *new_root, const char *put_old)
{
    return result(syscall(__NR_pivot_root, new_root, put_old));
}

pid_t pv_sys_pid_from_pidns(int pidns_fd, pid_t pid)
{
    return result(ioctl(pidns_fd, PV_NS_GET_PID_FROM_PIDNS, (unsigned long)pid));
}

int pv_sys_sched_getaffinity(pid_t tid, size_t size, void *mask)
{
    return result(syscall(__NR_sched_getaffinity, tid, size, mask));
}

pid_t pv_sys_pid_in_pidns(int pidns_fd, pid_t pid)
{
    return result(ioctl(pidns_fd, PV_NS_GET_PID_IN_PIDNS, (unsigned long)pid));
}

int pv_sys_faccess(int fd, int mode, int flags)
{
    return result(syscall(__NR_faccessat2, fd, "", mode, flags | AT_EMPTY_PATH));
}

int pv_sys_set_euid(uid_t uid)
{
    return result(syscall(__NR_setresuid, -1, uid, -1));
}

int pv_sys_set_egid(gid_t gid)
{
    return result(syscall(__NR_setresgid, -1, gid, -1));
}

/* These two return the id before, and never fail: whether it worked is asked for by an id that
 * there is not. */
int pv_sys_set_fsuid(uid_t uid)
{
    syscall(__NR_setfsuid, uid);
    return (uid_t)syscall(__NR_setfsuid, -1) == uid ? 0 : -EPERM;
}

int pv_sys_set_fsgid(gid_t gid)
{
    syscall(__NR_setfsgid, gid);
    return (gid_t)syscall(__NR_setfsgid, -1) == gid ? 0 : -EPERM;
}

int pv_sys_set_groups(const gid_t *groups, size_t n)
{
    return result(syscall(__NR_setgroups, n, groups));
}

int pv_sys_get_caps(uint64_t *ret_effective, uint64_t *ret_permitted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    int r = result(syscall(__NR_capget, &header, data));

    if (r == 0) {
        *ret_effective = data[0].effective | (uint64_t)data[1].effective << 32;
        *ret_permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    }
    return r;
}

int pv_sys_set_caps(uint64_t effective, uint64_t permitted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)effective, .permitted = (uint32_t)permitted},
        {.effective = (uint32_t)(effective >> 32), .permitted = (uint32_t)(permitted >> 32)}};

    return result(syscall(__NR_capset, &header, data));
}
