/*
 * Pids, from our pid namespace to another's and back.
 *
 * A file of pids is printed by the kernel for whoever reads it: here that is this process. Each is
 * told in the reader's namespace; what is not visible there is 0 on v2, and left out on v1, whose
 * files are sorted as the reader sees them. cgroup_procs_show(), pidlist_array_load() in the
 * kernel.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/file.h"
#include "procview/host.h"
#include "procview/syscalls.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_BYTES_MAX (64u << 20) /* the kernel has four million pids at most */

/* More than any pid: the kernel says ESRCH. */
#define NO_PID 2147483647

/* ---- a namespace of pids ---- */

typedef struct {
    PvCgroupTree *tree;
    guint64 ino;
    int fd;
    gboolean is_own;     /* it is ours: nothing is to be done */
    gboolean is_slow;    /* a kernel that does not translate (before 6.11) */
    guint level;         /* for those: how far below ours it is */
    GHashTable *visible; /* namespace -> 1 + whether its processes are seen from this one */
} PidSpace;

static void pid_space_clear(PidSpace *space)
{
    pv_clear_fd(&space->fd);
    g_clear_pointer(&space->visible, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PidSpace, pid_space_clear)

static gboolean read_pids(PvCgroupTree *tree, pid_t tid, PvTaskPids *ret_pids)
{
    char path[64];

    snprintf(path, sizeof path, "%d/status", (int)tid);
    return pv_task_pids_read(tree->procfs, path, ret_pids);
}

static int pid_space_open(PvCgroupTree *tree, const PvTreeCaller *caller, PidSpace *ret_space)
{
    PvTaskPids pids;
    char path[64];

    *ret_space = (PidSpace){.tree = tree, .fd = -1, .ino = caller->pidns};
    ret_space->is_own = caller->pidns == tree->own_pidns;
    if (ret_space->is_own)
        return 0;
    snprintf(path, sizeof path, "%d/ns/pid", (int)caller->tid);
    ret_space->fd = openat(tree->procfs, path, O_RDONLY | O_CLOEXEC);
    if (ret_space->fd < 0)
        return -errno;
    if (pv_sys_pid_in_pidns(ret_space->fd, caller->tid) != -ENOTTY)
        return 0;
    ret_space->is_slow = TRUE;
    ret_space->visible = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    if (!read_pids(tree, caller->tid, &pids) || pids.levels < 2)
        return -ESRCH;
    ret_space->level = pids.levels;
    return 0;
}

/* Whether a namespace is this one, or a descendant of it. */
static gboolean is_inside(PidSpace *space, const char *ns_path)
{
    pv_autofd int fd = openat(space->tree->procfs, ns_path, O_RDONLY | O_CLOEXEC);

    for (guint i = 0; fd >= 0 && i < PV_PIDNS_LEVELS_MAX; i++) {
        struct stat st;
        int parent;

        if (fstat(fd, &st) == 0 && st.st_ino == space->ino)
            return TRUE;
        parent = ioctl(fd, NS_GET_PARENT);
        pv_clear_fd(&fd);
        fd = parent;
    }
    return FALSE;
}

static gboolean is_visible(PidSpace *space, pid_t pid)
{
    char path[64];
    struct stat st;
    gpointer known;

    snprintf(path, sizeof path, "%d/ns/pid", (int)pid);
    if (fstatat(space->tree->procfs, path, &st, 0) < 0)
        return FALSE;
    guint64 ino = st.st_ino;
    known = g_hash_table_lookup(space->visible, &ino);
    if (known == NULL) {
        known = GINT_TO_POINTER(1 + is_inside(space, path));
        g_hash_table_insert(space->visible, g_memdup2(&ino, sizeof ino), known);
    }
    return GPOINTER_TO_INT(known) == 2;
}

/* A pid of ours in the space; 0 when it is not visible there. */
static pid_t pid_outwards(PidSpace *space, pid_t pid)
{
    PvTaskPids pids;

    if (space->is_own || pid == 0)
        return pid;
    if (!space->is_slow) {
        pid_t there = pv_sys_pid_in_pidns(space->fd, pid);
        return MAX(there, 0);
    }
    if (!is_visible(space, pid) || !read_pids(space->tree, pid, &pids) ||
        pids.levels < space->level)
        return 0;
    return pids.pids[space->level - 1];
}

/* ---- reading ---- */

static gint compare_pids(gconstpointer a, gconstpointer b)
{
    pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;

    return (left > right) - (left < right);
}

/* The whole file, as it is printed for us. */
static int read_numbers(int fd, GArray *pids)
{
    char text[65536];
    goffset offset = 0;
    pid_t pid = -1;
    ssize_t n;

    while ((n = pread(fd, text, sizeof text, offset)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = MAX(pid, 0) * 10 + (text[i] - '0');
            } else if (pid >= 0) {
                g_array_append_val(pids, pid);
                pid = -1;
            }
        }
        offset += n;
        if ((gsize)offset > TEXT_BYTES_MAX)
            return -EFBIG;
    }
    return n < 0 ? -errno : 0;
}

