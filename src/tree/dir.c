/* Names: looking them up, making and removing cgroups. Each is one system call of the caller's on a
 * directory that was found to be in its tree. */
#include "internal.h"

#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

/*
 * The operator finds a container's tree by this and its name, or the pid of one of its processes.
 * No listing has them. Bound into the container, the tree is a directory of its own: in the one
 * that everybody has, a name that another container looks up, and which stands for another cgroup
 * there, takes what this container has mounted on it away and is told to who watches the directory.
 */
#define CONTAINER_PREFIX ".container:"
#define PROCESS_PREFIX   ".process:"

/* ---- attributes of what was found ---- */

void pv_tree_fill_stat(guint64 ino, mode_t mode, struct stat *ret_stat)
{
    *ret_stat = (struct stat){
        .st_ino = ino, .st_mode = mode, .st_nlink = S_ISDIR(mode) ? 2 : 1, .st_blksize = 4096};
}

/* The node of what O_PATH descriptor `fd` is, under `name` in a directory. */
static int describe(PvCgroupTree *tree, guint hierarchy, guint64 dir, const char *name, int fd,
                    guint64 *ret_ino, struct stat *ret_stat)
{
    PvTreeNode node = {.kind = PV_TREE_FILE, .hierarchy = hierarchy, .dir = dir};

    if (fstat(fd, ret_stat) < 0)
        return -errno;
    if (S_ISDIR(ret_stat->st_mode)) {
        node.kind = PV_TREE_DIR;
        node.dir = ret_stat->st_ino;
    } else {
        node.name = pv_tree_name_number(tree, name);
        if (node.name == 0)
            return -ENFILE;
    }
    if (node.dir >> PV_TREE_DIR_BITS != 0)
        return -EOVERFLOW;
    *ret_ino = pv_tree_node_encode(&node);
    return 0;
}

/* ---- lookup ---- */

static int lookup_root(PvCgroupTree *tree, guint hierarchy, const PvTreeRoot *root,
                       guint64 *ret_ino, struct stat *ret_stat)
{
    pv_autofd int fd = -1;

    if (root->access == PV_TREE_HIDDEN)
        return -ENOENT;
    fd = pv_tree_open_dir(tree, hierarchy, root->id);
    return fd < 0 ? fd : describe(tree, hierarchy, 0, "", fd, ret_ino, ret_stat);
}

/* A reference; NULL for a name of another kind, or of nothing. */
static PvContainer *container_of_name(PvCgroupTree *tree, const char *name)
{
    guint64 pid;

    if (g_str_has_prefix(name, CONTAINER_PREFIX))
        return pv_containers_find_by_name(tree->containers, name + strlen(CONTAINER_PREFIX), NULL);
    if (!g_str_has_prefix(name, PROCESS_PREFIX) ||
        !g_ascii_string_to_unsigned(name + strlen(PROCESS_PREFIX), 10, 1, G_MAXINT32, &pid, NULL))
        return NULL;
    return pv_containers_find(tree->containers, (pid_t)pid, NULL);
}

static int lookup_container(PvCgroupTree *tree, const char *name, guint64 *ret_ino,
                            struct stat *ret_stat)
{
    g_autoptr(PvContainer) container = container_of_name(tree, name);
    PvTreeNode node = {.kind = PV_TREE_OF};
    PvTreeRoot root;
    int r;

    if (container == NULL)
        return -ENOENT;
    if (tree->is_single) {
        r = pv_tree_root_of(tree, container, 0, &root);
        return r < 0 ? r : lookup_root(tree, 0, &root, ret_ino, ret_stat);
    }
    node.container_id = container->id;
    *ret_ino = pv_tree_node_encode(&node);
    pv_tree_fill_stat(*ret_ino, S_IFDIR | 0555, ret_stat);
    return 0;
}

static PvContainer *container_by_id(PvCgroupTree *tree, guint32 id)
{
    g_autoptr(GPtrArray) cached = pv_containers_list(tree->containers);
    g_autoptr(GPtrArray) all = NULL;

    for (guint turn = 0; turn < 2; turn++) {
        GPtrArray *list = turn == 0 ? cached : (all = pv_containers_scan(tree->containers));
        for (guint i = 0; i < list->len; i++) {
            PvContainer *container = g_ptr_array_index(list, i);
            if (container->id == id)
                return pv_container_ref(container);
        }
    }
    return NULL;
}

static const PvTreeTopName *find_top_name(const PvCgroupTree *tree, const char *name)
{
    for (guint i = 0; i < tree->top_names->len; i++) {
        const PvTreeTopName *top = &g_array_index(tree->top_names, PvTreeTopName, i);
        if (strcmp(top->name, name) == 0)
            return top;
    }
    return NULL;
}

