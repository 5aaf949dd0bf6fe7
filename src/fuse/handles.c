/* The table of open handles, see handles.h. */
#include "handles.h"

#include <errno.h>

#define SHARE_DIVISOR      4
#define HOST_SHARE_DIVISOR 2

/* A handle keeps its container, and with it the container's descriptors, also when the cache has
 * let go of it. */
#define CONTAINERS_DIVISOR 64
#define CONTAINERS_MIN     4

/* What an owner has of the table, for fairness: whoever makes pid namespaces or cgroups at will
 * must not get a share for each. Lives as long as the owner has a handle. */
typedef struct {
    guint64 ino; /* 0: those whose container cannot be told */
    guint divisor;
    guint n_containers;
    guint n_handles;
    gsize text_bytes;
} Owner;

/* What one container has of it. */
typedef struct {
    Owner *owner;
    guint n_handles;
    gsize text_bytes;
} Share;

typedef struct {
    guint32 generation; /* odd while the slot is in use */
    guint32 next_free;
    guint64 ino;
    PvContainer *container;
    Share *share;
    GBytes *text;
} Slot;

#define NO_SLOT G_MAXUINT32

struct PvHandles {
    guint n_slots;
    gsize max_text_bytes;

    GMutex lock;        /* protects what follows; held for a few instructions only */
    Slot *slots;        /* [n_slots] */
    guint32 first_free; /* oldest last: a slot is used again late */
    guint32 last_free;
    guint n_used;
    gsize text_bytes;
    GHashTable *shares; /* PvContainer -> Share */
    GHashTable *owners; /* Owner.ino -> Owner */
};

PvHandles *pv_handles_new(guint n_slots, gsize max_text_bytes)
{
    PvHandles *handles = g_new0(PvHandles, 1);

    handles->n_slots = n_slots;
    handles->max_text_bytes = max_text_bytes;
    handles->slots = g_new0(Slot, n_slots);
    handles->shares = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    handles->owners = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    handles->last_free = n_slots - 1;
    for (guint i = 0; i < n_slots; i++)
        handles->slots[i].next_free = i + 1 < n_slots ? i + 1 : NO_SLOT;
    /* A new server must not take an old one's handles for its own. */
    for (guint i = 0, seed = g_random_int() & ~1u; i < n_slots; i++)
        handles->slots[i].generation = seed;
    g_mutex_init(&handles->lock);
    return handles;
}

void pv_handles_free(PvHandles *handles)
{
    if (handles == NULL)
        return;
    for (guint i = 0; i < handles->n_slots; i++) {
        g_clear_pointer(&handles->slots[i].container, pv_container_unref);
        g_clear_pointer(&handles->slots[i].text, g_bytes_unref);
    }
    g_hash_table_unref(handles->shares);
    g_hash_table_unref(handles->owners);
    g_mutex_clear(&handles->lock);
    g_free(handles->slots);
    g_free(handles);
}

/* The slot of a handle, or NULL. With the lock held. */
static Slot *find_slot(PvHandles *handles, guint64 handle)
{
    guint32 number = (guint32)handle;
    Slot *slot;

    if (number == 0 || number > handles->n_slots)
        return NULL;
    slot = &handles->slots[number - 1];
    return slot->generation == handle >> 32 && (slot->generation & 1) != 0 ? slot : NULL;
}

/* The owner of a container, made when it is missing. With the lock held. */
static Owner *get_owner(PvHandles *handles, const PvContainer *container)
{
    guint64 ino = container != NULL ? container->owner_ino : 0;
    Owner *owner = g_hash_table_lookup(handles->owners, &ino);

    if (owner == NULL) {
        owner = g_new0(Owner, 1);
        owner->ino = ino;
        owner->divisor =
            container != NULL && container->is_host_pidns ? HOST_SHARE_DIVISOR : SHARE_DIVISOR;
        g_hash_table_insert(handles->owners, &owner->ino, owner);
    }
    return owner;
}

/* Forget what has no handle any more. With the lock held. */
static void drop_unused(PvHandles *handles, const PvContainer *container, Share *share)
{
    Owner *owner = share->owner;

    if (share->n_handles == 0) {
        owner->n_containers--;
        g_hash_table_remove(handles->shares, container);
    }
    if (owner->n_containers == 0)
        g_hash_table_remove(handles->owners, &owner->ino);
}

