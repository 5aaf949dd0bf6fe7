/* How the files are read: many at once, in small pieces, while the container dies. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((guint64)1 << 20)

static void test_64_readers_at_once(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "readers");
    g_autofree char *text = NULL;
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 256 * MIB);
    container = pvt_container_start(daemon, cgroup, 0);
    text = pvt_run(container, "for i in $(seq 64); do (for k in 1 2 3 4 5; do cat /proc/meminfo; "
                              "done | grep -c 'MemTotal:         262144 kB') & done; wait");
    assert_int_equal(pvt_count_lines(text, "5"), 64);
    pvt_daemon_stop(daemon);
}

/* Every process reads the descriptor that it inherited: each piece is one of some text, whole
 * numbers in whole lines. */
static void test_many_readers_of_one_open_file(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "shared-file");
    g_autofree char *text = NULL;
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 256 * MIB);
    container = pvt_container_start(daemon, cgroup, 0);
    text =
        pvt_run(container,
                "perl -e 'use strict; open my $f, \"<\", \"/proc/meminfo\" or die; my $bad = 0;"
                "for (1..8) { my $p = fork; next if $p; for (1..50) {"
                "open my $g, \"<&=\", fileno($f); sysseek $g, 0, 0; my $t = \"\";"
                "sysread $g, $t, 65536; $bad++ if length $t && $t !~ /^[A-Z].*kB\\n|^HugePages/m;"
                "} exit $bad } my $sum = 0; while (wait > 0) { $sum += $? >> 8 } print $sum'");
    assert_string_equal(text, "0");
    pvt_daemon_stop(daemon);
}

/* The text without its numbers. */
static char *keys_of(const char *text)
{
    GString *keys = g_string_new(NULL);

    for (const char *c = text; *c != '\0'; c++) {
        if (strchr(" .0123456789", *c) == NULL)
            g_string_append_c(keys, *c);
    }
    return g_string_free(keys, FALSE);
}

static void test_reads_of_one_byte_make_one_text(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "byte");
    const char *files[] = {"/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/loadavg",
                           "/proc/vmstat"};
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 64 * MIB);
    container = pvt_container_start(daemon, cgroup, 0);
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *bytes = pvt_run(container, "dd if=%s bs=1 2>/dev/null", files[i]);
        g_autofree char *whole = pvt_run(container, "cat %s", files[i]);
        g_autofree char *keys = keys_of(bytes);
        g_autofree char *whole_keys = keys_of(whole);

        assert_true(strlen(bytes) > 4);
        assert_string_equal(keys, whole_keys);
    }
    pvt_daemon_stop(daemon);
}

static void test_read_behind_the_end_is_empty(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, NULL, 0);
    g_autofree char *text =
        pvt_run(container, "dd if=/proc/meminfo bs=1 skip=1000000 count=10 2>/dev/null | wc -c");

    (void)state;
    assert_string_equal(g_strstrip(text), "0");
    pvt_daemon_stop(daemon);
}

static void test_files_look_as_the_kernels_do(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);
    struct stat served, own;

    (void)state;
    assert_int_equal(stat(path, &served), 0);
    assert_int_equal(stat("/proc/meminfo", &own), 0);
    assert_int_equal(served.st_mode, own.st_mode);
    assert_int_equal(served.st_uid, own.st_uid);
    assert_int_equal(served.st_gid, own.st_gid);
    assert_int_equal(served.st_nlink, own.st_nlink);
    pvt_daemon_stop(daemon);
}

