/*
 * One line per event on stderr, written in one piece so that lines of several threads and
 * processes do not mix.
 */
#include "procview/log.h"

#include "procview/nowait.h"

#include <string.h>

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

void pv_log(PvLogLevel level, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    if ((int)level > g_atomic_int_get(&log_level))
        return;
    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    if (program_name != NULL) {
        g_autofree char *line = g_strconcat(program_name, ": ", message, NULL);
        pv_log_line('\0', line);
    } else {
        pv_log_line(LEVELS[level].priority, message);
    }
}
