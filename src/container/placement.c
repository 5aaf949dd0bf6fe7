/*
 * Where a container's init is, and which cgroups are the container's because of it.
 *
 * Init may sit below the cgroup that its manager made (systemd moves itself to init.scope). When it
 * has a cgroup namespace of its own, that namespace's root is what the manager meant. The root is
 * not written anywhere; but /proc/INIT/cgroup is relative to its reader's cgroup namespace, so that
 * reading it once from here and once from there gives it. cgroup_namespaces(7).
 */
#include "internal.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

/* A container may mount as much as it likes; nobody needs so much. */
#define MOUNTINFO_BYTES_MAX (256 * 1024)

PvPlacement *pv_placement_ref(PvPlacement *placement)
{
    g_atomic_int_inc(&placement->ref_count);
    return placement;
}

void pv_placement_unref(PvPlacement *placement)
{
    if (placement == NULL || !g_atomic_int_dec_and_test(&placement->ref_count))
        return;
    pv_cgroup_paths_clear(&placement->root);
    g_free(placement->text);
    g_free(placement->root_text);
    g_free(placement);
}

/* ---- cutting paths back ---- */

/* The length of "ID:CONTROLLERS:" at a line's beginning, or 0. */
static size_t head_length(const char *line)
{
    const char *first = strchr(line, ':');
    const char *second = first == NULL ? NULL : strchr(first + 1, ':');

    return second == NULL ? 0 : (size_t)(second + 1 - line);
}

/* The path of the line of `lines` that has the same head. */
static const char *path_with_head(char *const *lines, const char *head, size_t length)
{
    for (; *lines != NULL; lines++) {
        if (strncmp(*lines, head, length) == 0)
            return *lines + length;
    }
    return NULL;
}

/* Cut `relative` off the end of `path`, unless it lies outside of the namespace. A namespace whose
 * root is the hierarchy's tells nothing: it was made before init was put into its cgroup. */
static void strip_path(char *path, const char *relative)
{
    size_t path_length = strlen(path), relative_length = strlen(relative);

    if (g_str_equal(relative, "/") || g_str_has_prefix(relative, "/..") ||
        !g_str_has_prefix(relative, "/") || relative_length >= path_length ||
        !g_str_equal(path + path_length - relative_length, relative))
        return;
    path[path_length - relative_length] = '\0';
}

char *pv_placement_strip(const char *absolute, const char *relative)
{
    g_auto(GStrv) lines = g_strsplit(absolute, "\n", -1);
    g_auto(GStrv) relative_lines = g_strsplit(relative, "\n", -1);

    for (guint i = 0; lines[i] != NULL; i++) {
        size_t length = head_length(lines[i]);
        const char *path = length == 0 ? NULL : path_with_head(relative_lines, lines[i], length);

        if (path != NULL)
            strip_path(lines[i] + length, path);
    }
    return g_strjoinv("\n", lines);
}

/* A cgroup filesystem among the mounts: its root and, for v1, its controllers ("rw,cpu,cpuacct").
 */
typedef struct {
    gboolean is_v2;
    char *root, *options;
} CgroupMount;

static void cgroup_mount_clear(gpointer data)
{
    CgroupMount *mount = data;

    g_free(mount->root);
    g_free(mount->options);
}

/* Fields of a line: id parent major:minor ROOT POINT options… - TYPE source SUPER_OPTIONS. */
static gboolean parse_mount(const char *line, CgroupMount *ret_mount)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", -1);
    guint n = g_strv_length(fields), dash = 6;

    while (dash < n && !g_str_equal(fields[dash], "-"))
        dash++;
    if (dash + 3 >= n || !g_str_has_prefix(fields[dash + 1], "cgroup") ||
        !(g_str_equal(fields[4], "/sys/fs/cgroup") ||
          g_str_has_prefix(fields[4], "/sys/fs/cgroup/")))
        return FALSE;
    ret_mount->is_v2 = g_str_equal(fields[dash + 1], "cgroup2");
    ret_mount->root = g_strcompress(fields[3]); /* the kernel writes \040 for a blank */
    ret_mount->options = g_strdup_printf(",%s,", fields[dash + 3]);
    return TRUE;
}

