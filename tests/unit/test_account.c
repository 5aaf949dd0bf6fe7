/*
 * The invariants of proc/stat and proc/uptime, under sequences of readings that a fixed seed makes:
 * whatever a container and its administrator do, sums are exact and nothing decreases.
 */
#include "procview/account.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "procview/fd.h"

#define HOST_CPUS     8
#define TICKS_PER_SEC 100
#define NSEC_PER_SEC  G_GUINT64_CONSTANT(1000000000)
#define NSEC_PER_MSEC G_GUINT64_CONSTANT(1000000)
#define TICK_NSEC     (NSEC_PER_SEC / TICKS_PER_SEC)

/* ---- a container that is made up ---- */

typedef struct {
    GRand *rand;
    gboolean is_v1;
    guint64 uptime_nsec;
    guint64 iowait_nsec;
    PvCpuSet cpus;
    PvCpuUsage *usage; /* room for HOST_CPUS; n_cpus is 0 on v2 */
    /* What was shown. */
    PvCpuTicks shown[HOST_CPUS];
    PvCpuTicks shown_total;
    guint64 shown_idle;
} Fake;

static void fake_init(Fake *fake, guint32 seed, gboolean is_v1)
{
    *fake = (Fake){.rand = g_rand_new_with_seed(seed), .is_v1 = is_v1};
    fake->usage = g_malloc0(sizeof *fake->usage + HOST_CPUS * sizeof fake->usage->cpu[0]);
    fake->usage->n_cpus = is_v1 ? HOST_CPUS : 0;
    pv_cpu_set_add(&fake->cpus, 0);
}

static void fake_clear(Fake *fake)
{
    g_rand_free(fake->rand);
    g_free(fake->usage);
}

static void set_cpus(Fake *fake, const char *list)
{
    assert_true(pv_cpu_set_parse_list(list, &fake->cpus));
}

static void use(Fake *fake, guint cpu, guint64 user_nsec, guint64 system_nsec)
{
    fake->usage->total_nsec += user_nsec + system_nsec;
    fake->usage->user_nsec += user_nsec;
    fake->usage->system_nsec += system_nsec;
    fake->usage->cpu[cpu].total_nsec += user_nsec + system_nsec;
    fake->usage->cpu[cpu].user_nsec += user_nsec;
    fake->usage->cpu[cpu].system_nsec += system_nsec;
}

static guint64 sum(const PvCpuTicks *ticks)
{
    return ticks->user + ticks->nice + ticks->system + ticks->idle + ticks->iowait + ticks->steal;
}

static guint64 used(const PvCpuTicks *ticks)
{
    return ticks->user + ticks->nice + ticks->system;
}

static void assert_not_decreased(const PvCpuTicks *before, const PvCpuTicks *after)
{
    assert_true(after->user >= before->user);
    assert_true(after->nice >= before->nice);
    assert_true(after->system >= before->system);
    assert_true(after->idle >= before->idle);
    assert_true(after->iowait >= before->iowait);
    assert_true(after->steal >= before->steal);
}

static PvAccountInput make_input(const Fake *fake)
{
    return (PvAccountInput){
        .uptime_nsec = fake->uptime_nsec,
        .usage = fake->usage,
        .has_waits = TRUE,
        .iowait_nsec = fake->iowait_nsec,
        .cpus = &fake->cpus,
    };
}

/* Read proc/stat, and check what must always hold. */
static void read_stat(Fake *fake, PvAccount *account)
{
    PvAccountInput input = make_input(fake);
    PvCpuTicks per_cpu[HOST_CPUS], total;
    PvCpuTicks expected = {0};
    guint i = 0;

    pv_account_update(account, &input, per_cpu, &total);
    PV_CPU_SET_FOREACH (cpu, &fake->cpus) {
        assert_int_equal(sum(&per_cpu[i]), fake->uptime_nsec / TICK_NSEC);
        assert_not_decreased(&fake->shown[cpu], &per_cpu[i]);
        fake->shown[cpu] = per_cpu[i++];
    }
    for (i = 0; i < HOST_CPUS; i++) {
        const PvCpuTicks *ticks = &fake->shown[i];
        expected.user += ticks->user;
        expected.nice += ticks->nice;
        expected.system += ticks->system;
        expected.idle += ticks->idle;
        expected.iowait += ticks->iowait;
        expected.steal += ticks->steal;
    }
    assert_not_decreased(&fake->shown_total, &total);
    assert_true(total.user >= expected.user && total.system >= expected.system);
    fake->shown_total = total;
}

/* Read proc/uptime's idle: totals only, the set left out when it is known. */
static guint64 read_idle(Fake *fake, PvAccount *account)
{
    PvCpuUsage totals = *fake->usage;
    PvAccountInput input = make_input(fake);

    totals.n_cpus = 0;
    totals.user_nsec = totals.system_nsec = 0;
    input.usage = &totals;
    if (pv_account_cpus_known(account, fake->uptime_nsec, NSEC_PER_SEC))
        input.cpus = NULL;
    guint64 idle = pv_account_update_idle(account, &input);
    assert_true(idle >= fake->shown_idle);
    fake->shown_idle = idle;
    return idle;
}

