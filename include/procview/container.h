/*
 * Which container a thread is in (SEMANTICS: "Which container is the caller in"), and the cache of
 * containers.
 *
 * A container is a pair: a pid namespace and the cgroup of its init. The cache finds it by the
 * caller's pid namespace and the text of the caller's /proc/TID/cgroup. Each entry pins its pid
 * namespace with an open descriptor, so that the inode number that names it cannot be given to
 * another one.
 */
#pragma once

#include "procview/account.h"
#include "procview/cgroup.h"
#include "procview/host.h"

#include <glib.h>
#include <sys/types.h>

typedef struct {
    /* Identity; fixed from creation on. */
    guint64 pidns_ino; /* inode of /proc/INIT/ns/pid */
    guint64 owner_ino; /* of the outermost pid namespace below the daemon's that it is in (itself,
                          mostly): bounds are for an owner, who can make containers at will */
    gboolean is_host_pidns; /* the caller shares the daemon's pid namespace: no init of its own */
    pid_t init_pid; /* of pid 1 of that namespace, in the daemon's; 1 in the host's namespace */
    guint64 init_start_nsec; /* its start on the host's CLOCK_BOOTTIME; 0 in the host's namespace */
    gboolean has_time_offset; /* init is in a time namespace of its own … */
    gint64 time_offset_nsec;  /* … whose boottime is the host's plus this */
    char *name; /* short name for people, see pv_container_name(); no other cached container has it:
                   a later one, and one in a nested pid namespace, has "-PID" appended */
    char *manager; /* "docker", "podman", "lxc", … or "" */
    guint32 id;    /* stable hash of the identity, 22 bits, never 0; unique like the name */
    PvCgroup *cgroup;
    PvAccount *account; /* CPU time and load; locks itself */

    /*< private >*/
    gint ref_count;
    gint fallback_logged; /* atomic: the log has said once that the host's files are served */
    struct PvContainerPrivate *priv;
} PvContainer;

PvContainer *pv_container_ref(PvContainer *container);
void pv_container_unref(PvContainer *container);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvContainer, pv_container_unref)

/* TRUE when the cgroup is the root in every hierarchy: a plain process of the host, to whom the
 * kernel's own files are served unchanged. */
gboolean pv_container_is_host(const PvContainer *container);

/* TRUE once it was dropped: its numbers cannot be read any more. Whoever was in it is in another
 * one now. */
gboolean pv_container_is_gone(const PvContainer *container);

/* Time since the container's boot in ns: CLOCK_BOOTTIME in its time namespace, else since init's
 * start, else the host's uptime. */
guint64 pv_container_uptime_nsec(const PvContainer *container, const PvHost *host);

typedef struct PvContainers PvContainers;

/*
 * state_dir  where accounts are kept across restarts of the daemon (/run/procview/account); NULL
 *            keeps them in memory only
 */
PvContainers *pv_containers_new(PvHost *host, PvHierarchies *hierarchies, const char *state_dir);

/* The same for a program that only looks (procview show): state files are read where there are any,
 * and nothing is written. */
PvContainers *pv_containers_new_read_only(PvHost *host, PvHierarchies *hierarchies,
                                          const char *state_dir);
void pv_containers_free(PvContainers *containers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvContainers, pv_containers_free)

/*
 * The container of a thread.
 * tid  in the daemon's pid namespace; 0 (a caller that is not visible here) is NOT_FOUND
 * Returns a reference, or NULL. Errors: NOT_FOUND, GONE (it ended meanwhile), PERMISSION, FAILED.
 * System calls when the container is cached: 4 (stat of ns/pid; open, read, close of cgroup); each
 * 200 ms 3 more, to see whether its init has moved.
 */
PvContainer *pv_containers_find(PvContainers *containers, pid_t tid, GError **error);

/*
 * Where the container's init is, as the text of its /proc/PID/cgroup, cut back to the root of its
 * cgroup namespace if it has one: for hierarchies that PvCgroup does not know.
 * ret_init_start_ticks  of init, since boot: tells it from a later one with the same numbers
 * Returns NULL in the daemon's own pid namespace. Free with g_free.
 */
char *pv_container_root_text(PvContainer *container, guint64 *ret_init_start_ticks);

/*
 * The same, cut back to where the root of the container's cgroup tree is: an init that moved below
 * it through the tree has left a mark there, which is seen with CAP_SYS_ADMIN only.
 */
char *pv_container_tree_root_text(PvContainer *container, const PvHierarchies *hierarchies);

/*
 * Mark a cgroup as the root of the container with this pid namespace and init.
 * fd  of its directory, which may be O_PATH
 * Returns 0 or a negative errno.
 */
int pv_root_mark_set(int fd, guint64 pidns_ino, guint64 init_start_ticks);

/* Cut a path below the hierarchy's directory back to the outermost cgroup with that mark, if there
 * is one. */
void pv_root_mark_cut(int hierarchy_dirfd, guint64 pidns_ino, guint64 init_start_ticks, char *path);

/* Forget a container that turned out stale (a read of its cgroup said -ENODEV). Finding it again
 * opens its cgroup anew: a service that was restarted has the same path. */
void pv_containers_drop(PvContainers *containers, PvContainer *container);

/* Drop the entries whose init has ended. Called now and then by the sampler. */
void pv_containers_collect_garbage(PvContainers *containers);

/* All that are cached, each with a reference: a GPtrArray of PvContainer. */
GPtrArray *pv_containers_list(PvContainers *containers);

/*
 * All containers of the machine, whether they have read anything or not: one for every pid
 * namespace below the daemon's, found by scanning /proc for processes that are pid 1 of theirs. For
 * operators (ps, --all, readdir of containers/): it costs a walk over /proc.
 */
GPtrArray *pv_containers_scan(PvContainers *containers);

/* By name, full id, or unique prefix (4 characters or more) of the id in its cgroup's path.
 * Errors: NOT_FOUND; AMBIGUOUS, naming those that fit. */
PvContainer *pv_containers_find_by_name(PvContainers *containers, const char *name, GError **error);

/*
 * What people call the container of a cgroup path: docker and podman ids cut to 12 digits,
 * LXC's payload name, the machine or service name of systemd units, else the path's last component;
 * with no cgroup of its own "pid-PID". At most 64 bytes of UTF-8, without control characters and
 * slashes, never "." or "..".
 *
 * ret_manager  "docker", "podman", "lxc", "kubernetes", "systemd", "procview" or ""
 */
char *pv_container_name(const char *cgroup_path, pid_t init_pid, const char **ret_manager);
