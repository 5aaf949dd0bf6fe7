/*
 * procview watch: attaches views to containers as they come, and says so, a line each.
 */
#include "command.h"
#include "common.h"
#include "procview/autoattach.h"

#include <stdio.h>

typedef struct {
    gboolean is_dry, json, quiet;
    char *views_dir;
    char **rules;
    char **rest; /* what is no option */
} Options;

static void options_clear(Options *options)
{
    g_free(options->views_dir);
    g_strfreev(options->rules);
    g_strfreev(options->rest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static const char *const event_names[] = {
    [PV_AUTOATTACH_WATCHING] = "watching",  [PV_AUTOATTACH_ATTACHED] = "attached",
    [PV_AUTOATTACH_WOULD] = "would-attach", [PV_AUTOATTACH_FAILED] = "failed",
    [PV_AUTOATTACH_LEFT] = "left-alone",    [PV_AUTOATTACH_ENDED] = "ended",
    [PV_AUTOATTACH_TROUBLE] = "trouble",
};

static void print_json(const PvAutoattachReport *report)
{
    g_autoptr(GString) json = g_string_new("{\"event\": ");

    pv_json_append_string(json, event_names[report->event]);
    g_string_append(json, ", \"container\": ");
    pv_json_append_string(json, report->name);
    g_string_append(json, ", \"manager\": ");
    pv_json_append_string(json, report->manager);
    g_string_append(json, ", \"cgroup\": ");
    pv_json_append_string(json, report->path);
    g_string_append_printf(json,
                           ", \"pid\": %d, \"mounted\": %u, \"already\": %u, \"skipped\": %u, "
                           "\"message\": ",
                           (int)report->pid, report->n_mounted, report->n_already,
                           report->n_skipped);
    pv_json_append_string(json, report->message);
    printf("%s}\n", json->str);
}

/* The path for a terminal: names of cgroups may be a container's choice. */
static char *printable(const char *path)
{
    char *text = g_utf8_make_valid(path != NULL ? path : "", -1);

    for (char *p = text; *p != '\0'; p++) {
        if (g_ascii_iscntrl(*p))
            *p = '?';
    }
    return text;
}

static void print_attached(const char *path, const PvAutoattachReport *report)
{
    printf("%s: %u file%s attached", path, report->n_mounted, report->n_mounted == 1 ? "" : "s");
    if (report->n_already > 0)
        printf(", %u attached already", report->n_already);
    if (report->n_skipped > 0)
        printf(", %u skipped", report->n_skipped);
    putchar('\n');
}

static void print_text(const PvAutoattachReport *report)
{
    g_autofree char *path = printable(report->path);

    switch (report->event) {
    case PV_AUTOATTACH_WATCHING:
        puts("watching");
        break;
    case PV_AUTOATTACH_ATTACHED:
        print_attached(path, report);
        break;
    case PV_AUTOATTACH_WOULD:
        printf("%s: would be attached to (process %d)\n", path, (int)report->pid);
        break;
    case PV_AUTOATTACH_ENDED:
        printf("%s: ended\n", path);
        break;
    case PV_AUTOATTACH_FAILED:
        pv_cli_error("watch", "%s: %s; it is tried again", path, report->message);
        break;
    case PV_AUTOATTACH_LEFT:
        pv_cli_error("watch", "%s: left alone: %s", path, report->message);
        break;
    case PV_AUTOATTACH_TROUBLE:
        pv_cli_error("watch", "%s", report->message);
        break;
    }
}

static void on_report(const PvAutoattachReport *report, gpointer data)
{
    const Options *options = data;
    gboolean is_news = report->event != PV_AUTOATTACH_FAILED &&
                       report->event != PV_AUTOATTACH_LEFT &&
                       report->event != PV_AUTOATTACH_TROUBLE;

    if (options->quiet && is_news)
        return;
    if (options->json)
        print_json(report);
    else
        print_text(report);
    fflush(stdout); /* it may be a pipe, and there may be no more for hours */
}

static int run(Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PvRules) rules = pv_rules_new((const char *const *)options->rules, &error);
    const PvAutoattachOptions work = {
        .views_dir = options->views_dir != NULL ? options->views_dir : PV_VIEWS_DIR,
        .rules = rules,
        .is_dry = options->is_dry,
        .report = on_report,
        .data = options,
    };

    if (rules == NULL)
        return pv_cli_usage_error("watch", "%s", error->message);
    if (pv_autoattach_run(&work, &error))
        return PV_EXIT_OK;
    pv_cli_error("watch", "%s", error->message);
    return PV_EXIT_FAILED;
}

int pv_cmd_watch(int argc, char **argv)
{
    g_auto(Options) options = {.is_dry = FALSE};
    const GOptionEntry entries[] = {
        {"rule", 'r', 0, G_OPTION_ARG_STRING_ARRAY, &options.rules,
         "Attach to containers in these cgroups only; may be given more than once", "PATTERN"},
        {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &options.is_dry,
         "Say what would be attached to, and change nothing", NULL},
        {"views", 0, 0, G_OPTION_ARG_FILENAME, &options.views_dir,
         "Where procviewd serves (default " PV_VIEWS_DIR ")", "DIR"},
        {"json", 'j', 0, G_OPTION_ARG_NONE, &options.json, "Report in JSON, an object a line",
         NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &options.quiet, "Print nothing but what goes wrong",
         NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.rest, NULL, NULL},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };

    if (!pv_cli_parse(
            "watch", NULL,
            "Puts procview's files into containers as they start, restart or lose them,\n"
            "until it is ended by SIGINT or SIGTERM. The kernel tells of new cgroups, of\n"
            "processes that come into them, and of changed mounts. Whether such a process has\n"
            "become a container is looked at a few times, ever more rarely, for a minute;\n"
            "nothing else is polled.",
            "A pattern is the path of a cgroup: * stands for anything within a name, ? for\n"
            "one character, ** for any number of names. One that ends with ** means cgroups\n"
            "that have processes themselves, any other also those with processes below them.\n"
            "With ! in front it names what is left out. Without a pattern all containers\n"
            "with a pid namespace of their own are attached to. procviewd does the same when\n"
            "auto-attach is in its configuration.\n"
            "\n"
            "Examples:\n"
            "  procview watch                                   every container there is\n"
            "  procview watch --rule '/docker/*'                docker, cgroup v1\n"
            "  procview watch --rule '/system.slice/docker-*.scope'\n"
            "  procview watch --rule '/machine.slice/libpod-*.scope/**'\n"
            "  procview watch --rule '/kubepods*/**' --rule '!/kubepods*/besteffort/**'\n"
            "  procview watch --dry-run --rule '/system.slice/*.service'\n",
            entries, argc, argv))
        return PV_EXIT_USAGE;
    if (options.rest != NULL)
        return pv_cli_usage_error("watch", "unexpected argument '%s'; did you mean --rule '%s'?",
                                  options.rest[0], options.rest[0]);
    return run(&options);
}
