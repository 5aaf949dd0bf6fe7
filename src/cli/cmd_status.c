/*
 * procview status: how the daemon is doing; procview upgrade: put the installed version in its
 * place.
 */
#include "command.h"
#include "common.h"
#include "daemons.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define UPGRADE_WAIT_USEC (15 * G_USEC_PER_SEC)
#define STEP_USEC         (10 * 1000)
#define NSEC_PER_MSEC     1e6
#define NSEC_PER_SEC      1e9

/* Exit statuses of status, for monitoring. */
enum { EXIT_DEGRADED = 1, EXIT_NOT_RUNNING = 3 };

/* ---- status ---- */

static char *age(guint64 start_nsec)
{
    guint64 now = pv_shared_now_nsec();

    return pv_cli_format_duration(now > start_nsec ? now - start_nsec : 0);
}

static void print_processes(const PvDaemonInfo *info)
{
    const PvStatus *status = &info->status;
    g_autofree char *worker_age = age(status->worker_start_nsec);
    g_autofree char *supervisor_age = age(status->supervisor_start_nsec);

    if (info->worker_pid == 0)
        printf("  worker      none\n");
    else if (info->is_worker_gone)
        printf("  worker      process %d, which has ended\n", (int)info->worker_pid);
    else if (status->worker_start_nsec == 0)
        printf("  worker      process %d, starting\n", (int)info->worker_pid);
    else
        printf("  worker      process %d, serving for %s\n", (int)info->worker_pid, worker_age);
    if (info->is_standalone)
        printf("  supervisor  none: --standalone\n");
    else if (info->supervisor_pid != 0 && status->supervisor_start_nsec == 0)
        printf("  supervisor  process %d, starting\n", (int)info->supervisor_pid);
    else if (info->supervisor_pid != 0)
        printf("  supervisor  process %d, for %s; standby %s\n", (int)info->supervisor_pid,
               supervisor_age, status->standby_pid != 0 ? "ready or starting" : "none");
    else
        printf("  supervisor  none: start procviewd again, it takes the mount over\n");
}

static void print_daemon(const PvDaemonInfo *info)
{
    const PvStatus *status = &info->status;
    guint64 deaths = 0;

    printf("%s: %s\n", info->mountpoint, pv_daemon_state_name(info->state));
    if (info->state == PV_DAEMON_OTHER)
        printf("  supervisor  process %d, of another version: procview upgrade\n",
               (int)info->supervisor_pid);
    if (info->state == PV_DAEMON_DEAD || info->state == PV_DAEMON_OTHER)
        return;
    if (info->state == PV_DAEMON_SILENT && info->is_worker_gone)
        printf("  cause       the worker has ended, and nobody has put another one in its place\n");
    else if (info->state == PV_DAEMON_SILENT)
        printf("  cause       the worker has not moved for %.1f s\n",
               (double)info->still_nsec / NSEC_PER_SEC);
    if (info->state == PV_DAEMON_PASSES)
        printf("  cause       SIGUSR2 was sent: the kernel's own files are shown until the next\n");
    for (guint i = 0; i < PV_END_KINDS; i++)
        deaths += i != PV_END_REPLACED ? status->ends[i] : 0;
    if (status->cause[0] != '\0')
        printf("  cause       %s\n", status->cause);
    print_processes(info);
    printf("  restarts    %" G_GUINT64_FORMAT " (%" G_GUINT64_FORMAT " killed, %" G_GUINT64_FORMAT
           " crashed, %" G_GUINT64_FORMAT " hung, %" G_GUINT64_FORMAT
           " ended), and replaced %" G_GUINT64_FORMAT " times, with %" G_GUINT64_FORMAT
           " upgrades\n",
           deaths, status->ends[PV_END_KILLED], status->ends[PV_END_CRASHED],
           status->ends[PV_END_HUNG], status->ends[PV_END_EXITED], status->ends[PV_END_REPLACED],
           status->n_upgrades);
    if (status->n_stalls > 0)
        printf("  stalls      %" G_GUINT64_FORMAT ": last %.1f ms, mean %.1f ms, worst %.1f ms\n",
               status->n_stalls, (double)status->last_stall_nsec / NSEC_PER_MSEC,
               (double)status->sum_stall_nsec / (double)status->n_stalls / NSEC_PER_MSEC,
               (double)status->worst_stall_nsec / NSEC_PER_MSEC);
    printf("  requests    %" G_GUINT64_FORMAT " served, %" G_GUINT64_FORMAT
           " of them sent again, %" G_GUINT64_FORMAT " refused\n",
           info->n_served, status->n_resent, status->n_refused);
    printf("  containers  %" G_GUINT64_FORMAT ", with %" G_GUINT64_FORMAT " open files\n",
           status->containers, status->handles);
    printf("  texts       %" G_GUINT64_FORMAT " by this worker, %" G_GUINT64_FORMAT
           " of them the kernel's own for want of better\n",
           status->renders, status->fallbacks);
}

