/*
 * The parts of attach that need no container: the parser of mountinfo, the child with its deadline,
 * the safe walk, names for the managers' tools.
 */
#include "../../src/attach/enter.h"
#include "../../src/attach/managers.h"
#include "../../src/attach/mountinfo.h"

#include "procview/attach.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/resolve.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char mountinfo[] =
    "600 599 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/a\n"
    "601 600 0:51 / /proc rw,nosuid,nodev,noexec shared:7 master:3 propagate_from:2 - proc proc "
    "rw\n"
    "602 601 0:40 /proc/meminfo /proc/meminfo ro,nosuid - fuse.procview procview rw,user_id=0\n"
    "603 602 0:41 /proc/meminfo /proc/meminfo ro - fuse.procview procview rw\n"
    "604 600 0:40 / /var/lib/procview ro shared:9 - fuse.procview procview rw\n"
    "605 600 8:1 /x\\040y /mnt/a\\040b\\011c\\134d rw - ext4 /dev/sda1 rw\n";

/* ---- mountinfo ---- */

static void fields_of_a_mount_are_parsed(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) mounts = pv_mountinfo_parse(mountinfo);
    const PvMountEntry *proc = pv_mountinfo_find(mounts, 601);

    assert_int_equal(mounts->len, 6);
    assert_non_null(proc);
    assert_int_equal(proc->major, 0);
    assert_int_equal(proc->minor, 51);
    assert_int_equal(proc->peer_group, 7);
    assert_string_equal(proc->root, "/");
    assert_string_equal(proc->mount_point, "/proc");
    assert_string_equal(proc->fstype, "proc");
}

static void a_mount_without_optional_fields_shares_nothing(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) mounts = pv_mountinfo_parse(mountinfo);

    assert_int_equal(pv_mountinfo_find(mounts, 605)->peer_group, 0);
    assert_string_equal(pv_mountinfo_find(mounts, 605)->fstype, "ext4");
}

static void a_slave_shares_nothing(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) mounts = pv_mountinfo_parse(mountinfo);

    assert_int_equal(pv_mountinfo_find(mounts, 600)->peer_group, 0);
}

static void octal_escapes_are_undone(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) mounts = pv_mountinfo_parse(mountinfo);

    assert_string_equal(pv_mountinfo_find(mounts, 605)->root, "/x y");
    assert_string_equal(pv_mountinfo_find(mounts, 605)->mount_point, "/mnt/a b\tc\\d");
}

static void text_that_is_no_escape_is_kept(void **state)
{
    (void)state;
    char text[] = "a\\b\\09\\777\\04";

    pv_mountinfo_unescape(text);
    assert_string_equal(text, "a\\b\\09\\777\\04");
}

static void stacked_mounts_keep_their_order(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) mounts = pv_mountinfo_parse(mountinfo);

    assert_int_equal(((PvMountEntry *)mounts->pdata[2])->id, 602);
    assert_int_equal(((PvMountEntry *)mounts->pdata[3])->id, 603);
}

static void malformed_lines_are_left_out(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) mounts = pv_mountinfo_parse("\n"
                                                     "1\n"
                                                     "x 1 0:1 / / rw - proc proc rw\n"
                                                     "1 2 0.1 / / rw - proc proc rw\n"
                                                     "1 2 0:1 / / rw proc proc rw\n"
                                                     "1 2 0:1 / / rw -\n"
                                                     "1 2 0:1 / / rw shared:x - proc proc rw\n"
                                                     "7 2 0:1 / /good rw - proc proc rw");

    assert_int_equal(mounts->len, 1);
    assert_string_equal(((PvMountEntry *)mounts->pdata[0])->mount_point, "/good");
}

static void only_bound_files_are_views(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) mounts = pv_mountinfo_parse(mountinfo);

    assert_true(pv_mount_entry_is_view(pv_mountinfo_find(mounts, 602)));
    assert_false(pv_mount_entry_is_view(pv_mountinfo_find(mounts, 604)));
    assert_false(pv_mount_entry_is_view(pv_mountinfo_find(mounts, 601)));
}

