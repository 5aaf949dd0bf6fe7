/* Numbers of nodes, see internal.h. Never change what one means: an earlier server handed it out.
 */
#include "internal.h"

#define HIERARCHY_SHIFT 58
#define NAME_SHIFT      PV_TREE_DIR_BITS
#define DIR_MASK        ((G_GUINT64_CONSTANT(1) << PV_TREE_DIR_BITS) - 1)
#define NAME_MASK       G_GUINT64_CONSTANT(0xfff)

#define OWN_OF   (G_GUINT64_CONSTANT(1) << 40)
#define OWN_LINK (G_GUINT64_CONSTANT(2) << 40)
#define OWN_MASK (G_GUINT64_CONSTANT(3) << 40)

G_STATIC_ASSERT(PV_TREE_NAMES <= 0xfff);

guint64 pv_tree_node_encode(const PvTreeNode *node)
{
    switch (node->kind) {
    case PV_TREE_TOP:
        return PV_CGROUP_TREE_ROOT;
    case PV_TREE_OF:
        return OWN_OF | node->container_id;
    case PV_TREE_LINK:
        return OWN_LINK | node->link;
    default:
        return ((guint64)node->hierarchy + 1) << HIERARCHY_SHIFT |
               (guint64)node->name << NAME_SHIFT | node->dir;
    }
}

static gboolean decode_own(const PvCgroupTree *tree, guint64 ino, PvTreeNode *ret_node)
{
    guint64 value = ino & ~OWN_MASK;

    if (ino == PV_CGROUP_TREE_ROOT) {
        ret_node->kind = PV_TREE_TOP;
    } else if ((ino & OWN_MASK) == OWN_OF && value != 0 && value <= G_MAXUINT32) {
        ret_node->kind = PV_TREE_OF;
        ret_node->container_id = (guint32)value;
    } else if ((ino & OWN_MASK) == OWN_LINK && value < tree->top_names->len) {
        ret_node->kind = PV_TREE_LINK;
        ret_node->link = (guint)value;
    } else {
        return FALSE;
    }
    return TRUE;
}

gboolean pv_tree_node_decode(const PvCgroupTree *tree, guint64 ino, PvTreeNode *ret_node)
{
    guint hierarchy = (guint)(ino >> HIERARCHY_SHIFT);

    *ret_node = (PvTreeNode){0};
    if (hierarchy == 0)
        return decode_own(tree, ino, ret_node);
    if (hierarchy > tree->n_hierarchies || (ino & DIR_MASK) == 0)
        return FALSE;
    ret_node->hierarchy = hierarchy - 1;
    ret_node->name = (guint)(ino >> NAME_SHIFT & NAME_MASK);
    ret_node->dir = ino & DIR_MASK;
    ret_node->kind = ret_node->name == 0 ? PV_TREE_DIR : PV_TREE_FILE;
    return TRUE;
}