static GArray *parse_mounts(const char *mountinfo)
{
    g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);
    GArray *mounts = g_array_new(FALSE, FALSE, sizeof(CgroupMount));

    g_array_set_clear_func(mounts, cgroup_mount_clear);
    for (guint i = 0; lines[i] != NULL; i++) {
        CgroupMount mount;

        if (parse_mount(lines[i], &mount))
            g_array_append_val(mounts, mount);
    }
    return mounts;
}

/* The topmost mount, which is the last, of the hierarchy "ID:CONTROLLERS:". */
static const char *mount_root(GArray *mounts, const char *line, size_t head)
{
    const char *colon = strchr(line, ':');
    g_autofree char *controllers =
        g_strdup_printf(",%.*s,", (int)(line + head - colon) - 2, colon + 1);
    gboolean is_v2 = g_str_equal(controllers, ",,");

    for (guint i = mounts->len; i-- > 0;) {
        const CgroupMount *mount = &g_array_index(mounts, CgroupMount, i);

        if (mount->is_v2 == is_v2 && (is_v2 || strstr(mount->options, controllers) != NULL))
            return mount->root;
    }
    return NULL;
}

char *pv_placement_strip_by_mounts(const char *absolute, const char *mountinfo)
{
    g_auto(GStrv) lines = g_strsplit(absolute, "\n", -1);
    g_autoptr(GArray) mounts = parse_mounts(mountinfo);

    for (guint i = 0; lines[i] != NULL; i++) {
        size_t length = head_length(lines[i]);
        const char *root = length == 0 ? NULL : mount_root(mounts, lines[i], length);

        /* A root of "/" is a mount that came from outside of any namespace: it tells nothing. */
        if (root != NULL && root[0] == '/' && !g_str_equal(root, "/") &&
            !g_str_has_prefix(root, "/..") && pv_cgroup_path_contains(root, lines[i] + length))
            strcpy(lines[i] + length, root); /* not longer: it contains the path */
    }
    return g_strjoinv("\n", lines);
}

/* ---- which cgroups ---- */

static gboolean is_all_root(const PvCgroupPaths *paths)
{
    for (guint i = 0; i < PV_CONTROLLER_COUNT; i++) {
        if (paths->path[i] != NULL && !g_str_equal(paths->path[i], "/"))
            return FALSE;
    }
    return TRUE;
}

/*
 * An init that is at the root of every hierarchy has not been put into any cgroup: its pid
 * namespace is the host in another numbering (`unshare --pid` without more), and the rule of the
 * host's pid namespace fits: everybody sees the limits that he himself has. At the root of some
 * hierarchies only, it stays at those: nobody limits the container there.
 */
void pv_placement_choose(const PvCgroupPaths *root, const PvCgroupPaths *own,
                         PvCgroupPaths *ret_paths)
{
    gboolean use_own = root == NULL || is_all_root(root);

    for (guint i = 0; i < PV_CONTROLLER_COUNT; i++) {
        const char *path = own->path[i];

        if (!use_own && root->path[i] != NULL &&
            (path == NULL || pv_cgroup_path_contains(root->path[i], path)))
            path = root->path[i];
        ret_paths->path[i] = g_strdup(path);
    }
}

gboolean pv_cgroup_paths_equal(const PvCgroupPaths *a, const PvCgroupPaths *b)
{
    for (guint i = 0; i < PV_CONTROLLER_COUNT; i++) {
        if (g_strcmp0(a->path[i], b->path[i]) != 0)
            return FALSE;
    }
    return TRUE;
}

/* ---- reading ---- */

static guint64 ns_ino(int dirfd, const char *path)
{
    struct stat st;

    return fstatat(dirfd, path, &st, 0) < 0 ? 0 : st.st_ino;
}