/* It is bound as a whole; elsewhere a whole one is the daemon's mount, or a copy of it. */
static void a_whole_tree_is_a_view_where_cgroups_are(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) mounts =
        pv_mountinfo_parse("1 9 0:1 / /sys/fs/cgroup rw - fuse.procview procview rw\n"
                           "2 9 0:1 / /sys/fs/cgroup/memory rw - fuse.procview procview rw\n"
                           "3 9 0:1 / /sys/fs/cgroups rw - fuse.procview procview rw\n"
                           "4 9 0:1 / /srv/sys/fs/cgroup rw - fuse.procview procview rw\n"
                           "5 9 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");

    for (gint64 id = 1; id <= 5; id++)
        assert_int_equal(pv_mount_entry_is_view(pv_mountinfo_find(mounts, id)), id <= 2);
}

static void the_mounts_of_this_process_are_read(void **state)
{
    (void)state;
    g_autoptr(GError) error = NULL;
    pv_autofd int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(GPtrArray) mounts = pv_mountinfo_load(self, &error);

    assert_non_null(mounts);
    assert_true(mounts->len > 0);
}

/* ---- the child ---- */

static void report_two(const PvEnter *enter, gpointer data)
{
    const PvReport first = {.index = 0, .mount_id = 11};
    const PvReport second = {.index = 1, .mount_id = *(const int *)data};

    pv_enter_report(enter, &first);
    pv_enter_report(enter, &second);
}

static void report_and_hang(const PvEnter *enter, gpointer data)
{
    report_two(enter, data);
    for (;;)
        pause();
}

static void report_and_abort(const PvEnter *enter, gpointer data)
{
    report_two(enter, data);
    raise(SIGKILL);
}

static void report_mount_id(const PvEnter *enter, gpointer data)
{
    PvReport report = {.index = 0, .mount_id = pv_enter_mount_id(enter, *(const int *)data)};

    pv_enter_report(enter, &report);
}

static gboolean enter(PvEnterFunc func, gpointer data, guint deadline_msec, GArray *reports,
                      GError **error)
{
    pv_autofd int procfs = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return pv_enter_run(func, data, procfs, deadline_msec, reports, error);
}

static void reports_of_the_child_arrive(void **state)
{
    (void)state;
    g_autoptr(GArray) reports = g_array_new(FALSE, FALSE, sizeof(PvReport));
    int number = 22;

    assert_true(enter(report_two, &number, 5000, reports, NULL));
    assert_int_equal(reports->len, 2);
    assert_int_equal(g_array_index(reports, PvReport, 0).mount_id, 11);
    assert_int_equal(g_array_index(reports, PvReport, 1).mount_id, 22);
}

static void a_hung_child_is_killed_and_its_reports_kept(void **state)
{
    (void)state;
    g_autoptr(GArray) reports = g_array_new(FALSE, FALSE, sizeof(PvReport));
    g_autoptr(GError) error = NULL;
    int number = 22;
    gint64 start_usec = g_get_monotonic_time();

    assert_false(enter(report_and_hang, &number, 200, reports, &error));
    assert_non_null(strstr(error->message, "time"));
    assert_int_equal(reports->len, 2);
    assert_true(g_get_monotonic_time() - start_usec < 4000000);
}

static void a_child_that_dies_is_an_error(void **state)
{
    (void)state;
    g_autoptr(GArray) reports = g_array_new(FALSE, FALSE, sizeof(PvReport));
    g_autoptr(GError) error = NULL;
    int number = 22;

    assert_false(enter(report_and_abort, &number, 5000, reports, &error));
    assert_non_null(strstr(error->message, "signal 9"));
}

static void a_descriptors_mount_is_found(void **state)
{
    (void)state;
    g_autoptr(GArray) reports = g_array_new(FALSE, FALSE, sizeof(PvReport));
    pv_autofd int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(GPtrArray) mounts = pv_mountinfo_load(self, NULL);

    assert_true(enter(report_mount_id, &self, 5000, reports, NULL));
    const PvMountEntry *entry =
        pv_mountinfo_find(mounts, g_array_index(reports, PvReport, 0).mount_id);
    assert_non_null(entry);
    assert_string_equal(entry->fstype, "proc");
}

