/*
 * Cgroups whose files are missing, cut, garbage or changing, and cgroups made to lead a walk
 * astray.
 */
#include "../../src/cgroup/internal.h"
#include "cgroup_tree.h"
#include "scratch.h"

#include "procview/error.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#define C     "sys/fs/cgroup/slice/c/"
#define SLICE "sys/fs/cgroup/slice/"

#define STAT "anon 4096\nfile 8192\nfile_mapped 1024\n"

/* A v2 host with the cgroup /slice/c. */
static void make_v2(Scratch *s)
{
    scratch_make(s);
    scratch_put(s, "proc/self/mountinfo", "1 2 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    scratch_put(s, "sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
    scratch_put(s, SLICE "cgroup.procs", "");
    scratch_put(s, C "cgroup.procs", "");
    scratch_put(s, C "memory.current", "40960\n");
    scratch_put(s, C "memory.max", "1048576\n");
    scratch_put(s, C "memory.high", "max\n");
    scratch_put(s, C "memory.stat", STAT);
    scratch_put(s, C "cpu.max", "max 100000\n");
    scratch_put(s, C "cpu.stat", "usage_usec 10\nuser_usec 6\nsystem_usec 4\n");
}

static PvCgroup *open_c(const Scratch *s)
{
    return tree_cgroup_of_text(s->fd, "0::/slice/c\n");
}

/* A v1 host with the memory cgroup /c below a root with memory.use_hierarchy as given. */
static PvCgroup *make_v1_memory(Scratch *s, const char *root_use_hierarchy,
                                const char *use_hierarchy, const char *stat)
{
    scratch_make(s);
    scratch_put(s, "proc/self/mountinfo", "1 2 0:33 / /m rw - cgroup cgroup rw,memory\n");
    scratch_put(s, "m/memory.use_hierarchy", root_use_hierarchy);
    scratch_put(s, "m/p/cgroup.procs", "");
    scratch_put(s, "m/p/memory.use_hierarchy", use_hierarchy);
    scratch_put(s, "m/p/memory.limit_in_bytes", "1000000\n");
    scratch_put(s, "m/p/c/cgroup.procs", "");
    scratch_put(s, "m/p/c/memory.use_hierarchy", use_hierarchy);
    scratch_put(s, "m/p/c/memory.limit_in_bytes", "2000000\n");
    scratch_put(s, "m/p/c/memory.usage_in_bytes", "4096\n");
    scratch_put(s, "m/p/c/memory.stat", stat);
    return tree_cgroup_of_text(s->fd, "4:memory:/p/c\n");
}

/* ---- memory ---- */

static void malformed_numbers_are_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",
                                      "\n",
                                      "garbage\n",
                                      "-5\n",
                                      "12 5\n",
                                      "12x\n",
                                      "9223372036854775809\n",
                                      "99999999999999999999999\n"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_auto(Scratch) s;
        make_v2(&s);
        scratch_put(&s, C "memory.current", BAD[i]);
        g_autoptr(PvCgroup) cgroup = open_c(&s);
        PvMemory m = {.usage_bytes = 7};
        assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), -EINVAL);
        assert_u64(m.usage_bytes, 7);
    }
}

static void malformed_limits_are_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"", "\n", "garbage\n", "maxi\n", "5 5\n"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_auto(Scratch) s;
        make_v2(&s);
        scratch_put(&s, C "memory.max", BAD[i]);
        g_autoptr(PvCgroup) cgroup = open_c(&s);
        PvMemory m;
        assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), -EINVAL);
    }
}

static void number_that_was_cut_is_refused(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "memory.max", "10485");
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), -EINVAL);
}

static void limit_past_2_to_62_is_none(void **state)
{
    (void)state;
    static const char *const NONE[] = {"9223372036854771712\n", "9223372036854775807\n",
                                       "18446744073709551615\n", "max\n"};
    for (guint i = 0; i < G_N_ELEMENTS(NONE); i++) {
        g_auto(Scratch) s;
        make_v2(&s);
        scratch_put(&s, C "memory.max", NONE[i]);
        g_autoptr(PvCgroup) cgroup = open_c(&s);
        PvMemory m;
        assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
        assert_u64(m.limit_bytes, PV_UNLIMITED);
    }
}

