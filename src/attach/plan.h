/*
 * What the parent prepares for the child that attaches or detaches: everything that needs memory or
 * parsing is done before the fork.
 */
#pragma once

#include "enter.h"
#include "mountinfo.h"

#include <glib.h>
#include <sys/types.h>

/* The whole work of one child, and how long one FUSE file system may take to say that it lives. */
#define PV_ATTACH_DEADLINE_MSEC 10000
#define PV_ATTACH_PROBE_MSEC    1000

/* A process to go to, or a container that is being built. */
typedef struct {
    int procfs_fd;         /* the caller's /proc */
    int process_fd;        /* the process's directory in it */
    int root_fd;           /* the process's root directory, or that of the container to be */
    int mntns_fd;          /* -1: the caller is in the namespace already */
    char *prefix;          /* where root_fd is, as mountinfo has it; NULL for the process's root */
    GPtrArray *mounts;     /* of PvMountEntry: its mountinfo */
    GPtrArray *own_mounts; /* the caller's */
} PvTarget;

/*
 * Open a process's namespace and root.
 * Errors: NOT_FOUND (no such process), BUSY (it is in the caller's mount namespace, or in the
 * machine's), PERMISSION, GONE, FAILED.
 */
gboolean pv_target_open(pid_t pid, PvTarget *ret_target, GError **error);

/*
 * Open the root file system of a container that is not started yet.
 * pid     the container's init, or 0: the caller is in its mount namespace
 * rootfs  as the caller's namespace has it
 * Errors: as pv_target_open; INVALID for a rootfs that is none.
 */
gboolean pv_target_open_rootfs(pid_t pid, const char *rootfs, PvTarget *ret_target, GError **error);

/* The caller itself: no root_fd, no mntns_fd. `target` is PV_TARGET_INIT. */
gboolean pv_target_open_self(PvTarget *target, GError **error);

/* Read the process's mountinfo again. */
gboolean pv_target_reload(PvTarget *target, GError **error);

void pv_target_clear(PvTarget *target);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvTarget, pv_target_clear)

#define PV_TARGET_INIT                                                                             \
    {                                                                                              \
        -1, -1, -1, -1, NULL, NULL, NULL                                                           \
    }

/*
 * Take the topmost views off the mount points `paths` (NULL-terminated, "/proc/meminfo") in a
 * process's namespace: as many as are stacked there. PvReport are appended; index is that of the
 * path.
 */
gboolean pv_detach_paths(const PvTarget *target, const char *const *paths, GArray *reports,
                         GError **error);

/*
 * The message for a report, for people.
 * mounts  the target's, to name what is mounted on it
 */
char *pv_report_reason(const PvReport *report, const GPtrArray *mounts);
