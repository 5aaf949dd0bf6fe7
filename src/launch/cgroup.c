/*
 * Making, entering and removing the container's cgroup, the same on every hierarchy.
 */
#include "cgroup.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROCS_MAX_BYTES (1u << 20)

/* How long the kernel may take to be done with killed processes. */
#define REMOVE_WAIT_USEC (10 * G_USEC_PER_SEC)
#define REMOVE_STEP_USEC (10 * 1000)

static int open_dir(int dirfd, const char *path)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* What a user can do about the kernel's refusal to have a cgroup made or written. */
static const char *advice_for(int errnum)
{
    switch (errnum) {
    case EROFS:
        return "; cgroups are mounted read-only here, run it where they are writable";
    case EPERM:
    case EACCES:
        return "; root with write access to the cgroups is needed";
    case ENOSPC:
        return "; the kernel's or a parent's limit on the number of cgroups is reached";
    default:
        return "";
    }
}

gboolean pv_launch_control_write(const PvLaunchHierarchy *hierarchy, int dir_fd, const char *file,
                                 const char *value, const char *option, GError **error)
{
    int r = pv_write_text_at(dir_fd, file, value);
    if (r == 0)
        return TRUE;
    if (r == -ENOENT)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "%s: the container's cgroup below %s has no %s: %s", option,
                            hierarchy->mount_point, file,
                            hierarchy->version == 1
                                ? "this kernel was built without it"
                                : "its controller is not enabled in cgroup.subtree_control above, "
                                  "or this kernel was built without it");
    return pv_error_set_errno(error, -r,
                              "%s: the kernel refuses \"%s\" in %s of %s/" PV_LAUNCH_PARENT "%s",
                              option, value, file, hierarchy->mount_point, advice_for(-r));
}

gboolean pv_launch_control_write_u64(const PvLaunchHierarchy *hierarchy, int dir_fd,
                                     const char *file, guint64 value, const char *option,
                                     GError **error)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);
    return pv_launch_control_write(hierarchy, dir_fd, file, text, option, error);
}

/* Open a child, made if it is missing. exclusive: it must be new. */
static int make_child(int parent_fd, const char *name, gboolean exclusive)
{
    if (mkdirat(parent_fd, name, 0755) < 0 && (errno != EEXIST || exclusive))
        return -errno;
    return open_dir(parent_fd, name);
}

gboolean pv_launch_cgroup_make(PvLaunchHierarchy *hierarchy, const char *name,
                               const PvLaunchLimits *limits, GError **error)
{
    pv_autofd int root_fd = open_dir(AT_FDCWD, hierarchy->mount_point);
    if (root_fd < 0)
        return pv_error_set_errno(error, -root_fd, "cannot open %s", hierarchy->mount_point);
    pv_autofd int parent_fd = make_child(root_fd, PV_LAUNCH_PARENT, FALSE);
    if (parent_fd < 0)
        return pv_error_set_errno(error, -parent_fd,
                                  "cannot make the cgroup %s/" PV_LAUNCH_PARENT "%s",
                                  hierarchy->mount_point, advice_for(-parent_fd));
    if (!hierarchy->ops->prepare(hierarchy, root_fd, parent_fd, error))
        return FALSE;

    pv_autofd int dir_fd = make_child(parent_fd, name, TRUE);
    if (dir_fd < 0)
        return pv_error_set_errno(error, -dir_fd,
                                  "cannot make the cgroup %s/" PV_LAUNCH_PARENT "/%s%s",
                                  hierarchy->mount_point, name, advice_for(-dir_fd));
    if (!hierarchy->ops->prepare(hierarchy, parent_fd, dir_fd, error) ||
        !pv_launch_limits_write(hierarchy, dir_fd, limits, error)) {
        unlinkat(parent_fd, name, AT_REMOVEDIR);
        return FALSE;
    }
    hierarchy->cgroup = g_build_filename(PV_LAUNCH_PARENT, name, NULL);
    hierarchy->is_ours = TRUE;
    return TRUE;
}

gboolean pv_launch_limits_write(const PvLaunchHierarchy *hierarchy, int dir_fd,
                                const PvLaunchLimits *limits, GError **error)
{
    if (!hierarchy->ops->write_limits(hierarchy, dir_fd, limits, error))
        return FALSE;
    if (pv_launch_hierarchy_has(hierarchy, "cpuset") && limits->has_cpuset) {
        g_autoptr(GString) list = g_string_new(NULL);
        pv_cpu_set_format_list(&limits->cpuset, list);
        if (!pv_launch_control_write(hierarchy, dir_fd, "cpuset.cpus", list->str, "--cpuset",
                                     error))
            return FALSE;
    }
    return !pv_launch_hierarchy_has(hierarchy, "pids") || limits->pids_max == PV_UNLIMITED ||
           pv_launch_control_write_u64(hierarchy, dir_fd, "pids.max", limits->pids_max, "--pids",
                                       error);
}

