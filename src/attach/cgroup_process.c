/*
 * The process that stands for a cgroup: of all in it, and below it, the one in the outermost pid
 * namespace. Containers fill cgroups as they like: all walks have an end.
 */
#include "procview/resolve.h"

#include "procview/fd.h"
#include "procview/file.h"
#include "procview/host.h"
#include "procview/parse.h"
#include "procview/syscalls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PID_LIMIT (4 * 1024 * 1024) /* PID_MAX_LIMIT */

/* Of a cgroup without processes of its own, the cgroups below and their processes are looked at,
 * but not without end. */
#define CGROUPS_MAX   1024
#define PROCESSES_MAX 4096
#define DEPTH_MAX     16

/* The best process so far: one that is in the outermost pid namespace of the cgroup. */
typedef struct {
    guint n_cgroups, n_processes;
    pid_t pid;
    guint depth;         /* of its pid namespace, the caller's is 1 */
    ino_t pidns;         /* inode of it */
    gboolean is_several; /* processes of several pid namespaces of that depth */
} Search;

/* How many pid namespaces a process is in, counted from the caller's: the numbers in NSpid. 0 when
 * it has ended. *ret_is_init: it is the first process of the innermost. */
static guint pidns_depth(pid_t pid, gboolean *ret_is_init)
{
    PvTaskPids pids = {0};
    char path[64];

    g_snprintf(path, sizeof(path), "/proc/%d/status", pid);
    if (!pv_task_pids_read(AT_FDCWD, path, &pids))
        pids.levels = 0;
    *ret_is_init = pids.levels > 0 && pids.last_pid == 1;
    return pids.levels;
}

static void consider(Search *search, pid_t pid)
{
    char path[64];
    struct stat st;
    gboolean is_init;
    guint depth = pidns_depth(pid, &is_init);

    g_snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
    if (depth == 0 || stat(path, &st) < 0)
        return;
    if (search->pid == 0 || depth < search->depth) {
        search->pid = pid;
        search->depth = depth;
        search->pidns = st.st_ino;
        search->is_several = FALSE;
    } else if (depth == search->depth && st.st_ino != search->pidns) {
        search->is_several = TRUE;
    } else if (depth == search->depth && is_init) {
        search->pid = pid; /* the others come and go */
    }
}

/* Look at the processes in cgroup.procs. */
static void consider_processes(Search *search, int cgroup_fd)
{
    g_autoptr(GString) text = g_string_new(NULL);
    guint64 pid;

    if (pv_read_all_at(cgroup_fd, "cgroup.procs", text, 1 << 20) < 0)
        return;
    for (const char *p = text->str;
         search->n_processes < PROCESSES_MAX && pv_parse_u64(&p, &pid);) {
        while (*p == '\n')
            p++;
        search->n_processes++;
        if (pid > 0 && pid <= PID_LIMIT) /* 0: not visible here */
            consider(search, (pid_t)pid);
    }
}

static void search_cgroup(Search *search, int cgroup_fd, guint depth)
{
    pv_autofd int fd = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || depth > DEPTH_MAX || ++search->n_cgroups > CGROUPS_MAX)
        return;
    consider_processes(search, fd);
    if (depth == 0 && search->pid != 0)
        return; /* it has processes of its own */
    DIR *dir = fdopendir(fd);
    if (dir == NULL)
        return;
    pv_steal_fd(&fd);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        pv_autofd int child =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0)
            search_cgroup(search, child, depth + 1);
    }
    closedir(dir);
}

/* Open a cgroup of one hierarchy; `path` may begin with the hierarchy's mount point. */
static int open_cgroup(const char *mount_point, const char *path)
{
    gsize length = strlen(mount_point);
    pv_autofd int mount_fd = open(mount_point, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (mount_fd < 0)
        return -errno;
    if (strncmp(path, mount_point, length) == 0 && (path[length] == '/' || path[length] == '\0'))
        path += length;
    while (*path == '/')
        path++;
    return pv_sys_openat2(mount_fd, *path != '\0' ? path : ".", O_RDONLY | O_DIRECTORY, 0,
                          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

int pv_cgroup_first_process(const char *mount_point, const char *path, gboolean is_deep,
                            pid_t *ret_pid)
{
    Search search = {0};
    pv_autofd int fd = open_cgroup(mount_point, path);

    if (fd < 0)
        return fd;
    if (is_deep)
        search_cgroup(&search, fd, 0);
    else
        consider_processes(&search, fd);
    if (search.is_several)
        return -ENOTUNIQ;
    if (search.pid == 0)
        return -ESRCH;
    *ret_pid = search.pid;
    return 0;
}
