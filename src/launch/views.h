/*
 * The views of one container: a daemon's mount to take them from, be it the host's or one that is
 * started for this container alone, and the interceptor of system calls.
 */
#pragma once

#include "procview/intercept.h"
#include "procview/sampler.h"

#include <glib.h>
#include <sys/types.h>

typedef struct {
    char *dir;         /* the daemon's mount point in our mount namespace */
    pid_t daemon_pid;  /* our own daemon; 0 without one */
    pid_t tree_pid;    /* our own server of the cgroup tree; 0 without one */
    int daemon_log;    /* what it says on stdout and stderr; -1 without one */
    GString *log_rest; /* of daemon_log: a line that has not ended */
    char *own_dir;     /* where it has its mount and state, to be removed; NULL without one */
    PvHost *host;
    PvContainers *containers;
    PvViews *views;
    PvSampler *sampler;
    PvIntercept *intercept;
} PvLaunchViews;

/* Asked now and then while there is nothing but waiting: TRUE, with an error, ends it. */
typedef gboolean (*PvLaunchInterrupted)(gpointer data, GError **error);

/*
 * Find the daemon, or start one. Must be called in our own mount namespace, before there are other
 * threads.
 *
 * views  zeroed, daemon_log -1
 */
gboolean pv_launch_views_prepare(PvLaunchViews *views, const char *name,
                                 PvLaunchInterrupted interrupted, gpointer data, GError **error);

/* See that there is a cgroup tree: a daemon of our own is given one to serve. Errors: UNSUPPORTED
 * when the host's daemon has none. */
gboolean pv_launch_views_prepare_cgroup_tree(PvLaunchViews *views, GError **error);

/* A mount of the cgroup tree of the container whose init is `pid`, that is attached nowhere yet. */
gboolean pv_launch_views_open_cgroup_tree(const PvLaunchViews *views, pid_t pid, int *ret_fd,
                                          GError **error);

/* Put the views over the files of the container whose init is `pid`. */
gboolean pv_launch_views_attach(PvLaunchViews *views, pid_t pid, GError **error);

/* Answer the container's system calls; listener_fd is taken over. Not being able to is no error. */
void pv_launch_views_intercept(PvLaunchViews *views, int listener_fd);

/* Take in what our daemon has said; what is worth it goes to the log. Does not block. */
void pv_launch_views_read_log(PvLaunchViews *views);

/* Stop everything, and the daemon if it is ours. */
void pv_launch_views_clear(PvLaunchViews *views);