/* ---- the walk ---- */

typedef int (*OpenFunc)(int root_fd, const char *path);

static void walk(OpenFunc open_func)
{
    g_autofree char *dir = g_dir_make_tmp("pv-test-XXXXXX", NULL);
    g_autofree char *sub = g_build_filename(dir, "sub", NULL);
    g_autofree char *file = g_build_filename(sub, "file", NULL);
    g_autofree char *link = g_build_filename(dir, "link", NULL);
    pv_autofd int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(mkdir(sub, 0755), 0);
    assert_true(g_file_set_contents(file, "", 0, NULL));
    assert_int_equal(symlink("sub", link), 0);

    pv_autofd int fd = open_func(root, "sub/file");
    pv_autofd int slashes = open_func(root, "sub//file");
    int through_link = open_func(root, "link/file");
    int missing = open_func(root, "sub/none");
    int under_file = open_func(root, "sub/file/x");

    unlink(link);
    unlink(file);
    rmdir(sub);
    rmdir(dir);
    assert_true(fd >= 0);
    assert_true(slashes >= 0);
    assert_true(through_link == -ELOOP || through_link == -ENOTDIR);
    assert_int_equal(missing, -ENOENT);
    assert_int_equal(under_file, -ENOTDIR);
}

static void the_walk_follows_no_symbolic_link(void **state)
{
    (void)state;
    walk(pv_enter_open);
}

static void the_walk_without_openat2_follows_none_either(void **state)
{
    (void)state;
    walk(pv_enter_open_by_components);
}

static void the_walk_without_openat2_refuses_dotdot(void **state)
{
    (void)state;
    pv_autofd int root = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(pv_enter_open_by_components(root, "../meminfo"), -EXDEV);
    assert_int_equal(pv_enter_open_by_components(root, "/"), -EINVAL);
}

/* ---- names ---- */

static void names_that_could_be_options_are_refused(void **state)
{
    (void)state;
    assert_false(pv_managers_name_is_valid("-f"));
    assert_false(pv_managers_name_is_valid("--help"));
    assert_false(pv_managers_name_is_valid(""));
    assert_false(pv_managers_name_is_valid("a b"));
    assert_false(pv_managers_name_is_valid("a/b"));
    assert_false(pv_managers_name_is_valid("a;b"));
    assert_false(pv_managers_name_is_valid("{{.}}"));
}

static void names_that_managers_allow_are_allowed(void **state)
{
    (void)state;
    assert_true(pv_managers_name_is_valid("web"));
    assert_true(pv_managers_name_is_valid("_web-1.2"));
    assert_true(pv_managers_name_is_valid("systemd-nspawn@x.service"));
    assert_true(pv_managers_name_is_valid("0123abcd"));
}

static void pids_that_tools_print_are_parsed(void **state)
{
    (void)state;
    pid_t pid = -1;

    assert_true(pv_managers_parse_pid("123\n", &pid));
    assert_int_equal(pid, 123);
    assert_true(pv_managers_parse_pid("MainPID=77\n", &pid));
    assert_int_equal(pid, 77);
    assert_true(pv_managers_parse_pid("0\n", &pid));
    assert_int_equal(pid, 0);
}

static void texts_that_are_no_pid_are_refused(void **state)
{
    (void)state;
    pid_t pid = -1;

    assert_false(pv_managers_parse_pid("", &pid));
    assert_false(pv_managers_parse_pid("-1\n", &pid));
    assert_false(pv_managers_parse_pid("12x\n", &pid));
    assert_false(pv_managers_parse_pid("99999999999\n", &pid));
    assert_false(pv_managers_parse_pid("<no value>\n", &pid));
    assert_int_equal(pid, -1);
}

static void assert_resolve_fails(const char *what, PvError code)
{
    g_autoptr(GError) error = NULL;
    pid_t pid = -1;

    assert_false(pv_resolve(NULL, NULL, what, &pid, &error));
    assert_true(g_error_matches(error, PV_ERROR, (gint)code));
    assert_int_equal(pid, -1);
}

