/* Turns: an owner's share of the threads, and a line in which nobody is forgotten. */
#include "../../src/tree/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TICKET(n) GUINT_TO_POINTER(n)

static guint take_all(PvTurns *turns, guint64 owner)
{
    guint n = 0;

    while (pv_turns_take(turns, owner))
        n++;
    return n;
}

static void wait_in_vain(PvTurns *turns, guint64 owner, guint ticket)
{
    gpointer next;

    assert_true(pv_turns_wait(turns, owner, TICKET(ticket), &next));
    assert_null(next);
}

static guint end(PvTurns *turns, guint64 owner, guint64 expected_owner)
{
    guint64 next_owner = 0;
    guint ticket = GPOINTER_TO_UINT(pv_turns_end(turns, owner, &next_owner));

    assert_int_equal(next_owner, expected_owner);
    return ticket;
}

static void test_one_owner_leaves_turns_for_others(void **state)
{
    PvTurns *turns = pv_turns_new(16, 100);

    (void)state;
    assert_int_equal(take_all(turns, 1), 8);
    assert_int_equal(take_all(turns, 2), 4);
    assert_int_equal(take_all(turns, 3), 2);
    assert_true(pv_turns_take(turns, 4));
    pv_turns_free(turns);
}

static void test_line_is_served_in_order(void **state)
{
    PvTurns *turns = pv_turns_new(2, 100);

    (void)state;
    assert_int_equal(take_all(turns, 1), 1);
    for (guint i = 1; i <= 3; i++)
        wait_in_vain(turns, 1, i);
    assert_false(pv_turns_take(turns, 1));
    for (guint i = 1; i <= 3; i++)
        assert_int_equal(end(turns, 1, 1), i);
    assert_int_equal(end(turns, 1, 0), 0);
    assert_int_equal(take_all(turns, 1), 1);
    pv_turns_free(turns);
}

static void test_owners_in_line_take_turns(void **state)
{
    PvTurns *turns = pv_turns_new(1, 100);

    (void)state;
    assert_true(pv_turns_take(turns, 1));
    for (guint i = 1; i <= 3; i++)
        wait_in_vain(turns, 1, i);
    wait_in_vain(turns, 2, 10);
    assert_int_equal(end(turns, 1, 1), 1);
    assert_int_equal(end(turns, 1, 2), 10);
    assert_int_equal(end(turns, 2, 1), 2);
    assert_int_equal(end(turns, 1, 1), 3);
    assert_int_equal(end(turns, 1, 0), 0);
    pv_turns_free(turns);
}

/* A turn became free while it was on its way into the line. */
static void test_who_comes_late_does_not_wait(void **state)
{
    PvTurns *turns = pv_turns_new(2, 100);
    gpointer next;

    (void)state;
    assert_int_equal(take_all(turns, 1), 1);
    assert_int_equal(end(turns, 1, 0), 0);
    assert_true(pv_turns_wait(turns, 1, TICKET(7), &next));
    assert_int_equal(GPOINTER_TO_UINT(next), 7);
    assert_false(pv_turns_take(turns, 1));
    pv_turns_free(turns);
}

static void test_one_owner_leaves_room_in_line(void **state)
{
    PvTurns *turns = pv_turns_new(1, 8);
    gpointer next;

    (void)state;
    assert_true(pv_turns_take(turns, 1));
    for (guint i = 1; i <= 4; i++)
        wait_in_vain(turns, 1, i);
    assert_false(pv_turns_wait(turns, 1, TICKET(5), &next));
    assert_null(next);
    wait_in_vain(turns, 2, 6);
    assert_int_equal(end(turns, 1, 1), 1);
    wait_in_vain(turns, 1, 5);
    pv_turns_free(turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_owner_leaves_turns_for_others),
        cmocka_unit_test(test_line_is_served_in_order),
        cmocka_unit_test(test_owners_in_line_take_turns),
        cmocka_unit_test(test_who_comes_late_does_not_wait),
        cmocka_unit_test(test_one_owner_leaves_room_in_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
