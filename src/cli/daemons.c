/* Looking at daemons, see daemons.h. */
#include "daemons.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_PREFIX   "mount"
#define LOCK_SUFFIX   ".lock"
#define WORKER_PREFIX "worker"
#define WORKER_SUFFIX ".pid"
#define FSTYPE        "fuse.procview"

#define MOUNTINFO_MAX_BYTES (32u << 20)
#define NSEC_PER_MSEC       G_GUINT64_CONSTANT(1000000)

/* A worker beats each second. One that is late is looked at again for so long. */
#define LATE_NSEC      (1500 * NSEC_PER_MSEC)
#define PATIENCE_USEC  (2 * G_USEC_PER_SEC)
#define LOOK_STEP_USEC (20 * 1000)

void pv_daemon_info_free(PvDaemonInfo *info)
{
    if (info == NULL)
        return;
    g_free(info->mountpoint);
    g_free(info);
}

const char *pv_daemon_state_name(PvDaemonState state)
{
    static const char *const names[] = {
        [PV_DAEMON_SERVES] = "serving",      [PV_DAEMON_SAFE] = "safe",
        [PV_DAEMON_PASSES] = "passthrough",  [PV_DAEMON_ORPHANED] = "orphaned",
        [PV_DAEMON_STALLED] = "stalled",     [PV_DAEMON_SILENT] = "not-answering",
        [PV_DAEMON_OTHER] = "other-version", [PV_DAEMON_DEAD] = "dead"};

    return names[state];
}

/* Map a process's shared memory. -ENOENT when it is no process of ours (any more). */
static int map_of(pid_t pid, int fd_number, PvShared *ret_shared)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", (int)pid, fd_number);
    pv_autofd int fd = pid > 1 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int r;

    if (fd < 0)
        return errno == EACCES || errno == EPERM ? -errno : -ENOENT;
    if (!pv_shared_is_one(fd))
        return -ENOENT;
    r = pv_shared_map_read_only(fd, ret_shared);
    if (r == 0)
        pv_steal_fd(&fd);
    return r;
}

/* "-var-lib-procview" back to "/var/lib/procview". */
static char *unescape_path(const char *name)
{
    gsize length = strlen(name);
    GString *path = g_string_new(NULL);

    for (gsize i = 0; i < length; i++) {
        if (name[i] == '%' && i + 2 < length) {
            g_string_append_c(path, (char)(g_ascii_xdigit_value(name[i + 1]) << 4 |
                                           g_ascii_xdigit_value(name[i + 2])));
            i += 2;
        } else {
            g_string_append_c(path, name[i] == '-' ? '/' : name[i]);
        }
    }
    return g_string_free(path, FALSE);
}

/* Whether somebody has the lock of the file. Tried by taking it, for a moment: who wants it waits
 * for longer than that. */