static void assert_near(guint64 a, guint64 b, guint64 distance)
{
    assert_in_range(a, pv_sat_sub(b, distance), b + distance);
}

static PvAccount *new_account(void)
{
    return pv_account_new(HOST_CPUS, TICKS_PER_SEC, -1, NULL, TRUE);
}

/* ---- what a reader sees ---- */

static void iowait_that_was_not_looked_at_is_made_up_for(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    set_cpus(&fake, "0");
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    read_stat(&fake, account);

    /* Half a second waited for I/O, of which reads of uptime know nothing. */
    fake.iowait_nsec = NSEC_PER_SEC / 2;
    for (guint i = 0; i < 50; i++) {
        fake.uptime_nsec += NSEC_PER_SEC / 100;
        PvAccountInput input = make_input(&fake);
        input.has_waits = FALSE;
        pv_account_update_idle(account, &input);
    }
    fake.uptime_nsec += NSEC_PER_SEC / 100;
    read_stat(&fake, account);
    fake.uptime_nsec += NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown_total.iowait, 50);
    assert_int_equal(fake.shown_total.idle, 1151 - 50);
    fake_clear(&fake);
}

static void first_read_shows_totals_since_the_start(void **state G_GNUC_UNUSED)
{
    for (guint is_v1 = 0; is_v1 < 2; is_v1++) {
        g_autoptr(PvAccount) account = new_account();
        Fake fake;
        fake_init(&fake, 1, is_v1 != 0);
        set_cpus(&fake, "0-1");
        fake.uptime_nsec = 100 * NSEC_PER_SEC;
        use(&fake, 0, 30 * NSEC_PER_SEC, 10 * NSEC_PER_SEC);
        use(&fake, 1, 6 * NSEC_PER_SEC, 2 * NSEC_PER_SEC);
        fake.usage->throttled_nsec = 5 * NSEC_PER_SEC;
        fake.iowait_nsec = 3 * NSEC_PER_SEC;

        read_stat(&fake, account);
        assert_int_equal(fake.shown_total.user, 3600);
        assert_int_equal(fake.shown_total.system, 1200);
        assert_int_equal(fake.shown_total.steal, 500);
        assert_int_equal(fake.shown_total.iowait, 300);
        assert_int_equal(fake.shown_total.idle, 20000 - 3600 - 1200 - 500 - 300);
        if (is_v1 != 0) {
            assert_int_equal(fake.shown[0].user, 3000);
            assert_int_equal(fake.shown[0].system, 1000);
            assert_int_equal(fake.shown[1].user, 600);
        }
        fake_clear(&fake);
    }
}

static void use_older_than_the_container_is_left_out(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 0, 1000 * NSEC_PER_SEC, 0);
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 1000);

    fake.uptime_nsec += 10 * NSEC_PER_SEC;
    use(&fake, 0, NSEC_PER_SEC, 0);
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 1100);
    assert_int_equal(fake.shown[0].idle, 900);
    fake_clear(&fake);
}

static void use_above_the_time_gone_by_is_caught_up_with(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = NSEC_PER_SEC;
    read_stat(&fake, account);

    fake.uptime_nsec += NSEC_PER_SEC;
    use(&fake, 0, 1250 * NSEC_PER_MSEC, 0);
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 100);
    fake.uptime_nsec += NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 125);
    assert_int_equal(fake.shown[0].idle, 175);
    fake_clear(&fake);
}

static void use_outside_the_set_is_folded_in(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    set_cpus(&fake, "2,5");
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 2, 8 * NSEC_PER_SEC, 0);
    use(&fake, 6, 0, 3 * NSEC_PER_SEC);
    read_stat(&fake, account);
    assert_near(fake.shown_total.user, 800, 1);
    assert_near(fake.shown_total.system, 300, 1);
    /* By room: 2 s and 10 s of it. */
    assert_int_equal(fake.shown[2].system, 50);
    assert_int_equal(fake.shown[5].system, 250);
    fake_clear(&fake);
}

static void split_follows_the_cpus_that_threads_ran_on(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    guint64 seen[HOST_CPUS] = {[1] = 300, [3] = 100};
    const PvTaskSample sample = {.n_cpus = HOST_CPUS, .cpu_ticks = seen};
    Fake fake;
    fake_init(&fake, 1, FALSE);
    set_cpus(&fake, "0-3");
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 0, 8 * NSEC_PER_SEC, 0);
    assert_int_equal(pv_account_sample_cpus(account), HOST_CPUS);
    pv_account_add_sample(account, &sample, NSEC_PER_SEC, fake.uptime_nsec);
    read_stat(&fake, account);
    assert_int_equal(fake.shown[1].user, 600);
    assert_int_equal(fake.shown[3].user, 200);

    /* Without news, as it was. */
    fake.uptime_nsec += 4 * NSEC_PER_SEC;
    use(&fake, 0, 2 * NSEC_PER_SEC, 0);
    read_stat(&fake, account);
    assert_int_equal(fake.shown[1].user, 750);
    assert_int_equal(fake.shown[0].user, 0);
    fake_clear(&fake);
}

