/* The change of a config.json on disk, see bundle.h: the whole new file, or the old one. */
#include "bundle.h"

#include "json.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static gboolean write_all(int fd, const GString *text)
{
    for (gsize at = 0; at < text->len;) {
        ssize_t n = write(fd, text->str + at, text->len - at);
        if (n < 0 && errno != EINTR)
            return FALSE;
        at += n > 0 ? (gsize)n : 0;
    }
    return TRUE;
}

static gboolean replace(const char *path, const struct stat *old, const GString *text,
                        GError **error)
{
    g_autofree char *new_path = g_strconcat(path, ".XXXXXX", NULL);
    pv_autofd int fd = mkostemp(new_path, O_CLOEXEC);

    if (fd < 0)
        return pv_error_set_errno(error, errno, "cannot write beside it");
    if (!write_all(fd, text) || fchown(fd, old->st_uid, old->st_gid) < 0 ||
        fchmod(fd, old->st_mode & 07777) < 0 || rename(new_path, path) < 0) {
        pv_error_set_errno(error, errno, "cannot replace it");
        unlink(new_path);
        return FALSE;
    }
    return TRUE;
}

gboolean pv_bundle_edit_file(const PvBundlePlan *plan, const char *path, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GString) changed = g_string_new(NULL);
    struct stat buf;

    /* Behind a symbolic link: its target is the one to be replaced. */
    char *real = realpath(path, NULL);
    if (real == NULL)
        return pv_error_set_errno(error, errno, "cannot read it");
    g_autofree char *real_path = g_strdup(real);
    free(real);

    pv_autofd int fd = open(real_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &buf) < 0)
        return pv_error_set_errno(error, errno, "cannot read it");
    if (!S_ISREG(buf.st_mode))
        return pv_error_set(error, PV_ERROR_INVALID, "it is no file");
    int r = pv_pread_all(fd, text, PV_JSON_BYTES_MAX);
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot read it");
    if (!pv_bundle_edit(plan, text->str, text->len, changed, error))
        return FALSE;
    return g_string_equal(text, changed) || replace(real_path, &buf, changed, error);
}
