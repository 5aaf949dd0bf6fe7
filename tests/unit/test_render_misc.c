/* The small files, those that are counted for the machine only, and the table of rows. */
#include "render_test.h"

#include "../../src/view/render/render.h"

#define FIXED_1 2048

/* ---- uptime, loadavg ---- */

static void uptime_is_cut_to_hundredths(void **state)
{
    PvSnapshot snapshot = {
        .ticks_per_second = 100, .uptime_nsec = 83059999999, .ticks_total = {.idle = 12345}};
    (void)state;
    assert_renders(pv_render_uptime, &snapshot, "83.05 123.45\n");
}

static void idle_of_other_tick_rates(void **state)
{
    PvSnapshot snapshot = {.ticks_per_second = 1024, .ticks_total = {.idle = 1024 * 7 + 512}};
    (void)state;
    assert_renders(pv_render_uptime, &snapshot, "0.00 7.50\n");
}

static void uptime_of_centuries(void **state)
{
    PvSnapshot snapshot = {
        .ticks_per_second = 100, .uptime_nsec = G_MAXUINT64, .ticks_total = {.idle = G_MAXUINT64}};
    (void)state;
    assert_renders(pv_render_uptime, &snapshot, "18446744073.70 184467440737095516.15\n");
}

static void loadavg_rounds_as_the_kernel(void **state)
{
    /* 0.5, 1.494 (rounds down), 12.9951 (rounds up to 13) */
    PvSnapshot snapshot = {.load = {.average = {FIXED_1 / 2, 3060, 26614},
                                    .tasks = {.running = 3, .total = 120, .last_pid = 31337}}};
    (void)state;
    assert_renders(pv_render_loadavg, &snapshot, "0.50 1.49 13.00 3/120 31337\n");
}

static void reader_of_loadavg_runs(void **state)
{
    PvSnapshot snapshot = {.load.tasks = {.last_pid = 5}};
    (void)state;
    assert_renders(pv_render_loadavg, &snapshot, "0.00 0.00 0.00 1/1 5\n");
}

/* ---- diskstats ---- */

static const PvIoDevice DEVICES[] = {
    {.major = 259,
     .minor = 0,
     .read_bytes = 1048576,
     .write_bytes = 512 * 77 + 511,
     .discard_bytes = 8192,
     .read_ios = 21,
     .write_ios = 43,
     .discard_ios = 2},
    {.major = 8, .minor = 0, .read_bytes = 512, .read_ios = 1, .service_nsec = 4999999},
    {.major = 8, .minor = 16, .write_bytes = 4096, .write_ios = 1},
    {.major = 99, .minor = 99, .read_bytes = 4096, .read_ios = 1},
};

static void diskstats_has_the_devices_used_in_the_hosts_columns(void **state)
{
    g_autofree char *host = host_text("diskstats");
    g_autoptr(GArray) io = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    PvSnapshot snapshot = {.io = io, .host_diskstats = host};
    (void)state;
    g_array_append_vals(io, DEVICES, G_N_ELEMENTS(DEVICES));
    assert_golden(pv_render_diskstats, &snapshot, "diskstats");
}

static void diskstats_without_io_is_empty(void **state)
{
    g_autofree char *host = host_text("diskstats");
    PvSnapshot snapshot = {.host_diskstats = host};
    (void)state;
    assert_renders(pv_render_diskstats, &snapshot, "");
}

static void diskstats_leaves_malformed_lines_out(void **state)
{
    g_autofree char *host = host_text("garbage");
    g_autoptr(GArray) io = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    PvSnapshot snapshot = {.io = io, .host_diskstats = host};
    PvIoDevice device = {.major = 1, .minor = 2, .read_ios = 1};
    (void)state;
    g_array_append_val(io, device);
    assert_renders(pv_render_diskstats, &snapshot, "");
}

static void partitions_are_those_of_diskstats(void **state)
{
    g_autofree char *host = host_text("partitions");
    g_autoptr(GArray) io = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    PvSnapshot snapshot = {.io = io, .host_partitions = host};
    (void)state;
    g_array_append_vals(io, DEVICES, G_N_ELEMENTS(DEVICES));
    assert_golden(pv_render_partitions, &snapshot, "partitions");
    snapshot.io = NULL;
    assert_renders(pv_render_partitions, &snapshot, "major minor  #blocks  name\n\n");
}

