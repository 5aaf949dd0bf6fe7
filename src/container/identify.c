/*
 * Telling which pid namespace and cgroups a thread is in, and which process is the init of a pid
 * namespace. Everything is read through the host's procfs; nothing is believed that a
 * container could have made up. pid_namespaces(7), proc(5).
 */
#include "internal.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/parse.h"
#include "procview/syscalls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Enough for nearly every status; and for one with as many supplementary groups as there can be
 * (NGROUPS_MAX), which stand before the pids. */
#define PATH_BYTES_MAX 64
/* The kernel nests pid namespaces 32 deep; parents are walked a little further. */
#define PARENTS_MAX 64
/* Threads of the caller's cgroup that are looked at before all of /proc is. */
#define CGROUP_THREADS_MAX 4096

#define NSEC_PER_SEC G_GINT64_CONSTANT(1000000000)
/* The kernel keeps offsets well within what a signed count of nanoseconds holds. */
#define OFFSET_SEC_MAX (G_MAXINT64 / NSEC_PER_SEC / 2 - 1)

static int stat_ino(int dirfd, const char *path, guint64 *ret_ino)
{
    struct stat st;

    if (fstatat(dirfd, path, &st, 0) < 0)
        return -errno;
    *ret_ino = st.st_ino;
    return 0;
}

/* The offset is that of the namespace given to children: ours only when the two are the same. */
static gint64 own_time_offset(const PvVantage *vantage)
{
    char text[256];
    guint64 children_ino = 0;
    gint64 offset_nsec = 0;

    if (vantage->time_ns_ino == 0 ||
        stat_ino(vantage->procfs, "self/ns/time_for_children", &children_ino) < 0 ||
        children_ino != vantage->time_ns_ino ||
        pv_read_text_at(vantage->procfs, "self/timens_offsets", text, sizeof(text)) < 0 ||
        !pv_identify_timens_parse(text, &offset_nsec))
        return 0;
    return offset_nsec;
}

gboolean pv_vantage_init(PvVantage *vantage, PvHost *host, PvHierarchies *hierarchies,
                         GError **error)
{
    struct statfs fs;
    int r;

    *vantage = (PvVantage){
        .host = host,
        .hierarchies = hierarchies,
        .procfs = pv_host_procfs(host),
        .use_ioctl = TRUE,
    };
    vantage->is_live = fstatfs(vantage->procfs, &fs) == 0 && (guint64)fs.f_type == PROC_SUPER_MAGIC;

    r = stat_ino(vantage->procfs, "self/ns/pid", &vantage->pidns_ino);
    if (r < 0)
        return pv_error_set_errno(error, -r, "cannot read our own pid namespace");
    if (stat_ino(vantage->procfs, "self/ns/cgroup", &vantage->cgroup_ns_ino) < 0)
        vantage->cgroup_ns_ino = 0; /* kernels without: every process is in the same one */
    if (stat_ino(vantage->procfs, "self/ns/time", &vantage->time_ns_ino) < 0)
        vantage->time_ns_ino = 0;
    vantage->time_offset_nsec = own_time_offset(vantage);
    return TRUE;
}

int pv_identify_pidns(const PvVantage *vantage, pid_t tid, guint64 *ret_ino)
{
    char path[PATH_BYTES_MAX];

    g_snprintf(path, sizeof(path), "%d/ns/pid", (int)tid);
    return stat_ino(vantage->procfs, path, ret_ino);
}

ssize_t pv_identify_cgroup_text(const PvVantage *vantage, pid_t tid, char *buf, size_t size)
{
    char path[PATH_BYTES_MAX];

    g_snprintf(path, sizeof(path), "%d/cgroup", (int)tid);
    return pv_read_text_at(vantage->procfs, path, buf, size);
}

static gboolean status_of(const PvVantage *vantage, pid_t pid, PvTaskPids *ret_pids)
{
    char path[PATH_BYTES_MAX];

    g_snprintf(path, sizeof(path), "%d/status", (int)pid);
    return pv_task_pids_read(vantage->procfs, path, ret_pids);
}

static gboolean is_in_pidns(const PvVantage *vantage, pid_t pid, guint64 ino)
{
    guint64 found;

    return pv_identify_pidns(vantage, pid, &found) == 0 && found == ino;
}

