/* The supervisor's course: start, wait for something to happen, end. See procview/supervisor.h. */
#include "internal.h"

#include "notify.h"
#include "pidfile.h"

#include "procview/fd.h"
#include "procview/nowait.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MSEC      1000
#define FAST_TICK_MSEC 100 /* for a watchdog of a second or two, and while something is due */
#define END_WAIT_MSEC  6000
#define PAUSE_MSEC     1000
/* A standby that has not got ready for so long is not worth waiting for: another one is started. */
#define SLOW_START_MSEC 2000
#define UPGRADE_TRIES   20

static PvStatus *status_of(Supervisor *self)
{
    return &self->shared.memory->status;
}

/* ---- workers come ---- */

static void start_standby(Supervisor *self, const char *path)
{
    int r;

    if (self->standby.pid != 0 || self->is_stopping)
        return;
    r = pv_worker_start(self, path, &self->standby);
    if (r < 0) {
        say_error("cannot start a worker: %s", strerror(-r));
        self->standby_at_msec = pv_now_msec() + PAUSE_MSEC;
        return;
    }
    status_of(self)->standby_pid = self->standby.pid;
}

/* Who has yet to show that it works is not the one to serve: a new program that is not ready, a
 * standby that somebody stopped. */
static bool is_standby_good(const Supervisor *self)
{
    const Worker *standby = &self->standby;

    return standby->pid != 0 &&
           (standby->is_ready ||
            (!standby->is_new_program && pv_now_msec() - standby->since_msec < SLOW_START_MSEC));
}

/* Another worker of the program that is running becomes the worker; the standby stays. */
static void promote_fresh(Supervisor *self)
{
    int r;

    if (self->standby.pid != 0 && !self->standby.is_new_program)
        pv_worker_drop(&self->standby);
    r = pv_worker_start(self, NULL, &self->active);
    if (r < 0) {
        say_error("cannot start a worker: %s", strerror(-r));
        self->start_at_msec = pv_now_msec() + PAUSE_MSEC;
    }
}

