/*
 * The command line of an OCI runtime, as runc and crun have it: only as much of it is understood
 * as tells whether a bundle is about to be used, which one, and where the log is.
 */
#pragma once

#include <glib.h>

/* Whose command line it is. runc (Go's flags) takes options behind the container's ID and "-name"
 * for "--name"; crun (argp) takes options in front of it, the beginning of a name for the name, and
 * "-db DIR" for "-d -b DIR". */
typedef enum { PV_SYNTAX_RUNC, PV_SYNTAX_CRUN } PvRuntimeSyntax;

typedef struct {
    const char *command; /* "create"; NULL when there is none */
    gboolean has_bundle; /* create or run: config.json is about to be read */
    const char *bundle;  /* "." without --bundle */
    const char *config;  /* crun's --config, from the working directory; NULL: config.json in the
                          * bundle */
    const char *log;     /* --log; NULL without one */
    gboolean log_is_json;
} PvRuntimeArguments;

/* The syntax of the real runtime at a path: crun's for programs that are called so, behind symbolic
 * links, or else runc's. */
PvRuntimeSyntax pv_runtime_syntax(const char *real);

/* Never fails: what is not understood is for the real runtime to complain about. The strings are
 * parts of argv. */
void pv_runtime_arguments_parse(PvRuntimeSyntax syntax, int argc, char **argv,
                                PvRuntimeArguments *ret_arguments);