static void nonsense_resolves_to_nothing(void **state)
{
    (void)state;
    assert_resolve_fails("", PV_ERROR_INVALID);
    assert_resolve_fails("-f", PV_ERROR_INVALID);
    assert_resolve_fails("0", PV_ERROR_NOT_FOUND);
    assert_resolve_fails("4194304", PV_ERROR_NOT_FOUND);
}

static void a_pid_resolves_to_itself(void **state)
{
    (void)state;
    g_autofree char *self = g_strdup_printf("%d", getpid());
    pid_t pid = -1;

    assert_true(pv_resolve(NULL, NULL, self, &pid, NULL));
    assert_int_equal(pid, getpid());
}

/* ---- the managers' tools, played by scripts ---- */

typedef struct {
    char *dir, *old_path;
} FakeTools;

static int fake_tools_setup(void **state)
{
    FakeTools *tools = g_new0(FakeTools, 1);
    g_autofree char *path = NULL;

    tools->dir = g_dir_make_tmp("pv-tools-XXXXXX", NULL);
    tools->old_path = g_strdup(g_getenv("PATH"));
    path = g_strdup_printf("%s:/bin", tools->dir);
    /* Tools that this machine has must not answer. */
    const char *const names[] = {"docker", "podman", "lxc-info", "machinectl", "systemctl"};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *tool = g_build_filename(tools->dir, names[i], NULL);
        g_file_set_contents(tool, "#!/bin/sh\nexit 1\n", -1, NULL);
        chmod(tool, 0755);
    }
    g_setenv("PATH", path, TRUE);
    *state = tools;
    return 0;
}

static int fake_tools_teardown(void **state)
{
    FakeTools *tools = *state;
    const char *name;
    GDir *dir = g_dir_open(tools->dir, 0, NULL);

    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(tools->dir, name, NULL);
        unlink(path);
    }
    g_dir_close(dir);
    rmdir(tools->dir);
    g_setenv("PATH", tools->old_path, TRUE);
    g_free(tools->dir);
    g_free(tools->old_path);
    g_free(tools);
    return 0;
}

static void fake_tool(const FakeTools *tools, const char *name, const char *script)
{
    g_autofree char *path = g_build_filename(tools->dir, name, NULL);
    g_autofree char *text = g_strconcat("#!/bin/sh\n", script, "\n", NULL);

    assert_true(g_file_set_contents(path, text, -1, NULL));
    assert_int_equal(chmod(path, 0755), 0);
}

static void every_tool_that_knows_the_name_answers(void **state)
{
    g_autoptr(GString) asked = g_string_new(NULL);

    fake_tool(*state, "docker", "[ \"$5\" = \"\" ] && [ \"$4\" = web ] && echo 42");
    fake_tool(*state, "lxc-info", "[ \"$2\" = web ] && echo 43");
    g_autoptr(GArray) answers = pv_managers_ask("web", FALSE, asked);
    assert_int_equal(answers->len, 2);
    assert_string_equal(g_array_index(answers, PvManagerAnswer, 0).manager, "docker");
    assert_int_equal(g_array_index(answers, PvManagerAnswer, 0).pid, 42);
    assert_string_equal(g_array_index(answers, PvManagerAnswer, 1).manager, "lxc");
    assert_int_equal(g_array_index(answers, PvManagerAnswer, 1).pid, 43);
    assert_string_equal(asked->str, "docker, podman, lxc-info, machinectl");
}

static void a_stopped_container_is_known(void **state)
{
    g_autoptr(GString) asked = g_string_new(NULL);

    fake_tool(*state, "podman", "echo 0");
    g_autoptr(GArray) answers = pv_managers_ask("web", FALSE, asked);
    assert_int_equal(answers->len, 1);
    assert_int_equal(g_array_index(answers, PvManagerAnswer, 0).pid, 0);
}

