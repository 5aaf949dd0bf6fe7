/* The tree's making and end, see procview/cgroup_tree.h. */
#include "internal.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CGROUP_DIR "/sys/fs/cgroup/"

G_STATIC_ASSERT(sizeof(ino_t) == sizeof(guint64)); /* cgroupfs: the kernel's id of a node */

static void top_name_clear(gpointer data)
{
    PvTreeTopName *name = data;

    g_free(name->name);
    g_free(name->target);
}

/* ---- hierarchies ---- */

/*
 * A mount of our own of a hierarchy, that is nowhere in the tree of mounts: nobody can mount
 * anything over what is in it.
 */
static int clone_mount(int dirfd)
{
    int fd = pv_sys_open_tree(dirfd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);

    /* Without CAP_SYS_ADMIN. Every step refuses to cross into another mount. */
    return fd >= 0 ? fd : fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
}

static gboolean open_hierarchies(PvCgroupTree *tree, GError **error)
{
    tree->n_hierarchies = MIN(pv_hierarchies_count(tree->hierarchies), PV_TREE_HIERARCHIES_MAX);
    tree->hierarchy = g_new0(PvTreeHierarchy, tree->n_hierarchies);
    for (guint i = 0; i < tree->n_hierarchies; i++)
        tree->hierarchy[i].dirfd = -1;
    for (guint i = 0; i < tree->n_hierarchies; i++) {
        PvTreeHierarchy *hierarchy = &tree->hierarchy[i];
        pv_autofd int fd = -1;
        struct stat st;

        pv_hierarchies_info(tree->hierarchies, i, &hierarchy->info);
        fd = clone_mount(hierarchy->info.dirfd);
        /* open_by_handle_at(2) does not take an O_PATH descriptor. */
        hierarchy->dirfd = fd < 0 ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (hierarchy->dirfd < 0 || fstat(hierarchy->dirfd, &st) < 0)
            return pv_error_set_errno(error, errno, "%s", hierarchy->info.mount_point);
        hierarchy->top_id = st.st_ino;
    }
    return TRUE;
}

/* ---- names above hierarchies ---- */

static gboolean has_top_name(const PvCgroupTree *tree, const char *name)
{
    for (guint i = 0; i < tree->top_names->len; i++) {
        if (strcmp(g_array_index(tree->top_names, PvTreeTopName, i).name, name) == 0)
            return TRUE;
    }
    return FALSE;
}

/* Takes over the strings. */
static void add_top_name(PvCgroupTree *tree, guint hierarchy, char *name, char *target)
{
    PvTreeTopName top = {
        .name = name, .is_link = target != NULL, .hierarchy = hierarchy, .target = target};

    if (name[0] == '\0' || strchr(name, '/') != NULL || has_top_name(tree, name))
        top_name_clear(&top);
    else
        g_array_append_val(tree->top_names, top);
}

/* "cpu,cpuacct" of ",cpu,cpuacct,"; "systemd" of ",name=systemd,". */
static char *plain_names(const char *names)
{
    g_autofree char *text = g_strndup(names + 1, strlen(names) - 2);

    return g_strdup(g_str_has_prefix(text, "name=") ? text + strlen("name=") : text);
}

static char *dir_name(const PvHierarchyInfo *info)
{
    const char *point = info->mount_point;

    if (g_str_has_prefix(point, CGROUP_DIR) && strchr(point + strlen(CGROUP_DIR), '/') == NULL)
        return g_strdup(point + strlen(CGROUP_DIR));
    return info->version == 2 ? g_strdup("unified") : plain_names(info->names);
}

static void name_hierarchies(PvCgroupTree *tree)
{
    for (guint i = 0; i < tree->n_hierarchies; i++)
        add_top_name(tree, i, dir_name(&tree->hierarchy[i].info), NULL);
    for (guint i = 0; i < tree->n_hierarchies; i++) {
        const PvHierarchyInfo *info = &tree->hierarchy[i].info;
        g_autofree char *dir = dir_name(info);
        g_autofree char *names = info->version == 1 ? plain_names(info->names) : g_strdup("");
        g_auto(GStrv) each = g_strsplit(names, ",", -1);

        for (guint j = 0; each[j] != NULL; j++)
            add_top_name(tree, i, g_strdup(each[j]), g_strdup(dir));
    }
}