static void split_is_even_when_nothing_is_known(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, FALSE);
    set_cpus(&fake, "0-3");
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 0, 8 * NSEC_PER_SEC, 0);
    read_stat(&fake, account);
    for (guint i = 0; i < 4; i++)
        assert_int_equal(fake.shown[i].user, 200);
    fake_clear(&fake);
}

static void samples_need_no_cpus_where_the_cgroup_counts_them(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(pv_account_sample_cpus(account), 0);
    fake_clear(&fake);
}

static void nice_is_told_where_the_kernel_tells_it(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, FALSE);
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 0, 2 * NSEC_PER_SEC, NSEC_PER_SEC);
    fake.usage->total_nsec += 3 * NSEC_PER_SEC;
    fake.usage->nice_nsec = 3 * NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 200);
    assert_int_equal(fake.shown[0].nice, 300);
    assert_int_equal(fake.shown[0].system, 100);
    fake_clear(&fake);
}

/* A CPU that is always busy, in two columns, read at every tick: no rounding may turn into idle. */
static void busy_cpu_is_never_idle(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    for (guint i = 0; i < 20000; i++) {
        guint64 system_nsec = (guint64)g_rand_int_range(fake.rand, 0, TICK_NSEC);
        fake.uptime_nsec += TICK_NSEC;
        use(&fake, 0, TICK_NSEC - system_nsec, system_nsec);
        read_stat(&fake, account);
    }
    assert_true(fake.shown[0].idle <= 2);
    assert_near(fake.shown[0].system, fake.usage->system_nsec / TICK_NSEC, 2);
    fake_clear(&fake);
}

/* Half a CPU at its limit: 50 ms of work, then throttled to the end of the period, which the kernel
 * counts only when the period is over. */
static void throttled_container_shows_steal_and_no_idle(void **state G_GNUC_UNUSED)
{
    static const guint64 READ_EVERY_MSEC[] = {10, 100, 1000, 1050};

    for (guint i = 0; i < G_N_ELEMENTS(READ_EVERY_MSEC); i++) {
        g_autoptr(PvAccount) account = new_account();
        Fake fake;
        fake_init(&fake, 1, TRUE);
        for (guint msec = 1; msec <= 60000; msec++) {
            fake.uptime_nsec += NSEC_PER_MSEC;
            if ((msec - 1) % 100 < 50)
                use(&fake, 0, NSEC_PER_MSEC, 0);
            if (msec % 100 == 0)
                fake.usage->throttled_nsec += 50 * NSEC_PER_MSEC;
            if (msec % READ_EVERY_MSEC[i] == 0)
                read_stat(&fake, account);
        }
        read_stat(&fake, account);
        assert_near(fake.shown[0].user, 3000, 1);
        assert_near(fake.shown[0].steal, 3000, 11);
        assert_true(fake.shown[0].idle <= 11);
        fake_clear(&fake);
    }
}

/* Four throttled CPUs are counted fourfold; when the container comes to rest, so does steal. */
static void steal_is_bounded_by_time(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = NSEC_PER_SEC;
    read_stat(&fake, account);
    for (guint sec = 0; sec < 10; sec++) {
        fake.uptime_nsec += NSEC_PER_SEC;
        fake.usage->throttled_nsec += 3 * NSEC_PER_SEC;
        read_stat(&fake, account);
    }
    assert_int_equal(fake.shown[0].steal, 1000);
    fake.uptime_nsec += 10 * NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_true(fake.shown[0].steal <= 1010);
    fake_clear(&fake);
}

/* The quota of a parent that was throttled for long is the tightest one now. */
static void steal_begins_anew_where_another_level_throttles(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    fake.usage->throttled_nsec = 2 * NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].steal, 200);

    fake.uptime_nsec += 100 * NSEC_PER_SEC;
    fake.usage->throttled_level = 1;
    fake.usage->throttled_nsec = 5000 * NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].steal, 200);

    fake.uptime_nsec += 100 * NSEC_PER_SEC;
    fake.usage->throttled_nsec += NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].steal, 300);
    fake_clear(&fake);
}

