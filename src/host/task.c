/*
 * /proc/PID/stat. The name in it is chosen by the process, so fields are counted from the line's
 * last parenthesis: nothing that the kernel prints behind the name has one.
 */
#include "procview/host.h"

#include "procview/file.h"
#include "procview/parse.h"

#include <errno.h>
#include <string.h>

/* 52 fields of up to 20 digits, and the name. */
#define STAT_TEXT_MAX 2048

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
