/* meminfo, swaps, vmstat and the nodes' meminfo, and the figures they are made from. */
#include "render_test.h"

#include "../../src/view/render/render.h"
#include "procview/figures.h"

/* The texts of a host of 125 GiB and 2 GiB of swap. */
typedef struct {
    char *meminfo, *vmstat, *node, *garbage;
} Texts;

static int setup(void **state)
{
    Texts *texts = g_new0(Texts, 1);
    texts->meminfo = host_text("meminfo");
    texts->vmstat = host_text("vmstat");
    texts->node = host_text("node0-meminfo");
    texts->garbage = host_text("garbage");
    *state = texts;
    return 0;
}

static int teardown(void **state)
{
    Texts *texts = *state;
    g_free(texts->meminfo);
    g_free(texts->vmstat);
    g_free(texts->node);
    g_free(texts->garbage);
    g_free(texts);
    return 0;
}

static void init_snapshot(PvSnapshot *snapshot, const Texts *texts)
{
    *snapshot = (PvSnapshot){
        .valid = PV_SECTION_MEMORY | PV_SECTION_IO | PV_SECTION_HOST_VMSTAT,
        .ticks_per_second = 100,
        .page_bytes = 4096,
        .host_meminfo = texts->meminfo,
        .host_vmstat = texts->vmstat,
        .memory = {.limit_bytes = PV_UNLIMITED,
                   .high_bytes = PV_UNLIMITED,
                   .swap_limit_bytes = PV_UNLIMITED,
                   .memsw_limit_bytes = PV_UNLIMITED},
    };
}

/* 256 MiB of memory, 384 MiB with swap, of which 16 MiB are swapped out. */
static void init_v1(PvSnapshot *snapshot, const Texts *texts)
{
    PvMemory *memory = &snapshot->memory;

    init_snapshot(snapshot, texts);
    memory->limit_bytes = 256 * MIB;
    memory->usage_bytes = 100 * MIB;
    memory->has_swap = TRUE;
    memory->memsw_limit_bytes = 384 * MIB;
    memory->swap_limit_bytes = 128 * MIB;
    memory->swap_usage_bytes = 16 * MIB;
    set_stat(memory, PV_MEMORY_ANON, 40 * MIB);
    set_stat(memory, PV_MEMORY_FILE, 50 * MIB);
    set_stat(memory, PV_MEMORY_SHMEM, 10 * MIB);
    set_stat(memory, PV_MEMORY_FILE_MAPPED, 8 * MIB);
    set_stat(memory, PV_MEMORY_FILE_DIRTY, 1 * MIB);
    set_stat(memory, PV_MEMORY_FILE_WRITEBACK, 512 * KIB);
    set_stat(memory, PV_MEMORY_ANON_THP, 4 * MIB);
    set_stat(memory, PV_MEMORY_INACTIVE_ANON, 20 * MIB);
    set_stat(memory, PV_MEMORY_ACTIVE_ANON, 30 * MIB);
    set_stat(memory, PV_MEMORY_INACTIVE_FILE, 24 * MIB);
    set_stat(memory, PV_MEMORY_ACTIVE_FILE, 16 * MIB);
    set_stat(memory, PV_MEMORY_UNEVICTABLE, 0);
    set_stat(memory, PV_MEMORY_PGFAULT, 123456);
    set_stat(memory, PV_MEMORY_PGMAJFAULT, 78);
    set_stat(memory, PV_MEMORY_PGPGIN, 9999999);
    set_stat(memory, PV_MEMORY_PGPGOUT, 8888888);
}

