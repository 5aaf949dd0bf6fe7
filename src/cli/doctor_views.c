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

#define STATE_DIR           "/run/procview"
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
            pv_check_add(checks, PV_CHECK_OK, "daemon", NULL, "%s: supervisor, worker and standby",
                         info->mountpoint);
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
    case PV_DAEMON_DEAD:
        break; /* its mount is looked at with the others */
    }
}

/* The device numbers of what this namespace has mounted from procview. */
static GHashTable *served_devices(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    GHashTable *devices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    if (pv_read_all_at(AT_FDCWD, "/proc/self/mountinfo", text, MOUNTINFO_MAX_BYTES) < 0)
        return devices;
    g_auto(GStrv) lines = g_strsplit(text->str, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        char device[32];
        if (strstr(*line, " - " FSTYPE " ") != NULL && sscanf(*line, "%*d %*d %31s", device) == 1)
            g_hash_table_add(devices, g_strdup(device));
    }
    return devices;
}

/* TRUE when a process's namespace has views of a mount that is not there any more. Whole mounts are
 * other daemons': those of procview run. */
static gboolean has_stale_views(const char *mountinfo, GHashTable *devices)
{
    g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);
    gboolean has_own = FALSE, is_stale = FALSE;

    for (char **line = lines; *line != NULL; line++) {
        char device[32], root[8];
        if (strstr(*line, " - " FSTYPE " ") == NULL ||
            sscanf(*line, "%*d %*d %31s %7s", device, root) != 2)
            continue;
        has_own |= strcmp(root, "/") == 0;
        is_stale |= strcmp(root, "/") != 0 && !g_hash_table_contains(devices, device);
    }
    return is_stale && !has_own;
}

static void check_views(GPtrArray *checks)
{
    g_autoptr(GHashTable) devices = served_devices();
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
            !has_stale_views(text->str, devices))
            continue;
        n_stale++;
        pv_check_add(
            checks, PV_CHECK_WARN, "views",
            "procview attach with its id puts live ones in their place; procview detach "
            "takes them out",
            "the container of process %s has files of a procviewd that is not mounted here", name);
    }
    if (n_stale == 0)
        pv_check_add(checks, PV_CHECK_OK, "views", NULL, "no container has files of a dead daemon");
}

void pv_checks_daemon(GPtrArray *checks)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) daemons = pv_daemons_list(STATE_DIR, &error);

    if (daemons == NULL)
        pv_check_add(checks, PV_CHECK_WARN, "daemon", "run procview doctor as root", "%s",
                     error->message);
    for (guint i = 0; daemons != NULL && i < daemons->len; i++)
        check_daemon(checks, daemons->pdata[i]);
    check_views(checks);
}
