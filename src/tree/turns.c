/* Turns at what may take long, see turns.h. */
#include "turns.h"

#include "procview/share.h"

/* Lives as long as the owner has a turn or waits for one. */
typedef struct {
    guint64 owner;
    guint n_turns;
    GQueue tickets; /* in line */
    GList *in_line; /* its link in PvTurns.in_line; NULL: it has no tickets */
} Owner;

struct PvTurns {
    GMutex lock; /* protects what follows; held for a few instructions only */
    guint n_free, room;
    GHashTable *owners; /* Owner.owner -> Owner */
    GQueue in_line; /* of Owner: those that have tickets, the one who had none for longest first */
};

static void owner_free(gpointer data)
{
    Owner *owner = data;

    g_queue_clear(&owner->tickets);
    g_free(owner);
}

PvTurns *pv_turns_new(guint n_threads, guint room)
{
    PvTurns *turns = g_new0(PvTurns, 1);

    g_mutex_init(&turns->lock);
    turns->n_free = n_threads;
    turns->room = room;
    turns->owners = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, owner_free);
    g_queue_init(&turns->in_line);
    return turns;
}

void pv_turns_free(PvTurns *turns)
{
    if (turns == NULL)
        return;
    g_queue_clear(&turns->in_line);
    g_hash_table_unref(turns->owners);
    g_mutex_clear(&turns->lock);
    g_free(turns);
}

/* With the lock held, like all that follow. */
static Owner *get_owner(PvTurns *turns, guint64 id)
{
    Owner *owner = g_hash_table_lookup(turns->owners, &id);

    if (owner == NULL) {
        owner = g_new0(Owner, 1);
        owner->owner = id;
        g_queue_init(&owner->tickets);
        g_hash_table_insert(turns->owners, &owner->owner, owner);
    }
    return owner;
}

static void drop_unused(PvTurns *turns, Owner *owner)
{
    if (owner->n_turns == 0 && owner->in_line == NULL)
        g_hash_table_remove(turns->owners, &owner->owner);
}

static gboolean may_have_turn(const PvTurns *turns, const Owner *owner)
{
    return pv_share_allows(owner->n_turns, 1, turns->n_free);
}

static void give_turn(PvTurns *turns, Owner *owner)
{
    owner->n_turns++;
    turns->n_free--;
}

/* The owner's first in line gets a turn; the others wait behind those of other owners. */
static gpointer take_up(PvTurns *turns, Owner *owner)
{
    gpointer ticket = g_queue_pop_head(&owner->tickets);

    turns->room++;
    give_turn(turns, owner);
    g_queue_delete_link(&turns->in_line, owner->in_line);
    owner->in_line = NULL;
    if (!g_queue_is_empty(&owner->tickets)) {
        g_queue_push_tail(&turns->in_line, owner);
        owner->in_line = turns->in_line.tail;
    }
    return ticket;
}

gboolean pv_turns_take(PvTurns *turns, guint64 id)
{
    gboolean is_taken;
    Owner *owner;

    g_mutex_lock(&turns->lock);
    owner = get_owner(turns, id);
    is_taken = owner->in_line == NULL && may_have_turn(turns, owner);
    if (is_taken)
        give_turn(turns, owner);
    drop_unused(turns, owner);
    g_mutex_unlock(&turns->lock);
    return is_taken;
}

gboolean pv_turns_wait(PvTurns *turns, guint64 id, gpointer ticket, gpointer *ret_next)
{
    gboolean has_room;
    Owner *owner;

    *ret_next = NULL;
    g_mutex_lock(&turns->lock);
    owner = get_owner(turns, id);
    has_room = pv_share_allows(g_queue_get_length(&owner->tickets), 1, turns->room);
    if (has_room) {
        turns->room--;
        g_queue_push_tail(&owner->tickets, ticket);
        if (owner->in_line == NULL) {
            g_queue_push_tail(&turns->in_line, owner);
            owner->in_line = turns->in_line.tail;
        }
        if (may_have_turn(turns, owner))
            *ret_next = take_up(turns, owner);
    }
    drop_unused(turns, owner);
    g_mutex_unlock(&turns->lock);
    return has_room;
}

gpointer pv_turns_end(PvTurns *turns, guint64 id, guint64 *ret_owner)
{
    gpointer ticket = NULL;
    Owner *owner;

    g_mutex_lock(&turns->lock);
    owner = get_owner(turns, id);
    owner->n_turns--;
    turns->n_free++;
    /* When nobody has a turn any more the first in line may have one: none is left behind. */
    for (GList *link = turns->in_line.head; link != NULL; link = link->next) {
        Owner *next = link->data;

        if (may_have_turn(turns, next)) {
            *ret_owner = next->owner;
            ticket = take_up(turns, next);
            break;
        }
    }
    drop_unused(turns, owner);
    g_mutex_unlock(&turns->lock);
    return ticket;
}
