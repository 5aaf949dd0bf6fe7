/* The tree that is served, see tree.h. */
#include "tree.h"

#include "sys_cpu.h"
#include "sys_numa.h"

#include "procview/error.h"
#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

#define CPU_PATH        "sys/devices/system/cpu"
#define NUMA_PATH       "sys/devices/system/node"
#define CONTAINERS_PATH "containers"
#define CGROUP_PATH     "cgroup" /* an empty directory: the cgroup tree is mounted there */

/* What the cgroup tree calls the tree of a container, from containers/NAME. */
#define CGROUP_LINK_FORMAT "../../" CGROUP_PATH "/.container:%s"

#define PROC_BLOCK_BYTES 16384 /* st_blksize: stdio reads a whole file at once */
#define PAGE_BYTES       4096  /* st_size of every file of sysfs */
#define PROC_BYTES_MIN   8192  /* the least st_size of a file of proc */
#define PROC_BYTES_MAX   (4 * 1024 * 1024)
#define ROWS_MAX         256

/* What a directory shows besides what the table puts there. */
typedef enum { EXTRA_NONE, EXTRA_CPU, EXTRA_NUMA, EXTRA_CONTAINERS, EXTRA_CGROUP } Extra;

typedef struct {
    char *name;
    PvNode node;
} Child;

typedef struct {
    char *path; /* "" is the root */
    PvNode node;
    Extra extra;
    GPtrArray *children; /* of Child */
} Dir;

struct PvTree {
    PvHost *host;
    PvContainers *containers;
    PvViews *views;
    PvSysCpu *sys_cpu;   /* NULL: this host has none */
    PvSysNuma *sys_numa; /* NULL: this host has none */
    GHashTable *dirs;    /* the node's value -> Dir */
    GHashTable *by_path; /* Dir.path -> Dir */
    Dir *root;
    struct timespec start;      /* the time of every file */
    struct stat pidns;          /* of the daemon's own pid namespace */
    off_t file_bytes[ROWS_MAX]; /* st_size by a row's number */
    mode_t file_mode[ROWS_MAX]; /* the same of its permissions */
    gboolean shows_host;        /* to everybody */
    const gint32 *host_switch;  /* the same while it is not 0; NULL: there is none */
};

/* ---- building ---- */

static void child_free(gpointer data)
{
    Child *child = data;

    g_free(child->name);
    g_free(child);
}

static void dir_free(gpointer data)
{
    Dir *dir = data;

    g_ptr_array_unref(dir->children);
    g_free(dir->path);
    g_free(dir);
}

static void add_child(Dir *dir, const char *path, const PvNode *node)
{
    const char *slash = strrchr(path, '/');
    Child *child = g_new0(Child, 1);

    child->name = g_strdup(slash != NULL ? slash + 1 : path);
    child->node = *node;
    g_ptr_array_add(dir->children, child);
}

/* The directory of a path, made with those above it when it is missing. */
static Dir *add_dir(PvTree *tree, const char *path, GError **error)
{
    Dir *dir = g_hash_table_lookup(tree->by_path, path);
    g_autofree char *parent_path = NULL;
    const char *slash = strrchr(path, '/');
    Dir *parent = NULL;
    PvNode node = {.kind = PV_NODE_ROOT, .value = PV_NODE_ROOT_VALUE};

    if (dir != NULL)
        return dir;
    if (path[0] != '\0') {
        parent_path = g_strndup(path, slash != NULL ? (gsize)(slash - path) : 0);
        parent = add_dir(tree, parent_path, error);
        if (parent == NULL)
            return NULL;
        node.kind = PV_NODE_DIR;
        node.value = pv_node_hash(path, PV_NODE_VALUE_BITS);
    }
    if (path[0] != '\0' && g_hash_table_contains(tree->dirs, GUINT_TO_POINTER(node.value))) {
        pv_error_set(error, PV_ERROR_INVALID, "%s: two directories have one inode number", path);
        return NULL;
    }
    dir = g_new0(Dir, 1);
    dir->path = g_strdup(path);
    dir->node = node;
    dir->children = g_ptr_array_new_with_free_func(child_free);
    g_hash_table_insert(tree->by_path, dir->path, dir);
    if (parent != NULL) {
        g_hash_table_insert(tree->dirs, GUINT_TO_POINTER(node.value), dir);
        add_child(parent, path, &node);
    }
    return dir;
}