/* 512 MiB of memory, 64 MiB of swap, eight huge pages, every line of memory.stat. */
static void init_v2(PvSnapshot *snapshot, const Texts *texts)
{
    PvMemory *memory = &snapshot->memory;

    init_snapshot(snapshot, texts);
    snapshot->has_hugetlb = TRUE;
    snapshot->hugetlb = (PvHugetlb){.limit_bytes = 16 * MIB, .usage_bytes = 6 * MIB};
    memory->limit_bytes = 512 * MIB;
    memory->usage_bytes = 300 * MIB + 2048;
    memory->has_swap = TRUE;
    memory->swap_limit_bytes = 64 * MIB;
    memory->swap_usage_bytes = 4 * MIB;
    for (guint i = 0; i < PV_MEMORY_STAT_COUNT; i++)
        set_stat(memory, (PvMemoryStat)i, (i + 1) * MIB);
}

/* ---- meminfo ---- */

static void v1_shows_limit_and_use(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    assert_golden(pv_render_meminfo, &snapshot, "meminfo-v1");
}

static void v2_shows_every_line_of_memory_stat(void **state)
{
    PvSnapshot snapshot;
    init_v2(&snapshot, *state);
    assert_golden(pv_render_meminfo, &snapshot, "meminfo-v2");
}

static void without_limits_total_is_the_hosts_and_used_the_containers(void **state)
{
    PvSnapshot snapshot;
    init_snapshot(&snapshot, *state);
    snapshot.memory.usage_bytes = 72000 * KIB;
    snapshot.memory.has_swap = TRUE;
    assert_golden(pv_render_meminfo, &snapshot, "meminfo-unlimited");
}

static void limit_above_the_host_is_the_hosts(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    snapshot.memory.limit_bytes = 500 * GIB;
    assert_line(pv_render_meminfo, &snapshot, "MemTotal:", "MemTotal:       131072000 kB");
}

static void sizes_round_down_to_kb(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    snapshot.memory.limit_bytes = 10 * MIB + 1023;
    snapshot.memory.usage_bytes = 1;
    assert_line(pv_render_meminfo, &snapshot, "MemTotal:", "MemTotal:          10240 kB");
    assert_line(pv_render_meminfo, &snapshot, "MemFree:", "MemFree:           10240 kB");
}

static void use_above_the_limit_leaves_nothing_free(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    snapshot.memory.usage_bytes = snapshot.memory.limit_bytes + MIB;
    assert_line(pv_render_meminfo, &snapshot, "MemFree:", "MemFree:               0 kB");
}

static void available_is_at_most_the_total(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    snapshot.memory.usage_bytes = 10 * MIB;
    assert_line(pv_render_meminfo, &snapshot, "MemAvailable:", "MemAvailable:     262144 kB");
}

static void available_is_at_most_the_hosts(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    snapshot.host_meminfo = "MemTotal:  1000000 kB\nMemAvailable:  1234 kB\n";
    assert_line(pv_render_meminfo, &snapshot, "MemAvailable:", "MemAvailable:  1234 kB");
}

static void memory_high_bounds_available(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    /* 100 MiB used, 40 of them can be dropped: 80 - 60. */
    snapshot.memory.high_bytes = 80 * MIB;
    assert_line(pv_render_meminfo, &snapshot, "MemAvailable:", "MemAvailable:      20480 kB");
    assert_line(pv_render_meminfo, &snapshot, "MemTotal:", "MemTotal:         262144 kB");
}

static void memory_high_above_the_limit_changes_nothing(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    snapshot.memory.high_bytes = 300 * MIB;
    assert_line(pv_render_meminfo, &snapshot, "MemAvailable:", "MemAvailable:     200704 kB");
}

static void slab_is_the_sum_of_its_halves_where_the_kernel_has_no_sum(void **state)
{
    PvSnapshot snapshot;
    init_snapshot(&snapshot, *state);
    set_stat(&snapshot.memory, PV_MEMORY_SLAB_RECLAIMABLE, 3 * MIB);
    set_stat(&snapshot.memory, PV_MEMORY_SLAB_UNRECLAIMABLE, 2 * MIB);
    assert_line(pv_render_meminfo, &snapshot, "Slab:", "Slab:               5120 kB");
}

