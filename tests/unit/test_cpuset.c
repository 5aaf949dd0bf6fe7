/*
 * CPU sets and their two text formats.
 */
#include "procview/cpuset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static PvCpuSet list(const char *text)
{
    PvCpuSet set;
    assert_true(pv_cpu_set_parse_list(text, &set));
    return set;
}

static void assert_list(const PvCpuSet *set, const char *expected)
{
    g_autoptr(GString) out = g_string_new(NULL);
    pv_cpu_set_format_list(set, out);
    assert_string_equal(out->str, expected);
}

static void assert_mask(const PvCpuSet *set, guint n_bits, const char *expected)
{
    g_autoptr(GString) out = g_string_new(NULL);
    pv_cpu_set_format_mask(set, n_bits, out);
    assert_string_equal(out->str, expected);
}

static void lists_survive_a_round_trip(void **state)
{
    (void)state;
    static const char *const LISTS[] = {"",    "0",     "0-1",          "0,2",
                                        "1-3", "63-64", "0-3,8,10-127", "8191"};
    for (guint i = 0; i < G_N_ELEMENTS(LISTS); i++) {
        PvCpuSet set = list(LISTS[i]);
        assert_list(&set, LISTS[i]);
    }
}

static void list_accepts_the_kernels_newline_and_merges_ranges(void **state)
{
    (void)state;
    PvCpuSet set = list("4,0-1,2-3\n");
    assert_list(&set, "0-4");
    set = list("\n");
    assert_int_equal(pv_cpu_set_count(&set), 0);
}

static void malformed_list_is_refused_and_leaves_the_set(void **state)
{
    (void)state;
    static const char *const BAD[] = {"a",      "0-",   "-3",   "3-1",  "0,,1",
                                      ",0",     "0,",   "0-3x", "0 1",  "8192",
                                      "0-8192", "0--1", "0- 1", "0, 1", "99999999999999999999"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        PvCpuSet set = list("5");
        assert_false(pv_cpu_set_parse_list(BAD[i], &set));
        assert_list(&set, "5");
    }
}

static void masks_are_printed_as_the_kernel_does(void **state)
{
    (void)state;
    PvCpuSet set = list("0-3");
    assert_mask(&set, 4, "f");
    assert_mask(&set, 8, "0f");
    assert_mask(&set, 2, "3");
    assert_mask(&set, 32, "0000000f");
    assert_mask(&set, 40, "00,0000000f");
    assert_mask(&set, 0, "");
    set = list("0,33,64");
    assert_mask(&set, 65, "1,00000002,00000001");
}

static void masks_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *mask, *list;
    } GOOD[] = {{"f\n", "0-3"},
                {"1,00000000", "32"},
                {"00000000,00000000,00000003\n", "0-1"},
                {"80000000,00000000", "63"},
                {"", ""},
                {"0", ""}};
    for (guint i = 0; i < G_N_ELEMENTS(GOOD); i++) {
        PvCpuSet set;
        assert_true(pv_cpu_set_parse_mask(GOOD[i].mask, &set));
        assert_list(&set, GOOD[i].list);
    }
}

static void malformed_mask_is_refused_and_leaves_the_set(void **state)
{
    (void)state;
    static const char *const BAD[] = {"g", "0x1", "123456789", "1,", ",1", "1,,1", "1 2", "f,\n"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        PvCpuSet set = list("5");
        assert_false(pv_cpu_set_parse_mask(BAD[i], &set));
        assert_list(&set, "5");
    }
}

static void mask_of_more_than_the_largest_machine_is_refused(void **state)
{
    (void)state;
    g_autoptr(GString) text = g_string_new("1");
    for (guint i = 1; i < PV_CPU_MAX / 32; i++)
        g_string_append(text, ",00000000");
    PvCpuSet set;
    assert_true(pv_cpu_set_parse_mask(text->str, &set));
    assert_true(pv_cpu_set_has(&set, PV_CPU_MAX - 32));
    g_string_prepend(text, "0,");
    assert_false(pv_cpu_set_parse_mask(text->str, &set));
}

static void keep_first_keeps_the_lowest_ids(void **state)
{
    (void)state;
    PvCpuSet set = list("1,3,62-66,200");
    pv_cpu_set_keep_first(&set, 5);
    assert_list(&set, "1,3,62-64");
    pv_cpu_set_keep_first(&set, 100);
    assert_int_equal(pv_cpu_set_count(&set), 5);
    pv_cpu_set_keep_first(&set, 0);
    assert_list(&set, "");
}

static void rank_and_nth_are_inverse(void **state)
{
    (void)state;
    PvCpuSet set = list("1,3,64,8191");
    assert_int_equal(pv_cpu_set_rank(&set, 1), 0);
    assert_int_equal(pv_cpu_set_rank(&set, 64), 2);
    assert_int_equal(pv_cpu_set_rank(&set, 8191), 3);
    assert_int_equal(pv_cpu_set_rank(&set, 2), -1);
    assert_int_equal(pv_cpu_set_nth(&set, 2), 64);
    assert_int_equal(pv_cpu_set_nth(&set, 3), 8191);
    assert_int_equal(pv_cpu_set_nth(&set, 4), -1);
}

static void ids_beyond_the_largest_are_ignored(void **state)
{
    (void)state;
    PvCpuSet set = list("0");
    pv_cpu_set_add(&set, PV_CPU_MAX);
    pv_cpu_set_add(&set, G_MAXUINT);
    pv_cpu_set_remove(&set, PV_CPU_MAX);
    assert_int_equal(pv_cpu_set_count(&set), 1);
    assert_false(pv_cpu_set_has(&set, PV_CPU_MAX));
    assert_int_equal(pv_cpu_set_next(&set, PV_CPU_MAX), -1);
    assert_int_equal(pv_cpu_set_next(&set, 1), -1);
}

static void foreach_visits_members_in_order(void **state)
{
    (void)state;
    PvCpuSet set = list("2,63-64,8191");
    g_autoptr(GString) seen = g_string_new(NULL);
    PV_CPU_SET_FOREACH (cpu, &set)
        g_string_append_printf(seen, "%d ", cpu);
    assert_string_equal(seen->str, "2 63 64 8191 ");
}

static void intersection_and_equality(void **state)
{
    (void)state;
    PvCpuSet a = list("0-7"), b = list("4-12"), c = list("4-7");
    assert_false(pv_cpu_set_equal(&a, &c));
    pv_cpu_set_intersect(&a, &b);
    assert_true(pv_cpu_set_equal(&a, &c));
    pv_cpu_set_remove(&a, 5);
    assert_list(&a, "4,6-7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_survive_a_round_trip),
        cmocka_unit_test(list_accepts_the_kernels_newline_and_merges_ranges),
        cmocka_unit_test(malformed_list_is_refused_and_leaves_the_set),
        cmocka_unit_test(masks_are_printed_as_the_kernel_does),
        cmocka_unit_test(masks_are_parsed),
        cmocka_unit_test(malformed_mask_is_refused_and_leaves_the_set),
        cmocka_unit_test(mask_of_more_than_the_largest_machine_is_refused),
        cmocka_unit_test(keep_first_keeps_the_lowest_ids),
        cmocka_unit_test(rank_and_nth_are_inverse),
        cmocka_unit_test(ids_beyond_the_largest_are_ignored),
        cmocka_unit_test(foreach_visits_members_in_order),
        cmocka_unit_test(intersection_and_equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
