/*
 * procview show: one file, as the container of a process sees it, without any mount.
 */
#include "command.h"
#include "common.h"
#include "procview/config.h"
#include "procview/error.h"
#include "procview/resolve.h"
#include "show.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Files are also found without these. */
static const char *const prefixes[] = {"", "proc/", "sys/devices/system/cpu/", "sys/"};

const PvRow *pv_show_find_row(const char *name)
{
    while (*name == '/')
        name++;
    for (guint i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        g_autofree char *path = g_strconcat(prefixes[i], name, NULL);
        const PvRow *row = pv_row_find(path);
        if (row != NULL)
            return row;
    }
    return NULL;
}

void pv_show_append_values(GString *json, const char *text)
{
    const char *separator = "";

    g_string_append_c(json, '{');
    while (*text != '\0') {
        const char *end = strchrnul(text, '\n');
        g_autofree char *line = g_strndup(text, (gsize)(end - text));
        gsize length = strcspn(line, ": ");
        const char *number = line + length + strspn(line + length, ": ");
        if (length > 0 && g_ascii_isdigit(*number)) {
            line[length] = '\0';
            g_string_append(json, separator);
            pv_json_append_string(json, line);
            g_string_append_printf(json, ": %.*s", (int)strspn(number, "0123456789"), number);
            separator = ", ";
        }
        text = *end == '\n' ? end + 1 : end;
    }
    g_string_append_c(json, '}');
}

static void print_list(FILE *stream)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    const char *heading[] = {"FILE", "WHAT IT SHOWS", NULL};

    g_ptr_array_add(rows, g_strdupv((char **)heading));
    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        const char *cells[] = {row->path, row->help, NULL};
        g_ptr_array_add(rows, g_strdupv((char **)cells));
    }
    pv_cli_print_table(stream, rows, 2, 0);
}

static void print_json(const PvContainer *container, pid_t pid, const PvRow *row, const char *text)
{
    g_autoptr(GString) json = g_string_new("{\"file\": ");
    gboolean is_meminfo = strcmp(row->path, "proc/meminfo") == 0;

    pv_json_append_string(json, row->path);
    g_string_append(json, ", \"container\": ");
    pv_json_append_string(json, container->name);
    g_string_append_printf(json, ", \"pid\": %d, \"text\": ", pid);
    pv_json_append_string(json, text);
    if (is_meminfo || strcmp(row->path, "proc/vmstat") == 0) {
        g_string_append(json, is_meminfo ? ", \"values_kb\": " : ", \"values\": ");
        pv_show_append_values(json, text);
    }
    printf("%s}\n", json->str);
}

static gboolean show(const PvRow *row, const char *who, const char *config_path, gboolean json,
                     GError **error)
{
    g_auto(PvCliContext) context = {NULL, NULL, NULL, NULL};
    g_autoptr(GString) text = g_string_new(NULL);
    pid_t pid = getpid();
    PvViewCounters counters;

    if (!pv_cli_context_open_configured(&context, config_path, error))
        return FALSE;
    if (row->is_optional && !pv_row_is_on_host(row, context.host))
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "the kernel of this machine has no /%s, or does not let it be read",
                            row->path);
    if (who != NULL && !pv_resolve(context.hierarchies, context.containers, who, &pid, error))
        return FALSE;
    g_autoptr(PvContainer) container = pv_containers_find(context.containers, pid, error);
    if (container == NULL) {
        g_prefix_error(error, "cannot tell the container of process %d: ", pid);
        pv_cli_advise_root(error);
        return FALSE;
    }
    int r = pv_views_render(context.views, container, row, text);
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot render %s for process %d", row->path, pid);
    pv_views_counters(context.views, &counters);
    if (counters.fallbacks > 0)
        pv_cli_error("show",
                     "%s: the numbers of process %d's container could not be read: this is the "
                     "kernel's own file, as the container would get it",
                     row->path, pid);
    if (json)
        print_json(container, pid, row, text->str);
    else
        fwrite(text->str, 1, text->len, stdout);
    return TRUE;
}

int pv_cmd_show(int argc, char **argv)
{
    gboolean json = FALSE, do_list = FALSE;
    g_autofree char *who = NULL, *config_path = NULL;
    g_auto(GStrv) rest = NULL;
    const GOptionEntry entries[] = {
        {"pid", 'p', 0, G_OPTION_ARG_STRING, &who, "Whose (default: this process's)", "PID|NAME"},
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config_path, PV_CLI_CONFIG_HELP, "FILE"},
        {"list", 'l', 0, G_OPTION_ARG_NONE, &do_list, "List the files", NULL},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &json, "JSON; meminfo and vmstat with their numbers",
         NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &rest, NULL, NULL},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };
    g_autoptr(GError) error = NULL;

    if (!pv_cli_parse(
            "show", "FILE",
            "Prints a file as a process's container sees it through procview. Nothing is\n"
            "mounted, and no daemon is needed.",
            "Examples:\n"
            "  procview show meminfo --pid web\n"
            "  procview show /proc/stat --pid 4711\n"
            "  procview show --list\n",
            entries, argc, argv))
        return PV_EXIT_USAGE;
    if (do_list) {
        if (rest != NULL)
            return pv_cli_usage_error("show", "--list takes no file");
        print_list(stdout);
        return PV_EXIT_OK;
    }
    if (rest == NULL || rest[1] != NULL)
        return pv_cli_usage_error("show", "give one file, or --list");
    const PvRow *row = pv_show_find_row(rest[0]);
    if (row == NULL) {
        pv_cli_error("show", "procview serves no file '%s'; it serves:", rest[0]);
        for (const PvRow *known = pv_rows(); known->path != NULL; known++)
            g_printerr("  %s\n", known->path);
        return PV_EXIT_USAGE;
    }
    if (!show(row, who, config_path, json, &error)) {
        pv_cli_error("show", "%s", error->message);
        return PV_EXIT_FAILED;
    }
    return PV_EXIT_OK;
}
