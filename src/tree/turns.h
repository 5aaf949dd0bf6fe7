/*
 * Turns at what may take long: for how many requests of an owner threads are busy at a time. Who
 * cannot have a turn at once waits in line without a thread; whoever ends a turn takes up the next
 * in line. Nothing is refused while there is room to wait.
 */
#pragma once

#include <glib.h>

typedef struct PvTurns PvTurns;

/*
 * n_threads  turns at a time, see procview/share.h for an owner's share of them
 * room       that may wait, shared in the same way
 */
PvTurns *pv_turns_new(guint n_threads, guint room);
void pv_turns_free(PvTurns *turns);

/* Take a turn now. FALSE: the owner has to wait. */
gboolean pv_turns_take(PvTurns *turns, guint64 owner);

/*
 * Wait in line. The ticket may be another thread's at once.
 * ret_next  the owner's ticket that has a turn now, maybe this one; NULL: none
 * Returns FALSE when the owner has too many in line already: the ticket is not there.
 */
gboolean pv_turns_wait(PvTurns *turns, guint64 owner, gpointer ticket, gpointer *ret_next);

/* End a turn. Returns the ticket that has one now, or NULL; ret_owner: whose it is. */
gpointer pv_turns_end(PvTurns *turns, guint64 owner, guint64 *ret_owner);
