/*
 * What the files of this folder, and their tests, share: naming, telling which pid namespace a
 * thread is in, the record of a pid namespace and its init, and the bounded cache. Nobody else
 * includes it.
 */
#pragma once

#include "procview/container.h"

#include <glib.h>
#include <sys/types.h>

/* /proc/TID/cgroup has a line of at most 4096 bytes for each of some 13 hierarchies. */
#define PV_CGROUP_TEXT_MAX 65536

/* ---- name.c ---- */

/* Which one names a container of containers: the first or the last component of its path that looks
 * like a container. The last ones are the container's own to make up, unless its pid namespace is
 * nested. */
typedef enum { PV_NAME_OUTERMOST, PV_NAME_INNERMOST } PvNameWhich;

typedef struct {
    const char *manager; /* static; "" when none is recognised */
    char *name;          /* fit for a directory entry and for a terminal */
    char *full_id;       /* 64 hexadecimal digits, or NULL */
} PvName;

void pv_name_clear(PvName *name);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvName, pv_name_clear)

/* FALSE, with nothing set, when the path has no component at all. */
gboolean pv_name_parse(const char *cgroup_path, PvNameWhich which, PvName *ret_name);

/* ---- identify.c ---- */

/* Where we look from: our own namespaces, and how to reach those of others. */
typedef struct {
    PvHost *host;
    PvHierarchies *hierarchies;
    int procfs;         /* owned by the host */
    gboolean is_live;   /* procfs is the kernel's, not a captured copy: pidfds mean something */
    gboolean use_ioctl; /* ask the kernel for a namespace's init; tests clear it */
    /* our own; 0 when the kernel has no such namespace */
    guint64 pidns_ino, cgroup_ns_ino, time_ns_ino;
    gint64 time_offset_nsec; /* of our boottime to the initial time namespace's */
} PvVantage;

/* Errors: FAILED and kin when our own namespaces cannot be told. */
gboolean pv_vantage_init(PvVantage *vantage, PvHost *host, PvHierarchies *hierarchies,
                         GError **error);

/* The inode of /proc/TID/ns/pid: one system call. Returns 0 or a negative errno. */
int pv_identify_pidns(const PvVantage *vantage, pid_t tid, guint64 *ret_ino);

/* The text of /proc/TID/cgroup: three system calls. Returns its length or a negative errno. */
ssize_t pv_identify_cgroup_text(const PvVantage *vantage, pid_t tid, char *buf, size_t size);

/*
 * The init of a pid namespace, in our own.
 * pidns_fd  the namespace
 * ino       its inode
 * tid       a thread in it, to begin with where the kernel does not tell
 * caller    that thread's cgroups, or NULL
 * Returns 0 when there is none to be seen.
 */
pid_t pv_identify_init(const PvVantage *vantage, int pidns_fd, guint64 ino, pid_t tid,
                       const PvCgroupPaths *caller);

/* Call func for each process in /proc until it returns FALSE. */
void pv_identify_foreach_process(const PvVantage *vantage, PvThreadFunc func, gpointer data);

/* "boottime SEC NSEC" of a text of timens_offsets, in ns. FALSE when malformed. */
gboolean pv_identify_timens_parse(const char *text, gint64 *ret_offset_nsec);

/* ---- placement.c: where init is, and what follows from it ---- */

/* Init's cgroup and time namespace as they were last read; never changed once made. */
typedef struct {
    gint ref_count;
    guint generation; /* counts the changes seen in this pid namespace */
    char *text;       /* /proc/INIT/cgroup */
    char *root_text;  /* the same, cut back to the root of init's cgroup namespace */
    PvCgroupPaths
        root; /* the container's cgroups: init's, or its cgroup namespace's root above it */
    guint64 time_ns_ino;
    gboolean has_time_offset; /* a time namespace other than ours */
    gint64 time_offset_nsec;  /* added to our CLOCK_BOOTTIME it gives theirs */
} PvPlacement;

PvPlacement *pv_placement_ref(PvPlacement *placement);
void pv_placement_unref(PvPlacement *placement);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvPlacement, pv_placement_unref)

