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

/* Each appends PvCheck to `checks`. */
/* Whether what is mounted there answers: 0 or an errno. Waits two seconds at most. */
int pv_check_probe(const char *path);

void pv_checks_kernel(GPtrArray *checks);
void pv_checks_cgroups(GPtrArray *checks);
void pv_checks_mounts(GPtrArray *checks);
/* Removes what is left of daemons, unless it is a dry run. */
void pv_checks_daemon(GPtrArray *checks, const char *state_dir, gboolean dry_run);
