/* Inode numbers, see node.h. */
#include "node.h"

#include "procview/cpuset.h"

#define VALUE_MASK      (((guint64)1 << PV_NODE_VALUE_BITS) - 1)
#define KIND_SHIFT      PV_NODE_VALUE_BITS
#define UPPER_SHIFT     32
#define UPPER_MASK      0x3ff
#define CONTAINER_SHIFT (64 - PV_NODE_CONTAINER_BITS)
#define NUMA_CPU_SHIFT  13 /* 2^13 = PV_CPU_MAX */

G_STATIC_ASSERT(PV_CPU_MAX <= 1 << NUMA_CPU_SHIFT);
G_STATIC_ASSERT(PV_NODE_CPU_HASH_BITS + 13 <= PV_NODE_VALUE_BITS + 10);

guint64 pv_node_encode(const PvNode *node)
{
    guint64 payload = node->value;

    if (node->kind == PV_NODE_CPU)
        payload = (guint64)node->cpu << PV_NODE_CPU_HASH_BITS | node->value;
    else if (node->kind == PV_NODE_NUMA_CPU)
        payload = (guint64)node->value << NUMA_CPU_SHIFT | node->cpu;

    return (guint64)node->container_id << CONTAINER_SHIFT |
           (payload >> PV_NODE_VALUE_BITS) << UPPER_SHIFT | (guint64)node->kind << KIND_SHIFT |
           (payload & VALUE_MASK);
}

gboolean pv_node_decode(guint64 ino, PvNode *ret_node)
{
    guint64 payload = (ino >> UPPER_SHIFT & UPPER_MASK) << PV_NODE_VALUE_BITS | (ino & VALUE_MASK);
    guint kind = ino >> KIND_SHIFT & 0xf;
    PvNode node = {
        .container_id = (guint32)(ino >> CONTAINER_SHIFT),
        .kind = kind,
        .value = (guint32)payload,
    };

    if (kind >= PV_NODE_KINDS || (kind != PV_NODE_CPU && payload > VALUE_MASK))
        return FALSE;
    if (kind == PV_NODE_ROOT && node.value != PV_NODE_ROOT_VALUE)
        return FALSE;
    if (kind == PV_NODE_CPU) {
        node.cpu = (guint32)(payload >> PV_NODE_CPU_HASH_BITS);
        node.value = payload & (((guint64)1 << PV_NODE_CPU_HASH_BITS) - 1);
    } else if (kind == PV_NODE_NUMA_CPU) {
        node.cpu = payload & ((1 << NUMA_CPU_SHIFT) - 1);
        node.value = (guint32)(payload >> NUMA_CPU_SHIFT);
    }
    *ret_node = node;
    return TRUE;
}

guint32 pv_node_hash(const char *path, guint bits)
{
    guint64 hash = 0xcbf29ce484222325; /* FNV-1a */

    for (const char *c = path; *c != '\0'; c++)
        hash = (hash ^ (guchar)*c) * 0x100000001b3;
    hash = (hash ^ hash >> 32) & (((guint64)1 << bits) - 1);
    return hash != 0 ? (guint32)hash : 1;
}
