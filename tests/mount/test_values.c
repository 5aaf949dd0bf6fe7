/* What a container reads against what the kernel says of its cgroup. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((guint64)1 << 20)

static void test_memory_is_the_cgroups(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "memory");
    PvtContainer *container;
    g_autofree char *text = NULL;
    guint64 slack_kb = 2048, usage_kb;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 64 * MIB);
    container = pvt_container_start(daemon, cgroup, 0);
    g_free(pvt_run(container, "head -c 8388608 /dev/zero > /tmp/%s-file; rm /tmp/%s-file",
                   "pv-test", "pv-test"));
    text = pvt_run(container, "cat /proc/meminfo");
    usage_kb = pvt_cgroup_memory_usage(cgroup) / 1024;
    assert_int_equal(pvt_field(text, "MemTotal:"), 65536);
    pvt_assert_between(pvt_field(text, "MemFree:") + usage_kb, 65536 - slack_kb, 65536 + slack_kb);
    pvt_assert_between(pvt_field(text, "Cached:") + slack_kb,
                       pvt_cgroup_memory_stat(cgroup, "file", "total_cache") / 1024,
                       pvt_cgroup_memory_stat(cgroup, "file", "total_cache") / 1024 + 2 * slack_kb);
    assert_true(pvt_field(text, "MemAvailable:") <= 65536);
    assert_int_equal(pvt_field(text, "Buffers:"), 0);
    pvt_daemon_stop(daemon);
}

static void test_every_line_of_the_hosts_meminfo_is_there(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "lines"), 0);
    g_autofree char *host = pvt_read_file("/proc/meminfo");
    g_autofree char *text = pvt_run(container, "cat /proc/meminfo");
    g_auto(GStrv) host_lines = g_strsplit(host, "\n", -1);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    (void)state;
    assert_int_equal(g_strv_length(host_lines), g_strv_length(lines));
    for (guint i = 0; lines[i] != NULL; i++)
        assert_int_equal(strcspn(lines[i], ":"), strcspn(host_lines[i], ":"));
    pvt_daemon_stop(daemon);
}

static void test_changed_limits_show_at_the_next_read(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "change");
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 64 * MIB);
    pvt_cgroup_limit_cpu(cgroup, 200000, 100000);
    container = pvt_container_start(daemon, cgroup, 0);
    pvt_assert_text(container, "grep MemTotal /proc/meminfo", "MemTotal:          65536 kB\n");
    pvt_assert_text(container, "grep -c ^processor /proc/cpuinfo",
                    sysconf(_SC_NPROCESSORS_ONLN) > 1 ? "2\n" : "1\n");
    pvt_cgroup_limit_memory(cgroup, 128 * MIB);
    pvt_cgroup_limit_cpu(cgroup, 50000, 100000);
    pvt_assert_text(container, "grep MemTotal /proc/meminfo", "MemTotal:         131072 kB\n");
    pvt_assert_text(container, "grep -c ^processor /proc/cpuinfo", "1\n");
    pvt_daemon_stop(daemon);
}

static void test_open_file_is_new_when_it_is_read_from_the_start_again(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "seek");
    g_autofree char *flag = pvt_path("changed");
    g_autofree char *log = pvt_path("read");
    g_autofree char *text = NULL;
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 64 * MIB);
    container = pvt_container_start(daemon, cgroup, 0);
    g_free(pvt_run(
        container,
        "perl -e 'open F,\"<\",\"/proc/meminfo\"; sysread F,$a,65536; open L,\">\",\"%s\"; "
        "syswrite L,\"x\"; for (1..2000) { last if -e \"%s\"; select undef,undef,undef,.01 } "
        "sysseek F,0,0; sysread F,$b,65536; open O,\">\",\"%s.out\"; print O $b;' "
        "> /dev/null 2>&1 &",
        log, flag, log));
    for (guint i = 0; i < 2000 && access(log, F_OK) < 0; i++)
        pvt_sleep_msec(10);
    pvt_cgroup_limit_memory(cgroup, 128 * MIB);
    assert_true(g_file_set_contents(flag, "", 0, NULL));
    text =
        pvt_run(container,
                "for i in 1 2 3 4 5 6 7 8 9 10; do test -s %s.out && break; sleep 0.2; done; cat "
                "%s.out",
                log, log);
    assert_int_equal(pvt_field(text, "MemTotal:"), 131072);
    pvt_daemon_stop(daemon);
}

static void test_quota_limits_the_cpus_everywhere(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "quota");
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_cpu(cgroup, 50000, 100000);
    container = pvt_container_start(daemon, cgroup, 0);
    pvt_assert_text(container, "grep -c ^processor /proc/cpuinfo", "1\n");
    pvt_assert_text(container, "grep -c '^cpu[0-9]' /proc/stat", "1\n");
    pvt_assert_text(container, "cat /sys/devices/system/cpu/online", "0\n");
    pvt_assert_text(container, "cat /sys/devices/system/cpu/present", "0\n");
    pvt_assert_text(container, "ls -d /sys/devices/system/cpu/cpu[0-9]*",
                    "/sys/devices/system/cpu/cpu0\n");
    assert_int_equal(pvt_run_status(container, NULL, "test -e /sys/devices/system/cpu/cpu1"), 1);
    pvt_assert_text(container, "cat /sys/devices/system/cpu/cpu0/topology/core_siblings_list",
                    "0\n");
    pvt_daemon_stop(daemon);
}

static void test_possible_and_kernel_max_are_the_hosts(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "possible");
    g_autofree char *possible = pvt_read_file("/sys/devices/system/cpu/possible");
    g_autofree char *kernel_max = pvt_read_file("/sys/devices/system/cpu/kernel_max");
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_cpu(cgroup, 50000, 100000);
    container = pvt_container_start(daemon, cgroup, 0);
    pvt_assert_text(container, "cat /sys/devices/system/cpu/possible", possible);
    pvt_assert_text(container, "cat /sys/devices/system/cpu/kernel_max", kernel_max);
    pvt_daemon_stop(daemon);
}

static void test_cpu_ids_are_real(void **state)
{
    PvtDaemon *daemon;
    PvtCgroup *cgroup;
    PvtContainer *container;

    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        print_message("skipped: it needs two CPUs\n");
        skip();
    }
    daemon = pvt_daemon_start();
    cgroup = pvt_cgroup_new(NULL, "cpuset");
    pvt_cgroup_set_cpus(cgroup, "1");
    container = pvt_container_start(daemon, cgroup, 0);
    pvt_assert_text(container, "sed -n 's/^processor.*: //p' /proc/cpuinfo", "1\n");
    pvt_assert_text(container, "cat /sys/devices/system/cpu/online", "1\n");
    pvt_assert_text(container, "ls -d /sys/devices/system/cpu/cpu[0-9]*",
                    "/sys/devices/system/cpu/cpu1\n");
    pvt_assert_text(container, "grep -o '^cpu[0-9]*' /proc/stat", "cpu\ncpu1\n");
    pvt_daemon_stop(daemon);
}

static void test_cpu_ids_are_dense_when_asked_for(void **state)
{
    PvtDaemon *daemon;
    PvtCgroup *cgroup;
    PvtContainer *container;

    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        print_message("skipped: it needs two CPUs\n");
        skip();
    }
    daemon = pvt_daemon_start_with("--cpu-ids=dense", NULL);
    cgroup = pvt_cgroup_new(NULL, "dense");
    pvt_cgroup_set_cpus(cgroup, "1");
    container = pvt_container_start(daemon, cgroup, 0);
    pvt_assert_text(container, "sed -n 's/^processor.*: //p' /proc/cpuinfo", "0\n");
    pvt_assert_text(container, "cat /sys/devices/system/cpu/online", "0\n");
    pvt_assert_text(container, "ls -d /sys/devices/system/cpu/cpu[0-9]*",
                    "/sys/devices/system/cpu/cpu0\n");
    pvt_assert_text(container, "grep -o '^cpu[0-9]*' /proc/stat", "cpu\ncpu0\n");
    pvt_assert_text(container, "cat /sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
                    "0\n");
    pvt_daemon_stop(daemon);
}

static void test_two_containers_see_their_own_cpus_at_once(void **state)
{
    PvtDaemon *daemon;
    PvtCgroup *first_cgroup, *second_cgroup;
    PvtContainer *first, *second;

    (void)state;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        print_message("skipped: it needs two CPUs\n");
        skip();
    }
    daemon = pvt_daemon_start();
    first_cgroup = pvt_cgroup_new(NULL, "first");
    second_cgroup = pvt_cgroup_new(NULL, "second");
    pvt_cgroup_set_cpus(first_cgroup, "0");
    pvt_cgroup_set_cpus(second_cgroup, "1");
    first = pvt_container_start(daemon, first_cgroup, 0);
    second = pvt_container_start(daemon, second_cgroup, 0);
    for (guint i = 0; i < 3; i++) {
        pvt_assert_text(first, "echo /sys/devices/system/cpu/cpu[0-9]*",
                        "/sys/devices/system/cpu/cpu0\n");
        pvt_assert_text(second, "echo /sys/devices/system/cpu/cpu[0-9]*",
                        "/sys/devices/system/cpu/cpu1\n");
        assert_int_equal(pvt_run_status(first, NULL, "test -d /sys/devices/system/cpu/cpu1"), 1);
        assert_int_equal(pvt_run_status(second, NULL, "test -d /sys/devices/system/cpu/cpu1"), 0);
        assert_int_equal(pvt_run_status(first, NULL, "test -d /sys/devices/system/cpu/cpu0"), 0);
    }
    pvt_daemon_stop(daemon);
}

/* Check that the cpu line is the sum of the others, and that those are as long as the uptime. */
static void check_stat(const char *text, guint64 uptime_ticks)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint64 sum = 0;
    guint n = 0;

    for (guint i = 0; lines[i] != NULL; i++) {
        guint64 ticks;
        if (!g_str_has_prefix(lines[i], "cpu") || lines[i][3] == ' ')
            continue;
        ticks = pvt_sum_fields(strchr(lines[i], ' '), " ", 8);
        pvt_assert_between(ticks + 2, uptime_ticks, uptime_ticks + 4 + pvt_timeout_msec(300) / 10);
        sum += ticks;
        n++;
    }
    assert_true(n > 0);
    assert_int_equal(pvt_sum_fields(text, "cpu ", 8), sum);
}

