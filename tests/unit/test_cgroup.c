/*
 * What the cgroups of well-formed hosts say: v1, v2, hybrid, many levels, no limits.
 */
#include "cgroup_tree.h"

#include <errno.h>

/* ---- memory ---- */

static void v1_memory_comes_from_memory_stat_and_usage(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 4242);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, TRUE, &m), 0);
    assert_u64(m.limit_bytes, MIB(256));
    assert_u64(m.high_bytes, PV_UNLIMITED);
    assert_u64(m.usage_bytes, MIB(64));
    /* The fixture's total_ lines are twice the cgroup's own. */
    assert_u64(pv_memory_stat(&m, PV_MEMORY_FILE), MIB(16));
    assert_u64(pv_memory_stat(&m, PV_MEMORY_ANON), MIB(32));
    assert_u64(pv_memory_stat(&m, PV_MEMORY_INACTIVE_FILE), MIB(10));
    assert_u64(pv_memory_stat(&m, PV_MEMORY_PGMAJFAULT), 22);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_SWAPCACHED), 16384);
    assert_false(pv_bit(m.stat_valid, PV_MEMORY_SLAB));
    assert_false(pv_bit(m.stat_valid, PV_MEMORY_KERNEL_STACK));
}

static void v1_kernel_memory_is_taken_to_be_unreclaimable(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 4242);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_SLAB_UNRECLAIMABLE), MIB(3));
    assert_false(pv_bit(m.stat_valid, PV_MEMORY_SLAB_RECLAIMABLE));
}

static void v1_without_kernel_memory_accounting_has_none(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-hybrid", 4242);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_false(pv_bit(m.stat_valid, PV_MEMORY_SLAB_UNRECLAIMABLE));
}

static void v1_swap_is_memsw_less_memory(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 4242);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, TRUE, &m), 0);
    assert_true(m.has_swap);
    assert_u64(m.memsw_limit_bytes, MIB(384));
    assert_u64(m.swap_limit_bytes, MIB(128));
    assert_u64(m.swap_usage_bytes, MIB(6));
}

static void swap_is_left_out_when_not_wanted(void **state)
{
    (void)state;
    static const char *const TREES[] = {"cgroup-v1", "cgroup-v2"};
    for (guint i = 0; i < G_N_ELEMENTS(TREES); i++) {
        g_autoptr(PvCgroup) cgroup = fixture_cgroup(TREES[i], 4242);
        PvMemory m;
        assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
        assert_false(m.has_swap);
    }
}

static void v1_without_swap_accounting_has_no_swap(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-hybrid", 4242);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, TRUE, &m), 0);
    assert_false(m.has_swap);
    assert_u64(m.limit_bytes, MIB(128));
}

static void v2_memory_of_a_cgroup_without_the_controller_is_the_nearest_ancestors(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v2", 4242);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, TRUE, &m), 0);
    assert_u64(m.limit_bytes, MIB(256));
    assert_u64(m.high_bytes, MIB(200));
    assert_u64(m.usage_bytes, MIB(96));
    assert_true(m.has_swap);
    assert_u64(m.swap_limit_bytes, MIB(64)); /* the slice's */
    assert_u64(m.swap_usage_bytes, MIB(3));
    assert_u64(m.memsw_limit_bytes, PV_UNLIMITED);
}

static void v2_memory_stat_lines_are_told_apart(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v2", 4242);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_FILE), MIB(48));
    assert_u64(pv_memory_stat(&m, PV_MEMORY_FILE_MAPPED), MIB(9));
    assert_u64(pv_memory_stat(&m, PV_MEMORY_SLAB), 3145728);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_SLAB_RECLAIMABLE), 2097152);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_PGSCAN), 1200);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_PGSCAN_DIRECT), 500);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_PGSCAN_PROACTIVE), 17);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_PGDEMOTE_KSWAPD), 14);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_ZSWPWB), 1);
    assert_u64(pv_memory_stat(&m, PV_MEMORY_THP_COLLAPSE_ALLOC), 1);
    for (PvMemoryStat s = 0; s < PV_MEMORY_STAT_COUNT; s++)
        assert_int_equal(pv_bit(m.stat_valid, s), s != PV_MEMORY_PGPGIN && s != PV_MEMORY_PGPGOUT);
}

static void limits_of_every_ancestor_count(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-deep", 4242);
    PvMemory m;
    PvPids pids;
    assert_int_equal(pv_cgroup_read_memory(cgroup, TRUE, &m), 0);
    assert_u64(m.limit_bytes, MIB(300));
    assert_u64(m.high_bytes, MIB(250));
    assert_u64(m.swap_limit_bytes, 0);
    assert_int_equal(pv_cgroup_read_pids(cgroup, &pids), 0);
    assert_u64(pids.max, 40);
}

