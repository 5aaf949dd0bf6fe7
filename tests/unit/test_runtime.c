/*
 * The runtime wrapper: a configuration is changed at the right bytes and nowhere else, or not at
 * all; the command line of runc and crun is understood; the hook believes nothing it is told.
 */
#include "arguments.h"
#include "bundle.h"
#include "hook.h"
#include "json.h"
#include "procview/error.h"
#include "real.h"
#include "report.h"
#include "settings.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PROC_MOUNT "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"}"
#define SYS_MOUNT  "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\"}"
#define NAMESPACES "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"}]}"
#define ADDED_MOUNT                                                                                \
    "{\"destination\":\"/proc/meminfo\",\"type\":\"bind\",\"source\":\"/v/proc/meminfo\","         \
    "\"options\":[\"bind\"]}"
#define ADDED_HOOK                                                                                 \
    "{\"path\":\"/usr/procview-hook\",\"args\":[\"procview-hook\",\"createContainer\","            \
    "\"--views\",\"/v\"],\"timeout\":30}"
#define ADDED_HOOKS "\"hooks\":{\"createContainer\":[" ADDED_HOOK "]}"

static const char *const only_meminfo[] = {"proc/meminfo", NULL};
static const char *const meminfo_and_cpu[] = {"proc/meminfo", "sys/devices/system/cpu", NULL};

static PvBundlePlan a_plan(void)
{
    return (PvBundlePlan){
        .views = "/v", .paths = only_meminfo, .hook = "/usr/procview-hook", .bundle = "/b"};
}

static char *edit_with(const PvBundlePlan *plan, const char *text, GError **error)
{
    g_autoptr(GString) out = g_string_new(NULL);

    if (!pv_bundle_edit(plan, text, strlen(text), out, error)) {
        assert_int_equal(out->len, 0);
        return NULL;
    }
    return g_strdup(out->str);
}

static void expect_edit(const char *text, const char *expected)
{
    PvBundlePlan plan = a_plan();
    g_autoptr(GError) error = NULL;
    g_autofree char *out = edit_with(&plan, text, &error);

    assert_null(error);
    assert_string_equal(out, expected);
}

static void expect_refusal(const char *text, PvError code, const char *part)
{
    PvBundlePlan plan = a_plan();
    g_autoptr(GError) error = NULL;
    g_autofree char *out = edit_with(&plan, text, &error);

    assert_null(out);
    assert_true(g_error_matches(error, PV_ERROR, (int)code));
    if (strstr(error->message, part) == NULL)
        fail_msg("'%s' does not contain '%s'", error->message, part);
    assert_null(strchr(error->message, '\n'));
}

/* ---- splicing ---- */

static void adds_the_mount_and_the_hook(void **state)
{
    (void)state;
    expect_edit("{\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}",
                "{\"mounts\":[" PROC_MOUNT "," ADDED_MOUNT "]," NAMESPACES "," ADDED_HOOKS "}");
}

static void keeps_every_other_byte(void **state)
{
    static const char head[] = "\r\n{ \"x-unknown\" :\t{\"a\":[1e400,-0.0,[ ]]},\r\n"
                               "\"limit\":18446744073709551615,\"nul\":\"a\\u0000b\\/\",\n"
                               "\"dup\":1,\"dup\":2,\"raw\":\"\xff\xc3\",\r\n";
    g_autofree char *text = g_strconcat(
        head, "\"mounts\" : [ " PROC_MOUNT "\r\n ] ,\r\n" NAMESPACES "\r\n}\r\n\r\n", NULL);
    g_autofree char *expected =
        g_strconcat(head,
                    "\"mounts\" : [ " PROC_MOUNT "," ADDED_MOUNT "\r\n ] ,\r\n" NAMESPACES
                    "," ADDED_HOOKS "\r\n}\r\n\r\n",
                    NULL);

    (void)state;
    expect_edit(text, expected);
}

static void keeps_a_huge_configuration(void **state)
{
    g_autoptr(GString) text = g_string_new("{\"mounts\":[" PROC_MOUNT "]," NAMESPACES);

    (void)state;
    for (int i = 0; i < 20000; i++)
        g_string_append_printf(text, ",\"key%d\":[{\"value\":\"%0100d\"}]", i, i);
    g_autofree char *tail = g_strdup(strstr(text->str, "]," NAMESPACES));
    g_autofree char *expected =
        g_strconcat("{\"mounts\":[" PROC_MOUNT "," ADDED_MOUNT, tail, ",", ADDED_HOOKS, "}", NULL);
    g_string_append_c(text, '}');
    expect_edit(text->str, expected);
}

static void puts_hooks_in_the_place_of_null(void **state)
{
    (void)state;
    expect_edit("{\"hooks\": null ,\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}",
                "{\"hooks\": {\"createContainer\":[" ADDED_HOOK "]} ,\"mounts\":[" PROC_MOUNT
                "," ADDED_MOUNT "]," NAMESPACES "}");
}

static void puts_a_list_of_hooks_in_the_place_of_null(void **state)
{
    (void)state;
    expect_edit("{\"hooks\":{\"createContainer\":null},\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}",
                "{\"hooks\":{\"createContainer\":[" ADDED_HOOK "]},\"mounts\":[" PROC_MOUNT
                "," ADDED_MOUNT "]," NAMESPACES "}");
}

static void adds_to_empty_hooks(void **state)
{
    (void)state;
    expect_edit("{\"hooks\":{ },\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}",
                "{\"hooks\":{\"createContainer\":[" ADDED_HOOK "] },\"mounts\":[" PROC_MOUNT
                "," ADDED_MOUNT "]," NAMESPACES "}");
}

