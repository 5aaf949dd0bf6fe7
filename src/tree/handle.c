/*
 * Open files and directories. A record in shared memory says what each is; the descriptor is this
 * process's own. Where an earlier server had opened it, it is opened again as whom it was then:
 * rights are asked for once, by open(2), whatever becomes of modes and owners.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/log.h"
#include "procview/share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TEXTS_BYTES_MAX (256u << 20)

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

/* Lives as long as the owner has a handle; its texts are theirs. */
typedef struct {
    guint64 id; /* pid namespace */
    guint n_handles;
    gsize text_bytes;
} Owner;

/* Made when it is missing. With handles_lock held, like all that follow. */
static Owner *get_owner(PvCgroupTree *tree, guint64 id)
{
    Owner *owner = g_hash_table_lookup(tree->owners, &id);

    if (owner == NULL) {
        owner = g_new0(Owner, 1);
        owner->id = id;
        g_hash_table_insert(tree->owners, &owner->id, owner);
    }
    return owner;
}

static void drop_unused(PvCgroupTree *tree, const Owner *owner)
{
    if (owner->n_handles == 0)
        g_hash_table_remove(tree->owners, &owner->id);
}

static gboolean take_slot(PvCgroupTree *tree, guint64 owner_id, guint *ret_slot)
{
    GArray *slots = tree->free_handles;
    Owner *owner = get_owner(tree, owner_id);
    gboolean is_allowed = pv_share_allows(owner->n_handles, 1, slots->len);

    if (is_allowed) {
        owner->n_handles++;
        *ret_slot = g_array_index(slots, guint, slots->len - 1);
        g_array_set_size(slots, slots->len - 1);
    }
    drop_unused(tree, owner);
    return is_allowed;
}

static void give_slot_back(PvCgroupTree *tree, guint64 owner_id, guint slot)
{
    Owner *owner = get_owner(tree, owner_id);

    owner->n_handles--;
    drop_unused(tree, owner);
    g_array_append_val(tree->free_handles, slot);
}

int pv_tree_handles_init(PvCgroupTree *tree)
{
    tree->handles = g_new0(PvTreeHandle, PV_TREE_HANDLES);
    tree->free_handles = g_array_new(FALSE, FALSE, sizeof(guint));
    tree->owners = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    for (guint i = PV_TREE_HANDLES; i-- > 0;) {
        const PvTreeRecord *record = &tree->shared->records[i];

        g_mutex_init(&tree->handles[i].lock);
        tree->handles[i].fd = -1;
        if ((generation_of(record) & 1) == 0)
            g_array_append_val(tree->free_handles, i);
        else
            get_owner(tree, record->owner)->n_handles++;
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
    gboolean is_allowed;
    guint index;

    g_mutex_lock(&tree->handles_lock);
    is_allowed = take_slot(tree, record->owner, &index);
    g_mutex_unlock(&tree->handles_lock);
    if (!is_allowed)
        return -ENFILE;

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

static guint64 owner_of(const PvCgroupTree *tree, const PvTreeHandle *handle)
{
    return tree->shared->records[handle - tree->handles].owner;
}

int pv_tree_handle_set_text(PvCgroupTree *tree, PvTreeHandle *handle, GString *text)
{
    gboolean is_allowed;
    Owner *owner;

    pv_tree_handle_drop_text(tree, handle);
    g_mutex_lock(&tree->handles_lock);
    owner = get_owner(tree, owner_of(tree, handle));
    is_allowed =
        pv_share_allows(owner->text_bytes, text->allocated_len, TEXTS_BYTES_MAX - tree->text_bytes);
    if (is_allowed) {
        owner->text_bytes += text->allocated_len;
        tree->text_bytes += text->allocated_len;
    }
    g_mutex_unlock(&tree->handles_lock);
    if (!is_allowed)
        return -ENOMEM;
    handle->text = text;
    return 0;
}

void pv_tree_handle_drop_text(PvCgroupTree *tree, PvTreeHandle *handle)
{
    if (handle->text == NULL)
        return;
    g_mutex_lock(&tree->handles_lock);
    get_owner(tree, owner_of(tree, handle))->text_bytes -= handle->text->allocated_len;
    tree->text_bytes -= handle->text->allocated_len;
    g_mutex_unlock(&tree->handles_lock);
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
    give_slot_back(tree, record->owner, index);
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

/* ---- turns ---- */

gboolean pv_tree_take_turn(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 owner)
{
    PvCgroupTurn *turn = request->turn;

    if (turn->is_held)
        return TRUE;
    turn->owner = owner;
    turn->is_held = pv_turns_take(tree->turns, owner);
    turn->is_wanted = !turn->is_held;
    return turn->is_held;
}

gboolean pv_cgroup_tree_wait_turn(PvCgroupTree *tree, PvCgroupTurn *turn, gpointer ticket,
                                  gpointer *ret_next)
{
    gboolean is_in_line = pv_turns_wait(tree->turns, turn->owner, ticket, ret_next);

    turn->is_wanted = FALSE;
    turn->is_held = *ret_next != NULL;
    return is_in_line;
}

gpointer pv_cgroup_tree_end_turn(PvCgroupTree *tree, PvCgroupTurn *turn)
{
    gpointer next;

    if (!turn->is_held)
        return NULL;
    next = pv_turns_end(tree->turns, turn->owner, &turn->owner);
    turn->is_held = next != NULL;
    return next;
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

/* Who holds the lock may be writing. */
static gboolean lock_fairly(PvCgroupTree *tree, const PvCgroupRequest *request,
                            PvTreeHandle *handle, guint64 owner)
{
    if (g_mutex_trylock(&handle->lock))
        return TRUE;
    if (!pv_tree_take_turn(tree, request, owner))
        return FALSE;
    g_mutex_lock(&handle->lock);
    return TRUE;
}

int pv_tree_handle_lock(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 number,
                        PvTreeHandle **ret_handle, PvTreeRecord **ret_record)
{
    int slot = slot_of(tree, number);
    PvTreeHandle *handle;
    PvTreeRecord *record;
    PvTreeNode node;

    if (slot < 0)
        return -EBADF;
    handle = &tree->handles[slot];
    record = &tree->shared->records[slot];
    if (!lock_fairly(tree, request, handle, record->owner))
        return PV_CGROUP_TREE_NOT_YET;
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

int pv_tree_handle_stat(PvCgroupTree *tree, const PvCgroupRequest *request,
                        const PvTreeCaller *caller, guint64 ino, struct stat *ret_stat)
{
    for (guint i = 0; i < PV_TREE_HANDLES; i++) {
        const PvTreeRecord *record = &tree->shared->records[i];
        PvTreeHandle *handle;
        PvTreeRecord *locked;
        int r;

        if ((generation_of(record) & 1) == 0 || record->ino != ino ||
            record->owner != caller->container->owner_ino)
            continue;
        r = pv_tree_handle_lock(tree, request, number_of(tree, i), &handle, &locked);
        if (r == PV_CGROUP_TREE_NOT_YET)
            return r;
        if (r < 0)
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
