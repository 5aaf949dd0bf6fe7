/*
 * From a thread to its container. What is cached costs four system calls; the rest of this file is
 * what happens when it is not, when init has moved, and when a container has ended.
 */
#include "internal.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* A sweep walks over all state files and all of /proc. */
#define SWEEP_INTERVAL_USEC (60 * G_USEC_PER_SEC)

/* ---- making the cache ---- */

static guint count_cpus(const PvHost *host)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree PvCpuSet *possible = g_new0(PvCpuSet, 1);
    long configured;

    if (pv_host_read(host, PV_HOST_CPU_POSSIBLE, text) == 0 &&
        pv_cpu_set_parse_list(text->str, possible) && pv_cpu_set_count(possible) > 0)
        return (guint)pv_cpu_set_nth(possible, pv_cpu_set_count(possible) - 1) + 1;
    configured = sysconf(_SC_NPROCESSORS_CONF);
    return configured > 0 ? (guint)configured : 1;
}

static char *read_boot_id(const PvVantage *vantage)
{
    char text[64];

    if (pv_read_text_at(vantage->procfs, "sys/kernel/random/boot_id", text, sizeof(text)) < 0)
        return g_strdup("");
    return g_strdup(g_strstrip(text));
}

static int open_state_dir(const char *path, gboolean is_writable)
{
    int fd;

    if (path == NULL)
        return -1;
    if (is_writable)
        g_mkdir_with_parents(path, 0700);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && is_writable)
        pv_log_warning("cannot open %s: %s; CPU time and load will not outlive this process", path,
                       g_strerror(errno));
    return fd;
}

static void remove_state(PvContainers *containers, PvContainer *container)
{
    if (containers->state_dirfd >= 0 && containers->is_writable)
        unlinkat(containers->state_dirfd, container->priv->state_name, 0);
}

/*
 * Pushed out of the cache. Its file lets it go on where it was when it comes back, and is swept
 * away once its pid namespace is gone. In our own nothing would ever say so: whoever makes cgroups
 * there could fill the file system.
 */
static void on_evicted(PvContainer *container, gpointer data)
{
    PvContainers *containers = data;

    if (container->is_host_pidns)
        remove_state(containers, container);
    else
        g_atomic_int_set(&containers->sweep_wanted, 1);
}

static guint max_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > G_MAXINT)
        return 0;
    return (guint)limit.rlim_cur;
}

static PvContainers *containers_new(PvHost *host, PvHierarchies *hierarchies, const char *state_dir,
                                    gboolean is_writable)
{
    PvContainers *containers = g_new0(PvContainers, 1);
    g_autoptr(GError) error = NULL;

    if (!pv_vantage_init(&containers->vantage, host, hierarchies, &error))
        pv_log_error("%s: no caller can be told from another", error->message);
    pv_hierarchies_ref(hierarchies);
    containers->cache = pv_cache_new(containers->vantage.pidns_ino);
    pv_cache_set_evicted_func(containers->cache, on_evicted, containers);
    containers->n_files_max = max_files();
    containers->sweep_wanted = 1;
    containers->n_cpus = count_cpus(host);
    containers->boot_id = read_boot_id(&containers->vantage);
    containers->is_writable = is_writable;
    containers->state_dirfd = open_state_dir(state_dir, is_writable);
    return containers;
}

PvContainers *pv_containers_new(PvHost *host, PvHierarchies *hierarchies, const char *state_dir)
{
    return containers_new(host, hierarchies, state_dir, TRUE);
}

PvContainers *pv_containers_new_read_only(PvHost *host, PvHierarchies *hierarchies,
                                          const char *state_dir)
{
    return containers_new(host, hierarchies, state_dir, FALSE);
}

void pv_containers_free(PvContainers *containers)
{
    if (containers == NULL)
        return;
    pv_cache_free(containers->cache);
    pv_hierarchies_unref(containers->vantage.hierarchies);
    pv_clear_fd(&containers->state_dirfd);
    g_free(containers->boot_id);
    g_free(containers);
}

/* ---- making a container ---- */

