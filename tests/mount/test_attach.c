/*
 * Attach and detach for real: a procviewd of its own, processes in mount namespaces of every odd
 * kind, and the mount tables compared before and after.
 */
#include "harness.h"

#include "procview/attach.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

#define WAIT_STEPS 400 /* of 25 ms */

/* ---- the daemon ---- */

typedef struct {
    pid_t pid;
    char *dir;
    char *state_dir;
} Daemon;

/* The one that most tests use; written by the group's setup only. */
static Daemon the_daemon;

static gboolean is_served(const char *dir)
{
    struct statfs buf;
    g_autofree char *file = g_build_filename(dir, "proc/meminfo", NULL);

    return statfs(dir, &buf) == 0 && buf.f_type == FUSE_SUPER_MAGIC && access(file, R_OK) == 0;
}

/* A folder of the test program's own. Free with g_free. */
static char *make_folder(const char *template)
{
    char *path = pvt_path(template);

    assert_non_null(g_mkdtemp(path));
    return path;
}

static void daemon_start(Daemon *daemon)
{
    const char *path = g_getenv("PROCVIEWD");
    pid_t self = getpid();

    daemon->dir = make_folder("views-XXXXXX");
    daemon->state_dir = g_strconcat(daemon->dir, ".state", NULL);
    daemon->pid = fork();
    if (daemon->pid == 0) {
        pvt_child_setup(self);
        path = path != NULL ? path : PROCVIEWD;
        /* In one process: some tests want its mount dead, or silent. */
        execl(path, "procviewd", "--standalone", "--state-dir", daemon->state_dir, daemon->dir,
              (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < WAIT_STEPS && !is_served(daemon->dir); i++)
        g_usleep(25000);
    assert_true(is_served(daemon->dir));
}

/* End the daemon by a signal; after SIGKILL its mount is dead, and is taken out of this namespace.
 */
static void daemon_end(Daemon *daemon, int signal_number)
{
    kill(daemon->pid, signal_number);
    waitpid(daemon->pid, NULL, 0);
    umount2(daemon->dir, MNT_DETACH);
    rmdir(daemon->dir);
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", daemon->state_dir);
    assert_int_equal(system(command), 0);
    g_clear_pointer(&daemon->dir, g_free);
    g_clear_pointer(&daemon->state_dir, g_free);
}

/* ---- containers ---- */

typedef struct {
    pid_t pid;
} Container;

static void must(gboolean ok)
{
    if (!ok) {
        perror("setup of a test's container");
        _exit(9);
    }
}

static void setup_usual(void)
{
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("proc", "/proc", "proc", 0, NULL) == 0); /* /sys is the copy of the host's */
}

static void setup_without_proc(void)
{
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("tmpfs", "/proc", "tmpfs", 0, NULL) == 0);
}

static void setup_with_nothing(void)
{
    setup_without_proc();
    must(mount("tmpfs", "/sys", "tmpfs", 0, NULL) == 0);
}

static void setup_pids_only(void)
{
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("proc", "/proc", "proc", 0, "subset=pid,hidepid=invisible") == 0);
}

