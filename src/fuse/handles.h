/*
 * Open files and directories. A handle is an integer, generation << 32 | slot + 1, into a table of
 * bounded size: one that is not known (any more) is an answer, not a crash.
 *
 * A handle keeps the container that its opener was found in, and the text that was rendered last.
 * The text is immutable and counted: a reader holds on to the one that it slices while another
 * reader puts a new one in its place.
 */
#pragma once

#include "procview/container.h"

#include <glib.h>

typedef struct PvHandles PvHandles;

/*
 * n_slots         open handles in all; an owner (see PvContainer.owner_ino) may have a quarter of
 *                 them, for a 64th as many containers; all that is in the daemon's own pid
 *                 namespace twice that, but each container there a quarter
 * max_text_bytes  texts kept in all; shared in the same way
 */
PvHandles *pv_handles_new(guint n_slots, gsize max_text_bytes);
void pv_handles_free(PvHandles *handles);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvHandles, pv_handles_free)

/*
 * Take a slot.
 * ino        of what is opened: the handle answers for nothing else
 * container  a reference is taken; NULL when the opener is in no container that can be told
 * Returns 0, or -ENFILE when the table, or a share of it, is full.
 */
int pv_handles_open(PvHandles *handles, guint64 ino, PvContainer *container, guint64 *ret_handle);

/* Give it back. A handle that is not known is ignored. */
void pv_handles_close(PvHandles *handles, guint64 handle);

/*
 * What a handle holds.
 * ret_container  a reference, or NULL
 * ret_text       a reference to the text that was published last, or NULL
 * Returns 0, or -ENOENT for a handle that is not known or is another inode's.
 */
int pv_handles_get(PvHandles *handles, guint64 handle, guint64 ino, PvContainer **ret_container,
                   GBytes **ret_text);

/*
 * Make `text` what the following reads are slices of.
 * Returns 0; -ENOMEM when it is above a share of the texts; -ENOENT for a handle that
 * is not known.
 */
int pv_handles_publish(PvHandles *handles, guint64 handle, GBytes *text);

/* Handles in use. */
guint pv_handles_count(PvHandles *handles);
