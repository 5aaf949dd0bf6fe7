/*
 * A mount goes on when its supervisor does not: by execve into the next version, from a worker that
 * was left behind, or from the service manager's keeping.
 */
#include "internal.h"

#include "notify.h"

#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESUME_VARIABLE  "PROCVIEW_RESUME"
#define LOCK_VARIABLE    "PROCVIEW_RESUME_LOCK"
#define PROGRAM_VARIABLE "PROCVIEW_RESUME_PROGRAM"
#define FUSE_NAME        "procview-fuse"
#define SHARED_NAME      "procview-shared"
#define END_WAIT_MSEC    2000
#define WORKER_WAIT_MSEC 5000
#define STEP_MSEC        10
#define OTHER_WAIT_MSEC  500

/* A worker that serves holds a lock on the file, and has written there who it is and where it has
 * the descriptors. */
static int find_worker(const char *path, pid_t *ret_pid, int *ret_fuse_fd, int *ret_shared_fd)
{
    pv_autofd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    char text[128];
    int pid;
    ssize_t n;

    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return -ESRCH; /* whoever wrote it is dead */
    n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%d %d %d", &pid, ret_fuse_fd, ret_shared_fd) != 3 || pid <= 1)
        return -EINVAL;
    *ret_pid = pid;
    return 0;
}

static int take_from(Supervisor *self, pid_t pid, int their_fuse_fd, int their_shared_fd)
{
    pv_autofd int pidfd = pv_sys_pidfd_open(pid, 0);
    int fuse_fd, shared_fd;

    if (pidfd < 0)
        return pidfd;
    fuse_fd = pv_sys_pidfd_getfd(pidfd, their_fuse_fd);
    if (fuse_fd < 0)
        return fuse_fd;
    shared_fd = pv_sys_pidfd_getfd(pidfd, their_shared_fd);
    if (shared_fd < 0) {
        close(fuse_fd);
        return shared_fd;
    }
    self->fuse_fd = fuse_fd;
    self->shared.fd = shared_fd;
    self->active = (Worker){.pid = pid,
                            .pidfd = pv_steal_fd(&pidfd),
                            .control = -1,
                            .is_ready = true,
                            .is_serving = true};
    return 0;
}

static int take_from_worker(Supervisor *self)
{
    int fuse_fd = -1, shared_fd = -1;
    pid_t pid = 0;
    int r = find_worker(self->worker_file, &pid, &fuse_fd, &shared_fd);

    return r < 0 ? r : take_from(self, pid, fuse_fd, shared_fd);
}

/* The same when its file is gone, which it has open still. */
static int take_from_lost_worker(Supervisor *self)
{
    pid_t pid = pv_find_worker(self->mount.mountpoint);
    int r = pid > 0 ? take_from(self, pid, PV_WORKER_FUSE_FD, PV_WORKER_SHARED_FD) : -ESRCH;
    char path[64];

    if (r < 0)
        return r;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, PV_WORKER_PIDFILE_FD);
    self->worker_file_fd = open(path, O_RDWR | O_CLOEXEC);
    return 0;
}

static int take_from_manager(Supervisor *self)
{
    self->fuse_fd = pv_notify_stored(FUSE_NAME);
    self->shared.fd = pv_notify_stored(SHARED_NAME);
    return self->fuse_fd >= 0 && self->shared.fd >= 0 ? 0 : -ENOENT;
}

bool pv_adopt_worker(Supervisor *self)
{
    Supervisor found = {.fuse_fd = -1, .shared = {.fd = -1}, .active = {.pidfd = -1}};
    struct stat ours, theirs;
    bool is_ours;

    memcpy(found.worker_file, self->worker_file, sizeof found.worker_file);
    if (take_from_worker(&found) < 0)
        return false;
    /* Who has the memory that we have serves our mount. */
    is_ours = fstat(self->shared.fd, &ours) == 0 && fstat(found.shared.fd, &theirs) == 0 &&
              ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
    pv_clear_fd(&found.fuse_fd);
    pv_clear_fd(&found.shared.fd);
    if (is_ours)
        self->active = found.active;
    else
        pv_worker_clear(&found.active);
    return is_ours;
}

