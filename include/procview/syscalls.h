/*
 * Raw system calls: those that glibc 2.36 does not wrap, or that some kernel that we support
 * does not have. Nothing else in procview calls syscall(2).
 *
 * Every function returns the kernel's result, or a negative errno (never -1 with errno).
 */
#pragma once

#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* openat2(2); resolve is a mask of RESOLVE_*. O_CLOEXEC is added. */
int pv_sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);

/* open_tree(2); flags of OPEN_TREE_* and AT_*. OPEN_TREE_CLOEXEC is added. */
int pv_sys_open_tree(int dirfd, const char *path, unsigned int flags);

/* move_mount(2); flags of MOVE_MOUNT_*. */
int pv_sys_move_mount(int from_fd, const char *from_path, int to_fd, const char *to_path,
                      unsigned int flags);

/* mount_setattr(2) (Linux 5.12); flags of AT_*. */
int pv_sys_mount_setattr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr);

/* fsopen(2), fsconfig(2) and fsmount(2) (Linux 5.2). CLOEXEC is added. */
int pv_sys_fsopen(const char *fs_name);
int pv_sys_fsconfig(int fs_fd, unsigned int command, const char *key, const void *value, int aux);
int pv_sys_fsmount(int fs_fd, unsigned int mount_attrs);

/* pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2). */
int pv_sys_pidfd_open(pid_t pid, unsigned int flags);
int pv_sys_pidfd_send_signal(int pidfd, int signal);
int pv_sys_pidfd_getfd(int pidfd, int target_fd);

/* clone3(2). */
pid_t pv_sys_clone3(struct clone_args *args, size_t size);

/* pivot_root(2). */
int pv_sys_pivot_root(const char *new_root, const char *put_old);

/* ioctl NS_GET_PID_FROM_PIDNS (Linux 6.11): the pid, in the caller's pid namespace, of the process
 * that is `pid` in the namespace of `pidns_fd`. -ENOTTY on older kernels, -ESRCH without one. */
pid_t pv_sys_pid_from_pidns(int pidns_fd, pid_t pid);

/* sched_getaffinity(2) without glibc's padding. Returns the number of bytes that the kernel filled.
 */
int pv_sys_sched_getaffinity(pid_t tid, size_t size, void *mask);

/* ioctl NS_GET_PID_IN_PIDNS (Linux 6.11): the other way round: the pid, in the namespace of
 * `pidns_fd`, of the thread that is `pid` in the caller's. -ESRCH when it is not visible there,
 * -ENOTTY on older kernels. */
pid_t pv_sys_pid_in_pidns(int pidns_fd, pid_t pid);

/* faccessat2(2) (Linux 5.8) of an open file: flags of AT_EACCESS. */
int pv_sys_faccess(int fd, int mode, int flags);

/*
 * Credentials of the calling thread alone: glibc's functions change those of the whole process.
 * setresuid(2) and setresgid(2) with an effective id only; setfsuid(2), setfsgid(2), setgroups(2).
 */
int pv_sys_set_euid(uid_t uid);
int pv_sys_set_egid(gid_t gid);
int pv_sys_set_fsuid(uid_t uid);
int pv_sys_set_fsgid(gid_t gid);
int pv_sys_set_groups(const gid_t *groups, size_t n);

/* capget(2), capset(2) of the calling thread: masks of 1 << CAP_*. */
int pv_sys_get_caps(uint64_t *ret_effective, uint64_t *ret_permitted);
int pv_sys_set_caps(uint64_t effective, uint64_t permitted);
