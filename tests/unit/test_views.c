/*
 * What is collected for a view, and when the kernel's own file is served instead: on a captured
 * host with cgroup v2, whose files the tests change.
 */
#include "../../src/sampler/sample.h"
#include "procview/sampler.h"
#include "procview/view.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch.h"

#define HOST_CPUS     4
#define NSEC_PER_SEC  G_GUINT64_CONSTANT(1000000000)
#define BOX           "sys/fs/cgroup/box/"
#define HOST_MEMINFO  "MemTotal: 8000000 kB\nMemFree: 4000000 kB\nHugePages_Total: 0\n"
#define HOST_BOOTTIME 1000

/* ---- a host with one container ---- */

typedef struct {
    Scratch root;
    PvHost *host;
    PvHierarchies *hierarchies;
    PvContainers *containers;
    PvViews *views;
    PvContainer container;
} World;

static void put_thread(World *world, guint tid, char state, guint ticks, guint cpu)
{
    g_autofree char *stat_path = g_strdup_printf("proc/%u/task/%u/stat", tid, tid);
    g_autofree char *status_path = g_strdup_printf("proc/%u/status", tid);
    g_autofree char *status =
        g_strdup_printf("Name:\tx\nNSpid:\t%u\t%u\nThreads:\t1\n", tid, tid - 100);
    g_autofree char *stat =
        g_strdup_printf("%u (x) %c 1 1 1 0 -1 0 0 0 0 0 %u 0 0 0 20 0 1 0 %u 0 0 0 0 0 0 0 0 0 0 0 "
                        "0 0 0 0 17 %u 0 0 0 0 0\n",
                        tid, state, ticks, tid * 10, cpu);
    scratch_put(&world->root, stat_path, stat);
    scratch_put(&world->root, status_path, status);
}

