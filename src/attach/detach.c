/*
 * Takes the views out of a container again. What is a view is told by the process's mountinfo; each
 * is unmounted through a descriptor that was checked to be on one of those mounts, so that a
 * container that swaps paths meanwhile cannot have something else unmounted.
 */
#include "procview/attach.h"

#include "plan.h"
#include "procview/error.h"
#include "procview/fd.h"

#include <errno.h>
#include <string.h>

/* Views that are taken off one mount point. */
#define STACK_MAX 64

/* Mount points that are looked at in one call: the table of files, several times over. */
#define PATHS_MAX 1024

typedef struct {
    const PvTarget *target;
    const char *const *paths;
    guint n_views;
    gint64 *views; /* ids of the mounts that are views */
} Plan;

/* ---- in the child ---- */

static void report(const PvEnter *enter, guint index, PvAttachStatus status, PvStep step,
                   int errnum, gint64 mount_id)
{
    PvReport r = {
        .index = (gint32)index,
        .status = (gint32)status,
        .step = (gint32)step,
        .errnum = errnum,
        .mount_id = mount_id,
    };
    pv_enter_report(enter, &r);
}

static gboolean is_view(const Plan *plan, gint64 id)
{
    for (guint i = 0; i < plan->n_views; i++)
        if (plan->views[i] == id)
            return TRUE;
    return FALSE;
}

/* Unmount views from the top of a mount point until something else is seen. */
static void uncover(const PvEnter *enter, const Plan *plan, guint index)
{
    for (int removed = 0; removed < STACK_MAX; removed++) {
        pv_autofd int fd = pv_enter_open(plan->target->root_fd, plan->paths[index]);
        gint64 id = fd < 0 ? -1 : pv_enter_mount_id(enter, fd);
        if (fd >= 0 && is_view(plan, id)) {
            int r = pv_enter_unmount(fd);
            if (r == 0)
                continue;
            report(enter, index, PV_ATTACH_FAILED, PV_STEP_UNMOUNT, -r, id);
        } else if (removed > 0) {
            report(enter, index, PV_ATTACH_REMOVED, PV_STEP_NONE, 0, id);
        } else if (fd < 0) {
            report(enter, index, PV_ATTACH_SKIPPED, PV_STEP_OPEN_TARGET, -fd, -1);
        } else {
            report(enter, index, PV_ATTACH_SKIPPED, PV_STEP_CHECK_TARGET, 0, id);
        }
        return;
    }
    report(enter, index, PV_ATTACH_FAILED, PV_STEP_UNMOUNT, ELOOP, -1);
}

static void detach_child(const PvEnter *enter, gpointer data)
{
    const Plan *plan = data;
    int r = pv_enter_namespace(enter, plan->target->mntns_fd);

    if (r < 0) {
        PvReport whole = {
            .index = -1, .status = PV_ATTACH_FAILED, .step = PV_STEP_ENTER, .errnum = -r};
        pv_enter_report(enter, &whole);
        return;
    }
    for (guint i = 0; plan->paths[i] != NULL; i++)
        uncover(enter, plan, i);
}

/* ---- in the parent ---- */

gboolean pv_detach_paths(const PvTarget *target, const char *const *paths, GArray *reports,
                         GError **error)
{
    g_autofree gint64 *views = g_new(gint64, target->mounts->len + 1);
    Plan plan = {.target = target, .paths = paths, .views = views};

    for (guint i = 0; i < target->mounts->len; i++) {
        const PvMountEntry *entry = target->mounts->pdata[i];
        if (pv_mount_entry_is_view(entry))
            views[plan.n_views++] = entry->id;
    }
    return pv_enter_run(detach_child, &plan, target->procfs_fd, PV_ATTACH_DEADLINE_MSEC, reports,
                        error);
}

/* The mount points of views, each once, the newest first. */
static GPtrArray *view_mount_points(const GPtrArray *mounts)
{
    GPtrArray *paths = g_ptr_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = mounts->len; i-- > 0;) {
        const PvMountEntry *entry = mounts->pdata[i];
        if (!pv_mount_entry_is_view(entry) || paths->len >= PATHS_MAX)
            continue;
        if (g_hash_table_add(seen, entry->mount_point))
            g_ptr_array_add(paths, entry->mount_point);
    }
    return paths;
}

/* Views of other mounts are left where they are: they are not known here. */
static void forget_other_views(GPtrArray *mounts, guint major, guint minor)
{
    for (guint i = mounts->len; i-- > 0;) {
        const PvMountEntry *entry = mounts->pdata[i];
        if (pv_mount_entry_is_view(entry) && (entry->major != major || entry->minor != minor))
            g_ptr_array_remove_index(mounts, i);
    }
}

typedef struct {
    guint major, minor;
} Device;

/* device NULL: of whatever mount. */
static gboolean detach(pid_t pid, const Device *device, GPtrArray *results, GError **error)
{
    g_auto(PvTarget) target = PV_TARGET_INIT;
    g_autoptr(GArray) reports = g_array_new(FALSE, FALSE, sizeof(PvReport));

    if (!pv_target_open(pid, &target, error))
        return FALSE;
    if (device != NULL)
        forget_other_views(target.mounts, device->major, device->minor);
    g_autoptr(GPtrArray) paths = view_mount_points(target.mounts);
    guint n_paths = paths->len;
    if (n_paths == 0)
        return TRUE;
    g_ptr_array_add(paths, NULL);

    gboolean ok = pv_detach_paths(&target, (const char *const *)paths->pdata, reports, error);
    for (guint i = 0; i < reports->len; i++) {
        const PvReport *r = &g_array_index(reports, PvReport, i);
        g_autofree char *reason =
            r->status == PV_ATTACH_REMOVED ? NULL : pv_report_reason(r, target.mounts);
        if (ok && r->status == PV_ATTACH_FAILED)
            ok = pv_error_set(error, PV_ERROR_FAILED, "%s%s%s",
                              r->index >= 0 ? (char *)paths->pdata[r->index] : "",
                              r->index >= 0 ? ": " : "", reason);
        if (r->index < 0 || (guint)r->index >= n_paths)
            continue;
        PvAttachResult *result = g_new0(PvAttachResult, 1);
        result->path = g_strdup(paths->pdata[r->index]);
        result->status = (PvAttachStatus)r->status;
        result->reason = g_steal_pointer(&reason);
        g_ptr_array_add(results, result);
    }
    return ok;
}

gboolean pv_detach(pid_t pid, GPtrArray *results, GError **error)
{
    return detach(pid, NULL, results, error);
}

gboolean pv_detach_device(pid_t pid, guint major, guint minor, GPtrArray *results, GError **error)
{
    const Device device = {.major = major, .minor = minor};

    return detach(pid, &device, results, error);
}
