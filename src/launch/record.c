/*
 * Records of running containers, and what is done about those whose launcher was killed. Only a
 * cgroup that has a record of ours is ever touched.
 */
#include "record.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_WAIT_USEC (10 * G_USEC_PER_SEC)
#define LOCK_STEP_USEC (20 * 1000)

/* Directories of records are root's own, but stay within reason whatever is in there. */
#define RECORDS_MAX 10000

int pv_launch_lock_all(GError **error)
{
    gint64 deadline = g_get_monotonic_time() + LOCK_WAIT_USEC;

    if (g_mkdir_with_parents(PV_LAUNCH_RUN_DIR, 0755) < 0) {
        pv_error_set_errno(error, errno, "cannot make " PV_LAUNCH_RUN_DIR);
        return -1;
    }
    pv_autofd int fd = open(PV_LAUNCH_RUN_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        pv_error_set_errno(error, errno, "cannot open " PV_LAUNCH_RUN_DIR);
        return -1;
    }
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            pv_error_set_errno(error, errno, "cannot lock " PV_LAUNCH_RUN_DIR);
            return -1;
        }
        if (g_get_monotonic_time() > deadline) {
            pv_error_set(error, PV_ERROR_BUSY,
                         "another procview has kept " PV_LAUNCH_RUN_DIR
                         " locked for 10 seconds (fuser " PV_LAUNCH_RUN_DIR " shows which)");
            return -1;
        }
        g_usleep(LOCK_STEP_USEC);
    }
    return pv_steal_fd(&fd);
}

static char *record_path(const char *name)
{
    return g_build_filename(PV_LAUNCH_RUN_DIR, name, NULL);
}

PvLaunchRecord *pv_launch_record_new(const char *name, GError **error)
{
    g_autofree char *path = record_path(name);
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    pv_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        pv_error_set_errno(error, errno, "cannot make %s", path);
        return NULL;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        char owner[16] = "?";
        if (pv_pread_text(fd, owner, sizeof owner) > 0)
            g_strchomp(owner);
        pv_error_set(error, PV_ERROR_BUSY,
                     "--name %s: a container of that name is running (its launcher is process %s)",
                     name, owner);
        return NULL;
    }
    if (ftruncate(fd, 0) < 0 || write(fd, text, strlen(text)) < 0) {
        pv_error_set_errno(error, errno, "cannot write %s", path);
        return NULL;
    }
    PvLaunchRecord *record = g_new0(PvLaunchRecord, 1);
    record->name = g_strdup(name);
    record->fd = pv_steal_fd(&fd);
    return record;
}

void pv_launch_record_close(PvLaunchRecord *record)
{
    if (record == NULL)
        return;
    pv_clear_fd(&record->fd);
    g_free(record->name);
    g_free(record);
}

void pv_launch_record_remove(PvLaunchRecord *record)
{
    if (record == NULL)
        return;
    g_autofree char *path = record_path(record->name);
    unlink(path);
    pv_launch_record_close(record);
}

/* ---- leftovers ---- */

void pv_launch_leftover_free(PvLaunchLeftover *leftover)
{
    if (leftover == NULL)
        return;
    g_free(leftover->name);
    g_free(leftover->reason);
    g_free(leftover);
}

/* Lock the record of a launcher that is dead. Returns -1 when it lives, or there is no record. */
static int lock_dead_record(const char *name)
{
    g_autofree char *path = record_path(name);
    pv_autofd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return -1;
    return pv_steal_fd(&fd);
}

static gboolean cgroup_exists(const PvLaunchHierarchy *hierarchy, const char *path)
{
    g_autofree char *full = g_build_filename(hierarchy->mount_point, path, NULL);
    return access(full, F_OK) == 0;
}

static PvLaunchLeftover *clean_one(const GPtrArray *hierarchies, const char *name, gboolean dry_run)
{
    PvLaunchLeftover *leftover = g_new0(PvLaunchLeftover, 1);
    g_autofree char *path = g_build_filename(PV_LAUNCH_PARENT, name, NULL);
    g_autofree char *record = record_path(name);
    g_autofree char *views = g_build_filename(PV_LAUNCH_VIEWS_DIR, name, NULL);
    g_autoptr(GError) error = NULL;

    leftover->name = g_strdup(name);
    for (guint i = 0; i < hierarchies->len; i++) {
        const PvLaunchHierarchy *hierarchy = hierarchies->pdata[i];
        if (!cgroup_exists(hierarchy, path))
            continue;
        leftover->n_cgroups++;
        if (!dry_run && error == NULL)
            pv_launch_cgroup_remove(hierarchy, path, &error);
    }
    if (dry_run)
        return leftover;
    if (error != NULL) {
        leftover->reason = g_strdup(error->message);
        return leftover;
    }
    rmdir(views);
    unlink(record);
    leftover->removed = TRUE;
    return leftover;
}

GPtrArray *pv_launch_clean_locked(const GPtrArray *hierarchies, gboolean dry_run, GError **error)
{
    GPtrArray *leftovers = g_ptr_array_new_with_free_func((GDestroyNotify)pv_launch_leftover_free);
    g_autoptr(GError) local = NULL;
    g_autoptr(GDir) dir = g_dir_open(PV_LAUNCH_RUN_DIR, 0, &local);
    const char *name;

    if (dir == NULL) {
        g_ptr_array_unref(leftovers);
        pv_error_set(error, PV_ERROR_FAILED, "%s", local->message);
        return NULL;
    }
    for (guint n = 0; n < RECORDS_MAX && (name = g_dir_read_name(dir)) != NULL; n++) {
        pv_autofd int fd = lock_dead_record(name);
        if (fd >= 0)
            g_ptr_array_add(leftovers, clean_one(hierarchies, name, dry_run));
    }
    for (guint i = 0; !dry_run && i < hierarchies->len; i++)
        pv_launch_cgroup_remove_parent(hierarchies->pdata[i]);
    return leftovers;
}

GPtrArray *pv_launch_clean(gboolean dry_run, GError **error)
{
    if (dry_run && access(PV_LAUNCH_RUN_DIR, F_OK) < 0)
        return g_ptr_array_new_with_free_func((GDestroyNotify)pv_launch_leftover_free);
    g_autoptr(GPtrArray) hierarchies = pv_launch_hierarchies_load(error);
    if (hierarchies == NULL)
        return NULL;
    pv_autofd int lock = pv_launch_lock_all(error);
    if (lock < 0)
        return NULL;
    return pv_launch_clean_locked(hierarchies, dry_run, error);
}