/* "12.34" in ticks. */
static guint64 parse_uptime_ticks(const char *text, const char **ret_rest)
{
    char *fraction, *rest;
    guint64 ticks = g_ascii_strtoull(text, &fraction, 10) * 100;

    assert_true(*fraction == '.');
    ticks += g_ascii_strtoull(fraction + 1, &rest, 10);
    *ret_rest = rest;
    return ticks;
}

static void test_ticks_of_each_cpu_add_up_to_the_uptime(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "stat"), 0);

    (void)state;
    for (guint i = 0; i < 3; i++) {
        g_autofree char *text = pvt_run(container, "cat /proc/uptime /proc/stat");
        const char *rest;

        check_stat(text, parse_uptime_ticks(text, &rest));
        pvt_sleep_msec(200);
    }
    pvt_daemon_stop(daemon);
}

static void test_cpu_time_is_the_cgroups(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "time");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    g_autofree char *text = NULL;
    guint64 before, after;

    (void)state;
    g_free(pvt_run(container, "timeout 1 sh -c 'while :; do :; done'; true"));
    before = pvt_cgroup_cpu_usage_nsec(cgroup) / 10000000;
    text = pvt_run(container, "cat /proc/stat");
    after = pvt_cgroup_cpu_usage_nsec(cgroup) / 10000000;
    /* user, nice, system */
    pvt_assert_between(pvt_sum_fields(text, "cpu ", 3) + 2, before, after + 4);
    pvt_daemon_stop(daemon);
}

