/*
 * What becomes of a cgroup that fits the rules: its process is looked for, waited for until it has
 * the container's namespaces and root, attached to, and watched for its end and for views that are
 * lost.
 *
 * All waiting is for events, with one exception: that a process unshares a namespace or changes its
 * root is told by nobody. So what may become a container is looked at again after growing pauses,
 * for a minute; then only the next event of its cgroup brings it back.
 */
#include "procview/autoattach.h"

#include "cgroups.h"
#include "job.h"
#include "patience.h"
#include "procview/attach.h"
#include "procview/container.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/resolve.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#define START_MOUNTS_MSEC 2
#define MOUNTS_MSEC       100 /* after a change of a container's mounts; doubled while they change */
#define MOUNTS_LAST_MSEC  30000
#define CALM_USEC         (60 * G_USEC_PER_SEC)
#define LOSSES_MAX        5
#define JOBS_MAX          4
#define VIEWS_MSEC        50

typedef struct AutoAttach AutoAttach;

typedef struct {
    AutoAttach *self;
    char *path;
    guint answer;      /* of the rules */
    guint look_source; /* a timer: it is to be looked at */
    PvPatience patience;
    guint64 last_roots;
    gboolean is_queued;
    PvJob *job;

    /* The process that stands for it, while there is one that has views. */
    pid_t pid;
    guint64 mntns_ino;
    int pidfd, mounts_fd;
    guint exit_source, mounts_source;
    gboolean has_views;
    guint n_views; /* files of this daemon's; others may be there, too */
    guint mounts_msec;
    gint64 mounts_at_usec; /* their last change */
    guint n_losses;
    gboolean said_failure;
    gboolean is_left; /* until its process ends */
} Item;

struct AutoAttach {
    const PvAutoattachOptions *options;
    PvHierarchies *hierarchies;
    const char *mount_point;
    PvCgroupWatch *cgroups;
    GMainLoop *loop;
    GHashTable *items;      /* path -> Item */
    GHashTable *namespaces; /* inode of the mount namespace -> Item, not owned */
    GQueue queue;           /* of Item: ready to be attached to, when there are fewer jobs */
    guint n_jobs;
    int own_mounts_fd;
    guint views_source;
    guint64 views_device; /* 0: there are no views now */
    gboolean said_fds;
};

static void look(Item *item);
static void start_jobs(AutoAttach *self);

/* ---- reports ---- */

static void report(const Item *item, PvAutoattachEvent event, pid_t pid, const PvJobResult *result,
                   const char *message)
{
    const PvAutoattachOptions *options = item->self->options;
    const char *manager;
    g_autofree char *name = pv_container_name(item->path, pid, &manager);
    const PvAutoattachReport text = {
        .event = event,
        .path = item->path,
        .name = name,
        .manager = manager,
        .pid = pid,
        .n_mounted = result != NULL ? result->n_mounted : 0,
        .n_already = result != NULL ? result->n_already : 0,
        .n_skipped = result != NULL ? result->n_skipped : 0,
        .message = message,
    };
    options->report(&text, options->data);
}

static void on_trouble(const char *message, gpointer data)
{
    const AutoAttach *self = data;
    const PvAutoattachReport text = {.event = PV_AUTOATTACH_TROUBLE, .message = message};

    self->options->report(&text, self->options->data);
}

/* ---- a container's process ---- */

/* Let its namespace go at once: an open mountinfo keeps its mounts. */
static void release(Item *item)
{
    AutoAttach *self = item->self;

    g_clear_handle_id(&item->exit_source, g_source_remove);
    g_clear_handle_id(&item->mounts_source, g_source_remove);
    pv_clear_fd(&item->pidfd);
    pv_clear_fd(&item->mounts_fd);
    if (item->mntns_ino != 0 && g_hash_table_lookup(self->namespaces, &item->mntns_ino) == item)
        g_hash_table_remove(self->namespaces, &item->mntns_ino);
    if (item->pid != 0)
        pv_cgroup_watch_set_taken(self->cgroups, item->path, FALSE);
    item->pid = 0;
    item->mntns_ino = 0;
    item->n_views = item->n_losses = 0;
    item->has_views = FALSE;
    item->is_left = item->said_failure = FALSE;
}

