/*
 * One attach, in a process of its own: a container whose file systems hang holds up nobody else's.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct {
    gboolean ok;
    gint32 code;                           /* PvError when it is not */
    guint n_mounted, n_already, n_skipped; /* files */
    char message[384];                     /* the error */
} PvJobResult;

typedef void (*PvJobFunc)(const PvJobResult *result, gpointer data);

typedef struct PvJob PvJob;

/*
 * Start to attach to a process's container. `func` is called from the main loop, once, and the job
 * is freed after it.
 * Returns NULL with an error when no process could be made.
 */
PvJob *pv_job_start(const char *views_dir, pid_t pid, PvJobFunc func, gpointer data,
                    GError **error);

/* Nobody wants to know how it ends: `func` is not called, and the job frees itself. */
void pv_job_abandon(PvJob *job);

/* Wait until it ends, for some seconds at most, without calling `func`, and free it. */
void pv_job_finish(PvJob *job);
