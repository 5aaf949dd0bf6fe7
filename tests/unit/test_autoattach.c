/* Which cgroups rules mean, and what is told of cgroups that come and go. */
#include "../../src/autoattach/cgroups.h"
#include "../../src/autoattach/patience.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "scratch.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define FITS  PV_RULES_FITS
#define SELF  PV_RULES_FITS_SELF
#define BELOW PV_RULES_BELOW

static PvRules *rules_of(const char *text)
{
    g_auto(GStrv) patterns = g_strsplit(text, " ", -1);
    PvRules *rules = pv_rules_new((const char *const *)patterns, NULL);

    assert_non_null(rules);
    return rules;
}

static void expect(const char *text, const char *path, guint answer)
{
    g_autoptr(PvRules) rules = rules_of(text);

    assert_int_equal(pv_rules_ask(rules, path), answer);
}

static void a_star_is_one_name(void **state)
{
    (void)state;
    expect("/docker/*", "/docker/3f5a", FITS);
    expect("/docker/*", "/docker", BELOW);
    expect("/docker/*", "/", BELOW);
    expect("/docker/*", "/docker/3f5a/init.scope", PV_RULES_NONE);
    expect("/docker/*", "/dockers/3f5a", PV_RULES_NONE);
    expect("/system.slice/docker-*.scope", "/system.slice/docker-3f.scope", FITS);
    expect("/system.slice/docker-*.scope", "/system.slice/docker-3f.service", PV_RULES_NONE);
    expect("/a?c", "/abc", FITS);
    expect("/a?c", "/ac", PV_RULES_NONE);
}

static void two_stars_are_any_names(void **state)
{
    (void)state;
    expect("/kubepods/**", "/kubepods/besteffort/pod1/c1", SELF | BELOW);
    expect("/kubepods/**", "/kubepods", SELF | BELOW);
    expect("/a/**/z", "/a/z", FITS | BELOW);
    expect("/a/**/z", "/a/b/c/z", FITS | BELOW);
    expect("/a/**/z", "/a/b/c", BELOW);
    expect("/a/**/z", "/b", PV_RULES_NONE);
    expect("/machine.slice/libpod-*.scope/**", "/machine.slice/libpod-1.scope/container",
           SELF | BELOW);
}

static void the_root_is_never_meant(void **state)
{
    (void)state;
    expect("/**", "/", BELOW);
    expect("/**", "/x", SELF | BELOW);
}

static void what_is_left_out_is_left_out_wherever_it_stands(void **state)
{
    (void)state;
    expect("!/docker/secret /docker/*", "/docker/secret", PV_RULES_NONE);
    expect("/docker/* !/docker/secret", "/docker/secret", PV_RULES_NONE);
    expect("/docker/* !/docker/secret", "/docker/web", FITS);
    expect("/** !/docker", "/docker", BELOW);
    expect("/** !/docker", "/docker/web", SELF | BELOW);
}

static void without_a_name_everything_with_a_pid_namespace_is_meant(void **state)
{
    const char *const nothing[] = {NULL};
    g_autoptr(PvRules) none = pv_rules_new(nothing, NULL);
    g_autoptr(PvRules) negative = rules_of("!/docker/*");
    g_autoptr(PvRules) positive = rules_of("!/docker/* /lxc/*");

    (void)state;
    assert_true(pv_rules_want_own_pids(none));
    assert_true(pv_rules_want_own_pids(negative));
    assert_false(pv_rules_want_own_pids(positive));
    assert_int_equal(pv_rules_ask(none, "/x/y"), SELF | BELOW);
    assert_int_equal(pv_rules_ask(negative, "/docker/y"), BELOW);
}

static void a_bad_pattern_is_named(void **state)
{
    static const char *const bad[] = {"docker/*", "", "/", "!docker", "/a//b", "/a/"};

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        const char *const patterns[] = {"/fine", bad[i], NULL};
        g_autoptr(GError) error = NULL;
        g_autofree char *named = g_strdup_printf("bad rule \"%s\"", bad[i]);
        assert_null(pv_rules_new(patterns, &error));
        assert_int_equal(error->code, PV_ERROR_INVALID);
        assert_true(g_str_has_prefix(error->message, named));
    }
}

/* Names are a container's choice, and patterns with many stars are legal. */
static void many_stars_take_no_longer(void **state)
{
    g_autoptr(PvRules) rules = rules_of("/*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b");
    g_autofree char *name = g_strnfill(250, 'a');
    g_autofree char *path = g_strconcat("/", name, NULL);

    (void)state;
    assert_int_equal(pv_rules_ask(rules, path), PV_RULES_NONE);
}

/* ---- watching: of folders, which tell what cgroups tell ---- */

typedef struct {
    GString *log;
    guint n_troubles;
} Told;

static void on_changed(const char *path, guint answer, gpointer data)
{
    (void)answer;
    g_string_append_printf(((Told *)data)->log, "+%s ", path);
}

