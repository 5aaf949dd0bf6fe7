/*
 * Finding the hierarchies in mountinfo, and paths in /proc/PID/cgroup.
 */
#include "cgroup_tree.h"
#include "scratch.h"

#include "procview/error.h"

#include <errno.h>

#define TAIL_V1(names) " rw,relatime shared:9 - cgroup cgroup rw," names "\n"
#define TAIL_V2        " rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"

/* ---- hierarchies ---- */

static void comounted_controllers_share_a_mount_point(void **state)
{
    (void)state;
    g_autoptr(PvHierarchies) h = fixture_hierarchies("cgroup-v1");
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_CPU), 1);
    assert_string_equal(pv_hierarchies_mount_point(h, PV_CONTROLLER_CPU),
                        "/sys/fs/cgroup/cpu,cpuacct");
    assert_string_equal(pv_hierarchies_mount_point(h, PV_CONTROLLER_CPUACCT),
                        "/sys/fs/cgroup/cpu,cpuacct");
    assert_string_equal(pv_hierarchies_mount_point(h, PV_CONTROLLER_IO), "/sys/fs/cgroup/blkio");
}

static void v1_alone_has_no_pressure_and_tasks_of_pids(void **state)
{
    (void)state;
    g_autoptr(PvHierarchies) h = fixture_hierarchies("cgroup-v1");
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_PRESSURE), 0);
    assert_null(pv_hierarchies_mount_point(h, PV_CONTROLLER_PRESSURE));
    assert_string_equal(pv_hierarchies_mount_point(h, PV_CONTROLLER_TASKS), "/sys/fs/cgroup/pids");
}

static void mount_of_the_hierarchys_root_beats_an_earlier_bind_of_a_part(void **state)
{
    (void)state;
    g_autoptr(PvHierarchies) h = fixture_hierarchies("cgroup-v1");
    assert_string_equal(pv_hierarchies_mount_point(h, PV_CONTROLLER_MEMORY),
                        "/sys/fs/cgroup/memory");
}

static void v2_has_what_cgroup_controllers_lists_and_the_core(void **state)
{
    (void)state;
    g_autoptr(PvHierarchies) h = fixture_hierarchies("cgroup-v2");
    for (PvController c = 0; c < PV_CONTROLLER_COUNT; c++)
        assert_int_equal(pv_hierarchies_version(h, c), 2);
}

static void hybrid_is_resolved_controller_by_controller(void **state)
{
    (void)state;
    g_autoptr(PvHierarchies) h = fixture_hierarchies("cgroup-hybrid");
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_MEMORY), 1);
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_CPU), 1);
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_IO), 2);
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_PIDS), 2);
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_PRESSURE), 2);
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_CPUSET), 0);
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_HUGETLB), 0);
    /* The unified hierarchy of a hybrid host need not have cgroups for containers. */
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_CPUACCT), 0);
    assert_string_equal(pv_hierarchies_mount_point(h, PV_CONTROLLER_TASKS),
                        "/sys/fs/cgroup/memory");
}

static void escapes_in_mount_points_are_undone(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    scratch_make(&s);
    scratch_put(&s, "mnt/a b\tc\\d/cgroup.controllers", "memory\n");
    scratch_put(&s, "proc/self/mountinfo",
                "40 26 0:40 / /mnt/a\\040b\\011c\\134d rw - cgroup2 none rw\n");
    g_autoptr(PvHierarchies) h = tree_hierarchies(s.fd, NULL);
    assert_non_null(h);
    assert_string_equal(pv_hierarchies_mount_point(h, PV_CONTROLLER_MEMORY), "/mnt/a b\tc\\d");
}

static void malformed_mountinfo_lines_are_skipped(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    scratch_make(&s);
    scratch_put(&s, "good/tasks", "");
    scratch_put(&s, "proc/self/mountinfo",
                "\n - cgroup2 x\n1 2 - cgroup2 cgroup2 rw\n"
                "1 2 zero:1 / /good rw - cgroup cgroup rw,memory\n"
                "1 2 0:1 relative /good rw - cgroup cgroup rw,memory\n"
                "1 2 0:1 / good rw - cgroup cgroup rw,memory\n"
                "1 2 0:9 / /good rw - cgroup cgroup rw,pids\n"
                "1 2 0:1 / /good rw - cgroup cgroup");
    g_autoptr(PvHierarchies) h = tree_hierarchies(s.fd, NULL);
    assert_non_null(h);
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_PIDS), 1);
    assert_int_equal(pv_hierarchies_version(h, PV_CONTROLLER_MEMORY), 0);
}

