/* What serves, and the daemon that is one process, see serve.h. */
#include "serve.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/mount.h"

#include "../supervisor/notify.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

void pv_service_raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Where the accounts are kept. NULL, with a warning, where that cannot be: they stay in memory
 * then. */
static char *make_account_dir(const char *state_dir)
{
    g_autofree char *path = g_build_filename(state_dir, "account", NULL);

    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        pv_log_warning("%s: %s: CPU times and load averages will not survive a restart", path,
                       g_strerror(errno));
        return NULL;
    }
    return g_steal_pointer(&path);
}

gboolean pv_service_open(PvService *service, const PvConfig *config, const PvServerOptions *options,
                         int fuse_fd, GError **error)
{
    const PvViewOptions view_options = {.dense_cpu_ids = config->cpu_ids_dense,
                                        .swap_total = config->swap_total};
    PvServerOptions server_options = *options;
    g_autofree char *account_dir =
        config->is_cgroup_tree ? NULL : make_account_dir(config->state_dir);
    pv_autofd int fd = fuse_fd;

    server_options.threads = config->threads;
    server_options.serve = (PvServeOptions){.lxcfs_files = config->lxcfs_files,
                                            .no_cgroup = config->lxcfs_files &&
                                                         config->cgroup_tree == PV_CGROUP_TREE_NO};
    service->host = pv_host_open(NULL, error);
    if (service->host == NULL)
        return FALSE;
    service->hierarchies =
        pv_hierarchies_load(pv_host_procfs(service->host), pv_host_root(service->host), error);
    if (service->hierarchies == NULL)
        return FALSE;
    service->containers = pv_containers_new(service->host, service->hierarchies, account_dir);
    if (config->is_cgroup_tree) {
        service->server =
            pv_server_new_cgroup_tree(service->host, service->hierarchies, service->containers,
                                      &server_options, pv_steal_fd(&fd), error);
        return service->server != NULL;
    }
    service->views = pv_views_new(service->host, service->containers, &view_options);
    service->server = pv_server_new(service->host, service->containers, service->views,
                                    &server_options, pv_steal_fd(&fd), error);
    return service->server != NULL;
}

gboolean pv_service_start(PvService *service, const PvConfig *config, gboolean is_safe,
                          GError **error)
{
    if (!pv_server_start(service->server, error))
        return FALSE;
    if (!is_safe && !config->is_cgroup_tree)
        service->sampler =
            pv_sampler_start(service->host, service->containers, config->sample_interval_sec);
    return TRUE;
}

gboolean pv_service_stop(PvService *service)
{
    return service->server == NULL || pv_server_stop(service->server);
}

void pv_service_beat(const PvService *service, PvStatus *status)
{
    g_autoptr(GPtrArray) containers = pv_containers_list(service->containers);
    PvViewCounters counters;

    if (service->views != NULL) {
        pv_views_counters(service->views, &counters);
        status->renders = counters.renders;
        status->fallbacks = counters.fallbacks;
    } else {
        pv_containers_collect_garbage(service->containers); /* no sampler does */
    }
    status->containers = containers->len;
    status->handles = pv_server_count_handles(service->server);
    __atomic_store_n(&status->heartbeat, pv_shared_now_nsec(), __ATOMIC_RELAXED);
}

void pv_service_clear(PvService *service)
{
    g_clear_pointer(&service->server, pv_server_free);
    g_clear_pointer(&service->sampler, pv_sampler_stop);
    g_clear_pointer(&service->views, pv_views_free);
    g_clear_pointer(&service->containers, pv_containers_free);
    g_clear_pointer(&service->hierarchies, pv_hierarchies_unref);
    g_clear_pointer(&service->host, pv_host_free);
}

/* ---- the daemon that is one process ---- */

typedef struct {
    int signal_fd;
    int gone_fd; /* an eventfd: the mount has gone away */
    PvMount mount;
    gboolean mounted;
    PvShared shared;
    PvService service;
} Daemon;

static void on_gone(gpointer data)
{
    const Daemon *self = data;
    const uint64_t one = 1;
    ssize_t n = write(self->gone_fd, &one, sizeof one);

    (void)n; /* an eventfd takes it */
}

