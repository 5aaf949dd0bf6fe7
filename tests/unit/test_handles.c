/* The table of open handles: what is handed out, bounded, shared fairly, and not mixed up. */
#include "../../src/fuse/handles.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static GBytes *text_of(gsize size)
{
    return g_bytes_new_take(g_malloc0(size), size);
}

static void test_handle_gives_back_what_was_published(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(8, 1024);
    g_autoptr(GBytes) text = g_bytes_new("hello", 5);
    g_autoptr(GBytes) got = NULL;
    PvContainer *container = NULL;
    guint64 handle;

    (void)state;
    assert_int_equal(pv_handles_open(handles, 42, NULL, &handle), 0);
    assert_int_equal(pv_handles_get(handles, handle, 42, &container, &got), 0);
    assert_null(got);
    assert_int_equal(pv_handles_publish(handles, handle, text), 0);
    assert_int_equal(pv_handles_get(handles, handle, 42, &container, &got), 0);
    assert_ptr_equal(got, text);
    assert_null(container);
}

static void test_handle_answers_for_its_own_inode_only(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(8, 1024);
    g_autoptr(GBytes) got = NULL;
    PvContainer *container = NULL;
    guint64 handle;

    (void)state;
    assert_int_equal(pv_handles_open(handles, 42, NULL, &handle), 0);
    assert_int_equal(pv_handles_get(handles, handle, 43, &container, &got), -ENOENT);
}

static void test_closed_handle_is_not_known(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(1, 1024);
    g_autoptr(GBytes) text = text_of(8);
    g_autoptr(GBytes) got = NULL;
    PvContainer *container = NULL;
    guint64 handle, next;

    (void)state;
    assert_int_equal(pv_handles_open(handles, 42, NULL, &handle), 0);
    pv_handles_close(handles, handle);
    assert_int_equal(pv_handles_count(handles), 0);
    assert_int_equal(pv_handles_open(handles, 42, NULL, &next), 0);
    assert_int_not_equal(handle, next);
    assert_int_equal(pv_handles_get(handles, handle, 42, &container, &got), -ENOENT);
    assert_int_equal(pv_handles_publish(handles, handle, text), -ENOENT);
    pv_handles_close(handles, handle); /* twice: nothing happens */
    assert_int_equal(pv_handles_count(handles), 1);
}

static void test_made_up_handles_are_not_known(void **state)
{
    const guint64 made_up[] = {0, 1, 9, G_MAXUINT32, G_MAXUINT64, (guint64)1 << 32};
    g_autoptr(PvHandles) handles = pv_handles_new(8, 1024);
    PvContainer *container = NULL;
    GBytes *text = NULL;

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(made_up); i++)
        assert_int_equal(pv_handles_get(handles, made_up[i], 0, &container, &text), -ENOENT);
}

static void test_one_container_cannot_take_all_handles(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(16, 1024);
    PvContainer greedy = {.owner_ino = 1, .ref_count = 1}, other = {.owner_ino = 2, .ref_count = 1};
    guint64 handle[5];

    (void)state;
    for (guint i = 0; i < 4; i++)
        assert_int_equal(pv_handles_open(handles, 1, &greedy, &handle[i]), 0);
    assert_int_equal(pv_handles_open(handles, 1, &greedy, &handle[4]), -ENFILE);
    assert_int_equal(pv_handles_open(handles, 1, &other, &handle[4]), 0);
    pv_handles_close(handles, handle[0]);
    assert_int_equal(pv_handles_open(handles, 1, &greedy, &handle[0]), 0);
    for (guint i = 0; i < 5; i++)
        pv_handles_close(handles, handle[i]);
    assert_int_equal(greedy.ref_count, 1);
    assert_int_equal(other.ref_count, 1);
}

static void test_one_container_cannot_take_all_memory(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(16, 4000);
    g_autoptr(GBytes) small = text_of(600);
    g_autoptr(GBytes) large = text_of(1001);
    g_autoptr(GBytes) whole = text_of(1000);
    PvContainer other = {.owner_ino = 2, .ref_count = 1};
    guint64 first, second, third;

    (void)state;
    assert_int_equal(pv_handles_open(handles, 1, NULL, &first), 0);
    assert_int_equal(pv_handles_open(handles, 1, NULL, &second), 0);
    assert_int_equal(pv_handles_open(handles, 1, &other, &third), 0);
    assert_int_equal(pv_handles_publish(handles, first, large), -ENOMEM);
    assert_int_equal(pv_handles_publish(handles, first, small), 0);
    assert_int_equal(pv_handles_publish(handles, second, small), -ENOMEM);
    assert_int_equal(pv_handles_publish(handles, third, small), 0);
    assert_int_equal(pv_handles_publish(handles, first, whole), 0); /* in the old one's place */
    pv_handles_close(handles, first);
    assert_int_equal(pv_handles_publish(handles, second, whole), 0);
    pv_handles_close(handles, third);
}