guint64 pv_launch_cgroup_oom_kills(const PvLaunchHierarchy *hierarchy)
{
    static const char *const keys[] = {"oom_kill"};
    pv_autofd int fd = pv_launch_cgroup_open(hierarchy);
    char text[1024];
    guint64 value = 0, valid = 0;

    if (fd >= 0 && pv_read_text_at(fd, hierarchy->ops->oom_file, text, sizeof text) >= 0)
        pv_keys_parse(text, keys, G_N_ELEMENTS(keys), &value, &valid);
    return value;
}

int pv_launch_cgroup_open(const PvLaunchHierarchy *hierarchy)
{
    if (hierarchy->cgroup == NULL)
        return -ENOENT;
    g_autofree char *path = g_build_filename(hierarchy->mount_point, hierarchy->cgroup, NULL);
    return open_dir(AT_FDCWD, path);
}

gboolean pv_launch_cgroup_enter(const PvLaunchHierarchy *hierarchy, pid_t pid, GError **error)
{
    char text[16];
    pv_autofd int dir_fd = pv_launch_cgroup_open(hierarchy);

    g_snprintf(text, sizeof text, "%d", (int)pid);
    int r = dir_fd < 0 ? dir_fd : pv_write_text_at(dir_fd, "cgroup.procs", text);
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot move the container into the cgroup %s/%s%s",
                                  hierarchy->mount_point, hierarchy->cgroup, advice_for(-r));
    return TRUE;
}

/* ---- removal ---- */

/* SIGKILL to every process of one cgroup. Those of other pid namespaces read as 0. */
static void kill_members(int dir_fd)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (pv_write_text_at(dir_fd, "cgroup.kill", "1") == 0)
        return;
    if (pv_read_all_at(dir_fd, "cgroup.procs", text, PROCS_MAX_BYTES) < 0)
        return;
    const char *cursor = text->str;
    guint64 pid;
    while (pv_parse_u64(&cursor, &pid)) {
        if (pid > 1 && pid <= G_MAXINT32 && (pid_t)pid != getpid())
            kill((pid_t)pid, SIGKILL);
        cursor += strspn(cursor, "\n");
    }
}

/* The name of some child cgroup, or NULL. */
static char *first_child(int dir_fd)
{
    int fd = open_dir(dir_fd, ".");
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    char *name = NULL;

    if (dir == NULL) {
        pv_clear_fd(&fd);
        return NULL;
    }
    while (name == NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            name = g_strdup(entry->d_name);
    }
    closedir(dir);
    return name;
}

/*
 * Go down to a leaf, killing on the way, and remove it. With two descriptors however deep the tree:
 * its depth is the container's choice. Returns 0 when `name` itself is gone, 1 when something below
 * it is, or a negative errno.
 */
static int remove_one_leaf(int top_fd, const char *top_name)
{
    pv_autofd int parent_fd = fcntl(top_fd, F_DUPFD_CLOEXEC, 3);
    g_autofree char *name = g_strdup(top_name);
    gboolean is_top = TRUE;

    for (;;) {
        pv_autofd int fd = open_dir(parent_fd, name);
        if (fd < 0)
            return fd == -ENOENT ? !is_top : fd;
        kill_members(fd);
        char *child = first_child(fd);
        if (child == NULL)
            break;
        g_free(name);
        name = child;
        pv_clear_fd(&parent_fd);
        parent_fd = pv_steal_fd(&fd);
        is_top = FALSE;
    }
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return -errno;
    return !is_top;
}

gboolean pv_launch_cgroup_remove(const PvLaunchHierarchy *hierarchy, const char *path,
                                 GError **error)
{
    g_autofree char *parent = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *parent_path = g_build_filename(hierarchy->mount_point, parent, NULL);
    gint64 deadline = g_get_monotonic_time() + REMOVE_WAIT_USEC;
    pv_autofd int parent_fd = open_dir(AT_FDCWD, parent_path);
    int r = parent_fd;

    if (parent_fd == -ENOENT)
        return TRUE;
    while (r > 0 || r == -EBUSY) {
        r = remove_one_leaf(parent_fd, name);
        if (g_get_monotonic_time() > deadline)
            break;
        if (r == -EBUSY)
            g_usleep(REMOVE_STEP_USEC);
    }
    if (r > 0)
        r = -EBUSY;
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot remove the cgroup %s/%s",
                                  hierarchy->mount_point, path);
    return TRUE;
}

void pv_launch_cgroup_remove_parent(const PvLaunchHierarchy *hierarchy)
{
    g_autofree char *path = g_build_filename(hierarchy->mount_point, PV_LAUNCH_PARENT, NULL);
    /* Fails, as it should, while there are other containers. */
    rmdir(path);
}
