/*
 * The cache of containers. A lookup by (pid namespace, text of /proc/TID/cgroup) takes the read
 * lock and nothing else; no lock is held over I/O, and what is removed is freed after the lock is
 * released.
 *
 * Several texts may lead to one container, since its threads may be in cgroups below its own: these
 * are its aliases. Whoever makes cgroups and pid namespaces decides how many there are, so each
 * outermost pid namespace
 * ("owner") has a share of its own and pushes out only itself; all together are bounded too.
 *
 * Invariants, under the lock: a container in `identities` has is_cached, is in its owner's and in
 * the common queue, and counts in its pidns's n_containers; an alias in `aliases` is in three
 * queues, and its container is cached; an owner is in `owners` while it has a container.
 */
#include "internal.h"

#include <string.h>

struct PvCacheOwner {
    guint64 ino;
    GQueue containers, aliases; /* by their node.in_owner links */
};

typedef struct {
    guint64 pidns_ino;
    const char *text; /* a short text, or the digest of a long one */
} AliasKey;

typedef struct {
    AliasKey key; /* first: an alias is found by its key */
    char *text;
    PvContainer *container; /* not counted: an alias goes before its container does */
    PvCacheNode node;
    GList in_container;
} Alias;

struct PvCache {
    guint64 host_ino;
    PvCacheEvictedFunc evicted_func; /* set before there are other threads */
    gpointer evicted_data;
    GRWLock lock;
    /* all protected by lock */
    GHashTable *identities;             /* identity -> PvContainer, holds a reference */
    GHashTable *aliases;                /* AliasKey -> Alias, owns it */
    GHashTable *pidns;                  /* inode -> PvPidns, holds a reference */
    GHashTable *owners;                 /* inode -> PvCacheOwner, owns it */
    GHashTable *names;                  /* name -> PvContainer */
    GHashTable *ids;                    /* id -> PvContainer */
    GQueue all_containers, all_aliases; /* by their node.in_all links */
};

/* ---- tables ---- */

static guint alias_key_hash(gconstpointer data)
{
    const AliasKey *key = data;

    return g_int64_hash(&key->pidns_ino) ^ g_str_hash(key->text);
}

static gboolean alias_key_equal(gconstpointer a, gconstpointer b)
{
    const AliasKey *x = a, *y = b;

    return x->pidns_ino == y->pidns_ino && strcmp(x->text, y->text) == 0;
}

static void alias_free(gpointer data)
{
    Alias *alias = data;

    g_free(alias->text);
    g_free(alias);
}

PvCache *pv_cache_new(guint64 host_ino)
{
    PvCache *cache = g_new0(PvCache, 1);

    cache->host_ino = host_ino;
    g_rw_lock_init(&cache->lock);
    cache->identities = g_hash_table_new(g_str_hash, g_str_equal);
    cache->aliases = g_hash_table_new_full(alias_key_hash, alias_key_equal, NULL, alias_free);
    cache->pidns = g_hash_table_new(g_int64_hash, g_int64_equal);
    cache->owners = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    cache->names = g_hash_table_new(g_str_hash, g_str_equal);
    cache->ids = g_hash_table_new(NULL, NULL);
    g_queue_init(&cache->all_containers);
    g_queue_init(&cache->all_aliases);
    return cache;
}

void pv_cache_set_evicted_func(PvCache *cache, PvCacheEvictedFunc func, gpointer data)
{
    cache->evicted_func = func;
    cache->evicted_data = data;
}

/* What was taken out under the lock, to be released after it. */
typedef struct {
    GPtrArray *containers, *pidns;
} Removed;

static void removed_init(Removed *removed)
{
    removed->containers = g_ptr_array_new_with_free_func((GDestroyNotify)pv_container_unref);
    removed->pidns = g_ptr_array_new_with_free_func((GDestroyNotify)pv_pidns_unref);
}

static void removed_clear(Removed *removed)
{
    g_ptr_array_unref(removed->containers);
    g_ptr_array_unref(removed->pidns);
}

