/* How long the supervisor keeps to the kernel's own files. */
#include "../../src/supervisor/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MINUTE_MSEC (60 * 1000)
#define HOUR_MSEC   (60 * MINUTE_MSEC)

static void test_safe_time_doubles_up_to_an_hour(void **state)
{
    uint64_t msec = pv_watch_safe_msec(0, 0);

    (void)state;
    assert_int_equal(msec, MINUTE_MSEC);
    msec = pv_watch_safe_msec(msec, 1000);
    assert_int_equal(msec, 2 * MINUTE_MSEC);
    for (int i = 0; i < 10; i++)
        msec = pv_watch_safe_msec(msec, 1000);
    assert_int_equal(msec, HOUR_MSEC);
}

static void test_safe_time_is_short_again_after_a_quiet_time(void **state)
{
    (void)state;
    assert_int_equal(pv_watch_safe_msec(4 * MINUTE_MSEC, 9 * MINUTE_MSEC), 8 * MINUTE_MSEC);
    assert_int_equal(pv_watch_safe_msec(4 * MINUTE_MSEC, 10 * MINUTE_MSEC), MINUTE_MSEC);
    assert_int_equal(pv_watch_safe_msec(HOUR_MSEC, 59 * MINUTE_MSEC), HOUR_MSEC);
    assert_int_equal(pv_watch_safe_msec(HOUR_MSEC, HOUR_MSEC), MINUTE_MSEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safe_time_doubles_up_to_an_hour),
        cmocka_unit_test(test_safe_time_is_short_again_after_a_quiet_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