/* Map the memory; that of another version is only good for its FUSE_INIT. */
static int take_memory(Supervisor *self)
{
    int fd = self->shared.fd, r = pv_shared_map(fd, &self->shared);

    if (r != -EPROTO)
        return r;
    r = pv_shared_new(&self->shared);
    if (r == 0)
        r = pv_shared_salvage(fd, self->shared.memory);
    if (r == 0) /* at least this one */
        self->shared.memory->status.n_upgrades = 1;
    close(fd);
    return r;
}

static bool is_usable(const Supervisor *self)
{
    struct pollfd p = {.fd = self->fuse_fd, .events = POLLIN};

    /* An aborted connection says POLLERR. */
    return strcmp(self->shared.memory->mountpoint, self->mount.mountpoint) == 0 &&
           poll(&p, 1, 0) >= 0 && (p.revents & (POLLERR | POLLNVAL)) == 0 &&
           pv_mount_is_there(&self->mount);
}

/* We are to serve at another place now: what was served at this one has nobody any more, once the
 * manager has let go of it, too. What is alive there is somebody else's. */
static void take_away(Supervisor *self, const char *mountpoint)
{
    const PvMount own = self->mount;
    PvMount *left = &self->mount;

    *left = (PvMount){.fuse_fd = -1, .lock_fd = -1};
    snprintf(left->mountpoint, sizeof left->mountpoint, "%s", mountpoint);
    pv_unstore_fds();
    if (pv_mount_is_there(left) && pv_mount_is_dead(left)) {
        pv_worker_detach_views(self);
        if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            say_info("%s: unmounted: the mount point is %s now", mountpoint, own.mountpoint);
        else
            say_warning("%s: the mount of an earlier procviewd is dead and stays: unmount: %s",
                        mountpoint, strerror(errno));
    }
    self->mount = own;
}

static void give_up(Supervisor *self)
{
    char mountpoint[PATH_MAX] = "";

    if (self->shared.memory != NULL &&
        strcmp(self->shared.memory->mountpoint, self->mount.mountpoint) != 0)
        memcpy(mountpoint, self->shared.memory->mountpoint, sizeof mountpoint - 1);
    if (self->active.pid != 0) {
        struct pollfd p = {.fd = self->active.pidfd, .events = POLLIN};
        pv_worker_signal(&self->active, SIGKILL);
        poll(&p, 1, END_WAIT_MSEC);
        pv_worker_clear(&self->active);
    }
    pv_clear_fd(&self->fuse_fd);
    pv_shared_clear(&self->shared);
    if (mountpoint[0] != '\0')
        take_away(self, mountpoint);
}

/* A mount that is not dead has somebody who holds it: a worker that is just beginning to serve. */
static int wait_for_worker(Supervisor *self)
{
    uint64_t until = pv_now_msec() + WORKER_WAIT_MSEC;
    int r = -ENOENT;

    while (r < 0 && pv_mount_is_there(&self->mount) && !pv_mount_is_dead(&self->mount) &&
           pv_now_msec() < until) {
        poll(NULL, 0, STEP_MSEC);
        r = take_from_worker(self);
    }
    return r;
}

/* One that was killed a moment ago may have its files open still. Returns its pid, or 0. */
static pid_t find_other(const Supervisor *self, pid_t told)
{
    uint64_t until = pv_now_msec() + OTHER_WAIT_MSEC;
    pid_t other;

    while ((other = pv_find_supervisor(self->shared.fd, told, self->active.pid)) > 0 &&
           pv_now_msec() < until)
        poll(NULL, 0, STEP_MSEC);
    return other;
}

static void let_go(Supervisor *self)
{
    pv_worker_clear(&self->active);
    pv_clear_fd(&self->fuse_fd);
    pv_shared_clear(&self->shared);
    pv_clear_fd(&self->worker_file_fd);
}

