/*
 * One line per event on stderr, written in one piece so that lines of several threads and
 * processes do not mix.
 */
#include "procview/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    char priority; /* sd-daemon(3) */
} LEVELS[] = {
    [PV_LOG_ERROR] = {"error", '3'},
    [PV_LOG_WARNING] = {"warning", '4'},
    [PV_LOG_INFO] = {"info", '6'},
    [PV_LOG_DEBUG] = {"debug", '7'},
};

static int log_level = PV_LOG_INFO; /* atomic */
static const char *program_name;    /* set once, at the start */

void pv_log_set_program(const char *name)
{
    program_name = name;
}

void pv_log_set_level(PvLogLevel level)
{
    g_atomic_int_set(&log_level, (int)level);
}

gboolean pv_log_level_parse(const char *name, PvLogLevel *ret_level)
{
    for (guint i = 0; i < G_N_ELEMENTS(LEVELS); i++) {
        if (strcmp(name, LEVELS[i].name) == 0) {
            *ret_level = (PvLogLevel)i;
            return TRUE;
        }
    }
    return FALSE;
}

/* Names of cgroups and files reach the log: they must not forge a line or drive a terminal. */
static void neutralize_controls(GString *line, gsize from)
{
    for (gsize i = from; i < line->len; i++) {
        unsigned char c = (unsigned char)line->str[i];
        if (c < 0x20 || c == 0x7f)
            line->str[i] = '?';
    }
}

void pv_log(PvLogLevel level, const char *format, ...)
{
    if ((int)level > g_atomic_int_get(&log_level))
        return;

    g_autoptr(GString) line = g_string_new(NULL);
    if (program_name != NULL)
        g_string_append_printf(line, "%s: ", program_name);
    else if (isatty(STDERR_FILENO) == 0)
        g_string_append_printf(line, "<%c>", LEVELS[level].priority);
    gsize message_start = line->len;

    va_list args;
    va_start(args, format);
    g_string_append_vprintf(line, format, args);
    va_end(args);
    neutralize_controls(line, message_start);
    g_string_append_c(line, '\n');

    /* A log that cannot be written has nobody to be told. */
    ssize_t ignored = write(STDERR_FILENO, line->str, line->len);
    (void)ignored;
}
