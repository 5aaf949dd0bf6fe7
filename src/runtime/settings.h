/*
 * How the wrapper is set up: /etc/procview/runtime.conf, and the environment for one start.
 */
#pragma once

#include <glib.h>

#define PV_RUNTIME_CONF "/etc/procview/runtime.conf"

typedef struct {
    char *path;  /* the real runtime: a path, or a name to be looked up; NULL: runc, then crun */
    char *hook;  /* procview-hook; NULL: where it is installed */
    char *views; /* the daemon's mount point */
    gboolean strict;         /* no container without views */
    gboolean time_namespace; /* where the real runtime can make one */
} PvRuntimeSettings;

void pv_runtime_settings_init(PvRuntimeSettings *settings);
void pv_runtime_settings_clear(PvRuntimeSettings *settings);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvRuntimeSettings, pv_runtime_settings_clear)

/*
 * Take over the file ($PROCVIEW_RUNTIME_CONF, or PV_RUNTIME_CONF where there is one) and
 * $PROCVIEW_RUNTIME. What was understood before an error stays.
 * Errors: INVALID, with the file and the key; NOT_FOUND, PERMISSION, FAILED.
 */
gboolean pv_runtime_settings_load(PvRuntimeSettings *settings, GError **error);

/*
 * Where procview-hook is: `configured`, or beside this program, or where it is installed.
 * Returns an absolute path, free with g_free. Errors: NOT_FOUND.
 */
char *pv_runtime_find_hook(const char *configured, GError **error);
