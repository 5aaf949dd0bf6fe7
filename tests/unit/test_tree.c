/* Inode numbers, and the tree that the table makes; with no container to tell, as the kernel's own.
 */
#include "../../src/fuse/node.h"
#include "../../src/fuse/tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT 1

typedef struct {
    PvHost *host;
    PvHierarchies *hierarchies;
    PvContainers *containers;
    PvViews *views;
    PvTree *tree;
} Fixture;

/* A caller that cannot be told: everything is as the host has it. */
static const PvCaller nobody = {.tid = 0, .uid = 1000};

static const PvServeOptions everything = {0};

static int set_up(void **state)
{
    const PvViewOptions options = {0};
    Fixture *f = g_new0(Fixture, 1);

    f->host = pv_host_open(NULL, NULL);
    if (f->host == NULL)
        return -1;
    f->hierarchies = pv_hierarchies_load(pv_host_procfs(f->host), pv_host_root(f->host), NULL);
    if (f->hierarchies == NULL)
        return -1;
    f->containers = pv_containers_new(f->host, f->hierarchies, NULL);
    f->views = pv_views_new(f->host, f->containers, &options);
    f->tree = pv_tree_new(f->host, f->containers, f->views, &everything, NULL);
    *state = f;
    return f->tree != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    Fixture *f = *state;

    pv_tree_free(f->tree);
    pv_views_free(f->views);
    pv_containers_free(f->containers);
    pv_hierarchies_unref(f->hierarchies);
    pv_host_free(f->host);
    g_free(f);
    return 0;
}

/* The inode of a path, by one lookup after the other, or a negative errno. */
static gint64 resolve(PvTree *tree, const PvCaller *caller, const char *path,
                      PvTreeEntry *ret_entry)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    guint64 ino = ROOT;

    for (guint i = 0; names[i] != NULL; i++) {
        int r = pv_tree_lookup(tree, caller, ino, names[i], ret_entry);
        if (r < 0)
            return r;
        ino = ret_entry->ino;
    }
    return (gint64)ino;
}

static void test_numbers_survive_the_round_trip(void **state)
{
    const PvNode nodes[] = {
        {.kind = PV_NODE_ROOT, .value = PV_NODE_ROOT_VALUE},
        {.kind = PV_NODE_ROOT, .value = PV_NODE_ROOT_VALUE, .container_id = 0x3fffff},
        {.kind = PV_NODE_DIR, .value = 0xfffffff},
        {.kind = PV_NODE_ROW, .value = 4, .container_id = 1},
        {.kind = PV_NODE_CPU, .cpu = 8191, .value = 0x1ffffff, .container_id = 0x3fffff},
        {.kind = PV_NODE_CPU, .cpu = 0, .value = 0},
        {.kind = PV_NODE_CPU_TOP, .value = 1},
        {.kind = PV_NODE_NUMA, .value = 1024 << 8 | 5},
        {.kind = PV_NODE_NUMA_CPU, .cpu = 8191, .value = 1023},
    };

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(nodes); i++) {
        PvNode node;
        assert_true(pv_node_decode(pv_node_encode(&nodes[i]), &node));
        assert_int_equal(node.kind, nodes[i].kind);
        assert_int_equal(node.container_id, nodes[i].container_id);
        assert_int_equal(node.cpu, nodes[i].cpu);
        assert_int_equal(node.value, nodes[i].value);
    }
}

static void test_numbers_of_this_release_never_change(void **state)
{
    const PvNode row = {.kind = PV_NODE_ROW, .value = 4};
    const PvNode dir = {.kind = PV_NODE_DIR, .value = pv_node_hash("proc", PV_NODE_VALUE_BITS)};
    const PvNode cpu = {.kind = PV_NODE_CPU, .cpu = 3, .value = 0};
    const PvNode container = {.kind = PV_NODE_ROW, .value = 4, .container_id = 2};

    (void)state;
    assert_int_equal(pv_node_encode(&row), 0x20000004);
    assert_int_equal(pv_node_encode(&dir), 0x1045276f);
    assert_int_equal(pv_node_encode(&cpu), 0x46000000);
    assert_int_equal(pv_node_encode(&container), 0x80020000004);
}

