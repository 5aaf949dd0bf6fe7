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
 * The managers' own tools are asked when they are in PATH, all at once, for at most 5 seconds.
 *
 * ret_pid  in the caller's pid namespace: the container's init where a name was given
 *
 * Errors: INVALID (a text that names nothing: empty, or with a dash in front), NOT_FOUND (saying
 * where was looked), AMBIGUOUS (naming all that fit), PERMISSION, FAILED.
 */
gboolean pv_resolve(PvHierarchies *hierarchies, PvContainers *containers, const char *what,
                    pid_t *ret_pid, GError **error);