static void memory_stat_that_tells_nothing_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",
                                      "garbage\n",
                                      "anon 5\n",
                                      "anon 5\nfile 1",
                                      "anon\nfile\n",
                                      "anon 5\nfile 99999999999999999999\n"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_auto(Scratch) s;
        make_v2(&s);
        scratch_put(&s, C "memory.stat", BAD[i]);
        g_autoptr(PvCgroup) cgroup = open_c(&s);
        PvMemory m;
        assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), -EINVAL);
    }
}

static void stat_line_past_2_to_63_is_not_valid(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "memory.stat", STAT "shmem 18446744073709551615\n");
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_false(pv_bit(m.stat_valid, PV_MEMORY_SHMEM));
    assert_u64(pv_memory_stat(&m, PV_MEMORY_SHMEM), 0);
}

static void overlong_file_is_refused(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autofree char *text = g_strnfill(PV_CONTROL_FILE_MAX + 1, '1');
    text[PV_CONTROL_FILE_MAX] = '\n';
    scratch_put(&s, C "memory.stat", text);
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), -EFBIG);
}

static void v1_with_hierarchy_trusts_memory_stat(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    g_autoptr(PvCgroup) cgroup = make_v1_memory(
        &s, "1\n", "0\n", "hierarchical_memory_limit 3000000\ntotal_cache 1\ntotal_rss 1\n");
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(m.limit_bytes, 3000000);
}

static void v1_without_hierarchy_walks_the_limits(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    g_autoptr(PvCgroup) cgroup = make_v1_memory(
        &s, "0\n", "0\n", "hierarchical_memory_limit 3000000\ntotal_cache 1\ntotal_rss 1\n");
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(m.limit_bytes, 1000000);
}

static void v1_memory_stat_without_the_limit_walks_too(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    g_autoptr(PvCgroup) cgroup = make_v1_memory(&s, "1\n", "1\n", "total_cache 1\ntotal_rss 1\n");
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(m.limit_bytes, 1000000);
}

static void v1_own_lines_do_not_pass_for_totals(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    g_autoptr(PvCgroup) cgroup =
        make_v1_memory(&s, "1\n", "1\n", "hierarchical_memory_limit 5\ncache 1\nrss 1\n");
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), -EINVAL);
}

/* ---- files that come and go ---- */

static void change_of_a_limit_shows_at_the_next_read(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(m.limit_bytes, 1048576);
    assert_int_equal(pv_write_text_at(s.fd, C "memory.max", "2097152\n"), 0);
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(m.limit_bytes, 2097152);
}

static void controller_enabled_nowhere_is_no_data(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvPids pids;
    assert_int_equal(pv_cgroup_read_pids(cgroup, &pids), -ENODATA);
}

static void missing_file_is_looked_for_again_after_a_second(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvPids pids;
    assert_int_equal(pv_cgroup_read_pids(cgroup, &pids), -ENODATA);
    scratch_put(&s, C "pids.current", "3\n");
    scratch_put(&s, C "pids.max", "9\n");
    g_usleep(2100000); /* seconds are counted whole */
    assert_int_equal(pv_cgroup_read_pids(cgroup, &pids), 0);
    assert_u64(pids.max, 9);
}

static void removed_cgroup_is_not_answered_for_by_its_ancestor(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, SLICE "pids.current", "77\n");
    scratch_put(&s, SLICE "pids.max", "max\n");
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    assert_int_equal(unlinkat(s.fd, C "cgroup.procs", 0), 0);
    PvPids pids;
    assert_int_equal(pv_cgroup_read_pids(cgroup, &pids), -ENODEV);
}

static void cgroup_that_is_not_there_cannot_be_opened(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autoptr(PvHierarchies) h = tree_hierarchies(s.fd, NULL);
    PvCgroupPaths paths = {.path = {[PV_CONTROLLER_MEMORY] = (char *)"/slice/none"}};
    g_autoptr(GError) error = NULL;
    assert_null(pv_cgroup_open(h, &paths, &error));
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_NOT_FOUND));
    assert_non_null(strstr(error->message, "/slice/none"));
}