/*
 * The text of /proc/INIT/cgroup with each path cut back to the root of init's cgroup namespace.
 * absolute  the text as read from our cgroup namespace
 * relative  the same as read from init's: paths begin at that namespace's root, "/.." when outside
 */
char *pv_placement_strip(const char *absolute, const char *relative);

/* The same, from the mounts of cgroup filesystems that init sees at the usual places, where the
 * cgroup namespace cannot be entered. mountinfo  /proc/INIT/mountinfo as read from our cgroup
 * namespace */
char *pv_placement_strip_by_mounts(const char *absolute, const char *mountinfo);

/*
 * The cgroups of the container that a caller is in.
 * root  of init's placement; NULL in our own pid namespace
 * own   the caller's
 */
void pv_placement_choose(const PvCgroupPaths *root, const PvCgroupPaths *own,
                         PvCgroupPaths *ret_paths);

gboolean pv_cgroup_paths_equal(const PvCgroupPaths *a, const PvCgroupPaths *b);

/*
 * Read init's placement.
 * init_dirfd  /proc/INIT
 * text        of init_dirfd's cgroup
 */
PvPlacement *pv_placement_new(const PvVantage *vantage, int init_dirfd, pid_t init_pid,
                              const char *text, GError **error);

/* ---- pidns.c: a pid namespace other than ours ---- */

/*
 * A pid namespace and its init. The descriptors make it safe to hold: ns_fd keeps the inode number
 * from being given to another namespace, init_dirfd (/proc/INIT) and pidfd belong to that very
 * process whatever becomes of its number.
 */
typedef struct {
    gint ref_count;
    guint64 ino;
    guint64
        owner_ino; /* the outermost pid namespace that it is in, below ours: whose storm it is */
    pid_t init_pid;
    gboolean is_nested; /* in another pid namespace below ours */
    guint64 init_start_ticks, init_start_nsec;
    int ns_fd, init_dirfd, cgroup_fd;
    int pidfd; /* -1 in a captured procfs */

    gint64 checked_usec; /* atomic: monotonic time at which the placement was last read */
    GRWLock lock;
    PvPlacement *placement; /* protected by lock */

    guint n_containers; /* protected by the cache's lock */
} PvPidns;

/*
 * tid     a thread in it
 * ino     inode of its pid namespace, as just read
 * caller  its cgroups
 * Errors: GONE when it, or init, ended meanwhile; else as the system calls say, with the pid.
 */
PvPidns *pv_pidns_open(const PvVantage *vantage, pid_t tid, guint64 ino,
                       const PvCgroupPaths *caller, GError **error);
PvPidns *pv_pidns_ref(PvPidns *pidns);
void pv_pidns_unref(PvPidns *pidns);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvPidns, pv_pidns_unref)

PvPlacement *pv_pidns_placement(PvPidns *pidns); /* a reference */

/* TRUE, to one thread, when the placement has not been looked at for 200 ms. */
gboolean pv_pidns_is_check_due(PvPidns *pidns);

/*
 * Read init's placement anew and return it.
 * ret_moved  set to TRUE when it is another one than before: what was cached for it is void
 * Errors: GONE when init has ended.
 */
PvPlacement *pv_pidns_refresh(const PvVantage *vantage, PvPidns *pidns, gboolean *ret_moved,
                              GError **error);

/* Set dead[i] for each namespace whose init has ended: one poll() for all. */
void pv_pidns_poll(PvPidns *const *pidns, guint n, gboolean *dead);

/* ---- container.c ---- */

typedef struct PvCacheOwner PvCacheOwner;

/*
 * A member of the cache's queues. Eviction is "second chance": the queue's head goes, unless it was
 * used since it was last looked at; then it goes to the tail. A hit thus only sets a flag, under
 * the read lock.
 */
typedef struct {
    GList in_owner, in_all; /* data: the member */
    gint used;              /* atomic */
} PvCacheNode;

struct PvContainerPrivate {
    char *identity; /* the pid namespace, init's time namespace and the cgroup of each controller */
    char *state_name;    /* file of the account, for this incarnation only */
    PvName naming;       /* what the name is made from */
    PvPidns *pidns;      /* NULL in our own */
    gboolean is_of_init; /* its cgroups are those of init: void when init moves elsewhere */
    gint is_gone;        /* atomic: it was dropped */

