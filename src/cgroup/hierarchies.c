/*
 * Which cgroup hierarchies are mounted where, and which of them speaks for each controller.
 *
 * The kernel's proc_pid_mountinfo, show_mountinfo(), cgroup_show_path() and proc(5) describe the
 * text; seq_escape() its octal escapes.
 */
#include "internal.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Hosts with thousands of containers have tens of thousands of mounts. */
#define MOUNTINFO_MAX (32 << 20)

static const struct {
    PvController controller;
    const char *v1_name;
    const char *v2_name; /* NULL: not a controller there */
} CONTROLLERS[] = {
    {PV_CONTROLLER_CPU, "cpu", "cpu"},
    {PV_CONTROLLER_CPUACCT, "cpuacct", NULL},
    {PV_CONTROLLER_CPUSET, "cpuset", "cpuset"},
    {PV_CONTROLLER_MEMORY, "memory", "memory"},
    {PV_CONTROLLER_IO, "blkio", "io"},
    {PV_CONTROLLER_PIDS, "pids", "pids"},
    {PV_CONTROLLER_HUGETLB, "hugetlb", "hugetlb"},
};

/* Where v1 membership is best read: what container managers always make a cgroup in comes first. */
static const PvController V1_TASKS_ORDER[] = {
    PV_CONTROLLER_PIDS,   PV_CONTROLLER_CPUACCT, PV_CONTROLLER_MEMORY,  PV_CONTROLLER_CPU,
    PV_CONTROLLER_CPUSET, PV_CONTROLLER_IO,      PV_CONTROLLER_HUGETLB,
};

static void hierarchy_free(gpointer data)
{
    PvHierarchy *hierarchy = data;
    g_free(hierarchy->names);
    g_free(hierarchy->root);
    g_free(hierarchy->mount_point);
    pv_clear_fd(&hierarchy->dirfd);
    g_free(hierarchy);
}

/* ---- mountinfo ---- */

/* Undo seq_escape(): a backslash and three octal digits are one byte. */
static char *unescape(const char *field)
{
    char *text = g_strdup(field);
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
            from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
    return text;
}

guint pv_v1_controllers(const char *list)
{
    g_auto(GStrv) names = g_strsplit(list, ",", -1);
    guint mask = 0;
    for (guint i = 0; i < G_N_ELEMENTS(CONTROLLERS); i++) {
        if (g_strv_contains((const char *const *)names, CONTROLLERS[i].v1_name))
            mask |= 1u << CONTROLLERS[i].controller;
    }
    return mask;
}

/* What is in a v1 hierarchy's super block options beside its name or controllers. */
static const char *const V1_FLAGS[] = {"rw",
                                       "ro",
                                       "xattr",
                                       "noprefix",
                                       "clone_children",
                                       "cpuset_v2_mode",
                                       "favordynmods",
                                       "sync",
                                       "dirsync",
                                       "mand",
                                       "lazytime",
                                       "none",
                                       NULL};

/* ",cpu,cpuacct," of "rw,xattr,cpu,cpuacct": as /proc/PID/cgroup calls the hierarchy. */
static char *v1_names(const char *options)
{
    g_auto(GStrv) words = g_strsplit(options, ",", -1);
    GString *names = g_string_new(",");

    for (guint i = 0; words[i] != NULL; i++) {
        if (words[i][0] != '\0' && !g_strv_contains(V1_FLAGS, words[i]) &&
            !g_str_has_prefix(words[i], "release_agent="))
            g_string_append_printf(names, "%s,", words[i]);
    }
    return g_string_free(names, FALSE);
}

/* The known controllers of the unified hierarchy at its mount point, from cgroup.controllers. */
static guint v2_controllers(int dirfd)
{
    char text[PV_CONTROL_FILE_MAX];
    if (pv_read_text_at(dirfd, "cgroup.controllers", text, sizeof text) < 0)
        return 0;

    g_auto(GStrv) names = g_strsplit_set(text, " \n", -1);
    guint mask = 0;
    for (guint i = 0; i < G_N_ELEMENTS(CONTROLLERS); i++) {
        const char *name = CONTROLLERS[i].v2_name;
        if (name != NULL && g_strv_contains((const char *const *)names, name))
            mask |= 1u << CONTROLLERS[i].controller;
    }
    return mask;
}

/*
 * One line: ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG…] - TYPE SOURCE SUPEROPTIONS
 * Returns NULL when it is not the mount of a hierarchy that is of use, or is malformed.
 */
