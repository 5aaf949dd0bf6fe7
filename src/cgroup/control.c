/*
 * A cgroup's directories and control files: opened once, without following anything that could
 * lead out of the hierarchy, and read with one pread from then on.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/file.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define DIR_FLAGS  (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#define FILE_FLAGS (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)

/* No control file's number is larger; what is, is garbage. */
#define NUMBER_MAX (G_GUINT64_CONSTANT(1) << 63)

/* A file of one number or two. */
#define SMALL_FILE_MAX 4096

#define FILE_NAME_MAX 80

/* ---- directories ---- */

/* For kernels without openat2 (before 5.6), and sandboxes that hide it: one component at a time,
 * none of them
 * "..", none a symbolic link. */
static int open_by_components(int dirfd, const char *path)
{
    pv_autofd int fd = openat(dirfd, ".", DIR_FLAGS);
    g_auto(GStrv) names = g_strsplit(path, "/", -1);

    for (guint i = 0; fd >= 0 && names[i] != NULL; i++) {
        if (names[i][0] == '\0' || strcmp(names[i], ".") == 0)
            continue;
        if (strcmp(names[i], "..") == 0)
            return -EXDEV;
        int child = openat(fd, names[i], DIR_FLAGS | O_NOFOLLOW);
        pv_clear_fd(&fd);
        fd = child;
    }
    return fd < 0 ? -errno : pv_steal_fd(&fd);
}