static void comes_after_the_users_hooks(void **state)
{
    (void)state;
    expect_edit("{\"hooks\":{\"createContainer\":[{\"path\":\"/x\"} ]},\"mounts\":[" PROC_MOUNT
                "]," NAMESPACES "}",
                "{\"hooks\":{\"createContainer\":[{\"path\":\"/x\"}," ADDED_HOOK
                " ]},\"mounts\":[" PROC_MOUNT "," ADDED_MOUNT "]," NAMESPACES "}");
}

static void adds_nothing_twice(void **state)
{
    static const char text[] =
        "{\"mounts\":[" PROC_MOUNT "," ADDED_MOUNT "]," NAMESPACES "," ADDED_HOOKS "}";

    (void)state;
    expect_edit(text, text);
}

static void leaves_what_the_user_mounts(void **state)
{
    static const char *const destinations[] = {
        "/proc/meminfo",    "proc/meminfo",       "/proc//meminfo/",
        "//proc/./meminfo", "/x/../proc/meminfo", "\\u002fproc\\/meminfo",
    };

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(destinations); i++) {
        g_autofree char *mounts = g_strdup_printf(
            "{\"mounts\":[" PROC_MOUNT ",{\"destination\":\"%s\"}]," NAMESPACES, destinations[i]);
        g_autofree char *text = g_strconcat(mounts, "}", NULL);
        g_autofree char *expected = g_strconcat(mounts, "," ADDED_HOOKS "}", NULL);
        expect_edit(text, expected);
    }
}

static char *edit_cpu(const char *mount)
{
    PvBundlePlan plan = a_plan();
    g_autofree char *text =
        g_strconcat("{\"mounts\":[", mount, PROC_MOUNT "]," NAMESPACES "}", NULL);

    plan.paths = meminfo_and_cpu;
    return edit_with(&plan, text, NULL);
}

static void leaves_a_directory_with_a_mount_of_the_user_in_or_above_it(void **state)
{
    static const char *const destinations[] = {"/sys/devices/system/cpu",
                                               "/sys/devices/system/cpu/online",
                                               "/sys/devices/system", "/sys/devices"};

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(destinations); i++) {
        g_autofree char *mount =
            g_strdup_printf(SYS_MOUNT ",{\"destination\":\"%s\"},", destinations[i]);
        g_autofree char *out = edit_cpu(mount);
        assert_non_null(strstr(out, "/v/proc/meminfo"));
        assert_null(strstr(out, "/v/sys"));
    }
}

static void mounts_in_sys_where_there_is_one(void **state)
{
    (void)state;
    g_autofree char *own = edit_cpu(SYS_MOUNT ",");
    assert_non_null(strstr(own, "/v/sys/devices/system/cpu"));
    g_autofree char *bound =
        edit_cpu("{\"destination\":\"/sys\",\"type\":\"bind\",\"source\":\"/sys\"},");
    assert_non_null(strstr(bound, "/v/sys/devices/system/cpu"));
    g_autofree char *none = edit_cpu("");
    assert_null(strstr(none, "/v/sys/devices/system/cpu"));
    g_autofree char *neighbour =
        edit_cpu(SYS_MOUNT ",{\"destination\":\"/sys/devices/system/cpu2\"},");
    assert_non_null(strstr(neighbour, "/v/sys/devices/system/cpu"));
}

/* What is said of the mounts of a container's /sys and of linux.rootfsPropagation. */
static gboolean mounts_the_cpus(const char *sys_mount, const char *propagation)
{
    PvBundlePlan plan = a_plan();
    g_autofree char *text =
        g_strdup_printf("{\"mounts\":[" PROC_MOUNT ",%s],\"linux\":{\"rootfsPropagation\":\"%s\","
                        "\"namespaces\":[{\"type\":\"mount\"}]}}",
                        sys_mount, propagation);

    plan.paths = meminfo_and_cpu;
    g_autofree char *out = edit_with(&plan, text, NULL);
    assert_non_null(strstr(out, "/v/proc/meminfo"));
    assert_non_null(strstr(out, "procview-hook")); /* which sees what is really mounted */
    return strstr(out, "/v/sys/devices/system/cpu") != NULL;
}

static gboolean mounts_in_bound_sys(const char *options, const char *propagation)
{
    g_autofree char *mount =
        g_strdup_printf("{\"destination\":\"/sys\",\"type\":\"none\",\"source\":\"/sys\","
                        "\"options\":[%s]}",
                        options);

    return mounts_the_cpus(mount, propagation);
}

static void leaves_a_shared_sys_to_the_hook(void **state)
{
    static const char *const propagations[] = {"",        "rslave", "rprivate", "slave",
                                               "private", "shared", "rshared"};

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(propagations); i++) {
        gboolean is_cut_off = i <= 2;
        const char *propagation = propagations[i];
        assert_true(mounts_the_cpus(SYS_MOUNT, propagation));
        assert_int_equal(mounts_in_bound_sys("\"rbind\"", propagation), is_cut_off);
        assert_int_equal(mounts_in_bound_sys("\"bind\",\"ro\"", propagation), is_cut_off);
        assert_int_equal(mounts_in_bound_sys("\"rbind\",\"private\"", propagation), is_cut_off);
        assert_true(mounts_in_bound_sys("\"rbind\",\"rprivate\"", propagation));
        assert_true(mounts_in_bound_sys("\"rslave\",\"bind\"", propagation));
        assert_false(mounts_in_bound_sys("\"rbind\",\"rshared\"", propagation));
        assert_false(mounts_in_bound_sys("\"rbind\",\"shared\",\"rslave\"", propagation));
        assert_false(mounts_in_bound_sys("\"rbind\"],\"options\":[\"rshared\"", propagation));
    }
}

