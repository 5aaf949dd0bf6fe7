/*
 * The daemon's configuration: one table of keys, from which the parser of the file, the command
 * line, --help and the manual's text are made. A key KEY=VALUE in the [procview] section of the
 * file is --KEY=VALUE on the command line, which wins.
 */
#pragma once

#include "procview/log.h"
#include "procview/snapshot.h"

#include <glib.h>
#include <stdio.h>

#define PV_CONFIG_PATH PV_SYSCONFDIR "/procview/procview.conf"

/* Who serves MOUNTPOINT/cgroup. */
typedef enum {
    PV_CGROUP_TREE_YES,      /* a process that the daemon starts */
    PV_CGROUP_TREE_NO,       /* nobody */
    PV_CGROUP_TREE_SEPARATE, /* one that somebody else starts (procview-cgroup.service) */
} PvCgroupTreeMode;

typedef struct {
    char *mountpoint;
    char *state_dir;
    char *pid_file;    /* NULL: none */
    char *auto_attach; /* rules, "all" or "none"; see pv_config_split_rules() */
    gboolean cpu_ids_dense;
    PvSwapTotal swap_total;
    gboolean lxcfs_files; /* files=lxcfs */
    guint threads;        /* 0: chosen from the number of CPUs */
    guint sample_interval_sec;
    guint watchdog_sec;     /* 0: off */
    gboolean is_standalone; /* the command line only */
    PvCgroupTreeMode cgroup_tree;
    gboolean is_cgroup_tree; /* the command line only: serve that, and nothing else */
    PvLogLevel log_level;
} PvConfig;

/* What the command line asks for besides a configuration. */
typedef enum {
    PV_COMMAND_SERVE,
    PV_COMMAND_HELP,
    PV_COMMAND_VERSION,
    PV_COMMAND_DOCUMENT, /* the keys, as a part of the manual */
} PvConfigCommand;

void pv_config_clear(PvConfig *config);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvConfig, pv_config_clear)

/* The defaults. */
void pv_config_init(PvConfig *config);

/*
 * Take over what a configuration file's text sets.
 * path  for messages: "PATH:LINE: …"
 * Errors: INVALID for a syntax error, an unknown section or key, a bad value; the message names the
 * line and what is allowed.
 */
gboolean pv_config_parse(PvConfig *config, const char *path, const char *text, GError **error);

/*
 * The command line: options, then the file that they name (or PV_CONFIG_PATH where there is one),
 * then what the options say against it. Errors: INVALID for everything a user can get wrong;
 * PERMISSION, NOT_FOUND, FAILED for a file that cannot be read.
 */
gboolean pv_config_load(PvConfig *config, int argc, char **argv, PvConfigCommand *ret_command,
                        GError **error);

/* The patterns in a value of auto-attach: none for "all" and "none". Free with g_strfreev. */
char **pv_config_split_rules(const char *value);

/*
 * What a file sets.
 * path  NULL: PV_CONFIG_PATH, if there is one
 * Errors: as pv_config_load().
 */
gboolean pv_config_load_file(PvConfig *config, const char *path, GError **error);

/* From that of a daemon to that of its cgroup tree. */
void pv_config_become_cgroup_tree(PvConfig *config);

void pv_config_print_help(FILE *out);

/* The keys in mdoc-free roff, for the manual page. */
void pv_config_print_document(FILE *out);
