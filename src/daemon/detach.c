/*
 * The helper that takes the views out of containers before their mount goes away: who reads there
 * afterwards sees the kernel's own files instead of an error.
 *
 * Views are looked for where they are, in the mounts of processes, and not in containers that are
 * known: whoever got them by a hook or by hand has them, too.
 */
#include "serve.h"

#include "procview/attach.h"
#include "procview/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOUNTINFO_MAX_BYTES (4u << 20)
#define CGROUP_DIRECTORY    "/sys/fs/cgroup"

/* `path`: may be cut off. */
static gboolean is_cgroup_directory(const char *path)
{
    const gsize length = strlen(CGROUP_DIRECTORY);

    return strncmp(path, CGROUP_DIRECTORY, length) == 0 &&
           (path[length] == '\0' || path[length] == '/');
}

/* TRUE when a process's mounts have one of this device that is a view: not the whole file system,
 * or that where containers have their cgroups. See pv_mount_entry_is_view(). */
static gboolean has_views(const char *mountinfo, const char *device)
{
    const char *line = mountinfo;
    char number[32], root[8], point[sizeof CGROUP_DIRECTORY + 1];

    while (line != NULL && *line != '\0') {
        if (sscanf(line, "%*d %*d %31s %7s", number, root) == 2 && strcmp(number, device) == 0 &&
            (strcmp(root, "/") != 0 ||
             (sscanf(line, "%*d %*d %*s %*s %15s", point) == 1 && is_cgroup_directory(point))))
            return TRUE;
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return FALSE;
}

/* FALSE when the process has ended meanwhile: another one of its namespace has to do. */
static gboolean detach(pid_t pid, guint major, guint minor)
{
    g_autoptr(GPtrArray) results =
        g_ptr_array_new_with_free_func((GDestroyNotify)pv_attach_result_free);
    g_autoptr(GError) error = NULL;

    if (pv_detach_device(pid, major, minor, results, &error))
        return TRUE;
    if (g_error_matches(error, PV_ERROR, PV_ERROR_NOT_FOUND) ||
        g_error_matches(error, PV_ERROR, PV_ERROR_GONE))
        return FALSE;
    pv_log_info("views are left in the container of process %d: %s", (int)pid, error->message);
    return TRUE;
}

/* The inode of the mount namespace, 0 where it cannot be told. */
static guint64 mount_namespace(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/ns/mnt", pid);
    struct stat st;

    return stat(path, &st) == 0 ? st.st_ino : 0;
}

int pv_detach_everywhere(const char *device)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    guint64 own = mount_namespace("self");
    guint major, minor;
    const char *name;

    if (proc == NULL || sscanf(device, "%u:%u", &major, &minor) != 2)
        return EXIT_FAILURE;
    while ((name = g_dir_read_name(proc)) != NULL) {
        guint64 namespace = g_ascii_isdigit(name[0]) ? mount_namespace(name) : 0;
        g_autofree char *path = g_strdup_printf("/proc/%s/mountinfo", name);
        g_autofree char *text = NULL;
        gsize length;

        if (namespace == 0 || namespace == own || g_hash_table_contains(seen, &namespace))
            continue;
        if (!g_file_get_contents(path, &text, &length, NULL) || length == 0)
            continue; /* ended: another process of the namespace has to tell */
        if (length > MOUNTINFO_MAX_BYTES || !has_views(text, device) ||
            detach(atoi(name), major, minor))
            g_hash_table_add(seen, g_memdup2(&namespace, sizeof namespace));
    }
    return EXIT_SUCCESS;
}
