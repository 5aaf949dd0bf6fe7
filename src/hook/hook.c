/* What managers tell, see hook.h. */
#include "hook.h"

#include "json.h"
#include "procview/error.h"
#include "procview/file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

void pv_hook_container_clear(PvHookContainer *container)
{
    g_clear_pointer(&container->rootfs, g_free);
}

/* ---- LXC ---- */

/* The type in the words NAME lxc TYPE that hooks of version 0 get; NULL without them. */
static const char *lxc_type(char **words)
{
    guint n = words != NULL ? g_strv_length(words) : 0;

    return n >= 3 && strcmp(words[n - 2], "lxc") == 0 ? words[n - 1] : NULL;
}

gboolean pv_hook_is_lxc(char **words)
{
    return lxc_type(words) != NULL || g_strcmp0(g_getenv("LXC_HOOK_SECTION"), "lxc") == 0;
}

gboolean pv_hook_read_lxc(char **words, PvHookContainer *ret_container, GError **error)
{
    const char *type = lxc_type(words);
    const char *rootfs = g_getenv("LXC_ROOTFS_MOUNT");

    if (type == NULL)
        type = g_getenv("LXC_HOOK_TYPE");
    if (g_strcmp0(type, "mount") != 0)
        return pv_error_set(error, PV_ERROR_INVALID,
                            "LXC calls this as its %s hook; lxc.hook.mount is the right one",
                            type != NULL ? type : "unknown");
    if (rootfs == NULL || rootfs[0] != '/')
        return pv_error_set(error, PV_ERROR_INVALID, "LXC_ROOTFS_MOUNT is not set");
    *ret_container = (PvHookContainer){.pid = 0, .rootfs = g_strdup(rootfs)};
    return TRUE;
}

/* ---- OCI ---- */

static char *string_member(const PvJson *json, const PvJsonValue *object, const char *name)
{
    return pv_json_string(json, pv_json_member(json, object, name, NULL, NULL));
}

/* root.path of the bundle; NULL when it cannot be read, as in a user namespace. */
static char *rootfs_of_bundle(const char *bundle)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *path = g_build_filename(bundle, "config.json", NULL);

    if (pv_read_all_at(AT_FDCWD, path, text, PV_JSON_BYTES_MAX) < 0)
        return NULL;
    g_autoptr(PvJson) json = pv_json_parse(text->str, text->len, NULL);
    if (json == NULL)
        return NULL;
    const PvJsonValue *root = pv_json_member(json, pv_json_root(json), "root", NULL, NULL);
    return string_member(json, root, "path");
}

/* runc calls its hooks in the root to be. */
static gboolean is_built_here(void)
{
    struct statfs buf;

    return statfs("proc", &buf) == 0 && buf.f_type == PROC_SUPER_MAGIC;
}

static char *find_rootfs(const PvJson *json, const char *bundle, gboolean is_inside)
{
    g_autofree char *path = string_member(json, pv_json_root(json), "root"); /* crun's */

    if (path == NULL && bundle != NULL)
        path = rootfs_of_bundle(bundle);
    if (path != NULL && path[0] == '/')
        return g_steal_pointer(&path);
    if (path != NULL && path[0] != '\0' && bundle != NULL)
        return g_build_filename(bundle, path, NULL);
    g_autofree char *here = g_get_current_dir();
    return is_inside && strcmp(here, "/") != 0 && is_built_here() ? g_steal_pointer(&here) : NULL;
}

/* TRUE for a process of another mount namespace: the hook is called from outside. */
static gboolean is_elsewhere(guint64 pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%" G_GUINT64_FORMAT "/ns/mnt", pid);
    struct stat mine, theirs;

    return pid > 1 && stat("/proc/self/ns/mnt", &mine) == 0 && stat(path, &theirs) == 0 &&
           (mine.st_dev != theirs.st_dev || mine.st_ino != theirs.st_ino);
}

gboolean pv_hook_read_oci(const char *stage, const char *rootfs, const char *state, gsize length,
                          PvHookContainer *ret_container, GError **error)
{
    gboolean is_inside = g_strcmp0(stage, "createContainer") == 0;
    guint64 pid = 0;

    if (stage != NULL && !is_inside && strcmp(stage, "prestart") != 0 &&
        strcmp(stage, "createRuntime") != 0)
        return pv_error_set(error, PV_ERROR_INVALID,
                            "'%s' is not a stage at which views can be mounted, but "
                            "createContainer, prestart and createRuntime are",
                            stage);
    g_autoptr(PvJson) json = pv_json_parse(state, length, error);
    if (json == NULL) {
        g_prefix_error(error, "the container's state on stdin: ");
        return FALSE;
    }
    if (pv_json_root(json)->type != PV_JSON_OBJECT)
        return pv_error_set(error, PV_ERROR_INVALID,
                            "the container's state on stdin is no JSON object");
    gboolean has_pid =
        pv_json_u64(json, pv_json_member(json, pv_json_root(json), "pid", NULL, NULL), &pid) &&
        pid <= G_MAXINT32;
    if (stage == NULL)
        is_inside = !has_pid || !is_elsewhere(pid);
    if (!is_inside && (!has_pid || pid <= 1))
        return pv_error_set(error, PV_ERROR_INVALID,
                            "the container's state on stdin names no process");

    g_autofree char *bundle = string_member(json, pv_json_root(json), "bundle");
    char *found = rootfs != NULL ? g_strdup(rootfs) : find_rootfs(json, bundle, is_inside);
    if (found == NULL)
        return pv_error_set(error, PV_ERROR_NOT_FOUND,
                            "the root file system cannot be told: %s/config.json cannot be read, "
                            "and there is no --rootfs",
                            bundle != NULL ? bundle : "the bundle");
    *ret_container = (PvHookContainer){.pid = is_inside ? 0 : (pid_t)pid, .rootfs = found};
    return TRUE;
}
