/*
 * The command line of an OCI runtime, as runc and crun have it: only as much of it is understood
 * as tells whether a bundle is about to be used, which one, and where the log is.
 */
#pragma once

#include <glib.h>

typedef struct {
    const char *command; /* "create"; NULL when there is none */
    gboolean has_bundle; /* create or run: config.json is about to be read */
    const char *bundle;  /* "." without --bundle */
    const char *config;  /* in the bundle: "config.json", but for crun's --config */
    const char *log;     /* --log; NULL without one */
    gboolean log_is_json;
} PvRuntimeArguments;

/* Never fails: what is not understood is for the real runtime to complain about. The strings are
 * parts of argv. */
void pv_runtime_arguments_parse(int argc, char **argv, PvRuntimeArguments *ret_arguments);