static void test_what_is_asked_for_by_caller_fits_32_bits(void **state)
{
    const PvNode node = {.kind = PV_NODE_CPU, .cpu = 7, .value = 0x1ffffff};

    (void)state;
    assert_true(pv_node_encode(&node) <= G_MAXUINT32);
}

static void test_numbers_that_were_never_handed_out_are_refused(void **state)
{
    PvNode node;

    (void)state;
    assert_false(pv_node_decode(0, &node));
    assert_false(pv_node_decode(2, &node));
    assert_false(pv_node_decode(0xf0000000, &node));
    assert_false(pv_node_decode(0x120000004, &node));
    assert_false(pv_node_decode(G_MAXUINT64, &node));
}

static void test_every_row_is_found_by_its_path(void **state)
{
    const Fixture *f = *state;

    for (const PvRow *row = pv_rows(); row->path != NULL; row++) {
        PvTreeEntry entry;
        PvNode node;
        gint64 ino = resolve(f->tree, &nobody, row->path, &entry);
        if (row->is_optional && !pv_row_is_on_host(row, f->host)) {
            assert_int_equal(ino, -ENOENT);
            continue;
        }
        assert_true(ino > 0);
        assert_true(pv_node_decode((guint64)ino, &node));
        assert_int_equal(node.kind, PV_NODE_ROW);
        assert_int_equal(node.value, row->number);
        assert_true(S_ISREG(entry.stat.st_mode));
        assert_int_equal(entry.stat.st_mode & 0777, row->mode);
        assert_int_equal(entry.stat.st_ino, ino);
        assert_false(entry.differs);
    }
}

static void test_proc_files_have_a_size_of_whole_pages_and_one_link(void **state)
{
    const Fixture *f = *state;
    PvTreeEntry entry;

    assert_true(resolve(f->tree, &nobody, "proc/meminfo", &entry) > 0);
    assert_true(entry.stat.st_size >= 8192);
    assert_int_equal(entry.stat.st_size % 4096, 0);
    assert_int_equal(entry.stat.st_nlink, 1);
    assert_int_equal(entry.stat.st_uid, 0);
    assert_true(entry.stat.st_blksize >= 8192);
}

static void test_name_that_is_not_served_may_be_remembered(void **state)
{
    const Fixture *f = *state;
    PvTreeEntry entry;

    assert_int_equal(resolve(f->tree, &nobody, "proc/kcore", &entry), -ENOENT);
    assert_false(entry.differs);
}

static void test_name_in_a_file_is_refused(void **state)
{
    const Fixture *f = *state;
    PvTreeEntry entry;

    assert_int_equal(resolve(f->tree, &nobody, "proc/meminfo/x", &entry), -ENOTDIR);
}

static void test_numbers_of_nothing_are_stale(void **state)
{
    const Fixture *f = *state;
    const PvNode no_row = {.kind = PV_NODE_ROW, .value = 0xffffff};
    const PvNode no_dir = {.kind = PV_NODE_DIR, .value = 12345};
    const PvNode no_cpu_file = {.kind = PV_NODE_CPU, .cpu = 0, .value = 0x123456};
    struct stat st;

    assert_int_equal(pv_tree_stat(f->tree, &nobody, pv_node_encode(&no_row), &st), -ESTALE);
    assert_int_equal(pv_tree_stat(f->tree, &nobody, pv_node_encode(&no_dir), &st), -ESTALE);
    assert_int_equal(pv_tree_stat(f->tree, &nobody, pv_node_encode(&no_cpu_file), &st), -ESTALE);
    assert_int_equal(pv_tree_stat(f->tree, &nobody, 0, &st), -ESTALE);
}