static gboolean add_rows(PvTree *tree, GError **error)
{
    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        g_autofree char *parent_path = g_path_get_dirname(row->path);
        PvNode node = {.kind = PV_NODE_ROW, .value = row->number};
        Dir *dir;

        if (row->is_optional && !pv_row_is_on_host(row, tree->host))
            continue;
        dir = add_dir(tree, parent_path, error);
        if (dir == NULL)
            return FALSE;
        add_child(dir, row->path, &node);
    }
    return TRUE;
}

static gboolean add_extra(PvTree *tree, const char *path, Extra extra, GError **error)
{
    Dir *dir = add_dir(tree, path, error);

    if (dir == NULL)
        return FALSE;
    dir->extra = extra;
    return TRUE;
}

/*
 * The st_size of the rows: whole pages that hold the host's own text, and so any container's.
 *
 * procfs has 0. But since Linux 6.5 sendfile(2) on a FUSE file looks at the size before all else:
 * with 0 busybox cat, and whoever else copies so, would print nothing; with a size it is told that
 * this file cannot be sent (op_read), and reads. Programs that take the size for the length of the
 * text (node, tail) lose nothing by one that is too large, if it is little.
 */
static void measure_rows(PvTree *tree)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        off_t bytes = PAGE_BYTES;
        g_assert(row->number < ROWS_MAX);
        if (g_str_has_prefix(row->path, "proc/")) {
            g_string_truncate(text, 0);
            /* One that this kernel does not have is served all the same. */
            (void)pv_read_all_at(pv_host_procfs(tree->host), row->host_path + strlen("proc/"), text,
                                 PROC_BYTES_MAX);
            bytes =
                MAX((off_t)(text->len + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES, PROC_BYTES_MIN);
        }
        tree->file_bytes[row->number] = bytes;
    }
}

/* The permissions of the rows: those of this kernel's own files, which differ between versions. */
static void look_at_modes(PvTree *tree)
{
    int procfs = pv_host_procfs(tree->host);
    struct statfs fs;
    gboolean is_kernels = fstatfs(procfs, &fs) == 0 && (glong)fs.f_type == PROC_SUPER_MAGIC;

    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        struct stat st;
        gboolean is_seen =
            is_kernels && g_str_has_prefix(row->path, "proc/") &&
            fstatat(procfs, row->host_path + strlen("proc/"), &st, AT_SYMLINK_NOFOLLOW) == 0;

        tree->file_mode[row->number] = is_seen ? st.st_mode & 0777 : row->mode & 0777;
    }
}

PvTree *pv_tree_new(PvHost *host, PvContainers *containers, PvViews *views, GError **error)
{
    g_autoptr(PvTree) tree = g_new0(PvTree, 1);

    tree->host = host;
    tree->containers = containers;
    tree->views = views;
    tree->by_path = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, dir_free);
    tree->dirs = g_hash_table_new(NULL, NULL);
    clock_gettime(CLOCK_REALTIME, &tree->start);
    if (fstatat(pv_host_procfs(host), "self/ns/pid", &tree->pidns, 0) < 0)
        memset(&tree->pidns, 0, sizeof tree->pidns);
    measure_rows(tree);
    look_at_modes(tree);
    tree->sys_cpu = pv_sys_cpu_new(host);
    tree->sys_numa = pv_sys_numa_new(host);

    tree->root = add_dir(tree, "", error);
    if (tree->root == NULL || !add_rows(tree, error) ||
        (tree->sys_cpu != NULL && !add_extra(tree, CPU_PATH, EXTRA_CPU, error)) ||
        (tree->sys_numa != NULL && !add_extra(tree, NUMA_PATH, EXTRA_NUMA, error)) ||
        !add_extra(tree, CONTAINERS_PATH, EXTRA_CONTAINERS, error) ||
        !add_extra(tree, CGROUP_PATH, EXTRA_CGROUP, error))
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
    g_hash_table_unref(tree->dirs);
    g_hash_table_unref(tree->by_path);
    pv_sys_cpu_free(tree->sys_cpu);
    pv_sys_numa_free(tree->sys_numa);
    g_free(tree);
}

/* ---- nodes ---- */

static Dir *dir_of(PvTree *tree, const PvNode *node)
{
    if (node->kind == PV_NODE_ROOT)
        return tree->root;
    return node->kind == PV_NODE_DIR
               ? g_hash_table_lookup(tree->dirs, GUINT_TO_POINTER(node->value))
               : NULL;
}

/* containers/ and the place of the cgroup tree are in the root of the mount, not in that of a
 * container. */
