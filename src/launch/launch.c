/*
 * The launcher: makes everything in order, and takes it away in reverse order, however far it got.
 */
#include "launch.h"

#include "child.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/log.h"
#include "record.h"
#include "views.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* Exit statuses, see command.h. */
#define STATUS_FAILED 125

/* Nothing that a container does while it comes up takes longer, short of a machine out of memory.
 */
#define STEP_WAIT_MSEC 60000

/* How long the init may take to be gone after a SIGKILL. */
#define KILL_WAIT_USEC (10 * G_USEC_PER_SEC)
#define KILL_STEP_USEC (5 * 1000)

typedef struct {
    const PvLaunchPlan *plan;
    GPtrArray *hierarchies;
    PvLaunchRecord *record;
    gboolean has_scope;   /* of systemd */
    gboolean own_session; /* see has_terminal() */
    PvLaunchRoot root;
    PvLaunchViews views;
    sigset_t original_mask;
    int signal_fd;
    int sock;
    pid_t starter; /* 0 before it is there, and after it was reaped; so is init */
    pid_t init;
    int status;               /* of the init, in the form of an exit status */
    int start_status;         /* the exit status for a launch that failed */
    int end_signal;           /* that ended the launch before COMMAND ran */
    sigset_t early;           /* signals for COMMAND that came before it ran */
    gboolean command_may_run; /* signals are its from now on */
} PvLauncher;

/* ---- signals ---- */

/* From here on signals are looked at where the launcher waits, and nowhere else. */
static gboolean block_signals(PvLauncher *self, GError **error)
{
    sigset_t all;

    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &self->original_mask) < 0)
        return pv_error_set_errno(error, errno, "sigprocmask");
    self->signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    return self->signal_fd >= 0 || pv_error_set_errno(error, errno, "signalfd");
}

static int exit_status_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void reap_children(PvLauncher *self)
{
    int status;

    if (self->init > 0 && waitpid(self->init, &status, WNOHANG) == self->init) {
        self->init = 0;
        self->status = exit_status_of(status);
    }
    if (self->views.daemon_pid > 0 && waitpid(self->views.daemon_pid, &status, WNOHANG) > 0) {
        self->views.daemon_pid = 0;
        if (self->init > 0)
            pv_log_warning("procviewd has ended: the container's views cannot be read any more");
    }
}

/*
 * With a terminal COMMAND stays in our process group, as a shell's job has to, so that it may read
 * from it, and pipelines get its signals together. Without one it gets a session of its own: then
 * kill(0) in the container cannot reach us and ours.
 */
static gboolean has_terminal(void)
{
    return isatty(STDIN_FILENO) || isatty(STDOUT_FILENO) || isatty(STDERR_FILENO);
}

/*
 * The init passes signals on to COMMAND. What the terminal sends goes to the whole foreground
 * group, COMMAND too if it is in it: that is not passed on. But a session leader alone is told that
 * its terminal hung up.
 */
static void pass_signal(PvLauncher *self, const struct signalfd_siginfo *info)
{
    int signo = (int)info->ssi_signo;
    gboolean has_it =
        info->ssi_code > 0 && !self->own_session && !(signo == SIGHUP && getsid(0) == getpid());

    if (signo == SIGCHLD)
        reap_children(self);
    else if (self->init > 0 && !has_it)
        kill(self->init, signo);
}

/* While the container comes up: a signal that would have ended us ends the launch. */
static gboolean is_interrupted(gpointer data, GError **error)
{
    PvLauncher *self = data;
    struct signalfd_siginfo info;

    while (read(self->signal_fd, &info, sizeof info) == sizeof info) {
        if (self->command_may_run) {
            pass_signal(self, &info); /* the init keeps it until COMMAND is there */
            continue;
        }
        switch (info.ssi_signo) {
        case SIGCHLD:
            reap_children(self);
            break;
        case SIGHUP:
        case SIGINT:
        case SIGQUIT:
        case SIGTERM:
        case SIGPIPE:
            self->end_signal = (int)info.ssi_signo;
            break;
        case SIGTSTP:
        case SIGTTIN:
        case SIGTTOU:
        case SIGCONT:
            break; /* there is nothing to be stopped yet */
        default:
            sigaddset(&self->early, (int)info.ssi_signo);
            break;
        }
    }
    if (self->end_signal != 0)
        pv_error_set(error, PV_ERROR_FAILED, "stopped by signal %d (%s)", self->end_signal,
                     g_strsignal(self->end_signal));
    return self->end_signal != 0;
}

/* ---- the messages of a container that comes up ---- */

