/* cgroups for the tests, on v1, v2 and hybrid hosts alike. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The controllers that containers are limited or accounted by. */
static const char *const controllers[] = {"cpu",   "cpuacct", "cpuset", "memory",
                                          "blkio", "pids",    "hugetlb"};

typedef struct {
    char *mount_point;
    int version;
    char *options; /* v1: the controllers; v2: cgroup.controllers, blanks as commas */
} Hierarchy;

struct PvtCgroup {
    char *path; /* relative to every hierarchy: "pv-test-1-name/child" */
};

static GPtrArray *hierarchies; /* of Hierarchy, found at first use */
static GPtrArray *cgroups;     /* of PvtCgroup, in the order in which they were made */

static gboolean has_word(const char *list, const char *word)
{
    g_auto(GStrv) words = g_strsplit(list, ",", -1);

    return g_strv_contains((const char *const *)words, word);
}

static gboolean is_useful(const Hierarchy *hierarchy)
{
    if (hierarchy->version == 2)
        return TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(controllers); i++) {
        if (has_word(hierarchy->options, controllers[i]))
            return TRUE;
    }
    return FALSE;
}

static void hierarchy_free(Hierarchy *hierarchy)
{
    g_free(hierarchy->mount_point);
    g_free(hierarchy->options);
    g_free(hierarchy);
}

static void find_hierarchies(void)
{
    g_autofree char *text = pvt_read_file("/proc/self/mountinfo");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    if (hierarchies != NULL)
        return;
    hierarchies = g_ptr_array_new();
    for (guint i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) halves = g_strsplit(lines[i], " - ", 2);
        g_auto(GStrv) left = NULL;
        g_auto(GStrv) right = NULL;
        Hierarchy *hierarchy;

        if (g_strv_length(halves) != 2)
            continue;
        left = g_strsplit(halves[0], " ", -1);
        right = g_strsplit(halves[1], " ", -1);
        if (!g_str_has_prefix(right[0], "cgroup") || strcmp(left[3], "/") != 0)
            continue;
        hierarchy = g_new0(Hierarchy, 1);
        hierarchy->mount_point = g_strdup(left[4]);
        hierarchy->version = strcmp(right[0], "cgroup2") == 0 ? 2 : 1;
        if (hierarchy->version == 2) {
            g_autofree char *path = g_build_filename(left[4], "cgroup.controllers", NULL);
            hierarchy->options = g_strdelimit(g_strchomp(pvt_read_file(path)), " ", ',');
        } else {
            hierarchy->options = g_strdup(right[2]);
        }
        if (is_useful(hierarchy))
            g_ptr_array_add(hierarchies, hierarchy);
        else
            hierarchy_free(hierarchy);
    }
}

/* cpuacct is in v2's core, blkio is called io there. */
static const Hierarchy *hierarchy_of(const char *controller)
{
    find_hierarchies();
    for (guint i = 0; i < hierarchies->len; i++) {
        const Hierarchy *hierarchy = g_ptr_array_index(hierarchies, i);
        const char *name = controller;

        if (hierarchy->version == 2 && strcmp(name, "blkio") == 0)
            name = "io";
        if (hierarchy->version == 2 && strcmp(name, "cpuacct") == 0)
            name = "cpu";
        if (has_word(hierarchy->options, name))
            return hierarchy;
    }
    return NULL;
}

int pvt_cgroup_version(const char *controller)
{
    const Hierarchy *hierarchy = hierarchy_of(controller);

    return hierarchy != NULL ? hierarchy->version : 0;
}

static char *file_path(PvtCgroup *cgroup, const char *controller, const char *file)
{
    const Hierarchy *hierarchy = hierarchy_of(controller);

    if (hierarchy == NULL)
        pvt_fail("no controller %s on this machine", controller);
    return g_build_filename(hierarchy->mount_point, cgroup->path, file, NULL);
}

static int try_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? write(fd, text, strlen(text)) : -1;
    int saved_errno = errno;

    if (fd >= 0)
        close(fd);
    return n < 0 ? -saved_errno : 0;
}

char *pvt_cgroup_read(PvtCgroup *cgroup, const char *controller, const char *file)
{
    g_autofree char *path = file_path(cgroup, controller, file);

    return pvt_read_file(path);
}

void pvt_cgroup_write(PvtCgroup *cgroup, const char *controller, const char *file, const char *text)
{
    g_autofree char *path = file_path(cgroup, controller, file);
    int r = try_write(path, text);

    if (r < 0)
        pvt_fail("write \"%s\" to %s: %s", text, path, g_strerror(-r));
}

/* Hand all controllers down to the children of a v2 cgroup; those that it does not have are left
 * out. */