static void test_nested_containers_share_what_their_owner_may_have(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(16, 4000);
    g_autoptr(GBytes) text = text_of(600);
    PvContainer nested[5];
    PvContainer other = {.owner_ino = 2, .ref_count = 1};
    guint64 handle[5], last;

    (void)state;
    for (guint i = 0; i < 5; i++)
        nested[i] = (PvContainer){.pidns_ino = 10 + i, .owner_ino = 1, .ref_count = 1};
    for (guint i = 0; i < 4; i++)
        assert_int_equal(pv_handles_open(handles, 1, &nested[i], &handle[i]), 0);
    assert_int_equal(pv_handles_open(handles, 1, &nested[4], &handle[4]), -ENFILE);
    assert_int_equal(pv_handles_publish(handles, handle[0], text), 0);
    assert_int_equal(pv_handles_publish(handles, handle[1], text), -ENOMEM);
    assert_int_equal(pv_handles_open(handles, 1, &other, &last), 0);
    assert_int_equal(pv_handles_publish(handles, last, text), 0);
    pv_handles_close(handles, handle[0]);
    assert_int_equal(pv_handles_open(handles, 1, &nested[4], &handle[0]), 0);
    assert_int_equal(pv_handles_publish(handles, handle[1], text), 0);
    for (guint i = 0; i < 4; i++)
        pv_handles_close(handles, handle[i]);
    pv_handles_close(handles, last);
    for (guint i = 0; i < 5; i++)
        assert_int_equal(nested[i].ref_count, 1);
}

/* Each keeps descriptors open, whoever has the handle. */
static void test_handles_keep_few_containers_of_an_owner(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(64 * 8, 4000);
    PvContainer nested[9];
    guint64 handle[9], second;

    (void)state;
    for (guint i = 0; i < 9; i++)
        nested[i] = (PvContainer){.pidns_ino = 10 + i, .owner_ino = 1, .ref_count = 1};
    for (guint i = 0; i < 8; i++)
        assert_int_equal(pv_handles_open(handles, 1, &nested[i], &handle[i]), 0);
    assert_int_equal(pv_handles_open(handles, 1, &nested[8], &handle[8]), -ENFILE);
    assert_int_equal(pv_handles_open(handles, 1, &nested[7], &second), 0);
    pv_handles_close(handles, second);
    pv_handles_close(handles, handle[0]);
    assert_int_equal(pv_handles_open(handles, 1, &nested[8], &handle[0]), 0);
    for (guint i = 0; i < 8; i++)
        pv_handles_close(handles, handle[i]);
    assert_int_equal(pv_handles_count(handles), 0);
}

static void test_containers_of_the_host_share_half_of_all(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(16, 4000);
    PvContainer service = {.owner_ino = 1, .is_host_pidns = TRUE, .ref_count = 1};
    PvContainer other = {.owner_ino = 1, .is_host_pidns = TRUE, .ref_count = 1};
    PvContainer third = {.owner_ino = 1, .is_host_pidns = TRUE, .ref_count = 1};
    guint64 handle[8], last;

    (void)state;
    for (guint i = 0; i < 4; i++)
        assert_int_equal(pv_handles_open(handles, 1, &service, &handle[i]), 0);
    assert_int_equal(pv_handles_open(handles, 1, &service, &last), -ENFILE);
    for (guint i = 4; i < 8; i++)
        assert_int_equal(pv_handles_open(handles, 1, &other, &handle[i]), 0);
    assert_int_equal(pv_handles_open(handles, 1, &third, &last), -ENFILE);
    for (guint i = 0; i < 8; i++)
        pv_handles_close(handles, handle[i]);
    assert_int_equal(third.ref_count, 1);
}

static void test_full_table_refuses_and_recovers(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(4, 1024);
    PvContainer containers[5] = {{.owner_ino = 1, .ref_count = 1},
                                 {.owner_ino = 2, .ref_count = 1},
                                 {.owner_ino = 3, .ref_count = 1},
                                 {.owner_ino = 4, .ref_count = 1},
                                 {.owner_ino = 5, .ref_count = 1}};
    guint64 handle[5];

    (void)state;
    for (guint round = 0; round < 3; round++) {
        for (guint i = 0; i < 4; i++)
            assert_int_equal(pv_handles_open(handles, 1, &containers[i], &handle[i]), 0);
        assert_int_equal(pv_handles_open(handles, 1, &containers[4], &handle[4]), -ENFILE);
        for (guint i = 0; i < 4; i++)
            pv_handles_close(handles, handle[i]);
    }
    assert_int_equal(pv_handles_count(handles), 0);
}

static void test_text_outlives_its_handle(void **state)
{
    g_autoptr(PvHandles) handles = pv_handles_new(4, 1024);
    g_autoptr(GBytes) got = NULL;
    PvContainer *container = NULL;
    guint64 handle;
    GBytes *text = g_bytes_new("hello", 5);

    (void)state;
    assert_int_equal(pv_handles_open(handles, 1, NULL, &handle), 0);
    assert_int_equal(pv_handles_publish(handles, handle, text), 0);
    g_bytes_unref(text);
    assert_int_equal(pv_handles_get(handles, handle, 1, &container, &got), 0);
    pv_handles_close(handles, handle);
    assert_memory_equal(g_bytes_get_data(got, NULL), "hello", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle_gives_back_what_was_published),
        cmocka_unit_test(test_handle_answers_for_its_own_inode_only),
        cmocka_unit_test(test_closed_handle_is_not_known),
        cmocka_unit_test(test_made_up_handles_are_not_known),
        cmocka_unit_test(test_one_container_cannot_take_all_handles),
        cmocka_unit_test(test_one_container_cannot_take_all_memory),
        cmocka_unit_test(test_nested_containers_share_what_their_owner_may_have),
        cmocka_unit_test(test_handles_keep_few_containers_of_an_owner),
        cmocka_unit_test(test_containers_of_the_host_share_half_of_all),
        cmocka_unit_test(test_full_table_refuses_and_recovers),
        cmocka_unit_test(test_text_outlives_its_handle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
