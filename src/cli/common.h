/*
 * What the commands share: how errors are said, how options are parsed, how containers are reached,
 * how numbers are printed.
 */
#pragma once

#include "procview/container.h"
#include "procview/view.h"

#include <glib.h>
#include <stdio.h>

#define PV_VIEWS_DIR "/var/lib/procview"

/* Of --config in commands that show what a daemon shows. */
#define PV_CLI_CONFIG_HELP "The configuration of the daemon (default: " PV_CONFIG_PATH ")"

/* "procview: COMMAND: MESSAGE" on stderr. */
void pv_cli_error(const char *command, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Add to an error, when it is one of permission and the user is not root, that root is needed. */
void pv_cli_advise_root(GError **error);

/*
 * Parse a command's options; --help prints them and ends the program.
 *
 * command    "attach"
 * arguments  what --help shows behind the options, "PID|NAME…"; NULL for none
 * summary    what the command does
 * examples   printed below the options
 * entries    ended by a row of NULLs; a row G_OPTION_REMAINING takes the arguments
 *
 * Returns FALSE after a usage error, which was printed.
 */
gboolean pv_cli_parse(const char *command, const char *arguments, const char *summary,
                      const char *examples, const GOptionEntry *entries, int argc, char **argv);

/* A usage error with a hint at --help. Returns PV_EXIT_USAGE. */
int pv_cli_usage_error(const char *command, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Everything that is needed to look at containers; nothing is changed by it. */
typedef struct {
    PvHost *host;
    PvHierarchies *hierarchies;
    PvContainers *containers;
    PvViews *views;
} PvCliContext;

gboolean pv_cli_context_open(PvCliContext *ret_context, GError **error);

/* The same, to show them as the daemon with this configuration does.
 * config_path  NULL: the usual one, if there is one */
gboolean pv_cli_context_open_configured(PvCliContext *ret_context, const char *config_path,
                                        GError **error);
void pv_cli_context_clear(PvCliContext *context);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvCliContext, pv_cli_context_clear)

/* ---- output ---- */

/* TRUE when colours are welcome: a terminal, and NO_COLOR is not set. */
gboolean pv_cli_wants_colour(FILE *stream);

/* "256M", "1.5G", "12K", "0": at most 4 digits and a unit of 1024. Free with g_free. */
char *pv_cli_format_size(guint64 bytes);

/* "00:01:05", "3d 04:12:00". Free with g_free. */
char *pv_cli_format_duration(guint64 nsec);

/* Append a JSON string with its quotes; bytes that are no UTF-8 are replaced. NULL is null. */
void pv_json_append_string(GString *out, const char *text);

/* Append a number; PV_UNLIMITED is null. Numbers past 2^53 are exact. */
void pv_json_append_number(GString *out, guint64 number);

/*
 * Print rows as a table of aligned columns.
 * rows     n_columns strings each; the first row is the heading
 * numeric  mask of columns (bit 0 is the first) that are aligned to the right
 */
void pv_cli_print_table(FILE *stream, const GPtrArray *rows, guint n_columns, guint numeric);
