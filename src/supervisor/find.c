/*
 * Who serves a mount, found without the files of the state directory: these may have been removed
 * while everybody goes on. A worker has its descriptors at known places, and the supervisor has
 * the same memory open.
 */
#include "internal.h"

#include "procview/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* A path means the same for both. */
static bool shares_our_mounts(pid_t pid)
{
    char path[64];
    struct stat theirs, ours;

    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    return stat(path, &theirs) == 0 && stat("/proc/self/ns/mnt", &ours) == 0 &&
           is_same_file(&theirs, &ours);
}

/* The process that the pid file which a worker has open names. */
static pid_t named_in_pid_file(pid_t pid)
{
    char path[64], text[64];
    pv_autofd int fd = -1;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, PV_WORKER_PIDFILE_FD);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    return atoi(text);
}

static bool serves(pid_t pid, const char *mountpoint)
{
    PvShared shared = {.fd = -1};
    struct stat st;
    char path[64];
    bool does;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, PV_WORKER_SHARED_FD);
    fd = shares_our_mounts(pid) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        return false;
    /* Anybody may make a file of that name, and have a program of root's inherit it. */
    if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || pv_shared_map_read_only(fd, &shared) < 0) {
        close(fd);
        return false;
    }
    does = strncmp(shared.memory->mountpoint, mountpoint, PATH_MAX) == 0 &&
           (shared.memory->status.worker_pid == pid || named_in_pid_file(pid) == pid);
    pv_shared_clear(&shared);
    return does;
}

/* Before anything of it is opened. */
static bool looks_like_worker(pid_t pid)
{
    static const char MEMORY[] = "/memfd:procview", DEVICE[] = "/dev/fuse";
    const struct {
        int fd;
        const char *target;
    } wanted[] = {{PV_WORKER_SHARED_FD, MEMORY}, {PV_WORKER_FUSE_FD, DEVICE}};

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char path[64], target[64];
        ssize_t n;

        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, wanted[i].fd);
        n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        if (strncmp(target, wanted[i].target, strlen(wanted[i].target)) != 0)
            return false;
    }
    return true;
}

pid_t pv_find_worker(const char *mountpoint)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    while (dir != NULL && found == 0 && (entry = readdir(dir)) != NULL) {
        pid_t pid = atoi(entry->d_name);

        if (pid > 1 && looks_like_worker(pid) && serves(pid, mountpoint))
            found = pid;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static bool has_open(pid_t pid, const struct stat *wanted)
{
    char path[64];
    DIR *dir;
    struct dirent *entry;
    bool has = false;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    while (dir != NULL && !has && (entry = readdir(dir)) != NULL) {
        struct stat st;
        has = fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && is_same_file(&st, wanted);
    }
    if (dir != NULL)
        closedir(dir);
    return has;
}

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512];
    pv_autofd int fd = -1;
    const char *after_name;
    int parent = 0;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    after_name = strrchr(text, ')');
    return after_name != NULL && sscanf(after_name, ") %*c %d", &parent) == 1 ? parent : 0;
}

pid_t pv_find_supervisor(int shared_fd, pid_t told, pid_t worker)
{
    const pid_t candidates[] = {told, worker > 0 ? parent_of(worker) : 0};
    struct stat memory;

    if (fstat(shared_fd, &memory) < 0)
        return 0;
    for (int i = 0; i < 2; i++) {
        if (candidates[i] > 0 && candidates[i] != getpid() && candidates[i] != worker &&
            has_open(candidates[i], &memory))
            return candidates[i];
    }
    return 0;
}
