/*
 * What may be written at the root of a tree: the limits there are the container's own, and were set
 * by whoever made it.
 *
 * v2's list is the kernel's (/sys/kernel/cgroup/delegate), which refuses the same at the root of a
 * cgroup namespace when the hierarchy is mounted with nsdelegate. v1 has no such list: what says
 * who is in the cgroup, and how cgroups below it begin.
 */
#include "internal.h"

#include <string.h>

#define DELEGATE_PATH "/sys/kernel/cgroup/delegate"

/* Since Linux 4.13; later kernels tell. */
static const char *const V2_ALWAYS[] = {"cgroup.procs", "cgroup.threads", "cgroup.subtree_control"};
static const char *const V1[] = {"cgroup.procs", "tasks", "cgroup.clone_children", NULL};

gboolean pv_tree_is_pids_name(const char *name)
{
    static const char *const NAMES[] = {"cgroup.procs", "cgroup.threads", "tasks", NULL};

    return g_strv_contains(NAMES, name);
}

gboolean pv_tree_is_pressure_name(const char *name)
{
    return g_str_has_suffix(name, ".pressure") && strcmp(name, "cgroup.pressure") != 0;
}

GHashTable *pv_tree_delegatable_load(void)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *text = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(V2_ALWAYS); i++)
        g_hash_table_add(names, g_strdup(V2_ALWAYS[i]));
    if (g_file_get_contents(DELEGATE_PATH, &text, NULL, NULL)) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (guint i = 0; lines[i] != NULL; i++)
            g_hash_table_add(names, g_strdup(lines[i]));
    }
    return names;
}

gboolean pv_tree_is_delegatable(const PvCgroupTree *tree, guint hierarchy, const char *name)
{
    if (tree->hierarchy[hierarchy].info.version == 2)
        return g_hash_table_contains(tree->delegatable, name);
    return g_strv_contains(V1, name);
}
