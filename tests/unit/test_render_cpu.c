/* cpuinfo, stat, and sysfs's lists and masks of CPUs. */
#include "render_test.h"

#include "../../src/view/render/render.h"

static void assert_cpuinfo(const char *host, const char *cpus, gboolean dense, const char *golden)
{
    PvSnapshot snapshot = {0};
    g_autofree char *text = host_text(host);
    set_cpus(&snapshot, cpus, dense);
    snapshot.host_cpuinfo = text;
    assert_golden(pv_render_cpuinfo, &snapshot, golden);
}

/* Two packages of two cores of two threads. 1, 3, 5: two threads of one core, and one of the other
 * package. */
static void x86_keeps_real_ids_and_counts_shown_siblings(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-x86", "1,3,5", FALSE, "cpuinfo-x86-1,3,5");
}

static void x86_dense_ids_count_from_0(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-x86", "1,3,5", TRUE, "cpuinfo-x86-dense");
}

static void x86_single_cpu_has_no_sibling(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-x86", "6", FALSE, "cpuinfo-x86-6");
}

static void all_cpus_give_the_hosts_own_text(void **state)
{
    static const struct {
        const char *host, *cpus;
    } CASES[] = {
        {"cpuinfo-x86", "0-7"},   {"cpuinfo-arm64", "0-3"},      {"cpuinfo-arm", "0-3"},
        {"cpuinfo-riscv", "0-3"}, {"cpuinfo-ppc64", "0,4,8,12"}, {"cpuinfo-s390x", "0-3"},
    };
    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
        PvSnapshot snapshot = {0};
        g_autofree char *text = host_text(CASES[i].host);
        set_cpus(&snapshot, CASES[i].cpus, FALSE);
        snapshot.host_cpuinfo = text;
        assert_renders(pv_render_cpuinfo, &snapshot, text);
    }
}

static void arm64_is_cut(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-arm64", "1-2", FALSE, "cpuinfo-arm64-1-2");
}

static void arm_keeps_its_last_paragraph(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-arm", "3", TRUE, "cpuinfo-arm-dense");
}

static void riscv_is_cut(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-riscv", "0,3", TRUE, "cpuinfo-riscv-dense");
}

static void ppc64_keeps_its_last_paragraph(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-ppc64", "4,12", FALSE, "cpuinfo-ppc64-4,12");
}

static void s390x_is_cut_in_all_its_lists(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-s390x", "0,2", FALSE, "cpuinfo-s390x-0,2");
}

static void s390x_dense_ids_count_from_0(void **state)
{
    (void)state;
    assert_cpuinfo("cpuinfo-s390x", "2-3", TRUE, "cpuinfo-s390x-dense");
}

static void lines_before_the_first_cpu_stay(void **state)
{
    PvSnapshot snapshot = {
        .host_cpuinfo = "system type\t: board\nprocessor\t: 0\nisa\t: mips32\n\n"
                        "processor\t: 1\nisa\t: mips64\n\n",
    };
    (void)state;
    set_cpus(&snapshot, "1", FALSE);
    assert_renders(pv_render_cpuinfo, &snapshot,
                   "system type\t: board\n\nprocessor\t: 1\nisa\t: mips64\n\n");
}

static void malformed_ids_are_of_no_cpu(void **state)
{
    PvSnapshot snapshot = {
        .host_cpuinfo = "processor\t: 99999999999999999999\nprocessor\nprocessor:\nprocessor\t: 1",
    };
    (void)state;
    set_cpus(&snapshot, "0-8191", FALSE);
    assert_renders(pv_render_cpuinfo, &snapshot,
                   "processor\t: 99999999999999999999\nprocessor\nprocessor:\nprocessor\t: 1\n");
}

static void no_text_renders_nothing(void **state)
{
    PvSnapshot snapshot = {0};
    (void)state;
    set_cpus(&snapshot, "0", FALSE);
    assert_renders(pv_render_cpuinfo, &snapshot, "");
}

/* ---- stat ---- */

static PvCpuTicks some_ticks[] = {
    {.user = 1000, .nice = 1, .system = 200, .idle = 5000, .iowait = 7, .steal = 300},
    {.user = 3000, .nice = 2, .system = 400, .idle = 2500, .iowait = 8, .steal = 600},
};

static void init_stat(PvSnapshot *snapshot, const char *host_stat)
{
    *snapshot = (PvSnapshot){
        .ticks_per_second = 100,
        .ticks = some_ticks,
        .ticks_total = {4000, 3, 600, 7500, 15, 900},
        .btime_sec = 1700000000,
        .load.tasks = {.running = 2, .uninterruptible = 1, .total = 17, .last_pid = 4242},
        .load.n_forks = 4242,
        .host_stat = host_stat,
    };
}

static void stat_has_a_line_for_each_cpu_of_the_set(void **state)
{
    PvSnapshot snapshot;
    g_autofree char *host = host_text("stat");
    (void)state;
    init_stat(&snapshot, host);
    set_cpus(&snapshot, "2,5", FALSE);
    assert_golden(pv_render_stat, &snapshot, "stat-2,5");
}

static void stat_shows_dense_ids(void **state)
{
    PvSnapshot snapshot;
    (void)state;
    init_stat(&snapshot, NULL);
    set_cpus(&snapshot, "2,5", TRUE);
    assert_golden(pv_render_stat, &snapshot, "stat-dense");
}