static void on_gone(const char *path, gpointer data)
{
    g_string_append_printf(((Told *)data)->log, "-%s ", path);
}

static void on_trouble(const char *message, gpointer data)
{
    (void)message;
    ((Told *)data)->n_troubles++;
}

typedef struct {
    Scratch scratch;
    Told told;
    PvRules *rules;
    PvCgroupWatch *watch;
} Fixture;

static void fixture_make(Fixture *fixture, const char *rules)
{
    const PvCgroupWatchFuncs funcs = {on_changed, on_gone, on_trouble, &fixture->told};

    scratch_make(&fixture->scratch);
    fixture->told = (Told){.log = g_string_new(NULL)};
    fixture->rules = rules_of(rules);
    fixture->watch = pv_cgroup_watch_new(fixture->scratch.path, fixture->rules, &funcs, NULL);
    assert_non_null(fixture->watch);
}

static void fixture_clear(Fixture *fixture)
{
    pv_cgroup_watch_free(fixture->watch);
    pv_rules_free(fixture->rules);
    g_string_free(fixture->told.log, TRUE);
    scratch_clear(&fixture->scratch);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static void make(const Fixture *fixture, const char *path)
{
    assert_int_equal(mkdirat(fixture->scratch.fd, path, 0755), 0);
}

static void removed(const Fixture *fixture, const char *path)
{
    assert_int_equal(unlinkat(fixture->scratch.fd, path, AT_REMOVEDIR), 0);
}

/* What is told of all that has happened. */
static void expect_told(Fixture *fixture, const char *expected)
{
    struct pollfd fd = {.fd = pv_cgroup_watch_fd(fixture->watch), .events = POLLIN};

    while (poll(&fd, 1, 0) > 0)
        pv_cgroup_watch_dispatch(fixture->watch);
    assert_string_equal(fixture->told.log->str, expected);
    g_string_truncate(fixture->told.log, 0);
}

static void cgroups_are_told_as_they_come_and_go(void **state)
{
    g_auto(Fixture) fixture = {.scratch = {.fd = -1}};

    (void)state;
    fixture_make(&fixture, "/docker/* /deep/**");
    make(&fixture, "other");
    make(&fixture, "docker");
    make(&fixture, "docker/a");
    pv_cgroup_watch_scan(fixture.watch);
    expect_told(&fixture, "+/docker/a ");
    make(&fixture, "docker/b");
    expect_told(&fixture, "+/docker/b ");
    make(&fixture, "docker/b/below");
    make(&fixture, "other/x");
    expect_told(&fixture, "");
    removed(&fixture, "docker/a");
    expect_told(&fixture, "-/docker/a ");
    removed(&fixture, "docker/b/below");
    removed(&fixture, "docker/b");
    make(&fixture, "docker/b");
    expect_told(&fixture, "-/docker/b +/docker/b ");
}

static void cgroups_that_are_made_at_once_are_all_told(void **state)
{
    g_auto(Fixture) fixture = {.scratch = {.fd = -1}};

    (void)state;
    fixture_make(&fixture, "/a/b/c/*");
    pv_cgroup_watch_scan(fixture.watch);
    make(&fixture, "a");
    make(&fixture, "a/b");
    make(&fixture, "a/b/c");
    make(&fixture, "a/b/c/d");
    expect_told(&fixture, "+/a/b/c/d ");
}

static void processes_that_come_are_told(void **state)
{
    g_auto(Fixture) fixture = {.scratch = {.fd = -1}};

    (void)state;
    fixture_make(&fixture, "/docker/*");
    scratch_put(&fixture.scratch, "docker/a/cgroup.events", "populated 0\n");
    pv_cgroup_watch_scan(fixture.watch);
    expect_told(&fixture, "+/docker/a ");
    pv_autofd int events = openat(fixture.scratch.fd, "docker/a/cgroup.events", O_WRONLY);
    assert_int_equal(write(events, "populated 1\n", 12), 12);
    /* Once by the folder, once by the file itself. */
    expect_told(&fixture, "+/docker/a ");
    pv_autofd int limit =
        openat(fixture.scratch.fd, "docker/a/memory.max", O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(limit, "1\n", 2), 2);
    expect_told(&fixture, "");
    pv_autofd int procs =
        openat(fixture.scratch.fd, "docker/a/cgroup.procs", O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(procs, "1\n", 2), 2);
    expect_told(&fixture, "+/docker/a ");
}

/* More events than the kernel keeps: what is there afterwards is found all the same. */
static void an_overflow_loses_nothing(void **state)
{
    g_autofree char *text = NULL;
    g_auto(Fixture) fixture = {.scratch = {.fd = -1}};

    (void)state;
    if (!g_file_get_contents("/proc/sys/fs/inotify/max_queued_events", &text, NULL, NULL) ||
        atoi(text) > 100000) {
        print_message("skip: the queue of inotify is too long to fill\n");
        skip();
    }
    fixture_make(&fixture, "/docker/*");
    make(&fixture, "docker");
    make(&fixture, "docker/first");
    pv_cgroup_watch_scan(fixture.watch);
    expect_told(&fixture, "+/docker/first ");
    for (int i = 0; i <= atoi(text) / 2; i++) {
        make(&fixture, "docker/x");
        removed(&fixture, "docker/x");
    }
    removed(&fixture, "docker/first");
    make(&fixture, "docker/last");
    struct pollfd fd = {.fd = pv_cgroup_watch_fd(fixture.watch), .events = POLLIN};
    while (poll(&fd, 1, 0) > 0)
        pv_cgroup_watch_dispatch(fixture.watch);
    assert_non_null(strstr(fixture.told.log->str, "-/docker/first "));
    assert_true(g_str_has_suffix(fixture.told.log->str, "+/docker/last "));
}

/* A container that may make cgroups does not use up what others need. */
static void of_a_containers_own_cgroups_only_some_are_watched(void **state)
{
    g_auto(Fixture) fixture = {.scratch = {.fd = -1}};

    (void)state;
    fixture_make(&fixture, "/**");
    make(&fixture, "box");
    pv_cgroup_watch_scan(fixture.watch);
    expect_told(&fixture, "+/box ");
    pv_cgroup_watch_set_taken(fixture.watch, "/box", TRUE);
    for (int i = 0; i < 1000; i++) {
        g_autofree char *path = g_strdup_printf("box/%d", i);
        make(&fixture, path);
    }
    struct pollfd fd = {.fd = pv_cgroup_watch_fd(fixture.watch), .events = POLLIN};
    while (poll(&fd, 1, 0) > 0)
        pv_cgroup_watch_dispatch(fixture.watch);
    g_auto(GStrv) words = g_strsplit(fixture.told.log->str, " ", -1);
    assert_int_equal(g_strv_length(words) - 1, 256);
    assert_int_equal(fixture.told.n_troubles, 0);
    g_string_truncate(fixture.told.log, 0);
    make(&fixture, "other");
    expect_told(&fixture, "+/other ");
    removed(&fixture, "box/7");
    make(&fixture, "box/new");
    expect_told(&fixture, "-/box/7 +/box/new ");
}

/* ---- when to look again ---- */

/* What takes a while to become a container is seen before it has taken twice as long; what becomes
 * none is left alone in the end. */
static void a_start_is_looked_for_ever_more_rarely_and_not_for_ever(void **state)
{
    PvPatience patience;
    gint64 now = 1000000, began = now;
    guint n_looks = 1, msec;

    (void)state;
    pv_patience_begin(&patience, now);
    while ((msec = pv_patience_next(&patience, now)) != 0) {
        gint64 waited_msec = (now - began) / 1000;
        assert_true(msec <= waited_msec + PV_PATIENCE_FIRST_MSEC);
        assert_true(msec <= PV_PATIENCE_LAST_MSEC);
        now += msec * (gint64)1000;
        assert_true(++n_looks < 25);
    }
    assert_true(now - began >= PV_PATIENCE_USEC);
    assert_int_equal(pv_patience_next(&patience, now + 1), 0);
    pv_patience_begin(&patience, now);
    assert_int_equal(pv_patience_next(&patience, now), PV_PATIENCE_FIRST_MSEC);
}

static void hurry_gives_no_more_time(void **state)
{
    PvPatience patience;

    (void)state;
    pv_patience_begin(&patience, 0);
    for (int i = 0; i < 20; i++)
        pv_patience_next(&patience, 0);
    assert_int_equal(pv_patience_next(&patience, 0), PV_PATIENCE_LAST_MSEC);
    pv_patience_hurry(&patience);
    assert_int_equal(pv_patience_next(&patience, 0), PV_PATIENCE_FIRST_MSEC);
    pv_patience_hurry(&patience);
    assert_int_equal(pv_patience_next(&patience, PV_PATIENCE_USEC), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_is_one_name),
        cmocka_unit_test(two_stars_are_any_names),
        cmocka_unit_test(the_root_is_never_meant),
        cmocka_unit_test(what_is_left_out_is_left_out_wherever_it_stands),
        cmocka_unit_test(without_a_name_everything_with_a_pid_namespace_is_meant),
        cmocka_unit_test(a_bad_pattern_is_named),
        cmocka_unit_test(many_stars_take_no_longer),
        cmocka_unit_test(cgroups_are_told_as_they_come_and_go),
        cmocka_unit_test(cgroups_that_are_made_at_once_are_all_told),
        cmocka_unit_test(processes_that_come_are_told),
        cmocka_unit_test(an_overflow_loses_nothing),
        cmocka_unit_test(of_a_containers_own_cgroups_only_some_are_watched),
        cmocka_unit_test(a_start_is_looked_for_ever_more_rarely_and_not_for_ever),
        cmocka_unit_test(hurry_gives_no_more_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
