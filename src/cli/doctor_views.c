/*
 * Doctor: is the daemon well, and do containers have views that nobody serves any more?
 */
#include "common.h"
#include "daemons.h"
#include "doctor.h"

#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FSTYPE              "fuse.procview"
#define MOUNTINFO_MAX_BYTES (4u << 20)
#define ASKED_MAX           16 /* mounts of one namespace */

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

/* A mount of procview's, as a line of mountinfo tells it. */
typedef struct {
    gint64 id;
    char device[32];
    gboolean is_whole; /* the whole file system, not a file or directory of it */
    char *path;
} Mount;

static void mount_free(Mount *mount)
{
    g_free(mount->path);
    g_free(mount);
}

/* A GPtrArray of Mount. */
static GPtrArray *parse_mounts(const char *mountinfo)
{
    GPtrArray *mounts = g_ptr_array_new_with_free_func((GDestroyNotify)mount_free);
    g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);

    for (char **line = lines; *line != NULL; line++) {
        if (strstr(*line, " - " FSTYPE " ") == NULL)
            continue;
        g_auto(GStrv) fields = g_strsplit(*line, " ", 6);
        if (g_strv_length(fields) < 6)
            continue;
        Mount *mount = g_new0(Mount, 1);
        mount->id = g_ascii_strtoll(fields[0], NULL, 10);
        g_strlcpy(mount->device, fields[2], sizeof mount->device);
        mount->is_whole = strcmp(fields[3], "/") == 0;
        mount->path = g_strcompress(fields[4]); /* the kernel's escapes are C's octal ones */
        g_ptr_array_add(mounts, mount);
    }
    return mounts;
}

/* What is known of procview's mounts on this machine. */
typedef struct {
    GHashTable *own;   /* of char *: paths in this namespace where a whole one is mounted */
    GHashTable *alive; /* device number: whether somebody serves it. A mount that could not be asked
                          is not there */
} Known;

static void learn_own_mounts(Known *known)
{
    g_autoptr(GString) text = g_string_new(NULL);

    known->own = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    known->alive = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (pv_read_all_at(AT_FDCWD, "/proc/self/mountinfo", text, MOUNTINFO_MAX_BYTES) < 0)
        return;
    g_autoptr(GPtrArray) mounts = parse_mounts(text->str);
    for (guint i = 0; i < mounts->len; i++) {
        const Mount *mount = mounts->pdata[i];
        if (mount->is_whole)
            g_hash_table_add(known->own, g_strconcat(mount->device, " ", mount->path, NULL));
    }
}

/* Ask each file system once: wherever it is mounted, the answer is the same. A container may have
 * put something over a mount, so that it cannot be asked there. */
static gboolean is_served(Known *known, const char *pid, const Mount *mount, guint *n_asked)
{
    gpointer alive;
    int r;

    if (g_hash_table_lookup_extended(known->alive, mount->device, NULL, &alive))
        return GPOINTER_TO_INT(alive);
    /* A container may have thousands, and things in the way that hang. */
    if ((*n_asked)++ >= ASKED_MAX)
        return TRUE;
    r = pv_check_probe_in(pid, mount->path, mount->id);
    if (r == ESTALE)
        return TRUE;
    g_hash_table_insert(known->alive, g_strdup(mount->device), GINT_TO_POINTER(r == 0));
    return r == 0;
}

/* TRUE when a process's namespace has something that nobody serves, but for the mounts that it has
 * as this namespace has them. */
static gboolean has_stale_views(const char *pid, const char *mountinfo, Known *known)
{
    g_autoptr(GPtrArray) mounts = parse_mounts(mountinfo);
    guint n_asked = 0;

    for (guint i = 0; i < mounts->len; i++) {
        const Mount *mount = mounts->pdata[i];
        g_autofree char *key = g_strconcat(mount->device, " ", mount->path, NULL);
        if (!(mount->is_whole && g_hash_table_contains(known->own, key)) &&
            !is_served(known, pid, mount, &n_asked))
            return TRUE;
    }
    return FALSE;
}

static void check_views(GPtrArray *checks)
{
    Known known = {0};
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    const char *name;
    guint n_stale = 0;

    learn_own_mounts(&known);
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
            !has_stale_views(name, text->str, &known))
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
    g_hash_table_unref(known.own);
    g_hash_table_unref(known.alive);
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