static void put_host(World *world)
{
    const Scratch *root = &world->root;
    scratch_put(root, "proc/self/mountinfo",
                "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
    scratch_put(root, "proc/self/ns/pid", "");
    scratch_put(root, "proc/meminfo", HOST_MEMINFO);
    scratch_put(root, "proc/stat", "cpu  9 9 9 9\nbtime 12345\nsoftirq 0 0\n");
    scratch_put(root, "proc/uptime", "1000.00 3000.00\n");
    scratch_put(root, "proc/loadavg", "9.99 9.99 9.99 9/999 99999\n");
    scratch_put(root, "proc/cpuinfo", "processor\t: 0\n\n");
    scratch_put(root, "proc/vmstat", "nr_free_pages 1\n");
    scratch_put(root, "proc/diskstats", "");
    scratch_put(root, "proc/interrupts", "  CPU0 CPU1 CPU2 CPU3\n1: 9 9 9 9 disk\n");
    scratch_put(root, "proc/partitions", "major minor  #blocks  name\n\n8 0 99 sda\n");
    scratch_put(root, "proc/pressure/irq", "full avg10=9.99 avg60=9.99 avg300=9.99 total=9\n");
    scratch_put(root, "proc/schedstat", "version 15\ncpu0 9\n");
    scratch_put(root, "proc/slabinfo", "slabinfo - version: 2.1\nx 9\n");
    scratch_put(root, "proc/softirqs", "  CPU0 CPU1 CPU2 CPU3\nHI: 9 9 9 9\n");
    scratch_put(root, "proc/sys/kernel/pid_max", "9999\n");
    scratch_put(root, "proc/sys/kernel/threads-max", "9999\n");
    scratch_put(root, "proc/odd", "the host's\n");
    scratch_put(root, "sys/devices/system/cpu/online", "0-3\n");
    scratch_put(root, "sys/devices/system/cpu/possible", "0-7\n");
    scratch_put(root, "sys/devices/system/cpu/present", "0-3\n");
    scratch_put(root, "sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    scratch_put(root, "sys/fs/cgroup/cgroup.procs", "");
    scratch_put(root, "sys/fs/cgroup/cgroup.threads", "");
}

static void put_container(World *world)
{
    const Scratch *root = &world->root;
    scratch_put(root, BOX "cgroup.controllers", "cpuset cpu io memory pids\n");
    scratch_put(root, BOX "cgroup.procs", "101\n");
    scratch_put(root, BOX "cgroup.threads", "101\n102\n103\n");
    scratch_put(root, BOX "cpu.max", "150000 100000\n");
    scratch_put(root, BOX "cpuset.cpus.effective", "1-3\n");
    scratch_put(root, BOX "cpu.stat",
                "usage_usec 40000000\nuser_usec 30000000\nsystem_usec 10000000\nnr_periods 0\n"
                "nr_throttled 0\nthrottled_usec 5000000\n");
    scratch_put(root, BOX "memory.max", "268435456\n");
    scratch_put(root, BOX "memory.high", "max\n");
    scratch_put(root, BOX "memory.current", "1048576\n");
    scratch_put(root, BOX "memory.stat", "anon 4096\nfile 8192\n");
    scratch_put(root, BOX "memory.swap.max", "max\n");
    scratch_put(root, BOX "memory.swap.current", "0\n");
    scratch_put(root, BOX "io.stat", "");
    scratch_put(root, BOX "pids.max", "max\n");
    scratch_put(root, BOX "pids.current", "3\n");
    put_thread(world, 101, 'S', 0, 0);
    put_thread(world, 102, 'R', 300, 1);
    put_thread(world, 103, 'D', 100, 2);
}

static PvCgroup *open_cgroup(World *world, const char *text)
{
    g_auto(PvCgroupPaths) paths = {0};
    assert_true(pv_cgroup_paths_parse(world->hierarchies, text, &paths, NULL));
    PvCgroup *cgroup = pv_cgroup_open(world->hierarchies, &paths, NULL);
    assert_non_null(cgroup);
    return cgroup;
}

static void enter_cgroup(World *world, const char *text)
{
    g_clear_pointer(&world->container.cgroup, pv_cgroup_unref);
    world->container.cgroup = open_cgroup(world, text);
}

static void use_options(World *world, const PvViewOptions *options)
{
    pv_views_free(world->views);
    world->views = pv_views_new(world->host, world->containers, options);
}

static int set_up(void **state)
{
    World *world = g_new0(World, 1);
    scratch_make(&world->root);
    put_host(world);
    put_container(world);
    world->host = pv_host_open(world->root.path, NULL);
    assert_non_null(world->host);
    world->hierarchies =
        pv_hierarchies_load(pv_host_procfs(world->host), pv_host_root(world->host), NULL);
    assert_non_null(world->hierarchies);
    world->containers = pv_containers_new(world->host, world->hierarchies, NULL);
    use_options(world, NULL);
    world->container = (PvContainer){
        .init_pid = 101,
        .init_start_nsec = 900 * NSEC_PER_SEC, /* 100 s ago */
        .name = (char *)"box",
        .account = pv_account_new(HOST_CPUS, 100, -1, NULL, TRUE),
        .ref_count = 1,
    };
    enter_cgroup(world, "0::/box\n");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    World *world = *state;
    pv_cgroup_unref(world->container.cgroup);
    pv_account_unref(world->container.account);
    pv_views_free(world->views);
    pv_containers_free(world->containers);
    pv_hierarchies_unref(world->hierarchies);
    pv_host_free(world->host);
    scratch_clear(&world->root);
    g_free(world);
    return 0;
}

static PvSnapshot *take_snapshot(World *world, PvSections sections)
{
    PvSnapshot *snapshot = NULL;
    assert_int_equal(pv_views_snapshot(world->views, &world->container, sections, &snapshot), 0);
    assert_non_null(snapshot);
    return snapshot;
}

static char *cpu_list(const PvCpuSet *set)
{
    GString *list = g_string_new(NULL);
    pv_cpu_set_format_list(set, list);
    return g_string_free(list, FALSE);
}

static void assert_cpus(World *world, const char *real, const char *shown)
{
    PvSnapshot *snapshot = take_snapshot(world, PV_SECTION_CPUS);
    g_autofree char *cpus = cpu_list(&snapshot->cpus);
    g_autofree char *shown_cpus = cpu_list(&snapshot->shown_cpus);
    assert_string_equal(cpus, real);
    assert_string_equal(shown_cpus, shown);
    assert_int_equal(snapshot->n_cpus, pv_cpu_set_count(&snapshot->cpus));
    pv_snapshot_free(snapshot);
}

/* ---- rows ---- */

static void render_marked(const PvSnapshot *snapshot, GString *out)
{
    g_string_append_printf(out, "the container's %x\n", snapshot->valid);
}

static PvRow make_row(const char *host_path, PvSections sections, PvController controller)
{
    return (PvRow){
        .path = host_path,
        .sections = sections,
        .controllers = 1u << controller,
        .render = render_marked,
        .host_path = host_path,
    };
}

static void assert_renders(World *world, PvContainer *container, const PvRow *row,
                           const char *expected)
{
    g_autoptr(GString) out = g_string_new("before ");
    g_autofree char *text = g_strconcat("before ", expected, NULL);
    assert_int_equal(pv_views_render(world->views, container, row, out), 0);
    assert_string_equal(out->str, text);
}

static void assert_counters(World *world, guint64 renders, guint64 fallbacks)
{
    PvViewCounters counters;
    pv_views_counters(world->views, &counters);
    assert_int_equal(counters.renders, renders);
    assert_int_equal(counters.fallbacks, fallbacks);
}

/* ---- the CPU set ---- */

static void set_is_the_first_of_the_cpuset_that_the_quota_allows(void **state)
{
    assert_cpus(*state, "1-2", "1-2");
}

static void quota_is_read_at_each_reading(void **state)
{
    World *world = *state;
    assert_cpus(world, "1-2", "1-2");
    scratch_put(&world->root, BOX "cpu.max", "1000 100000\n");
    enter_cgroup(world, "0::/box\n"); /* a file that was written anew has to be opened anew */
    assert_cpus(world, "1", "1");
    scratch_put(&world->root, BOX "cpu.max", "max 100000\n");
    enter_cgroup(world, "0::/box\n");
    assert_cpus(world, "1-3", "1-3");
}

static void dense_ids_count_from_0(void **state)
{
    const PvViewOptions options = {.dense_cpu_ids = TRUE};
    use_options(*state, &options);
    assert_cpus(*state, "1-2", "0-1");
}

static void cpus_that_are_offline_are_not_in_the_set(void **state)
{
    World *world = *state;
    /* In place: the host keeps the file open. */
    g_autofree char *path =
        g_build_filename(world->root.path, "sys/devices/system/cpu/online", NULL);
    g_autoptr(GError) error = NULL;
    assert_true(
        g_file_set_contents_full(path, "0,3\n", -1, G_FILE_SET_CONTENTS_NONE, 0644, &error));
    PvHost *host = pv_host_open(world->root.path, NULL);
    pv_host_free(world->host);
    world->host = host;
    use_options(world, NULL);
    assert_cpus(world, "3", "3");
}

static void directories_show_the_same_set(void **state)
{
    World *world = *state;
    PvCpuSet real, shown;
    assert_int_equal(pv_views_cpus(world->views, &world->container, &real, &shown), 0);
    g_autofree char *list = cpu_list(&real);
    assert_string_equal(list, "1-2");
}

static void root_cgroup_has_the_hosts_cpus(void **state)
{
    World *world = *state;
    PvCpuSet real, shown;
    enter_cgroup(world, "0::/\n");
    assert_int_equal(pv_views_cpus(world->views, &world->container, &real, &shown), 0);
    g_autofree char *list = cpu_list(&real);
    assert_string_equal(list, "0-3");
    assert_counters(world, 0, 0);
}

static void unknown_caller_gets_the_hosts_cpus_and_is_counted(void **state)
{
    World *world = *state;
    PvCpuSet real, shown;
    assert_int_equal(pv_views_cpus(world->views, NULL, &real, &shown), 0);
    assert_int_equal(pv_cpu_set_count(&real), 4);
    assert_counters(world, 0, 1);
}

static void possible_cpus_are_the_hosts(void **state)
{
    PvSnapshot *snapshot = take_snapshot(*state, PV_SECTION_HOST_CPUS);
    assert_int_equal(pv_cpu_set_count(&snapshot->host_possible), 8);
    pv_snapshot_free(snapshot);
}

/* ---- CPU time ---- */

static void ticks_are_totals_split_by_where_threads_ran(void **state)
{
    PvSnapshot *snapshot = take_snapshot(*state, PV_SECTION_CPU_TICKS | PV_SECTION_LOAD);
    assert_true(snapshot->valid & PV_SECTION_CPUS);
    assert_int_equal(snapshot->n_cpus, 2);
    assert_int_equal(snapshot->ticks[0].user + snapshot->ticks[0].system, 3000);
    assert_int_equal(snapshot->ticks[1].user + snapshot->ticks[1].system, 1000);
    assert_int_equal(snapshot->ticks_total.user, 3000);
    assert_int_equal(snapshot->ticks_total.system, 1000);
    assert_int_equal(snapshot->ticks_total.steal, 500);
    assert_int_equal(snapshot->ticks_total.idle, 20000 - 4500);
    pv_snapshot_free(snapshot);
}

static void iowait_is_the_io_pressure(void **state)
{
    World *world = *state;
    scratch_put(&world->root, BOX "io.pressure",
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n"
                "full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n");
    enter_cgroup(world, "0::/box\n");
    PvSnapshot *snapshot = take_snapshot(world, PV_SECTION_CPU_TICKS);
    assert_int_equal(snapshot->ticks_total.iowait, 200);
    pv_snapshot_free(snapshot);
}

static void idle_alone_is_that_of_stat(void **state)
{
    World *world = *state;
    PvSnapshot *idle = take_snapshot(world, PV_SECTION_IDLE | PV_SECTION_UPTIME);
    PvSnapshot *ticks = take_snapshot(world, PV_SECTION_CPU_TICKS);
    assert_int_equal(idle->uptime_nsec, 100 * NSEC_PER_SEC);
    assert_int_equal(idle->ticks_total.idle, ticks->ticks_total.idle);
    pv_snapshot_free(idle);
    pv_snapshot_free(ticks);
}

static void btime_is_the_hosts(void **state)
{
    World *world = *state;
    PvSnapshot *snapshot = take_snapshot(world, PV_SECTION_UPTIME);
    guint64 expected = (guint64)time(NULL) - HOST_BOOTTIME;
    assert_in_range(snapshot->btime_sec, expected - 1, expected);
    pv_snapshot_free(snapshot);
}

static void btime_in_a_time_namespace_is_its_boot(void **state)
{
    World *world = *state;
    world->container.has_time_offset = TRUE;
    world->container.time_offset_nsec = -(gint64)(950 * NSEC_PER_SEC);
    PvSnapshot *snapshot = take_snapshot(world, PV_SECTION_UPTIME);
    guint64 expected = (guint64)time(NULL) - HOST_BOOTTIME + 950;
    assert_int_equal(snapshot->uptime_nsec, 50 * NSEC_PER_SEC);
    assert_in_range(snapshot->btime_sec, expected - 1, expected);
    pv_snapshot_free(snapshot);
}

/* ---- load ---- */

static void first_reading_samples_at_once(void **state)
{
    PvSnapshot *snapshot = take_snapshot(*state, PV_SECTION_LOAD);
    assert_int_equal(snapshot->load.tasks.running, 1);
    assert_int_equal(snapshot->load.tasks.uninterruptible, 1);
    assert_int_equal(snapshot->load.tasks.total, 3);
    /* Thread 103 is the newest, and 3 in the container. */
    assert_int_equal(snapshot->load.tasks.last_pid, 3);
    /* Two threads for 100 s: 2 * (1 - e^(-100/60)) = 1.62 */
    assert_in_range(snapshot->load.average[0], 3300, 3350);
    pv_snapshot_free(snapshot);
}

static void fresh_sample_is_not_taken_again(void **state)
{
    World *world = *state;
    PvSnapshot *before = take_snapshot(world, PV_SECTION_LOAD);
    put_thread(world, 101, 'R', 0, 0);
    PvSnapshot *after = take_snapshot(world, PV_SECTION_LOAD);
    assert_int_equal(after->load.tasks.running, 1);
    assert_int_equal(pv_sampler_sample(world->host, &world->container, 0), 0);
    pv_snapshot_free(after);
    after = take_snapshot(world, PV_SECTION_LOAD);
    assert_int_equal(after->load.tasks.running, 2);
    pv_snapshot_free(before);
    pv_snapshot_free(after);
}

static void newest_pid_stays_when_its_thread_has_ended(void **state)
{
    World *world = *state;
    PvLoad load;
    assert_int_equal(pv_sampler_sample(world->host, &world->container, 0), 0);
    scratch_put(&world->root, BOX "cgroup.threads", "101\n");
    assert_int_equal(pv_sampler_sample(world->host, &world->container, 0), 0);
    assert_true(pv_account_get_load(world->container.account, &load));
    assert_int_equal(load.tasks.total, 1);
    assert_int_equal(load.tasks.last_pid, 3);
}

static void thread_that_has_ended_is_not_counted(void **state)
{
    World *world = *state;
    PvLoad load;
    scratch_put(&world->root, BOX "cgroup.threads", "101\n104\n");
    assert_int_equal(pv_sampler_sample(world->host, &world->container, 0), 0);
    assert_true(pv_account_get_load(world->container.account, &load));
    assert_int_equal(load.tasks.total, 1);
}

static void second_sample_counts_only_new_ticks(void **state)
{
    World *world = *state;
    /* The first one belongs to CPUs 1 and 2; then the thread that was on 1 goes on on 3. */
    PvSnapshot *snapshot = take_snapshot(world, PV_SECTION_CPU_TICKS);
    pv_snapshot_free(snapshot);
    scratch_put(&world->root, BOX "cpu.max", "max 100000\n");
    scratch_put(&world->root, BOX "cpu.stat",
                "usage_usec 50000000\nuser_usec 40000000\nsystem_usec 10000000\n"
                "throttled_usec 5000000\n");
    put_thread(world, 102, 'R', 1300, 3);
    world->container.init_start_nsec -= 20 * NSEC_PER_SEC; /* 20 s later */
    enter_cgroup(world, "0::/box\n");
    assert_int_equal(pv_sampler_sample(world->host, &world->container, 0), 0);
    snapshot = take_snapshot(world, PV_SECTION_CPU_TICKS);
    assert_int_equal(snapshot->n_cpus, 3);
    assert_int_equal(snapshot->ticks[0].user + snapshot->ticks[0].system, 3000);
    assert_int_equal(snapshot->ticks[1].user + snapshot->ticks[1].system, 1000);
    assert_int_equal(snapshot->ticks[2].user + snapshot->ticks[2].system, 1000);
    pv_snapshot_free(snapshot);
}

static void many_threads_are_extrapolated(void **state)
{
    World *world = *state;
    g_autoptr(GString) threads = g_string_new(NULL);
    PvLoad load;
    for (guint i = 0; i < 5000; i++)
        g_string_append(threads, "102\n"); /* running */
    scratch_put(&world->root, BOX "cgroup.threads", threads->str);
    scratch_put(&world->root, BOX "pids.current", "8192\n");
    enter_cgroup(world, "0::/box\n");
    assert_int_equal(pv_sampler_sample(world->host, &world->container, 0), 0);
    assert_true(pv_account_get_load(world->container.account, &load));
    assert_int_equal(load.tasks.total, 8192);
    assert_int_equal(load.tasks.running, 8192);
}

static void root_cgroup_is_not_sampled(void **state)
{
    World *world = *state;
    enter_cgroup(world, "0::/\n");
    assert_int_equal(pv_sampler_sample(world->host, &world->container, 0), -ENODATA);
}

static pid_t nspid(const char *text, guint depth)
{
    PvTaskPids pids;

    if (!pv_task_pids_parse(text, &pids) || pids.levels < depth)
        return 0;
    return depth == 0 ? (pid_t)pids.levels : pids.pids[depth - 1];
}

static void nspid_is_that_of_the_asked_depth(void **state G_GNUC_UNUSED)
{
    const char *text = "Name:\tNSpid:\nNStgid:\t9\t9\t9\nNSpid:\t812\t45\t1\nNSpgid:\t1\n";
    assert_int_equal(nspid(text, 1), 812);
    assert_int_equal(nspid(text, 2), 45);
    assert_int_equal(nspid(text, 3), 1);
    assert_int_equal(nspid(text, 4), 0);
    assert_int_equal(nspid(text, 0), 3);
    assert_int_equal(nspid("Name:\tx\n", 1), 0);
    assert_int_equal(nspid("\nNSpid:\t99999999999\n", 1), 0);
}

static void sampler_thread_stops_at_once(void **state)
{
    World *world = *state;
    gint64 start_usec = g_get_monotonic_time();
    PvSampler *sampler = pv_sampler_start(world->host, world->containers, 5);
    assert_non_null(sampler);
    pv_sampler_stop(sampler);
    assert_true(g_get_monotonic_time() - start_usec < 2 * G_USEC_PER_SEC);
}

/* ---- memory, io ---- */

static void memory_comes_with_the_hosts_text(void **state)
{
    PvSnapshot *snapshot = take_snapshot(*state, PV_SECTION_MEMORY | PV_SECTION_HUGETLB);
    assert_int_equal(snapshot->memory.limit_bytes, 268435456);
    assert_int_equal(snapshot->memory.usage_bytes, 1048576);
    assert_string_equal(snapshot->host_meminfo, HOST_MEMINFO);
    assert_false(snapshot->memory.has_swap); /* the host has none */
    assert_false(snapshot->has_hugetlb);
    assert_int_equal(snapshot->valid, PV_SECTION_MEMORY);
    pv_snapshot_free(snapshot);
}

static void swap_is_read_where_the_host_has_some(void **state)
{
    World *world = *state;
    scratch_put(&world->root, "proc/meminfo", HOST_MEMINFO "SwapTotal: 1000 kB\n");
    pv_host_free(world->host);
    world->host = pv_host_open(world->root.path, NULL);
    use_options(world, NULL);
    PvSnapshot *snapshot = take_snapshot(world, PV_SECTION_MEMORY);
    assert_true(snapshot->memory.has_swap);
    pv_snapshot_free(snapshot);
}

static void what_is_not_accounted_is_left_out(void **state)
{
    PvSnapshot *snapshot = take_snapshot(*state, PV_SECTION_CPUS | PV_SECTION_PRESSURE_CPU);
    assert_int_equal(snapshot->valid, PV_SECTION_CPUS);
    pv_snapshot_free(snapshot);
}

/* ---- which text ---- */

static void container_gets_its_own_text(void **state)
{
    World *world = *state;
    PvRow row = make_row("proc/meminfo", PV_SECTION_MEMORY, PV_CONTROLLER_MEMORY);
    assert_renders(world, &world->container, &row, "the container's 2\n");
    assert_counters(world, 1, 0);
}

static void unknown_caller_gets_the_kernels_own_and_is_counted(void **state)
{
    World *world = *state;
    PvRow row = make_row("proc/meminfo", PV_SECTION_MEMORY, PV_CONTROLLER_MEMORY);
    assert_renders(world, NULL, &row, HOST_MEMINFO);
    assert_counters(world, 1, 1);
}

static void root_cgroup_gets_the_kernels_own_uncounted(void **state)
{
    World *world = *state;
    PvRow row = make_row("proc/meminfo", PV_SECTION_MEMORY, PV_CONTROLLER_MEMORY);
    enter_cgroup(world, "0::/\n");
    assert_renders(world, &world->container, &row, HOST_MEMINFO);
    assert_counters(world, 1, 0);
}

static void unreadable_numbers_are_replaced_by_the_kernels_own(void **state)
{
    World *world = *state;
    PvRow row = make_row("proc/meminfo", PV_SECTION_MEMORY, PV_CONTROLLER_MEMORY);
    scratch_put(&world->root, BOX "memory.current", "garbage\n");
    enter_cgroup(world, "0::/box\n");
    assert_renders(world, &world->container, &row, HOST_MEMINFO);
    assert_renders(world, &world->container, &row, HOST_MEMINFO);
    assert_counters(world, 2, 2);
    assert_int_equal(world->container.fallback_logged, 1);
}

static void files_that_the_host_does_not_keep_open_are_found(void **state)
{
    World *world = *state;
    PvRow odd = make_row("proc/odd", PV_SECTION_MEMORY, PV_CONTROLLER_MEMORY);
    PvRow present = make_row("sys/devices/system/cpu/present", PV_SECTION_CPUS, PV_CONTROLLER_CPU);
    assert_renders(world, NULL, &odd, "the host's\n");
    assert_renders(world, NULL, &present, "0-3\n");
}

static void missing_file_of_the_host_is_an_error(void **state)
{
    World *world = *state;
    PvRow row = make_row("proc/nothing", PV_SECTION_MEMORY, PV_CONTROLLER_MEMORY);
    g_autoptr(GString) out = g_string_new("before");
    assert_int_equal(pv_views_render(world->views, NULL, &row, out), -ENOENT);
    assert_string_equal(out->str, "before");
}

static void kernels_own_uptime_is_shifted_into_the_time_namespace(void **state)
{
    World *world = *state;
    PvRow row = make_row("proc/uptime", PV_SECTION_UPTIME, PV_CONTROLLER_TASKS);
    enter_cgroup(world, "0::/\n");
    assert_renders(world, &world->container, &row, "1000.00 3000.00\n");
    world->container.has_time_offset = TRUE;
    world->container.time_offset_nsec = -(gint64)(990 * NSEC_PER_SEC + NSEC_PER_SEC / 4);
    assert_renders(world, &world->container, &row, "9.75 3000.00\n");
}

static void kernels_own_btime_is_shifted_into_the_time_namespace(void **state)
{
    World *world = *state;
    PvRow row = make_row("proc/stat", PV_SECTION_CPU_TICKS, PV_CONTROLLER_CPU);
    enter_cgroup(world, "0::/\n");
    world->container.has_time_offset = TRUE;
    g_autoptr(GString) out = g_string_new("x");
    assert_int_equal(pv_views_render(world->views, &world->container, &row, out), 0);
    assert_true(g_str_has_prefix(out->str, "xcpu  9 9 9 9\nbtime "));
    assert_null(strstr(out->str, "12345"));
    assert_true(g_str_has_suffix(out->str, "\nsoftirq 0 0\n"));
}

static void diskstats_without_a_cgroup_of_its_own_are_not_the_hosts(void **state)
{
    assert_int_equal(pv_row_find("proc/diskstats")->controllers, 0);
    (void)state;
}

static void pressure_without_a_cgroup_of_its_own_is_not_the_hosts(void **state)
{
    World *world = *state;
    PvRow row = *pv_row_find("proc/pressure/cpu");
    row.render = render_marked;
    assert_renders(world, &world->container, &row, "the container's 0\n");
}

static void all_rows_render(void **state)
{
    World *world = *state;
    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        g_autoptr(GString) out = g_string_new(NULL);
        assert_int_equal(pv_views_render(world->views, &world->container, row, out), 0);
    }
    PvViewCounters counters;
    pv_views_counters(world->views, &counters);
    assert_int_equal(counters.fallbacks, 0);
}

static void a_row_that_the_host_has_not_is_known(void **state)
{
    World *world = *state;
    const PvRow *row = pv_row_find("proc/schedstat");

    assert_true(row->is_optional);
    assert_true(pv_row_is_on_host(row, world->host));
    g_autofree char *path = g_build_filename(world->root.path, row->path, NULL);
    assert_int_equal(unlink(path), 0);
    assert_false(pv_row_is_on_host(row, world->host));
}

static void the_limit_of_tasks_is_the_cgroups(void **state)
{
    World *world = *state;
    const PvRow *row = pv_row_find("proc/sys/kernel/pid_max");
    g_autoptr(GString) out = g_string_new(NULL);

    scratch_put(&world->root, BOX "pids.max", "50\n");
    assert_int_equal(pv_views_render(world->views, &world->container, row, out), 0);
    scratch_put(&world->root, "proc/sys/kernel/pid_max", "44\n"); /* the host's counts at once */
    assert_int_equal(pv_views_render(world->views, &world->container, row, out), 0);
    assert_string_equal(out->str, "50\n44\n");
}

/* ---- threads ---- */

static void *render_all_rows(void *data)
{
    World *world = data;
    guint n_failed = 0;

    for (guint i = 0; i < 20; i++) {
        for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
            g_autoptr(GString) out = g_string_new(NULL);
            n_failed += pv_views_render(world->views, &world->container, row, out) < 0;
        }
        n_failed += pv_sampler_sample(world->host, &world->container, 0) < 0;
    }
    return GUINT_TO_POINTER(n_failed);
}

