/*
 * Pid 1 of the container. It is the launcher's own code and memory, so the container must not be
 * able to look into it: it is not dumpable, holds nothing open but the message socket, and has no
 * more capabilities than COMMAND.
 */
#include "child.h"

#include "privileges.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/intercept.h"
#include "procview/log.h"

#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

/* Why COMMAND could not be executed, from its process to the init. */
typedef struct {
    enum { STEP_WORKDIR, STEP_EXEC, STEP_INTERPRETER } step;
    int errnum;
} ExecFailure;

static void bring_lo_up(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    pv_autofd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
        pv_log_debug("no lo: %s", g_strerror(errno));
        return;
    }
    request.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        pv_log_debug("cannot bring lo up: %s", g_strerror(errno));
}

/*
 * /proc/1/cmdline would show the container how it was started, with paths of the host. The kernel
 * reads it from where the arguments were put; /proc/self/stat says where that is (fields 48 and
 * 49).
 */
static void hide_arguments(void)
{
    static const char name[] = "procview-init";
    char text[PV_CONTROL_FILE_MAX];
    const char *cursor;
    guint64 start = 0, end = 0;

    if (pv_read_text_at(AT_FDCWD, "/proc/self/stat", text, sizeof text) < 0)
        return;
    cursor = strrchr(text, ')');
    for (int field = 2; cursor != NULL && field < 48; field++)
        cursor = strchr(cursor + 1, ' ');
    if (cursor == NULL || !pv_parse_u64(&cursor, &start) || !pv_parse_u64(&cursor, &end) ||
        start == 0 || end <= start || end - start < sizeof name)
        return;
    memset((void *)(uintptr_t)start, 0, end - start);
    memcpy((void *)(uintptr_t)start, name, sizeof name);
    prctl(PR_SET_NAME, name);
}

/* Namespaces' contents: what is done before the launcher puts the views in place. */
static gboolean set_up(const PvLaunchChild *child, int cgroup_fd, GError **error)
{
    const PvLaunchPlan *plan = child->plan;

    if (!pv_launch_root_mount(child->root, child->hierarchies, cgroup_fd, error))
        return FALSE;
    if (sethostname(plan->hostname, strlen(plan->hostname)) < 0)
        return pv_error_set_errno(error, errno, "--hostname %s", plan->hostname);
    if (plan->net == PV_LAUNCH_NET_NONE)
        bring_lo_up();
    return TRUE;
}

/* Averages are kept from the first look on, by the daemon for files and by the interceptor for
 * sysinfo(2): looking at both now makes them tell of the same time, all of the container's life. */
static void start_load_averages(void)
{
    char text[64];
    struct sysinfo info;
    pv_autofd int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, text, sizeof text) < 0 || sysinfo(&info) < 0)
        pv_log_debug("load averages begin at their first reading: %s", g_strerror(errno));
}