/* The same for containers that had to make room. */
static void removed_clear_evicted(PvCache *cache, Removed *removed)
{
    for (guint i = 0; cache->evicted_func != NULL && i < removed->containers->len; i++)
        cache->evicted_func(g_ptr_array_index(removed->containers, i), cache->evicted_data);
    removed_clear(removed);
}

/* ---- under the write lock ---- */

/* A new member has not been used again yet: of a storm, the oldest go first. */
static void node_push(PvCacheNode *node, gpointer member, GQueue *owner, GQueue *all)
{
    node->in_owner.data = node->in_all.data = member;
    g_queue_push_tail_link(owner, &node->in_owner);
    g_queue_push_tail_link(all, &node->in_all);
}

static void alias_remove(PvCache *cache, Alias *alias)
{
    g_queue_unlink(&alias->container->priv->aliases, &alias->in_container);
    g_queue_unlink(&alias->container->priv->owner->aliases, &alias->node.in_owner);
    g_queue_unlink(&cache->all_aliases, &alias->node.in_all);
    g_hash_table_remove(cache->aliases, &alias->key);
}

static void pidns_remove_if_unused(PvCache *cache, PvPidns *pidns, Removed *removed)
{
    if (pidns->n_containers > 0 || g_hash_table_lookup(cache->pidns, &pidns->ino) != pidns)
        return;
    g_hash_table_remove(cache->pidns, &pidns->ino);
    g_ptr_array_add(removed->pidns, pidns);
}

static void container_remove(PvCache *cache, PvContainer *container, Removed *removed)
{
    struct PvContainerPrivate *priv = container->priv;
    PvCacheOwner *owner = priv->owner;
    GList *link;

    while ((link = g_queue_peek_head_link(&priv->aliases)) != NULL)
        alias_remove(cache, link->data);
    g_queue_unlink(&owner->containers, &priv->node.in_owner);
    g_queue_unlink(&cache->all_containers, &priv->node.in_all);
    g_hash_table_remove(cache->identities, priv->identity);
    g_hash_table_remove(cache->names, container->name);
    g_hash_table_remove(cache->ids, GUINT_TO_POINTER(container->id));
    priv->is_cached = FALSE;
    priv->owner = NULL;
    if (g_queue_is_empty(&owner->containers))
        g_hash_table_remove(cache->owners, &owner->ino);
    if (priv->pidns != NULL) {
        priv->pidns->n_containers--;
        pidns_remove_if_unused(cache, priv->pidns, removed);
    }
    g_ptr_array_add(removed->containers, container);
}

static PvCacheNode *alias_node(gpointer member)
{
    return &((Alias *)member)->node;
}

static PvCacheNode *container_node(gpointer member)
{
    return &((PvContainer *)member)->priv->node;
}

/* The next to go of a queue that is not empty: see PvCacheNode. Those used go to the tail once at
 * most. */
static gpointer queue_victim(GQueue *queue, PvCacheNode *(*node_of)(gpointer))
{
    for (guint i = queue->length; i > 0; i--) {
        GList *link = g_queue_peek_head_link(queue);

        if (!g_atomic_int_compare_and_exchange(&node_of(link->data)->used, 1, 0))
            break;
        g_queue_unlink(queue, link);
        g_queue_push_tail_link(queue, link);
    }
    return g_queue_peek_head(queue);
}

static void make_room_for_alias(PvCache *cache, PvCacheOwner *owner)
{
    guint share =
        owner->ino == cache->host_ino ? PV_CACHE_HOST_ALIASES_MAX : PV_CACHE_OWNER_ALIASES_MAX;

    while (owner->aliases.length >= share)
        alias_remove(cache, queue_victim(&owner->aliases, alias_node));
    while (cache->all_aliases.length >= PV_CACHE_ALIASES_MAX)
        alias_remove(cache, queue_victim(&cache->all_aliases, alias_node));
}

