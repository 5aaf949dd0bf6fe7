/*
 * The container's cgroups: one in every mounted hierarchy, so that /proc/self/cgroup says "/" for
 * all of them inside the container's cgroup namespace. What is particular to a version stands
 * behind PvLaunchCgroupOps.
 */
#pragma once

#include "launch.h"

/* Directly below each hierarchy's mount point; the containers' cgroups are its children. */
#define PV_LAUNCH_PARENT "procview"

typedef struct PvLaunchHierarchy PvLaunchHierarchy;

/* What differs between the versions. */
typedef struct {
    /* Make a new cgroup usable: v2 enables the controllers in its parent, v1 gives it CPUs. */
    gboolean (*prepare)(const PvLaunchHierarchy *hierarchy, int parent_fd, int child_fd,
                        GError **error);
    /* At the mount's root, the CPUs that there are to give. */
    const char *cpus_file;
    /* Checked before anything is made: TRUE when a limit on swap can be written. */
    gboolean (*check_swap)(const PvLaunchHierarchy *hierarchy, const PvLaunchLimits *limits,
                           GError **error);
    /* Those that are written in another way than in the other version: memory, swap, CPU time. */
    gboolean (*write_limits)(const PvLaunchHierarchy *hierarchy, int dir_fd,
                             const PvLaunchLimits *limits, GError **error);
    const char *oom_file; /* has a line "oom_kill" */
} PvLaunchCgroupOps;

extern const PvLaunchCgroupOps PV_LAUNCH_CGROUP_V1;
extern const PvLaunchCgroupOps PV_LAUNCH_CGROUP_V2;

struct PvLaunchHierarchy {
    const PvLaunchCgroupOps *ops;
    int version;
    char *mount_point;  /* "/sys/fs/cgroup/cpu,cpuacct" */
    char *dir_name;     /* of the mount in the container's /sys/fs/cgroup; "" for the root itself */
    char *options;      /* for mounting it once more: "cpu,cpuacct", "name=systemd"; v2: "" */
    char **controllers; /* v1: by name, without name=; v2: cgroup.controllers of the mount's root */
    char *cgroup;       /* below the mount point: "procview/NAME"; NULL before it is made */
    gboolean is_ours;   /* made by us: to be removed by us */
};

void pv_launch_hierarchy_free(PvLaunchHierarchy *hierarchy);

/* A GPtrArray of PvLaunchHierarchy from the text of a mountinfo; a hierarchy mounted twice is
 * listed once. Without v2's controllers, which are read by pv_launch_hierarchies_load(). */
GPtrArray *pv_launch_hierarchies_parse(const char *mountinfo);

/* Those that are mounted here. Errors: UNSUPPORTED when there are none; FAILED. */
GPtrArray *pv_launch_hierarchies_load(GError **error);

/* The hierarchy that has a controller, or NULL. */
PvLaunchHierarchy *pv_launch_hierarchies_find(const GPtrArray *hierarchies, const char *controller);

/*
 * Check, before anything is made, that the limits can be had on this machine: controllers, CPUs
 * online, swap accounting. Errors: UNSUPPORTED, INVALID; each message begins with the option's
 * name.
 */
gboolean pv_launch_limits_check(const GPtrArray *hierarchies, const PvLaunchLimits *limits,
                                GError **error);

/* TRUE when the machine has swap in use at all. */
gboolean pv_launch_host_has_swap(void);

/* Make "procview/NAME" in a hierarchy, with the limits. On failure what was made is removed. */
gboolean pv_launch_cgroup_make(PvLaunchHierarchy *hierarchy, const char *name,
                               const PvLaunchLimits *limits, GError **error);

/* Move a process into the container's cgroup of a hierarchy. */
gboolean pv_launch_cgroup_enter(const PvLaunchHierarchy *hierarchy, pid_t pid, GError **error);

/*
 * Kill what is in a cgroup and all below it, and remove them, bottom-up. Waits some seconds at
 * most. Not an error when it does not exist.
 *
 * path  relative to the mount point: "procview/NAME"
 */
gboolean pv_launch_cgroup_remove(const PvLaunchHierarchy *hierarchy, const char *path,
                                 GError **error);

/* Remove the parent cgroup if nothing is in it; silently. */
void pv_launch_cgroup_remove_parent(const PvLaunchHierarchy *hierarchy);

/* Open the container's cgroup directory; a negative errno without one. */
int pv_launch_cgroup_open(const PvLaunchHierarchy *hierarchy);

/*
 * Write a value to a control file. An errno is explained by what it means for a control file.
 *
 * option  begins the message: "--memory"
 */
gboolean pv_launch_control_write(const PvLaunchHierarchy *hierarchy, int dir_fd, const char *file,
                                 const char *value, const char *option, GError **error);

gboolean pv_launch_control_write_u64(const PvLaunchHierarchy *hierarchy, int dir_fd,
                                     const char *file, guint64 value, const char *option,
                                     GError **error);

/* Write all limits of the controllers that the hierarchy has. */
gboolean pv_launch_limits_write(const PvLaunchHierarchy *hierarchy, int dir_fd,
                                const PvLaunchLimits *limits, GError **error);

/* Processes killed for want of memory in the container so far; 0 when that cannot be told. */
guint64 pv_launch_cgroup_oom_kills(const PvLaunchHierarchy *hierarchy);

/* TRUE when the hierarchy has the controller ("memory") to give. */
gboolean pv_launch_hierarchy_has(const PvLaunchHierarchy *hierarchy, const char *controller);

/* ---- systemd ---- */

/* Check that systemd manages this machine. Errors: UNSUPPORTED, saying what to use instead. */
gboolean pv_launch_systemd_check(GError **error);

/*
 * Put a process into a new transient scope "procview-NAME.scope" with the limits, and wait until it
 * is there. Starts threads (of GDBus). Fills `cgroup` of the hierarchies in which systemd has moved
 * the process; those that it does not manage are left as they are, for us.
 */
gboolean pv_launch_systemd_start(GPtrArray *hierarchies, const char *name, pid_t pid,
                                 const PvLaunchLimits *limits, GError **error);

/* Ask systemd to drop the scope; not an error when it has done so by itself. */
void pv_launch_systemd_stop(const char *name);
