/*
 * procview cgroup: the cgroups of a process as another one would see them in /proc/PID/cgroup.
 *
 * Who has a cgroup namespace is asked: the file is read from inside it. For all others it is what a
 * namespace that begins at their container's cgroup would show.
 */
#include "command.h"
#include "common.h"

#include "procview/error.h"
#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- texts ---- */

static char *read_cgroup_file(pid_t pid, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cgroup", (int)pid);
    g_autoptr(GError) read_error = NULL;
    char *text = NULL;

    if (g_file_get_contents(path, &text, NULL, &read_error))
        return text;
    if (g_error_matches(read_error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        pv_error_set(error, PV_ERROR_NOT_FOUND, "there is no process %d", (int)pid);
    else
        pv_error_set(error, PV_ERROR_FAILED, "%s", read_error->message);
    return NULL;
}

/* The length of "ID:CONTROLLERS:", or 0. */
static gsize head_length(const char *line)
{
    const char *colon = strchr(line, ':');

    colon = colon != NULL ? strchr(colon + 1, ':') : NULL;
    return colon != NULL ? (gsize)(colon + 1 - line) : 0;
}

/* The path of the line that has the same head, or NULL. */
static const char *path_of(char *const *lines, const char *head, gsize length)
{
    for (; lines != NULL && *lines != NULL; lines++) {
        if (strncmp(*lines, head, length) == 0)
            return *lines + length;
    }
    return NULL;
}

/* ---- paths ---- */

/* As kernfs_path_from_node() prints it: "/.." for each level up, then the names down. */
static char *relative_path(const char *root, const char *path)
{
    g_auto(GStrv) from = g_strsplit(root + 1, "/", -1);
    g_auto(GStrv) to = g_strsplit(path + 1, "/", -1);
    GString *result = g_string_new(NULL);
    guint common = 0;

    /* "/" is no name. */
    if (root[1] == '\0')
        g_clear_pointer(&from[0], g_free);
    if (path[1] == '\0')
        g_clear_pointer(&to[0], g_free);
    while (from[common] != NULL && to[common] != NULL && strcmp(from[common], to[common]) == 0)
        common++;
    for (guint i = common; from[i] != NULL; i++)
        g_string_append(result, "/..");
    for (guint i = common; to[i] != NULL; i++)
        g_string_append_printf(result, "/%s", to[i]);
    if (result->len == 0)
        g_string_append_c(result, '/');
    return g_string_free(result, FALSE);
}

/* The viewer's root in a hierarchy: its container's tree's, unless it was moved out of that. */
static const char *root_of(char *const *container_lines, char *const *viewer_lines,
                           const char *head, gsize length)
{
    const char *own = path_of(viewer_lines, head, length);
    const char *root = path_of(container_lines, head, length);

    return root != NULL && (own == NULL || pv_cgroup_path_contains(root, own)) ? root : own;
}

static char *rewrite(const char *text, const char *container_text, const char *viewer_text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_auto(GStrv) container_lines =
        container_text != NULL ? g_strsplit(container_text, "\n", -1) : NULL;
    g_auto(GStrv) viewer_lines = g_strsplit(viewer_text, "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++) {
        gsize length = head_length(lines[i]);
        const char *root =
            length > 0 ? root_of(container_lines, viewer_lines, lines[i], length) : NULL;

        if (root != NULL && root[0] == '/' && lines[i][length] == '/') {
            g_autofree char *old = lines[i];
            g_autofree char *head = g_strndup(old, length);
            g_autofree char *path = relative_path(root, old + length);
            lines[i] = g_strconcat(head, path, NULL);
        }
    }
    return g_strjoinv("\n", lines);
}

/* ---- who sees it ---- */

static gboolean has_own_namespace(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/cgroup", (int)pid);
    struct stat theirs, ours;

    return stat(path, &theirs) == 0 && stat("/proc/self/ns/cgroup", &ours) == 0 &&
           theirs.st_ino != ours.st_ino;
}

static char *read_from_inside(pid_t pid, pid_t viewer, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/cgroup", (int)viewer);
    pv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || setns(fd, CLONE_NEWCGROUP) < 0) {
        pv_error_set_errno(error, errno, "the cgroup namespace of process %d", (int)viewer);
        return NULL;
    }
    return read_cgroup_file(pid, error);
}

static char *seen_by(pid_t pid, pid_t viewer, GError **error)
{
    g_auto(PvCliContext) context = {0};
    g_autoptr(PvContainer) container = NULL;
    g_autofree char *text = NULL, *viewer_text = NULL, *container_text = NULL;

    if (has_own_namespace(viewer))
        return read_from_inside(pid, viewer, error);
    text = read_cgroup_file(pid, error);
    viewer_text = text != NULL ? read_cgroup_file(viewer, error) : NULL;
    if (viewer_text == NULL || !pv_cli_context_open(&context, error))
        return NULL;
    container = pv_containers_find(context.containers, viewer, error);
    if (container == NULL)
        return NULL;
    container_text = pv_container_tree_root_text(container, context.hierarchies);
    return rewrite(text, container_text, viewer_text);
}

/* ---- output ---- */

static void print_json(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GString) json = g_string_new("[");

    for (guint i = 0; lines[i] != NULL; i++) {
        gsize length = head_length(lines[i]);
        g_autofree char *controllers = NULL;
        const char *colon = strchr(lines[i], ':');

        if (length == 0)
            continue;
        controllers = g_strndup(colon + 1, (gsize)(lines[i] + length - 1 - (colon + 1)));
        g_string_append_printf(json,
                               "%s{\"hierarchy\": %d, \"controllers\": ", json->len > 1 ? ", " : "",
                               atoi(lines[i]));
        pv_json_append_string(json, controllers);
        g_string_append(json, ", \"path\": ");
        pv_json_append_string(json, lines[i] + length);
        g_string_append_c(json, '}');
    }
    printf("%s]\n", json->str);
}