static void cpu_that_appears_was_idle_before(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 0, 10 * NSEC_PER_SEC, 0);
    read_stat(&fake, account);
    set_cpus(&fake, "0-1");
    fake.uptime_nsec += NSEC_PER_SEC;
    use(&fake, 0, NSEC_PER_SEC, 0);
    use(&fake, 1, NSEC_PER_SEC / 2, 0);
    read_stat(&fake, account);
    assert_int_equal(fake.shown[1].idle, 1050);
    assert_int_equal(fake.shown[1].user, 50);
    fake_clear(&fake);
}

static void total_keeps_the_time_of_cpus_that_left(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    set_cpus(&fake, "0-3");
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    for (guint i = 0; i < 4; i++)
        use(&fake, i, 5 * NSEC_PER_SEC, 0);
    read_stat(&fake, account);
    set_cpus(&fake, "0");
    read_stat(&fake, account);
    assert_int_equal(fake.shown_total.user, 2000);
    fake.uptime_nsec += NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown_total.idle, 2000 + 100);
    fake_clear(&fake);
}

static void late_reading_changes_nothing(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 0, 5 * NSEC_PER_SEC, 0);
    read_stat(&fake, account);

    PvCpuUsage *late = g_memdup2(fake.usage, sizeof *late + HOST_CPUS * sizeof late->cpu[0]);
    late->total_nsec -= NSEC_PER_MSEC;
    late->cpu[0].total_nsec -= NSEC_PER_MSEC;
    PvAccountInput input = make_input(&fake);
    PvCpuTicks per_cpu, total;
    input.usage = late;
    input.uptime_nsec -= 5 * NSEC_PER_MSEC;
    pv_account_update(account, &input, &per_cpu, &total);
    assert_memory_equal(&per_cpu, &fake.shown[0], sizeof per_cpu);

    fake.uptime_nsec += NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 500);
    g_free(late);
    fake_clear(&fake);
}

static void counters_that_start_again_go_on(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = 100 * NSEC_PER_SEC;
    use(&fake, 0, 50 * NSEC_PER_SEC, 0);
    read_stat(&fake, account);
    memset(fake.usage->cpu, 0, HOST_CPUS * sizeof fake.usage->cpu[0]);
    fake.usage->total_nsec = fake.usage->user_nsec = 0;
    use(&fake, 0, NSEC_PER_SEC, 0);
    fake.uptime_nsec += 2 * NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 5100);
    fake_clear(&fake);
}

static void cpus_beyond_the_hosts_are_ignored(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    PvCpuUsage usage = {.total_nsec = NSEC_PER_SEC};
    PvCpuTicks per_cpu[2], total;
    PvAccountInput input = {.uptime_nsec = 10 * NSEC_PER_SEC, .usage = &usage};
    PvCpuSet cpus;
    assert_true(pv_cpu_set_parse_list("1,8191", &cpus));
    input.cpus = &cpus;
    pv_account_update(account, &input, per_cpu, &total);
    assert_int_equal(per_cpu[0].user, 100);
    assert_int_equal(sum(&per_cpu[1]), 0);
    assert_int_equal(sum(&total), 1000);
}

/* ---- uptime's idle ---- */

static void idle_alone_agrees_with_stat(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    set_cpus(&fake, "0-1");
    for (guint i = 0; i < 1000; i++) {
        fake.uptime_nsec += 137 * NSEC_PER_MSEC;
        use(&fake, i % 3, 61 * NSEC_PER_MSEC, 1234567);
        guint64 idle = read_idle(&fake, account);
        if (i % 10 == 0) {
            read_stat(&fake, account);
            assert_near(fake.shown_total.idle, idle, 2);
        }
    }
    fake_clear(&fake);
}

/* What proc/uptime has read of the totals must not blur which CPU was used. */
static void reading_idle_leaves_the_split_exact(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    set_cpus(&fake, "0-1");
    for (guint i = 0; i < 100; i++) {
        fake.uptime_nsec += NSEC_PER_SEC;
        use(&fake, 1, NSEC_PER_SEC / 2, 0);
        read_idle(&fake, account);
    }
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 0);
    assert_int_equal(fake.shown[1].user, 5000);
    fake_clear(&fake);
}

static void set_is_known_for_a_while(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Fake fake;
    fake_init(&fake, 1, TRUE);
    assert_false(pv_account_cpus_known(account, 0, NSEC_PER_SEC));
    fake.uptime_nsec = 5 * NSEC_PER_SEC;
    read_stat(&fake, account);
    assert_true(pv_account_cpus_known(account, 6 * NSEC_PER_SEC, NSEC_PER_SEC));
    assert_false(pv_account_cpus_known(account, 6 * NSEC_PER_SEC + 1, NSEC_PER_SEC));
    fake_clear(&fake);
}

/* ---- whatever happens ---- */

static void change_set(Fake *fake)
{
    PvCpuSet cpus;
    pv_cpu_set_clear(&cpus);
    do {
        for (guint i = 0; i < HOST_CPUS; i++) {
            if (g_rand_boolean(fake->rand))
                pv_cpu_set_add(&cpus, i);
        }
    } while (pv_cpu_set_count(&cpus) == 0);
    fake->cpus = cpus;
}