/* The root that a top directory shows of a hierarchy. */
static int find_shown_root(PvCgroupTree *tree, const PvTreeCaller *caller, const PvTreeNode *top,
                           guint hierarchy, PvTreeRoot *ret_root)
{
    g_autoptr(PvContainer) container = NULL;

    if (top->kind == PV_TREE_TOP || !caller->is_operator)
        return pv_tree_root_find(tree, caller, hierarchy, ret_root);
    container = container_by_id(tree, top->container_id);
    return container != NULL ? pv_tree_root_of(tree, container, hierarchy, ret_root) : -ESTALE;
}

static int lookup_top(PvCgroupTree *tree, const PvTreeCaller *caller, const PvTreeNode *top,
                      const char *name, guint64 *ret_ino, struct stat *ret_stat)
{
    const PvTreeTopName *found = find_top_name(tree, name);
    PvTreeNode link = {.kind = PV_TREE_LINK};
    PvTreeRoot root;
    int r;

    if (found == NULL)
        return -ENOENT;
    r = find_shown_root(tree, caller, top, found->hierarchy, &root);
    if (r < 0)
        return r;
    if (!found->is_link)
        return lookup_root(tree, found->hierarchy, &root, ret_ino, ret_stat);
    if (root.access == PV_TREE_HIDDEN)
        return -ENOENT;
    link.link = (guint)(found - &g_array_index(tree->top_names, PvTreeTopName, 0));
    *ret_ino = pv_tree_node_encode(&link);
    pv_tree_fill_stat(*ret_ino, S_IFLNK | 0777, ret_stat);
    ret_stat->st_size = (off_t)strlen(found->target);
    return 0;
}

/* A name in a cgroup, with the caller's right to look there. */
static int lookup_in(PvCgroupTree *tree, const PvTreeCaller *caller, const PvTreePlace *place,
                     const char *name, guint64 *ret_ino, struct stat *ret_stat)
{
    const PvTreeCreds creds = pv_tree_creds_over(caller, &place->dir_stat);
    pv_autofd int fd = -1;

    if (place->node.kind != PV_TREE_DIR)
        return -ENOTDIR;
    pv_tree_assume(&creds);
    fd = pv_sys_openat2(place->dirfd, name, O_PATH | O_NOFOLLOW, 0, BENEATH);
    pv_tree_resume(tree);
    if (fd < 0)
        return fd;
    return describe(tree, place->node.hierarchy, place->node.dir, name, fd, ret_ino, ret_stat);
}

int pv_cgroup_tree_lookup(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                          const char *name, guint64 *ret_ino, struct stat *ret_stat)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    int r;

    if (!pv_tree_is_plain_name(name))
        return -EINVAL;
    r = pv_tree_caller_load(tree, request, &caller);
    if (r < 0)
        return r;
    if (parent == PV_CGROUP_TREE_ROOT && caller.is_operator && name[0] == '.')
        return lookup_container(tree, name, ret_ino, ret_stat);
    r = pv_tree_place_find(tree, &caller, parent, &place);
    if (r < 0)
        return r;
    if (place.node.kind == PV_TREE_TOP || place.node.kind == PV_TREE_OF)
        return lookup_top(tree, &caller, &place.node, name, ret_ino, ret_stat);
    return lookup_in(tree, &caller, &place, name, ret_ino, ret_stat);
}

int pv_cgroup_tree_readlink(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                            char **ret_target)
{
    PvTreeNode node;

    (void)request; /* the same for everybody */
    if (!pv_tree_node_decode(tree, ino, &node))
        return -ESTALE;
    if (node.kind != PV_TREE_LINK)
        return -EINVAL;
    *ret_target = g_strdup(g_array_index(tree->top_names, PvTreeTopName, node.link).target);
    return 0;
}

/* ---- listing ---- */

struct linux_dirent64 {
    guint64 d_ino;
    gint64 d_off;
    guint16 d_reclen;
    guint8 d_type;
    char d_name[];
};

static int list_top(PvCgroupTree *tree, const PvTreeCaller *caller, const PvTreeNode *top,
                    goffset offset, PvCgroupListFunc func, gpointer data)
{
    guint64 ino = pv_tree_node_encode(top);

    for (guint i = (guint)MAX(offset, 0); i < tree->top_names->len + 2; i++) {
        const PvTreeTopName *name =
            i < 2 ? NULL : &g_array_index(tree->top_names, PvTreeTopName, i - 2);
        PvTreeRoot root = {.access = PV_TREE_READ_ONLY};

        if (name != NULL && (find_shown_root(tree, caller, top, name->hierarchy, &root) < 0 ||
                             root.access == PV_TREE_HIDDEN))
            continue;
        if (!func(name == NULL ? (i == 0 ? "." : "..") : name->name,
                  name == NULL || name->is_link ? ino : root.id,
                  name != NULL && name->is_link ? S_IFLNK : S_IFDIR, (goffset)i + 1, data))
            break;
    }
    return 0;
}

