/*
 * procview-runtime: an OCI runtime that gives containers their views. Before runc or crun creates a
 * container, the mounts and a hook are added to its bundle's config.json; all else is theirs, with
 * the arguments, the process and the exit status. A container that cannot have views is started
 * without them, and the log says why.
 */
#include "arguments.h"
#include "bundle.h"
#include "procview/attach.h"
#include "procview/error.h"
#include "real.h"
#include "report.h"
#include "settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What is remembered of the real runtimes. */
#define CACHE_DIR "/run/procview/runtime"

/* As runc and crun exit for a container that was not made. */
#define EXIT_FAILED 1

static guint64 boottime_nsec(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_BOOTTIME, &now) < 0)
        return 0;
    return (guint64)now.tv_sec * 1000000000 + (guint64)now.tv_nsec;
}

/* As the kernel resolves it; the same again when it cannot be. */
static char *real_path(const char *path)
{
    char *real = realpath(path, NULL);
    char *result = g_strdup(real != NULL ? real : path);

    free(real);
    return result;
}

static gboolean edit_bundle(const PvRuntimeArguments *arguments, const PvRuntimeSettings *settings,
                            const char *real, GError **error)
{
    g_autofree char *bundle = real_path(arguments->bundle);
    g_autofree char *config = arguments->config != NULL
                                  ? g_strdup(arguments->config)
                                  : g_build_filename(bundle, "config.json", NULL);
    g_autofree char *log = pv_runtime_report_file(arguments);
    g_autofree char *hook = pv_runtime_find_hook(settings->hook, error);

    if (hook == NULL || !pv_attach_views_answer(settings->views, error))
        return FALSE;
    g_auto(GStrv) paths = pv_bundle_paths(settings->views);
    PvBundlePlan plan = {
        .views = settings->views,
        .paths = (const char *const *)paths,
        .hook = hook,
        .bundle = bundle,
        .log = log,
        .log_is_json = arguments->log_is_json,
        .strict = settings->strict,
        .time_namespace = settings->time_namespace && pv_real_has_time_namespace(real, CACHE_DIR),
        .boottime_nsec = boottime_nsec(),
    };
    if (pv_bundle_edit_file(&plan, config, error))
        return TRUE;
    g_prefix_error(error, "%s: ", config);
    return FALSE;
}

static gboolean prepare(const PvRuntimeArguments *arguments, const PvRuntimeSettings *settings,
                        const GError *settings_error, const char *real)
{
    g_autoptr(GError) error = NULL;

    if (settings_error != NULL)
        pv_runtime_report(arguments, settings->strict ? "error" : "warning",
                          settings_error->message);
    if (settings_error != NULL && settings->strict)
        return FALSE;
    if (edit_bundle(arguments, settings, real, &error))
        return TRUE;
    g_autofree char *message =
        g_strdup_printf(settings->strict ? "the container is not started, for it cannot have its "
                                           "views: %s"
                                         : "the container has no views: %s",
                        error->message);
    pv_runtime_report(arguments, settings->strict ? "error" : "warning", message);
    return !settings->strict;
}

int main(int argc, char **argv)
{
    g_auto(PvRuntimeSettings) settings;
    g_autoptr(GError) settings_error = NULL, error = NULL;
    PvRuntimeArguments arguments;

    pv_runtime_settings_init(&settings);
    pv_runtime_settings_load(&settings, &settings_error);
    g_autofree char *real = pv_real_find(settings.path, &error);
    pv_runtime_arguments_parse(real != NULL ? pv_runtime_syntax(real) : PV_SYNTAX_RUNC, argc, argv,
                               &arguments);
    if (real == NULL) {
        pv_runtime_report(&arguments, "error", error->message);
        return EXIT_FAILED;
    }
    if (arguments.has_bundle && !prepare(&arguments, &settings, settings_error, real))
        return EXIT_FAILED;

    argv[0] = real; /* crun asks it what it is */
    execv(real, argv);
    g_autofree char *message = g_strdup_printf("cannot execute %s: %s", real, g_strerror(errno));
    pv_runtime_report(&arguments, "error", message);
    return EXIT_FAILED;
}