/* ---- ourselves ---- */

static guint64 own_ns(const PvCgroupTree *tree, const char *path)
{
    struct stat st;

    return fstatat(tree->procfs, path, &st, 0) == 0 ? st.st_ino : 0;
}

/* Changes of ids are to leave capabilities alone: each is set as it is wanted. */
static gboolean prepare_credentials(PvCgroupTree *tree, GError **error)
{
    const unsigned long bits =
        SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS;
    const guint64 needed = G_GUINT64_CONSTANT(1) << CAP_SETUID | G_GUINT64_CONSTANT(1)
                                                                     << CAP_SETGID;
    guint64 effective;
    int r = pv_sys_get_caps(&effective, &tree->permitted);

    if (r < 0)
        return pv_error_set_errno(error, -r, "capget");
    if ((tree->permitted & needed) != needed)
        return pv_error_set(error, PV_ERROR_PERMISSION,
                            "the cgroup tree needs CAP_SETUID and CAP_SETGID, to ask the kernel "
                            "what callers may do");
    if (prctl(PR_SET_SECUREBITS, bits) < 0)
        return pv_error_set_errno(error, errno, "the cgroup tree needs CAP_SETPCAP: securebits");
    if (pv_sys_set_groups(NULL, 0) < 0 || pv_sys_set_caps(tree->permitted, tree->permitted) < 0)
        return pv_error_set_errno(error, EPERM, "credentials");
    return TRUE;
}

PvCgroupTree *pv_cgroup_tree_new(PvHost *host, PvHierarchies *hierarchies, PvContainers *containers,
                                 const PvShared *shared, GError **error)
{
    g_autoptr(PvCgroupTree) tree = g_new0(PvCgroupTree, 1);
    int r;

    tree->host = host;
    tree->procfs = pv_host_procfs(host);
    tree->hierarchies = hierarchies;
    tree->containers = containers;
    tree->epoll_fd = tree->stop_fd = -1;
    tree->names = g_hash_table_new(g_str_hash, g_str_equal);
    tree->delegatable = pv_tree_delegatable_load();
    tree->top_names = g_array_new(FALSE, FALSE, sizeof(PvTreeTopName));
    g_array_set_clear_func(tree->top_names, top_name_clear);
    tree->own_pidns = own_ns(tree, "self/ns/pid");
    tree->own_userns = own_ns(tree, "self/ns/user");
    if (tree->own_pidns == 0 || tree->own_userns == 0) {
        pv_error_set(error, PV_ERROR_FAILED, "our own namespaces are not known");
        return NULL;
    }
    if (!open_hierarchies(tree, error) || !prepare_credentials(tree, error))
        return NULL;
    tree->is_single = tree->n_hierarchies == 1 && tree->hierarchy[0].info.version == 2;
    if (!tree->is_single)
        name_hierarchies(tree);
    r = pv_tree_shared_map(shared, &tree->shared);
    if (r < 0) {
        pv_error_set_errno(error, -r, "shared memory");
        return NULL;
    }
    return g_steal_pointer(&tree);
}

int pv_cgroup_tree_start(PvCgroupTree *tree, guint n_threads, guint room, PvCgroupNotifyFunc notify,
                         gpointer data)
{
    tree->turns = pv_turns_new(n_threads, room);
    tree->notify = notify;
    tree->notify_data = data;
    pv_tree_handles_init(tree);
    return pv_tree_watch_start(tree);
}

void pv_cgroup_tree_free(PvCgroupTree *tree)
{
    if (tree == NULL)
        return;
    pv_tree_watch_stop(tree);
    pv_tree_handles_clear(tree);
    pv_clear_fd(&tree->epoll_fd);
    pv_clear_fd(&tree->stop_fd);
    for (guint i = 0; i < tree->n_hierarchies; i++)
        pv_clear_fd(&tree->hierarchy[i].dirfd);
    g_free(tree->hierarchy);
    g_array_unref(tree->top_names);
    g_hash_table_unref(tree->names);
    pv_turns_free(tree->turns);
    g_hash_table_unref(tree->delegatable);
    pv_tree_shared_unmap(tree->shared);
    g_free(tree);
}
