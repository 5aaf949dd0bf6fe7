/* The open files of the cgroup tree: how its containers share handles and texts. */
#include "../../src/tree/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define GREEDY     7
#define TEXT_BYTES (64 * 1024)

static PvCgroupTree *new_tree(void)
{
    PvCgroupTree *tree = g_new0(PvCgroupTree, 1);

    tree->shared = g_new0(PvTreeShared, 1);
    pv_tree_handles_init(tree);
    return tree;
}

static void free_tree(PvCgroupTree *tree)
{
    pv_tree_handles_clear(tree);
    g_free(tree->shared);
    g_free(tree);
}

static int open_one(PvCgroupTree *tree, guint64 owner, guint64 *ret_handle)
{
    const PvTreeRecord record = {.owner = owner};

    return pv_tree_handle_new(tree, &record, -1, ret_handle);
}

static int give_text(PvCgroupTree *tree, guint64 number)
{
    GString *text = g_string_sized_new(TEXT_BYTES);
    int r = pv_tree_handle_set_text(tree, &tree->handles[(guint32)number - 1], text);

    if (r < 0)
        g_string_free(text, TRUE);
    return r;
}

/* The handles that greedy owners get, with texts in them. Returns how many of each kind the last
 * one has. */
static void be_greedy(PvCgroupTree *tree, guint *ret_handles, guint *ret_texts)
{
    gboolean goes_on = TRUE;
    guint64 handle;

    *ret_handles = *ret_texts = 0;
    while (goes_on) {
        goes_on = FALSE;
        for (guint64 owner = 1; owner <= GREEDY; owner++) {
            if (open_one(tree, owner, &handle) < 0)
                continue;
            goes_on = TRUE;
            *ret_handles += owner == GREEDY;
            *ret_texts += give_text(tree, handle) == 0 && owner == GREEDY;
        }
    }
}

static void test_greedy_containers_leave_handles_and_texts_for_others(void **state)
{
    PvCgroupTree *tree = new_tree();
    guint n_handles, n_texts;
    guint64 handle;

    (void)state;
    be_greedy(tree, &n_handles, &n_texts);
    assert_int_equal(n_handles, PV_TREE_HANDLES / (GREEDY + 1));
    /* Of 256 MB; a text takes somewhat more than it is long. */
    assert_in_range(n_texts, 100, (256u << 20) / TEXT_BYTES / (GREEDY + 1));
    for (guint i = 0; i < 100; i++) {
        assert_int_equal(open_one(tree, GREEDY + 1, &handle), 0);
        assert_int_equal(give_text(tree, handle), 0);
    }
    free_tree(tree);
}

static void test_what_is_closed_can_be_had_again(void **state)
{
    PvCgroupTree *tree = new_tree();
    guint64 handles[PV_TREE_HANDLES / 2], another;

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(handles); i++)
        assert_int_equal(open_one(tree, 1, &handles[i]), 0);
    assert_int_equal(open_one(tree, 1, &another), -ENFILE);
    for (guint i = 0; i < 2048; i++)
        assert_int_equal(give_text(tree, handles[i / 2]), 0); /* each in the old one's place */
    for (guint i = 0; i < G_N_ELEMENTS(handles); i++)
        pv_cgroup_tree_close(tree, handles[i]);
    assert_int_equal(tree->text_bytes, 0);
    assert_int_equal(pv_cgroup_tree_count_handles(tree), 0);
    assert_int_equal(g_hash_table_size(tree->owners), 0);
    free_tree(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_containers_leave_handles_and_texts_for_others),
        cmocka_unit_test(test_what_is_closed_can_be_had_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
