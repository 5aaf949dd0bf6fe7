/*
 * Which container a thread is in, on texts and on captured trees: no root, no namespaces are
 * needed. A file stands for a namespace there; hard links to it stand for processes in it.
 */
#include "procview/container.h"

#include "../../src/container/internal.h"
#include "procview/error.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- texts ---- */

static void a_status_gives_the_parent_and_the_innermost_pid(void **state)
{
    PvTaskPids pids;

    (void)state;
    assert_true(pv_task_pids_parse("Name:\tNSpid:\nPPid:\t17\nNSpid:\t4711\t35\t1\nX:\t\n", &pids));
    assert_int_equal(pids.ppid, 17);
    assert_int_equal(pids.last_pid, 1);
    assert_int_equal(pids.levels, 3);
}

static void a_malformed_status_is_refused(void **state)
{
    PvTaskPids pids;

    (void)state;
    assert_false(pv_task_pids_parse("", &pids));
    assert_false(pv_task_pids_parse("PPid:\t1\n", &pids));
    assert_false(pv_task_pids_parse("PPid:\t1\nNSpid:\n", &pids));
    assert_false(pv_task_pids_parse("PPid:\t1\nNSpid:\t12 x\n", &pids));
    assert_false(pv_task_pids_parse("PPid:\t1\nNSpid:\t99999999999999999999\n", &pids));
}

static void a_status_tells_the_process_and_every_number(void **state)
{
    g_autoptr(GString) deep = g_string_new("NSpid:");
    PvTaskPids pids;

    (void)state;
    assert_true(pv_task_pids_parse("Tgid:\t4700\nPPid:\t17\nNSpid:\t4711\t35\n", &pids));
    assert_int_equal(pids.tgid, 4700);
    assert_int_equal(pids.pids[0], 4711);
    assert_int_equal(pids.pids[1], 35);
    for (guint i = 0; i < PV_PIDNS_LEVELS_MAX; i++)
        g_string_append(deep, "\t7");
    assert_true(pv_task_pids_parse(deep->str, &pids));
    g_string_append(deep, "\t7"); /* more than the kernel nests */
    assert_false(pv_task_pids_parse(deep->str, &pids));
}

static void time_offsets_may_be_negative_and_are_bounded(void **state)
{
    gint64 offset = 0;

    (void)state;
    assert_true(pv_identify_timens_parse("monotonic  0  0\nboottime  -5  250000000\n", &offset));
    assert_true(offset == G_GINT64_CONSTANT(-4750000000));
    assert_true(pv_identify_timens_parse("boottime           5         1\n", &offset));
    assert_true(offset == G_GINT64_CONSTANT(5000000001));
    assert_false(pv_identify_timens_parse("boottimes 5 1\n", &offset));
    assert_false(pv_identify_timens_parse("boottime 9223372036854775807 1\n", &offset));
    assert_false(pv_identify_timens_parse("boottime -9223372036854775808 1\n", &offset));
    assert_false(pv_identify_timens_parse("boottime 5 1000000000\n", &offset));
    assert_false(pv_identify_timens_parse("boottime 5\n", &offset));
    assert_false(pv_identify_timens_parse("monotonic 5 1\n", &offset));
}

static void expect_strip(const char *absolute, const char *relative, const char *expected)
{
    g_autofree char *found = pv_placement_strip(absolute, relative);

    assert_string_equal(found, expected);
}

static void the_cgroup_namespace_root_is_what_inside_cuts_off(void **state)
{
    (void)state;
    expect_strip("0::/lxc.payload.a/init.scope\n", "0::/init.scope\n", "0::/lxc.payload.a\n");
    expect_strip("4:memory:/docker/x\n3:cpu,cpuacct:/docker/x/sub\n0::/u\n",
                 "4:memory:/\n3:cpu,cpuacct:/sub\n0::/\n",
                 "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/u\n");
    expect_strip("0::/../x/y\n", "0::/y\n", "0::/../x\n");
}

/* The namespace was made by a process of the host, and its init put into a cgroup afterwards. */
static void a_cgroup_namespace_of_the_whole_hierarchy_does_not_hide_inits_cgroup(void **state)
{
    (void)state;
    expect_strip("0::/a\n", "0::/a\n", "0::/a\n");
    expect_strip("4:memory:/m/c\n3:cpu:/c\n", "4:memory:/c\n3:cpu:/c\n", "4:memory:/m\n3:cpu:/c\n");
}

static void an_init_outside_of_its_cgroup_namespace_keeps_its_own_cgroup(void **state)
{
    (void)state;
    expect_strip("0::/a/b\n", "0::/../b\n", "0::/a/b\n");
    expect_strip("0::/a/b\n", "0::/..\n", "0::/a/b\n");
    expect_strip("0::/a/b\n", "0::/other\n", "0::/a/b\n"); /* it moved meanwhile */
    expect_strip("0::/a/b\n", "5:x:/b\n", "0::/a/b\n");
    expect_strip("0::/a:b/c:d\n", "0::/c:d\n", "0::/a:b\n");
}

#define V2_MOUNT(root, point)                                                                      \
    "31 23 0:28 " root " " point " rw,relatime shared:4 - cgroup2 none rw\n"

