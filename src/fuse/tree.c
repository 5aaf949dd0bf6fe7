/* The tree that is served, see tree.h. */
#include "tree.h"

#include "layout.h"
#include "sys_cpu.h"
#include "sys_numa.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What the cgroup tree calls the tree of a container, from containers/NAME. */
#define CGROUP_LINK_FORMAT "../../" PV_LAYOUT_CGROUP_PATH "/.container:%s"

#define PROC_BLOCK_BYTES 16384 /* st_blksize: stdio reads a whole file at once */

struct PvTree {
    PvHost *host;
    PvContainers *containers;
    PvViews *views;
    PvSysCpu *sys_cpu;   /* NULL: this host has none */
    PvSysNuma *sys_numa; /* NULL: this host has none */
    PvLayout *layout;
    struct timespec start;     /* the time of every file */
    struct stat pidns;         /* of the daemon's own pid namespace */
    gboolean shows_host;       /* to everybody */
    gboolean is_reduced;       /* a tree that is configured otherwise has more names */
    const gint32 *host_switch; /* the same while it is not 0; NULL: there is none */
};

PvTree *pv_tree_new(PvHost *host, PvContainers *containers, PvViews *views,
                    const PvServeOptions *options, GError **error)
{
    g_autoptr(PvTree) tree = g_new0(PvTree, 1);

    tree->host = host;
    tree->containers = containers;
    tree->views = views;
    clock_gettime(CLOCK_REALTIME, &tree->start);
    if (fstatat(pv_host_procfs(host), "self/ns/pid", &tree->pidns, 0) < 0)
        memset(&tree->pidns, 0, sizeof tree->pidns);
    tree->sys_cpu = pv_sys_cpu_new(host);
    tree->sys_numa = options->lxcfs_files ? NULL : pv_sys_numa_new(host);
    tree->is_reduced = options->lxcfs_files;
    tree->layout =
        pv_layout_new(host, options, tree->sys_cpu != NULL, tree->sys_numa != NULL, error);
    if (tree->layout == NULL)
        return NULL;
    return g_steal_pointer(&tree);
}

void pv_tree_set_time(PvTree *tree, gint64 sec)
{
    tree->start = (struct timespec){.tv_sec = sec};
}

void pv_tree_show_host(PvTree *tree)
{
    tree->shows_host = TRUE;
}

void pv_tree_set_switch(PvTree *tree, const gint32 *shows_host)
{
    tree->host_switch = shows_host;
}

/* Containers are still looked for while the switch is on: open files remember theirs. */
static gboolean shows_host(const PvTree *tree)
{
    return tree->shows_host ||
           (tree->host_switch != NULL && __atomic_load_n(tree->host_switch, __ATOMIC_RELAXED) != 0);
}

void pv_tree_free(PvTree *tree)
{
    if (tree == NULL)
        return;
    pv_layout_free(tree->layout);
    pv_sys_cpu_free(tree->sys_cpu);
    pv_sys_numa_free(tree->sys_numa);
    g_free(tree);
}

/* ---- nodes ---- */

/* containers/ and the place of the cgroup tree are in the root of the mount, not in that of a
 * container. */
static gboolean is_visible(const PvNode *directory, const PvNode *child,
                           const PvLayoutDir *child_dir)
{
    return !(directory->container_id != 0 && child->kind == PV_NODE_DIR && child_dir != NULL &&
             (child_dir->extra == PV_EXTRA_CONTAINERS || child_dir->extra == PV_EXTRA_CGROUP));
}

/* The operator: root, in the pid namespace of the daemon. */
static gboolean is_operator(const PvTree *tree, const PvCaller *caller)
{
    char path[32];
    struct stat st;

    if (caller->uid != 0 || caller->tid <= 0 || tree->pidns.st_ino == 0)
        return FALSE;
    snprintf(path, sizeof path, "%d/ns/pid", (int)caller->tid);
    return fstatat(pv_host_procfs(tree->host), path, &st, 0) == 0 &&
           st.st_ino == tree->pidns.st_ino && st.st_dev == tree->pidns.st_dev;
}

