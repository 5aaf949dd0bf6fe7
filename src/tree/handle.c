/*
 * Open files and directories. A record in shared memory says what each is; the descriptor is this
 * process's own. Where an earlier server had opened it, it is opened again as whom it was then:
 * rights are asked for once, by open(2), whatever becomes of modes and owners.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SHARE (PV_TREE_HANDLES / 4)

/* Threads of ours that one container may keep busy with what can take long: writes (some wait for
 * memory to be reclaimed), and waiting for one to end. */
#define BUSY_MAX 4

static guint32 generation_of(const PvTreeRecord *record)
{
    return __atomic_load_n(&record->generation, __ATOMIC_ACQUIRE);
}

static guint64 number_of(const PvCgroupTree *tree, guint slot)
{
    return (guint64)generation_of(&tree->shared->records[slot]) << 32 | (slot + 1);
}

/* The slot of a handle that is in use, or -1. */
static int slot_of(const PvCgroupTree *tree, guint64 number)
{
    guint64 slot = (number & G_MAXUINT32) - 1;
    guint32 generation = (guint32)(number >> 32);

    if (slot >= PV_TREE_HANDLES || (generation & 1) == 0 ||
        generation_of(&tree->shared->records[slot]) != generation)
        return -1;
    return (int)slot;
}

/* ---- shares ---- */

/* protected by handles_lock */
static guint count_of(PvCgroupTree *tree, guint64 owner)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(tree->owners, &owner));
}

static void set_count(PvCgroupTree *tree, guint64 owner, guint count)
{
    if (count == 0)
        g_hash_table_remove(tree->owners, &owner);
    else
        g_hash_table_replace(tree->owners, g_memdup2(&owner, sizeof owner),
                             GUINT_TO_POINTER(count));
}

int pv_tree_handles_init(PvCgroupTree *tree)
{
    tree->handles = g_new0(PvTreeHandle, PV_TREE_HANDLES);
    tree->free_handles = g_array_new(FALSE, FALSE, sizeof(guint));
    tree->owners = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    for (guint i = PV_TREE_HANDLES; i-- > 0;) {
        const PvTreeRecord *record = &tree->shared->records[i];

        g_mutex_init(&tree->handles[i].lock);
        tree->handles[i].fd = -1;
        if ((generation_of(record) & 1) == 0)
            g_array_append_val(tree->free_handles, i);
        else
            set_count(tree, record->owner, count_of(tree, record->owner) + 1);
    }
    return 0;
}

void pv_tree_handles_clear(PvCgroupTree *tree)
{
    for (guint i = 0; tree->handles != NULL && i < PV_TREE_HANDLES; i++) {
        pv_tree_handle_drop_text(tree, &tree->handles[i]);
        pv_clear_fd(&tree->handles[i].fd);
        g_mutex_clear(&tree->handles[i].lock);
    }
    g_clear_pointer(&tree->handles, g_free);
    g_clear_pointer(&tree->free_handles, g_array_unref);
    g_clear_pointer(&tree->owners, g_hash_table_unref);
}

/* ---- coming and going ---- */

int pv_tree_handle_new(PvCgroupTree *tree, const PvTreeRecord *record, int fd, guint64 *ret_handle)
{
    PvTreeRecord *slot;
    guint32 generation;
    guint index;

    g_mutex_lock(&tree->handles_lock);
    if (tree->free_handles->len == 0 || count_of(tree, record->owner) >= SHARE) {
        g_mutex_unlock(&tree->handles_lock);
        return -ENFILE;
    }
    index = g_array_index(tree->free_handles, guint, tree->free_handles->len - 1);
    g_array_set_size(tree->free_handles, tree->free_handles->len - 1);
    set_count(tree, record->owner, count_of(tree, record->owner) + 1);
    g_mutex_unlock(&tree->handles_lock);

    slot = &tree->shared->records[index];
    generation = slot->generation;
    *slot = *record;
    slot->generation = generation;
    tree->handles[index].fd = fd;
    g_atomic_int_set(&tree->handles[index].pending, 0);
    tree->handles[index].is_watched = FALSE;
    __atomic_store_n(&slot->generation, generation + 1, __ATOMIC_RELEASE);
    *ret_handle = number_of(tree, index);
    return 0;
}