static void symlink_in_the_place_of_a_cgroup_is_not_followed(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    assert_int_equal(symlinkat("c", s.fd, SLICE "link"), 0);
    assert_int_equal(symlinkat("slice", s.fd, "sys/fs/cgroup/way"), 0);
    g_autoptr(PvHierarchies) h = tree_hierarchies(s.fd, NULL);
    static const char *const PATHS[] = {"/slice/link", "/way/c"};
    for (guint i = 0; i < G_N_ELEMENTS(PATHS); i++) {
        PvCgroupPaths paths = {.path = {[PV_CONTROLLER_MEMORY] = (char *)PATHS[i]}};
        assert_null(pv_cgroup_open(h, &paths, NULL));
    }
}

static void dotdot_never_leaves_the_hierarchy(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autoptr(PvHierarchies) h = tree_hierarchies(s.fd, NULL);
    static const char *const PATHS[] = {"/..", "/slice/../..", "relative", ""};
    for (guint i = 0; i < G_N_ELEMENTS(PATHS); i++) {
        PvCgroupPaths paths = {.path = {[PV_CONTROLLER_MEMORY] = (char *)PATHS[i]}};
        assert_null(pv_cgroup_open(h, &paths, NULL));
    }
}

static void symlink_in_the_place_of_a_control_file_is_not_followed(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    assert_int_equal(unlinkat(s.fd, C "memory.current", 0), 0);
    assert_int_equal(symlinkat("memory.max", s.fd, C "memory.current"), 0);
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), -ELOOP);
}

/* Its own figures, and the limits of its outer ancestors, which it cannot have made itself. */
static void deeply_nested_cgroup_keeps_the_limits_from_outside(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "cpu.max", "50000 100000\n");
    g_autoptr(GString) below = g_string_new("slice/c");
    for (guint i = 0; i < 300; i++)
        g_string_append(below, "/a");
    g_autofree char *usage = g_strdup_printf("sys/fs/cgroup/%s/memory.current", below->str);
    g_autofree char *limit = g_strdup_printf("sys/fs/cgroup/%s/memory.max", below->str);
    g_autofree char *stat = g_strdup_printf("sys/fs/cgroup/%s/memory.stat", below->str);
    g_autofree char *procs = g_strdup_printf("sys/fs/cgroup/%s/cgroup.procs", below->str);
    scratch_put(&s, usage, "4096\n");
    scratch_put(&s, limit, "max\n");
    scratch_put(&s, stat, STAT);
    scratch_put(&s, procs, "");

    g_autofree char *text = g_strdup_printf("0::/%s\n", below->str);
    g_autoptr(PvCgroup) cgroup = tree_cgroup_of_text(s.fd, text);
    PvMemory m;
    PvCpuLimits cpu;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(m.usage_bytes, 4096);
    assert_u64(m.limit_bytes, 1048576);
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &cpu), 0);
    assert_u64(cpu.quota_usec, 50000);
    assert_string_equal(pv_cgroup_path(cgroup, PV_CONTROLLER_MEMORY) + 1, below->str);
    assert_true(cgroup->chains[0].n_levels <= PV_CGROUP_DEPTH_MAX);
}

static void cgroup_of_a_reader_inside_a_container_counts_the_mounts_root(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    /* cgroup.type is in every cgroup but the hierarchy's own root. */
    scratch_put(&s, "sys/fs/cgroup/cgroup.type", "domain\n");
    scratch_put(&s, "sys/fs/cgroup/memory.max", "65536\n");
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvMemory m;
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
    assert_u64(m.limit_bytes, 65536);
    g_autoptr(PvCgroup) root = tree_cgroup_of_text(s.fd, "0::/\n");
    assert_false(pv_cgroup_is_root(root, PV_CONTROLLER_MEMORY));
}

/* ---- cpu ---- */

static void malformed_quota_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",        "\n",      "max\n",       "5000 0\n",
                                      "x 100\n", "100 x\n", "100 100 1\n", "100 100"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_auto(Scratch) s;
        make_v2(&s);
        scratch_put(&s, C "cpu.max", BAD[i]);
        g_autoptr(PvCgroup) cgroup = open_c(&s);
        PvCpuLimits limits;
        assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), -EINVAL);
    }
}

