/*
 * What has to be added to a container's config.json (OCI runtime specification) for it to see
 * itself, as insertions at byte offsets: all else stays as the manager wrote it.
 */
#pragma once

#include <glib.h>

typedef struct {
    const char *views;        /* the daemon's mount point */
    const char *const *paths; /* what may be mounted by the configuration, "proc/meminfo" */
    const char *hook;         /* the program for all that may not */
    const char *bundle;       /* its absolute path, without symbolic links: the hook is told the
                               * root file system */
    const char *log;          /* the file that the hook complains into as well; NULL: none */
    gboolean log_is_json;
    gboolean strict;         /* the hook fails rather than starting without views */
    gboolean time_namespace; /* the real runtime can make one */
    guint64 boottime_nsec;   /* CLOCK_BOOTTIME: what the time namespace starts at as 0 */
} PvBundlePlan;

/*
 * Make the new text of a config.json. What the user mounts himself, and what is there already, is
 * left out; with nothing to add, `out` is the same text. Of what an earlier call added, the hook's
 * arguments and the time's offset are renewed. Where a mount of the container may be shared with
 * the host, none is added: the hook sees what it really is.
 *
 * text  of the file, `length` bytes
 * out   is appended to on success
 *
 * Errors: INVALID for a text that is no valid configuration of a Linux container; UNSUPPORTED for
 * one where views have no place: without a mount namespace of its own, or without /proc.
 */
gboolean pv_bundle_edit(const PvBundlePlan *plan, const char *text, gsize length, GString *out,
                        GError **error);

/*
 * Edit a configuration in place: a new file takes the old one's place, mode and owner, or the old
 * one stays untouched.
 *
 * path  of the file
 *
 * Errors: as pv_bundle_edit; NOT_FOUND, PERMISSION, FAILED for files.
 */
gboolean pv_bundle_edit_file(const PvBundlePlan *plan, const char *path, GError **error);

/* TRUE when users other than the owner may go to `path`: the root of a user namespace, who mounts
 * from there. */
gboolean pv_bundle_is_reachable(const char *path);

/* The paths of a mount point's `views` that the runtimes let a configuration mount, and which are
 * there: NULL-terminated. Free with g_strfreev. */
char **pv_bundle_paths(const char *views);
