/*
 * The container's cgroup made by systemd: a transient scope, which systemd accounts for, shows in
 * systemctl and removes by itself (org.freedesktop.systemd1(5), "StartTransientUnit").
 */
#include "cgroup.h"

#include "procview/error.h"
#include "procview/file.h"
#include "procview/log.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

#define BUS_NAME          "org.freedesktop.systemd1"
#define MANAGER_PATH      "/org/freedesktop/systemd1"
#define MANAGER_INTERFACE "org.freedesktop.systemd1.Manager"

#define CALL_WAIT_MSEC 10000
#define JOB_WAIT_USEC  (10 * G_USEC_PER_SEC)
#define STEP_USEC      (10 * 1000)

#define ADVICE "; use --cgroup-manager cgroupfs"

gboolean pv_launch_systemd_check(GError **error)
{
    /* As sd_booted(3) does it. */
    if (access("/run/systemd/system", F_OK) < 0)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "--cgroup-manager systemd: systemd does not manage this machine (no "
                            "/run/systemd/system)" ADVICE);
    return TRUE;
}

static char *unit_name(const char *name)
{
    return g_strdup_printf("procview-%s.scope", name);
}

static void add(GVariantBuilder *properties, const char *name, GVariant *value)
{
    g_variant_builder_add(properties, "(sv)", name, value);
}

/* AllowedCPUs: a mask of bytes, the lowest CPUs first. */
static GVariant *cpu_mask(const PvCpuSet *set)
{
    guint8 bytes[PV_CPU_MAX / 8] = {0};
    gsize length = 0;

    PV_CPU_SET_FOREACH (cpu, set) {
        bytes[cpu / 8] |= (guint8)(1u << (cpu % 8));
        length = (gsize)cpu / 8 + 1;
    }
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, bytes, length, 1);
}

static void add_limits(GVariantBuilder *properties, const PvLaunchLimits *limits, gboolean is_v2)
{
    if (limits->memory_bytes != PV_UNLIMITED)
        add(properties, "MemoryMax", g_variant_new_uint64(limits->memory_bytes));
    if (limits->cpu_quota_usec != PV_UNLIMITED)
        add(properties, "CPUQuotaPerSecUSec",
            g_variant_new_uint64(limits->cpu_quota_usec *
                                 (G_USEC_PER_SEC / PV_LAUNCH_PERIOD_USEC)));
    if (limits->pids_max != PV_UNLIMITED)
        add(properties, "TasksMax", g_variant_new_uint64(limits->pids_max));
    /* These two it knows on v2 only. */
    if (is_v2 && limits->swap_bytes != PV_UNLIMITED)
        add(properties, "MemorySwapMax", g_variant_new_uint64(limits->swap_bytes));
    if (is_v2 && limits->has_cpuset)
        add(properties, "AllowedCPUs", cpu_mask(&limits->cpuset));
}

static GVariant *start_arguments(const char *unit, pid_t pid, const PvLaunchLimits *limits,
                                 gboolean is_v2)
{
    static const char *const accounting[] = {"CPUAccounting", "MemoryAccounting", "TasksAccounting",
                                             "IOAccounting"};
    guint32 pids[] = {(guint32)pid};
    GVariantBuilder properties;

    g_variant_builder_init(&properties, G_VARIANT_TYPE("a(sv)"));
    add(&properties, "Description", g_variant_new_string("procview container"));
    add(&properties, "PIDs",
        g_variant_new_fixed_array(G_VARIANT_TYPE_UINT32, pids, 1, sizeof *pids));
    add(&properties, "Delegate", g_variant_new_boolean(TRUE));
    add(&properties, "CollectMode", g_variant_new_string("inactive-or-failed"));
    for (guint i = 0; i < G_N_ELEMENTS(accounting); i++)
        add(&properties, accounting[i], g_variant_new_boolean(TRUE));
    add_limits(&properties, limits, is_v2);
    return g_variant_new("(ssa(sv)a(sa(sv)))", unit, "fail", &properties, NULL);
}

/* The path of a hierarchy in /proc/PID/cgroup: "4:memory:/a" on v1, "0::/a" on v2. */
static char *path_of(const PvLaunchHierarchy *hierarchy, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line != NULL; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", 3);
        if (g_strv_length(fields) != 3)
            continue;
        gboolean fits = hierarchy->version == 2
                            ? fields[1][0] == '\0'
                            : fields[1][0] != '\0' && g_str_equal(fields[1], hierarchy->options);
        if (fits)
            return g_strdup(fields[2]);
    }
    return NULL;
}

