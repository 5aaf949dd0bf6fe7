/* sys/devices/system/cpu, see sys_cpu.h. */
#include "sys_cpu.h"

#include "../view/render/render.h"

#include "procview/fd.h"
#include "procview/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CPU_DIRECTORY  "devices/system/cpu"
#define FILE_BYTES_MAX (256 * 1024)
#define LINK_BYTES_MAX 4096
#define WALK_DEPTH_MAX 6
#define PATHS_MAX      65536
#define ENTRIES_MAX    65536

struct PvSysCpu {
    int dirfd; /* of the host's directory */
    PvCpuSet possible;

    GMutex lock;       /* protects paths; never held over I/O */
    GHashTable *paths; /* key_of(kind, hash) -> path; what is in it stays until the end */
};

/* ---- what becomes of a file ---- */

typedef enum {
    TREAT_COPY,
    TREAT_LIST,    /* "0-3,8" */
    TREAT_MASK,    /* "ff" */
    TREAT_NUMBERS, /* "0 1 2 3" */
    TREAT_ZERO,    /* counts what the host did */
    TREAT_OFFLINE, /* the possible CPUs that are not in the set */
    TREAT_HIDE,
} Treatment;

/* The first rule that fits a path wins. The path is that in cpuN/ or beside it; a pattern is a
 * GPatternSpec, for which '*' matches slashes too. */
static const struct {
    PvNodeKind kind;
    const char *pattern;
    Treatment treatment;
} rules[] = {
    {PV_NODE_CPU_TOP, "offline", TREAT_OFFLINE},
    {PV_NODE_CPU_TOP, "isolated", TREAT_LIST},
    {PV_NODE_CPU_TOP, "nohz_full", TREAT_LIST},
    {PV_NODE_CPU_TOP, "enabled", TREAT_LIST},
    {PV_NODE_CPU_TOP, "cpufreq/*/stats*", TREAT_HIDE},
    {PV_NODE_CPU_TOP, "cpufreq/*_cpus", TREAT_NUMBERS},
    {PV_NODE_CPU, "crash_notes*", TREAT_HIDE}, /* addresses of the kernel */
    {PV_NODE_CPU, "topology/*_list", TREAT_LIST},
    {PV_NODE_CPU, "topology/*_siblings", TREAT_MASK},
    {PV_NODE_CPU, "topology/*_cpus", TREAT_MASK},
    {PV_NODE_CPU, "cache/*/shared_cpu_list", TREAT_LIST},
    {PV_NODE_CPU, "cache/*/shared_cpu_map", TREAT_MASK},
    {PV_NODE_CPU, "cpufreq/stats*", TREAT_HIDE},
    {PV_NODE_CPU, "cpufreq/*_cpus", TREAT_NUMBERS},
    {PV_NODE_CPU, "cpuidle/*/time", TREAT_ZERO},
    {PV_NODE_CPU, "cpuidle/*/usage", TREAT_ZERO},
    {PV_NODE_CPU, "cpuidle/*/above", TREAT_ZERO},
    {PV_NODE_CPU, "cpuidle/*/below", TREAT_ZERO},
    {PV_NODE_CPU, "cpuidle/*/rejected", TREAT_ZERO},
    {PV_NODE_CPU, "thermal_throttle/*", TREAT_ZERO},
};

static Treatment treatment_of(const PvCpuView *view, PvNodeKind kind, const char *path)
{
    if (view->is_host)
        return TREAT_COPY;
    for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (rules[i].kind == kind && g_pattern_match_simple(rules[i].pattern, path))
            return rules[i].treatment;
    }
    return TREAT_COPY;
}

int pv_sys_numbered_name(const char *name, const char *prefix)
{
    const char *digits;
    guint64 number;

    if (!g_str_has_prefix(name, prefix))
        return -1;
    digits = name + strlen(prefix);
    if (!g_ascii_isdigit(digits[0]) || (digits[0] == '0' && digits[1] != '\0') ||
        strlen(digits) > 6 || strspn(digits, "0123456789") != strlen(digits))
        return -1;
    number = g_ascii_strtoull(digits, NULL, 10);
    return (int)number;
}

/* ---- paths and numbers ---- */

