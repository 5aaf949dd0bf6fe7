/* lxcfs's command line: what procviewd makes of it. */
#include "../../src/supervisor/pidfile.h"
#include "lxcfs_options.h"

#include "procview/error.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NO_PROFILE "/nonexistent/lxcfs-compat.conf"

/* What a command line becomes, its words joined by blanks. */
static char *translate(const char *line, const char *profile_path, GError **error)
{
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    g_auto(GStrv) words = pv_lxcfs_translate((int)g_strv_length(argv), argv, profile_path, error);

    return words != NULL ? g_strjoinv(" ", words) : NULL;
}

static void expect(const char *line, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *words = translate(line, NO_PROFILE, &error);

    assert_null(error);
    assert_string_equal(words, expected);
}

static void expect_refused(const char *line, const char *message)
{
    g_autoptr(GError) error = NULL;

    assert_null(translate(line, NO_PROFILE, &error));
    assert_int_equal(error->code, PV_ERROR_INVALID);
    assert_string_equal(error->message, message);
}

static void test_folder_alone(void **state)
{
    (void)state;
    expect("lxcfs /var/lib/lxcfs",
           "lxcfs --state-dir=/run/lxcfs --pid-file=/run/lxcfs.pid -- /var/lib/lxcfs");
}

static void test_what_procviewd_always_does_is_taken(void **state)
{
    (void)state;
    expect("lxcfs -f -l -o allow_other,nonempty --enable-cfs --enable-pidfd --enable-psi-poll "
           "--enable-loadavg --foreground /m",
           "lxcfs --state-dir=/run/lxcfs --pid-file=/run/lxcfs.pid -- /m");
}

static void test_letters_may_be_joined(void **state)
{
    (void)state;
    expect("lxcfs -flup/x.pid /m",
           "lxcfs --swap-total=none --state-dir=/run/lxcfs --pid-file=/x.pid -- /m");
}

static void test_swap_is_left_out_when_asked_for(void **state)
{
    (void)state;
    expect("lxcfs --disable-swap /m",
           "lxcfs --swap-total=none --state-dir=/run/lxcfs --pid-file=/run/lxcfs.pid -- /m");
}

static void test_folder_may_stand_before_options(void **state)
{
    (void)state;
    expect("lxcfs /m -l --pidfile /x.pid", "lxcfs --state-dir=/run/lxcfs --pid-file=/x.pid -- /m");
}

static void test_folder_may_look_like_an_option(void **state)
{
    (void)state;
    expect("lxcfs -- -m", "lxcfs --state-dir=/run/lxcfs --pid-file=/run/lxcfs.pid -- -m");
}

static void test_runtime_dir_moves_state_and_pid_file(void **state)
{
    (void)state;
    expect("lxcfs --runtime-dir=/srv/r /m",
           "lxcfs --state-dir=/srv/r/lxcfs --pid-file=/srv/r/lxcfs.pid -- /m");
    expect("lxcfs --runtime-dir /srv/r -p /x.pid /m",
           "lxcfs --state-dir=/srv/r/lxcfs --pid-file=/x.pid -- /m");
}

static void test_debug_and_single_thread(void **state)
{
    (void)state;
    expect("lxcfs -s -d /m", "lxcfs --threads=1 --log-level=debug --state-dir=/run/lxcfs "
                             "--pid-file=/run/lxcfs.pid -- /m");
}

static void test_version_needs_no_folder(void **state)
{
    (void)state;
    expect("lxcfs -v", "lxcfs --version --state-dir=/run/lxcfs --pid-file=/run/lxcfs.pid");
}

static void test_unknown_options_are_refused(void **state)
{
    (void)state;
    expect_refused("lxcfs --enable-cf /m", "unknown option \"--enable-cf\"; see lxcfs --help");
    expect_refused("lxcfs --enable-cfs=1 /m",
                   "unknown option \"--enable-cfs=1\"; see lxcfs --help");
    expect_refused("lxcfs -lz /m", "unknown option \"-z\"; see lxcfs --help");
}

static void test_missing_values_are_refused(void **state)
{
    (void)state;
    expect_refused("lxcfs /m -p", "-p needs a value");
    expect_refused("lxcfs /m --pidfile", "--pidfile needs a value");
    expect_refused("lxcfs /m --runtime-dir=", "--runtime-dir needs a value");
}