static void expect_by_mounts(const char *absolute, const char *mounts, const char *expected)
{
    g_autofree char *found = pv_placement_strip_by_mounts(absolute, mounts);

    assert_string_equal(found, expected);
}

static void mounts_tell_the_cgroup_namespace_root_where_it_cannot_be_entered(void **state)
{
    (void)state;
    expect_by_mounts("0::/lxc/a/init.scope\n", V2_MOUNT("/lxc/a", "/sys/fs/cgroup"), "0::/lxc/a\n");
    expect_by_mounts("5:cpu,cpuacct:/d/x/y\n4:memory:/d/x/y\n",
                     "31 23 0:28 /d/x /sys/fs/cgroup/cpu,cpuacct ro - cgroup none ro,cpu,cpuacct\n",
                     "5:cpu,cpuacct:/d/x\n4:memory:/d/x/y\n");
    expect_by_mounts("0::/with blank/sub\n", V2_MOUNT("/with\\040blank", "/sys/fs/cgroup"),
                     "0::/with blank\n");
}

static void mounts_that_tell_nothing_are_passed_over(void **state)
{
    (void)state;
    expect_by_mounts("0::/lxc/a\n", V2_MOUNT("/", "/sys/fs/cgroup"), "0::/lxc/a\n");
    expect_by_mounts("0::/lxc/a\n", V2_MOUNT("/lxc/b", "/sys/fs/cgroup"), "0::/lxc/a\n");
    expect_by_mounts("0::/lxc/a\n", V2_MOUNT("/lxc", "/tmp/mine"), "0::/lxc/a\n");
    expect_by_mounts("0::/lxc/a\n", V2_MOUNT("/../..", "/sys/fs/cgroup"), "0::/lxc/a\n");
    expect_by_mounts("0::/lxc/a\n", "garbage\n\n - cgroup2\n", "0::/lxc/a\n");
}

static void expect_choice(const char *root, const char *own, const char *expected)
{
    PvCgroupPaths root_paths = {
        .path = {[PV_CONTROLLER_CPU] = (char *)"/limited", [PV_CONTROLLER_MEMORY] = (char *)root}};
    PvCgroupPaths own_paths = {
        .path = {[PV_CONTROLLER_CPU] = (char *)"/limited", [PV_CONTROLLER_MEMORY] = (char *)own}};
    g_auto(PvCgroupPaths) found = {0};

    pv_placement_choose(&root_paths, &own_paths, &found);
    assert_string_equal(found.path[PV_CONTROLLER_CPU], "/limited");
    assert_string_equal(found.path[PV_CONTROLLER_MEMORY], expected);
    assert_null(found.path[PV_CONTROLLER_IO]);
}

static void a_caller_below_init_is_in_inits_cgroup_and_one_beside_it_in_its_own(void **state)
{
    (void)state;
    expect_choice("/a", "/a/b", "/a");
    expect_choice("/a", "/a", "/a");
    expect_choice("/a", "/ab", "/ab");
    expect_choice("/a/b", "/a", "/a");
    expect_choice("/", "/a", "/");
}

static void an_init_at_the_root_of_everything_leaves_callers_to_their_own(void **state)
{
    PvCgroupPaths root = {
        .path = {[PV_CONTROLLER_CPU] = (char *)"/", [PV_CONTROLLER_IO] = (char *)"/"}};
    PvCgroupPaths own = {
        .path = {[PV_CONTROLLER_CPU] = (char *)"/x", [PV_CONTROLLER_IO] = (char *)"/"}};
    g_auto(PvCgroupPaths) found = {0};

    (void)state;
    pv_placement_choose(&root, &own, &found);
    assert_string_equal(found.path[PV_CONTROLLER_CPU], "/x");
    assert_string_equal(found.path[PV_CONTROLLER_IO], "/");
}

/* ---- the cache, with containers made up ---- */

#define HOST_INO 1

static PvPidns *fake_pidns(guint64 ino, guint64 owner_ino)
{
    PvPidns *pidns = g_new0(PvPidns, 1);

    pidns->ref_count = 1;
    pidns->ino = ino;
    pidns->owner_ino = owner_ino;
    pidns->ns_fd = pidns->init_dirfd = pidns->cgroup_fd = pidns->pidfd = -1;
    g_rw_lock_init(&pidns->lock);
    pidns->placement = g_new0(PvPlacement, 1);
    pidns->placement->ref_count = 1;
    return pidns;
}

static PvContainer *fake_container(guint64 pidns_ino, PvPidns *pidns, const char *name)
{
    PvContainer *container = pv_container_alloc();

    container->pidns_ino = pidns_ino;
    container->init_pid = 100;
    container->id = 7;
    container->priv->identity = g_strdup_printf("%" G_GUINT64_FORMAT "/%s", pidns_ino, name);
    container->priv->naming.name = g_strdup(name);
    container->priv->pidns = pidns == NULL ? NULL : pv_pidns_ref(pidns);
    return container;
}

/* Insert a new fake and return whether its text is found afterwards; the reference is dropped. */
static void insert_fake(PvCache *cache, guint64 ino, PvPidns *pidns, const char *name,
                        const char *text)
{
    g_autoptr(PvContainer) container = fake_container(ino, pidns, name);
    g_autoptr(PvContainer) cached = pv_cache_insert(cache, container, text, 0);

    assert_non_null(cached);
}

