/*
 * The mounts of a process, as /proc/PID/mountinfo tells them (Documentation/filesystems/proc.rst,
 * 3.5): the one way to learn what is mounted where that asks nothing of the file systems
 * themselves, so that a dead or hung one cannot hold the reader up.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* The file system type of procview's mount and of everything bound from it. */
#define PV_MOUNT_FSTYPE "fuse.procview"

/* A mountinfo that is longer is refused: a process may make 100000 mounts. */
#define PV_MOUNTINFO_MAX ((size_t)32 << 20)

typedef struct {
    gint64 id;          /* as in /proc/PID/fdinfo */
    guint major, minor; /* of the superblock */
    guint64 peer_group; /* "shared:N"; 0 for a mount that shares nothing */
    char *root;         /* the part of the file system that is mounted: "/", "/proc/meminfo" */
    char *mount_point;  /* seen from the process's root, octal escapes undone */
    char *fstype;
} PvMountEntry;

/*
 * Parse the text of a mountinfo; malformed lines are left out.
 * Returns a GPtrArray of PvMountEntry, in the order of the text (of mounts on one mount point the
 * last is on top).
 */
GPtrArray *pv_mountinfo_parse(const char *text);

/*
 * Read and parse "mountinfo" under `dirfd`, a /proc/PID directory.
 * Errors: GONE when the process has ended, PERMISSION, FAILED.
 */
GPtrArray *pv_mountinfo_load(int dirfd, GError **error);

/* The mount with an id, or NULL. */
const PvMountEntry *pv_mountinfo_find(const GPtrArray *mounts, gint64 id);

/* Undo the kernel's octal escapes ("\040") in place. */
void pv_mountinfo_unescape(char *text);

/* TRUE for a file or directory of procview that was put over another one; the daemon's own mount
 * (and copies of it that a new namespace got) is none. The cgroup tree is bound as a whole: it is
 * one where the kernel's own cgroup file systems are, at or below /sys/fs/cgroup. */
gboolean pv_mount_entry_is_view(const PvMountEntry *entry);

/* TRUE for any FUSE file system. */
gboolean pv_mount_entry_is_fuse(const PvMountEntry *entry);
