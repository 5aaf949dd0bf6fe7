/*
 * From what people type to a process. The order is: what cannot be anything else (a number, a
 * path), what procview finds out itself, what the managers say.
 */
#include "procview/resolve.h"

#include "managers.h"
#include "procview/error.h"
#include "procview/parse.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* No pid is larger (PID_MAX_LIMIT): a longer row of digits is a name. */
#define PID_LIMIT (4 * 1024 * 1024)

static gboolean resolve_cgroup(PvHierarchies *hierarchies, const char *path, pid_t *ret_pid,
                               GError **error)
{
    gboolean exists = FALSE;

    for (guint i = 0; i < PV_CONTROLLER_COUNT; i++) {
        const char *mount_point = pv_hierarchies_mount_point(hierarchies, (PvController)i);
        int r = mount_point != NULL ? pv_cgroup_first_process(mount_point, path, TRUE, ret_pid)
                                    : -ENOENT;
        if (r == 0)
            return TRUE;
        if (r == -ENOTUNIQ)
            return pv_error_set(error, PV_ERROR_AMBIGUOUS,
                                "the cgroup %s holds several containers: name one of the cgroups "
                                "below it",
                                path);
        exists = exists || r == -ESRCH;
    }
    return exists ? pv_error_set(error, PV_ERROR_NOT_FOUND, "the cgroup %s has no process", path)
                  : pv_error_set(error, PV_ERROR_NOT_FOUND,
                                 "no cgroup hierarchy has a cgroup %s (run `procview ps` for the "
                                 "containers that there are)",
                                 path);
}

/* ---- names ---- */

typedef struct {
    GString *asked;   /* where was looked */
    GString *fitting; /* "docker (pid 12), lxc (pid 34)" */
    GString *stopped; /* managers that know it, but it does not run */
    guint n_fitting;  /* different processes */
    pid_t pid;
} Candidates;

static void candidates_clear(Candidates *candidates)
{
    g_string_free(candidates->asked, TRUE);
    g_string_free(candidates->fitting, TRUE);
    g_string_free(candidates->stopped, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Candidates, candidates_clear)

static void add_candidate(Candidates *candidates, const char *manager, pid_t pid)
{
    if (pid == candidates->pid)
        return;
    g_string_append_printf(candidates->fitting, "%s%s (process %d)",
                           candidates->fitting->len > 0 ? ", " : "", manager, pid);
    candidates->pid = pid;
    candidates->n_fitting++;
}

static void add_answers(Candidates *candidates, const char *name, gboolean want_units)
{
    g_autoptr(GArray) answers = pv_managers_ask(name, want_units, candidates->asked);

    for (guint i = 0; i < answers->len; i++) {
        const PvManagerAnswer *answer = &g_array_index(answers, PvManagerAnswer, i);
        if (answer->pid > 0)
            add_candidate(candidates, answer->manager, answer->pid);
        else
            g_string_append_printf(candidates->stopped, "%s%s",
                                   candidates->stopped->len > 0 ? ", " : "", answer->manager);
    }
}

/* What procview knows itself. FALSE when that is an error other than "not found". */
static gboolean add_own(Candidates *candidates, PvHierarchies *hierarchies,
                        PvContainers *containers, const char *name, GError **error)
{
    g_autoptr(GError) own_error = NULL;
    g_autoptr(PvContainer) container = pv_containers_find_by_name(containers, name, &own_error);
    pid_t pid;

    if (container == NULL) {
        if (g_error_matches(own_error, PV_ERROR, PV_ERROR_NOT_FOUND))
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&own_error));
        return FALSE;
    }
    pid = container->init_pid;
    if (container->is_host_pidns &&
        !resolve_cgroup(hierarchies, pv_cgroup_path(container->cgroup, PV_CONTROLLER_TASKS), &pid,
                        error))
        return FALSE;
    add_candidate(candidates, *container->manager != '\0' ? container->manager : "procview ps",
                  pid);
    return TRUE;
}

static gboolean resolve_name(PvHierarchies *hierarchies, PvContainers *containers, const char *name,
                             pid_t *ret_pid, GError **error)
{
    g_auto(Candidates) candidates = {
        .asked = g_string_new("procview ps"),
        .fitting = g_string_new(NULL),
        .stopped = g_string_new(NULL),
    };

    if (!add_own(&candidates, hierarchies, containers, name, error))
        return FALSE;
    if (pv_managers_name_is_valid(name)) {
        add_answers(&candidates, name, FALSE);
        /* A unit that runs a container often has the container's name: the container is meant. */
        if (candidates.n_fitting == 0)
            add_answers(&candidates, name, TRUE);
    }
    if (candidates.n_fitting == 1) {
        *ret_pid = candidates.pid;
        return TRUE;
    }
    if (candidates.n_fitting > 1)
        return pv_error_set(error, PV_ERROR_AMBIGUOUS,
                            "'%s' fits more than one container: %s; give the process id", name,
                            candidates.fitting->str);
    if (candidates.stopped->len > 0)
        return pv_error_set(error, PV_ERROR_NOT_FOUND, "'%s' is a container of %s, but not running",
                            name, candidates.stopped->str);
    return pv_error_set(error, PV_ERROR_NOT_FOUND,
                        "there is no container or service '%s' (looked in: %s)", name,
                        candidates.asked->str);
}

gboolean pv_resolve(PvHierarchies *hierarchies, PvContainers *containers, const char *what,
                    pid_t *ret_pid, GError **error)
{
    const char *cursor = what;
    guint64 pid;

    if (*what == '\0')
        return pv_error_set(error, PV_ERROR_INVALID, "an empty text names no container");
    if (*what == '-')
        return pv_error_set(error, PV_ERROR_INVALID,
                            "'%s' is no name of a container: names do not begin with a dash", what);
    if (strchr(what, '/') != NULL)
        return resolve_cgroup(hierarchies, what, ret_pid, error);
    if (g_ascii_isdigit(*what) && pv_parse_u64(&cursor, &pid) && *cursor == '\0' &&
        pid <= PID_LIMIT) {
        g_autofree char *path = g_strdup_printf("/proc/%" G_GUINT64_FORMAT, pid);
        if (pid == 0 || access(path, F_OK) < 0)
            return pv_error_set(error, PV_ERROR_NOT_FOUND, "there is no process %" G_GUINT64_FORMAT,
                                pid);
        *ret_pid = (pid_t)pid;
        return TRUE;
    }
    return resolve_name(hierarchies, containers, what, ret_pid, error);
}
