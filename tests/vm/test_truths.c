/*
 * What only cgroup v2 has, and what it has in its own way: read in a container against what the
 * kernel says. The machine that builds may have the v1 hierarchies; the virtual machine has v2.
 */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((guint64)1 << 20)

static guint64 mem_total_kb(PvtContainer *container)
{
    g_autofree char *text = pvt_run(container, "cat /proc/meminfo");

    return pvt_field(text, "MemTotal:");
}

static void skip_without_cpus(guint n)
{
    if (sysconf(_SC_NPROCESSORS_ONLN) >= n)
        return;
    print_message("skipped: it needs %u CPUs\n", n);
    skip();
}

/* Any control file of the cgroup: on v2 one controller's are where all are. */
static void set(PvtCgroup *cgroup, const char *file, const char *text)
{
    pvt_cgroup_write(cgroup, "cpu", file, text);
}

static char *get(PvtCgroup *cgroup, const char *file)
{
    return pvt_cgroup_read(cgroup, "cpu", file);
}

/* Take back from the children of a cgroup what is not among these controllers. */
static void hand_down_only(PvtCgroup *cgroup, const char *kept)
{
    g_autofree char *text = get(cgroup, "cgroup.subtree_control");
    g_auto(GStrv) words = g_strsplit(g_strchomp(text), " ", -1);
    g_auto(GStrv) kept_words = g_strsplit(kept, " ", -1);

    for (guint i = 0; words[i] != NULL; i++) {
        g_autofree char *minus = g_strconcat("-", words[i], NULL);
        if (words[i][0] != '\0' && !g_strv_contains((const char *const *)kept_words, words[i]))
            set(cgroup, "cgroup.subtree_control", minus);
    }
}

static void limits_of_every_ancestor_count(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *top = pvt_cgroup_new(NULL, "top");
    PvtCgroup *middle = pvt_cgroup_new(top, "middle");
    PvtCgroup *low = pvt_cgroup_new(middle, "low");
    PvtCgroup *leaf = pvt_cgroup_new(low, "leaf");
    PvtContainer *container;

    (void)state;
    skip_without_cpus(4);
    set(top, "cpuset.cpus", "1-3");
    set(top, "memory.max", "104857600");
    set(low, "memory.max", "209715200");
    container = pvt_container_start(daemon, leaf, 0);
    pvt_assert_text(container, "cat /sys/devices/system/cpu/online", "1-3\n");
    assert_int_equal(mem_total_kb(container), 102400);
    set(middle, "cpu.max", "150000 100000");
    pvt_assert_text(container, "cat /sys/devices/system/cpu/online", "1-2\n");
    set(low, "cpu.max", "20000 50000");
    pvt_assert_text(container, "cat /sys/devices/system/cpu/online", "1\n");
    set(middle, "memory.max", "52428800");
    assert_int_equal(mem_total_kb(container), 51200);
    set(leaf, "memory.max", "33554432");
    assert_int_equal(mem_total_kb(container), 32768);
    pvt_daemon_stop(daemon);
}

static void available_memory_ends_at_memory_high(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "high");
    PvtContainer *container;
    g_autofree char *text = NULL;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 256 * MIB);
    set(cgroup, "memory.high", "67108864");
    container = pvt_container_start(daemon, cgroup, 0);
    text = pvt_run(container, "cat /proc/meminfo");
    assert_int_equal(pvt_field(text, "MemTotal:"), 256 * 1024);
    pvt_assert_between(pvt_field(text, "MemAvailable:"), 48 * 1024, 64 * 1024);
    pvt_daemon_stop(daemon);
}

static void memory_pressure_is_the_cgroups(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "pressure");
    PvtContainer *container;
    g_autofree char *before = NULL;
    g_autofree char *text = NULL;
    g_autofree char *after = NULL;
    const char *seen;

    (void)state;
    if (access("/proc/pressure/memory", F_OK) < 0) {
        print_message("skipped: the kernel has no PSI\n");
        skip();
    }
    set(cgroup, "memory.high", "16777216");
    container = pvt_container_start(daemon, cgroup, 0);
    /* tail keeps all of it. */
    g_free(pvt_run(container, "head -c 20971520 /dev/zero | timeout 5 tail -c 20971520 | wc -c"));
    before = get(cgroup, "memory.pressure");
    text = pvt_run(container, "cat /proc/pressure/memory");
    after = get(cgroup, "memory.pressure");
    assert_non_null(seen = strstr(text, "total="));
    pvt_assert_between(pvt_field(seen, "total="), pvt_field(strstr(before, "total="), "total="),
                       pvt_field(strstr(after, "total="), "total="));
    assert_true(pvt_field(seen, "total=") > 0);
    pvt_daemon_stop(daemon);
}

