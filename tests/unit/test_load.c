/*
 * Load averages against numbers worked out by hand from the kernel's formula,
 *     load * exp + active * (1 - exp), with 11 fractional bits, rounded up while it rises.
 */
#include "../../src/account/load.h"
#include "procview/account.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

static void one_step_from_zero(void **state G_GNUC_UNUSED)
{
    guint64 average[3] = {0};
    pv_load_advance(average, 1, 1);
    assert_int_equal(average[0], 2048 - 1884);
    assert_int_equal(average[1], 2048 - 2014);
    assert_int_equal(average[2], 2048 - 2037);
}

static void second_step_rises_rounded_up(void **state G_GNUC_UNUSED)
{
    guint64 average[3] = {164, 34, 11};
    pv_load_advance(average, 1, 1);
    /* (164 * 1884 + 2048 * 164 + 2047) / 2048 = 646895 / 2048 */
    assert_int_equal(average[0], 315);
    /* (34 * 2014 + 2048 * 34 + 2047) / 2048 = 140155 / 2048 */
    assert_int_equal(average[1], 68);
    /* (11 * 2037 + 2048 * 11 + 2047) / 2048 = 46982 / 2048 */
    assert_int_equal(average[2], 22);
}

static void falls_rounded_down(void **state G_GNUC_UNUSED)
{
    guint64 average[3] = {2048, 2048, 2048};
    pv_load_advance(average, 0, 1);
    assert_int_equal(average[0], 1884);
    pv_load_advance(average, 0, 1);
    assert_int_equal(average[0], 1733); /* 1884 * 1884 / 2048 = 1733.1 */
    pv_load_advance(average, 0, 100000);
    assert_int_equal(average[0], 0);
    assert_int_equal(average[2], 0);
}

static void stays_at_the_number_of_threads(void **state G_GNUC_UNUSED)
{
    guint64 average[3] = {3 * 2048, 3 * 2048, 3 * 2048};
    for (guint i = 0; i < 1000; i++)
        pv_load_advance(average, 3, 1 + i % 7);
    for (guint i = 0; i < 3; i++)
        assert_int_equal(average[i], 3 * 2048);
}

static void no_step_changes_nothing(void **state G_GNUC_UNUSED)
{
    guint64 average[3] = {1, 2, 3};
    pv_load_advance(average, 100, 0);
    assert_int_equal(average[0], 1);
    assert_int_equal(average[1], 2);
    assert_int_equal(average[2], 3);
}

static void many_steps_at_once_follow_the_exponential(void **state G_GNUC_UNUSED)
{
    static const double MINUTES[3] = {1, 5, 15};
    for (guint n = 1; n < 400; n += 13) {
        guint64 average[3] = {0};
        pv_load_advance(average, 4, n);
        for (guint i = 0; i < 3; i++) {
            double exact = 4 * (1 - exp(-5.0 * n / (60 * MINUTES[i])));
            assert_true(fabs((double)average[i] / 2048 - exact) < 0.05);
        }
    }
}

static void many_steps_at_once_agree_with_single_ones(void **state G_GNUC_UNUSED)
{
    guint64 at_once[3] = {5000, 5000, 5000}, single[3] = {5000, 5000, 5000};
    pv_load_advance(at_once, 1, 17);
    for (guint i = 0; i < 17; i++)
        pv_load_advance(single, 1, 1);
    for (guint i = 0; i < 3; i++)
        assert_in_range(at_once[i], single[i] - 20, single[i] + 20);
}

static void absurd_numbers_do_not_overflow(void **state G_GNUC_UNUSED)
{
    guint64 average[3] = {0};
    pv_load_advance(average, G_MAXUINT64, G_MAXUINT64);
    assert_int_equal(average[0], G_GUINT64_CONSTANT(1) << 43);
}

/* ---- samples ---- */

static void add(PvAccount *account, guint running, guint64 now_sec, guint64 uptime_sec)
{
    const PvTaskSample sample = {
        .tasks = {.running = running, .total = running + 1, .last_pid = 7}};
    pv_account_add_sample(account, &sample, now_sec * NSEC_PER_SEC, uptime_sec * NSEC_PER_SEC);
}

static void there_is_no_load_before_a_sample(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = pv_account_new(2, 100, -1, NULL, TRUE);
    PvLoad load;
    assert_false(pv_account_get_load(account, &load));
    assert_false(pv_account_sampled_within(account, 1, G_MAXUINT64));
}

static void first_sample_is_taken_to_hold_since_the_start(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = pv_account_new(2, 100, -1, NULL, TRUE);
    PvLoad load;

    add(account, 2, 1000, 60);
    assert_true(pv_account_get_load(account, &load));
    /* 2 * (1 - 1/e) = 1.264 */
    assert_in_range(load.average[0], 2560, 2610);
    assert_in_range(load.average[1], 720, 760); /* 2 * (1 - e^-0.2) = 0.3625 */
    assert_int_equal(load.tasks.running, 2);
    assert_int_equal(load.tasks.total, 3);
    assert_int_equal(load.tasks.last_pid, 7);
}