static gboolean is_held(const char *path)
{
    pv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* Whether the process lives and has the same memory: another one that got its number has not. */
static gboolean has_memory(pid_t pid, int memory_fd)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", (int)pid, PV_WORKER_SHARED_FD);
    struct stat theirs, ours;

    if (fstat(memory_fd, &ours) < 0 || stat(path, &theirs) < 0)
        return errno != ENOENT && errno != ESRCH; /* we may not know better */
    return theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

/* Whether the worker that the memory speaks of is there and moves. A signal that it was sent a
 * moment ago may have stopped it nevertheless. */
static gboolean is_answering(PvDaemonInfo *info, int memory_fd)
{
    guint64 moved = MAX(__atomic_load_n(&info->status.heartbeat, __ATOMIC_RELAXED),
                        info->status.worker_start_nsec);
    guint64 now = pv_shared_now_nsec();

    info->still_nsec = now > moved ? now - moved : 0;
    info->is_worker_gone = !info->is_standalone && !has_memory(info->worker_pid, memory_fd);
    return !info->is_worker_gone && info->still_nsec < LATE_NSEC;
}

static void read_shared(PvDaemonInfo *info, const PvShared *shared, gboolean is_supervised)
{
    const PvSharedMemory *memory = shared->memory;

    info->status = memory->status;
    info->status.cause[sizeof info->status.cause - 1] = '\0';
    for (guint i = 0; i < PV_SHARED_THREADS; i++)
        info->n_served += __atomic_load_n(&memory->slots[i].n_served, __ATOMIC_RELAXED);
    if (info->worker_pid == 0)
        info->worker_pid = info->status.worker_pid;
    info->is_standalone = is_supervised && info->worker_pid == info->supervisor_pid;
    if (info->is_standalone)
        info->supervisor_pid = 0;
    if (is_supervised && (info->worker_pid == 0 || info->status.worker_start_nsec == 0))
        info->state = PV_DAEMON_STALLED;
    else if (!is_answering(info, shared->fd))
        info->state = PV_DAEMON_SILENT;
    else if (!is_supervised)
        info->state = PV_DAEMON_ORPHANED;
    else if (info->status.is_safe)
        info->state = PV_DAEMON_SAFE;
    else
        info->state = info->status.shows_host != 0 ? PV_DAEMON_PASSES : PV_DAEMON_SERVES;
}

static char *lock_path_of(const char *state_dir, const char *name)
{
    return g_strdup_printf("%s/" LOCK_PREFIX "%s" LOCK_SUFFIX, state_dir, name);
}

static char *worker_path_of(const char *state_dir, const char *name)
{
    return g_strdup_printf("%s/" WORKER_PREFIX "%s" WORKER_SUFFIX, state_dir, name);
}

/* `name`: that of the lock file without its prefix and suffix. */
static PvDaemonInfo *look(const char *state_dir, const char *name, GError **error)
{
    g_autofree char *lock_path = lock_path_of(state_dir, name);
    g_autofree char *worker_path = worker_path_of(state_dir, name);
    g_autofree char *lock_text = NULL;
    g_autofree char *worker_text = NULL;
    PvDaemonInfo *info = g_new0(PvDaemonInfo, 1);
    PvShared shared = {.fd = -1};
    int pid = 0, fd = -1, fuse_fd, r = -ENOENT;
    gboolean is_locked = is_held(lock_path);

    info->state = is_locked ? PV_DAEMON_STALLED : PV_DAEMON_DEAD;
    info->mountpoint = unescape_path(name);
    if (is_locked && g_file_get_contents(lock_path, &lock_text, NULL, NULL)) {
        int n = sscanf(lock_text, "%d %d", &pid, &fd);
        /* Without the second number it has only just started. */
        info->supervisor_pid = n >= 1 ? pid : 0;
        r = n == 2 ? map_of(pid, fd, &shared) : -ENOENT;
    }
    if (r == -ENOENT && g_file_get_contents(worker_path, &worker_text, NULL, NULL) &&
        sscanf(worker_text, "%d %d %d", &pid, &fuse_fd, &fd) == 3) {
        r = map_of(pid, fd, &shared);
        info->worker_pid = r == 0 || r == -EPROTO ? pid : 0;
    }
    if (r == -EPROTO)
        info->state = PV_DAEMON_OTHER;
    if (r == 0)
        read_shared(info, &shared, info->supervisor_pid != 0);
    pv_shared_clear(&shared);
    if (r == 0 || r == -ENOENT || r == -EPROTO)
        return info;
    pv_error_set_errno(error, -r, "%s", info->mountpoint);
    pv_daemon_info_free(info);
    return NULL;
}

/* The names of the lock files, without prefix and suffix. */
static GPtrArray *list_names(const char *state_dir, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) dir_error = NULL;
    g_autoptr(GDir) dir = g_dir_open(state_dir, 0, &dir_error);
    const char *name;

    if (dir == NULL && !g_error_matches(dir_error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_propagate_error(error, g_steal_pointer(&dir_error));
        return NULL;
    }
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        if (g_str_has_prefix(name, LOCK_PREFIX) && g_str_has_suffix(name, LOCK_SUFFIX))
            g_ptr_array_add(names,
                            g_strndup(name + strlen(LOCK_PREFIX),
                                      strlen(name) - strlen(LOCK_PREFIX) - strlen(LOCK_SUFFIX)));
    }
    return g_steal_pointer(&names);
}

