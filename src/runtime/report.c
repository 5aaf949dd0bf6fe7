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

void pv_runtime_report(const PvRuntimeArguments *arguments, const char *level, const char *message)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%SZ");
    g_autofree char *said = g_strdup_printf("procview: %s", message);
    const char *log = arguments->log;

    if (log != NULL && g_str_has_prefix(log, "file:")) /* crun's way */
        log += strlen("file:");
    if (log != NULL && (g_str_has_prefix(log, "syslog:") || g_str_has_prefix(log, "journald:"))) {
        openlog("procview-runtime", LOG_PID, LOG_DAEMON);
        syslog(strcmp(level, "error") == 0 ? LOG_ERR : LOG_WARNING, "%s", message);
        closelog();
        return;
    }
    if (log == NULL || log[0] == '\0' || strcmp(log, "/dev/stderr") == 0) {
        g_autofree char *line = g_strdup_printf("procview-runtime: %s: %s\n", level, message);
        (void)!write(STDERR_FILENO, line, strlen(line));
        return;
    }
    g_autofree char *line = pv_runtime_report_line(arguments->log_is_json, level, said, time);
    pv_autofd int fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0 || write(fd, line, strlen(line)) < 0)
        (void)!write(STDERR_FILENO, line, strlen(line));
}
