/*
 * Puts the container's file system together, in the init. Until the new root is entered, names
 * relative to a descriptor are the container's and absolute ones the host's; nothing of a foreign
 * --rootfs is ever resolved through a symbolic link.
 */
#include "root.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define ATTRIBUTES_DATA (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define ATTRIBUTES_API  (ATTRIBUTES_DATA | MOUNT_ATTR_NOEXEC)

/* One option of a file system: value NULL for a flag. */
typedef struct {
    const char *key, *value;
} Option;

/* A new instance of a file system, attached nowhere. Returns a descriptor or a negative errno. */
static int make_fs(const char *type, const Option *options, guint n_options, guint64 attributes)
{
    pv_autofd int fs_fd = pv_sys_fsopen(type);
    int r = fs_fd < 0 ? fs_fd : pv_sys_fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", type, 0);

    for (guint i = 0; r >= 0 && i < n_options; i++)
        r = pv_sys_fsconfig(fs_fd,
                            options[i].value != NULL ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
                            options[i].key, options[i].value, 0);
    if (r >= 0)
        r = pv_sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    return r < 0 ? r : pv_sys_fsmount(fs_fd, (unsigned int)attributes);
}

static int attach_at(int mount_fd, int dir_fd, const char *path)
{
    unsigned int flags = MOVE_MOUNT_F_EMPTY_PATH;

    if (path[0] == '\0')
        flags |= MOVE_MOUNT_T_EMPTY_PATH;
    return pv_sys_move_mount(mount_fd, "", dir_fd, path, flags);
}

/* Mount a new instance on a directory. Returns 0 or a negative errno. */
static int mount_fs(const char *type, const Option *options, guint n_options, guint64 attributes,
                    int dir_fd, const char *path)
{
    pv_autofd int fd = make_fs(type, options, n_options, attributes);
    return fd < 0 ? fd : attach_at(fd, dir_fd, path);
}

