/*
 * The mount and its lock. See procview/mount.h.
 *
 * Who owns a mount point is told by a lock file (flock), which the kernel gives back when the owner
 * dies in whatever way. What is mounted on it is told by /proc/self/mountinfo, which no file system
 * can delay. Only when a FUSE mount is there that no lock explains is it touched, by a child.
 */
#include "procview/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PV_MOUNT_TYPE      "fuse.procview"
#define PV_MOUNT_SOURCE    "procview"
#define PROBE_TIMEOUT_MSEC 2000
#define DEAD_MOUNTS_MAX    16
#define LOCK_WAITS         10

static PvMountResult fail(PvMount *mount, PvMountResult result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static PvMountResult fail(PvMount *mount, PvMountResult result, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(mount->message, sizeof mount->message, format, args);
    va_end(args);
    return result;
}

/* ---- what is mounted on a directory ---- */

/* Undo mountinfo's octal escapes (\040 for a blank), in place. */
static void unescape(char *text)
{
    char *out = text;

    for (const char *in = text; *in != '\0';) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
            in[3] >= '0' && in[3] <= '7') {
            *out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
            in += 4;
        } else {
            *out++ = *in++;
        }
    }
    *out = '\0';
}

/*
 * The type of the topmost mount on a directory, by mountinfo (proc_pid_mountinfo(5)): "ID PARENT
 * DEV ROOT MOUNTPOINT OPTIONS [TAGS…] - TYPE SOURCE …"; later lines lie above earlier ones.
 * ret_type is "" when the directory is no mount point. Returns 0 or a negative errno.
 */
static int mounted_type(const char *directory, char *ret_type, size_t size)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t line_size = 0;

    if (file == NULL)
        return -errno;
    ret_type[0] = '\0';
    while (getline(&line, &line_size, file) > 0) {
        char *separator = strstr(line, " - ");
        char *cursor = line;
        char *point = NULL;

        for (int i = 0; i < 5; i++)
            point = strsep(&cursor, " ");
        if (separator == NULL || point == NULL || cursor == NULL)
            continue;
        unescape(point);
        if (strcmp(point, directory) != 0)
            continue;
        cursor = separator + 3;
        snprintf(ret_type, size, "%s", strsep(&cursor, " "));
    }
    free(line);
    fclose(file);
    return 0;
}

typedef enum { PROBE_ALIVE, PROBE_DEAD, PROBE_HANGS } Probe;

/* Ask a file system whether it answers. The child that asks may hang for good: it is killed, and
 * nobody waits. */
static Probe probe(const PvMount *mount)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    pid_t pid = fork();

    if (pid == 0) {
        struct statfs buf;

        /* Should it hang for good, the lock and the device must not hang on to it. */
        close(mount->lock_fd);
        close(mount->fuse_fd);
        _exit(statfs(mount->mountpoint, &buf) == 0 ? 0 : errno == ENOTCONN ? 1 : 2);
    }
    if (pid < 0)
        return PROBE_HANGS;
    for (int msec = 0; msec < PROBE_TIMEOUT_MSEC; msec += 5) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? PROBE_DEAD : PROBE_ALIVE;
        nanosleep(&pause, NULL);
    }
    kill(pid, SIGKILL);
    return PROBE_HANGS;
}

/* Take away the mounts of dead servers; refuse a FUSE mount that is alive. Anything else may be
 * mounted over. */
