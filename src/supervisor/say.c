/* The supervisor's log: lines as procview/log.h has them, without its library. */
#include "internal.h"

#include "procview/nowait.h"

#include <stdarg.h>
#include <stdio.h>

void pv_say(char priority, const char *format, ...)
{
    char message[PATH_MAX + 512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n >= 0)
        pv_log_line(priority, message);
}
