/*
 * The runtime that does the work: runc or crun.
 */
#pragma once

#include <glib.h>

/*
 * Find it.
 * wanted  a path or a name; NULL: runc, then crun
 * Returns an absolute path, which is never this program itself; free with g_free.
 * Errors: NOT_FOUND.
 */
char *pv_real_find(const char *wanted, GError **error);

/*
 * Whether it can make time namespaces, as its "features" command tells. Asked once for each
 * version of the program: the answer is kept in `cache_dir`.
 */
gboolean pv_real_has_time_namespace(const char *path, const char *cache_dir);

/* The answer in the text that "features" printed. */
gboolean pv_real_parse_features(const char *text, gsize length);