PvSysCpu *pv_sys_cpu_new(PvHost *host)
{
    pv_autofd int fd = openat(pv_host_sysfs(host), CPU_DIRECTORY, O_PATH | O_DIRECTORY | O_CLOEXEC);
    PvSysCpu *sys;
    char text[PV_CONTROL_FILE_MAX];

    if (fd < 0)
        return NULL;
    sys = g_new0(PvSysCpu, 1);
    sys->dirfd = pv_steal_fd(&fd);
    if (pv_read_text_at(sys->dirfd, "possible", text, sizeof text) < 0 ||
        !pv_cpu_set_parse_list(text, &sys->possible))
        pv_cpu_set_clear(&sys->possible);
    g_mutex_init(&sys->lock);
    sys->paths = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    return sys;
}

void pv_sys_cpu_free(PvSysCpu *sys)
{
    if (sys == NULL)
        return;
    g_hash_table_unref(sys->paths);
    g_mutex_clear(&sys->lock);
    pv_clear_fd(&sys->dirfd);
    g_free(sys);
}

static gpointer key_of(PvNodeKind kind, guint32 hash)
{
    return GUINT_TO_POINTER((guint)kind << PV_NODE_VALUE_BITS | hash);
}

/*
 * The number of a path, which is remembered.
 * Returns FALSE when another path has the same number (or there are too many): it cannot be served
 * then.
 */
static gboolean remember(PvSysCpu *sys, PvNodeKind kind, const char *path, guint32 *ret_hash)
{
    guint32 hash = path[0] == '\0' ? 0
                                   : pv_node_hash(path, kind == PV_NODE_CPU ? PV_NODE_CPU_HASH_BITS
                                                                            : PV_NODE_VALUE_BITS);
    gpointer key = key_of(kind, hash);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&sys->lock);
    const char *known = g_hash_table_lookup(sys->paths, key);

    if (known == NULL) {
        if (g_hash_table_size(sys->paths) >= PATHS_MAX)
            return FALSE;
        g_hash_table_insert(sys->paths, key, g_strdup(path));
    } else if (strcmp(known, path) != 0) {
        return FALSE;
    }
    *ret_hash = hash;
    return TRUE;
}

static const char *recall(PvSysCpu *sys, const PvNode *node)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&sys->lock);

    /* Entries stay until the end: the text outlives the lock. */
    return g_hash_table_lookup(sys->paths, key_of(node->kind, node->value));
}

static DIR *open_directory(PvSysCpu *sys, const char *path)
{
    pv_autofd int fd = openat(sys->dirfd, path[0] != '\0' ? path : ".",
                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir != NULL)
        pv_steal_fd(&fd);
    return dir;
}

static gboolean is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static mode_t type_of(const struct dirent *entry)
{
    return entry->d_type == DT_DIR ? S_IFDIR : entry->d_type == DT_LNK ? S_IFLNK : S_IFREG;
}

/* Remember all paths below one. real_path is below the host's directory; node_path what is behind
 * the number. */
static void walk(PvSysCpu *sys, const char *real_path, PvNodeKind kind, const char *node_path,
                 guint depth)
{
    DIR *dir = open_directory(sys, real_path);
    const struct dirent *entry;

    if (dir == NULL)
        return;
    for (guint n = 0; n < ENTRIES_MAX && (entry = readdir(dir)) != NULL; n++) {
        g_autofree char *real_child = NULL;
        g_autofree char *node_child = NULL;
        gboolean is_cpu = depth == 0 && pv_sys_numbered_name(entry->d_name, "cpu") >= 0;
        guint32 hash;

        if (is_dots(entry->d_name))
            continue;
        real_child = g_build_filename(real_path, entry->d_name, NULL);
        node_child = is_cpu ? g_strdup("") : g_build_filename(node_path, entry->d_name, NULL);
        remember(sys, is_cpu ? PV_NODE_CPU : kind, node_child, &hash);
        if (entry->d_type == DT_DIR && depth < WALK_DEPTH_MAX)
            walk(sys, real_child, is_cpu ? PV_NODE_CPU : kind, node_child, depth + 1);
    }
    closedir(dir);
}

/* The path behind a node's number, or NULL. */
static const char *path_of(PvSysCpu *sys, const PvNode *node)
{
    const char *path;

    if (node->kind == PV_NODE_CPU && node->value == 0)
        return "";
    path = recall(sys, node);
    if (path != NULL)
        return path;
    walk(sys, "", PV_NODE_CPU_TOP, "", 0);
    return recall(sys, node);
}

