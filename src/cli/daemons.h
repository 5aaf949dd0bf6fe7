/*
 * The daemons of this machine, found by what their supervisors write into the state directory, and
 * looked at through the memory that they share with their workers. Nothing is asked of them: one
 * that hangs holds nobody. What the memory says is believed of a worker only that has it, too, and
 * that beats.
 */
#pragma once

#include "procview/shared.h"

#include <glib.h>

#define PV_DAEMON_STATE_DIR "/run/procview" /* the default */

typedef enum {
    PV_DAEMON_SERVES,
    PV_DAEMON_SAFE,     /* shows the kernel's own files to everybody */
    PV_DAEMON_PASSES,   /* the same, as it was told to by SIGUSR2 */
    PV_DAEMON_ORPHANED, /* a worker serves, but there is no supervisor */
    PV_DAEMON_STALLED,  /* nobody serves just now */
    PV_DAEMON_SILENT,   /* a worker is said to serve, but is dead or does not move */
    PV_DAEMON_OTHER,    /* of a version whose memory this one cannot read */
    PV_DAEMON_DEAD,     /* neither is there, but their mount is */
} PvDaemonState;

typedef struct {
    PvDaemonState state;
    char *mountpoint;
    pid_t supervisor_pid; /* 0: there is none */
    pid_t worker_pid;
    gboolean is_standalone;  /* one process, which is to have no supervisor */
    gboolean is_worker_gone; /* when SILENT: the process has ended */
    guint64 still_nsec;      /* for how long the worker has not moved */
    guint64 n_served;
    PvStatus status; /* zeros when DEAD or OTHER */
} PvDaemonInfo;

void pv_daemon_info_free(PvDaemonInfo *info);

/*
 * A GPtrArray of PvDaemonInfo, or NULL. Errors: PERMISSION, FAILED. A state directory that is not
 * there has no daemons. One that seems not to answer is given two seconds to show that it does.
 */
GPtrArray *pv_daemons_list(const char *state_dir, GError **error);

/* The same by one look: who is SILENT may only be late. */
GPtrArray *pv_daemons_glance(const char *state_dir, GError **error);

/*
 * What is left of daemons that have ended without a word, and whose mount is gone as well: a
 * GPtrArray of the mount points, or NULL. wants_removal: remove their files.
 */
GPtrArray *pv_daemons_leftovers(const char *state_dir, gboolean wants_removal, GError **error);

const char *pv_daemon_state_name(PvDaemonState state);