static PvHierarchy *parse_mount(char *line)
{
    char *behind = strstr(line, " - ");
    if (behind == NULL ||
        (!g_str_has_prefix(behind, " - cgroup ") && !g_str_has_prefix(behind, " - cgroup2 ")))
        return NULL;
    *behind = '\0';
    g_auto(GStrv) fields = g_strsplit(line, " ", 6);
    g_auto(GStrv) fs = g_strsplit(behind + 3, " ", 3);
    if (g_strv_length(fields) < 6 || g_strv_length(fs) < 3)
        return NULL;

    const char *p = fields[2];
    guint64 major, minor;
    if (!pv_parse_u64(&p, &major) || *p++ != ':' || !pv_parse_u64(&p, &minor) || *p != '\0')
        return NULL;
    if (fields[3][0] != '/' || fields[4][0] != '/')
        return NULL;

    int version = strcmp(fs[0], "cgroup2") == 0 ? 2 : 1;
    g_autofree char *names = version == 1 ? v1_names(fs[2]) : g_strdup("");
    if (version == 1 && strcmp(names, ",") == 0)
        return NULL;

    PvHierarchy *mount = g_new0(PvHierarchy, 1);
    mount->version = version;
    mount->device = makedev((unsigned int)major, (unsigned int)minor);
    mount->controllers = version == 1 ? pv_v1_controllers(fs[2]) : 0;
    mount->names = g_steal_pointer(&names);
    mount->root = unescape(fields[3]);
    mount->mount_point = unescape(fields[4]);
    mount->dirfd = -1;
    return mount;
}

/* A hierarchy that is mounted several times is best seen from its own root, else from the mount
 * that shows the most of it; the sort is stable, so the first of equals stays first. */
static gint compare_reach(gconstpointer a, gconstpointer b)
{
    const PvHierarchy *left = *(const PvHierarchy *const *)a;
    const PvHierarchy *right = *(const PvHierarchy *const *)b;
    size_t left_length = strlen(left->root), right_length = strlen(right->root);
    return (left_length > right_length) - (left_length < right_length);
}

static GPtrArray *parse_mountinfo(char *text)
{
    GPtrArray *mounts = g_ptr_array_new_with_free_func(hierarchy_free);
    char *next;
    for (char *line = text; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        PvHierarchy *mount = parse_mount(line);
        if (mount != NULL)
            g_ptr_array_add(mounts, mount);
    }
    g_ptr_array_sort(mounts, compare_reach);
    return mounts;
}

/* ---- choosing ---- */

