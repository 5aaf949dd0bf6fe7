/* Faults on request, see fault.h. */
#include "fault.h"

#include "node.h"

#include "procview/view.h"

#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Read once: the environment does not change, and every request looks here. */
static const char *fault(void)
{
    static gsize once;
    static const char *value;

    if (g_once_init_enter(&once)) {
        value = g_getenv("PROCVIEW_FAULT");
        g_once_init_leave(&once, 1);
    }
    return value;
}

__attribute__((no_sanitize("undefined"))) static void commit(const char *kind)
{
    volatile int *volatile nowhere = NULL;

    if (g_str_has_prefix(kind, "abort"))
        abort();
    if (g_str_has_prefix(kind, "segv"))
        *nowhere = 1;
    while (g_str_has_prefix(kind, "hang"))
        pause();
}

void pv_fault_at_start(gboolean is_safe)
{
    if (fault() != NULL && strchr(fault(), '@') == NULL && !is_safe)
        commit(fault());
}

void pv_fault_at_request(guint32 opcode, guint64 ino, gboolean is_safe)
{
    const char *at;
    const PvRow *row;
    PvNode node;

    if (G_LIKELY(fault() == NULL) || opcode != FUSE_READ || is_safe)
        return;
    at = strchr(fault(), '@');
    row = at != NULL ? pv_row_find(at + 1) : NULL;
    if (row != NULL && pv_node_decode(ino, &node) && node.kind == PV_NODE_ROW &&
        node.value == row->number)
        commit(fault());
}