static void setup_own_uptime(void)
{
    setup_usual();
    must(mount("tmpfs", "/mnt", "tmpfs", 0, NULL) == 0);
    must(close(open("/mnt/uptime", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) == 0);
    must(mount("/mnt/uptime", "/proc/uptime", NULL, MS_BIND, NULL) == 0);
}

static void setup_read_only(void)
{
    setup_usual();
    must(mount(NULL, "/proc", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
    must(mount(NULL, "/sys", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
}

static void setup_chroot(void)
{
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("tmpfs", "/mnt", "tmpfs", 0, NULL) == 0);
    must(mkdir("/mnt/proc", 0755) == 0);
    must(mount("proc", "/mnt/proc", "proc", 0, NULL) == 0);
    must(chroot("/mnt") == 0 && chdir("/") == 0);
}

static void setup_symlink(void)
{
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("tmpfs", "/mnt", "tmpfs", 0, NULL) == 0);
    must(mkdir("/mnt/real", 0755) == 0);
    must(mount("proc", "/mnt/real", "proc", 0, NULL) == 0);
    must(symlink("real", "/mnt/proc") == 0);
    must(chroot("/mnt") == 0 && chdir("/") == 0);
}

static void setup_nothing(void)
{
}

static gboolean write_map(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid, name);
    pv_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, "0 100000 65536", 14) == 14;
}

G_GNUC_NORETURN
static void container_main(guint64 flags, void (*setup)(void), int go_fd, int ready_fd)
{
    char byte;

    must(read(go_fd, &byte, 1) == 1);
    if (flags & CLONE_NEWUSER)
        must(setgid(0) == 0 && setuid(0) == 0);
    pvt_child_setup(0); /* again: other credentials forget it */
    setup();
    must(write(ready_fd, "r", 1) == 1);
    for (;;)
        pause();
}

/* A process in namespaces of its own that has run `setup` and sleeps; pid -1 when that failed. */
static Container container_try(guint64 flags, void (*setup)(void))
{
    int ready[2], go[2];
    char byte;

    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
        return (Container){.pid = -1};
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    pid_t self = getpid(), pid = pv_sys_clone3(&args, sizeof(args));
    if (pid == 0) {
        pvt_child_setup(self);
        close(go[1]);
        container_main(flags, setup, go[0], ready[1]);
    }
    gboolean ok = pid > 0;
    if (ok && (flags & CLONE_NEWUSER))
        ok = write_map(pid, "uid_map") && write_map(pid, "gid_map");
    ok = ok && write(go[1], "g", 1) == 1;
    close(ready[1]);
    close(go[0]);
    close(go[1]);
    ok = ok && read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    return (Container){.pid = ok ? pid : -1};
}

static Container container_start(guint64 flags, void (*setup)(void))
{
    Container container = container_try(flags, setup);

    assert_true(container.pid > 0);
    return container;
}

static Container container_usual(void)
{
    return container_start(CLONE_NEWNS | CLONE_NEWPID, setup_usual);
}

static void container_end(const Container *container)
{
    kill(container->pid, SIGKILL);
    waitpid(container->pid, NULL, 0);
}

/* The lines for mounts on /proc and /sys and below them: elsewhere the machine mounts what it likes
 * while a test runs. */
static char *mountinfo_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/mountinfo", pid);
    g_autofree char *text = NULL;
    g_autoptr(GString) kept = g_string_new(NULL);

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return g_strdup("unreadable");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], " ", 6);
        if (g_strv_length(fields) == 6 &&
            (g_str_has_prefix(fields[4], "/proc") || g_str_has_prefix(fields[4], "/sys")))
            g_string_append_printf(kept, "%s\n", lines[i]);
    }
    return g_string_free(g_steal_pointer(&kept), FALSE);
}

static guint count(const char *text, const char *needle)
{
    guint n = 0;

    for (const char *p = text; (p = strstr(p, needle)) != NULL; p += strlen(needle))
        n++;
    return n;
}

/* The file system that a container's file is on. */
static long fs_of(const Container *container, const char *path)
{
    g_autofree char *full = g_strdup_printf("/proc/%d/root%s", container->pid, path);
    struct statfs buf;

    return statfs(full, &buf) == 0 ? (long)buf.f_type : -errno;
}

/* ---- results ---- */

static GPtrArray *results_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)pv_attach_result_free);
}

static guint count_status(const GPtrArray *results, PvAttachStatus status)
{
    guint n = 0;

    for (guint i = 0; i < results->len; i++)
        n += ((PvAttachResult *)results->pdata[i])->status == status;
    return n;
}

static const PvAttachResult *result_of(const GPtrArray *results, const char *path)
{
    for (guint i = 0; i < results->len; i++)
        if (strcmp(((PvAttachResult *)results->pdata[i])->path, path) == 0)
            return results->pdata[i];
    fail_msg("no result for %s", path);
    return NULL;
}

/* Attach from the usual daemon; must succeed. */
static GPtrArray *attach(const Container *container)
{
    GPtrArray *results = results_new();
    g_autoptr(GError) error = NULL;

    if (!pv_attach(the_daemon.dir, container->pid, results, &error))
        fail_msg("attach: %s", error->message);
    return results;
}

static void assert_skipped(const GPtrArray *results, const char *path, const char *reason)
{
    const PvAttachResult *result = result_of(results, path);

    assert_int_equal(result->status, PV_ATTACH_SKIPPED);
    if (strstr(result->reason, reason) == NULL)
        fail_msg("%s: '%s' does not say '%s'", path, result->reason, reason);
}

/* ---- attach ---- */

static void attach_covers_proc_and_sys(void **state)
{
    (void)state;
    Container container = container_usual();
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);

    assert_int_equal(result_of(results, "/proc/meminfo")->status, PV_ATTACH_DONE);
    assert_int_equal(result_of(results, "/proc/stat")->status, PV_ATTACH_DONE);
    assert_int_equal(result_of(results, "/sys/devices/system/cpu")->status, PV_ATTACH_DONE);
    assert_int_equal(fs_of(&container, "/proc/meminfo"), FUSE_SUPER_MAGIC);
    assert_int_equal(fs_of(&container, "/sys/devices/system/cpu/online"), FUSE_SUPER_MAGIC);
    /* No row of the table is in there, and all of it is served; kernels without NUMA have none. */
    if (g_file_test("/sys/devices/system/node", G_FILE_TEST_IS_DIR))
        assert_int_equal(fs_of(&container, "/sys/devices/system/node/online"), FUSE_SUPER_MAGIC);
    assert_int_equal(fs_of(&container, "/proc/version"), PROC_SUPER_MAGIC);
    assert_int_equal(count_status(results, PV_ATTACH_FAILED), 0);
    container_end(&container);
}

