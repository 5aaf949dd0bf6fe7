/* The daemon's process id in a file, see pidfile.h. */
#include "pidfile.h"

#include "procview/log.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <unistd.h>

static char *own_id(void)
{
    return g_strdup_printf("%d\n", getpid());
}

void pv_pidfile_write(const char *path)
{
    g_autofree char *text = own_id();
    g_autoptr(GError) error = NULL;

    if (!g_file_set_contents(path, text, -1, &error))
        pv_log_warning("%s", error->message);
}

void pv_pidfile_remove(const char *path)
{
    g_autofree char *own = own_id();
    g_autofree char *text = NULL;

    if (g_file_get_contents(path, &text, NULL, NULL) && g_str_equal(text, own))
        g_unlink(path);
}