static void empty_cpuset_takes_the_nearest_ancestors(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, "sys/fs/cgroup/cpuset.cpus.effective", "0-7\n");
    scratch_put(&s, SLICE "cpuset.cpus.effective", "2-3\n");
    scratch_put(&s, C "cpuset.cpus.effective", "\n");
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvCpuLimits limits;
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), 0);
    assert_cpus(&limits.effective_cpus, "2-3");
    assert_int_equal(pv_write_text_at(s.fd, SLICE "cpuset.cpus.effective", "\n\n\n\n"), 0);
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), 0);
    assert_cpus(&limits.effective_cpus, "0-7");
}

static void garbage_cpuset_is_refused(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "cpuset.cpus.effective", "0-99999\n");
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    PvCpuLimits limits;
    assert_int_equal(pv_cgroup_read_cpu_limits(cgroup, &limits), -EINVAL);
}

static void cpu_stat_without_usage_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"", "garbage\n", "user_usec 5\n",
                                      "usage_usec 18446744073709551615\n"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_auto(Scratch) s;
        make_v2(&s);
        scratch_put(&s, C "cpu.stat", BAD[i]);
        g_autoptr(PvCgroup) cgroup = open_c(&s);
        g_autofree PvCpuUsage *usage = NULL;
        assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_THROTTLED, &usage), -EINVAL);
        assert_null(usage);
    }
}

static void parts_larger_than_the_total_are_cut_to_it(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "cpu.stat", "usage_usec 10\nuser_usec 60\nsystem_usec 40\nnice_usec 3\n");
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_THROTTLED, &usage), 0);
    assert_u64(usage->system_nsec, 10000);
    assert_u64(usage->user_nsec + usage->nice_nsec, 0);
}

/* Read v1's tables of CPUs; NULL for a file that is not there. */
static int read_v1_cpus(const char *percpu, const char *all, PvCpuUsage **ret_usage)
{
    g_auto(Scratch) s;
    scratch_make(&s);
    scratch_put(&s, "proc/self/mountinfo", "1 2 0:33 / /c rw - cgroup cgroup rw,cpuacct\n");
    scratch_put(&s, "c/c/cgroup.procs", "");
    scratch_put(&s, "c/c/cpuacct.usage", "100\n");
    scratch_put(&s, "c/c/cpuacct.stat", "user 1\nsystem 3\n");
    if (percpu != NULL)
        scratch_put(&s, "c/c/cpuacct.usage_percpu", percpu);
    if (all != NULL)
        scratch_put(&s, "c/c/cpuacct.usage_all", all);
    g_autoptr(PvCgroup) cgroup = tree_cgroup_of_text(s.fd, "4:cpuacct:/c\n");
    return pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_CPUS, ret_usage);
}

static void v1_cpu_tables_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *percpu, *all;
    } BAD[] = {
        {"", "cpu user system\n"},
        {"1 2\n", "cpu user system\n0 1 0\n"},
        {"1\n", "cpu user system\n0 1 0\n1 1 0\n"},
        {"1 x\n", "cpu user system\n0 1 0\n"},
        {"1\n", "cpu user system\n0 1\n"},
        {"1\n", "cpu user system\n9000 1 1\n"},
        {"1\n", ""},
        {"garbage\n", NULL},
    };
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autofree PvCpuUsage *usage = NULL;
        assert_int_equal(read_v1_cpus(BAD[i].percpu, BAD[i].all, &usage), -EINVAL);
        assert_null(usage);
    }
}

static void v1_cpu_ids_with_gaps_are_kept(void **state)
{
    (void)state;
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(read_v1_cpus("10 20 \n", "cpu user system\n1 5 5\n4 10 10\n", &usage), 0);
    assert_int_equal(usage->n_cpus, 5);
    assert_u64(usage->cpu[0].total_nsec, 0);
    assert_u64(usage->cpu[1].total_nsec, 10);
    assert_u64(usage->cpu[4].total_nsec, 20);
    assert_u64(usage->total_nsec, 30);
}

static void v1_without_usage_all_splits_by_cpuacct_stat(void **state)
{
    (void)state;
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(read_v1_cpus("10 30 \n", NULL, &usage), 0);
    assert_int_equal(usage->n_cpus, 2);
    assert_u64(usage->user_nsec, 10);
    assert_u64(usage->system_nsec, 30);
}

