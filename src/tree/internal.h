/* What the tree's files share. */
#pragma once

#include "procview/cgroup_tree.h"

#include "turns.h"

#include <pthread.h>

/* ---- shared.c: what outlives a server ---- */

#define PV_TREE_HANDLES       16384
#define PV_TREE_NAMES         4095 /* of control files, all kinds together; the kernel has some 300 */
#define PV_TREE_NAME_BYTES    112
#define PV_TREE_JOURNAL       1024 /* requests: more than can be under way at a time */
#define PV_TREE_TRIGGER_BYTES 48

/* What an open file or directory is. */
typedef struct {
    guint32 generation; /* atomic; odd while it is in use */
    guint32 flags;      /* of open(2) */
    guint64 ino;
    guint64 opener; /* unique number of the OPEN */
    guint64 owner;  /* pid namespace whose share of the table it is of */
    guint64 root;   /* number of the opener's root in this hierarchy */
    /* As whom it was opened: what the kernel checks writes against. */
    guint64 caps;
    guint32 euid, fsuid, egid, fsgid;
    guint32 refuses_writes; /* an errno: the kernel does not delegate this file */
    guint32 needs_owner;    /* it was opened by a capability over ids of a user namespace */
    guint64 poller;         /* atomic: who waits for an event; 0: nobody */
    char trigger[PV_TREE_TRIGGER_BYTES]; /* of a pressure file, as it was written */
} PvTreeRecord;

/* A request that must not be done twice. */
typedef struct {
    guint64 unique; /* atomic */
    gint64 result;  /* atomic; PV_TREE_UNDER_WAY until it is known */
} PvTreeDone;

#define PV_TREE_UNDER_WAY G_MAXINT64

typedef struct {
    char magic[8];
    guint32 n_names; /* atomic */
    guint32 reserved;
    char names[PV_TREE_NAMES][PV_TREE_NAME_BYTES];
    guint64 n_done; /* atomic */
    PvTreeDone done[PV_TREE_JOURNAL];
    _Alignas(64) PvTreeRecord records[PV_TREE_HANDLES];
} PvTreeShared;

int pv_tree_shared_map(const PvShared *shared, PvTreeShared **ret_shared);
void pv_tree_shared_unmap(PvTreeShared *shared);

/* The number (1 …) of a control file's name, given to it when it is new; 0 when there is no room.
 */
guint pv_tree_name_number(PvCgroupTree *tree, const char *name);
/* NULL for a number that nothing has. */
const char *pv_tree_name(PvCgroupTree *tree, guint number);

/*
 * The journal. A request that is served again finds what became of it: TRUE, and its result or
 * PV_TREE_UNDER_WAY when the server died in the midst of it. Else it is entered.
 */
gboolean pv_tree_journal_begin(PvCgroupTree *tree, const PvCgroupRequest *request,
                               PvTreeDone **ret_done);
void pv_tree_journal_end(PvTreeDone *done, gint64 result);

/* ---- node.c: numbers ---- */

/*
 *     bits 58-63  hierarchy + 1; 0 for directories of our own
 *     bits 46-57  number of the control file's name, 0 for the directory
 *     bits 0-45   the kernel's id of the directory; of our own: container id << 8 | kind and index
 */
typedef enum {
    PV_TREE_TOP,  /* the caller's root, or above its hierarchies */
    PV_TREE_OF,   /* the same of one container */
    PV_TREE_LINK, /* "cpu -> cpu,cpuacct" */
    PV_TREE_DIR,
    PV_TREE_FILE,
} PvTreeKind;

typedef struct {
    PvTreeKind kind;
    guint hierarchy;      /* of DIR and FILE */
    guint name;           /* of FILE */
    guint64 dir;          /* of DIR and FILE: id of the directory */
    guint32 container_id; /* of OF */
    guint link;           /* of LINK: index */
} PvTreeNode;

#define PV_TREE_HIERARCHIES_MAX 62
#define PV_TREE_DIR_BITS        46

guint64 pv_tree_node_encode(const PvTreeNode *node);
gboolean pv_tree_node_decode(const PvCgroupTree *tree, guint64 ino, PvTreeNode *ret_node);

/* ---- tree.c ---- */

