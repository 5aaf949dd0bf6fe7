/*
 * What the container's root may not do.
 */
#pragma once

#include <glib.h>

/*
 * Give up every capability but those that container managers usually leave, in all sets and in the
 * bounding set, so that no program gets them back.
 */
gboolean pv_launch_drop_capabilities(GError **error);

/*
 * Refuse, by a seccomp filter, system calls that reach out of any namespace without needing a
 * capability: typing into the terminal that the container shares with the user, the kernel's key
 * rings and its log; user namespaces, in which root could lift the container's own limits; and some
 * large parts of the kernel that few programs need. Needs no_new_privs. Without seccomp in the
 * kernel it does nothing but warn.
 */
gboolean pv_launch_install_filter(GError **error);