static void make_room_for_container(PvCache *cache, guint64 owner_ino, Removed *removed)
{
    guint share =
        owner_ino == cache->host_ino ? PV_CACHE_HOST_CONTAINERS_MAX : PV_CACHE_OWNER_CONTAINERS_MAX;
    PvCacheOwner *owner;

    /* The owner goes with its last container. */
    while ((owner = g_hash_table_lookup(cache->owners, &owner_ino)) != NULL &&
           owner->containers.length >= share)
        container_remove(cache, queue_victim(&owner->containers, container_node), removed);
    while (cache->all_containers.length >= PV_CACHE_CONTAINERS_MAX)
        container_remove(cache, queue_victim(&cache->all_containers, container_node), removed);
}

static PvCacheOwner *owner_get(PvCache *cache, guint64 ino)
{
    PvCacheOwner *owner = g_hash_table_lookup(cache->owners, &ino);

    if (owner == NULL) {
        owner = g_new0(PvCacheOwner, 1);
        owner->ino = ino;
        g_queue_init(&owner->containers);
        g_queue_init(&owner->aliases);
        g_hash_table_insert(cache->owners, &owner->ino, owner);
    }
    return owner;
}

/* A name and an id that no other cached container has. */
static void assign_name(PvCache *cache, PvContainer *container)
{
    const PvName *naming = &container->priv->naming;

    while (container->id == 0 || g_hash_table_contains(cache->ids, GUINT_TO_POINTER(container->id)))
        container->id = (container->id + 1) & PV_CONTAINER_ID_MASK;

    container->name = g_strdup(naming->name);
    if (g_hash_table_contains(cache->names, container->name)) {
        g_free(container->name);
        container->name = g_strdup_printf("%s-%d", naming->name, (int)container->init_pid);
    }
    if (g_hash_table_contains(cache->names, container->name)) {
        g_free(container->name);
        container->name =
            g_strdup_printf("%s-%d-%06x", naming->name, (int)container->init_pid, container->id);
    }
}

static void container_add(PvCache *cache, PvContainer *container, Removed *removed)
{
    struct PvContainerPrivate *priv = container->priv;
    guint64 owner_ino = priv->pidns == NULL ? cache->host_ino : priv->pidns->owner_ino;

    make_room_for_container(cache, owner_ino, removed);
    assign_name(cache, container);
    priv->owner = owner_get(cache, owner_ino);
    priv->is_cached = TRUE;
    node_push(&priv->node, container, &priv->owner->containers, &cache->all_containers);
    g_hash_table_insert(cache->identities, priv->identity, pv_container_ref(container));
    g_hash_table_insert(cache->names, container->name, container);
    g_hash_table_insert(cache->ids, GUINT_TO_POINTER(container->id), container);
    if (priv->pidns != NULL) {
        priv->pidns->n_containers++;
        /* Another thread may have found it unused just now, and taken it out. */
        if (!g_hash_table_contains(cache->pidns, &priv->pidns->ino))
            g_hash_table_insert(cache->pidns, &priv->pidns->ino, pv_pidns_ref(priv->pidns));
    }
}

static void alias_add(PvCache *cache, PvContainer *container, const AliasKey *key)
{
    Alias *alias = g_hash_table_lookup(cache->aliases, key);

    if (alias != NULL && alias->container == container)
        return;
    if (alias != NULL)
        alias_remove(cache, alias);
    make_room_for_alias(cache, container->priv->owner);
    alias = g_new0(Alias, 1);
    alias->text = g_strdup(key->text);
    alias->key = (AliasKey){.pidns_ino = key->pidns_ino, .text = alias->text};
    alias->container = container;
    alias->in_container.data = alias;
    g_queue_push_tail_link(&container->priv->aliases, &alias->in_container);
    node_push(&alias->node, alias, &container->priv->owner->aliases, &cache->all_aliases);
    g_hash_table_insert(cache->aliases, &alias->key, alias);
}

/* ---- the functions that take the lock ---- */

/* A key for a text; *digest keeps it alive. */
static AliasKey alias_key(guint64 pidns_ino, const char *text, char **digest)
{
    size_t length = strlen(text);

    *digest = length <= PV_CACHE_TEXT_MAX
                  ? NULL
                  : g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, (gssize)length);
    return (AliasKey){.pidns_ino = pidns_ino, .text = *digest != NULL ? *digest : text};
}