static void mount_point_that_cannot_be_opened_gives_way_to_the_next(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    scratch_make(&s);
    scratch_put(&s, "b/tasks", "");
    scratch_put(&s, "proc/self/mountinfo",
                "1 2 0:1 / /hidden" TAIL_V1("memory") "3 2 0:1 / /b" TAIL_V1("memory"));
    g_autoptr(PvHierarchies) h = tree_hierarchies(s.fd, NULL);
    assert_non_null(h);
    assert_string_equal(pv_hierarchies_mount_point(h, PV_CONTROLLER_MEMORY), "/b");
}

static void mount_point_behind_a_symlink_is_not_followed(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    scratch_make(&s);
    assert_int_equal(symlinkat("/sys", s.fd, "link"), 0);
    scratch_put(&s, "proc/self/mountinfo", "1 2 0:1 / /link/fs" TAIL_V1("memory"));
    g_autoptr(GError) error = NULL;
    assert_null(tree_hierarchies(s.fd, &error));
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_UNSUPPORTED));
}

static void no_hierarchy_is_unsupported(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    scratch_make(&s);
    scratch_put(&s, "proc/self/mountinfo",
                "1 2 0:1 / / rw - ext4 /dev/vda rw\n1 2 0:3 / /c" TAIL_V1("xattr,name=systemd"));
    g_autoptr(GError) error = NULL;
    assert_null(tree_hierarchies(s.fd, &error));
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_UNSUPPORTED));
}

static void unreadable_mountinfo_is_named(void **state)
{
    (void)state;
    g_auto(Scratch) s;
    scratch_make(&s);
    scratch_put(&s, "proc/none", "");
    g_autoptr(GError) error = NULL;
    assert_null(tree_hierarchies(s.fd, &error));
    assert_non_null(error);
    assert_non_null(strstr(error->message, "mountinfo"));
}

/* ---- paths ---- */

/* Parse `text` on a host whose only hierarchy is v2, mounted with this root; the memory path. */
static char *v2_path(const char *root, const char *text, GError **error)
{
    g_auto(Scratch) s;
    scratch_make(&s);
    scratch_put(&s, "cg/cgroup.controllers", "memory\n");
    g_autofree char *mountinfo = g_strdup_printf("1 2 0:1 %s /cg" TAIL_V2, root);
    scratch_put(&s, "proc/self/mountinfo", mountinfo);
    g_autoptr(PvHierarchies) h = tree_hierarchies(s.fd, NULL);
    assert_non_null(h);

    g_auto(PvCgroupPaths) paths = {0};
    if (!pv_cgroup_paths_parse(h, text, &paths, error))
        return NULL;
    return g_strdup(paths.path[PV_CONTROLLER_MEMORY]);
}

static void assert_v2_path(const char *root, const char *text, const char *expected)
{
    g_autofree char *path = v2_path(root, text, NULL);
    assert_non_null(path);
    assert_string_equal(path, expected);
}

static void assert_v2_error(const char *root, const char *text, PvError code)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = v2_path(root, text, &error);
    assert_null(path);
    assert_true(g_error_matches(error, PV_ERROR, (int)code));
}

static void each_controller_gets_its_hierarchys_path(void **state)
{
    (void)state;
    g_autoptr(PvHierarchies) h = fixture_hierarchies("cgroup-v1");
    g_auto(PvCgroupPaths) paths = {0};
    assert_true(pv_cgroup_paths_parse(h,
                                      "12:rdma:/r\n9:cpuset:/set\n5:cpu,cpuacct:/c\n4:memory:/m/n\n"
                                      "3:pids:/\n1:name=systemd:/init.scope\n0::/unified\n",
                                      &paths, NULL));
    assert_string_equal(paths.path[PV_CONTROLLER_CPU], "/c");
    assert_string_equal(paths.path[PV_CONTROLLER_CPUACCT], "/c");
    assert_string_equal(paths.path[PV_CONTROLLER_CPUSET], "/set");
    assert_string_equal(paths.path[PV_CONTROLLER_MEMORY], "/m/n");
    assert_string_equal(paths.path[PV_CONTROLLER_TASKS], "/");
    assert_null(paths.path[PV_CONTROLLER_IO]);       /* no line */
    assert_null(paths.path[PV_CONTROLLER_PRESSURE]); /* no hierarchy */
}

static void names_may_hold_blanks_colons_backslashes_and_dots(void **state)
{
    (void)state;
    assert_v2_path("/", "0::/a b:c/..x/\\040y.scope/...\n", "/a b:c/..x/\\040y.scope/...");
}

static void path_is_normalised(void **state)
{
    (void)state;
    assert_v2_path("/", "0::/a//b/./c/\n", "/a/b/c");
    assert_v2_path("/", "0::/a/b/../c", "/a/c");
    assert_v2_path("/", "0::/", "/");
}