static void append_field(GString *json, const char *name, guint64 number)
{
    g_string_append_printf(json, ", \"%s\": ", name);
    pv_json_append_number(json, number);
}

static void append_daemon(GString *json, const PvDaemonInfo *info)
{
    const PvStatus *status = &info->status;
    guint64 now = pv_shared_now_nsec();

    g_string_append_printf(json, "%s\n  {\"mountpoint\": ", json->len > 1 ? "," : "");
    pv_json_append_string(json, info->mountpoint);
    g_string_append_printf(json,
                           ", \"state\": \"%s\", \"cause\": ", pv_daemon_state_name(info->state));
    pv_json_append_string(json, status->cause[0] != '\0' ? status->cause : NULL);
    append_field(json, "supervisor_pid", (guint64)info->supervisor_pid);
    append_field(json, "worker_pid", (guint64)info->worker_pid);
    append_field(json, "standby_pid", (guint64)status->standby_pid);
    append_field(json, "worker_age_nsec",
                 status->worker_start_nsec != 0 ? now - status->worker_start_nsec : 0);
    append_field(json, "supervisor_age_nsec",
                 status->supervisor_start_nsec != 0 ? now - status->supervisor_start_nsec : 0);
    append_field(json, "killed", status->ends[PV_END_KILLED]);
    append_field(json, "crashed", status->ends[PV_END_CRASHED]);
    append_field(json, "hung", status->ends[PV_END_HUNG]);
    append_field(json, "ended", status->ends[PV_END_EXITED]);
    append_field(json, "replaced", status->ends[PV_END_REPLACED]);
    append_field(json, "upgrades", status->n_upgrades);
    append_field(json, "stalls", status->n_stalls);
    append_field(json, "last_stall_nsec", status->last_stall_nsec);
    append_field(json, "sum_stall_nsec", status->sum_stall_nsec);
    append_field(json, "worst_stall_nsec", status->worst_stall_nsec);
    append_field(json, "requests", info->n_served);
    append_field(json, "resent", status->n_resent);
    append_field(json, "refused", status->n_refused);
    append_field(json, "containers", status->containers);
    append_field(json, "open_files", status->handles);
    append_field(json, "texts", status->renders);
    append_field(json, "fallbacks", status->fallbacks);
    g_string_append_c(json, '}');
}

static int print_all(const GPtrArray *daemons, gboolean json, gboolean quiet)
{
    g_autoptr(GString) text = g_string_new("[");
    gboolean alive = FALSE, degraded = FALSE;

    for (guint i = 0; i < daemons->len; i++) {
        const PvDaemonInfo *info = daemons->pdata[i];
        alive |= info->state != PV_DAEMON_DEAD;
        degraded |= info->state != PV_DAEMON_SERVES;
        if (json)
            append_daemon(text, info);
        else if (!quiet)
            print_daemon(info);
    }
    if (json && !quiet)
        printf("%s%s]\n", text->str, daemons->len > 0 ? "\n" : "");
    else if (!alive && !quiet)
        printf("procviewd is not running.\n");
    return !alive ? EXIT_NOT_RUNNING : degraded ? EXIT_DEGRADED : PV_EXIT_OK;
}

int pv_cmd_status(int argc, char **argv)
{
    gboolean json = FALSE, quiet = FALSE;
    g_autofree char *state_dir = NULL;
    g_auto(GStrv) rest = NULL;
    g_autoptr(GError) error = NULL;
    const GOptionEntry entries[] = {
        {"json", 'j', 0, G_OPTION_ARG_NONE, &json, "JSON", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Print nothing: the exit status tells", NULL},
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &state_dir,
         "procviewd's state-dir (default " PV_DAEMON_STATE_DIR ")", "DIR"},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &rest, NULL, NULL},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };

    if (!pv_cli_parse(
            "status", NULL,
            "Tells how procviewd is doing: its worker's age, what became of earlier ones,\n"
            "how long readers had to wait, how much is served.",
            "Exit status: 0 when all is well; 1 when somebody is missing or does not answer,\n"
            "or the kernel's own files are served; 3 when no procviewd runs.\n",
            entries, argc, argv))
        return PV_EXIT_USAGE;
    if (rest != NULL)
        return pv_cli_usage_error("status", "unexpected argument '%s'", rest[0]);
    g_autoptr(GPtrArray) daemons =
        pv_daemons_list(state_dir != NULL ? state_dir : PV_DAEMON_STATE_DIR, &error);
    if (daemons == NULL) {
        pv_cli_error("status", "%s", error->message);
        return PV_EXIT_FAILED;
    }
    return print_all(daemons, json, quiet);
}

