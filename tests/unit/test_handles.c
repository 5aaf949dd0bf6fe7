/* The table of open handles: what is handed out, bounded, shared fairly, and not mixed up. */
#include "../../src/fuse/handles.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A table in memory of its own. */
typedef struct {
    PvShared shared;
    PvHandles *handles;
} Table;

static void table_open(Table *table, guint n_slots, gsize max_text_bytes)
{
    assert_int_equal(pv_shared_new(&table->shared), 0);
    table->handles = pv_handles_new(&table->shared, n_slots, max_text_bytes);
}

/* As a new worker does. */
static void table_reopen(Table *table, guint n_slots, gsize max_text_bytes)
{
    pv_handles_free(table->handles);
    table->handles = pv_handles_new(&table->shared, n_slots, max_text_bytes);
}

static void table_close(Table *table)
{
    g_clear_pointer(&table->handles, pv_handles_free);
    pv_shared_clear(&table->shared);
}

static int publish(const Table *table, guint64 handle, guint64 renderer, gsize length)
{
    g_autofree char *text = g_malloc0(length);

    return pv_handles_publish(table->handles, handle, renderer, text, length);
}

static void check_text(const Table *table, guint64 handle, gsize offset, gsize size,
                       const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);

    assert_int_equal(pv_handles_read(table->handles, handle, offset, size, text), 0);
    assert_string_equal(text->str, expected);
}

static int get(const Table *table, guint64 handle, guint64 ino)
{
    PvHandleOwner owner;
    int r = pv_handles_get(table->handles, handle, ino, &owner);

    if (r == 0 && owner.container != NULL)
        pv_container_unref(owner.container);
    return r;
}

static void test_handle_gives_back_what_was_published(void **state)
{
    g_autoptr(GString) nothing = g_string_new(NULL);
    Table table;
    guint64 handle;

    (void)state;
    table_open(&table, 8, 1024);
    assert_int_equal(pv_handles_open(table.handles, 42, NULL, 2, &handle), 0);
    assert_int_equal(pv_handles_read(table.handles, handle, 0, 10, nothing), -ENODATA);
    assert_int_equal(pv_handles_publish(table.handles, handle, 4, "hello", 5), 0);
    check_text(&table, handle, 0, 100, "hello");
    check_text(&table, handle, 1, 3, "ell");
    check_text(&table, handle, 5, 100, "");
    check_text(&table, handle, 9, 1, "");
    assert_int_equal(pv_handles_publish(table.handles, handle, 6, "other text", 10), 0);
    check_text(&table, handle, 0, 100, "other text");
    table_close(&table);
}

static void test_handle_answers_for_its_own_inode_only(void **state)
{
    Table table;
    guint64 handle;

    (void)state;
    table_open(&table, 8, 1024);
    assert_int_equal(pv_handles_open(table.handles, 42, NULL, 2, &handle), 0);
    assert_int_equal(get(&table, handle, 42), 0);
    assert_int_equal(get(&table, handle, 43), -ENOENT);
    table_close(&table);
}

static void test_closed_handle_is_not_known(void **state)
{
    Table table;
    guint64 handle, next;

    (void)state;
    table_open(&table, 1, 1024);
    assert_int_equal(pv_handles_open(table.handles, 42, NULL, 2, &handle), 0);
    pv_handles_close(table.handles, handle);
    assert_int_equal(pv_handles_count(table.handles), 0);
    assert_int_equal(pv_handles_open(table.handles, 42, NULL, 4, &next), 0);
    assert_int_not_equal(handle, next);
    assert_int_equal(get(&table, handle, 42), -ENOENT);
    assert_int_equal(publish(&table, handle, 6, 8), -ENOENT);
    pv_handles_close(table.handles, handle); /* twice: nothing happens */
    assert_int_equal(pv_handles_count(table.handles), 1);
    table_close(&table);
}