/* A child that changes the quota as often as it can. */
static pid_t start_quota_changer(PvtCgroup *cgroup)
{
    static const char *const quotas[] = {"50000 100000", "150000 100000", "max 100000",
                                         "250000 100000"};
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    for (guint i = 0;; i++) {
        set(cgroup, "cpu.max", quotas[i % G_N_ELEMENTS(quotas)]);
        pvt_sleep_msec(3);
    }
}

/* Every text is of one moment: its sum line is the sum of its lines, and no column goes back. */
static void quota_changed_while_reading_tears_nothing(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "quota");
    g_autofree char *name = g_strdup_printf("pv-test-%d-quota", (int)getpid());
    g_autofree char *path =
        g_build_filename(daemon->mountpoint, "containers", name, "proc/stat", NULL);
    guint64 last_total = 0;
    guint seen = 0;
    pid_t changer;

    (void)state;
    pvt_container_start(daemon, cgroup, 0);
    changer = start_quota_changer(cgroup);
    for (guint i = 0; i < 300; i++) {
        g_autofree char *text = pvt_read_file(path);
        guint64 total = pvt_sum_fields(text, "cpu ", 8);
        guint n = pvt_count_lines(text, "cpu") - 1;

        pvt_assert_between(n, 1, (guint64)sysconf(_SC_NPROCESSORS_ONLN));
        assert_true(total >= last_total);
        last_total = total;
        seen |= 1U << n;
    }
    kill(changer, SIGKILL);
    waitpid(changer, NULL, 0);
    /* It was seen to change. */
    assert_true((seen & (seen - 1)) != 0 || sysconf(_SC_NPROCESSORS_ONLN) == 1);
    pvt_daemon_stop(daemon);
}

static void effective_cpus_follow_a_partition(void **state)
{
    PvtDaemon *daemon;
    PvtCgroup *partition, *beside;
    PvtContainer *inside, *outside;
    g_autofree char *type = NULL;

    (void)state;
    skip_without_cpus(4);
    daemon = pvt_daemon_start();
    partition = pvt_cgroup_new(NULL, "partition");
    beside = pvt_cgroup_new(NULL, "beside");
    inside = pvt_container_start(daemon, partition, 0);
    outside = pvt_container_start(daemon, beside, 0);
    pvt_assert_text(outside, "cat /sys/devices/system/cpu/online", "0-3\n");
    set(partition, "cpuset.cpus", "2-3");
    set(partition, "cpuset.cpus.partition", "root");
    type = get(partition, "cpuset.cpus.partition");
    assert_string_equal(type, "root\n");
    pvt_assert_text(inside, "cat /sys/devices/system/cpu/online", "2-3\n");
    pvt_assert_text(outside, "cat /sys/devices/system/cpu/online", "0-1\n");
    pvt_assert_text(outside, "grep -c ^processor /proc/cpuinfo", "2\n");
    set(partition, "cpuset.cpus.partition", "member");
    pvt_assert_text(outside, "cat /sys/devices/system/cpu/online", "0-3\n");
    pvt_daemon_stop(daemon);
}

/* A cgroup that wants CPUs that its parent does not have gets those of the parent. */
static void cpus_that_cannot_be_had_are_not_shown(void **state)
{
    PvtDaemon *daemon;
    PvtCgroup *top, *leaf;
    PvtContainer *container;

    (void)state;
    skip_without_cpus(4);
    daemon = pvt_daemon_start();
    top = pvt_cgroup_new(NULL, "fewer");
    leaf = pvt_cgroup_new(top, "leaf");
    set(top, "cpuset.cpus", "0-1");
    set(leaf, "cpuset.cpus", "2-3");
    container = pvt_container_start(daemon, leaf, 0);
    pvt_assert_text(container, "cat /sys/devices/system/cpu/online", "0-1\n");
    set(top, "cpuset.cpus", "1-2");
    pvt_assert_text(container, "cat /sys/devices/system/cpu/online", "2\n");
    pvt_daemon_stop(daemon);
}

