/*
 * One container: its life, its identity, and the few things that follow from its fields alone.
 */
#include "internal.h"

PvContainer *pv_container_alloc(void)
{
    PvContainer *container = g_new0(PvContainer, 1);

    container->ref_count = 1;
    container->priv = g_new0(struct PvContainerPrivate, 1);
    container->priv->naming.manager = "";
    g_queue_init(&container->priv->aliases);
    return container;
}

PvContainer *pv_container_ref(PvContainer *container)
{
    g_atomic_int_inc(&container->ref_count);
    return container;
}

void pv_container_unref(PvContainer *container)
{
    if (container == NULL || !g_atomic_int_dec_and_test(&container->ref_count))
        return;
    g_clear_pointer(&container->cgroup, pv_cgroup_unref);
    g_clear_pointer(&container->account, pv_account_unref);
    pv_pidns_unref(container->priv->pidns);
    pv_name_clear(&container->priv->naming);
    g_free(container->priv->identity);
    g_free(container->priv->state_name);
    g_free(container->priv);
    g_free(container->name);
    g_free(container->manager);
    g_free(container);
}

char *pv_container_identity(guint64 pidns_ino, const PvPlacement *placement,
                            const PvCgroupPaths *paths)
{
    GString *identity = g_string_new(NULL);

    g_string_printf(identity, "%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, pidns_ino,
                    placement == NULL ? 0 : placement->time_ns_ino);
    for (guint i = 0; i < PV_CONTROLLER_COUNT; i++) {
        g_string_append_c(identity, '\n'); /* no cgroup has one in its name */
        g_string_append(identity, paths->path[i] == NULL ? "-" : paths->path[i]);
    }
    return g_string_free(identity, FALSE);
}

gboolean pv_container_is_host(const PvContainer *container)
{
    for (PvController i = 0; i < PV_CONTROLLER_COUNT; i++) {
        if (pv_cgroup_path(container->cgroup, i) != NULL &&
            !pv_cgroup_is_root(container->cgroup, i))
            return FALSE;
    }
    return TRUE;
}

gboolean pv_container_is_gone(const PvContainer *container)
{
    return g_atomic_int_get(&container->priv->is_gone) != 0;
}

guint64 pv_container_uptime_nsec(const PvContainer *container, const PvHost *host)
{
    guint64 now_nsec = pv_host_boottime_nsec(host);
    gint64 offset_nsec = container->time_offset_nsec;

    if (!container->has_time_offset)
        return pv_sat_sub(now_nsec, container->init_start_nsec);
    if (offset_nsec < 0)
        return pv_sat_sub(now_nsec, -(guint64)offset_nsec);
    return pv_sat_add(now_nsec, (guint64)offset_nsec);
}
