/*
 * What may be written at the root of a tree: the limits there are the container's own, and were set
 * by whoever made it.
 *
 * v2's list is the kernel's (/sys/kernel/cgroup/delegate), which refuses the same at the root of a
 * cgroup namespace when the hierarchy is mounted with nsdelegate. v1 has no such list: what says
 * who is in the cgroup, and how cgroups below it begin.
 *
 * Nor do all of v1's limits reach down: a cgroup below has blkio's throttling and net_cls's and
 * net_prio's labels for itself alone, and with memory.use_hierarchy 0 its memory. Whoever could
 * make one there and move into it, or write to one that is there, would be rid of them.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/file.h"

#include <string.h>

#define DELEGATE_PATH "/sys/kernel/cgroup/delegate"

/* Since Linux 4.13; later kernels tell. */
static const char *const V2_ALWAYS[] = {"cgroup.procs", "cgroup.threads", "cgroup.subtree_control"};
static const char *const V1[] = {"cgroup.procs", "tasks", "cgroup.clone_children", NULL};
static const char *const V1_FLAT[] = {",blkio,", ",net_cls,", ",net_prio,"};

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

static gboolean is_flat_v1(const PvCgroupTree *tree, guint hierarchy, guint64 root_id)
{
    const char *names = tree->hierarchy[hierarchy].info.names;
    pv_autofd int fd = -1;
    char text[16];

    for (guint i = 0; i < G_N_ELEMENTS(V1_FLAT); i++) {
        if (strstr(names, V1_FLAT[i]) != NULL)
            return TRUE;
    }
    if (strstr(names, ",memory,") == NULL)
        return FALSE;
    fd = pv_tree_open_dir(tree, hierarchy, root_id);
    return fd < 0 || pv_read_text_at(fd, "memory.use_hierarchy", text, sizeof text) < 0 ||
           strcmp(g_strstrip(text), "1") != 0;
}

gboolean pv_tree_limits_reach_down(const PvCgroupTree *tree, guint hierarchy, guint64 root_id)
{
    return tree->hierarchy[hierarchy].info.version == 2 || !is_flat_v1(tree, hierarchy, root_id);
}