int pv_adopt(Supervisor *self, pid_t *ret_other)
{
    int r = take_from_worker(self);

    if (r < 0)
        r = take_from_manager(self);
    if (r < 0 && pv_mount_is_there(&self->mount))
        r = take_from_lost_worker(self);
    if (r < 0)
        r = wait_for_worker(self);
    if (r < 0) {
        pv_clear_fd(&self->fuse_fd);
        pv_clear_fd(&self->shared.fd);
        return -ENOENT;
    }
    fcntl(self->fuse_fd, F_SETFD, FD_CLOEXEC);
    fcntl(self->shared.fd, F_SETFD, FD_CLOEXEC);
    r = take_memory(self);
    *ret_other = r == 0 ? find_other(self, self->shared.memory->status.supervisor_pid) : 0;
    if (*ret_other > 0) {
        let_go(self);
        return -EBUSY;
    }
    if (r == 0 && is_usable(self))
        return 0;
    give_up(self);
    return -ENOENT;
}

void pv_store_fds(Supervisor *self)
{
    if (!pv_notify_can_store())
        return;
    /* Under one name there may be several: what an earlier one has stored goes first. */
    pv_unstore_fds();
    pv_notify_store(FUSE_NAME, self->fuse_fd);
    pv_notify_store(SHARED_NAME, self->shared.fd);
}

void pv_unstore_fds(void)
{
    if (!pv_notify_can_store())
        return;
    pv_notify_unstore(FUSE_NAME);
    pv_notify_unstore(SHARED_NAME);
}

/* ---- by execve ---- */

static void keep_open(const Supervisor *self, bool keep)
{
    const int fds[] = {self->mount.lock_fd, self->fuse_fd, self->shared.fd, self->worker_file_fd};

    for (int i = 0; i < 4; i++)
        fcntl(fds[i], F_SETFD, keep ? 0 : FD_CLOEXEC);
}

void pv_hand_over(Supervisor *self)
{
    char text[128];

    pv_worker_drop(&self->standby);
    pv_helper_stop(self);
    self->shared.memory->status.n_upgrades++;
    snprintf(text, sizeof text, "%d %d %d %d %d", self->mount.lock_fd, self->fuse_fd,
             self->shared.fd, (int)self->active.pid, self->worker_file_fd);
    setenv(RESUME_VARIABLE, text, 1);
    setenv(LOCK_VARIABLE, self->mount.lock_path, 1);
    setenv(PROGRAM_VARIABLE, self->program, 1);
    keep_open(self, true);
    execv(self->program, self->options->argv);
    say_error("%s: %s: the upgrade is given up", self->program, strerror(errno));
    self->shared.memory->status.n_upgrades--;
    self->shared.memory->status.n_upgrades_refused++;
    keep_open(self, false);
    unsetenv(RESUME_VARIABLE);
    unsetenv(LOCK_VARIABLE);
    unsetenv(PROGRAM_VARIABLE);
    pv_helper_start(self);
}

bool pv_take_over(Supervisor *self)
{
    const char *numbers = getenv(RESUME_VARIABLE), *lock_path = getenv(LOCK_VARIABLE);
    const char *program = getenv(PROGRAM_VARIABLE);
    char path[PATH_MAX];
    int lock_fd, pid;

    if (numbers == NULL || lock_path == NULL ||
        sscanf(numbers, "%d %d %d %d %d", &lock_fd, &self->fuse_fd, &self->shared.fd, &pid,
               &self->worker_file_fd) < 4) /* the last one is younger than the others */
        return false;
    snprintf(path, sizeof path, "%s", lock_path);
    unsetenv(RESUME_VARIABLE);
    /* What it leads to may have changed since. */
    if (program != NULL)
        snprintf(self->program, sizeof self->program, "%s", program);
    unsetenv(LOCK_VARIABLE);
    unsetenv(PROGRAM_VARIABLE);
    if (take_memory(self) < 0)
        return false;
    pv_mount_resume(&self->mount, self->shared.memory->mountpoint, path, lock_fd);
    keep_open(self, false);
    *strrchr(path, '/') = '\0';
    pv_mount_state_path(path, "worker", self->mount.mountpoint, "pid", self->worker_file,
                        sizeof self->worker_file);
    if (pid > 0)
        self->active = (Worker){.pid = pid,
                                .pidfd = pv_sys_pidfd_open(pid, 0),
                                .control = -1,
                                .is_ready = true,
                                .is_serving = true};
    if (self->active.pidfd < 0)
        pv_worker_clear(&self->active);
    return true;
}
