/*
 * Limits on cgroup v2 (Documentation/admin-guide/cgroup-v2.rst).
 */
#include "cgroup.h"

#include "procview/error.h"
#include "procview/file.h"
#include "procview/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/*
 * Enable in the parent whatever the views read, limited or not: without the controller there is
 * nothing accounted. One by one, since one that cannot be had must not take the others along; a
 * limit that needs it says so when it is written.
 */
static gboolean prepare(const PvLaunchHierarchy *hierarchy, int parent_fd,
                        int child_fd G_GNUC_UNUSED, GError **error G_GNUC_UNUSED)
{
    static const char *const wanted[] = {"cpu", "cpuset", "memory", "pids", "io", "hugetlb"};

    for (guint i = 0; i < G_N_ELEMENTS(wanted); i++) {
        g_autofree char *text = g_strconcat("+", wanted[i], NULL);
        if (!pv_launch_hierarchy_has(hierarchy, wanted[i]))
            continue;
        int r = pv_write_text_at(parent_fd, "cgroup.subtree_control", text);
        if (r < 0)
            pv_log_debug("the %s controller cannot be enabled below %s: %s", wanted[i],
                         hierarchy->mount_point, g_strerror(-r));
    }
    return TRUE;
}

static gboolean write_swap(const PvLaunchHierarchy *hierarchy, int dir_fd,
                           const PvLaunchLimits *limits, GError **error)
{
    if (faccessat(dir_fd, "memory.max", F_OK, 0) == 0 &&
        faccessat(dir_fd, "memory.swap.max", F_OK, 0) < 0) {
        /* No swap at all is what the machine gives anyway when it has none. */
        if (limits->swap_bytes == 0 && !pv_launch_host_has_swap())
            return TRUE;
        return pv_error_set(
            error, PV_ERROR_UNSUPPORTED,
            "--swap: this kernel does not account swap (no memory.swap.max; boot it "
            "with swapaccount=1)");
    }
    return pv_launch_control_write_u64(hierarchy, dir_fd, "memory.swap.max", limits->swap_bytes,
                                       "--swap", error);
}

static gboolean write_limits(const PvLaunchHierarchy *hierarchy, int dir_fd,
                             const PvLaunchLimits *limits, GError **error)
{
    if (pv_launch_hierarchy_has(hierarchy, "memory") && limits->memory_bytes != PV_UNLIMITED &&
        !pv_launch_control_write_u64(hierarchy, dir_fd, "memory.max", limits->memory_bytes,
                                     "--memory", error))
        return FALSE;
    if (pv_launch_hierarchy_has(hierarchy, "memory") && limits->swap_bytes != PV_UNLIMITED &&
        !write_swap(hierarchy, dir_fd, limits, error))
        return FALSE;
    if (pv_launch_hierarchy_has(hierarchy, "cpu") && limits->cpu_quota_usec != PV_UNLIMITED) {
        g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT " %d", limits->cpu_quota_usec,
                                                PV_LAUNCH_PERIOD_USEC);
        if (!pv_launch_control_write(hierarchy, dir_fd, "cpu.max", text, "--cpus", error))
            return FALSE;
    }
    return TRUE;
}

/* The root has no memory.swap.max to look for: write_swap() looks in the container's cgroup. */
static gboolean check_swap(const PvLaunchHierarchy *hierarchy G_GNUC_UNUSED,
                           const PvLaunchLimits *limits G_GNUC_UNUSED, GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

const PvLaunchCgroupOps PV_LAUNCH_CGROUP_V2 = {
    .prepare = prepare,
    .cpus_file = "cpuset.cpus.effective",
    .check_swap = check_swap,
    .write_limits = write_limits,
    .oom_file = "memory.events",
};
