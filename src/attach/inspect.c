/*
 * How far a container has come: its first process is there before it has namespaces of its own, and
 * has those before its root is changed; what is mounted for it earlier goes away with the old root.
 */
#include "procview/attach.h"

#include "plan.h"
#include "procview/error.h"
#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static guint64 device_of(const PvMountEntry *entry)
{
    return (guint64)entry->major << 32 | entry->minor;
}

/* The mount that is on top at a mount point, or NULL. */
static const PvMountEntry *top_mount(const GPtrArray *mounts, const char *mount_point)
{
    for (guint i = mounts->len; i-- > 0;) {
        const PvMountEntry *entry = mounts->pdata[i];
        if (strcmp(entry->mount_point, mount_point) == 0)
            return entry;
    }
    return NULL;
}

/* The inode of a namespace; 0 when it cannot be told. */
static guint64 namespace_of(int process_fd, const char *kind)
{
    struct stat st;

    return fstatat(process_fd, kind, &st, 0) == 0 ? st.st_ino : 0;
}

/* FALSE also when the machine's cannot be told: an inspection is not to be too sure. */
static gboolean is_own(guint64 ino, const char *kind)
{
    g_autofree char *self = g_strconcat("self/", kind, NULL);
    g_autofree char *init = g_strconcat("1/", kind, NULL);
    pv_autofd int procfs = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    guint64 mine = namespace_of(procfs, self), machines = namespace_of(procfs, init);

    return ino != 0 && mine != 0 && ino != mine && ino != machines;
}

static gboolean is_foreign_proc(const PvMountEntry *proc)
{
    struct stat st;

    /* The device number of procfs, which stat(2) tells without asking anybody else. */
    return proc != NULL && strcmp(proc->fstype, "proc") == 0 && stat("/proc", &st) == 0 &&
           (proc->major != major(st.st_dev) || proc->minor != minor(st.st_dev));
}

gboolean pv_attach_inspect(pid_t pid, guint64 device, PvInspection *ret_inspection, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d", (int)pid);
    pv_autofd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(GPtrArray) mounts = NULL;
    PvInspection found = {0};

    if (fd < 0)
        return pv_error_set_errno(error, errno, "process %d", (int)pid);
    mounts = pv_mountinfo_load(fd, error);
    if (mounts == NULL)
        return FALSE;
    found.mntns_ino = namespace_of(fd, "ns/mnt");
    found.has_own_mounts = is_own(found.mntns_ino, "ns/mnt");
    found.has_own_pids = is_own(namespace_of(fd, "ns/pid"), "ns/pid");

    const PvMountEntry *root = top_mount(mounts, "/"), *proc = top_mount(mounts, "/proc");
    found.has_own_proc = is_foreign_proc(proc);
    found.roots = (root != NULL ? (guint64)root->id << 32 : 0) ^
                  (proc != NULL ? (guint64)proc->id : 0) ^ found.mntns_ino;
    for (guint i = 0; i < mounts->len; i++) {
        const PvMountEntry *entry = mounts->pdata[i];
        if (pv_mount_entry_is_view(entry) && device_of(entry) == device)
            found.n_views++;
    }
    *ret_inspection = found;
    return TRUE;
}

guint64 pv_attach_views_device(const char *views_dir)
{
    pv_autofd int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(GPtrArray) mounts = pv_mountinfo_load(self, NULL);
    g_autofree char *absolute = g_canonicalize_filename(views_dir, NULL);
    g_autofree char *parent = g_path_get_dirname(absolute);
    g_autofree char *name = g_path_get_basename(absolute);
    g_autofree char *path = NULL;

    if (mounts == NULL)
        return 0;
    /* Links above the mount point are followed; the mount point itself is not looked at. */
    char *real = realpath(parent, NULL);
    path = g_build_filename(real != NULL ? real : parent, name, NULL);
    free(real);

    const PvMountEntry *entry = top_mount(mounts, path);
    return entry != NULL && strcmp(entry->fstype, PV_MOUNT_FSTYPE) == 0 ? device_of(entry) : 0;
}