static gboolean on_look(gpointer data)
{
    Item *item = data;

    item->look_source = 0;
    look(item);
    return G_SOURCE_REMOVE;
}

static void look_in(Item *item, guint msec)
{
    if (item->look_source == 0)
        item->look_source = g_timeout_add(msec, on_look, item);
}

/* Something has happened to it: it may take its time to start again. */
static void look_soon(Item *item)
{
    g_clear_handle_id(&item->look_source, g_source_remove);
    pv_patience_begin(&item->patience, g_get_monotonic_time());
    look_in(item, 0);
}

/* It is not ready. FALSE when it has had its time. */
static gboolean look_again(Item *item)
{
    guint msec = pv_patience_next(&item->patience, g_get_monotonic_time());

    if (msec == 0)
        return FALSE;
    look_in(item, msec);
    return TRUE;
}

static gboolean on_exit_of_process(gint fd, GIOCondition condition, gpointer data)
{
    Item *item = data;
    pid_t pid = item->pid;

    (void)fd;
    (void)condition;
    item->exit_source = 0;
    if (item->has_views)
        report(item, PV_AUTOATTACH_ENDED, pid, NULL, NULL);
    release(item);
    look_soon(item);
    return G_SOURCE_REMOVE;
}

/* While it starts it mounts a lot, and the last of it is its root; later each look waits longer
 * than the one before. */
static guint pause_of_mounts(Item *item, gint64 now)
{
    guint msec;

    if (!item->has_views && now < item->patience.until_usec) {
        pv_patience_hurry(&item->patience);
        return START_MOUNTS_MSEC;
    }
    if (now - item->mounts_at_usec > CALM_USEC)
        item->mounts_msec = MOUNTS_MSEC;
    item->mounts_at_usec = now;
    if (item->has_views) /* what is lost may take some tries to put back */
        pv_patience_begin(&item->patience, now);
    msec = item->mounts_msec;
    item->mounts_msec = MIN(msec * 2, MOUNTS_LAST_MSEC);
    return msec;
}

static gboolean on_mounts(gint fd, GIOCondition condition, gpointer data)
{
    Item *item = data;

    (void)fd;
    (void)condition;
    item->mounts_source = 0;
    g_clear_handle_id(&item->look_source, g_source_remove);
    look_in(item, pause_of_mounts(item, g_get_monotonic_time()));
    return G_SOURCE_REMOVE; /* until it is looked at */
}

static void watch_mounts(Item *item)
{
    if (item->mounts_source == 0 && item->mounts_fd >= 0)
        item->mounts_source = g_unix_fd_add(item->mounts_fd, G_IO_PRI, on_mounts, item);
}

/* Hold a process that was found to be in a mount namespace, so that all that follows is about this
 * one. */
static gboolean hold(Item *item, pid_t pid, guint64 mntns_ino)
{
    AutoAttach *self = item->self;
    g_autofree char *path = g_strdup_printf("/proc/%d/mountinfo", (int)pid);
    PvInspection now;

    release(item);
    item->pidfd = pv_sys_pidfd_open(pid, 0);
    item->mounts_fd = open(path, O_RDONLY | O_CLOEXEC);
    if ((item->pidfd == -EMFILE || (item->mounts_fd < 0 && errno == EMFILE)) && !self->said_fds) {
        self->said_fds = TRUE;
        on_trouble("there are more containers than descriptors: raise RLIMIT_NOFILE", self);
    }
    if (item->pidfd < 0 || item->mounts_fd < 0 ||
        !pv_attach_inspect(pid, self->views_device, &now, NULL) || now.mntns_ino != mntns_ino) {
        release(item);
        return FALSE;
    }
    item->pid = pid;
    item->mntns_ino = mntns_ino;
    g_hash_table_insert(self->namespaces, &item->mntns_ino, item);
    item->mounts_msec = MOUNTS_MSEC;
    item->exit_source = g_unix_fd_add(item->pidfd, G_IO_IN, on_exit_of_process, item);
    pv_cgroup_watch_set_taken(self->cgroups, item->path, TRUE);
    return TRUE;
}

