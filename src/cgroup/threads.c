/*
 * The threads of a cgroup and its descendants. What is below a container's cgroup is the
 * container's to shape: the walk follows no links, and is bounded in cgroups, depth and threads.
 */
#include "internal.h"

#include "procview/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define WALK_CGROUPS_MAX 4096
#define WALK_DEPTH_MAX   64

/* What kernfs renders of a file of many records at a time. */
#define PIECE_BYTES 4096

#define DIR_FLAGS  (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
#define FILE_FLAGS (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)

typedef struct {
    const char *threads_file;
    PvThreadFunc func;
    gpointer data;
    guint threads_left;
    guint cgroups_left;
    gboolean cut;     /* a bound ended the walk, or a part of it */
    gboolean stopped; /* the callback or the bound of threads ended all of it */
} Walk;

static void emit(Walk *walk, guint64 tid)
{
    if (walk->threads_left == 0) {
        walk->cut = walk->stopped = TRUE;
        return;
    }
    walk->threads_left--;
    if (tid <= G_MAXINT32 && !walk->func((pid_t)tid, walk->data))
        walk->stopped = TRUE;
}

/* Hand on each line's number. Pieces are read in order through a descriptor of our own: the kernel
 * then goes on where it stopped, and ends a piece with a whole line; a number cut in two is put
 * together all the same. */
static int read_threads(Walk *walk, int dirfd)
{
    pv_autofd int fd = openat(dirfd, walk->threads_file, FILE_FLAGS);
    if (fd < 0)
        return -errno;

    char piece[PIECE_BYTES];
    guint64 tid = 0;
    gboolean in_number = FALSE;
    while (!walk->stopped) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        for (ssize_t i = 0; i < n && !walk->stopped; i++) {
            if (g_ascii_isdigit(piece[i])) {
                tid = MIN(tid * 10 + (guint64)(piece[i] - '0'), G_MAXUINT32);
                in_number = TRUE;
            } else if (in_number) {
                emit(walk, tid);
                tid = 0;
                in_number = FALSE;
            }
        }
    }
    return 0;
}

static int walk_cgroup(Walk *walk, int dirfd, guint depth);

static void walk_child(Walk *walk, int dirfd, const char *name, guint depth)
{
    if (depth + 1 > WALK_DEPTH_MAX || walk->cgroups_left == 0) {
        walk->cut = TRUE;
        return;
    }
    pv_autofd int child = openat(dirfd, name, DIR_FLAGS);
    if (child >= 0)
        walk_cgroup(walk, child, depth + 1);
    else if (errno != ENOENT) /* else it was removed meanwhile */
        walk->cut = TRUE;
}

static void walk_children(Walk *walk, int dirfd, guint depth)
{
    /* A directory without children has two links, where the filesystem counts them as kernfs does.
     */
    struct stat st;
    if (fstat(dirfd, &st) == 0 && st.st_nlink == 2)
        return;

    int fd = openat(dirfd, ".", DIR_FLAGS);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        pv_clear_fd(&fd);
        walk->cut = TRUE;
        return;
    }
    struct dirent *entry;
    while (!walk->stopped && (entry = readdir(dir)) != NULL) {
        if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0)
            walk_child(walk, dirfd, entry->d_name, depth);
    }
    closedir(dir);
}

/* Returns what reading this cgroup's own threads returned; its children are walked in any case. */
static int walk_cgroup(Walk *walk, int dirfd, guint depth)
{
    walk->cgroups_left--;
    int rc = read_threads(walk, dirfd);
    if (!walk->stopped)
        walk_children(walk, dirfd, depth);
    return rc;
}

int pv_cgroup_foreach_thread(PvCgroup *cgroup, guint max_threads, PvThreadFunc func, gpointer data)
{
    const PvChain *chain = cgroup->controller[PV_CONTROLLER_TASKS];
    if (chain == NULL || chain->n_levels == 0)
        return -ENODATA;

    Walk walk = {
        .threads_file = chain->ops->threads_file,
        .func = func,
        .data = data,
        .threads_left = max_threads,
        .cgroups_left = WALK_CGROUPS_MAX,
    };
    int rc = walk_cgroup(&walk, chain->levels[0].dirfd, 0);
    if (rc == -ENOENT || rc == -ENODEV)
        return -ENODEV;
    /* A threaded subtree below makes this cgroup "domain invalid": it holds no threads itself. */
    if (rc < 0 && rc != -EOPNOTSUPP)
        return rc;
    return walk.cut ? -E2BIG : 0;
}
