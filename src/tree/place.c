/* Nodes that a caller may reach: everything begins here. */
#include "internal.h"

#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

void pv_tree_place_clear(PvTreePlace *place)
{
    /* A place that was never found is all zeros. */
    if (place->node.kind == PV_TREE_DIR || place->node.kind == PV_TREE_FILE)
        pv_clear_fd(&place->dirfd);
}

/* The top of a host that has v2 alone is a cgroup itself. */
static int find_top(PvCgroupTree *tree, const PvTreeCaller *caller, PvTreePlace *place)
{
    if (!tree->is_single)
        return 0;
    int r = pv_tree_root_find(tree, caller, 0, &place->root);
    if (r < 0)
        return r;
    place->node = (PvTreeNode){.kind = PV_TREE_DIR, .dir = place->root.id};
    return place->root.access == PV_TREE_HIDDEN ? -EACCES : 0;
}

static int find_in_hierarchy(PvCgroupTree *tree, const PvTreeCaller *caller, PvTreePlace *place)
{
    const PvTreeNode *node = &place->node;
    guint64 reach;
    int r;

    if (place->root.id == 0) {
        r = pv_tree_root_find(tree, caller, node->hierarchy, &place->root);
        if (r < 0)
            return r;
    }
    /* The operator looks into containers, too. */
    reach = caller->is_operator ? tree->hierarchy[node->hierarchy].top_id : place->root.id;
    if (reach == 0)
        return -ESTALE;
    place->dirfd = pv_tree_open_dir(tree, node->hierarchy, node->dir);
    if (place->dirfd < 0)
        return place->dirfd;
    if (fstat(place->dirfd, &place->dir_stat) < 0)
        return -errno;
    return pv_tree_is_beneath(tree, node->hierarchy, place->dirfd, reach) ? 0 : -ESTALE;
}

gboolean pv_tree_is_top_of(const PvTreeCaller *caller, const PvTreeNode *node)
{
    return node->kind == PV_TREE_TOP ||
           (node->kind == PV_TREE_OF &&
            (caller->is_operator ||
             (caller->container != NULL && caller->container->id == node->container_id)));
}

int pv_tree_place_find(PvCgroupTree *tree, const PvTreeCaller *caller, guint64 ino,
                       PvTreePlace *ret_place)
{
    int r = 0;

    *ret_place = (PvTreePlace){.dirfd = -1};
    if (!pv_tree_node_decode(tree, ino, &ret_place->node))
        return -ESTALE;
    if (ret_place->node.kind == PV_TREE_TOP)
        r = find_top(tree, caller, ret_place);
    if (r == 0 && ret_place->node.kind == PV_TREE_OF &&
        !pv_tree_is_top_of(caller, &ret_place->node))
        r = -ESTALE;
    if (r == 0 && (ret_place->node.kind == PV_TREE_DIR || ret_place->node.kind == PV_TREE_FILE))
        r = find_in_hierarchy(tree, caller, ret_place);
    return r;
}

int pv_tree_place_writable(const PvTreePlace *place)
{
    if (place->node.kind != PV_TREE_DIR && place->node.kind != PV_TREE_FILE)
        return -EACCES;
    return place->root.access == PV_TREE_READ_ONLY ? -EACCES : 0;
}

gboolean pv_tree_place_ends_at_root(const PvCgroupTree *tree, const PvTreeCaller *caller,
                                    const PvTreePlace *place)
{
    return !caller->is_operator && !place->root.is_top &&
           !pv_tree_limits_reach_down(tree, place->node.hierarchy, place->root.id);
}

int pv_tree_place_open(PvCgroupTree *tree, const PvTreePlace *place)
{
    const char *name;
    int fd;

    if (place->node.kind == PV_TREE_DIR) {
        fd = fcntl(place->dirfd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -errno : fd;
    }
    name = pv_tree_name(tree, place->node.name);
    if (place->node.kind != PV_TREE_FILE || name == NULL)
        return -ESTALE;
    return pv_sys_openat2(place->dirfd, name, O_PATH | O_NOFOLLOW, 0, BENEATH);
}

int pv_tree_reopen(PvCgroupTree *tree, const PvTreeCreds *creds, int fd, int flags)
{
    char path[64];
    int opened;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    pv_tree_assume(creds);
    opened = open(path, flags | O_CLOEXEC | O_NOCTTY);
    opened = opened < 0 ? -errno : opened;
    pv_tree_resume(tree);
    return opened;
}
