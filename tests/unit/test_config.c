/* procviewd's configuration: what is taken, and what is said of what is not. */
#include "procview/config.h"

#include "procview/error.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void expect_refused(const char *text, const char *message)
{
    g_auto(PvConfig) config = {0};
    g_autoptr(GError) error = NULL;

    pv_config_init(&config);
    assert_false(pv_config_parse(&config, "f.conf", text, &error));
    assert_int_equal(error->code, PV_ERROR_INVALID);
    assert_string_equal(error->message, message);
}

static gboolean load(PvConfig *config, char **argv, PvConfigCommand *ret_command, GError **error)
{
    pv_config_init(config);
    return pv_config_load(config, (int)g_strv_length(argv), argv, ret_command, error);
}

static void expect_usage_error(char **argv, const char *message)
{
    g_auto(PvConfig) config = {0};
    g_autoptr(GError) error = NULL;
    PvConfigCommand command;

    assert_false(load(&config, argv, &command, &error));
    assert_string_equal(error->message, message);
}

static void test_defaults(void **state)
{
    g_auto(PvConfig) config = {0};

    (void)state;
    pv_config_init(&config);
    assert_string_equal(config.mountpoint, "/var/lib/procview");
    assert_string_equal(config.state_dir, "/run/procview");
    assert_null(config.pid_file);
    assert_false(config.cpu_ids_dense);
    assert_int_equal(config.swap_total, PV_SWAP_TOTAL_SWAP);
    assert_false(config.lxcfs_files);
    assert_int_equal(config.threads, 0);
    assert_int_equal(config.sample_interval_sec, 5);
    assert_int_equal(config.log_level, PV_LOG_INFO);
}

static void test_every_key_is_taken_from_a_file(void **state)
{
    g_auto(PvConfig) config = {0};
    g_autoptr(GError) error = NULL;

    (void)state;
    pv_config_init(&config);
    assert_true(pv_config_parse(&config, "f.conf",
                                "# comment\n\n[procview]\nmountpoint = /mnt/x\ncpu-ids=dense\n"
                                "swap-total=memsw\nthreads=3\nsample-interval=10\n"
                                "log-level=debug\nstate-dir=/run/y\npid-file=/run/y.pid\n",
                                &error));
    assert_string_equal(config.mountpoint, "/mnt/x");
    assert_string_equal(config.state_dir, "/run/y");
    assert_string_equal(config.pid_file, "/run/y.pid");
    assert_true(config.cpu_ids_dense);
    assert_int_equal(config.swap_total, PV_SWAP_TOTAL_MEMSW);
    assert_int_equal(config.threads, 3);
    assert_int_equal(config.sample_interval_sec, 10);
    assert_int_equal(config.log_level, PV_LOG_DEBUG);
}

static void test_empty_file_changes_nothing(void **state)
{
    g_auto(PvConfig) config = {0};

    (void)state;
    pv_config_init(&config);
    assert_true(pv_config_parse(&config, "f.conf", "", NULL));
    assert_string_equal(config.mountpoint, "/var/lib/procview");
}

static void test_unknown_key_is_refused_with_its_line(void **state)
{
    (void)state;
    expect_refused(
        "[procview]\nthreads=1\n  colour = red\n",
        "f.conf:3: unknown key \"colour\"; allowed: mountpoint, cpu-ids, swap-total, files, "
        "cgroup-tree, threads, sample-interval, watchdog, auto-attach, log-level, state-dir, "
        "pid-file");
    expect_refused(
        "[procview]\ncpu-ids[de]=dense\n",
        "f.conf:2: unknown key \"cpu-ids[de]\"; allowed: mountpoint, cpu-ids, swap-total, files, "
        "cgroup-tree, threads, sample-interval, watchdog, auto-attach, log-level, state-dir, "
        "pid-file");
}

static void test_unknown_section_is_refused_with_its_line(void **state)
{
    (void)state;
    expect_refused("[procview]\nthreads=1\n\n[lxcfs]\nx=1\n",
                   "f.conf:4: unknown section [lxcfs]; allowed: [procview]");
}

static void test_bad_choice_is_refused_with_what_is_allowed(void **state)
{
    (void)state;
    expect_refused("[procview]\n\ncpu-ids=sparse\n",
                   "f.conf:3: bad value \"sparse\" of \"cpu-ids\"; allowed: real, dense");
}