static void test_cpu_time_that_is_not_accounted_is_not_the_machines(void **state)
{
    PvtDaemon *daemon;
    PvtContainer *container;
    g_autofree char *text = NULL;
    const char *rest;
    guint64 uptime_ticks, idle_ticks;
    guint n_cpus;

    (void)state;
    if (pvt_cgroup_version("cpuacct") != 1) {
        print_message("skipped: on cgroup v2 CPU time is always accounted\n");
        skip();
    }
    daemon = pvt_daemon_start();
    container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "unaccounted"), 0);
    pvt_cgroup_leave("cpuacct", container->init_pid);
    text = pvt_run(container, "cat /proc/uptime /proc/stat");
    uptime_ticks = parse_uptime_ticks(text, &rest);
    idle_ticks = parse_uptime_ticks(rest, &rest);
    n_cpus = pvt_count_lines(text, "cpu") - 1;
    check_stat(text, uptime_ticks);
    assert_int_equal(pvt_sum_fields(text, "cpu ", 3), 0); /* user, nice, system */
    pvt_assert_between(idle_ticks + 2 * n_cpus, uptime_ticks * n_cpus,
                       uptime_ticks * n_cpus + 4 * n_cpus);
    assert_int_equal(pvt_field(text, "ctxt "), 0);
    pvt_daemon_stop(daemon);
}