/* Copied by sendfile(2), as busybox cat does: with the whole text, and with nobody else's. */
static void test_sendfile_copies_what_a_read_gives(void **state)
{
    static const char *const FILES[] = {"proc/meminfo", "proc/cpuinfo", "proc/vmstat",
                                        "sys/devices/system/cpu/online"};
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "sendfile");

    (void)state;
    pvt_cgroup_limit_cpu(cgroup, 50000, 100000);
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    for (guint i = 0; i < G_N_ELEMENTS(FILES); i++) {
        g_autofree char *lines = pvt_run(container, "busybox cat /%s | wc -l", FILES[i]);
        g_autofree char *read = pvt_run(container, "wc -l </%s", FILES[i]);
        assert_true(atoi(lines) > 0);
        assert_int_equal(atoi(lines), atoi(read));
    }
    g_autofree char *online = pvt_run(container, "busybox cat /sys/devices/system/cpu/online");
    assert_string_equal(online, "0\n");

    g_autofree char *path = g_build_filename(daemon->mountpoint, FILES[3], NULL);
    g_autofree char *command = g_strdup_printf("busybox cat %s", path);
    g_autofree char *shown = NULL;
    g_autofree char *own = pvt_read_file("/sys/devices/system/cpu/online");
    assert_true(g_spawn_command_line_sync(command, &shown, NULL, NULL, NULL));
    assert_string_equal(shown, own);
    pvt_daemon_stop(daemon);
}

static void test_the_last_line_is_found_from_the_end(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "tail");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    g_autofree char *last = pvt_run(container, "tail -n 1 /proc/meminfo");
    g_autofree char *expected = pvt_run(container, "sed -n '$p' /proc/meminfo");

    (void)state;
    assert_string_equal(last, expected);
    pvt_daemon_stop(daemon);
}

static void test_nothing_can_be_written(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *meminfo = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);
    g_autofree char *new_file = g_build_filename(daemon->mountpoint, "proc/x", NULL);
    g_autofree char *uevent =
        g_build_filename(daemon->mountpoint, "sys/devices/system/cpu/cpu0/uevent", NULL);

    (void)state;
    assert_int_equal(open(meminfo, O_RDWR | O_CLOEXEC), -1);
    assert_true(errno == EROFS || errno == EACCES);
    assert_int_equal(open(uevent, O_WRONLY | O_CLOEXEC), -1);
    assert_true(errno == EROFS || errno == EACCES);
    assert_int_equal(open(new_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(unlink(meminfo), -1);
    assert_int_equal(errno, EROFS);
    pvt_daemon_stop(daemon);
}

static void test_directories_list_their_files(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, NULL, PVT_NO_VIEWS);
    g_autofree char *text = pvt_run(container, "ls %s/proc %s/sys/devices/system/cpu/cpu0",
                                    daemon->mountpoint, daemon->mountpoint);
    g_autofree char *all =
        pvt_run(container, "find %s/sys %s/proc | wc -l", daemon->mountpoint, daemon->mountpoint);

    (void)state;
    assert_int_equal(pvt_count_lines(text, "meminfo"), 1);
    assert_int_equal(pvt_count_lines(text, "stat"), 1);
    assert_int_equal(pvt_count_lines(text, "topology"), 1);
    assert_true(g_ascii_strtoull(all, NULL, 10) > 30);
    pvt_daemon_stop(daemon);
}

/* Read every file that is served, as `grep -r` would; none may fail but those that the kernel's own
 * refuse. */
static void test_every_file_can_be_read(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "every");
    g_autofree char *text = NULL;
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_cpu(cgroup, 50000, 100000);
    container = pvt_container_start(daemon, cgroup, PVT_NO_VIEWS);
    text = pvt_run(container,
                   "cd %s; find . -type f -perm -400 | sort | while read -r f; do "
                   "cat \"$f\" >/dev/null 2>&1 || { cat \"/$f\" >/dev/null 2>&1 && echo \"$f\"; }; "
                   "done",
                   daemon->mountpoint);
    assert_string_equal(text, "");
    pvt_daemon_stop(daemon);
}

static void test_container_that_dies_while_it_is_read(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();

    (void)state;
    for (guint i = 0; i < 5; i++) {
        PvtCgroup *cgroup = pvt_cgroup_new(NULL, "dying");
        g_autofree char *text = NULL;
        PvtContainer *container;

        pvt_cgroup_limit_memory(cgroup, 64 * MIB);
        container = pvt_container_start(daemon, cgroup, 0);
        g_free(pvt_run(container, "for i in 1 2 3 4; do (while :; do cat /proc/meminfo /proc/stat; "
                                  "done >/dev/null 2>&1) & done"));
        pvt_sleep_msec(20 * i);
        pvt_container_stop(container);
        pvt_cgroup_remove(cgroup);
        /* The daemon goes on. */
        container = pvt_container_start(daemon, NULL, 0);
        text = pvt_run(container, "cat /proc/meminfo");
        assert_true(pvt_field(text, "MemTotal:") > 0);
        pvt_container_stop(container);
    }
    pvt_daemon_stop(daemon);
}