/* ---- attaching ---- */

static void leave(Item *item, const char *message)
{
    item->is_left = TRUE;
    report(item, PV_AUTOATTACH_LEFT, item->pid, NULL, message);
}

/* As many views as there are now are those that it should have. Those that went away with an old
 * root at once were none: the change of its mounts will be told. */
static void count_views(Item *item, const PvJobResult *result)
{
    PvInspection now;

    if (!pv_attach_inspect(item->pid, item->self->views_device, &now, NULL))
        return;
    item->has_views = now.n_views >= result->n_mounted;
    item->n_views = now.n_views;
}

/* Its end is told separately, and maybe later than its consequences. */
static gboolean has_ended(const Item *item)
{
    GPollFD fd = {.fd = item->pidfd, .events = G_IO_IN};

    return item->pid == 0 || g_poll(&fd, 1, 0) > 0;
}

static gboolean is_final(const PvJobResult *result)
{
    return result->code == PV_ERROR_NOT_FOUND || result->code == PV_ERROR_BUSY ||
           result->code == PV_ERROR_UNSUPPORTED;
}

static void on_failure(Item *item, const PvJobResult *result)
{
    if (has_ended(item))
        return;
    if (is_final(result) || !look_again(item)) {
        leave(item, result->message);
    } else if (!item->said_failure) {
        item->said_failure = TRUE;
        report(item, PV_AUTOATTACH_FAILED, item->pid, result, result->message);
    }
}

static void on_job(const PvJobResult *result, gpointer data)
{
    Item *item = data;
    AutoAttach *self = item->self;
    gboolean is_first = !item->has_views;

    item->job = NULL;
    self->n_jobs--;
    if (!result->ok) {
        on_failure(item, result);
    } else if (item->pid != 0) {
        count_views(item, result);
        if (item->has_views && (is_first || result->n_mounted > 0))
            report(item, PV_AUTOATTACH_ATTACHED, item->pid, result, NULL);
        watch_mounts(item);
    }
    start_jobs(self);
}

static void start_jobs(AutoAttach *self)
{
    while (self->n_jobs < JOBS_MAX && !g_queue_is_empty(&self->queue)) {
        Item *item = g_queue_pop_head(&self->queue);
        g_autoptr(GError) error = NULL;

        item->is_queued = FALSE;
        if (item->pid == 0)
            continue;
        item->job = pv_job_start(self->options->views_dir, item->pid, on_job, item, &error);
        if (item->job != NULL)
            self->n_jobs++;
        else if (!look_again(item))
            leave(item, error->message);
    }
}

static void attach(Item *item)
{
    if (item->self->options->is_dry) {
        if (!item->has_views)
            report(item, PV_AUTOATTACH_WOULD, item->pid, NULL, NULL);
        item->has_views = TRUE;
    } else if (item->self->views_device != 0 && !item->is_queued) {
        item->is_queued = TRUE;
        g_queue_push_tail(&item->self->queue, item);
        start_jobs(item->self);
    }
}

/* ---- looking ---- */

/* It has been attached to: whether it has what it had. */
static void check_views(Item *item)
{
    PvInspection now;

    if (item->is_left || item->self->options->is_dry)
        return;
    if (!pv_attach_inspect(item->pid, item->self->views_device, &now, NULL))
        return; /* its end will be told */
    if (now.n_views >= item->n_views) {
        watch_mounts(item);
    } else if (item->n_losses++ < LOSSES_MAX) {
        attach(item);
    } else {
        leave(item, "somebody takes the views away again and again");
    }
}