static gboolean has_file(int dirfd, const char *name)
{
    return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Files that exist in the true root only (v1), or everywhere else (v2), tell whether a mount's
 * root is a container's cgroup that a cgroup namespace shows as "/". */
static gboolean root_counts(const PvHierarchy *mount)
{
    if (strcmp(mount->root, "/") != 0)
        return TRUE;
    if (mount->version == 2)
        return has_file(mount->dirfd, "cgroup.type");
    return has_file(mount->dirfd, "tasks") && !has_file(mount->dirfd, "release_agent");
}

/*
 * Open the mount points of all the mounts of one hierarchy, best first, until one turns out to be
 * it: another mount may lie over it. Where none is (a captured tree has no such device numbers),
 * the first that could be opened is taken.
 */
static PvHierarchy *open_hierarchy(GPtrArray *mounts, guint first, int root_fd)
{
    const PvHierarchy *wanted = g_ptr_array_index(mounts, first);
    PvHierarchy *fallback = NULL;

    for (guint i = first; i < mounts->len; i++) {
        PvHierarchy *mount = g_ptr_array_index(mounts, i);
        if (mount->device != wanted->device || mount->version != wanted->version)
            continue;
        const char *relative = mount->mount_point + strspn(mount->mount_point, "/");
        int fd = pv_dir_open_beneath(root_fd, relative);
        if (fd < 0)
            continue;
        mount->dirfd = fd;
        struct stat st;
        if (fstat(fd, &st) == 0 && st.st_dev == mount->device)
            return mount;
        if (fallback == NULL)
            fallback = mount;
    }
    return fallback;
}

const PvHierarchy *pv_hierarchies_nth(const PvHierarchies *hierarchies, guint index)
{
    guint n = hierarchies->list->len;

    return index < n ? g_ptr_array_index(hierarchies->list, index)
                     : g_ptr_array_index(hierarchies->others, index - n);
}

guint pv_hierarchies_count(const PvHierarchies *hierarchies)
{
    return hierarchies->list->len + hierarchies->others->len;
}

static gboolean already_chosen(const PvHierarchies *hierarchies, const PvHierarchy *mount)
{
    for (guint i = 0; i < pv_hierarchies_count(hierarchies); i++) {
        const PvHierarchy *chosen = pv_hierarchies_nth(hierarchies, i);
        if (chosen->device == mount->device && chosen->version == mount->version)
            return TRUE;
    }
    return FALSE;
}

/* Move one mount of each hierarchy to one of the lists. */
static void choose_mounts(PvHierarchies *hierarchies, GPtrArray *mounts, int root_fd)
{
    for (guint i = 0; i < mounts->len; i++) {
        PvHierarchy *mount = g_ptr_array_index(mounts, i);
        if (already_chosen(hierarchies, mount))
            continue;
        PvHierarchy *opened = open_hierarchy(mounts, i, root_fd);
        if (opened == NULL)
            continue;

        PvHierarchy *chosen = g_memdup2(opened, sizeof *opened);
        opened->names = opened->root = opened->mount_point = NULL;
        opened->dirfd = -1;
        chosen->root_counts = root_counts(chosen);
        if (chosen->version == 2)
            chosen->controllers = v2_controllers(chosen->dirfd);
        g_ptr_array_add(chosen->version == 2 || chosen->controllers != 0 ? hierarchies->list
                                                                         : hierarchies->others,
                        chosen);
    }
}

/* A controller is in one hierarchy at a time, so v1's word on it is final. */
static gboolean assign_v1(PvHierarchies *hierarchies)
{
    gboolean any = FALSE;
    for (guint i = 0; i < hierarchies->list->len; i++) {
        PvHierarchy *hierarchy = g_ptr_array_index(hierarchies->list, i);
        for (guint c = 0; c < PV_CONTROLLER_COUNT && hierarchy->version == 1; c++) {
            if ((hierarchy->controllers >> c & 1) && hierarchies->controller[c] == NULL) {
                hierarchies->controller[c] = hierarchy;
                any = TRUE;
            }
        }
    }
    for (guint i = 0; i < G_N_ELEMENTS(V1_TASKS_ORDER); i++) {
        if (hierarchies->controller[PV_CONTROLLER_TASKS] == NULL)
            hierarchies->controller[PV_CONTROLLER_TASKS] =
                hierarchies->controller[V1_TASKS_ORDER[i]];
    }
    return any;
}

static void assign_v2(PvHierarchies *hierarchies, gboolean hybrid)
{
    PvHierarchy *unified = NULL;
    for (guint i = 0; i < hierarchies->list->len && unified == NULL; i++) {
        PvHierarchy *hierarchy = g_ptr_array_index(hierarchies->list, i);
        if (hierarchy->version == 2)
            unified = hierarchy;
    }
    if (unified == NULL)
        return;

    /* The core's own files are always there; on a hybrid host the cgroups of containers need not
     * be. */
    guint mask = unified->controllers | 1u << PV_CONTROLLER_PRESSURE;
    if (!hybrid)
        mask |= 1u << PV_CONTROLLER_TASKS;
    if (!hybrid || (unified->controllers >> PV_CONTROLLER_CPU & 1))
        mask |= 1u << PV_CONTROLLER_CPUACCT;

    for (guint c = 0; c < PV_CONTROLLER_COUNT; c++) {
        if ((mask >> c & 1) && hierarchies->controller[c] == NULL)
            hierarchies->controller[c] = unified;
    }
}

PvHierarchies *pv_hierarchies_load(int procfs_fd, int root_fd, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int rc = pv_read_all_at(procfs_fd, "self/mountinfo", text, MOUNTINFO_MAX);
    if (rc < 0) {
        pv_error_set_errno(error, -rc, "cannot read the mount table (self/mountinfo)");
        return NULL;
    }

    g_autoptr(PvHierarchies) hierarchies = g_new0(PvHierarchies, 1);
    g_atomic_ref_count_init(&hierarchies->refs);
    hierarchies->list = g_ptr_array_new_with_free_func(hierarchy_free);
    hierarchies->others = g_ptr_array_new_with_free_func(hierarchy_free);
    g_autoptr(GPtrArray) mounts = parse_mountinfo(text->str);
    choose_mounts(hierarchies, mounts, root_fd);
    if (hierarchies->list->len == 0) {
        pv_error_set(error, PV_ERROR_UNSUPPORTED, "%s",
                     mounts->len > 0 ? "no mounted cgroup hierarchy can be opened"
                                     : "no cgroup hierarchy is mounted");
        return NULL;
    }
    assign_v2(hierarchies, assign_v1(hierarchies));
    return g_steal_pointer(&hierarchies);
}

PvHierarchies *pv_hierarchies_ref(PvHierarchies *hierarchies)
{
    g_atomic_ref_count_inc(&hierarchies->refs);
    return hierarchies;
}

void pv_hierarchies_unref(PvHierarchies *hierarchies)
{
    if (hierarchies == NULL || !g_atomic_ref_count_dec(&hierarchies->refs))
        return;
    g_ptr_array_unref(hierarchies->list);
    g_ptr_array_unref(hierarchies->others);
    g_free(hierarchies);
}

int pv_hierarchies_version(const PvHierarchies *hierarchies, PvController controller)
{
    const PvHierarchy *hierarchy = hierarchies->controller[controller];
    return hierarchy != NULL ? hierarchy->version : 0;
}

const char *pv_hierarchies_mount_point(const PvHierarchies *hierarchies, PvController controller)
{
    const PvHierarchy *hierarchy = hierarchies->controller[controller];
    return hierarchy != NULL ? hierarchy->mount_point : NULL;
}

void pv_hierarchies_info(const PvHierarchies *hierarchies, guint index, PvHierarchyInfo *ret_info)
{
    const PvHierarchy *hierarchy = pv_hierarchies_nth(hierarchies, index);

    *ret_info = (PvHierarchyInfo){.version = hierarchy->version,
                                  .names = hierarchy->names,
                                  .mount_point = hierarchy->mount_point,
                                  .dirfd = hierarchy->dirfd,
                                  .root_counts = hierarchy->root_counts};
}