/* A container of a list by its id: a reference, or NULL. */
static PvContainer *pick(GPtrArray *list, guint32 id)
{
    for (guint i = 0; i < list->len; i++) {
        PvContainer *container = g_ptr_array_index(list, i);
        if (container->id == id)
            return pv_container_ref(container);
    }
    return NULL;
}

static PvContainer *container_by_id(PvTree *tree, guint32 id)
{
    g_autoptr(GPtrArray) cached = pv_containers_list(tree->containers);
    g_autoptr(GPtrArray) all = NULL;
    PvContainer *container = pick(cached, id);

    if (container != NULL)
        return container;
    all = pv_containers_scan(tree->containers);
    return pick(all, id);
}

static int find_container(PvTree *tree, const PvCaller *caller, const PvNode *node,
                          PvContainer **ret_container)
{
    if (tree->shows_host) {
        *ret_container = NULL;
        return 0;
    }
    if (node->container_id == 0) {
        *ret_container = pv_containers_find(tree->containers, caller->tid, NULL);
        return 0;
    }
    *ret_container = container_by_id(tree, node->container_id);
    return *ret_container != NULL ? 0 : -ESTALE;
}

int pv_tree_find_container(PvTree *tree, const PvCaller *caller, guint64 ino,
                           PvContainer **ret_container)
{
    PvNode node;

    if (!pv_node_decode(ino, &node))
        return -ESTALE;
    return find_container(tree, caller, &node, ret_container);
}

PvContainer *pv_tree_find_container_by_id(PvTree *tree, guint32 id)
{
    return tree->shows_host ? NULL : container_by_id(tree, id);
}

/* The CPUs for a container; those of the host when they cannot be told. */
static void get_cpu_view(PvTree *tree, PvContainer *container, PvCpuView *ret_view)
{
    ret_view->is_host =
        shows_host(tree) || container == NULL || pv_container_is_host(container) ||
        pv_views_cpus(tree->views, container, &ret_view->real, &ret_view->shown) < 0;
}

static int get_caller_view(PvTree *tree, const PvCaller *caller, const PvNode *node,
                           PvCpuView *ret_view)
{
    g_autoptr(PvContainer) container = NULL;
    int r = find_container(tree, caller, node, &container);

    if (r == 0)
        get_cpu_view(tree, container, ret_view);
    return r;
}

static gboolean is_sysfs_node(const PvNode *node)
{
    return node->kind == PV_NODE_CPU || node->kind == PV_NODE_CPU_TOP ||
           node->kind == PV_NODE_NUMA || node->kind == PV_NODE_NUMA_CPU;
}

static gboolean is_numa_node(const PvNode *node)
{
    return node->kind == PV_NODE_NUMA || node->kind == PV_NODE_NUMA_CPU;
}

/* ---- attributes ---- */

/* What the kernel's own files have in common, whatever the host's says of it. */
static void finish_stat(const PvTree *tree, const PvNode *node, struct stat *st)
{
    st->st_ino = pv_node_encode(node);
    st->st_dev = 0;
    st->st_uid = 0;
    st->st_gid = 0;
    st->st_nlink = S_ISDIR(st->st_mode) ? 2 : 1;
    st->st_blocks = 0;
    st->st_blksize = PROC_BLOCK_BYTES;
    st->st_atim = st->st_mtim = st->st_ctim = tree->start;
}

static int stat_sysfs(PvTree *tree, const PvCaller *caller, const PvNode *node,
                      struct stat *ret_stat)
{
    PvCpuView view;
    int r = get_caller_view(tree, caller, node, &view);

    if (r < 0)
        return r;
    if (is_numa_node(node))
        return tree->sys_numa != NULL ? pv_sys_numa_stat(tree->sys_numa, &view, node, ret_stat)
                                      : -ESTALE;
    return tree->sys_cpu != NULL ? pv_sys_cpu_stat(tree->sys_cpu, &view, node, ret_stat) : -ESTALE;
}

static int stat_node(PvTree *tree, const PvCaller *caller, const PvNode *node,
                     struct stat *ret_stat)
{
    struct stat st = {0};
    int r = 0;