/* A directory at the top of the new root. */
static int open_top(int root_fd, const char *name)
{
    return pv_sys_openat2(root_fd, name, O_PATH | O_DIRECTORY, 0,
                          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

static gboolean mount_top(int root_fd, const char *name, const char *type, const Option *options,
                          guint n_options, guint64 attributes, GError **error)
{
    pv_autofd int dir_fd = open_top(root_fd, name);
    if (dir_fd < 0)
        return pv_error_set_errno(error, -dir_fd, "the root directory has no usable /%s", name);
    int r = mount_fs(type, options, n_options, attributes, dir_fd, "");
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot mount %s on /%s", type, name);
    return TRUE;
}

/* ---- the trees ---- */

/* The slow way to what mount_setattr does: only the mounts themselves, not what is below. */
static gboolean remount(const PvLaunchRoot *root, const char *path, GError **error)
{
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_NODEV;

    if (root->read_only)
        flags |= MS_RDONLY | MS_NOSUID;
    if (mount(NULL, path, NULL, flags, NULL) < 0)
        return pv_error_set_errno(error, errno, "cannot protect the mount /%s", path);
    return TRUE;
}

/* Attach the copies over the old root and step into them. Returns the new root, or -1. */
static int attach_trees(const PvLaunchRoot *root, GError **error)
{
    int root_fd = g_array_index(root->trees, PvLaunchTree, 0).fd;

    /* Nothing that is done here may reach the host. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chdir("/") < 0) {
        pv_error_set_errno(error, errno, "cannot make the mounts private");
        return -1;
    }
    int r = attach_at(root_fd, AT_FDCWD, "/");
    if (r < 0 || fchdir(root_fd) < 0) {
        pv_error_set_errno(error, r < 0 ? -r : errno, "cannot attach the container's root");
        return -1;
    }
    if (root->to_remount && !remount(root, ".", error))
        return -1;

    for (guint i = 1; i < root->trees->len; i++) {
        const PvLaunchTree *tree = &g_array_index(root->trees, PvLaunchTree, i);
        r = attach_at(tree->fd, root_fd, tree->target);
        if (r < 0) {
            pv_error_set_errno(error, -r, "cannot attach /%s", tree->target);
            return -1;
        }
        if (root->to_remount && !remount(root, tree->target, error))
            return -1;
    }
    return root_fd;
}

/* ---- /proc, /sys, /dev ---- */

static gboolean mount_sys(const PvLaunchRoot *root, int root_fd, GError **error)
{
    pv_autofd int dir_fd = open_top(root_fd, "sys");
    if (dir_fd < 0)
        return pv_error_set_errno(error, -dir_fd, "the root directory has no usable /sys");
    int r = mount_fs("sysfs", NULL, 0, ATTRIBUTES_API | MOUNT_ATTR_RDONLY, dir_fd, "");
    /* A user namespace that shares the host's network may not mount the sysfs that shows it. */
    if (r == -EPERM && root->sys_fd >= 0)
        r = attach_at(root->sys_fd, dir_fd, "");
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot mount sysfs on /sys");
    return TRUE;
}

/* Bind a device of the host on an empty file of the container's /dev. Not an error without it. */
static gboolean bind_device(int dev_fd, const char *host_path, const char *name, GError **error)
{
    pv_autofd int node = pv_sys_open_tree(AT_FDCWD, host_path, OPEN_TREE_CLONE);
    if (node == -ENOENT)
        return TRUE;
    if (node >= 0 && mknodat(dev_fd, name, S_IFREG | 0666, 0) < 0)
        return pv_error_set_errno(error, errno, "cannot make /dev/%s", name);
    int r = node < 0 ? node : attach_at(node, dev_fd, name);
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot bind %s", host_path);
    return TRUE;
}

/* The file systems below /dev. */
static gboolean mount_dev_parts(int dev_fd, GError **error)
{
    static const Option pts[] = {
        {"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}};
    static const Option shm[] = {{"mode", "1777"}, {"size", "64m"}};
    static const struct {
        const char *name, *type;
        const Option *options;
        guint n_options;
        guint64 attributes;
    } parts[] = {
        {"pts", "devpts", pts, G_N_ELEMENTS(pts), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC},
        {"shm", "tmpfs", shm, G_N_ELEMENTS(shm), ATTRIBUTES_API},
        {"mqueue", "mqueue", NULL, 0, ATTRIBUTES_API},
    };

    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (mkdirat(dev_fd, parts[i].name, 0755) < 0)
            return pv_error_set_errno(error, errno, "cannot make /dev/%s", parts[i].name);
        int r = mount_fs(parts[i].type, parts[i].options, parts[i].n_options, parts[i].attributes,
                         dev_fd, parts[i].name);
        /* -ENODEV: a kernel without that file system, which few programs miss. */
        if (r < 0 && r != -ENODEV)
            return pv_error_set_errno(error, -r, "cannot mount /dev/%s", parts[i].name);
    }
    return TRUE;
}

static gboolean mount_dev(const PvLaunchRoot *root, int root_fd, GError **error)
{
    static const Option options[] = {{"mode", "755"}, {"size", "64k"}};
    static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const char *const links[][2] = {
        {"pts/ptmx", "ptmx"},          {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
        {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
    };
    pv_autofd int dir_fd = open_top(root_fd, "dev");
    pv_autofd int dev_fd = make_fs("tmpfs", options, G_N_ELEMENTS(options), ATTRIBUTES_API);

    if (dir_fd < 0)
        return pv_error_set_errno(error, -dir_fd, "the root directory has no usable /dev");
    int r = dev_fd < 0 ? dev_fd : attach_at(dev_fd, dir_fd, "");
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot mount /dev");
    for (guint i = 0; i < G_N_ELEMENTS(devices); i++) {
        g_autofree char *path = g_build_filename("/dev", devices[i], NULL);
        if (!bind_device(dev_fd, path, devices[i], error))
            return FALSE;
    }
    /* So that ttyname(3) finds a name for the terminal, which is not of the container's devpts. */
    if (root->tty != NULL && !bind_device(dev_fd, root->tty, "console", error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(links); i++) {
        if (symlinkat(links[i][0], dev_fd, links[i][1]) < 0)
            return pv_error_set_errno(error, errno, "cannot make /dev/%s", links[i][1]);
    }
    return mount_dev_parts(dev_fd, error);
}

/* ---- cgroups, inside the cgroup namespace ---- */

static int mount_hierarchy(const PvLaunchHierarchy *hierarchy, int dir_fd, const char *path)
{
    const guint64 attributes = ATTRIBUTES_API | MOUNT_ATTR_RDONLY;
    Option options[64];
    guint n = 0;

    if (hierarchy->version == 2)
        return mount_fs("cgroup2", NULL, 0, attributes, dir_fd, path);
    g_auto(GStrv) tokens = g_strsplit(hierarchy->options, ",", G_N_ELEMENTS(options));
    for (char **token = tokens; *token != NULL && n < G_N_ELEMENTS(options); token++) {
        gboolean is_name = g_str_has_prefix(*token, "name=");
        options[n++] =
            is_name ? (Option){"name", *token + strlen("name=")} : (Option){*token, NULL};
    }
    return mount_fs("cgroup", options, n, attributes, dir_fd, path);
}

/* v1 and hybrid: a directory a hierarchy, and the host's links, in a tmpfs that is read-only in the
 * end. */
static gboolean fill_cgroup_dir(const PvLaunchRoot *root, const GPtrArray *hierarchies, int dir_fd,
                                GError **error)
{
    for (guint i = 0; i < hierarchies->len; i++) {
        const PvLaunchHierarchy *hierarchy = hierarchies->pdata[i];
        const char *name = hierarchy->dir_name[0] != '\0' ? hierarchy->dir_name : "unified";
        if (mkdirat(dir_fd, name, 0755) < 0)
            return pv_error_set_errno(error, errno, "cannot make /sys/fs/cgroup/%s", name);
        int r = mount_hierarchy(hierarchy, dir_fd, name);
        if (r < 0)
            return pv_error_set_errno(error, -r, "cannot mount the cgroups of %s",
                                      hierarchy->mount_point);
    }
    for (char **link = root->cgroup_links; *link != NULL; link += 2) {
        if (symlinkat(link[1], dir_fd, link[0]) < 0)
            pv_log_debug("cannot make /sys/fs/cgroup/%s: %s", link[0], g_strerror(errno));
    }
    return TRUE;
}

static gboolean mount_cgroups(const PvLaunchRoot *root, const GPtrArray *hierarchies, int cgroup_fd,
                              int root_fd, GError **error)
{
    static const Option options[] = {{"mode", "755"}, {"size", "64k"}};
    const PvLaunchHierarchy *first = hierarchies->pdata[0];
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    pv_autofd int dir_fd = pv_sys_openat2(root_fd, "sys/fs/cgroup", O_PATH | O_DIRECTORY, 0,
                                          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    pv_autofd int tmp_fd = -1;
    int r = dir_fd;

    if (r >= 0 && cgroup_fd >= 0) {
        r = attach_at(cgroup_fd, dir_fd, "");
    } else if (r >= 0 && hierarchies->len == 1 && first->version == 2) {
        r = mount_hierarchy(first, dir_fd, "");
    } else if (r >= 0) {
        tmp_fd = make_fs("tmpfs", options, G_N_ELEMENTS(options), ATTRIBUTES_API);
        r = tmp_fd < 0 ? tmp_fd : attach_at(tmp_fd, dir_fd, "");
    }
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot mount /sys/fs/cgroup");
    if (tmp_fd < 0)
        return TRUE;
    if (!fill_cgroup_dir(root, hierarchies, tmp_fd, error))
        return FALSE;
    r = pv_sys_mount_setattr(tmp_fd, "", AT_EMPTY_PATH, &read_only);
    return r == 0 || r == -ENOSYS ||
           pv_error_set_errno(error, -r, "cannot make /sys/fs/cgroup read-only");
}

/* ---- the end ---- */

/* Parts of /proc and /sys that tell of, or change, the machine and not the container. */
static gboolean mask_paths(GError **error)
{
    static const char *const hidden[] = {"/proc/acpi",          "/proc/asound",
                                         "/proc/kcore",         "/proc/keys",
                                         "/proc/latency_stats", "/proc/sched_debug",
                                         "/proc/scsi",          "/proc/timer_list",
                                         "/proc/timer_stats",   "/proc/kpagecgroup",
                                         "/proc/kpagecount",    "/proc/kpageflags",
                                         "/sys/firmware",       "/sys/devices/virtual/powercap"};
    static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                            "/proc/sysrq-trigger"};
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    const char *failed = NULL;
    struct stat st;

    for (guint i = 0; i < G_N_ELEMENTS(hidden) && failed == NULL; i++) {
        if (lstat(hidden[i], &st) < 0)
            continue;
        int r = S_ISDIR(st.st_mode) ? mount("tmpfs", hidden[i], "tmpfs", flags, NULL)
                                    : mount("/dev/null", hidden[i], NULL, MS_BIND, NULL);
        if (r < 0)
            failed = hidden[i];
    }
    for (guint i = 0; i < G_N_ELEMENTS(read_only) && failed == NULL; i++) {
        if (lstat(read_only[i], &st) < 0)
            continue;
        if (mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL) < 0 ||
            mount(NULL, read_only[i], NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0)
            failed = read_only[i];
    }
    return failed == NULL || pv_error_set_errno(error, errno, "cannot protect %s", failed);
}

/* Make the working directory, the new root's top, "/"; the old root goes with everything below it.
 */
static gboolean enter_root(GError **error)
{
    int r = pv_sys_pivot_root(".", ".");

    if (r < 0)
        return pv_error_set_errno(error, -r, "pivot_root");
    /* The old root is now on top of the new one. */
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return pv_error_set_errno(error, errno, "cannot leave the host's root");
    return TRUE;
}

gboolean pv_launch_root_mount(const PvLaunchRoot *root, const GPtrArray *hierarchies, int cgroup_fd,
                              GError **error)
{
    static const Option tmp[] = {{"mode", "1777"}};
    static const Option run[] = {{"mode", "755"}};
    int root_fd = attach_trees(root, error);

    if (root_fd < 0)
        return FALSE;
    return mount_top(root_fd, "proc", "proc", NULL, 0, ATTRIBUTES_API, error) &&
           mount_sys(root, root_fd, error) && mount_dev(root, root_fd, error) &&
           mount_top(root_fd, "tmp", "tmpfs", tmp, G_N_ELEMENTS(tmp), ATTRIBUTES_DATA, error) &&
           mount_top(root_fd, "run", "tmpfs", run, G_N_ELEMENTS(run), ATTRIBUTES_DATA, error) &&
           mount_cgroups(root, hierarchies, cgroup_fd, root_fd, error) && enter_root(error) &&
           mask_paths(error);
}