static gboolean is_visible(const PvNode *directory, const PvNode *child, const Dir *child_dir)
{
    return !(directory->container_id != 0 && child->kind == PV_NODE_DIR && child_dir != NULL &&
             (child_dir->extra == EXTRA_CONTAINERS || child_dir->extra == EXTRA_CGROUP));
}

static const Child *find_child(const Dir *dir, const char *name)
{
    for (guint i = 0; i < dir->children->len; i++) {
        const Child *child = g_ptr_array_index(dir->children, i);
        if (strcmp(child->name, name) == 0)
            return child;
    }
    return NULL;
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
        st.st_mode = S_IFREG | tree->file_mode[row->number];
        st.st_size = tree->file_bytes[row->number];
    } else {
        const Dir *dir = dir_of(tree, node);
        if (dir == NULL)
            return -ESTALE;
        st.st_mode = S_IFDIR | (dir->extra == EXTRA_CONTAINERS ? 0500 : 0555);
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

/* containers/NAME has a link to the container's cgroups. */
static gboolean has_cgroup_link(const PvNode *directory)
{
    return directory->kind == PV_NODE_ROOT && directory->container_id != 0;
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
    const Child *child;
    PvNode parent_node, node;
    struct stat st;
    Dir *dir, *child_dir;
    int r;

    ret_entry->differs = FALSE;
    if (!pv_node_decode(parent, &parent_node))
        return -ESTALE;
    if (is_sysfs_node(&parent_node))
        return lookup_sysfs(tree, caller, &parent_node, TRUE, is_numa_node(&parent_node), name,
                            ret_entry);
    dir = dir_of(tree, &parent_node);
    if (dir == NULL)
        return parent_node.kind == PV_NODE_ROW ? -ENOTDIR : -ESTALE;
    if (dir->extra == EXTRA_CONTAINERS)
        return lookup_container(tree, caller, name, ret_entry);

    if (has_cgroup_link(&parent_node) && strcmp(name, CGROUP_PATH) == 0)
        return lookup_cgroup_link(tree, caller, &parent_node, ret_entry);
    child = find_child(dir, name);
    if (child == NULL && (dir->extra == EXTRA_CPU || dir->extra == EXTRA_NUMA))
        return lookup_sysfs(tree, caller, &parent_node, FALSE, dir->extra == EXTRA_NUMA, name,
                            ret_entry);
    child_dir = child != NULL ? dir_of(tree, &child->node) : NULL;
    if (child == NULL || !is_visible(&parent_node, &child->node, child_dir))
        return -ENOENT;
    if (child_dir != NULL && child_dir->extra == EXTRA_CONTAINERS) {
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
    const Dir *dir; /* names in the table go before those of sysfs; NULL below it */
    guint32 container_id;
    PvTreeListFunc func;
    gpointer data;
} Listing;

static void list_sysfs_entry(const char *name, const PvNode *node, mode_t mode, gpointer data)
{
    const Listing *listing = data;
    PvNode child = *node;

    if (listing->dir != NULL && find_child(listing->dir, name) != NULL)
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

static void list_children(PvTree *tree, const PvCaller *caller, const Dir *dir,
                          const PvNode *directory, const Listing *listing)
{
    for (guint i = 0; i < dir->children->len; i++) {
        const Child *child = g_ptr_array_index(dir->children, i);
        const Dir *child_dir = dir_of(tree, &child->node);
        PvNode node = child->node;

        if (!is_visible(directory, &child->node, child_dir) ||
            (child_dir != NULL && child_dir->extra == EXTRA_CONTAINERS &&
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
    const Dir *dir;
    PvNode node;

    if (!pv_node_decode(ino, &node))
        return -ESTALE;
    listing.container_id = node.container_id;
    if (is_sysfs_node(&node))
        return list_sysfs(tree, container, &node, is_numa_node(&node), &listing);
    dir = dir_of(tree, &node);
    if (dir == NULL)
        return node.kind == PV_NODE_ROW ? -ENOTDIR : -ESTALE;
    if (dir->extra == EXTRA_CONTAINERS)
        return list_containers(tree, caller, &listing);
    list_children(tree, caller, dir, &node, &listing);
    if (has_cgroup_link(&node)) {
        PvNode link = cgroup_link_of(&node);
        func(CGROUP_PATH, pv_node_encode(&link), S_IFLNK, data);
    }
    listing.dir = dir;
    if (dir->extra == EXTRA_CPU || dir->extra == EXTRA_NUMA)
        return list_sysfs(tree, container, NULL, dir->extra == EXTRA_NUMA, &listing);
    return 0;
}