static gboolean is_init_of(const PvVantage *vantage, pid_t pid, guint64 ino)
{
    PvTaskPids pids;

    return is_in_pidns(vantage, pid, ino) && status_of(vantage, pid, &pids) && pids.last_pid == 1;
}

/* Parents lead to init, unless one of them entered the namespace by setns and has a parent outside.
 */
static pid_t init_by_parents(const PvVantage *vantage, guint64 ino, pid_t tid)
{
    pid_t pid = tid;

    for (guint i = 0; i < PARENTS_MAX && pid > 0 && is_in_pidns(vantage, pid, ino); i++) {
        PvTaskPids pids;

        if (!status_of(vantage, pid, &pids))
            return 0;
        if (pids.last_pid == 1)
            return pid;
        pid = pids.ppid;
    }
    return 0;
}

typedef struct {
    const PvVantage *vantage;
    guint64 ino;
    pid_t found;
} InitSearch;

static gboolean search_thread(pid_t tid, gpointer data)
{
    InitSearch *search = data;

    if (tid > 0 && is_init_of(search->vantage, tid, search->ino))
        search->found = tid;
    return search->found == 0;
}

static pid_t init_by_cgroup(const PvVantage *vantage, guint64 ino, const PvCgroupPaths *caller)
{
    InitSearch search = {.vantage = vantage, .ino = ino};
    g_autoptr(PvCgroup) cgroup = NULL;

    if (caller == NULL || caller->path[PV_CONTROLLER_TASKS] == NULL ||
        g_str_equal(caller->path[PV_CONTROLLER_TASKS], "/"))
        return 0; /* all of the host: /proc is quicker */
    cgroup = pv_cgroup_open(vantage->hierarchies, caller, NULL);
    if (cgroup != NULL)
        pv_cgroup_foreach_thread(cgroup, CGROUP_THREADS_MAX, search_thread, &search);
    return search.found;
}

static pid_t init_by_procfs(const PvVantage *vantage, guint64 ino)
{
    InitSearch search = {.vantage = vantage, .ino = ino};

    pv_identify_foreach_process(vantage, search_thread, &search);
    return search.found;
}

void pv_identify_foreach_process(const PvVantage *vantage, PvThreadFunc func, gpointer data)
{
    int fd = openat(vantage->procfs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (dir == NULL) {
        pv_clear_fd(&fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        guint64 pid;

        if (g_ascii_string_to_unsigned(entry->d_name, 10, 1, G_MAXINT, &pid, NULL) &&
            !func((pid_t)pid, data))
            break;
    }
    closedir(dir);
}

pid_t pv_identify_init(const PvVantage *vantage, int pidns_fd, guint64 ino, pid_t tid,
                       const PvCgroupPaths *caller)
{
    pid_t pid = vantage->use_ioctl ? pv_sys_pid_from_pidns(pidns_fd, 1) : -ENOTTY;

    if (pid > 0)
        return pid;
    if (pid == -ESRCH)
        return 0;
    /* A kernel before 6.11. */
    pid = init_by_parents(vantage, ino, tid);
    if (pid == 0)
        pid = init_by_cgroup(vantage, ino, caller);
    if (pid == 0)
        pid = init_by_procfs(vantage, ino);
    return pid;
}

gboolean pv_identify_timens_parse(const char *text, gint64 *ret_offset_nsec)
{
    for (const char *line = text; line != NULL && *line != '\0';) {
        gint64 seconds, nsec;
        char *end;

        if (g_str_has_prefix(line, "boottime") && g_ascii_isspace(line[strlen("boottime")])) {
            line += strlen("boottime");
            seconds = g_ascii_strtoll(line, &end, 10);
            if (end == line)
                return FALSE;
            line = end;
            nsec = g_ascii_strtoll(line, &end, 10);
            if (end == line || nsec < 0 || nsec >= NSEC_PER_SEC || seconds > OFFSET_SEC_MAX ||
                seconds < -OFFSET_SEC_MAX)
                return FALSE;
            *ret_offset_nsec = seconds * NSEC_PER_SEC + nsec;
            return TRUE;
        }
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return FALSE;
}