/* ---- interrupts, softirqs, schedstat ---- */

static void interrupts_have_a_column_of_zeros_for_each_cpu(void **state)
{
    g_autofree char *host = host_text("interrupts");
    PvSnapshot snapshot = {.host_interrupts = host};
    (void)state;
    set_cpus(&snapshot, "1,3", FALSE);
    assert_golden(pv_render_interrupts, &snapshot, "interrupts-1,3");
    set_cpus(&snapshot, "1,3", TRUE);
    assert_golden(pv_render_interrupts, &snapshot, "interrupts-dense");
}

static void softirqs_have_a_column_of_zeros_for_each_cpu(void **state)
{
    g_autofree char *host = host_text("softirqs");
    PvSnapshot snapshot = {.host_softirqs = host};
    (void)state;
    set_cpus(&snapshot, "1,3", FALSE);
    assert_golden(pv_render_softirqs, &snapshot, "softirqs-1,3");
}

static void schedstat_has_a_row_of_zeros_for_each_cpu(void **state)
{
    g_autofree char *host = host_text("schedstat");
    PvSnapshot snapshot = {.host_schedstat = host};
    (void)state;
    set_cpus(&snapshot, "1,3", FALSE);
    assert_golden(pv_render_schedstat, &snapshot, "schedstat-1,3");
}

static void no_number_of_a_malformed_file_gets_through(void **state)
{
    PvSnapshot snapshot = {
        .host_interrupts = "  CPU0 CPU1\n 1: 5\n 2 7 8\n 3: x 9\n 4: 18446744073709551616 1\n\n5:",
        .host_softirqs = "\n HI: 1 2\n",
        .host_schedstat = "timestamp 77\ncpu0 1 2\n",
    };
    (void)state;
    set_cpus(&snapshot, "0-2", FALSE);
    assert_renders(pv_render_interrupts, &snapshot,
                   "  CPU0       CPU1       CPU2       \n 1:          0\n");
    assert_renders(pv_render_softirqs, &snapshot, "");
    assert_renders(pv_render_schedstat, &snapshot, "");
}

/* ---- slabinfo, limits of tasks ---- */

static void slabinfo_is_a_heading(void **state)
{
    g_autofree char *host = host_text("slabinfo");
    PvSnapshot snapshot = {.host_slabinfo = host};
    (void)state;
    assert_golden(pv_render_slabinfo, &snapshot, "slabinfo");
}

static void limits_of_tasks_are_the_lower_ones(void **state)
{
    PvSnapshot snapshot = {
        .host_pid_max = "4194304\n", .host_threads_max = "100\n", .pids = {.max = 500}};
    (void)state;
    assert_renders(pv_render_pid_max, &snapshot, "4194304\n");
    snapshot.valid = PV_SECTION_PIDS;
    assert_renders(pv_render_pid_max, &snapshot, "500\n");
    assert_renders(pv_render_threads_max, &snapshot, "100\n");
    snapshot.pids.max = PV_UNLIMITED;
    assert_renders(pv_render_pid_max, &snapshot, "4194304\n");
    snapshot.host_pid_max = "many\n";
    assert_renders(pv_render_pid_max, &snapshot, "");
}

/* ---- pressure ---- */

