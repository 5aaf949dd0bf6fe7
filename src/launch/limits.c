/*
 * Can the limits be had on this machine? Asked before anything is made, so that the answer is about
 * the option that was typed and not about the file that could not be written.
 */
#include "cgroup.h"

#include "procview/error.h"
#include "procview/file.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SWAPS_MAX_BYTES (1u << 20)

gboolean pv_launch_host_has_swap(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *first_line_end;

    if (pv_read_all_at(AT_FDCWD, "/proc/swaps", text, SWAPS_MAX_BYTES) < 0)
        return FALSE;
    first_line_end = strchr(text->str, '\n');
    return first_line_end != NULL && first_line_end[1] != '\0';
}

static gboolean require(const GPtrArray *hierarchies, const char *controller, const char *option,
                        const PvLaunchHierarchy **ret_hierarchy, GError **error)
{
    *ret_hierarchy = pv_launch_hierarchies_find(hierarchies, controller);
    if (*ret_hierarchy == NULL)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "%s: no mounted cgroup hierarchy has the %s controller (see "
                            "/proc/cgroups; is it disabled at boot, or not delegated here?)",
                            option, controller);
    return TRUE;
}

static gboolean check_memory(const GPtrArray *hierarchies, const PvLaunchLimits *limits,
                             GError **error)
{
    const PvLaunchHierarchy *hierarchy;

    if (limits->memory_bytes != PV_UNLIMITED &&
        !require(hierarchies, "memory", "--memory", &hierarchy, error))
        return FALSE;
    if (limits->swap_bytes == PV_UNLIMITED)
        return TRUE;
    if (!require(hierarchies, "memory", "--swap", &hierarchy, error))
        return FALSE;
    g_autoptr(GError) local = NULL;
    if (hierarchy->ops->check_swap(hierarchy, limits, &local))
        return TRUE;
    /* No swap at all is what the machine gives anyway when it has none. */
    if (g_error_matches(local, PV_ERROR, PV_ERROR_UNSUPPORTED) && limits->swap_bytes == 0 &&
        !pv_launch_host_has_swap())
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

/* The CPUs of a file in the list format; FALSE when it cannot be read. */
static gboolean read_cpus(const char *dir, const char *file, PvCpuSet *ret_set)
{
    char text[PV_CONTROL_FILE_MAX];
    g_autofree char *path = g_build_filename(dir, file, NULL);

    return pv_read_text_at(AT_FDCWD, path, text, sizeof text) >= 0 &&
           pv_cpu_set_parse_list(text, ret_set) && pv_cpu_set_count(ret_set) > 0;
}

/* Every CPU that was asked for has to be in `available`. */
static gboolean check_members(const PvLaunchLimits *limits, const PvCpuSet *available,
                              const char *where, GError **error)
{
    PV_CPU_SET_FOREACH (cpu, &limits->cpuset) {
        if (!pv_cpu_set_has(available, (guint)cpu)) {
            g_autoptr(GString) list = g_string_new(NULL);
            pv_cpu_set_format_list(available, list);
            return pv_error_set(error, PV_ERROR_INVALID, "--cpuset %s: CPU %d is not %s (%s)",
                                limits->cpuset_text, cpu, where, list->str);
        }
    }
    return TRUE;
}

static gboolean check_cpus(const GPtrArray *hierarchies, const PvLaunchLimits *limits,
                           GError **error)
{
    const PvLaunchHierarchy *hierarchy;
    PvCpuSet online, given;
    gboolean know_online = read_cpus("/sys/devices/system/cpu", "online", &online);

    if (limits->cpu_quota_usec != PV_UNLIMITED) {
        if (!require(hierarchies, "cpu", "--cpus", &hierarchy, error))
            return FALSE;
        if (know_online &&
            limits->cpu_quota_usec > (guint64)pv_cpu_set_count(&online) * PV_LAUNCH_PERIOD_USEC)
            return pv_error_set(error, PV_ERROR_INVALID,
                                "--cpus %g: more than this machine has online (0.01 to %u)",
                                (double)limits->cpu_quota_usec / PV_LAUNCH_PERIOD_USEC,
                                pv_cpu_set_count(&online));
    }
    if (!limits->has_cpuset)
        return TRUE;
    if (know_online && !check_members(limits, &online, "online here", error))
        return FALSE;
    if (!require(hierarchies, "cpuset", "--cpuset", &hierarchy, error))
        return FALSE;
    if (read_cpus(hierarchy->mount_point, hierarchy->ops->cpus_file, &given))
        return check_members(limits, &given, "in the cpuset that is available here", error);
    return TRUE;
}

gboolean pv_launch_limits_check(const GPtrArray *hierarchies, const PvLaunchLimits *limits,
                                GError **error)
{
    const PvLaunchHierarchy *hierarchy;

    return check_memory(hierarchies, limits, error) && check_cpus(hierarchies, limits, error) &&
           (limits->pids_max == PV_UNLIMITED ||
            require(hierarchies, "pids", "--pids", &hierarchy, error));
}