int pv_dir_open_beneath(int dirfd, const char *path)
{
    const char *relative = path[0] == '\0' ? "." : path;
    int fd = pv_sys_openat2(dirfd, relative, DIR_FLAGS, 0,
                            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    return fd == -ENOSYS || fd == -EPERM ? open_by_components(dirfd, relative) : fd;
}

/* "a/b/c/d" in the list of names that are opened one after the other; those of a path that is too
 * deep are, in its middle, taken together as one. */
static char **split_levels(const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    guint n = g_strv_length(names), outer = PV_CGROUP_DEPTH_MAX / 2;
    guint first_inner = n - (PV_CGROUP_DEPTH_MAX - outer - 1);
    g_autoptr(GString) middle = g_string_new(NULL);
    GPtrArray *levels;

    if (n <= PV_CGROUP_DEPTH_MAX)
        return g_steal_pointer(&names);
    levels = g_ptr_array_new();
    for (guint i = 0; i < n; i++) {
        if (i < outer || i >= first_inner) {
            g_ptr_array_add(levels, g_strdup(names[i]));
            continue;
        }
        g_string_append_printf(middle, "%s%s", middle->len > 0 ? "/" : "", names[i]);
        if (i + 1 == first_inner)
            g_ptr_array_add(levels, g_strdup(middle->str));
    }
    g_ptr_array_add(levels, NULL);
    return (char **)g_ptr_array_free(levels, FALSE);
}

/* Open each directory from the hierarchy's root down to the cgroup; levels count from the cgroup
 * up. */
static int open_levels(PvChain *chain, char *const *names, guint n_names)
{
    PvLevel *root = &chain->levels[chain->n_levels];
    root->dirfd = chain->hierarchy->dirfd;
    if (chain->hierarchy->root_counts)
        chain->levels[chain->n_levels - 1].dirfd = chain->hierarchy->dirfd;

    int parent = chain->hierarchy->dirfd;
    for (guint i = n_names; i-- > 0;) {
        int fd = pv_dir_open_beneath(parent, names[n_names - 1 - i]);
        if (fd < 0)
            return fd;
        chain->levels[i].dirfd = fd;
        parent = fd;
    }
    return 0;
}

int pv_chain_open(PvChain *chain)
{
    if (chain->path[0] != '/')
        return -EINVAL;
    g_auto(GStrv) names = split_levels(chain->path + 1);
    guint n_names = g_strv_length(names);
    guint n_levels = n_names + (chain->hierarchy->root_counts ? 1 : 0);
    chain->levels = g_new0(PvLevel, n_levels + 1);
    chain->n_levels = n_levels;
    atomic_init(&chain->quota_level, -1);
    atomic_init(&chain->huge_page_kb, 0);
    for (guint i = 0; i <= n_levels; i++) {
        PvLevel *level = &chain->levels[i];
        level->dirfd = -1;
        level->files = g_new(PvControlFile, chain->ops->n_files);
        for (guint f = 0; f < chain->ops->n_files; f++) {
            atomic_init(&level->files[f].fd, PV_FILE_UNTRIED);
            atomic_init(&level->files[f].tried_sec, 0);
        }
    }
    int rc = open_levels(chain, names, n_names);
    if (rc == 0 && n_levels > 0 && chain->ops->inspect != NULL)
        chain->ops->inspect(chain);
    return rc;
}

void pv_chain_clear(PvChain *chain)
{
    for (guint i = 0; chain->levels != NULL && i <= chain->n_levels; i++) {
        PvLevel *level = &chain->levels[i];
        if (level->dirfd != chain->hierarchy->dirfd)
            pv_clear_fd(&level->dirfd);
        for (guint f = 0; f < chain->ops->n_files; f++) {
            int fd = atomic_load(&level->files[f].fd);
            pv_clear_fd(&fd);
        }
        g_free(level->files);
    }
    g_clear_pointer(&chain->levels, g_free);
    g_clear_pointer(&chain->path, g_free);
}

gboolean pv_chain_alive(const PvChain *chain)
{
    /* A removed directory stays open but has no files; this one is in every cgroup, v1 or v2. */
    return faccessat(chain->levels[0].dirfd, "cgroup.procs", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
           errno != ENOENT;
}

/* ---- control files ---- */

static guint monotonic_sec(void)
{
    return (guint)(g_get_monotonic_time() / G_USEC_PER_SEC);
}

/* A file's name with the kernel's spelling of the huge page size ("64KB", "2MB", "1GB") for a "*".
 */
static void expand_name(const char *pattern, guint64 page_kb, char name[FILE_NAME_MAX])
{
    const char *star = strchr(pattern, '*');
    if (star == NULL) {
        g_strlcpy(name, pattern, FILE_NAME_MAX);
        return;
    }
    guint shift = page_kb >= 1 << 20 ? 20 : page_kb >= 1 << 10 ? 10 : 0;
    g_snprintf(name, FILE_NAME_MAX, "%.*s%" G_GUINT64_FORMAT "%cB%s", (int)(star - pattern),
               pattern, page_kb >> shift, "KMG"[shift / 10], star + 1);
}

static int open_file(PvChain *chain, guint level, guint file)
{
    char name[FILE_NAME_MAX];
    expand_name(chain->ops->file_names[file], atomic_load(&chain->huge_page_kb), name);
    int fd = openat(chain->levels[level].dirfd, name, FILE_FLAGS);
    return fd < 0 ? -errno : fd;
}

/* TRUE, for one of the threads that ask at the same time, when a missing file may have come to be.
 */
static gboolean may_retry(const PvChain *chain, PvControlFile *slot)
{
    if (chain->ops->missing_retry_sec == 0)
        return FALSE;
    guint now_sec = monotonic_sec();
    guint tried_sec = atomic_load(&slot->tried_sec);
    if (now_sec - tried_sec < chain->ops->missing_retry_sec)
        return FALSE;
    return atomic_compare_exchange_strong(&slot->tried_sec, &tried_sec, now_sec);
}

static void note_missing(PvControlFile *slot)
{
    int untried = PV_FILE_UNTRIED;
    atomic_store(&slot->tried_sec, monotonic_sec());
    atomic_compare_exchange_strong(&slot->fd, &untried, PV_FILE_MISSING);
}

/* A file that a level has not: either the controller is not enabled there, or the whole cgroup is
 * gone, which must not let an ancestor answer for it. */
static int missing_error(const PvChain *chain, guint level)
{
    return level == 0 && chain->n_levels > 0 && !pv_chain_alive(chain) ? -ENODEV : -ENOENT;
}

/* The control file's descriptor, opened at the first call. */
static int control_fd(PvChain *chain, guint level, guint file)
{
    PvControlFile *slot = &chain->levels[level].files[file];
    int seen = atomic_load(&slot->fd);
    if (seen >= 0)
        return seen;
    if (seen == PV_FILE_MISSING && !may_retry(chain, slot))
        return -ENOENT;

    int fd = open_file(chain, level, file);
    if (fd < 0 && fd != -ENOENT)
        return fd;
    if (fd < 0) {
        int rc = missing_error(chain, level);
        if (rc == -ENOENT)
            note_missing(slot);
        return rc;
    }
    while (!atomic_compare_exchange_weak(&slot->fd, &seen, fd)) {
        if (seen >= 0) { /* another thread was faster */
            close(fd);
            return seen;
        }
    }
    return fd;
}

/*
 * The file behind an open descriptor is gone: with its cgroup, or because the controller was
 * disabled (and perhaps enabled again: then a new file has the name).
 */
static ssize_t read_replaced(PvChain *chain, guint level, guint file, int fd, char *buf,
                             size_t size)
{
    int rc = missing_error(chain, level);
    if (rc != -ENOENT || !may_retry(chain, &chain->levels[level].files[file]))
        return rc;

    pv_autofd int fresh = open_file(chain, level, file);
    if (fresh < 0)
        return fresh;
    if (dup3(fresh, fd, O_CLOEXEC) < 0)
        return -errno;
    return pv_pread_text(fd, buf, size);
}

ssize_t pv_chain_read(PvChain *chain, guint level, guint file, char *buf, size_t size)
{
    int fd = control_fd(chain, level, file);
    if (fd < 0)
        return fd;
    ssize_t n = pv_pread_text(fd, buf, size);
    if (n == -ENODEV)
        n = read_replaced(chain, level, file, fd, buf, size);
    /* The kernel ends every line: a text that does not was cut. */
    if (n > 0 && buf[n - 1] != '\n')
        return -EINVAL;
    return n;
}

int pv_chain_read_large(PvChain *chain, guint level, guint file, char **ret_text)
{
    for (size_t size = PV_CONTROL_FILE_MAX; size <= PV_LARGE_FILE_MAX; size *= 4) {
        g_autofree char *text = g_malloc(size);
        ssize_t n = pv_chain_read(chain, level, file, text, size);
        if (n >= 0) {
            *ret_text = g_steal_pointer(&text);
            return 0;
        }
        if (n != -EFBIG)
            return (int)n;
    }
    return -EFBIG;
}

int pv_chain_number(PvChain *chain, guint level, guint file, guint64 *ret_value)
{
    char text[SMALL_FILE_MAX];
    ssize_t n = pv_chain_read(chain, level, file, text, sizeof text);
    if (n < 0)
        return (int)n;

    const char *p = text;
    guint64 value;
    if (!pv_parse_u64(&p, &value) || strcmp(p, "\n") != 0 || value > NUMBER_MAX)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

int pv_chain_nearest_number(PvChain *chain, guint file, guint *ret_level, guint64 *ret_value)
{
    for (guint level = 0; level < chain->n_levels; level++) {
        int rc = pv_chain_number(chain, level, file, ret_value);
        if (rc == 0)
            *ret_level = level;
        if (rc != -ENOENT)
            return rc;
    }
    return -ENOENT;
}

int pv_chain_limit(PvChain *chain, guint level, guint file, guint64 *ret_value)
{
    char text[SMALL_FILE_MAX];
    ssize_t n = pv_chain_read(chain, level, file, text, sizeof text);
    if (n < 0)
        return (int)n;
    return pv_parse_limit(text, ret_value) ? 0 : -EINVAL;
}

int pv_chain_min_limit(PvChain *chain, guint level, guint file, guint64 *ret_value)
{
    guint64 min = PV_UNLIMITED;
    for (; level < chain->n_levels; level++) {
        guint64 limit;
        int rc = pv_chain_limit(chain, level, file, &limit);
        if (rc == 0)
            min = MIN(min, limit);
        else if (rc != -ENOENT)
            return rc;
    }
    *ret_value = min;
    return 0;
}

int pv_chain_cpus(PvChain *chain, guint level, guint file, PvCpuSet *ret_cpus)
{
    /* The list of every other of PV_CPU_MAX CPUs. */
    char text[PV_CPU_MAX / 2 * 5 + 2];
    ssize_t n = pv_chain_read(chain, level, file, text, sizeof text);
    if (n < 0)
        return (int)n;
    return pv_cpu_set_parse_list(text, ret_cpus) ? 0 : -EINVAL;
}

int pv_memory_check(PvMemory *memory)
{
    for (guint i = 0; i < PV_MEMORY_STAT_COUNT; i++) {
        if (memory->stat[i] > NUMBER_MAX)
            memory->stat_valid[i / 64] &= ~(G_GUINT64_CONSTANT(1) << (i % 64));
    }
    return pv_bit(memory->stat_valid, PV_MEMORY_ANON) && pv_bit(memory->stat_valid, PV_MEMORY_FILE)
               ? 0
               : -EINVAL;
}

/* ---- cpu quota ---- */

gboolean pv_quota_is_tighter(guint64 quota_a, guint64 period_a, guint64 quota_b, guint64 period_b)
{
    if (quota_a == PV_UNLIMITED || quota_b == PV_UNLIMITED)
        return quota_a < quota_b;
    return (double)quota_a / (double)period_a < (double)quota_b / (double)period_b;
}

int pv_chain_quota(PvChain *chain, PvLevelQuotaFunc read_level, guint64 *ret_quota_usec,
                   guint64 *ret_period_usec)
{
    guint64 tightest_quota = PV_UNLIMITED, tightest_period = 100000; /* the kernel's default */
    guint tightest_level = 0;

    for (guint level = 0; level < chain->n_levels; level++) {
        guint64 quota, period;
        int rc = read_level(chain, level, &quota, &period);
        if (rc == -ENOENT)
            continue;
        if (rc < 0)
            return rc;
        if (pv_quota_is_tighter(quota, period, tightest_quota, tightest_period)) {
            tightest_quota = quota;
            tightest_period = period;
            tightest_level = level;
        }
    }
    atomic_store(&chain->quota_level, (int)tightest_level);
    *ret_quota_usec = tightest_quota;
    *ret_period_usec = tightest_period;
    return 0;
}

/* ---- huge pages ---- */

/* One number of a file of a huge page size, whether that size's files are kept open or not. */
static int read_huge(PvChain *chain, guint level, guint file, guint64 page_kb, guint64 *ret_value)
{
    guint64 kept_kb = 0;
    if (atomic_compare_exchange_strong(&chain->huge_page_kb, &kept_kb, page_kb) ||
        kept_kb == page_kb)
        return pv_chain_limit(chain, level, file, ret_value);

    char name[FILE_NAME_MAX], text[SMALL_FILE_MAX];
    expand_name(chain->ops->file_names[file], page_kb, name);
    ssize_t n = pv_read_text_at(chain->levels[level].dirfd, name, text, sizeof text);
    if (n < 0)
        return (int)n;
    return pv_parse_limit(text, ret_value) ? 0 : -EINVAL;
}

int pv_chain_hugetlb(PvChain *chain, guint64 page_kb, guint limit_file, guint usage_file,
                     PvHugetlb *ret_hugetlb)
{
    PvHugetlb hugetlb = {.limit_bytes = PV_UNLIMITED};
    int rc = -ENOENT;
    guint level;

    for (level = 0; level < chain->n_levels && rc == -ENOENT; level++)
        rc = read_huge(chain, level, usage_file, page_kb, &hugetlb.usage_bytes);
    if (rc < 0)
        return rc;
    if (hugetlb.usage_bytes == PV_UNLIMITED)
        return -EINVAL;

    for (level--; level < chain->n_levels; level++) {
        guint64 limit;
        rc = read_huge(chain, level, limit_file, page_kb, &limit);
        if (rc == 0)
            hugetlb.limit_bytes = MIN(hugetlb.limit_bytes, limit);
        else if (rc != -ENOENT)
            return rc;
    }
    *ret_hugetlb = hugetlb;
    return 0;
}