static void without_limits_everything_is_unlimited(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-nolimit", 4242);
    PvMemory m;
    PvPids pids;
    PvCpuLimits cpu;
    assert_int_equal(pv_cgroup_read_memory(cgroup, TRUE, &m), 0);
    assert_u64(m.limit_bytes, PV_UNLIMITED);
    assert_u64(m.high_bytes, PV_UNLIMITED);
    assert_u64(m.swap_limit_bytes, PV_UNLIMITED);
    assert_u64(m.usage_bytes, MIB(96));
    assert_int_equal(pv_cgroup_read_pids(cgroup, &pids), 0);
    assert_u64(pids.max, PV_UNLIMITED);
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &cpu), 0);
    assert_u64(cpu.quota_usec, PV_UNLIMITED);
}

/* ---- cpu ---- */

static void v1_cpu_limits(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 4242);
    PvCpuLimits limits;
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), 0);
    assert_u64(limits.quota_usec, 150000);
    assert_u64(limits.period_usec, 100000);
    assert_true(limits.has_cpus);
    assert_cpus(&limits.effective_cpus, "1,3");
}

static void v2_cpus_are_those_of_the_nearest_cpuset(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v2", 4242);
    PvCpuLimits limits;
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), 0);
    assert_u64(limits.quota_usec, 50000);
    assert_cpus(&limits.effective_cpus, "2,4-5");
}

static void tightest_quota_is_by_ratio_not_by_number(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-deep", 4242);
    PvCpuLimits limits;
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), 0);
    assert_u64(limits.quota_usec, 20000); /* 20000/10000 is less than 150000/50000 */
    assert_u64(limits.period_usec, 10000);
    assert_cpus(&limits.effective_cpus, "0-7"); /* the root's: no level has a cpuset */
}

static void hybrid_without_cpuset_says_so(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-hybrid", 4242);
    PvCpuLimits limits;
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), 0);
    assert_false(limits.has_cpus);
    assert_u64(limits.quota_usec, 200000); /* the parent's */
}

static void v1_cpu_usage_adds_up_over_cpus(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 4242);
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_CPUS, &usage), 0);
    assert_int_equal(usage->n_cpus, 4);
    assert_u64(usage->total_nsec, 9000000000);
    assert_u64(usage->cpu[0].total_nsec, 4000000000);
    assert_u64(usage->cpu[1].user_nsec, 2000000000);
    assert_u64(usage->cpu[2].system_nsec, 1000000000);
    assert_u64(usage->cpu[3].total_nsec, 0);
    assert_u64(usage->user_nsec + usage->system_nsec + usage->nice_nsec, usage->total_nsec);
    assert_u64(usage->user_nsec, 6000000000);
    assert_u64(usage->throttled_nsec, 2500000000);
}

static void v1_cpu_total_alone_is_not_split(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 4242);
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_THROTTLED, &usage), 0);
    assert_int_equal(usage->n_cpus, 0);
    assert_u64(usage->total_nsec, 9000000000);
    assert_u64(usage->user_nsec, usage->total_nsec);
    assert_u64(usage->throttled_nsec, 2500000000);
}

static void v2_cpu_usage_is_the_cgroups_own_and_throttling_the_quotas(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v2", 4242);
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_CPUS, &usage), 0);
    assert_int_equal(usage->n_cpus, 0);
    assert_u64(usage->total_nsec, 700000);
    assert_u64(usage->throttled_nsec, 1234567000); /* the scope has the quota */
}

static void v2_user_time_is_without_nice_and_the_parts_add_up(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-nolimit", 4242);
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_THROTTLED, &usage), 0);
    assert_u64(usage->total_nsec, 5000001000);
    assert_u64(usage->system_nsec, 2000000000);
    assert_u64(usage->nice_nsec, 500000000);
    assert_u64(usage->user_nsec, 2500001000);
}

static void throttled_time_is_that_of_the_tightest_quota(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-deep", 4242);
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_THROTTLED, &usage), 0);
    assert_u64(usage->throttled_nsec,
               6000); /* the fixture has the level's number in microseconds */
    assert_int_equal(usage->throttled_level, 6);
}

/* ---- io, pids, hugetlb, pressure ---- */

static void v1_io_has_the_devices_with_traffic(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 4242);
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(pv_cgroup_read_io(cgroup, devices), 0);
    assert_int_equal(devices->len, 1);
    const PvIoDevice *d = &g_array_index(devices, PvIoDevice, 0);
    assert_int_equal(d->major, 254);
    assert_int_equal(d->minor, 0);
    assert_u64(d->read_bytes, 4096000);
    assert_u64(d->write_bytes, 8192);
    assert_u64(d->discard_bytes, 512);
    assert_u64(d->read_ios, 1000);
    assert_u64(d->write_ios, 2);
    assert_u64(d->discard_ios, 1);
}

