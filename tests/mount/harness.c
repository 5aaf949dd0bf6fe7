/* The harness itself: the run, the guardian, the daemon. See harness.h. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_SKIPPED 77

static char prefix[32];
static pid_t test_pid;     /* of the process that runs tests; a child that fails only exits */
static GPtrArray *daemons; /* of PvtDaemon */
static const struct CMUnitTest *current; /* the test that runs, as it was given to us */

const char *pvt_prefix(void)
{
    return prefix;
}

void pvt_fail(const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    if (getpid() != test_pid) {
        fprintf(stderr, "%s\n", message);
        _exit(1);
    }
    print_error("%s\n", message);
    _fail(__FILE__, __LINE__);
    abort();
}

guint pvt_timeout_msec(guint msec)
{
    const char *factor = g_getenv("PV_TEST_SLOW");

    return msec * (guint)CLAMP(factor != NULL ? atoi(factor) : 1, 1, 100);
}

guint pvt_slow(guint factor)
{
    return pvt_timeout_msec(1) > 1 ? factor : 1;
}

char *pvt_path(const char *name)
{
    return g_strdup_printf("/tmp/%s/%s", prefix, name);
}

void pvt_sleep_msec(guint msec)
{
    g_usleep((gulong)msec * 1000);
}

void pvt_child_setup(pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* 0: the parent is outside of our pid namespace. */
    if (parent != 0 && getppid() != 0 && getppid() != parent)
        _exit(1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- texts ---- */

char *pvt_read_file(const char *path)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, &error))
        pvt_fail("%s", error->message);
    return text;
}

/* What follows the key in the line that begins with it, or NULL. */
static const char *find_line(const char *text, const char *key)
{
    while (text != NULL && *text != '\0') {
        const char *end = strchr(text, '\n');
        if (g_str_has_prefix(text, key))
            return text + strlen(key);
        text = end != NULL ? end + 1 : NULL;
    }
    return NULL;
}

guint64 pvt_field(const char *text, const char *key)
{
    const char *value = find_line(text, key);

    if (value == NULL)
        pvt_fail("no line \"%s\" in:\n%s", key, text);
    return g_ascii_strtoull(value, NULL, 10);
}

guint pvt_count_lines(const char *text, const char *line_prefix)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint n = 0;

    for (guint i = 0; lines[i] != NULL; i++)
        n += lines[i][0] != '\0' && g_str_has_prefix(lines[i], line_prefix);
    return n;
}

guint64 pvt_sum_fields(const char *text, const char *key, guint n)
{
    const char *value = find_line(text, key);
    guint64 sum = 0;

    if (value == NULL)
        pvt_fail("no line \"%s\" in:\n%s", key, text);
    for (guint i = 0; i < n && *value != '\0' && *value != '\n'; i++) {
        char *end;
        sum += g_ascii_strtoull(value, &end, 10);
        value = end;
    }
    return sum;
}

void pvt_assert_between(guint64 value, guint64 low, guint64 high)
{
    if (value < low || value > high)
        pvt_fail("%" G_GUINT64_FORMAT " is not from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                 value, low, high);
}

/* ---- the daemon ---- */

static const char *daemon_program(void)
{
    const char *path = g_getenv("PROCVIEWD");

    return path != NULL ? path : PROCVIEWD;
}

static void daemon_exec(char **argv, int out, int err)
{
    pvt_child_setup(test_pid);
    dup2(out, 1);
    dup2(err, 2);
    execv(argv[0], argv);
    _exit(127);
}

/* Wait for the line that says ready. */
static gboolean wait_ready(int fd)
{
    GString *text = g_string_new(NULL);
    gboolean ready = FALSE;
    guint timeout = pvt_timeout_msec(15000);

    while (!ready) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char buf[256];
        ssize_t n;

        if (poll(&p, 1, (int)timeout) <= 0 || (n = read(fd, buf, sizeof buf)) <= 0)
            break;
        g_string_append_len(text, buf, n);
        ready = strstr(text->str, "ready: serving") != NULL;
    }
    g_string_free(text, TRUE);
    return ready;
}

