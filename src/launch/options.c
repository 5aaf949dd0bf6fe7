/*
 * The arguments of `procview run`, from text to a plan. Nothing here looks at the machine: what can
 * be refused from the text alone is refused before anything is created.
 */
#include "launch.h"

#include "procview/error.h"

#include <stdlib.h>
#include <string.h>

/* Below this not even a shell starts. */
#define MEMORY_MIN_BYTES (4 * 1024 * 1024)

/* The launcher's init and COMMAND. */
#define PIDS_MIN 2

/* The kernel refuses a quota below 1 ms in 100. */
#define QUOTA_MIN_USEC 1000

#define NAME_MAX_CHARS     64
#define HOSTNAME_MAX_CHARS 64

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

typedef struct {
    char *memory, *swap, *cpus, *cpuset, *pids;
    char *rootfs, *hostname, *net, *manager, *name, *workdir, *cgroup_view;
    char **env;
    gboolean user_ns, no_views;
} Texts;

static void texts_clear(Texts *texts)
{
    g_free(texts->memory);
    g_free(texts->swap);
    g_free(texts->cpus);
    g_free(texts->cpuset);
    g_free(texts->pids);
    g_free(texts->rootfs);
    g_free(texts->hostname);
    g_free(texts->net);
    g_free(texts->manager);
    g_free(texts->name);
    g_free(texts->workdir);
    g_free(texts->cgroup_view);
    g_strfreev(texts->env);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Texts, texts_clear)

void pv_launch_plan_free(PvLaunchPlan *plan)
{
    if (plan == NULL)
        return;
    g_free(plan->limits.cpuset_text);
    g_free(plan->name);
    g_free(plan->rootfs);
    g_free(plan->hostname);
    g_free(plan->workdir);
    g_strfreev(plan->env);
    g_strfreev(plan->command);
    g_free(plan);
}

/*
 * A decimal number as a whole part and thousandths (further digits are cut off).
 * Returns what follows it, or NULL when there is no digit or the whole part does not fit.
 */
static const char *parse_decimal(const char *text, guint64 *ret_whole, guint64 *ret_thousandths)
{
    guint64 whole = 0, thousandths = 0, unit = 100;

    if (!g_ascii_isdigit(*text))
        return NULL;
    for (; g_ascii_isdigit(*text); text++) {
        guint64 digit = (guint64)g_ascii_digit_value(*text);
        if (whole > (G_MAXINT64 - digit) / 10)
            return NULL;
        whole = whole * 10 + digit;
    }
    if (*text == '.') {
        text++;
        if (!g_ascii_isdigit(*text))
            return NULL;
        for (; g_ascii_isdigit(*text); text++, unit /= 10)
            thousandths += unit * (guint64)g_ascii_digit_value(*text);
    }
    *ret_whole = whole;
    *ret_thousandths = thousandths;
    return text;
}

gboolean pv_launch_parse_size(const char *text, guint64 *ret_bytes)
{
    static const char units[] = "KMGT";
    guint64 whole, thousandths;
    guint shift = 0;
    const char *unit;

    text = parse_decimal(text, &whole, &thousandths);
    if (text == NULL)
        return FALSE;
    unit = *text != '\0' ? strchr(units, g_ascii_toupper(*text)) : NULL;
    if (unit != NULL) {
        shift = 10 * (guint)(unit - units + 1);
        text++;
        if (g_ascii_strcasecmp(text, "b") == 0 || g_ascii_strcasecmp(text, "ib") == 0)
            text = "";
    }
    if (*text != '\0' || (shift == 0 && thousandths != 0) || whole > (guint64)G_MAXINT64 >> shift)
        return FALSE;
    whole = (whole << shift) + (thousandths << shift) / 1000;
    if (whole > G_MAXINT64)
        return FALSE;
    *ret_bytes = whole;
    return TRUE;
}

gboolean pv_launch_parse_cpus(const char *text, guint64 *ret_quota_usec)
{
    guint64 whole, thousandths;

    text = parse_decimal(text, &whole, &thousandths);
    if (text == NULL || *text != '\0' || whole > PV_CPU_MAX)
        return FALSE;
    *ret_quota_usec = (whole * 1000 + thousandths) * (PV_LAUNCH_PERIOD_USEC / 1000);
    return TRUE;
}