    if (is_sysfs_node(node)) {
        r = stat_sysfs(tree, caller, node, &st);
    } else if (node->kind == PV_NODE_CGROUP_LINK) {
        st.st_mode = S_IFLNK | 0777;
    } else if (node->kind == PV_NODE_ROW) {
        const PvRow *row = pv_row_by_number(node->value);
        if (row == NULL)
            return -ESTALE;
        pv_layout_stat_row(tree->layout, row->number, &st);
    } else {
        const PvLayoutDir *dir = pv_layout_dir(tree->layout, node);
        if (dir == NULL)
            return -ESTALE;
        st.st_mode = S_IFDIR | (dir->extra == PV_EXTRA_CONTAINERS ? 0500 : 0555);
    }
    if (r < 0)
        return r;
    finish_stat(tree, node, &st);
    *ret_stat = st;
    return 0;
}

int pv_tree_stat(PvTree *tree, const PvCaller *caller, guint64 ino, struct stat *ret_stat)
{
    PvNode node;

    if (!pv_node_decode(ino, &node))
        return -ESTALE;
    return stat_node(tree, caller, &node, ret_stat);
}

/* ---- lookup ---- */

static int fill_entry(PvTree *tree, const PvNode *node, const struct stat *st,
                      PvTreeEntry *ret_entry)
{
    ret_entry->ino = pv_node_encode(node);
    ret_entry->stat = *st;
    finish_stat(tree, node, &ret_entry->stat);
    return 0;
}

/* parent is a node of sysfs, or directory_kind says in which of the two directories the name is. */
static int lookup_sysfs(PvTree *tree, const PvCaller *caller, const PvNode *parent,
                        gboolean parent_is_node, gboolean numa, const char *name,
                        PvTreeEntry *ret_entry)
{
    const PvNode *inner = parent_is_node ? parent : NULL;
    PvNode node;
    struct stat st;
    PvCpuView view;
    int r;

    /* Which cpuN there are differs by caller; within one, names are the same for all. A name that
     * is not there may come with a driver or a CPU. */
    ret_entry->differs = TRUE;
    r = get_caller_view(tree, caller, parent, &view);
    if (r < 0)
        return r;
    r = numa ? pv_sys_numa_lookup(tree->sys_numa, &view, inner, name, &node, &st)
             : pv_sys_cpu_lookup(tree->sys_cpu, &view, inner, name, &node, &st);
    if (r < 0)
        return r;
    node.container_id = parent->container_id;
    ret_entry->differs = (node.kind == PV_NODE_CPU && node.value == 0) ||
                         (is_numa_node(&node) && pv_sys_numa_differs(&node));
    return fill_entry(tree, &node, &st, ret_entry);
}

/* containers/NAME */
static int lookup_container(PvTree *tree, const PvCaller *caller, const char *name,
                            PvTreeEntry *ret_entry)
{
    PvNode node = {.kind = PV_NODE_ROOT, .value = PV_NODE_ROOT_VALUE};
    g_autoptr(PvContainer) container = NULL;
    struct stat st;

    ret_entry->differs = TRUE;
    if (!is_operator(tree, caller))
        return -EACCES;
    container = pv_containers_find_by_name(tree->containers, name, NULL);
    if (container == NULL)
        return -ENOENT;
    node.container_id = container->id;
    stat_node(tree, caller, &node, &st);
    return fill_entry(tree, &node, &st, ret_entry);
}

/* containers/NAME has a link to the container's cgroups, where there is a place for their tree. */
static gboolean has_cgroup_link(const PvLayoutDir *dir, const PvNode *directory)
{
    return directory->kind == PV_NODE_ROOT && directory->container_id != 0 &&
           pv_layout_find(dir, PV_LAYOUT_CGROUP_PATH) != NULL;
}

static PvNode cgroup_link_of(const PvNode *directory)
{
    return (PvNode){
        .kind = PV_NODE_CGROUP_LINK, .value = 1, .container_id = directory->container_id};
}

static int lookup_cgroup_link(PvTree *tree, const PvCaller *caller, const PvNode *parent,
                              PvTreeEntry *ret_entry)
{
    PvNode node = cgroup_link_of(parent);
    struct stat st;
    int r = stat_node(tree, caller, &node, &st);

    return r < 0 ? r : fill_entry(tree, &node, &st, ret_entry);
}