/* TRUE when the container is as far as it has to be. */
static gboolean is_ready(Item *item, const PvInspection *found)
{
    gboolean is_settled = found->roots == item->last_roots;

    item->last_roots = found->roots;
    if (!found->has_own_mounts)
        return FALSE;
    /* Of a service that is in the machine's pid namespace nothing tells that it is complete. */
    return found->has_own_pids ? found->has_own_proc
                               : is_settled && !pv_rules_want_own_pids(item->self->options->rules);
}

/* TRUE for another cgroup of a container that has one already. */
static gboolean is_known(const Item *item, guint64 mntns_ino)
{
    const Item *other = g_hash_table_lookup(item->self->namespaces, &mntns_ino);

    return other != NULL && other != item;
}

static void look(Item *item)
{
    AutoAttach *self = item->self;
    PvInspection found;
    pid_t pid;
    int r;

    if (item->job != NULL || item->is_queued)
        return;
    if (item->has_views || item->is_left) {
        check_views(item);
        return;
    }
    r = pv_cgroup_first_process(self->mount_point, item->path, (item->answer & PV_RULES_FITS) != 0,
                                &pid);
    if (r < 0) {
        release(item);
        return; /* the next process that comes will be told */
    }
    if (!pv_attach_inspect(pid, self->views_device, &found, NULL)) {
        look_again(item);
        return;
    }
    gboolean ready = is_ready(item, &found);
    if (found.has_own_mounts && (pid != item->pid || found.mntns_ino != item->mntns_ino)) {
        if (is_known(item, found.mntns_ino))
            return;
        ready = hold(item, pid, found.mntns_ino) && ready;
    }
    if (ready)
        attach(item);
    else if (look_again(item))
        watch_mounts(item);
    else
        release(item); /* it is no container */
}

/* ---- cgroups ---- */

static void item_free(Item *item)
{
    if (item->job != NULL)
        pv_job_finish(item->job);
    if (item->is_queued)
        g_queue_remove(&item->self->queue, item);
    g_clear_handle_id(&item->look_source, g_source_remove);
    release(item);
    g_free(item->path);
    g_free(item);
}

static void on_changed(const char *path, guint answer, gpointer data)
{
    AutoAttach *self = data;
    Item *item = g_hash_table_lookup(self->items, path);

    if (item == NULL) {
        item = g_new0(Item, 1);
        *item = (Item){.self = self, .path = g_strdup(path), .pidfd = -1, .mounts_fd = -1};
        g_hash_table_insert(self->items, item->path, item);
    }
    item->answer = answer;
    look_soon(item);
}

static void on_gone(const char *path, gpointer data)
{
    AutoAttach *self = data;
    Item *item = g_hash_table_lookup(self->items, path);

    if (item == NULL)
        return;
    if (item->has_views)
        report(item, PV_AUTOATTACH_ENDED, item->pid, NULL, NULL);
    if (item->job != NULL) {
        pv_job_abandon(g_steal_pointer(&item->job));
        self->n_jobs--;
    }
    g_hash_table_remove(self->items, path);
    start_jobs(self);
}

static gboolean on_cgroups(gint fd, GIOCondition condition, gpointer data)
{
    AutoAttach *self = data;

    (void)fd;
    (void)condition;
    pv_cgroup_watch_dispatch(self->cgroups);
    return G_SOURCE_CONTINUE;
}

/* ---- the daemon's mount ---- */

/* A new daemon: those who wait for one are attached to, dead views are replaced. */
static gboolean look_at_views(gpointer data)
{
    AutoAttach *self = data;
    guint64 device = pv_attach_views_device(self->options->views_dir);
    GHashTableIter items;
    gpointer item;

    self->views_source = 0;
    if (device == self->views_device)
        return G_SOURCE_REMOVE;
    self->views_device = device;
    g_hash_table_iter_init(&items, self->items);
    while (device != 0 && g_hash_table_iter_next(&items, NULL, &item)) {
        Item *it = item;
        it->n_views = it->n_losses = 0;
        it->has_views = FALSE;
        it->is_left = FALSE;
        look_soon(it);
    }
    return G_SOURCE_REMOVE;
}