/* Some time goes by, in which the container does something or nothing. */
static void go_on(Fake *fake)
{
    static const guint64 LONGEST_NSEC[] = {NSEC_PER_MSEC, TICK_NSEC, NSEC_PER_SEC,
                                           1000 * NSEC_PER_SEC};
    double longest = (double)LONGEST_NSEC[g_rand_int_range(fake->rand, 0, 4)];
    guint64 nsec = (guint64)(g_rand_double(fake->rand) * longest);

    fake->uptime_nsec += nsec;
    for (guint i = 0; i < HOST_CPUS; i++) {
        /* Up to 10 % more than there was time for. */
        double share = MIN(g_rand_double_range(fake->rand, -0.5, 1.5), 1.1);
        if (share > 0) {
            double system = g_rand_double(fake->rand);
            use(fake, i, (guint64)(share * (1 - system) * (double)nsec),
                (guint64)(share * system * (double)nsec));
        }
    }
    fake->usage->throttled_nsec += (guint64)(g_rand_double(fake->rand) * (double)nsec);
    fake->iowait_nsec += (guint64)(g_rand_double(fake->rand) * (double)nsec);
}

static void add_random_sample(Fake *fake, PvAccount *account)
{
    guint64 seen[HOST_CPUS];
    const PvTaskSample sample = {.n_cpus = HOST_CPUS, .cpu_ticks = seen};
    for (guint i = 0; i < HOST_CPUS; i++)
        seen[i] = (guint64)g_rand_int_range(fake->rand, 0, 1000);
    pv_account_add_sample(account, &sample, fake->uptime_nsec + 1, fake->uptime_nsec);
}

static void nothing_ever_decreases(void **state G_GNUC_UNUSED)
{
    for (guint32 seed = 0; seed < 20; seed++) {
        g_autoptr(PvAccount) account = new_account();
        Fake fake;
        fake_init(&fake, seed, seed % 2 == 0);
        for (guint i = 0; i < 1000; i++) {
            go_on(&fake);
            if (g_rand_int_range(fake.rand, 0, 10) == 0)
                change_set(&fake);
            if (!fake.is_v1 && g_rand_boolean(fake.rand))
                add_random_sample(&fake, account);
            guint64 idle = 0;
            if (g_rand_boolean(fake.rand))
                idle = read_idle(&fake, account);
            if (g_rand_boolean(fake.rand)) {
                read_stat(&fake, account);
                guint64 after = read_idle(&fake, account);
                assert_near(after, fake.shown_total.idle, 2 * HOST_CPUS);
                assert_true(after >= idle);
            }
        }
        fake_clear(&fake);
    }
}

/* As long as there is room, the container's use is the cgroup's. */
static void totals_are_the_cgroups_own(void **state G_GNUC_UNUSED)
{
    for (guint32 seed = 0; seed < 10; seed++) {
        g_autoptr(PvAccount) account = new_account();
        Fake fake;
        fake_init(&fake, seed, seed % 2 == 0);
        set_cpus(&fake, "0-5");
        for (guint i = 0; i < 500; i++) {
            guint64 nsec = (guint64)g_rand_int_range(fake.rand, 1, 1000) * NSEC_PER_MSEC;
            fake.uptime_nsec += nsec;
            for (guint cpu = 0; cpu < HOST_CPUS; cpu++)
                use(&fake, cpu, nsec / (cpu + 3), nsec / 10);
            if (i % 17 == 0)
                set_cpus(&fake, i % 2 == 0 ? "0-5" : "1-7");
            if (i % 3 == 0)
                read_idle(&fake, account);
            read_stat(&fake, account);
            assert_near(used(&fake.shown_total), fake.usage->total_nsec / TICK_NSEC, HOST_CPUS);
        }
        fake_clear(&fake);
    }
}

/* ---- the state file ---- */

typedef struct {
    char *path;
    int fd;
} Directory;

static void directory_make(Directory *directory)
{
    directory->path = g_dir_make_tmp("pv-account-XXXXXX", NULL);
    assert_non_null(directory->path);
    directory->fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(directory->fd >= 0);
}

static void directory_remove(Directory *directory)
{
    unlinkat(directory->fd, "c", 0);
    close(directory->fd);
    assert_int_equal(rmdir(directory->path), 0); /* nothing else was left in it */
    g_free(directory->path);
}

static PvAccount *open_account(const Directory *directory, gboolean writable)
{
    return pv_account_new(HOST_CPUS, TICKS_PER_SEC, directory->fd, "c", writable);
}