/* The cgroup that tells most about who made the container comes first. */
static const PvController naming_order[] = {
    PV_CONTROLLER_TASKS, PV_CONTROLLER_MEMORY,  PV_CONTROLLER_CPU,
    PV_CONTROLLER_PIDS,  PV_CONTROLLER_CPUACCT, PV_CONTROLLER_CPUSET,
    PV_CONTROLLER_IO,    PV_CONTROLLER_HUGETLB, PV_CONTROLLER_PRESSURE,
};

/* The first cgroup path that a known manager made, else the first that is not the root. */
static gboolean find_name(const PvCgroupPaths *paths, PvNameWhich which, PvName *ret_name)
{
    *ret_name = (PvName){.manager = ""};
    for (guint i = 0; i < G_N_ELEMENTS(naming_order); i++) {
        const char *path = paths->path[naming_order[i]];
        g_auto(PvName) name = {.manager = ""};

        if (path == NULL || !pv_name_parse(path, which, &name))
            continue;
        if (ret_name->name != NULL && name.manager[0] == '\0')
            continue;
        pv_name_clear(ret_name);
        *ret_name = name;
        name = (PvName){.manager = ""};
        if (ret_name->manager[0] != '\0')
            break;
    }
    return ret_name->name != NULL;
}

/* A nested pid namespace can give itself any cgroup name below its container's: the pid tells it
 * from the real one. */
static void set_naming(PvContainer *container, const PvCgroupPaths *paths)
{
    const PvPidns *pidns = container->priv->pidns;
    gboolean is_nested = pidns != NULL && pidns->is_nested;
    PvName *naming = &container->priv->naming;

    if (!find_name(paths, is_nested ? PV_NAME_INNERMOST : PV_NAME_OUTERMOST, naming)) {
        naming->name =
            pidns == NULL ? g_strdup("host") : g_strdup_printf("pid-%d", (int)pidns->init_pid);
    } else if (is_nested) {
        g_autofree char *name = g_steal_pointer(&naming->name);

        naming->name = g_strdup_printf("%s-%d", name, (int)pidns->init_pid);
    }
    container->manager = g_strdup(naming->manager);
}

/* A service's cgroup is made anew under the same path at each start: the directories' inodes tell
 * the incarnations apart. */
static void append_inodes(const PvCgroup *cgroup, GString *text)
{
    for (PvController i = 0; i < PV_CONTROLLER_COUNT; i++) {
        int fd = pv_cgroup_is_root(cgroup, i) ? -1 : pv_cgroup_dirfd(cgroup, i);
        struct stat st;

        if (fd >= 0 && fstat(fd, &st) == 0)
            g_string_append_printf(text, "\n%" G_GUINT64_FORMAT, (guint64)st.st_ino);
    }
}

static void set_ids(PvContainer *container, const char *boot_id)
{
    struct PvContainerPrivate *priv = container->priv;
    g_autoptr(GString) text = g_string_new(priv->identity);
    g_autofree char *digest = NULL;

    g_string_append_printf(text, "\n%s\n%" G_GUINT64_FORMAT, boot_id,
                           priv->pidns == NULL ? 0 : priv->pidns->init_start_ticks);
    append_inodes(container->cgroup, text);
    digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text->str, (gssize)text->len);
    priv->state_name = g_strdup_printf("%" G_GUINT64_FORMAT "-%.32s", container->pidns_ino, digest);
    digest[8] = '\0';
    container->id = (guint32)g_ascii_strtoull(digest, NULL, 16) & PV_CONTAINER_ID_MASK;
}

static void set_init(PvContainer *container, PvPidns *pidns, const PvPlacement *placement,
                     const PvCgroupPaths *paths)
{
    container->priv->pidns = pv_pidns_ref(pidns);
    container->priv->is_of_init = pv_cgroup_paths_equal(&placement->root, paths);
    container->init_pid = pidns->init_pid;
    container->init_start_nsec = pidns->init_start_nsec;
    container->has_time_offset = placement->has_time_offset;
    container->time_offset_nsec = placement->time_offset_nsec;
}

