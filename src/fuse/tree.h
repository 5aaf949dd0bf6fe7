/*
 * The tree that is served: the rows of the table and the directories above them, the host's sysfs
 * directories of CPUs and nodes cut to a container, and containers/NAME/ for the operator. Speaks
 * of nodes by inode number, knows nothing of FUSE.
 *
 * Every function returns 0 or a negative errno: -ENOENT for what there is not (for this caller),
 * -ESTALE for a number that stands for nothing (any more).
 */
#pragma once

#include "node.h"

#include "procview/view.h"

#include <sys/stat.h>

typedef struct PvTree PvTree;

/* Who asks. */
typedef struct {
    pid_t tid; /* in the daemon's pid namespace; 0 when it is not visible there */
    uid_t uid; /* in the initial user namespace */
} PvCaller;

typedef struct {
    guint64 ino;
    struct stat stat; /* with st_ino */
    gboolean
        differs; /* another caller may see another thing by this name, or none: not to be kept */
} PvTreeEntry;

/* Errors: INVALID for a table whose paths cannot be told apart by their numbers. */
PvTree *pv_tree_new(PvHost *host, PvContainers *containers, PvViews *views,
                    const PvServeOptions *options, GError **error);
void pv_tree_free(PvTree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvTree, pv_tree_free)

/* The time of every file, seconds since 1970; the tree's own start where it is not set. */
void pv_tree_set_time(PvTree *tree, gint64 sec);

/* From now on everybody sees what the kernel's own files say, and no container is looked for. */
void pv_tree_show_host(PvTree *tree);

/* The same while *shows_host is not 0. It is read atomically, and must outlive the tree. */
void pv_tree_set_switch(PvTree *tree, const gint32 *shows_host);

/*
 * A name in a directory.
 * ret_entry  differs is also set with -ENOENT: whether that may be remembered
 */
int pv_tree_lookup(PvTree *tree, const PvCaller *caller, guint64 parent, const char *name,
                   PvTreeEntry *ret_entry);

int pv_tree_stat(PvTree *tree, const PvCaller *caller, guint64 ino, struct stat *ret_stat);

int pv_tree_readlink(PvTree *tree, const PvCaller *caller, guint64 ino, GString *out);

/*
 * Find the container that an inode is to be read for: that of the number, else that of the caller.
 * ret_container  a reference; NULL when the caller's cannot be told
 */
int pv_tree_find_container(PvTree *tree, const PvCaller *caller, guint64 ino,
                           PvContainer **ret_container);

/* A container by its id, cached or not: a reference, or NULL. It may cost a walk over /proc. */
PvContainer *pv_tree_find_container_by_id(PvTree *tree, guint32 id);

/* Append the text of a file. -EISDIR, -ELOOP for what is none. */
int pv_tree_render(PvTree *tree, PvContainer *container, guint64 ino, GString *out);

/* One entry of a directory; mode has the file type only. "." and ".." are not among them. */
typedef void (*PvTreeListFunc)(const char *name, guint64 ino, mode_t mode, gpointer data);

int pv_tree_list(PvTree *tree, const PvCaller *caller, PvContainer *container, guint64 ino,
                 PvTreeListFunc func, gpointer data);