static void leaves_a_shared_mount_over_a_private_one_to_the_hook(void **state)
{
    (void)state;
    assert_false(mounts_the_cpus(SYS_MOUNT
                                 ",{\"destination\":\"sys/\",\"type\":\"bind\",\"source\":\"/sys\","
                                 "\"options\":[\"rbind\",\"rshared\"]}",
                                 ""));
    assert_false(mounts_the_cpus("{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"/sys\","
                                 "\"options\":[\"rbind\"]}",
                                 "shared"));
    assert_false(mounts_the_cpus(SYS_MOUNT ",{\"destination\":\"/sys\",\"options\":\"x\"}", ""));
}

static void leaves_a_shared_proc_to_the_hook(void **state)
{
    static const char proc[] = "{\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\","
                               "\"options\":[\"rshared\"]}]," NAMESPACES;
    static const char bound[] = "{\"mounts\":[" PROC_MOUNT ",{\"destination\":\"/proc\","
                                "\"type\":\"bind\",\"source\":\"/proc\","
                                "\"options\":[\"rbind\",\"shared\"]}]," NAMESPACES;
    g_autofree char *shared = g_strconcat(proc, "}", NULL);
    g_autofree char *shared_out = g_strconcat(proc, "," ADDED_HOOKS "}", NULL);
    g_autofree char *over = g_strconcat(bound, "}", NULL);
    g_autofree char *over_out = g_strconcat(bound, "," ADDED_HOOKS "}", NULL);

    (void)state;
    expect_edit(shared, shared_out);
    expect_edit(over, over_out);
}

static char *edit_with_root(const PvBundlePlan *plan, const char *root)
{
    g_autofree char *text =
        g_strconcat("{\"root\":{\"path\":\"", root,
                    "\",\"readonly\":true},\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}", NULL);
    return edit_with(plan, text, NULL);
}

/* DIR/real/bundle is also DIR/link, and DIR/real/root "fs a directory. */
static void tells_the_hook_the_root_as_the_kernel_resolves_it(void **state)
{
    PvBundlePlan plan = a_plan();
    g_autofree char *dir = g_dir_make_tmp("pv-root-XXXXXX", NULL);
    g_autofree char *real = g_build_filename(dir, "real", NULL);
    g_autofree char *bundle = g_build_filename(real, "bundle", NULL);
    g_autofree char *rootfs = g_build_filename(real, "root \"fs", NULL);
    g_autofree char *link = g_build_filename(dir, "link", NULL);
    g_autofree char *expected =
        g_strdup_printf("\"--rootfs\",\"%s/root \\\"fs\",\"--strict\"]", real);

    (void)state;
    assert_int_equal(g_mkdir_with_parents(bundle, 0755), 0);
    assert_int_equal(mkdir(rootfs, 0755), 0);
    assert_int_equal(symlink("real/bundle", link), 0);
    plan.strict = TRUE;
    plan.bundle = link;
    g_autofree char *out = edit_with_root(&plan, "../root \\\"fs");
    assert_non_null(strstr(out, expected));
    g_autofree char *missing = edit_with_root(&plan, "../nonexistent");
    assert_null(strstr(missing, "--rootfs"));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(bundle), 0);
    assert_int_equal(rmdir(rootfs), 0);
    assert_int_equal(rmdir(real), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void renews_the_hook_of_an_earlier_start(void **state)
{
    static const char text[] = "{\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}";
    PvBundlePlan first = a_plan(), second = a_plan();

    (void)state;
    first.log = "/l1";
    first.log_is_json = TRUE;
    second.log = "/l2";
    second.strict = TRUE;
    g_autofree char *once = edit_with(&first, text, NULL);
    assert_non_null(strstr(once, "\"--log\",\"/l1\",\"--log-format\",\"json\"],\"timeout\":30}"));
    g_autofree char *twice = edit_with(&second, once, NULL);
    g_autofree char *at_once = edit_with(&second, text, NULL);
    assert_string_equal(twice, at_once);
}

static void leaves_a_hook_of_the_user(void **state)
{
    static const char text[] =
        "{\"mounts\":[" PROC_MOUNT "," ADDED_MOUNT "]," NAMESPACES
        ",\"hooks\":{\"createContainer\":[{\"path\":\"/usr/procview-hook\",\"args\":"
        "[\"procview-hook\",\"createContainer\",\"--views\",\"/mine\"]}]}}";

    (void)state;
    expect_edit(text, text);
}

static void adds_a_time_namespace_whose_boot_is_now(void **state)
{
    PvBundlePlan plan = a_plan();

    (void)state;
    plan.time_namespace = TRUE;
    plan.boottime_nsec = 5250000000; /* -6 s + 0.75 s */
    g_autofree char *out = edit_with(&plan, "{\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}", NULL);
    assert_non_null(strstr(out,
                           "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"},"
                           "{\"type\":\"time\"}],\"timeOffsets\":{\"boottime\":"
                           "{\"nanosecs\":750000000,\"secs\":-6}}}"));
}

static void renews_the_time_of_an_earlier_start(void **state)
{
    static const char text[] = "{\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}";
    PvBundlePlan first = a_plan(), second = a_plan();

    (void)state;
    first.time_namespace = second.time_namespace = TRUE;
    first.boottime_nsec = G_GUINT64_CONSTANT(8000000000000000001);
    second.boottime_nsec = 5250000000;
    g_autofree char *once = edit_with(&first, text, NULL);
    g_autofree char *at_once = edit_with(&second, text, NULL);
    g_autofree char *twice = edit_with(&second, once, NULL);
    assert_string_equal(twice, at_once);
    second.time_namespace = FALSE; /* the container must start anyway */
    g_autofree char *without = edit_with(&second, once, NULL);
    assert_string_equal(without, at_once);
}

