/*
 * Doctor: is the daemon well, and do containers have views that nobody serves any more?
 */
#include "common.h"
#include "daemons.h"
#include "doctor.h"

#include "procview/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FSTYPE              "fuse.procview"
#define MOUNTINFO_MAX_BYTES (4u << 20)

static void check_daemon(GPtrArray *checks, const PvDaemonInfo *info)
{
    guint64 deaths = info->status.ends[PV_END_CRASHED] + info->status.ends[PV_END_HUNG];

    switch (info->state) {
    case PV_DAEMON_SERVES:
        if (deaths > 0)
            pv_check_add(checks, PV_CHECK_WARN, "daemon", "look into the log of procviewd",
                         "%s: %" G_GUINT64_FORMAT " workers have crashed or hung", info->mountpoint,
                         deaths);
        else
            pv_check_add(checks, PV_CHECK_OK, "daemon", NULL, "%s: %s", info->mountpoint,
                         info->is_standalone             ? "one process, without a supervisor"
                         : info->status.standby_pid != 0 ? "supervisor and worker, with a standby"
                                                         : "supervisor and worker, no standby yet");
        break;
    case PV_DAEMON_SAFE:
        pv_check_add(checks, PV_CHECK_FAIL, "daemon", "look into the log of procviewd",
                     "%s: the kernel's own files are served: %s", info->mountpoint,
                     info->status.cause);
        break;
    case PV_DAEMON_ORPHANED:
        pv_check_add(checks, PV_CHECK_WARN, "daemon", "start procviewd: it takes the mount over",
                     "%s: a worker serves without a supervisor", info->mountpoint);
        break;
    case PV_DAEMON_STALLED:
        pv_check_add(checks, PV_CHECK_FAIL, "daemon", "look into the log of procviewd",
                     "%s: there is no worker at the moment", info->mountpoint);
        break;
    case PV_DAEMON_SILENT:
        pv_check_add(checks, PV_CHECK_FAIL, "daemon",
                     info->supervisor_pid != 0
                         ? "start procviewd again, if it stays like that; look into its log"
                         : "kill the process and start procviewd: it takes the mount over",
                     "%s: the worker, process %d, %s", info->mountpoint, (int)info->worker_pid,
                     info->is_worker_gone ? "has ended, and there is no other" : "does not answer");
        break;
    case PV_DAEMON_PASSES:
        pv_check_add(checks, PV_CHECK_WARN, "daemon",
                     "send SIGUSR2 to procviewd's supervisor to end that",
                     "%s: the kernel's own files are served: SIGUSR2 was sent", info->mountpoint);
        break;
    case PV_DAEMON_OTHER:
        pv_check_add(checks, PV_CHECK_WARN, "daemon", "procview upgrade",
                     "%s: procviewd is of another version than this program", info->mountpoint);
        break;
    case PV_DAEMON_DEAD:
        break; /* its mount is looked at with the others */
    }
}

/* What this namespace has mounted from procview, by device number: whether somebody serves it. */
static GHashTable *own_mounts(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    GHashTable *mounts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    if (pv_read_all_at(AT_FDCWD, "/proc/self/mountinfo", text, MOUNTINFO_MAX_BYTES) < 0)
        return mounts;
    g_auto(GStrv) lines = g_strsplit(text->str, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        char device[32], root[8];
        if (strstr(*line, " - " FSTYPE " ") == NULL ||
            sscanf(*line, "%*d %*d %31s %7s", device, root) != 2 || strcmp(root, "/") != 0)
            continue;
        g_auto(GStrv) fields = g_strsplit(*line, " ", 6);
        g_autofree char *path = g_strcompress(fields[4]);
        g_hash_table_insert(mounts, g_strdup(device), GINT_TO_POINTER(pv_check_probe(path) == 0));
    }
    return mounts;
}

/* TRUE when a process's namespace has views that nobody serves: of a mount that is dead here, or
 * that is not here. A whole mount that is only there is another daemon's: one of procview run. */
static gboolean has_stale_views(const char *mountinfo, GHashTable *mounts)
{
    g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);
    gboolean has_own = FALSE, is_stale = FALSE;
    gpointer is_served;

    for (char **line = lines; *line != NULL; line++) {
        char device[32], root[8];
        gboolean is_view, is_ours;

        if (strstr(*line, " - " FSTYPE " ") == NULL ||
            sscanf(*line, "%*d %*d %31s %7s", device, root) != 2)
            continue;
        is_view = strcmp(root, "/") != 0;
        is_ours = g_hash_table_lookup_extended(mounts, device, NULL, &is_served);
        if (is_ours && is_view && !GPOINTER_TO_INT(is_served))
            return TRUE;
        has_own |= !is_view && !is_ours;
        is_stale |= is_view && !is_ours;
    }
    return is_stale && !has_own;
}

static void check_views(GPtrArray *checks)
{
    g_autoptr(GHashTable) mounts = own_mounts();
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    const char *name;
    guint n_stale = 0;

    while (proc != NULL && (name = g_dir_read_name(proc)) != NULL) {
        g_autofree char *ns_path = g_strdup_printf("/proc/%s/ns/mnt", name);
        g_autofree char *path = g_strdup_printf("/proc/%s/mountinfo", name);
        g_autoptr(GString) text = g_string_new(NULL);
        struct stat st;
        gint64 number;

        if (!g_ascii_isdigit(name[0]) || stat(ns_path, &st) < 0)
            continue;
        number = (gint64)st.st_ino;
        if (!g_hash_table_add(seen, g_memdup2(&number, sizeof number)) ||
            pv_read_all_at(AT_FDCWD, path, text, MOUNTINFO_MAX_BYTES) < 0 ||
            !has_stale_views(text->str, mounts))
            continue;
        n_stale++;
        pv_check_add(
            checks, PV_CHECK_WARN, "views",
            "procview attach with its id puts live ones in their place; procview detach "
            "takes them out",
            "the container of process %s has files of a procviewd that does not serve here", name);
    }
    if (n_stale == 0)
        pv_check_add(checks, PV_CHECK_OK, "views", NULL, "no container has files of a dead daemon");
}

/* Of daemons that were killed, and unmounted by somebody: they are in nobody's way. */
static void check_leftovers(GPtrArray *checks, const char *state_dir, gboolean dry_run)
{
    g_autoptr(GPtrArray) mount_points = pv_daemons_leftovers(state_dir, !dry_run, NULL);

    for (guint i = 0; mount_points != NULL && i < mount_points->len; i++) {
        const char *path = mount_points->pdata[i];
        if (dry_run)
            pv_check_add(checks, PV_CHECK_WARN, "leftovers",
                         "procview doctor without --dry-run removes it",
                         "%s: a lock file of a procviewd that was killed", path);
        else
            pv_check_add(checks, PV_CHECK_OK, "leftovers", NULL,
                         "%s: removed the lock file of a procviewd that was killed", path);
    }
}

void pv_checks_daemon(GPtrArray *checks, const char *state_dir, gboolean dry_run)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) daemons = pv_daemons_list(state_dir, &error);

    if (daemons == NULL)
        pv_check_add(checks, PV_CHECK_WARN, "daemon", "run procview doctor as root", "%s",
                     error->message);
    for (guint i = 0; daemons != NULL && i < daemons->len; i++)
        check_daemon(checks, daemons->pdata[i]);
    check_leftovers(checks, state_dir, dry_run);
    check_views(checks);
}