/* Wait for one message. An error that a child reports becomes ours, with its exit status. */
static gboolean await(PvLauncher *self, PvMessageType type, PvMessage *message, int *ret_fd,
                      GError **error)
{
    gint64 deadline = g_get_monotonic_time() + STEP_WAIT_MSEC * 1000LL;
    struct pollfd fds[] = {{.fd = self->sock, .events = POLLIN},
                           {.fd = self->signal_fd, .events = POLLIN}};

    while (fds[0].revents == 0) {
        gint64 left_msec = (deadline - g_get_monotonic_time()) / 1000;
        if (left_msec <= 0)
            return pv_error_set(error, PV_ERROR_FAILED, "the container did not come up within %d s",
                                STEP_WAIT_MSEC / 1000);
        if (poll(fds, G_N_ELEMENTS(fds), (int)left_msec) < 0 && errno != EINTR)
            return pv_error_set_errno(error, errno, "poll");
        if (is_interrupted(self, error))
            return FALSE;
    }
    int r = pv_message_receive(self->sock, message, ret_fd);
    if (r < 0)
        return pv_error_set(
            error, PV_ERROR_FAILED, "the container's init ended while it came up%s",
            self->plan->limits.memory_bytes != PV_UNLIMITED ? "; is --memory too low?" : "");
    if (message->type == PV_MESSAGE_ERROR) {
        self->start_status = message->value;
        return pv_error_set(error, PV_ERROR_FAILED, "%s", message->text);
    }
    return message->type == type ||
           pv_error_set(error, PV_ERROR_FAILED, "unexpected message %u from the container's init",
                        message->type);
}

static gboolean go_with(PvLauncher *self, int fd, GError **error)
{
    int r = pv_message_send(self->sock, PV_MESSAGE_GO, 0, NULL, fd);
    return r == 0 || pv_error_set_errno(error, -r, "the container's init is gone");
}

static gboolean go(PvLauncher *self, GError **error)
{
    return go_with(self, -1, error);
}

/* ---- making ---- */

static gboolean check(PvLauncher *self, GError **error)
{
    cap_t caps = cap_get_proc();
    cap_flag_value_t value = CAP_CLEAR;

    if (caps != NULL)
        cap_get_flag(caps, CAP_SYS_ADMIN, CAP_EFFECTIVE, &value);
    cap_free(caps);
    if (geteuid() != 0 || value != CAP_SET)
        return pv_error_set(error, PV_ERROR_PERMISSION,
                            "needs root with CAP_SYS_ADMIN, to make namespaces and cgroups");
    self->hierarchies = pv_launch_hierarchies_load(error);
    return self->hierarchies != NULL &&
           pv_launch_limits_check(self->hierarchies, &self->plan->limits, error) &&
           (self->plan->manager != PV_LAUNCH_SYSTEMD || pv_launch_systemd_check(error));
}

/* With the lock of all held: what others have left, our record, our cgroups. */
static gboolean make_cgroups(PvLauncher *self, GError **error)
{
    pv_autofd int lock = pv_launch_lock_all(error);
    if (lock < 0)
        return FALSE;
    g_autoptr(GError) ignored = NULL;
    g_autoptr(GPtrArray) leftovers = pv_launch_clean_locked(self->hierarchies, FALSE, &ignored);
    for (guint i = 0; leftovers != NULL && i < leftovers->len; i++) {
        const PvLaunchLeftover *leftover = leftovers->pdata[i];
        if (leftover->removed)
            pv_log_debug("removed what the container %s had left", leftover->name);
        else
            pv_log_warning("left by the container %s: %s", leftover->name, leftover->reason);
    }
    self->record = pv_launch_record_new(self->plan->name, error);
    if (self->record == NULL)
        return FALSE;
    for (guint i = 0; i < self->hierarchies->len && self->plan->manager == PV_LAUNCH_CGROUPFS;
         i++) {
        if (!pv_launch_cgroup_make(self->hierarchies->pdata[i], self->plan->name,
                                   &self->plan->limits, error))
            return FALSE;
    }
    return TRUE;
}

/* systemd has to be given a process to make a cgroup; the hierarchies that it leaves alone are
 * ours. */
