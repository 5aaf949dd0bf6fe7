/* The table of open handles, see handles.h. */
#include "handles.h"

#include "procview/share.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* All containers in our own pid namespace have one owner: it may have as much as two others. */
#define HOST_WEIGHT 2

/* A handle keeps its container, and with it the container's descriptors, also when the cache has
 * let go of it. */
#define CONTAINERS_DIVISOR 64
#define CONTAINERS_MIN     4

/* The first slots, which are taken first, keep the memory of short texts: it is soon used again. */
#define WARM_SLOTS      256
#define WARM_TEXT_BYTES (32 * 1024)

/* Tries to read a text while others replace it: each that fails means that one was replaced. */
#define READ_TRIES 64

/* What an owner has of the table, for fairness: whoever makes pid namespaces or cgroups at will
 * must not get a share for each. Lives as long as the owner has a handle. */
typedef struct {
    guint64 ino; /* 0: those whose container cannot be told */
    guint weight;
    guint n_containers;
    guint n_handles;
    gsize text_bytes;
} Owner;

/* What one container has of it. */
typedef struct {
    guint32 id; /* 0: those whose container cannot be told */
    Owner *owner;
    guint n_handles;
    gsize text_bytes;
} Share;

/* What this process knows of a slot besides the table. */
typedef struct {
    guint32 next_free;
    gboolean is_known;      /* whose it is */
    gboolean is_writing;    /* a thread writes the next text */
    PvContainer *container; /* NULL: none, or not known */
    Share *share;           /* NULL while the slot is free */
} Slot;

#define NO_SLOT G_MAXUINT32

struct PvHandles {
    int fd;
    PvSharedHandle *table; /* written with the lock held; generation and text are read without */
    guint n_slots;
    gsize max_text_bytes;

    GMutex lock; /* protects what follows; held for a few instructions only */
    Slot *slots; /* [n_slots] */
    guint32 first_free;
    guint n_used;
    gsize text_bytes;
    GHashTable *shares; /* Share.id -> Share */
    GHashTable *owners; /* Owner.ino -> Owner */
};

static guint64 load_text(const PvSharedHandle *entry)
{
    return __atomic_load_n(&entry->text, __ATOMIC_ACQUIRE);
}

static void store_text(PvSharedHandle *entry, guint64 text)
{
    __atomic_store_n(&entry->text, text, __ATOMIC_RELEASE);
}

static guint32 load_generation(const PvSharedHandle *entry)
{
    return __atomic_load_n(&entry->generation, __ATOMIC_ACQUIRE);
}

static gsize length_of(guint64 text)
{
    return (guint32)text;
}

static guint place_of(guint64 text)
{
    return (text >> 32) & 1;
}

/* Whose an entry is: made when it is missing. With the lock held. */
static Owner *get_owner(PvHandles *handles, const PvSharedHandle *entry)
{
    Owner *owner = g_hash_table_lookup(handles->owners, &entry->owner_ino);

    if (owner == NULL) {
        owner = g_new0(Owner, 1);
        owner->ino = entry->owner_ino;
        owner->weight = entry->is_host_pidns ? HOST_WEIGHT : 1;
        g_hash_table_insert(handles->owners, &owner->ino, owner);
    }
    return owner;
}

/* The share of an entry's container, made when it is missing. With the lock held. */
static Share *get_share(PvHandles *handles, const PvSharedHandle *entry)
{
    Share *share = g_hash_table_lookup(handles->shares, GUINT_TO_POINTER(entry->share));

    if (share == NULL) {
        share = g_new0(Share, 1);
        share->id = entry->share;
        share->owner = get_owner(handles, entry);
        share->owner->n_containers++;
        g_hash_table_insert(handles->shares, GUINT_TO_POINTER(share->id), share);
    }
    return share;
}

/* Forget what has no handle any more. With the lock held. */
static void drop_unused(PvHandles *handles, Share *share)
{
    Owner *owner = share->owner;

    if (share->n_handles == 0) {
        owner->n_containers--;
        g_hash_table_remove(handles->shares, GUINT_TO_POINTER(share->id));
    }
    if (owner->n_containers == 0)
        g_hash_table_remove(handles->owners, &owner->ino);
}

