/*
 * The process to attach to: its root and mount namespace, held by descriptors, so that everything
 * that follows is about one namespace, whatever becomes of the pid.
 */
#include "plan.h"

#include "procview/error.h"
#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void pv_target_clear(PvTarget *target)
{
    pv_clear_fd(&target->procfs_fd);
    pv_clear_fd(&target->process_fd);
    pv_clear_fd(&target->root_fd);
    pv_clear_fd(&target->mntns_fd);
    g_clear_pointer(&target->mounts, g_ptr_array_unref);
    g_clear_pointer(&target->own_mounts, g_ptr_array_unref);
    g_clear_pointer(&target->prefix, g_free);
}

/* TRUE when `path` under the caller's procfs names the namespace of fd. */
static gboolean is_same_namespace(int procfs_fd, const char *path, int fd)
{
    struct stat mine, theirs;

    return fstatat(procfs_fd, path, &mine, 0) == 0 && fstat(fd, &theirs) == 0 &&
           mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino;
}

static gboolean open_failed(GError **error, pid_t pid, const char *what)
{
    int errnum = errno;

    if (errnum == ENOENT || errnum == ESRCH)
        return pv_error_set(error, PV_ERROR_NOT_FOUND, "process %d has ended", pid);
    if (errnum == EACCES || errnum == EPERM)
        return pv_error_set(error, PV_ERROR_PERMISSION,
                            "cannot open the %s of process %d: %s; this needs root", what, pid,
                            g_strerror(errnum));
    return pv_error_set_errno(error, errnum, "cannot open the %s of process %d", what, pid);
}

static gboolean open_process(pid_t pid, PvTarget *target, GError **error)
{
    char name[16];
    g_snprintf(name, sizeof(name), "%d", pid);

    target->procfs_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target->procfs_fd < 0)
        return pv_error_set_errno(error, errno, "cannot open /proc");
    target->process_fd = openat(target->procfs_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target->process_fd < 0 && errno == ENOENT)
        return pv_error_set(error, PV_ERROR_NOT_FOUND, "there is no process %d", pid);
    if (target->process_fd < 0)
        return open_failed(error, pid, "/proc directory");
    target->mntns_fd = openat(target->process_fd, "ns/mnt", O_RDONLY | O_CLOEXEC);
    return target->mntns_fd >= 0 ? TRUE : open_failed(error, pid, "mount namespace");
}

gboolean pv_target_reload(PvTarget *target, GError **error)
{
    GPtrArray *mounts = pv_mountinfo_load(target->process_fd, error);

    if (mounts == NULL)
        return FALSE;
    g_clear_pointer(&target->mounts, g_ptr_array_unref);
    target->mounts = mounts;
    return TRUE;
}

/* The mounts of a process in the caller's /proc. */
static GPtrArray *load_mounts(const PvTarget *target, const char *process, GError **error)
{
    pv_autofd int fd = openat(target->procfs_fd, process, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        pv_error_set_errno(error, errno, "cannot open /proc/%s", process);
        return NULL;
    }
    return pv_mountinfo_load(fd, error);
}

/* All of another process's that pv_target_open() gives. */
static gboolean open_other(pid_t pid, PvTarget *target, GError **error)
{
    if (pid <= 0)
        return pv_error_set(error, PV_ERROR_NOT_FOUND, "there is no process %d", pid);
    if (!open_process(pid, target, error))
        return FALSE;
    if (is_same_namespace(target->procfs_fd, "self/ns/mnt", target->mntns_fd) ||
        is_same_namespace(target->procfs_fd, "1/ns/mnt", target->mntns_fd))
        return pv_error_set(error, PV_ERROR_BUSY,
                            "process %d has no mount namespace of its own: what is mounted for it "
                            "would be mounted for the whole host",
                            pid);
    target->root_fd = openat(target->process_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target->root_fd < 0)
        return open_failed(error, pid, "root directory");
    if (!pv_target_reload(target, error))
        return FALSE;
    target->own_mounts = load_mounts(target, "self", error);
    return target->own_mounts != NULL;
}

gboolean pv_target_open(pid_t pid, PvTarget *ret_target, GError **error)
{
    g_auto(PvTarget) target = PV_TARGET_INIT;

    if (!open_other(pid, &target, error))
        return FALSE;
    *ret_target = target;
    target = (PvTarget)PV_TARGET_INIT;
    return TRUE;
}

gboolean pv_target_open_self(PvTarget *target, GError **error)
{
    target->procfs_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target->procfs_fd < 0)
        return pv_error_set_errno(error, errno, "cannot open /proc");
    target->process_fd = openat(target->procfs_fd, "self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target->process_fd < 0)
        return pv_error_set_errno(error, errno, "cannot open /proc/self");
    if (!pv_target_reload(target, error))
        return FALSE;
    target->own_mounts = g_ptr_array_ref(target->mounts);
    return TRUE;
}

