/*
 * A pid namespace and its init, held by descriptors. pids are reused; so the process is named by
 * its number for a moment only, and what was opened by that number is checked to be the same
 * process at the end.
 */
#include "internal.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/syscalls.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define CHECK_INTERVAL_USEC (200 * 1000)
/* The kernel nests pid namespaces 32 deep. */
#define NESTING_MAX 32
/* Attempts to catch an init whose number is taken over while we look. */
#define ATTEMPTS 3

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

PvPidns *pv_pidns_ref(PvPidns *pidns)
{
    g_atomic_int_inc(&pidns->ref_count);
    return pidns;
}

void pv_pidns_unref(PvPidns *pidns)
{
    if (pidns == NULL || !g_atomic_int_dec_and_test(&pidns->ref_count))
        return;
    pv_clear_fd(&pidns->ns_fd);
    pv_clear_fd(&pidns->init_dirfd);
    pv_clear_fd(&pidns->cgroup_fd);
    pv_clear_fd(&pidns->pidfd);
    pv_placement_unref(pidns->placement);
    g_rw_lock_clear(&pidns->lock);
    g_free(pidns);
}

static PvPidns *pidns_alloc(guint64 ino)
{
    PvPidns *pidns = g_new0(PvPidns, 1);

    pidns->ref_count = 1;
    pidns->ino = pidns->owner_ino = ino;
    pidns->ns_fd = pidns->init_dirfd = pidns->cgroup_fd = pidns->pidfd = -1;
    g_rw_lock_init(&pidns->lock);
    return pidns;
}

static gboolean set_gone(GError **error, pid_t tid)
{
    return pv_error_set(error, PV_ERROR_GONE, "process %d, or the init of its pid namespace, ended",
                        (int)tid);
}

/* The outermost namespace around this one, below ours. Kernels that do not tell (before 4.9):
 * itself. */
static guint64 find_owner(const PvVantage *vantage, int ns_fd, guint64 ino)
{
    pv_autofd int fd = -1;

    for (guint i = 0; i < NESTING_MAX; i++) {
        pv_autofd int parent = ioctl(fd < 0 ? ns_fd : fd, NS_GET_PARENT);
        struct stat st;

        if (parent < 0 || fstat(parent, &st) < 0 || st.st_ino == vantage->pidns_ino)
            break;
        ino = st.st_ino;
        pv_clear_fd(&fd);
        fd = pv_steal_fd(&parent);
    }
    return ino;
}

static gboolean open_namespace(const PvVantage *vantage, PvPidns *pidns, pid_t tid, GError **error)
{
    g_autofree char *path = g_strdup_printf("%d/ns/pid", (int)tid);
    struct stat st;

    pidns->ns_fd = openat(vantage->procfs, path, O_RDONLY | O_CLOEXEC);
    if (pidns->ns_fd < 0) {
        int errnum = errno == ENOENT ? ESRCH : errno;

        return pv_error_set_errno(error, errnum, "cannot open the pid namespace of process %d",
                                  (int)tid);
    }
    if (fstat(pidns->ns_fd, &st) < 0 || st.st_ino != pidns->ino)
        return set_gone(error, tid);
    pidns->owner_ino = find_owner(vantage, pidns->ns_fd, pidns->ino);
    return TRUE;
}

static gboolean has_exited(int pidfd)
{
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};

    return pidfd >= 0 && poll(&poll_fd, 1, 0) == 1 && poll_fd.revents != 0;
}

/* Read start time and nesting; FALSE when the process is not the namespace's init. */
static gboolean read_init(const PvVantage *vantage, PvPidns *pidns)
{
    guint64 ticks_per_second = pv_host_ticks_per_second(vantage->host);
    char text[PV_CONTROL_FILE_MAX];
    PvTaskStat task;
    PvTaskPids pids;
    struct stat st;

    if (fstatat(pidns->init_dirfd, "ns/pid", &st, 0) < 0 || st.st_ino != pidns->ino ||
        !pv_task_pids_read(pidns->init_dirfd, "status", &pids) || pids.last_pid != 1 ||
        pv_read_text_at(pidns->init_dirfd, "stat", text, sizeof(text)) < 0 ||
        !pv_task_stat_parse(text, &task))
        return FALSE;
    pidns->is_nested = pids.levels > 2;
    pidns->init_start_ticks = task.start_ticks;
    pidns->init_start_nsec = task.start_ticks / ticks_per_second * NSEC_PER_SEC +
                             task.start_ticks % ticks_per_second * NSEC_PER_SEC / ticks_per_second;
    return TRUE;
}

/*
 * Open everything of init by its number. The pidfd comes first and is alive at the end, so the
 * number was that process's all the time. Returns 0, -ESRCH when the process is not init (any
 * more), or another negative errno.
 */