/* Since Linux 6.14 that is not so of pid_max, when it is mounted from outside. */
static void what_is_said_to_be_attached_is_what_the_container_sees(void **state)
{
    (void)state;
    Container container = container_usual();
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);

    for (guint i = 0; i < results->len; i++) {
        const PvAttachResult *result = results->pdata[i];
        if (result->status == PV_ATTACH_DONE && fs_of(&container, result->path) != FUSE_SUPER_MAGIC)
            fail_msg("%s is said to be attached", result->path);
    }
    container_end(&container);
}

static void attached_files_are_sealed(void **state)
{
    (void)state;
    Container container = container_usual();
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    g_autofree char *text = mountinfo_of(container.pid);
    const char *line = strstr(text, " /proc/meminfo /proc/meminfo ");

    assert_non_null(line);
    g_autofree char *options = g_strndup(line, strcspn(line, "\n"));
    assert_non_null(strstr(options, " ro,nosuid,nodev,noexec"));
    assert_null(strstr(options, "shared:"));
    container_end(&container);
}

static void nothing_is_left_in_the_hosts_namespace(void **state)
{
    (void)state;
    g_autofree char *before = mountinfo_of(getpid());
    Container container = container_usual();
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    g_autofree char *after = mountinfo_of(getpid());

    container_end(&container);
    assert_string_equal(before, after);
}

static void attaching_twice_changes_nothing(void **state)
{
    (void)state;
    Container container = container_usual();
    g_autoptr(GPtrArray) first G_GNUC_UNUSED = attach(&container);
    g_autofree char *before = mountinfo_of(container.pid);
    g_autoptr(GPtrArray) second = attach(&container);
    g_autofree char *after = mountinfo_of(container.pid);

    container_end(&container);
    assert_string_equal(before, after);
    assert_int_equal(count_status(second, PV_ATTACH_DONE), 0);
    assert_int_equal(count_status(second, PV_ATTACH_ALREADY), count_status(first, PV_ATTACH_DONE));
}

static void detach_restores_what_was_there(void **state)
{
    (void)state;
    Container container = container_usual();
    g_autofree char *before = mountinfo_of(container.pid);
    g_autoptr(GPtrArray) attached = attach(&container);
    g_autoptr(GPtrArray) detached = results_new();
    g_autoptr(GError) error = NULL;

    gboolean ok = pv_detach(container.pid, detached, &error);
    g_autofree char *after = mountinfo_of(container.pid);
    long fs = fs_of(&container, "/proc/meminfo");
    container_end(&container);
    assert_true(ok);
    assert_string_equal(before, after);
    assert_int_equal(fs, PROC_SUPER_MAGIC);
    assert_int_equal(count_status(detached, PV_ATTACH_REMOVED),
                     count_status(attached, PV_ATTACH_DONE));
}

static void detach_without_views_does_nothing(void **state)
{
    (void)state;
    Container container = container_usual();
    g_autoptr(GPtrArray) results = results_new();
    gboolean ok = pv_detach(container.pid, results, NULL);

    container_end(&container);
    assert_true(ok);
    assert_int_equal(results->len, 0);
}

static void detach_leaves_a_copy_of_the_daemons_mount(void **state)
{
    (void)state;
    Container container = container_usual();
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    g_autoptr(GPtrArray) detached = results_new();

    assert_true(pv_detach(container.pid, detached, NULL));
    long fs = fs_of(&container, the_daemon.dir);
    container_end(&container);
    assert_int_equal(fs, FUSE_SUPER_MAGIC);
}

/* ---- dead and hung mounts ---- */

static void a_dead_mount_is_replaced(void **state)
{
    (void)state;
    Daemon daemon;
    g_autoptr(GPtrArray) first = results_new();
    Container container = container_usual();

    daemon_start(&daemon);
    assert_true(pv_attach(daemon.dir, container.pid, first, NULL));
    daemon_end(&daemon, SIGKILL);
    assert_int_equal(fs_of(&container, "/proc/meminfo"), -ENOTCONN);

    g_autoptr(GPtrArray) second = attach(&container);
    long fs = fs_of(&container, "/proc/meminfo");
    g_autofree char *text = mountinfo_of(container.pid);
    container_end(&container);
    assert_int_equal(fs, FUSE_SUPER_MAGIC);
    assert_int_equal(count_status(second, PV_ATTACH_REPLACED), count_status(first, PV_ATTACH_DONE));
    assert_int_equal(count(text, " /proc/meminfo /proc/meminfo "), 1);
}

