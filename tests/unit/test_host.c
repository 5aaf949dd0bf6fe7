/* The host's own files: the detached procfs and sysfs, captured trees, and /proc/PID/stat. */
#include "procview/fd.h"
#include "procview/host.h"
#include "procview/parse.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static PvHost *open_captured(void)
{
    g_autoptr(GError) error = NULL;
    PvHost *host = pv_host_open(FIXTURES "/host-captured", &error);
    if (host == NULL)
        fail_msg("%s", error->message);
    return host;
}

static PvHost *open_live(void)
{
    g_autoptr(GError) error = NULL;
    PvHost *host = pv_host_open(NULL, &error);
    if (host == NULL)
        fail_msg("%s", error->message);
    return host;
}

/* ---- captured trees ---- */

static void captured_files_are_read_whole(void **state)
{
    static const struct {
        PvHostFile file;
        const char *path;
    } CASES[] = {
        {PV_HOST_MEMINFO, "proc/meminfo"},
        {PV_HOST_CPUINFO, "proc/cpuinfo"},
        {PV_HOST_STAT, "proc/stat"}, /* 40 kB */
        {PV_HOST_CPU_POSSIBLE, "sys/devices/system/cpu/possible"},
    };
    g_autoptr(PvHost) host = open_captured();
    (void)state;

    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autofree char *path = g_build_filename(FIXTURES, "host-captured", CASES[i].path, NULL);
        g_autofree char *expected = NULL;
        g_autoptr(GString) out = g_string_new("before ");
        assert_true(g_file_get_contents(path, &expected, NULL, NULL));
        assert_int_equal(pv_host_read(host, CASES[i].file, out), 0);
        assert_memory_equal(out->str, "before ", 7);
        assert_string_equal(out->str + 7, expected);
    }
}

static void missing_files_say_so_and_leave_the_text(void **state)
{
    g_autoptr(PvHost) host = open_captured();
    g_autoptr(GString) out = g_string_new("before");
    (void)state;
    assert_int_equal(pv_host_read(host, PV_HOST_PRESSURE_IO, out), -ENOENT);
    assert_int_equal(pv_host_read(host, PV_HOST_DISKSTATS, out), -ENOENT);
    assert_string_equal(out->str, "before");
}

static void captured_time_is_that_of_its_uptime(void **state)
{
    g_autoptr(PvHost) host = open_captured();
    (void)state;
    assert_int_equal(pv_host_boottime_nsec(host), 4500250000000);
}

static void captured_cpus_are_read(void **state)
{
    g_autoptr(PvHost) host = open_captured();
    g_autoptr(GString) list = g_string_new(NULL);
    PvCpuSet set;
    (void)state;
    assert_int_equal(pv_host_online_cpus(host, &set), 0);
    pv_cpu_set_format_list(&set, list);
    assert_string_equal(list->str, "0-2,5");
}

static void no_tree_is_an_error_with_its_path(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    assert_null(pv_host_open(FIXTURES "/no-such-tree", &error));
    assert_non_null(strstr(error->message, "no-such-tree"));
}

static void captured_process_is_read(void **state)
{
    g_autoptr(PvHost) host = open_captured();
    PvTaskStat stat;
    (void)state;
    assert_int_equal(pv_host_read_task_stat(host, 77, &stat), 0);
    assert_int_equal(stat.state, 'S');
    assert_int_equal(stat.start_ticks, 987654);
    assert_int_equal(pv_host_read_task_stat(host, 78, &stat), -ENOENT);
    assert_int_equal(pv_host_read_task_stat(host, 0, &stat), -ESRCH);
}

/* ---- the live host ---- */

/* It depends on how the kernel was built, and slabinfo is for root. */
static gboolean may_be_missing(PvHostFile file)
{
    return (file >= PV_HOST_PRESSURE_CPU && file <= PV_HOST_PRESSURE_IO) ||
           file == PV_HOST_SCHEDSTAT || file == PV_HOST_SLABINFO;
}