static gboolean is_found(PvCache *cache, guint64 ino, const char *text)
{
    g_autoptr(PvContainer) container = pv_cache_lookup(cache, ino, text);

    return container != NULL;
}

static guint n_cached(PvCache *cache)
{
    g_autoptr(GPtrArray) list = pv_cache_list(cache);

    return list->len;
}

static void two_texts_may_lead_to_one_container(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);

    (void)state;
    insert_fake(cache, HOST_INO, NULL, "a", "0::/a\n");
    insert_fake(cache, HOST_INO, NULL, "a", "0::/a/b\n");
    assert_int_equal(n_cached(cache), 1);
    assert_true(is_found(cache, HOST_INO, "0::/a\n"));
    assert_true(is_found(cache, HOST_INO, "0::/a/b\n"));
    assert_false(is_found(cache, 2, "0::/a\n"));
    assert_false(is_found(cache, HOST_INO, "0::/c\n"));
    pv_cache_free(cache);
}

static void a_storm_of_texts_of_one_container_leaves_the_others_alone(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    g_autoptr(PvPidns) quiet = fake_pidns(2, 2);
    g_autoptr(PvPidns) loud = fake_pidns(3, 3);

    (void)state;
    insert_fake(cache, 2, quiet, "quiet", "0::/quiet\n");
    for (int i = 0; i < 20000; i++) {
        g_autofree char *text = g_strdup_printf("0::/loud/%d\n", i);

        insert_fake(cache, 3, loud, "loud", text);
        assert_true(is_found(cache, 3, text));
    }
    assert_true(is_found(cache, 2, "0::/quiet\n"));
    assert_true(pv_cache_n_aliases(cache) <= PV_CACHE_OWNER_ALIASES_MAX + 1);
    assert_int_equal(n_cached(cache), 2);
    pv_cache_free(cache);
}

static void count_evicted(PvContainer *container, gpointer data)
{
    guint *counts = data;

    counts[container->is_host_pidns ? 1 : 0]++;
}

/* Their state files are to be cared for. */
static void those_that_had_to_make_room_are_told(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    g_autoptr(PvPidns) loud = fake_pidns(3, 3);
    guint counts[2] = {0, 0};

    (void)state;
    pv_cache_set_evicted_func(cache, count_evicted, counts);
    for (guint i = 0; i < PV_CACHE_OWNER_CONTAINERS_MAX + 5; i++) {
        g_autofree char *name = g_strdup_printf("loud-%u", i);

        insert_fake(cache, 3, loud, name, name);
    }
    assert_int_equal(counts[0] + counts[1], 5);
    pv_cache_free(cache);
    assert_int_equal(counts[0] + counts[1], 5);
}

static void when_descriptors_run_out_the_largest_owner_pays(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    g_autoptr(PvPidns) quiet = fake_pidns(2, 2);
    g_autoptr(PvPidns) loud = fake_pidns(3, 3);
    guint counts[2] = {0, 0};

    (void)state;
    pv_cache_shrink_largest(cache); /* of nothing */
    pv_cache_set_evicted_func(cache, count_evicted, counts);
    insert_fake(cache, 2, quiet, "quiet", "0::/quiet\n");
    for (guint i = 0; i < 40; i++) {
        g_autofree char *name = g_strdup_printf("loud-%u", i);

        insert_fake(cache, 3, loud, name, name);
    }
    pv_cache_shrink_largest(cache);
    assert_int_equal(n_cached(cache), 21);
    assert_int_equal(counts[0] + counts[1], 20);
    assert_true(is_found(cache, 2, "0::/quiet\n"));
    assert_true(is_found(cache, 3, "loud-39"));
    pv_cache_free(cache);
}

static void a_storm_of_nested_pid_namespaces_counts_for_the_outermost_one(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    g_autoptr(PvPidns) quiet = fake_pidns(2, 2);
    g_autoptr(GPtrArray) pidns = NULL;

    (void)state;
    insert_fake(cache, 2, quiet, "quiet", "0::/quiet\n");
    for (guint i = 0; i < 3000; i++) {
        g_autoptr(PvPidns) nested = fake_pidns(1000 + i, 3);
        g_autoptr(PvPidns) cached = pv_cache_add_pidns(cache, nested);

        assert_ptr_equal(cached, nested);
        insert_fake(cache, 1000 + i, nested, "loud", "0::/loud\n");
    }
    assert_true(is_found(cache, 2, "0::/quiet\n"));
    assert_int_equal(n_cached(cache), PV_CACHE_OWNER_CONTAINERS_MAX + 1);
    pidns = pv_cache_list_pidns(cache);
    assert_true(pidns->len <= PV_CACHE_OWNER_CONTAINERS_MAX + 1);
    pv_cache_free(cache);
}

