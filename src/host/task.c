/*
 * /proc/PID/stat and /proc/PID/status. The name in it is chosen by the process, so fields are
 * counted from the line's last parenthesis: nothing that the kernel prints behind the name has one.
 */
#include "procview/host.h"

#include "procview/file.h"
#include "procview/parse.h"

#include <errno.h>
#include <string.h>

/* 52 fields of up to 20 digits, and the name. */
#define STAT_TEXT_MAX 2048

/* That of most processes, and of one with as many groups as there may be (NGROUPS_MAX). */
#define STATUS_TEXT_USUAL 8192
#define STATUS_TEXT_MAX   (1 << 20)

/* Move the cursor over `n` blank-separated fields; FALSE when the text ends before. */
static gboolean skip_fields(const char **cursor, guint n)
{
    const char *p = *cursor;
    while (n-- > 0) {
        p += strspn(p, " ");
        if (*p == '\0')
            return FALSE;
        p += strcspn(p, " ");
    }
    *cursor = p;
    return TRUE;
}

/* A number that is a whole field. */
static gboolean parse_field(const char **cursor, guint64 max, guint64 *ret_value)
{
    return pv_parse_u64(cursor, ret_value) && *ret_value <= max && strchr(" \n", **cursor) != NULL;
}

gboolean pv_task_stat_parse(const char *text, PvTaskStat *ret_stat)
{
    PvTaskStat stat;
    guint64 ppid, processor;
    const char *p = strrchr(text, ')');

    if (strchr(text, '(') == NULL || p == NULL || p[1] != ' ' || !g_ascii_isalpha(p[2]) ||
        p[3] != ' ')
        return FALSE;
    stat.state = p[2];
    p += 3;
    if (!parse_field(&p, G_MAXINT, &ppid) ||                            /* 4 */
        !skip_fields(&p, 9) ||                                          /* 5 to 13 */
        !parse_field(&p, G_MAXUINT64, &stat.user_ticks) ||              /* 14 */
        !parse_field(&p, G_MAXUINT64, &stat.system_ticks) ||            /* 15 */
        !skip_fields(&p, 6) ||                                          /* 16 to 21 */
        !parse_field(&p, G_MAXUINT64, &stat.start_ticks) ||             /* 22 */
        !skip_fields(&p, 16) || !parse_field(&p, G_MAXINT, &processor)) /* 23 to 38, 39 */
        return FALSE;

    stat.ppid = (pid_t)ppid;
    stat.processor = (int)processor;
    *ret_stat = stat;
    return TRUE;
}

int pv_host_read_task_stat(const PvHost *host, pid_t tid, PvTaskStat *ret_stat)
{
    char path[64], text[STAT_TEXT_MAX];

    if (tid <= 0)
        return -ESRCH;
    /* Below task/ a thread's ticks are its own; TID/stat adds up its whole process. */
    g_snprintf(path, sizeof path, "%d/task/%d/stat", tid, tid);
    ssize_t n = pv_read_text_at(pv_host_procfs(host), path, text, sizeof text);
    if (n == -ENOENT) {
        /* It has ended, or this is a captured tree, which holds processes without their threads. */
        g_snprintf(path, sizeof path, "%d/stat", tid);
        n = pv_read_text_at(pv_host_procfs(host), path, text, sizeof text);
    }
    if (n < 0)
        return (int)n;
    return pv_task_stat_parse(text, ret_stat) ? 0 : -EBADMSG;
}

/* The value of a line "KEY:\tVALUE", or NULL. */
static const char *status_line(const char *text, const char *key)
{
    size_t length = strlen(key);

    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            return line + length + 1;
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return NULL;
}

static pid_t status_pid(const char *text, const char *key)
{
    const char *value = status_line(text, key);
    guint64 pid = 0;

    return value != NULL && pv_parse_u64(&value, &pid) && pid <= G_MAXINT ? (pid_t)pid : 0;
}

gboolean pv_task_pids_parse(const char *text, PvTaskPids *ret_pids)
{
    const char *nspid = status_line(text, "NSpid");
    PvTaskPids pids = {.tgid = status_pid(text, "Tgid"), .ppid = status_pid(text, "PPid")};

    if (nspid == NULL)
        return FALSE;
    while (*nspid != '\n' && *nspid != '\0') {
        guint64 pid;

        if (*nspid == '\t' || *nspid == ' ') {
            nspid++;
            continue;
        }
        if (!g_ascii_isdigit(*nspid) || !pv_parse_u64(&nspid, &pid) || pid > G_MAXINT ||
            pids.levels == PV_PIDNS_LEVELS_MAX)
            return FALSE;
        pids.last_pid = pids.pids[pids.levels++] = (pid_t)pid;
    }
    if (pids.levels == 0)
        return FALSE;
    *ret_pids = pids;
    return TRUE;
}

gboolean pv_task_pids_read(int dirfd, const char *path, PvTaskPids *ret_pids)
{
    char text[STATUS_TEXT_USUAL];
    ssize_t n = pv_read_text_at(dirfd, path, text, sizeof text);

    if (n == -EFBIG) {
        g_autoptr(GString) whole = g_string_new(NULL);

        return pv_read_all_at(dirfd, path, whole, STATUS_TEXT_MAX) == 0 &&
               pv_task_pids_parse(whole->str, ret_pids);
    }
    return n >= 0 && pv_task_pids_parse(text, ret_pids);
}