static void live_files_are_the_kernels(void **state)
{
    g_autoptr(PvHost) host = open_live();
    struct statfs fs;
    (void)state;

    assert_int_equal(fstatfs(pv_host_procfs(host), &fs), 0);
    assert_int_equal(fs.f_type, PROC_SUPER_MAGIC);
    assert_int_equal(fstatfs(pv_host_sysfs(host), &fs), 0);
    assert_int_equal(fs.f_type, SYSFS_MAGIC);
    for (guint file = 0; file < PV_HOST_FILE_COUNT; file++) {
        g_autoptr(GString) out = g_string_new(NULL);
        int result = pv_host_read(host, (PvHostFile)file, out);
        if (may_be_missing((PvHostFile)file) && (result == -ENOENT || result == -EACCES))
            continue;
        assert_int_equal(result, 0);
        /* A machine need not have a disk. */
        if (file != PV_HOST_DISKSTATS || out->len > 0)
            assert_true(g_str_has_suffix(out->str, "\n"));
    }
}

static void live_clock_is_the_first_field_of_uptime(void **state)
{
    g_autoptr(PvHost) host = open_live();
    g_autoptr(GString) out = g_string_new(NULL);
    (void)state;

    guint64 before_sec = pv_host_boottime_nsec(host) / 1000000000;
    assert_int_equal(pv_host_read(host, PV_HOST_UPTIME, out), 0);
    guint64 after_sec = pv_host_boottime_nsec(host) / 1000000000;
    assert_in_range(g_ascii_strtoull(out->str, NULL, 10), before_sec, after_sec);
}

static void live_online_cpus_are_those_of_the_system(void **state)
{
    g_autoptr(PvHost) host = open_live();
    PvCpuSet set;
    (void)state;
    assert_int_equal(pv_host_online_cpus(host, &set), 0);
    assert_int_equal(pv_cpu_set_count(&set), sysconf(_SC_NPROCESSORS_ONLN));
}

/* A child in a mount namespace of its own, where a file lies over /proc/meminfo. Exits with 77
 * where that is not allowed. */
static void cover_meminfo(void)
{
    char path[] = "/tmp/procview-test-host-XXXXXX";
    pv_autofd int fd = mkstemp(path);
    gboolean covered = fd >= 0 && write(fd, "MemTotal: 1 kB\n", 15) == 15 &&
                       unshare(CLONE_NEWNS) == 0 &&
                       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                       mount(path, "/proc/meminfo", NULL, MS_BIND, NULL) == 0;
    if (fd >= 0)
        unlink(path);
    if (!covered)
        _exit(77);
}