/* A daemon in a folder of its own ("/tmp/pv-test-PID/NUMBER"), or in that of another one. */
static PvtDaemon *launch(const char *program, char *base, char **options)
{
    PvtDaemon *daemon = g_new0(PvtDaemon, 1);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autofree char *name = g_path_get_basename(program);
    gboolean is_lxcfs = strcmp(name, "lxcfs") == 0;
    g_autofree char *state_option = NULL;
    int pipe_fds[2], log_fd;
    gboolean ready;

    daemon->program = g_strdup(program);
    daemon->base = base;
    daemon->mountpoint = g_build_filename(base, "mnt", NULL);
    daemon->state_dir = g_build_filename(base, is_lxcfs ? "lxcfs" : "state", NULL);
    daemon->log_path = g_build_filename(base, "log", NULL);
    daemon->expected = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(daemons, daemon);
    g_mkdir_with_parents(base, 0755);
    state_option = is_lxcfs ? g_strconcat("--runtime-dir=", base, NULL)
                            : g_strconcat("--state-dir=", daemon->state_dir, NULL);

    g_ptr_array_add(argv, daemon->program);
    g_ptr_array_add(argv, state_option);
    /* Who wants it says so: later options win. */
    if (!is_lxcfs)
        g_ptr_array_add(argv, (gpointer) "--cgroup-tree=no");
    for (guint i = 0; options != NULL && options[i] != NULL; i++)
        g_ptr_array_add(argv, options[i]);
    g_ptr_array_add(argv, daemon->mountpoint);
    g_ptr_array_add(argv, NULL);

    log_fd = open(daemon->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        pvt_fail("%s: %s", daemon->log_path, g_strerror(errno));
    daemon->pid = fork();
    if (daemon->pid == 0)
        daemon_exec((char **)argv->pdata, pipe_fds[1], log_fd);
    close(pipe_fds[1]);
    close(log_fd);
    ready = wait_ready(pipe_fds[0]);
    close(pipe_fds[0]);
    if (!ready) {
        g_autofree char *log = pvt_daemon_log(daemon);
        pvt_fail("%s did not get ready:\n%s", daemon->program, log);
    }
    return daemon;
}

/* A new folder for a daemon. */
static char *next_base(void)
{
    static guint number;
    g_autofree char *name = g_strdup_printf("%u", ++number);

    return pvt_path(name);
}

PvtDaemon *pvt_daemon_start(void)
{
    return launch(daemon_program(), next_base(), NULL);
}

PvtDaemon *pvt_daemon_start_with(const char *first_option, ...)
{
    g_autoptr(GPtrArray) options = g_ptr_array_new();
    va_list args;

    va_start(args, first_option);
    for (const char *option = first_option; option != NULL; option = va_arg(args, const char *))
        g_ptr_array_add(options, (gpointer)option);
    va_end(args);
    g_ptr_array_add(options, NULL);
    return launch(daemon_program(), next_base(), (char **)options->pdata);
}

PvtDaemon *pvt_daemon_start_after(const PvtDaemon *other)
{
    return launch(other->program, g_strdup(other->base), NULL);
}

PvtDaemon *pvt_daemon_start_program(const char *program, char **options)
{
    return launch(program != NULL ? program : daemon_program(), next_base(), options);
}

/* A process of this daemon, by the file in which it says so ("worker-…", "mount-…"); 0 when there
 * is none, or the file is of another. is_tree: of the cgroup tree, else of the views; -1: any. */
static pid_t find_process(const char *state_dir, const char *kind, int is_tree)
{
    g_autofree char *base = g_path_get_dirname(state_dir);
    g_autofree char *mountpoint = g_build_filename(base, "mnt", NULL);
    GDir *dir = g_dir_open(state_dir, 0, NULL);
    const char *name;
    pid_t pid = 0;

    while (dir != NULL && pid == 0 && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(state_dir, name, NULL);
        g_autofree char *text = NULL;
        g_autofree char *cmdline_path = NULL;
        g_autofree char *cmdline = NULL;
        gboolean of_tree = strstr(name, "mnt-cgroup.") != NULL;
        gsize length;

        if (!g_str_has_prefix(name, kind) || (is_tree >= 0 && is_tree != of_tree) ||
            !g_file_get_contents(path, &text, NULL, NULL) || atoi(text) <= 1)
            continue;
        cmdline_path = g_strdup_printf("/proc/%d/cmdline", atoi(text));
        if (g_file_get_contents(cmdline_path, &cmdline, &length, NULL) &&
            memmem(cmdline, length, mountpoint, strlen(mountpoint) + 1) != NULL)
            pid = atoi(text);
    }
    if (dir != NULL)
        g_dir_close(dir);
    return pid;
}

static pid_t find_worker(const char *state_dir)
{
    return find_process(state_dir, "worker-", FALSE);
}

/* All threads of the process have ended: it has no descriptors any more. */
static gboolean has_ended(pid_t pid)
{
    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    gboolean ended = p.fd < 0 || poll(&p, 1, 0) > 0;

    if (p.fd >= 0)
        close(p.fd);
    return ended;
}

static void end_process(pid_t pid)
{
    kill(pid, SIGKILL);
    for (guint i = 0; i < 1000 && !has_ended(pid); i++)
        pvt_sleep_msec(2);
}

/* The supervisor of the cgroup tree, which would start workers, and all workers. */
static void end_worker(const char *state_dir)
{
    pid_t pid;

    if ((pid = find_process(state_dir, "mount-", TRUE)) > 0)
        end_process(pid);
    for (guint i = 0; i < 8 && (pid = find_process(state_dir, "worker-", -1)) > 0; i++)
        end_process(pid);
}

pid_t pvt_daemon_tree_worker(const PvtDaemon *daemon)
{
    return find_process(daemon->state_dir, "worker-", TRUE);
}

pid_t pvt_daemon_worker(const PvtDaemon *daemon)
{
    return find_worker(daemon->state_dir);
}

/* Stop a child of ours, so that it starts no process while we look at those that it has started.
 */
static char **stop_and_list_children(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)pid, (int)pid);
    g_autofree char *text = NULL;

    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    /* It may have ended by itself. */
    return g_file_get_contents(path, &text, NULL, NULL) ? g_strsplit(text, " ", -1)
                                                        : g_new0(char *, 1);
}

