/* The supervisor's log: lines as procview/log.h has them, without its library. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void pv_say(char priority, const char *format, ...)
{
    char line[PATH_MAX + 512];
    int start = 0, n;
    va_list args;
    ssize_t written;

    if (isatty(STDERR_FILENO) == 0)
        start = snprintf(line, sizeof line, "<%c>", priority);
    va_start(args, format);
    n = vsnprintf(line + start, sizeof line - (size_t)start - 1, format, args);
    va_end(args);
    if (n < 0)
        return;
    n += start;
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    for (int i = start; i < n; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[n++] = '\n';
    written = write(STDERR_FILENO, line, (size_t)n);
    (void)written;
}