/* The container's share, made when it is missing. With the lock held. */
static Share *get_share(PvHandles *handles, PvContainer *container)
{
    Share *share = g_hash_table_lookup(handles->shares, container);

    if (share == NULL) {
        share = g_new0(Share, 1);
        share->owner = get_owner(handles, container);
        share->owner->n_containers++;
        g_hash_table_insert(handles->shares, container, share);
    }
    return share;
}

/* With the lock held. */
static gboolean has_room(const PvHandles *handles, const Share *share)
{
    const Owner *owner = share->owner;
    guint max_containers =
        MAX(handles->n_slots / CONTAINERS_DIVISOR, CONTAINERS_MIN) * SHARE_DIVISOR / owner->divisor;

    return share->n_handles < MAX(handles->n_slots / SHARE_DIVISOR, 1) &&
           owner->n_handles < MAX(handles->n_slots / owner->divisor, 1) &&
           owner->n_containers <= max_containers;
}

int pv_handles_open(PvHandles *handles, guint64 ino, PvContainer *container, guint64 *ret_handle)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    guint32 number = handles->first_free;
    Share *share;
    Slot *slot;

    if (number == NO_SLOT)
        return -ENFILE;
    share = get_share(handles, container);
    if (!has_room(handles, share)) {
        drop_unused(handles, container, share);
        return -ENFILE;
    }
    share->n_handles++;
    share->owner->n_handles++;

    slot = &handles->slots[number];
    handles->first_free = slot->next_free;
    if (handles->first_free == NO_SLOT)
        handles->last_free = NO_SLOT;
    handles->n_used++;
    slot->generation++;
    slot->ino = ino;
    slot->container = container != NULL ? pv_container_ref(container) : NULL;
    slot->share = share;
    *ret_handle = (guint64)slot->generation << 32 | (number + 1);
    return 0;
}

/* Put a free slot behind the others. With the lock held. */
static void append_free(PvHandles *handles, guint32 number)
{
    handles->slots[number].next_free = NO_SLOT;
    if (handles->last_free == NO_SLOT)
        handles->first_free = number;
    else
        handles->slots[handles->last_free].next_free = number;
    handles->last_free = number;
}

void pv_handles_close(PvHandles *handles, guint64 handle)
{
    g_autoptr(PvContainer) container = NULL; /* dropped after the lock: it may be the last one */
    g_autoptr(GBytes) text = NULL;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    Slot *slot = find_slot(handles, handle);

    if (slot == NULL)
        return;
    container = g_steal_pointer(&slot->container);
    text = g_steal_pointer(&slot->text);
    if (text != NULL) {
        slot->share->text_bytes -= g_bytes_get_size(text);
        slot->share->owner->text_bytes -= g_bytes_get_size(text);
        handles->text_bytes -= g_bytes_get_size(text);
    }
    slot->share->n_handles--;
    slot->share->owner->n_handles--;
    drop_unused(handles, container, slot->share);
    slot->share = NULL;
    slot->generation++;
    handles->n_used--;
    append_free(handles, (guint32)handle - 1);
}

int pv_handles_get(PvHandles *handles, guint64 handle, guint64 ino, PvContainer **ret_container,
                   GBytes **ret_text)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    Slot *slot = find_slot(handles, handle);

    if (slot == NULL || slot->ino != ino)
        return -ENOENT;
    *ret_container = slot->container != NULL ? pv_container_ref(slot->container) : NULL;
    *ret_text = slot->text != NULL ? g_bytes_ref(slot->text) : NULL;
    return 0;
}

int pv_handles_publish(PvHandles *handles, guint64 handle, GBytes *text)
{
    g_autoptr(GBytes) old = NULL;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    Slot *slot = find_slot(handles, handle);
    gsize new_bytes = g_bytes_get_size(text), old_bytes;
    Owner *owner;

    if (slot == NULL)
        return -ENOENT;
    owner = slot->share->owner;
    old_bytes = slot->text != NULL ? g_bytes_get_size(slot->text) : 0;
    if (handles->text_bytes - old_bytes + new_bytes > handles->max_text_bytes ||
        slot->share->text_bytes - old_bytes + new_bytes > handles->max_text_bytes / SHARE_DIVISOR ||
        owner->text_bytes - old_bytes + new_bytes > handles->max_text_bytes / owner->divisor)
        return -ENOMEM;
    handles->text_bytes += new_bytes - old_bytes;
    slot->share->text_bytes += new_bytes - old_bytes;
    owner->text_bytes += new_bytes - old_bytes;
    old = g_steal_pointer(&slot->text);
    slot->text = g_bytes_ref(text);
    return 0;
}

guint pv_handles_count(PvHandles *handles)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);

    return handles->n_used;
}