/* pidns, placement  NULL in our own pid namespace; identity is taken over */
static PvContainer *container_new(PvContainers *containers, guint64 pidns_ino, PvPidns *pidns,
                                  const PvPlacement *placement, const PvCgroupPaths *paths,
                                  char *identity, GError **error)
{
    const PvVantage *vantage = &containers->vantage;
    g_autoptr(PvContainer) container = pv_container_alloc();
    gboolean is_host;

    container->priv->identity = identity;
    container->pidns_ino = pidns_ino;
    container->owner_ino = pidns == NULL ? pidns_ino : pidns->owner_ino;
    container->is_host_pidns = pidns == NULL;
    container->init_pid = 1;
    if (pidns != NULL)
        set_init(container, pidns, placement, paths);

    container->cgroup = pv_cgroup_open(vantage->hierarchies, paths, error);
    if (container->cgroup == NULL)
        return NULL;
    set_naming(container, paths);
    set_ids(container, containers->boot_id);
    is_host = pv_container_is_host(container); /* shown the kernel's own figures: nothing to keep */
    container->account = pv_account_new(containers->n_cpus, pv_host_ticks_per_second(vantage->host),
                                        is_host ? -1 : containers->state_dirfd,
                                        container->priv->state_name, containers->is_writable);
    return g_steal_pointer(&container);
}

/* ---- finding ---- */

/* Read where init is now; when it has moved, forget what followed from its old place. */
static PvPlacement *refresh(PvContainers *containers, PvPidns *pidns, GError **error)
{
    gboolean moved = FALSE;
    PvPlacement *placement = pv_pidns_refresh(&containers->vantage, pidns, &moved, error);
    g_autoptr(GPtrArray) removed = NULL;

    if (!moved)
        return placement;
    removed = pv_cache_forget_placement(containers->cache, pidns, placement);
    for (guint i = 0; i < removed->len; i++)
        remove_state(containers, g_ptr_array_index(removed, i));
    return placement;
}

/* TRUE when a container found by its text may be used: its init has not moved, as far as was looked
 * lately. */
static gboolean is_fresh(PvContainers *containers, PvContainer *container)
{
    PvPidns *pidns = container->priv->pidns;
    g_autoptr(PvPlacement) before = NULL;
    g_autoptr(PvPlacement) now = NULL;

    if (pidns == NULL || !pv_pidns_is_check_due(pidns))
        return TRUE;
    before = pv_pidns_placement(pidns);
    now = refresh(containers, pidns, NULL);
    return now == before;
}

static PvPidns *get_pidns(PvContainers *containers, pid_t tid, guint64 ino,
                          const PvCgroupPaths *caller, GError **error)
{
    g_autoptr(PvPidns) pidns = pv_cache_lookup_pidns(containers->cache, ino);

    if (pidns != NULL)
        return g_steal_pointer(&pidns);
    pidns = pv_pidns_open(&containers->vantage, tid, ino, caller, error);
    return pidns == NULL ? NULL : pv_cache_add_pidns(containers->cache, pidns);
}

/* The kernel hands out the lowest descriptor that is free: a high one tells that few are left.
 * Those of one owner are given back before all the others' containers can be read no more. */
static void keep_descriptors_in_reserve(PvContainers *containers, const PvContainer *container)
{
    int fd = pv_cgroup_dirfd(container->cgroup, PV_CONTROLLER_TASKS);

    if (containers->n_files_max > 0 && fd >= (int)(containers->n_files_max / 4 * 3))
        pv_cache_shrink_largest(containers->cache);
}

/* The container of a pid namespace and a caller's cgroups, cached from now on under `text`. */
static PvContainer *get_container(PvContainers *containers, guint64 ino, PvPidns *pidns,
                                  const PvCgroupPaths *own, const char *text, GError **error)
{
    g_auto(PvCgroupPaths) paths = {0};
    g_autoptr(PvPlacement) placement = NULL;
    g_autoptr(PvContainer) container = NULL;
    g_autofree char *identity = NULL;

    if (pidns != NULL && (placement = refresh(containers, pidns, error)) == NULL)
        return NULL;
    pv_placement_choose(placement == NULL ? NULL : &placement->root, own, &paths);
    identity = pv_container_identity(ino, placement, &paths);
    container = pv_cache_lookup_identity(containers->cache, identity);
    if (container == NULL) {
        container = container_new(containers, ino, pidns, placement, &paths,
                                  g_steal_pointer(&identity), error);
        if (container == NULL)
            return NULL;
        keep_descriptors_in_reserve(containers, container);
    }
    return pv_cache_insert(containers->cache, container, text,
                           placement == NULL ? 0 : placement->generation);
}