static void test_number_out_of_range_is_refused(void **state)
{
    (void)state;
    expect_refused("[procview]\nsample-interval=0\n",
                   "f.conf:2: bad value \"0\" of \"sample-interval\"; allowed: a number from 1 to "
                   "60");
    expect_refused("[procview]\nthreads=-1\n",
                   "f.conf:2: bad value \"-1\" of \"threads\"; allowed: a number from 0 to 64");
    expect_refused("[procview]\nthreads=18446744073709551617\n",
                   "f.conf:2: bad value \"18446744073709551617\" of \"threads\"; allowed: a number "
                   "from 0 to 64");
}

static void test_relative_path_in_a_file_is_refused(void **state)
{
    (void)state;
    expect_refused("[procview]\nmountpoint=mnt\n",
                   "f.conf:2: bad value \"mnt\" of \"mountpoint\"; allowed: an absolute path");
}

static void test_syntax_error_is_refused_with_its_line(void **state)
{
    (void)state;
    expect_refused(
        "[procview]\nthreads=1\nnonsense\n",
        "f.conf:3: not understood; allowed: [procview], KEY=VALUE, and comments after #");
    expect_refused(
        "threads=1\n",
        "f.conf:1: not understood; allowed: [procview], KEY=VALUE, and comments after #");
}

static void test_option_wins_over_the_file(void **state)
{
    g_auto(PvConfig) config = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_strdup("/tmp/pv-test-config-XXXXXX");
    int fd = g_mkstemp(path);
    char *argv[] = {(char *)"procviewd",
                    (char *)"--threads",
                    (char *)"7",
                    (char *)"--config",
                    path,
                    (char *)"/mnt/z",
                    NULL};
    PvConfigCommand command;

    (void)state;
    assert_true(fd >= 0);
    assert_true(g_close(fd, NULL));
    assert_true(g_file_set_contents(path, "[procview]\nthreads=2\ncpu-ids=dense\nmountpoint=/a\n",
                                    -1, NULL));
    gboolean loaded = load(&config, argv, &command, &error);
    g_unlink(path);
    assert_true(loaded);
    assert_int_equal(command, PV_COMMAND_SERVE);
    assert_int_equal(config.threads, 7);
    assert_true(config.cpu_ids_dense);
    assert_string_equal(config.mountpoint, "/mnt/z");
}

static void test_relative_mountpoint_of_the_command_line_is_made_absolute(void **state)
{
    g_auto(PvConfig) config = {0};
    char *argv[] = {(char *)"procviewd", (char *)"--config", (char *)"/dev/null", (char *)"x",
                    NULL};
    g_autofree char *expected = g_canonicalize_filename("x", NULL);
    PvConfigCommand command;

    (void)state;
    assert_true(load(&config, argv, &command, NULL));
    assert_string_equal(config.mountpoint, expected);
}

static void test_unknown_option_is_refused(void **state)
{
    char *argv[] = {(char *)"procviewd", (char *)"--colour=red", NULL};

    (void)state;
    expect_usage_error(argv, "unknown option \"--colour=red\"; see procviewd --help");
}

static void test_option_without_its_value_is_refused(void **state)
{
    char *argv[] = {(char *)"procviewd", (char *)"--cpu-ids", NULL};

    (void)state;
    expect_usage_error(argv, "--cpu-ids needs a value");
}

static void test_bad_value_of_an_option_is_refused(void **state)
{
    char *argv[] = {(char *)"procviewd", (char *)"--config=/dev/null", (char *)"--log-level=loud",
                    NULL};

    (void)state;
    expect_usage_error(argv,
                       "bad value \"loud\" of --log-level; allowed: error, warning, info, debug");
}

static void test_two_mount_points_are_refused(void **state)
{
    char *argv[] = {(char *)"procviewd", (char *)"/a", (char *)"/b", NULL};

    (void)state;
    expect_usage_error(argv, "\"/b\": one mount point is enough; see procviewd --help");
}

static void test_file_that_was_named_must_exist(void **state)
{
    g_auto(PvConfig) config = {0};
    g_autoptr(GError) error = NULL;
    char *argv[] = {(char *)"procviewd", (char *)"--config=/nonexistent/f.conf", NULL};
    PvConfigCommand command;

    (void)state;
    assert_false(load(&config, argv, &command, &error));
    assert_non_null(strstr(error->message, "/nonexistent/f.conf"));
}

/* A device that never ends, a fifo that nobody writes to, a folder. */
static void test_what_is_no_file_is_refused_at_once(void **state)
{
    g_autofree char *folder = g_dir_make_tmp("procview-test-XXXXXX", NULL);
    g_autofree char *fifo = g_build_filename(folder, "fifo", NULL);
    const char *const PATHS[] = {"/dev/zero", fifo, folder};

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    for (guint i = 0; i < G_N_ELEMENTS(PATHS); i++) {
        g_auto(PvConfig) config = {0};
        g_autoptr(GError) error = NULL;
        PvConfigCommand command;
        char *argv[] = {(char *)"procviewd", (char *)"--config", (char *)PATHS[i], NULL};

        assert_false(load(&config, argv, &command, &error));
        assert_non_null(strstr(error->message, PATHS[i]));
    }
    g_unlink(fifo);
    g_rmdir(folder);
}