static void all_together_are_bounded_and_what_is_used_stays(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);

    (void)state;
    for (guint i = 0; i < 3000; i++) {
        g_autoptr(PvPidns) pidns = fake_pidns(1000 + i, 1000 + i);

        insert_fake(cache, 1000 + i, pidns, "c", "0::/c\n");
        assert_true(is_found(cache, 1000, "0::/c\n"));
    }
    assert_int_equal(n_cached(cache), PV_CACHE_CONTAINERS_MAX);
    pv_cache_free(cache);
}

static void names_and_ids_of_cached_containers_are_unique(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) ids = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) list = NULL;

    (void)state;
    for (guint i = 0; i < 5; i++) {
        g_autoptr(PvPidns) pidns = fake_pidns(1000 + i, 1000 + i);

        insert_fake(cache, 1000 + i, pidns, "same", "0::/c\n");
    }
    list = pv_cache_list(cache);
    for (guint i = 0; i < list->len; i++) {
        PvContainer *container = g_ptr_array_index(list, i);

        assert_true(g_hash_table_add(names, container->name));
        assert_true(g_hash_table_add(ids, GUINT_TO_POINTER(container->id)));
        assert_int_not_equal(container->id, 0);
    }
    assert_true(g_hash_table_contains(names, "same"));
    assert_true(g_hash_table_contains(names, "same-100"));
    pv_cache_free(cache);
}

static void a_text_longer_than_is_kept_is_still_told_from_others(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    g_autofree char *first = g_strnfill(60000, 'a');
    g_autofree char *second = g_strdup(first);

    (void)state;
    second[59999] = 'b';
    insert_fake(cache, HOST_INO, NULL, "a", first);
    assert_true(is_found(cache, HOST_INO, first));
    assert_false(is_found(cache, HOST_INO, second));
    pv_cache_free(cache);
}

static void a_text_resolved_before_init_moved_is_not_remembered(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    g_autoptr(PvPidns) pidns = fake_pidns(2, 2);

    (void)state;
    pidns->placement->generation = 1;
    insert_fake(cache, 2, pidns, "a", "0::/a\n"); /* of generation 0 */
    assert_false(is_found(cache, 2, "0::/a\n"));
    assert_int_equal(n_cached(cache), 1);
    pv_cache_free(cache);
}

static void a_removed_container_goes_with_all_its_texts(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    g_autoptr(PvContainer) container = NULL;

    (void)state;
    insert_fake(cache, HOST_INO, NULL, "a", "0::/a\n");
    insert_fake(cache, HOST_INO, NULL, "a", "0::/a/b\n");
    container = pv_cache_lookup(cache, HOST_INO, "0::/a\n");
    assert_true(pv_cache_remove(cache, container));
    assert_false(pv_cache_remove(cache, container));
    assert_false(is_found(cache, HOST_INO, "0::/a/b\n"));
    assert_int_equal(pv_cache_n_aliases(cache), 0);
    assert_string_equal(container->name, "a"); /* the holder of a reference can go on with it */
    pv_cache_free(cache);
}

static gpointer churn(gpointer data)
{
    PvCache *cache = data;

    for (guint i = 0; i < 3000; i++) {
        guint64 ino = 2 + i % 7;
        g_autofree char *text = g_strdup_printf("0::/c%u/%u\n", i % 5, i % 300);
        g_autofree char *name = g_strdup_printf("c%u", i % 5);
        g_autoptr(PvContainer) found = pv_cache_lookup(cache, ino, text);

        if (found != NULL && i % 11 == 0) {
            pv_cache_remove(cache, found);
        } else if (found == NULL) {
            g_autoptr(PvPidns) made = fake_pidns(ino, ino);
            g_autoptr(PvPidns) pidns = pv_cache_add_pidns(cache, made);

            insert_fake(cache, ino, pidns, name, text);
        }
        if (i % 100 == 0)
            assert_true(n_cached(cache) <= PV_CACHE_CONTAINERS_MAX);
    }
    return NULL;
}

static void four_threads_may_use_the_cache_at_once(void **state)
{
    PvCache *cache = pv_cache_new(HOST_INO);
    GThread *threads[4];

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("churn", churn, cache);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    assert_true(n_cached(cache) > 0);
    pv_cache_free(cache);
}

/* ---- captured trees ---- */

typedef struct {
    char *root;
    PvHost *host;
    PvHierarchies *hierarchies;
    PvContainers *containers;
} Tree;

static void put(const Tree *tree, const char *path, const char *text)
{
    g_autofree char *full = g_build_filename(tree->root, path, NULL);
    g_autofree char *dir = g_path_get_dirname(full);

    assert_int_equal(g_mkdir_with_parents(dir, 0755), 0);
    assert_true(g_file_set_contents(full, text, -1, NULL));
}

static void put_cgroup(const Tree *tree, const char *path)
{
    static const char *const files[] = {"cgroup.procs", "cgroup.threads", "cgroup.controllers"};

    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *file = g_strdup_printf("sys/fs/cgroup%s/%s", path, files[i]);

        put(tree, file, i == 2 ? "cpu memory pids\n" : "");
    }
}