static void nothing_decreases_over_restarts(void **state G_GNUC_UNUSED)
{
    Directory directory;
    Fake fake;

    directory_make(&directory);
    fake_init(&fake, 4711, TRUE);
    for (guint i = 0; i < 200; i++) {
        g_autoptr(PvAccount) account = open_account(&directory, TRUE);
        go_on(&fake);
        if (i % 10 == 0)
            change_set(&fake);
        if (i % 3 == 0)
            read_idle(&fake, account);
        read_stat(&fake, account);
    }
    fake_clear(&fake);
    directory_remove(&directory);
}

static void averages_outlive_a_restart(void **state G_GNUC_UNUSED)
{
    const PvTaskSample sample = {.tasks = {.running = 4}};
    Directory directory;
    PvLoad before, after;

    directory_make(&directory);
    PvAccount *account = open_account(&directory, TRUE);
    pv_account_add_sample(account, &sample, NSEC_PER_SEC, 60 * NSEC_PER_SEC);
    pv_account_get_load(account, &before);
    pv_account_unref(account);
    account = open_account(&directory, TRUE);
    assert_true(pv_account_get_load(account, &after));
    assert_memory_equal(before.average, after.average, sizeof before.average);
    /* How old it is, is to be found out anew. */
    assert_false(pv_account_sampled_within(account, NSEC_PER_SEC, NSEC_PER_SEC));
    pv_account_unref(account);
    directory_remove(&directory);
}

static void reader_goes_on_from_the_file_and_leaves_it_alone(void **state G_GNUC_UNUSED)
{
    Directory directory;
    Fake fake;
    g_autofree char *before = NULL, *after = NULL;
    gsize size;

    directory_make(&directory);
    g_autofree char *path = g_build_filename(directory.path, "c", NULL);
    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 0, 5 * NSEC_PER_SEC, NSEC_PER_SEC);
    PvAccount *account = open_account(&directory, TRUE);
    read_stat(&fake, account);
    pv_account_unref(account);
    assert_true(g_file_get_contents(path, &before, &size, NULL));

    fake.uptime_nsec += NSEC_PER_SEC;
    account = open_account(&directory, FALSE);
    read_stat(&fake, account);
    pv_account_unref(account);
    assert_int_equal(fake.shown[0].idle, 500);
    assert_true(g_file_get_contents(path, &after, NULL, NULL));
    assert_memory_equal(before, after, size);
    fake_clear(&fake);
    directory_remove(&directory);
}

static void reader_without_a_file_makes_none(void **state G_GNUC_UNUSED)
{
    Directory directory;

    directory_make(&directory);
    PvAccount *account = open_account(&directory, FALSE);
    assert_int_equal(faccessat(directory.fd, "c", F_OK, 0), -1);
    pv_account_unref(account);
    directory_remove(&directory);
}

