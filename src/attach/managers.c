/*
 * Asks docker, podman, LXC and systemd which process is a container's first. They are run without a
 * shell, with the name as one argument, in parallel, and given up after some seconds: a manager's
 * daemon that hangs must not stop the others' containers from being found.
 */
#include "managers.h"

#include <gio/gio.h>
#include <string.h>

#define TIMEOUT_SECONDS 15

#define ARGS_MAX 8
#define NAME_ARG "%"

typedef struct {
    const char *manager;
    gboolean units;             /* it knows systemd units, not containers */
    const char *argv[ARGS_MAX]; /* NAME_ARG stands for the name */
} Tool;

static const Tool tools[] = {
    {"docker",
     FALSE,
     {"docker", "inspect", "--type=container", "--format={{.State.Pid}}", NAME_ARG}},
    {"podman",
     FALSE,
     {"podman", "inspect", "--type=container", "--format={{.State.Pid}}", NAME_ARG}},
    {"lxc", FALSE, {"lxc-info", "-n", NAME_ARG, "-p", "-H"}},
    {"machinectl", FALSE, {"machinectl", "show", "-p", "Leader", NAME_ARG}},
    {"systemd", TRUE, {"systemctl", "show", "-p", "MainPID", NAME_ARG}},
};

typedef struct {
    const Tool *tool;
    GSubprocess *process;
    char *output; /* NULL unless it succeeded */
    guint *n_running;
} Query;

gboolean pv_managers_name_is_valid(const char *name)
{
    if (!g_ascii_isalnum(*name) && *name != '_')
        return FALSE;
    for (const char *p = name; *p != '\0'; p++)
        if (!g_ascii_isalnum(*p) && strchr("_.-@:\\", *p) == NULL)
            return FALSE;
    return strlen(name) <= 255;
}

gboolean pv_managers_parse_pid(const char *output, pid_t *ret_pid)
{
    const char *equals = strchr(output, '=');
    g_autofree char *text = g_strstrip(g_strdup(equals != NULL ? equals + 1 : output));
    guint64 pid;

    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT32, &pid, NULL))
        return FALSE;
    *ret_pid = (pid_t)pid;
    return TRUE;
}

static void on_finished(GObject *source, GAsyncResult *result, gpointer data)
{
    Query *query = data;
    GSubprocess *process = G_SUBPROCESS(source);
    g_autofree char *output = NULL;

    if (g_subprocess_communicate_utf8_finish(process, result, &output, NULL, NULL) &&
        g_subprocess_get_successful(process))
        query->output = g_steal_pointer(&output);
    --*query->n_running;
}

static gboolean on_timeout(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

static gboolean query_start(Query *query, const char *name, GCancellable *cancellable)
{
    const char *argv[ARGS_MAX + 1] = {NULL};
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
        G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE);
    g_autofree char *program = g_find_program_in_path(query->tool->argv[0]);

    if (program == NULL)
        return FALSE;
    for (guint i = 0; i < ARGS_MAX && query->tool->argv[i] != NULL; i++)
        argv[i] = strcmp(query->tool->argv[i], NAME_ARG) == 0 ? name : query->tool->argv[i];
    argv[0] = program;
    g_subprocess_launcher_setenv(launcher, "LC_ALL", "C", TRUE);
    query->process = g_subprocess_launcher_spawnv(launcher, argv, NULL);
    if (query->process == NULL)
        return FALSE;
    ++*query->n_running;
    g_subprocess_communicate_utf8_async(query->process, NULL, cancellable, on_finished, query);
    return TRUE;
}

static void wait_for_all(GMainContext *context, guint *n_running, GCancellable *cancellable)
{
    gboolean is_over = FALSE;
    g_autoptr(GSource) timer = g_timeout_source_new_seconds(TIMEOUT_SECONDS);

    g_source_set_callback(timer, on_timeout, &is_over, NULL);
    g_source_attach(timer, context);
    while (*n_running > 0) {
        if (is_over && !g_cancellable_is_cancelled(cancellable))
            g_cancellable_cancel(cancellable); /* the callbacks come all the same */
        g_main_context_iteration(context, TRUE);
    }
    g_source_destroy(timer);
}

GArray *pv_managers_ask(const char *name, gboolean want_units, GString *asked)
{
    GArray *answers = g_array_new(FALSE, FALSE, sizeof(PvManagerAnswer));
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Query queries[G_N_ELEMENTS(tools)] = {{NULL, NULL, NULL, NULL}};
    guint n_running = 0;

    g_main_context_push_thread_default(context);
    for (guint i = 0; i < G_N_ELEMENTS(tools); i++) {
        queries[i] = (Query){.tool = &tools[i], .n_running = &n_running};
        if (tools[i].units == want_units && query_start(&queries[i], name, cancellable))
            g_string_append_printf(asked, "%s%s", asked->len > 0 ? ", " : "", tools[i].argv[0]);
    }
    wait_for_all(context, &n_running, cancellable);
    g_main_context_pop_thread_default(context);

    for (guint i = 0; i < G_N_ELEMENTS(tools); i++) {
        PvManagerAnswer answer = {.manager = tools[i].manager};
        if (queries[i].output != NULL && pv_managers_parse_pid(queries[i].output, &answer.pid) &&
            (answer.pid > 0 ||
             !want_units)) /* systemctl prints 0 for units that it never heard of */
            g_array_append_val(answers, answer);
        if (queries[i].process != NULL && queries[i].output == NULL)
            g_subprocess_force_exit(queries[i].process);
        g_clear_object(&queries[i].process);
        g_free(queries[i].output);
    }
    return answers;
}