int pv_tree_lookup(PvTree *tree, const PvCaller *caller, guint64 parent, const char *name,
                   PvTreeEntry *ret_entry)
{
    const PvLayoutChild *child;
    PvNode parent_node, node;
    struct stat st;
    const PvLayoutDir *dir, *child_dir;
    int r;

    ret_entry->differs = FALSE;
    if (!pv_node_decode(parent, &parent_node))
        return -ESTALE;
    if (is_sysfs_node(&parent_node))
        return lookup_sysfs(tree, caller, &parent_node, TRUE, is_numa_node(&parent_node), name,
                            ret_entry);
    dir = pv_layout_dir(tree->layout, &parent_node);
    if (dir == NULL)
        return parent_node.kind == PV_NODE_ROW ? -ENOTDIR : -ESTALE;
    if (dir->extra == PV_EXTRA_CONTAINERS)
        return lookup_container(tree, caller, name, ret_entry);

    if (has_cgroup_link(dir, &parent_node) && strcmp(name, PV_LAYOUT_CGROUP_PATH) == 0)
        return lookup_cgroup_link(tree, caller, &parent_node, ret_entry);
    child = pv_layout_find(dir, name);
    if (child == NULL && (dir->extra == PV_EXTRA_CPU || dir->extra == PV_EXTRA_NUMA))
        return lookup_sysfs(tree, caller, &parent_node, FALSE, dir->extra == PV_EXTRA_NUMA, name,
                            ret_entry);
    child_dir = child != NULL ? pv_layout_dir(tree->layout, &child->node) : NULL;
    if (child == NULL || !is_visible(&parent_node, &child->node, child_dir)) {
        ret_entry->differs = tree->is_reduced;
        return -ENOENT;
    }
    if (child_dir != NULL && child_dir->extra == PV_EXTRA_CONTAINERS) {
        ret_entry->differs = TRUE;
        if (!is_operator(tree, caller))
            return -ENOENT;
    }
    node = child->node;
    node.container_id = parent_node.container_id;
    r = stat_node(tree, caller, &node, &st);
    return r < 0 ? r : fill_entry(tree, &node, &st, ret_entry);
}

static int read_cgroup_link(PvTree *tree, const PvNode *node, GString *out)
{
    g_autoptr(PvContainer) container = container_by_id(tree, node->container_id);

    if (container == NULL)
        return -ESTALE;
    g_string_append_printf(out, CGROUP_LINK_FORMAT, container->name);
    return 0;
}

int pv_tree_readlink(PvTree *tree, const PvCaller *caller, guint64 ino, GString *out)
{
    PvCpuView view;
    PvNode node;
    int r;

    if (!pv_node_decode(ino, &node))
        return -ESTALE;
    if (node.kind == PV_NODE_CGROUP_LINK)
        return read_cgroup_link(tree, &node, out);
    if (!is_sysfs_node(&node))
        return -EINVAL;
    r = get_caller_view(tree, caller, &node, &view);
    if (r < 0)
        return r;
    if (is_numa_node(&node))
        return tree->sys_numa != NULL ? pv_sys_numa_readlink(tree->sys_numa, &view, &node, out)
                                      : -ESTALE;
    return tree->sys_cpu != NULL ? pv_sys_cpu_readlink(tree->sys_cpu, &view, &node, out) : -ESTALE;
}

/* ---- reading ---- */

int pv_tree_render(PvTree *tree, PvContainer *container, guint64 ino, GString *out)
{
    const PvRow *row;
    PvCpuView view;
    PvNode node;

    if (!pv_node_decode(ino, &node))
        return -ESTALE;
    if (shows_host(tree))
        container = NULL;
    if (node.kind == PV_NODE_ROW) {
        row = pv_row_by_number(node.value);
        if (row == NULL)
            return -ESTALE;
        return shows_host(tree) ? pv_views_render_kernels_own(tree->views, row, out)
                                : pv_views_render(tree->views, container, row, out);
    }
    if (!is_sysfs_node(&node))
        return -EISDIR;
    get_cpu_view(tree, container, &view);
    if (is_numa_node(&node))
        return tree->sys_numa != NULL
                   ? pv_sys_numa_read(tree->sys_numa, tree->views, &view, container, &node, out)
                   : -ESTALE;
    return tree->sys_cpu != NULL ? pv_sys_cpu_read(tree->sys_cpu, &view, &node, out) : -ESTALE;
}