static void detach_takes_dead_mounts_away(void **state)
{
    (void)state;
    Daemon daemon;
    g_autoptr(GPtrArray) attached = results_new();
    g_autoptr(GPtrArray) detached = results_new();
    Container container = container_usual();

    daemon_start(&daemon);
    assert_true(pv_attach(daemon.dir, container.pid, attached, NULL));
    daemon_end(&daemon, SIGKILL);
    gboolean ok = pv_detach(container.pid, detached, NULL);
    long fs = fs_of(&container, "/proc/meminfo");
    container_end(&container);
    assert_true(ok);
    assert_int_equal(fs, PROC_SUPER_MAGIC);
}

static void a_hung_daemon_is_an_error_in_time(void **state)
{
    (void)state;
    Daemon daemon;
    g_autoptr(GPtrArray) results = results_new();
    g_autoptr(GError) error = NULL;
    Container container = container_usual();
    g_autofree char *before = mountinfo_of(container.pid);

    daemon_start(&daemon);
    kill(daemon.pid, SIGSTOP);
    waitpid(daemon.pid, NULL, WUNTRACED); /* each of its threads */
    gint64 start_usec = g_get_monotonic_time();
    gboolean ok = pv_attach(daemon.dir, container.pid, results, &error);
    gint64 took_usec = g_get_monotonic_time() - start_usec;
    g_autofree char *after = mountinfo_of(container.pid);
    kill(daemon.pid, SIGCONT);
    daemon_end(&daemon, SIGTERM);
    container_end(&container);
    assert_false(ok);
    assert_non_null(strstr(error->message, "is procviewd running?"));
    assert_true(took_usec < 12000000);
    assert_string_equal(before, after);
}

/* Bind a directory in a container's mount namespace. */
static int bind_inside(const Container *container, const char *from, const char *to)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        g_autofree char *path = g_strdup_printf("/proc/%d/ns/mnt", container->pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        _exit(fd >= 0 && setns(fd, CLONE_NEWNS) == 0 && mount(from, to, NULL, MS_BIND, NULL) == 0
                  ? 0
                  : 1);
    }
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* A child that hangs is killed: what it did not come to is not to be undone. */
static void a_hung_file_system_in_the_way_leaves_older_views_alone(void **state)
{
    (void)state;
    Daemon daemon;
    g_autoptr(GPtrArray) again = results_new();
    g_autoptr(GError) error = NULL;

    daemon_start(&daemon);
    Container container = container_usual();
    g_autoptr(GPtrArray) first G_GNUC_UNUSED = attach(&container);
    int bound = bind_inside(&container, daemon.dir, "/proc/pressure");
    kill(daemon.pid, SIGSTOP);
    waitpid(daemon.pid, NULL, WUNTRACED); /* each of its threads */
    g_autofree char *before = mountinfo_of(container.pid);
    gint64 start_usec = g_get_monotonic_time();
    gboolean ok = pv_attach(the_daemon.dir, container.pid, again, &error);
    gint64 took_usec = g_get_monotonic_time() - start_usec;
    g_autofree char *after = mountinfo_of(container.pid);
    kill(daemon.pid, SIGCONT);
    daemon_end(&daemon, SIGTERM);
    container_end(&container);
    assert_int_equal(bound, 0);
    assert_false(ok);
    assert_string_equal(before, after);
    assert_true(took_usec < 15000000);
}

static void views_of_a_hung_daemon_are_replaced(void **state)
{
    (void)state;
    Daemon daemon;
    g_autoptr(GPtrArray) first = results_new();
    Container container = container_usual();

    daemon_start(&daemon);
    assert_true(pv_attach(daemon.dir, container.pid, first, NULL));
    kill(daemon.pid, SIGSTOP);
    waitpid(daemon.pid, NULL, WUNTRACED); /* each of its threads */
    g_autoptr(GPtrArray) second = attach(&container);
    long fs = fs_of(&container, "/proc/meminfo");
    kill(daemon.pid, SIGCONT);
    daemon_end(&daemon, SIGTERM);
    container_end(&container);
    assert_int_equal(fs, FUSE_SUPER_MAGIC);
    assert_int_equal(result_of(second, "/proc/meminfo")->status, PV_ATTACH_REPLACED);
}

/* ---- odd containers ---- */

static void missing_files_are_skipped_by_name(void **state)
{
    (void)state;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_pids_only);
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);

    container_end(&container);
    assert_skipped(results, "/proc/meminfo", "no such file");
    assert_int_equal(result_of(results, "/sys/devices/system/cpu")->status, PV_ATTACH_DONE);
}

static void a_file_with_a_mount_of_its_own_is_left(void **state)
{
    (void)state;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_own_uptime);
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    long fs = fs_of(&container, "/proc/uptime");

    container_end(&container);
    assert_skipped(results, "/proc/uptime", "tmpfs");
    assert_int_equal(fs, TMPFS_MAGIC);
    assert_int_equal(result_of(results, "/proc/meminfo")->status, PV_ATTACH_DONE);
}

static void a_container_without_proc_gets_the_rest(void **state)
{
    (void)state;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_without_proc);
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);

    container_end(&container);
    assert_skipped(results, "/proc/meminfo", "no such file");
    assert_int_equal(result_of(results, "/sys/devices/system/cpu")->status, PV_ATTACH_DONE);
}

