/*
 * The checks of procview doctor, apart from what the launcher knows.
 */
#pragma once

#include <glib.h>

typedef enum { PV_CHECK_OK, PV_CHECK_WARN, PV_CHECK_FAIL } PvCheckStatus;

typedef struct {
    PvCheckStatus status; /* WARN: something works less well; FAIL: procview does not work */
    char *name;
    char *message;
    char *advice; /* what to do about it, or NULL */
} PvCheck;

void pv_check_free(PvCheck *check);

void pv_check_add(GPtrArray *checks, PvCheckStatus status, const char *name, const char *advice,
                  const char *format, ...) G_GNUC_PRINTF(5, 6);

/* Whether what is mounted there answers: 0 or an errno. Waits two seconds at most. */
int pv_check_probe(const char *path);

/* The same for a mount in the namespace of a process, by its id as mountinfo has it. ESTALE when it
 * is not that mount that is seen there, or the process may not be looked into. */
int pv_check_probe_in(const char *pid, const char *path, gint64 mount_id);

/* Each appends PvCheck to `checks`. */

void pv_checks_kernel(GPtrArray *checks);
void pv_checks_cgroups(GPtrArray *checks);
void pv_checks_mounts(GPtrArray *checks);
/* Removes what is left of daemons, unless it is a dry run. */
void pv_checks_daemon(GPtrArray *checks, const char *state_dir, gboolean dry_run);