static void enable_controllers(const Hierarchy *hierarchy, const char *cgroup)
{
    g_autofree char *path =
        g_build_filename(hierarchy->mount_point, cgroup, "cgroup.subtree_control", NULL);
    g_auto(GStrv) names = g_strsplit(hierarchy->options, ",", -1);

    for (guint i = 0; names[i] != NULL; i++) {
        g_autofree char *text = g_strconcat("+", names[i], NULL);
        if (names[i][0] != '\0')
            try_write(path, text);
    }
}

/* v1's cpuset: a new cgroup has no CPU and no node until it is given some. */
static void inherit_cpuset(const char *path)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    g_autofree char *parent = g_path_get_dirname(path);

    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *from = g_build_filename(parent, files[i], NULL);
        g_autofree char *to = g_build_filename(path, files[i], NULL);
        g_autofree char *text = pvt_read_file(from);

        if (try_write(to, text) < 0)
            pvt_fail("%s: cannot be set", to);
    }
}

PvtCgroup *pvt_cgroup_new(PvtCgroup *parent, const char *name)
{
    PvtCgroup *cgroup = g_new0(PvtCgroup, 1);

    cgroup->path = parent != NULL ? g_build_filename(parent->path, name, NULL)
                                  : g_strdup_printf("%s-%s", pvt_prefix(), name);
    if (cgroups == NULL)
        cgroups = g_ptr_array_new();
    g_ptr_array_add(cgroups, cgroup);
    find_hierarchies();
    for (guint i = 0; i < hierarchies->len; i++) {
        const Hierarchy *hierarchy = g_ptr_array_index(hierarchies, i);
        g_autofree char *path = g_build_filename(hierarchy->mount_point, cgroup->path, NULL);

        if (hierarchy->version == 2)
            enable_controllers(hierarchy, parent != NULL ? parent->path : "");
        if (mkdir(path, 0755) < 0)
            pvt_fail("mkdir %s: %s", path, g_strerror(errno));
        if (hierarchy->version == 1 && has_word(hierarchy->options, "cpuset"))
            inherit_cpuset(path);
    }
    return cgroup;
}

void pvt_cgroup_limit_memory(PvtCgroup *cgroup, guint64 bytes)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);

    pvt_cgroup_write(cgroup, "memory",
                     pvt_cgroup_version("memory") == 2 ? "memory.max" : "memory.limit_in_bytes",
                     text);
}

void pvt_cgroup_limit_cpu(PvtCgroup *cgroup, guint64 quota_usec, guint64 period_usec)
{
    g_autofree char *quota = g_strdup_printf("%" G_GUINT64_FORMAT, quota_usec);
    g_autofree char *period = g_strdup_printf("%" G_GUINT64_FORMAT, period_usec);
    g_autofree char *both = g_strdup_printf("%s %s", quota, period);

    if (pvt_cgroup_version("cpu") == 2) {
        pvt_cgroup_write(cgroup, "cpu", "cpu.max", both);
        return;
    }
    pvt_cgroup_write(cgroup, "cpu", "cpu.cfs_period_us", period);
    pvt_cgroup_write(cgroup, "cpu", "cpu.cfs_quota_us", quota);
}

void pvt_cgroup_set_cpus(PvtCgroup *cgroup, const char *list)
{
    pvt_cgroup_write(cgroup, "cpuset", "cpuset.cpus", list);
}

void pvt_cgroup_limit_pids(PvtCgroup *cgroup, guint max)
{
    g_autofree char *text = g_strdup_printf("%u", max);

    pvt_cgroup_write(cgroup, "pids", "pids.max", text);
}

guint64 pvt_cgroup_memory_usage(PvtCgroup *cgroup)
{
    g_autofree char *text = pvt_cgroup_read(
        cgroup, "memory",
        pvt_cgroup_version("memory") == 2 ? "memory.current" : "memory.usage_in_bytes");

    return g_ascii_strtoull(text, NULL, 10);
}

guint64 pvt_cgroup_memory_stat(PvtCgroup *cgroup, const char *v2_key, const char *v1_key)
{
    g_autofree char *text = pvt_cgroup_read(cgroup, "memory", "memory.stat");
    g_autofree char *key =
        g_strconcat(pvt_cgroup_version("memory") == 2 ? v2_key : v1_key, " ", NULL);

    return pvt_field(text, key);
}

guint64 pvt_cgroup_cpu_usage_nsec(PvtCgroup *cgroup)
{
    g_autofree char *text = NULL;

    if (pvt_cgroup_version("cpuacct") == 2) {
        text = pvt_cgroup_read(cgroup, "cpu", "cpu.stat");
        return pvt_field(text, "usage_usec ") * 1000;
    }
    text = pvt_cgroup_read(cgroup, "cpuacct", "cpuacct.usage");
    return g_ascii_strtoull(text, NULL, 10);
}