static void leaves_the_users_time_offsets(void **state)
{
    static const char *const linux_sections[] = {
        "{\"type\":\"time\"}],\"timeOffsets\":{\"boottime\":{\"secs\":-6,\"nanosecs\":5}}",
        "{\"type\":\"time\"}],\"timeOffsets\":{\"boottime\":{\"nanosecs\":5,\"secs\":6}}",
        ("{\"type\":\"time\"}],\"timeOffsets\":{\"boottime\":{\"nanosecs\":5,\"secs\":-6},"
         "\"monotonic\":{}}"),
        "{\"type\":\"time\"}],\"timeOffsets\":{\"boottime\":{\"nanosecs\":5,\"secs\":-6,\"x\":{}}}",
        "{\"type\": \"time\"}],\"timeOffsets\":{\"boottime\":{\"nanosecs\":5,\"secs\":-6}}",
        "{\"type\":\"pid\"}],\"timeOffsets\":{\"boottime\":{\"nanosecs\":5,\"secs\":-6}}",
        "{\"type\":\"time\"}]",
    };
    PvBundlePlan plan = a_plan();

    (void)state;
    plan.time_namespace = TRUE;
    plan.boottime_nsec = 1;
    for (guint i = 0; i < G_N_ELEMENTS(linux_sections); i++) {
        g_autofree char *text =
            g_strconcat("{\"mounts\":[" PROC_MOUNT "," ADDED_MOUNT "]," ADDED_HOOKS
                        ",\"linux\":{\"namespaces\":[{\"type\":\"mount\"},",
                        linux_sections[i], "}}", NULL);
        g_autofree char *out = edit_with(&plan, text, NULL);
        assert_string_equal(out, text);
    }
}

static void leaves_the_users_time_namespace(void **state)
{
    static const char text[] =
        "{\"mounts\":[" PROC_MOUNT "],\"linux\":{\"namespaces\":[{\"type\":\"mount\"},"
        "{\"type\":\"time\",\"path\":\"/x\"}]}}";
    PvBundlePlan plan = a_plan();

    (void)state;
    plan.time_namespace = TRUE;
    plan.boottime_nsec = 1;
    g_autofree char *out = edit_with(&plan, text, NULL);
    assert_null(strstr(out, "timeOffsets"));
}

/* ---- bad configurations ---- */

static void refuses_text_that_is_no_json(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "nul",
        "{\"a\":01}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":+1}",
        "\"\\x\"",
        "\"\\u12G4\"",
        "\"a\nb\"",
        "\"open",
        "{} {}",
        "\xef\xbb\xbf{}",
        "{\"a\":-}",
    };

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        expect_refusal(texts[i], PV_ERROR_INVALID, "no valid JSON: ");
}

static void refuses_every_truncation(void **state)
{
    static const char text[] = "{\"mounts\":[" PROC_MOUNT "]," NAMESPACES ",\"n\":[1.5e3,true]}";

    (void)state;
    for (gsize length = 0; length + 1 < sizeof(text) - 1; length++) {
        g_autofree char *part = g_strndup(text, length);
        expect_refusal(part, PV_ERROR_INVALID, "no valid JSON: ");
    }
}

static void refuses_deep_nesting(void **state)
{
    g_autofree char *text = g_strnfill(1000000, '[');

    (void)state;
    expect_refusal(text, PV_ERROR_INVALID, "nested too deeply");
}

static void refuses_keys_that_are_there_twice(void **state)
{
    (void)state;
    expect_refusal("{\"mounts\":[" PROC_MOUNT "],\"mounts\":[]," NAMESPACES "}", PV_ERROR_INVALID,
                   "\"mounts\" is there twice");
    expect_refusal("{\"mounts\":[" PROC_MOUNT "],\"\\u006dounts\":[]," NAMESPACES "}",
                   PV_ERROR_INVALID, "\"mounts\" is there twice");
    expect_refusal("{\"mounts\":[" PROC_MOUNT "],\"Hooks\":{}," NAMESPACES "}", PV_ERROR_INVALID,
                   "\"hooks\" is there in other letters");
    expect_refusal("{\"mounts\":[" PROC_MOUNT
                   ",{\"destination\":\"/a\",\"destination\":\"/b\"}]," NAMESPACES "}",
                   PV_ERROR_INVALID, "no clear destination");
}

static void refuses_values_of_other_types(void **state)
{
    (void)state;
    expect_refusal("[]", PV_ERROR_INVALID, "no JSON object");
    expect_refusal("{\"mounts\":{}," NAMESPACES "}", PV_ERROR_INVALID, "\"mounts\"");
    expect_refusal("{\"linux\":[]}", PV_ERROR_INVALID, "\"linux\"");
    expect_refusal("{\"hooks\":[],\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}", PV_ERROR_INVALID,
                   "\"hooks\"");
    expect_refusal("{\"hooks\":{\"createContainer\":{}},\"mounts\":[" PROC_MOUNT "]," NAMESPACES
                   "}",
                   PV_ERROR_INVALID, "\"createContainer\"");
}

static void refuses_a_container_without_linux(void **state)
{
    (void)state;
    expect_refusal("{\"mounts\":[" PROC_MOUNT "]}", PV_ERROR_INVALID, "no \"linux\" section");
    expect_refusal("{\"linux\":null}", PV_ERROR_INVALID, "no \"linux\" section");
}

static void refuses_a_container_without_proc(void **state)
{
    (void)state;
    expect_refusal("{" NAMESPACES "}", PV_ERROR_UNSUPPORTED, "no mounts");
    expect_refusal("{\"mounts\":null," NAMESPACES "}", PV_ERROR_UNSUPPORTED, "no mounts");
    expect_refusal("{\"mounts\":[]," NAMESPACES "}", PV_ERROR_UNSUPPORTED, "no /proc");
    expect_refusal("{\"mounts\":[{\"destination\":\"/proc\",\"type\":\"bind\",\"source\":\"/proc\"}"
                   "]," NAMESPACES "}",
                   PV_ERROR_UNSUPPORTED, "no /proc");
}

