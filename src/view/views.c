/*
 * Decides what a reader gets: the container's own text, or the kernel's, where nothing is limited
 * or where the container's numbers cannot be read. The latter is counted, and said once.
 */
#include "procview/view.h"

#include "collect.h"
#include "kernels_own.h"
#include "procview/log.h"

#include <errno.h>

struct PvViews {
    PvHost *host;
    PvContainers *containers;
    PvCollector collector;
    PvViewCounters counters;    /* atomic */
    gint unknown_caller_logged; /* atomic */
};

/* A thread renders one text after another: each has memory of its own, which it uses again. */
static GPrivate own_collection = G_PRIVATE_INIT((GDestroyNotify)pv_collection_free);

static PvCollection *get_own_collection(void)
{
    PvCollection *collection = g_private_get(&own_collection);
    if (collection == NULL) {
        collection = pv_collection_new();
        g_private_set(&own_collection, collection);
    }
    return collection;
}

PvViews *pv_views_new(PvHost *host, PvContainers *containers, const PvViewOptions *options)
{
    PvViews *views = g_new0(PvViews, 1);
    views->host = host;
    views->containers = containers;
    int result = pv_collector_init(&views->collector, host, options);
    if (result < 0)
        pv_log_warning("cannot read the host's possible CPUs: %s", g_strerror(-result));
    return views;
}

void pv_views_free(PvViews *views)
{
    if (views == NULL)
        return;
    pv_collector_clear(&views->collector);
    g_free(views);
}

static void count(guint64 *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

void pv_views_counters(PvViews *views, PvViewCounters *ret_counters)
{
    ret_counters->renders = __atomic_load_n(&views->counters.renders, __ATOMIC_RELAXED);
    ret_counters->fallbacks = __atomic_load_n(&views->counters.fallbacks, __ATOMIC_RELAXED);
}

/* ---- whom nothing limits ---- */

static gboolean is_root_for(const PvContainer *container, guint controllers)
{
    if (controllers == 0)
        return FALSE;
    for (PvController i = 0; i < PV_CONTROLLER_COUNT; i++) {
        if ((controllers >> i & 1) && !pv_cgroup_is_root(container->cgroup, i))
            return FALSE;
    }
    return TRUE;
}

static gboolean gets_kernels_own(const PvContainer *container, const PvRow *row)
{
    if (pv_container_is_host(container))
        return TRUE;
    return is_root_for(container, row->controllers);
}

/* ---- when the container's numbers cannot be read ---- */

static void log_fallback(PvViews *views, PvContainer *container, const char *path, int error)
{
    if (container == NULL) {
        if (g_atomic_int_compare_and_exchange(&views->unknown_caller_logged, 0, 1))
            pv_log_warning("%s: the container of a reader cannot be told; it is shown the kernel's "
                           "own file (this is said once)",
                           path);
    } else if (error == -ENODEV) {
        /* Its last processes read while it ends. */
        pv_log_debug("%s: the cgroup of container %s is gone; the kernel's own file is shown", path,
                     container->name);
    } else if (g_atomic_int_compare_and_exchange(&container->fallback_logged, 0, 1)) {
        pv_log_warning("%s: cannot read the numbers of container %s: %s; it is shown the kernel's "
                       "own file (this is said once for a container)",
                       path, container->name, g_strerror(-error));
    }
}

static void note_fallback(PvViews *views, PvContainer *container, const char *path, int error)
{
    count(&views->counters.fallbacks);
    log_fallback(views, container, path, error);
    if (container != NULL && error == -ENODEV)
        pv_containers_drop(views->containers, container);
}

/* ---- public ---- */

int pv_views_render_kernels_own(PvViews *views, const PvRow *row, GString *out)
{
    count(&views->counters.renders);
    return pv_kernels_own(views->host, NULL, row, out);
}

int pv_views_render(PvViews *views, PvContainer *container, const PvRow *row, GString *out)
{
    int result = -ESRCH;

    count(&views->counters.renders);
    if (container != NULL && gets_kernels_own(container, row))
        return pv_kernels_own(views->host, container, row, out);
    if (container != NULL) {
        PvCollection *collection = get_own_collection();
        result = pv_collect(&views->collector, container, row->sections, collection);
        if (result == 0) {
            row->render(&collection->snapshot, out);
            return 0;
        }
    }
    note_fallback(views, container, row->path, result);
    return pv_kernels_own(views->host, container, row, out);
}

static int collect_cpus(PvViews *views, PvContainer *container, PvCpuSet *ret_real_cpus,
                        PvCpuSet *ret_shown_cpus)
{
    PvCollection *collection = get_own_collection();
    int result = pv_collect(&views->collector, container, PV_SECTION_CPUS, collection);
    if (result == 0) {
        *ret_real_cpus = collection->snapshot.cpus;
        *ret_shown_cpus = collection->snapshot.shown_cpus;
    }
    return result;
}

int pv_views_cpus(PvViews *views, PvContainer *container, PvCpuSet *ret_real_cpus,
                  PvCpuSet *ret_shown_cpus)
{
    const guint controllers = 1u << PV_CONTROLLER_CPU | 1u << PV_CONTROLLER_CPUSET;

    if (container == NULL || !is_root_for(container, controllers)) {
        int result = -ESRCH;
        if (container != NULL)
            result = collect_cpus(views, container, ret_real_cpus, ret_shown_cpus);
        if (result == 0)
            return 0;
        note_fallback(views, container, "sys/devices/system/cpu", result);
    }
    int result = pv_host_online_cpus(views->host, ret_real_cpus);
    *ret_shown_cpus = *ret_real_cpus;
    return result;
}

/* A snapshot is the first member of the collection that it lives in. */
G_STATIC_ASSERT(G_STRUCT_OFFSET(PvCollection, snapshot) == 0);

int pv_views_snapshot(PvViews *views, PvContainer *container, PvSections sections,
                      PvSnapshot **ret_snapshot)
{
    g_autoptr(PvCollection) collection = pv_collection_new();

    int result = pv_collect(&views->collector, container, sections, collection);
    if (result == 0)
        *ret_snapshot = &g_steal_pointer(&collection)->snapshot;
    else if (result == -ENODEV)
        pv_containers_drop(views->containers, container);
    return result;
}

void pv_snapshot_free(PvSnapshot *snapshot)
{
    pv_collection_free((PvCollection *)(void *)snapshot);
}
