/*
 * The launcher's parsers: sizes, CPUs, the command line, mountinfo's cgroup hierarchies, and the
 * messages between its processes. What it does with a kernel is tested by tests/mount/run.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/launch/cgroup.h"
#include "../../src/launch/message.h"
#include "procview/error.h"

/* ---- sizes ---- */

static void assert_size(const char *text, guint64 expected)
{
    guint64 bytes = 0;
    assert_true(pv_launch_parse_size(text, &bytes));
    assert_int_equal(bytes, expected);
}

static void assert_no_size(const char *text)
{
    guint64 bytes = 42;
    assert_false(pv_launch_parse_size(text, &bytes));
    assert_int_equal(bytes, 42);
}

static void sizes_take_units_of_1024_in_either_case(void **state G_GNUC_UNUSED)
{
    assert_size("1073741824", G_GUINT64_CONSTANT(1) << 30);
    assert_size("256M", 256 << 20);
    assert_size("256m", 256 << 20);
    assert_size("1g", G_GUINT64_CONSTANT(1) << 30);
    assert_size("2T", G_GUINT64_CONSTANT(2) << 40);
    assert_size("64k", 65536);
    assert_size("64KiB", 65536);
    assert_size("64kb", 65536);
    assert_size("0", 0);
}

static void sizes_take_fractions_of_a_unit(void **state G_GNUC_UNUSED)
{
    assert_size("1.5G", G_GUINT64_CONSTANT(3) << 29);
    assert_size("0.5M", 512 << 10);
    assert_size("1.0k", 1024);
    assert_no_size("1.5");
    assert_no_size("1.G");
    assert_no_size(".5G");
}

static void what_is_no_size_is_refused(void **state G_GNUC_UNUSED)
{
    static const char *const bad[] = {"",    "M",   "-1",   "+1",   " 1",   "1 ",  "12X",
                                      "1MM", "1e3", "0x10", "1,5G", "1kbb", "1ib", "max"};
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_no_size(bad[i]);
}

static void sizes_that_do_not_fit_are_refused(void **state G_GNUC_UNUSED)
{
    assert_size("9223372036854775807", G_MAXINT64);
    assert_no_size("9223372036854775808");
    assert_no_size("18446744073709551616");
    assert_no_size("8388608T");
    assert_no_size("99999999999999999999999999M");
}

static void cpus_become_a_quota(void **state G_GNUC_UNUSED)
{
    guint64 quota = 0;
    assert_true(pv_launch_parse_cpus("0.5", &quota));
    assert_int_equal(quota, 50000);
    assert_true(pv_launch_parse_cpus("2", &quota));
    assert_int_equal(quota, 200000);
    assert_true(pv_launch_parse_cpus("0.01", &quota));
    assert_int_equal(quota, 1000);
    assert_true(pv_launch_parse_cpus("1.125", &quota));
    assert_int_equal(quota, 112500);
    assert_false(pv_launch_parse_cpus("", &quota));
    assert_false(pv_launch_parse_cpus("0.5x", &quota));
    assert_false(pv_launch_parse_cpus("-1", &quota));
    assert_false(pv_launch_parse_cpus("1000000", &quota));
}

/* ---- the command line ---- */

#define PARSE(error, ...) parse((const char *const[]){"run", __VA_ARGS__, NULL}, error)

static PvLaunchPlan *parse(const char *const *args, GError **error)
{
    g_auto(GStrv) copy = g_strdupv((char **)args);
    return pv_launch_plan_parse((int)g_strv_length(copy), copy, error);
}

static void assert_refused(const char *option, const char *value, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PvLaunchPlan) plan = PARSE(&error, option, value, "--", "true");
    assert_null(plan);
    assert_non_null(error);
    assert_non_null(strstr(error->message, option));
    if (strstr(error->message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error->message, part);
}

static void defaults_limit_nothing(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PvLaunchPlan) plan = PARSE(&error, "--", "true");
    assert_non_null(plan);
    assert_true(plan->limits.memory_bytes == PV_UNLIMITED);
    assert_true(plan->limits.swap_bytes == PV_UNLIMITED);
    assert_true(plan->limits.cpu_quota_usec == PV_UNLIMITED);
    assert_true(plan->limits.pids_max == PV_UNLIMITED);
    assert_false(plan->limits.has_cpuset);
    assert_null(plan->rootfs);
    assert_string_equal(plan->workdir, "/");
    assert_string_equal(plan->hostname, plan->name);
    assert_int_equal(strlen(plan->name), 12);
    assert_int_equal(plan->net, PV_LAUNCH_NET_NONE);
    assert_int_equal(plan->manager, PV_LAUNCH_CGROUPFS);
}