void pvt_daemon_kill(PvtDaemon *daemon)
{
    g_auto(GStrv) children = stop_and_list_children(daemon->pid);

    pvt_daemon_kill_supervisor(daemon);
    end_worker(daemon->state_dir);
    for (guint i = 0; children[i] != NULL; i++) {
        pid_t pid = atoi(children[i]);
        if (pid > 0)
            kill(pid, SIGKILL);
        for (guint k = 0; pid > 0 && k < 1000 && !has_ended(pid); k++)
            pvt_sleep_msec(2);
    }
}

void pvt_daemon_kill_supervisor(PvtDaemon *daemon)
{
    kill(daemon->pid, SIGKILL);
    waitpid(daemon->pid, NULL, 0);
    daemon->pid = 0;
}

char *pvt_daemon_log(const PvtDaemon *daemon)
{
    return pvt_read_file(daemon->log_path);
}

void pvt_daemon_expect(PvtDaemon *daemon, const char *part)
{
    g_ptr_array_add(daemon->expected, g_strdup(part));
}

/* Errors and warnings carry the priorities <3> and <4>; sanitizers say ERROR. */
static void check_log(const PvtDaemon *daemon)
{
    g_autofree char *log = pvt_daemon_log(daemon);
    g_auto(GStrv) lines = g_strsplit(log, "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++) {
        gboolean expected = FALSE;

        if (!g_str_has_prefix(lines[i], "<3>") && !g_str_has_prefix(lines[i], "<4>") &&
            strstr(lines[i], "ERROR:") == NULL && strstr(lines[i], "runtime error") == NULL)
            continue;
        for (guint k = 0; k < daemon->expected->len; k++)
            expected |= strstr(lines[i], g_ptr_array_index(daemon->expected, k)) != NULL;
        if (!expected)
            pvt_fail("in the daemon's log: %s", lines[i]);
    }
}