    /* protected by the cache's lock */
    gboolean is_cached;
    PvCacheNode node;
    PvCacheOwner *owner;
    GQueue aliases; /* by their in_container links */
};

/* Ids have 22 bits. */
#define PV_CONTAINER_ID_MASK 0x3fffffu

/* A container without name, id, cgroup and account yet. */
PvContainer *pv_container_alloc(void);

/* What identifies a container: see PvContainerPrivate. */
char *pv_container_identity(guint64 pidns_ino, const PvPlacement *placement,
                            const PvCgroupPaths *paths);

/* ---- cache.c ---- */

/* Bounds: of everything, of what one owner may hold, and of what our own pid namespace may. */
#define PV_CACHE_CONTAINERS_MAX       1024
#define PV_CACHE_OWNER_CONTAINERS_MAX 64
#define PV_CACHE_HOST_CONTAINERS_MAX  512
#define PV_CACHE_ALIASES_MAX          4096
#define PV_CACHE_OWNER_ALIASES_MAX    256
#define PV_CACHE_HOST_ALIASES_MAX     2048
/* A longer text is known by its SHA-256. */
#define PV_CACHE_TEXT_MAX 4096

typedef struct PvCache PvCache;

/* Called, without the lock, for each container that had to make room for another. */
typedef void (*PvCacheEvictedFunc)(PvContainer *container, gpointer data);

/* host_ino  our own pid namespace */
PvCache *pv_cache_new(guint64 host_ino);
void pv_cache_set_evicted_func(PvCache *cache, PvCacheEvictedFunc func, gpointer data);
void pv_cache_free(PvCache *cache);

/* Each returns a reference, or NULL. */
PvContainer *pv_cache_lookup(PvCache *cache, guint64 pidns_ino, const char *text);
PvContainer *pv_cache_lookup_identity(PvCache *cache, const char *identity);
PvPidns *pv_cache_lookup_pidns(PvCache *cache, guint64 ino);

/* Let all callers share one record: returns a reference to the record that is cached, maybe another
 * one. */
PvPidns *pv_cache_add_pidns(PvCache *cache, PvPidns *pidns);

/* Take it out again when no container came of it. */
void pv_cache_release_pidns(PvCache *cache, PvPidns *pidns);

/*
 * Put a container in, if another thread has not done so for the same identity, and let the caller's
 * text lead to it. Gives it its name and id.
 * text        of the caller's /proc/TID/cgroup
 * generation  of the placement that the container follows from; when that is not the newest any
 * more, the text is not remembered Returns a reference to the container that is cached.
 */
PvContainer *pv_cache_insert(PvCache *cache, PvContainer *container, const char *text,
                             guint generation);

/* Take a container out. TRUE when it was in. */
gboolean pv_cache_remove(PvCache *cache, PvContainer *container);

/* Descriptors run out: push out half of the containers of the owner who has the most of them. */
void pv_cache_shrink_largest(PvCache *cache);

/* Init has moved: forget every text of its pid namespace, and the containers that stood for another
 * place of init than `placement`. Returns those, in an array that owns a reference to each. */
GPtrArray *pv_cache_forget_placement(PvCache *cache, PvPidns *pidns, const PvPlacement *placement);

/* Arrays that own a reference to each element. */
GPtrArray *pv_cache_list(PvCache *cache);
GPtrArray *pv_cache_list_pidns(PvCache *cache);

/* For tests. */
guint pv_cache_n_aliases(PvCache *cache);

/* ---- containers.c ---- */

struct PvContainers {
    PvVantage vantage;
    PvCache *cache;
    guint n_cpus;    /* the host's possible CPUs: highest id + 1 */
    int state_dirfd; /* -1: accounts live in memory only */
    gboolean is_writable;
    char *boot_id;     /* a state file of another boot never fits */
    guint n_files_max; /* descriptors that this process may have; 0: not known */

    /* Files of containers that ended unnoticed are swept away: those of an earlier daemon's, and
     * those that were pushed out of the cache before they ended. */
    gint sweep_wanted; /* atomic */
    gint64 swept_usec; /* monotonic; of the thread that collects garbage; 0: never */
};
