/*
 * The cgroups of one hierarchy that rules are about, watched by inotify: a directory tells of the
 * cgroups that are made and removed in it, and of writes to its cgroup.procs; cgroup.events, which
 * v2 has, of the first process that comes and the last that goes.
 */
#pragma once

#include "procview/autoattach.h"

typedef struct PvCgroupWatch PvCgroupWatch;

typedef struct {
    /* A cgroup that fits is there, or its processes may have changed. */
    void (*changed)(const char *path, guint answer, gpointer data);
    void (*gone)(const char *path, gpointer data);
    /* Something cannot be watched; said once for each kind. */
    void (*trouble)(const char *message, gpointer data);
    gpointer data;
} PvCgroupWatchFuncs;

/*
 * mount_point  of the hierarchy
 * rules        must outlive it
 * Nothing is called before pv_cgroup_watch_scan().
 */
PvCgroupWatch *pv_cgroup_watch_new(const char *mount_point, const PvRules *rules,
                                   const PvCgroupWatchFuncs *funcs, GError **error);
void pv_cgroup_watch_free(PvCgroupWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvCgroupWatch, pv_cgroup_watch_free)

/* To be polled for G_IO_IN, then pv_cgroup_watch_dispatch(). */
int pv_cgroup_watch_fd(const PvCgroupWatch *watch);
void pv_cgroup_watch_dispatch(PvCgroupWatch *watch);

/* Look at everything anew; `changed` is called for all that fit. */
void pv_cgroup_watch_scan(PvCgroupWatch *watch);

/* A container is in this cgroup: only so many of the cgroups below it, which it may make itself,
 * are watched. */
void pv_cgroup_watch_set_taken(PvCgroupWatch *watch, const char *path, gboolean is_taken);
