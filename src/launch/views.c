/*
 * Where the container's views come from.
 */
#include "views.h"

#include "procview/attach.h"
#include "procview/config.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/log.h"
#include "procview/supervisor.h"
#include "procview/syscalls.h"
#include "record.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HOST_VIEWS_DIR "/var/lib/procview"
#define FSTYPE         "fuse.procview"
#define DAEMON_NAME    "procviewd"

#define MOUNTINFO_MAX_BYTES (32u << 20)

/* A line of a daemon's log that is longer is cut there. */
#define LOG_LINE_MAX 4096

#define ANSWER_WAIT_MSEC 2000
#define READY_WAIT_USEC  (10 * G_USEC_PER_SEC)
#define READY_STEP_MSEC  100
#define STOP_WAIT_USEC   (3 * G_USEC_PER_SEC)
#define STEP_USEC        (5 * 1000)

/* How often the container's load is looked at, as the daemon does. */
#define SAMPLE_SECONDS 5

/* ---- is there a daemon? ---- */

/* TRUE when the topmost mount on HOST_VIEWS_DIR is procview's. */
static gboolean is_mounted(void)
{
    g_autoptr(GString) mountinfo = g_string_new(NULL);
    gboolean found = FALSE;

    if (pv_read_all_at(AT_FDCWD, "/proc/self/mountinfo", mountinfo, MOUNTINFO_MAX_BYTES) < 0)
        return FALSE;
    g_auto(GStrv) lines = g_strsplit(mountinfo->str, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        if (strstr(*line, " " HOST_VIEWS_DIR " ") != NULL)
            found = strstr(*line, " - " FSTYPE " ") != NULL;
    }
    return found;
}

/* Wait for a child to end. Returns its status, or -1 when it does not in time. */
static int wait_for_end(pid_t pid, gint64 wait_usec)
{
    gint64 deadline = g_get_monotonic_time() + wait_usec;
    int status;

    for (;;) {
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid)
            return status;
        if ((r < 0 && errno != EINTR) || g_get_monotonic_time() > deadline)
            return -1;
        g_usleep(STEP_USEC);
    }
}

/* A daemon that hangs holds its readers, so a child asks; it is left behind if it does not come
 * back. */
static gboolean answers(void)
{
    pid_t pid = fork();

    if (pid < 0)
        return FALSE;
    if (pid == 0) {
        char text[256];
        pv_autofd int fd = open(HOST_VIEWS_DIR "/proc/uptime", O_RDONLY | O_CLOEXEC);
        _exit(fd >= 0 && read(fd, text, sizeof text) > 0 ? 0 : 1);
    }
    int status = wait_for_end(pid, ANSWER_WAIT_MSEC * 1000);
    if (status < 0)
        kill(pid, SIGKILL);
    return status == 0;
}

/* ---- a daemon of our own ---- */

static char *find_daemon(GError **error)
{
    static const char *const places[] = {".", "../daemon", "../sbin", "../libexec",
                                         "../libexec/procview"};
    const char *override = g_getenv("PROCVIEW_DAEMON");
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = self != NULL ? g_path_get_dirname(self) : g_strdup("/usr/bin");

    if (override != NULL && override[0] != '\0') {
        if (g_file_test(override, G_FILE_TEST_IS_EXECUTABLE))
            return g_strdup(override);
        pv_error_set(error, PV_ERROR_NOT_FOUND, "PROCVIEW_DAEMON: %s cannot be executed", override);
        return NULL;
    }
    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_build_filename(dir, places[i], DAEMON_NAME, NULL);
        if (g_file_test(path, G_FILE_TEST_IS_REGULAR) &&
            g_file_test(path, G_FILE_TEST_IS_EXECUTABLE))
            return g_steal_pointer(&path);
    }
    char *path = g_find_program_in_path(DAEMON_NAME);
    if (path == NULL)
        path = g_find_program_in_path("/usr/sbin/" DAEMON_NAME);
    if (path == NULL)
        pv_error_set(error, PV_ERROR_NOT_FOUND,
                     DAEMON_NAME " is not running, and is not found beside %s nor in PATH; set "
                                 "PROCVIEW_DAEMON, or use --no-views",
                     self != NULL ? self : "procview");
    return path;
}