/* SIGTERM, SIGINT and SIGHUP arrive on a descriptor; no thread is interrupted by them. */
static int block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static gboolean mount_views(Daemon *self, const PvConfig *config, GError **error)
{
    int r;

    if (!pv_mount_check_limits(&self->mount))
        return pv_error_set(error, PV_ERROR_FAILED, "%s", self->mount.message);
    r = pv_shared_new(&self->shared);
    if (r < 0)
        return pv_error_set_errno(error, -r, "no shared memory");
    /* It may fork, and its failures say most. */
    if (pv_mount_lock(&self->mount, config->mountpoint, config->state_dir) == PV_MOUNT_OK) {
        self->mount.is_writable = config->is_cgroup_tree;
        self->mounted = pv_mount_put(&self->mount) == PV_MOUNT_OK;
    }
    if (!self->mounted)
        return pv_error_set(error, PV_ERROR_FAILED, "%s", self->mount.message);
    if (self->mount.replaced_dead)
        pv_log_info("%s: took away the mount of a server that had died", self->mount.mountpoint);
    r = pv_mount_read_init(&self->mount, self->shared.memory);
    if (r < 0)
        return pv_error_set_errno(error, -r, "%s: cannot begin to serve", self->mount.mountpoint);
    return TRUE;
}

static gboolean start(Daemon *self, const PvConfig *config, GError **error)
{
    const PvServerOptions options = {
        .shared = &self->shared, .on_gone = on_gone, .on_gone_data = self};

    self->signal_fd = block_signals();
    self->gone_fd = eventfd(0, EFD_CLOEXEC);
    if (self->signal_fd < 0 || self->gone_fd < 0)
        return pv_error_set_errno(error, errno, "cannot start");
    return mount_views(self, config, error) &&
           pv_service_open(&self->service, config, &options, pv_steal_fd(&self->mount.fuse_fd),
                           error) &&
           pv_service_start(&self->service, config, FALSE, error);
}

/* So that procview status finds it: who serves is who has the lock. */
static void describe(Daemon *self)
{
    PvStatus *status = &self->shared.memory->status;

    status->worker_pid = getpid();
    status->worker_start_nsec = pv_shared_now_nsec();
    pv_mount_describe(&self->mount, self->shared.fd);
}

/* Unmount, let the threads end, free. FALSE when a thread hangs: then nothing can be freed. */
static gboolean stop(Daemon *self)
{
    if (self->mounted) {
        int r = pv_mount_close(&self->mount);
        if (r < 0)
            pv_log_warning("%s: unmount: %s", self->mount.mountpoint, g_strerror(-r));
    }
    if (!pv_service_stop(&self->service)) {
        pv_log_error("a thread does not end");
        return FALSE;
    }
    pv_service_clear(&self->service);
    pv_shared_clear(&self->shared);
    pv_clear_fd(&self->mount.fuse_fd);
    pv_clear_fd(&self->signal_fd);
    pv_clear_fd(&self->gone_fd);
    return TRUE;
}

/* Wait for the end. FALSE when it is not one that was asked for. */
static gboolean wait_for_end(const Daemon *self)
{
    struct pollfd fds[] = {{.fd = self->signal_fd, .events = POLLIN},
                           {.fd = self->gone_fd, .events = POLLIN}};

    for (;;) {
        struct signalfd_siginfo info;

        int n = poll(fds, G_N_ELEMENTS(fds), PV_SERVICE_BEAT_MSEC);

        pv_service_beat(&self->service, &self->shared.memory->status);
        if (n <= 0)
            continue;
        if (fds[1].revents != 0) {
            pv_log_error("%s: the mount has gone away", self->mount.mountpoint);
            return FALSE;
        }
        if (read(self->signal_fd, &info, sizeof info) == sizeof info && info.ssi_signo != SIGHUP)
            return TRUE;
    }
}

int pv_serve_standalone(const PvConfig *config)
{
    Daemon self = {.signal_fd = -1,
                   .gone_fd = -1,
                   .mount = {.fuse_fd = -1, .lock_fd = -1},
                   .shared = {.fd = -1}};
    g_autoptr(GError) error = NULL;
    gboolean ok;

    pv_service_raise_file_limit();
    ok = start(&self, config, &error);
    if (ok) {
        describe(&self);
        printf("procviewd: ready: serving %s\n", self.mount.mountpoint);
        fflush(stdout);
        pv_notify("READY=1");
        ok = wait_for_end(&self);
        pv_notify("STOPPING=1");
    } else {
        pv_log_error("%s", error->message);
    }
    if (!stop(&self))
        _exit(EXIT_FAILURE);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