static void test_uptime_counts_from_the_start_of_the_container(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "uptime"), 0);
    g_autofree char *text = NULL;
    gint64 start = g_get_monotonic_time();
    double seconds;

    (void)state;
    pvt_sleep_msec(1500);
    text = pvt_run(container, "cat /proc/uptime");
    seconds = g_ascii_strtod(text, NULL);
    assert_true(seconds >= 1.4);
    assert_true(seconds <=
                (double)(g_get_monotonic_time() - start) / 1e6 + pvt_timeout_msec(1000) / 1e3);
    pvt_daemon_stop(daemon);
}

static void test_limit_of_an_ancestor_counts(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *top = pvt_cgroup_new(NULL, "nested");
    PvtCgroup *middle = pvt_cgroup_new(top, "middle");
    PvtCgroup *bottom = pvt_cgroup_new(middle, "bottom");
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(top, 96 * MIB);
    pvt_cgroup_limit_memory(bottom, 512 * MIB);
    pvt_cgroup_limit_cpu(middle, 100000, 100000);
    container = pvt_container_start(daemon, bottom, 0);
    pvt_assert_text(container, "grep MemTotal /proc/meminfo", "MemTotal:          98304 kB\n");
    pvt_assert_text(container, "grep -c ^processor /proc/cpuinfo", "1\n");
    pvt_cgroup_limit_memory(middle, 48 * MIB);
    pvt_assert_text(container, "grep MemTotal /proc/meminfo", "MemTotal:          49152 kB\n");
    pvt_daemon_stop(daemon);
}

static void test_cgroup_namespace_changes_nothing(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "cgroupns");
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 64 * MIB);
    container = pvt_container_start(daemon, cgroup, PVT_OWN_CGROUP_NS);
    pvt_assert_text(container, "grep MemTotal /proc/meminfo", "MemTotal:          65536 kB\n");
    pvt_daemon_stop(daemon);
}

static void test_containers_that_share_a_pid_namespace_see_their_own_limits(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *first_cgroup = pvt_cgroup_new(NULL, "pod-1");
    PvtCgroup *second_cgroup = pvt_cgroup_new(NULL, "pod-2");
    PvtContainer *first, *second;

    (void)state;
    pvt_cgroup_limit_memory(first_cgroup, 64 * MIB);
    pvt_cgroup_limit_memory(second_cgroup, 32 * MIB);
    first = pvt_container_start(daemon, first_cgroup, 0);
    second = pvt_container_join(first, daemon, second_cgroup, 0);
    pvt_assert_text(first, "grep MemTotal /proc/meminfo", "MemTotal:          65536 kB\n");
    pvt_assert_text(second, "grep MemTotal /proc/meminfo", "MemTotal:          32768 kB\n");
    pvt_assert_text(first, "grep MemTotal /proc/meminfo", "MemTotal:          65536 kB\n");
    pvt_daemon_stop(daemon);
}

static void test_without_limits_used_is_the_containers(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "unlimited");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    g_autofree char *host = pvt_read_file("/proc/meminfo");
    g_autofree char *text = pvt_run(container, "cat /proc/meminfo");
    guint64 usage_kb = pvt_cgroup_memory_usage(cgroup) / 1024;

    (void)state;
    assert_int_equal(pvt_field(text, "MemTotal:"), pvt_field(host, "MemTotal:"));
    pvt_assert_between(pvt_field(text, "MemTotal:") - pvt_field(text, "MemFree:") + 2048, usage_kb,
                       usage_kb + 4096);
    pvt_daemon_stop(daemon);
}

