/*
 * The record of a running container: a file under /run/procview/run that its launcher keeps locked.
 * The lock is the sign of life: the kernel takes it away with the launcher, whatever became of
 * that.
 */
#pragma once

#include "cgroup.h"

/* The lock files, and the mount points of daemons that launchers start for themselves. */
#define PV_LAUNCH_RUN_DIR   "/run/procview/run"
#define PV_LAUNCH_VIEWS_DIR "/run/procview/views"

typedef struct {
    char *name;
    int fd; /* locked; must not stay open in any child */
} PvLaunchRecord;

/*
 * Take the lock of all launchers, held while cgroups and records are made or cleaned; closing it
 * gives it up.
 * Returns -1 with PERMISSION, BUSY after some seconds, or FAILED.
 */
int pv_launch_lock_all(GError **error);

/* Needs the lock of all. Errors: BUSY when a container of that name is running. */
PvLaunchRecord *pv_launch_record_new(const char *name, GError **error);

/* Forget the container: removes the file. Needs the lock of all. */
void pv_launch_record_remove(PvLaunchRecord *record);

/* Close the file and leave it, for a child. */
void pv_launch_record_close(PvLaunchRecord *record);

/* pv_launch_clean() for a caller that holds the lock of all. */
GPtrArray *pv_launch_clean_locked(const GPtrArray *hierarchies, gboolean dry_run, GError **error);
