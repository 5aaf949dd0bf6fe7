/*
 * procviewd: mounts, starts the threads that serve, and waits for the signal to end. Everything
 * else is in the libraries.
 */
#include "config.h"
#include "lxcfs_options.h"
#include "notify.h"
#include "pidfile.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/mount.h"
#include "procview/sampler.h"
#include "procview/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#define EXIT_USAGE 2

/* What the daemon is made of, in the order in which it is taken apart. */
typedef struct {
    int signal_fd;
    int gone_fd; /* an eventfd: the mount has gone away */
    PvMount mount;
    gboolean mounted;
    PvServer *server;
    PvSampler *sampler;
    PvViews *views;
    PvContainers *containers;
    PvHierarchies *hierarchies;
    PvHost *host;
} Daemon;

static void on_gone(gpointer data)
{
    const Daemon *self = data;
    const uint64_t one = 1;
    ssize_t n = write(self->gone_fd, &one, sizeof one);

    (void)n; /* an eventfd takes it */
}

/* A container costs some descriptors: as many as the system lets us have. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
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

static gboolean start(Daemon *self, const PvConfig *config, GError **error)
{
    const PvViewOptions view_options = {.dense_cpu_ids = config->cpu_ids_dense,
                                        .swap_total_memsw = config->swap_total_memsw};
    const PvServerOptions server_options = {
        .threads = config->threads, .on_gone = on_gone, .on_gone_data = self};
    g_autofree char *account_dir = NULL;

    self->signal_fd = block_signals();
    self->gone_fd = eventfd(0, EFD_CLOEXEC);
    if (self->signal_fd < 0 || self->gone_fd < 0)
        return pv_error_set_errno(error, errno, "cannot start");
    /* The mount first: it may fork, and its failures say most. */
    if (pv_mount_open(&self->mount, config->mountpoint, config->state_dir) != PV_MOUNT_OK)
        return pv_error_set(error, PV_ERROR_FAILED, "%s", self->mount.message);
    self->mounted = TRUE;
    if (self->mount.replaced_dead)
        pv_log_info("%s: took away the mount of a server that had died", self->mount.mountpoint);

    account_dir = make_account_dir(config->state_dir);
    self->host = pv_host_open(NULL, error);
    if (self->host == NULL)
        return FALSE;
    self->hierarchies =
        pv_hierarchies_load(pv_host_procfs(self->host), pv_host_root(self->host), error);
    if (self->hierarchies == NULL)
        return FALSE;
    self->containers = pv_containers_new(self->host, self->hierarchies, account_dir);
    self->views = pv_views_new(self->host, self->containers, &view_options);
    self->server = pv_server_new(self->host, self->containers, self->views, &server_options,
                                 pv_steal_fd(&self->mount.fuse_fd), error);
    if (self->server == NULL || !pv_server_start(self->server, error))
        return FALSE;
    self->sampler = pv_sampler_start(self->host, self->containers, config->sample_interval_sec);
    return TRUE;
}

/* Unmount, let the threads end, free. FALSE when a thread hangs: then nothing can be freed. */
static gboolean stop(Daemon *self)
{
    if (self->mounted) {
        int r = pv_mount_close(&self->mount);
        if (r < 0)
            pv_log_warning("%s: unmount: %s", self->mount.mountpoint, g_strerror(-r));
    }
    if (self->server != NULL && !pv_server_stop(self->server)) {
        pv_log_error("a thread does not end");
        return FALSE;
    }
    g_clear_pointer(&self->server, pv_server_free);
    g_clear_pointer(&self->sampler, pv_sampler_stop);
    g_clear_pointer(&self->views, pv_views_free);
    g_clear_pointer(&self->containers, pv_containers_free);
    g_clear_pointer(&self->hierarchies, pv_hierarchies_unref);
    g_clear_pointer(&self->host, pv_host_free);
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

        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0)
            continue;
        if (fds[1].revents != 0) {
            pv_log_error("%s: the mount has gone away", self->mount.mountpoint);
            return FALSE;
        }
        if (read(self->signal_fd, &info, sizeof info) == sizeof info && info.ssi_signo != SIGHUP)
            return TRUE;
    }
}

static int serve(const PvConfig *config)
{
    Daemon self = {.signal_fd = -1, .gone_fd = -1, .mount = {.fuse_fd = -1, .lock_fd = -1}};
    g_autoptr(GError) error = NULL;
    gboolean ok;

    raise_file_limit();
    umask(022);
    ok = start(&self, config, &error);
    if (ok) {
        if (config->pid_file != NULL)
            pv_pidfile_write(config->pid_file);
        printf("procviewd: ready: serving %s\n", self.mount.mountpoint);
        fflush(stdout);
        pv_notify("READY=1");
        ok = wait_for_end(&self);
        pv_notify("STOPPING=1");
        if (config->pid_file != NULL)
            pv_pidfile_remove(config->pid_file);
    } else {
        pv_log_error("%s", error->message);
    }
    if (!stop(&self))
        _exit(EXIT_FAILURE);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    g_auto(PvConfig) config = {0};
    g_auto(GStrv) lxcfs_argv = NULL;
    g_autoptr(GError) error = NULL;
    PvCommand command;

    pv_config_init(&config);
    if (!pv_lxcfs_options_take(&config, &argc, &argv, &lxcfs_argv, &error)) {
        fprintf(stderr, "lxcfs: %s\n", error->message);
        return EXIT_USAGE;
    }
    if (!pv_config_load(&config, argc, argv, &command, &error)) {
        fprintf(stderr, "procviewd: %s\n", error->message);
        return EXIT_USAGE;
    }
    switch (command) {
    case PV_COMMAND_HELP:
        pv_config_print_help(stdout);
        return EXIT_SUCCESS;
    case PV_COMMAND_VERSION:
        printf("procviewd %s\n", PV_VERSION);
        return EXIT_SUCCESS;
    case PV_COMMAND_DOCUMENT:
        pv_config_print_document(stdout);
        return EXIT_SUCCESS;
    default:
        pv_log_set_level(config.log_level);
        return serve(&config);
    }
}
