/*
 * Open files and directories. A handle is an integer, generation << 32 | slot + 1, into the table
 * in shared memory: one that is not known (any more) is an answer, not a crash, and one that an
 * earlier worker handed out goes on with the text that its reader has begun.
 *
 * A handle keeps the container that its opener was found in, and the text that was rendered last.
 * There is room for two texts: a new one is written beside the one that is being read, and takes
 * its place by one store.
 *
 * Free slots and everybody's shares are this process's own: they follow from the table, and are
 * counted anew from it at the start.
 */
#pragma once

#include "procview/container.h"
#include "procview/shared.h"

#include <glib.h>

typedef struct PvHandles PvHandles;

/*
 * shared          the memory that holds the table; must outlive the handles
 * n_slots         open handles in all, PV_SHARED_HANDLES at most; an owner (see
 *                 PvContainer.owner_ino) may have a share of them (procview/share.h), for a 64th as
 *                 many containers; all that is in the daemon's own pid namespace counts as two,
 *                 but each container there as one
 * max_text_bytes  texts kept in all; shared in the same way
 */
PvHandles *pv_handles_new(const PvShared *shared, guint n_slots, gsize max_text_bytes);
void pv_handles_free(PvHandles *handles);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvHandles, pv_handles_free)

/*
 * Take a slot.
 * ino        of what is opened: the handle answers for nothing else
 * container  a reference is taken; NULL when the opener is in no container that can be told
 * opener     unique number of the request
 * Returns 0, or -ENFILE when the table, or a share of it, is full.
 */
int pv_handles_open(PvHandles *handles, guint64 ino, PvContainer *container, guint64 opener,
                    guint64 *ret_handle);

/* The handle that was taken for a request which is served for the second time. */
gboolean pv_handles_find_opened(PvHandles *handles, guint64 ino, guint64 opener,
                                guint64 *ret_handle);

/* Give it back. A handle that is not known is ignored. */
void pv_handles_close(PvHandles *handles, guint64 handle);

/* Whose files a handle shows. */
typedef struct {
    gboolean is_known;      /* FALSE: an earlier worker knew; only `share` is left of it */
    guint32 share;          /* the container's id, 0 without one */
    PvContainer *container; /* a reference, or NULL */
} PvHandleOwner;

/* Returns 0, or -ENOENT for a handle that is not known or is another inode's. */
int pv_handles_get(PvHandles *handles, guint64 handle, guint64 ino, PvHandleOwner *ret_owner);

/* The container of a handle whose owner was not known, or is gone; NULL where there is none (any
 * more). */
void pv_handles_set_container(PvHandles *handles, guint64 handle, PvContainer *container);

/*
 * Make a text what the following reads are slices of.
 * renderer  unique number of the request that it was made for
 * Returns 0, also when another thread is just doing the same; -ENOMEM when it is above a
 * share of the texts; -ENOENT for a handle that is not known; a negative errno.
 */
int pv_handles_publish(PvHandles *handles, guint64 handle, guint64 renderer, const char *text,
                       gsize length);

/* Whether the text that is there was made for this request: it is being served again. */
gboolean pv_handles_was_rendered_for(PvHandles *handles, guint64 handle, guint64 renderer);

/*
 * Append a piece of the text: `size` bytes from `offset` on, or what there is of them.
 * Returns 0; -ENODATA when the handle has no text; -ENOENT for a handle that is not known.
 */
int pv_handles_read(PvHandles *handles, guint64 handle, gsize offset, gsize size, GString *out);

/* Handles in use. */
guint pv_handles_count(PvHandles *handles);
