/*
 * What the wrapper has to say goes where the manager looks for the runtime's own messages.
 */
#pragma once

#include "arguments.h"

/*
 * Append one line to the file of --log in its format (the text or JSON that runc and crun write),
 * or to stderr without one.
 *
 * level  "warning", "error"
 */
void pv_runtime_report(const PvRuntimeArguments *arguments, const char *level, const char *message);

/*
 * Append what procview has to say to a log file that is there.
 * Returns FALSE when it cannot be written.
 */
gboolean pv_runtime_report_append(const char *log, gboolean is_json, const char *level,
                                  const char *message);

/* The absolute path of the file of --log, for the hook; NULL when there is none, or when it is no
 * file that others can open. Free with g_free. */
char *pv_runtime_report_file(const PvRuntimeArguments *arguments);

/* The line. time: RFC 3339. Free with g_free. */
char *pv_runtime_report_line(gboolean is_json, const char *level, const char *message,
                             const char *time);
