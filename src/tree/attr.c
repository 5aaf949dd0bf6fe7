/* Attributes, and what may be changed of them. */
#include "internal.h"

#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int stat_place(PvCgroupTree *tree, const PvTreePlace *place, guint64 ino,
                      struct stat *ret_stat)
{
    pv_autofd int fd = -1;

    switch (place->node.kind) {
    case PV_TREE_TOP:
    case PV_TREE_OF:
        pv_tree_fill_stat(ino, S_IFDIR | 0555, ret_stat);
        return 0;
    case PV_TREE_LINK:
        pv_tree_fill_stat(ino, S_IFLNK | 0777, ret_stat);
        ret_stat->st_size =
            (off_t)strlen(g_array_index(tree->top_names, PvTreeTopName, place->node.link).target);
        return 0;
    case PV_TREE_DIR:
        *ret_stat = place->dir_stat;
        return 0;
    default:
        fd = pv_tree_place_open(tree, place);
        if (fd < 0)
            return fd;
        return fstat(fd, ret_stat) < 0 ? -errno : 0;
    }
}

int pv_cgroup_tree_stat(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                        struct stat *ret_stat)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    int r = pv_tree_caller_load(tree, request, &caller);

    if (r == 0)
        r = pv_tree_place_find(tree, &caller, ino, &place);
    if (r == 0)
        r = stat_place(tree, &place, ino, ret_stat);
    /* It may have been removed; older kernels find its directory all the same. */
    if ((r == -ESTALE || r == -ENOENT) && caller.container != NULL) {
        int by_handle = pv_tree_handle_stat(tree, request, &caller, ino, ret_stat);
        return by_handle == -ESTALE ? r : by_handle;
    }
    return r;
}

int pv_cgroup_tree_access(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino, int mode)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    pv_autofd int fd = -1;
    PvTreeCreds creds;
    struct stat st;
    int r = pv_tree_caller_load(tree, request, &caller);

    if (r == 0)
        r = pv_tree_place_find(tree, &caller, ino, &place);
    if (r == 0)
        r = stat_place(tree, &place, ino, &st);
    if (r < 0)
        return r;
    if (place.dirfd < 0)
        return (mode & W_OK) != 0 ? -EACCES : 0;
    if ((mode & W_OK) != 0 && pv_tree_place_writable(&place) < 0)
        return -EACCES;
    fd = pv_tree_place_open(tree, &place);
    if (fd < 0)
        return fd;
    creds = pv_tree_creds_over(&caller, &st);
    pv_tree_assume(&creds);
    r = pv_sys_faccess(fd, mode & (R_OK | W_OK | X_OK), AT_EACCESS);
    pv_tree_resume(tree);
    return r;
}

int pv_cgroup_tree_statfs(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                          struct statvfs *ret_stat)
{
    PvTreeNode node;
    guint hierarchy = 0;

    (void)request;
    if (pv_tree_node_decode(tree, ino, &node) &&
        (node.kind == PV_TREE_DIR || node.kind == PV_TREE_FILE))
        hierarchy = node.hierarchy;
    return fstatvfs(tree->hierarchy[hierarchy].dirfd, ret_stat) < 0 ? -errno : 0;
}

/* ---- changing ---- */

/* By the thread that has become the caller. path: of /proc/self/fd, it stands for `fd`. */
static int apply(int fd, const char *path, const PvCgroupChange *change)
{
    if (change->has_size) {
        int opened = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        if (opened < 0)
            return -errno;
        close(opened);
    }
    if ((change->has_uid || change->has_gid) &&
        fchownat(fd, "", change->has_uid ? change->uid : (uid_t)-1,
                 change->has_gid ? change->gid : (gid_t)-1, AT_EMPTY_PATH) < 0)
        return -errno;
    if (change->has_mode && chmod(path, change->mode) < 0)
        return -errno;
    if (change->has_times && utimensat(AT_FDCWD, path, change->times, 0) < 0)
        return -errno;
    return 0;
}

int pv_cgroup_tree_change(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                          const PvCgroupChange *change, struct stat *ret_stat)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    pv_autofd int fd = -1;
    PvTreeCreds creds;
    struct stat st;
    char path[64];
    int r = pv_tree_caller_load(tree, request, &caller);

    if (r == 0)
        r = pv_tree_place_find(tree, &caller, ino, &place);
    if (r == 0 && place.dirfd < 0)
        r = -EPERM;
    if (r == 0)
        r = pv_tree_place_writable(&place);
    if (r == 0)
        r = stat_place(tree, &place, ino, &st);
    if (r < 0)
        return r;
    fd = pv_tree_place_open(tree, &place);
    if (fd < 0)
        return fd;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    creds = pv_tree_creds_over(&caller, &st);
    pv_tree_assume(&creds);
    r = apply(fd, path, change);
    pv_tree_resume(tree);
    if (r < 0)
        return r;
    return fstat(fd, ret_stat) < 0 ? -errno : 0;
}
