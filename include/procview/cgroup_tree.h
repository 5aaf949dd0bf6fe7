/*
 * The cgroup tree: what a process would see on a cgroupfs mounted inside its own cgroup namespace,
 * for processes that have none (SEMANTICS, "The cgroup tree"). Speaks of nodes by number, knows
 * nothing of FUSE.
 *
 * How it is kept honest:
 *
 * - A node's number says which directory of the host's cgroupfs it is, by the kernel's own id of
 *   it. Each request looks up the caller's root anew, and whether the directory is it or lies below
 *   it: a number, from wherever it came, is worth nothing to a caller whose tree it is not in.
 *   cgroupfs never moves a directory to another parent, so the answer cannot become wrong.
 * - Names are single components, opened below the directory's descriptor through no link and no
 *   mount.
 * - Permission is not computed but asked for: a thread takes over the caller's ids, groups and
 *   capabilities for the one system call, and the kernel answers.
 * - At the root only the files that the kernel delegates can be written.
 *
 * Functions return 0 (or a length) or a negative errno.
 */
#pragma once

#include "procview/container.h"
#include "procview/shared.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

typedef struct PvCgroupTree PvCgroupTree;

#define PV_CGROUP_TREE_ROOT 1 /* the number of the root, for everybody */

/* A thread's right to be busy for long with a request: see pv_cgroup_tree_wait_turn(). */
typedef struct {
    guint64 owner;
    gboolean is_held;
    gboolean is_wanted;
} PvCgroupTurn;

/* What reading, writing, listing, polling and asking for attributes return when it is not their
 * turn: nothing was done. */
#define PV_CGROUP_TREE_NOT_YET (-EINPROGRESS)

/* One request. */
typedef struct {
    pid_t tid;            /* of the caller, in our pid namespace; 0 when it is not visible there */
    uid_t fsuid;          /* with which it accesses files; in our user namespace */
    gid_t fsgid;          /* the same */
    guint64 unique;       /* number of the request, without PV_UNIQUE_RESENT */
    gboolean is_repeated; /* an earlier server may have served it */
    PvCgroupTurn *turn;   /* of the thread */
} PvCgroupRequest;

/*
 * shared  the memory that outlives this process: its texts' place is where handles, names and the
 *         journal of what was done are kept
 * Everything must outlive the tree. Sets securebits of this thread, which later ones inherit.
 */
PvCgroupTree *pv_cgroup_tree_new(PvHost *host, PvHierarchies *hierarchies, PvContainers *containers,
                                 const PvShared *shared, GError **error);
void pv_cgroup_tree_free(PvCgroupTree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvCgroupTree, pv_cgroup_tree_free)

/* Called with the number that poll was given, from a thread of the tree. */
typedef void (*PvCgroupNotifyFunc)(guint64 poller, gpointer data);

/*
 * Take over the handles of an earlier server, and wake up who was polling there. To be called when
 * no other process serves any more.
 * n_threads  of the server; a container may keep a share of them busy
 * room       requests that may wait at a time
 */
int pv_cgroup_tree_start(PvCgroupTree *tree, guint n_threads, guint room, PvCgroupNotifyFunc notify,
                         gpointer data);

/* ---- turns: a container does not keep all threads busy ---- */

/*
 * The request wants a turn (turn->is_wanted): it waits in line from now on. Another thread may have
 * it at once, so the caller is done with it.
 * ret_next  the ticket to be served with the turn that is held now, maybe this one; NULL: none
 * Returns FALSE when too many of its container wait already.
 */
gboolean pv_cgroup_tree_wait_turn(PvCgroupTree *tree, PvCgroupTurn *turn, gpointer ticket,
                                  gpointer *ret_next);

/* The request was answered: end its turn, if it had one. Returns the ticket to be served next with
 * the turn that is held then, or NULL. */
gpointer pv_cgroup_tree_end_turn(PvCgroupTree *tree, PvCgroupTurn *turn);

/* ---- names and attributes ---- */

int pv_cgroup_tree_lookup(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                          const char *name, guint64 *ret_ino, struct stat *ret_stat);
int pv_cgroup_tree_stat(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                        struct stat *ret_stat);
int pv_cgroup_tree_readlink(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                            char **ret_target);
int pv_cgroup_tree_access(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                          int mode);
int pv_cgroup_tree_statfs(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                          struct statvfs *ret_stat);

/* What is to be changed. */
typedef struct {
    gboolean has_mode, has_uid, has_gid, has_size, has_times;
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec times[2]; /* as utimensat(2) has them */
} PvCgroupChange;

int pv_cgroup_tree_change(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                          const PvCgroupChange *change, struct stat *ret_stat);

/* ---- cgroups come and go ---- */

int pv_cgroup_tree_mkdir(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                         const char *name, mode_t mode, guint64 *ret_ino, struct stat *ret_stat);
int pv_cgroup_tree_rmdir(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                         const char *name);
int pv_cgroup_tree_rename(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                          const char *name, guint64 new_parent, const char *new_name,
                          unsigned int flags);

/* What cgroupfs has not: the kernel is asked for what it says to it. Never 0. */
int pv_cgroup_tree_mknod(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                         const char *name, mode_t mode, dev_t rdev);
int pv_cgroup_tree_symlink(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                           const char *name, const char *target);
int pv_cgroup_tree_link(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino,
                        guint64 parent, const char *name);
int pv_cgroup_tree_unlink(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 parent,
                          const char *name);

/* ---- open files and directories ---- */

/* flags  of open(2): O_ACCMODE, O_TRUNC, O_DIRECT; O_DIRECTORY for a directory. */
int pv_cgroup_tree_open(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino, int flags,
                        guint64 *ret_handle);
void pv_cgroup_tree_close(PvCgroupTree *tree, guint64 handle);

/* Append at most `size` bytes from `offset` on. Pids are those of the reader's pid namespace. */
int pv_cgroup_tree_read(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 handle,
                        gsize size, goffset offset, GString *out);

/* Returns the number of bytes that were taken. */
gssize pv_cgroup_tree_write(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 handle,
                            const char *data, gsize size, goffset offset);

/* One entry of a directory; `next` is the offset behind it. FALSE: there is no room for it. */
typedef gboolean (*PvCgroupListFunc)(const char *name, guint64 ino, mode_t type, goffset next,
                                     gpointer data);

/* The entries from an offset on (0, or one that was told), until func has enough. */
int pv_cgroup_tree_list(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 handle,
                        goffset offset, PvCgroupListFunc func, gpointer data);

/*
 * poll(2) now.
 * poller  called with when something happens later; 0: nobody waits
 * Returns POLL* bits.
 */
int pv_cgroup_tree_poll(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 handle,
                        guint64 poller);

/* Open files and directories. */
guint pv_cgroup_tree_count_handles(PvCgroupTree *tree);