/* A file that is open in the host outlives the container that it is of. */
static void test_open_file_of_a_container_that_is_gone(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "gone");
    g_autofree char *path = NULL;
    PvtContainer *container;
    char buf[65536];
    ssize_t n;
    int fd;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 64 * MIB);
    container = pvt_container_start(daemon, cgroup, 0);
    path = g_strdup_printf("%s/containers/pv-test-%d-gone/proc/meminfo", daemon->mountpoint,
                           (int)getpid());
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, buf, sizeof buf) > 0);
    pvt_container_stop(container);
    pvt_cgroup_remove(cgroup);
    /* Nothing rather than the machine's figures. */
    n = pread(fd, buf, sizeof buf, 0);
    assert_true(n < 0 && errno == ESTALE);
    close(fd);
    assert_int_equal(open(path, O_RDONLY | O_CLOEXEC), -1);
    assert_true(errno == ENOENT || errno == ESTALE);
    pvt_daemon_stop(daemon);
}

/* Runs in a child: read an open file once, and again when the parent says so. */
static void read_twice(const char *path, int from_parent, int to_parent)
{
    char buf[65536], byte;
    int fd = -1;

    for (guint i = 0; i < 2; i++) {
        if (read(from_parent, &byte, 1) != 1)
            break;
        if (fd < 0)
            fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = pread(fd, buf, sizeof buf - 1, 0);
        if (n <= 0 || write(to_parent, buf, 100) != 100)
            break;
    }
    _exit(0);
}

/* A program that keeps a file open, as top does, goes on when it is put into another cgroup and its
 * old one is removed. */
static void test_open_file_follows_its_reader_out_of_a_removed_cgroup(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *first = pvt_cgroup_new(NULL, "first");
    PvtCgroup *second = pvt_cgroup_new(NULL, "second");
    g_autofree char *path = g_build_filename(daemon->mountpoint, "proc/meminfo", NULL);
    int to_child[2], from_child[2];
    char text[101] = "";
    pid_t pid;

    (void)state;
    pvt_cgroup_limit_memory(first, 64 * MIB);
    pvt_cgroup_limit_memory(second, 48 * MIB);
    assert_int_equal(pipe2(to_child, O_CLOEXEC) | pipe2(from_child, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(to_child[1]);
        close(from_child[0]);
        read_twice(path, to_child[0], from_child[1]);
    }
    close(from_child[1]);
    pvt_cgroup_enter(first, pid);
    assert_int_equal(write(to_child[1], "1", 1), 1);
    assert_int_equal(read(from_child[0], text, 100), 100);
    assert_int_equal(pvt_field(text, "MemTotal:"), 64 * 1024);
    pvt_cgroup_enter(second, pid);
    pvt_cgroup_remove(first);
    assert_int_equal(write(to_child[1], "2", 1), 1);
    assert_int_equal(read(from_child[0], text, 100), 100);
    assert_int_equal(pvt_field(text, "MemTotal:"), 48 * 1024);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(to_child[0]);
    close(to_child[1]);
    close(from_child[0]);
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_64_readers_at_once),
        cmocka_unit_test(test_many_readers_of_one_open_file),
        cmocka_unit_test(test_reads_of_one_byte_make_one_text),
        cmocka_unit_test(test_read_behind_the_end_is_empty),
        cmocka_unit_test(test_files_look_as_the_kernels_do),
        cmocka_unit_test(test_sendfile_copies_what_a_read_gives),
        cmocka_unit_test(test_the_last_line_is_found_from_the_end),
        cmocka_unit_test(test_nothing_can_be_written),
        cmocka_unit_test(test_directories_list_their_files),
        cmocka_unit_test(test_every_file_can_be_read),
        cmocka_unit_test(test_container_that_dies_while_it_is_read),
        cmocka_unit_test(test_open_file_of_a_container_that_is_gone),
        cmocka_unit_test(test_open_file_follows_its_reader_out_of_a_removed_cgroup),
    };

    return pvt_main(tests);
}
