/*
 * Mounts in a running container: puts the served files over its /proc and /sys, and takes
 * them away again. No program inside the container is needed; nothing is left to undo in the host's
 * namespace.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef enum {
    PV_ATTACH_DONE,     /* mounted now */
    PV_ATTACH_ALREADY,  /* a view was there */
    PV_ATTACH_REPLACED, /* a dead mount was taken away first */
    PV_ATTACH_SKIPPED,  /* the container has no such file, or something else is mounted on it; see
                           reason */
    PV_ATTACH_FAILED,   /* with this one, everything of this call was undone */
    PV_ATTACH_REMOVED,  /* detach: taken away */
} PvAttachStatus;

typedef struct {
    char *path; /* in the container: "/proc/meminfo" */
    PvAttachStatus status;
    char *reason; /* why it was skipped or failed, for people; NULL otherwise */
} PvAttachResult;

void pv_attach_result_free(PvAttachResult *result);

/*
 * Put the views over the files of a process's mount namespace: read-only, nosuid, nodev, noexec.
 * All or none: after the first failure that is not a skip, what this call mounted is taken away
 * again. Never waits for a hung file system longer than some seconds.
 *
 * views_dir  the daemon's mount point in the caller's namespace, "/var/lib/procview"
 * pid        any process in the container, in the caller's pid namespace
 * results    PvAttachResult for each file are appended (also on failure)
 *
 * Errors: NOT_FOUND (no such process), PERMISSION, UNSUPPORTED (kernel before 5.2), BUSY (the
 * process is in the caller's own mount namespace), FAILED (among others: no live procview mount at
 * views_dir).
 */
gboolean pv_attach(const char *views_dir, pid_t pid, GPtrArray *results, GError **error);

/*
 * The same for a container that is being built, for hooks that run before its root is changed.
 *
 * pid     0 when the caller is in the container's mount namespace; else the container's init
 * rootfs  the directory that will be the container's root, in the caller's namespace
 *
 * Errors: as pv_attach; INVALID for a rootfs that is none.
 */
gboolean pv_attach_rootfs(const char *views_dir, pid_t pid, const char *rootfs, GPtrArray *results,
                          GError **error);

/*
 * Whether there is a daemon at views_dir that answers. Waits some seconds for one that hangs.
 * Errors: FAILED.
 */
gboolean pv_attach_views_answer(const char *views_dir, GError **error);

/*
 * Take all views out of a process's mount namespace: what they covered is seen again. Not an error
 * when there are none.
 *
 * Errors: NOT_FOUND, PERMISSION, BUSY, FAILED (the kernel keeps a mount).
 */
gboolean pv_detach(pid_t pid, GPtrArray *results, GError **error);

/* The same for the views of one mount only, told by its device number as mountinfo has it
 * ("0:45"). */
gboolean pv_detach_device(pid_t pid, guint major, guint minor, GPtrArray *results, GError **error);

/* ---- for those who attach as containers start ---- */

/* What can be seen of a process without asking its container anything. */
typedef struct {
    guint64 mntns_ino;       /* its mount namespace */
    gboolean has_own_mounts; /* that is neither the caller's nor the machine's */
    gboolean has_own_pids;   /* the same of its pid namespace */
    gboolean has_own_proc;   /* a procfs that is not the caller's is on its /proc: the root is the
                                container's already */
    guint64 roots;           /* changes when another mount comes to be its / or /proc */
    guint n_views; /* files and directories of `device` that are mounted in its namespace */
} PvInspection;

/*
 * device  of the views that are counted, see pv_attach_views_device(); 0: none
 * Errors: NOT_FOUND, GONE, PERMISSION, FAILED.
 */
gboolean pv_attach_inspect(pid_t pid, guint64 device, PvInspection *ret_inspection, GError **error);

/* The device number (major << 32 | minor) of the daemon's mount at views_dir; 0 without one. The
 * daemon is not asked: it may hang. */
guint64 pv_attach_views_device(const char *views_dir);