/* With the lock held. */
static gboolean has_room(const PvHandles *handles, const Share *share)
{
    const Owner *owner = share->owner;
    guint max_containers =
        MAX(handles->n_slots / CONTAINERS_DIVISOR, CONTAINERS_MIN) * owner->weight;
    guint n_free = handles->n_slots - handles->n_used;

    return pv_share_allows(share->n_handles, 1, n_free) &&
           pv_share_allows(owner->n_handles / owner->weight, 1, n_free) &&
           owner->n_containers <= max_containers;
}

/* Whether a text may take the place of one of old_length bytes. With the lock held. */
static gboolean has_room_for_text(const PvHandles *handles, const Share *share, gsize old_length,
                                  gsize length)
{
    const Owner *owner = share->owner;
    gsize n_free = pv_sat_sub(handles->max_text_bytes, handles->text_bytes - old_length);

    return length <= PV_SHARED_TEXT_BYTES &&
           pv_share_allows(share->text_bytes - old_length, length, n_free) &&
           pv_share_allows((owner->text_bytes - old_length) / owner->weight, length, n_free);
}

/* With the lock held. */
static void count_handle(PvHandles *handles, Share *share, int change)
{
    handles->n_used += (guint)change;
    share->n_handles += (guint)change;
    share->owner->n_handles += (guint)change;
}

/* With the lock held. */
static void count_text(PvHandles *handles, Share *share, gsize old_length, gsize new_length)
{
    handles->text_bytes += new_length - old_length;
    share->text_bytes += new_length - old_length;
    share->owner->text_bytes += new_length - old_length;
}

static void push_free(PvHandles *handles, guint32 number)
{
    handles->slots[number].next_free = handles->first_free;
    handles->first_free = number;
}

/* What an earlier worker has left. */
static void take_over(PvHandles *handles)
{
    handles->first_free = NO_SLOT;
    for (guint32 i = handles->n_slots; i-- > 0;) {
        PvSharedHandle *entry = &handles->table[i];
        Share *share;

        if ((entry->generation & 1) == 0) {
            /* A new table must not take an old one's handles for its own. */
            if (entry->generation == 0)
                entry->generation = g_random_int() & ~1u;
            push_free(handles, i);
            continue;
        }
        share = get_share(handles, entry);
        handles->slots[i].share = share;
        count_handle(handles, share, 1);
        count_text(handles, share, 0, length_of(entry->text));
    }
}

PvHandles *pv_handles_new(const PvShared *shared, guint n_slots, gsize max_text_bytes)
{
    PvHandles *handles = g_new0(PvHandles, 1);

    handles->fd = shared->fd;
    handles->table = shared->memory->handles;
    handles->n_slots = MIN(n_slots, PV_SHARED_HANDLES);
    handles->max_text_bytes = max_text_bytes;
    handles->slots = g_new0(Slot, handles->n_slots);
    handles->shares = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    handles->owners = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    g_mutex_init(&handles->lock);
    take_over(handles);
    return handles;
}

void pv_handles_free(PvHandles *handles)
{
    if (handles == NULL)
        return;
    for (guint i = 0; i < handles->n_slots; i++)
        g_clear_pointer(&handles->slots[i].container, pv_container_unref);
    g_hash_table_unref(handles->shares);
    g_hash_table_unref(handles->owners);
    g_mutex_clear(&handles->lock);
    g_free(handles->slots);
    g_free(handles);
}

static guint64 handle_of(guint32 generation, guint32 number)
{
    return (guint64)generation << 32 | (number + 1);
}

/* The number of a handle's slot, or NO_SLOT. */
static guint32 find_slot(PvHandles *handles, guint64 handle)
{
    guint32 number = (guint32)handle - 1, generation = (guint32)(handle >> 32);

    if ((guint32)handle == 0 || number >= handles->n_slots || (generation & 1) == 0)
        return NO_SLOT;
    return load_generation(&handles->table[number]) == generation ? number : NO_SLOT;
}

