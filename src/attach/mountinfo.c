/*
 * A parser of /proc/PID/mountinfo. The lines describe a container's mounts: paths are whatever the
 * container chose, escaped by the kernel so that blanks and newlines cannot forge a field.
 */
#include "mountinfo.h"

#include "procview/error.h"
#include "procview/file.h"
#include "procview/parse.h"

#include <errno.h>
#include <string.h>

#define CGROUP_DIRECTORY "/sys/fs/cgroup"

static void mount_entry_free(PvMountEntry *entry)
{
    g_free(entry->root);
    g_free(entry->mount_point);
    g_free(entry->fstype);
    g_free(entry);
}

static gboolean is_octal(char c)
{
    return c >= '0' && c <= '7';
}

void pv_mountinfo_unescape(char *text)
{
    char *out = text;

    for (const char *in = text; *in != '\0';) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && is_octal(in[2]) && is_octal(in[3])) {
            *out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
            in += 4;
        } else {
            *out++ = *in++;
        }
    }
    *out = '\0';
}

/* Cut the next blank-separated field off *cursor; NULL at the end of the line. */
static char *next_field(char **cursor)
{
    char *field = *cursor;

    if (field == NULL || *field == '\0')
        return NULL;
    char *blank = strchr(field, ' ');
    if (blank != NULL)
        *blank++ = '\0';
    *cursor = blank;
    return field;
}

static gboolean parse_device(const char *text, PvMountEntry *entry)
{
    guint64 major, minor;

    if (!pv_parse_u64(&text, &major) || *text++ != ':' || !pv_parse_u64(&text, &minor))
        return FALSE;
    entry->major = (guint)major;
    entry->minor = (guint)minor;
    return *text == '\0';
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue" */
static PvMountEntry *parse_line(char *line)
{
    g_autofree PvMountEntry *entry = g_new0(PvMountEntry, 1);
    char *cursor = line;
    const char *id = next_field(&cursor);
    const char *parent = next_field(&cursor);
    const char *device = next_field(&cursor);
    char *root = next_field(&cursor);
    char *mount_point = next_field(&cursor);
    const char *options = next_field(&cursor);
    guint64 id_number;

    if (id == NULL || parent == NULL || device == NULL || options == NULL)
        return NULL;
    if (!pv_parse_u64(&id, &id_number) || *id != '\0' || !parse_device(device, entry))
        return NULL;
    entry->id = (gint64)id_number;

    const char *field;
    while ((field = next_field(&cursor)) != NULL && strcmp(field, "-") != 0) {
        if (g_str_has_prefix(field, "shared:")) {
            const char *number = field + strlen("shared:");
            if (!pv_parse_u64(&number, &entry->peer_group))
                return NULL;
        }
    }
    char *fstype = next_field(&cursor);
    if (fstype == NULL)
        return NULL;
    pv_mountinfo_unescape(root);
    pv_mountinfo_unescape(mount_point);
    pv_mountinfo_unescape(fstype);
    entry->root = g_strdup(root);
    entry->mount_point = g_strdup(mount_point);
    entry->fstype = g_strdup(fstype);
    return g_steal_pointer(&entry);
}

GPtrArray *pv_mountinfo_parse(const char *text)
{
    GPtrArray *mounts = g_ptr_array_new_with_free_func((GDestroyNotify)mount_entry_free);

    while (*text != '\0') {
        const char *end = strchrnul(text, '\n');
        g_autofree char *line = g_strndup(text, (gsize)(end - text));
        PvMountEntry *entry = parse_line(line);
        if (entry != NULL)
            g_ptr_array_add(mounts, entry);
        text = *end == '\n' ? end + 1 : end;
    }
    return mounts;
}

GPtrArray *pv_mountinfo_load(int dirfd, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int r = pv_read_all_at(dirfd, "mountinfo", text, PV_MOUNTINFO_MAX);

    if (r == -ENOENT || r == -ESRCH || r == -EINVAL) { /* EINVAL: a zombie has no mounts */
        pv_error_set(error, PV_ERROR_GONE, "the process has ended");
        return NULL;
    }
    if (r < 0) {
        pv_error_set_errno(error, -r, "cannot read the process's mountinfo");
        return NULL;
    }
    return pv_mountinfo_parse(text->str);
}

const PvMountEntry *pv_mountinfo_find(const GPtrArray *mounts, gint64 id)
{
    for (guint i = 0; i < mounts->len; i++) {
        const PvMountEntry *entry = mounts->pdata[i];
        if (entry->id == id)
            return entry;
    }
    return NULL;
}

/* Where the kernel's own cgroup file systems are mounted. */
static gboolean is_cgroup_directory(const char *path)
{
    return g_str_has_prefix(path, CGROUP_DIRECTORY) &&
           (path[strlen(CGROUP_DIRECTORY)] == '\0' || path[strlen(CGROUP_DIRECTORY)] == '/');
}

gboolean pv_mount_entry_is_view(const PvMountEntry *entry)
{
    return strcmp(entry->fstype, PV_MOUNT_FSTYPE) == 0 &&
           (strcmp(entry->root, "/") != 0 || is_cgroup_directory(entry->mount_point));
}

gboolean pv_mount_entry_is_fuse(const PvMountEntry *entry)
{
    return strcmp(entry->fstype, "fuse") == 0 || g_str_has_prefix(entry->fstype, "fuse.");
}