static PvContainer *resolve(PvContainers *containers, pid_t tid, guint64 ino, const char *text,
                            GError **error)
{
    g_auto(PvCgroupPaths) own = {0};
    g_autoptr(PvPidns) pidns = NULL;
    PvContainer *container;

    if (!pv_cgroup_paths_parse(containers->vantage.hierarchies, text, &own, error)) {
        g_prefix_error(error, "cgroups of process %d: ", (int)tid);
        return NULL;
    }
    if (ino != containers->vantage.pidns_ino) {
        pidns = get_pidns(containers, tid, ino, &own, error);
        if (pidns == NULL)
            return NULL;
    }
    container = get_container(containers, ino, pidns, &own, text, error);
    if (container == NULL) {
        g_prefix_error(error, "container of process %d: ", (int)tid);
        if (pidns != NULL)
            pv_cache_release_pidns(containers->cache, pidns);
    }
    return container;
}

PvContainer *pv_containers_find(PvContainers *containers, pid_t tid, GError **error)
{
    char text[PV_CGROUP_TEXT_MAX];
    PvContainer *container;
    guint64 ino;
    ssize_t r;

    if (tid <= 0) {
        pv_error_set(error, PV_ERROR_NOT_FOUND, "the process is not visible in our pid namespace");
        return NULL;
    }
    if (containers->vantage.pidns_ino == 0) {
        pv_error_set(error, PV_ERROR_FAILED, "our own pid namespace is not known");
        return NULL;
    }
    r = pv_identify_pidns(&containers->vantage, tid, &ino);
    if (r < 0) {
        pv_error_set_errno(error, (int)-r, "cannot read the pid namespace of process %d", (int)tid);
        return NULL;
    }
    r = pv_identify_cgroup_text(&containers->vantage, tid, text, sizeof(text));
    if (r < 0) {
        pv_error_set_errno(error, r == -ENOENT ? ESRCH : (int)-r,
                           "cannot read the cgroups of process %d", (int)tid);
        return NULL;
    }

    container = pv_cache_lookup(containers->cache, ino, text);
    if (container != NULL) {
        if (is_fresh(containers, container))
            return container;
        pv_container_unref(container);
    }
    return resolve(containers, tid, ino, text, error);
}

char *pv_container_root_text(PvContainer *container, guint64 *ret_init_start_ticks)
{
    g_autoptr(PvPlacement) placement = NULL;

    if (container->priv->pidns == NULL)
        return NULL;
    placement = pv_pidns_placement(container->priv->pidns);
    *ret_init_start_ticks = container->priv->pidns->init_start_ticks;
    return g_strdup(placement->root_text);
}

GPtrArray *pv_containers_list(PvContainers *containers)
{
    return pv_cache_list(containers->cache);
}

/* ---- ending ---- */

void pv_containers_drop(PvContainers *containers, PvContainer *container)
{
    g_atomic_int_set(&container->priv->is_gone, 1);
    if (pv_cache_remove(containers->cache, container))
        remove_state(containers, container);
}

/* A removed cgroup's directory has no files any more. The root cannot be removed. */
static gboolean is_cgroup_gone(const PvContainer *container)
{
    for (guint i = 0; i < G_N_ELEMENTS(naming_order); i++) {
        int fd = pv_cgroup_dirfd(container->cgroup, naming_order[i]);

        if (fd >= 0 && !pv_cgroup_is_root(container->cgroup, naming_order[i]))
            return faccessat(fd, "cgroup.procs", F_OK, 0) < 0 &&
                   (errno == ENOENT || errno == ENODEV);
    }
    return FALSE;
}