/* The real id of a CPU that is shown under an id, or -1. */
static int real_cpu(const PvCpuView *view, guint shown)
{
    if (view->is_host)
        return (int)shown;
    return pv_cpu_set_has(&view->shown, shown)
               ? pv_cpu_set_nth(&view->real, (guint)pv_cpu_set_rank(&view->shown, shown))
               : -1;
}

/* The path of a node below the host's directory. Free with g_free. */
static int real_path(const PvCpuView *view, const PvNode *node, const char *path, char **ret_path)
{
    int cpu;

    if (node == NULL || node->kind == PV_NODE_CPU_TOP) {
        *ret_path = g_strdup(path);
        return 0;
    }
    cpu = real_cpu(view, node->cpu);
    if (cpu < 0)
        return -ENOENT;
    *ret_path =
        path[0] != '\0' ? g_strdup_printf("cpu%d/%s", cpu, path) : g_strdup_printf("cpu%d", cpu);
    return 0;
}

/* path_of() and real_path() in one. */
static int locate(PvSysCpu *sys, const PvCpuView *view, const PvNode *node, const char **ret_path,
                  char **ret_real)
{
    const char *path = node != NULL ? path_of(sys, node) : "";

    if (path == NULL)
        return -ESTALE;
    if (node != NULL && treatment_of(view, node->kind, path) == TREAT_HIDE)
        return -ENOENT;
    *ret_path = path;
    return real_path(view, node, path, ret_real);
}

/* ---- operations ---- */

