/*
 * Limits on cgroup v1 (Documentation/admin-guide/cgroup-v1/).
 */
#include "cgroup.h"

#include "procview/error.h"
#include "procview/file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CPUSET_TEXT_BYTES PV_CONTROL_FILE_MAX

/* A new cpuset is empty, and nothing can run in it: fill it from the parent. */
static gboolean inherit_cpuset(const PvLaunchHierarchy *hierarchy, int parent_fd, int child_fd,
                               const char *file, const char *effective_file, GError **error)
{
    char text[CPUSET_TEXT_BYTES];
    ssize_t n = pv_read_text_at(child_fd, file, text, sizeof text);

    if (n < 0 || g_strchomp(text)[0] != '\0')
        return TRUE; /* not there, or filled already (cgroup.clone_children) */
    n = pv_read_text_at(parent_fd, file, text, sizeof text);
    if (n < 0 || g_strchomp(text)[0] == '\0')
        n = pv_read_text_at(parent_fd, effective_file, text, sizeof text);
    if (n < 0)
        return pv_error_set_errno(error, (int)-n, "cannot read %s in %s", file,
                                  hierarchy->mount_point);
    return pv_launch_control_write(hierarchy, child_fd, file, text, "the cpuset controller", error);
}

static gboolean prepare(const PvLaunchHierarchy *hierarchy, int parent_fd, int child_fd,
                        GError **error)
{
    if (!pv_launch_hierarchy_has(hierarchy, "cpuset"))
        return TRUE;
    return inherit_cpuset(hierarchy, parent_fd, child_fd, "cpuset.cpus", "cpuset.effective_cpus",
                          error) &&
           inherit_cpuset(hierarchy, parent_fd, child_fd, "cpuset.mems", "cpuset.effective_mems",
                          error);
}

static gboolean write_memory(const PvLaunchHierarchy *hierarchy, int dir_fd,
                             const PvLaunchLimits *limits, GError **error)
{
    if (limits->memory_bytes == PV_UNLIMITED)
        return TRUE;
    if (!pv_launch_control_write_u64(hierarchy, dir_fd, "memory.limit_in_bytes",
                                     limits->memory_bytes, "--memory", error))
        return FALSE;
    if (limits->swap_bytes == PV_UNLIMITED)
        return TRUE;
    /* v1 limits the sum. Without accounting only a swap of 0 gets here, on a machine that has none.
     */
    if (limits->swap_bytes == 0 && faccessat(dir_fd, "memory.memsw.limit_in_bytes", F_OK, 0) < 0)
        return TRUE;
    return pv_launch_control_write_u64(
        hierarchy, dir_fd, "memory.memsw.limit_in_bytes",
        MIN(pv_sat_add(limits->memory_bytes, limits->swap_bytes), G_MAXINT64), "--swap", error);
}

static gboolean write_limits(const PvLaunchHierarchy *hierarchy, int dir_fd,
                             const PvLaunchLimits *limits, GError **error)
{
    if (pv_launch_hierarchy_has(hierarchy, "memory") &&
        !write_memory(hierarchy, dir_fd, limits, error))
        return FALSE;
    if (pv_launch_hierarchy_has(hierarchy, "cpu") && limits->cpu_quota_usec != PV_UNLIMITED &&
        (!pv_launch_control_write_u64(hierarchy, dir_fd, "cpu.cfs_period_us", PV_LAUNCH_PERIOD_USEC,
                                      "--cpus", error) ||
         !pv_launch_control_write_u64(hierarchy, dir_fd, "cpu.cfs_quota_us", limits->cpu_quota_usec,
                                      "--cpus", error)))
        return FALSE;
    return TRUE;
}

static gboolean check_swap(const PvLaunchHierarchy *hierarchy, const PvLaunchLimits *limits,
                           GError **error)
{
    g_autofree char *file =
        g_build_filename(hierarchy->mount_point, "memory.memsw.limit_in_bytes", NULL);

    if (limits->memory_bytes == PV_UNLIMITED)
        return pv_error_set(error, PV_ERROR_INVALID,
                            "--swap: needs --memory too, cgroup v1 limits the sum of both");
    if (access(file, F_OK) < 0)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "--swap: this kernel does not account swap (no %s; boot it with "
                            "swapaccount=1)",
                            file);
    return TRUE;
}

const PvLaunchCgroupOps PV_LAUNCH_CGROUP_V1 = {
    .prepare = prepare,
    .cpus_file = "cpuset.effective_cpus",
    .check_swap = check_swap,
    .write_limits = write_limits,
    .oom_file = "memory.oom_control",
};