/* Written only when it changes: the readers share the line. */
static void mark_used(PvCacheNode *node)
{
    if (g_atomic_int_get(&node->used) == 0)
        g_atomic_int_set(&node->used, 1);
}

PvContainer *pv_cache_lookup(PvCache *cache, guint64 pidns_ino, const char *text)
{
    g_autofree char *digest = NULL;
    AliasKey key = alias_key(pidns_ino, text, &digest);
    PvContainer *container = NULL;
    Alias *alias;

    g_rw_lock_reader_lock(&cache->lock);
    alias = g_hash_table_lookup(cache->aliases, &key);
    if (alias != NULL) {
        container = pv_container_ref(alias->container);
        mark_used(&alias->node);
        mark_used(&container->priv->node);
    }
    g_rw_lock_reader_unlock(&cache->lock);
    return container;
}

PvContainer *pv_cache_lookup_identity(PvCache *cache, const char *identity)
{
    PvContainer *container;

    g_rw_lock_reader_lock(&cache->lock);
    container = g_hash_table_lookup(cache->identities, identity);
    if (container != NULL)
        pv_container_ref(container);
    g_rw_lock_reader_unlock(&cache->lock);
    return container;
}

PvPidns *pv_cache_lookup_pidns(PvCache *cache, guint64 ino)
{
    PvPidns *pidns;

    g_rw_lock_reader_lock(&cache->lock);
    pidns = g_hash_table_lookup(cache->pidns, &ino);
    if (pidns != NULL)
        pv_pidns_ref(pidns);
    g_rw_lock_reader_unlock(&cache->lock);
    return pidns;
}

PvPidns *pv_cache_add_pidns(PvCache *cache, PvPidns *pidns)
{
    PvPidns *cached;

    g_rw_lock_writer_lock(&cache->lock);
    cached = g_hash_table_lookup(cache->pidns, &pidns->ino);
    if (cached == NULL) {
        cached = pv_pidns_ref(pidns);
        g_hash_table_insert(cache->pidns, &cached->ino, cached);
    }
    pv_pidns_ref(cached);
    g_rw_lock_writer_unlock(&cache->lock);
    return cached;
}

void pv_cache_release_pidns(PvCache *cache, PvPidns *pidns)
{
    Removed removed;

    removed_init(&removed);
    g_rw_lock_writer_lock(&cache->lock);
    pidns_remove_if_unused(cache, pidns, &removed);
    g_rw_lock_writer_unlock(&cache->lock);
    removed_clear(&removed);
}

/*
 * The placement is compared under the write lock: whoever finds that init has moved puts the new
 * placement in place first and forgets the texts, under this lock, afterwards. So an old text is
 * either refused here or forgotten there.
 */
static gboolean is_current(PvContainer *container, guint generation)
{
    g_autoptr(PvPlacement) placement = NULL;

    if (container->priv->pidns == NULL)
        return TRUE;
    placement = pv_pidns_placement(container->priv->pidns);
    return placement->generation == generation;
}

void pv_cache_shrink_largest(PvCache *cache)
{
    PvCacheOwner *owner, *largest = NULL;
    GHashTableIter iter;
    Removed removed;

    removed_init(&removed);
    g_rw_lock_writer_lock(&cache->lock);
    g_hash_table_iter_init(&iter, cache->owners);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&owner)) {
        if (largest == NULL || owner->containers.length > largest->containers.length)
            largest = owner;
    }
    for (guint n = largest != NULL ? largest->containers.length / 2 : 0; n > 0; n--)
        container_remove(cache, queue_victim(&largest->containers, container_node), &removed);
    g_rw_lock_writer_unlock(&cache->lock);
    removed_clear_evicted(cache, &removed);
}