static int open_init(const PvVantage *vantage, PvPidns *pidns, pid_t init_pid)
{
    g_autofree char *path = g_strdup_printf("%d", (int)init_pid);

    pv_clear_fd(&pidns->pidfd);
    pv_clear_fd(&pidns->init_dirfd);
    pv_clear_fd(&pidns->cgroup_fd);
    if (vantage->is_live) {
        int r = pv_sys_pidfd_open(init_pid, 0);

        if (r < 0)
            return r == -EINVAL ? -ESRCH : r; /* EINVAL: the number is now a thread's */
        pidns->pidfd = r;
    }
    pidns->init_dirfd = openat(vantage->procfs, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (pidns->init_dirfd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    pidns->cgroup_fd = openat(pidns->init_dirfd, "cgroup", O_RDONLY | O_CLOEXEC);
    if (pidns->cgroup_fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    if (!read_init(vantage, pidns) || has_exited(pidns->pidfd))
        return -ESRCH;
    pidns->init_pid = init_pid;
    return 0;
}

static gboolean find_and_open_init(const PvVantage *vantage, PvPidns *pidns, pid_t tid,
                                   const PvCgroupPaths *caller, GError **error)
{
    for (guint i = 0; i < ATTEMPTS; i++) {
        pid_t init_pid = pv_identify_init(vantage, pidns->ns_fd, pidns->ino, tid, caller);
        int r = init_pid <= 0 ? -ESRCH : open_init(vantage, pidns, init_pid);

        if (r == 0)
            return TRUE;
        if (r != -ESRCH)
            return pv_error_set_errno(error, -r,
                                      "cannot open process %d, init of the pid namespace of %d",
                                      (int)init_pid, (int)tid);
    }
    return set_gone(error, tid);
}

PvPidns *pv_pidns_open(const PvVantage *vantage, pid_t tid, guint64 ino,
                       const PvCgroupPaths *caller, GError **error)
{
    g_autoptr(PvPidns) pidns = pidns_alloc(ino);
    g_autofree char *text = NULL;
    ssize_t r;

    if (!open_namespace(vantage, pidns, tid, error) ||
        !find_and_open_init(vantage, pidns, tid, caller, error))
        return NULL;

    text = g_malloc(PV_CGROUP_TEXT_MAX);
    r = pv_pread_text(pidns->cgroup_fd, text, PV_CGROUP_TEXT_MAX);
    if (r < 0) {
        pv_error_set_errno(error, (int)-r, "cannot read the cgroups of process %d",
                           (int)pidns->init_pid);
        return NULL;
    }
    pidns->checked_usec = g_get_monotonic_time();
    pidns->placement = pv_placement_new(vantage, pidns->init_dirfd, pidns->init_pid, text, error);
    return pidns->placement == NULL ? NULL : g_steal_pointer(&pidns);
}

PvPlacement *pv_pidns_placement(PvPidns *pidns)
{
    PvPlacement *placement;

    g_rw_lock_reader_lock(&pidns->lock);
    placement = pv_placement_ref(pidns->placement);
    g_rw_lock_reader_unlock(&pidns->lock);
    return placement;
}

gboolean pv_pidns_is_check_due(PvPidns *pidns)
{
    gint64 now_usec = g_get_monotonic_time();
    gint64 checked_usec = __atomic_load_n(&pidns->checked_usec, __ATOMIC_RELAXED);

    return now_usec - checked_usec >= CHECK_INTERVAL_USEC &&
           __atomic_compare_exchange_n(&pidns->checked_usec, &checked_usec, now_usec, FALSE,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Make `next` the placement, unless another thread has already put one in the place of `before`. */
static PvPlacement *replace_placement(PvPidns *pidns, PvPlacement *before, PvPlacement *next)
{
    PvPlacement *result;

    g_rw_lock_writer_lock(&pidns->lock);
    if (pidns->placement == before) {
        next->generation = before->generation + 1;
        pidns->placement = pv_placement_ref(next);
        result = pv_placement_ref(next);
    } else {
        result = pv_placement_ref(pidns->placement);
        before = NULL;
    }
    g_rw_lock_writer_unlock(&pidns->lock);
    pv_placement_unref(before); /* the namespace's own reference */
    return result;
}

PvPlacement *pv_pidns_refresh(const PvVantage *vantage, PvPidns *pidns, gboolean *ret_moved,
                              GError **error)
{
    char text[PV_CGROUP_TEXT_MAX];
    g_autoptr(PvPlacement) before = pv_pidns_placement(pidns);
    g_autoptr(PvPlacement) next = NULL;
    struct stat st;
    ssize_t r;

    *ret_moved = FALSE;
    __atomic_store_n(&pidns->checked_usec, g_get_monotonic_time(), __ATOMIC_RELAXED);
    r = has_exited(pidns->pidfd) ? -ESRCH : pv_pread_text(pidns->cgroup_fd, text, sizeof(text));
    if (r < 0) {
        pv_error_set_errno(error, (int)-r, "cannot read the cgroups of process %d",
                           (int)pidns->init_pid);
        return NULL;
    }
    /* Time namespaces are entered at exec: a container may be looked at before. */
    if (fstatat(pidns->init_dirfd, "ns/time", &st, 0) < 0)
        st.st_ino = 0;
    if (g_str_equal(text, before->text) && st.st_ino == before->time_ns_ino)
        return g_steal_pointer(&before);

    next = pv_placement_new(vantage, pidns->init_dirfd, pidns->init_pid, text, error);
    if (next == NULL)
        return NULL;
    *ret_moved = TRUE;
    return replace_placement(pidns, before, next);
}

void pv_pidns_poll(PvPidns *const *pidns, guint n, gboolean *dead)
{
    g_autofree struct pollfd *poll_fds = g_new0(struct pollfd, n + 1);
    struct stat st;

    for (guint i = 0; i < n; i++)
        poll_fds[i] = (struct pollfd){.fd = pidns[i]->pidfd, .events = POLLIN};
    if (poll(poll_fds, n, 0) < 0)
        memset(poll_fds, 0, n * sizeof(*poll_fds)); /* nothing is known: nothing is dead */
    for (guint i = 0; i < n; i++) {
        dead[i] = poll_fds[i].revents != 0;
        /* A captured procfs: the process is there as long as its directory has a stat. */
        if (pidns[i]->pidfd < 0)
            dead[i] = fstatat(pidns[i]->init_dirfd, "stat", &st, 0) < 0;
    }
}