static void refuses_a_mount_namespace_of_others(void **state)
{
    (void)state;
    expect_refusal("{\"mounts\":[" PROC_MOUNT "],\"linux\":{\"namespaces\":[{\"type\":\"pid\"}]}}",
                   PV_ERROR_UNSUPPORTED, "no mount namespace");
    expect_refusal("{\"mounts\":[" PROC_MOUNT "],\"linux\":{\"namespaces\":[{\"type\":\"mount\","
                   "\"path\":\"/proc/1/ns/mnt\"}]}}",
                   PV_ERROR_UNSUPPORTED, "no mount namespace");
    expect_refusal("{\"mounts\":[" PROC_MOUNT "],\"linux\":{}}", PV_ERROR_UNSUPPORTED,
                   "no mount namespace");
}

static void refuses_a_user_namespace_that_cannot_reach_the_views(void **state)
{
    (void)state;
    expect_refusal("{\"mounts\":[" PROC_MOUNT "],\"linux\":{\"namespaces\":[{\"type\":\"mount\"},"
                   "{\"type\":\"user\"}]}}",
                   PV_ERROR_PERMISSION, "/v");
}

static void edits_with_a_read_only_root_and_masked_paths(void **state)
{
    static const char start[] = "{\"root\":{\"readonly\":true},\"mounts\":[" PROC_MOUNT;
    static const char end[] = "],\"linux\":{\"maskedPaths\":[\"/proc/kcore\",\"/proc/meminfo\"],"
                              "\"readonlyPaths\":[\"/proc/sys\"],"
                              "\"namespaces\":[{\"type\":\"mount\"}]}";
    g_autofree char *text = g_strconcat(start, end, "}", NULL);
    g_autofree char *expected = g_strconcat(start, "," ADDED_MOUNT, end, "," ADDED_HOOKS "}", NULL);

    (void)state;
    expect_edit(text, expected);
}

/* ---- files ---- */

static void with_bundle(const char *text, void (*check)(const char *dir, const char *path))
{
    g_autofree char *dir = g_dir_make_tmp("pv-bundle-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "config.json", NULL);

    if (text != NULL) {
        assert_true(g_file_set_contents(path, text, -1, NULL));
        assert_int_equal(chmod(path, 0640), 0);
    }
    check(dir, path);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* nothing else was left in it */
}

static void check_edited(const char *dir, const char *path)
{
    PvBundlePlan plan = a_plan();
    struct stat before, after;
    g_autofree char *text = NULL;

    (void)dir;
    assert_int_equal(stat(path, &before), 0);
    assert_true(pv_bundle_edit_file(&plan, path, NULL));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mode & 07777, 0640);
    assert_int_equal(after.st_uid, before.st_uid);
    assert_int_not_equal(after.st_ino, before.st_ino);
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    assert_non_null(strstr(text, ADDED_MOUNT));
}

static void replaces_the_file_with_its_mode(void **state)
{
    (void)state;
    with_bundle("{\"mounts\":[" PROC_MOUNT "]," NAMESPACES "}", check_edited);
}

static void check_untouched(const char *dir, const char *path)
{
    PvBundlePlan plan = a_plan();
    struct stat before, after;
    g_autoptr(GError) error = NULL;

    (void)dir;
    assert_int_equal(stat(path, &before), 0);
    assert_false(pv_bundle_edit_file(&plan, path, &error));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_size, before.st_size);
}

static void leaves_a_broken_file_as_it_is(void **state)
{
    (void)state;
    with_bundle("{\"mounts\":[" PROC_MOUNT "]", check_untouched);
}

static void check_missing(const char *dir, const char *path)
{
    PvBundlePlan plan = a_plan();
    g_autoptr(GError) error = NULL;

    assert_false(pv_bundle_edit_file(&plan, path, &error));
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_NOT_FOUND));
    g_clear_error(&error);
    assert_false(pv_bundle_edit_file(&plan, dir, &error)); /* a directory in its place */
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_INVALID));
}

static void tells_a_missing_file(void **state)
{
    (void)state;
    with_bundle(NULL, check_missing);
}

/* ---- the command line ---- */

static PvRuntimeArguments parse(PvRuntimeSyntax syntax, const char *line)
{
    static char **argv; /* the result points into it */
    PvRuntimeArguments arguments;

    g_strfreev(argv);
    argv = g_strsplit(line, " ", -1);
    pv_runtime_arguments_parse(syntax, (int)g_strv_length(argv), argv, &arguments);
    return arguments;
}

typedef struct {
    const char *line;
    const char *bundle; /* NULL: none is used */
    const char *config, *log;
    gboolean is_json;
} Call;

static void expect_calls(PvRuntimeSyntax syntax, const Call *calls, gsize n_calls)
{
    for (gsize i = 0; i < n_calls; i++) {
        PvRuntimeArguments arguments = parse(syntax, calls[i].line);
        if (g_strcmp0(arguments.has_bundle ? arguments.bundle : NULL, calls[i].bundle) != 0 ||
            (arguments.has_bundle && g_strcmp0(arguments.config, calls[i].config) != 0) ||
            g_strcmp0(arguments.log, calls[i].log) != 0 ||
            arguments.log_is_json != calls[i].is_json)
            fail_msg("%s", calls[i].line);
    }
}

