/*
 * procview-hook: called by a container manager while it builds a container, puts the views into it:
 * as an OCI hook (createContainer, prestart, createRuntime) of runc, crun, podman and CDI, or as
 * LXC's mount hook. A container that cannot have views is started without them, unless --strict.
 */
#include "hook.h"
#include "procview/attach.h"
#include "procview/error.h"
#include "procview/log.h"
#include "report.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* The state of a container: a few hundred bytes, and its annotations. */
#define STATE_BYTES_MAX ((gsize)4 << 20)
#define STATE_WAIT_MSEC 5000

typedef struct {
    char *views;
    char *rootfs;
    char *log, *log_format;
    gboolean strict;
    gboolean version;
    char **words;
} Options;

static void options_clear(Options *options)
{
    g_free(options->views);
    g_free(options->rootfs);
    g_free(options->log);
    g_free(options->log_format);
    g_strfreev(options->words);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean parse_options(Options *options, int argc, char **argv, GError **error)
{
    const GOptionEntry entries[] = {
        {"views", 0, 0, G_OPTION_ARG_FILENAME, &options->views,
         "the mount point of procviewd (/var/lib/procview)", "DIR"},
        {"rootfs", 0, 0, G_OPTION_ARG_FILENAME, &options->rootfs,
         "the container's root to be, where the state does not tell it", "DIR"},
        {"log", 0, 0, G_OPTION_ARG_FILENAME, &options->log,
         "append complaints to the log of the runtime, too", "FILE"},
        {"log-format", 0, 0, G_OPTION_ARG_STRING, &options->log_format, "its format: text or json",
         "FORMAT"},
        {"strict", 0, 0, G_OPTION_ARG_NONE, &options->strict,
         "fail, so that no container starts without views", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "print the version", NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->words, NULL, NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("[STAGE]");

    g_option_context_set_summary(
        context, "Puts procview's files into a container that is being built.\n"
                 "Called by container managers: as an OCI hook of the stage createContainer,\n"
                 "prestart or createRuntime with the state on stdin, or as LXC's mount hook.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return FALSE;
    if (options->views == NULL)
        options->views = g_strdup("/var/lib/procview");
    return TRUE;
}

/* A bad option makes GLib forget the good ones. */
static gboolean asks_for_strict(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--strict") == 0)
            return TRUE;
    }
    return FALSE;
}

static gboolean read_state(GString *state, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + STATE_WAIT_MSEC * 1000;

    if (isatty(STDIN_FILENO) == 1)
        return pv_error_set(error, PV_ERROR_INVALID,
                            "there is no container's state on stdin: container managers call this");
    for (;;) {
        char buf[8192];
        struct pollfd poll_fd = {.fd = STDIN_FILENO, .events = POLLIN};
        gint64 left_usec = deadline - g_get_monotonic_time();
        if (left_usec <= 0 || poll(&poll_fd, 1, (int)(left_usec / 1000) + 1) == 0)
            return pv_error_set(error, PV_ERROR_INVALID,
                                "the container's state on stdin does not end");
        ssize_t n = read(STDIN_FILENO, buf, sizeof buf);
        if (n == 0)
            return TRUE;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_error_set_errno(error, errno, "cannot read the container's state on stdin");
        if (state->len + (gsize)n > STATE_BYTES_MAX)
            return pv_error_set(error, PV_ERROR_INVALID,
                                "the container's state on stdin is too long");
        g_string_append_len(state, buf, n);
    }
}

static gboolean read_container(const Options *options, PvHookContainer *container, GError **error)
{
    g_autoptr(GString) state = g_string_new(NULL);
    guint n_words = options->words != NULL ? g_strv_length(options->words) : 0;

    if (pv_hook_is_lxc(options->words))
        return pv_hook_read_lxc(options->words, container, error);
    if (n_words > 1)
        return pv_error_set(error, PV_ERROR_INVALID, "'%s' is one argument too many",
                            options->words[1]);
    return read_state(state, error) &&
           pv_hook_read_oci(n_words > 0 ? options->words[0] : NULL, options->rootfs, state->str,
                            state->len, container, error);
}

/* Say what was left out. A container in which nothing has a place has no views. */
static gboolean conclude(const GPtrArray *results, GError **error)
{
    const PvAttachResult *skipped = NULL;
    gboolean has_views = FALSE;

    for (guint i = 0; i < results->len; i++) {
        const PvAttachResult *result = results->pdata[i];
        if (result->status != PV_ATTACH_SKIPPED)
            has_views = TRUE;
        else if (skipped == NULL)
            skipped = result;
    }
    if (!has_views && skipped != NULL)
        return pv_error_set(error, PV_ERROR_FAILED, "%s: %s", skipped->path, skipped->reason);
    for (guint i = 0; i < results->len; i++) {
        const PvAttachResult *result = results->pdata[i];
        if (result->status == PV_ATTACH_SKIPPED)
            pv_log_info("procview-hook: %s is left out: %s", result->path, result->reason);
    }
    return TRUE;
}

static gboolean run(const Options *options, GError **error)
{
    g_auto(PvHookContainer) container = {.rootfs = NULL};
    g_autoptr(GPtrArray) results =
        g_ptr_array_new_with_free_func((GDestroyNotify)pv_attach_result_free);

    return read_container(options, &container, error) &&
           pv_attach_rootfs(options->views, container.pid, container.rootfs, results, error) &&
           conclude(results, error);
}

/* Some managers throw away what a hook says on stderr. */
static void complain(const Options *options, const char *message)
{
    gboolean strict = options->strict;
    const char *outcome = strict ? "the container is not started" : "the container has no views";

    pv_log(strict ? PV_LOG_ERROR : PV_LOG_WARNING, "procview-hook: %s: %s", outcome, message);
    openlog("procview-hook", LOG_PID, LOG_DAEMON);
    syslog(strict ? LOG_ERR : LOG_WARNING, "%s: %s", outcome, message);
    closelog();
    if (options->log != NULL) {
        g_autofree char *said = g_strdup_printf("%s: %s", outcome, message);
        pv_runtime_report_append(options->log, g_strcmp0(options->log_format, "json") == 0,
                                 strict ? "error" : "warning", said);
    }
}

int main(int argc, char **argv)
{
    g_auto(Options) options = {.views = NULL};
    g_autoptr(GError) error = NULL;

    g_set_prgname("procview-hook");
    gboolean is_strict = asks_for_strict(argc, argv);
    gboolean ok = parse_options(&options, argc, argv, &error);
    options.strict = options.strict || is_strict;
    if (ok && options.version) {
        printf("procview-hook %s\n", PV_VERSION);
        return 0;
    }
    if (ok && run(&options, &error))
        return 0;
    complain(&options, error->message);
    return options.strict ? 1 : 0;
}