int pv_handles_open(PvHandles *handles, guint64 ino, PvContainer *container, guint64 opener,
                    guint64 *ret_handle)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    guint32 number = handles->first_free;
    PvSharedHandle *entry;
    Share *share;

    if (number == NO_SLOT)
        return -ENFILE;
    entry = &handles->table[number];
    entry->share = container != NULL ? container->id : 0;
    entry->owner_ino = container != NULL ? container->owner_ino : 0;
    entry->is_host_pidns = container != NULL && container->is_host_pidns;
    share = get_share(handles, entry);
    if (!has_room(handles, share)) {
        drop_unused(handles, share);
        return -ENFILE;
    }
    count_handle(handles, share, 1);
    handles->first_free = handles->slots[number].next_free;
    handles->slots[number] =
        (Slot){.is_known = TRUE,
               .container = container != NULL ? pv_container_ref(container) : NULL,
               .share = share};
    entry->ino = ino;
    entry->opener = opener & ~PV_UNIQUE_RESENT;
    entry->renderer[0] = entry->renderer[1] = 0;
    store_text(entry, 0);
    /* From here on it is open. */
    __atomic_store_n(&entry->generation, entry->generation + 1, __ATOMIC_RELEASE);
    *ret_handle = handle_of(entry->generation, number);
    return 0;
}

gboolean pv_handles_find_opened(PvHandles *handles, guint64 ino, guint64 opener,
                                guint64 *ret_handle)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);

    opener &= ~PV_UNIQUE_RESENT;
    for (guint32 i = 0; i < handles->n_slots; i++) {
        const PvSharedHandle *entry = &handles->table[i];
        if (entry->opener == opener && entry->ino == ino && (entry->generation & 1) != 0) {
            *ret_handle = handle_of(entry->generation, i);
            return TRUE;
        }
    }
    return FALSE;
}

/* Give the memory of a slot's texts back to the system, where it is worth it. */
static void forget_texts(PvHandles *handles, guint32 number, gsize length)
{
    if (length == 0 || (number < WARM_SLOTS && length <= WARM_TEXT_BYTES))
        return;
    fallocate(handles->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              pv_shared_text_offset(number, 0), 2 * (off_t)PV_SHARED_TEXT_BYTES);
}

void pv_handles_close(PvHandles *handles, guint64 handle)
{
    g_autoptr(PvContainer) container = NULL; /* dropped after the lock: it may be the last one */
    PvSharedHandle *entry;
    guint32 number;
    gsize length;

    g_mutex_lock(&handles->lock);
    number = find_slot(handles, handle);
    if (number == NO_SLOT) {
        g_mutex_unlock(&handles->lock);
        return;
    }
    entry = &handles->table[number];
    length = length_of(entry->text);
    count_text(handles, handles->slots[number].share, length, 0);
    count_handle(handles, handles->slots[number].share, -1);
    drop_unused(handles, handles->slots[number].share);
    handles->slots[number].share = NULL;
    container = g_steal_pointer(&handles->slots[number].container);
    __atomic_store_n(&entry->generation, entry->generation + 1, __ATOMIC_RELEASE);
    g_mutex_unlock(&handles->lock);

    forget_texts(handles, number, length);
    g_mutex_lock(&handles->lock);
    push_free(handles, number);
    g_mutex_unlock(&handles->lock);
}

int pv_handles_get(PvHandles *handles, guint64 handle, guint64 ino, PvHandleOwner *ret_owner)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    guint32 number = find_slot(handles, handle);
    const Slot *slot;

    if (number == NO_SLOT || handles->table[number].ino != ino)
        return -ENOENT;
    slot = &handles->slots[number];
    ret_owner->is_known = slot->is_known;
    ret_owner->share = handles->table[number].share;
    ret_owner->container = slot->container != NULL ? pv_container_ref(slot->container) : NULL;
    return 0;
}

void pv_handles_set_container(PvHandles *handles, guint64 handle, PvContainer *container)
{
    g_autoptr(PvContainer) before = NULL; /* dropped after the lock: it may be the last one */
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    guint32 number = find_slot(handles, handle);

    if (number == NO_SLOT)
        return;
    before = g_steal_pointer(&handles->slots[number].container);
    handles->slots[number].is_known = TRUE;
    handles->slots[number].container = container != NULL ? pv_container_ref(container) : NULL;
}

/* Kept in the handle: a system call less for uptime, loadavg and the like. */
static gboolean is_short(guint64 text)
{
    return length_of(text) <= PV_SHARED_SHORT_BYTES;
}

/* Reserve the place beside the text that is there. 0 with the number of the new text; 1 when
 * another thread has it. */