/* Note where systemd has put the process. Returns the number of hierarchies. */
static guint note_cgroups(GPtrArray *hierarchies, const char *unit, pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cgroup", (int)pid);
    char text[PV_CONTROL_FILE_MAX];
    guint n = 0;

    if (pv_read_text_at(AT_FDCWD, path, text, sizeof text) < 0)
        return 0;
    for (guint i = 0; i < hierarchies->len; i++) {
        PvLaunchHierarchy *hierarchy = hierarchies->pdata[i];
        g_autofree char *cgroup = path_of(hierarchy, text);
        if (cgroup == NULL || !g_str_has_suffix(cgroup, unit))
            continue;
        g_free(hierarchy->cgroup);
        hierarchy->cgroup = g_strdup(cgroup + 1);
        n++;
    }
    return n;
}

/* The job is done when the process has arrived; on v1 the hierarchies follow one another. */
static gboolean wait_for_scope(GPtrArray *hierarchies, const char *unit, pid_t pid, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + JOB_WAIT_USEC;
    guint n = 0, before;

    do {
        before = n;
        g_usleep(STEP_USEC);
        n = note_cgroups(hierarchies, unit, pid);
        if (n > 0 && n == before)
            return TRUE;
    } while (g_get_monotonic_time() < deadline);
    return pv_error_set(error, PV_ERROR_FAILED,
                        "--cgroup-manager systemd: systemd has not started %s within 10 seconds "
                        "(see journalctl)",
                        unit);
}

static GVariant *call(GDBusConnection *bus, const char *method, GVariant *arguments,
                      const char *reply, GError **error)
{
    return g_dbus_connection_call_sync(bus, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE, method,
                                       arguments, G_VARIANT_TYPE(reply), G_DBUS_CALL_FLAGS_NONE,
                                       CALL_WAIT_MSEC, NULL, error);
}

/* On v1 systemd does not limit memory and swap together: its own hierarchies take what is missing.
 */
static gboolean complete_limits(GPtrArray *hierarchies, const PvLaunchLimits *limits,
                                GError **error)
{
    for (guint i = 0; i < hierarchies->len; i++) {
        const PvLaunchHierarchy *hierarchy = hierarchies->pdata[i];
        if (hierarchy->version != 1 || hierarchy->cgroup == NULL)
            continue;
        int fd = pv_launch_cgroup_open(hierarchy);
        gboolean ok = fd >= 0 && pv_launch_limits_write(hierarchy, fd, limits, error);
        if (fd < 0)
            pv_error_set_errno(error, -fd, "cannot open %s/%s", hierarchy->mount_point,
                               hierarchy->cgroup);
        else
            close(fd);
        if (!ok)
            return FALSE;
    }
    return TRUE;
}

gboolean pv_launch_systemd_start(GPtrArray *hierarchies, const char *name, pid_t pid,
                                 const PvLaunchLimits *limits, GError **error)
{
    const PvLaunchHierarchy *memory = pv_launch_hierarchies_find(hierarchies, "memory");
    g_autofree char *unit = unit_name(name);
    g_autoptr(GError) local = NULL;
    g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &local);

    if (bus == NULL)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "--cgroup-manager systemd: no system bus: %s" ADVICE, local->message);
    g_autoptr(GVariant) job = call(
        bus, "StartTransientUnit",
        start_arguments(unit, pid, limits, memory == NULL || memory->version == 2), "(o)", &local);
    if (job == NULL)
        return pv_error_set(error, PV_ERROR_FAILED,
                            "--cgroup-manager systemd: systemd refuses %s: %s" ADVICE, unit,
                            local->message);
    return wait_for_scope(hierarchies, unit, pid, error) &&
           complete_limits(hierarchies, limits, error);
}

void pv_launch_systemd_stop(const char *name)
{
    g_autofree char *unit = unit_name(name);
    g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
    g_autoptr(GError) error = NULL;

    if (bus == NULL)
        return;
    g_autoptr(GVariant) job =
        call(bus, "StopUnit", g_variant_new("(ss)", unit, "replace"), "(o)", &error);
    if (job == NULL)
        pv_log_debug("%s has gone by itself: %s", unit, error->message);
}
