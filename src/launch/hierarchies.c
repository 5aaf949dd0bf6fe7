/*
 * Every mounted cgroup hierarchy, whatever its controllers: a container has to have a cgroup of its
 * own in each of them, those without limits and the named ones too.
 */
#include "cgroup.h"
#include "procview/error.h"
#include "procview/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define MOUNTINFO_MAX_BYTES (32u << 20)

/* More hierarchies than any kernel has controllers. */
#define HIERARCHIES_MAX 64

void pv_launch_hierarchy_free(PvLaunchHierarchy *hierarchy)
{
    if (hierarchy == NULL)
        return;
    g_free(hierarchy->mount_point);
    g_free(hierarchy->dir_name);
    g_free(hierarchy->options);
    g_strfreev(hierarchy->controllers);
    g_free(hierarchy->cgroup);
    g_free(hierarchy);
}

/* Undo the kernel's octal escapes: "\040" is a blank. */
static char *unescape(const char *text)
{
    GString *out = g_string_new(NULL);

    while (*text != '\0') {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
            text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
            g_string_append_c(out,
                              (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + text[3] - '0'));
            text += 4;
        } else {
            g_string_append_c(out, *text++);
        }
    }
    return g_string_free(out, FALSE);
}

/* The name of its directory in the container's /sys/fs/cgroup: as on the host, as far as that goes.
 */
static char *dir_name_of(const char *mount_point, int version)
{
    if (version == 2 && g_str_equal(mount_point, "/sys/fs/cgroup"))
        return g_strdup("");
    return g_path_get_basename(mount_point);
}

/* Superblock options that say which v1 hierarchy it is; the others only say how it behaves. */
static void parse_v1_options(PvLaunchHierarchy *hierarchy, const char *super_options)
{
    static const char *const flags[] = {"rw",
                                        "ro",
                                        "xattr",
                                        "noprefix",
                                        "clone_children",
                                        "cpuset_v2_mode",
                                        "favordynmods",
                                        "none",
                                        "nofavordynmods",
                                        "seclabel",
                                        NULL};
    g_auto(GStrv) tokens = g_strsplit(super_options, ",", -1);
    g_autoptr(GString) options = g_string_new(NULL);
    GPtrArray *controllers = g_ptr_array_new();

    for (char **token = tokens; *token != NULL; token++) {
        gboolean is_name = g_str_has_prefix(*token, "name=");
        if (g_strv_contains(flags, *token) || (strchr(*token, '=') != NULL && !is_name))
            continue;
        g_string_append_printf(options, "%s%s", options->len > 0 ? "," : "", *token);
        if (!is_name)
            g_ptr_array_add(controllers, g_strdup(*token));
    }
    g_ptr_array_add(controllers, NULL);
    hierarchy->options = g_strdup(options->str);
    hierarchy->controllers = (char **)g_ptr_array_free(controllers, FALSE);
}

/* One line: "36 35 98:0 / /mnt rw,noatime shared:1 - type source super-options". */
static PvLaunchHierarchy *parse_line(const char *line)
{
    g_auto(GStrv) halves = g_strsplit(line, " - ", 2);
    if (g_strv_length(halves) != 2)
        return NULL;
    g_auto(GStrv) left = g_strsplit(halves[0], " ", -1);
    g_auto(GStrv) right = g_strsplit(halves[1], " ", -1);
    if (g_strv_length(left) < 6 || g_strv_length(right) < 3)
        return NULL;
    gboolean is_v1 = g_str_equal(right[0], "cgroup");
    if (!is_v1 && !g_str_equal(right[0], "cgroup2"))
        return NULL;

    PvLaunchHierarchy *hierarchy = g_new0(PvLaunchHierarchy, 1);
    hierarchy->version = is_v1 ? 1 : 2;
    hierarchy->ops = is_v1 ? &PV_LAUNCH_CGROUP_V1 : &PV_LAUNCH_CGROUP_V2;
    hierarchy->mount_point = unescape(left[4]);
    hierarchy->dir_name = dir_name_of(hierarchy->mount_point, hierarchy->version);
    if (is_v1) {
        parse_v1_options(hierarchy, right[2]);
    } else {
        hierarchy->options = g_strdup("");
        hierarchy->controllers = g_new0(char *, 1);
    }
    return hierarchy;
}

static gboolean is_listed(const GPtrArray *hierarchies, const PvLaunchHierarchy *other)
{
    for (guint i = 0; i < hierarchies->len; i++) {
        const PvLaunchHierarchy *hierarchy = hierarchies->pdata[i];
        if (hierarchy->version == other->version && g_str_equal(hierarchy->options, other->options))
            return TRUE;
    }
    return FALSE;
}

GPtrArray *pv_launch_hierarchies_parse(const char *mountinfo)
{
    GPtrArray *hierarchies =
        g_ptr_array_new_with_free_func((GDestroyNotify)pv_launch_hierarchy_free);
    g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);

    for (char **line = lines; *line != NULL && hierarchies->len < HIERARCHIES_MAX; line++) {
        PvLaunchHierarchy *hierarchy = parse_line(*line);
        if (hierarchy == NULL)
            continue;
        if (is_listed(hierarchies, hierarchy))
            pv_launch_hierarchy_free(hierarchy);
        else
            g_ptr_array_add(hierarchies, hierarchy);
    }
    return hierarchies;
}

GPtrArray *pv_launch_hierarchies_load(GError **error)
{
    g_autoptr(GString) mountinfo = g_string_new(NULL);
    int r = pv_read_all_at(AT_FDCWD, "/proc/self/mountinfo", mountinfo, MOUNTINFO_MAX_BYTES);
    if (r < 0) {
        pv_error_set_errno(error, -r, "cannot read /proc/self/mountinfo");
        return NULL;
    }

    g_autoptr(GPtrArray) hierarchies = pv_launch_hierarchies_parse(mountinfo->str);
    for (guint i = 0; i < hierarchies->len; i++) {
        PvLaunchHierarchy *hierarchy = hierarchies->pdata[i];
        char text[PV_CONTROL_FILE_MAX];
        g_autofree char *path =
            g_build_filename(hierarchy->mount_point, "cgroup.controllers", NULL);
        if (hierarchy->version == 2 && pv_read_text_at(AT_FDCWD, path, text, sizeof text) >= 0) {
            g_strfreev(hierarchy->controllers);
            hierarchy->controllers = g_strsplit(g_strchomp(text), " ", -1);
        }
    }
    if (hierarchies->len == 0) {
        pv_error_set(error, PV_ERROR_UNSUPPORTED,
                     "no cgroup file system is mounted (mount -t cgroup2 cgroup2 /sys/fs/cgroup)");
        return NULL;
    }
    return g_steal_pointer(&hierarchies);
}

PvLaunchHierarchy *pv_launch_hierarchies_find(const GPtrArray *hierarchies, const char *controller)
{
    for (guint i = 0; i < hierarchies->len; i++) {
        PvLaunchHierarchy *hierarchy = hierarchies->pdata[i];
        if (pv_launch_hierarchy_has(hierarchy, controller))
            return hierarchy;
    }
    return NULL;
}

gboolean pv_launch_hierarchy_has(const PvLaunchHierarchy *hierarchy, const char *controller)
{
    return g_strv_contains((const char *const *)hierarchy->controllers, controller);
}