static void v2_io_survives_devices_glued_to_one_line(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v2", 4242);
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(pv_cgroup_read_io(cgroup, devices), 0);
    assert_int_equal(devices->len, 2);
    const PvIoDevice *d = &g_array_index(devices, PvIoDevice, 0);
    assert_int_equal(d->major, 254);
    assert_u64(d->read_bytes, 1048576);
    assert_u64(d->write_ios, 1);
    d = &g_array_index(devices, PvIoDevice, 1);
    assert_int_equal(d->major, 8);
    assert_int_equal(d->minor, 16);
    assert_u64(d->discard_ios, 3);
}

static void io_is_appended(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 4242);
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(pv_cgroup_read_io(cgroup, devices), 0);
    assert_int_equal(pv_cgroup_read_io(cgroup, devices), 0);
    assert_int_equal(devices->len, 2);
}

static void pids_are_effective(void **state)
{
    (void)state;
    static const struct {
        const char *tree;
        guint64 max, current;
    } CASES[] = {{"cgroup-v1", 50, 3}, {"cgroup-v2", 100, 7}, {"cgroup-hybrid", 64, 5}};
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        g_autoptr(PvCgroup) cgroup = fixture_cgroup(CASES[i].tree, 4242);
        PvPids pids;
        assert_int_equal(pv_cgroup_read_pids(cgroup, &pids), 0);
        assert_u64(pids.max, CASES[i].max);
        assert_u64(pids.current, CASES[i].current);
    }
}

static void hugetlb_of_the_page_size(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) v1 = fixture_cgroup("cgroup-v1", 4242);
    g_autoptr(PvCgroup) v2 = fixture_cgroup("cgroup-v2", 4242);
    PvHugetlb h;
    assert_int_equal(pv_cgroup_read_hugetlb(v1, 2048, &h), 0);
    assert_u64(h.limit_bytes, MIB(8));
    assert_u64(h.usage_bytes, MIB(2));
    assert_int_equal(pv_cgroup_read_hugetlb(v2, 2048, &h), 0);
    assert_u64(h.limit_bytes, MIB(16));
    assert_u64(h.usage_bytes, MIB(4));
}

static void hugetlb_of_a_second_page_size_is_not_mixed_up(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v2", 4242);
    PvHugetlb h;
    assert_int_equal(pv_cgroup_read_hugetlb(cgroup, 1048576, &h), -ENODATA);
    assert_int_equal(pv_cgroup_read_hugetlb(cgroup, 2048, &h), 0);
    assert_u64(h.limit_bytes, MIB(16));
    assert_int_equal(pv_cgroup_read_hugetlb(cgroup, 64, &h), -ENODATA);
    assert_int_equal(pv_cgroup_read_hugetlb(cgroup, 0, &h), -EINVAL);
}

static void pressure_is_read_in_hundredths(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v2", 4242);
    PvPressure p;
    assert_int_equal(pv_cgroup_read_pressure(cgroup, PV_PRESSURE_MEMORY, &p), 0);
    assert_true(p.has_some && p.has_full);
    assert_int_equal(p.some.avg_centi[0], 150);
    assert_int_equal(p.some.avg_centi[1], 2207);
    assert_int_equal(p.some.avg_centi[2], 10000);
    assert_u64(p.some.total_usec, 1234567);
    assert_int_equal(p.full.avg_centi[0], 12);
    assert_u64(p.full.total_usec, 987654);
    assert_int_equal(pv_cgroup_read_pressure(cgroup, PV_PRESSURE_IRQ, &p), 0);
    assert_false(p.has_some);
    assert_true(p.has_full);
}

static void pressure_without_psi_is_no_data(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) v1 = fixture_cgroup("cgroup-v1", 4242);
    g_autoptr(PvCgroup) hybrid = fixture_cgroup("cgroup-hybrid", 4242);
    PvPressure p;
    assert_int_equal(pv_cgroup_read_pressure(v1, PV_PRESSURE_CPU, &p), -ENODATA);
    assert_int_equal(pv_cgroup_read_pressure(hybrid, PV_PRESSURE_CPU, &p), 0);
    assert_int_equal(pv_cgroup_read_pressure(hybrid, PV_PRESSURE_IO, &p), -ENODATA);
}

/* ---- the root, and what a cgroup is ---- */