static void test_made_up_handles_are_not_known(void **state)
{
    const guint64 made_up[] = {0, 1, 9, G_MAXUINT32, G_MAXUINT64, (guint64)1 << 32};
    Table table;

    (void)state;
    table_open(&table, 8, 1024);
    for (guint i = 0; i < G_N_ELEMENTS(made_up); i++)
        assert_int_equal(get(&table, made_up[i], 0), -ENOENT);
    table_close(&table);
}

static void test_one_container_cannot_take_all_handles(void **state)
{
    PvContainer greedy = {.id = 1, .owner_ino = 1, .ref_count = 1},
                other = {.id = 2, .owner_ino = 2, .ref_count = 1};
    Table table;
    guint64 handle[9];

    (void)state;
    table_open(&table, 16, 1024);
    for (guint i = 0; i < 8; i++)
        assert_int_equal(pv_handles_open(table.handles, 1, &greedy, 2, &handle[i]), 0);
    assert_int_equal(pv_handles_open(table.handles, 1, &greedy, 2, &handle[8]), -ENFILE);
    assert_int_equal(pv_handles_open(table.handles, 1, &other, 2, &handle[8]), 0);
    pv_handles_close(table.handles, handle[0]);
    assert_int_equal(pv_handles_open(table.handles, 1, &greedy, 2, &handle[0]), 0);
    for (guint i = 0; i < 9; i++)
        pv_handles_close(table.handles, handle[i]);
    assert_int_equal(greedy.ref_count, 1);
    assert_int_equal(other.ref_count, 1);
    table_close(&table);
}

/* Each takes what it can get: handles, and texts in them. */
static void test_many_greedy_containers_leave_as_much_as_each_has(void **state)
{
    PvContainer greedy[7], modest = {.id = 9, .owner_ino = 9, .ref_count = 1};
    guint n_opened[7] = {0}, n_texts[7] = {0};
    guint64 handle[80];
    Table table;

    (void)state;
    table_open(&table, 80, 80 * 100);
    for (guint i = 0; i < 7; i++)
        greedy[i] = (PvContainer){.id = 1 + i, .owner_ino = 1 + i, .ref_count = 1};
    for (guint i = 0; i < 80 * 7; i++) {
        guint64 *opened = &handle[i / 7];
        if (pv_handles_open(table.handles, 1, &greedy[i % 7], 2, opened) < 0)
            continue;
        n_opened[i % 7]++;
        if (publish(&table, *opened, 2, 100) == 0)
            n_texts[i % 7]++;
    }
    for (guint i = 0; i < 7; i++) {
        assert_int_equal(n_opened[i], 10);
        assert_int_equal(n_texts[i], 10);
    }
    for (guint i = 0; i < 5; i++) {
        assert_int_equal(pv_handles_open(table.handles, 1, &modest, 2, &handle[i]), 0);
        assert_int_equal(publish(&table, handle[i], 2, 100), 0);
    }
    table_close(&table);
}

static void test_one_container_cannot_take_all_memory(void **state)
{
    PvContainer other = {.id = 2, .owner_ino = 2, .ref_count = 1};
    Table table;
    guint64 first, second, third;

    (void)state;
    table_open(&table, 16, 4000);
    assert_int_equal(pv_handles_open(table.handles, 1, NULL, 2, &first), 0);
    assert_int_equal(pv_handles_open(table.handles, 1, NULL, 4, &second), 0);
    assert_int_equal(pv_handles_open(table.handles, 1, &other, 6, &third), 0);
    assert_int_equal(publish(&table, first, 8, 4001), -ENOMEM);
    assert_int_equal(publish(&table, first, 8, 1600), 0);
    assert_int_equal(publish(&table, second, 8, 900), -ENOMEM);
    assert_int_equal(publish(&table, third, 8, 1000), 0);
    assert_int_equal(publish(&table, first, 8, 2000), 0); /* in the old one's place */
    pv_handles_close(table.handles, first);
    assert_int_equal(publish(&table, second, 8, 1500), 0);
    pv_handles_close(table.handles, third);
    table_close(&table);
}