static gboolean parse_memory(const Texts *texts, PvLaunchLimits *limits, GError **error)
{
    if (texts->memory != NULL) {
        if (!pv_launch_parse_size(texts->memory, &limits->memory_bytes))
            return pv_error_set(error, PV_ERROR_INVALID,
                                "--memory %s: not a size (256M, 1.5G, 1073741824)", texts->memory);
        if (limits->memory_bytes < MEMORY_MIN_BYTES)
            return pv_error_set(error, PV_ERROR_INVALID,
                                "--memory %s: below what a process needs (min 4M)", texts->memory);
    }
    if (texts->swap != NULL && !pv_launch_parse_size(texts->swap, &limits->swap_bytes))
        return pv_error_set(error, PV_ERROR_INVALID, "--swap %s: not a size (0, 128M, 1G)",
                            texts->swap);
    return TRUE;
}

static gboolean parse_cpus_and_pids(const Texts *texts, PvLaunchLimits *limits, GError **error)
{
    if (texts->cpus != NULL) {
        if (!pv_launch_parse_cpus(texts->cpus, &limits->cpu_quota_usec))
            return pv_error_set(error, PV_ERROR_INVALID,
                                "--cpus %s: not a number of CPUs (0.5, 1, 2.25)", texts->cpus);
        if (limits->cpu_quota_usec < QUOTA_MIN_USEC)
            return pv_error_set(error, PV_ERROR_INVALID,
                                "--cpus %s: below what the kernel can limit to (min 0.01)",
                                texts->cpus);
    }
    if (texts->cpuset != NULL) {
        if (!pv_cpu_set_parse_list(texts->cpuset, &limits->cpuset))
            return pv_error_set(error, PV_ERROR_INVALID,
                                "--cpuset %s: not a list of CPUs (0, 0-3, 0,2)", texts->cpuset);
        if (pv_cpu_set_count(&limits->cpuset) == 0)
            return pv_error_set(error, PV_ERROR_INVALID, "--cpuset: no CPU is in the list");
        limits->has_cpuset = TRUE;
        limits->cpuset_text = g_strdup(texts->cpuset);
    }
    if (texts->pids != NULL) {
        if (!g_ascii_string_to_unsigned(texts->pids, 10, 0, G_MAXINT32, &limits->pids_max, NULL))
            return pv_error_set(error, PV_ERROR_INVALID, "--pids %s: not a number of tasks",
                                texts->pids);
        if (limits->pids_max < PIDS_MIN)
            return pv_error_set(error, PV_ERROR_INVALID,
                                "--pids %s: the container's init and COMMAND are two (min %d)",
                                texts->pids, PIDS_MIN);
    }
    return TRUE;
}

/* TRUE for 1 to max letters, digits and `others`, the first of which is a letter or digit. */
static gboolean is_word(const char *text, gsize max, const char *others)
{
    if (!g_ascii_isalnum(text[0]) || strlen(text) > max)
        return FALSE;
    for (; *text != '\0'; text++) {
        if (!g_ascii_isalnum(*text) && strchr(others, *text) == NULL)
            return FALSE;
    }
    return TRUE;
}

static gboolean parse_names(const Texts *texts, PvLaunchPlan *plan, GError **error)
{
    if (texts->name != NULL && !is_word(texts->name, NAME_MAX_CHARS, "_.-"))
        return pv_error_set(
            error, PV_ERROR_INVALID,
            "--name %s: up to %d letters, digits, '_', '.', '-', the first a letter "
            "or digit",
            texts->name, NAME_MAX_CHARS);
    if (texts->hostname != NULL && !is_word(texts->hostname, HOSTNAME_MAX_CHARS, ".-"))
        return pv_error_set(
            error, PV_ERROR_INVALID,
            "--hostname %s: up to %d letters, digits, '.', '-', the first a letter or "
            "digit",
            texts->hostname, HOSTNAME_MAX_CHARS);
    plan->name = texts->name != NULL
                     ? g_strdup(texts->name)
                     : g_strdup_printf("%08x%04x", g_random_int(), g_random_int() & 0xffff);
    plan->hostname = g_strdup(texts->hostname != NULL ? texts->hostname : plan->name);
    return TRUE;
}