/* ---- listing ---- */

typedef struct {
    const PvLayoutDir *dir; /* names in the table go before those of sysfs; NULL below it */
    guint32 container_id;
    PvTreeListFunc func;
    gpointer data;
} Listing;

static void list_sysfs_entry(const char *name, const PvNode *node, mode_t mode, gpointer data)
{
    const Listing *listing = data;
    PvNode child = *node;

    if (listing->dir != NULL && pv_layout_find(listing->dir, name) != NULL)
        return;
    child.container_id = listing->container_id;
    listing->func(name, pv_node_encode(&child), mode, listing->data);
}

static int list_sysfs(PvTree *tree, PvContainer *container, const PvNode *node, gboolean numa,
                      Listing *listing)
{
    PvCpuView view;

    get_cpu_view(tree, container, &view);
    if (numa)
        return tree->sys_numa != NULL
                   ? pv_sys_numa_list(tree->sys_numa, &view, node, list_sysfs_entry, listing)
                   : -ESTALE;
    return tree->sys_cpu != NULL
               ? pv_sys_cpu_list(tree->sys_cpu, &view, node, list_sysfs_entry, listing)
               : -ESTALE;
}

static int list_containers(PvTree *tree, const PvCaller *caller, const Listing *listing)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) all = NULL;

    if (!is_operator(tree, caller))
        return -EACCES;
    all = pv_containers_scan(tree->containers);
    for (guint i = 0; i < all->len; i++) {
        const PvContainer *container = g_ptr_array_index(all, i);
        PvNode node = {
            .kind = PV_NODE_ROOT, .value = PV_NODE_ROOT_VALUE, .container_id = container->id};

        /* A name that two have cannot be looked up; it is listed once. */
        if (container->name[0] != '\0' && strchr(container->name, '/') == NULL &&
            strlen(container->name) <= 255 && g_hash_table_add(names, container->name))
            listing->func(container->name, pv_node_encode(&node), S_IFDIR, listing->data);
    }
    return 0;
}

static void list_children(PvTree *tree, const PvCaller *caller, const PvLayoutDir *dir,
                          const PvNode *directory, const Listing *listing)
{
    for (guint i = 0; i < dir->children->len; i++) {
        const PvLayoutChild *child = g_ptr_array_index(dir->children, i);
        const PvLayoutDir *child_dir = pv_layout_dir(tree->layout, &child->node);
        PvNode node = child->node;

        if (!is_visible(directory, &child->node, child_dir) ||
            (child_dir != NULL && child_dir->extra == PV_EXTRA_CONTAINERS &&
             !is_operator(tree, caller)))
            continue;
        node.container_id = directory->container_id;
        listing->func(child->name, pv_node_encode(&node), child_dir != NULL ? S_IFDIR : S_IFREG,
                      listing->data);
    }
}

int pv_tree_list(PvTree *tree, const PvCaller *caller, PvContainer *container, guint64 ino,
                 PvTreeListFunc func, gpointer data)
{
    Listing listing = {.func = func, .data = data};
    const PvLayoutDir *dir;
    PvNode node;

    if (!pv_node_decode(ino, &node))
        return -ESTALE;
    listing.container_id = node.container_id;
    if (is_sysfs_node(&node))
        return list_sysfs(tree, container, &node, is_numa_node(&node), &listing);
    dir = pv_layout_dir(tree->layout, &node);
    if (dir == NULL)
        return node.kind == PV_NODE_ROW ? -ENOTDIR : -ESTALE;
    if (dir->extra == PV_EXTRA_CONTAINERS)
        return list_containers(tree, caller, &listing);
    list_children(tree, caller, dir, &node, &listing);
    if (has_cgroup_link(dir, &node)) {
        PvNode link = cgroup_link_of(&node);
        func(PV_LAYOUT_CGROUP_PATH, pv_node_encode(&link), S_IFLNK, data);
    }
    listing.dir = dir;
    if (dir->extra == PV_EXTRA_CPU || dir->extra == PV_EXTRA_NUMA)
        return list_sysfs(tree, container, NULL, dir->extra == PV_EXTRA_NUMA, &listing);
    return 0;
}
