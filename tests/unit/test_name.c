/*
 * Names of containers from cgroup paths, of every manager that we know and of those who would fool
 * one.
 */
#include "procview/container.h"

#include "../../src/container/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ID       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER_ID "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static void expect_name(const char *path, const char *name, const char *manager)
{
    const char *found_manager = NULL;
    g_autofree char *found = pv_container_name(path, 42, &found_manager);

    assert_string_equal(found, name);
    assert_string_equal(found_manager, manager);
}

static void docker_ids_are_cut_to_twelve_digits(void **state)
{
    (void)state;
    expect_name("/docker/" ID, "0123456789ab", "docker");
    expect_name("/system.slice/docker-" ID ".scope", "0123456789ab", "docker");
    expect_name("/my.slice/docker-" ID ".scope/init.scope", "0123456789ab", "docker");
}

static void podman_is_known_by_libpod_and_conmon_is_not_a_container(void **state)
{
    (void)state;
    expect_name("/machine.slice/libpod-" ID ".scope/container", "0123456789ab", "podman");
    expect_name("/libpod_parent/libpod-" ID, "0123456789ab", "podman");
    expect_name("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope",
                "0123456789ab", "podman");
    expect_name("/machine.slice/libpod-conmon-" ID ".scope",
                "libpod-conmon-0123456789abcdef0123456789abcdef0123456789abcdef01", "");
}

static void lxc_names_its_payload(void **state)
{
    (void)state;
    expect_name("/lxc.payload.web-1", "web-1", "lxc");
    expect_name("/lxc.payload/web", "web", "lxc");
    expect_name("/lxc/web/init.scope", "web", "lxc");
    expect_name("/lxc.payload.web/system.slice/nginx.service", "web", "lxc");
}

static void kubernetes_pods_are_told_from_plain_docker(void **state)
{
    (void)state;
    expect_name("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podab_cd.slice/"
                "cri-containerd-" ID ".scope",
                "0123456789ab", "kubernetes");
    expect_name("/kubepods.slice/kubepods-podab.slice/crio-" ID ".scope", "0123456789ab",
                "kubernetes");
    expect_name("/kubepods/burstable/pod1-2-3/" ID, "0123456789ab", "kubernetes");
    expect_name("/kubepods.slice/kubepods-podab.slice/docker-" ID ".scope", "0123456789ab",
                "kubernetes");
    expect_name(
        "/system.slice/containerd.service/kubepods-burstable-podab.slice:cri-containerd:" ID,
        "0123456789ab", "kubernetes");
}

static void systemd_units_are_unescaped(void **state)
{
    (void)state;
    expect_name("/machine.slice/machine-my\\x2dbox.scope", "my-box", "systemd");
    expect_name("/machine.slice/systemd-nspawn@my\\x2dbox.service/payload", "my-box", "systemd");
    expect_name("/system.slice/nginx.service", "nginx", "systemd");
    expect_name("/user.slice/user-1000.slice/user@1000.service/app.slice/mail.service", "mail",
                "systemd");
}

static void our_own_containers_are_known(void **state)
{
    (void)state;
    expect_name("/procview/demo", "demo", "procview");
    expect_name("/system.slice/procview-demo.scope", "demo", "procview");
}

static void an_unknown_path_gives_its_last_component_and_the_root_a_pid(void **state)
{
    (void)state;
    expect_name("/user.slice/user-0.slice/session-1.scope", "session-1.scope", "");
    expect_name("/", "pid-42", "");
    expect_name("", "pid-42", "");
    expect_name("/docker/short", "short", "");
}

static void names_are_cleaned_of_what_fools_terminals_and_paths(void **state)
{
    (void)state;
    expect_name("/lxc/a\033[31mb", "a_[31mb", "lxc");
    expect_name("/lxc/a\xff\xfe", "a__", "lxc");
    expect_name("/lxc/a\xe2\x80\xae"
                "b",
                "a_b", "lxc"); /* right-to-left override */
    expect_name("/lxc/-rf", "_rf", "lxc");
    expect_name("/machine.slice/machine-\\x2e\\x2e.scope", "machine-\\x2e\\x2e.scope", "");
    expect_name("/machine.slice/machine-a\\x2fb\\x0ac.scope", "a_b_c", "systemd");
    expect_name("/lxc/gr\xc3\xbcn", "gr\xc3\xbcn", "lxc");
}

static void names_have_at_most_64_bytes_and_whole_characters(void **state)
{
    g_autoptr(GString) path = g_string_new("/lxc/a");
    const char *manager;
    g_autofree char *name = NULL;

    (void)state;
    for (int i = 0; i < 100; i++)
        g_string_append(path, "\xc3\xbc");
    name = pv_container_name(path->str, 42, &manager);
    assert_int_equal(strlen(name), 63);
    assert_true(g_utf8_validate(name, -1, NULL));
}

static void the_outermost_name_is_not_the_containers_to_choose(void **state)
{
    g_auto(PvName) outer = {.manager = ""};
    g_auto(PvName) inner = {.manager = ""};

    (void)state;
    assert_true(pv_name_parse("/docker/" ID "/docker/" OTHER_ID, PV_NAME_OUTERMOST, &outer));
    assert_string_equal(outer.full_id, ID);
    assert_true(pv_name_parse("/docker/" ID "/docker/" OTHER_ID, PV_NAME_INNERMOST, &inner));
    assert_string_equal(inner.full_id, OTHER_ID);
}

static void a_path_of_thousands_of_components_is_bounded(void **state)
{
    g_autoptr(GString) path = g_string_new(NULL);
    const char *manager;
    g_autofree char *name = NULL;

    (void)state;
    for (int i = 0; i < 2000; i++)
        g_string_append(path, "/a");
    name = pv_container_name(path->str, 42, &manager);
    assert_in_range(strlen(name), 1, 64);
    assert_null(strchr(name, '/'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(docker_ids_are_cut_to_twelve_digits),
        cmocka_unit_test(podman_is_known_by_libpod_and_conmon_is_not_a_container),
        cmocka_unit_test(lxc_names_its_payload),
        cmocka_unit_test(kubernetes_pods_are_told_from_plain_docker),
        cmocka_unit_test(systemd_units_are_unescaped),
        cmocka_unit_test(our_own_containers_are_known),
        cmocka_unit_test(an_unknown_path_gives_its_last_component_and_the_root_a_pid),
        cmocka_unit_test(names_are_cleaned_of_what_fools_terminals_and_paths),
        cmocka_unit_test(names_have_at_most_64_bytes_and_whole_characters),
        cmocka_unit_test(the_outermost_name_is_not_the_containers_to_choose),
        cmocka_unit_test(a_path_of_thousands_of_components_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