/* Threaded cgroups have no memory controller: that is the domain's above them. */
static void threaded_cgroup_has_the_memory_of_its_domain(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *domain = pvt_cgroup_new(NULL, "domain");
    PvtCgroup *threads = pvt_cgroup_new(domain, "threads");
    PvtContainer *container;

    (void)state;
    hand_down_only(domain, "cpu cpuset pids");
    set(threads, "cgroup.type", "threaded");
    pvt_cgroup_limit_memory(domain, 64 * MIB);
    set(threads, "cpu.max", "100000 100000");
    container = pvt_container_start(daemon, domain, 0);
    assert_int_equal(mem_total_kb(container), 65536);
    pvt_cgroup_enter(threads, container->init_pid);
    assert_int_equal(mem_total_kb(container), 65536);
    pvt_assert_text(container, "grep -c ^processor /proc/cpuinfo", "1\n");
    pvt_assert_text(container, "cut -d/ -f2 /proc/loadavg | grep -c '^[1-9]'", "1\n");
    pvt_daemon_stop(daemon);
}

static void controllers_not_enabled_at_the_leaf_are_those_above(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *top = pvt_cgroup_new(NULL, "above");
    PvtCgroup *leaf = pvt_cgroup_new(top, "leaf");
    PvtContainer *container;
    g_autofree char *text = NULL;
    guint64 usage_kb;

    (void)state;
    hand_down_only(top, "pids io");
    pvt_cgroup_limit_memory(top, 80 * MIB);
    set(top, "cpu.max", "100000 100000");
    container = pvt_container_start(daemon, leaf, 0);
    text = pvt_run(container, "cat /proc/meminfo");
    usage_kb = pvt_cgroup_memory_usage(top) / 1024;
    assert_int_equal(pvt_field(text, "MemTotal:"), 80 * 1024);
    pvt_assert_between(80 * 1024 - pvt_field(text, "MemFree:") + 2048, usage_kb, usage_kb + 4096);
    pvt_assert_text(container, "grep -c ^processor /proc/cpuinfo", "1\n");
    pvt_assert_text(container, "grep -c '^cpu[0-9]' /proc/stat", "1\n");
    pvt_daemon_stop(daemon);
}

/* The root of the init's cgroup namespace is the container, wherever its processes went below. */
static void container_is_its_cgroup_namespace_when_init_has_moved_down(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "moved");
    PvtCgroup *scope = pvt_cgroup_new(cgroup, "init.scope");
    PvtCgroup *payload = pvt_cgroup_new(cgroup, "payload");
    PvtContainer *container;
    g_autofree char *text = NULL;
    guint64 usage_kb;

    (void)state;
    hand_down_only(cgroup, "");
    pvt_cgroup_limit_memory(cgroup, 96 * MIB);
    container = pvt_container_start(daemon, cgroup, PVT_OWN_CGROUP_NS);
    assert_int_equal(mem_total_kb(container), 96 * 1024);
    pvt_cgroup_enter(scope, container->init_pid);
    pvt_cgroup_enter(scope, container->parent_pid);
    /* With no process left in it, it can hand its controllers down. */
    set(cgroup, "cgroup.subtree_control", "+memory +cpu");
    set(scope, "memory.max", "33554432");
    set(payload, "memory.max", "50331648");
    pvt_assert_text(container, "cat /proc/self/cgroup", "0::/init.scope\n");
    text = pvt_run(container, "cat /proc/meminfo");
    usage_kb = pvt_cgroup_memory_usage(cgroup) / 1024;
    assert_int_equal(pvt_field(text, "MemTotal:"), 96 * 1024);
    pvt_assert_between(96 * 1024 - pvt_field(text, "MemFree:") + 2048, usage_kb, usage_kb + 4096);
    pvt_assert_text(
        container,
        "mkdir -p /tmp/pv-cg && mount -t cgroup2 none /tmp/pv-cg && "
        "sh -c 'echo 0 > /tmp/pv-cg/payload/cgroup.procs; grep MemTotal /proc/meminfo'; "
        "umount /tmp/pv-cg; rmdir /tmp/pv-cg",
        "MemTotal:          98304 kB\n");
    pvt_daemon_stop(daemon);
}