/* A process. pidns: the letter of its pid namespace; nspid: its numbers. */
static void put_process(const Tree *tree, const char *pid, const char *pidns, const char *ppid,
                        const char *nspid, const char *cgroup)
{
    g_autofree char *ns = g_strdup_printf("%s/proc/%s/ns/pid", tree->root, pid);
    g_autofree char *ns_dir = g_path_get_dirname(ns);
    g_autofree char *inode = g_strdup_printf("%s/namespaces/%s", tree->root, pidns);
    g_autofree char *inode_path = g_strdup_printf("namespaces/%s", pidns);
    g_autofree char *status = g_strdup_printf("Name:\tx\nPPid:\t%s\nNSpid:\t%s\n", ppid, nspid);
    g_autofree char *stat =
        g_strdup_printf("%s (x) S %s 1 1 0 -1 0 0 0 0 0 10 20 0 0 20 0 1 0 5%s 0 0 0 0 0 0 0 0 0 0 "
                        "0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
                        pid, ppid, pid);
    g_autofree char *paths[3] = {g_strdup_printf("proc/%s/status", pid),
                                 g_strdup_printf("proc/%s/stat", pid),
                                 g_strdup_printf("proc/%s/cgroup", pid)};

    assert_int_equal(g_mkdir_with_parents(ns_dir, 0755), 0);
    if (!g_file_test(inode, G_FILE_TEST_EXISTS))
        put(tree, inode_path, pidns);
    assert_int_equal(link(inode, ns), 0);
    put(tree, paths[0], status);
    put(tree, paths[1], stat);
    put(tree, paths[2], cgroup);
    for (guint i = 0; i < 3; i++)
        g_free(paths[i]);
    paths[0] = NULL;
}

static int tree_setup(void **state)
{
    Tree *tree = g_new0(Tree, 1);

    tree->root = g_dir_make_tmp("pv-container-XXXXXX", NULL);
    put_process(tree, "self", "host", "1", "900", "0::/\n");
    put(tree, "proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n");
    put(tree, "sys/devices/system/cpu/possible", "0-3\n");
    put(tree, "sys/devices/system/cpu/online", "0-3\n");
    put(tree, "proc/uptime", "1000.00 1.00\n");
    put_cgroup(tree, "");
    put_cgroup(tree, "/docker");
    put_cgroup(tree, "/docker/a");
    put_cgroup(tree, "/docker/a/sub");
    put_cgroup(tree, "/docker/b");
    put_cgroup(tree, "/web.service");

    put_process(tree, "1", "host", "0", "1", "0::/\n");
    put_process(tree, "50", "host", "1", "50", "0::/web.service\n");
    put_process(tree, "100", "A", "50", "100\t1", "0::/docker/a\n"); /* init of A */
    put_process(tree, "101", "A", "100", "101\t2", "0::/docker/a/sub\n");
    put_process(tree, "102", "A", "101", "102\t3", "0::/docker/a\n");
    put_process(tree, "103", "A", "50", "103\t4", "0::/docker/a\n");  /* entered by setns */
    put_process(tree, "104", "A", "100", "104\t5", "0::/docker/b\n"); /* of another in the pod */
    put_process(tree, "110", "B", "100", "110\t9\t1", "0::/docker/a/sub\n"); /* init, nested in A */
    put_process(tree, "111", "B", "110", "111\t10\t2", "0::/docker/a/sub\n");

    tree->host = pv_host_open(tree->root, NULL);
    assert_non_null(tree->host);
    tree->hierarchies =
        pv_hierarchies_load(pv_host_procfs(tree->host), pv_host_root(tree->host), NULL);
    assert_non_null(tree->hierarchies);
    tree->containers = pv_containers_new(tree->host, tree->hierarchies, NULL);
    *state = tree;
    return 0;
}

static void remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        if (g_file_test(child, G_FILE_TEST_IS_DIR))
            remove_tree(child);
        else
            g_unlink(child);
    }
    g_rmdir(path);
}

static int tree_teardown(void **state)
{
    Tree *tree = *state;

    pv_containers_free(tree->containers);
    pv_hierarchies_unref(tree->hierarchies);
    pv_host_free(tree->host);
    remove_tree(tree->root);
    g_free(tree->root);
    g_free(tree);
    return 0;
}

static PvContainer *find(const Tree *tree, pid_t tid)
{
    g_autoptr(GError) error = NULL;
    PvContainer *container = pv_containers_find(tree->containers, tid, &error);

    if (container == NULL)
        fail_msg("%s", error->message);
    return container;
}

static void expect_error(const Tree *tree, pid_t tid, PvError code)
{
    g_autoptr(GError) error = NULL;

    assert_null(pv_containers_find(tree->containers, tid, &error));
    assert_true(g_error_matches(error, PV_ERROR, (gint)code));
}

static void expect_cgroup(const Tree *tree, pid_t tid, pid_t init_pid, const char *path)
{
    g_autoptr(PvContainer) container = find(tree, tid);

    assert_int_equal(container->init_pid, init_pid);
    assert_string_equal(pv_cgroup_path(container->cgroup, PV_CONTROLLER_MEMORY), path);
}

static void a_child_of_init_is_in_inits_container(void **state)
{
    g_autoptr(PvContainer) init = find(*state, 100);
    g_autoptr(PvContainer) child = find(*state, 101);
    g_autoptr(PvContainer) again = find(*state, 101);

    assert_ptr_equal(init, child);
    assert_ptr_equal(again, child);
    expect_cgroup(*state, 102, 100, "/docker/a");
    assert_false(init->is_host_pidns);
    assert_true(init->init_start_nsec == G_GUINT64_CONSTANT(5100) * 10000000);
    assert_string_equal(init->name, "a");
}