/* The exit status, or -1 when it did not end in time. */
static int wait_exit(pid_t pid, guint timeout_msec)
{
    int status;

    for (guint msec = 0; msec < timeout_msec; msec += 5) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        pvt_sleep_msec(5);
    }
    return -1;
}

gboolean pvt_is_mounted(const char *path)
{
    g_autofree char *text = pvt_read_file("/proc/self/mountinfo");
    g_autofree char *needle = g_strdup_printf(" %s ", path);

    return strstr(text, needle) != NULL;
}

void pvt_daemon_stop(PvtDaemon *daemon)
{
    int status;

    kill(daemon->pid, SIGTERM);
    status = wait_exit(daemon->pid, pvt_timeout_msec(10000));
    if (status == -1)
        pvt_fail("procviewd does not end on SIGTERM");
    daemon->pid = 0;
    if (status != 0) {
        g_autofree char *log = pvt_daemon_log(daemon);
        pvt_fail("procviewd: exit status %d:\n%s", status, log);
    }
    if (pvt_is_mounted(daemon->mountpoint))
        pvt_fail("%s is still mounted", daemon->mountpoint);
    check_log(daemon);
}

/* After a test, whatever came of it. */
static void end_daemons(void)
{
    for (guint i = 0; i < daemons->len; i++) {
        PvtDaemon *daemon = g_ptr_array_index(daemons, i);

        if (daemon->pid > 0)
            pvt_daemon_kill(daemon);
        end_worker(daemon->state_dir);
        while (pvt_is_mounted(daemon->mountpoint) && umount2(daemon->mountpoint, MNT_DETACH) == 0)
            ;
        g_ptr_array_unref(daemon->expected);
        g_free(daemon->program);
        g_free(daemon->base);
        g_free(daemon->mountpoint);
        g_free(daemon->state_dir);
        g_free(daemon->log_path);
        g_free(daemon);
    }
    g_ptr_array_set_size(daemons, 0);
}

int pvt_daemon_run(char **ret_output, const char *first_argument, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autofree char *path = pvt_path("output");
    int status, fd;
    va_list args;
    pid_t pid;

    g_ptr_array_add(argv, (gpointer)daemon_program());
    va_start(args, first_argument);
    for (const char *a = first_argument; a != NULL; a = va_arg(args, const char *))
        g_ptr_array_add(argv, (gpointer)a);
    va_end(args);
    g_ptr_array_add(argv, NULL);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        pvt_fail("%s: %s", path, g_strerror(errno));
    pid = fork();
    if (pid == 0)
        daemon_exec((char **)argv->pdata, fd, fd);
    close(fd);
    status = wait_exit(pid, pvt_timeout_msec(10000));
    if (status < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        pvt_fail("procviewd goes on running");
    }
    *ret_output = pvt_read_file(path);
    return status;
}

/* ---- the run ---- */

/* Before a test. One that hangs ends the program; the guardian does the rest. */
static int begin(void **state)
{
    current = *state;
    *state = current->initial_state;
    alarm(pvt_timeout_msec(60000) / 1000);
    return current->setup_func != NULL ? current->setup_func(state) : 0;
}

/* After it, whatever came of it. */
static int clean_up(void **state)
{
    int own = current->teardown_func != NULL ? current->teardown_func(state) : 0;

    pvt_containers_end();
    end_daemons();
    pvt_cgroups_end();
    return own;
}

