/*
 * The supervisor: owns the mount, starts the workers that serve it, and puts a new one in the place
 * of one that dies. Small on purpose: links neither glib nor libfuse, allocates nothing, and reads
 * nothing that a container could have made.
 */
#pragma once

#include "procview/shared.h"

/* What a worker finds open. */
enum {
    PV_WORKER_CONTROL_FD = 3, /* to the supervisor; closed by its death */
    PV_WORKER_FUSE_FD,
    PV_WORKER_SHARED_FD,
    PV_WORKER_PIDFILE_FD,
};

/* argv[1] of a worker; the rest are the arguments that the supervisor was started with. */
#define PV_WORKER_ARGUMENT      "--worker"
#define PV_WORKER_SAFE_ARGUMENT "--worker=safe"
/* argv[1] of the helper that takes the views out of containers; argv[2] is the device number of the
 * mount. */
#define PV_DETACH_ARGUMENT "--detach"

/* argv[1] of the helper that attaches to containers as they come; the rest as for a worker. */
#define PV_HELPER_ARGUMENT "--auto-attach-helper"

/* argv[1] of the companion: the process that serves the cgroup tree. */
#define PV_ONLY_CGROUP_TREE_ARGUMENT "--only-cgroup-tree"

/* The mount point of the cgroup tree, in that of the views. */
#define PV_CGROUP_TREE_NAME "cgroup"

/* One letter a message. */
#define PV_MESSAGE_READY   'R' /* worker: can serve at once */
#define PV_MESSAGE_GO      'G' /* supervisor: serve */
#define PV_MESSAGE_SERVING 'S' /* worker: serves */

/* Exit statuses of a worker that are not failures of its own. */
#define PV_EXIT_MOUNT_GONE   10
#define PV_EXIT_OTHER_SERVES 12 /* a worker that its supervisor does not know of was faster */
#define PV_EXIT_OTHER_LAYOUT 11 /* it is of another version than the supervisor */

typedef struct {
    const char *mountpoint;
    const char *state_dir;
    int is_cgroup_tree; /* this mount is the cgroup tree: writable, and nothing is attached from it
                         */
    int has_companion; /* start and end, with this mount, the process that serves the cgroup tree */
    const char *pid_file; /* the supervisor's process id goes there; NULL: nowhere */
    char **argv;          /* of the program, for workers and for its next version */
    unsigned
        watchdog_sec; /* a worker that is busy with one request for longer is killed; 0: never */
    int has_helper;   /* a process PV_HELPER_ARGUMENT is kept running beside the worker */
} PvSuperviseOptions;

/*
 * Mount, or take over a mount whose supervisor has died, and see to it that it is served. Prints
 * "procviewd: ready: serving MOUNTPOINT" when it is.
 *
 * SIGTERM, SIGINT  unmount and end
 * SIGQUIT          end, and leave the mount to the next supervisor
 * SIGUSR1          put the program that is installed now in the place of the running one
 * SIGUSR2          show everybody the kernel's own files; the next one ends that
 *
 * Returns the exit status: 0 when it was asked to end, else 1, after a message.
 */
int pv_supervise(const PvSuperviseOptions *options);