/* They stand before the pids in init's status. */
static void an_init_of_thousands_of_groups_is_found(void **state)
{
    const Tree *tree = *state;
    g_autoptr(GString) status = g_string_new("Name:\tx\nPPid:\t1\nGroups:\t");

    for (guint i = 0; i < 65536; i++)
        g_string_append_printf(status, "%u ", 4294900000u + i);
    g_string_append(status, "\nNSpid:\t100\t1\n");
    put(tree, "proc/100/status", status->str);
    expect_cgroup(tree, 101, 100, "/docker/a");
}

static void a_process_that_entered_by_setns_is_in_the_container(void **state)
{
    expect_cgroup(*state, 103, 100, "/docker/a");
}

static void pods_that_share_a_pid_namespace_are_two_containers(void **state)
{
    g_autoptr(PvContainer) pod = find(*state, 104);
    g_autoptr(PvContainer) init = find(*state, 100);

    assert_ptr_not_equal(pod, init);
    assert_string_equal(pv_cgroup_path(pod->cgroup, PV_CONTROLLER_MEMORY), "/docker/b");
    assert_int_equal(pod->init_pid, 100);
    assert_string_not_equal(pod->name, init->name);
    assert_int_not_equal(pod->id, init->id);
}

static void nested_pid_namespaces_are_told_apart_and_named_with_their_pid(void **state)
{
    g_autoptr(PvContainer) nested = find(*state, 111);

    assert_int_equal(nested->init_pid, 110);
    assert_string_equal(pv_cgroup_path(nested->cgroup, PV_CONTROLLER_MEMORY), "/docker/a/sub");
    assert_string_equal(nested->name, "sub-110");
}

static void in_the_hosts_pid_namespace_a_caller_is_in_its_own_cgroup(void **state)
{
    Tree *tree = *state;
    g_autoptr(PvContainer) service = find(tree, 50);
    g_autoptr(PvContainer) host = find(tree, 1);

    assert_true(service->is_host_pidns);
    assert_false(pv_container_is_host(service));
    assert_string_equal(pv_cgroup_path(service->cgroup, PV_CONTROLLER_MEMORY), "/web.service");
    assert_string_equal(service->name, "web");
    assert_string_equal(service->manager, "systemd");
    assert_int_equal(service->init_pid, 1);
    assert_true(pv_container_is_host(host));
    assert_string_equal(host->name, "host");
    assert_true(pv_container_uptime_nsec(service, tree->host) == G_GUINT64_CONSTANT(1000000000000));
}

static void uptime_is_the_time_since_inits_start_or_that_of_its_time_namespace(void **state)
{
    Tree *tree = *state;
    PvContainer container = {.init_start_nsec = G_GUINT64_CONSTANT(990000000000)};

    assert_true(pv_container_uptime_nsec(&container, tree->host) ==
                G_GUINT64_CONSTANT(10000000000));
    container.init_start_nsec = G_GUINT64_CONSTANT(2000000000000);
    assert_true(pv_container_uptime_nsec(&container, tree->host) == 0);
    container.has_time_offset = TRUE;
    container.time_offset_nsec = G_GINT64_CONSTANT(-999000000000);
    assert_true(pv_container_uptime_nsec(&container, tree->host) == 1000000000);
    container.time_offset_nsec = G_MININT64;
    assert_true(pv_container_uptime_nsec(&container, tree->host) == 0);
    container.time_offset_nsec = 1000000000;
    assert_true(pv_container_uptime_nsec(&container, tree->host) ==
                G_GUINT64_CONSTANT(1001000000000));
}

static void a_caller_that_cannot_be_seen_is_not_found(void **state)
{
    expect_error(*state, 0, PV_ERROR_NOT_FOUND);
    expect_error(*state, -1, PV_ERROR_NOT_FOUND);
    expect_error(*state, 12345, PV_ERROR_NOT_FOUND);
}

static void malformed_cgroup_texts_are_an_error(void **state)
{
    Tree *tree = *state;

    put(tree, "proc/101/cgroup", "garbage\n");
    expect_error(tree, 101, PV_ERROR_INVALID);
    put(tree, "proc/101/cgroup", "");
    expect_error(tree, 101, PV_ERROR_INVALID);
}

static void a_namespace_without_a_visible_init_is_gone(void **state)
{
    Tree *tree = *state;
    g_autoptr(GPtrArray) pidns = NULL;

    put(tree, "proc/100/status", "Name:\tx\nPPid:\t1\nNSpid:\t100\t77\n");
    expect_error(tree, 101, PV_ERROR_GONE);
    pidns = pv_cache_list_pidns(tree->containers->cache);
    assert_int_equal(pidns->len, 0);
}

