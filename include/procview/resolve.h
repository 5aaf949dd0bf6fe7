/*
 * What people type to name a container, and the process that they mean.
 */
#pragma once

#include "procview/container.h"

#include <glib.h>
#include <sys/types.h>

/*
 * Find a process of what is named:
 *   1234                      a process id
 *   /docker/ID, /sys/fs/cgroup/…, system.slice/x.service
 *                             a cgroup: one of its processes (anything with a slash)
 *   NAME or ID                a container that procview knows by its cgroup, or that docker,
 * podman, lxc-info or machinectl know; a systemd unit
 *
 * The managers' own tools are asked when they are in PATH, all at once, for at most 15 seconds.
 *
 * ret_pid  in the caller's pid namespace: the container's init where a name was given
 *
 * Errors: INVALID (a text that names nothing: empty, or with a dash in front), NOT_FOUND (saying
 * where was looked), AMBIGUOUS (naming all that fit), PERMISSION, FAILED.
 */
gboolean pv_resolve(PvHierarchies *hierarchies, PvContainers *containers, const char *what,
                    pid_t *ret_pid, GError **error);

/*
 * The process that stands for a cgroup: one in the outermost pid namespace of those in it.
 *
 * mount_point  of one hierarchy
 * path         relative to it; may also begin with it
 * is_deep      look into the cgroups below when there is no process in it
 *
 * Returns 0; -ENOENT without such a cgroup (or what openat2 says), -ESRCH when it has no process,
 * -ENOTUNIQ when there are several pid namespaces side by side.
 */
int pv_cgroup_first_process(const char *mount_point, const char *path, gboolean is_deep,
                            pid_t *ret_pid);
