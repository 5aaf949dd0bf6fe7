/*
 * Errors: one GError domain for every library of procview, with codes that a
 * program can act on, and a helper that turns an errno into a sentence.
 */
#pragma once

#include <glib.h>

#define PV_ERROR (pv_error_quark())

typedef enum {
    PV_ERROR_FAILED,      /* anything else */
    PV_ERROR_NOT_FOUND,   /* the thing named does not exist */
    PV_ERROR_PERMISSION,  /* the kernel refused: more privilege is needed */
    PV_ERROR_INVALID,     /* malformed input: text, option, configuration */
    PV_ERROR_BUSY,        /* in use by somebody else */
    PV_ERROR_UNSUPPORTED, /* this kernel or host cannot do it */
    PV_ERROR_GONE,        /* a process or cgroup ended while it was looked at */
    PV_ERROR_AMBIGUOUS,   /* a name that fits more than one thing */
} PvError;

GQuark pv_error_quark(void);

/*
 * Set `error` from an errno, with the message "FORMAT: strerror(errnum)".
 * errnum  a positive errno; it also chooses the code (ENOENT -> NOT_FOUND,
 *         EPERM and EACCES -> PERMISSION, EBUSY -> BUSY, ENOSYS, EOPNOTSUPP
 *         and ENOTTY -> UNSUPPORTED, ESRCH, ENODEV and ESTALE -> GONE, EINVAL ->
 *         INVALID, else FAILED).
 * Returns FALSE always, so that `return pv_error_set_errno(...)` reads well.
 */
gboolean pv_error_set_errno(GError **error, int errnum, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Set `error` with a code and a message; returns FALSE always. */
gboolean pv_error_set(GError **error, PvError code, const char *format, ...) G_GNUC_PRINTF(3, 4);
