/*
 * Numbers, limits and "key value" lines.
 */
#include "procview/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void number_is_parsed_and_cursor_stands_behind_it(void **state)
{
    (void)state;
    const char *p = " \t123 rest";
    guint64 value = 0;
    assert_true(pv_parse_u64(&p, &value));
    assert_int_equal(value, 123);
    assert_string_equal(p, " rest");
}

static void no_digit_leaves_cursor_and_value(void **state)
{
    (void)state;
    static const char *const BAD[] = {"", "  ", "-1", "x1", "+5", "\n5"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        const char *p = BAD[i];
        guint64 value = 77;
        assert_false(pv_parse_u64(&p, &value));
        assert_ptr_equal(p, BAD[i]);
        assert_int_equal(value, 77);
    }
}

static void largest_number_is_exact(void **state)
{
    (void)state;
    const char *p = "18446744073709551615";
    guint64 value;
    assert_true(pv_parse_u64(&p, &value));
    assert_true(value == G_MAXUINT64);
    p = "18446744073709551614";
    assert_true(pv_parse_u64(&p, &value));
    assert_true(value == G_MAXUINT64 - 1);
}

static void number_past_64_bits_saturates(void **state)
{
    (void)state;
    static const char *const BIG[] = {"18446744073709551616", "18446744073709551620",
                                      "99999999999999999999999999999999999999"};
    for (guint i = 0; i < G_N_ELEMENTS(BIG); i++) {
        const char *p = BIG[i];
        guint64 value = 0;
        assert_true(pv_parse_u64(&p, &value));
        assert_true(value == G_MAXUINT64);
        assert_string_equal(p, "");
    }
}

static void limit_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        guint64 value;
    } GOOD[] = {
        {"0\n", 0},
        {"268435456\n", 268435456},
        {"268435456", 268435456},
        {"max\n", PV_UNLIMITED},
        {"max", PV_UNLIMITED},
        {"-1\n", PV_UNLIMITED},
        {"9223372036854771712\n", PV_UNLIMITED}, /* 2^63 less a page of 4 KiB */
        {"9223372036854710272\n", PV_UNLIMITED}, /* … of 64 KiB */
        {"9223372036854775807\n", PV_UNLIMITED},
        {"18446744073709551615\n", PV_UNLIMITED},
        {"4611686018427387904\n", PV_UNLIMITED}, /* 2^62 */
        {"4611686018427387903\n", 4611686018427387903},
    };
    for (guint i = 0; i < G_N_ELEMENTS(GOOD); i++) {
        guint64 value = 1;
        assert_true(pv_parse_limit(GOOD[i].text, &value));
        assert_true(value == GOOD[i].value);
    }
}

static void malformed_limit_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",     "\n",    "maximum\n", "max 5\n", "12x\n", "1 2\n",
                                      "-2\n", "-10\n", "m\n",       "0x10\n",  "1.5\n", "garb\n"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++) {
        guint64 value = 7;
        assert_false(pv_parse_limit(BAD[i], &value));
        assert_int_equal(value, 7);
    }
}

enum { FILE_KEY, MAPPED_KEY, DIRTY_KEY, N_KEYS };
static const char *const KEYS[N_KEYS] = {"file", "file_mapped", "file_dirty"};

static void keys_are_matched_exactly(void **state)
{
    (void)state;
    guint64 values[N_KEYS] = {0}, valid = 0;
    pv_keys_parse("file_mapped 2\nfile_dirty_x 9\nfile 1\nfil 8\n", KEYS, N_KEYS, values, &valid);
    assert_int_equal(values[FILE_KEY], 1);
    assert_int_equal(values[MAPPED_KEY], 2);
    assert_int_equal(valid, 1 << FILE_KEY | 1 << MAPPED_KEY);
}

static void keys_in_any_order_are_found(void **state)
{
    (void)state;
    guint64 values[N_KEYS] = {0}, valid = 0;
    pv_keys_parse("file_dirty 3\nfile_mapped 2\nfile 1\n", KEYS, N_KEYS, values, &valid);
    assert_int_equal(valid, 7);
    assert_int_equal(values[DIRTY_KEY], 3);
}

static void colons_tabs_and_units_are_understood(void **state)
{
    (void)state;
    static const char *const MEMINFO[] = {"MemTotal", "Active(anon)", "HugePages_Total", "Tab"};
    guint64 values[4] = {0}, valid = 0;
    pv_keys_parse("MemTotal:       16316056 kB\nActive(anon):\t 12 kB\nHugePages_Total:       0\n"
                  "Tab\t: 5",
                  MEMINFO, 4, values, &valid);
    assert_int_equal(valid, 15);
    assert_int_equal(values[0], 16316056);
    assert_int_equal(values[1], 12);
    assert_int_equal(values[3], 5);
}

static void malformed_lines_are_skipped(void **state)
{
    (void)state;
    guint64 values[N_KEYS] = {0}, valid = 0;
    pv_keys_parse("file\nfile_mapped -3\nfile_dirty 12abc\n\n\nfile x\n: 5\n 7\n", KEYS, N_KEYS,
                  values, &valid);
    assert_int_equal(valid, 0);
}

static void keys_that_are_missing_are_left_alone(void **state)
{
    (void)state;
    guint64 values[N_KEYS] = {41, 42, 43}, valid = 4;
    pv_keys_parse("file 1\n", KEYS, N_KEYS, values, &valid);
    assert_int_equal(values[MAPPED_KEY], 42);
    assert_int_equal(values[DIRTY_KEY], 43);
    assert_int_equal(valid, 5);
    pv_keys_parse("", KEYS, N_KEYS, values, &valid);
    assert_int_equal(valid, 5);
}

static void more_than_64_keys_use_the_next_word(void **state)
{
    (void)state;
    char names[70][8];
    const char *keys[70];
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < 70; i++) {
        g_snprintf(names[i], sizeof names[i], "key%u", i);
        keys[i] = names[i];
        if (i != 65)
            g_string_append_printf(text, "key%u %u\n", i, i * 10);
    }
    guint64 values[70] = {0}, valid[2] = {0};
    pv_keys_parse(text->str, keys, 70, values, valid);
    assert_true(valid[0] == G_MAXUINT64);
    assert_int_equal(valid[1], 0x3d);
    assert_false(pv_bit(valid, 65));
    assert_true(pv_bit(valid, 69));
    assert_int_equal(values[69], 690);
}

static void arithmetic_saturates(void **state)
{
    (void)state;
    assert_int_equal(pv_sat_sub(5, 3), 2);
    assert_int_equal(pv_sat_sub(3, 5), 0);
    assert_true(pv_sat_add(G_MAXUINT64 - 1, 1) == G_MAXUINT64);
    assert_true(pv_sat_add(G_MAXUINT64 - 1, 5) == G_MAXUINT64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(number_is_parsed_and_cursor_stands_behind_it),
        cmocka_unit_test(no_digit_leaves_cursor_and_value),
        cmocka_unit_test(largest_number_is_exact),
        cmocka_unit_test(number_past_64_bits_saturates),
        cmocka_unit_test(limit_texts),
        cmocka_unit_test(malformed_limit_is_refused),
        cmocka_unit_test(keys_are_matched_exactly),
        cmocka_unit_test(keys_in_any_order_are_found),
        cmocka_unit_test(colons_tabs_and_units_are_understood),
        cmocka_unit_test(malformed_lines_are_skipped),
        cmocka_unit_test(keys_that_are_missing_are_left_alone),
        cmocka_unit_test(more_than_64_keys_use_the_next_word),
        cmocka_unit_test(arithmetic_saturates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