G_NORETURN static void execute_daemon(char **argv, int log_fd)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Out of the terminal's foreground group: Ctrl-C and Ctrl-Z are not meant for it. */
    setsid();
    unsetenv("NOTIFY_SOCKET");
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    pv_autofd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0)
        _exit(126);
    execv(argv[0], argv);
    _exit(127);
}

/* One line of the daemon's log, after its priority: warnings and errors are the user's to know. */
static void pass_on(const char *line)
{
    if (g_str_has_prefix(line, "<3>") || g_str_has_prefix(line, "<4>"))
        pv_log_warning(DAEMON_NAME ": %s", line + 3);
    else
        pv_log_debug(DAEMON_NAME ": %s", line);
}

/* Read what is there. Returns the last whole line, or NULL; *ret_ended when there will be no more.
 */
static char *read_log(PvLaunchViews *views, gboolean *ret_ready, gboolean *ret_ended)
{
    char buf[LOG_LINE_MAX];
    char *last = NULL;
    ssize_t n = read(views->daemon_log, buf, sizeof buf);

    *ret_ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n > 0)
        g_string_append_len(views->log_rest, buf, n);
    for (;;) {
        char *end = strchr(views->log_rest->str, '\n');
        if (end == NULL && views->log_rest->len < LOG_LINE_MAX)
            return last;
        gsize length = end != NULL ? (gsize)(end - views->log_rest->str) : views->log_rest->len;
        g_free(last);
        last = g_strndup(views->log_rest->str, length);
        g_string_erase(views->log_rest, 0, (gssize)(length + (end != NULL)));
        if (ret_ready != NULL && strstr(last, "ready") != NULL)
            *ret_ready = TRUE;
        pass_on(last);
    }
}

void pv_launch_views_read_log(PvLaunchViews *views)
{
    gboolean ended;

    if (views->daemon_log < 0)
        return;
    g_free(read_log(views, NULL, &ended));
    if (ended)
        pv_clear_fd(&views->daemon_log);
}

static gboolean wait_until_ready(PvLaunchViews *views, const char *path,
                                 PvLaunchInterrupted interrupted, gpointer data, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + READY_WAIT_USEC;
    g_autofree char *last = NULL;
    gboolean is_ready = FALSE, has_ended = FALSE;

    while (!is_ready && !has_ended && g_get_monotonic_time() < deadline) {
        struct pollfd fd = {.fd = views->daemon_log, .events = POLLIN};
        if (poll(&fd, 1, READY_STEP_MSEC) <= 0) {
            if (interrupted(data, error))
                return FALSE;
            continue;
        }
        char *line = read_log(views, &is_ready, &has_ended);
        if (line != NULL) {
            g_free(last);
            last = line;
        }
    }
    if (is_ready)
        return TRUE;
    return pv_error_set(error, PV_ERROR_FAILED, "%s %s%s%s", path,
                        has_ended ? "ended instead of serving" : "was not ready within 10 seconds",
                        last != NULL ? ": " : "", last != NULL ? last : "");
}

/*
 * A place for the daemon's mount and its state, in a tmpfs that only our mount namespace has: a
 * launcher that is killed leaves nothing but an empty directory.
 */