static void a_container_with_nothing_gets_nothing(void **state)
{
    (void)state;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_with_nothing);
    g_autofree char *before = mountinfo_of(container.pid);
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    g_autofree char *after = mountinfo_of(container.pid);

    container_end(&container);
    assert_int_equal(count_status(results, PV_ATTACH_SKIPPED), results->len);
    assert_string_equal(before, after);
}

static void read_only_proc_and_sys_are_covered(void **state)
{
    (void)state;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_read_only);
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    long fs = fs_of(&container, "/proc/meminfo");

    container_end(&container);
    assert_int_equal(fs, FUSE_SUPER_MAGIC);
}

static void a_user_namespace_is_no_hindrance(void **state)
{
    (void)state;
    Container container =
        container_start(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET, setup_usual);
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    g_autoptr(GPtrArray) detached = results_new();
    long attached_fs = fs_of(&container, "/proc/meminfo");
    gboolean ok = pv_detach(container.pid, detached, NULL);
    long detached_fs = fs_of(&container, "/proc/meminfo");

    container_end(&container);
    assert_int_equal(result_of(results, "/proc/meminfo")->status, PV_ATTACH_DONE);
    assert_int_equal(attached_fs, FUSE_SUPER_MAGIC);
    assert_true(ok);
    assert_int_equal(detached_fs, PROC_SUPER_MAGIC);
}

static void a_chrooted_process_gets_them_in_its_root(void **state)
{
    (void)state;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_chroot);
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    g_autoptr(GPtrArray) detached = results_new();
    long attached_fs = fs_of(&container, "/proc/meminfo");
    gboolean ok = pv_detach(container.pid, detached, NULL);
    long detached_fs = fs_of(&container, "/proc/meminfo");

    container_end(&container);
    assert_int_equal(attached_fs, FUSE_SUPER_MAGIC);
    assert_skipped(results, "/sys/devices/system/cpu", "no such file");
    assert_true(ok);
    assert_int_equal(detached_fs, PROC_SUPER_MAGIC);
}

static void symbolic_links_are_not_followed(void **state)
{
    (void)state;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_symlink);
    g_autofree char *before = mountinfo_of(container.pid);
    g_autoptr(GPtrArray) results G_GNUC_UNUSED = attach(&container);
    g_autofree char *after = mountinfo_of(container.pid);

    container_end(&container);
    assert_skipped(results, "/proc/meminfo", "symbolic link");
    assert_string_equal(before, after);
}

/* ---- failures ---- */

/* Run by in_child(): 0 when all was as it should be, else a number that tells what was not. No
 * assert there: it would go on with the tests in the child. */
typedef int (*ChildFunc)(void);

static int in_child(ChildFunc func)
{
    int status;
    pid_t self = getpid(), pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        pvt_child_setup(self);
        _exit(func());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* In a mount namespace whose mounts the container's are peers of. */
static int attach_to_a_peer(void)
{
    g_autoptr(GPtrArray) results = results_new();
    g_autoptr(GError) error = NULL;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
        return 1;
    Container container = container_try(CLONE_NEWNS, setup_nothing);
    g_autofree char *before = mountinfo_of(getpid());
    gboolean ok = pv_attach(the_daemon.dir, container.pid, results, &error);
    g_autofree char *after = mountinfo_of(getpid());
    container_end(&container);
    if (ok || strstr(error->message, "shared with the host") == NULL)
        return 2;
    return strcmp(before, after) == 0 ? 0 : 3;
}

static void mounts_that_would_reach_the_host_are_refused(void **state)
{
    (void)state;
    assert_int_equal(in_child(attach_to_a_peer), 0);
}

/* move_mount fails from some file on, as it does when a namespace is full. */
static int attach_with_failing_mounts(void)
{
    g_autoptr(GPtrArray) results = results_new();
    g_autoptr(GError) error = NULL;
    Container container = container_try(CLONE_NEWNS | CLONE_NEWPID, setup_usual);
    g_autofree char *before = mountinfo_of(container.pid);
    pv_autofd int next = open("/", O_PATH | O_CLOEXEC);

    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSPC), SCMP_SYS(move_mount), 1,
                         SCMP_A0(SCMP_CMP_GT, (scmp_datum_t)next + 20, 0)) < 0 ||
        seccomp_load(filter) < 0)
        return 1;
    seccomp_release(filter);
    gboolean ok = pv_attach(the_daemon.dir, container.pid, results, &error);
    g_autofree char *after = mountinfo_of(container.pid);
    container_end(&container);
    if (ok || strstr(error->message, g_strerror(ENOSPC)) == NULL)
        return 2;
    if (count_status(results, PV_ATTACH_FAILED) != 1)
        return 3;
    /* Without one that was mounted first, nothing was proved. */
    guint undone = 0;
    for (guint i = 0; i < results->len; i++) {
        const PvAttachResult *result = results->pdata[i];
        undone += result->reason != NULL && strstr(result->reason, "taken away again") != NULL;
    }
    if (undone == 0)
        return 4;
    return strcmp(before, after) == 0 ? 0 : 5;
}