static void test_containers_are_not_for_everybody(void **state)
{
    const Fixture *f = *state;
    PvTreeEntry entry;

    assert_int_equal(resolve(f->tree, &nobody, "containers", &entry), -ENOENT);
    assert_true(entry.differs);
}

static void test_containers_are_for_root_of_the_host(void **state)
{
    const Fixture *f = *state;
    const PvCaller root = {.tid = getpid(), .uid = 0};
    PvTreeEntry entry;

    assert_true(resolve(f->tree, &root, "containers", &entry) > 0);
    assert_true(entry.differs);
    assert_int_equal(entry.stat.st_mode, S_IFDIR | 0500);
    assert_int_equal(resolve(f->tree, &root, "containers/no such container", &entry), -ENOENT);
}

static void test_cpu_names_differ_by_caller(void **state)
{
    const Fixture *f = *state;
    PvTreeEntry entry;

    assert_true(resolve(f->tree, &nobody, "sys/devices/system/cpu/cpu0", &entry) > 0);
    assert_true(entry.differs);
    assert_true(S_ISDIR(entry.stat.st_mode));
    assert_int_equal(resolve(f->tree, &nobody, "sys/devices/system/cpu/cpu8000", &entry), -ENOENT);
    assert_true(entry.differs);
}

static void test_nothing_in_sysfs_can_be_written(void **state)
{
    const Fixture *f = *state;
    PvTreeEntry entry;

    assert_true(resolve(f->tree, &nobody, "sys/devices/system/cpu/cpu0/uevent", &entry) > 0);
    assert_int_equal(entry.stat.st_mode & 0222, 0);
    assert_false(entry.differs);
}

static void test_new_server_understands_old_numbers(void **state)
{
    const Fixture *f = *state;
    g_autoptr(PvTree) other = pv_tree_new(f->host, f->containers, f->views, &everything, NULL);
    const char *path = "sys/devices/system/cpu/cpu0/topology/thread_siblings_list";
    g_autoptr(GString) text = g_string_new(NULL);
    PvTreeEntry entry;
    struct stat st;
    gint64 ino = resolve(f->tree, &nobody, path, &entry);

    assert_true(ino > 0);
    assert_int_equal(pv_tree_stat(other, &nobody, (guint64)ino, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(pv_tree_render(other, NULL, (guint64)ino, text), 0);
    assert_true(text->len > 0);
}

static void add_name(const char *name, guint64 ino, mode_t mode, gpointer data)
{
    (void)ino, (void)mode;
    g_ptr_array_add(data, g_strdup(name));
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in a directory, in order, with blanks between them. */
static char *names_in(PvTree *tree, guint64 ino)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    assert_int_equal(pv_tree_list(tree, &nobody, NULL, ino, add_name, names), 0);
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    return g_strjoinv(" ", (char **)names->pdata);
}

/* What covers each entry of proc/ with ours, as the hook of lxcfs does, may hide nothing else. */
static void test_the_set_of_lxcfs_has_no_directory_of_sysctls(void **state)
{
    const Fixture *f = *state;
    const PvServeOptions options = {.lxcfs_files = TRUE, .no_cgroup = TRUE};
    g_autoptr(PvTree) tree = pv_tree_new(f->host, f->containers, f->views, &options, NULL);
    PvTreeEntry entry;
    g_autofree char *top = names_in(tree, ROOT);
    g_autofree char *sys =
        names_in(tree, (guint64)resolve(tree, &nobody, "sys/devices/system", &entry));
    g_autofree char *proc = names_in(tree, (guint64)resolve(tree, &nobody, "proc", &entry));
    g_auto(GStrv) names = g_strsplit(proc, " ", -1);

    assert_string_equal(top, "proc sys");
    assert_string_equal(sys, "cpu");
    for (guint i = 0; names[i] != NULL; i++) {
        const char *const lxcfs[] = {"cpuinfo",  "diskstats", "loadavg", "meminfo", "pressure",
                                     "slabinfo", "stat",      "swaps",   "uptime",  NULL};
        assert_true(g_strv_contains(lxcfs, names[i]));
    }
    assert_true(g_strv_contains((const char *const *)names, "meminfo"));
    assert_int_equal(resolve(tree, &nobody, "proc/sys", &entry), -ENOENT);
    assert_true(entry.differs); /* another configuration has it, after a reload */
    assert_int_equal(resolve(tree, &nobody, "cgroup", &entry), -ENOENT);
    assert_int_equal(resolve(tree, &nobody, "sys/devices/system/node", &entry), -ENOENT);
}

static void count_name(const char *name, guint64 ino, mode_t mode, gpointer data)
{
    GHashTable *names = data;

    assert_true(ino != 0);
    assert_true(S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode));
    assert_true(g_hash_table_add(names, g_strdup(name))); /* no name twice */
}

static GHashTable *list(const Fixture *f, const char *path)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    PvTreeEntry entry;
    gint64 ino = path[0] != '\0' ? resolve(f->tree, &nobody, path, &entry) : ROOT;

    assert_true(ino > 0);
    assert_int_equal(pv_tree_list(f->tree, &nobody, NULL, (guint64)ino, count_name, names), 0);
    return names;
}