static int begin_text(PvHandles *handles, guint64 handle, gsize length, guint32 *ret_number,
                      guint64 *ret_text)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    guint32 number = find_slot(handles, handle);
    const PvSharedHandle *entry;

    if (number == NO_SLOT)
        return -ENOENT;
    entry = &handles->table[number];
    if (!has_room_for_text(handles, handles->slots[number].share, length_of(entry->text), length))
        return -ENOMEM;
    if (handles->slots[number].is_writing)
        return 1;
    handles->slots[number].is_writing = TRUE;
    *ret_number = number;
    /* Its number is never 0, which says that there is no text. */
    *ret_text = (guint64)MAX((guint32)(entry->text >> 32) + 1, 1) << 32 | length;
    return 0;
}

static int finish_text(PvHandles *handles, guint64 handle, guint32 number, guint64 renderer,
                       guint64 text, int result)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    PvSharedHandle *entry = &handles->table[number];

    handles->slots[number].is_writing = FALSE;
    if (result < 0)
        return result;
    if (find_slot(handles, handle) != number)
        return -ENOENT;
    count_text(handles, handles->slots[number].share, length_of(entry->text), length_of(text));
    entry->renderer[place_of(text)] = renderer & ~PV_UNIQUE_RESENT;
    store_text(entry, text);
    return 0;
}

static int write_text(PvHandles *handles, guint32 number, guint64 text, const char *data)
{
    off_t offset = pv_shared_text_offset(number, place_of(text));
    gsize written = 0;

    if (is_short(text)) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
        memcpy(handles->table[number].short_text[place_of(text)], data, length_of(text));
        return 0;
    }
    while (written < length_of(text)) {
        ssize_t n =
            pwrite(handles->fd, data + written, length_of(text) - written, offset + (off_t)written);
        if (n < 0 && errno != EINTR)
            return -errno;
        written += n > 0 ? (gsize)n : 0;
    }
    return 0;
}

int pv_handles_publish(PvHandles *handles, guint64 handle, guint64 renderer, const char *text,
                       gsize length)
{
    guint64 number_and_length;
    guint32 number;
    int r = begin_text(handles, handle, length, &number, &number_and_length);

    if (r != 0)
        return MIN(r, 0);
    r = write_text(handles, number, number_and_length, text);
    return finish_text(handles, handle, number, renderer, number_and_length, r);
}

gboolean pv_handles_was_rendered_for(PvHandles *handles, guint64 handle, guint64 renderer)
{
    guint32 number = find_slot(handles, handle);
    const PvSharedHandle *entry;
    guint64 text;

    if (number == NO_SLOT)
        return FALSE;
    entry = &handles->table[number];
    text = load_text(entry);
    return text != 0 && entry->renderer[place_of(text)] == (renderer & ~PV_UNIQUE_RESENT);
}

/* All of a short text from the offset on. The lock is not held over I/O: there is none. FALSE when
 * it is not the newest any more. */
static gboolean read_short(PvHandles *handles, guint32 number, guint64 text, gsize offset,
                           gsize size, GString *out)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);
    const PvSharedHandle *entry = &handles->table[number];

    if (load_text(entry) != text)
        return FALSE;
    g_string_append_len(out, entry->short_text[place_of(text)] + offset, (gssize)size);
    return TRUE;
}

int pv_handles_read(PvHandles *handles, guint64 handle, gsize offset, gsize size, GString *out)
{
    guint32 number = find_slot(handles, handle);
    gsize start = out->len;

    if (number == NO_SLOT)
        return -ENOENT;
    for (guint i = 0; i < READ_TRIES; i++) {
        guint64 text = load_text(&handles->table[number]);
        gsize wanted = MIN(size, pv_sat_sub(length_of(text), offset));
        ssize_t n;

        if (text == 0)
            return -ENODATA;
        if (wanted == 0)
            return 0;
        if (is_short(text)) {
            if (read_short(handles, number, text, offset, wanted, out))
                return 0;
            continue;
        }
        g_string_set_size(out, start + wanted);
        n = pread(handles->fd, out->str + start, wanted,
                  pv_shared_text_offset(number, place_of(text)) + (off_t)offset);
        /* While its number is still the newest, nobody has written in its place. */
        if (n == (ssize_t)wanted && load_text(&handles->table[number]) == text)
            return 0;
        g_string_truncate(out, start);
        if (n < 0 && errno != EINTR)
            return -errno;
    }
    return -ENODATA;
}

guint pv_handles_count(PvHandles *handles)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&handles->lock);

    return handles->n_used;
}