static void test_nodes_have_the_containers_cpus_and_memory(void **state)
{
    PvtDaemon *daemon;
    PvtCgroup *cgroup;
    PvtContainer *container;

    (void)state;
    if (access("/sys/devices/system/node/node0", F_OK) < 0 ||
        access("/sys/devices/system/node/node1", F_OK) == 0) {
        print_message("skipped: it needs a machine of one node\n");
        skip();
    }
    daemon = pvt_daemon_start();
    cgroup = pvt_cgroup_new(NULL, "node");
    pvt_cgroup_limit_memory(cgroup, 64 * MIB);
    pvt_cgroup_limit_cpu(cgroup, 50000, 100000);
    container = pvt_container_start(daemon, cgroup, 0);
    pvt_assert_text(container, "cat /sys/devices/system/node/has_cpu", "0\n");
    pvt_assert_text(container, "cat /sys/devices/system/node/node0/cpulist", "0\n");
    pvt_assert_text(container, "cd /sys/devices/system/node/node0 && ls -d cpu?", "cpu0\n");
    pvt_assert_text(container, "readlink -f /sys/devices/system/node/node0/cpu0",
                    "/sys/devices/system/cpu/cpu0\n");
    pvt_assert_text(container,
                    "sed -n 's/.*MemTotal: *//p' /sys/devices/system/node/node0/meminfo "
                    "/proc/meminfo | uniq",
                    "65536 kB\n");
    pvt_daemon_stop(daemon);
}

static void test_operator_reads_a_container_by_name(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "named");
    g_autofree char *name = NULL;
    g_autofree char *command = NULL;
    g_autofree char *by_name = NULL;
    g_autofree char *text = NULL;
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 80 * MIB);
    container = pvt_container_start(daemon, cgroup, 0);
    name = g_strdup_printf("pv-test-%d-named", (int)getpid());
    by_name = g_build_filename(daemon->mountpoint, "containers", name, "proc/meminfo", NULL);
    text = pvt_read_file(by_name);
    assert_int_equal(pvt_field(text, "MemTotal:"), 80 * 1024);
    /* Not for those inside. */
    command = g_strdup_printf("test -e %s/containers", daemon->mountpoint);
    assert_int_equal(pvt_run_status(container, NULL, "%s", command), 1);
    pvt_daemon_stop(daemon);
}

/* The kernel's own file and the container's, line by line, after this sed command. */
static void assert_same_lines(PvtContainer *container, const char *path, const char *sed)
{
    g_autofree char *program = g_strdup_printf("sed -E '%s' %s", sed, path);
    g_autofree char *text = pvt_run(container, "%s", program);
    g_autofree char *host = NULL;

    assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    assert_true(g_spawn_sync(NULL, (char *[]){"/bin/sh", "-c", program, NULL}, NULL,
                             G_SPAWN_DEFAULT, NULL, NULL, &host, NULL, NULL, NULL));
    assert_string_equal(text, host);
}

static void test_counts_of_the_machine_are_zeros_for_the_containers_cpus(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "counts");
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_cpu(cgroup, 50000, 100000);
    container = pvt_container_start(daemon, cgroup, 0);
    /* The same rows in the same order. */
    assert_same_lines(container, "/proc/interrupts", "1d;s/^ *([^:]*):.*/\\1/");
    assert_same_lines(container, "/proc/softirqs", "1d;s/^ *([^:]*):.*/\\1/");
    pvt_assert_text(container, "head -qn1 /proc/interrupts /proc/softirqs | tr -d ' '",
                    "CPU0\nCPU0\n");
    pvt_assert_text(container, "awk 'FNR > 1 && $2 != 0' /proc/interrupts /proc/softirqs", "");
    pvt_assert_text(container, "awk 'NF != 2 && NR > 1' /proc/softirqs", "");
    pvt_assert_text(container,
                    "test ! -e /proc/schedstat || awk '/^cpu/ { print $1, $8; n++ } "
                    "END { if (n != 1) print n }' /proc/schedstat | grep -vx 'cpu0 0' || true",
                    "");
    pvt_daemon_stop(daemon);
}