/* The pid namespaces whose init has ended: a set of PvPidns, alive as long as `list`. */
static GHashTable *find_dead(GPtrArray *list)
{
    GHashTable *dead = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) pidns = g_ptr_array_new();
    g_autofree gboolean *is_dead = NULL;

    for (guint i = 0; i < list->len; i++) {
        PvContainer *container = g_ptr_array_index(list, i);

        if (container->priv->pidns != NULL && g_hash_table_add(seen, container->priv->pidns))
            g_ptr_array_add(pidns, container->priv->pidns);
    }
    is_dead = g_new0(gboolean, pidns->len + 1);
    pv_pidns_poll((PvPidns *const *)pidns->pdata, pidns->len, is_dead);
    for (guint i = 0; i < pidns->len; i++) {
        if (is_dead[i])
            g_hash_table_add(dead, g_ptr_array_index(pidns, i));
    }
    return dead;
}

static gboolean note_pidns(pid_t pid, gpointer data)
{
    gpointer *pair = data;
    guint64 ino;

    if (pv_identify_pidns(pair[0], pid, &ino) == 0)
        g_hash_table_add(pair[1], g_memdup2(&ino, sizeof(ino)));
    return TRUE;
}

static GPtrArray *list_state_files(int state_dirfd)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    int fd = openat(state_dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (dir == NULL) {
        pv_clear_fd(&fd);
        return names;
    }
    while ((entry = readdir(dir)) != NULL)
        g_ptr_array_add(names, g_strdup(entry->d_name));
    closedir(dir);
    return names;
}

static gboolean is_sweep_due(PvContainers *containers)
{
    gint64 now_usec = g_get_monotonic_time();

    if (containers->state_dirfd < 0 || !containers->is_writable ||
        (containers->swept_usec != 0 && now_usec - containers->swept_usec < SWEEP_INTERVAL_USEC) ||
        !g_atomic_int_compare_and_exchange(&containers->sweep_wanted, 1, 0))
        return FALSE;
    containers->swept_usec = now_usec;
    return TRUE;
}

/* Those in our own pid namespace stay until they are dropped. */
static guint count_cached_elsewhere(const PvContainers *containers)
{
    g_autoptr(GPtrArray) list = pv_cache_list(containers->cache);
    guint n = 0;

    for (guint i = 0; i < list->len; i++)
        n += !((const PvContainer *)g_ptr_array_index(list, i))->is_host_pidns;
    return n;
}

/* Remove the state files of containers that ended unnoticed. The files are listed before the
 * processes are: whoever has one of them is seen. */
static void sweep_state(PvContainers *containers)
{
    g_autoptr(GPtrArray) names = NULL;
    g_autoptr(GHashTable) alive = NULL;
    gpointer pair[2];
    guint n_kept = 0;

    if (!is_sweep_due(containers))
        return;
    names = list_state_files(containers->state_dirfd);
    alive = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    pair[0] = &containers->vantage;
    pair[1] = alive;
    pv_identify_foreach_process(&containers->vantage, note_pidns, pair);

    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        char *end;
        guint64 ino = g_ascii_strtoull(name, &end, 10);

        if (end == name || *end != '-' || ino == containers->vantage.pidns_ino)
            continue;
        if (g_hash_table_contains(alive, &ino))
            n_kept++;
        else
            unlinkat(containers->state_dirfd, name, 0);
    }
    /* Some are of containers that live, but are not cached: nobody will notice their end either. */
    if (n_kept > count_cached_elsewhere(containers))
        g_atomic_int_set(&containers->sweep_wanted, 1);
}

void pv_containers_collect_garbage(PvContainers *containers)
{
    g_autoptr(GPtrArray) list = pv_cache_list(containers->cache);
    g_autoptr(GHashTable) dead = find_dead(list);

    for (guint i = 0; i < list->len; i++) {
        PvContainer *container = g_ptr_array_index(list, i);

        if ((container->priv->pidns != NULL &&
             g_hash_table_contains(dead, container->priv->pidns)) ||
            (containers->vantage.is_live && is_cgroup_gone(container)))
            pv_containers_drop(containers, container);
    }
    sweep_state(containers);
}