static void test_nested_containers_share_what_their_owner_may_have(void **state)
{
    PvContainer nested[5];
    PvContainer other = {.id = 9, .owner_ino = 2, .ref_count = 1};
    Table table;
    guint64 handle[5], last;

    (void)state;
    table_open(&table, 8, 4000);
    for (guint i = 0; i < 5; i++)
        nested[i] = (PvContainer){.id = 10 + i, .owner_ino = 1, .ref_count = 1};
    for (guint i = 0; i < 4; i++)
        assert_int_equal(pv_handles_open(table.handles, 1, &nested[i], 2, &handle[i]), 0);
    assert_int_equal(pv_handles_open(table.handles, 1, &nested[4], 2, &handle[4]), -ENFILE);
    assert_int_equal(publish(&table, handle[0], 2, 1800), 0);
    assert_int_equal(publish(&table, handle[1], 2, 600), -ENOMEM);
    assert_int_equal(pv_handles_open(table.handles, 1, &other, 2, &last), 0);
    assert_int_equal(publish(&table, last, 2, 600), 0);
    pv_handles_close(table.handles, handle[0]);
    assert_int_equal(pv_handles_open(table.handles, 1, &nested[4], 2, &handle[0]), 0);
    assert_int_equal(publish(&table, handle[1], 2, 600), 0);
    pv_handles_close(table.handles, last);
    for (guint i = 0; i < 4; i++)
        pv_handles_close(table.handles, handle[i]);
    for (guint i = 0; i < 5; i++)
        assert_int_equal(nested[i].ref_count, 1);
    table_close(&table);
}

/* Each keeps descriptors open, whoever has the handle. */
static void test_handles_keep_few_containers_of_an_owner(void **state)
{
    PvContainer nested[9];
    Table table;
    guint64 handle[9], second;

    (void)state;
    table_open(&table, 64 * 8, 4000);
    for (guint i = 0; i < 9; i++)
        nested[i] = (PvContainer){.id = 10 + i, .owner_ino = 1, .ref_count = 1};
    for (guint i = 0; i < 8; i++)
        assert_int_equal(pv_handles_open(table.handles, 1, &nested[i], 2, &handle[i]), 0);
    assert_int_equal(pv_handles_open(table.handles, 1, &nested[8], 2, &handle[8]), -ENFILE);
    assert_int_equal(pv_handles_open(table.handles, 1, &nested[7], 2, &second), 0);
    pv_handles_close(table.handles, second);
    pv_handles_close(table.handles, handle[0]);
    assert_int_equal(pv_handles_open(table.handles, 1, &nested[8], 2, &handle[0]), 0);
    for (guint i = 0; i < 8; i++)
        pv_handles_close(table.handles, handle[i]);
    assert_int_equal(pv_handles_count(table.handles), 0);
    table_close(&table);
}

/* Two thirds of all; each of them half of what the others leave. */
static void test_containers_of_the_host_have_a_share_of_two(void **state)
{
    PvContainer service = {.id = 1, .owner_ino = 1, .is_host_pidns = TRUE, .ref_count = 1};
    PvContainer other = {.id = 2, .owner_ino = 1, .is_host_pidns = TRUE, .ref_count = 1};
    PvContainer third = {.id = 3, .owner_ino = 1, .is_host_pidns = TRUE, .ref_count = 1};
    PvContainer elsewhere = {.id = 4, .owner_ino = 4, .ref_count = 1};
    Table table;
    guint64 handle[12], last;

    (void)state;
    table_open(&table, 18, 4000);
    for (guint i = 0; i < 9; i++)
        assert_int_equal(pv_handles_open(table.handles, 1, &service, 2, &handle[i]), 0);
    assert_int_equal(pv_handles_open(table.handles, 1, &service, 2, &last), -ENFILE);
    for (guint i = 9; i < 12; i++)
        assert_int_equal(pv_handles_open(table.handles, 1, &other, 2, &handle[i]), 0);
    assert_int_equal(pv_handles_open(table.handles, 1, &third, 2, &last), -ENFILE);
    assert_int_equal(pv_handles_open(table.handles, 1, &elsewhere, 2, &last), 0);
    for (guint i = 0; i < 12; i++)
        pv_handles_close(table.handles, handle[i]);
    pv_handles_close(table.handles, last);
    assert_int_equal(third.ref_count, 1);
    table_close(&table);
}

