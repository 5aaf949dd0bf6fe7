/*
 * The owner of the mount: opens /dev/fuse, puts the mount where it belongs, and takes it away
 * again. Links neither glib nor libfuse: it has to stay when everything else is replaced.
 *
 * Nothing here waits for a file system: a mount that does not answer is found out by a child that
 * may be left behind.
 */
#pragma once

#include "procview/shared.h"

#include <limits.h>

typedef enum {
    PV_MOUNT_OK,
    PV_MOUNT_NO_PERMISSION, /* mounting needs CAP_SYS_ADMIN */
    PV_MOUNT_NO_DEVICE,     /* no /dev/fuse, or no fuse in this kernel */
    PV_MOUNT_NOT_DIRECTORY, /* the mount point exists and is no directory */
    PV_MOUNT_BUSY,          /* another procviewd serves it, or is about to */
    PV_MOUNT_BUSY_OTHER, /* another FUSE file system that answers, or that hangs, is mounted there
                          */
    PV_MOUNT_FAILED,     /* anything else */
} PvMountResult;

/* One mount and the lock that says whose it is. */
typedef struct {
    int fuse_fd;                  /* the mounted /dev/fuse; -1 once it was handed on */
    int lock_fd;                  /* held while this process owns the mount point */
    char mountpoint[PATH_MAX];    /* absolute, without symbolic links */
    char lock_path[PATH_MAX];     /* the lock file, which holds the owner's pid */
    char message[PATH_MAX + 256]; /* after a failure: what went wrong, for people */
    int is_writable; /* set before pv_mount_put(): writable, and who may do what is up to the server
                      */
    int replaced_dead; /* a mount whose server had died was there, and was taken away */
} PvMount;

/*
 * Lock the mount point, make it when it is missing (0755, with its parents), take away a dead FUSE
 * mount that is on it, and mount: type fuse.procview, read-only, nosuid, nodev, noexec, for all
 * users, modes checked by the kernel.
 *
 * mountpoint  an absolute path, or one relative to the working directory
 * state_dir   a directory for the lock file, made when it is missing (0755)
 * mount       filled; on failure everything is undone, and message says why
 *
 * Must be called before there are other threads (it may fork).
 */
PvMountResult pv_mount_open(PvMount *mount, const char *mountpoint, const char *state_dir);

/*
 * The two halves of pv_mount_open(): the lock, after which nobody else mounts there; and the mount.
 * After a failure everything is undone.
 */
PvMountResult pv_mount_lock(PvMount *mount, const char *mountpoint, const char *state_dir);
PvMountResult pv_mount_put(PvMount *mount);

/*
 * Whether the limits of this process (getrlimit(2)) let it serve; raises those that it may. To be
 * asked before pv_mount_put(): a mount whose server cannot go on is worse than none. Returns TRUE
 * (1), or FALSE (0), and message says which limit it is and what to do.
 */
int pv_mount_check_limits(PvMount *mount);

/* Go on after execve(2) with the lock that was held before it. */
void pv_mount_resume(PvMount *mount, const char *mountpoint, const char *lock_path, int lock_fd);

/* TRUE (1) when the topmost mount on the mount point is procview's. */
int pv_mount_is_there(const PvMount *mount);

/* TRUE (1) when nobody holds the connection of what is mounted there any more. Asked by a child;
 * waits two seconds at most. */
int pv_mount_is_dead(const PvMount *mount);

/* Write into the lock file which of this process's descriptors is the shared memory, for those who
 * want to look at it. Returns 0 or a negative errno. */
int pv_mount_describe(const PvMount *mount, int shared_fd);

/* The lock file may have been removed by somebody: make it again. Does not wait. Returns 1 when it
 * was, 0 when it was there, or a negative errno. */
int pv_mount_keep_lock(PvMount *mount);

/* Read FUSE_INIT, which the kernel sends first. Returns 0 or a negative errno. */
int pv_mount_read_init(const PvMount *mount, PvSharedMemory *memory);

/* STATE_DIR/PREFIX-PATH.SUFFIX, one name a mount point. Returns 0 or -ENAMETOOLONG. */
int pv_mount_state_path(const char *state_dir, const char *prefix, const char *mountpoint,
                        const char *suffix, char *ret_path, size_t size);

/* Give the lock up, and leave the mount. */
void pv_mount_leave(PvMount *mount);

/*
 * Unmount, lazily when somebody is still in there, and give the lock up. Takes away only a mount of
 * ours that is on top. Does not close fuse_fd: whoever serves it does, after the last answer.
 * Returns 0 or a negative errno.
 */
int pv_mount_close(PvMount *mount);