static void v1_without_tables_has_the_total(void **state)
{
    (void)state;
    g_autofree PvCpuUsage *usage = NULL;
    assert_int_equal(read_v1_cpus(NULL, NULL, &usage), 0);
    assert_int_equal(usage->n_cpus, 0);
    assert_u64(usage->total_nsec, 100);
}

/* ---- io ---- */

static int read_v2_io(const char *text, GArray *devices)
{
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "io.stat", text);
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    return pv_cgroup_read_io(cgroup, devices);
}

static void io_junk_is_skipped(void **state)
{
    (void)state;
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(read_v2_io("rbytes=9\n8:0 rbytes=1 = rbytes=x wbytes=5y wios=-1 dios 7 new=3 "
                                "rios=2\nrios=9\n8 : 0 rbytes=7\n99999999999:0 rbytes=3\n",
                                devices),
                     0);
    assert_int_equal(devices->len, 1);
    const PvIoDevice *d = &g_array_index(devices, PvIoDevice, 0);
    assert_u64(d->read_bytes, 1);
    assert_u64(d->read_ios, 2);
    assert_u64(d->write_bytes | d->write_ios | d->discard_ios, 0);
}

static void io_of_nothing_is_no_device(void **state)
{
    (void)state;
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(read_v2_io("", devices), 0);
    assert_int_equal(devices->len, 0);
}

static void io_garbage_is_refused(void **state)
{
    (void)state;
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(read_v2_io("garbage\n", devices), -EINVAL);
    assert_int_equal(read_v2_io("8:0 rbytes=1", devices), -EINVAL);
    assert_int_equal(devices->len, 0);
}

static void io_devices_are_bounded(void **state)
{
    (void)state;
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < PV_IO_DEVICES_MAX + 10; i++)
        g_string_append_printf(text, "7:%u rbytes=4096 wbytes=4096 rios=1 wios=1\n", i);
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(read_v2_io(text->str, devices), 0);
    assert_int_equal(devices->len, PV_IO_DEVICES_MAX);
}

static void endless_io_is_refused(void **state)
{
    (void)state;
    g_autofree char *text = g_strnfill(1200000, 'x');
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(read_v2_io(text, devices), -EFBIG);
}

static int read_v1_io(const char *bytes_name, const char *bytes, GArray *devices)
{
    g_auto(Scratch) s;
    scratch_make(&s);
    scratch_put(&s, "proc/self/mountinfo", "1 2 0:33 / /b rw - cgroup cgroup rw,blkio\n");
    scratch_put(&s, "b/c/cgroup.procs", "");
    g_autofree char *name = g_strconcat("b/c/", bytes_name, NULL);
    scratch_put(&s, name, bytes);
    scratch_put(&s, "b/c/blkio.io_service_time_recursive", "8:0 Total 500\nTotal 500\n");
    g_autoptr(PvCgroup) cgroup = tree_cgroup_of_text(s.fd, "4:blkio:/c\n");
    return pv_cgroup_read_io(cgroup, devices);
}

static void v1_io_takes_the_file_that_the_kernel_has(void **state)
{
    (void)state;
    static const char *const NAMES[] = {
        "blkio.throttle.io_service_bytes_recursive", "blkio.io_service_bytes_recursive",
        "blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"};
    for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++) {
        g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
        assert_int_equal(read_v1_io(NAMES[i], "8:0 Read 5\n8:0 Write x\nTotal 5\n", devices), 0);
        assert_int_equal(devices->len, 1);
        const PvIoDevice *d = &g_array_index(devices, PvIoDevice, 0);
        assert_u64(d->read_bytes, 5);
        assert_u64(d->write_bytes, 0);
        assert_u64(d->service_nsec, 500);
    }
}

static void v1_io_garbage_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"", "garbage\n", "8:0 Read\n", "8:0 Read 5"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
        assert_int_equal(read_v1_io("blkio.throttle.io_service_bytes_recursive", BAD[i], devices),
                         -EINVAL);
    }
}

/* ---- pressure ---- */