static void test_full_table_refuses_and_recovers(void **state)
{
    PvContainer containers[5] = {{.id = 1, .owner_ino = 1, .ref_count = 1},
                                 {.id = 2, .owner_ino = 2, .ref_count = 1},
                                 {.id = 3, .owner_ino = 3, .ref_count = 1},
                                 {.id = 4, .owner_ino = 4, .ref_count = 1},
                                 {.id = 5, .owner_ino = 5, .ref_count = 1}};
    Table table;
    guint64 handle[5];

    (void)state;
    table_open(&table, 4, 1024);
    for (guint round = 0; round < 3; round++) {
        for (guint i = 0; i < 4; i++)
            assert_int_equal(pv_handles_open(table.handles, 1, &containers[i], 2, &handle[i]), 0);
        assert_int_equal(pv_handles_open(table.handles, 1, &containers[4], 2, &handle[4]), -ENFILE);
        for (guint i = 0; i < 4; i++)
            pv_handles_close(table.handles, handle[i]);
    }
    assert_int_equal(pv_handles_count(table.handles), 0);
    table_close(&table);
}

static void test_next_worker_knows_handles_and_their_texts(void **state)
{
    PvContainer container = {.id = 7, .owner_ino = 7, .ref_count = 1};
    PvHandleOwner owner;
    Table table;
    guint64 handle, closed;

    (void)state;
    table_open(&table, 8, 1024);
    assert_int_equal(pv_handles_open(table.handles, 42, &container, 2, &handle), 0);
    assert_int_equal(pv_handles_open(table.handles, 43, &container, 4, &closed), 0);
    assert_int_equal(pv_handles_publish(table.handles, handle, 6, "hello", 5), 0);
    pv_handles_close(table.handles, closed);
    table_reopen(&table, 8, 1024);
    assert_int_equal(pv_handles_count(table.handles), 1);
    check_text(&table, handle, 2, 100, "llo");
    assert_int_equal(pv_handles_get(table.handles, handle, 42, &owner), 0);
    assert_false(owner.is_known);
    assert_int_equal(owner.share, 7);
    assert_null(owner.container);
    assert_int_equal(get(&table, closed, 43), -ENOENT);
    pv_handles_set_container(table.handles, handle, &container);
    assert_int_equal(pv_handles_get(table.handles, handle, 42, &owner), 0);
    assert_true(owner.is_known);
    assert_ptr_equal(owner.container, &container);
    pv_container_unref(owner.container);
    pv_handles_close(table.handles, handle);
    assert_int_equal(container.ref_count, 1);
    table_close(&table);
}

static void test_next_worker_counts_shares_as_before(void **state)
{
    PvContainer greedy = {.id = 1, .owner_ino = 1, .ref_count = 1};
    Table table;
    guint64 handle[4], another;

    (void)state;
    table_open(&table, 8, 4000);
    for (guint i = 0; i < 4; i++)
        assert_int_equal(pv_handles_open(table.handles, 1, &greedy, 2, &handle[i]), 0);
    assert_int_equal(publish(&table, handle[0], 2, 1800), 0);
    table_reopen(&table, 8, 4000);
    assert_int_equal(pv_handles_open(table.handles, 1, &greedy, 2, &another), -ENFILE);
    assert_int_equal(publish(&table, handle[1], 2, 600), -ENOMEM);
    pv_handles_close(table.handles, handle[0]);
    assert_int_equal(publish(&table, handle[1], 2, 600), 0);
    assert_int_equal(pv_handles_open(table.handles, 1, &greedy, 2, &another), 0);
    pv_handles_close(table.handles, another);
    table_close(&table);
    assert_int_equal(greedy.ref_count, 1);
}