static gboolean parse_pid(const char *text, pid_t *ret_pid)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT, &value, NULL))
        return FALSE;
    *ret_pid = (pid_t)value;
    return TRUE;
}

int pv_cmd_cgroup(int argc, char **argv)
{
    g_auto(GStrv) arguments = NULL;
    g_autofree char *viewer_text = NULL;
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    gboolean json = FALSE;
    pid_t pid, viewer;
    const GOptionEntry entries[] = {
        {"seen-by", 0, 0, G_OPTION_ARG_STRING, &viewer_text,
         "the process that looks (default: PID itself)", "PID"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "print JSON", NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &arguments, NULL, NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };

    if (!pv_cli_parse("cgroup", "PID",
                      "Prints the cgroups of a process as another process would see them in "
                      "/proc/PID/cgroup, if\na cgroup namespace began at its container's cgroup: "
                      "/ is that cgroup, /../b one beside it.",
                      "  procview cgroup 4711                  as process 4711 itself sees it\n"
                      "  procview cgroup 4711 --seen-by 4800   as process 4800 does",
                      entries, argc, argv))
        return PV_EXIT_USAGE;
    if (arguments == NULL || arguments[1] != NULL)
        return pv_cli_usage_error("cgroup", "needs one PID");
    if (!parse_pid(arguments[0], &pid))
        return pv_cli_usage_error("cgroup", "'%s' is no PID", arguments[0]);
    viewer = pid;
    if (viewer_text != NULL && !parse_pid(viewer_text, &viewer))
        return pv_cli_usage_error("cgroup", "'%s' is no PID", viewer_text);
    text = seen_by(pid, viewer, &error);
    if (text == NULL) {
        pv_cli_error("cgroup", "%s", error->message);
        return PV_EXIT_FAILED;
    }
    if (json)
        print_json(text);
    else
        fputs(text, stdout);
    return PV_EXIT_OK;
}