static gboolean make_own_dir(PvLaunchViews *views, const char *name, GError **error)
{
    views->own_dir = g_build_filename(PV_LAUNCH_VIEWS_DIR, name, NULL);
    views->dir = g_build_filename(views->own_dir, "mount", NULL);
    if (g_mkdir_with_parents(views->own_dir, 0755) < 0)
        return pv_error_set_errno(error, errno, "cannot make %s", views->own_dir);
    if (mount("procview", views->own_dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") <
            0 ||
        mkdir(views->dir, 0755) < 0)
        return pv_error_set_errno(error, errno, "cannot mount a tmpfs on %s", views->own_dir);
    return TRUE;
}

/* Returns the program that was started, or NULL. Free with g_free. */
static char *start_daemon(PvLaunchViews *views, const char *name, GError **error)
{
    g_autofree char *path = find_daemon(error);
    int fds[2];

    if (path == NULL || !make_own_dir(views, name, error))
        return NULL;
    g_autofree char *state_option = g_strdup_printf("--state-dir=%s/state", views->own_dir);
    /* In one process: with a worker of its own it would outlive a launcher that is killed. */
    char standalone_option[] = "--standalone";
    char *argv[] = {path, standalone_option, state_option, views->dir, NULL};
    if (pipe2(fds, O_CLOEXEC) < 0) {
        pv_error_set_errno(error, errno, "pipe2");
        return NULL;
    }

    views->log_rest = g_string_new(NULL);
    views->daemon_log = fds[0];
    fcntl(fds[0], F_SETFL, O_NONBLOCK); /* the daemon's end blocks: it loses no line */
    views->daemon_pid = fork();
    if (views->daemon_pid == 0)
        execute_daemon(argv, fds[1]);
    close(fds[1]);
    if (views->daemon_pid < 0) {
        views->daemon_pid = 0;
        pv_error_set_errno(error, errno, "fork");
        return NULL;
    }
    return g_steal_pointer(&path);
}

gboolean pv_launch_views_prepare(PvLaunchViews *views, const char *name,
                                 PvLaunchInterrupted interrupted, gpointer data, GError **error)
{
    if (is_mounted() && answers()) {
        views->dir = g_strdup(HOST_VIEWS_DIR);
        return TRUE;
    }
    g_autofree char *path = start_daemon(views, name, error);
    return path != NULL && wait_until_ready(views, path, interrupted, data, error);
}

/* ---- the cgroup tree ---- */

/* Wait for its line that says ready; what else it says is for the log. */
static gboolean wait_for_tree(int fd, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + READY_WAIT_USEC;
    g_autoptr(GString) said = g_string_new(NULL);

    while (strstr(said->str, "ready") == NULL) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char text[256];
        ssize_t n;

        if (g_get_monotonic_time() > deadline || poll(&p, 1, READY_STEP_MSEC) < 0)
            return pv_error_set(error, PV_ERROR_FAILED, "the cgroup tree was not ready in time");
        if (p.revents == 0)
            continue;
        n = read(fd, text, sizeof text);
        if (n <= 0)
            return pv_error_set(error, PV_ERROR_FAILED, "the cgroup tree cannot be served: %s",
                                said->str);
        g_string_append_len(said, text, n);
    }
    return TRUE;
}

static gboolean start_tree(PvLaunchViews *views, GError **error)
{
    g_autofree char *path = find_daemon(error);
    g_autofree char *state_option = NULL;
    char standalone_option[] = "--standalone", tree_option[] = PV_ONLY_CGROUP_TREE_ARGUMENT;
    pv_autofd int read_fd = -1;
    int fds[2];

    if (path == NULL)
        return FALSE;
    state_option = g_strdup_printf("--state-dir=%s/state", views->own_dir);
    char *argv[] = {path, standalone_option, tree_option, state_option, views->dir, NULL};
    if (pipe2(fds, O_CLOEXEC) < 0)
        return pv_error_set_errno(error, errno, "pipe2");
    read_fd = fds[0];
    views->tree_pid = fork();
    if (views->tree_pid == 0)
        execute_daemon(argv, fds[1]);
    close(fds[1]);
    return wait_for_tree(read_fd, error);
}

gboolean pv_launch_views_prepare_cgroup_tree(PvLaunchViews *views, GError **error)
{
    g_autofree char *path = g_build_filename(views->dir, PV_CGROUP_TREE_NAME, NULL);
    struct stat top, tree;

    if (views->daemon_pid > 0 && !start_tree(views, error))
        return FALSE;
    if (stat(views->dir, &top) < 0 || stat(path, &tree) < 0)
        return pv_error_set_errno(error, errno, "%s", path);
    if (top.st_dev == tree.st_dev)
        return pv_error_set(error, PV_ERROR_UNSUPPORTED,
                            "--cgroup-view fuse: the daemon on %s serves no cgroup tree "
                            "(cgroup-tree=yes in its configuration makes it do so)",
                            views->dir);
    return TRUE;
}

