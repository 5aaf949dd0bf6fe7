/*
 * procview ps: the containers of the machine with what they use and may use.
 */
#include "command.h"
#include "common.h"
#include "procview/config.h"
#include "procview/parse.h"
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const headings[] = {
    "NAME", "MANAGER", "PID", "UPTIME", "CPUS", "MEMORY", "LIMIT", "%MEM", "SWAP", "PIDS", "LOAD",
};
#define N_COLUMNS G_N_ELEMENTS(headings)
/* All but the name and the manager. */
#define NUMERIC_COLUMNS (((1u << N_COLUMNS) - 1) & ~3u)

static char *format_bytes(guint64 bytes, gboolean exact)
{
    return exact ? g_strdup_printf("%" G_GUINT64_FORMAT, bytes) : pv_cli_format_size(bytes);
}

static char *format_pids(const PvUsage *usage)
{
    if (usage->tasks_max == PV_UNLIMITED)
        return g_strdup_printf("%" G_GUINT64_FORMAT, usage->tasks);
    return g_strdup_printf("%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, usage->tasks,
                           usage->tasks_max);
}

/* "-" is something that there is not, "?" something that could not be read. */
static char **make_row(const PvContainer *container, const PvUsage *usage, gboolean exact)
{
    char **row = g_new0(char *, N_COLUMNS + 1);
    guint i = 0;
    gboolean has_memory = usage->has_memory;
    double percent =
        has_memory && usage->memory_total_bytes > 0
            ? 100.0 * (double)usage->memory_used_bytes / (double)usage->memory_total_bytes
            : 0;

    row[i++] = g_strdup(container->name);
    row[i++] = g_strdup(*container->manager != '\0' ? container->manager : "-");
    row[i++] = g_strdup_printf("%d", container->init_pid);
    row[i++] = pv_cli_format_duration(usage->uptime_nsec);
    row[i++] = usage->has_cpus ? g_strdup_printf("%u", usage->n_cpus) : g_strdup("?");
    row[i++] = has_memory ? format_bytes(usage->memory_used_bytes, exact) : g_strdup("?");
    row[i++] = !has_memory ? g_strdup("?")
               : usage->memory_limit_bytes == PV_UNLIMITED
                   ? g_strdup("-")
                   : format_bytes(usage->memory_limit_bytes, exact);
    row[i++] = has_memory ? g_strdup_printf("%.1f", percent) : g_strdup("?");
    row[i++] = has_memory ? format_bytes(usage->swap_used_bytes, exact) : g_strdup("?");
    row[i++] = usage->has_pids ? format_pids(usage) : g_strdup("-");
    row[i++] = g_strdup(usage->has_load ? usage->load[0] : "?");
    return row;
}

static void append_number(GString *out, const char *key, gboolean known, guint64 value)
{
    g_string_append_printf(out, ", \"%s\": ", key);
    pv_json_append_number(out, known ? value : PV_UNLIMITED);
}

static void append_json(GString *out, const PvContainer *container, const PvUsage *usage)
{
    const char *path = pv_cgroup_path(container->cgroup, PV_CONTROLLER_TASKS);

    g_string_append(out, out->len > 0 ? ",\n  {\"name\": " : "  {\"name\": ");
    pv_json_append_string(out, container->name);
    g_string_append(out, ", \"manager\": ");
    pv_json_append_string(out, *container->manager != '\0' ? container->manager : NULL);
    g_string_append(out, ", \"cgroup\": ");
    pv_json_append_string(out, path);
    append_number(out, "pid", TRUE, (guint64)container->init_pid);
    append_number(out, "uptime_nsec", TRUE, usage->uptime_nsec);
    append_number(out, "cpus", usage->has_cpus, usage->n_cpus);
    append_number(out, "memory_total_bytes", usage->has_memory, usage->memory_total_bytes);
    append_number(out, "memory_used_bytes", usage->has_memory, usage->memory_used_bytes);
    append_number(out, "memory_limit_bytes", usage->has_memory, usage->memory_limit_bytes);
    append_number(out, "swap_total_bytes", usage->has_memory, usage->swap_total_bytes);
    append_number(out, "swap_used_bytes", usage->has_memory, usage->swap_used_bytes);
    append_number(out, "tasks", usage->has_pids, usage->tasks);
    append_number(out, "tasks_max", usage->has_pids, usage->tasks_max);
    if (usage->has_load)
        g_string_append_printf(out, ", \"load\": [%s, %s, %s]}", usage->load[0], usage->load[1],
                               usage->load[2]);
    else
        g_string_append(out, ", \"load\": null}");
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    const PvContainer *first = *(PvContainer *const *)a, *second = *(PvContainer *const *)b;
    int r = g_strcmp0(first->name, second->name);

    return r != 0 ? r : first->init_pid - second->init_pid;
}

static void list(const PvCliContext *context, gboolean exact, gboolean json)
{
    g_autoptr(GPtrArray) containers = pv_containers_scan(context->containers);
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    g_autoptr(GString) text = g_string_new(NULL);
    char **heading = g_new0(char *, N_COLUMNS + 1);

    for (guint i = 0; i < N_COLUMNS; i++)
        heading[i] = g_strdup(headings[i]);
    g_ptr_array_add(rows, heading);
    g_ptr_array_sort(containers, compare_names);
    for (guint i = 0; i < containers->len; i++) {
        PvUsage usage;
        pv_usage_read(context, containers->pdata[i], &usage);
        if (json)
            append_json(text, containers->pdata[i], &usage);
        else
            g_ptr_array_add(rows, make_row(containers->pdata[i], &usage, exact));
    }
    if (json)
        printf("[\n%s\n]\n", text->str);
    else
        pv_cli_print_table(stdout, rows, N_COLUMNS, NUMERIC_COLUMNS);
}

int pv_cmd_ps(int argc, char **argv)
{
    gboolean json = FALSE, exact = FALSE;
    g_autofree char *config_path = NULL;
    g_auto(GStrv) rest = NULL;
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &config_path, PV_CLI_CONFIG_HELP, "FILE"},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &json, "JSON, with exact numbers", NULL},
        {"bytes", 'b', 0, G_OPTION_ARG_NONE, &exact, "Sizes in bytes", NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &rest, NULL, NULL},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };
    g_auto(PvCliContext) context = {NULL, NULL, NULL, NULL};
    g_autoptr(GError) error = NULL;

    if (!pv_cli_parse("ps", NULL,
                      "Lists the containers of this machine: every pid namespace below this one.\n"
                      "MEMORY is what free shows as used in the container, LIMIT and CPUS what it\n"
                      "may use, LOAD its load average of the last minute. A dash is a limit that\n"
                      "is not set.",
                      "Examples:\n"
                      "  procview ps\n"
                      "  procview ps --json | jq '.[] | {name, memory_used_bytes}'\n",
                      entries, argc, argv))
        return PV_EXIT_USAGE;
    if (rest != NULL)
        return pv_cli_usage_error("ps", "unexpected argument '%s'", rest[0]);
    if (!pv_cli_context_open_configured(&context, config_path, &error)) {
        pv_cli_error("ps", "%s", error->message);
        return PV_EXIT_FAILED;
    }
    if (geteuid() != 0)
        pv_cli_error("ps", "only root can see the containers of others");
    list(&context, exact, json);
    return PV_EXIT_OK;
}
