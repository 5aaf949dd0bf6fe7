/* Which views a configuration can have, and who reaches them, see bundle.h. */
#include "bundle.h"

#include "procview/view.h"

#include <string.h>
#include <sys/stat.h>

static const char *const directories[] = {
    "sys/devices/system/cpu",
    "sys/devices/system/node",
};

gboolean pv_bundle_is_reachable(const char *path)
{
    g_autofree char *at = g_strdup(path);

    for (;;) {
        struct stat buf;
        if (stat(at, &buf) < 0 || (buf.st_mode & S_IXOTH) == 0)
            return FALSE;
        if (strcmp(at, "/") == 0 || strcmp(at, ".") == 0)
            return TRUE;
        char *parent = g_path_get_dirname(at);
        g_free(at);
        at = parent;
    }
}

char **pv_bundle_paths(const char *views)
{
    GPtrArray *paths = g_ptr_array_new();
    struct stat buf;

    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        g_autofree char *file = g_build_filename(views, row->path, NULL);
        if (row->is_of_lxcfs && lstat(file, &buf) == 0 && S_ISREG(buf.st_mode))
            g_ptr_array_add(paths, g_strdup(row->path));
    }
    for (guint i = 0; i < G_N_ELEMENTS(directories); i++) {
        g_autofree char *directory = g_build_filename(views, directories[i], NULL);
        g_autofree char *host = g_strconcat("/", directories[i], NULL);
        if (lstat(directory, &buf) == 0 && S_ISDIR(buf.st_mode) && stat(host, &buf) == 0)
            g_ptr_array_add(paths, g_strdup(directories[i]));
    }
    g_ptr_array_add(paths, NULL);
    return (char **)g_ptr_array_free(paths, FALSE);
}
