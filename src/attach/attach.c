/*
 * Puts the views into a running container: the views' mounts are cloned here, the files that they
 * go over are opened through the process's root, and a child that has entered the container's mount
 * namespace moves the one onto the other. Every path is resolved once, to a descriptor, by rules
 * that a container cannot bend; all checks come before the first mount, so that a refusal changes
 * nothing.
 */
#include "procview/attach.h"

#include "plan.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/syscalls.h"
#include "procview/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

/* These directories are covered whole, for their entries (cpuN) differ from the host's; other rows
 * are files of /proc, and covered one by one. */
static const char *const whole_directories[] = {
    "sys/devices/system/cpu",
    "sys/devices/system/node",
};

/* Dead mounts that are taken off one file: someone attached again after each crash. */
#define DEAD_MOUNTS_MAX 64

/* FUSE file systems whose answer is remembered, so that 14 files of a hung one wait once. */
#define PROBES_MAX 8

typedef enum {
    MOUNT_KERNEL,     /* procfs, sysfs */
    MOUNT_LIVE_VIEW,  /* bound from the file system that is to be attached */
    MOUNT_OTHER_VIEW, /* from another procviewd, which may be dead */
    MOUNT_FUSE,       /* not ours */
    MOUNT_FOREIGN,
} MountKind;

typedef struct {
    gint64 id;
    guint64 device;
    MountKind kind;
    gboolean is_shared; /* with the caller's namespace */
} MountClass;

typedef enum {
    ITEM_LEFT,    /* not to be touched: reported already */
    ITEM_FREE,    /* to be mounted on */
    ITEM_DEAD,    /* has a dead mount, which is to be taken away first */
    ITEM_MOUNTED, /* by this child */
} ItemState;

typedef struct {
    const char *path;     /* "proc/meminfo", in the views and in the container */
    gboolean is_optional; /* not each kernel has it: nobody is told of one that is missing */
    gboolean is_owned; /* the container's owner mounted the kernel's file there, or a file in it */
    gboolean is_unreachable; /* the kernel has another file there for the container than for us */
    int view_fd;
    int target_fd;
    ItemState state;
} Item;

typedef struct {
    PvTarget *target;
    int views_fd;
    guint64 views_device;
    guint n_mounts;
    MountClass *mounts;
    guint n_items;
    Item *items;
    guint n_probes;
    struct {
        guint64 device;
        int answer;
    } probes[PROBES_MAX];
} Plan;