typedef struct {
    int ns_fd, init_dirfd;
    char *text; /* of PV_CGROUP_TEXT_MAX bytes */
    ssize_t result;
} InsideReader;

static void *inside_reader_run(void *data)
{
    InsideReader *reader = data;

    if (setns(reader->ns_fd, CLONE_NEWCGROUP) < 0)
        reader->result = -errno;
    else
        reader->result =
            pv_read_text_at(reader->init_dirfd, "cgroup", reader->text, PV_CGROUP_TEXT_MAX);
    return NULL;
}

/* Read /proc/INIT/cgroup from inside init's cgroup namespace, by a thread: setns changes only that,
 * and it ends. */
static char *read_inside(int init_dirfd)
{
    pv_autofd int ns_fd = openat(init_dirfd, "ns/cgroup", O_RDONLY | O_CLOEXEC);
    g_autofree char *text = NULL;
    InsideReader reader = {.ns_fd = ns_fd, .init_dirfd = init_dirfd, .result = -1};
    sigset_t all, before;
    pthread_t thread;
    int r;

    if (ns_fd < 0)
        return NULL;
    text = g_malloc(PV_CGROUP_TEXT_MAX);
    reader.text = text;

    /* The program's signals are not for this thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, NULL, inside_reader_run, &reader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return NULL;
    pthread_join(thread, NULL);
    return reader.result < 0 ? NULL : g_steal_pointer(&text);
}

/* The text with paths cut back to the root of init's cgroup namespace, as far as that can be told.
 */
static char *root_text(const PvVantage *vantage, int init_dirfd, const char *text)
{
    guint64 ino = ns_ino(init_dirfd, "ns/cgroup");
    g_autofree char *relative = NULL;
    g_autoptr(GString) mountinfo = NULL;

    if (ino == 0 || ino == vantage->cgroup_ns_ino)
        return g_strdup(text);
    relative = read_inside(init_dirfd);
    if (relative != NULL)
        return pv_placement_strip(text, relative);

    /* Without CAP_SYS_ADMIN. What init has mounted at /sys/fs/cgroup begins at the namespace's
     * root. */
    mountinfo = g_string_new(NULL);
    if (pv_read_all_at(init_dirfd, "mountinfo", mountinfo, MOUNTINFO_BYTES_MAX) < 0)
        return g_strdup(text);
    return pv_placement_strip_by_mounts(text, mountinfo->str);
}

/* The offsets in the file are those for init's children: they are init's only while both share a
 * namespace. */
static void read_time_offset(const PvVantage *vantage, int init_dirfd, PvPlacement *placement)
{
    char text[256];
    gint64 offset_nsec;

    if (placement->time_ns_ino == 0 || placement->time_ns_ino == vantage->time_ns_ino ||
        placement->time_ns_ino != ns_ino(init_dirfd, "ns/time_for_children") ||
        pv_read_text_at(init_dirfd, "timens_offsets", text, sizeof(text)) < 0 ||
        !pv_identify_timens_parse(text, &offset_nsec))
        return;
    placement->has_time_offset = TRUE;
    placement->time_offset_nsec = offset_nsec - vantage->time_offset_nsec;
}

PvPlacement *pv_placement_new(const PvVantage *vantage, int init_dirfd, pid_t init_pid,
                              const char *text, GError **error)
{
    g_autoptr(PvPlacement) placement = g_new0(PvPlacement, 1);
    g_autofree char *root = root_text(vantage, init_dirfd, text);

    placement->ref_count = 1;
    placement->text = g_strdup(text);
    placement->root_text = g_strdup(root);
    if (!pv_cgroup_paths_parse(vantage->hierarchies, root, &placement->root, error)) {
        g_prefix_error(error, "cgroups of process %d, init of its pid namespace: ", (int)init_pid);
        return NULL;
    }
    placement->time_ns_ino = ns_ino(init_dirfd, "ns/time");
    read_time_offset(vantage, init_dirfd, placement);
    return g_steal_pointer(&placement);
}