gboolean pv_tree_handle_find_opened(PvCgroupTree *tree, guint64 ino, guint64 opener,
                                    guint64 *ret_handle)
{
    for (guint i = 0; i < PV_TREE_HANDLES; i++) {
        const PvTreeRecord *record = &tree->shared->records[i];

        if ((generation_of(record) & 1) != 0 && record->opener == opener && record->ino == ino) {
            *ret_handle = number_of(tree, i);
            return TRUE;
        }
    }
    return FALSE;
}

void pv_tree_handle_drop_text(PvCgroupTree *tree, PvTreeHandle *handle)
{
    if (handle->text == NULL)
        return;
    __atomic_sub_fetch(&tree->text_bytes, handle->text->allocated_len, __ATOMIC_RELAXED);
    g_string_free(handle->text, TRUE);
    handle->text = NULL;
}

void pv_cgroup_tree_close(PvCgroupTree *tree, guint64 number)
{
    PvTreeHandle *handle;
    PvTreeRecord *record;
    guint index;
    int slot = slot_of(tree, number);

    if (slot < 0)
        return;
    index = (guint)slot;
    handle = &tree->handles[index];
    record = &tree->shared->records[index];
    g_mutex_lock(&handle->lock);
    if (slot_of(tree, number) < 0) {
        g_mutex_unlock(&handle->lock);
        return;
    }
    __atomic_store_n(&record->generation, record->generation + 1, __ATOMIC_RELEASE);
    pv_tree_handle_drop_text(tree, handle);
    pv_clear_fd(&handle->fd); /* leaves the epoll set, too */
    g_mutex_unlock(&handle->lock);

    g_mutex_lock(&tree->handles_lock);
    set_count(tree, record->owner, count_of(tree, record->owner) - 1);
    g_array_append_val(tree->free_handles, index);
    g_mutex_unlock(&tree->handles_lock);
}

guint pv_cgroup_tree_count_handles(PvCgroupTree *tree)
{
    guint n;

    g_mutex_lock(&tree->handles_lock);
    n = PV_TREE_HANDLES - tree->free_handles->len;
    g_mutex_unlock(&tree->handles_lock);
    return n;
}

/* ---- fairness ---- */

gboolean pv_tree_enter_busy(PvCgroupTree *tree, guint64 owner)
{
    guint n;

    g_mutex_lock(&tree->busy_lock);
    n = GPOINTER_TO_UINT(g_hash_table_lookup(tree->busy, &owner));
    if (n < BUSY_MAX)
        g_hash_table_replace(tree->busy, g_memdup2(&owner, sizeof owner), GUINT_TO_POINTER(n + 1));
    g_mutex_unlock(&tree->busy_lock);
    return n < BUSY_MAX;
}

void pv_tree_leave_busy(PvCgroupTree *tree, guint64 owner)
{
    guint n;

    g_mutex_lock(&tree->busy_lock);
    n = GPOINTER_TO_UINT(g_hash_table_lookup(tree->busy, &owner));
    if (n <= 1)
        g_hash_table_remove(tree->busy, &owner);
    else
        g_hash_table_replace(tree->busy, g_memdup2(&owner, sizeof owner), GUINT_TO_POINTER(n - 1));
    g_mutex_unlock(&tree->busy_lock);
}

/* ---- opening again ---- */

