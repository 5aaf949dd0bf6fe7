/*
 * Numbers that became another's while a process was being moved.
 *
 * Linux moves processes into cgroups by their number alone. The process that a container named may
 * be killed and reaped by the container at any moment, and its number be given to any process of
 * the host: nothing that we could hold keeps a number from being given away, and a write may wait
 * for the kernel's locks for milliseconds. A directory in procfs, once open, is of that one process
 * or thread for ever, and is empty when it has been reaped. So:
 *
 * - All that is asked about a number is asked while the directory is open. It is not empty right
 *   before the write: then what was asked was asked of this process.
 * - When it is not empty after the write, either, the number was its own all the time.
 * - When it is, whoever has the number now may have been moved instead. Is it in the cgroup, and
 *   could the writer not have moved it there, it is moved back.
 *
 * Where it came from is told by others: the number was free a moment ago, so who has it is new, and
 * a new process begins in its parent's cgroup, a new thread in its process's. Only when a new
 * thread made the kernel move a whole process, its parent's is a guess: it is not taken for one
 * that may have been put into a container from outside, and would be let out of it; such a process
 * stays, and the log says so.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/file.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int pv_tree_task_open(const PvCgroupTree *tree, pid_t pid)
{
    char path[32];
    int fd;

    snprintf(path, sizeof path, "%d", (int)pid);
    fd = openat(tree->procfs, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

gboolean pv_tree_task_has_number(int task_fd)
{
    struct stat st;

    return fstatat(task_fd, "stat", &st, 0) == 0 || (errno != ESRCH && errno != ENOENT);
}

pid_t pv_tree_origin(pid_t pid, const PvTaskPids *pids, gboolean is_thread,
                     gboolean is_of_parents_pidns)
{
    if (pid == pids->tgid)
        return pids->ppid;
    if (is_thread)
        return pids->tgid;
    return is_of_parents_pidns ? pids->ppid : 0;
}

static gboolean have_one_pidns(const PvCgroupTree *tree, pid_t a, pid_t b)
{
    char path[64];
    struct stat first, second;

    snprintf(path, sizeof path, "%d/ns/pid", (int)a);
    if (fstatat(tree->procfs, path, &first, 0) < 0)
        return FALSE;
    snprintf(path, sizeof path, "%d/ns/pid", (int)b);
    return fstatat(tree->procfs, path, &second, 0) == 0 && first.st_ino == second.st_ino;
}

/* Write a number into a file of pids of another one's cgroup. Returns 0 or a negative errno. */
static int move_to(PvCgroupTree *tree, guint hierarchy, pid_t origin, const char *name, pid_t pid)
{
    pv_autofd int dirfd = pv_tree_open_cgroup_of(tree, hierarchy, origin);
    pv_autofd int fd = -1;

    if (dirfd < 0)
        return dirfd;
    fd = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || dprintf(fd, "%d", (int)pid) < 0)
        return -errno;
    return 0;
}

void pv_tree_give_back(PvCgroupTree *tree, const PvTreeCaller *writer, guint hierarchy,
                       guint64 root_id, guint64 dir, const char *name, pid_t pid)
{
    const gboolean is_thread = strcmp(name, "cgroup.procs") != 0;
    char path[32];
    PvTaskPids pids;
    pid_t origin;
    int r;

    snprintf(path, sizeof path, "%d/status", (int)pid);
    if (!pv_tree_pid_is_in(tree, hierarchy, pid, dir) ||
        !pv_task_pids_read(tree->procfs, path, &pids))
        return; /* nobody has the number, or it is elsewhere */
    origin = pv_tree_origin(pid, &pids, is_thread, have_one_pidns(tree, pids.tgid, pids.ppid));
    if (origin > 0 && pv_tree_pid_is_below(tree, hierarchy, root_id, origin) &&
        pv_tree_pid_is_seen_by(tree, writer, pid))
        return;
    r = origin > 0 ? move_to(tree, hierarchy, origin, name, pid) : -ESRCH;
    if (r == 0)
        pv_log_warning("cgroup tree: container %s: process %d took the number of one that ended "
                       "while it was being moved; it was moved back to the cgroup of process %d",
                       writer->container->name, (int)pid, (int)origin);
    else
        pv_log_warning("cgroup tree: container %s: process %d took the number of one that ended "
                       "while it was being moved, and is in the container's cgroup now; move it "
                       "back by hand, it cannot be done from here: %s",
                       writer->container->name, (int)pid, g_strerror(-r));
}