/* It was there when the kernel printed it: is it gone, or not to be seen? */
static gboolean has_ended(pid_t pid)
{
    return kill(pid, 0) < 0 && errno == ESRCH;
}

static void translate(PidSpace *space, GArray *pids, gboolean drop_invisible)
{
    guint n = 0;

    for (guint i = 0; i < pids->len; i++) {
        pid_t pid = g_array_index(pids, pid_t, i);
        pid_t there = pid_outwards(space, pid);

        if (there == 0 && (drop_invisible || (pid != 0 && has_ended(pid))))
            continue;
        g_array_index(pids, pid_t, n++) = there;
    }
    g_array_set_size(pids, n);
}

static void print(const GArray *pids, GString *out)
{
    char line[16];

    for (guint i = 0; i < pids->len; i++) {
        char *p = line + sizeof line;
        guint value = (guint)g_array_index(pids, pid_t, i);

        *--p = '\n';
        do
            *--p = (char)('0' + value % 10);
        while ((value /= 10) != 0);
        g_string_append_len(out, p, line + sizeof line - p);
    }
}

int pv_tree_pids_read(PvCgroupTree *tree, const PvTreeCaller *reader, guint hierarchy, int fd,
                      GString *out)
{
    g_autoptr(GArray) pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
    g_auto(PidSpace) space = {.fd = -1};
    gboolean is_v1 = tree->hierarchy[hierarchy].info.version == 1;
    int r = pid_space_open(tree, reader, &space);

    if (r == 0)
        r = read_numbers(fd, pids);
    if (r < 0)
        return r;
    translate(&space, pids, is_v1);
    if (is_v1 && !space.is_own)
        g_array_sort(pids, compare_pids);
    print(pids, out);
    return 0;
}

/* ---- writing ---- */

/*
 * A pid as the kernel reads one (strstrip() and kstrtoint() with base 0): blanks around it, a sign,
 * 0x or 0 before it. FALSE for what it would refuse.
 */
static gboolean parse_pid(const char *text, pid_t *ret_pid)
{
    g_autofree char *copy = g_strdup(text);
    char *begin = copy, *end;
    gint64 value;

    while (isspace((unsigned char)*begin))
        begin++;
    end = begin + strlen(begin);
    while (end > begin && isspace((unsigned char)end[-1]))
        *--end = '\0';
    if (!g_ascii_isdigit(begin[*begin == '-' || *begin == '+']))
        return FALSE;
    errno = 0;
    value = strtoll(begin, &end, 0);
    /* "0x" without digits: strtoll stops at the x. */
    if (errno != 0 || *end != '\0' || value < 0 || value > INT_MAX)
        return FALSE;
    *ret_pid = (pid_t)value;
    return TRUE;
}