static void plan_clear(Plan *plan)
{
    g_free(plan->mounts);
    g_free(plan->items);
    pv_clear_fd(&plan->views_fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

void pv_attach_result_free(PvAttachResult *result)
{
    if (result == NULL)
        return;
    g_free(result->path);
    g_free(result->reason);
    g_free(result);
}

/* ---- in the child ---- */

static void report(const PvEnter *enter, const Plan *plan, const Item *item, PvAttachStatus status,
                   PvStep step, int errnum, gint64 mount_id)
{
    PvReport r = {
        .index = item != NULL ? (gint32)(item - plan->items) : -1,
        .status = (gint32)status,
        .step = (gint32)step,
        .errnum = errnum,
        .mount_id = mount_id,
    };
    pv_enter_report(enter, &r);
}

static int probe(const PvEnter *enter, Plan *plan, guint64 device, int fd)
{
    for (guint i = 0; i < plan->n_probes; i++)
        if (plan->probes[i].device == device)
            return plan->probes[i].answer;

    int answer = pv_enter_probe(enter, fd, PV_ATTACH_PROBE_MSEC);
    if (plan->n_probes < PROBES_MAX) {
        plan->probes[plan->n_probes].device = device;
        plan->probes[plan->n_probes++].answer = answer;
    }
    return answer;
}

static const MountClass *find_mount(const Plan *plan, gint64 id)
{
    for (guint i = 0; i < plan->n_mounts; i++)
        if (plan->mounts[i].id == id)
            return &plan->mounts[i];
    return NULL;
}

/* Open an item's file in the container and see what is mounted there. Reports all that is not to be
 * mounted on. FALSE for a failure. */
static gboolean look_at_target(const PvEnter *enter, Plan *plan, Item *item)
{
    item->state = ITEM_LEFT;
    if (item->is_unreachable) {
        report(enter, plan, item, PV_ATTACH_SKIPPED, PV_STEP_OPEN_TARGET, EXDEV, -1);
        return TRUE;
    }
    item->target_fd = pv_enter_open(plan->target->root_fd, item->path);
    if (item->target_fd < 0) {
        int errnum = -item->target_fd;
        gboolean missing = errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
        if (!(missing && item->is_optional))
            report(enter, plan, item, missing ? PV_ATTACH_SKIPPED : PV_ATTACH_FAILED,
                   PV_STEP_OPEN_TARGET, errnum, -1);
        return missing;
    }
    gint64 id = pv_enter_mount_id(enter, item->target_fd);
    const MountClass *mount = find_mount(plan, id);
    MountKind kind = mount != NULL ? mount->kind : MOUNT_FOREIGN;
    int answer = 0;

    if (kind == MOUNT_OTHER_VIEW || kind == MOUNT_FUSE) {
        answer = probe(enter, plan, mount->device, item->target_fd);
        if (answer == -ENOTCONN || (answer != 0 && kind == MOUNT_OTHER_VIEW)) {
            item->state = ITEM_DEAD;
            return TRUE;
        }
    }
    if (kind == MOUNT_LIVE_VIEW || kind == MOUNT_OTHER_VIEW) {
        report(enter, plan, item, PV_ATTACH_ALREADY, PV_STEP_NONE, 0, id);
    } else if (kind == MOUNT_FUSE || kind == MOUNT_FOREIGN) {
        report(enter, plan, item, PV_ATTACH_SKIPPED, PV_STEP_CHECK_TARGET, -answer, id);
    } else if (item->is_owned) {
        report(enter, plan, item, PV_ATTACH_SKIPPED, PV_STEP_CHECK_TARGET, EBUSY, id);
    } else if (mount->is_shared) {
        report(enter, plan, item, PV_ATTACH_FAILED, PV_STEP_CHECK_TARGET, EXDEV, id);
        return FALSE;
    } else {
        item->state = ITEM_FREE;
    }
    return TRUE;
}

/* Linux before 5.12: the daemon's mount, whose flags a clone inherits, has to have them. */
static int seal_without_setattr(int fd)
{
    const unsigned long wanted = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
    struct statvfs buf;
    char path[32];

    if (fstatvfs(fd, &buf) < 0)
        return -errno;
    if ((buf.f_flag & wanted) != wanted)
        return -ENOSYS;
    g_snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

/* Clone the view's mount, private and harmless. Returns a descriptor or a negative errno; *ret_step
 * tells which step failed, with 0 for a clone that cannot be made harmless. */
static int clone_view(int views_fd, const char *path, PvStep *ret_step)
{
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
        .propagation = MS_PRIVATE,
    };

    *ret_step = PV_STEP_OPEN_VIEW;
    pv_autofd int fd = pv_sys_open_tree(views_fd, path, OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW);
    if (fd < 0)
        return fd;
    *ret_step = PV_STEP_SEAL_VIEW;
    int r = pv_sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr);
    if (r == -ENOSYS)
        r = seal_without_setattr(fd);
    return r < 0 ? r : pv_steal_fd(&fd);
}

static gboolean prepare_item(const PvEnter *enter, Plan *plan, Item *item)
{
    PvStep step;

    if (!look_at_target(enter, plan, item))
        return FALSE;
    if (item->state == ITEM_LEFT)
        return TRUE;
    item->view_fd = clone_view(plan->views_fd, item->path, &step);
    if (item->view_fd >= 0)
        return TRUE;

    int errnum = step == PV_STEP_SEAL_VIEW && item->view_fd == -ENOSYS ? 0 : -item->view_fd;
    gboolean missing = step == PV_STEP_OPEN_VIEW && errnum == ENOENT;
    if (!(missing && item->is_optional))
        report(enter, plan, item, missing ? PV_ATTACH_SKIPPED : PV_ATTACH_FAILED, step, errnum, -1);
    item->state = ITEM_LEFT;
    return missing;
}

/* Take dead mounts off an item's file; what is under them is looked at like any other. FALSE for a
 * failure. */
static gboolean clear_dead(const PvEnter *enter, Plan *plan, Item *item)
{
    for (int i = 0; item->state == ITEM_DEAD; i++) {
        int r = i < DEAD_MOUNTS_MAX ? pv_enter_unmount(item->target_fd) : -ELOOP;
        if (r == -EINVAL)
            return TRUE; /* the kernel keeps it (MNT_LOCKED): cover it */
        if (r < 0) {
            report(enter, plan, item, PV_ATTACH_FAILED, PV_STEP_UNMOUNT, -r, -1);
            return FALSE;
        }
        pv_clear_fd(&item->target_fd);
        if (!look_at_target(enter, plan, item))
            return FALSE;
    }
    return TRUE;
}

static gboolean mount_item(const PvEnter *enter, Plan *plan, Item *item)
{
    gboolean was_dead = item->state == ITEM_DEAD;

    if (item->state == ITEM_LEFT)
        return TRUE;
    if (!clear_dead(enter, plan, item))
        return FALSE;
    if (item->state == ITEM_LEFT)
        return TRUE;
    int r = pv_sys_move_mount(item->view_fd, "", item->target_fd, "",
                              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    if (r < 0) {
        report(enter, plan, item, PV_ATTACH_FAILED, PV_STEP_MOUNT, -r, -1);
        return FALSE;
    }
    item->state = ITEM_MOUNTED;
    report(enter, plan, item, was_dead ? PV_ATTACH_REPLACED : PV_ATTACH_DONE, PV_STEP_NONE, 0, -1);
    return TRUE;
}

static void roll_back(const PvEnter *enter, Plan *plan)
{
    for (guint i = plan->n_items; i-- > 0;) {
        Item *item = &plan->items[i];
        if (item->state != ITEM_MOUNTED)
            continue;
        int r = pv_enter_unmount(item->view_fd);
        if (r < 0)
            report(enter, plan, item, PV_ATTACH_FAILED, PV_STEP_UNMOUNT, -r, -1);
        else
            report(enter, plan, item, PV_ATTACH_SKIPPED, PV_STEP_MOUNT, ECANCELED, -1);
    }
}

static void attach_child(const PvEnter *enter, gpointer data)
{
    Plan *plan = data;
    gboolean ok = TRUE;

    int r = pv_enter_probe(enter, plan->views_fd, PV_ATTACH_PROBE_MSEC);
    if (r < 0) {
        report(enter, plan, NULL, PV_ATTACH_FAILED, PV_STEP_VIEWS, -r, -1);
        return;
    }
    for (guint i = 0; i < plan->n_items; i++)
        if (!prepare_item(enter, plan, &plan->items[i]))
            ok = FALSE;
    if (!ok)
        return;
    r = pv_enter_namespace(enter, plan->target->mntns_fd);
    if (r < 0) {
        report(enter, plan, NULL, PV_ATTACH_FAILED, PV_STEP_ENTER, -r, -1);
        return;
    }
    for (guint i = 0; ok && i < plan->n_items; i++)
        ok = mount_item(enter, plan, &plan->items[i]);
    if (!ok)
        roll_back(enter, plan);
}

/* ---- in the parent ---- */

static guint64 device_of(const PvMountEntry *entry)
{
    return (guint64)entry->major << 32 | entry->minor;
}

static gboolean no_views(GError **error, const char *views_dir, const char *why)
{
    return pv_error_set(error, PV_ERROR_FAILED,
                        "there are no views at %s (%s): is procviewd running?", views_dir, why);
}

/* Open the daemon's mount, and make sure that it is one. */
static gboolean open_views(Plan *plan, const char *views_dir, GError **error)
{
    plan->views_fd = open(views_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (plan->views_fd < 0)
        return no_views(error, views_dir, g_strerror(errno));

    pv_autofd int fdinfo =
        openat(plan->target->procfs_fd, "self/fdinfo", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const PvEnter self = {.report_fd = -1, .fd_dirfd = -1, .fdinfo_dirfd = fdinfo};
    const PvMountEntry *entry =
        pv_mountinfo_find(plan->target->own_mounts, pv_enter_mount_id(&self, plan->views_fd));
    if (entry == NULL || strcmp(entry->fstype, PV_MOUNT_FSTYPE) != 0)
        return no_views(error, views_dir, "it is not a mount of procview");
    plan->views_device = device_of(entry);
    return TRUE;
}

static MountKind classify(const Plan *plan, const PvMountEntry *entry)
{
    if (strcmp(entry->fstype, "proc") == 0 || strcmp(entry->fstype, "sysfs") == 0)
        return MOUNT_KERNEL;
    if (strcmp(entry->fstype, PV_MOUNT_FSTYPE) == 0)
        return device_of(entry) == plan->views_device ? MOUNT_LIVE_VIEW : MOUNT_OTHER_VIEW;
    return pv_mount_entry_is_fuse(entry) ? MOUNT_FUSE : MOUNT_FOREIGN;
}

/* Everything that the child must know about the mounts of the container. */
static void plan_mounts(Plan *plan)
{
    const GPtrArray *mounts = plan->target->mounts;
    gboolean is_inside = plan->target->mntns_fd < 0;
    const GPtrArray *own = plan->target->own_mounts;
    g_autoptr(GHashTable) groups = g_hash_table_new(g_int64_hash, g_int64_equal);

    for (guint i = 0; !is_inside && i < own->len; i++) {
        PvMountEntry *entry = own->pdata[i];
        if (entry->peer_group != 0)
            g_hash_table_add(groups, &entry->peer_group);
    }
    plan->mounts = g_new0(MountClass, mounts->len);
    plan->n_mounts = mounts->len;
    for (guint i = 0; i < mounts->len; i++) {
        const PvMountEntry *entry = mounts->pdata[i];
        plan->mounts[i] = (MountClass){
            .id = entry->id,
            .device = device_of(entry),
            .kind = classify(plan, entry),
            /* From inside, nobody can tell who the peers are: the manager may be in any namespace.
             */
            .is_shared = entry->peer_group != 0 &&
                         (is_inside || g_hash_table_contains(groups, &entry->peer_group)),
        };
    }
}

/*
 * TRUE when the container's owner bound the kernel's own file over an item, or anything into a
 * directory that is to be covered whole: he wants to see it. What is deeper in a directory is a
 * mask of the container manager.
 */
static gboolean is_owned(const Plan *plan, const char *path)
{
    const GPtrArray *mounts = plan->target->mounts;
    const char *prefix = plan->target->prefix != NULL ? plan->target->prefix : "";
    g_autofree char *target = g_strconcat(prefix, "/", path, NULL);
    gsize length = strlen(target);

    for (guint i = 0; i < mounts->len; i++) {
        const PvMountEntry *entry = mounts->pdata[i];
        const char *rest = entry->mount_point + length;
        if (strncmp(entry->mount_point, target, length) != 0 || pv_mount_entry_is_fuse(entry))
            continue;
        if (rest[0] == '\0' || (rest[0] == '/' && strchr(rest + 1, '/') == NULL))
            return TRUE;
    }
    return FALSE;
}

/* Since Linux 6.14 each pid namespace has a pid_max of its own, and a path leads to that of who
 * walks it: a mount made from outside would cover the walker's. */
static gboolean has_pid_max_per_namespace(void)
{
    struct utsname kernel;
    guint major, minor;

    return uname(&kernel) == 0 && sscanf(kernel.release, "%u.%u", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 14));
}

static gboolean is_unreachable(const Plan *plan, const char *path)
{
    struct stat own, theirs;

    return strcmp(path, "proc/sys/kernel/pid_max") == 0 &&
           fstatat(plan->target->procfs_fd, "self/ns/pid", &own, 0) == 0 &&
           fstatat(plan->target->process_fd, "ns/pid", &theirs, 0) == 0 &&
           own.st_ino != theirs.st_ino && has_pid_max_per_namespace();
}

static void add_item(Plan *plan, const char *path, gboolean is_optional)
{
    plan->items[plan->n_items++] = (Item){.path = path,
                                          .is_optional = is_optional,
                                          .is_owned = is_owned(plan, path),
                                          .is_unreachable = is_unreachable(plan, path),
                                          .view_fd = -1,
                                          .target_fd = -1};
}

static void plan_items(Plan *plan)
{
    guint n_rows = 0;

    while (pv_rows()[n_rows].path != NULL)
        n_rows++;
    plan->items = g_new0(Item, n_rows + G_N_ELEMENTS(whole_directories));
    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        if (g_str_has_prefix(row->path, "proc/"))
            add_item(plan, row->path, row->is_optional);
    }
    for (guint i = 0; i < G_N_ELEMENTS(whole_directories); i++)
        add_item(plan, whole_directories[i], FALSE);
}

/* A child that was killed cannot undo what it had mounted. */
static void undo_killed(const Plan *plan, PvReport *last)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new();
    g_autoptr(GArray) reports = g_array_new(FALSE, FALSE, sizeof(PvReport));

    for (guint i = 0; i < plan->n_items; i++) {
        /* Of those without a report nothing was touched: a view that is there is another's. */
        if (last[i].index < 0 ||
            (last[i].status != PV_ATTACH_DONE && last[i].status != PV_ATTACH_REPLACED))
            continue;
        g_ptr_array_add(paths, (gpointer)plan->items[i].path);
        last[i].status = PV_ATTACH_SKIPPED;
        last[i].step = PV_STEP_MOUNT;
        last[i].errnum = ECANCELED;
    }
    if (paths->len == 0)
        return;
    g_ptr_array_add(paths, NULL);
    if (pv_target_reload(plan->target, NULL)) /* the new mounts are views only there */
        pv_detach_paths(plan->target, (const char *const *)paths->pdata, reports, NULL);
}

/* The error of a whole attach, from the report of the first failure. */
static gboolean set_failure(GError **error, const Plan *plan, const PvReport *failed,
                            const char *views_dir)
{
    g_autofree char *reason = pv_report_reason(failed, plan->target->mounts);
    PvError code = PV_ERROR_FAILED;

    if (failed->step == PV_STEP_VIEWS)
        return no_views(error, views_dir, g_strerror(failed->errnum));
    if (failed->errnum == EPERM || failed->errnum == EACCES)
        code = PV_ERROR_PERMISSION;
    else if (failed->errnum == ENOSYS || failed->step == PV_STEP_SEAL_VIEW)
        code = PV_ERROR_UNSUPPORTED;
    if (failed->index < 0)
        return pv_error_set(error, code, "%s", reason);
    return pv_error_set(error, code, "/%s: %s", plan->items[failed->index].path, reason);
}

/* Reports of the child to results for people. The last report about an item counts. */
static gboolean conclude(const Plan *plan, const GArray *reports, const GError *run_error,
                         const char *views_dir, GPtrArray *results, GError **error)
{
    g_autofree PvReport *last = g_new0(PvReport, plan->n_items);
    const PvReport *failed = NULL;

    for (guint i = 0; i < plan->n_items; i++)
        last[i] = (PvReport){.index = -1};
    for (guint i = 0; i < reports->len; i++) {
        const PvReport *r = &g_array_index(reports, PvReport, i);
        if (failed == NULL && r->status == PV_ATTACH_FAILED)
            failed = r;
        if (r->index >= 0 && (guint)r->index < plan->n_items)
            last[r->index] = *r;
    }
    if (run_error != NULL)
        undo_killed(plan, last);
    for (guint i = 0; i < plan->n_items; i++) {
        if (last[i].index < 0)
            continue;
        PvAttachResult *result = g_new0(PvAttachResult, 1);
        result->path = g_strconcat("/", plan->items[i].path, NULL);
        result->status = (PvAttachStatus)last[i].status;
        if (result->status == PV_ATTACH_SKIPPED || result->status == PV_ATTACH_FAILED)
            result->reason = pv_report_reason(&last[i], plan->target->mounts);
        g_ptr_array_add(results, result);
    }
    if (run_error != NULL)
        return pv_error_set(error, run_error->code, "%s", run_error->message);
    return failed == NULL || set_failure(error, plan, failed, views_dir);
}

/* `target` is open already. */
static gboolean attach_target(const char *views_dir, PvTarget *target, GPtrArray *results,
                              GError **error)
{
    g_auto(Plan) plan = {.target = target, .views_fd = -1};
    g_autoptr(GArray) reports = g_array_new(FALSE, FALSE, sizeof(PvReport));
    g_autoptr(GError) run_error = NULL;

    if (!open_views(&plan, views_dir, error))
        return FALSE;
    plan_mounts(&plan);
    plan_items(&plan);
    pv_enter_run(attach_child, &plan, target->procfs_fd, PV_ATTACH_DEADLINE_MSEC, reports,
                 &run_error);
    return conclude(&plan, reports, run_error, views_dir, results, error);
}

gboolean pv_attach(const char *views_dir, pid_t pid, GPtrArray *results, GError **error)
{
    g_auto(PvTarget) target = PV_TARGET_INIT;

    return pv_target_open(pid, &target, error) && attach_target(views_dir, &target, results, error);
}

gboolean pv_attach_rootfs(const char *views_dir, pid_t pid, const char *rootfs, GPtrArray *results,
                          GError **error)
{
    g_auto(PvTarget) target = PV_TARGET_INIT;

    return pv_target_open_rootfs(pid, rootfs, &target, error) &&
           attach_target(views_dir, &target, results, error);
}

gboolean pv_attach_views_answer(const char *views_dir, GError **error)
{
    g_auto(PvTarget) self = PV_TARGET_INIT;
    g_auto(Plan) plan = {.target = &self, .views_fd = -1};
    const PvEnter none = {.report_fd = -1, .fd_dirfd = -1, .fdinfo_dirfd = -1};

    if (!pv_target_open_self(&self, error) || !open_views(&plan, views_dir, error))
        return FALSE;
    int r = pv_enter_probe(&none, plan.views_fd, PV_ATTACH_PROBE_MSEC);
    return r == 0 || no_views(error, views_dir, g_strerror(-r));
}