gboolean pv_launch_views_open_cgroup_tree(const PvLaunchViews *views, pid_t pid, int *ret_fd,
                                          GError **error)
{
    g_autofree char *path =
        g_strdup_printf("%s/%s/.process:%d", views->dir, PV_CGROUP_TREE_NAME, (int)pid);
    int fd = pv_sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE);

    if (fd < 0)
        return pv_error_set_errno(error, -fd, "%s", path);
    *ret_fd = fd;
    return TRUE;
}

/* ---- the container ---- */

gboolean pv_launch_views_attach(PvLaunchViews *views, pid_t pid, GError **error)
{
    g_autoptr(GPtrArray) results =
        g_ptr_array_new_with_free_func((GDestroyNotify)pv_attach_result_free);

    if (!pv_attach(views->dir, pid, results, error)) {
        g_prefix_error(error, "cannot put the views in place: ");
        return FALSE;
    }
    for (guint i = 0; i < results->len; i++) {
        const PvAttachResult *result = results->pdata[i];
        if (result->status == PV_ATTACH_SKIPPED)
            pv_log_debug("%s is not covered: %s", result->path, result->reason);
    }
    return TRUE;
}

static gboolean open_views(PvLaunchViews *views, GError **error)
{
    g_auto(PvConfig) config = {0};

    pv_config_init(&config);
    if (!pv_config_load_file(&config, NULL, error))
        return FALSE;
    /* As the daemon's, so that system calls and files agree. */
    const PvViewOptions options = {.dense_cpu_ids = config.cpu_ids_dense,
                                   .swap_total = config.swap_total};
    views->host = pv_host_open(NULL, error);
    if (views->host == NULL)
        return FALSE;
    g_autoptr(PvHierarchies) hierarchies =
        pv_hierarchies_load(pv_host_procfs(views->host), pv_host_root(views->host), error);
    if (hierarchies == NULL)
        return FALSE;
    /* No state directory: the files' own account is the daemon's. */
    views->containers = pv_containers_new(views->host, hierarchies, NULL);
    views->views = pv_views_new(views->host, views->containers, &options);
    return TRUE;
}

void pv_launch_views_intercept(PvLaunchViews *views, int listener_fd)
{
    pv_autofd int fd = listener_fd;
    g_autoptr(GError) error = NULL;

    if (fd < 0)
        return;
    if (open_views(views, &error))
        views->intercept = pv_intercept_start(pv_steal_fd(&fd), views->host, views->containers,
                                              views->views, &error);
    if (views->intercept == NULL) {
        pv_log_warning("system calls show the host: %s", error->message);
        return;
    }
    views->sampler = pv_sampler_start(views->host, views->containers, SAMPLE_SECONDS);
}

static void stop_daemon(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGTERM);
    if (wait_for_end(*pid, STOP_WAIT_USEC) < 0) {
        pv_log_warning(DAEMON_NAME " does not end, it is killed");
        kill(*pid, SIGKILL);
        wait_for_end(*pid, STOP_WAIT_USEC);
    }
    *pid = 0;
}

void pv_launch_views_clear(PvLaunchViews *views)
{
    g_clear_pointer(&views->sampler, pv_sampler_stop);
    g_clear_pointer(&views->intercept, pv_intercept_stop);
    g_clear_pointer(&views->views, pv_views_free);
    g_clear_pointer(&views->containers, pv_containers_free);
    g_clear_pointer(&views->host, pv_host_free);
    stop_daemon(&views->tree_pid); /* its mount is in that of the other */
    stop_daemon(&views->daemon_pid);
    pv_launch_views_read_log(views);
    pv_clear_fd(&views->daemon_log);
    if (views->log_rest != NULL)
        g_string_free(g_steal_pointer(&views->log_rest), TRUE);
    if (views->own_dir != NULL) {
        umount2(views->own_dir, MNT_DETACH);
        rmdir(views->own_dir);
    }
    g_clear_pointer(&views->own_dir, g_free);
    g_clear_pointer(&views->dir, g_free);
}
