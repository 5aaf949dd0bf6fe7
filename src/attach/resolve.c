/*
 * From what people type to a process. The order is: what cannot be anything else (a number, a
 * path), what procview finds out itself, what the managers say.
 */
#include "procview/resolve.h"

#include "managers.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/parse.h"
#include "procview/syscalls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* No pid is larger (PID_MAX_LIMIT): a longer row of digits is a name. */
#define PID_LIMIT (4 * 1024 * 1024)

/* Of a cgroup without processes of its own, the cgroups below and their processes are looked at,
 * but not without end. */
#define CGROUPS_MAX   1024
#define PROCESSES_MAX 4096
#define DEPTH_MAX     16

/* A status has up to NGROUPS_MAX supplementary groups before the pids. */
#define STATUS_MAX (1 << 20)

/* ---- a cgroup's process ---- */

/* The best process so far: one that is in the outermost pid namespace of the cgroup. */
typedef struct {
    guint n_cgroups, n_processes;
    pid_t pid;
    guint depth;         /* of its pid namespace, the caller's is 1 */
    ino_t pidns;         /* inode of it */
    gboolean is_several; /* processes of several pid namespaces of that depth */
} Search;

/* How many pid namespaces a process is in, counted from the caller's: the numbers in NSpid. 0 when
 * it has ended. */
static guint pidns_depth(pid_t pid)
{
    g_autoptr(GString) text = g_string_new(NULL);
    char path[64];
    guint n = 0;
    guint64 number;

    g_snprintf(path, sizeof(path), "/proc/%d/status", pid);
    if (pv_read_all_at(AT_FDCWD, path, text, STATUS_MAX) < 0)
        return 0;
    const char *line = strstr(text->str, "\nNSpid:");
    if (line == NULL)
        return 1;
    line += strlen("\nNSpid:");
    while (*line == '\t' || *line == ' ' || g_ascii_isdigit(*line)) {
        if (!pv_parse_u64(&line, &number))
            break;
        n++;
    }
    return n;
}

static void consider(Search *search, pid_t pid)
{
    char path[64];
    struct stat st;
    guint depth = pidns_depth(pid);

    g_snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
    if (depth == 0 || stat(path, &st) < 0)
        return;
    if (search->pid == 0 || depth < search->depth) {
        search->pid = pid;
        search->depth = depth;
        search->pidns = st.st_ino;
        search->is_several = FALSE;
    } else if (depth == search->depth && st.st_ino != search->pidns) {
        search->is_several = TRUE;
    }
}

/* Look at the processes in cgroup.procs. */
static void consider_processes(Search *search, int cgroup_fd)
{
    g_autoptr(GString) text = g_string_new(NULL);
    guint64 pid;

    if (pv_read_all_at(cgroup_fd, "cgroup.procs", text, 1 << 20) < 0)
        return;
    for (const char *p = text->str;
         search->n_processes < PROCESSES_MAX && pv_parse_u64(&p, &pid);) {
        while (*p == '\n')
            p++;
        search->n_processes++;
        if (pid > 0 && pid <= PID_LIMIT) /* 0: not visible here */
            consider(search, (pid_t)pid);
    }
}

static void search_cgroup(Search *search, int cgroup_fd, guint depth)
{
    pv_autofd int fd = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || depth > DEPTH_MAX || ++search->n_cgroups > CGROUPS_MAX)
        return;
    consider_processes(search, fd);
    if (depth == 0 && search->pid != 0)
        return; /* it has processes of its own */
    DIR *dir = fdopendir(fd);
    if (dir == NULL)
        return;
    pv_steal_fd(&fd);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        pv_autofd int child =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0)
            search_cgroup(search, child, depth + 1);
    }
    closedir(dir);
}

/* Open a cgroup of one hierarchy; `path` may begin with the hierarchy's mount point. */
static int open_cgroup(const char *mount_point, const char *path)
{
    gsize length = strlen(mount_point);
    pv_autofd int mount_fd = open(mount_point, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (mount_fd < 0)
        return -errno;
    if (strncmp(path, mount_point, length) == 0 && (path[length] == '/' || path[length] == '\0'))
        path += length;
    while (*path == '/')
        path++;
    return pv_sys_openat2(mount_fd, *path != '\0' ? path : ".", O_RDONLY | O_DIRECTORY, 0,
                          RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

static gboolean resolve_cgroup(PvHierarchies *hierarchies, const char *path, pid_t *ret_pid,
                               GError **error)
{
    gboolean exists = FALSE;

    for (guint i = 0; i < PV_CONTROLLER_COUNT; i++) {
        const char *mount_point = pv_hierarchies_mount_point(hierarchies, (PvController)i);
        Search search = {0};
        pv_autofd int fd = mount_point != NULL ? open_cgroup(mount_point, path) : -1;
        if (fd < 0)
            continue;
        exists = TRUE;
        search_cgroup(&search, fd, 0);
        if (search.pid == 0)
            continue;
        if (search.is_several)
            return pv_error_set(error, PV_ERROR_AMBIGUOUS,
                                "the cgroup %s holds several containers: name one of the cgroups "
                                "below it",
                                path);
        *ret_pid = search.pid;
        return TRUE;
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