/* The standby becomes the worker. It may still be busy with its start: it finds the word then. */
static void promote(Supervisor *self)
{
    const char go = PV_MESSAGE_GO;

    if (self->active.pid != 0 || self->is_stopping || self->start_at_msec > pv_now_msec())
        return;
    if (is_standby_good(self)) {
        self->active = self->standby;
        self->standby = (Worker){.pidfd = -1, .control = -1};
    } else {
        promote_fresh(self);
    }
    if (self->active.pid == 0)
        return;
    self->active.is_told_to_go = true;
    self->active.since_msec = pv_now_msec();
    status_of(self)->standby_pid = self->standby.pid;
    status_of(self)->worker_pid = self->active.pid;
    pv_watch_reset(self);
    /* When it is dead already, its end will be noticed. */
    if (send(self->active.control, &go, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        pv_worker_signal(&self->active, SIGKILL);
}

static void retire(Supervisor *self)
{
    if (self->active.pid == 0 || self->active.is_retiring)
        return;
    self->active.is_retiring = true;
    self->active.kill_at_msec = pv_now_msec() + END_WAIT_MSEC;
    pv_worker_signal(&self->active, SIGTERM);
}

static void count_stall(Supervisor *self, uint64_t now)
{
    PvStatus *status = status_of(self);
    uint64_t stall = now - self->stall_since_nsec;

    if (self->stall_since_nsec == 0)
        return;
    self->stall_since_nsec = 0;
    status->n_stalls++;
    status->last_stall_nsec = stall;
    status->sum_stall_nsec += stall;
    if (stall > status->worst_stall_nsec)
        status->worst_stall_nsec = stall;
}

/* Once the cgroup tree is there, too, if there is to be one. */
static void announce(Supervisor *self)
{
    char line[PATH_MAX + 64];
    int n;

    if (!self->has_served || self->is_announced || pv_companion_is_starting(self))
        return;
    self->is_announced = true;
    n = snprintf(line, sizeof line, "procviewd: ready: serving %s\n", self->mount.mountpoint);
    pv_write_nowait(STDOUT_FILENO, line, (size_t)n);
    pv_notify("READY=1");
    pv_store_fds(self);
}

static void on_serving(Supervisor *self)
{
    uint64_t now = pv_shared_now_nsec();

    self->active.is_serving = true;
    status_of(self)->worker_start_nsec = now;
    status_of(self)->is_safe = self->is_safe;
    if (!self->is_safe)
        status_of(self)->cause[0] = '\0';
    count_stall(self, now);
    if (!self->has_served) {
        self->has_served = true;
        pv_companion_attend(self);
        announce(self);
        pv_helper_start(self);
    }
    if (self->is_upgrading && self->active.is_new_program && !self->is_stopping) {
        self->is_upgrading = false;
        pv_hand_over(self);
    }
    start_standby(self, NULL);
}

static void on_ready(Supervisor *self)
{
    self->standby.is_ready = true;
    if (self->wants_replacement) {
        self->wants_replacement = false;
        retire(self);
    }
}

static void read_control(Supervisor *self, Worker *worker)
{
    char message;
    ssize_t n = recv(worker->control, &message, 1, MSG_DONTWAIT);

    if (n == 0) /* it is about to end */
        pv_clear_fd(&worker->control);
    else if (n == 1 && message == PV_MESSAGE_READY && worker == &self->standby)
        on_ready(self);
    else if (n == 1 && message == PV_MESSAGE_SERVING && worker == &self->active)
        on_serving(self);
}

/* ---- workers go ---- */

/* How it ended: code 0 when it was not our child. */
static void reap(const Worker *worker, int *ret_code, int *ret_status)
{
    siginfo_t info = {0};

    *ret_code = *ret_status = 0;
    if (waitid(P_PID, (id_t)worker->pid, &info, WEXITED) == 0) {
        *ret_code = info.si_code;
        *ret_status = info.si_status;
    }
}

/* A standby of an earlier supervisor, which died together with its worker. */
static void go_on_with_stranger(Supervisor *self)
{
    pv_worker_clear(&self->active);
    if (!pv_adopt_worker(self)) {
        self->start_at_msec = pv_now_msec() + PAUSE_MSEC;
        return;
    }
    status_of(self)->worker_pid = self->active.pid;
    pv_watch_reset(self);
    if (self->wants_to_leave)
        return;
    if (self->standby.is_ready)
        retire(self);
    else
        self->wants_replacement = true;
    start_standby(self, NULL);
}

/* The new program died before it served. Somebody may have killed it: that is not its fault. */
static void go_on_with_upgrade(Supervisor *self, const Worker *worker, PvEndKind kind)
{
    if (pv_watch_is_outside(self, worker, kind) && ++self->n_upgrade_tries < UPGRADE_TRIES) {
        self->wants_replacement = true;
        pv_worker_drop(&self->standby);
        start_standby(self, self->program);
        return;
    }
    say_error("%s does not serve: the upgrade is given up", self->program);
    self->is_upgrading = self->wants_replacement = false;
}

static void on_active_end(Supervisor *self)
{
    Worker worker = self->active;
    PvEndKind kind = PV_END_REPLACED;
    int code, status;

    reap(&worker, &code, &status);
    if (code == CLD_EXITED && status == PV_EXIT_OTHER_SERVES && !self->is_stopping) {
        go_on_with_stranger(self);
        return;
    }
    status_of(self)->worker_pid = 0;
    status_of(self)->worker_start_nsec = 0;
    if (self->is_stopping) {
        self->exit_status = 0;
    } else if (code == CLD_EXITED && status == PV_EXIT_MOUNT_GONE) {
        say_error("%s: the mount has gone away", self->mount.mountpoint);
        self->exit_status = 1;
    } else if (!self->has_served && code == CLD_EXITED && status != 0) {
        self->exit_status = 1; /* the worker said why */
    } else {
        kind = pv_watch_end(self, &worker, code, status);
        if (self->stall_since_nsec == 0) /* else it has lasted for longer */
            self->stall_since_nsec = pv_shared_now_nsec();
    }
    pv_worker_clear(&self->active);
    if (self->exit_status >= 0)
        return;
    if (self->upgrades_blindly) {
        self->upgrades_blindly = false;
        pv_hand_over(self);
    }
    promote(self); /* first: readers are waiting */
    pv_watch_describe(&worker, kind, code, status);
    if (worker.is_new_program && self->is_upgrading)
        go_on_with_upgrade(self, &worker, kind);
}

static void on_standby_end(Supervisor *self)
{
    bool is_new_program = self->standby.is_new_program;
    int code, status;

    reap(&self->standby, &code, &status);
    pv_worker_clear(&self->standby);
    status_of(self)->standby_pid = 0;
    self->standby_at_msec = pv_now_msec() + PAUSE_MSEC;
    if (!is_new_program)
        return;
    self->is_upgrading = self->wants_replacement = false;
    if (code == CLD_EXITED && status == PV_EXIT_OTHER_LAYOUT) {
        self->upgrades_blindly = true;
        retire(self);
    } else {
        status_of(self)->n_upgrades_refused++;
        say_error("%s does not start: the upgrade is given up", self->program);
    }
}

/* ---- what people ask for ---- */

static void begin_upgrade(Supervisor *self)
{
    say_info("upgrade: starting %s", self->program);
    pv_companion_signal(self, SIGUSR1);
    pv_worker_drop(&self->standby);
    self->is_upgrading = self->wants_replacement = true;
    self->n_upgrade_tries = 0;
    start_standby(self, self->program);
}

/* Whoever asks again may have installed a better one meanwhile. */
static bool may_upgrade(const Supervisor *self)
{
    const Worker *standby = &self->standby;
    bool is_slow = standby->pid != 0 && standby->is_new_program && !standby->is_ready &&
                   pv_now_msec() - standby->since_msec > SLOW_START_MSEC;

    return !self->is_stopping && !self->wants_to_leave && (!self->is_upgrading || is_slow);
}

/* The worker looks at it at each read, and so does the next one. */
static void toggle_host(Supervisor *self)
{
    bool shows_host = status_of(self)->shows_host == 0;

    __atomic_store_n(&status_of(self)->shows_host, shows_host, __ATOMIC_RELAXED);
    say_info("SIGUSR2: %s", shows_host ? "everybody is shown the kernel's own files"
                                       : "containers are shown their own values again");
}

static bool has_ended(const Worker *worker)
{
    struct pollfd p = {.fd = worker->pidfd, .events = POLLIN};

    return worker->pid == 0 || (worker->pidfd >= 0 && poll(&p, 1, 0) > 0);
}

/* There is a worker to whom the connection can be left. One that is on its way out takes the mount
 * with it; its successor is worth waiting for. */
static bool may_leave(const Supervisor *self)
{
    return pv_notify_can_store() || (!has_ended(&self->active) && self->active.is_serving &&
                                     !self->active.is_retiring && !self->active.was_hung);
}

static void begin_end(Supervisor *self, bool leave)
{
    int r;

    if (self->is_stopping)
        return;
    if (leave && !may_leave(self)) {
        self->wants_to_leave = true;
        self->is_upgrading = self->wants_replacement = false;
        return;
    }
    self->is_stopping = true;
    pv_notify("STOPPING=1");
    pv_helper_stop(self);
    pv_companion_stop(self, leave);
    if (leave && !pv_notify_can_store() && has_ended(&self->active)) { /* in the meantime */
        self->is_stopping = false;
        self->wants_to_leave = true;
        return;
    }
    pv_worker_drop(&self->standby);
    if (leave) {
        self->is_leaving = true;
        /* Somebody must hold the connection: the manager does, or the worker has to. */
        if (pv_notify_can_store())
            retire(self);
        else
            self->exit_status = 0;
    } else {
        pv_unstore_fds();
        pv_worker_detach_views(self);
        r = pv_mount_close(&self->mount);
        if (r < 0)
            say_warning("%s: unmount: %s", self->mount.mountpoint, strerror(-r));
        retire(self);
    }
    if (self->active.pid == 0)
        self->exit_status = 0;
}

static void read_signals(Supervisor *self)
{
    struct signalfd_siginfo info;

    while (read(self->signal_fd, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            begin_end(self, false);
            break;
        case SIGQUIT:
            begin_end(self, true);
            break;
        case SIGUSR1:
            if (may_upgrade(self))
                begin_upgrade(self);
            break;
        case SIGUSR2:
            toggle_host(self);
            break;
        default: /* SIGCHLD: told by the process descriptors, too */
            break;
        }
    }
}

/* ---- time ---- */

static void on_tick(Supervisor *self)
{
    uint64_t now = pv_now_msec();
    unsigned int manager_msec = pv_notify_watchdog_msec();

    if (self->active.kill_at_msec != 0 && now >= self->active.kill_at_msec) {
        self->active.kill_at_msec = 0;
        pv_worker_signal(&self->active, SIGKILL);
    }
    pv_worker_reap_forgotten(self);
    if (!self->is_stopping && pv_mount_keep_lock(&self->mount) > 0) {
        say_warning("%s was gone: it is made again", self->mount.lock_path);
        pv_mount_describe(&self->mount, self->shared.fd);
    }
    pv_watch(self);
    if (self->is_safe && now >= self->safe_until_msec && !self->is_stopping &&
        !self->wants_to_leave) {
        say_info("trying whether workers live now");
        self->is_safe = false;
        if (!self->standby.is_new_program)
            pv_worker_drop(&self->standby);
        self->wants_replacement = true;
        start_standby(self, NULL);
    }
    if (self->start_at_msec != 0 && now >= self->start_at_msec) {
        self->start_at_msec = 0;
        promote(self);
    }
    if (self->companion.start_at_msec != 0 && now >= self->companion.start_at_msec)
        pv_companion_attend(self);
    if (self->standby_at_msec != 0 && now >= self->standby_at_msec) {
        self->standby_at_msec = 0;
        start_standby(self, NULL);
    }
    if (self->helper_at_msec != 0 && now >= self->helper_at_msec)
        pv_helper_start(self);
    if (manager_msec != 0 && now - self->told_manager_msec >= manager_msec) {
        self->told_manager_msec = now;
        pv_notify("WATCHDOG=1");
    }
}

static int next_tick_msec(const Supervisor *self)
{
    bool is_fast = (self->options->watchdog_sec > 0 && self->options->watchdog_sec <= 2) ||
                   self->active.kill_at_msec != 0 ||
                   (self->active.is_told_to_go && !self->active.is_serving) ||
                   self->start_at_msec != 0 || self->standby_at_msec != 0 ||
                   self->companion.start_at_msec != 0;

    return is_fast ? FAST_TICK_MSEC : TICK_MSEC;
}

static int run(Supervisor *self)
{
    while (self->exit_status < 0) {
        struct pollfd fds[] = {
            {.fd = self->active.pid != 0 ? self->active.pidfd : -1, .events = POLLIN},
            {.fd = self->active.control, .events = POLLIN},
            {.fd = self->standby.pid != 0 ? self->standby.pidfd : -1, .events = POLLIN},
            {.fd = self->standby.control, .events = POLLIN},
            {.fd = self->signal_fd, .events = POLLIN},
            {.fd = self->helper.pid != 0 ? self->helper.pidfd : -1, .events = POLLIN},
            {.fd = self->companion.ready_fd, .events = POLLIN},
            {.fd = pv_companion_end_fd(self), .events = POLLIN},
        };
        int n = poll(fds, sizeof fds / sizeof fds[0], next_tick_msec(self));

        /* An end first: readers are waiting. One event a round: it may change the others. */
        if (n > 0 && fds[0].revents != 0)
            on_active_end(self);
        else if (n > 0 && fds[1].revents != 0)
            read_control(self, &self->active);
        else if (n > 0 && fds[2].revents != 0)
            on_standby_end(self);
        else if (n > 0 && fds[3].revents != 0)
            read_control(self, &self->standby);
        else if (n > 0 && fds[4].revents != 0)
            read_signals(self);
        else if (n > 0 && fds[5].revents != 0)
            pv_helper_on_end(self);
        else if (n > 0 && fds[6].revents != 0)
            pv_companion_on_ready(self);
        else if (n > 0 && fds[7].revents != 0)
            pv_companion_on_end(self);
        announce(self);
        on_tick(self);
        if (self->wants_to_leave && may_leave(self))
            begin_end(self, true);
    }
    return self->exit_status;
}

/* ---- start and end ---- */

static int block_signals(void)
{
    const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a log that has grown too long */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* What may fail is done before the mount is there. */
static int mount_anew(Supervisor *self)
{
    int r = pv_shared_new(&self->shared);

    if (r < 0) {
        say_error("%s: no shared memory: %s", self->mount.mountpoint, strerror(-r));
        pv_clear_fd(&self->mount.fuse_fd);
        pv_mount_leave(&self->mount);
        return -1;
    }
    self->mount.is_writable = self->options->is_cgroup_tree;
    if (pv_mount_put(&self->mount) != PV_MOUNT_OK) {
        say_error("%s", self->mount.message);
        return -1;
    }
    if (self->mount.replaced_dead)
        say_info("%s: took away the mount of a server that had died", self->mount.mountpoint);
    r = pv_mount_read_init(&self->mount, self->shared.memory);
    if (r < 0) {
        say_error("%s: cannot begin to serve: %s", self->mount.mountpoint, strerror(-r));
        pv_mount_close(&self->mount);
        return -1;
    }
    self->fuse_fd = pv_steal_fd(&self->mount.fuse_fd);
    return 0;
}

static int take_mount(Supervisor *self)
{
    const PvSuperviseOptions *options = self->options;
    pid_t other = 0;
    int r;

    if (!pv_mount_check_limits(&self->mount) ||
        pv_mount_lock(&self->mount, options->mountpoint, options->state_dir) != PV_MOUNT_OK) {
        say_error("%s", self->mount.message);
        return -1;
    }
    r = pv_mount_state_path(options->state_dir, "worker", self->mount.mountpoint, "pid",
                            self->worker_file, sizeof self->worker_file);
    if (r < 0) {
        say_error("%s: %s", options->state_dir, strerror(-r));
        pv_mount_leave(&self->mount);
        return -1;
    }
    r = pv_adopt(self, &other);
    if (r == -EBUSY) {
        say_error("%s: another procviewd serves it already: pid %d", self->mount.mountpoint,
                  (int)other);
        pv_mount_leave(&self->mount);
        return -1;
    }
    if (r < 0)
        return mount_anew(self);
    pv_clear_fd(&self->mount.fuse_fd); /* opened, but not needed */
    say_info("%s: took over the mount of a supervisor that had ended", self->mount.mountpoint);
    return 0;
}

static void write_pid_file(const Supervisor *self)
{
    const char *path = self->options->pid_file;
    int r = path != NULL ? pv_pidfile_write(path) : 0;

    if (r < 0)
        say_warning("%s: %s", path, strerror(-r));
}

static void begin(Supervisor *self)
{
    PvStatus *status = status_of(self);

    pv_mount_describe(&self->mount, self->shared.fd);
    status->supervisor_pid = getpid();
    status->supervisor_start_nsec = pv_shared_now_nsec();
    status->standby_pid = 0;
    status->worker_pid = self->active.pid;
    status->is_safe = 0;
    write_pid_file(self);
    pv_watch_reset(self);
    if (self->active.pid == 0) {
        promote(self);
        return;
    }
    /* A worker that another supervisor started is replaced at the first occasion. */
    self->wants_replacement = true;
    start_standby(self, NULL);
}

int pv_supervise(const PvSuperviseOptions *options)
{
    static Supervisor self; /* large, and there is one */

    self = (Supervisor){.options = options,
                        .worker_file_fd = -1,
                        .fuse_fd = -1,
                        .exit_status = -1,
                        .shared = {.fd = -1},
                        .mount = {.fuse_fd = -1, .lock_fd = -1},
                        .helper = {.pidfd = -1, .control = -1},
                        .active = {.pidfd = -1, .control = -1},
                        .standby = {.pidfd = -1, .control = -1},
                        .companion = {.pidfd = -1, .ready_fd = -1}};
    pv_find_program(options->argv[0], self.program, sizeof self.program);
    self.signal_fd = block_signals();
    if (pv_take_over(&self)) {
        /* Readers and the manager know that we serve. */
        self.has_served = self.is_announced = true;
        pv_store_fds(&self);
        pv_helper_start(&self);
        pv_companion_attend(&self);
    } else if (take_mount(&self) < 0) {
        return EXIT_FAILURE;
    }
    begin(&self);
    run(&self);

    pv_worker_drop(&self.standby);
    pv_helper_stop(&self);
    if (self.exit_status != 0) {
        pv_companion_stop(&self, false);
        pv_unstore_fds();
        pv_mount_close(&self.mount);
    }
    pv_mount_leave(&self.mount);
    if (!self.is_leaving)
        unlink(self.worker_file);
    if (options->pid_file != NULL)
        pv_pidfile_remove(options->pid_file);
    return self.exit_status;
}