static void huge_pages_without_a_limit_are_none(void **state)
{
    PvSnapshot snapshot;
    init_v2(&snapshot, *state);
    snapshot.hugetlb.limit_bytes = PV_UNLIMITED;
    assert_line(pv_render_meminfo, &snapshot, "HugePages_Total:", "HugePages_Total:       0");
    assert_line(pv_render_meminfo, &snapshot, "Hugetlb:", "Hugetlb:               0 kB");
    assert_line(pv_render_meminfo, &snapshot, "Hugepagesize:", "Hugepagesize:       2048 kB");
}

static void huge_pages_are_at_most_the_hosts(void **state)
{
    PvSnapshot snapshot;
    init_v2(&snapshot, *state);
    snapshot.hugetlb.limit_bytes = 1024 * GIB;
    assert_line(pv_render_meminfo, &snapshot, "HugePages_Total:", "HugePages_Total:     512");
    assert_line(pv_render_meminfo, &snapshot, "HugePages_Free:", "HugePages_Free:      509");
}

static void malformed_host_lines_are_left_out(void **state)
{
    const Texts *texts = *state;
    PvSnapshot snapshot;
    init_v1(&snapshot, texts);
    snapshot.host_meminfo = texts->garbage;
    assert_renders(pv_render_meminfo, &snapshot, "");
}

static void largest_numbers_do_not_wrap(void **state)
{
    PvSnapshot snapshot;
    init_snapshot(&snapshot, *state);
    snapshot.host_meminfo = "MemTotal:       18014398509481982 kB\n"
                            "MemAvailable:   18446744073709551615 kB\n"
                            "SwapTotal:      18014398509481982 kB\n"
                            "CommitLimit:           1 kB\n";
    snapshot.memory.usage_bytes = G_MAXUINT64;
    snapshot.memory.has_swap = TRUE;
    snapshot.memory.swap_usage_bytes = G_MAXUINT64;
    snapshot.swap_total = PV_SWAP_TOTAL_MEMSW;
    for (guint i = 0; i < PV_MEMORY_STAT_COUNT; i++)
        set_stat(&snapshot.memory, (PvMemoryStat)i, G_MAXUINT64);
    assert_renders(pv_render_meminfo, &snapshot,
                   "MemTotal:       18014398509481982 kB\n"
                   "MemAvailable:   18014398509481982 kB\n"
                   "SwapTotal:      18014398509481982 kB\n"
                   "CommitLimit:    18014398509481983 kB\n");
}

/* ---- swap ---- */

static void v1_swap_is_the_difference_of_the_limits(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    assert_golden(pv_render_swaps, &snapshot, "swaps-v1");
}

static void v1_swap_is_what_is_used_where_that_is_more(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    snapshot.memory.swap_limit_bytes = 0;
    assert_line(pv_render_meminfo, &snapshot, "SwapTotal:", "SwapTotal:         16384 kB");
    assert_line(pv_render_meminfo, &snapshot, "SwapFree:", "SwapFree:              0 kB");
}