static void limits_are_taken_over(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PvLaunchPlan) plan = PARSE(
        &error, "--memory=256M", "--swap", "0", "--cpus", "0.5", "--cpuset", "0-1,3", "--pids",
        "100", "--net", "host", "--cgroup-manager=systemd", "--user-ns", "--no-views", "--name",
        "a.b-c_d", "--hostname", "web", "--workdir", "/srv", "--", "true");
    assert_null(error);
    assert_int_equal(plan->limits.memory_bytes, 256 << 20);
    assert_int_equal(plan->limits.swap_bytes, 0);
    assert_int_equal(plan->limits.cpu_quota_usec, 50000);
    assert_int_equal(plan->limits.pids_max, 100);
    assert_true(plan->limits.has_cpuset);
    assert_int_equal(pv_cpu_set_count(&plan->limits.cpuset), 3);
    assert_int_equal(plan->net, PV_LAUNCH_NET_HOST);
    assert_int_equal(plan->manager, PV_LAUNCH_SYSTEMD);
    assert_true(plan->user_ns);
    assert_true(plan->no_views);
    assert_string_equal(plan->name, "a.b-c_d");
    assert_string_equal(plan->hostname, "web");
    assert_string_equal(plan->workdir, "/srv");
}

static void options_of_the_command_are_left_to_it(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PvLaunchPlan) plan = PARSE(&error, "ls", "--memory", "-l", "--", "x");
    assert_null(error);
    assert_int_equal(g_strv_length(plan->command), 5);
    assert_string_equal(plan->command[0], "ls");
    assert_string_equal(plan->command[1], "--memory");
    assert_string_equal(plan->command[3], "--");
    assert_true(plan->limits.memory_bytes == PV_UNLIMITED);
}

static void a_command_is_required(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PvLaunchPlan) plan = PARSE(&error, "--memory", "64M", "--");
    assert_null(plan);
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_INVALID));
    assert_non_null(strstr(error->message, "COMMAND"));
}

static void bad_values_are_refused_by_name(void **state G_GNUC_UNUSED)
{
    assert_refused("--memory", "1k", "min 4M");
    assert_refused("--memory", "lots", "not a size");
    assert_refused("--swap", "-1", "not a size");
    assert_refused("--cpus", "0", "min 0.01");
    assert_refused("--cpus", "half", "not a number of CPUs");
    assert_refused("--cpuset", "0-", "not a list of CPUs");
    assert_refused("--cpuset", "", "no CPU");
    assert_refused("--pids", "1", "min 2");
    assert_refused("--pids", "many", "not a number");
    assert_refused("--net", "bridge", "none or host");
    assert_refused("--cgroup-manager", "docker", "cgroupfs or systemd");
    assert_refused("--env", "NAME", "NAME=VALUE");
    assert_refused("--env", "=value", "NAME=VALUE");
    assert_refused("--workdir", "here", "absolute");
    assert_refused("--rootfs", "/nonexistent", "no such directory");
    assert_refused("--rootfs", "/", "read-only");
    assert_refused("--rootfs", "/usr/..", "read-only");
}

static void names_cannot_leave_their_directory(void **state G_GNUC_UNUSED)
{
    static const char *const bad[] = {"..", ".", "", "a/b", "-a", "_a", "a b", "a\nb", "\303\244"};
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_refused("--name", bad[i], "letters");
        assert_refused("--hostname", bad[i], "letters");
    }
}

static void the_environment_is_small_and_extended_by_env(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_setenv("PV_TEST_SECRET", "of the host", TRUE);
    g_autoptr(PvLaunchPlan) plan =
        PARSE(&error, "--env", "A=b=c", "--env", "HOME=/srv", "--", "true");
    assert_non_null(plan);
    assert_string_equal(g_environ_getenv(plan->env, "A"), "b=c");
    assert_string_equal(g_environ_getenv(plan->env, "HOME"), "/srv");
    assert_non_null(g_environ_getenv(plan->env, "PATH"));
    assert_null(g_environ_getenv(plan->env, "PV_TEST_SECRET"));
}

/* ---- hierarchies ---- */

static const char MOUNTINFO[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,seclabel,memory,clone_children\n"
    "34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup "
    "rw,xattr,release_agent=/x,name=systemd\n"
    "35 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
    "36 31 0:30 / /mnt/a\\040b rw - cgroup cgroup rw,memory\n"
    "garbage\n"
    "37 31 0:39 / /x rw - cgroup\n";

static void every_hierarchy_is_listed_once(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) list = pv_launch_hierarchies_parse(MOUNTINFO);
    const PvLaunchHierarchy *hierarchy;

    assert_int_equal(list->len, 4);
    hierarchy = list->pdata[0];
    assert_int_equal(hierarchy->version, 1);
    assert_string_equal(hierarchy->options, "cpu,cpuacct");
    assert_string_equal(hierarchy->dir_name, "cpu,cpuacct");
    assert_true(pv_launch_hierarchy_has(hierarchy, "cpu"));
    assert_true(pv_launch_hierarchy_has(hierarchy, "cpuacct"));
    assert_false(pv_launch_hierarchy_has(hierarchy, "cp"));
    hierarchy = list->pdata[3];
    assert_int_equal(hierarchy->version, 2);
    assert_string_equal(hierarchy->dir_name, "unified");
}