static void test_what_tells_of_the_machine_is_left_out(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "machine"), 0);

    (void)state;
    /* No device but those of diskstats. */
    pvt_assert_text(container,
                    "awk 'NR > 2 { print $4 }' /proc/partitions | sort > /tmp/$$; "
                    "awk '{ print $3 }' /proc/diskstats | sort | comm -23 /tmp/$$ -; rm /tmp/$$",
                    "");
    /* Without a device the kernel prints no heading either. */
    assert_same_lines(container, "/proc/partitions", "2,$d");
    if (access("/proc/slabinfo", R_OK) == 0) {
        assert_same_lines(container, "/proc/slabinfo", "3,$d");
        pvt_assert_text(container, "wc -l < /proc/slabinfo; stat -c %a /proc/slabinfo", "2\n400\n");
    }
    pvt_daemon_stop(daemon);
}

static void test_limit_of_tasks_is_that_of_pids(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "pids");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);

    (void)state;
    assert_same_lines(container, "/proc/sys/kernel/threads-max", "");
    pvt_cgroup_limit_pids(cgroup, 123);
    pvt_assert_text(container, "cat /proc/sys/kernel/pid_max /proc/sys/kernel/threads-max",
                    "123\n123\n");
    pvt_daemon_stop(daemon);
}

/* The mount has no file that the kernel has not, nor others of it: and their modes are the same. */
static void test_files_are_those_of_this_kernel(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    g_autofree char *command = g_strdup_printf(
        "cd %s && find proc -type f | sort | while read -r f; do "
        "[ $(stat -c %%a $f) = $(stat -c %%a /$f) ] || stat -c '%%n %%a' $f /$f; done 2>&1",
        daemon->mountpoint);
    g_autofree char *text = NULL;

    (void)state;
    assert_true(g_spawn_sync(NULL, (char *[]){"/bin/sh", "-c", command, NULL}, NULL,
                             G_SPAWN_DEFAULT, NULL, NULL, &text, NULL, NULL, NULL));
    assert_string_equal(text, "");
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_the_cgroups),
        cmocka_unit_test(test_every_line_of_the_hosts_meminfo_is_there),
        cmocka_unit_test(test_changed_limits_show_at_the_next_read),
        cmocka_unit_test(test_open_file_is_new_when_it_is_read_from_the_start_again),
        cmocka_unit_test(test_quota_limits_the_cpus_everywhere),
        cmocka_unit_test(test_possible_and_kernel_max_are_the_hosts),
        cmocka_unit_test(test_cpu_ids_are_real),
        cmocka_unit_test(test_cpu_ids_are_dense_when_asked_for),
        cmocka_unit_test(test_two_containers_see_their_own_cpus_at_once),
        cmocka_unit_test(test_ticks_of_each_cpu_add_up_to_the_uptime),
        cmocka_unit_test(test_cpu_time_is_the_cgroups),
        cmocka_unit_test(test_cpu_time_that_is_not_accounted_is_not_the_machines),
        cmocka_unit_test(test_uptime_counts_from_the_start_of_the_container),
        cmocka_unit_test(test_limit_of_an_ancestor_counts),
        cmocka_unit_test(test_cgroup_namespace_changes_nothing),
        cmocka_unit_test(test_containers_that_share_a_pid_namespace_see_their_own_limits),
        cmocka_unit_test(test_without_limits_used_is_the_containers),
        cmocka_unit_test(test_nodes_have_the_containers_cpus_and_memory),
        cmocka_unit_test(test_counts_of_the_machine_are_zeros_for_the_containers_cpus),
        cmocka_unit_test(test_what_tells_of_the_machine_is_left_out),
        cmocka_unit_test(test_limit_of_tasks_is_that_of_pids),
        cmocka_unit_test(test_files_are_those_of_this_kernel),
        cmocka_unit_test(test_operator_reads_a_container_by_name),
    };

    return pvt_main(tests);
}
