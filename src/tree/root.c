/*
 * The root of a caller's tree in a hierarchy, and what lies below it.
 *
 * It is the cgroup of the container's init: the root that a cgroup namespace made at its start
 * would have had. When init then moves to a cgroup below, through this tree (systemd does so as the
 * first thing), the root must stay where it was. So it is marked before, by an extended attribute
 * that only the host's root can set: the mark lives as long as the cgroup, whatever becomes of this
 * process. An init that others have moved, and that had no mark before, has its new cgroup as its
 * root. One that has moved itself before keeps the root that is marked, wherever below it others
 * put it later, as it would with a cgroup namespace, whose root stays where it was made.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define MARK      "trusted.procview.root"
#define DEPTH_MAX 256

/* fid type of kernfs: FILEID_KERNFS in <linux/exportfs.h> */
#define FILE_ID_KERNFS 0xfe

#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

gboolean pv_tree_is_plain_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* ---- directories by number ---- */

int pv_tree_open_dir(const PvCgroupTree *tree, guint hierarchy, guint64 id)
{
    union {
        struct file_handle head;
        char bytes[sizeof(struct file_handle) + sizeof id];
    } handle = {.head = {.handle_bytes = sizeof id, .handle_type = FILE_ID_KERNFS}};
    struct stat st;
    pv_autofd int fd = -1;

    memcpy(handle.bytes + sizeof(struct file_handle), &id, sizeof id);
    fd = open_by_handle_at(tree->hierarchy[hierarchy].dirfd, &handle.head,
                           O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ESTALE || errno == ENOTDIR ? -ESTALE : -errno;
    /* An id that was given to another node since. */
    if (fstat(fd, &st) < 0 || st.st_ino != id || !S_ISDIR(st.st_mode))
        return -ESTALE;
    return pv_steal_fd(&fd);
}

gboolean pv_tree_is_beneath(const PvCgroupTree *tree, guint hierarchy, int dirfd, guint64 root_id)
{
    guint64 top_id = tree->hierarchy[hierarchy].top_id;
    pv_autofd int fd = -1;

    for (guint i = 0; i < DEPTH_MAX; i++) {
        struct stat st;
        int parent;

        if (fstat(fd >= 0 ? fd : dirfd, &st) < 0)
            return FALSE;
        if (st.st_ino == root_id)
            return TRUE;
        if (st.st_ino == top_id)
            return FALSE;
        parent = pv_sys_openat2(fd >= 0 ? fd : dirfd, "..", O_PATH | O_DIRECTORY, 0,
                                RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
        if (parent < 0)
            return FALSE;
        pv_clear_fd(&fd);
        fd = parent;
    }
    return FALSE;
}

/* ---- directories by path ---- */

static int open_path(const PvCgroupTree *tree, guint hierarchy, const char *path)
{
    const char *relative = path + strspn(path, "/");

    return pv_sys_openat2(tree->hierarchy[hierarchy].dirfd, *relative != '\0' ? relative : ".",
                          O_RDONLY | O_DIRECTORY, 0, BENEATH);
}

static void mark_text(guint64 pidns, guint64 start_ticks, char *text, gsize size)
{
    g_snprintf(text, (gulong)size, "%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, pidns, start_ticks);
}

static gboolean has_mark(int fd, const char *wanted)
{
    char text[64];
    ssize_t n = fgetxattr(fd, MARK, text, sizeof text - 1);

    text[n > 0 ? n : 0] = '\0';
    return n > 0 && strcmp(text, wanted) == 0;
}

/* Cut the path back to the cgroup that bears the container's mark, if one does. */
static void apply_mark(const PvCgroupTree *tree, guint hierarchy, guint64 pidns,
                       guint64 start_ticks, char *path)
{
    g_autofree char *candidate = g_strdup(path);
    char wanted[64];
    char *slash;

    mark_text(pidns, start_ticks, wanted, sizeof wanted);
    for (guint i = 0; i < DEPTH_MAX && strcmp(candidate, "/") != 0 && candidate[0] != '\0'; i++) {
        pv_autofd int fd = open_path(tree, hierarchy, candidate);

        if (fd >= 0 && has_mark(fd, wanted))
            strcpy(path, candidate); /* and go on: the outermost one */
        slash = strrchr(candidate, '/');
        *slash = '\0';
    }
}

void pv_tree_root_mark(PvCgroupTree *tree, const PvTreeCaller *caller, guint hierarchy,
                       guint64 root_id)
{
    char text[64], path[64];
    pv_autofd int fd = pv_tree_open_dir(tree, hierarchy, root_id);

    if (fd < 0 || root_id == tree->hierarchy[hierarchy].top_id)
        return;
    mark_text(caller->container->pidns_ino, caller->init_start_ticks, text, sizeof text);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (setxattr(path, MARK, text, strlen(text), 0) < 0)
        pv_log_warning("cgroup tree: container %s: its root cannot be marked: %s",
                       caller->container->name, g_strerror(errno));
}

/* ---- the root ---- */

/* Where its own processes are put, in a hierarchy; NULL when that is not told. */
static char *init_path(const PvCgroupTree *tree, guint hierarchy, PvContainer *container,
                       const char *root_text, guint64 start_ticks)
{
    char *path = pv_hierarchies_path(tree->hierarchies, hierarchy, root_text);

    if (path != NULL && strcmp(path, "/") != 0)
        apply_mark(tree, hierarchy, container->pidns_ino, start_ticks, path);
    return path;
}

static gboolean is_in_no_cgroup(const PvCgroupTree *tree, const char *text)
{
    for (guint i = 0; i < tree->n_hierarchies; i++) {
        g_autofree char *path = pv_hierarchies_path(tree->hierarchies, i, text);

        if (path != NULL && strcmp(path, "/") != 0)
            return FALSE;
    }
    return TRUE;
}

static int fill_root(const PvCgroupTree *tree, guint hierarchy, const char *path,
                     PvTreeRoot *ret_root)
{
    pv_autofd int fd = open_path(tree, hierarchy, path);
    struct stat st;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    ret_root->id = st.st_ino;
    ret_root->is_top = strcmp(path, "/") == 0 && !tree->hierarchy[hierarchy].info.root_counts;
    ret_root->access = PV_TREE_WRITABLE;
    return 0;
}

/*
 * A container has nothing to do with a hierarchy in which nobody has put it into a cgroup: what is
 * there is the host's. When that is so in all of them, it is the host in another numbering, and may
 * look; as may a process of the host that is in a cgroup elsewhere.
 */
static void limit_access(const PvCgroupTree *tree, const PvTreeCaller *caller, PvTreeRoot *root)
{
    gboolean is_nowhere = is_in_no_cgroup(tree, caller->own_text);
    gboolean is_of_host = caller->pidns == tree->own_pidns;

    if (!root->is_top || (is_of_host && (is_nowhere || caller->is_operator)))
        return;
    root->access = is_of_host || is_nowhere ? PV_TREE_READ_ONLY : PV_TREE_HIDDEN;
    if (root->access == PV_TREE_HIDDEN)
        root->id = 0;
}

int pv_tree_root_find(PvCgroupTree *tree, const PvTreeCaller *caller, guint hierarchy,
                      PvTreeRoot *ret_root)
{
    g_autofree char *own = pv_hierarchies_path(tree->hierarchies, hierarchy, caller->own_text);
    g_autofree char *root = NULL;
    int r;

    *ret_root = (PvTreeRoot){.access = PV_TREE_HIDDEN};
    if (own == NULL)
        return 0;
    if (caller->root_text != NULL && !is_in_no_cgroup(tree, caller->root_text))
        root = init_path(tree, hierarchy, caller->container, caller->root_text,
                         caller->init_start_ticks);
    r = fill_root(tree, hierarchy, root != NULL && pv_cgroup_path_contains(root, own) ? root : own,
                  ret_root);
    if (r == 0)
        limit_access(tree, caller, ret_root);
    return r;
}

int pv_tree_root_of(PvCgroupTree *tree, PvContainer *container, guint hierarchy,
                    PvTreeRoot *ret_root)
{
    guint64 start_ticks = 0;
    g_autofree char *text = pv_container_root_text(container, &start_ticks);
    g_autofree char *path = NULL;
    int r;

    *ret_root = (PvTreeRoot){.access = PV_TREE_HIDDEN};
    if (text == NULL)
        return 0;
    path = init_path(tree, hierarchy, container, text, start_ticks);
    r = path != NULL ? fill_root(tree, hierarchy, path, ret_root) : 0;
    if (r == 0 && ret_root->is_top)
        *ret_root = (PvTreeRoot){.access = PV_TREE_HIDDEN};
    return r;
}