static void malformed_pressure_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {
        "",
        "garbage\n",
        "some avg10=1 avg60=0.00 avg300=0.00 total=0\n",
        "some avg10=101.00 avg60=0.00 avg300=0.00 total=0\n",
        "some avg10=0.00 avg60=0.00 avg300=0.00\n",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=x\n",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1",
    };
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        g_auto(Scratch) s;
        make_v2(&s);
        scratch_put(&s, C "io.pressure", BAD[i]);
        g_autoptr(PvCgroup) cgroup = open_c(&s);
        PvPressure pressure;
        assert_int_equal(pv_cgroup_read_pressure(cgroup, PV_PRESSURE_IO, &pressure), -EINVAL);
    }
}

/* ---- threads ---- */

typedef struct {
    GString *seen;
    guint count, stop_after;
} Collected;

static gboolean collect(pid_t tid, gpointer data)
{
    Collected *collected = data;
    collected->count++;
    g_string_append_printf(collected->seen, "%d ", (int)tid);
    return collected->count != collected->stop_after;
}

/* The walk's result; the thread ids go to `out`. */
static int walk(const Scratch *s, guint max_threads, guint stop_after, GString *out)
{
    g_autoptr(PvCgroup) cgroup = open_c(s);
    Collected collected = {.seen = out, .stop_after = stop_after};
    return pv_cgroup_foreach_thread(cgroup, max_threads, collect, &collected);
}

static void threads_of_the_subtree_are_visited(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, SLICE "cgroup.threads", "1\n");
    scratch_put(&s, C "cgroup.threads", "10\n11\n0\n");
    scratch_put(&s, C "a/cgroup.threads", "20\n");
    scratch_put(&s, C "a/b/cgroup.threads", "30\n31\n");
    g_autoptr(GString) seen = g_string_new(NULL);
    assert_int_equal(walk(&s, 100, 0, seen), 0);
    assert_string_equal(seen->str, "10 11 0 20 30 31 ");
}

static void walk_ends_at_its_bound_and_at_the_callbacks_wish(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "cgroup.threads", "10\n11\n12\n");
    g_autoptr(GString) seen = g_string_new(NULL);
    assert_int_equal(walk(&s, 2, 0, seen), -E2BIG);
    assert_string_equal(seen->str, "10 11 ");
    g_string_truncate(seen, 0);
    assert_int_equal(walk(&s, 3, 0, seen), 0);
    g_string_truncate(seen, 0);
    assert_int_equal(walk(&s, 100, 1, seen), 0);
    assert_string_equal(seen->str, "10 ");
}

static void thread_ids_cut_by_a_piece_are_put_together(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < 3000; i++)
        g_string_append_printf(text, "%u\n", 1000000 + i);
    scratch_put(&s, C "cgroup.threads", text->str);
    g_autoptr(GString) seen = g_string_new(NULL);
    assert_int_equal(walk(&s, 5000, 0, seen), 0);
    g_strdelimit(seen->str, " ", '\n');
    assert_string_equal(seen->str, text->str);
}

static void walk_follows_no_symlinks(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, SLICE "other/cgroup.threads", "99\n");
    scratch_put(&s, C "cgroup.threads", "10\n");
    scratch_put(&s, C "child/cgroup.procs", "");
    assert_int_equal(symlinkat("../other", s.fd, C "link"), 0);
    assert_int_equal(symlinkat("../../other/cgroup.threads", s.fd, C "child/cgroup.threads"), 0);
    g_autoptr(GString) seen = g_string_new(NULL);
    assert_int_equal(walk(&s, 100, 0, seen), 0);
    assert_string_equal(seen->str, "10 ");
}

static void walk_of_too_deep_a_tree_says_so(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "cgroup.threads", "10\n");
    g_autoptr(GString) path = g_string_new(C);
    for (guint i = 0; i < 70; i++)
        g_string_append(path, "d/");
    g_string_append(path, "cgroup.threads");
    scratch_put(&s, path->str, "11\n");
    g_autoptr(GString) seen = g_string_new(NULL);
    assert_int_equal(walk(&s, 100, 0, seen), -E2BIG);
    assert_string_equal(seen->str, "10 ");
}

static void walk_of_too_many_cgroups_says_so(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    scratch_put(&s, C "cgroup.threads", "10\n");
    for (guint i = 0; i < 4100; i++) {
        char name[64];
        g_snprintf(name, sizeof name, C "n%u", i);
        assert_int_equal(mkdirat(s.fd, name, 0755), 0);
    }
    g_autoptr(GString) seen = g_string_new(NULL);
    assert_int_equal(walk(&s, 100, 0, seen), -E2BIG);
    assert_string_equal(seen->str, "10 ");
}