static PvMountResult clear_mountpoint(PvMount *mount)
{
    for (int i = 0; i < DEAD_MOUNTS_MAX; i++) {
        char type[64];
        int r = mounted_type(mount->mountpoint, type, sizeof type);

        if (r < 0)
            return fail(mount, PV_MOUNT_FAILED, "/proc/self/mountinfo: %s", strerror(-r));
        if (strcmp(type, "fuse") != 0 && strncmp(type, "fuse.", 5) != 0)
            return PV_MOUNT_OK;
        switch (probe(mount)) {
        case PROBE_DEAD:
            if (umount2(mount->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
                return fail(mount, errno == EPERM ? PV_MOUNT_NO_PERMISSION : PV_MOUNT_FAILED,
                            "%s: cannot take the dead mount away: %s", mount->mountpoint,
                            strerror(errno));
            mount->replaced_dead = 1;
            break;
        case PROBE_ALIVE:
            if (strcmp(type, PV_MOUNT_TYPE) == 0)
                return fail(mount, PV_MOUNT_BUSY, "%s: another procviewd serves it already",
                            mount->mountpoint);
            return fail(mount, PV_MOUNT_BUSY_OTHER,
                        "%s: a file system of type %s is mounted there; unmount it first",
                        mount->mountpoint, type);
        case PROBE_HANGS:
            return fail(
                mount, PV_MOUNT_BUSY_OTHER,
                "%s: the file system of type %s that is mounted there does not answer; end its "
                "server, or unmount it with umount -l",
                mount->mountpoint, type);
        }
    }
    return fail(mount, PV_MOUNT_FAILED, "%s: too many dead mounts on each other",
                mount->mountpoint);
}

/* ---- directories and paths ---- */

/* mkdir -p. Looks at nothing that is mounted on the last component: it may be dead. */
static int make_directories(const char *path, mode_t mode)
{
    char prefix[PATH_MAX];
    size_t length = strlen(path);

    if (length >= sizeof prefix)
        return -ENAMETOOLONG;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(prefix, path, i);
        prefix[i] = '\0';
        if (mkdir(prefix, mode) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

/* The mount point's parent resolved, its last component kept: that one may be a dead mount, which
 * no call may follow. */
static PvMountResult resolve_mountpoint(PvMount *mount, const char *path)
{
    char absolute[PATH_MAX], parent[PATH_MAX], resolved[PATH_MAX];
    char *slash;
    size_t length;
    int r;

    if (path[0] == '/') {
        r = snprintf(absolute, sizeof absolute, "%s", path);
    } else {
        if (getcwd(resolved, sizeof resolved) == NULL)
            return fail(mount, PV_MOUNT_FAILED, "working directory: %s", strerror(errno));
        r = snprintf(absolute, sizeof absolute, "%s/%s", resolved, path);
    }
    if (path[0] == '\0' || r >= (int)sizeof absolute)
        return fail(mount, PV_MOUNT_FAILED, "%s: %s", path,
                    path[0] == '\0' ? "empty path" : strerror(ENAMETOOLONG));
    for (length = strlen(absolute); length > 1 && absolute[length - 1] == '/'; length--)
        absolute[length - 1] = '\0';

    r = make_directories(absolute, 0755);
    if (r < 0)
        return fail(mount,
                    r == -ENOTDIR  ? PV_MOUNT_NOT_DIRECTORY
                    : r == -EACCES ? PV_MOUNT_NO_PERMISSION
                                   : PV_MOUNT_FAILED,
                    "%s: cannot make the mount point: %s", absolute, strerror(-r));

    /* A symbolic link is no mount; anything else stays as it is named. */
    if (readlink(absolute, parent, sizeof parent) > 0 && realpath(absolute, resolved) != NULL)
        strcpy(absolute, resolved);
    strcpy(parent, absolute);
    slash = strrchr(parent, '/');
    if (slash[1] == '\0' || strcmp(slash, "/.") == 0 || strcmp(slash, "/..") == 0)
        return fail(mount, PV_MOUNT_FAILED, "%s: cannot be a mount point", absolute);
    *slash = '\0';
    if (realpath(parent[0] != '\0' ? parent : "/", resolved) == NULL)
        return fail(mount, errno == EACCES ? PV_MOUNT_NO_PERMISSION : PV_MOUNT_FAILED, "%s: %s",
                    parent, strerror(errno));
    r = snprintf(mount->mountpoint, sizeof mount->mountpoint, "%s/%s",
                 strcmp(resolved, "/") == 0 ? "" : resolved, slash + 1);
    if (r >= (int)sizeof mount->mountpoint)
        return fail(mount, PV_MOUNT_FAILED, "%s: %s", absolute, strerror(ENAMETOOLONG));
    return PV_MOUNT_OK;
}

static int is_below(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    return strncmp(path, directory, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

/* A daemon that looks for what it needs on its own mount waits for itself, for ever. */
static PvMountResult refuse_needed_paths(PvMount *mount, const char *state_dir)
{
    char program[PATH_MAX] = "", state[PATH_MAX];
    const char *needed[] = {"/proc", "/sys", "/dev", program, state};

    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        program[0] = '\0';
    if (realpath(state_dir, state) == NULL)
        snprintf(state, sizeof state, "%s", state_dir);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (is_below(needed[i], mount->mountpoint))
            return fail(mount, PV_MOUNT_FAILED, "%s: cannot be the mount point: procviewd needs %s",
                        mount->mountpoint, needed[i]);
    }
    if (is_below(mount->mountpoint, "/proc") || is_below(mount->mountpoint, "/sys"))
        return fail(mount, PV_MOUNT_FAILED,
                    "%s: cannot be the mount point: it is the kernel's own, which procviewd reads",
                    mount->mountpoint);
    return PV_MOUNT_OK;
}

/* ---- the lock ---- */

/* The slashes of the path become '-', its '-' and '%' are escaped: one name a path. */
int pv_mount_state_path(const char *state_dir, const char *prefix, const char *mountpoint,
                        const char *suffix, char *ret_path, size_t size)
{
    size_t n = (size_t)snprintf(ret_path, size, "%s/%s", state_dir, prefix);

    for (const char *c = mountpoint; *c != '\0' && n + 16 < size; c++) {
        if (*c == '-' || *c == '%')
            n += (size_t)sprintf(ret_path + n, "%%%02x", (unsigned char)*c);
        else
            ret_path[n++] = *c == '/' ? '-' : *c;
    }
    if (n + 16 >= size)
        return -ENAMETOOLONG;
    snprintf(ret_path + n, size - n, ".%s", suffix);
    return strlen(strrchr(ret_path, '/') + 1) > NAME_MAX ? -ENAMETOOLONG : 0;
}

/*
 * Take the lock and write our pid. An owner unlinks its file while it still holds the lock, so a
 * file that was locked is only ours if it still has its name. Returns 0, -EWOULDBLOCK when it is
 * held, or a negative errno.
 */
static int lock(PvMount *mount)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    int n_waits = 0;

    for (int i = 0; i < 100; i++) {
        struct stat by_fd, by_name;
        int fd = open(mount->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        int saved_errno;

        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            saved_errno = errno;
            close(fd);
            if (saved_errno != EWOULDBLOCK || n_waits++ == LOCK_WAITS)
                return -saved_errno;
            /* Its owner may have died while it started a process, which has yet to let go of it. */
            nanosleep(&pause, NULL);
            continue;
        }
        if (fstat(fd, &by_fd) == 0 && stat(mount->lock_path, &by_name) == 0 &&
            by_fd.st_ino == by_name.st_ino && by_fd.st_dev == by_name.st_dev) {
            if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
                saved_errno = errno;
                close(fd);
                return -saved_errno;
            }
            mount->lock_fd = fd;
            return 0;
        }
        close(fd);
    }
    return -EWOULDBLOCK;
}

/* The file that has the name is the one that we have locked. */
static int is_lock_there(const PvMount *mount)
{
    struct stat by_fd, by_name;

    return fstat(mount->lock_fd, &by_fd) == 0 && lstat(mount->lock_path, &by_name) == 0 &&
           by_fd.st_ino == by_name.st_ino && by_fd.st_dev == by_name.st_dev;
}

int pv_mount_keep_lock(PvMount *mount)
{
    char directory[PATH_MAX];
    int fd;

    if (is_lock_there(mount))
        return 0;
    snprintf(directory, sizeof directory, "%s", mount->lock_path);
    *strrchr(directory, '/') = '\0';
    make_directories(directory, 0755);
    fd = open(mount->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) { /* of somebody who is about to be refused */
        close(fd);
        return -EWOULDBLOCK;
    }
    close(mount->lock_fd);
    mount->lock_fd = fd;
    return 1;
}

static void unlock(PvMount *mount)
{
    if (mount->lock_fd < 0)
        return;
    if (is_lock_there(mount))
        unlink(mount->lock_path);
    close(mount->lock_fd);
    mount->lock_fd = -1;
}

static PvMountResult take_lock(PvMount *mount, const char *state_dir)
{
    int r = make_directories(state_dir, 0755);

    if (r == 0)
        r = pv_mount_state_path(state_dir, "mount", mount->mountpoint, "lock", mount->lock_path,
                                sizeof mount->lock_path);
    if (r < 0)
        return fail(mount, PV_MOUNT_FAILED, "%s: %s", state_dir, strerror(-r));
    r = lock(mount);
    if (r == -EWOULDBLOCK) {
        char pid[32] = "";
        int fd = open(mount->lock_path, O_RDONLY | O_CLOEXEC);

        if (fd >= 0) {
            ssize_t n = read(fd, pid, sizeof pid - 1);
            pid[n > 0 ? n : 0] = '\0';
            pid[strcspn(pid, "\n")] = '\0';
            close(fd);
        }
        return fail(mount, PV_MOUNT_BUSY, "%s: another procviewd serves it already%s%s",
                    mount->mountpoint, pid[0] != '\0' ? ": pid " : "", pid);
    }
    if (r < 0)
        return fail(mount, r == -EACCES || r == -EPERM ? PV_MOUNT_NO_PERMISSION : PV_MOUNT_FAILED,
                    "%s: %s", mount->lock_path, strerror(-r));
    return PV_MOUNT_OK;
}

/* ---- the mount ---- */

static PvMountResult open_device(PvMount *mount)
{
    mount->fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (mount->fuse_fd >= 0)
        return PV_MOUNT_OK;
    if (errno == EACCES || errno == EPERM)
        return fail(mount, PV_MOUNT_NO_PERMISSION,
                    "/dev/fuse: %s (procviewd runs as root; in a container, the device must be "
                    "allowed)",
                    strerror(errno));
    return fail(mount, PV_MOUNT_NO_DEVICE, "/dev/fuse: %s (is the fuse module loaded?)",
                strerror(errno));
}

static int mount_fuse(const PvMount *target, const char *data)
{
    return mount(PV_MOUNT_SOURCE, target->mountpoint, PV_MOUNT_TYPE,
                 (target->is_writable ? 0 : MS_RDONLY) | MS_NOSUID | MS_NODEV | MS_NOEXEC, data);
}

static PvMountResult put_mount(PvMount *mount)
{
    char data[128];

    /* default_permissions: the kernel checks modes itself, and sends no ACCESS. */
    snprintf(data, sizeof data, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other%s",
             mount->fuse_fd, mount->is_writable ? "" : ",default_permissions");
    if (mount_fuse(mount, data) == 0)
        return PV_MOUNT_OK;
    switch (errno) {
    case EPERM:
    case EACCES:
        return fail(mount, PV_MOUNT_NO_PERMISSION,
                    "%s: no permission to mount: CAP_SYS_ADMIN is needed (run procviewd as root)",
                    mount->mountpoint);
    case ENOTDIR:
        return fail(mount, PV_MOUNT_NOT_DIRECTORY, "%s: not a directory", mount->mountpoint);
    case ENODEV:
        return fail(mount, PV_MOUNT_NO_DEVICE, "this kernel has no FUSE file system");
    default:
        return fail(mount, PV_MOUNT_FAILED, "%s: mount: %s", mount->mountpoint, strerror(errno));
    }
}

static void abandon(PvMount *mount)
{
    if (mount->fuse_fd >= 0)
        close(mount->fuse_fd);
    mount->fuse_fd = -1;
    unlock(mount);
}

PvMountResult pv_mount_lock(PvMount *mount, const char *mountpoint, const char *state_dir)
{
    PvMountResult result;

    memset(mount, 0, sizeof *mount);
    mount->fuse_fd = mount->lock_fd = -1;

    /* The device first: it is the most telling failure of a daemon without privilege. */
    result = open_device(mount);
    if (result == PV_MOUNT_OK)
        result = resolve_mountpoint(mount, mountpoint);
    if (result == PV_MOUNT_OK)
        result = refuse_needed_paths(mount, state_dir);
    if (result == PV_MOUNT_OK)
        result = take_lock(mount, state_dir);
    if (result != PV_MOUNT_OK)
        abandon(mount);
    return result;
}

PvMountResult pv_mount_put(PvMount *mount)
{
    PvMountResult result = clear_mountpoint(mount);

    if (result == PV_MOUNT_OK)
        result = put_mount(mount);
    if (result != PV_MOUNT_OK)
        abandon(mount);
    return result;
}

PvMountResult pv_mount_open(PvMount *mount, const char *mountpoint, const char *state_dir)
{
    PvMountResult result = pv_mount_lock(mount, mountpoint, state_dir);

    return result == PV_MOUNT_OK ? pv_mount_put(mount) : result;
}

void pv_mount_resume(PvMount *mount, const char *mountpoint, const char *lock_path, int lock_fd)
{
    memset(mount, 0, sizeof *mount);
    mount->fuse_fd = -1;
    mount->lock_fd = lock_fd;
    snprintf(mount->mountpoint, sizeof mount->mountpoint, "%s", mountpoint);
    snprintf(mount->lock_path, sizeof mount->lock_path, "%s", lock_path);
}

int pv_mount_is_there(const PvMount *mount)
{
    char type[64];

    return mounted_type(mount->mountpoint, type, sizeof type) == 0 &&
           strcmp(type, PV_MOUNT_TYPE) == 0;
}

int pv_mount_is_dead(const PvMount *mount)
{
    return probe(mount) == PROBE_DEAD;
}

int pv_mount_describe(const PvMount *mount, int shared_fd)
{
    if (ftruncate(mount->lock_fd, 0) < 0 || lseek(mount->lock_fd, 0, SEEK_SET) < 0 ||
        dprintf(mount->lock_fd, "%d\n%d\n", (int)getpid(), shared_fd) < 0)
        return -errno;
    return 0;
}

int pv_mount_read_init(const PvMount *mount, PvSharedMemory *memory)
{
    PvSharedSlot *slot = &memory->slots[0];
    ssize_t n;

    do
        n = read(mount->fuse_fd, slot->request, sizeof slot->request);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if ((size_t)n > sizeof memory->init)
        return -EMSGSIZE;
    memcpy(memory->init, slot->request, (size_t)n);
    memory->init_bytes = (uint32_t)n;
    pv_shared_slot_clear(slot);
    memcpy(memory->mountpoint, mount->mountpoint, sizeof memory->mountpoint);
    memory->mount_sec = time(NULL);
    return 0;
}

void pv_mount_leave(PvMount *mount)
{
    unlock(mount);
}

int pv_mount_close(PvMount *mount)
{
    char type[64];
    int r = mounted_type(mount->mountpoint, type, sizeof type);

    /* Somebody may have unmounted it: what is there now is not ours. */
    if (r == 0 && strcmp(type, PV_MOUNT_TYPE) == 0 &&
        umount2(mount->mountpoint, UMOUNT_NOFOLLOW) < 0) {
        r = -errno;
        if (r == -EBUSY)
            r = umount2(mount->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
        if (r == -EINVAL)
            r = 0;
    }
    unlock(mount);
    return r;
}