static void remove_tree(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
            remove_tree(child);
        else
            g_unlink(child);
    }
    if (dir != NULL)
        g_dir_close(dir);
    g_rmdir(path);
}

/* Workers outlive the daemons that started them. */
static void end_workers(const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *state_dir = g_build_filename(folder, name, "state", NULL);
        g_autofree char *lxcfs_dir = g_build_filename(folder, name, "lxcfs", NULL);
        end_worker(state_dir);
        end_worker(lxcfs_dir);
    }
    if (dir != NULL)
        g_dir_close(dir);
}

/* Until the program has ended, in whatever way, or closes its end of the pipe: which those may hold
 * that it forked. */
static void wait_for_program(int program_fd, int pipe_fd)
{
    struct pollfd fds[] = {{.fd = program_fd, .events = POLLIN}, {.fd = pipe_fd, .events = POLLIN}};

    while (poll(fds, G_N_ELEMENTS(fds), -1) <= 0)
        ;
}

/* Outlives the program, and removes what it may have left. Ends with the number of cgroups that
 * were there. */
static pid_t start_guardian(int *ret_fd)
{
    g_autofree char *folder = pvt_path("");
    int program_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    int fds[2];
    pid_t pid;

    if (program_fd < 0 || pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        return -1;
    /* A group of its own: what ends the program's group is not meant for it. Both set it: so it has
     * been set for both. */
    setpgid(pid, pid);
    if (pid == 0) {
        guint n;

        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        close(fds[1]);
        wait_for_program(program_fd, fds[0]);
        end_workers(folder);
        n = pvt_cgroups_sweep(prefix);
        remove_tree(folder);
        _exit((int)MIN(n, 100));
    }
    close(program_fd);
    close(fds[0]);
    *ret_fd = fds[1];
    return pid;
}

static const char *missing(void)
{
    if (geteuid() != 0)
        return "it needs to be root";
    if (access("/dev/fuse", R_OK | W_OK) < 0)
        return "there is no /dev/fuse";
    if (pvt_cgroup_version("memory") == 0)
        return "there is no memory controller";
    return NULL;
}

int pvt_run_tests(const struct CMUnitTest *tests, gsize n_tests, CMFixtureFunction group_setup,
                  CMFixtureFunction group_teardown)
{
    g_autofree struct CMUnitTest *wrapped = g_new0(struct CMUnitTest, n_tests);
    int guardian_fd, failed, status;
    g_autofree char *folder = NULL;
    const char *reason;
    pid_t guardian;

    cmocka_set_test_filter(g_getenv("PV_TEST_FILTER")); /* for whoever looks into one test */
    test_pid = getpid();
    g_snprintf(prefix, sizeof prefix, "pv-test-%d", (int)test_pid);
    reason = missing();
    if (reason != NULL) {
        printf("skipped: %s\n", reason);
        return EXIT_SKIPPED;
    }
    daemons = g_ptr_array_new();
    folder = pvt_path("");
    guardian = start_guardian(&guardian_fd);
    if (guardian < 0 || g_mkdir_with_parents(folder, 0755) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        fprintf(stderr, "cannot prepare: %s\n", g_strerror(errno));
        return 1;
    }
    for (gsize i = 0; i < n_tests; i++) {
        wrapped[i] = (struct CMUnitTest){.name = tests[i].name,
                                         .test_func = tests[i].test_func,
                                         .setup_func = begin,
                                         .teardown_func = clean_up,
                                         .initial_state = (void *)&tests[i]};
    }
    failed = _cmocka_run_group_tests("mount", wrapped, n_tests, group_setup, group_teardown);
    close(guardian_fd);
    while (waitpid(guardian, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "cgroups were left behind (and removed)\n");
        return 1;
    }
    return failed == 0 ? 0 : 1;
}
