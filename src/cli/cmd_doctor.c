/*
 * procview doctor: can this machine do what procview needs, is the daemon at work, and is anything
 * left of containers whose launcher was killed? The last is put right.
 */
#include "../launch/launch.h"
#include "command.h"
#include "common.h"
#include "daemons.h"
#include "doctor.h"

/* How a check came out; the exit status is 1 when one failed. */
static const struct {
    const char *word, *colour;
} STATUSES[] = {
    [PV_CHECK_OK] = {"ok", "32"},
    [PV_CHECK_WARN] = {"warn", "33"},
    [PV_CHECK_FAIL] = {"fail", "31"},
};

static void check_leftovers(GPtrArray *checks, gboolean dry_run)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) leftovers = pv_launch_clean(dry_run, &error);

    if (leftovers == NULL) {
        pv_check_add(checks, PV_CHECK_WARN, "leftovers", "run procview doctor as root", "%s",
                     error->message);
        return;
    }
    for (guint i = 0; i < leftovers->len; i++) {
        const PvLaunchLeftover *leftover = leftovers->pdata[i];
        if (leftover->reason != NULL)
            pv_check_add(checks, PV_CHECK_FAIL, "leftovers",
                         "end the processes in it, then run procview doctor again",
                         "container %s: %s", leftover->name, leftover->reason);
        else if (dry_run)
            pv_check_add(checks, PV_CHECK_WARN, "leftovers",
                         "procview doctor without --dry-run removes them",
                         "container %s: its launcher was killed; %u cgroups are left",
                         leftover->name, leftover->n_cgroups);
        else
            pv_check_add(checks, PV_CHECK_OK, "leftovers", NULL,
                         "container %s: its launcher was killed; removed %u cgroups",
                         leftover->name, leftover->n_cgroups);
    }
    if (leftovers->len == 0)
        pv_check_add(checks, PV_CHECK_OK, "leftovers", NULL, "nothing is left of ended containers");
}

static void print_text(const GPtrArray *checks)
{
    gboolean colour = pv_cli_wants_colour(stdout);

    for (guint i = 0; i < checks->len; i++) {
        const PvCheck *check = checks->pdata[i];
        const char *word = STATUSES[check->status].word;
        if (colour)
            printf("\033[%sm%-4s\033[0m  ", STATUSES[check->status].colour, word);
        else
            printf("%-4s  ", word);
        printf("%s: %s\n", check->name, check->message);
        if (check->advice != NULL)
            printf("      -> %s\n", check->advice);
    }
}

static void print_json(const GPtrArray *checks)
{
    g_autoptr(GString) text = g_string_new("[");

    for (guint i = 0; i < checks->len; i++) {
        const PvCheck *check = checks->pdata[i];
        g_string_append_printf(text, "%s\n  {\"check\": ", i > 0 ? "," : "");
        pv_json_append_string(text, check->name);
        g_string_append(text, ", \"status\": ");
        pv_json_append_string(text, STATUSES[check->status].word);
        g_string_append(text, ", \"message\": ");
        pv_json_append_string(text, check->message);
        g_string_append(text, ", \"advice\": ");
        pv_json_append_string(text, check->advice);
        g_string_append_c(text, '}');
    }
    printf("%s\n]\n", text->str);
}

int pv_cmd_doctor(int argc, char **argv)
{
    gboolean json = FALSE, dry_run = FALSE;
    g_autofree char *state_dir = NULL;
    g_auto(GStrv) rest = NULL;
    const GOptionEntry entries[] = {
        {"json", 'j', 0, G_OPTION_ARG_NONE, &json, "JSON", NULL},
        {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run, "Only tell what would be removed", NULL},
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &state_dir,
         "procviewd's state-dir (default " PV_DAEMON_STATE_DIR ")", "DIR"},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &rest, NULL, NULL},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };

    if (!pv_cli_parse(
            "doctor", NULL,
            "Checks what procview needs of this machine and whether the daemon is at work,\n"
            "and removes what daemons have left that were killed, and containers of\n"
            "procview run whose launcher was killed.",
            "Exit status: 1 when a check failed, 0 otherwise.\n", entries, argc, argv))
        return PV_EXIT_USAGE;
    if (rest != NULL)
        return pv_cli_usage_error("doctor", "unexpected argument '%s'", rest[0]);

    g_autoptr(GPtrArray) checks = g_ptr_array_new_with_free_func((GDestroyNotify)pv_check_free);
    pv_checks_kernel(checks);
    pv_checks_cgroups(checks);
    pv_checks_mounts(checks);
    pv_checks_daemon(checks, state_dir != NULL ? state_dir : PV_DAEMON_STATE_DIR, dry_run);
    check_leftovers(checks, dry_run);

    gboolean failed = FALSE;
    for (guint i = 0; i < checks->len; i++)
        failed |= ((const PvCheck *)checks->pdata[i])->status == PV_CHECK_FAIL;
    if (json)
        print_json(checks);
    else
        print_text(checks);
    return failed ? PV_EXIT_FAILED : PV_EXIT_OK;
}