static void understands_the_command_line_of_runc(void **state)
{
    static const Call calls[] = {
        {"r --root R --log F --log-format json create --bundle B --pid-file P ID", "B", NULL, "F",
         TRUE},
        {"r --root=R --log=F --log-format=text --systemd-cgroup run -b B ID", "B", NULL, "F",
         FALSE},
        {"r -log F create ID", ".", NULL, "F", FALSE},
        {"r --systemd-cgroup --root R create --pid-file=P --bundle=B --console-socket C ID", "B",
         NULL, NULL, FALSE},
        {"r --rootless auto create -bundle B ID", "B", NULL, NULL, FALSE},
        {"r create --b=B ID", "B", NULL, NULL, FALSE},
        {"r create ID --bundle B", "B", NULL, NULL, FALSE},
        {"r run ID -b B", "B", NULL, NULL, FALSE},
        {"r run --pid-file P ID --detach -bundle=B --pid-file Q", "B", NULL, NULL, FALSE},
        {"r run -d=true ID --pid-file run -b B", "B", NULL, NULL, FALSE},
        {"r run -b A ID -b B", "B", NULL, NULL, FALSE},
        {"r run ID -- -b B", ".", NULL, NULL, FALSE},
        {"r run -- ID -b B", ".", NULL, NULL, FALSE},
        {"r run -b= ID", ".", NULL, NULL, FALSE},
        {"r run --bund B -db B -bB -f c ID", ".", NULL, NULL, FALSE},
        {"r create ID --help", NULL, NULL, NULL, FALSE},
        {"r --root create delete ID", NULL, NULL, NULL, FALSE},
        {"r --log create start run", NULL, NULL, "create", FALSE},
        {"r --version create", NULL, NULL, NULL, FALSE},
        {"r create --help", NULL, NULL, NULL, FALSE},
        {"r exec ID run", NULL, NULL, NULL, FALSE},
        {"r features", NULL, NULL, NULL, FALSE},
        {"r run ID --bundle", ".", NULL, NULL, FALSE},
        {"r --log", NULL, NULL, NULL, FALSE},
        {"r", NULL, NULL, NULL, FALSE},
    };

    (void)state;
    expect_calls(PV_SYNTAX_RUNC, calls, G_N_ELEMENTS(calls));
}

static void understands_the_command_line_of_crun(void **state)
{
    static const Call calls[] = {
        {"r --root R --log F --log-format json create --bundle B --pid-file P ID", "B", NULL, "F",
         TRUE},
        {"r --cgroup-manager cgroupfs create --no-pivot -bB -f c.json ID", "B", "c.json", NULL,
         FALSE},
        {"r --rootless=true create --config=c.json ID", ".", "c.json", NULL, FALSE},
        {"r create --config=config.json ID", ".", NULL, NULL, FALSE},
        {"r --rootless create -b B ID", "B", NULL, NULL, FALSE},
        {"r run -db B ID", "B", NULL, NULL, FALSE},
        {"r run -dbB ID", "B", NULL, NULL, FALSE},
        {"r run -dfb -b B ID", "B", "b", NULL, FALSE},
        {"r create --bund B ID", "B", NULL, NULL, FALSE},
        {"r create --b=B --conf c --pi P ID", "B", "c", NULL, FALSE},
        {"r --log-f json --roo R create -b B ID", "B", NULL, NULL, TRUE},
        {"r --log F --debug create ID", ".", NULL, "F", FALSE},
        {"r run -bundle ID", "undle", NULL, NULL, FALSE},
        {"r run ID -b B", ".", NULL, NULL, FALSE},
        {"r run --program-name -b ID", ".", NULL, NULL, FALSE},
        {"r run -? -b B ID", NULL, NULL, NULL, FALSE},
        {"r run --usage", NULL, NULL, NULL, FALSE},
        {"r -V run", NULL, NULL, NULL, FALSE},
        {"r run -db", ".", NULL, NULL, FALSE},
        {"r exec ID run", NULL, NULL, NULL, FALSE},
        {"r", NULL, NULL, NULL, FALSE},
    };

    (void)state;
    expect_calls(PV_SYNTAX_CRUN, calls, G_N_ELEMENTS(calls));
}

static void knows_whose_command_line_it_is(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("pv-syntax-XXXXXX", NULL);
    g_autofree char *crun = g_build_filename(dir, "crun", NULL);
    g_autofree char *link = g_build_filename(dir, "runc", NULL);

    (void)state;
    assert_true(g_file_set_contents(crun, "", -1, NULL));
    assert_int_equal(symlink("crun", link), 0);
    assert_int_equal(pv_runtime_syntax(crun), PV_SYNTAX_CRUN);
    assert_int_equal(pv_runtime_syntax(link), PV_SYNTAX_CRUN);
    assert_int_equal(pv_runtime_syntax("/nonexistent/runc"), PV_SYNTAX_RUNC);
    assert_int_equal(pv_runtime_syntax("/nonexistent/crun-1.8"), PV_SYNTAX_CRUN);
    assert_int_equal(pv_runtime_syntax("/crun/other"), PV_SYNTAX_RUNC);
    unlink(link);
    unlink(crun);
    assert_int_equal(rmdir(dir), 0);
}

static void tells_the_hook_a_log_that_it_can_open(void **state)
{
    static const char *const none[] = {"",          "syslog:x", "journald:x",     "/dev/stderr",
                                       "/dev/fd/3", "file:",    "/proc/self/fd/3"};
    PvRuntimeArguments arguments = {.log = "file:/x/l"};
    g_autofree char *here = g_get_current_dir();
    g_autofree char *expected = g_build_filename(here, "../l", NULL);

    (void)state;
    g_autofree char *absolute = pv_runtime_report_file(&arguments);
    assert_string_equal(absolute, "/x/l");
    arguments.log = "../l";
    g_autofree char *relative = pv_runtime_report_file(&arguments);
    assert_string_equal(relative, expected);
    for (guint i = 0; i < G_N_ELEMENTS(none); i++) {
        arguments.log = none[i];
        assert_null(pv_runtime_report_file(&arguments));
    }
    arguments.log = NULL;
    assert_null(pv_runtime_report_file(&arguments));
}

