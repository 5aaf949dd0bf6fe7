/* The log, see report.h. */
#include "report.h"

#include "json.h"
#include "procview/fd.h"

#include <fcntl.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

char *pv_runtime_report_line(gboolean is_json, const char *level, const char *message,
                             const char *time)
{
    GString *line = g_string_new(NULL);
    g_autofree char *text = g_utf8_make_valid(message, -1);

    g_string_append(line, is_json ? "{\"level\":" : "time=");
    pv_json_write_string(line, is_json ? level : time);
    g_string_append(line, is_json ? ",\"msg\":" : " level=");
    if (!is_json)
        g_string_append_printf(line, "%s msg=", level);
    pv_json_write_string(line, text);
    if (is_json) {
        g_string_append(line, ",\"time\":");
        pv_json_write_string(line, time);
    }
    g_string_append(line, is_json ? "}\n" : "\n");
    return g_string_free(line, FALSE);
}

static gboolean append(const char *log, int flags, gboolean is_json, const char *level,
                       const char *message)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%SZ");
    g_autofree char *said = g_strdup_printf("procview: %s", message);
    g_autofree char *line = pv_runtime_report_line(is_json, level, said, time);
    pv_autofd int fd = open(log, flags | O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);

    return fd >= 0 && write(fd, line, strlen(line)) >= 0;
}

gboolean pv_runtime_report_append(const char *log, gboolean is_json, const char *level,
                                  const char *message)
{
    return append(log, O_NONBLOCK, is_json, level, message);
}

static gboolean is_syslog(const char *log)
{
    return g_str_has_prefix(log, "syslog:") || g_str_has_prefix(log, "journald:");
}

/* The file; NULL for stderr. */
static const char *log_file(const PvRuntimeArguments *arguments)
{
    const char *log = arguments->log;

    if (log != NULL && g_str_has_prefix(log, "file:")) /* crun's way */
        log += strlen("file:");
    return log != NULL && log[0] != '\0' && strcmp(log, "/dev/stderr") != 0 ? log : NULL;
}

char *pv_runtime_report_file(const PvRuntimeArguments *arguments)
{
    const char *log = log_file(arguments);

    if (log == NULL || is_syslog(log) || g_str_has_prefix(log, "/dev/") ||
        g_str_has_prefix(log, "/proc/"))
        return NULL;
    g_autofree char *here = g_get_current_dir();
    return log[0] == '/' ? g_strdup(log) : g_build_filename(here, log, NULL);
}

void pv_runtime_report(const PvRuntimeArguments *arguments, const char *level, const char *message)
{
    const char *log = log_file(arguments);

    if (log != NULL && is_syslog(log)) {
        openlog("procview-runtime", LOG_PID, LOG_DAEMON);
        syslog(strcmp(level, "error") == 0 ? LOG_ERR : LOG_WARNING, "%s", message);
        closelog();
        return;
    }
    if (log != NULL && append(log, O_CREAT, arguments->log_is_json, level, message))
        return;
    g_autofree char *line = g_strdup_printf("procview-runtime: %s: %s\n", level, message);
    (void)!write(STDERR_FILENO, line, strlen(line));
}
