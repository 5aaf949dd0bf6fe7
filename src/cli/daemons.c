/* Looking at daemons, see daemons.h. */
#include "daemons.h"

#include "procview/error.h"
#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LOCK_PREFIX   "mount"
#define LOCK_SUFFIX   ".lock"
#define WORKER_FORMAT "worker%.*s.pid"

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
        [PV_DAEMON_SERVES] = "serving",     [PV_DAEMON_SAFE] = "safe",
        [PV_DAEMON_PASSES] = "passthrough", [PV_DAEMON_ORPHANED] = "orphaned",
        [PV_DAEMON_STALLED] = "stalled",    [PV_DAEMON_OTHER] = "other-version",
        [PV_DAEMON_DEAD] = "dead"};

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
static char *unescape_path(const char *name, gsize length)
{
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

static void read_shared(PvDaemonInfo *info, const PvSharedMemory *memory, gboolean is_supervised)
{
    info->status = memory->status;
    info->status.cause[sizeof info->status.cause - 1] = '\0';
    for (guint i = 0; i < PV_SHARED_THREADS; i++)
        info->n_served += __atomic_load_n(&memory->slots[i].n_served, __ATOMIC_RELAXED);
    if (info->worker_pid == 0)
        info->worker_pid = info->status.worker_pid;
    if (!is_supervised)
        info->state = PV_DAEMON_ORPHANED;
    else if (info->worker_pid == 0 || info->status.worker_start_nsec == 0)
        info->state = PV_DAEMON_STALLED;
    else if (info->status.is_safe)
        info->state = PV_DAEMON_SAFE;
    else
        info->state = info->status.shows_host != 0 ? PV_DAEMON_PASSES : PV_DAEMON_SERVES;
}

/* `name` without its prefix and suffix. */
static PvDaemonInfo *look(const char *state_dir, const char *name, gsize length, GError **error)
{
    g_autofree char *lock_path =
        g_strdup_printf("%s/" LOCK_PREFIX "%.*s" LOCK_SUFFIX, state_dir, (int)length, name);
    g_autofree char *worker_path =
        g_strdup_printf("%s/" WORKER_FORMAT, state_dir, (int)length, name);
    g_autofree char *lock_text = NULL;
    g_autofree char *worker_text = NULL;
    PvDaemonInfo *info = g_new0(PvDaemonInfo, 1);
    PvShared shared = {.fd = -1};
    int pid = 0, fd = -1, fuse_fd, r = -ENOENT;

    info->state = PV_DAEMON_DEAD;
    info->mountpoint = unescape_path(name, length);
    if (g_file_get_contents(lock_path, &lock_text, NULL, NULL) &&
        sscanf(lock_text, "%d %d", &pid, &fd) == 2)
        r = map_of(pid, fd, &shared);
    if (r == 0 || r == -EPROTO)
        info->supervisor_pid = pid;
    else if (r == -ENOENT && g_file_get_contents(worker_path, &worker_text, NULL, NULL) &&
             sscanf(worker_text, "%d %d %d", &pid, &fuse_fd, &fd) == 3) {
        r = map_of(pid, fd, &shared);
        info->worker_pid = r == 0 || r == -EPROTO ? pid : 0;
    }
    if (r == -EPROTO)
        info->state = PV_DAEMON_OTHER;
    if (r == 0)
        read_shared(info, shared.memory, info->supervisor_pid != 0);
    pv_shared_clear(&shared);
    if (r == 0 || r == -ENOENT || r == -EPROTO)
        return info;
    pv_error_set_errno(error, -r, "%s", info->mountpoint);
    pv_daemon_info_free(info);
    return NULL;
}

GPtrArray *pv_daemons_list(const char *state_dir, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)pv_daemon_info_free);
    g_autoptr(GError) dir_error = NULL;
    g_autoptr(GDir) dir = g_dir_open(state_dir, 0, &dir_error);
    const char *name;

    if (dir == NULL && !g_error_matches(dir_error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_propagate_error(error, g_steal_pointer(&dir_error));
        return NULL;
    }

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        PvDaemonInfo *info;

        if (!g_str_has_prefix(name, LOCK_PREFIX) || !g_str_has_suffix(name, LOCK_SUFFIX))
            continue;
        info = look(state_dir, name + strlen(LOCK_PREFIX),
                    strlen(name) - strlen(LOCK_PREFIX) - strlen(LOCK_SUFFIX), error);
        if (info == NULL)
            return NULL;
        g_ptr_array_add(list, info);
    }
    return g_steal_pointer(&list);
}