PvContainer *pv_cache_insert(PvCache *cache, PvContainer *container, const char *text,
                             guint generation)
{
    g_autofree char *digest = NULL;
    AliasKey key = alias_key(container->pidns_ino, text, &digest);
    PvContainer *cached;
    Removed removed;

    removed_init(&removed);
    g_rw_lock_writer_lock(&cache->lock);
    cached = g_hash_table_lookup(cache->identities, container->priv->identity);
    if (cached == NULL) {
        cached = container;
        /* One that was taken out while the caller held it keeps its name, and does not come back.
         */
        if (container->name == NULL)
            container_add(cache, container, &removed);
    }
    if (cached->priv->is_cached && is_current(cached, generation))
        alias_add(cache, cached, &key);
    pv_container_ref(cached);
    if (cached != container && container->priv->pidns != NULL)
        pidns_remove_if_unused(cache, container->priv->pidns, &removed);
    g_rw_lock_writer_unlock(&cache->lock);
    removed_clear_evicted(cache, &removed);
    return cached;
}

gboolean pv_cache_remove(PvCache *cache, PvContainer *container)
{
    Removed removed;
    gboolean was_cached;

    removed_init(&removed);
    g_rw_lock_writer_lock(&cache->lock);
    was_cached = container->priv->is_cached;
    if (was_cached)
        container_remove(cache, container, &removed);
    g_rw_lock_writer_unlock(&cache->lock);
    removed_clear(&removed);
    return was_cached;
}

GPtrArray *pv_cache_forget_placement(PvCache *cache, PvPidns *pidns, const PvPlacement *placement)
{
    g_autofree char *current = pv_container_identity(pidns->ino, placement, &placement->root);
    PvCacheOwner *owner;
    Removed removed;

    removed_init(&removed);
    g_rw_lock_writer_lock(&cache->lock);
    owner = g_hash_table_lookup(cache->owners, &pidns->owner_ino);
    for (GList *link = owner == NULL ? NULL : owner->containers.head, *next; link != NULL;
         link = next) {
        PvContainer *container = link->data;
        GList *alias;

        next = link->next;
        if (container->priv->pidns != pidns)
            continue;
        while ((alias = g_queue_peek_head_link(&container->priv->aliases)) != NULL)
            alias_remove(cache, alias->data);
        if (container->priv->is_of_init && strcmp(container->priv->identity, current) != 0)
            container_remove(cache, container, &removed);
    }
    g_rw_lock_writer_unlock(&cache->lock);
    g_ptr_array_unref(removed.pidns);
    return removed.containers;
}

GPtrArray *pv_cache_list(PvCache *cache)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)pv_container_unref);

    g_rw_lock_reader_lock(&cache->lock);
    for (GList *link = cache->all_containers.head; link != NULL; link = link->next)
        g_ptr_array_add(list, pv_container_ref(link->data));
    g_rw_lock_reader_unlock(&cache->lock);
    return list;
}

GPtrArray *pv_cache_list_pidns(PvCache *cache)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)pv_pidns_unref);
    GHashTableIter iter;
    gpointer pidns;

    g_rw_lock_reader_lock(&cache->lock);
    g_hash_table_iter_init(&iter, cache->pidns);
    while (g_hash_table_iter_next(&iter, NULL, &pidns))
        g_ptr_array_add(list, pv_pidns_ref(pidns));
    g_rw_lock_reader_unlock(&cache->lock);
    return list;
}

guint pv_cache_n_aliases(PvCache *cache)
{
    guint n;

    g_rw_lock_reader_lock(&cache->lock);
    n = g_hash_table_size(cache->aliases);
    g_rw_lock_reader_unlock(&cache->lock);
    return n;
}

void pv_cache_free(PvCache *cache)
{
    g_autoptr(GPtrArray) containers = NULL;
    g_autoptr(GPtrArray) pidns = NULL;

    if (cache == NULL)
        return;
    containers = pv_cache_list(cache);
    for (guint i = 0; i < containers->len; i++)
        pv_cache_remove(cache, g_ptr_array_index(containers, i));
    pidns = pv_cache_list_pidns(cache);
    for (guint i = 0; i < pidns->len; i++)
        pv_cache_release_pidns(cache, g_ptr_array_index(pidns, i));
    g_hash_table_unref(cache->identities);
    g_hash_table_unref(cache->aliases);
    g_hash_table_unref(cache->pidns);
    g_hash_table_unref(cache->owners);
    g_hash_table_unref(cache->names);
    g_hash_table_unref(cache->ids);
    g_rw_lock_clear(&cache->lock);
    g_free(cache);
}
