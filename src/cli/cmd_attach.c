/*
 * procview attach and procview detach: the same arguments, the same report, opposite work.
 */
#include "command.h"
#include "common.h"
#include "procview/attach.h"
#include "procview/error.h"
#include "procview/resolve.h"

#include <stdio.h>
#include <sys/stat.h>

typedef struct {
    const char *command; /* "attach" */
    gboolean is_attach;
    gboolean all, json, quiet;
    char *views_dir;
    char **names;
} Options;

/* A container to work on. */
typedef struct {
    char *name; /* as typed, or as ps lists it */
    pid_t pid;
    guint64 pidns_ino; /* that the process was seen in; 0: whichever */
} Job;

typedef struct {
    guint by_status[PV_ATTACH_REMOVED + 1];
} Counts;

static void options_clear(Options *options)
{
    g_free(options->views_dir);
    g_strfreev(options->names);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static void job_free(Job *job)
{
    g_free(job->name);
    g_free(job);
}

static void add_job(GPtrArray *jobs, const char *name, pid_t pid, guint64 pidns_ino)
{
    Job *job = g_new0(Job, 1);

    job->name = g_strdup(name);
    job->pid = pid;
    job->pidns_ino = pidns_ino;
    g_ptr_array_add(jobs, job);
}

static const char *status_name(PvAttachStatus status)
{
    switch (status) {
    case PV_ATTACH_DONE:
        return "attached";
    case PV_ATTACH_ALREADY:
        return "already";
    case PV_ATTACH_REPLACED:
        return "replaced";
    case PV_ATTACH_SKIPPED:
        return "skipped";
    case PV_ATTACH_FAILED:
        return "failed";
    case PV_ATTACH_REMOVED:
        return "detached";
    }
    return "unknown";
}

/* ---- the report ---- */

static void append_part(GString *out, guint n, const char *what)
{
    if (n == 0)
        return;
    if (out->len == 0)
        g_string_append_printf(out, "%u file%s %s", n, n == 1 ? "" : "s", what);
    else
        g_string_append_printf(out, ", %u %s", n, what);
}

static void print_summary(const Job *job, const Counts *counts)
{
    g_autoptr(GString) text = g_string_new(NULL);

    append_part(text, counts->by_status[PV_ATTACH_DONE], "attached");
    append_part(text, counts->by_status[PV_ATTACH_REPLACED], "attached in place of dead ones");
    append_part(text, counts->by_status[PV_ATTACH_ALREADY], "attached already");
    append_part(text, counts->by_status[PV_ATTACH_REMOVED], "detached");
    append_part(text, counts->by_status[PV_ATTACH_SKIPPED], "skipped");
    printf("%s: %s\n", job->name, text->len > 0 ? text->str : "nothing to detach");
}

static void print_skipped(const Options *options, const Job *job, const GPtrArray *results)
{
    const char *on = pv_cli_wants_colour(stderr) ? "\033[33m" : "";

    for (guint i = 0; i < results->len; i++) {
        const PvAttachResult *result = results->pdata[i];
        if (result->status == PV_ATTACH_SKIPPED || result->status == PV_ATTACH_FAILED)
            g_printerr("procview: %s: %s: %s %s%s%s: %s\n", options->command, job->name,
                       result->path, on, status_name(result->status), *on != '\0' ? "\033[0m" : "",
                       result->reason);
    }
}

static void append_json(GString *json, const Job *job, const GPtrArray *results,
                        const GError *error)
{
    g_string_append_printf(json, "%s  {\"container\": ", json->len > 0 ? ",\n" : "");
    pv_json_append_string(json, job->name);
    g_string_append_printf(json, ", \"pid\": %d, \"ok\": %s, \"error\": ", job->pid,
                           error == NULL ? "true" : "false");
    pv_json_append_string(json, error != NULL ? error->message : NULL);
    g_string_append(json, ", \"files\": [");
    for (guint i = 0; i < results->len; i++) {
        const PvAttachResult *result = results->pdata[i];
        g_string_append(json, i > 0 ? ",\n    {\"path\": " : "\n    {\"path\": ");
        pv_json_append_string(json, result->path);
        g_string_append_printf(json,
                               ", \"status\": \"%s\", \"reason\": ", status_name(result->status));
        pv_json_append_string(json, result->reason);
        g_string_append_c(json, '}');
    }
    g_string_append(json, "]}");
}

/* ---- the work ---- */

/* With --all, what cannot have views, or has ended meanwhile, was not asked for by name: no
 * failure. */
static gboolean is_excused(const Options *options, const GError *error)
{
    return options->all && (g_error_matches(error, PV_ERROR, PV_ERROR_BUSY) ||
                            g_error_matches(error, PV_ERROR, PV_ERROR_NOT_FOUND) ||
                            g_error_matches(error, PV_ERROR, PV_ERROR_GONE));
}

/* Others may have taken long before it: its number may be another process's by now. */
static gboolean is_still_there(const Job *job, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/pid", job->pid);
    struct stat st;

    if (job->pidns_ino == 0 || (stat(path, &st) == 0 && st.st_ino == job->pidns_ino))
        return TRUE;
    return pv_error_set(error, PV_ERROR_GONE, "it has ended meanwhile");
}

/* One container. Returns FALSE when it failed, which was said. */
static gboolean do_job(const Options *options, const Job *job, GString *json)
{
    g_autoptr(GPtrArray) results =
        g_ptr_array_new_with_free_func((GDestroyNotify)pv_attach_result_free);
    g_autoptr(GError) error = NULL;
    Counts counts = {{0}};

    gboolean ok = is_still_there(job, &error);
    if (ok)
        ok = options->is_attach ? pv_attach(options->views_dir, job->pid, results, &error)
                                : pv_detach(job->pid, results, &error);
    for (guint i = 0; i < results->len; i++)
        counts.by_status[((PvAttachResult *)results->pdata[i])->status]++;
    if (ok && options->is_attach && counts.by_status[PV_ATTACH_SKIPPED] == results->len)
        ok = pv_error_set(&error, PV_ERROR_NOT_FOUND,
                          "no file could be attached: all of them were skipped");
    if (!options->quiet && !options->json)
        print_skipped(options, job, results);
    if (options->json)
        append_json(json, job, results, error);
    if (ok && !options->quiet && !options->json)
        print_summary(job, &counts);
    if (ok)
        return TRUE;
    gboolean excused = is_excused(options, error);
    if (!excused || !options->quiet)
        pv_cli_error(options->command, "%s%s: %s", job->name, excused ? " left out" : "",
                     error->message);
    return excused;
}

/* All containers that have a mount namespace of their own; the others have no files of their own to
 * cover. */
static void add_all(const PvCliContext *context, GPtrArray *jobs)
{
    g_autoptr(GPtrArray) containers = pv_containers_scan(context->containers);

    for (guint i = 0; i < containers->len; i++) {
        const PvContainer *container = containers->pdata[i];
        add_job(jobs, container->name, container->init_pid, container->pidns_ino);
    }
}

/* What was named. FALSE when one of the names is wrong: nothing is done then. */
static gboolean add_named(const Options *options, const PvCliContext *context, GPtrArray *jobs)
{
    gboolean ok = TRUE;

    for (guint i = 0; options->names != NULL && options->names[i] != NULL; i++) {
        g_autoptr(GError) error = NULL;
        pid_t pid;
        if (pv_resolve(context->hierarchies, context->containers, options->names[i], &pid, &error))
            add_job(jobs, options->names[i], pid, 0);
        else
            pv_cli_error(options->command, "%s", error->message);
        ok = ok && error == NULL;
    }
    return ok;
}

static int run(const Options *options)
{
    g_auto(PvCliContext) context = {NULL, NULL, NULL, NULL};
    g_autoptr(GPtrArray) jobs = g_ptr_array_new_with_free_func((GDestroyNotify)job_free);
    g_autoptr(GString) json = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    gboolean ok = TRUE;

    if (!pv_cli_context_open(&context, &error)) {
        pv_cli_error(options->command, "%s", error->message);
        return PV_EXIT_FAILED;
    }
    if (options->all)
        add_all(&context, jobs);
    else if (!add_named(options, &context, jobs))
        return PV_EXIT_FAILED;

    for (guint i = 0; i < jobs->len; i++)
        ok = do_job(options, jobs->pdata[i], json) && ok;
    if (options->json)
        printf("[\n%s\n]\n", json->str);
    else if (jobs->len == 0 && !options->quiet)
        printf("There are no containers.\n");
    return ok ? PV_EXIT_OK : PV_EXIT_FAILED;
}

static int main_of(Options *options, const char *summary, const char *examples, int argc,
                   char **argv)
{
    const GOptionEntry entries[] = {
        {"all", 'a', 0, G_OPTION_ARG_NONE, &options->all, "All containers of this machine", NULL},
        {"views", 0, options->is_attach ? 0 : G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_FILENAME,
         &options->views_dir, "Where procviewd serves (default " PV_VIEWS_DIR ")", "DIR"},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &options->json, "Report in JSON on stdout", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &options->quiet, "Print nothing but errors", NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->names, NULL, NULL},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };

    if (!pv_cli_parse(options->command, "PID|NAME…", summary, examples, entries, argc, argv))
        return PV_EXIT_USAGE;
    if (options->all && options->names != NULL)
        return pv_cli_usage_error(options->command, "--all and names exclude each other");
    if (!options->all && options->names == NULL)
        return pv_cli_usage_error(options->command, "name a container, or give --all");
    if (options->views_dir == NULL)
        options->views_dir = g_strdup(PV_VIEWS_DIR);
    return run(options);
}