static gboolean parse_choices(const Texts *texts, PvLaunchPlan *plan, GError **error)
{
    if (g_strcmp0(texts->net, "host") == 0)
        plan->net = PV_LAUNCH_NET_HOST;
    else if (texts->net != NULL && !g_str_equal(texts->net, "none"))
        return pv_error_set(error, PV_ERROR_INVALID, "--net %s: none or host", texts->net);

    if (g_strcmp0(texts->manager, "systemd") == 0)
        plan->manager = PV_LAUNCH_SYSTEMD;
    else if (texts->manager != NULL && !g_str_equal(texts->manager, "cgroupfs"))
        return pv_error_set(error, PV_ERROR_INVALID, "--cgroup-manager %s: cgroupfs or systemd",
                            texts->manager);

    if (g_strcmp0(texts->cgroup_view, "fuse") == 0)
        plan->cgroup_view_fuse = TRUE;
    else if (texts->cgroup_view != NULL && !g_str_equal(texts->cgroup_view, "kernel"))
        return pv_error_set(error, PV_ERROR_INVALID, "--cgroup-view %s: kernel or fuse",
                            texts->cgroup_view);

    plan->user_ns = texts->user_ns;
    plan->no_views = texts->no_views;
    return TRUE;
}

static gboolean parse_paths(const Texts *texts, PvLaunchPlan *plan, GError **error)
{
    if (texts->workdir != NULL && !g_path_is_absolute(texts->workdir))
        return pv_error_set(error, PV_ERROR_INVALID,
                            "--workdir %s: must be an absolute path in the container",
                            texts->workdir);
    plan->workdir = g_strdup(texts->workdir != NULL ? texts->workdir : "/");

    if (texts->rootfs == NULL)
        return TRUE;
    if (!g_file_test(texts->rootfs, G_FILE_TEST_IS_DIR))
        return pv_error_set(error, PV_ERROR_NOT_FOUND, "--rootfs %s: no such directory",
                            texts->rootfs);
    char *resolved = realpath(texts->rootfs, NULL);
    plan->rootfs = g_strdup(resolved != NULL ? resolved : texts->rootfs);
    free(resolved);
    if (g_str_equal(plan->rootfs, "/"))
        return pv_error_set(error, PV_ERROR_INVALID,
                            "--rootfs %s: would give the container the host's root to write to; "
                            "without --rootfs it gets it read-only",
                            texts->rootfs);
    return TRUE;
}

/* A small environment of our own, what concerns the terminal and the language, then --env. */
static gboolean parse_env(const Texts *texts, PvLaunchPlan *plan, GError **error)
{
    static const char *const inherited[] = {"TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE"};
    char **env = NULL;

    env = g_environ_setenv(env, "PATH", DEFAULT_PATH, TRUE);
    env = g_environ_setenv(env, "HOME", "/root", TRUE);
    env = g_environ_setenv(env, "HOSTNAME", plan->hostname, TRUE);
    env = g_environ_setenv(env, "container", "procview", TRUE);
    for (guint i = 0; i < G_N_ELEMENTS(inherited); i++) {
        const char *value = g_getenv(inherited[i]);
        if (value != NULL)
            env = g_environ_setenv(env, inherited[i], value, TRUE);
    }
    for (char **pair = texts->env; pair != NULL && *pair != NULL; pair++) {
        const char *equals = strchr(*pair, '=');
        if (equals == NULL || equals == *pair) {
            g_strfreev(env);
            return pv_error_set(error, PV_ERROR_INVALID, "--env %s: NAME=VALUE is wanted", *pair);
        }
        g_autofree char *key = g_strndup(*pair, (gsize)(equals - *pair));
        env = g_environ_setenv(env, key, equals + 1, TRUE);
    }
    plan->env = env;
    return TRUE;
}