static void test_no_configuration_at_all_is_dev_null(void **state)
{
    g_auto(PvConfig) config = {0};
    g_autoptr(GError) error = NULL;
    PvConfigCommand command;
    char *argv[] = {(char *)"procviewd", (char *)"--config", (char *)"/dev/null", NULL};

    (void)state;
    assert_true(load(&config, argv, &command, &error));
}

static void test_compat_profile_is_a_valid_configuration(void **state)
{
    g_auto(PvConfig) config = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    (void)state;
    assert_true(g_file_get_contents(FIXTURES "/../../../lxcfs-compat.conf", &text, NULL, &error));
    pv_config_init(&config);
    assert_true(pv_config_parse(&config, "lxcfs-compat.conf", text, &error));
    assert_string_equal(config.mountpoint, "/var/lib/lxcfs");
    assert_true(config.cpu_ids_dense);
    assert_int_equal(config.swap_total, PV_SWAP_TOTAL_MEMSW);
    assert_true(config.lxcfs_files);
    assert_int_equal(config.cgroup_tree, PV_CGROUP_TREE_NO);
}

static void test_help_names_every_key(void **state)
{
    g_autofree char *text = NULL;
    gsize size = 0;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    pv_config_print_help(out);
    fclose(out);
    assert_non_null(strstr(text, "--mountpoint DIR"));
    assert_non_null(strstr(text, "--state-dir DIR"));
    assert_non_null(strstr(text, "Allowed: swap, memsw, none."));
}

static void test_rules_are_checked(void **state)
{
    g_auto(PvConfig) config = {0};
    g_autoptr(GError) error = NULL;

    (void)state;
    pv_config_init(&config);
    assert_string_equal(config.auto_attach, "none");
    assert_true(pv_config_parse(&config, "f.conf",
                                "[procview]\nauto-attach = /docker/*  !/docker/x\n", &error));
    g_auto(GStrv) patterns = pv_config_split_rules(config.auto_attach);
    assert_int_equal(g_strv_length(patterns), 2);
    assert_string_equal(patterns[1], "!/docker/x");
    assert_false(pv_config_parse(&config, "f.conf", "[procview]\nauto-attach = docker\n", &error));
    assert_string_equal(error->message,
                        "f.conf:2: bad value \"docker\" of \"auto-attach\"; allowed: none, all, "
                        "or patterns of cgroup paths with blanks between them");
}

static void test_all_and_none_are_no_patterns(void **state)
{
    g_auto(GStrv) all = pv_config_split_rules("all");
    g_auto(GStrv) none = pv_config_split_rules("none");

    (void)state;
    assert_int_equal(g_strv_length(all), 0);
    assert_int_equal(g_strv_length(none), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_key_is_taken_from_a_file),
        cmocka_unit_test(test_empty_file_changes_nothing),
        cmocka_unit_test(test_unknown_key_is_refused_with_its_line),
        cmocka_unit_test(test_unknown_section_is_refused_with_its_line),
        cmocka_unit_test(test_bad_choice_is_refused_with_what_is_allowed),
        cmocka_unit_test(test_number_out_of_range_is_refused),
        cmocka_unit_test(test_relative_path_in_a_file_is_refused),
        cmocka_unit_test(test_syntax_error_is_refused_with_its_line),
        cmocka_unit_test(test_option_wins_over_the_file),
        cmocka_unit_test(test_relative_mountpoint_of_the_command_line_is_made_absolute),
        cmocka_unit_test(test_unknown_option_is_refused),
        cmocka_unit_test(test_option_without_its_value_is_refused),
        cmocka_unit_test(test_bad_value_of_an_option_is_refused),
        cmocka_unit_test(test_two_mount_points_are_refused),
        cmocka_unit_test(test_file_that_was_named_must_exist),
        cmocka_unit_test(test_what_is_no_file_is_refused_at_once),
        cmocka_unit_test(test_no_configuration_at_all_is_dev_null),
        cmocka_unit_test(test_compat_profile_is_a_valid_configuration),
        cmocka_unit_test(test_help_names_every_key),
        cmocka_unit_test(test_rules_are_checked),
        cmocka_unit_test(test_all_and_none_are_no_patterns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