/* Where something of ours is mounted; each a key and a value. */
static GHashTable *list_mount_points(GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    GHashTable *points = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    int r = pv_read_all_at(AT_FDCWD, "/proc/self/mountinfo", text, MOUNTINFO_MAX_BYTES);

    if (r < 0) {
        pv_error_set_errno(error, -r, "/proc/self/mountinfo");
        g_hash_table_unref(points);
        return NULL;
    }
    g_auto(GStrv) lines = g_strsplit(text->str, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, " ", 6);
        if (strstr(*line, " - " FSTYPE " ") != NULL && g_strv_length(fields) == 6)
            g_hash_table_add(points, g_strcompress(fields[4])); /* octal escapes, as C's */
    }
    return points;
}

static gboolean is_left_over(const PvDaemonInfo *info, GHashTable *mount_points)
{
    return info->state == PV_DAEMON_DEAD && !g_hash_table_contains(mount_points, info->mountpoint);
}

/* ret_leftovers NULL, or those that are left out, as names of files. */
static GPtrArray *list(const char *state_dir, gint64 patience_usec, GPtrArray *ret_leftovers,
                       GError **error)
{
    g_autoptr(GPtrArray) daemons =
        g_ptr_array_new_with_free_func((GDestroyNotify)pv_daemon_info_free);
    g_autoptr(GPtrArray) names = list_names(state_dir, error);
    g_autoptr(GHashTable) mount_points = names != NULL ? list_mount_points(error) : NULL;
    gint64 until = g_get_monotonic_time() + patience_usec;

    for (guint i = 0; mount_points != NULL && i < names->len; i++) {
        PvDaemonInfo *info = look(state_dir, names->pdata[i], error);

        while (info != NULL && info->state == PV_DAEMON_SILENT && g_get_monotonic_time() < until) {
            pv_daemon_info_free(info);
            g_usleep(LOOK_STEP_USEC);
            info = look(state_dir, names->pdata[i], error);
        }
        if (info == NULL)
            return NULL;
        if (!is_left_over(info, mount_points)) {
            g_ptr_array_add(daemons, info);
            continue;
        }
        if (ret_leftovers != NULL)
            g_ptr_array_add(ret_leftovers, g_strdup(names->pdata[i]));
        pv_daemon_info_free(info);
    }
    return mount_points != NULL ? g_steal_pointer(&daemons) : NULL;
}

GPtrArray *pv_daemons_list(const char *state_dir, GError **error)
{
    return list(state_dir, PATIENCE_USEC, NULL, error);
}

GPtrArray *pv_daemons_glance(const char *state_dir, GError **error)
{
    return list(state_dir, 0, NULL, error);
}

/* Under the lock, as its owner does: who starts just now goes on with a file of its own. */
static void remove_files(const char *state_dir, const char *name)
{
    g_autofree char *lock_path = lock_path_of(state_dir, name);
    g_autofree char *worker_path = worker_path_of(state_dir, name);
    pv_autofd int fd = open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat by_fd, by_name;

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &by_fd) < 0 ||
        stat(lock_path, &by_name) < 0 || by_fd.st_ino != by_name.st_ino ||
        by_fd.st_dev != by_name.st_dev)
        return;
    unlink(worker_path);
    unlink(lock_path);
}

GPtrArray *pv_daemons_leftovers(const char *state_dir, gboolean wants_removal, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) daemons = list(state_dir, 0, names, error);
    GPtrArray *mount_points;

    if (daemons == NULL)
        return NULL;
    mount_points = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < names->len; i++) {
        if (wants_removal)
            remove_files(state_dir, names->pdata[i]);
        g_ptr_array_add(mount_points, unescape_path(names->pdata[i]));
    }
    return mount_points;
}