static gboolean parse_texts(int *argc, char ***argv, Texts *texts, GError **error)
{
    const GOptionEntry entries[] = {
        {"memory", 'm', 0, G_OPTION_ARG_STRING, &texts->memory, "Memory: 256M, 1.5G", "SIZE"},
        {"swap", 0, 0, G_OPTION_ARG_STRING, &texts->swap,
         "Swap, on top of the memory; 0 is none (default: no limit)", "SIZE"},
        {"cpus", 'c', 0, G_OPTION_ARG_STRING, &texts->cpus, "CPU time, in CPUs: 0.5", "N"},
        {"cpuset", 0, 0, G_OPTION_ARG_STRING, &texts->cpuset, "CPUs to run on: 0-3,8", "LIST"},
        {"pids", 0, 0, G_OPTION_ARG_STRING, &texts->pids, "Tasks, the init counted", "N"},
        {"rootfs", 0, 0, G_OPTION_ARG_FILENAME, &texts->rootfs,
         "Root directory, writable (default: the host's root, read-only)", "DIR"},
        {"workdir", 'w', 0, G_OPTION_ARG_FILENAME, &texts->workdir,
         "Where COMMAND starts (default: /)", "DIR"},
        {"env", 'e', 0, G_OPTION_ARG_FILENAME_ARRAY, &texts->env,
         "Set an environment variable; may be repeated", "K=V"},
        {"name", 'n', 0, G_OPTION_ARG_FILENAME, &texts->name,
         "Name of the container and its cgroup (default: random)", "NAME"},
        {"hostname", 0, 0, G_OPTION_ARG_FILENAME, &texts->hostname,
         "Host name inside (default: the container's name)", "NAME"},
        {"net", 0, 0, G_OPTION_ARG_STRING, &texts->net,
         "Network: none but lo, or the host's (default: none)", "none|host"},
        {"user-ns", 0, 0, G_OPTION_ARG_NONE, &texts->user_ns,
         "A user namespace: root inside is nobody outside", NULL},
        {"cgroup-manager", 0, 0, G_OPTION_ARG_STRING, &texts->manager,
         "Who makes the cgroups (default: cgroupfs)", "cgroupfs|systemd"},
        {"cgroup-view", 0, 0, G_OPTION_ARG_STRING, &texts->cgroup_view,
         "What /sys/fs/cgroup is: a cgroup namespace of the kernel's, or the daemon's cgroup "
         "tree, for kernels without (default: kernel)",
         "kernel|fuse"},
        {"no-views", 0, 0, G_OPTION_ARG_NONE, &texts->no_views,
         "Leave /proc and /sys as the kernel shows them", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_autoptr(GOptionContext) context = g_option_context_new("-- COMMAND [ARGUMENT…]");

    g_option_context_set_summary(
        context, "Runs a command in a container that sees its own memory, CPUs, load and uptime.\n"
                 "Without a daemon on /var/lib/procview it starts one for itself.");
    g_option_context_set_description(
        context,
        "Examples:\n"
        "  procview run --memory 256M --cpus 0.5 -- free -m\n"
        "  procview run --rootfs /srv/image --user-ns --hostname web -- /bin/sh\n\n"
        "Exit status: that of COMMAND; 128 + N when signal N killed it; 125 when the\n"
        "container could not be started, 126 when COMMAND could not be executed, 127 when\n"
        "it was not found.\n");
    g_option_context_set_strict_posix(context, TRUE);
    g_option_context_add_main_entries(context, entries, NULL);
    g_autoptr(GError) local = NULL;
    if (!g_option_context_parse(context, argc, argv, &local))
        return pv_error_set(error, PV_ERROR_INVALID, "%s (see procview run --help)",
                            local->message);
    return TRUE;
}

PvLaunchPlan *pv_launch_plan_parse(int argc, char **argv, GError **error)
{
    g_auto(Texts) texts = {0};
    g_autoptr(PvLaunchPlan) plan = g_new0(PvLaunchPlan, 1);
    /* GOptionContext moves the pointers about; the caller's array stays as it is. */
    g_autofree char **copy = g_new0(char *, (gsize)argc + 1);
    char **args = copy;

    for (int i = 0; i < argc; i++)
        copy[i] = argv[i];
    plan->limits = (PvLaunchLimits){
        .memory_bytes = PV_UNLIMITED,
        .swap_bytes = PV_UNLIMITED,
        .cpu_quota_usec = PV_UNLIMITED,
        .pids_max = PV_UNLIMITED,
    };
    if (!parse_texts(&argc, &args, &texts, error) || !parse_memory(&texts, &plan->limits, error) ||
        !parse_cpus_and_pids(&texts, &plan->limits, error) || !parse_names(&texts, plan, error) ||
        !parse_choices(&texts, plan, error) || !parse_paths(&texts, plan, error) ||
        !parse_env(&texts, plan, error))
        return NULL;

    int first = argc > 1 && g_str_equal(args[1], "--") ? 2 : 1;
    if (first >= argc) {
        pv_error_set(error, PV_ERROR_INVALID, "no COMMAND (see procview run --help)");
        return NULL;
    }
    plan->command = g_strdupv(args + first);
    return g_steal_pointer(&plan);
}