/* The kernel's own offsets: they stay right when cgroups come and go. */
static int list_kernel(int fd, goffset offset, PvCgroupListFunc func, gpointer data)
{
    union {
        struct linux_dirent64 entry;
        char bytes[16384];
    } buffer;
    ssize_t n;

    if (lseek(fd, offset, SEEK_SET) < 0)
        return -errno;
    while ((n = getdents64(fd, &buffer, sizeof buffer)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct linux_dirent64 *entry = (const void *)(buffer.bytes + at);

            if (!func(entry->d_name, entry->d_ino, DTTOIF(entry->d_type), entry->d_off, data))
                return 0;
            at += entry->d_reclen;
        }
    }
    return n < 0 ? -errno : 0;
}

int pv_cgroup_tree_list(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 handle,
                        goffset offset, PvCgroupListFunc func, gpointer data)
{
    g_auto(PvTreeCaller) caller = {0};
    PvTreeHandle *open_dir;
    PvTreeRecord *record;
    PvTreeNode node;
    int r = pv_tree_handle_lock(tree, request, handle, &open_dir, &record);

    if (r < 0)
        return r;
    if (pv_tree_node_decode(tree, record->ino, &node) &&
        (node.kind == PV_TREE_TOP || node.kind == PV_TREE_OF) && !tree->is_single) {
        r = pv_tree_caller_load(tree, request, &caller);
        if (r == 0 && !pv_tree_is_top_of(&caller, &node))
            r = -ESTALE;
        if (r == 0)
            r = list_top(tree, &caller, &node, offset, func, data);
    } else {
        r = list_kernel(open_dir->fd, offset, func, data);
    }
    pv_tree_handle_unlock(open_dir);
    return r;
}

/* ---- making and removing ---- */

/* What is to be done to a name in a directory. */
typedef int (*NameFunc)(int dirfd, const char *name, gpointer data);

static int on_name(PvCgroupTree *tree, const PvTreeCaller *caller, const PvTreePlace *place,
                   const char *name, NameFunc func, gpointer data)
{
    const PvTreeCreds creds = pv_tree_creds_over(caller, &place->dir_stat);
    int r;

    pv_tree_assume(&creds);
    r = func(place->dirfd, name, data) < 0 ? -errno : 0;
    pv_tree_resume(tree);
    return r;
}

/* Find the directory in which the caller wants to change something. */
static int find_parent(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                       const char *name, PvTreeCaller *caller, PvTreePlace *place)
{
    int r;

    if (!pv_tree_is_plain_name(name))
        return -EINVAL;
    r = pv_tree_caller_load(tree, request, caller);
    if (r == 0)
        r = pv_tree_place_find(tree, caller, parent, place);
    if (r == 0 && place->node.kind == PV_TREE_FILE)
        r = -ENOTDIR;
    return r < 0 ? r : pv_tree_place_writable(place);
}

/*
 * Do something once. `done_already` is the errno that says that it was done, when that is not known
 * from the journal.
 */
static int once(PvCgroupTree *tree, const PvCgroupRequest *request, const PvTreeCaller *caller,
                const PvTreePlace *place, const char *name, NameFunc func, gpointer data,
                int done_already)
{
    PvTreeDone *done;
    gboolean is_again = pv_tree_journal_begin(tree, request, &done);
    int r;

    if (is_again && done->result != PV_TREE_UNDER_WAY)
        return (int)done->result;
    r = on_name(tree, caller, place, name, func, data);
    if (is_again && r == -done_already)
        r = 0;
    pv_tree_journal_end(done, r);
    return r;
}

static int do_mkdir(int dirfd, const char *name, gpointer data)
{
    return mkdirat(dirfd, name, *(const mode_t *)data);
}

int pv_cgroup_tree_mkdir(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                         const char *name, mode_t mode, guint64 *ret_ino, struct stat *ret_stat)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    pv_autofd int fd = -1;
    int r = find_parent(tree, request, parent, name, &caller, &place);

    if (r == 0 && pv_tree_place_ends_at_root(tree, &caller, &place))
        r = -EPERM;
    if (r == 0)
        r = once(tree, request, &caller, &place, name, do_mkdir, &mode, EEXIST);
    if (r < 0)
        return r;
    fd = pv_sys_openat2(place.dirfd, name, O_PATH | O_NOFOLLOW, 0, BENEATH);
    return fd < 0
               ? fd
               : describe(tree, place.node.hierarchy, place.node.dir, name, fd, ret_ino, ret_stat);
}