static void a_failure_undoes_everything(void **state)
{
    (void)state;
    assert_int_equal(in_child(attach_with_failing_mounts), 0);
}

/* As on kernels before 5.12 and 5.6. */
static int attach_on_an_old_kernel(void)
{
    g_autoptr(GPtrArray) results = results_new();
    g_autoptr(GError) error = NULL;
    Container container = container_try(CLONE_NEWNS | CLONE_NEWPID, setup_usual);

    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(mount_setattr), 0) < 0 ||
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0) < 0 ||
        seccomp_load(filter) < 0)
        return 1;
    seccomp_release(filter);
    gboolean ok = pv_attach(the_daemon.dir, container.pid, results, &error);
    long fs = fs_of(&container, "/proc/meminfo");
    container_end(&container);
    if (!ok)
        fprintf(stderr, "%s\n", error->message);
    return !ok ? 2 : fs == FUSE_SUPER_MAGIC ? 0 : 3;
}

static void older_kernels_do_without_new_calls(void **state)
{
    (void)state;
    assert_int_equal(in_child(attach_on_an_old_kernel), 0);
}

static void a_directory_without_views_is_refused(void **state)
{
    (void)state;
    const char *const dirs[] = {"/", "/tmp", "/no/such/directory", "/proc"};
    Container container = container_usual();

    for (guint i = 0; i < G_N_ELEMENTS(dirs); i++) {
        g_autoptr(GPtrArray) results = results_new();
        g_autoptr(GError) error = NULL;
        assert_false(pv_attach(dirs[i], container.pid, results, &error));
        assert_non_null(strstr(error->message, "is procviewd running?"));
        assert_int_equal(results->len, 0);
    }
    container_end(&container);
}

static void a_process_that_has_ended_is_an_error(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) results = results_new();
    g_autoptr(GError) error = NULL;
    Container container = container_usual();

    kill(container.pid, SIGKILL); /* not reaped: a zombie */
    siginfo_t info;
    waitid(P_PID, (id_t)container.pid, &info, WEXITED | WNOWAIT);
    assert_false(pv_attach(the_daemon.dir, container.pid, results, &error));
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_NOT_FOUND));
    waitpid(container.pid, NULL, 0);
}

/* ---- the commands ---- */

static int run(char **ret_out, char **ret_err, const char *first, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    int status = -1;
    va_list args;

    const char *path = g_getenv("PROCVIEW");
    g_ptr_array_add(argv, (gpointer)(path != NULL ? path : PROCVIEW));
    va_start(args, first);
    for (const char *arg = first; arg != NULL; arg = va_arg(args, const char *))
        g_ptr_array_add(argv, (gpointer)arg);
    va_end(args);
    g_ptr_array_add(argv, NULL);
    assert_true(g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL, ret_out,
                             ret_err, &status, NULL));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_commands_say_what_they_did(void **state)
{
    (void)state;
    g_autofree char *out = NULL, *err = NULL, *again = NULL, *gone = NULL, *more = NULL;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_own_uptime);
    g_autofree char *pid = g_strdup_printf("%d", container.pid);

    int attached = run(&out, &err, "attach", "--views", the_daemon.dir, pid, NULL);
    int twice = run(&again, NULL, "attach", "--views", the_daemon.dir, pid, NULL);
    int detached = run(&gone, NULL, "detach", pid, NULL);
    int empty = run(&more, NULL, "detach", pid, NULL);
    container_end(&container);

    assert_int_equal(attached, 0);
    assert_non_null(strstr(out, " files attached, "));
    assert_non_null(strstr(err, "/proc/uptime skipped: it is on a tmpfs file system"));
    assert_int_equal(twice, 0);
    assert_non_null(strstr(again, " files attached already, "));
    assert_non_null(strstr(again, " skipped"));
    assert_int_equal(detached, 0);
    assert_non_null(strstr(gone, " files detached"));
    assert_int_equal(empty, 0);
    assert_non_null(strstr(more, "nothing to detach"));
}

static void quiet_commands_say_nothing(void **state)
{
    (void)state;
    g_autofree char *out = NULL, *err = NULL;
    Container container = container_start(CLONE_NEWNS | CLONE_NEWPID, setup_own_uptime);
    g_autofree char *pid = g_strdup_printf("%d", container.pid);
    int status = run(&out, &err, "attach", "--quiet", "--views", the_daemon.dir, pid, NULL);

    container_end(&container);
    assert_int_equal(status, 0);
    assert_string_equal(out, "");
    assert_string_equal(err, "");
}