static void walk_of_a_removed_cgroup_says_so(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autoptr(GString) seen = g_string_new(NULL);
    assert_int_equal(walk(&s, 100, 0, seen), -ENODEV);
}

/* ---- descriptors and threads ---- */

static void descriptors_running_out_is_an_error_and_passes(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    struct rlimit before, none = {0};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    PvMemory m;
    int rc = pv_cgroup_read_memory(cgroup, FALSE, &m);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, -EMFILE);
    assert_int_equal(pv_cgroup_read_memory(cgroup, FALSE, &m), 0);
}

static gpointer read_often(gpointer data)
{
    guint failures = 0;
    for (guint i = 0; i < 200; i++) {
        PvMemory m;
        PvCpuLimits limits;
        failures += pv_cgroup_read_memory(data, TRUE, &m) != 0 || m.limit_bytes != 1048576;
        failures += pv_cgroup_read_cpu_limits(data, &limits) != 0;
    }
    return GUINT_TO_POINTER(failures);
}

static guint open_descriptors(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    guint count = 0;
    while (g_dir_read_name(dir) != NULL)
        count++;
    return count;
}

static void any_thread_may_read_and_nothing_leaks(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    make_v2(&s);
    guint before = open_descriptors();
    {
        g_autoptr(PvCgroup) cgroup = open_c(&s);
        GThread *threads[8];
        for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
            threads[i] = g_thread_new("reader", read_often, cgroup);
        for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
            assert_null(g_thread_join(threads[i]));
    }
    assert_int_equal(open_descriptors(), before);
}

/* ---- what is counted elsewhere ---- */

static void v1_io_that_the_throttling_layer_does_not_count_is_the_schedulers(void **state)
{
    (void)state;
    g_auto(Scratch) s = {0};
    scratch_make(&s);
    scratch_put(&s, "proc/self/mountinfo", "1 2 0:33 / /b rw - cgroup cgroup rw,blkio\n");
    scratch_put(&s, "b/c/cgroup.procs", "");
    scratch_put(&s, "b/c/blkio.throttle.io_service_bytes_recursive", "Total 0\n");
    scratch_put(&s, "b/c/blkio.throttle.io_serviced_recursive", "Total 0\n");
    scratch_put(&s, "b/c/blkio.bfq.io_service_bytes_recursive",
                "8:0 Read 4096\n8:0 Total 4096\nTotal 4096\n");
    scratch_put(&s, "b/c/blkio.bfq.io_serviced_recursive", "8:0 Read 1\n8:0 Total 1\nTotal 1\n");
    g_autoptr(PvCgroup) cgroup = tree_cgroup_of_text(s.fd, "7:blkio:/c\n");
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(pv_cgroup_read_io(cgroup, devices), 0);
    assert_int_equal(devices->len, 1);
    assert_u64(g_array_index(devices, PvIoDevice, 0).read_bytes, 4096);
    assert_u64(g_array_index(devices, PvIoDevice, 0).read_ios, 1);
}

static void v1_io_of_one_who_did_none_is_none(void **state)
{
    (void)state;
    g_auto(Scratch) s = {0};
    scratch_make(&s);
    scratch_put(&s, "proc/self/mountinfo", "1 2 0:33 / /b rw - cgroup cgroup rw,blkio\n");
    scratch_put(&s, "b/c/cgroup.procs", "");
    scratch_put(&s, "b/c/blkio.throttle.io_service_bytes_recursive", "Total 0\n");
    g_autoptr(PvCgroup) cgroup = tree_cgroup_of_text(s.fd, "7:blkio:/c\n");
    g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    assert_int_equal(pv_cgroup_read_io(cgroup, devices), 0);
    assert_int_equal(devices->len, 0);
}