static void many_threads_may_render(void **state)
{
    pthread_t threads[4];

    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render_all_rows, *state), 0);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        void *n_failed;
        pthread_join(threads[i], &n_failed);
        assert_null(n_failed);
    }
    PvViewCounters counters;
    pv_views_counters(((World *)*state)->views, &counters);
    assert_int_equal(counters.fallbacks, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(set_is_the_first_of_the_cpuset_that_the_quota_allows),
        TEST(quota_is_read_at_each_reading),
        TEST(dense_ids_count_from_0),
        TEST(cpus_that_are_offline_are_not_in_the_set),
        TEST(directories_show_the_same_set),
        TEST(root_cgroup_has_the_hosts_cpus),
        TEST(unknown_caller_gets_the_hosts_cpus_and_is_counted),
        TEST(possible_cpus_are_the_hosts),
        TEST(ticks_are_totals_split_by_where_threads_ran),
        TEST(iowait_is_the_io_pressure),
        TEST(idle_alone_is_that_of_stat),
        TEST(btime_is_the_hosts),
        TEST(btime_in_a_time_namespace_is_its_boot),
        TEST(first_reading_samples_at_once),
        TEST(fresh_sample_is_not_taken_again),
        TEST(newest_pid_stays_when_its_thread_has_ended),
        TEST(thread_that_has_ended_is_not_counted),
        TEST(second_sample_counts_only_new_ticks),
        TEST(many_threads_are_extrapolated),
        TEST(root_cgroup_is_not_sampled),
        TEST(nspid_is_that_of_the_asked_depth),
        TEST(sampler_thread_stops_at_once),
        TEST(memory_comes_with_the_hosts_text),
        TEST(swap_is_read_where_the_host_has_some),
        TEST(what_is_not_accounted_is_left_out),
        TEST(container_gets_its_own_text),
        TEST(unknown_caller_gets_the_kernels_own_and_is_counted),
        TEST(root_cgroup_gets_the_kernels_own_uncounted),
        TEST(unreadable_numbers_are_replaced_by_the_kernels_own),
        TEST(files_that_the_host_does_not_keep_open_are_found),
        TEST(missing_file_of_the_host_is_an_error),
        TEST(kernels_own_uptime_is_shifted_into_the_time_namespace),
        TEST(kernels_own_btime_is_shifted_into_the_time_namespace),
        TEST(diskstats_without_a_cgroup_of_its_own_are_not_the_hosts),
        TEST(pressure_without_a_cgroup_of_its_own_is_not_the_hosts),
        TEST(all_rows_render),
        TEST(a_row_that_the_host_has_not_is_known),
        TEST(the_limit_of_tasks_is_the_cgroups),
        TEST(many_threads_may_render),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