static void an_init_that_moves_takes_the_container_with_it(void **state)
{
    Tree *tree = *state;
    g_autoptr(PvContainer) before = find(tree, 101);
    g_autoptr(PvContainer) after = NULL;
    g_autoptr(GPtrArray) list = NULL;
    g_autofree char *path = g_build_filename(tree->root, "proc/100/cgroup", NULL);
    FILE *file = g_fopen(path, "r+"); /* in place: the reader holds it open */

    put_cgroup(tree, "/docker/a/sub");
    put(tree, "proc/101/cgroup", "0::/docker/a/sub\n");
    assert_non_null(file);
    assert_true(fputs("0::/docker/a/sub\n", file) >= 0);
    assert_int_equal(fclose(file), 0);

    g_usleep(210 * 1000);
    after = find(tree, 101);
    assert_ptr_not_equal(before, after);
    assert_string_equal(pv_cgroup_path(after->cgroup, PV_CONTROLLER_MEMORY), "/docker/a/sub");
    list = pv_containers_list(tree->containers);
    assert_int_equal(list->len, 1);
}

static void an_ended_init_is_dropped_and_its_number_may_be_reused(void **state)
{
    Tree *tree = *state;
    g_autoptr(PvContainer) before = find(tree, 101);
    g_autoptr(PvContainer) after = NULL;
    g_autoptr(GPtrArray) list = NULL;
    g_autofree char *dir = g_build_filename(tree->root, "proc/100", NULL);

    pv_containers_collect_garbage(tree->containers);
    list = pv_containers_list(tree->containers);
    assert_int_equal(list->len, 1);
    g_clear_pointer(&list, g_ptr_array_unref);

    remove_tree(dir);
    pv_containers_collect_garbage(tree->containers);
    list = pv_containers_list(tree->containers);
    assert_int_equal(list->len, 0);

    put_process(tree, "100", "C", "50", "100\t1", "0::/docker/b\n");
    after = find(tree, 100);
    assert_true(after->pidns_ino != before->pidns_ino);
    assert_string_equal(pv_cgroup_path(after->cgroup, PV_CONTROLLER_MEMORY), "/docker/b");
}

static void a_dropped_container_is_made_anew(void **state)
{
    Tree *tree = *state;
    g_autoptr(PvContainer) before = find(tree, 101);
    g_autoptr(PvContainer) after = NULL;

    pv_containers_drop(tree->containers, before);
    after = find(tree, 101);
    assert_ptr_not_equal(before, after);
    assert_int_equal(before->id, after->id);
    assert_string_equal(before->name, after->name);
}

static void a_scan_finds_the_init_of_every_namespace_but_our_own(void **state)
{
    Tree *tree = *state;
    g_autoptr(GPtrArray) found = pv_containers_scan(tree->containers);

    assert_int_equal(found->len, 2);
    assert_int_equal(((PvContainer *)g_ptr_array_index(found, 0))->init_pid, 100);
    assert_int_equal(((PvContainer *)g_ptr_array_index(found, 1))->init_pid, 110);
}

#define ID_A "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
#define ID_B "abcd00000123456789abcdef0123456789abcdef0123456789abcdef01234567"

static void put_docker_pair(const Tree *tree)
{
    put_cgroup(tree, "/docker/" ID_A);
    put_cgroup(tree, "/docker/" ID_B);
    put_process(tree, "200", "D", "1", "200\t1", "0::/docker/" ID_A "\n");
    put_process(tree, "201", "E", "1", "201\t1", "0::/docker/" ID_B "\n");
    /* Nested in 201, in a cgroup that imitates 200's id. */
    put_cgroup(tree, "/docker/" ID_B "/docker");
    put_cgroup(tree, "/docker/" ID_B "/docker/" ID_A);
    put_process(tree, "202", "F", "201", "202\t5\t1", "0::/docker/" ID_B "/docker/" ID_A "\n");
}

static pid_t init_by_name(const Tree *tree, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PvContainer) found = pv_containers_find_by_name(tree->containers, name, &error);

    return found != NULL ? found->init_pid : -(pid_t)error->code;
}

static void containers_are_found_by_name_id_and_unique_prefix(void **state)
{
    Tree *tree = *state;

    put_docker_pair(tree);
    assert_int_equal(init_by_name(tree, "a"), 100);
    assert_int_equal(init_by_name(tree, "abcdef012345"), 200);
    assert_int_equal(init_by_name(tree, ID_A), 200);
    assert_int_equal(init_by_name(tree, "abcdef"), 200);
    assert_int_equal(init_by_name(tree, "abcd0"), 201);
    assert_int_equal(init_by_name(tree, "abc"), -PV_ERROR_NOT_FOUND); /* too short */
    assert_int_equal(init_by_name(tree, ""), -PV_ERROR_NOT_FOUND);
    assert_int_equal(init_by_name(tree, "nobody"), -PV_ERROR_NOT_FOUND);
}

static void an_ambiguous_prefix_names_those_that_fit(void **state)
{
    Tree *tree = *state;
    g_autoptr(GError) error = NULL;

    put_docker_pair(tree);
    assert_null(pv_containers_find_by_name(tree->containers, "abcd", &error));
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_AMBIGUOUS));
    assert_non_null(strstr(error->message, "abcdef012345"));
    assert_non_null(strstr(error->message, "abcd00000123"));
}