static void sibling_outside_of_the_namespace_is_resolved_by_the_mounts_root(void **state)
{
    (void)state;
    assert_v2_path("/..", "0::/../b\n", "/b");
    assert_v2_path("/../..", "0::/../../x/y\n", "/x/y");
    assert_v2_path("/../b", "0::/../b\n", "/");
    assert_v2_path("/docker/77", "0::/docker/77/init\n", "/init");
    assert_v2_path("/docker\\04077", "0::/docker 77/init\n", "/init");
}

static void path_beyond_the_mount_is_not_found(void **state)
{
    (void)state;
    assert_v2_error("/", "0::/../b\n", PV_ERROR_NOT_FOUND);
    assert_v2_error("/..", "0::/../../b\n", PV_ERROR_NOT_FOUND);
    assert_v2_error("/..", "0::/b\n", PV_ERROR_NOT_FOUND); /* the name between them is not told */
    assert_v2_error("/docker/77", "0::/docker/7\n", PV_ERROR_NOT_FOUND);
    assert_v2_error("/docker/77", "0::/docker/77/../78\n", PV_ERROR_NOT_FOUND);
}

static void deleted_mark_is_v2s_alone(void **state)
{
    (void)state;
    assert_v2_path("/", "0::/gone (deleted)\n", "/gone");
    g_autoptr(PvHierarchies) h = fixture_hierarchies("cgroup-v1");
    g_auto(PvCgroupPaths) paths = {0};
    assert_true(pv_cgroup_paths_parse(h, "4:memory:/a (deleted)\n", &paths, NULL));
    assert_string_equal(paths.path[PV_CONTROLLER_MEMORY], "/a (deleted)");
}

static void malformed_text_is_invalid(void **state)
{
    (void)state;
    static const char *const BAD[] = {
        "",       "\n",    "garbage\n",    "0:/a\n",           "x::/a\n",
        "0::a\n", "0::\n", ":memory:/a\n", "0::/a\n\n0::/b\n", "-1::/a\n"};
    for (guint i = 0; i < G_N_ELEMENTS(BAD); i++)
        assert_v2_error("/", BAD[i], PV_ERROR_INVALID);
}

static void failure_leaves_the_paths_alone(void **state)
{
    (void)state;
    g_autoptr(PvHierarchies) h = fixture_hierarchies("cgroup-v1");
    PvCgroupPaths paths = {0};
    assert_false(pv_cgroup_paths_parse(h, "4:memory:/a\ngarbage\n", &paths, NULL));
    for (guint c = 0; c < PV_CONTROLLER_COUNT; c++)
        assert_null(paths.path[c]);
}

static void containment_goes_by_whole_names(void **state)
{
    (void)state;
    assert_true(pv_cgroup_path_contains("/", "/a"));
    assert_true(pv_cgroup_path_contains("/", "/"));
    assert_true(pv_cgroup_path_contains("/a", "/a"));
    assert_true(pv_cgroup_path_contains("/a", "/a/b"));
    assert_false(pv_cgroup_path_contains("/a", "/ab"));
    assert_false(pv_cgroup_path_contains("/a/b", "/a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comounted_controllers_share_a_mount_point),
        cmocka_unit_test(v1_alone_has_no_pressure_and_tasks_of_pids),
        cmocka_unit_test(mount_of_the_hierarchys_root_beats_an_earlier_bind_of_a_part),
        cmocka_unit_test(v2_has_what_cgroup_controllers_lists_and_the_core),
        cmocka_unit_test(hybrid_is_resolved_controller_by_controller),
        cmocka_unit_test(escapes_in_mount_points_are_undone),
        cmocka_unit_test(malformed_mountinfo_lines_are_skipped),
        cmocka_unit_test(mount_point_that_cannot_be_opened_gives_way_to_the_next),
        cmocka_unit_test(mount_point_behind_a_symlink_is_not_followed),
        cmocka_unit_test(no_hierarchy_is_unsupported),
        cmocka_unit_test(unreadable_mountinfo_is_named),
        cmocka_unit_test(each_controller_gets_its_hierarchys_path),
        cmocka_unit_test(names_may_hold_blanks_colons_backslashes_and_dots),
        cmocka_unit_test(path_is_normalised),
        cmocka_unit_test(sibling_outside_of_the_namespace_is_resolved_by_the_mounts_root),
        cmocka_unit_test(path_beyond_the_mount_is_not_found),
        cmocka_unit_test(deleted_mark_is_v2s_alone),
        cmocka_unit_test(malformed_text_is_invalid),
        cmocka_unit_test(failure_leaves_the_paths_alone),
        cmocka_unit_test(containment_goes_by_whole_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
