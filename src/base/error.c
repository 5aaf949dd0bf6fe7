/*
 * Turns kernel errnos into errors that a program can act on and a person can read.
 */
#include "procview/error.h"

#include <errno.h>

G_DEFINE_QUARK(pv - error - quark, pv_error)

static PvError code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
        return PV_ERROR_NOT_FOUND;
    case EPERM:
    case EACCES:
        return PV_ERROR_PERMISSION;
    case EINVAL:
        return PV_ERROR_INVALID;
    case EBUSY:
        return PV_ERROR_BUSY;
    case ENOSYS:
    case EOPNOTSUPP:
    case ENOTTY:
        return PV_ERROR_UNSUPPORTED;
    case ESRCH:
    case ENODEV:
    case ESTALE:
        return PV_ERROR_GONE;
    default:
        return PV_ERROR_FAILED;
    }
}

gboolean pv_error_set_errno(GError **error, int errnum, const char *format, ...)
{
    if (error == NULL)
        return FALSE;

    va_list args;
    va_start(args, format);
    g_autofree char *context = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, PV_ERROR, (int)code_of_errno(errnum), "%s: %s", context, g_strerror(errnum));
    return FALSE;
}

gboolean pv_error_set(GError **error, PvError code, const char *format, ...)
{
    if (error == NULL)
        return FALSE;

    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, PV_ERROR, (int)code, message);
    return FALSE;
}