/* A name in the top directory of a host that has several hierarchies. */
typedef struct {
    char *name;
    gboolean is_link;
    guint hierarchy;
    char *target; /* of a link */
} PvTreeTopName;

typedef struct {
    PvHierarchyInfo info;
    int dirfd; /* its root, in a mount of ours that nothing is mounted on */
    guint64 top_id;
} PvTreeHierarchy;

typedef struct PvTreeHandle PvTreeHandle;

struct PvCgroupTree {
    PvHost *host;
    int procfs;
    PvHierarchies *hierarchies;
    PvContainers *containers;
    guint n_hierarchies;
    PvTreeHierarchy *hierarchy; /* [n_hierarchies] */
    gboolean is_single;         /* one v2 hierarchy and nothing else: no directory above it */
    GArray *top_names;          /* of PvTreeTopName */
    guint64 own_pidns, own_userns;
    guint64 permitted;       /* our capabilities */
    GHashTable *delegatable; /* v2's, by name */

    PvTreeShared *shared;
    GMutex names_lock;
    GHashTable *names; /* name -> number; protected by names_lock */

    GMutex handles_lock;
    PvTreeHandle *handles; /* [PV_TREE_HANDLES] */
    GArray *free_handles;  /* of guint; protected by handles_lock */
    GHashTable *owners;    /* pid namespace -> what it has; protected by handles_lock */
    gsize text_bytes;      /* of all texts; protected by handles_lock */

    PvTurns *turns; /* of pid namespaces, at writing and at waiting for another to write */

    PvCgroupNotifyFunc notify;
    gpointer notify_data;
    int epoll_fd, stop_fd;
    pthread_t watcher;
    gboolean has_watcher;
};

/* ---- caller.c: who asks ---- */

typedef struct {
    guint32 inside, outside, n;
} PvTreeIdRange;

/* As whom a system call is made. */
typedef struct {
    uid_t euid, fsuid;
    gid_t egid, fsgid;
    guint64 caps;
    gid_t *groups;
    guint n_groups;
} PvTreeCreds;

typedef struct {
    pid_t tid;
    PvContainer *container;
    guint64 pidns;        /* inode of its own pid namespace */
    gboolean is_operator; /* root of the host, outside of any container's namespaces */
    char *own_text;       /* /proc/TID/cgroup */
    char *root_text;      /* of its container's init; NULL in our own pid namespace */
    guint64 init_start_ticks;
    PvTreeCreds creds;    /* caps: those that it has in our user namespace */
    gboolean is_foreign;  /* it is in another user namespace: … */
    guint64 raw_caps;     /* those that it has in its own user namespace */
    guint64 foreign_caps; /* … it has these over inodes whose owner and group have ids there */
    GArray *uid_ranges, *gid_ranges; /* of PvTreeIdRange */
} PvTreeCaller;

int pv_tree_caller_load(PvCgroupTree *tree, const PvCgroupRequest *request,
                        PvTreeCaller *ret_caller);
void pv_tree_caller_clear(PvTreeCaller *caller);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvTreeCaller, pv_tree_caller_clear)

/* Whether the caller's capabilities reach an inode (capable_wrt_inode_uidgid in the kernel). */
gboolean pv_tree_caller_maps(const PvTreeCaller *caller, const struct stat *st);

/* Make this thread's system calls the caller's; then ours again. Nothing else may happen between
 * them. */
void pv_tree_assume(const PvTreeCreds *creds);
void pv_tree_resume(const PvCgroupTree *tree);

/*
 * The credentials for an operation on one inode, or on a name in a directory: the capabilities that
 * the caller has over it are those of a process of our user namespace then.
 */
PvTreeCreds pv_tree_creds_over(const PvTreeCaller *caller, const struct stat *st);

/* ---- root.c ---- */

typedef enum {
    PV_TREE_HIDDEN, /* the caller is in no cgroup of this hierarchy */
    PV_TREE_READ_ONLY,
    PV_TREE_WRITABLE,
} PvTreeAccess;

typedef struct {
    PvTreeAccess access;
    guint64 id;      /* of its directory; 0 when hidden */
    gboolean is_top; /* it is the hierarchy's own root */
} PvTreeRoot;