static gboolean on_own_mounts(gint fd, GIOCondition condition, gpointer data)
{
    AutoAttach *self = data;

    (void)fd;
    (void)condition;
    /* Managers mount often: one look for many changes. */
    if (self->views_source == 0)
        self->views_source = g_timeout_add(VIEWS_MSEC, look_at_views, self);
    return G_SOURCE_CONTINUE;
}

/* ---- begin and end ---- */

static gboolean on_signal(gint fd, GIOCondition condition, gpointer data)
{
    (void)fd;
    (void)condition;
    g_main_loop_quit(((AutoAttach *)data)->loop);
    return G_SOURCE_REMOVE;
}

/* By a descriptor: a thread of GLib's would be there at each fork. */
static int block_signals(sigset_t *ret_before)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, ret_before);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void auto_attach_clear(AutoAttach *self)
{
    g_clear_pointer(&self->items, g_hash_table_unref);
    g_clear_pointer(&self->namespaces, g_hash_table_unref);
    g_queue_clear(&self->queue);
    g_clear_pointer(&self->cgroups, pv_cgroup_watch_free);
    g_clear_pointer(&self->hierarchies, pv_hierarchies_unref);
    g_clear_pointer(&self->loop, g_main_loop_unref);
    g_clear_handle_id(&self->views_source, g_source_remove);
    pv_clear_fd(&self->own_mounts_fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AutoAttach, auto_attach_clear)

static gboolean prepare(AutoAttach *self, GError **error)
{
    const PvCgroupWatchFuncs funcs = {
        .changed = on_changed, .gone = on_gone, .trouble = on_trouble, .data = self};
    pv_autofd int procfs = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    pv_autofd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    self->loop = g_main_loop_new(NULL, FALSE);
    self->namespaces = g_hash_table_new(g_int64_hash, g_int64_equal);
    self->items = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)item_free);
    self->hierarchies = pv_hierarchies_load(procfs, root, error);
    if (self->hierarchies == NULL)
        return FALSE;
    self->mount_point = pv_hierarchies_mount_point(self->hierarchies, PV_CONTROLLER_TASKS);
    if (self->mount_point == NULL)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "no cgroup hierarchy is mounted that has the containers");
    self->cgroups = pv_cgroup_watch_new(self->mount_point, self->options->rules, &funcs, error);
    if (self->cgroups == NULL)
        return FALSE;
    self->own_mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    return self->own_mounts_fd >= 0
               ? TRUE
               : pv_error_set_errno(error, errno, "cannot open /proc/self/mountinfo");
}

gboolean pv_autoattach_run(const PvAutoattachOptions *options, GError **error)
{
    g_auto(AutoAttach) self = {.options = options, .own_mounts_fd = -1};
    const PvAutoattachReport begun = {.event = PV_AUTOATTACH_WATCHING};
    sigset_t before;

    raise_file_limit();
    if (!prepare(&self, error))
        return FALSE;
    pv_autofd int signals = block_signals(&before);
    guint sources[] = {
        g_unix_fd_add(signals, G_IO_IN, on_signal, &self),
        g_unix_fd_add(pv_cgroup_watch_fd(self.cgroups), G_IO_IN, on_cgroups, &self),
        g_unix_fd_add(self.own_mounts_fd, G_IO_PRI, on_own_mounts, &self),
    };
    self.views_device = pv_attach_views_device(options->views_dir);
    if (self.views_device == 0 && !options->is_dry)
        on_trouble("there are no views yet: containers get them when procviewd runs", &self);
    pv_cgroup_watch_scan(self.cgroups);
    options->report(&begun, options->data);
    g_main_loop_run(self.loop);

    g_source_remove(sources[1]);
    g_source_remove(sources[2]);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return TRUE;
}