static void state_files_belong_to_one_incarnation_and_go_with_it(void **state)
{
    Tree *tree = *state;
    g_autofree char *dir = g_build_filename(tree->root, "run", "account", NULL);
    g_autofree char *stale = g_build_filename(dir, "12345-0000", NULL);
    PvContainers *containers = pv_containers_new(tree->host, tree->hierarchies, dir);
    g_autoptr(PvContainer) container = pv_containers_find(containers, 101, NULL);
    g_autofree char *file = g_build_filename(dir, container->priv->state_name, NULL);
    g_autofree char *init_dir = g_build_filename(tree->root, "proc/100", NULL);

    assert_true(g_file_set_contents(stale, "x", -1, NULL));
    assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
    pv_containers_collect_garbage(containers);
    assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
    assert_false(g_file_test(stale, G_FILE_TEST_EXISTS));
    remove_tree(init_dir);
    pv_containers_collect_garbage(containers);
    assert_false(g_file_test(file, G_FILE_TEST_EXISTS));
    pv_containers_free(containers);
}

static void a_reader_makes_no_state_files(void **state)
{
    Tree *tree = *state;
    g_autofree char *dir = g_build_filename(tree->root, "run", "account", NULL);
    PvContainers *containers;
    g_autoptr(PvContainer) container = NULL;

    containers = pv_containers_new_read_only(tree->host, tree->hierarchies, dir);
    assert_false(g_file_test(dir, G_FILE_TEST_EXISTS));
    pv_containers_free(containers);

    assert_int_equal(g_mkdir_with_parents(dir, 0700), 0);
    containers = pv_containers_new_read_only(tree->host, tree->hierarchies, dir);
    container = pv_containers_find(containers, 101, NULL);
    assert_non_null(container);
    pv_containers_collect_garbage(containers);
    assert_int_equal(g_rmdir(dir), 0); /* empty */
    pv_containers_free(containers);
}

#define tree_test(name) cmocka_unit_test_setup_teardown(name, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_gives_the_parent_and_the_innermost_pid),
        cmocka_unit_test(a_malformed_status_is_refused),
        cmocka_unit_test(a_status_tells_the_process_and_every_number),
        cmocka_unit_test(time_offsets_may_be_negative_and_are_bounded),
        cmocka_unit_test(the_cgroup_namespace_root_is_what_inside_cuts_off),
        cmocka_unit_test(a_cgroup_namespace_of_the_whole_hierarchy_does_not_hide_inits_cgroup),
        cmocka_unit_test(an_init_outside_of_its_cgroup_namespace_keeps_its_own_cgroup),
        cmocka_unit_test(mounts_tell_the_cgroup_namespace_root_where_it_cannot_be_entered),
        cmocka_unit_test(mounts_that_tell_nothing_are_passed_over),
        cmocka_unit_test(a_caller_below_init_is_in_inits_cgroup_and_one_beside_it_in_its_own),
        cmocka_unit_test(an_init_at_the_root_of_everything_leaves_callers_to_their_own),
        cmocka_unit_test(two_texts_may_lead_to_one_container),
        cmocka_unit_test(a_storm_of_texts_of_one_container_leaves_the_others_alone),
        cmocka_unit_test(those_that_had_to_make_room_are_told),
        cmocka_unit_test(when_descriptors_run_out_the_largest_owner_pays),
        cmocka_unit_test(a_storm_of_nested_pid_namespaces_counts_for_the_outermost_one),
        cmocka_unit_test(all_together_are_bounded_and_what_is_used_stays),
        cmocka_unit_test(names_and_ids_of_cached_containers_are_unique),
        cmocka_unit_test(a_text_longer_than_is_kept_is_still_told_from_others),
        cmocka_unit_test(a_text_resolved_before_init_moved_is_not_remembered),
        cmocka_unit_test(a_removed_container_goes_with_all_its_texts),
        cmocka_unit_test(four_threads_may_use_the_cache_at_once),
        tree_test(a_child_of_init_is_in_inits_container),
        tree_test(an_init_of_thousands_of_groups_is_found),
        tree_test(a_process_that_entered_by_setns_is_in_the_container),
        tree_test(pods_that_share_a_pid_namespace_are_two_containers),
        tree_test(nested_pid_namespaces_are_told_apart_and_named_with_their_pid),
        tree_test(in_the_hosts_pid_namespace_a_caller_is_in_its_own_cgroup),
        tree_test(uptime_is_the_time_since_inits_start_or_that_of_its_time_namespace),
        tree_test(a_caller_that_cannot_be_seen_is_not_found),
        tree_test(malformed_cgroup_texts_are_an_error),
        tree_test(a_namespace_without_a_visible_init_is_gone),
        tree_test(an_init_that_moves_takes_the_container_with_it),
        tree_test(an_ended_init_is_dropped_and_its_number_may_be_reused),
        tree_test(a_dropped_container_is_made_anew),
        tree_test(a_scan_finds_the_init_of_every_namespace_but_our_own),
        tree_test(containers_are_found_by_name_id_and_unique_prefix),
        tree_test(an_ambiguous_prefix_names_those_that_fit),
        tree_test(state_files_belong_to_one_incarnation_and_go_with_it),
        tree_test(a_reader_makes_no_state_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