/* The caller's own namespace, which must not be the machine's. */
static gboolean open_own(PvTarget *target, GError **error)
{
    if (!pv_target_open_self(target, error))
        return FALSE;
    pv_autofd int mntns_fd = openat(target->process_fd, "ns/mnt", O_RDONLY | O_CLOEXEC);
    if (mntns_fd < 0)
        return pv_error_set_errno(error, errno, "cannot open /proc/self/ns/mnt");
    if (is_same_namespace(target->procfs_fd, "1/ns/mnt", mntns_fd))
        return pv_error_set(error, PV_ERROR_BUSY,
                            "this is the machine's own mount namespace, not a container's: what "
                            "is mounted here would be mounted for the whole host");
    target->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target->root_fd < 0)
        return pv_error_set_errno(error, errno, "cannot open /");
    return TRUE;
}

gboolean pv_target_open_rootfs(pid_t pid, const char *rootfs, PvTarget *ret_target, GError **error)
{
    g_auto(PvTarget) target = PV_TARGET_INIT;

    char *real = realpath(rootfs, NULL);
    if (real == NULL)
        return pv_error_set_errno(error, errno, "no root file system %s", rootfs);
    target.prefix = g_strdup(real);
    free(real);
    if (strcmp(target.prefix, "/") == 0)
        return pv_error_set(error, PV_ERROR_INVALID, "the root file system is the host's own");
    if (!(pid == 0 ? open_own(&target, error) : open_other(pid, &target, error)))
        return FALSE;

    int fd = pv_enter_open(target.root_fd, target.prefix);
    if (fd < 0)
        return pv_error_set_errno(error, -fd, "cannot open the root file system %s", target.prefix);
    pv_clear_fd(&target.root_fd);
    target.root_fd = fd;
    *ret_target = target;
    target = (PvTarget)PV_TARGET_INIT;
    return TRUE;
}

/* What is mounted on a target, in words. */
static char *describe_mount(const PvReport *report, const GPtrArray *mounts)
{
    const PvMountEntry *entry = pv_mountinfo_find(mounts, report->mount_id);

    if (report->errnum == EXDEV)
        return g_strdup("its mount is shared with the host's: a mount on it would appear on the "
                        "host too (make it private or slave)");
    if (report->errnum == EBUSY)
        return g_strdup("something is mounted on it, or on a file of it, by the container's owner");
    if (entry == NULL)
        return g_strdup("it is on no mount that the process can see");
    if (report->errnum == ETIMEDOUT)
        return g_strdup_printf("a %s file system that does not answer is mounted on it",
                               entry->fstype);
    if (pv_mount_entry_is_fuse(entry))
        return g_strdup_printf("a file of %s is mounted on it", entry->fstype);
    return g_strdup_printf("it is on a %s file system, not on the kernel's own", entry->fstype);
}

char *pv_report_reason(const PvReport *report, const GPtrArray *mounts)
{
    const char *text = g_strerror(report->errnum);

    switch ((PvStep)report->step) {
    case PV_STEP_PREPARE:
        return g_strdup_printf("cannot use /proc/self/fd: %s", text);
    case PV_STEP_VIEWS:
        return g_strdup_printf("the views do not answer: %s", text);
    case PV_STEP_OPEN_VIEW:
        if (report->errnum == ENOENT)
            return g_strdup("this procviewd does not serve it");
        return g_strdup_printf("cannot clone the view's mount: %s", text);
    case PV_STEP_SEAL_VIEW:
        if (report->errnum == 0)
            return g_strdup("the view's mount is not read-only, nosuid, nodev and noexec, and this "
                            "kernel cannot make its clone so (mount_setattr needs Linux 5.12)");
        return g_strdup_printf("cannot make the view read-only: %s", text);
    case PV_STEP_OPEN_TARGET:
        if (report->errnum == ENOENT || report->errnum == ENOTDIR)
            return g_strdup("there is no such file in the container");
        if (report->errnum == ELOOP)
            return g_strdup("a symbolic link is in the way");
        if (report->errnum == EXDEV)
            return g_strdup("since Linux 6.14 each pid namespace has its own, which cannot be "
                            "reached from outside");
        return g_strdup_printf("cannot open it in the container: %s", text);
    case PV_STEP_CHECK_TARGET:
        return describe_mount(report, mounts);
    case PV_STEP_ENTER:
        return g_strdup_printf("cannot enter the mount namespace: %s", text);
    case PV_STEP_UNMOUNT:
        if (report->errnum == EINVAL)
            return g_strdup("the kernel keeps its mount: it was there when a user namespace got "
                            "its copy of the mounts");
        return g_strdup_printf("cannot unmount: %s", text);
    case PV_STEP_MOUNT:
        if (report->errnum == ECANCELED)
            return g_strdup("taken away again, because another file failed");
        return g_strdup_printf("cannot mount: %s", text);
    case PV_STEP_NONE:
        break;
    }
    return report->errnum != 0 ? g_strdup(text) : NULL;
}