int pv_tree_root_find(PvCgroupTree *tree, const PvTreeCaller *caller, guint hierarchy,
                      PvTreeRoot *ret_root);

/* The root of a container, for the operator. */
int pv_tree_root_of(PvCgroupTree *tree, PvContainer *container, guint hierarchy,
                    PvTreeRoot *ret_root);

/* Remember that this is the root of the caller's container, whose init is about to move below it.
 */
void pv_tree_root_mark(PvCgroupTree *tree, const PvTreeCaller *caller, guint hierarchy,
                       guint64 root_id);

/* Open a directory by its id, as O_PATH. */
int pv_tree_open_dir(const PvCgroupTree *tree, guint hierarchy, guint64 id);

/* Whether a directory is, or lies below, the one with this id. */
gboolean pv_tree_is_beneath(const PvCgroupTree *tree, guint hierarchy, int dirfd, guint64 root_id);

/* A name that is one component of a path, and neither "." nor "..". */
gboolean pv_tree_is_plain_name(const char *name);

/* ---- dir.c ---- */

/* A node that a caller may reach. */
typedef struct {
    PvTreeNode node;
    PvTreeRoot root; /* of the caller in its hierarchy */
    int dirfd;       /* of the directory that it is or is in; -1 for those of our own */
    struct stat dir_stat;
} PvTreePlace;

void pv_tree_place_clear(PvTreePlace *place);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvTreePlace, pv_tree_place_clear)

/* -ESTALE for what is not in the caller's tree. */
int pv_tree_place_find(PvCgroupTree *tree, const PvTreeCaller *caller, guint64 ino,
                       PvTreePlace *ret_place);

/* Whether a node is a top directory for the caller: everybody's, its own container's, or any for
 * the operator. */
gboolean pv_tree_is_top_of(const PvTreeCaller *caller, const PvTreeNode *node);

/* Whether the place lets the caller change anything below it; 0 or a negative errno. */
int pv_tree_place_writable(const PvTreePlace *place);

/* Whether the caller must not go, nor change anything, below its root in the place's hierarchy: it
 * would be rid of its limits there. */
gboolean pv_tree_place_ends_at_root(const PvCgroupTree *tree, const PvTreeCaller *caller,
                                    const PvTreePlace *place);

/* Open the node itself, as O_PATH, with our own rights. */
int pv_tree_place_open(PvCgroupTree *tree, const PvTreePlace *place);

/* Open for the caller by /proc/self/fd: asks for nothing but what the inode itself allows. */
int pv_tree_reopen(PvCgroupTree *tree, const PvTreeCreds *creds, int fd, int flags);

/* Attributes of what is not of the kernel. */
void pv_tree_fill_stat(guint64 ino, mode_t mode, struct stat *ret_stat);

/* The files of the tree's root that may be written. */
gboolean pv_tree_is_delegatable(const PvCgroupTree *tree, guint hierarchy, const char *name);
GHashTable *pv_tree_delegatable_load(void);

/* Whether the limits of a root bind what is in cgroups below it, too. */
gboolean pv_tree_limits_reach_down(const PvCgroupTree *tree, guint hierarchy, guint64 root_id);

/* A file of pids. */
gboolean pv_tree_is_pids_name(const char *name);

/* A file that takes triggers. */
gboolean pv_tree_is_pressure_name(const char *name);

/* ---- handle.c ---- */

struct PvTreeHandle {
    GMutex lock;
    int fd;        /* -1: not opened by this process yet */
    GString *text; /* of a file of pids, while it is being read; NULL */
    guint64 text_pidns;
    gint pending;        /* atomic: POLL* bits of a trigger's event that poll has not been told */
    gboolean is_watched; /* in the epoll set */
};

int pv_tree_handles_init(PvCgroupTree *tree);
void pv_tree_handles_clear(PvCgroupTree *tree);

/* Take a free one; fd is owned by it. -ENFILE when the owner has too many. */
int pv_tree_handle_new(PvCgroupTree *tree, const PvTreeRecord *record, int fd, guint64 *ret_handle);
gboolean pv_tree_handle_find_opened(PvCgroupTree *tree, guint64 ino, guint64 opener,
                                    guint64 *ret_handle);