static void test_directories_list_what_can_be_looked_up(void **state)
{
    const Fixture *f = *state;
    const char *paths[] = {"", "proc", "sys/devices/system/cpu", "sys/devices/system/cpu/cpu0",
                           "sys/devices/system/cpu/cpu0/cache"};

    for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(GHashTable) names = list(f, paths[i]);
        GHashTableIter iter;
        gpointer name;

        assert_true(g_hash_table_size(names) > 0);
        g_hash_table_iter_init(&iter, names);
        while (g_hash_table_iter_next(&iter, &name, NULL)) {
            g_autofree char *path =
                paths[i][0] != '\0' ? g_build_filename(paths[i], name, NULL) : g_strdup(name);
            PvTreeEntry entry;
            assert_true(resolve(f->tree, &nobody, path, &entry) > 0);
        }
    }
}

static void test_cpu_directory_has_the_tables_rows_once(void **state)
{
    const Fixture *f = *state;
    g_autoptr(GHashTable) names = list(f, "sys/devices/system/cpu");
    PvTreeEntry entry;
    PvNode node;

    assert_true(g_hash_table_contains(names, "online"));
    assert_true(g_hash_table_contains(names, "kernel_max"));
    assert_true(resolve(f->tree, &nobody, "sys/devices/system/cpu/online", &entry) > 0);
    assert_true(pv_node_decode(entry.ino, &node));
    assert_int_equal(node.kind, PV_NODE_ROW);
}

static void test_hash_is_never_zero_and_fits(void **state)
{
    (void)state;
    for (guint i = 0; i < 100000; i++) {
        char path[32];
        guint32 hash;
        g_snprintf(path, sizeof path, "p%u", i);
        hash = pv_node_hash(path, 8);
        assert_in_range(hash, 1, 255);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_survive_the_round_trip),
        cmocka_unit_test(test_numbers_of_this_release_never_change),
        cmocka_unit_test(test_what_is_asked_for_by_caller_fits_32_bits),
        cmocka_unit_test(test_numbers_that_were_never_handed_out_are_refused),
        cmocka_unit_test(test_hash_is_never_zero_and_fits),
        cmocka_unit_test_setup_teardown(test_every_row_is_found_by_its_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_proc_files_have_a_size_of_whole_pages_and_one_link,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_name_that_is_not_served_may_be_remembered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_name_in_a_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers_of_nothing_are_stale, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_containers_are_not_for_everybody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_containers_are_for_root_of_the_host, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_cpu_names_differ_by_caller, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_in_sysfs_can_be_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_new_server_understands_old_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_set_of_lxcfs_has_no_directory_of_sysctls, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_directories_list_what_can_be_looked_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_cpu_directory_has_the_tables_rows_once, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