static void flags_are_not_taken_for_controllers(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) list = pv_launch_hierarchies_parse(MOUNTINFO);
    const PvLaunchHierarchy *memory = list->pdata[1], *named = list->pdata[2];

    assert_string_equal(memory->options, "memory");
    assert_string_equal(named->options, "name=systemd");
    assert_null(named->controllers[0]);
    assert_ptr_equal(pv_launch_hierarchies_find(list, "memory"), memory);
    assert_null(pv_launch_hierarchies_find(list, "clone_children"));
    assert_null(pv_launch_hierarchies_find(list, "pids"));
}

static void the_only_v2_mount_is_the_cgroup_directory_itself(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) list =
        pv_launch_hierarchies_parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    const PvLaunchHierarchy *hierarchy = list->pdata[0];

    assert_int_equal(list->len, 1);
    assert_string_equal(hierarchy->mount_point, "/sys/fs/cgroup");
    assert_string_equal(hierarchy->dir_name, "");
}

static void escaped_mount_points_are_read(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) list =
        pv_launch_hierarchies_parse("30 23 0:26 / /a\\040b\\134c rw - cgroup cgroup rw,pids\n");
    const PvLaunchHierarchy *hierarchy = list->pdata[0];

    assert_string_equal(hierarchy->mount_point, "/a b\\c");
}

/* ---- messages ---- */

static void messages_carry_text_and_a_descriptor(void **state G_GNUC_UNUSED)
{
    PvMessage message;
    int socks[2], fds[2], fd = -1;
    struct stat sent, received;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks), 0);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pv_message_send(socks[0], PV_MESSAGE_LISTENER, 7, "text", fds[0]), 0);
    assert_int_equal(pv_message_receive(socks[1], &message, &fd), 0);
    assert_int_equal(message.type, PV_MESSAGE_LISTENER);
    assert_int_equal(message.value, 7);
    assert_string_equal(message.text, "text");
    assert_int_equal(fstat(fds[0], &sent), 0);
    assert_int_equal(fstat(fd, &received), 0);
    assert_int_equal(sent.st_ino, received.st_ino);
    close(fd);
    close(fds[0]);
    close(fds[1]);
    close(socks[0]);
    close(socks[1]);
}

static void the_end_of_the_other_side_is_told(void **state G_GNUC_UNUSED)
{
    PvMessage message;
    int socks[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks), 0);
    close(socks[0]);
    assert_int_equal(pv_message_receive(socks[1], &message, NULL), -EPIPE);
    assert_int_equal(pv_message_send(socks[1], PV_MESSAGE_GO, 0, NULL, -1), -EPIPE);
    close(socks[1]);
}

static void a_message_of_another_size_is_refused(void **state G_GNUC_UNUSED)
{
    PvMessage message;
    int socks[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks), 0);
    assert_int_equal(send(socks[0], "short", 5, 0), 5);
    assert_int_equal(pv_message_receive(socks[1], &message, NULL), -EPROTO);
    close(socks[0]);
    close(socks[1]);
}

static void a_long_text_is_cut(void **state G_GNUC_UNUSED)
{
    g_autofree char *text = g_strnfill(5000, 'x');
    PvMessage message;
    int socks[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks), 0);
    assert_int_equal(pv_message_send(socks[0], PV_MESSAGE_ERROR, 125, text, -1), 0);
    assert_int_equal(pv_message_receive(socks[1], &message, NULL), 0);
    assert_int_equal(strlen(message.text), sizeof message.text - 1);
    close(socks[0]);
    close(socks[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_take_units_of_1024_in_either_case),
        cmocka_unit_test(sizes_take_fractions_of_a_unit),
        cmocka_unit_test(what_is_no_size_is_refused),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(cpus_become_a_quota),
        cmocka_unit_test(defaults_limit_nothing),
        cmocka_unit_test(limits_are_taken_over),
        cmocka_unit_test(options_of_the_command_are_left_to_it),
        cmocka_unit_test(a_command_is_required),
        cmocka_unit_test(bad_values_are_refused_by_name),
        cmocka_unit_test(names_cannot_leave_their_directory),
        cmocka_unit_test(the_environment_is_small_and_extended_by_env),
        cmocka_unit_test(every_hierarchy_is_listed_once),
        cmocka_unit_test(flags_are_not_taken_for_controllers),
        cmocka_unit_test(the_only_v2_mount_is_the_cgroup_directory_itself),
        cmocka_unit_test(escaped_mount_points_are_read),
        cmocka_unit_test(messages_carry_text_and_a_descriptor),
        cmocka_unit_test(the_end_of_the_other_side_is_told),
        cmocka_unit_test(a_message_of_another_size_is_refused),
        cmocka_unit_test(a_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