/* The same where something is to go away: above hierarchies are roots alone, which the kernel would
 * call mount points to who may write there. */
static int find_source(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                       const char *name, PvTreeCaller *caller, PvTreePlace *place)
{
    int r = find_parent(tree, request, parent, name, caller, place);
    gboolean is_above = place->node.kind == PV_TREE_TOP || place->node.kind == PV_TREE_OF;

    return r == -EACCES && is_above && caller->creds.fsuid == 0 ? -EBUSY : r;
}

static int do_rmdir(int dirfd, const char *name, gpointer data)
{
    (void)data;
    return unlinkat(dirfd, name, AT_REMOVEDIR);
}

int pv_cgroup_tree_rmdir(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                         const char *name)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    int r = find_source(tree, request, parent, name, &caller, &place);

    return r < 0 ? r : once(tree, request, &caller, &place, name, do_rmdir, NULL, ENOENT);
}

typedef struct {
    int dirfd;
    const char *name;
    unsigned int flags;
} Target;

static int do_rename(int dirfd, const char *name, gpointer data)
{
    const Target *target = data;

    return renameat2(dirfd, name, target->dirfd, target->name, target->flags);
}

int pv_cgroup_tree_rename(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                          const char *name, guint64 new_parent, const char *new_name,
                          unsigned int flags)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    g_auto(PvTreePlace) new_place = {0};
    Target target = {.name = new_name, .flags = flags};
    int r = find_source(tree, request, parent, name, &caller, &place);

    if (r == 0 && !pv_tree_is_plain_name(new_name))
        r = -EINVAL;
    if (r == 0)
        r = pv_tree_place_find(tree, &caller, new_parent, &new_place);
    if (r == 0)
        r = pv_tree_place_writable(&new_place);
    if (r < 0)
        return r;
    if (new_place.node.kind != PV_TREE_DIR || new_place.node.hierarchy != place.node.hierarchy)
        return -EXDEV;
    /* A capability over one of the two directories is none over the other. */
    if (caller.is_foreign && !pv_tree_caller_maps(&caller, &new_place.dir_stat))
        caller.foreign_caps = 0;
    target.dirfd = new_place.dirfd;
    return once(tree, request, &caller, &place, name, do_rename, &target, ENOENT);
}

/* ---- what there is not ---- */

typedef struct {
    mode_t mode;
    dev_t rdev;
} Special;

static int do_mknod(int dirfd, const char *name, gpointer data)
{
    const Special *special = data;

    if (S_ISREG(special->mode)) {
        int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                        special->mode);
        pv_clear_fd(&fd);
        return fd == -1 && errno != 0 ? -1 : 0;
    }
    return mknodat(dirfd, name, special->mode, special->rdev);
}

static int refused(int r)
{
    return r < 0 ? r : -EPERM;
}

int pv_cgroup_tree_mknod(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                         const char *name, mode_t mode, dev_t rdev)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    Special special = {.mode = mode, .rdev = rdev};
    int r = find_parent(tree, request, parent, name, &caller, &place);

    return refused(r < 0 ? r : on_name(tree, &caller, &place, name, do_mknod, &special));
}

static int do_symlink(int dirfd, const char *name, gpointer data)
{
    return symlinkat(data, dirfd, name);
}

int pv_cgroup_tree_symlink(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                           const char *name, const char *target)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    int r = find_parent(tree, request, parent, name, &caller, &place);

    return refused(r < 0 ? r : on_name(tree, &caller, &place, name, do_symlink, (gpointer)target));
}

static int do_link(int dirfd, const char *name, gpointer data)
{
    return linkat(AT_FDCWD, data, dirfd, name, AT_SYMLINK_FOLLOW);
}

int pv_cgroup_tree_link(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                        guint64 parent, const char *name)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    g_auto(PvTreePlace) source = {0};
    pv_autofd int fd = -1;
    char path[64];
    int r = find_parent(tree, request, parent, name, &caller, &place);

    if (r == 0)
        r = pv_tree_place_find(tree, &caller, ino, &source);
    if (r == 0)
        r = fd = pv_tree_place_open(tree, &source);
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return refused(on_name(tree, &caller, &place, name, do_link, path));
}

static int do_unlink(int dirfd, const char *name, gpointer data)
{
    (void)data;
    return unlinkat(dirfd, name, 0);
}

int pv_cgroup_tree_unlink(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                          const char *name)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    int r = find_parent(tree, request, parent, name, &caller, &place);

    return refused(r < 0 ? r : on_name(tree, &caller, &place, name, do_unlink, NULL));
}
