/*
 * From the text of /proc/PID/cgroup to a path below each hierarchy's mount.
 *
 * The kernel prints both the paths there and the root of a mount in mountinfo as seen from the
 * cgroup namespace of whoever reads: with a leading "/.." for each level above that namespace's
 * root. The names themselves are not escaped: blanks, colons and backslashes stand as they are (a
 * cgroup's name cannot hold a newline).
 */
#include "internal.h"

#include "procview/error.h"

#include <errno.h>
#include <string.h>

#define DELETED_MARK " (deleted)"

void pv_cgroup_paths_clear(PvCgroupPaths *paths)
{
    for (guint c = 0; c < PV_CONTROLLER_COUNT; c++)
        g_clear_pointer(&paths->path[c], g_free);
}

gboolean pv_cgroup_path_contains(const char *ancestor, const char *path)
{
    if (strcmp(ancestor, "/") == 0)
        return path[0] == '/';
    size_t length = strlen(ancestor);
    return strncmp(path, ancestor, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

/* A path taken apart: `ups` levels above the namespace's root, then names downwards. */
typedef struct {
    guint ups;
    GPtrArray *names;
} SplitPath;

static void split_path_clear(SplitPath *split)
{
    g_clear_pointer(&split->names, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SplitPath, split_path_clear)

static void split_path(const char *path, SplitPath *ret_split)
{
    ret_split->ups = 0;
    ret_split->names = g_ptr_array_new_with_free_func(g_free);
    GPtrArray *names = ret_split->names;

    for (const char *p = path; *p != '\0';) {
        size_t length = strcspn(p, "/");
        if (length == 2 && p[0] == '.' && p[1] == '.') {
            if (names->len > 0)
                g_ptr_array_remove_index(names, names->len - 1);
            else
                ret_split->ups++;
        } else if (length > 0 && !(length == 1 && p[0] == '.')) {
            g_ptr_array_add(names, g_strndup(p, length));
        }
        p += length;
        p += *p == '/';
    }
}

/*
 * The path below a mount whose root is `root`, both as the reader's namespace shows them; NULL when
 * the mount does not reach it. Where the root is further up than the path, the names between them
 * are not told, so that is out of reach too.
 */
static char *path_below(const char *root, const char *path)
{
    if (strcmp(root, "/") == 0 && strstr(path, "/.") == NULL && strstr(path, "//") == NULL &&
        !g_str_has_suffix(path, "/"))
        return g_strdup(path); /* as nearly always */

    g_auto(SplitPath) base = {0};
    g_auto(SplitPath) target = {0};
    split_path(root, &base);
    split_path(path, &target);
    if (base.ups != target.ups || base.names->len > target.names->len)
        return NULL;

    for (guint i = 0; i < base.names->len; i++) {
        if (strcmp(g_ptr_array_index(base.names, i), g_ptr_array_index(target.names, i)) != 0)
            return NULL;
    }
    if (base.names->len == target.names->len)
        return g_strdup("/");
    GString *below = g_string_new(NULL);
    for (guint i = base.names->len; i < target.names->len; i++)
        g_string_append_printf(below, "/%s", (const char *)g_ptr_array_index(target.names, i));
    return g_string_free(below, FALSE);
}

/* One line of the text: "ID:CONTROLLERS:PATH"; v2's is "0::PATH". */
typedef struct {
    gboolean is_v2;
    char *controllers;
    char *path;
} Membership;

static gboolean parse_membership(char *line, Membership *ret_membership)
{
    const char *p = line;
    guint64 id;
    if (!g_ascii_isdigit(*p) || !pv_parse_u64(&p, &id) || *p != ':')
        return FALSE;
    char *controllers = line + (p - line) + 1;
    char *colon = strchr(controllers, ':');
    if (colon == NULL || colon[1] != '/')
        return FALSE;
    *colon = '\0';

    ret_membership->controllers = controllers;
    ret_membership->path = colon + 1;
    ret_membership->is_v2 = controllers[0] == '\0';
    /* Only v2 marks a removed cgroup: on v1 the same bytes would be part of a name. */
    if (ret_membership->is_v2 && g_str_has_suffix(ret_membership->path, DELETED_MARK))
        ret_membership->path[strlen(ret_membership->path) - strlen(DELETED_MARK)] = '\0';
    return TRUE;
}

/* Whether a line speaks of a hierarchy: v1's are told by the controllers that are mounted together.
 */
static gboolean is_about(const PvHierarchy *hierarchy, const Membership *membership)
{
    if (membership->is_v2 || hierarchy->version == 2)
        return membership->is_v2 && hierarchy->version == 2;

    return (pv_v1_controllers(membership->controllers) & hierarchy->controllers) != 0;
}

/* Give the line's path to every controller that is in its hierarchy. */
static gboolean apply_membership(const PvHierarchies *hierarchies, const Membership *membership,
                                 PvCgroupPaths *paths, GError **error)
{
    for (guint i = 0; i < hierarchies->list->len; i++) {
        const PvHierarchy *hierarchy = g_ptr_array_index(hierarchies->list, i);
        if (!is_about(hierarchy, membership))
            continue;
        g_autofree char *below = NULL;
        for (guint c = 0; c < PV_CONTROLLER_COUNT; c++) {
            if (hierarchies->controller[c] != hierarchy || paths->path[c] != NULL)
                continue;
            if (below == NULL)
                below = path_below(hierarchy->root, membership->path);
            if (below == NULL)
                return pv_error_set(error, PV_ERROR_NOT_FOUND,
                                    "cgroup %s cannot be reached through %s, which shows %s",
                                    membership->path, hierarchy->mount_point, hierarchy->root);
            paths->path[c] = g_strdup(below);
        }
    }
    return TRUE;
}

gboolean pv_cgroup_paths_parse(const PvHierarchies *hierarchies, const char *text,
                               PvCgroupPaths *ret_paths, GError **error)
{
    g_auto(PvCgroupPaths) paths = {0};
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    gboolean any = FALSE;

    for (guint i = 0; lines[i] != NULL; i++) {
        if (lines[i][0] == '\0' && lines[i + 1] == NULL)
            break;
        Membership membership;
        if (!parse_membership(lines[i], &membership))
            return pv_error_set(error, PV_ERROR_INVALID, "malformed line in a cgroup file: \"%s\"",
                                lines[i]);
        if (!apply_membership(hierarchies, &membership, &paths, error))
            return FALSE;
        any = TRUE;
    }
    if (!any)
        return pv_error_set(error, PV_ERROR_INVALID, "empty cgroup file");

    *ret_paths = paths;
    paths = (PvCgroupPaths){0};
    return TRUE;
}

/* Whether a line of the text speaks of a hierarchy, known controllers or not. */
static gboolean names_hierarchy(const PvHierarchy *hierarchy, const Membership *membership)
{
    g_autofree char *first = NULL;

    if (membership->is_v2 || hierarchy->version == 2)
        return membership->is_v2 && hierarchy->version == 2;
    first = g_strdup_printf(",%.*s,", (int)strcspn(membership->controllers, ","),
                            membership->controllers);
    return strstr(hierarchy->names, first) != NULL;
}

char *pv_hierarchies_path(const PvHierarchies *hierarchies, guint index, const char *text)
{
    const PvHierarchy *hierarchy = pv_hierarchies_nth(hierarchies, index);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++) {
        Membership membership;

        if (parse_membership(lines[i], &membership) && names_hierarchy(hierarchy, &membership))
            return path_below(hierarchy->root, membership.path);
    }
    return NULL;
}