static void reader_of_stat_runs(void **state)
{
    PvSnapshot snapshot;
    (void)state;
    init_stat(&snapshot, NULL);
    set_cpus(&snapshot, "0-1", FALSE);
    snapshot.load.tasks = (PvTaskCounts){.total = 3};
    assert_line(pv_render_stat, &snapshot, "procs_running", "procs_running 1");
}

static void softirq_has_the_hosts_columns(void **state)
{
    PvSnapshot snapshot;
    (void)state;
    init_stat(&snapshot, "cpu 1\nsoftirq 5 6 7\n");
    set_cpus(&snapshot, "0-1", FALSE);
    assert_line(pv_render_stat, &snapshot, "softirq", "softirq 0 0 0");
}

/* ---- sysfs ---- */

static void online_is_the_set(void **state)
{
    PvSnapshot snapshot = {0};
    (void)state;
    set_cpus(&snapshot, "1,4-6", FALSE);
    assert_renders(pv_render_cpu_online, &snapshot, "1,4-6\n");
    set_cpus(&snapshot, "1,4-6", TRUE);
    assert_renders(pv_render_cpu_online, &snapshot, "0-3\n");
}

static void possible_is_the_hosts(void **state)
{
    PvSnapshot snapshot = {0};
    (void)state;
    set_cpus(&snapshot, "1", FALSE);
    assert_true(pv_cpu_set_parse_list("0-127", &snapshot.host_possible));
    assert_renders(pv_render_cpu_possible, &snapshot, "0-127\n");
}

typedef gboolean (*FileFunc)(const PvSnapshot *, const char *, GString *);

static void assert_file(FileFunc func, const char *cpus, gboolean dense, const char *host,
                        const char *expected)
{
    PvSnapshot snapshot = {0};
    g_autoptr(GString) out = g_string_new(NULL);
    set_cpus(&snapshot, cpus, dense);
    assert_int_equal(func(&snapshot, host, out), expected != NULL);
    assert_string_equal(out->str, expected != NULL ? expected : "");
}

static void lists_are_cut_to_the_set(void **state)
{
    (void)state;
    assert_file(pv_render_cpu_list_file, "2-5", FALSE, "0-3,5,9\n", "2-3,5\n");
    assert_file(pv_render_cpu_list_file, "2-5", TRUE, "0-3,5,9\n", "0-1,3\n");
    assert_file(pv_render_cpu_list_file, "2-5", FALSE, "9\n", "\n");
    assert_file(pv_render_cpu_list_file, "2-5", FALSE, "ff,x\n", NULL);
}

static void masks_are_cut_and_keep_their_width(void **state)
{
    (void)state;
    assert_file(pv_render_cpu_mask_file, "2-5", FALSE, "0000000f\n", "0000000c\n");
    assert_file(pv_render_cpu_mask_file, "2-5", TRUE, "ff\n", "0f\n");
    assert_file(pv_render_cpu_mask_file, "1", FALSE, "3\n", "2\n");
    assert_file(pv_render_cpu_mask_file, "33", FALSE, "f,ffffffff,ffffffff\n",
                "0,00000002,00000000\n");
    assert_file(pv_render_cpu_mask_file, "2-5", FALSE, "0-3\n", NULL);
}

static void node_shows_its_part_of_the_set(void **state)
{
    PvSnapshot snapshot = {0};
    PvCpuSet node;
    g_autoptr(GString) out = g_string_new(NULL);
    (void)state;

    set_cpus(&snapshot, "2-5", FALSE);
    assert_true(pv_cpu_set_parse_list("4-7", &node));
    pv_render_node_cpulist(&snapshot, &node, out);
    pv_render_node_cpumap(&snapshot, &node, 8, out);
    assert_string_equal(out->str, "4-5\n30\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x86_keeps_real_ids_and_counts_shown_siblings),
        cmocka_unit_test(x86_dense_ids_count_from_0),
        cmocka_unit_test(x86_single_cpu_has_no_sibling),
        cmocka_unit_test(all_cpus_give_the_hosts_own_text),
        cmocka_unit_test(arm64_is_cut),
        cmocka_unit_test(arm_keeps_its_last_paragraph),
        cmocka_unit_test(riscv_is_cut),
        cmocka_unit_test(ppc64_keeps_its_last_paragraph),
        cmocka_unit_test(s390x_is_cut_in_all_its_lists),
        cmocka_unit_test(s390x_dense_ids_count_from_0),
        cmocka_unit_test(lines_before_the_first_cpu_stay),
        cmocka_unit_test(malformed_ids_are_of_no_cpu),
        cmocka_unit_test(no_text_renders_nothing),
        cmocka_unit_test(stat_has_a_line_for_each_cpu_of_the_set),
        cmocka_unit_test(stat_shows_dense_ids),
        cmocka_unit_test(reader_of_stat_runs),
        cmocka_unit_test(softirq_has_the_hosts_columns),
        cmocka_unit_test(online_is_the_set),
        cmocka_unit_test(possible_is_the_hosts),
        cmocka_unit_test(lists_are_cut_to_the_set),
        cmocka_unit_test(masks_are_cut_and_keep_their_width),
        cmocka_unit_test(node_shows_its_part_of_the_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