/* ---- upgrade ---- */

/* The daemon of a mount point as it is now: owned by the list that is returned. */
static const PvDaemonInfo *find_daemon(const char *state_dir, const char *mountpoint,
                                       GPtrArray **ret_list)
{
    g_autoptr(GPtrArray) daemons = pv_daemons_glance(state_dir, NULL);

    for (guint i = 0; daemons != NULL && i < daemons->len; i++) {
        const PvDaemonInfo *info = daemons->pdata[i];
        if (strcmp(info->mountpoint, mountpoint) == 0) {
            *ret_list = g_steal_pointer(&daemons);
            return info;
        }
    }
    return NULL;
}

/* The supervisor has said that it goes on as before. */
static gboolean is_refused(const PvDaemonInfo *before, const PvDaemonInfo *now)
{
    return before->state != PV_DAEMON_OTHER && now->state != PV_DAEMON_OTHER &&
           now->status.n_upgrades_refused > before->status.n_upgrades_refused;
}

/* The new one counts on where it could read the old one's memory. */
static gboolean is_upgraded(const PvDaemonInfo *before, const PvDaemonInfo *now)
{
    gboolean serves = now->state == PV_DAEMON_SERVES || now->state == PV_DAEMON_PASSES;

    if (before->state == PV_DAEMON_OTHER || now->state == PV_DAEMON_OTHER)
        return before->state == PV_DAEMON_OTHER ? serves : TRUE;
    return serves && now->status.n_upgrades != before->status.n_upgrades;
}

static gboolean upgrade(const char *state_dir, const PvDaemonInfo *before)
{
    gint64 until = g_get_monotonic_time() + UPGRADE_WAIT_USEC;

    if (before->is_standalone) {
        pv_cli_error("upgrade", "%s is served with --standalone: it has to be started again",
                     before->mountpoint);
        return FALSE;
    }
    if (before->supervisor_pid == 0) {
        pv_cli_error("upgrade", "%s has no supervisor: start procviewd", before->mountpoint);
        return FALSE;
    }
    if (kill(before->supervisor_pid, SIGUSR1) < 0) {
        pv_cli_error("upgrade", "%s: %s", before->mountpoint, g_strerror(errno));
        return FALSE;
    }
    while (g_get_monotonic_time() < until) {
        g_autoptr(GPtrArray) list = NULL;
        const PvDaemonInfo *now;

        g_usleep(STEP_USEC);
        now = find_daemon(state_dir, before->mountpoint, &list);
        if (now != NULL && is_upgraded(before, now)) {
            printf("%s: upgraded\n", before->mountpoint);
            return TRUE;
        }
        if (now != NULL && is_refused(before, now)) {
            pv_cli_error("upgrade",
                         "%s: not upgraded: the version that is installed does not start; the "
                         "daemon's log tells why",
                         before->mountpoint);
            return FALSE;
        }
    }
    pv_cli_error("upgrade", "%s: not upgraded; the daemon's log tells why", before->mountpoint);
    return FALSE;
}

int pv_cmd_upgrade(int argc, char **argv)
{
    g_autofree char *state_dir = NULL;
    g_auto(GStrv) rest = NULL;
    g_autoptr(GError) error = NULL;
    const GOptionEntry entries[] = {
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &state_dir,
         "procviewd's state-dir (default " PV_DAEMON_STATE_DIR ")", "DIR"},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &rest, NULL, NULL},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };
    gboolean ok = TRUE;

    if (!pv_cli_parse(
            "upgrade", NULL,
            "Puts the version of procviewd that is installed in the place of the running\n"
            "one. Containers do not notice it; the configuration is read anew.",
            "Exit status: 1 when a daemon goes on as before.\n", entries, argc, argv))
        return PV_EXIT_USAGE;
    if (rest != NULL)
        return pv_cli_usage_error("upgrade", "unexpected argument '%s'", rest[0]);
    if (state_dir == NULL)
        state_dir = g_strdup(PV_DAEMON_STATE_DIR);
    g_autoptr(GPtrArray) daemons = pv_daemons_list(state_dir, &error);
    if (daemons == NULL || daemons->len == 0) {
        pv_cli_error("upgrade", "%s", error != NULL ? error->message : "procviewd is not running");
        return PV_EXIT_FAILED;
    }
    for (guint i = 0; i < daemons->len; i++)
        ok = upgrade(state_dir, daemons->pdata[i]) && ok;
    return ok ? PV_EXIT_OK : PV_EXIT_FAILED;
}
