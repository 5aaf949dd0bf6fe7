/*
 * Faults on request, so that tests see what is done about them: $PROCVIEW_FAULT is "KIND" for one
 * at the start of a worker, or "KIND@PATH" for one at each read of a file ("abort@proc/swaps"). The
 * kinds are abort, segv and hang. A safe worker has none. Nothing of a request chooses one.
 */
#pragma once

#include <glib.h>

void pv_fault_at_start(gboolean is_safe);
void pv_fault_at_request(guint32 opcode, guint64 ino, gboolean is_safe);
