/*
 * Shared pieces of the commands.
 */
#include "common.h"

#include "command.h"
#include "procview/config.h"
#include "procview/error.h"
#include "procview/parse.h"

#include <string.h>
#include <unistd.h>

void pv_cli_error(const char *command, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_printerr("procview: %s: %s\n", command, message);
}

void pv_cli_advise_root(GError **error)
{
    static const char advice[] = "; this needs root";

    if (error == NULL || geteuid() == 0 ||
        !g_error_matches(*error, PV_ERROR, PV_ERROR_PERMISSION) ||
        g_str_has_suffix((*error)->message, advice))
        return;
    char *message = g_strconcat((*error)->message, advice, NULL);
    g_free((*error)->message);
    (*error)->message = message;
}

int pv_cli_usage_error(const char *command, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_printerr("procview: %s: %s\nTry 'procview %s --help'.\n", command, message, command);
    return PV_EXIT_USAGE;
}

gboolean pv_cli_parse(const char *command, const char *arguments, const char *summary,
                      const char *examples, const GOptionEntry *entries, int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(arguments);
    g_autoptr(GError) error = NULL;
    g_autofree char *prgname = g_strconcat("procview ", command, NULL);

    g_set_prgname(prgname); /* --help calls the program so */
    g_option_context_set_summary(context, summary);
    g_option_context_set_description(context, examples);
    g_option_context_add_main_entries(context, entries, NULL);
    gboolean ok = g_option_context_parse(context, &argc, &argv, &error);
    g_set_prgname("procview");
    if (!ok)
        pv_cli_usage_error(command, "%s", error->message);
    return ok;
}

void pv_cli_context_clear(PvCliContext *context)
{
    g_clear_pointer(&context->views, pv_views_free);
    g_clear_pointer(&context->containers, pv_containers_free);
    g_clear_pointer(&context->hierarchies, pv_hierarchies_unref);
    g_clear_pointer(&context->host, pv_host_free);
}

static gboolean open_context(PvCliContext *ret_context, const PvConfig *config, GError **error)
{
    g_auto(PvCliContext) context = {NULL, NULL, NULL, NULL};
    const PvViewOptions options = {.dense_cpu_ids = config->cpu_ids_dense,
                                   .swap_total = config->swap_total};
    g_autofree char *account_dir = g_build_filename(config->state_dir, "account", NULL);

    context.host = pv_host_open(NULL, error);
    if (context.host == NULL)
        return FALSE;
    context.hierarchies =
        pv_hierarchies_load(pv_host_procfs(context.host), pv_host_root(context.host), error);
    if (context.hierarchies == NULL)
        return FALSE;
    context.containers =
        pv_containers_new_read_only(context.host, context.hierarchies, account_dir);
    context.views = pv_views_new(context.host, context.containers, &options);
    *ret_context = context;
    context = (PvCliContext){NULL, NULL, NULL, NULL};
    return TRUE;
}

gboolean pv_cli_context_open(PvCliContext *ret_context, GError **error)
{
    g_auto(PvConfig) defaults = {0};

    pv_config_init(&defaults);
    return open_context(ret_context, &defaults, error);
}

gboolean pv_cli_context_open_configured(PvCliContext *ret_context, const char *config_path,
                                        GError **error)
{
    g_auto(PvConfig) config = {0};

    pv_config_init(&config);
    return pv_config_load_file(&config, config_path, error) &&
           open_context(ret_context, &config, error);
}

gboolean pv_cli_wants_colour(FILE *stream)
{
    const char *no_color = g_getenv("NO_COLOR");
    const char *term = g_getenv("TERM");

    return (no_color == NULL || *no_color == '\0') && term != NULL && strcmp(term, "dumb") != 0 &&
           isatty(fileno(stream));
}

char *pv_cli_format_size(guint64 bytes)
{
    static const char units[] = "BKMGTPE";
    guint unit = 0;
    double value = (double)bytes;

    while (value >= 1023.5 && units[unit + 1] != '\0') {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        return g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
    /* One decimal where it says something: 1.5G, but 256M and 1G. */
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    g_ascii_formatd(text, sizeof(text), value < 9.95 ? "%.1f" : "%.0f", value);
    if (g_str_has_suffix(text, ".0"))
        text[strlen(text) - 2] = '\0';
    return g_strdup_printf("%s%c", text, units[unit]);
}

char *pv_cli_format_duration(guint64 nsec)
{
    guint64 seconds = nsec / 1000000000;
    guint64 days = seconds / 86400;
    guint hours = (guint)(seconds / 3600 % 24), minutes = (guint)(seconds / 60 % 60);

    if (days > 0)
        return g_strdup_printf("%" G_GUINT64_FORMAT "d %02u:%02u:%02u", days, hours, minutes,
                               (guint)(seconds % 60));
    return g_strdup_printf("%02u:%02u:%02u", hours, minutes, (guint)(seconds % 60));
}

void pv_json_append_string(GString *out, const char *text)
{
    if (text == NULL) {
        g_string_append(out, "null");
        return;
    }
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    g_string_append_c(out, '"');
    for (const char *p = valid; *p != '\0'; p++) {
        guchar c = (guchar)*p;
        if (c == '"' || c == '\\')
            g_string_append_printf(out, "\\%c", c);
        else if (c == '\n')
            g_string_append(out, "\\n");
        else if (c == '\t')
            g_string_append(out, "\\t");
        else if (c < 0x20 || c == 0x7f)
            g_string_append_printf(out, "\\u%04x", c);
        else
            g_string_append_c(out, (char)c);
    }
    g_string_append_c(out, '"');
}

void pv_json_append_number(GString *out, guint64 number)
{
    if (number == PV_UNLIMITED)
        g_string_append(out, "null");
    else
        g_string_append_printf(out, "%" G_GUINT64_FORMAT, number);
}

static void print_row(FILE *stream, char *const *row, const glong *widths, guint n_columns,
                      guint numeric)
{
    g_autoptr(GString) line = g_string_new(NULL);

    for (guint i = 0; i < n_columns; i++) {
        glong padding = widths[i] - g_utf8_strlen(row[i], -1);
        if (i > 0)
            g_string_append(line, "  ");
        if (numeric & (1u << i))
            g_string_append_printf(line, "%*s%s", (int)padding, "", row[i]);
        else
            g_string_append_printf(line, "%s%*s", row[i], i + 1 < n_columns ? (int)padding : 0, "");
    }
    fprintf(stream, "%s\n", line->str);
}

void pv_cli_print_table(FILE *stream, const GPtrArray *rows, guint n_columns, guint numeric)
{
    g_autofree glong *widths = g_new0(glong, n_columns);
    gboolean colour = pv_cli_wants_colour(stream);

    for (guint r = 0; r < rows->len; r++)
        for (guint i = 0; i < n_columns; i++)
            widths[i] = MAX(widths[i], g_utf8_strlen(((char **)rows->pdata[r])[i], -1));
    for (guint r = 0; r < rows->len; r++) {
        if (r == 0 && colour)
            fputs("\033[1m", stream);
        print_row(stream, rows->pdata[r], widths, n_columns, numeric);
        if (r == 0 && colour)
            fputs("\033[0m", stream);
    }
}