static void a_unit_that_does_not_exist_is_not_known(void **state)
{
    g_autoptr(GString) asked = g_string_new(NULL);

    fake_tool(*state, "systemctl", "echo MainPID=0");
    g_autoptr(GArray) answers = pv_managers_ask("web", TRUE, asked);
    assert_int_equal(answers->len, 0);
    assert_string_equal(asked->str, "systemctl");
}

static void a_tool_that_hangs_hides_no_other(void **state)
{
    g_autoptr(GString) asked = g_string_new(NULL);
    gint64 start_usec = g_get_monotonic_time();

    fake_tool(*state, "docker", "exec sleep 60");
    fake_tool(*state, "podman", "echo 44");
    g_autoptr(GArray) answers = pv_managers_ask("web", FALSE, asked);
    assert_int_equal(answers->len, 1);
    assert_int_equal(g_array_index(answers, PvManagerAnswer, 0).pid, 44);
    assert_true(g_get_monotonic_time() - start_usec < 20000000);
}

/* ---- refusals ---- */

static void the_callers_own_namespace_is_refused(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) results = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) detach_error = NULL;

    assert_false(pv_attach("/nowhere", getpid(), results, &error));
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_BUSY));
    assert_false(pv_detach(getpid(), results, &detach_error));
    assert_true(g_error_matches(detach_error, PV_ERROR, PV_ERROR_BUSY));
    assert_int_equal(results->len, 0);
}

static void a_process_that_is_not_there_is_not_found(void **state)
{
    (void)state;
    g_autoptr(GPtrArray) results = g_ptr_array_new();
    const pid_t pids[] = {0, -1, 4194304};

    for (guint i = 0; i < G_N_ELEMENTS(pids); i++) {
        g_autoptr(GError) error = NULL;
        assert_false(pv_attach("/nowhere", pids[i], results, &error));
        assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_NOT_FOUND));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_a_mount_are_parsed),
        cmocka_unit_test(a_mount_without_optional_fields_shares_nothing),
        cmocka_unit_test(a_slave_shares_nothing),
        cmocka_unit_test(octal_escapes_are_undone),
        cmocka_unit_test(text_that_is_no_escape_is_kept),
        cmocka_unit_test(stacked_mounts_keep_their_order),
        cmocka_unit_test(malformed_lines_are_left_out),
        cmocka_unit_test(only_bound_files_are_views),
        cmocka_unit_test(a_whole_tree_is_a_view_where_cgroups_are),
        cmocka_unit_test(the_mounts_of_this_process_are_read),
        cmocka_unit_test(reports_of_the_child_arrive),
        cmocka_unit_test(a_hung_child_is_killed_and_its_reports_kept),
        cmocka_unit_test(a_child_that_dies_is_an_error),
        cmocka_unit_test(a_descriptors_mount_is_found),
        cmocka_unit_test(the_walk_follows_no_symbolic_link),
        cmocka_unit_test(the_walk_without_openat2_follows_none_either),
        cmocka_unit_test(the_walk_without_openat2_refuses_dotdot),
        cmocka_unit_test(names_that_could_be_options_are_refused),
        cmocka_unit_test(names_that_managers_allow_are_allowed),
        cmocka_unit_test(pids_that_tools_print_are_parsed),
        cmocka_unit_test(texts_that_are_no_pid_are_refused),
        cmocka_unit_test(nonsense_resolves_to_nothing),
        cmocka_unit_test(a_pid_resolves_to_itself),
        cmocka_unit_test_setup_teardown(every_tool_that_knows_the_name_answers, fake_tools_setup,
                                        fake_tools_teardown),
        cmocka_unit_test_setup_teardown(a_stopped_container_is_known, fake_tools_setup,
                                        fake_tools_teardown),
        cmocka_unit_test_setup_teardown(a_unit_that_does_not_exist_is_not_known, fake_tools_setup,
                                        fake_tools_teardown),
        cmocka_unit_test_setup_teardown(a_tool_that_hangs_hides_no_other, fake_tools_setup,
                                        fake_tools_teardown),
        cmocka_unit_test(the_callers_own_namespace_is_refused),
        cmocka_unit_test(a_process_that_is_not_there_is_not_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