static void failing_commands_name_the_cause(void **state)
{
    (void)state;
    g_autofree char *own = NULL, *nobody = NULL, *cgroup = NULL;
    g_autofree char *self = g_strdup_printf("%d", getpid());

    assert_int_equal(run(NULL, &own, "attach", "--views", the_daemon.dir, self, NULL), 1);
    assert_non_null(strstr(own, "procview: attach: "));
    assert_non_null(strstr(own, "no mount namespace of its own"));
    assert_int_equal(run(NULL, &nobody, "attach", "no-such-container", NULL), 1);
    assert_non_null(strstr(nobody, "looked in: "));
    assert_int_equal(run(NULL, &cgroup, "attach", "/no/such/cgroup", NULL), 1);
    assert_non_null(strstr(cgroup, "/no/such/cgroup"));
}

static int run_status(const char *const *arguments)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        const char *path = g_getenv("PROCVIEW");
        execv(path != NULL ? path : PROCVIEW, (char *const *)arguments);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Pid 1 of a pid namespace: --all reaches no container of the machine from there. */
static int attach_all_here(void)
{
    const char *const attach_argv[] = {"procview", "attach",       "--all", "--quiet",
                                       "--views",  the_daemon.dir, NULL};
    const char *const detach_argv[] = {"procview", "detach", "--all", "--quiet", NULL};

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", 0, NULL) < 0)
        return 1;
    Container one = container_try(CLONE_NEWNS | CLONE_NEWPID, setup_usual);
    Container other = container_try(CLONE_NEWNS | CLONE_NEWPID, setup_chroot);
    /* Without a mount namespace of its own: left out, no failure. */
    Container bare = container_try(CLONE_NEWPID, setup_nothing);
    if (one.pid < 0 || other.pid < 0 || bare.pid < 0)
        return 2;
    if (run_status(attach_argv) != 0)
        return 3;
    if (fs_of(&one, "/proc/meminfo") != FUSE_SUPER_MAGIC ||
        fs_of(&other, "/proc/meminfo") != FUSE_SUPER_MAGIC)
        return 4;
    if (run_status(detach_argv) != 0)
        return 5;
    if (fs_of(&one, "/proc/meminfo") != PROC_SUPER_MAGIC ||
        fs_of(&other, "/proc/meminfo") != PROC_SUPER_MAGIC)
        return 6;
    return 0; /* the containers end with this namespace */
}

static void all_are_the_containers_below_this_pid_namespace(void **state)
{
    (void)state;
    struct clone_args args = {.flags = CLONE_NEWPID | CLONE_NEWNS, .exit_signal = SIGCHLD};
    pid_t pid = pv_sys_clone3(&args, sizeof(args));
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        pvt_child_setup(0);
        _exit(attach_all_here());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A tool in front of PATH that knows `name` as the process `pid`. */
static void write_tool(const char *dir, const char *tool, const char *name, pid_t pid)
{
    g_autofree char *path = g_build_filename(dir, tool, NULL);
    g_autofree char *text = g_strdup_printf(
        "#!/bin/sh\nfor arg; do [ \"$arg\" = %s ] && echo %d && exit; done\nexit 1\n", name, pid);

    assert_true(g_file_set_contents(path, text, -1, NULL));
    assert_int_equal(chmod(path, 0755), 0);
}

static void names_of_two_managers_are_ambiguous(void **state)
{
    (void)state;
    g_autofree char *out = NULL, *err = NULL;
    g_autofree char *dir = make_folder("tools-XXXXXX");
    g_autofree char *old_path = g_strdup(g_getenv("PATH"));
    g_autofree char *path = g_strconcat(dir, ":", old_path, NULL);
    Container one = container_usual(), other = container_usual();

    write_tool(dir, "docker", "pv-one", one.pid);
    g_setenv("PATH", path, TRUE);
    int single = run(&out, NULL, "attach", "--views", the_daemon.dir, "pv-one", NULL);
    write_tool(dir, "podman", "pv-one", other.pid);
    int both = run(NULL, &err, "attach", "--views", the_daemon.dir, "pv-one", NULL);
    g_setenv("PATH", old_path, TRUE);
    g_autofree char *command = g_strdup_printf("rm -r '%s'", dir);
    assert_int_equal(system(command), 0);
    container_end(&one);
    container_end(&other);

    assert_int_equal(single, 0);
    assert_non_null(strstr(out, "pv-one: "));
    assert_int_equal(both, 1);
    assert_non_null(strstr(err, "'pv-one' fits more than one container: docker (process "));
    assert_non_null(strstr(err, ", podman (process "));
}

static void show_and_ps_need_no_mount(void **state)
{
    (void)state;
    g_autofree char *text = NULL, *json = NULL, *table = NULL;
    Container container = container_usual();
    g_autofree char *pid = g_strdup_printf("%d", container.pid);
    int shown = run(&text, NULL, "show", "meminfo", "--pid", pid, NULL);
    int listed = run(&json, NULL, "ps", "--json", NULL);
    int table_status = run(&table, NULL, "ps", NULL);

    container_end(&container);
    assert_int_equal(shown, 0);
    assert_true(g_str_has_prefix(text, "MemTotal:"));
    assert_int_equal(listed, 0);
    g_autofree char *needle = g_strdup_printf("\"pid\": %s,", pid);
    assert_non_null(strstr(json, needle));
    assert_int_equal(table_status, 0);
    assert_true(g_str_has_prefix(table, "NAME "));
    assert_non_null(strstr(table, pid));
}

/* The daemon's option is a key of its configuration, which these read too. */
static void show_and_ps_read_the_daemons_configuration(void **state)
{
    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        print_message("skipped: it needs 2 CPUs\n");
        skip();
    }
    g_autofree char *path = pvt_path("procview.conf"), *bad = pvt_path("bad.conf");
    g_autofree char *real = NULL, *dense = NULL, *list = NULL, *err = NULL, *missing = NULL;
    Container container = container_usual();
    g_autofree char *pid = g_strdup_printf("%d", container.pid);

    assert_true(g_file_set_contents(path, "[procview]\ncpu-ids=dense\n", -1, NULL));
    assert_true(g_file_set_contents(bad, "[procview]\ncpu-ids=odd\n", -1, NULL));
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "dense");
    pvt_cgroup_set_cpus(cgroup, "1");
    pvt_cgroup_enter(cgroup, container.pid);
    int status[] = {
        run(&real, NULL, "show", "online", "--pid", pid, NULL),
        run(&dense, NULL, "show", "online", "--pid", pid, "--config", path, NULL),
        run(&list, NULL, "ps", "--config", path, NULL),
        run(NULL, &err, "ps", "--config", bad, NULL),
        run(NULL, &missing, "show", "online", "--config", "/no/such/file", NULL),
    };
    container_end(&container);
    assert_int_equal(status[0] | status[1] | status[2], 0);
    assert_string_equal(real, "1\n");
    assert_string_equal(dense, "0\n");
    assert_int_equal(status[3], 1);
    assert_non_null(
        strstr(err, "bad.conf:2: bad value \"odd\" of \"cpu-ids\"; allowed: real, dense"));
    assert_int_equal(status[4], 1);
    assert_non_null(strstr(missing, "/no/such/file"));
}