static gboolean make_scope(PvLauncher *self, GError **error)
{
    self->has_scope = TRUE;
    if (!pv_launch_systemd_start(self->hierarchies, self->plan->name, self->starter,
                                 &self->plan->limits, error))
        return FALSE;
    pv_autofd int lock = pv_launch_lock_all(error);
    if (lock < 0)
        return FALSE;
    for (guint i = 0; i < self->hierarchies->len; i++) {
        PvLaunchHierarchy *hierarchy = self->hierarchies->pdata[i];
        if (hierarchy->cgroup == NULL &&
            !pv_launch_cgroup_make(hierarchy, self->plan->name, &self->plan->limits, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean enter_cgroups(PvLauncher *self, GError **error)
{
    if (self->plan->manager == PV_LAUNCH_SYSTEMD && !make_scope(self, error))
        return FALSE;
    for (guint i = 0; i < self->hierarchies->len; i++) {
        const PvLaunchHierarchy *hierarchy = self->hierarchies->pdata[i];
        if (hierarchy->is_ours && !pv_launch_cgroup_enter(hierarchy, self->starter, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean map_user(PvLauncher *self, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/user", (int)self->starter);

    if (!pv_launch_map_ids(self->starter, error))
        return FALSE;
    pv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && self->plan->rootfs != NULL)
        pv_launch_root_idmap(&self->root, fd);
    return TRUE;
}

/* From the starter to an init that is inside of everything. */
static gboolean make_init(PvLauncher *self, GError **error)
{
    PvLaunchChild child = {
        .plan = self->plan,
        .hierarchies = self->hierarchies,
        .root = &self->root,
        .original_mask = self->original_mask,
        .intercept = !self->plan->no_views,
        .own_session = self->own_session,
    };
    PvMessage message;
    int socks[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
        return pv_error_set_errno(error, errno, "socketpair");
    self->sock = socks[0];
    child.sock = socks[1];
    /* The children close what is the launcher's, its end of the socket first: it is their sign of
     * its life. */
    child.parent_fds[0] = socks[0];
    child.parent_fds[1] = self->record->fd;
    child.parent_fds[2] = self->signal_fd;
    self->starter = pv_launch_spawn_starter(&child);
    close(socks[1]);
    if (self->starter < 0) {
        int r = (int)self->starter;
        self->starter = 0;
        return pv_error_set_errno(error, -r, "cannot start the container's first process%s",
                                  self->plan->user_ns ? " (are user namespaces allowed here?)"
                                                      : "");
    }
    if ((self->plan->user_ns && !map_user(self, error)) || !enter_cgroups(self, error) ||
        !go(self, error) || !await(self, PV_MESSAGE_PID, &message, NULL, error))
        return FALSE;
    self->init = message.value;
    waitpid(self->starter, NULL, 0);
    self->starter = 0;
    pv_autofd int tree_fd = -1;
    return (!self->plan->cgroup_view_fuse ||
            pv_launch_views_open_cgroup_tree(&self->views, self->init, &tree_fd, error)) &&
           go_with(self, tree_fd, error);
}

/* The init has mounted: views, interceptor, COMMAND. */
static gboolean finish_init(PvLauncher *self, GError **error)
{
    PvMessage message;

    if (!await(self, PV_MESSAGE_MOUNTED, &message, NULL, error))
        return FALSE;
    if (!self->plan->no_views && !pv_launch_views_attach(&self->views, self->init, error))
        return FALSE;
    self->command_may_run = self->plan->no_views;
    if (!go(self, error))
        return FALSE;
    if (!self->plan->no_views) {
        int listener = -1;
        if (!await(self, PV_MESSAGE_LISTENER, &message, &listener, error))
            return FALSE;
        if (listener < 0)
            pv_log_debug("system calls show the host: %s", g_strerror(-message.value));
        pv_launch_views_intercept(&self->views, listener);
        self->command_may_run = TRUE;
        if (!go(self, error))
            return FALSE;
    }
    return await(self, PV_MESSAGE_STARTED, &message, NULL, error);
}

static gboolean start(PvLauncher *self, GError **error)
{
    if (!check(self, error) || !block_signals(self, error))
        return FALSE;
    /* Mounts of the host still arrive here, none of ours gets out. */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return pv_error_set_errno(error, errno, "cannot make a mount namespace");
    return make_cgroups(self, error) && pv_launch_root_prepare(self->plan, &self->root, error) &&
           ((self->plan->no_views && !self->plan->cgroup_view_fuse) ||
            pv_launch_views_prepare(&self->views, self->plan->name, is_interrupted, self, error)) &&
           (!self->plan->cgroup_view_fuse ||
            pv_launch_views_prepare_cgroup_tree(&self->views, error)) &&
           make_init(self, error) && finish_init(self, error);
}

/* ---- running ---- */

/* COMMAND was stopped: so are we, by the same signal if it is one, until somebody continues us. */
static void stop_with_command(PvLauncher *self, int signo)
{
    sigset_t set;

    sigemptyset(&set);
    if (signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU)
        sigaddset(&set, signo);
    raise(sigismember(&set, signo) ? signo : SIGSTOP);
    /* Of the former, here is where it stops. */
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (self->init > 0)
        kill(self->init, SIGCONT);
}

static void pass_early_signals(PvLauncher *self)
{
    for (int signo = 1; signo <= SIGRTMAX; signo++) {
        if (sigismember(&self->early, signo) == 1 && self->init > 0)
            kill(self->init, signo);
    }
}

static void run(PvLauncher *self)
{
    pass_early_signals(self);
    while (self->init > 0) {
        struct signalfd_siginfo info;
        struct pollfd fds[] = {{.fd = self->signal_fd, .events = POLLIN},
                               {.fd = self->sock, .events = POLLIN},
                               {.fd = self->views.daemon_log, .events = POLLIN}};
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0)
            continue;
        if (fds[2].revents != 0)
            pv_launch_views_read_log(&self->views);
        if (fds[1].revents != 0) {
            PvMessage message;
            if (pv_message_receive(self->sock, &message, NULL) < 0)
                pv_clear_fd(&self->sock); /* it ends: SIGCHLD says how */
            else if (message.type == PV_MESSAGE_STOPPED)
                stop_with_command(self, message.value);
        }
        while (read(self->signal_fd, &info, sizeof info) == sizeof info)
            pass_signal(self, &info);
    }
}

/* Killed without a word: was it for want of memory? */
static void explain_kill(const PvLauncher *self)
{
    const PvLaunchHierarchy *hierarchy = pv_launch_hierarchies_find(self->hierarchies, "memory");

    if (hierarchy != NULL && pv_launch_cgroup_oom_kills(hierarchy) > 0)
        pv_log_warning("the container has used up its memory limit, and the kernel has killed "
                       "processes in it");
}

/* ---- taking away ---- */

/* A child that is to be gone; the whole container goes with its init. */
static void kill_child(pid_t *pid)
{
    gint64 deadline = g_get_monotonic_time() + KILL_WAIT_USEC;

    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    while (waitpid(*pid, NULL, WNOHANG) == 0 && g_get_monotonic_time() < deadline)
        g_usleep(KILL_STEP_USEC);
    *pid = 0;
}

static void remove_cgroups(PvLauncher *self)
{
    g_autoptr(GError) error = NULL;
    gboolean all_gone = TRUE;

    if (self->record == NULL)
        return;
    pv_autofd int lock = pv_launch_lock_all(&error);
    for (guint i = 0; i < self->hierarchies->len; i++) {
        const PvLaunchHierarchy *hierarchy = self->hierarchies->pdata[i];
        g_autoptr(GError) local = NULL;
        if (!hierarchy->is_ours)
            continue;
        if (!pv_launch_cgroup_remove(hierarchy, hierarchy->cgroup, &local)) {
            pv_log_warning("%s; procview doctor will try again", local->message);
            all_gone = FALSE;
        } else if (lock >= 0) {
            pv_launch_cgroup_remove_parent(hierarchy);
        }
    }
    /* The record of what could not be removed stays. */
    if (all_gone)
        pv_launch_record_remove(g_steal_pointer(&self->record));
    else
        pv_launch_record_close(g_steal_pointer(&self->record));
}

static void take_away(PvLauncher *self)
{
    kill_child(&self->starter);
    kill_child(&self->init);
    pv_launch_views_clear(&self->views);
    if (self->has_scope)
        pv_launch_systemd_stop(self->plan->name);
    remove_cgroups(self);
    pv_launch_root_clear(&self->root);
    pv_clear_fd(&self->sock);
    pv_clear_fd(&self->signal_fd);
    g_clear_pointer(&self->hierarchies, g_ptr_array_unref);
}

gboolean pv_launch_run(const PvLaunchPlan *plan, int *ret_status, GError **error)
{
    PvLauncher self = {
        .plan = plan,
        .root = {.sys_fd = -1},
        .views = {.daemon_log = -1},
        .signal_fd = -1,
        .sock = -1,
        .status = STATUS_FAILED,
        .start_status = STATUS_FAILED,
        .own_session = !has_terminal(),
    };
    gboolean ok = start(&self, error);

    if (ok) {
        run(&self);
        if (self.status == 128 + SIGKILL)
            explain_kill(&self);
    } else {
        self.status = self.end_signal != 0 ? 128 + self.end_signal : self.start_status;
    }
    /* Signals stay blocked: one that comes this late must not keep us from cleaning up. */
    take_away(&self);
    *ret_status = self.status;
    return ok;
}
