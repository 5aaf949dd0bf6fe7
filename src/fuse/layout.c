/* The fixed part of what is served, see layout.h. */
#include "layout.h"

#include "procview/error.h"
#include "procview/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PAGE_BYTES     4096 /* st_size of every file of sysfs */
#define PROC_BYTES_MIN 8192 /* the least st_size of a file of proc */
#define PROC_BYTES_MAX (4 * 1024 * 1024)
#define ROWS_MAX       256

#define PRESSURE_PREFIX "proc/pressure/"

struct PvLayout {
    GHashTable *dirs;    /* the node's value -> PvLayoutDir */
    GHashTable *by_path; /* PvLayoutDir.path -> PvLayoutDir */
    PvLayoutDir *root;
    off_t file_bytes[ROWS_MAX]; /* st_size by a row's number */
    mode_t file_mode[ROWS_MAX]; /* the same of its permissions */
};

/* ---- directories ---- */

static void child_free(gpointer data)
{
    PvLayoutChild *child = data;

    g_free(child->name);
    g_free(child);
}

static void dir_free(gpointer data)
{
    PvLayoutDir *dir = data;

    g_ptr_array_unref(dir->children);
    g_free(dir->path);
    g_free(dir);
}

static void add_child(PvLayoutDir *dir, const char *path, const PvNode *node)
{
    const char *slash = strrchr(path, '/');
    PvLayoutChild *child = g_new0(PvLayoutChild, 1);

    child->name = g_strdup(slash != NULL ? slash + 1 : path);
    child->node = *node;
    g_ptr_array_add(dir->children, child);
}

/* The directory of a path, made with those above it when it is missing. */
static PvLayoutDir *add_dir(PvLayout *layout, const char *path, GError **error)
{
    PvLayoutDir *dir = g_hash_table_lookup(layout->by_path, path);
    g_autofree char *parent_path = NULL;
    const char *slash = strrchr(path, '/');
    PvLayoutDir *parent = NULL;
    PvNode node = {.kind = PV_NODE_ROOT, .value = PV_NODE_ROOT_VALUE};

    if (dir != NULL)
        return dir;
    if (path[0] != '\0') {
        parent_path = g_strndup(path, slash != NULL ? (gsize)(slash - path) : 0);
        parent = add_dir(layout, parent_path, error);
        if (parent == NULL)
            return NULL;
        node.kind = PV_NODE_DIR;
        node.value = pv_node_hash(path, PV_NODE_VALUE_BITS);
    }
    if (path[0] != '\0' && g_hash_table_contains(layout->dirs, GUINT_TO_POINTER(node.value))) {
        pv_error_set(error, PV_ERROR_INVALID, "%s: two directories have one inode number", path);
        return NULL;
    }
    dir = g_new0(PvLayoutDir, 1);
    dir->path = g_strdup(path);
    dir->node = node;
    dir->children = g_ptr_array_new_with_free_func(child_free);
    g_hash_table_insert(layout->by_path, dir->path, dir);
    if (parent != NULL) {
        g_hash_table_insert(layout->dirs, GUINT_TO_POINTER(node.value), dir);
        add_child(parent, path, &node);
    }
    return dir;
}

/* ---- which rows there are ---- */

static gboolean is_on_host(const PvRow *row, const PvHost *host)
{
    return !row->is_optional || pv_row_is_on_host(row, host);
}

/* A bind of our directory of pressures would hide nothing of the kernel's. */
static gboolean has_all_pressures(const PvHost *host)
{
    int fd = openat(pv_host_procfs(host), "pressure", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    gboolean has_all = TRUE;
    const struct dirent *entry;

    if (dir == NULL && fd >= 0)
        close(fd);
    while (dir != NULL && has_all && (entry = readdir(dir)) != NULL) {
        g_autofree char *path = g_strconcat(PRESSURE_PREFIX, entry->d_name, NULL);
        const PvRow *row = pv_row_find(path);
        has_all = entry->d_name[0] == '.' || (row != NULL && is_on_host(row, host));
    }
    if (dir != NULL)
        closedir(dir);
    return has_all;
}

/* lxcfs has a directory of pressures, too, from version 6 on. */
static gboolean is_wanted(const PvRow *row, const PvHost *host, const PvServeOptions *options)
{
    if (!options->lxcfs_files || row->is_of_lxcfs ||
        g_str_has_prefix(row->path, PV_LAYOUT_CPU_PATH "/"))
        return TRUE;
    return g_str_has_prefix(row->path, PRESSURE_PREFIX) && has_all_pressures(host);
}

static gboolean add_rows(PvLayout *layout, PvHost *host, const PvServeOptions *options,
                         GError **error)
{
    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        g_autofree char *parent_path = g_path_get_dirname(row->path);
        PvNode node = {.kind = PV_NODE_ROW, .value = row->number};
        PvLayoutDir *dir;

        if (!is_wanted(row, host, options) || !is_on_host(row, host))
            continue;
        dir = add_dir(layout, parent_path, error);
        if (dir == NULL)
            return FALSE;
        add_child(dir, row->path, &node);
    }
    return TRUE;
}