/* nsdelegate: what is in the namespace cannot raise its own limits, and sees those that hold. */
static void delegated_container_sees_the_limits_that_it_cannot_change(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "delegated");
    PvtContainer *container;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 72 * MIB);
    container = pvt_container_start(daemon, cgroup, PVT_OWN_CGROUP_NS);
    pvt_assert_text(container,
                    "mkdir -p /tmp/pv-cg && mount -t cgroup2 none /tmp/pv-cg && "
                    "(echo max > /tmp/pv-cg/memory.max) 2>/dev/null || echo refused; "
                    "umount /tmp/pv-cg; rmdir /tmp/pv-cg",
                    "refused\n");
    assert_int_equal(mem_total_kb(container), 72 * 1024);
    pvt_daemon_stop(daemon);
}

static void assert_swap(PvtContainer *container, PvtCgroup *cgroup, guint64 total_kb)
{
    g_autofree char *text = pvt_run(container, "cat /proc/meminfo");
    g_autofree char *swaps = pvt_run(container, "cat /proc/swaps");
    g_autofree char *used = get(cgroup, "memory.swap.current");
    guint64 used_kb = g_ascii_strtoull(used, NULL, 10) / 1024;

    assert_int_equal(pvt_field(text, "SwapTotal:"), total_kb);
    assert_int_equal(pvt_field(text, "SwapFree:"), total_kb - MIN(used_kb, total_kb));
    assert_int_equal(pvt_count_lines(swaps, "/") + pvt_count_lines(swaps, "none"),
                     total_kb > 0 ? 1 : 0);
}

static void swap_is_none_some_or_all_of_the_hosts(void **state)
{
    g_autofree char *host = pvt_read_file("/proc/meminfo");
    guint64 host_kb = pvt_field(host, "SwapTotal:");
    PvtDaemon *daemon;
    PvtCgroup *top, *leaf;
    PvtContainer *container;

    (void)state;
    if (host_kb < 128 * 1024) {
        print_message("skipped: the machine has less than 128 MiB of swap\n");
        skip();
    }
    daemon = pvt_daemon_start();
    top = pvt_cgroup_new(NULL, "swap");
    leaf = pvt_cgroup_new(top, "leaf");
    pvt_cgroup_limit_memory(leaf, 64 * MIB);
    container = pvt_container_start(daemon, leaf, 0);
    assert_swap(container, leaf, host_kb);
    set(leaf, "memory.swap.max", "0");
    assert_swap(container, leaf, 0);
    set(leaf, "memory.swap.max", "67108864");
    assert_swap(container, leaf, 65536);
    set(top, "memory.swap.max", "33554432");
    assert_swap(container, leaf, 32768);
    pvt_daemon_stop(daemon);
}

/* With a limit of 24 MiB and 32 MiB written, something is swapped out; the kernel's figure is ours.
 */
static void swap_in_use_is_the_cgroups(void **state)
{
    g_autofree char *host = pvt_read_file("/proc/meminfo");
    PvtDaemon *daemon;
    PvtCgroup *cgroup;
    PvtContainer *container;
    g_autofree char *text = NULL;
    g_autofree char *used = NULL;
    guint64 used_kb;

    (void)state;
    if (pvt_field(host, "SwapTotal:") < 128 * 1024) {
        print_message("skipped: the machine has less than 128 MiB of swap\n");
        skip();
    }
    daemon = pvt_daemon_start();
    cgroup = pvt_cgroup_new(NULL, "swapped");
    pvt_cgroup_limit_memory(cgroup, 24 * MIB);
    set(cgroup, "memory.swap.max", "100663296");
    container = pvt_container_start(daemon, cgroup, 0);
    g_free(pvt_run(container,
                   "mkdir /tmp/pv-shm && mount -t tmpfs none /tmp/pv-shm && "
                   "head -c 33554432 /dev/zero > /tmp/pv-shm/file; rmdir /tmp/pv-shm 2>/dev/null; "
                   "true"));
    text = pvt_run(container, "cat /proc/meminfo");
    used = get(cgroup, "memory.swap.current");
    used_kb = g_ascii_strtoull(used, NULL, 10) / 1024;
    assert_true(used_kb > 4096);
    assert_int_equal(pvt_field(text, "SwapTotal:"), 98304);
    pvt_assert_between(98304 - pvt_field(text, "SwapFree:") + 1024, used_kb, used_kb + 2048);
    g_free(pvt_run(container, "umount /tmp/pv-shm; rmdir /tmp/pv-shm"));
    pvt_daemon_stop(daemon);
}

