/*
 * The supervisor's helper that attaches to containers as they come: a process of its own, so that
 * what it does to containers cannot hold up those who serve.
 */
#include "serve.h"

#include "procview/autoattach.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static void on_report(const PvAutoattachReport *report, gpointer data)
{
    (void)data;
    switch (report->event) {
    case PV_AUTOATTACH_WATCHING:
        pv_log_debug("auto-attach: watching");
        break;
    case PV_AUTOATTACH_ATTACHED:
        if (report->n_mounted > 0)
            pv_log_info("auto-attach: %s: %u files attached", report->path, report->n_mounted);
        break;
    case PV_AUTOATTACH_FAILED:
        pv_log_info("auto-attach: %s: %s; it is tried again", report->path, report->message);
        break;
    case PV_AUTOATTACH_LEFT:
        pv_log_warning("auto-attach: %s: left alone: %s", report->path, report->message);
        break;
    case PV_AUTOATTACH_TROUBLE:
        pv_log_warning("auto-attach: %s", report->message);
        break;
    default:
        break;
    }
}

int pv_attach_by_itself(const PvConfig *config)
{
    g_auto(GStrv) patterns = pv_config_split_rules(config->auto_attach);
    g_autoptr(PvRules) rules = pv_rules_new((const char *const *)patterns, NULL);
    g_autoptr(GError) error = NULL;
    const PvAutoattachOptions options = {
        .views_dir = config->mountpoint, .rules = rules, .report = on_report};

    prctl(PR_SET_NAME, "procviewd-auto");
    signal(SIGHUP, SIG_IGN);
    signal(SIGQUIT, SIG_IGN); /* the terminal's keys are meant for the supervisor */
    if (rules != NULL && pv_autoattach_run(&options, &error))
        return EXIT_SUCCESS;
    pv_log_error("auto-attach: %s", error != NULL ? error->message : "bad rules");
    return EXIT_FAILURE;
}
