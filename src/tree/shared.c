/*
 * What the next server has to know: the names behind numbers, open handles, and what was done
 * already. It lies in the shared memory where the views' server keeps texts.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define MAGIC "pvtree1"

G_STATIC_ASSERT(sizeof MAGIC == sizeof((PvTreeShared *)NULL)->magic);

int pv_tree_shared_map(const PvShared *shared, PvTreeShared **ret_shared)
{
    PvTreeShared *memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED,
                                shared->fd, pv_shared_text_offset(0, 0));

    if (memory == MAP_FAILED)
        return -errno;
    madvise(memory, sizeof *memory, MADV_DONTDUMP);
    if (memcmp(memory->magic, MAGIC, sizeof MAGIC) != 0)
        memcpy(memory->magic, MAGIC, sizeof MAGIC); /* all zeros: nothing is in it */
    *ret_shared = memory;
    return 0;
}

void pv_tree_shared_unmap(PvTreeShared *shared)
{
    if (shared != NULL)
        munmap(shared, sizeof *shared);
}

/* ---- names ---- */

/* Those that are in the memory and not in the table: of an earlier server. */
static void learn_names(PvCgroupTree *tree)
{
    guint n = MIN(__atomic_load_n(&tree->shared->n_names, __ATOMIC_ACQUIRE), PV_TREE_NAMES);

    for (guint i = g_hash_table_size(tree->names); i < n; i++)
        g_hash_table_insert(tree->names, tree->shared->names[i], GUINT_TO_POINTER(i + 1));
}

guint pv_tree_name_number(PvCgroupTree *tree, const char *name)
{
    guint number;

    if (strlen(name) >= PV_TREE_NAME_BYTES)
        return 0;
    g_mutex_lock(&tree->names_lock);
    learn_names(tree);
    number = GPOINTER_TO_UINT(g_hash_table_lookup(tree->names, name));
    if (number == 0 && tree->shared->n_names < PV_TREE_NAMES) {
        number = tree->shared->n_names + 1;
        strcpy(tree->shared->names[number - 1], name);
        __atomic_store_n(&tree->shared->n_names, number, __ATOMIC_RELEASE);
        learn_names(tree);
    }
    g_mutex_unlock(&tree->names_lock);
    return number;
}

const char *pv_tree_name(PvCgroupTree *tree, guint number)
{
    if (number == 0 || number > __atomic_load_n(&tree->shared->n_names, __ATOMIC_ACQUIRE))
        return NULL;
    return tree->shared->names[number - 1];
}

/* ---- the journal ---- */

gboolean pv_tree_journal_begin(PvCgroupTree *tree, const PvCgroupRequest *request,
                               PvTreeDone **ret_done)
{
    PvTreeShared *shared = tree->shared;
    PvTreeDone *done;

    for (guint i = 0; request->is_repeated && i < PV_TREE_JOURNAL; i++) {
        *ret_done = &shared->done[i];
        if (__atomic_load_n(&shared->done[i].unique, __ATOMIC_ACQUIRE) == request->unique)
            return TRUE;
    }
    done =
        &shared->done[__atomic_fetch_add(&shared->n_done, 1, __ATOMIC_RELAXED) % PV_TREE_JOURNAL];
    __atomic_store_n(&done->unique, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&done->result, PV_TREE_UNDER_WAY, __ATOMIC_RELEASE);
    __atomic_store_n(&done->unique, request->unique, __ATOMIC_RELEASE);
    *ret_done = done;
    return FALSE;
}

void pv_tree_journal_end(PvTreeDone *done, gint64 result)
{
    __atomic_store_n(&done->result, result, __ATOMIC_RELEASE);
}