static void write_file(const char *path, const char *text, gssize length)
{
    assert_true(g_file_set_contents_full(path, text, length, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
}

static void assert_starts_anew(const Directory *directory)
{
    Fake fake;

    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = 10 * NSEC_PER_SEC;
    use(&fake, 0, 4 * NSEC_PER_SEC, 0);
    PvAccount *account = open_account(directory, TRUE);
    read_stat(&fake, account);
    assert_int_equal(fake.shown[0].user, 400);
    assert_int_equal(fake.shown[0].idle, 600);
    pv_account_unref(account);
    fake_clear(&fake);
}

/* Make a state file of a container that has lived longer than the one that comes after it. */
static char *make_state_file(const Directory *directory, gsize *ret_size)
{
    Fake fake;
    char *text = NULL;
    g_autofree char *path = g_build_filename(directory->path, "c", NULL);

    fake_init(&fake, 1, TRUE);
    fake.uptime_nsec = 1000 * NSEC_PER_SEC;
    use(&fake, 0, 700 * NSEC_PER_SEC, 0);
    PvAccount *account = open_account(directory, TRUE);
    read_stat(&fake, account);
    pv_account_unref(account);
    fake_clear(&fake);
    assert_true(g_file_get_contents(path, &text, ret_size, NULL));
    return text;
}

static void file_of_another_container_is_not_believed(void **state G_GNUC_UNUSED)
{
    Directory directory;
    gsize size;

    directory_make(&directory);
    g_free(make_state_file(&directory, &size));
    assert_starts_anew(&directory);
    directory_remove(&directory);
}

static void file_of_another_number_of_cpus_is_not_believed(void **state G_GNUC_UNUSED)
{
    Directory directory;

    directory_make(&directory);
    PvAccount *account = pv_account_new(2, TICKS_PER_SEC, directory.fd, "c", TRUE);
    pv_account_unref(account);
    assert_starts_anew(&directory);
    directory_remove(&directory);
}

static void truncated_file_is_made_anew(void **state G_GNUC_UNUSED)
{
    Directory directory;
    gsize size;

    directory_make(&directory);
    g_autofree char *path = g_build_filename(directory.path, "c", NULL);
    g_autofree char *text = make_state_file(&directory, &size);
    for (gsize length = 0; length < size; length += 97) {
        write_file(path, text, (gssize)length);
        assert_starts_anew(&directory);
    }
    directory_remove(&directory);
}

/* Any byte may be wrong: the file is believed or not, but sums are exact and nothing breaks. */
static void damaged_file_breaks_nothing(void **state G_GNUC_UNUSED)
{
    Directory directory;
    gsize size;
    GRand *rand = g_rand_new_with_seed(99);

    directory_make(&directory);
    g_autofree char *path = g_build_filename(directory.path, "c", NULL);
    g_autofree char *text = make_state_file(&directory, &size);
    for (guint i = 0; i < 1000; i++) {
        g_autofree char *damaged = g_memdup2(text, size);
        guint n = (guint)g_rand_int_range(rand, 1, 4);
        for (guint j = 0; j < n; j++)
            damaged[g_rand_int_range(rand, 0, (gint32)size)] = (char)g_rand_int(rand);
        write_file(path, damaged, (gssize)size);

        Fake fake;
        fake_init(&fake, i, TRUE);
        set_cpus(&fake, "0-2");
        fake.uptime_nsec = 1001 * NSEC_PER_SEC;
        use(&fake, 0, 701 * NSEC_PER_SEC, 0);
        PvAccount *account = open_account(&directory, TRUE);
        for (guint j = 0; j < 5; j++) {
            read_stat(&fake, account);
            go_on(&fake);
        }
        pv_account_unref(account);
        fake_clear(&fake);
    }
    g_rand_free(rand);
    directory_remove(&directory);
}

static void garbage_is_made_anew(void **state G_GNUC_UNUSED)
{
    Directory directory;
    gsize size;
    GRand *rand = g_rand_new_with_seed(7);

    directory_make(&directory);
    g_autofree char *path = g_build_filename(directory.path, "c", NULL);
    g_autofree char *text = make_state_file(&directory, &size);
    for (gsize i = 0; i < size; i++)
        text[i] = (char)g_rand_int(rand);
    write_file(path, text, (gssize)size);
    assert_starts_anew(&directory);
    g_rand_free(rand);
    directory_remove(&directory);
}

static void symbolic_link_is_not_followed(void **state G_GNUC_UNUSED)
{
    Directory directory;
    struct stat st;

    directory_make(&directory);
    assert_int_equal(symlinkat("elsewhere", directory.fd, "c"), 0);
    assert_starts_anew(&directory);
    assert_int_equal(fstatat(directory.fd, "c", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    directory_remove(&directory);
}

static void name_with_a_slash_is_refused(void **state G_GNUC_UNUSED)
{
    Directory directory;

    directory_make(&directory);
    pv_account_unref(pv_account_new(1, TICKS_PER_SEC, directory.fd, "../pv-account-outside", TRUE));
    assert_int_equal(faccessat(directory.fd, "../pv-account-outside", F_OK, 0), -1);
    directory_remove(&directory);
}

/* What a daemon has shown, where it is found after the daemon's death: two copies, of which the
 * lowest bit of `n` names the whole one. */
typedef struct {
    guint n;
    Fake fakes[2];
    guint8 usages[2][sizeof(PvCpuUsage) + HOST_CPUS * sizeof(((PvCpuUsage *)NULL)->cpu[0])];
} Told;

/* A daemon that is read as fast as it can answer. */
static void show_for_ever(const Directory *directory, Fake *fake, Told *told)
{
    g_autoptr(PvAccount) account = open_account(directory, TRUE);
    for (;;) {
        go_on(fake);
        read_stat(fake, account);
        guint next = (told->n + 1) & 1;
        told->fakes[next] = *fake;
        memcpy(told->usages[next], fake->usage, sizeof told->usages[next]);
        __atomic_add_fetch(&told->n, 1, __ATOMIC_SEQ_CST);
    }
}

static void nothing_decreases_when_the_daemon_is_killed(void **state G_GNUC_UNUSED)
{
    Directory directory;
    Fake fake;
    guint n_shown = 0;
    Told *told =
        mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(told, MAP_FAILED);
    directory_make(&directory);
    fake_init(&fake, 3, TRUE);
    set_cpus(&fake, "0-5");
    for (guint i = 0; i < 60; i++) {
        told->n = 0;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            show_for_ever(&directory, &fake, told);
        g_usleep(1000 + 137 * i);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        if (told->n > 0) {
            PvCpuUsage *usage = fake.usage;
            GRand *rand = fake.rand;
            fake = told->fakes[told->n & 1];
            fake.usage = usage;
            fake.rand = rand;
            memcpy(usage, told->usages[told->n & 1], sizeof told->usages[0]);
            n_shown += told->n;
        }

        /* It may have shown one text more than it has told us of: look later than that. */
        fake.uptime_nsec += 4000 * NSEC_PER_SEC;
        PvAccount *account = open_account(&directory, TRUE);
        read_stat(&fake, account);
        pv_account_unref(account);
    }
    assert_true(n_shown > 0);
    munmap(told, sizeof *told);
    fake_clear(&fake);
    directory_remove(&directory);
}

/* ---- threads ---- */

typedef struct {
    PvAccount *account;
    gint64 uptime_nsec; /* atomic: time goes on with every reading */
} Shared;

static void *read_much(void *data)
{
    Shared *shared = data;
    PvCpuUsage usage = {0};
    PvCpuTicks per_cpu[2], total, before = {0};
    guint64 idle_before = 0;
    PvCpuSet cpus;

    pv_cpu_set_parse_list("0-1", &cpus);
    for (guint i = 0; i < 2000; i++) {
        guint64 uptime_nsec =
            (guint64)__atomic_add_fetch(&shared->uptime_nsec, 3 * NSEC_PER_MSEC, __ATOMIC_SEQ_CST);
        usage.total_nsec = uptime_nsec / 2;
        PvAccountInput input = {.uptime_nsec = uptime_nsec, .usage = &usage, .cpus = &cpus};
        pv_account_update(shared->account, &input, per_cpu, &total);
        if (sum(&per_cpu[0]) != sum(&per_cpu[1]) || total.idle < before.idle)
            return (void *)"stat";
        before = total;
        guint64 idle = pv_account_update_idle(shared->account, &input);
        if (idle < idle_before)
            return (void *)"idle";
        idle_before = idle;
        const PvTaskSample sample = {.tasks = {.running = 1}};
        pv_account_add_sample(shared->account, &sample, uptime_nsec, uptime_nsec);
    }
    return NULL;
}

static void many_threads_may_read(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    Shared shared = {.account = account};
    pthread_t threads[4];

    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_much, &shared), 0);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

static void one_thread_at_a_time_samples(void **state G_GNUC_UNUSED)
{
    g_autoptr(PvAccount) account = new_account();
    gpointer *place = pv_account_sampler_lock(account, FALSE, g_free);
    assert_non_null(place);
    *place = g_strdup("remembered");
    assert_null(pv_account_sampler_lock(account, FALSE, g_free));
    pv_account_sampler_unlock(account);
    place = pv_account_sampler_lock(account, TRUE, g_free);
    assert_string_equal(*place, "remembered");
    pv_account_sampler_unlock(account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iowait_that_was_not_looked_at_is_made_up_for),
        cmocka_unit_test(first_read_shows_totals_since_the_start),
        cmocka_unit_test(use_older_than_the_container_is_left_out),
        cmocka_unit_test(use_above_the_time_gone_by_is_caught_up_with),
        cmocka_unit_test(use_outside_the_set_is_folded_in),
        cmocka_unit_test(split_follows_the_cpus_that_threads_ran_on),
        cmocka_unit_test(split_is_even_when_nothing_is_known),
        cmocka_unit_test(samples_need_no_cpus_where_the_cgroup_counts_them),
        cmocka_unit_test(nice_is_told_where_the_kernel_tells_it),
        cmocka_unit_test(busy_cpu_is_never_idle),
        cmocka_unit_test(throttled_container_shows_steal_and_no_idle),
        cmocka_unit_test(steal_is_bounded_by_time),
        cmocka_unit_test(steal_begins_anew_where_another_level_throttles),
        cmocka_unit_test(cpu_that_appears_was_idle_before),
        cmocka_unit_test(total_keeps_the_time_of_cpus_that_left),
        cmocka_unit_test(late_reading_changes_nothing),
        cmocka_unit_test(counters_that_start_again_go_on),
        cmocka_unit_test(cpus_beyond_the_hosts_are_ignored),
        cmocka_unit_test(idle_alone_agrees_with_stat),
        cmocka_unit_test(reading_idle_leaves_the_split_exact),
        cmocka_unit_test(set_is_known_for_a_while),
        cmocka_unit_test(nothing_ever_decreases),
        cmocka_unit_test(totals_are_the_cgroups_own),
        cmocka_unit_test(nothing_decreases_over_restarts),
        cmocka_unit_test(averages_outlive_a_restart),
        cmocka_unit_test(reader_goes_on_from_the_file_and_leaves_it_alone),
        cmocka_unit_test(reader_without_a_file_makes_none),
        cmocka_unit_test(file_of_another_container_is_not_believed),
        cmocka_unit_test(file_of_another_number_of_cpus_is_not_believed),
        cmocka_unit_test(truncated_file_is_made_anew),
        cmocka_unit_test(damaged_file_breaks_nothing),
        cmocka_unit_test(garbage_is_made_anew),
        cmocka_unit_test(symbolic_link_is_not_followed),
        cmocka_unit_test(name_with_a_slash_is_refused),
        cmocka_unit_test(nothing_decreases_when_the_daemon_is_killed),
        cmocka_unit_test(many_threads_may_read),
        cmocka_unit_test(one_thread_at_a_time_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