GArray *pvt_cgroup_open_procs(PvtCgroup *cgroup)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));

    for (guint i = 0; i < hierarchies->len; i++) {
        const Hierarchy *hierarchy = g_ptr_array_index(hierarchies, i);
        g_autofree char *path =
            g_build_filename(hierarchy->mount_point, cgroup->path, "cgroup.procs", NULL);
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
            pvt_fail("%s: %s", path, g_strerror(errno));
        g_array_append_val(fds, fd);
    }
    return fds;
}

void pvt_cgroup_enter(PvtCgroup *cgroup, pid_t pid)
{
    GArray *fds = pvt_cgroup_open_procs(cgroup);
    g_autofree char *text = g_strdup_printf("%d", (int)pid);

    for (guint i = 0; i < fds->len; i++) {
        if (write(g_array_index(fds, int, i), text, strlen(text)) < 0)
            pvt_fail("move %s into %s: %s", text, cgroup->path, g_strerror(errno));
        close(g_array_index(fds, int, i));
    }
    g_array_unref(fds);
}

void pvt_cgroup_leave(const char *controller, pid_t pid)
{
    PvtCgroup root = {.path = (char *)""};
    g_autofree char *text = g_strdup_printf("%d", (int)pid);

    pvt_cgroup_write(&root, controller, "cgroup.procs", text);
}

/* rmdir, for as long as the kernel is still taking processes apart. */
static gboolean remove_directory(const char *path)
{
    for (guint i = 0; i < pvt_timeout_msec(5000) / 5; i++) {
        if (rmdir(path) == 0 || errno == ENOENT)
            return TRUE;
        if (errno != EBUSY && errno != ENOTEMPTY)
            return FALSE;
        pvt_sleep_msec(5);
    }
    return FALSE;
}

/* What containers have made in it goes with it. */
static void remove_children(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        if (g_file_test(child, G_FILE_TEST_IS_DIR)) {
            remove_children(child);
            remove_directory(child);
        }
    }
    if (dir != NULL)
        g_dir_close(dir);
}

static void remove_everywhere(const PvtCgroup *cgroup)
{
    for (guint i = 0; i < hierarchies->len; i++) {
        const Hierarchy *hierarchy = g_ptr_array_index(hierarchies, i);
        g_autofree char *path = g_build_filename(hierarchy->mount_point, cgroup->path, NULL);

        if (rmdir(path) < 0 && errno == EBUSY)
            remove_children(path);
        if (!remove_directory(path))
            fprintf(stderr, "%s: cannot be removed: %s\n", path, g_strerror(errno));
    }
}

static void cgroup_free(PvtCgroup *cgroup)
{
    g_free(cgroup->path);
    g_free(cgroup);
}

void pvt_cgroup_remove(PvtCgroup *cgroup)
{
    remove_everywhere(cgroup);
    g_ptr_array_remove(cgroups, cgroup);
    cgroup_free(cgroup);
}

void pvt_cgroups_end(void)
{
    for (guint i = cgroups != NULL ? cgroups->len : 0; i > 0; i--) {
        remove_everywhere(g_ptr_array_index(cgroups, i - 1));
        cgroup_free(g_ptr_array_index(cgroups, i - 1));
    }
    if (cgroups != NULL)
        g_ptr_array_set_size(cgroups, 0);
}

/* ---- the guardian's part ---- */

static void kill_members(const char *path)
{
    g_autofree char *procs = g_build_filename(path, "cgroup.procs", NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) pids = NULL;

    if (!g_file_get_contents(procs, &text, NULL, NULL))
        return;
    pids = g_strsplit(text, "\n", -1);
    for (guint i = 0; pids[i] != NULL; i++) {
        pid_t pid = atoi(pids[i]);
        if (pid > 1)
            kill(pid, SIGKILL);
    }
}

static void sweep_directory(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        if (g_file_test(child, G_FILE_TEST_IS_DIR))
            sweep_directory(child);
    }
    if (dir != NULL)
        g_dir_close(dir);
    kill_members(path);
    remove_directory(path);
}

guint pvt_cgroups_sweep(const char *prefix)
{
    g_autofree char *start = g_strconcat(prefix, "-", NULL);
    guint n = 0;

    find_hierarchies();
    for (guint i = 0; i < hierarchies->len; i++) {
        const Hierarchy *hierarchy = g_ptr_array_index(hierarchies, i);
        GDir *dir = g_dir_open(hierarchy->mount_point, 0, NULL);
        const char *name;

        while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
            g_autofree char *path = g_build_filename(hierarchy->mount_point, name, NULL);
            if (!g_str_has_prefix(name, start))
                continue;
            sweep_directory(path);
            n++;
        }
        if (dir != NULL)
            g_dir_close(dir);
    }
    return n;
}