static int group_setup(void **state)
{
    (void)state;
    daemon_start(&the_daemon);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    daemon_end(&the_daemon, SIGTERM);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attach_covers_proc_and_sys),
        cmocka_unit_test(what_is_said_to_be_attached_is_what_the_container_sees),
        cmocka_unit_test(attached_files_are_sealed),
        cmocka_unit_test(nothing_is_left_in_the_hosts_namespace),
        cmocka_unit_test(attaching_twice_changes_nothing),
        cmocka_unit_test(detach_restores_what_was_there),
        cmocka_unit_test(detach_without_views_does_nothing),
        cmocka_unit_test(detach_leaves_a_copy_of_the_daemons_mount),
        cmocka_unit_test(a_dead_mount_is_replaced),
        cmocka_unit_test(detach_takes_dead_mounts_away),
        cmocka_unit_test(a_hung_daemon_is_an_error_in_time),
        cmocka_unit_test(a_hung_file_system_in_the_way_leaves_older_views_alone),
        cmocka_unit_test(views_of_a_hung_daemon_are_replaced),
        cmocka_unit_test(missing_files_are_skipped_by_name),
        cmocka_unit_test(a_file_with_a_mount_of_its_own_is_left),
        cmocka_unit_test(a_container_without_proc_gets_the_rest),
        cmocka_unit_test(a_container_with_nothing_gets_nothing),
        cmocka_unit_test(read_only_proc_and_sys_are_covered),
        cmocka_unit_test(a_user_namespace_is_no_hindrance),
        cmocka_unit_test(a_chrooted_process_gets_them_in_its_root),
        cmocka_unit_test(symbolic_links_are_not_followed),
        cmocka_unit_test(mounts_that_would_reach_the_host_are_refused),
        cmocka_unit_test(a_failure_undoes_everything),
        cmocka_unit_test(older_kernels_do_without_new_calls),
        cmocka_unit_test(a_directory_without_views_is_refused),
        cmocka_unit_test(a_process_that_has_ended_is_an_error),
        cmocka_unit_test(the_commands_say_what_they_did),
        cmocka_unit_test(quiet_commands_say_nothing),
        cmocka_unit_test(failing_commands_name_the_cause),
        cmocka_unit_test(names_of_two_managers_are_ambiguous),
        cmocka_unit_test(all_are_the_containers_below_this_pid_namespace),
        cmocka_unit_test(show_and_ps_need_no_mount),
        cmocka_unit_test(show_and_ps_read_the_daemons_configuration),
    };

    return pvt_main_with(tests, group_setup, group_teardown);
}