static void writes_the_log_in_its_format(void **state)
{
    (void)state;
    g_autofree char *json = pv_runtime_report_line(TRUE, "warning", "a \"b\"\n", "T");
    assert_string_equal(json,
                        "{\"level\":\"warning\",\"msg\":\"a \\\"b\\\"\\u000a\",\"time\":\"T\"}\n");
    g_autofree char *text = pv_runtime_report_line(FALSE, "error", "a", "T");
    assert_string_equal(text, "time=\"T\" level=error msg=\"a\"\n");
}

static void learns_time_namespaces_from_features(void **state)
{
    static const char with[] = "{\"linux\":{\"namespaces\":[\"pid\",\"time\"]}}";
    static const char without[] = "{\"linux\":{\"namespaces\":[\"pid\"]},\"time\":\"time\"}";

    (void)state;
    assert_true(pv_real_parse_features(with, strlen(with)));
    assert_false(pv_real_parse_features(without, strlen(without)));
    assert_false(pv_real_parse_features("unknown command", 15));
    assert_false(pv_real_parse_features("[]", 2));
}

static void asks_a_runtime_once_for_its_features(void **state)
{
    static const char script[] = "#!/bin/sh\necho asked >>\"$0.count\"\n"
                                 "echo '{\"linux\":{\"namespaces\":[\"time\"]}}'\n";
    g_autofree char *dir = g_dir_make_tmp("pv-features-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "runc", NULL);
    g_autofree char *count = g_strconcat(path, ".count", NULL);
    g_autofree char *cache = g_build_filename(dir, "cache", NULL);
    g_autofree char *asked = NULL;

    (void)state;
    assert_true(g_file_set_contents(path, script, -1, NULL));
    assert_int_equal(chmod(path, 0755), 0);
    assert_true(pv_real_has_time_namespace(path, cache));
    assert_true(pv_real_has_time_namespace(path, cache));
    assert_true(g_file_get_contents(count, &asked, NULL, NULL));
    assert_string_equal(asked, "asked\n");

    g_autoptr(GDir) files = g_dir_open(cache, 0, NULL);
    for (const char *name; (name = g_dir_read_name(files)) != NULL;) {
        g_autofree char *file = g_build_filename(cache, name, NULL);
        unlink(file);
    }
    rmdir(cache);
    unlink(count);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

/* ---- the configuration ---- */

static gboolean load_settings(const char *text, PvRuntimeSettings *settings, GError **error)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "pv-runtime-test.conf", NULL);

    assert_true(g_file_set_contents(path, text, -1, NULL));
    g_setenv("PROCVIEW_RUNTIME_CONF", path, TRUE);
    g_unsetenv("PROCVIEW_RUNTIME");
    pv_runtime_settings_init(settings);
    gboolean ok = pv_runtime_settings_load(settings, error);
    unlink(path);
    return ok;
}

static void reads_the_configuration(void **state)
{
    g_auto(PvRuntimeSettings) settings;

    (void)state;
    assert_true(load_settings("[runtime]\npath=crun\nstrict=true\ntime-namespace=false\n"
                              "hook=/h\nviews=/v\n",
                              &settings, NULL));
    assert_string_equal(settings.path, "crun");
    assert_string_equal(settings.hook, "/h");
    assert_string_equal(settings.views, "/v");
    assert_true(settings.strict);
    assert_false(settings.time_namespace);
}

static void refuses_bad_configuration_and_keeps_the_rest(void **state)
{
    static const char *const texts[] = {"[runtime]\nstrict=maybe\npath=crun\n",
                                        "[runtime]\npath=crun\nviews=relative\n",
                                        "[runtime]\nnonsense=1\npath=crun\n"};

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_auto(PvRuntimeSettings) settings;
        g_autoptr(GError) error = NULL;
        assert_false(load_settings(texts[i], &settings, &error));
        assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_INVALID));
        assert_string_equal(settings.path, "crun");
    }
}

/* ---- the hook ---- */

static void expect_state_refused(const char *stage, const char *text, const char *part)
{
    g_auto(PvHookContainer) container = {.rootfs = NULL};
    g_autoptr(GError) error = NULL;

    assert_false(pv_hook_read_oci(stage, NULL, text, strlen(text), &container, &error));
    if (strstr(error->message, part) == NULL)
        fail_msg("'%s' does not contain '%s'", error->message, part);
}

static void hook_refuses_nonsense(void **state)
{
    (void)state;
    expect_state_refused("createContainer", "", "no valid JSON");
    expect_state_refused("createContainer", "nonsense", "no valid JSON");
    expect_state_refused("createContainer", "[1]", "no JSON object");
    expect_state_refused("poststop", "{}", "not a stage");
    expect_state_refused("prestart", "{\"bundle\":\"/b\"}", "names no process");
    expect_state_refused("prestart", "{\"pid\":-5}", "names no process");
    expect_state_refused("prestart", "{\"pid\":99999999999}", "names no process");
    expect_state_refused("createRuntime", "{\"pid\":\"12\"}", "names no process");
    expect_state_refused("prestart", "{\"pid\":1234,\"bundle\":\"/nonexistent\"}",
                         "cannot be told");
}

