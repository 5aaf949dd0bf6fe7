/*
 * The command line's own pieces: option errors, numbers and JSON for people, the files that show
 * knows.
 */
#include "../../src/cli/command.h"
#include "../../src/cli/common.h"
#include "../../src/cli/show.h"
#include "../../src/cli/usage.h"

#include "procview/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define RUN(command, ...) run_command(command, (const char *const[]){__VA_ARGS__, NULL})

typedef int (*CommandFunc)(int argc, char **argv);

static int run_command(CommandFunc func, const char *const *arguments)
{
    g_auto(GStrv) owned = g_strdupv((char **)arguments);
    g_autofree char **argv = g_memdup2(owned, (g_strv_length(owned) + 1) * sizeof(char *));

    return func((int)g_strv_length(owned), argv);
}

static void unknown_options_are_usage_errors(void **state)
{
    (void)state;
    assert_int_equal(RUN(pv_cmd_attach, "attach", "--nonsense"), PV_EXIT_USAGE);
    assert_int_equal(RUN(pv_cmd_detach, "detach", "--nonsense"), PV_EXIT_USAGE);
    assert_int_equal(RUN(pv_cmd_ps, "ps", "--nonsense"), PV_EXIT_USAGE);
    assert_int_equal(RUN(pv_cmd_show, "show", "--nonsense"), PV_EXIT_USAGE);
}

static void attach_without_a_container_is_a_usage_error(void **state)
{
    (void)state;
    assert_int_equal(RUN(pv_cmd_attach, "attach"), PV_EXIT_USAGE);
    assert_int_equal(RUN(pv_cmd_detach, "detach", "--json"), PV_EXIT_USAGE);
}

static void attach_takes_all_or_names(void **state)
{
    (void)state;
    assert_int_equal(RUN(pv_cmd_attach, "attach", "--all", "web"), PV_EXIT_USAGE);
}

static void ps_takes_no_arguments(void **state)
{
    (void)state;
    assert_int_equal(RUN(pv_cmd_ps, "ps", "web"), PV_EXIT_USAGE);
}

static void watch_takes_rules_by_their_option_only(void **state)
{
    (void)state;
    assert_int_equal(RUN(pv_cmd_watch, "watch", "/docker/*"), PV_EXIT_USAGE);
    assert_int_equal(RUN(pv_cmd_watch, "watch", "--dry-run", "--", "/docker/*"), PV_EXIT_USAGE);
}

static void cdi_takes_no_arguments(void **state)
{
    (void)state;
    assert_int_equal(RUN(pv_cmd_cdi, "cdi", "extra"), PV_EXIT_USAGE);
}

static void show_takes_one_file(void **state)
{
    (void)state;
    assert_int_equal(RUN(pv_cmd_show, "show"), PV_EXIT_USAGE);
    assert_int_equal(RUN(pv_cmd_show, "show", "meminfo", "stat"), PV_EXIT_USAGE);
    assert_int_equal(RUN(pv_cmd_show, "show", "--list", "meminfo"), PV_EXIT_USAGE);
    assert_int_equal(RUN(pv_cmd_show, "show", "no-such-file"), PV_EXIT_USAGE);
}

static void files_are_found_by_any_spelling(void **state)
{
    (void)state;
    const PvRow *row = pv_row_find("proc/meminfo");

    assert_non_null(row);
    assert_ptr_equal(pv_show_find_row("meminfo"), row);
    assert_ptr_equal(pv_show_find_row("proc/meminfo"), row);
    assert_ptr_equal(pv_show_find_row("/proc/meminfo"), row);
    assert_non_null(pv_show_find_row("online"));
    assert_non_null(pv_show_find_row("pressure/cpu"));
}

static void files_that_are_not_served_are_not_found(void **state)
{
    (void)state;
    assert_null(pv_show_find_row(""));
    assert_null(pv_show_find_row("/"));
    assert_null(pv_show_find_row("mem"));
    assert_null(pv_show_find_row("../proc/meminfo"));
}

static void values_of_meminfo_become_json(void **state)
{
    (void)state;
    g_autoptr(GString) json = g_string_new(NULL);

    pv_show_append_values(json, "MemTotal:      262144 kB\nActive(anon):  0 kB\nBad\n: 3\n");
    assert_string_equal(json->str, "{\"MemTotal\": 262144, \"Active(anon)\": 0}");
}

