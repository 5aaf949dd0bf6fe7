/*
 * A worker: makes everything ready, waits to be told to go, serves until it is told to end. It
 * serves on when its supervisor dies: the next supervisor finds it by its pid file.
 */
#include "privileges.h"
#include "serve.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#define STEP_MSEC        2
#define ALIVE_WAIT_MSEC  20   /* until a worker that seems to live does live */
#define ENDING_WAIT_MSEC 2000 /* until one that is ending has ended */
#define LOCK_TRIES       20
#define LOCK_STEP_USEC   5000

typedef struct {
    const PvConfig *config;
    gboolean is_safe;
    int signal_fd;
    int gone_fd; /* an eventfd: the mount has gone away */
    PvShared shared;
    gint32 supervisor_pid; /* who started us */
    PvService service;
} Worker;

static void on_gone(gpointer data)
{
    const Worker *self = data;
    const uint64_t one = 1;
    ssize_t n = write(self->gone_fd, &one, sizeof one);

    (void)n; /* an eventfd takes it */
}

static void tell_supervisor(char message)
{
    /* It may have died meanwhile. */
    ssize_t n = send(PV_WORKER_CONTROL_FD, &message, 1, MSG_NOSIGNAL);

    (void)n;
}

/* TRUE when the process that the pid file names is on its way out: it has no memory any more. */
static gboolean is_worker_ending(void)
{
    char text[64], path[64];
    ssize_t n = pread(PV_WORKER_PIDFILE_FD, text, sizeof text - 1, 0);
    pv_autofd int fd = -1;

    text[MAX(n, 0)] = '\0';
    g_snprintf(path, sizeof path, "/proc/%d/cmdline", atoi(text));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 || read(fd, text, 1) <= 0;
}

/* Who is killed together with the supervisor may take a moment to go. Not long: the next supervisor
 * is not to find two workers. */
static gboolean outlives_worker(const Worker *self)
{
    for (guint msec = 0; msec < ENDING_WAIT_MSEC; msec += STEP_MSEC) {
        gboolean is_alone = flock(PV_WORKER_PIDFILE_FD, LOCK_EX | LOCK_NB) == 0;

        /* The next one has taken over: it has a standby of its own. */
        if (self->shared.memory->status.supervisor_pid != self->supervisor_pid)
            return FALSE;
        if (is_alone)
            return TRUE;
        if (msec >= ALIVE_WAIT_MSEC && !is_worker_ending())
            return FALSE;
        g_usleep(STEP_MSEC * 1000);
    }
    return FALSE;
}

/*
 * FALSE when there is nothing to do any more: the supervisor wants us to end, or has died while
 * another worker serves. When both have died nobody is left but us.
 */
static gboolean wait_for_go(const Worker *self)
{
    struct pollfd fds[] = {{.fd = PV_WORKER_CONTROL_FD, .events = POLLIN},
                           {.fd = self->signal_fd, .events = POLLIN}};
    char message = 0;
    ssize_t n;

    while (poll(fds, G_N_ELEMENTS(fds), -1) < 0)
        ;
    if (fds[1].revents != 0)
        return FALSE;
    n = recv(PV_WORKER_CONTROL_FD, &message, 1, 0);
    return n == 1 ? message == PV_MESSAGE_GO : outlives_worker(self);
}

/* The lock of the pid file is the proof of who serves, and goes with us: two that serve at once
 * would spoil the memory that they share. */
static gboolean lock_pid_file(void)
{
    for (guint i = 0; flock(PV_WORKER_PIDFILE_FD, LOCK_EX | LOCK_NB) < 0; i++) {
        if (i == LOCK_TRIES) {
            pv_log_info("another worker serves already");
            return FALSE;
        }
        g_usleep(LOCK_STEP_USEC);
    }
    return TRUE;
}

/* Say in the pid file that it is us who serves. */
static void write_pid_file(void)
{
    char text[64];
    int n = g_snprintf(text, sizeof text, "%d %d %d\n", (int)getpid(), PV_WORKER_FUSE_FD,
                       PV_WORKER_SHARED_FD);

    if (ftruncate(PV_WORKER_PIDFILE_FD, 0) < 0 ||
        pwrite(PV_WORKER_PIDFILE_FD, text, (gsize)n, 0) != n)
        pv_log_warning("the pid file cannot be written: %s", g_strerror(errno));
}

/* Returns the exit status. */
static int serve_until_told(const Worker *self)
{
    struct pollfd fds[] = {{.fd = self->signal_fd, .events = POLLIN},
                           {.fd = self->gone_fd, .events = POLLIN}};

    for (;;) {
        int n = poll(fds, G_N_ELEMENTS(fds), PV_SERVICE_BEAT_MSEC);

        pv_service_beat(&self->service, &self->shared.memory->status);
        if (n <= 0)
            continue;
        if (fds[1].revents != 0)
            return PV_EXIT_MOUNT_GONE;
        return EXIT_SUCCESS;
    }
}

static int block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    /* The terminal's keys are meant for the supervisor. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Returns 0, or an exit status. */
static int prepare(Worker *self)
{
    const PvServerOptions options = {.shared = &self->shared,
                                     .no_resend = g_getenv("PROCVIEW_NO_RESEND") != NULL,
                                     .is_safe = self->is_safe,
                                     .on_gone = on_gone,
                                     .on_gone_data = self};
    g_autoptr(GError) error = NULL;
    int r;

    prctl(PR_SET_NAME, self->is_safe ? "procviewd-safe" : "procviewd-work");
    for (int fd = PV_WORKER_CONTROL_FD; fd <= PV_WORKER_PIDFILE_FD; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    self->signal_fd = block_signals();
    self->gone_fd = eventfd(0, EFD_CLOEXEC);
    r = pv_shared_map(PV_WORKER_SHARED_FD, &self->shared);
    if (r == -EPROTO)
        return PV_EXIT_OTHER_LAYOUT;
    if (r == 0)
        self->supervisor_pid = self->shared.memory->status.supervisor_pid;
    if (r < 0 || self->signal_fd < 0 || self->gone_fd < 0)
        pv_error_set_errno(&error, r < 0 ? -r : errno, "a worker cannot start");
    else if (pv_service_open(&self->service, self->config, &options, PV_WORKER_FUSE_FD, &error))
        return 0;
    pv_log_error("%s", error->message);
    return EXIT_FAILURE;
}

int pv_serve_as_worker(const PvConfig *config, gboolean is_safe)
{
    Worker self = {.config = config, .is_safe = is_safe, .shared = {.fd = -1}};
    g_autoptr(GError) error = NULL;
    int status;

    pv_service_raise_file_limit();
    pv_drop_privileges(config->is_cgroup_tree);
    status = prepare(&self);
    if (status != 0)
        _exit(status); /* what runs at exit, a leak checker first, may not do all it wants here */
    tell_supervisor(PV_MESSAGE_READY);
    if (!wait_for_go(&self))
        _exit(EXIT_SUCCESS);
    if (!lock_pid_file())
        _exit(PV_EXIT_OTHER_SERVES);
    pv_server_watch_crashes(self.service.server);
    write_pid_file();
    if (!pv_service_start(&self.service, config, is_safe, &error)) {
        pv_log_error("%s", error->message);
        _exit(EXIT_FAILURE);
    }
    tell_supervisor(PV_MESSAGE_SERVING);
    status = serve_until_told(&self);
    if (!pv_service_stop(&self.service)) {
        pv_log_error("a thread does not end");
        status = EXIT_FAILURE;
    }
    /* What matters is in files and in shared memory, and readers wait for the next worker. */
    _exit(status);
}
