/*
 * The processes between the launcher and COMMAND. The starter makes those namespaces that take
 * effect for children only, and is gone at once; the init is pid 1 of the container: it mounts,
 * waits for the launcher to put the views in place, starts COMMAND and reaps. Both are this same
 * program; neither executes another.
 */
#pragma once

#include "message.h"
#include "root.h"

#include <signal.h>

/* What they are given. Everything is the launcher's; the children have copies. */
typedef struct {
    const PvLaunchPlan *plan;
    const GPtrArray *hierarchies;
    const PvLaunchRoot *root;
    int sock;               /* their end of the message socket */
    int parent_fds[3];      /* the launcher's, that must not stay open in them */
    sigset_t original_mask; /* for COMMAND */
    gboolean intercept;     /* install the filter for system calls */
    gboolean own_session;   /* COMMAND shares no terminal with the launcher: see launch.c */
} PvLaunchChild;

/*
 * Start the starter, in a new user namespace if the plan says so.
 * Returns its pid, which still waits for PV_MESSAGE_GO, or a negative errno.
 */
pid_t pv_launch_spawn_starter(const PvLaunchChild *child);

/* Let a user namespace's ids 0 to 65535 be those that /etc/subuid and subgid give to root, by
 * default 100000 and up. */
gboolean pv_launch_map_ids(pid_t pid, GError **error);

/* The init. sock is child's. */
G_NORETURN void pv_launch_init(const PvLaunchChild *child);

/* Report what failed to the launcher, and end with the exit status. */
G_NORETURN void pv_launch_child_fail(const PvLaunchChild *child, int status, const char *text);

/* Wait for PV_MESSAGE_GO; without the launcher, end. Returns the descriptor that came along, or -1.
 */
int pv_launch_child_wait(const PvLaunchChild *child);

/* Keep stdin, stdout, stderr and the socket only. */
void pv_launch_child_close_fds(const PvLaunchChild *child);
