/*
 * Attaching by itself: views are put into containers as they start, restart or lose them, for hosts
 * where nothing about containers can be configured. The kernel tells of new cgroups, of processes
 * that come into them, and of changed mounts. What it does not tell, that such a process becomes a
 * container, is looked for a few times, for a minute.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* ---- which cgroups ---- */

/*
 * Rules are patterns of cgroup paths. "*" stands for anything within a component, "?" for one
 * character, a component "**" for any number of components. A pattern that ends with another
 * component names containers whose processes are in that cgroup or below it; one that ends with
 * "**" names the cgroups that have the processes themselves. With "!" in front it names those that
 * are left out, whatever else fits.
 *
 * Without a pattern that names something, everything that has a pid namespace of its own fits.
 */
typedef struct PvRules PvRules;

/* What a cgroup is to the rules: bits. */
typedef enum {
    PV_RULES_NONE = 0,
    PV_RULES_FITS = 1,      /* it, with the cgroups below it, is to be attached to */
    PV_RULES_FITS_SELF = 2, /* the same for its own processes only */
    PV_RULES_BELOW = 4,     /* something below it may fit */
} PvRulesAnswer;

/* patterns  ended by NULL. Errors: INVALID, naming the pattern. */
PvRules *pv_rules_new(const char *const *patterns, GError **error);
void pv_rules_free(PvRules *rules);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvRules, pv_rules_free)

guint pv_rules_ask(const PvRules *rules, const char *cgroup_path);

/* TRUE when no pattern names anything: then only what has a pid namespace of its own is meant. */
gboolean pv_rules_want_own_pids(const PvRules *rules);

/* ---- the work ---- */

typedef enum {
    PV_AUTOATTACH_WATCHING, /* it has begun; path is NULL */
    PV_AUTOATTACH_ATTACHED, /* a container has the views now */
    PV_AUTOATTACH_WOULD,    /* it would be attached to (a dry run) */
    PV_AUTOATTACH_FAILED,   /* it is tried again, when n_tries is not 0 */
    PV_AUTOATTACH_LEFT,     /* it will not be tried again until it restarts */
    PV_AUTOATTACH_ENDED,    /* one that had views has ended */
    PV_AUTOATTACH_TROUBLE,  /* not about one container: message says what */
} PvAutoattachEvent;

typedef struct {
    PvAutoattachEvent event;
    const char *path;    /* of the cgroup */
    const char *name;    /* for people */
    const char *manager; /* "docker", … or "" */
    pid_t pid;
    guint n_mounted, n_already, n_skipped; /* files */
    const char *message;                   /* what went wrong; NULL otherwise */
} PvAutoattachReport;

typedef struct {
    const char *views_dir; /* the daemon's mount point; it need not be there yet */
    const PvRules *rules;
    gboolean is_dry; /* attach nothing */
    void (*report)(const PvAutoattachReport *report, gpointer data);
    gpointer data;
} PvAutoattachOptions;

/*
 * Attach to what there is and to what comes, until SIGTERM or SIGINT. The views stay.
 * Errors: UNSUPPORTED without a cgroup hierarchy, PERMISSION, FAILED: it could not begin.
 */
gboolean pv_autoattach_run(const PvAutoattachOptions *options, GError **error);