static void values_of_vmstat_become_json(void **state)
{
    (void)state;
    g_autoptr(GString) json = g_string_new(NULL);

    pv_show_append_values(json, "nr_free_pages 18446744073709551615\npgfault 7");
    assert_string_equal(json->str, "{\"nr_free_pages\": 18446744073709551615, \"pgfault\": 7}");
}

static void assert_size(guint64 bytes, const char *expected)
{
    g_autofree char *text = pv_cli_format_size(bytes);
    assert_string_equal(text, expected);
}

static void sizes_have_a_unit_of_1024(void **state)
{
    (void)state;
    assert_size(0, "0");
    assert_size(1023, "1023");
    assert_size(1024, "1K");
    assert_size(1536, "1.5K");
    assert_size(G_GUINT64_CONSTANT(256) << 20, "256M");
    assert_size((G_GUINT64_CONSTANT(1) << 30) - 1, "1G");
    assert_size(G_MAXUINT64, "16E");
}

static void durations_name_days(void **state)
{
    (void)state;
    g_autofree char *minutes = pv_cli_format_duration(G_GUINT64_CONSTANT(65999999999));
    g_autofree char *days = pv_cli_format_duration(G_GUINT64_CONSTANT(90061) * 1000000000);

    assert_string_equal(minutes, "00:01:05");
    assert_string_equal(days, "1d 01:01:01");
}

static void json_strings_are_escaped(void **state)
{
    (void)state;
    g_autoptr(GString) json = g_string_new(NULL);

    pv_json_append_string(json, "a\"b\\c\nd\te\001\xff");
    assert_string_equal(json->str, "\"a\\\"b\\\\c\\nd\\te\\u0001\xef\xbf\xbd\"");
    g_string_truncate(json, 0);
    pv_json_append_string(json, NULL);
    assert_string_equal(json->str, "null");
}

static void json_numbers_are_exact_and_unlimited_is_null(void **state)
{
    (void)state;
    g_autoptr(GString) json = g_string_new(NULL);

    pv_json_append_number(json, G_MAXUINT64 - 1);
    assert_string_equal(json->str, "18446744073709551614");
    g_string_truncate(json, 0);
    pv_json_append_number(json, PV_UNLIMITED);
    assert_string_equal(json->str, "null");
}

static void load_averages_are_taken_from_loadavg(void **state)
{
    (void)state;
    char load[3][16];

    assert_true(pv_usage_parse_load("0.52 1.00 12.34 1/20 33\n", load));
    assert_string_equal(load[0], "0.52");
    assert_string_equal(load[2], "12.34");
    assert_false(pv_usage_parse_load("", load));
    assert_false(pv_usage_parse_load("0.52 1.00", load));
    assert_false(pv_usage_parse_load("0.5200000000000000000 1 2 3", load));
}

static void meminfo_keys_match_exactly(void **state)
{
    (void)state;
    guint64 kb = 7;

    assert_true(pv_usage_meminfo_kb("MemFreeX: 1 kB\nMemFree:   2 kB\n", "MemFree", &kb));
    assert_int_equal(kb, 2);
    assert_false(pv_usage_meminfo_kb("MemFreeX: 1 kB\n", "MemFree", &kb));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_options_are_usage_errors),
        cmocka_unit_test(attach_without_a_container_is_a_usage_error),
        cmocka_unit_test(attach_takes_all_or_names),
        cmocka_unit_test(ps_takes_no_arguments),
        cmocka_unit_test(watch_takes_rules_by_their_option_only),
        cmocka_unit_test(cdi_takes_no_arguments),
        cmocka_unit_test(show_takes_one_file),
        cmocka_unit_test(files_are_found_by_any_spelling),
        cmocka_unit_test(files_that_are_not_served_are_not_found),
        cmocka_unit_test(values_of_meminfo_become_json),
        cmocka_unit_test(values_of_vmstat_become_json),
        cmocka_unit_test(sizes_have_a_unit_of_1024),
        cmocka_unit_test(durations_name_days),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(json_numbers_are_exact_and_unlimited_is_null),
        cmocka_unit_test(load_averages_are_taken_from_loadavg),
        cmocka_unit_test(meminfo_keys_match_exactly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