#define NAMES_HELP                                                                                 \
    "A container is named by a process id, by the name or id that docker, podman, LXC or\n"        \
    "machinectl know it by, by a systemd service, or by the path of its cgroup.\n"

int pv_cmd_attach(int argc, char **argv)
{
    g_auto(Options) options = {.command = "attach", .is_attach = TRUE};

    return main_of(&options,
                   "Puts procview's files over those in /proc and /sys of running containers:\n"
                   "all of them or, when one fails, none. Doing it twice changes nothing.",
                   NAMES_HELP "\n"
                              "Examples:\n"
                              "  procview attach web              a container by its name\n"
                              "  procview attach 4711             the container of a process\n"
                              "  procview attach nginx.service    a service with its own mounts\n"
                              "  procview attach /docker/0f3c…    by the cgroup\n"
                              "  procview attach --all            every container there is\n",
                   argc, argv);
}

int pv_cmd_detach(int argc, char **argv)
{
    g_auto(Options) options = {.command = "detach", .is_attach = FALSE};

    return main_of(&options,
                   "Takes procview's files out of running containers: the kernel's own are seen\n"
                   "again.",
                   NAMES_HELP "\n"
                              "Examples:\n"
                              "  procview detach web\n"
                              "  procview detach --all\n",
                   argc, argv);
}
