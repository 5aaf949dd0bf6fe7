/*
 * Who the reader is, when its number says little: a pid that somebody else had before, and one that
 * the daemon cannot see.
 */
#include "harness.h"

#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (G_GUINT64_CONSTANT(1) << 20)

/* Wait to be put into the cgroup, read, and tell. */
G_NORETURN static void be_reader(const char *meminfo_path, int go_fd, int answer_fd)
{
    char text[8192];
    ssize_t n = -1;
    int fd = -1;

    if (read(go_fd, text, 1) == 1)
        fd = open(meminfo_path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        n = read(fd, text, sizeof text);
    if (n > 0 && write(answer_fd, text, (size_t)n) == n)
        _exit(0);
    _exit(1);
}

/*
 * MemTotal in kB as a new process in the cgroup sees it.
 * pid    the number that it is to have here
 * flags  CLONE_NEWPID: as pid 1 of a namespace of its own
 */
static guint64 read_as(PvtDaemon *daemon, PvtCgroup *cgroup, pid_t pid, guint64 flags)
{
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);
    pid_t numbers[] = {1, pid};
    const guint n_numbers = flags & CLONE_NEWPID ? 2 : 1;
    struct clone_args args = {
        .flags = flags,
        .exit_signal = SIGCHLD,
        .set_tid = (guintptr)&numbers[2 - n_numbers],
        .set_tid_size = n_numbers,
    };
    char text[8192] = "";
    int go[2], answer[2], status;

    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    assert_int_equal(pipe2(answer, O_CLOEXEC), 0);
    pid_t child = pv_sys_clone3(&args, sizeof args);
    if (child == 0)
        be_reader(path, go[0], answer[1]);
    if (child < 0)
        fail_msg("clone3 with pid %d: %s", (int)pid, g_strerror(-child));
    assert_int_equal(child, pid);
    pvt_cgroup_enter(cgroup, child);
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(read(answer[0], text, sizeof text - 1) > 0);
    for (guint i = 0; i < 2; i++) {
        close(go[i]);
        close(answer[i]);
    }
    return pvt_field(text, "MemTotal:");
}

/* A number that nobody has. */
static pid_t free_pid(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return pid;
}

static void check_reuse(guint64 flags)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *small = pvt_cgroup_new(NULL, "small");
    PvtCgroup *large = pvt_cgroup_new(NULL, "large");
    pid_t pid = free_pid();

    pvt_cgroup_limit_memory(small, 64 * MIB);
    pvt_cgroup_limit_memory(large, 96 * MIB);
    for (guint i = 0; i < 20; i++) {
        assert_int_equal(read_as(daemon, small, pid, flags), 64 << 10);
        assert_int_equal(read_as(daemon, large, pid, flags), 96 << 10);
    }
    pvt_daemon_stop(daemon);
}

static void reader_with_a_pid_that_another_had_is_a_new_reader(void **state)
{
    (void)state;
    check_reuse(0);
}

static void init_with_the_pid_of_an_earlier_init_is_a_new_container(void **state)
{
    (void)state;
    check_reuse(CLONE_NEWPID);
}

static void reader_whose_pid_the_daemon_cannot_see_gets_the_kernels_own_file(void **state)
{
    pv_autofd int own_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    g_autofree char *host = pvt_read_file("/proc/meminfo");
    PvtDaemon *daemon;

    (void)state;
    /* The next child, which is the daemon, is pid 1 of a namespace below ours. */
    assert_int_equal(unshare(CLONE_NEWPID), 0);
    daemon = pvt_daemon_start();
    assert_int_equal(setns(own_namespace, CLONE_NEWPID), 0);
    pvt_daemon_expect(daemon, "the container of a reader cannot be told");

    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);
    g_autofree char *shown = pvt_read_file(path);
    assert_int_equal(pvt_field(shown, "MemTotal:"), pvt_field(host, "MemTotal:"));
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_with_a_pid_that_another_had_is_a_new_reader),
        cmocka_unit_test(init_with_the_pid_of_an_earlier_init_is_a_new_container),
        cmocka_unit_test(reader_whose_pid_the_daemon_cannot_see_gets_the_kernels_own_file),
    };

    return pvt_main(tests);
}