static void samples_within_a_step_do_not_count_twice(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = pv_account_new(2, 100, -1, NULL, TRUE);
    PvLoad load;

    add(account, 0, 1000, 600);
    for (guint sec = 1001; sec <= 1004; sec++)
        add(account, 1, sec, 600);
    assert_true(pv_account_get_load(account, &load));
    assert_int_equal(load.average[0], 0);
    assert_int_equal(load.tasks.running, 1);
    add(account, 1, 1005, 605);
    assert_true(pv_account_get_load(account, &load));
    assert_int_equal(load.average[0], 164);
}

static void missed_steps_are_made_up_for(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = pv_account_new(2, 100, -1, NULL, TRUE);
    PvLoad load;

    add(account, 1, 1000, 100000);
    add(account, 0, 1060, 100060);
    assert_true(pv_account_get_load(account, &load));
    assert_in_range(load.average[0], 740, 770); /* 2048 / e = 753 */
}

static void age_of_the_last_sample_is_known(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = pv_account_new(2, 100, -1, NULL, TRUE);

    add(account, 1, 1000, 10);
    assert_true(pv_account_sampled_within(account, 1001 * NSEC_PER_SEC, NSEC_PER_SEC));
    assert_false(pv_account_sampled_within(account, 1001 * NSEC_PER_SEC + 1, NSEC_PER_SEC));
}

/* ---- forks ---- */

typedef struct {
    pid_t pid;
    guint64 start_ticks;
    guint total;
    gboolean shares_pids;
} Newest;

static PvLoad after_samples(const Newest *samples, guint n_samples)
{
    g_autoptr(PvAccount) account = pv_account_new(2, 100, -1, NULL, TRUE);
    PvLoad load;

    for (guint i = 0; i < n_samples; i++) {
        const PvTaskSample sample = {
            .tasks = {.last_pid = samples[i].pid, .total = samples[i].total},
            .newest_start_ticks = samples[i].start_ticks,
            .has_own_pids = !samples[i].shares_pids,
        };
        pv_account_add_sample(account, &sample, (1000 + i) * NSEC_PER_SEC, 60 * NSEC_PER_SEC);
    }
    assert_true(pv_account_get_load(account, &load));
    return load;
}

#define AFTER(...)                                                                                 \
    after_samples((const Newest[]){__VA_ARGS__}, G_N_ELEMENTS(((const Newest[]){__VA_ARGS__})))

static void forks_are_as_many_as_the_newest_pid(void **state G_GNUC_UNUSED)
{
    assert_int_equal(AFTER({.pid = 3, .start_ticks = 5}, {.pid = 40, .start_ticks = 9}).n_forks,
                     40);
}

/* A new daemon does not know the thread that had the newest pid and has ended. */
static void older_newest_thread_takes_nothing_back(void **state G_GNUC_UNUSED)
{
    PvLoad load = AFTER({.pid = 40, .start_ticks = 9}, {.pid = 3, .start_ticks = 5});
    assert_int_equal(load.n_forks, 40);
    assert_int_equal(load.tasks.last_pid, 40);
}

static void forks_go_on_when_pids_begin_anew(void **state G_GNUC_UNUSED)
{
    PvLoad load = AFTER({.pid = 32000, .start_ticks = 9}, {.pid = 310, .start_ticks = 12});
    assert_int_equal(load.n_forks, 32310);
    assert_int_equal(load.tasks.last_pid, 310);
}

static void forks_are_at_least_the_threads_there_ever_were(void **state G_GNUC_UNUSED)
{
    assert_int_equal(AFTER({.total = 12}, {.total = 4}).n_forks, 12);
}

static void pids_of_the_host_do_not_count_forks(void **state G_GNUC_UNUSED)
{
    PvLoad load = AFTER({.pid = 30116, .start_ticks = 9, .total = 2, .shares_pids = TRUE});
    assert_int_equal(load.n_forks, 2);
    assert_int_equal(load.tasks.last_pid, 30116);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_from_zero),
        cmocka_unit_test(second_step_rises_rounded_up),
        cmocka_unit_test(falls_rounded_down),
        cmocka_unit_test(stays_at_the_number_of_threads),
        cmocka_unit_test(no_step_changes_nothing),
        cmocka_unit_test(many_steps_at_once_follow_the_exponential),
        cmocka_unit_test(many_steps_at_once_agree_with_single_ones),
        cmocka_unit_test(absurd_numbers_do_not_overflow),
        cmocka_unit_test(there_is_no_load_before_a_sample),
        cmocka_unit_test(first_sample_is_taken_to_hold_since_the_start),
        cmocka_unit_test(samples_within_a_step_do_not_count_twice),
        cmocka_unit_test(missed_steps_are_made_up_for),
        cmocka_unit_test(age_of_the_last_sample_is_known),
        cmocka_unit_test(forks_are_as_many_as_the_newest_pid),
        cmocka_unit_test(older_newest_thread_takes_nothing_back),
        cmocka_unit_test(forks_go_on_when_pids_begin_anew),
        cmocka_unit_test(forks_are_at_least_the_threads_there_ever_were),
        cmocka_unit_test(pids_of_the_host_do_not_count_forks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
