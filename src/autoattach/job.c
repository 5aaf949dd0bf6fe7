/* Attaching in a child process, see job.h. */
#include "job.h"

#include "procview/attach.h"
#include "procview/error.h"
#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* pv_attach() has bounds of its own, which are shorter. */
#define DEADLINE_SECONDS 25
#define FINISH_MSEC      3000

struct PvJob {
    pid_t child;
    int fd; /* of the result */
    guint fd_source, timer_source;
    PvJobFunc func;
    gpointer data;
};

/* ---- in the child ---- */

static void attach(const char *views_dir, pid_t pid, PvJobResult *result)
{
    g_autoptr(GPtrArray) files =
        g_ptr_array_new_with_free_func((GDestroyNotify)pv_attach_result_free);
    g_autoptr(GError) error = NULL;

    result->ok = pv_attach(views_dir, pid, files, &error);
    for (guint i = 0; i < files->len; i++) {
        PvAttachStatus status = ((PvAttachResult *)files->pdata[i])->status;
        result->n_mounted += status == PV_ATTACH_DONE || status == PV_ATTACH_REPLACED;
        result->n_already += status == PV_ATTACH_ALREADY;
        result->n_skipped += status == PV_ATTACH_SKIPPED;
    }
    if (result->ok && result->n_skipped == files->len)
        result->ok = pv_error_set(&error, PV_ERROR_NOT_FOUND,
                                  "no file could be attached: all of them were skipped");
    if (error != NULL) {
        result->code = error->code;
        g_strlcpy(result->message, error->message, sizeof result->message);
    }
}

/* ---- in the parent ---- */

static void job_free(PvJob *job)
{
    g_clear_handle_id(&job->fd_source, g_source_remove);
    g_clear_handle_id(&job->timer_source, g_source_remove);
    pv_clear_fd(&job->fd);
    waitpid(job->child, NULL, 0);
    g_free(job);
}

static void conclude(PvJob *job, gboolean is_late)
{
    PvJobResult result = {.ok = FALSE, .code = PV_ERROR_FAILED};
    PvJobFunc func = job->func;
    gpointer data = job->data;

    if (is_late || read(job->fd, &result, sizeof result) != sizeof result) {
        kill(job->child, SIGKILL); /* it is ours, and not waited for */
        result = (PvJobResult){.code = PV_ERROR_FAILED};
        g_strlcpy(result.message, is_late ? "it did not come to an end in time" : "it crashed",
                  sizeof result.message);
    }
    job_free(job);
    if (func != NULL)
        func(&result, data);
}

static gboolean on_result(gint fd, GIOCondition condition, gpointer data)
{
    PvJob *job = data;

    (void)fd;
    (void)condition;
    job->fd_source = 0;
    conclude(job, FALSE);
    return G_SOURCE_REMOVE;
}

static gboolean on_late(gpointer data)
{
    PvJob *job = data;

    job->timer_source = 0;
    conclude(job, TRUE);
    return G_SOURCE_REMOVE;
}

PvJob *pv_job_start(const char *views_dir, pid_t pid, PvJobFunc func, gpointer data, GError **error)
{
    PvJob *job;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0) {
        pv_error_set_errno(error, errno, "cannot make a pipe");
        return NULL;
    }
    pid_t child = fork();
    if (child == 0) {
        PvJobResult result = {.ok = FALSE};
        attach(views_dir, pid, &result);
        ssize_t n = write(fds[1], &result, sizeof result);
        _exit(n == sizeof result ? 0 : 1);
    }
    close(fds[1]);
    if (child < 0) {
        pv_error_set_errno(error, errno, "cannot make a process");
        close(fds[0]);
        return NULL;
    }
    job = g_new0(PvJob, 1);
    *job = (PvJob){.child = child, .fd = fds[0], .func = func, .data = data};
    job->fd_source = g_unix_fd_add(job->fd, G_IO_IN | G_IO_HUP, on_result, job);
    job->timer_source = g_timeout_add_seconds(DEADLINE_SECONDS, on_late, job);
    return job;
}

void pv_job_abandon(PvJob *job)
{
    job->func = NULL;
}

void pv_job_finish(PvJob *job)
{
    struct pollfd fd = {.fd = job->fd, .events = POLLIN};

    if (poll(&fd, 1, FINISH_MSEC) <= 0)
        kill(job->child, SIGKILL);
    job_free(job);
}
