/*
 * What a container manager tells its hooks: which container is being built, and from where the hook
 * was called.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;    /* of the container's init; 0: the hook is in the container's mount namespace */
    char *rootfs; /* its root to be, in our namespace; NULL until known */
} PvHookContainer;

void pv_hook_container_clear(PvHookContainer *container);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvHookContainer, pv_hook_container_clear)

/* TRUE when LXC calls: by its environment, and the words it adds (hook version 0). */
gboolean pv_hook_is_lxc(char **words);

/* LXC's mount hook. Errors: INVALID for another hook, or without a root. */
gboolean pv_hook_read_lxc(char **words, PvHookContainer *ret_container, GError **error);

/*
 * An OCI hook: the container's state (OCI runtime specification) as text.
 *
 * stage      "createContainer", "prestart", "createRuntime"; NULL: to be told from the state
 * rootfs     as the caller knows it; NULL: from the state or the bundle
 *
 * Errors: INVALID for a state or stage that is none; NOT_FOUND when the root cannot be told.
 */
gboolean pv_hook_read_oci(const char *stage, const char *rootfs, const char *state, gsize length,
                          PvHookContainer *ret_container, GError **error);
