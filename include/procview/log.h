/*
 * The log: one line per event on stderr. A daemon's has the priority prefix that journald
 * understands (<3>, <4>, <6>, <7>) when stderr is not a terminal, a command's the command's name.
 * Libraries return errors; programs log them, once.
 */
#pragma once

#include <glib.h>

typedef enum {
    PV_LOG_ERROR,
    PV_LOG_WARNING,
    PV_LOG_INFO,
    PV_LOG_DEBUG,
} PvLogLevel;

/* Messages above `level` are dropped; the default is PV_LOG_INFO. */
void pv_log_set_level(PvLogLevel level);

/* What is logged is for the person who runs this program: every line begins with its name. */
void pv_log_set_program(const char *name);

/* "error", "warning", "info" or "debug" to a level; FALSE when it is none of them. */
gboolean pv_log_level_parse(const char *name, PvLogLevel *ret_level);

void pv_log(PvLogLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);

#define pv_log_error(...)   pv_log(PV_LOG_ERROR, __VA_ARGS__)
#define pv_log_warning(...) pv_log(PV_LOG_WARNING, __VA_ARGS__)
#define pv_log_info(...)    pv_log(PV_LOG_INFO, __VA_ARGS__)
#define pv_log_debug(...)   pv_log(PV_LOG_DEBUG, __VA_ARGS__)