static void test_repeated_requests_are_recognized(void **state)
{
    const guint64 resent = PV_UNIQUE_RESENT;
    Table table;
    guint64 handle, found = 0;

    (void)state;
    table_open(&table, 8, 1024);
    assert_int_equal(pv_handles_open(table.handles, 42, NULL, 2, &handle), 0);
    assert_int_equal(publish(&table, handle, 6, 10), 0);
    table_reopen(&table, 8, 1024);
    assert_true(pv_handles_find_opened(table.handles, 42, resent | 2, &found));
    assert_int_equal(found, handle);
    assert_false(pv_handles_find_opened(table.handles, 43, resent | 2, &found));
    assert_false(pv_handles_find_opened(table.handles, 42, resent | 4, &found));
    assert_true(pv_handles_was_rendered_for(table.handles, handle, resent | 6));
    assert_false(pv_handles_was_rendered_for(table.handles, handle, resent | 2));
    assert_int_equal(publish(&table, handle, 8, 10), 0);
    assert_false(pv_handles_was_rendered_for(table.handles, handle, resent | 6));
    pv_handles_close(table.handles, handle);
    assert_false(pv_handles_find_opened(table.handles, 42, 2, &found));
    table_close(&table);
}

/* One thread replaces a text as fast as it can; what others read is never a mixture. */
typedef struct {
    const Table *table;
    guint64 handle;
    gint stop;
} Race;

static gpointer replace_text(gpointer data)
{
    Race *race = data;
    g_autofree char *text = g_malloc(60000);

    for (guint i = 0; g_atomic_int_get(&race->stop) == 0; i++) {
        memset(text, 'a' + (int)(i % 26), 60000);
        if (pv_handles_publish(race->table->handles, race->handle, 2, text, 60000) != 0)
            return race;
    }
    return NULL;
}

static void test_text_is_never_torn(void **state)
{
    Table table;
    Race race = {.table = &table};
    GThread *writer;

    (void)state;
    table_open(&table, 8, 4 << 20);
    assert_int_equal(pv_handles_open(table.handles, 42, NULL, 2, &race.handle), 0);
    assert_int_equal(publish(&table, race.handle, 2, 1), 0);
    writer = g_thread_new("writer", replace_text, &race);
    for (guint i = 0; i < 3000; i++) {
        g_autoptr(GString) text = g_string_new(NULL);
        if (pv_handles_read(table.handles, race.handle, 0, 60000, text) != 0)
            continue;
        for (gsize k = 1; k < text->len; k++)
            assert_int_equal(text->str[k], text->str[0]);
    }
    g_atomic_int_set(&race.stop, 1);
    assert_null(g_thread_join(writer));
    table_close(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle_gives_back_what_was_published),
        cmocka_unit_test(test_handle_answers_for_its_own_inode_only),
        cmocka_unit_test(test_closed_handle_is_not_known),
        cmocka_unit_test(test_made_up_handles_are_not_known),
        cmocka_unit_test(test_one_container_cannot_take_all_handles),
        cmocka_unit_test(test_many_greedy_containers_leave_as_much_as_each_has),
        cmocka_unit_test(test_one_container_cannot_take_all_memory),
        cmocka_unit_test(test_nested_containers_share_what_their_owner_may_have),
        cmocka_unit_test(test_handles_keep_few_containers_of_an_owner),
        cmocka_unit_test(test_containers_of_the_host_have_a_share_of_two),
        cmocka_unit_test(test_full_table_refuses_and_recovers),
        cmocka_unit_test(test_next_worker_knows_handles_and_their_texts),
        cmocka_unit_test(test_next_worker_counts_shares_as_before),
        cmocka_unit_test(test_repeated_requests_are_recognized),
        cmocka_unit_test(test_text_is_never_torn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