static void v2_swap_is_its_limit(void **state)
{
    PvSnapshot snapshot;
    init_v2(&snapshot, *state);
    snapshot.memory.swap_limit_bytes = 0;
    assert_line(pv_render_meminfo, &snapshot, "SwapTotal:", "SwapTotal:             0 kB");
    assert_renders(pv_render_swaps, &snapshot,
                   "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
}

static void swap_is_at_most_the_hosts(void **state)
{
    PvSnapshot snapshot;
    init_v2(&snapshot, *state);
    snapshot.memory.swap_limit_bytes = PV_UNLIMITED;
    assert_line(pv_render_meminfo, &snapshot, "SwapTotal:", "SwapTotal:       2097148 kB");
    assert_line(pv_render_meminfo, &snapshot, "SwapFree:", "SwapFree:        2093052 kB");
}

static void memsw_rule_counts_memory_as_swappable(void **state)
{
    PvSnapshot v1, v2;
    init_v1(&v1, *state);
    init_v2(&v2, *state);
    v1.swap_total = v2.swap_total = PV_SWAP_TOTAL_MEMSW;
    assert_line(pv_render_meminfo, &v1, "SwapTotal:", "SwapTotal:        393216 kB");
    assert_line(pv_render_meminfo, &v2, "SwapTotal:", "SwapTotal:        589824 kB");
}

static void swap_may_be_left_out(void **state)
{
    PvSnapshot snapshot;
    init_v2(&snapshot, *state);
    snapshot.swap_total = PV_SWAP_TOTAL_NONE;
    assert_line(pv_render_meminfo, &snapshot, "SwapTotal:", "SwapTotal:             0 kB");
    assert_line(pv_render_meminfo, &snapshot, "SwapFree:", "SwapFree:              0 kB");
}

static void unaccounted_swap_is_none(void **state)
{
    PvSnapshot snapshot;
    init_v2(&snapshot, *state);
    snapshot.memory.has_swap = FALSE;
    assert_line(pv_render_meminfo, &snapshot, "SwapTotal:", "SwapTotal:             0 kB");
}

static void swaps_agrees_with_meminfo(void **state)
{
    PvSnapshot snapshot;
    PvMemoryFigures figures;
    init_v2(&snapshot, *state);
    pv_memory_figures(&snapshot, &figures);
    assert_int_equal(figures.swap_total_bytes, 64 * MIB);
    assert_int_equal(figures.swap_free_bytes, 60 * MIB);
    assert_golden(pv_render_swaps, &snapshot, "swaps-v2");
}

static void wide_swap_sizes_keep_the_columns(void **state)
{
    PvSnapshot snapshot;
    init_snapshot(&snapshot, *state);
    snapshot.host_meminfo = "SwapTotal:      20000000 kB\n";
    snapshot.memory.has_swap = TRUE;
    snapshot.memory.swap_usage_bytes = 10000000 * KIB;
    assert_line(pv_render_swaps, &snapshot, "none",
                "none                                    virtual\t\t20000000\t10000000\t-2");
}

/* ---- vmstat ---- */

static const PvIoDevice DEVICES[] = {
    {.major = 259, .minor = 0, .read_bytes = 3 * MIB, .write_bytes = 2 * MIB},
    {.major = 8, .minor = 0, .read_bytes = 1 * MIB + 1, .write_bytes = 1023},
};

static void vmstat_v2_has_every_key_of_the_host(void **state)
{
    PvSnapshot snapshot;
    g_autoptr(GArray) io = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    init_v2(&snapshot, *state);
    g_array_append_vals(io, DEVICES, G_N_ELEMENTS(DEVICES));
    snapshot.io = io;
    assert_golden(pv_render_vmstat, &snapshot, "vmstat-v2");
}

static void vmstat_v1_pgpgin_is_io_and_not_the_charges(void **state)
{
    PvSnapshot snapshot;
    init_v1(&snapshot, *state);
    assert_golden(pv_render_vmstat, &snapshot, "vmstat-v1");
}

static void vmstat_counts_huge_pages_of_the_middle_level(void **state)
{
    PvSnapshot snapshot;
    init_snapshot(&snapshot, *state);
    snapshot.host_vmstat = "nr_anon_transparent_hugepages 1\n";
    set_stat(&snapshot.memory, PV_MEMORY_ANON_THP, 12 * MIB);
    assert_renders(pv_render_vmstat, &snapshot, "nr_anon_transparent_hugepages 6\n");
    snapshot.host_meminfo = "Hugepagesize:    1048576 kB\n";
    assert_renders(pv_render_vmstat, &snapshot, "nr_anon_transparent_hugepages 6\n");
    snapshot.host_meminfo = "Hugepagesize:       1024 kB\n";
    assert_renders(pv_render_vmstat, &snapshot, "nr_anon_transparent_hugepages 12\n");
}

static void vmstat_leaves_malformed_lines_out(void **state)
{
    const Texts *texts = *state;
    PvSnapshot snapshot;
    init_v1(&snapshot, texts);
    snapshot.host_vmstat = texts->garbage;
    assert_renders(pv_render_vmstat, &snapshot, "1 0\n");
}

/* ---- nodes ---- */

static void node_has_its_share(void **state)
{
    const Texts *texts = *state;
    PvSnapshot snapshot;
    g_autoptr(GString) out = g_string_new(NULL);
    g_autofree char *path = g_build_filename(FIXTURES, "render-golden", "node0-meminfo", NULL);
    g_autofree char *expected = NULL;

    init_v2(&snapshot, texts);
    guint64 node_kb = pv_node_meminfo_total_kb(texts->node);
    assert_int_equal(node_kb, 98304000);
    /* three quarters of the host's memory */
    pv_render_node_meminfo(&snapshot, texts->node, 131072000, out);
    assert_true(g_file_get_contents(path, &expected, NULL, NULL));
    assert_string_equal(out->str, expected);
}

static void only_node_has_all(void **state)
{
    const Texts *texts = *state;
    PvSnapshot snapshot;
    g_autoptr(GString) out = g_string_new(NULL);

    init_v1(&snapshot, texts);
    pv_render_node_meminfo(&snapshot, "Node 0 MemTotal:        4942036 kB\n", 4942036, out);
    assert_string_equal(out->str, "Node 0 MemTotal:         262144 kB\n");
}

static void node_without_memory_has_none(void **state)
{
    PvSnapshot snapshot;
    g_autoptr(GString) out = g_string_new(NULL);

    init_v1(&snapshot, *state);
    pv_render_node_meminfo(&snapshot, "Node 1 MemTotal:              0 kB\n", 4942036, out);
    assert_string_equal(out->str, "Node 1 MemTotal:              0 kB\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_shows_limit_and_use),
        cmocka_unit_test(v2_shows_every_line_of_memory_stat),
        cmocka_unit_test(without_limits_total_is_the_hosts_and_used_the_containers),
        cmocka_unit_test(limit_above_the_host_is_the_hosts),
        cmocka_unit_test(sizes_round_down_to_kb),
        cmocka_unit_test(use_above_the_limit_leaves_nothing_free),
        cmocka_unit_test(available_is_at_most_the_total),
        cmocka_unit_test(available_is_at_most_the_hosts),
        cmocka_unit_test(memory_high_bounds_available),
        cmocka_unit_test(memory_high_above_the_limit_changes_nothing),
        cmocka_unit_test(slab_is_the_sum_of_its_halves_where_the_kernel_has_no_sum),
        cmocka_unit_test(huge_pages_without_a_limit_are_none),
        cmocka_unit_test(huge_pages_are_at_most_the_hosts),
        cmocka_unit_test(malformed_host_lines_are_left_out),
        cmocka_unit_test(largest_numbers_do_not_wrap),
        cmocka_unit_test(v1_swap_is_the_difference_of_the_limits),
        cmocka_unit_test(v1_swap_is_what_is_used_where_that_is_more),
        cmocka_unit_test(v2_swap_is_its_limit),
        cmocka_unit_test(swap_is_at_most_the_hosts),
        cmocka_unit_test(memsw_rule_counts_memory_as_swappable),
        cmocka_unit_test(swap_may_be_left_out),
        cmocka_unit_test(unaccounted_swap_is_none),
        cmocka_unit_test(swaps_agrees_with_meminfo),
        cmocka_unit_test(wide_swap_sizes_keep_the_columns),
        cmocka_unit_test(vmstat_v2_has_every_key_of_the_host),
        cmocka_unit_test(vmstat_v1_pgpgin_is_io_and_not_the_charges),
        cmocka_unit_test(vmstat_counts_huge_pages_of_the_middle_level),
        cmocka_unit_test(vmstat_leaves_malformed_lines_out),
        cmocka_unit_test(node_has_its_share),
        cmocka_unit_test(only_node_has_all),
        cmocka_unit_test(node_without_memory_has_none),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