/* Both levels may be throttled; the one that has less runs out first, and a tie is the cgroup's. */
static void throttled_level_is_the_nearest_of_equal_quotas(void **state)
{
    (void)state;
    g_auto(Scratch) s = {0};
    g_autofree PvCpuUsage *usage = NULL;
    make_v2(&s);
    scratch_put(&s, C "cpu.max", "50000 100000\n");
    scratch_put(&s, SLICE "cpu.max", "100000 200000\n");
    g_autoptr(PvCgroup) cgroup = open_c(&s);
    assert_int_equal(pv_cgroup_read_cpu_usage(cgroup, PV_CPU_USAGE_THROTTLED, &usage), 0);
    assert_int_equal(usage->throttled_level, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_io_that_the_throttling_layer_does_not_count_is_the_schedulers),
        cmocka_unit_test(v1_io_of_one_who_did_none_is_none),
        cmocka_unit_test(throttled_level_is_the_nearest_of_equal_quotas),
        cmocka_unit_test(malformed_numbers_are_refused),
        cmocka_unit_test(malformed_limits_are_refused),
        cmocka_unit_test(number_that_was_cut_is_refused),
        cmocka_unit_test(limit_past_2_to_62_is_none),
        cmocka_unit_test(memory_stat_that_tells_nothing_is_refused),
        cmocka_unit_test(stat_line_past_2_to_63_is_not_valid),
        cmocka_unit_test(overlong_file_is_refused),
        cmocka_unit_test(v1_with_hierarchy_trusts_memory_stat),
        cmocka_unit_test(v1_without_hierarchy_walks_the_limits),
        cmocka_unit_test(v1_memory_stat_without_the_limit_walks_too),
        cmocka_unit_test(v1_own_lines_do_not_pass_for_totals),
        cmocka_unit_test(change_of_a_limit_shows_at_the_next_read),
        cmocka_unit_test(controller_enabled_nowhere_is_no_data),
        cmocka_unit_test(missing_file_is_looked_for_again_after_a_second),
        cmocka_unit_test(removed_cgroup_is_not_answered_for_by_its_ancestor),
        cmocka_unit_test(cgroup_that_is_not_there_cannot_be_opened),
        cmocka_unit_test(symlink_in_the_place_of_a_cgroup_is_not_followed),
        cmocka_unit_test(dotdot_never_leaves_the_hierarchy),
        cmocka_unit_test(symlink_in_the_place_of_a_control_file_is_not_followed),
        cmocka_unit_test(deeply_nested_cgroup_keeps_the_limits_from_outside),
        cmocka_unit_test(cgroup_of_a_reader_inside_a_container_counts_the_mounts_root),
        cmocka_unit_test(malformed_quota_is_refused),
        cmocka_unit_test(empty_cpuset_takes_the_nearest_ancestors),
        cmocka_unit_test(garbage_cpuset_is_refused),
        cmocka_unit_test(cpu_stat_without_usage_is_refused),
        cmocka_unit_test(parts_larger_than_the_total_are_cut_to_it),
        cmocka_unit_test(v1_cpu_tables_that_do_not_fit_together_are_refused),
        cmocka_unit_test(v1_cpu_ids_with_gaps_are_kept),
        cmocka_unit_test(v1_without_usage_all_splits_by_cpuacct_stat),
        cmocka_unit_test(v1_without_tables_has_the_total),
        cmocka_unit_test(io_junk_is_skipped),
        cmocka_unit_test(io_of_nothing_is_no_device),
        cmocka_unit_test(io_garbage_is_refused),
        cmocka_unit_test(io_devices_are_bounded),
        cmocka_unit_test(endless_io_is_refused),
        cmocka_unit_test(v1_io_takes_the_file_that_the_kernel_has),
        cmocka_unit_test(v1_io_garbage_is_refused),
        cmocka_unit_test(malformed_pressure_is_refused),
        cmocka_unit_test(threads_of_the_subtree_are_visited),
        cmocka_unit_test(walk_ends_at_its_bound_and_at_the_callbacks_wish),
        cmocka_unit_test(thread_ids_cut_by_a_piece_are_put_together),
        cmocka_unit_test(walk_follows_no_symlinks),
        cmocka_unit_test(walk_of_too_deep_a_tree_says_so),
        cmocka_unit_test(walk_of_too_many_cgroups_says_so),
        cmocka_unit_test(walk_of_a_removed_cgroup_says_so),
        cmocka_unit_test(descriptors_running_out_is_an_error_and_passes),
        cmocka_unit_test(any_thread_may_read_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