static gboolean add_extra(PvLayout *layout, const char *path, PvLayoutExtra extra, GError **error)
{
    PvLayoutDir *dir = add_dir(layout, path, error);

    if (dir == NULL)
        return FALSE;
    dir->extra = extra;
    return TRUE;
}

/* ---- files ---- */

/*
 * The st_size of the rows: whole pages that hold the host's own text, and so any container's.
 *
 * procfs has 0. But since Linux 6.5 sendfile(2) on a FUSE file looks at the size before all else:
 * with 0 busybox cat, and whoever else copies so, would print nothing; with a size it is told that
 * this file cannot be sent (op_read), and reads. Programs that take the size for the length of the
 * text (node, tail) lose nothing by one that is too large, if it is little.
 */
static void measure_rows(PvLayout *layout, PvHost *host)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        off_t bytes = PAGE_BYTES;
        g_assert(row->number < ROWS_MAX);
        if (g_str_has_prefix(row->path, "proc/")) {
            g_string_truncate(text, 0);
            /* One that this kernel does not have is served all the same. */
            (void)pv_read_all_at(pv_host_procfs(host), row->host_path + strlen("proc/"), text,
                                 PROC_BYTES_MAX);
            bytes =
                MAX((off_t)(text->len + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES, PROC_BYTES_MIN);
        }
        layout->file_bytes[row->number] = bytes;
    }
}

/* The permissions of the rows: those of this kernel's own files, which differ between versions. */
static void look_at_modes(PvLayout *layout, PvHost *host)
{
    int procfs = pv_host_procfs(host);
    struct statfs fs;
    gboolean is_kernels = fstatfs(procfs, &fs) == 0 && (glong)fs.f_type == PROC_SUPER_MAGIC;

    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        struct stat st;
        gboolean is_seen =
            is_kernels && g_str_has_prefix(row->path, "proc/") &&
            fstatat(procfs, row->host_path + strlen("proc/"), &st, AT_SYMLINK_NOFOLLOW) == 0;

        layout->file_mode[row->number] = is_seen ? st.st_mode & 0777 : row->mode & 0777;
    }
}

/* ---- the whole ---- */

PvLayout *pv_layout_new(PvHost *host, const PvServeOptions *options, gboolean has_cpu,
                        gboolean has_numa, GError **error)
{
    g_autoptr(PvLayout) layout = g_new0(PvLayout, 1);

    layout->by_path = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, dir_free);
    layout->dirs = g_hash_table_new(NULL, NULL);
    layout->root = add_dir(layout, "", error);
    if (layout->root == NULL || !add_rows(layout, host, options, error) ||
        (has_cpu && !add_extra(layout, PV_LAYOUT_CPU_PATH, PV_EXTRA_CPU, error)) ||
        (has_numa && !add_extra(layout, PV_LAYOUT_NUMA_PATH, PV_EXTRA_NUMA, error)) ||
        !add_extra(layout, PV_LAYOUT_CONTAINERS_PATH, PV_EXTRA_CONTAINERS, error) ||
        (!options->no_cgroup && !add_extra(layout, PV_LAYOUT_CGROUP_PATH, PV_EXTRA_CGROUP, error)))
        return NULL;
    measure_rows(layout, host);
    look_at_modes(layout, host);
    return g_steal_pointer(&layout);
}

void pv_layout_free(PvLayout *layout)
{
    if (layout == NULL)
        return;
    g_hash_table_unref(layout->dirs);
    g_hash_table_unref(layout->by_path);
    g_free(layout);
}

const PvLayoutDir *pv_layout_dir(const PvLayout *layout, const PvNode *node)
{
    if (node->kind == PV_NODE_ROOT)
        return layout->root;
    return node->kind == PV_NODE_DIR
               ? g_hash_table_lookup(layout->dirs, GUINT_TO_POINTER(node->value))
               : NULL;
}

const PvLayoutChild *pv_layout_find(const PvLayoutDir *dir, const char *name)
{
    for (guint i = 0; i < dir->children->len; i++) {
        const PvLayoutChild *child = g_ptr_array_index(dir->children, i);
        if (strcmp(child->name, name) == 0)
            return child;
    }
    return NULL;
}

void pv_layout_stat_row(const PvLayout *layout, guint number, struct stat *st)
{
    st->st_mode = S_IFREG | layout->file_mode[number];
    st->st_size = layout->file_bytes[number];
}