static void root_accounts_nothing(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-v1", 1);
    PvMemory m;
    PvPids pids;
    PvCpuLimits limits;
    g_autofree PvCpuUsage *usage = NULL;
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_true(pv_cgroup_is_root(cgroup, PV_CONTROLLER_MEMORY));
    assert_int_equal(pv_cgroup_read_memory(cgroup, TRUE, &m), -ENODATA);
    assert_int_equal(pv_cgroup_read_pids(cgroup, &pids), -ENODATA);
    assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_CPUS, &usage), -ENODATA);
    assert_int_equal(pv_cgroup_read_io(cgroup, devices), -ENODATA);
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), 0);
    assert_u64(limits.quota_usec, PV_UNLIMITED);
    assert_cpus(&limits.effective_cpus, "0-3");
}

static void paths_and_directories_are_told(void **state)
{
    (void)state;
    g_autoptr(PvCgroup) cgroup = fixture_cgroup("cgroup-hybrid", 4242);
    assert_string_equal(pv_cgroup_path(cgroup, PV_CONTROLLER_MEMORY), "/lxc/c1");
    assert_null(pv_cgroup_path(cgroup, PV_CONTROLLER_CPUSET));
    assert_true(pv_cgroup_is_root(cgroup, PV_CONTROLLER_CPUSET));
    assert_false(pv_cgroup_is_root(cgroup, PV_CONTROLLER_MEMORY));
    assert_int_equal(pv_cgroup_dirfd(cgroup, PV_CONTROLLER_CPUSET), -1);
    char text[64];
    assert_true(pv_read_text_at(pv_cgroup_dirfd(cgroup, PV_CONTROLLER_TASKS), "tasks", text,
                                sizeof text) > 0);
    assert_string_equal(text, "4242\n4300\n");
}

static void membership_is_that_of_a_hierarchy_in_which_the_process_has_a_cgroup(void **state)
{
    (void)state;
    pv_autofd int root = fixture_open("cgroup-v1");
    g_autoptr(PvCgroup) cgroup =
        tree_cgroup_of_text(root, "4:pids:/\n6:memory:/docker/3f5ac2\n8:cpu,cpuacct:/\n");
    assert_true(pv_cgroup_is_root(cgroup, PV_CONTROLLER_PIDS));
    assert_false(pv_cgroup_is_root(cgroup, PV_CONTROLLER_TASKS));
    assert_string_equal(pv_cgroup_path(cgroup, PV_CONTROLLER_TASKS), "/docker/3f5ac2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_memory_comes_from_memory_stat_and_usage),
        cmocka_unit_test(v1_kernel_memory_is_taken_to_be_unreclaimable),
        cmocka_unit_test(v1_without_kernel_memory_accounting_has_none),
        cmocka_unit_test(v1_swap_is_memsw_less_memory),
        cmocka_unit_test(swap_is_left_out_when_not_wanted),
        cmocka_unit_test(v1_without_swap_accounting_has_no_swap),
        cmocka_unit_test(v2_memory_of_a_cgroup_without_the_controller_is_the_nearest_ancestors),
        cmocka_unit_test(v2_memory_stat_lines_are_told_apart),
        cmocka_unit_test(limits_of_every_ancestor_count),
        cmocka_unit_test(without_limits_everything_is_unlimited),
        cmocka_unit_test(v1_cpu_limits),
        cmocka_unit_test(v2_cpus_are_those_of_the_nearest_cpuset),
        cmocka_unit_test(tightest_quota_is_by_ratio_not_by_number),
        cmocka_unit_test(hybrid_without_cpuset_says_so),
        cmocka_unit_test(v1_cpu_usage_adds_up_over_cpus),
        cmocka_unit_test(v1_cpu_total_alone_is_not_split),
        cmocka_unit_test(v2_cpu_usage_is_the_cgroups_own_and_throttling_the_quotas),
        cmocka_unit_test(v2_user_time_is_without_nice_and_the_parts_add_up),
        cmocka_unit_test(throttled_time_is_that_of_the_tightest_quota),
        cmocka_unit_test(v1_io_has_the_devices_with_traffic),
        cmocka_unit_test(v2_io_survives_devices_glued_to_one_line),
        cmocka_unit_test(io_is_appended),
        cmocka_unit_test(pids_are_effective),
        cmocka_unit_test(hugetlb_of_the_page_size),
        cmocka_unit_test(hugetlb_of_a_second_page_size_is_not_mixed_up),
        cmocka_unit_test(pressure_is_read_in_hundredths),
        cmocka_unit_test(pressure_without_psi_is_no_data),
        cmocka_unit_test(root_accounts_nothing),
        cmocka_unit_test(paths_and_directories_are_told),
        cmocka_unit_test(membership_is_that_of_a_hierarchy_in_which_the_process_has_a_cgroup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
