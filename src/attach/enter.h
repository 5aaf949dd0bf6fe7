/*
 * The child process that works in another mount namespace. A process cannot go there and come
 * back safely, and a mount there may belong to a file system that hangs: so a forked child does
 * it, reports each step through a pipe, and is killed when its time is over.
 *
 * Between fork and _exit the child makes system calls only: it allocates nothing, takes no lock,
 * and uses no library function that is not async-signal-safe.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* What the child was doing, for the message that the parent makes of it. */
typedef enum {
    PV_STEP_NONE,
    PV_STEP_PREPARE,      /* open what is needed of its own /proc */
    PV_STEP_VIEWS,        /* ask the views' file system whether it lives */
    PV_STEP_OPEN_VIEW,    /* clone the view's mount */
    PV_STEP_SEAL_VIEW,    /* make the clone read-only, nosuid, nodev, noexec */
    PV_STEP_OPEN_TARGET,  /* open the file in the container */
    PV_STEP_CHECK_TARGET, /* see what is mounted there */
    PV_STEP_ENTER,        /* setns */
    PV_STEP_UNMOUNT,      /* take a mount away */
    PV_STEP_MOUNT,        /* move_mount */
} PvStep;

/* One line of the report: what became of one target. */
typedef struct {
    gint32 index;    /* of the target; -1: the whole work failed */
    gint32 status;   /* PvAttachStatus */
    gint32 step;     /* PvStep at which it ended */
    gint32 errnum;   /* positive, or 0 */
    gint64 mount_id; /* what was found there, or -1 */
} PvReport;

typedef struct {
    int report_fd;
    int fd_dirfd; /* the child's own /proc/self/fd and fdinfo, in the caller's procfs */
    int fdinfo_dirfd;
} PvEnter;

/* The work: an exit from it ends the child. */
typedef void (*PvEnterFunc)(const PvEnter *enter, gpointer data);

/*
 * Run `func` in a child and collect its reports.
 * procfs_fd      the caller's /proc
 * deadline_msec  the child is killed after so long
 * reports        PvReport are appended, also those of a child that was killed
 * Errors: FAILED when the child could not be made, died, or (with the word "time") was killed.
 */
gboolean pv_enter_run(PvEnterFunc func, gpointer data, int procfs_fd, guint deadline_msec,
                      GArray *reports, GError **error);

/* ---- for the child's work: system calls only; 0, a descriptor, or a negative errno ---- */

void pv_enter_report(const PvEnter *enter, const PvReport *report);

/*
 * Open (O_PATH) a path under a root, following neither symbolic links nor "..": openat2(2), or a
 * walk component by component on kernels without it. Does not ask a FUSE file system that is
 * mounted on the last component.
 */
int pv_enter_open(int root_fd, const char *path);

/* The walk of kernels without openat2 (Linux before 5.6). A symbolic link as the last component is
 * opened itself. */
int pv_enter_open_by_components(int root_fd, const char *path);

/* The id of the mount that a descriptor is on, from fdinfo; asks nothing of the file system. */
gint64 pv_enter_mount_id(const PvEnter *enter, int fd);

/* setns(2) into a mount namespace (none for -1), ready for pv_enter_unmount(). */
int pv_enter_namespace(const PvEnter *enter, int mntns_fd);

/* Detach the mount that a descriptor is the root of. Nothing is walked by name in the container. */
int pv_enter_unmount(int fd);

/*
 * Whether a FUSE file system answers: 0, -ENOTCONN for a dead one, -ETIMEDOUT for one that does not
 * answer within timeout_msec. Asked from a child of its own, which may hang.
 */
int pv_enter_probe(const PvEnter *enter, int fd, guint timeout_msec);