static void hook_knows_the_state_of_runtimes(void **state)
{
    static const char crun[] = "{\"pid\":0,\"root\":\"rootfs\",\"bundle\":\"/b\"}";
    static const char runc[] = "{\"pid\":1,\"bundle\":\"/nonexistent\"}";
    g_auto(PvHookContainer) inside = {.rootfs = NULL}, told = {.rootfs = NULL};
    g_auto(PvHookContainer) outside = {.rootfs = NULL};

    (void)state;
    assert_true(pv_hook_read_oci("createContainer", NULL, crun, strlen(crun), &inside, NULL));
    assert_int_equal(inside.pid, 0);
    assert_string_equal(inside.rootfs, "/b/rootfs");
    assert_true(pv_hook_read_oci(NULL, "/r", runc, strlen(runc), &told, NULL));
    assert_int_equal(told.pid, 0);
    assert_string_equal(told.rootfs, "/r");
    static const char host[] = "{\"pid\":4711,\"root\":\"/r\",\"bundle\":\"/b\"}";
    assert_true(pv_hook_read_oci("prestart", NULL, host, strlen(host), &outside, NULL));
    assert_int_equal(outside.pid, 4711);
}

static void hook_knows_both_versions_of_lxc(void **state)
{
    char name[] = "c1", section[] = "lxc", mount[] = "mount", start[] = "start";
    char *words[] = {name, section, mount, NULL}, *other[] = {name, section, start, NULL};
    g_auto(PvHookContainer) old = {.rootfs = NULL}, new = {.rootfs = NULL}, none = {.rootfs = NULL};
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_false(pv_hook_is_lxc(NULL));
    g_setenv("LXC_ROOTFS_MOUNT", "/r", TRUE);
    assert_true(pv_hook_is_lxc(words));
    assert_true(pv_hook_read_lxc(words, &old, NULL));
    assert_string_equal(old.rootfs, "/r");
    assert_false(pv_hook_read_lxc(other, &none, &error));
    assert_non_null(strstr(error->message, "lxc.hook.mount"));
    g_setenv("LXC_HOOK_SECTION", "lxc", TRUE);
    g_setenv("LXC_HOOK_TYPE", "mount", TRUE);
    assert_true(pv_hook_is_lxc(NULL));
    assert_true(pv_hook_read_lxc(NULL, &new, NULL));
    assert_string_equal(new.rootfs, "/r");
    g_unsetenv("LXC_ROOTFS_MOUNT");
    g_unsetenv("LXC_HOOK_SECTION");
    g_unsetenv("LXC_HOOK_TYPE");
}

/* ---- strings ---- */

static void undoes_the_escapes_of_strings(void **state)
{
    static const char text[] =
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\\ud83d\",\"a\\u0000\"]";
    g_autoptr(PvJson) json = pv_json_parse(text, strlen(text), NULL);

    (void)state;
    const PvJsonValue *first = pv_json_first(json, pv_json_root(json));
    assert_true(pv_json_equals(json, first, "\"\\/\b\f\n\r\tä😀\xef\xbf\xbd"));
    assert_null(pv_json_string(json, pv_json_after(json, pv_json_root(json), first)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_the_mount_and_the_hook),
        cmocka_unit_test(keeps_every_other_byte),
        cmocka_unit_test(keeps_a_huge_configuration),
        cmocka_unit_test(puts_hooks_in_the_place_of_null),
        cmocka_unit_test(puts_a_list_of_hooks_in_the_place_of_null),
        cmocka_unit_test(adds_to_empty_hooks),
        cmocka_unit_test(comes_after_the_users_hooks),
        cmocka_unit_test(adds_nothing_twice),
        cmocka_unit_test(leaves_what_the_user_mounts),
        cmocka_unit_test(leaves_a_directory_with_a_mount_of_the_user_in_or_above_it),
        cmocka_unit_test(mounts_in_sys_where_there_is_one),
        cmocka_unit_test(leaves_a_shared_sys_to_the_hook),
        cmocka_unit_test(leaves_a_shared_mount_over_a_private_one_to_the_hook),
        cmocka_unit_test(leaves_a_shared_proc_to_the_hook),
        cmocka_unit_test(renews_the_hook_of_an_earlier_start),
        cmocka_unit_test(leaves_a_hook_of_the_user),
        cmocka_unit_test(renews_the_time_of_an_earlier_start),
        cmocka_unit_test(leaves_the_users_time_offsets),
        cmocka_unit_test(tells_the_hook_the_root_as_the_kernel_resolves_it),
        cmocka_unit_test(adds_a_time_namespace_whose_boot_is_now),
        cmocka_unit_test(leaves_the_users_time_namespace),
        cmocka_unit_test(refuses_text_that_is_no_json),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(refuses_keys_that_are_there_twice),
        cmocka_unit_test(refuses_values_of_other_types),
        cmocka_unit_test(refuses_a_container_without_linux),
        cmocka_unit_test(refuses_a_container_without_proc),
        cmocka_unit_test(refuses_a_mount_namespace_of_others),
        cmocka_unit_test(refuses_a_user_namespace_that_cannot_reach_the_views),
        cmocka_unit_test(edits_with_a_read_only_root_and_masked_paths),
        cmocka_unit_test(replaces_the_file_with_its_mode),
        cmocka_unit_test(leaves_a_broken_file_as_it_is),
        cmocka_unit_test(tells_a_missing_file),
        cmocka_unit_test(understands_the_command_line_of_runc),
        cmocka_unit_test(understands_the_command_line_of_crun),
        cmocka_unit_test(knows_whose_command_line_it_is),
        cmocka_unit_test(tells_the_hook_a_log_that_it_can_open),
        cmocka_unit_test(writes_the_log_in_its_format),
        cmocka_unit_test(learns_time_namespaces_from_features),
        cmocka_unit_test(asks_a_runtime_once_for_its_features),
        cmocka_unit_test(reads_the_configuration),
        cmocka_unit_test(refuses_bad_configuration_and_keeps_the_rest),
        cmocka_unit_test(hook_refuses_nonsense),
        cmocka_unit_test(hook_knows_the_state_of_runtimes),
        cmocka_unit_test(hook_knows_both_versions_of_lxc),
        cmocka_unit_test(undoes_the_escapes_of_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