/* What is taken away, once nothing more is to be set up. */
static gboolean give_up_privileges(const PvLaunchChild *child, GError **error)
{
    if (setgroups(0, NULL) < 0)
        return pv_error_set_errno(error, errno, "cannot drop supplementary groups");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return pv_error_set_errno(error, errno, "no_new_privs");
    if (!pv_launch_install_filter(error))
        return FALSE;
    if (child->intercept) {
        pv_autofd int listener = pv_intercept_install();
        pv_message_send(child->sock, PV_MESSAGE_LISTENER, MIN(listener, 0), NULL, listener);
        pv_clear_fd(&listener);
        pv_launch_child_wait(child);
        start_load_averages();
    }
    if (!pv_launch_drop_capabilities(error))
        return FALSE;
    /* Not inherited over a change of credentials, so last. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    return TRUE;
}

/* ---- COMMAND ---- */

G_NORETURN static void execute(const PvLaunchChild *child, int failure_fd)
{
    const PvLaunchPlan *plan = child->plan;
    ExecFailure failure = {.step = STEP_WORKDIR};

    /* What was ignored stays so, for nohup(1) and the like. */
    sigprocmask(SIG_SETMASK, &child->original_mask, NULL);
    if (child->own_session)
        setsid();
    umask(022);
    if (chdir(plan->workdir) == 0) {
        environ = plan->env;
        execvp(plan->command[0], plan->command);
        failure.step = STEP_EXEC;
    }
    failure.errnum = errno;
    /* It is there: what the kernel has not found is what is to execute it. */
    if (failure.step == STEP_EXEC && failure.errnum == ENOENT &&
        strchr(plan->command[0], '/') != NULL && access(plan->command[0], F_OK) == 0)
        failure.step = STEP_INTERPRETER;
    /* Should even this fail, the init sees an exit status that fits. */
    int status = failure.errnum == ENOENT ? 127 : 126;
    if (write(failure_fd, &failure, sizeof failure) < 0)
        _exit(status);
    _exit(status);
}

static void report_failure(const PvLaunchChild *child, const ExecFailure *failure)
{
    const PvLaunchPlan *plan = child->plan;
    g_autofree char *text = NULL;

    if (failure->step == STEP_WORKDIR) {
        text = g_strdup_printf("--workdir %s: %s", plan->workdir, g_strerror(failure->errnum));
        pv_launch_child_fail(child, 125, text);
    }
    if (failure->step == STEP_INTERPRETER) {
        text = g_strdup_printf("%s: the interpreter that it names is not in the container",
                               plan->command[0]);
        pv_launch_child_fail(child, 127, text);
    }
    if (failure->errnum == ENOENT) {
        text = g_strdup_printf("%s: not found in the container", plan->command[0]);
        pv_launch_child_fail(child, 127, text);
    }
    text = g_strdup_printf("%s: cannot be executed: %s", plan->command[0],
                           g_strerror(failure->errnum));
    pv_launch_child_fail(child, 126, text);
}

/* Returns COMMAND's pid once it is executing. */
static pid_t start_command(const PvLaunchChild *child)
{
    ExecFailure failure;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        pv_launch_child_fail(child, 125, "pipe2");
    pid_t pid = fork();
    if (pid < 0) {
        g_autofree char *text =
            g_strdup_printf("cannot fork in the container: %s%s", g_strerror(errno),
                            errno == EAGAIN ? " (--pids is too low)" : "");
        pv_launch_child_fail(child, 125, text);
    }
    if (pid == 0) {
        close(child->sock);
        execute(child, fds[1]);
    }
    close(fds[1]);
    ssize_t n;
    do
        n = read(fds[0], &failure, sizeof failure);
    while (n < 0 && errno == EINTR);
    close(fds[0]);
    if (n == sizeof failure)
        report_failure(child, &failure);
    return pid;
}

/* ---- the reaper ---- */

/* Reap all that have ended; ends with COMMAND's status when it is among them. */
static void reap(const PvLaunchChild *child, pid_t command)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        if (pid != command)
            continue;
        if (WIFEXITED(status))
            _exit(WEXITSTATUS(status));
        if (WIFSIGNALED(status))
            _exit(128 + WTERMSIG(status));
        /* The launcher then stops too, and whoever waits for it learns of it. */
        if (WIFSTOPPED(status))
            pv_message_send(child->sock, PV_MESSAGE_STOPPED, WSTOPSIG(status), NULL, -1);
    }
}

/* What a process sent on purpose is COMMAND's; what the terminal sent it has got itself. */
static void pass_signal(const PvLaunchChild *child, pid_t command, const siginfo_t *info)
{
    int signo = info->si_signo;

    if (info->si_code > 0 || signo == SIGCHLD)
        return;
    /* In a session of its own there is nobody to continue it, so the kernel would ignore this. */
    if (signo == SIGTSTP && child->own_session)
        signo = SIGSTOP;
    kill(command, signo);
}

void pv_launch_init(const PvLaunchChild *child)
{
    g_autoptr(GError) error = NULL;
    sigset_t all;
    int cgroup_fd;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Dumpable, here and above, is what lets us write our own files in /proc. */
    hide_arguments();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    /* Not before the starter has told the launcher who we are: one message after the other. */
    cgroup_fd = pv_launch_child_wait(child);

    if (!set_up(child, cgroup_fd, &error))
        pv_launch_child_fail(child, 125, error->message);
    pv_launch_child_close_fds(child);
    /* From here on the launcher's end is noticed by the signal, or here, should it have come
     * before. */
    pv_message_send(child->sock, PV_MESSAGE_MOUNTED, 0, NULL, -1);
    pv_launch_child_wait(child);
    if (!give_up_privileges(child, &error))
        pv_launch_child_fail(child, 125, error->message);

    pid_t command = start_command(child);
    pv_message_send(child->sock, PV_MESSAGE_STARTED, 0, NULL, -1);
    for (;;) {
        siginfo_t info;
        reap(child, command);
        if (sigwaitinfo(&all, &info) > 0)
            pass_signal(child, command, &info);
    }
}
