/*
 * What the container gets of the host's mounts: copies that are attached nowhere, taken while the
 * launcher still sees them all. A user namespace could not take them apart: there they are locked
 * to each other.
 */
#include "root.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define MOUNTINFO_MAX_BYTES (32u << 20)

/* Mounts of the host that make up its system, with the root. */
#define SUBMOUNTS_MAX 64

static void tree_clear(gpointer data)
{
    PvLaunchTree *tree = data;
    pv_clear_fd(&tree->fd);
    g_free(tree->target);
}

void pv_launch_root_clear(PvLaunchRoot *root)
{
    g_clear_pointer(&root->trees, g_array_unref);
    pv_clear_fd(&root->sys_fd);
    g_clear_pointer(&root->cgroup_links, g_strfreev);
    g_clear_pointer(&root->tty, g_free);
}

/*
 * Copy the mount at a path.
 * flags  of open_tree
 * ret_unset  set when the attributes could not be set here, and the init has to
 * Returns a descriptor or a negative errno.
 */
static int copy_mount(const char *path, unsigned int flags, guint64 attributes, gboolean *ret_unset)
{
    pv_autofd int fd = pv_sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | flags);
    struct mount_attr attr = {.attr_set = attributes, .propagation = MS_PRIVATE};

    if (fd < 0)
        return fd;
    int r = pv_sys_mount_setattr(fd, "", AT_EMPTY_PATH | (flags & AT_RECURSIVE), &attr);
    if (r == -ENOSYS)
        *ret_unset = TRUE;
    else if (r < 0)
        return r;
    return pv_steal_fd(&fd);
}

static gboolean add_tree(PvLaunchRoot *root, const char *path, const char *target,
                         unsigned int flags, guint64 attributes, GError **error)
{
    PvLaunchTree tree = {.target = g_strdup(target)};

    tree.fd = copy_mount(path, flags, attributes, &root->to_remount);
    if (tree.fd < 0) {
        g_free(tree.target);
        return pv_error_set_errno(error, -tree.fd, "cannot copy the mount %s", path);
    }
    g_array_append_val(root->trees, tree);
    return TRUE;
}

/* Directories that belong to the system: mounts there come along. */
static gboolean is_system_path(const char *path)
{
    static const char *const prefixes[] = {"/usr",    "/bin", "/sbin", "/lib", "/lib32", "/lib64",
                                           "/libx32", "/etc", "/opt",  "/nix", "/gnu"};

    for (guint i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        gsize length = strlen(prefixes[i]);
        if (strncmp(path, prefixes[i], length) == 0 &&
            (path[length] == '\0' || path[length] == '/'))
            return TRUE;
    }
    /* Not what is below: that is where container managers keep theirs. */
    return g_str_equal(path, "/var") || g_str_equal(path, "/var/lib");
}

/* Of a line of mountinfo, the mount point, when the container is to have a copy of the mount. */
static char *submount_of_line(const char *line)
{
    g_auto(GStrv) halves = g_strsplit(line, " - ", 2);
    if (g_strv_length(halves) != 2)
        return NULL;
    g_auto(GStrv) fields = g_strsplit(halves[0], " ", 6);
    /* FUSE, network and automatic mounts can hang; a blank in the path is not worth the trouble. */
    if (g_strv_length(fields) < 6 || strchr(fields[4], '\\') != NULL ||
        !is_system_path(fields[4]) || g_str_has_prefix(halves[1], "fuse") ||
        g_str_has_prefix(halves[1], "nfs") || g_str_has_prefix(halves[1], "autofs"))
        return NULL;
    return g_strdup(fields[4]);
}

static gboolean add_submounts(PvLaunchRoot *root, guint64 attributes, GError **error)
{
    g_autoptr(GString) mountinfo = g_string_new(NULL);
    int r = pv_read_all_at(AT_FDCWD, "/proc/self/mountinfo", mountinfo, MOUNTINFO_MAX_BYTES);
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot read /proc/self/mountinfo");

    g_auto(GStrv) lines = g_strsplit(mountinfo->str, "\n", -1);
    for (char **line = lines; *line != NULL && root->trees->len < SUBMOUNTS_MAX; line++) {
        g_autofree char *path = submount_of_line(*line);
        g_autoptr(GError) local = NULL;
        /* A mount hidden by a later one above it is no loss. */
        if (path != NULL && !add_tree(root, path, path + 1, 0, attributes, &local))
            pv_log_debug("left out of the container: %s", local->message);
    }
    return TRUE;
}

/* cgroup v1's "cpu -> cpu,cpuacct" and the like. */
static char **read_cgroup_links(void)
{
    GPtrArray *links = g_ptr_array_new();
    g_autoptr(GDir) dir = g_dir_open("/sys/fs/cgroup", 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        char target[PATH_MAX];
        g_autofree char *path = g_build_filename("/sys/fs/cgroup", name, NULL);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        g_ptr_array_add(links, g_strdup(name));
        g_ptr_array_add(links, g_strdup(target));
    }
    g_ptr_array_add(links, NULL);
    return (char **)g_ptr_array_free(links, FALSE);
}

static char *find_tty(void)
{
    char name[PATH_MAX];

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (isatty(fd) && ttyname_r(fd, name, sizeof name) == 0)
            return g_strdup(name);
    }
    return NULL;
}

/* Made here because a user namespace may not. What cannot be made is missed, and told of, when it
 * is mounted on. */
static void make_mount_points(int root_fd)
{
    static const char *const names[] = {"proc", "sys", "dev", "tmp", "run"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (mkdirat(root_fd, names[i], 0755) < 0 && errno != EEXIST)
            pv_log_debug("cannot make /%s: %s", names[i], g_strerror(errno));
    }
}

gboolean pv_launch_root_prepare(const PvLaunchPlan *plan, PvLaunchRoot *root, GError **error)
{
    const guint64 system_attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    gboolean ignored = FALSE;

    root->trees = g_array_new(FALSE, FALSE, sizeof(PvLaunchTree));
    g_array_set_clear_func(root->trees, tree_clear);
    root->cgroup_links = read_cgroup_links();
    root->tty = find_tty();
    root->sys_fd = copy_mount(
        "/sys", 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
        &ignored);
    if (plan->rootfs != NULL) {
        if (!add_tree(root, plan->rootfs, "", AT_RECURSIVE, MOUNT_ATTR_NODEV, error))
            return FALSE;
        make_mount_points(g_array_index(root->trees, PvLaunchTree, 0).fd);
        return TRUE;
    }
    root->read_only = TRUE;
    return add_tree(root, "/", "", 0, system_attributes, error) &&
           add_submounts(root, system_attributes, error);
}

gboolean pv_launch_root_idmap(PvLaunchRoot *root, int user_ns_fd)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (guint64)user_ns_fd};
    int r = pv_sys_mount_setattr(g_array_index(root->trees, PvLaunchTree, 0).fd, "", AT_EMPTY_PATH,
                                 &attr);

    if (r < 0)
        pv_log_debug("the root cannot be shown with the ids of the user namespace: %s",
                     g_strerror(-r));
    return r == 0;
}