static void pressure_is_the_cgroups(void **state)
{
    PvSnapshot snapshot = {
        .valid = PV_SECTION_PRESSURE_CPU | PV_SECTION_PRESSURE_MEMORY | PV_SECTION_PRESSURE_IO,
        .pressure = {[PV_PRESSURE_CPU] = {.has_some = TRUE,
                                          .some = {.avg_centi = {205, 7, 10000},
                                                   .total_usec = 123456789}},
                     [PV_PRESSURE_MEMORY] = {.has_some = TRUE,
                                             .has_full = TRUE,
                                             .some = {.avg_centi = {1, 2, 3}, .total_usec = 4},
                                             .full = {.avg_centi = {5, 6, 7}, .total_usec = 8}},
                     [PV_PRESSURE_IO] = {.has_some = TRUE, .has_full = TRUE}},
    };
    (void)state;
    assert_renders(pv_render_pressure_cpu, &snapshot,
                   "some avg10=2.05 avg60=0.07 avg300=100.00 total=123456789\n");
    assert_renders(pv_render_pressure_memory, &snapshot,
                   "some avg10=0.01 avg60=0.02 avg300=0.03 total=4\n"
                   "full avg10=0.05 avg60=0.06 avg300=0.07 total=8\n");
    assert_renders(pv_render_pressure_io, &snapshot,
                   "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
}

static void pressure_without_data_is_zero(void **state)
{
    /* v1: nothing read, whatever the memory holds */
    PvSnapshot snapshot = {.pressure[PV_PRESSURE_CPU] = {.has_some = TRUE, .some.total_usec = 9}};
    (void)state;
    assert_renders(pv_render_pressure_cpu, &snapshot,
                   "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
    assert_renders(pv_render_pressure_irq, &snapshot,
                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
}

/* ---- table ---- */

static void rows_are_sorted_and_found(void **state)
{
    guint n = 0;
    (void)state;
    for (const PvRow *row = pv_rows(); row->path != NULL; row++, n++) {
        assert_true(row == pv_rows() || strcmp(row[-1].path, row->path) < 0);
        assert_ptr_equal(pv_row_find(row->path), row);
        assert_ptr_equal(pv_row_by_number(row->number), row);
        assert_string_equal(row->host_path, row->path);
        assert_non_null(row->render);
        assert_int_not_equal(row->sections, 0);
        assert_true(row->help[0] != '\0');
    }
    assert_int_equal(n, 22);
}

static void unknown_rows_are_not_found(void **state)
{
    (void)state;
    assert_null(pv_row_find("proc/meminf"));
    assert_null(pv_row_find("proc/meminfo/"));
    assert_null(pv_row_find(""));
    assert_null(pv_row_find("zzz"));
    assert_null(pv_row_by_number(0));
    assert_null(pv_row_by_number(9999));
}

static void numbers_of_rows_never_change(void **state)
{
    (void)state;
    assert_int_equal(pv_row_find("proc/cpuinfo")->number, 1);
    assert_int_equal(pv_row_find("proc/meminfo")->number, 4);
    assert_int_equal(pv_row_find("proc/stat")->number, 8);
    assert_int_equal(pv_row_find("proc/vmstat")->number, 11);
    assert_int_equal(pv_row_find("sys/devices/system/cpu/present")->number, 14);
    assert_int_equal(pv_row_find("proc/sys/kernel/threads-max")->number, 22);
}

static void every_row_renders_an_empty_snapshot(void **state)
{
    (void)state;
    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        PvSnapshot snapshot = {0};
        g_autoptr(GString) out = g_string_new("before");
        row->render(&snapshot, out);
        assert_true(g_str_has_prefix(out->str, "before"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uptime_is_cut_to_hundredths),
        cmocka_unit_test(idle_of_other_tick_rates),
        cmocka_unit_test(uptime_of_centuries),
        cmocka_unit_test(loadavg_rounds_as_the_kernel),
        cmocka_unit_test(reader_of_loadavg_runs),
        cmocka_unit_test(diskstats_has_the_devices_used_in_the_hosts_columns),
        cmocka_unit_test(diskstats_without_io_is_empty),
        cmocka_unit_test(diskstats_leaves_malformed_lines_out),
        cmocka_unit_test(partitions_are_those_of_diskstats),
        cmocka_unit_test(interrupts_have_a_column_of_zeros_for_each_cpu),
        cmocka_unit_test(softirqs_have_a_column_of_zeros_for_each_cpu),
        cmocka_unit_test(schedstat_has_a_row_of_zeros_for_each_cpu),
        cmocka_unit_test(no_number_of_a_malformed_file_gets_through),
        cmocka_unit_test(slabinfo_is_a_heading),
        cmocka_unit_test(limits_of_tasks_are_the_lower_ones),
        cmocka_unit_test(pressure_is_the_cgroups),
        cmocka_unit_test(pressure_without_data_is_zero),
        cmocka_unit_test(rows_are_sorted_and_found),
        cmocka_unit_test(unknown_rows_are_not_found),
        cmocka_unit_test(numbers_of_rows_never_change),
        cmocka_unit_test(every_row_renders_an_empty_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
