/*
 * The launcher: starts a container that already has the views. cmd_run.c and cmd_doctor.c use
 * nothing else of this folder.
 *
 * The launcher stays as the container's parent, in a mount namespace of its own: whatever it mounts
 * goes away with it, however it ends. A lock on its record under /run/procview/run says that it
 * lives; what a killed one leaves (its cgroups) is removed by the next.
 */
#pragma once

#include "procview/cpuset.h"
#include "procview/parse.h"

#include <glib.h>
#include <sys/types.h>

typedef enum {
    PV_LAUNCH_NET_NONE, /* a network namespace with nothing but lo */
    PV_LAUNCH_NET_HOST,
} PvLaunchNet;

typedef enum {
    PV_LAUNCH_CGROUPFS, /* the cgroups are made by us */
    PV_LAUNCH_SYSTEMD,  /* systemd makes them: a transient scope */
} PvLaunchManager;

/* The period of all CPU quotas that we write. */
#define PV_LAUNCH_PERIOD_USEC 100000

/* PV_UNLIMITED where there is no limit. */
typedef struct {
    guint64 memory_bytes;
    guint64 swap_bytes;     /* on top of memory_bytes */
    guint64 cpu_quota_usec; /* in each PV_LAUNCH_PERIOD_USEC */
    guint64 pids_max;
    gboolean has_cpuset;
    PvCpuSet cpuset;   /* real ids */
    char *cpuset_text; /* as it was given, for messages */
} PvLaunchLimits;

/* What was asked for, checked as far as it can be without looking at the machine. */
typedef struct {
    PvLaunchLimits limits;
    char *name;   /* of the container and its cgroup */
    char *rootfs; /* absolute; NULL: the host's root, read-only */
    char *hostname;
    char *workdir;  /* absolute */
    char **env;     /* "K=V", NULL-terminated: the container's whole environment */
    char **command; /* at least one, NULL-terminated */
    PvLaunchNet net;
    PvLaunchManager manager;
    gboolean user_ns;
    gboolean no_views;
    gboolean
        cgroup_view_fuse; /* /sys/fs/cgroup is the cgroup tree, and there is no cgroup namespace */
} PvLaunchPlan;

/*
 * Parse `procview run`'s arguments; argv[0] is the command's name. --help prints and exits.
 * Returns NULL with INVALID and a sentence that names the option and what it takes.
 */
PvLaunchPlan *pv_launch_plan_parse(int argc, char **argv, GError **error);
void pv_launch_plan_free(PvLaunchPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvLaunchPlan, pv_launch_plan_free)

/*
 * "256M", "1g", "1.5G", "1073741824" to bytes: K, M, G, T are powers of 1024, in either case, with
 * or without "B" or "iB". FALSE for anything else, and for what does not fit in 63 bits.
 */
gboolean pv_launch_parse_size(const char *text, guint64 *ret_bytes);

/* "0.5" to 50000 µs per period; up to 3 digits behind the point count. FALSE for anything else. */
gboolean pv_launch_parse_cpus(const char *text, guint64 *ret_quota_usec);

/*
 * Start the container, pass signals on, and wait for its end. Must be called before there are other
 * threads.
 *
 * ret_status  of COMMAND, 128 + signal when one killed it; PV_EXIT_RUN_… of command.h when it could
 *             not be started and FALSE is returned
 *
 * Returns FALSE with an error when COMMAND was not run. Nothing is left behind in either case.
 */
gboolean pv_launch_run(const PvLaunchPlan *plan, int *ret_status, GError **error);

/* ---- leftovers ---- */

/* What a launcher that was killed has left. */
typedef struct {
    char *name;       /* of the container */
    guint n_cgroups;  /* directories "procview/NAME", one a hierarchy */
    gboolean removed; /* FALSE after a dry run, or when `reason` says why not */
    char *reason;
} PvLaunchLeftover;

void pv_launch_leftover_free(PvLaunchLeftover *leftover);

/*
 * Find the cgroups and records of launchers that are dead and, unless dry_run, remove them (what
 * still runs in them is killed), and the parent cgroup if it is empty then.
 *
 * Returns a GPtrArray of PvLaunchLeftover, or NULL: PERMISSION, BUSY (a launcher is just starting
 * or cleaning, for longer than some seconds), FAILED.
 */
GPtrArray *pv_launch_clean(gboolean dry_run, GError **error);
