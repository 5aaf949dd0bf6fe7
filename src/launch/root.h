/*
 * The container's file system. The launcher, which sees the host, takes copies of the mounts that
 * the container is to have (root_prepare.c); the init puts them together inside its own mount
 * namespace (root_mount.c).
 */
#pragma once

#include "cgroup.h"

/* A copy of a mount, attached nowhere yet. */
typedef struct {
    int fd;
    char *target; /* below the new root: "usr"; "" for the root itself */
} PvLaunchTree;

typedef struct {
    GArray *trees; /* of PvLaunchTree; the root comes first */
    int sys_fd; /* a read-only copy of the host's /sys, for when the container may not mount its own
                 */
    gboolean read_only;  /* the trees are … */
    gboolean to_remount; /* … to be made so by the init: this kernel has no mount_setattr */
    char **cgroup_links; /* "name", "target", …: the symbolic links of the host's /sys/fs/cgroup */
    char *tty;           /* the terminal that is to be /dev/console, or NULL */
} PvLaunchRoot;

void pv_launch_root_clear(PvLaunchRoot *root);

/*
 * Take the copies.
 * root  zeroed
 */
gboolean pv_launch_root_prepare(const PvLaunchPlan *plan, PvLaunchRoot *root, GError **error);

/* Show the files of --rootfs as owned by the ids of a user namespace. FALSE where the file system
 * or the kernel cannot do it: root's files then belong to nobody inside. */
gboolean pv_launch_root_idmap(PvLaunchRoot *root, int user_ns_fd);

/*
 * In the init, in its new namespaces: build the root from the copies, with /proc, /sys, /dev, /tmp,
 * /run and cgroups of its own, make it "/" and let go of the old one.
 * cgroup_fd  a mount that is to be /sys/fs/cgroup; -1: the kernel's own are mounted
 */
gboolean pv_launch_root_mount(const PvLaunchRoot *root, const GPtrArray *hierarchies, int cgroup_fd,
                              GError **error);