/*
 * Lock a handle, opening its file again where an earlier server had it open. -EBADF for one that is
 * not known, PV_CGROUP_TREE_NOT_YET.
 */
int pv_tree_handle_lock(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 number,
                        PvTreeHandle **ret_handle, PvTreeRecord **ret_record);
void pv_tree_handle_unlock(PvTreeHandle *handle);

/* Attributes of a node by a handle that the caller's container has of it: those of a removed cgroup
 * can be found in no other way. -ESTALE when there is none, PV_CGROUP_TREE_NOT_YET. */
int pv_tree_handle_stat(PvCgroupTree *tree, const PvCgroupRequest *request,
                        const PvTreeCaller *caller, guint64 ino, struct stat *ret_stat);

/* A request begins something long for an owner. FALSE: it is not its turn. */
gboolean pv_tree_take_turn(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 owner);

/* Give a locked handle a text, which is owned by it. -ENOMEM when its owner has too much. */
int pv_tree_handle_set_text(PvCgroupTree *tree, PvTreeHandle *handle, GString *text);
void pv_tree_handle_drop_text(PvCgroupTree *tree, PvTreeHandle *handle);

/* ---- pids.c ---- */

/* The text of a file of pids, for a reader: as the kernel would have printed it to the reader. */
int pv_tree_pids_read(PvCgroupTree *tree, const PvTreeCaller *reader, guint hierarchy, int fd,
                      GString *out);

/*
 * What is to be written into a file of pids for a text of the caller's: the same pid in our own
 * namespace. Texts that name none, and pids that may not be moved, are replaced by what makes the
 * kernel say so.
 *
 * root_id      the pid's cgroup must be there or below
 * ret_pid      in our pid namespace, 0 for none
 * ret_task_fd  of it, as pv_tree_task_open() has it; negative for none
 * Returns 0, or an errno that is to be the answer.
 */
int pv_tree_pids_translate(PvCgroupTree *tree, const PvTreeCaller *writer, guint hierarchy,
                           guint64 root_id, gboolean is_thread, const char *text, char *ret_text,
                           gsize size, pid_t *ret_pid, int *ret_task_fd);

/* The directory of a process's cgroup, or a negative errno. */
int pv_tree_open_cgroup_of(PvCgroupTree *tree, guint hierarchy, pid_t pid);

/* Whether a process is in the cgroup of this directory. */
gboolean pv_tree_pid_is_in(PvCgroupTree *tree, guint hierarchy, pid_t pid, guint64 dir);

/* Whether a process's cgroup is the root or below it. */
gboolean pv_tree_pid_is_below(PvCgroupTree *tree, guint hierarchy, guint64 root_id, pid_t pid);

/* Whether a process has a number in the caller's pid namespace. */
gboolean pv_tree_pid_is_seen_by(PvCgroupTree *tree, const PvTreeCaller *caller, pid_t pid);

/* ---- taken.c ---- */

/* A directory of procfs that is of this process or thread alone, whoever has its number later. */
int pv_tree_task_open(const PvCgroupTree *tree, pid_t pid);

/* Whether it still has its number, be it as a zombie. May be asked as anybody. */
gboolean pv_tree_task_has_number(int task_fd);

/*
 * Whose cgroup one was in that got its number a moment ago and was moved by it.
 * pids                 its own, in our pid namespace
 * is_thread            it was moved alone, not with its process
 * is_of_parents_pidns  its process and that one's parent are in the same pid namespace
 * Returns 0 when that cannot be told.
 */
pid_t pv_tree_origin(pid_t pid, const PvTaskPids *pids, gboolean is_thread,
                     gboolean is_of_parents_pidns);

/*
 * A number was written into file `name` of directory `dir`, and whose it was has been reaped since:
 * move back who has it now, when it is there and is none that the writer may move.
 */
void pv_tree_give_back(PvCgroupTree *tree, const PvTreeCaller *writer, guint hierarchy,
                       guint64 root_id, guint64 dir, const char *name, pid_t pid);

/* ---- watch.c ---- */

int pv_tree_watch_start(PvCgroupTree *tree);
void pv_tree_watch_stop(PvCgroupTree *tree);