static int open_again(PvCgroupTree *tree, PvTreeRecord *record, const PvTreeNode *node)
{
    pv_autofd int dirfd = pv_tree_open_dir(tree, node->hierarchy, node->dir);
    PvTreePlace place = {.node = *node, .dirfd = dirfd};
    PvTreeCreds creds = {.euid = record->euid,
                         .fsuid = record->fsuid,
                         .egid = record->egid,
                         .fsgid = record->fsgid,
                         .caps = record->caps};
    const int flags = (int)record->flags & (O_ACCMODE | O_DIRECTORY);
    pv_autofd int path_fd = -1;
    const char *name;
    int fd;

    if (dirfd < 0)
        return dirfd;
    path_fd = pv_tree_place_open(tree, &place);
    if (path_fd < 0)
        return path_fd;
    fd = pv_tree_reopen(tree, &creds, path_fd, flags);
    name = pv_tree_name(tree, node->name);
    /* Modes have changed since, or it was opened by a group. For who writes pids the kernel looks
     * at this very capability. */
    if (fd == -EACCES && (name == NULL || !pv_tree_is_pids_name(name))) {
        creds.caps |= G_GUINT64_CONSTANT(1) << CAP_DAC_OVERRIDE;
        fd = pv_tree_reopen(tree, &creds, path_fd, flags);
    }
    if (fd >= 0 && record->trigger[0] != '\0' &&
        write(fd, record->trigger, strlen(record->trigger) + 1) < 0)
        pv_log_debug("cgroup tree: a pressure trigger is lost: %s", g_strerror(errno));
    return fd;
}

static gboolean lock_fairly(PvCgroupTree *tree, PvTreeHandle *handle, guint64 owner)
{
    if (g_mutex_trylock(&handle->lock))
        return TRUE;
    if (!pv_tree_enter_busy(tree, owner))
        return FALSE;
    g_mutex_lock(&handle->lock);
    pv_tree_leave_busy(tree, owner);
    return TRUE;
}

int pv_tree_handle_lock(PvCgroupTree *tree, guint64 number, PvTreeHandle **ret_handle,
                        PvTreeRecord **ret_record)
{
    int slot = slot_of(tree, number);
    PvTreeHandle *handle;
    PvTreeRecord *record;
    PvTreeNode node;

    if (slot < 0)
        return -EBADF;
    handle = &tree->handles[slot];
    record = &tree->shared->records[slot];
    if (!lock_fairly(tree, handle, record->owner))
        return -EAGAIN;
    if (slot_of(tree, number) < 0 || !pv_tree_node_decode(tree, record->ino, &node)) {
        g_mutex_unlock(&handle->lock);
        return -EBADF;
    }
    if (node.kind == PV_TREE_TOP && tree->is_single)
        node = (PvTreeNode){.kind = PV_TREE_DIR, .dir = record->root};
    if (handle->fd < 0 && (node.kind == PV_TREE_DIR || node.kind == PV_TREE_FILE)) {
        int fd = open_again(tree, record, &node);
        if (fd < 0) {
            g_mutex_unlock(&handle->lock);
            return fd == -ESTALE || fd == -ENOENT ? -ENODEV : fd;
        }
        handle->fd = fd;
    }
    *ret_handle = handle;
    *ret_record = record;
    return 0;
}

void pv_tree_handle_unlock(PvTreeHandle *handle)
{
    g_mutex_unlock(&handle->lock);
}

/* ---- removed cgroups ---- */

int pv_tree_handle_stat(PvCgroupTree *tree, const PvTreeCaller *caller, guint64 ino,
                        struct stat *ret_stat)
{
    for (guint i = 0; i < PV_TREE_HANDLES; i++) {
        const PvTreeRecord *record = &tree->shared->records[i];
        PvTreeHandle *handle;
        PvTreeRecord *locked;
        int r;

        if ((generation_of(record) & 1) == 0 || record->ino != ino ||
            record->owner != caller->container->owner_ino ||
            pv_tree_handle_lock(tree, number_of(tree, i), &handle, &locked) < 0)
            continue;
        /* It may have become another since it was looked at. */
        r = handle->fd >= 0 && locked->ino == ino && locked->owner == caller->container->owner_ino
                ? fstat(handle->fd, ret_stat)
                : -1;
        pv_tree_handle_unlock(handle);
        if (r == 0)
            return 0;
    }
    return -ESTALE;
}
