/*
 * The container managers' own tools, which know the names that people gave.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct {
    const char *manager; /* "docker" */
    pid_t pid;           /* of the container's init; 0: known, but not running */
} PvManagerAnswer;

/*
 * Ask every tool in PATH for a container (want_units FALSE) or a systemd unit (TRUE), at once, each
 * for at most 15 seconds. No shell is involved.
 * name      begins with a letter, digit or underscore
 * asked     the names of the tools that were asked are appended, ", " between them
 * Returns a GArray of PvManagerAnswer: of those that know the name.
 */
GArray *pv_managers_ask(const char *name, gboolean want_units, GString *asked);

/* TRUE for a name that may be handed to the tools: none of their options, no path, nothing odd. */
gboolean pv_managers_name_is_valid(const char *name);

/* The number that a tool printed: "1234\n", "MainPID=1234". FALSE when it is none. */
gboolean pv_managers_parse_pid(const char *output, pid_t *ret_pid);
