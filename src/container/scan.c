/*
 * All containers of the machine, and containers by name: for people who run `procview ps`, and for
 * the operator's directory. It walks over /proc; nothing that a container reads comes here.
 */
#include "internal.h"
#include "procview/error.h"

#include <string.h>

#define ID_PREFIX_MIN   4
#define AMBIGUOUS_SHOWN 8

typedef struct {
    guint64 pidns_ino;
    pid_t pid;
    gboolean is_nested;
    guint64 start_ticks;
} Init;

typedef struct {
    PvContainers *containers;
    GHashTable *seen; /* inodes of pid namespaces whose init was found */
    GArray *inits;
} Scan;

static gboolean scan_process(pid_t pid, gpointer data)
{
    Scan *scan = data;
    const PvVantage *vantage = &scan->containers->vantage;
    Init init = {.pid = pid};
    char path[64];
    PvTaskPids pids;
    PvTaskStat stat;

    g_snprintf(path, sizeof(path), "%d/status", (int)pid);
    if (pv_identify_pidns(vantage, pid, &init.pidns_ino) < 0 ||
        init.pidns_ino == vantage->pidns_ino ||
        g_hash_table_contains(scan->seen, &init.pidns_ino) ||
        !pv_task_pids_read(vantage->procfs, path, &pids) || pids.last_pid != 1 ||
        pv_host_read_task_stat(vantage->host, pid, &stat) < 0)
        return TRUE;
    init.is_nested = pids.levels > 2;
    init.start_ticks = stat.start_ticks;
    g_hash_table_add(scan->seen, g_memdup2(&init.pidns_ino, sizeof(init.pidns_ino)));
    g_array_append_val(scan->inits, init);
    return TRUE;
}

/* Of two that want one name the outer one gets it, then the older one. */
static gint compare_inits(gconstpointer a, gconstpointer b)
{
    const Init *x = a, *y = b;

    if (x->is_nested != y->is_nested)
        return x->is_nested ? 1 : -1;
    if (x->start_ticks != y->start_ticks)
        return x->start_ticks < y->start_ticks ? -1 : 1;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

GPtrArray *pv_containers_scan(PvContainers *containers)
{
    GPtrArray *found = g_ptr_array_new_with_free_func((GDestroyNotify)pv_container_unref);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_autoptr(GArray) inits = g_array_new(FALSE, FALSE, sizeof(Init));
    Scan scan = {.containers = containers, .seen = seen, .inits = inits};

    pv_identify_foreach_process(&containers->vantage, scan_process, &scan);
    g_array_sort(inits, compare_inits);
    for (guint i = 0; i < inits->len; i++) {
        const Init *init = &g_array_index(inits, Init, i);
        g_autoptr(PvContainer) container = pv_containers_find(containers, init->pid, NULL);

        if (container != NULL && container->pidns_ino == init->pidns_ino)
            g_ptr_array_add(found, g_steal_pointer(&container));
    }
    return found;
}

/* ---- by name ---- */

static gboolean is_id_prefix(const char *name)
{
    size_t length = strlen(name);

    return length >= ID_PREFIX_MIN && strspn(name, "0123456789abcdef") == length;
}

/* How well a name fits: 0 not at all; the id of a nested pid namespace, which may be made up, below
 * a real one. */
static guint rank(const PvContainer *container, const char *name, gboolean by_id)
{
    const char *full_id = container->priv->naming.full_id;

    if (g_str_equal(container->name, name))
        return 3;
    if (!by_id || full_id == NULL || !g_str_has_prefix(full_id, name))
        return 0;
    return container->priv->pidns != NULL && container->priv->pidns->is_nested ? 1 : 2;
}

static gboolean set_ambiguous(GError **error, const char *name, GPtrArray *matches)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (guint i = 0; i < matches->len && i < AMBIGUOUS_SHOWN; i++) {
        const PvContainer *container = g_ptr_array_index(matches, i);

        g_string_append_printf(names, "%s%s", i > 0 ? ", " : "", container->name);
    }
    if (matches->len > AMBIGUOUS_SHOWN)
        g_string_append(names, ", …");
    return pv_error_set(error, PV_ERROR_AMBIGUOUS, "\"%s\" fits more than one container: %s", name,
                        names->str);
}

/* Those that were scanned, and the cached ones of our own pid namespace, which have no init to be
 * found by. */
static GPtrArray *list_all(PvContainers *containers)
{
    GPtrArray *all = pv_containers_scan(containers);
    g_autoptr(GPtrArray) cached = pv_containers_list(containers);

    for (guint i = 0; i < cached->len; i++) {
        if (!g_ptr_array_find(all, g_ptr_array_index(cached, i), NULL))
            g_ptr_array_add(all, pv_container_ref(g_ptr_array_index(cached, i)));
    }
    return all;
}

PvContainer *pv_containers_find_by_name(PvContainers *containers, const char *name, GError **error)
{
    g_autoptr(GPtrArray) all = list_all(containers);
    g_autoptr(GPtrArray) best = g_ptr_array_new();
    gboolean by_id = is_id_prefix(name);
    guint best_rank = 1;

    for (guint i = 0; i < all->len; i++) {
        guint fits = rank(g_ptr_array_index(all, i), name, by_id);

        if (fits < best_rank)
            continue;
        if (fits > best_rank)
            g_ptr_array_set_size(best, 0);
        best_rank = fits;
        g_ptr_array_add(best, g_ptr_array_index(all, i));
    }
    if (best->len == 0) {
        pv_error_set(error, PV_ERROR_NOT_FOUND, "no container is named \"%s\"", name);
        return NULL;
    }
    if (best->len > 1) {
        set_ambiguous(error, name, best);
        return NULL;
    }
    return pv_container_ref(g_ptr_array_index(best, 0));
}