/* Look at all threads or processes: for kernels that do not translate. */
static pid_t search_inwards(PidSpace *space, pid_t wanted)
{
    pv_autofd int fd = openat(space->tree->procfs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *process, *thread;
    pid_t found = 0;

    if (dir == NULL)
        return 0;
    pv_steal_fd(&fd);
    while (found == 0 && (process = readdir(dir)) != NULL) {
        g_autofree char *path = g_strdup_printf("%s/task", process->d_name);
        pid_t pid = atoi(process->d_name);
        int tasks_fd;
        DIR *tasks;

        if (pid <= 0 || !is_visible(space, pid))
            continue;
        tasks_fd = openat(space->tree->procfs, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        tasks = tasks_fd < 0 ? NULL : fdopendir(tasks_fd);
        while (found == 0 && tasks != NULL && (thread = readdir(tasks)) != NULL) {
            if (atoi(thread->d_name) > 0 && pid_outwards(space, atoi(thread->d_name)) == wanted)
                found = atoi(thread->d_name);
        }
        if (tasks != NULL)
            closedir(tasks);
        else
            pv_clear_fd(&tasks_fd);
    }
    closedir(dir);
    return found;
}

/* A pid of the space in ours, or 0. */
static pid_t pid_inwards(PidSpace *space, pid_t pid)
{
    pid_t here;

    if (space->is_own)
        return pid;
    if (space->is_slow)
        return search_inwards(space, pid);
    here = pv_sys_pid_from_pidns(space->fd, pid);
    return MAX(here, 0);
}

int pv_tree_open_cgroup_of(PvCgroupTree *tree, guint hierarchy, pid_t pid)
{
    char name[64], text[PV_CONTROL_FILE_MAX];
    g_autofree char *path = NULL;

    snprintf(name, sizeof name, "%d/cgroup", (int)pid);
    if (pv_read_text_at(tree->procfs, name, text, sizeof text) < 0)
        return -ESRCH;
    path = pv_hierarchies_path(tree->hierarchies, hierarchy, text);
    if (path == NULL)
        return -ENOENT;
    return pv_sys_openat2(tree->hierarchy[hierarchy].dirfd, path[1] != '\0' ? path + 1 : ".",
                          O_PATH | O_DIRECTORY, 0,
                          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

gboolean pv_tree_pid_is_in(PvCgroupTree *tree, guint hierarchy, pid_t pid, guint64 dir)
{
    pv_autofd int fd = pv_tree_open_cgroup_of(tree, hierarchy, pid);
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == dir;
}

gboolean pv_tree_pid_is_below(PvCgroupTree *tree, guint hierarchy, guint64 root_id, pid_t pid)
{
    pv_autofd int fd = pv_tree_open_cgroup_of(tree, hierarchy, pid);

    return fd >= 0 && pv_tree_is_beneath(tree, hierarchy, fd, root_id);
}

gboolean pv_tree_pid_is_seen_by(PvCgroupTree *tree, const PvTreeCaller *caller, pid_t pid)
{
    g_auto(PidSpace) space = {.fd = -1};

    return pid_space_open(tree, caller, &space) == 0 && pid_outwards(&space, pid) != 0;
}

/* The process of a thread: cgroup.procs takes any of its threads for all of them. */
static pid_t process_of(PvCgroupTree *tree, pid_t tid)
{
    PvTaskPids pids;

    return read_pids(tree, tid, &pids) ? pids.tgid : 0;
}

int pv_tree_pids_translate(PvCgroupTree *tree, const PvTreeCaller *writer, guint hierarchy,
                           guint64 root_id, gboolean is_thread, const char *text, char *ret_text,
                           gsize size, pid_t *ret_pid, int *ret_task_fd)
{
    g_auto(PidSpace) space = {.fd = -1};
    pid_t wanted, pid;
    int r;

    *ret_pid = 0;
    if (!parse_pid(text, &wanted)) {
        /* For the kernel to refuse, unless it has something else to say first. */
        g_strlcpy(ret_text, "-1", size);
        return 0;
    }
    r = pid_space_open(tree, writer, &space);
    if (r < 0)
        return r;
    pid = wanted == 0 ? writer->tid : pid_inwards(&space, wanted);
    if (pid > 0 && !is_thread)
        pid = process_of(tree, pid);
    if (pid > 0) {
        *ret_task_fd = pv_tree_task_open(tree, pid);
        /* Asked again now that its number cannot be another's unnoticed. */
        if (*ret_task_fd < 0 || (wanted != 0 && pid_outwards(&space, pid) == 0))
            pid = 0;
    }
    if (pid <= 0) {
        g_snprintf(ret_text, (gulong)size, "%d", NO_PID);
        return 0;
    }
    if (!pv_tree_pid_is_below(tree, hierarchy, root_id, pid))
        return -ENOENT;
    *ret_pid = pid;
    g_snprintf(ret_text, (gulong)size, "%d", (int)pid);
    return 0;
}