/* fsopen(2) fails with ENOSYS from here on. */
static void refuse_fsopen(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fsopen, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {G_N_ELEMENTS(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77);
}

/* Run in a child: the test's own mount namespace and system calls stay as they are. */
static void assert_child_succeeds(gboolean (*func)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(func() ? 0 : 1);

    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("not tested: mounts or seccomp filters are not allowed here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static gboolean reads_below_the_cover(void)
{
    cover_meminfo();
    g_autoptr(PvHost) host = pv_host_open(NULL, NULL);
    g_autoptr(GString) out = g_string_new(NULL);
    return host != NULL && pv_host_read(host, PV_HOST_MEMINFO, out) == 0 &&
           strstr(out->str, "MemFree:") != NULL;
}

static void a_mount_over_proc_is_not_read(void **state)
{
    (void)state;
    assert_child_succeeds(reads_below_the_cover);
}

static gboolean refuses_the_cover(void)
{
    cover_meminfo();
    refuse_fsopen();
    g_autoptr(PvHost) host = pv_host_open(NULL, NULL);
    g_autoptr(GString) out = g_string_new(NULL);
    return host != NULL && pv_host_read(host, PV_HOST_MEMINFO, out) == -EXDEV && out->len == 0 &&
           pv_host_read(host, PV_HOST_STAT, out) == 0 &&
           pv_host_read(host, PV_HOST_CPUINFO, out) == 0;
}

static void without_fsopen_a_mount_over_proc_is_refused(void **state)
{
    (void)state;
    assert_child_succeeds(refuses_the_cover);
}

/* ---- /proc/PID/stat ---- */

#define TAIL                                                                                       \
    " R 5 1 1 0 -1 4194304 1 2 3 4 1001 2002 5 6 20 0 1 0 3003 4096 1 18446744073709551615 0 0 0 " \
    "0 0 0 0 0 0 0 0 0 17 63 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

static void stat_with_any_name_is_parsed(void **state)
{
    static const char *const TEXTS[] = {
        "42 (sh)" TAIL,       "42 (a) R 1 (b)" TAIL, "42 ())" TAIL,
        "42 (() S 9 9)" TAIL, "42 (a\nb)" TAIL,      "42 ()" TAIL,
    };
    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(TEXTS); i++) {
        PvTaskStat stat;
        assert_true(pv_task_stat_parse(TEXTS[i], &stat));
        assert_int_equal(stat.state, 'R');
        assert_int_equal(stat.ppid, 5);
        assert_int_equal(stat.user_ticks, 1001);
        assert_int_equal(stat.system_ticks, 2002);
        assert_int_equal(stat.start_ticks, 3003);
        assert_int_equal(stat.processor, 63);
    }
}

static void malformed_stat_is_refused(void **state)
{
    static const char *const TEXTS[] = {
        "",
        "42",
        "42 sh" TAIL,
        "42 (sh",
        "42 (sh)",
        "42 (sh) R",
        "42 (sh) 5 5",
        "42 (sh) R -5 1 1 0 -1 4194304 1 2 3 4 1 2 5 6 20 0 1 0 3 4096 1 18 0 0 0 0 0 0 0 0 0 0 0 "
        "0 17 63 0",
        "42 (sh) R 5 1 1 0 -1 4194304 1 2 3 4 1x 2 5 6 20 0 1 0 3 4096 1 18 0 0 0 0 0 0 0 0 0 0 0 "
        "0 17 63 0",
        /* cut before field 39 */
        "42 (sh) R 5 1 1 0 -1 4194304 1 2 3 4 1 2 5 6 20 0 1 0 3 4096 1 18 0 0 0 0 0 0 0 0 0 0 0 0 "
        "17",
    };
    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(TEXTS); i++) {
        PvTaskStat stat = {.state = '?'};
        assert_false(pv_task_stat_parse(TEXTS[i], &stat));
        assert_int_equal(stat.state, '?');
    }
}

static gpointer burn_ticks(gpointer data)
{
    gint64 end_usec = g_get_monotonic_time() + 150000;
    while (g_get_monotonic_time() < end_usec)
        continue;
    return data;
}

static void ticks_of_a_thread_are_its_own(void **state)
{
    g_autoptr(PvHost) host = open_live();
    PvTaskStat before, after;
    (void)state;

    assert_int_equal(pv_host_read_task_stat(host, gettid(), &before), 0);
    assert_int_equal(before.ppid, getppid());
    assert_int_equal(before.state, 'R');
    g_thread_join(g_thread_new("burner", burn_ticks, NULL));
    assert_int_equal(pv_host_read_task_stat(host, gettid(), &after), 0);
    /* The burner used 15 ticks of 1/100 s, this thread waited. */
    assert_in_range(after.user_ticks + after.system_ticks, before.user_ticks + before.system_ticks,
                    before.user_ticks + before.system_ticks + 3);
    assert_int_equal(after.start_ticks, before.start_ticks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_files_are_read_whole),
        cmocka_unit_test(missing_files_say_so_and_leave_the_text),
        cmocka_unit_test(captured_time_is_that_of_its_uptime),
        cmocka_unit_test(captured_cpus_are_read),
        cmocka_unit_test(no_tree_is_an_error_with_its_path),
        cmocka_unit_test(captured_process_is_read),
        cmocka_unit_test(live_files_are_the_kernels),
        cmocka_unit_test(live_clock_is_the_first_field_of_uptime),
        cmocka_unit_test(live_online_cpus_are_those_of_the_system),
        cmocka_unit_test(a_mount_over_proc_is_not_read),
        cmocka_unit_test(without_fsopen_a_mount_over_proc_is_refused),
        cmocka_unit_test(stat_with_any_name_is_parsed),
        cmocka_unit_test(malformed_stat_is_refused),
        cmocka_unit_test(ticks_of_a_thread_are_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