static int stat_path(PvSysCpu *sys, const char *path, struct stat *ret_stat)
{
    if (fstatat(sys->dirfd, path, ret_stat, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISLNK(ret_stat->st_mode))
        ret_stat->st_mode &= S_IFMT | 0555;
    return 0;
}

/* The node of a name in a directory whose path is known. Returns FALSE when it is to be hidden. */
static gboolean child_node(PvSysCpu *sys, const PvCpuView *view, const PvNode *parent,
                           const char *parent_path, const char *name, PvNode *ret_node)
{
    PvNode node = {.kind = PV_NODE_CPU_TOP};
    g_autofree char *path = NULL;
    int cpu = parent == NULL ? pv_sys_numbered_name(name, "cpu") : -1;

    if (parent != NULL)
        node = *parent;
    if (cpu >= 0) {
        if (cpu >= PV_CPU_MAX)
            return FALSE;
        node.kind = PV_NODE_CPU;
        node.cpu = (guint32)cpu;
        path = g_strdup("");
    } else {
        path = g_build_filename(parent_path, name, NULL);
    }
    if (treatment_of(view, node.kind, path) == TREAT_HIDE ||
        !remember(sys, node.kind, path, &node.value))
        return FALSE;
    *ret_node = node;
    return TRUE;
}

int pv_sys_cpu_lookup(PvSysCpu *sys, const PvCpuView *view, const PvNode *parent, const char *name,
                      PvNode *ret_node, struct stat *ret_stat)
{
    g_autofree char *directory = NULL;
    g_autofree char *real = NULL;
    const char *path;
    int cpu = parent == NULL ? pv_sys_numbered_name(name, "cpu") : -1;
    int r = locate(sys, view, parent, &path, &directory);

    if (r < 0)
        return r;
    /* Only names that the host has are remembered. */
    if (cpu >= 0) {
        cpu = cpu < PV_CPU_MAX ? real_cpu(view, (guint)cpu) : -1;
        if (cpu < 0)
            return -ENOENT;
        real = g_strdup_printf("cpu%d", cpu);
    } else {
        real = g_build_filename(directory, name, NULL);
    }
    if (strchr(name, '/') != NULL || is_dots(name))
        return -ENOENT;
    r = stat_path(sys, real, ret_stat);
    if (r < 0)
        return r;
    return child_node(sys, view, parent, path, name, ret_node) ? 0 : -ENOENT;
}

int pv_sys_cpu_stat(PvSysCpu *sys, const PvCpuView *view, const PvNode *node, struct stat *ret_stat)
{
    g_autofree char *real = NULL;
    const char *path;
    int r = locate(sys, view, node, &path, &real);

    return r < 0 ? r : stat_path(sys, real, ret_stat);
}

int pv_sys_cpu_readlink(PvSysCpu *sys, const PvCpuView *view, const PvNode *node, GString *out)
{
    g_autofree char *real = NULL;
    char target[LINK_BYTES_MAX];
    const char *path;
    ssize_t n;
    int r = locate(sys, view, node, &path, &real);

    if (r < 0)
        return r;
    n = readlinkat(sys->dirfd, real, target, sizeof target);
    if (n < 0)
        return -errno;
    g_string_append_len(out, target, n);
    return 0;
}

int pv_sys_cpu_list(PvSysCpu *sys, const PvCpuView *view, const PvNode *directory,
                    PvSysCpuEntryFunc func, gpointer data)
{
    g_autofree char *real = NULL;
    const struct dirent *entry;
    const char *path;
    PvNode node;
    DIR *dir;
    int r = locate(sys, view, directory, &path, &real);

    if (r < 0)
        return r;
    dir = open_directory(sys, real);
    if (dir == NULL)
        return -errno;
    for (guint n = 0; n < ENTRIES_MAX && (entry = readdir(dir)) != NULL; n++) {
        gboolean is_cpu = directory == NULL && pv_sys_numbered_name(entry->d_name, "cpu") >= 0;

        if (is_dots(entry->d_name) || (is_cpu && !view->is_host))
            continue;
        if (child_node(sys, view, directory, path, entry->d_name, &node))
            func(entry->d_name, &node, type_of(entry), data);
    }
    closedir(dir);
    if (directory != NULL || view->is_host)
        return 0;
    PV_CPU_SET_FOREACH (cpu, &view->shown) {
        char name[16];
        snprintf(name, sizeof name, "cpu%d", cpu);
        if (child_node(sys, view, NULL, "", name, &node))
            func(name, &node, S_IFDIR, data);
    }
    return 0;
}

/* "0 1 2 3" cut to the set. */
static void render_numbers(const PvCpuView *view, const char *text, GString *out)
{
    const char *separator = "";
    guint64 cpu;

    while (pv_parse_u64(&text, &cpu)) {
        int rank = cpu < PV_CPU_MAX ? pv_cpu_set_rank(&view->real, (guint)cpu) : -1;
        if (rank < 0)
            continue;
        g_string_append_printf(out, "%s%d", separator, pv_cpu_set_nth(&view->shown, (guint)rank));
        separator = " ";
    }
    g_string_append_c(out, '\n');
}

static void render_offline(const PvSysCpu *sys, const PvCpuView *view, GString *out)
{
    PvCpuSet set = sys->possible;

    PV_CPU_SET_FOREACH (cpu, &view->shown)
        pv_cpu_set_remove(&set, (guint)cpu);
    pv_cpu_set_format_list(&set, out);
    g_string_append_c(out, '\n');
}

int pv_sys_cpu_read(PvSysCpu *sys, const PvCpuView *view, const PvNode *node, GString *out)
{
    PvSnapshot snapshot = {.valid = PV_SECTION_CPUS};
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *real = NULL;
    const char *path;
    Treatment treatment;
    int r = locate(sys, view, node, &path, &real);

    if (r < 0)
        return r;
    r = pv_read_all_at(sys->dirfd, real, text, FILE_BYTES_MAX);
    if (r < 0)
        return r;
    snapshot.cpus = view->real;
    snapshot.shown_cpus = view->shown;
    snapshot.n_cpus = pv_cpu_set_count(&view->real);

    treatment = treatment_of(view, node->kind, path);
    switch (treatment) {
    case TREAT_LIST:
    case TREAT_MASK:
        /* Some of them print "(null)" where there is no set. That says nothing of the host. */
        if (!(treatment == TREAT_LIST ? pv_render_cpu_list_file(&snapshot, text->str, out)
                                      : pv_render_cpu_mask_file(&snapshot, text->str, out)))
            g_string_append_c(out, '\n');
        break;
    case TREAT_NUMBERS:
        render_numbers(view, text->str, out);
        break;
    case TREAT_ZERO:
        g_string_append(out, "0\n");
        break;
    case TREAT_OFFLINE:
        render_offline(sys, view, out);
        break;
    default:
        g_string_append_len(out, text->str, (gssize)text->len);
        break;
    }
    return 0;
}
