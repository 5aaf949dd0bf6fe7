/*
 * The bytes that sysinfo(2) and sched_getaffinity(2) give in a container.
 */
#include "answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MIB(n) ((guint64)(n) << 20)

static PvSnapshot container_of_256_mib(void)
{
    PvSnapshot snapshot = {
        .valid = PV_SECTION_MEMORY | PV_SECTION_UPTIME | PV_SECTION_LOAD,
        .page_bytes = 4096,
        .host_meminfo = "MemTotal:       24684092 kB\nMemFree:        20000000 kB\n"
                        "MemAvailable:   22000000 kB\nSwapTotal:       1048576 kB\n"
                        "SwapFree:        1048576 kB\n",
        .uptime_nsec = 12 * G_GUINT64_CONSTANT(1000000000) + 1,
        .load = {.average = {2048, 1024, 512}, .tasks = {.total = 7}},
    };
    snapshot.memory.limit_bytes = MIB(256);
    snapshot.memory.high_bytes = PV_UNLIMITED;
    snapshot.memory.usage_bytes = MIB(56);
    snapshot.memory.memsw_limit_bytes = PV_UNLIMITED;
    return snapshot;
}

static void sysinfo_gives_the_containers_memory_in_bytes(void **state)
{
    (void)state;
    PvSnapshot snapshot = container_of_256_mib();
    PvSysinfo answer;
    assert_int_equal(pv_answer_sysinfo(&snapshot, FALSE, &answer), sizeof(struct sysinfo));
    assert_int_equal(answer.native.totalram, MIB(256));
    assert_int_equal(answer.native.freeram, MIB(200));
    assert_int_equal(answer.native.totalswap, 0);
    assert_int_equal(answer.native.mem_unit, 1);
}

static void sysinfo_counts_a_begun_second_of_uptime(void **state)
{
    (void)state;
    PvSnapshot snapshot = container_of_256_mib();
    PvSysinfo answer;
    pv_answer_sysinfo(&snapshot, FALSE, &answer);
    assert_int_equal(answer.native.uptime, 13);
}

static void sysinfo_loads_have_sixteen_fractional_bits(void **state)
{
    (void)state;
    PvSnapshot snapshot = container_of_256_mib();
    PvSysinfo answer;
    pv_answer_sysinfo(&snapshot, FALSE, &answer);
    assert_int_equal(answer.native.loads[0], 65536);
    assert_int_equal(answer.native.loads[1], 32768);
    assert_int_equal(answer.native.loads[2], 16384);
    assert_int_equal(answer.native.procs, 7);
}

static void the_struct_of_a_32_bit_program_has_64_bytes(void **state)
{
    (void)state;
    PvSnapshot snapshot = container_of_256_mib();
    PvSysinfo answer;
    assert_int_equal(pv_answer_sysinfo(&snapshot, TRUE, &answer), 64);
    assert_int_equal(answer.compat.totalram, MIB(256));
    assert_int_equal(answer.compat.mem_unit, 1);
}

static void a_32_bit_program_gets_pages_when_bytes_do_not_fit(void **state)
{
    (void)state;
    PvSnapshot snapshot = container_of_256_mib();
    snapshot.memory.limit_bytes = MIB(8192);
    PvSysinfo answer;
    pv_answer_sysinfo(&snapshot, TRUE, &answer);
    assert_int_equal(answer.compat.mem_unit, 4096);
    assert_int_equal(answer.compat.totalram, MIB(8192) / 4096);
}

static void affinity_is_cut_to_the_shown_cpus(void **state)
{
    (void)state;
    PvCpuSet shown;
    assert_true(pv_cpu_set_parse_list("0-1", &shown));
    guint64 mask = 0xff;
    pv_answer_affinity(&shown, (guint8 *)&mask, sizeof mask);
    assert_int_equal(mask, 0x3);
}

static void a_thread_pinned_outside_of_the_shown_cpus_keeps_its_own(void **state)
{
    (void)state;
    PvCpuSet shown;
    assert_true(pv_cpu_set_parse_list("0", &shown));
    guint64 mask = 0x60;
    pv_answer_affinity(&shown, (guint8 *)&mask, sizeof mask);
    assert_int_equal(mask, 0x20);
}

static void affinity_beyond_the_first_word_is_kept(void **state)
{
    (void)state;
    PvCpuSet shown;
    assert_true(pv_cpu_set_parse_list("64-65", &shown));
    guint64 mask[2] = {G_MAXUINT64, G_MAXUINT64};
    pv_answer_affinity(&shown, (guint8 *)mask, sizeof mask);
    assert_int_equal(mask[0], 0);
    assert_int_equal(mask[1], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sysinfo_gives_the_containers_memory_in_bytes),
        cmocka_unit_test(sysinfo_counts_a_begun_second_of_uptime),
        cmocka_unit_test(sysinfo_loads_have_sixteen_fractional_bits),
        cmocka_unit_test(the_struct_of_a_32_bit_program_has_64_bytes),
        cmocka_unit_test(a_32_bit_program_gets_pages_when_bytes_do_not_fit),
        cmocka_unit_test(affinity_is_cut_to_the_shown_cpus),
        cmocka_unit_test(a_thread_pinned_outside_of_the_shown_cpus_keeps_its_own),
        cmocka_unit_test(affinity_beyond_the_first_word_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