/* The number behind a key of io.stat's line of a device: "253:16 rbytes=… wbytes=…". */
static guint64 io_stat(PvtCgroup *cgroup, const char *device, const char *key)
{
    g_autofree char *text = pvt_cgroup_read(cgroup, "blkio", "io.stat");
    g_autofree char *line_start = g_strconcat(device, " ", NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++) {
        const char *value;
        if (!g_str_has_prefix(lines[i], line_start) || (value = strstr(lines[i], key)) == NULL)
            continue;
        return g_ascii_strtoull(value + strlen(key), NULL, 10);
    }
    return 0;
}

/* The n-th field (from 1) of the diskstats line of a device, 0 when there is no such line. */
static guint64 diskstats_field(const char *text, const char *name, guint n)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) words = g_regex_split_simple(" +", g_strstrip(lines[i]), 0, 0);
        if (g_strv_length(words) > n && strcmp(words[2], name) == 0)
            return g_ascii_strtoull(words[n - 1], NULL, 10);
    }
    return 0;
}

static void disk_io_is_the_cgroups(void **state)
{
    PvtDaemon *daemon;
    PvtCgroup *cgroup;
    PvtContainer *container;
    struct stat st;
    g_autofree char *device = NULL;
    g_autofree char *link = NULL;
    g_autofree char *target = NULL;
    g_autofree char *name = NULL;
    g_autofree char *before = NULL;
    g_autofree char *text = NULL;
    guint64 sectors;

    (void)state;
    if (stat("/mnt/disk/lost+found", &st) < 0) {
        print_message("skipped: there is no disk at /mnt/disk\n");
        skip();
    }
    device = g_strdup_printf("%u:%u", (guint)(st.st_dev >> 8) & 0xfff, (guint)st.st_dev & 0xff);
    link = g_strdup_printf("/sys/dev/block/%s", device);
    target = g_file_read_link(link, NULL);
    assert_non_null(target);
    name = g_path_get_basename(target);

    daemon = pvt_daemon_start();
    cgroup = pvt_cgroup_new(NULL, "disk");
    container = pvt_container_start(daemon, cgroup, 0);
    before = pvt_run(container, "cat /proc/diskstats");
    assert_int_equal(diskstats_field(before, name, 10), 0);
    g_free(pvt_run(container, "dd if=/dev/zero of=/mnt/disk/file bs=64k count=64 oflag=direct && "
                              "dd if=/mnt/disk/file of=/dev/null bs=64k count=32 iflag=direct && "
                              "rm /mnt/disk/file"));
    text = pvt_run(container, "cat /proc/diskstats");
    sectors = diskstats_field(text, name, 10);
    assert_int_equal(sectors, io_stat(cgroup, device, "wbytes=") / 512);
    assert_true(sectors >= 64 * 128);
    assert_int_equal(diskstats_field(text, name, 6), io_stat(cgroup, device, "rbytes=") / 512);
    assert_int_equal(diskstats_field(text, name, 8), io_stat(cgroup, device, "wios="));
    assert_int_equal(pvt_count_lines(text, ""), 1); /* no other device */
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_of_every_ancestor_count),
        cmocka_unit_test(available_memory_ends_at_memory_high),
        cmocka_unit_test(memory_pressure_is_the_cgroups),
        cmocka_unit_test(quota_changed_while_reading_tears_nothing),
        cmocka_unit_test(effective_cpus_follow_a_partition),
        cmocka_unit_test(cpus_that_cannot_be_had_are_not_shown),
        cmocka_unit_test(threaded_cgroup_has_the_memory_of_its_domain),
        cmocka_unit_test(controllers_not_enabled_at_the_leaf_are_those_above),
        cmocka_unit_test(container_is_its_cgroup_namespace_when_init_has_moved_down),
        cmocka_unit_test(delegated_container_sees_the_limits_that_it_cannot_change),
        cmocka_unit_test(swap_is_none_some_or_all_of_the_hosts),
        cmocka_unit_test(swap_in_use_is_the_cgroups),
        cmocka_unit_test(disk_io_is_the_cgroups),
    };

    if (pvt_cgroup_version("memory") != 2 || pvt_cgroup_version("cpu") != 2) {
        printf("skipped: the controllers of this machine are not cgroup v2's\n");
        return 77;
    }
    return pvt_main(tests);
}