static void test_no_folder_and_two_folders_are_refused(void **state)
{
    (void)state;
    expect_refused("lxcfs -l", "name the folder to mount on; see lxcfs --help");
    expect_refused("lxcfs /a /b", "\"/b\": one folder is enough; see lxcfs --help");
}

static void test_profile_is_named_where_there_is_one(void **state)
{
    const char *profile = FIXTURES "/../../../lxcfs-compat.conf";
    g_autoptr(GError) error = NULL;
    g_autofree char *words = translate("lxcfs /m", profile, &error);
    g_autofree char *expected = g_strconcat("lxcfs --config=", profile,
                                            " --state-dir=/run/lxcfs --pid-file=/run/lxcfs.pid"
                                            " -- /m",
                                            NULL);

    (void)state;
    assert_string_equal(words, expected);
}

static void test_another_name_changes_nothing(void **state)
{
    char *words[] = {(char *)"/usr/sbin/procviewd", (char *)"-l", NULL};
    g_auto(PvConfig) config = {0};
    g_auto(GStrv) ret_argv = NULL;
    char **argv = words;
    int argc = 2;

    (void)state;
    pv_config_init(&config);
    assert_true(pv_lxcfs_options_take(&config, &argc, &argv, &ret_argv, NULL));
    assert_ptr_equal(argv, words);
    assert_int_equal(argc, 2);
    assert_false(config.cpu_ids_dense);
}

static void test_the_name_brings_the_profile(void **state)
{
    char *words[] = {(char *)"/usr/bin/lxcfs", (char *)"-l", (char *)"/m", NULL};
    g_auto(PvConfig) config = {0};
    g_auto(GStrv) ret_argv = NULL;
    g_autoptr(GError) error = NULL;
    PvConfigCommand command;
    char **argv = words;
    int argc = 3;

    (void)state;
    pv_config_init(&config);
    assert_true(pv_lxcfs_options_take(&config, &argc, &argv, &ret_argv, &error));
    assert_true(config.cpu_ids_dense);
    assert_true(config.lxcfs_files);
    assert_int_equal(config.swap_total, PV_SWAP_TOTAL_MEMSW);
    assert_true(pv_config_load(&config, argc, argv, &command, &error));
    assert_int_equal(command, PV_COMMAND_SERVE);
    assert_string_equal(config.mountpoint, "/m");
    assert_string_equal(config.state_dir, "/run/lxcfs");
    assert_string_equal(config.pid_file, "/run/lxcfs.pid");
}

static void test_pid_file_is_written_and_removed(void **state)
{
    g_autofree char *folder = g_dir_make_tmp("pv-test-pid-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "pid", NULL);
    g_autofree char *text = NULL;

    (void)state;
    assert_int_equal(pv_pidfile_write(path), 0);
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    assert_int_equal(g_ascii_strtoll(text, NULL, 10), getpid());
    pv_pidfile_remove(path);
    assert_int_equal(access(path, F_OK), -1);
    g_rmdir(folder);
}

static void test_pid_file_of_another_is_left(void **state)
{
    g_autofree char *folder = g_dir_make_tmp("pv-test-pid-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "pid", NULL);

    (void)state;
    assert_true(g_file_set_contents(path, "1\n", -1, NULL));
    pv_pidfile_remove(path);
    int left = access(path, F_OK);
    g_unlink(path);
    g_rmdir(folder);
    assert_int_equal(left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder_alone),
        cmocka_unit_test(test_what_procviewd_always_does_is_taken),
        cmocka_unit_test(test_letters_may_be_joined),
        cmocka_unit_test(test_swap_is_left_out_when_asked_for),
        cmocka_unit_test(test_folder_may_stand_before_options),
        cmocka_unit_test(test_folder_may_look_like_an_option),
        cmocka_unit_test(test_runtime_dir_moves_state_and_pid_file),
        cmocka_unit_test(test_debug_and_single_thread),
        cmocka_unit_test(test_version_needs_no_folder),
        cmocka_unit_test(test_unknown_options_are_refused),
        cmocka_unit_test(test_missing_values_are_refused),
        cmocka_unit_test(test_no_folder_and_two_folders_are_refused),
        cmocka_unit_test(test_profile_is_named_where_there_is_one),
        cmocka_unit_test(test_another_name_changes_nothing),
        cmocka_unit_test(test_the_name_brings_the_profile),
        cmocka_unit_test(test_pid_file_is_written_and_removed),
        cmocka_unit_test(test_pid_file_of_another_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
