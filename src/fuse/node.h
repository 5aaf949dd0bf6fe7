/*
 * Inode numbers. Each says by itself what it stands for, so that FORGET has nothing to do and a new
 * server understands the numbers that an old one handed out. Never change what a number means.
 *
 *     bits 42-63  container: PvContainer.id, or 0 for that of the caller
 *     bits 28-31  kind
 *     bits 0-27   value; with bits 32-41 above them for PV_NODE_CPU
 *
 * What is asked for by caller, on a machine of few CPUs, stays below 2^32: 32-bit programs without
 * large file support get no EOVERFLOW.
 */
#pragma once

#include <glib.h>

typedef enum {
    PV_NODE_ROOT =
        0,           /* value 1 (FUSE's own number of the root): the root, or that of a container */
    PV_NODE_DIR = 1, /* a directory above some row; value: hash of its path */
    PV_NODE_ROW = 2, /* value: PvRow.number */
    PV_NODE_CPU_TOP =
        3, /* in sys/devices/system/cpu, not in a cpuN; value: hash of the path in there */
    PV_NODE_CPU = 4, /* cpuN, or a path in it; value: that path's hash, 0 for cpuN itself */
    PV_NODE_NUMA =
        5, /* in sys/devices/system/node; value: a file's index, or the node's and the file's */
    PV_NODE_NUMA_CPU = 6,    /* sys/devices/system/node/nodeN/cpuM */
    PV_NODE_CGROUP_LINK = 7, /* containers/NAME/cgroup; value 1 */
    PV_NODE_KINDS
} PvNodeKind;

typedef struct {
    guint32 container_id; /* 0: the caller's */
    PvNodeKind kind;
    guint32 cpu; /* of PV_NODE_CPU, PV_NODE_NUMA_CPU: the id as it is shown */
    guint32 value;
} PvNode;

#define PV_NODE_VALUE_BITS     28 /* of a value; a hash for PV_NODE_DIR and PV_NODE_CPU_TOP */
#define PV_NODE_CPU_HASH_BITS  25 /* of a value, for PV_NODE_CPU */
#define PV_NODE_CONTAINER_BITS 22
#define PV_NODE_ROOT_VALUE     1

guint64 pv_node_encode(const PvNode *node);

/* FALSE for a number that no version ever handed out. */
gboolean pv_node_decode(guint64 ino, PvNode *ret_node);

/* A path's hash of `bits` bits, never 0: the same in every build, for ever. */
guint32 pv_node_hash(const char *path, guint bits);
