/*
 * One cgroup in every hierarchy, and the functions that the rest of procview calls. What v1
 * and v2 do differently is behind each chain's table of functions.
 */
#include "internal.h"

#include "procview/error.h"

#include <errno.h>
#include <string.h>

static const PvCgroupOps *ops_of_version(int version)
{
    return version == 1 ? &pv_cgroup_v1 : &pv_cgroup_v2;
}

/* The chain that is open already for the same directory, or NULL: controllers share hierarchies. */
static PvChain *find_chain(PvCgroup *cgroup, const PvHierarchy *hierarchy, const char *path)
{
    for (guint i = 0; i < cgroup->n_chains; i++) {
        PvChain *chain = &cgroup->chains[i];
        if (chain->hierarchy == hierarchy && strcmp(chain->path, path) == 0)
            return chain;
    }
    return NULL;
}

static PvChain *add_chain(PvCgroup *cgroup, const PvHierarchy *hierarchy, const char *path,
                          GError **error)
{
    PvChain *chain = &cgroup->chains[cgroup->n_chains++];
    chain->hierarchy = hierarchy;
    chain->ops = ops_of_version(hierarchy->version);
    chain->path = g_strdup(path);
    int rc = pv_chain_open(chain);
    if (rc < 0) {
        pv_error_set_errno(error, -rc, "cannot open cgroup %s of %s", path, hierarchy->mount_point);
        return NULL;
    }
    return chain;
}

/*
 * Membership is read in one hierarchy for all containers; for one that has no cgroup of its own in
 * it (a process put into cgroups of memory and cpu by hand), in the first that has.
 */
static void choose_tasks_chain(PvCgroup *cgroup)
{
    PvChain **tasks = &cgroup->controller[PV_CONTROLLER_TASKS];

    for (guint i = 0; i < cgroup->n_chains && (*tasks == NULL || (*tasks)->n_levels == 0); i++) {
        if (cgroup->chains[i].n_levels > 0)
            *tasks = &cgroup->chains[i];
    }
}

PvCgroup *pv_cgroup_open(PvHierarchies *hierarchies, const PvCgroupPaths *paths, GError **error)
{
    g_autoptr(PvCgroup) cgroup = g_new0(PvCgroup, 1);
    g_atomic_ref_count_init(&cgroup->refs);
    cgroup->hierarchies = pv_hierarchies_ref(hierarchies);

    for (guint c = 0; c < PV_CONTROLLER_COUNT; c++) {
        const PvHierarchy *hierarchy = hierarchies->controller[c];
        const char *path = paths->path[c];
        if (hierarchy == NULL || path == NULL)
            continue;
        PvChain *chain = find_chain(cgroup, hierarchy, path);
        if (chain == NULL)
            chain = add_chain(cgroup, hierarchy, path, error);
        if (chain == NULL)
            return NULL;
        cgroup->controller[c] = chain;
    }
    choose_tasks_chain(cgroup);
    return g_steal_pointer(&cgroup);
}

PvCgroup *pv_cgroup_ref(PvCgroup *cgroup)
{
    g_atomic_ref_count_inc(&cgroup->refs);
    return cgroup;
}

void pv_cgroup_unref(PvCgroup *cgroup)
{
    if (cgroup == NULL || !g_atomic_ref_count_dec(&cgroup->refs))
        return;
    for (guint i = 0; i < cgroup->n_chains; i++)
        pv_chain_clear(&cgroup->chains[i]);
    pv_hierarchies_unref(cgroup->hierarchies);
    g_free(cgroup);
}

const char *pv_cgroup_path(const PvCgroup *cgroup, PvController controller)
{
    const PvChain *chain = cgroup->controller[controller];
    return chain != NULL ? chain->path : NULL;
}

gboolean pv_cgroup_is_root(const PvCgroup *cgroup, PvController controller)
{
    const PvChain *chain = cgroup->controller[controller];
    return chain == NULL || chain->n_levels == 0;
}

int pv_cgroup_dirfd(const PvCgroup *cgroup, PvController controller)
{
    const PvChain *chain = cgroup->controller[controller];
    return chain != NULL ? chain->levels[0].dirfd : -1;
}

/* The chain of a controller that accounts for this cgroup, or NULL. */
static PvChain *accounting_chain(PvCgroup *cgroup, PvController controller)
{
    PvChain *chain = cgroup->controller[controller];
    return chain != NULL && chain->n_levels > 0 ? chain : NULL;
}

/* What a missing file means to the caller: nothing is accounted. */
static int public_error(int rc)
{
    return rc == -ENOENT || rc == -EOPNOTSUPP ? -ENODATA : rc;
}

int pv_cgroup_read_memory(PvCgroup *cgroup, gboolean want_swap, PvMemory *ret_memory)
{
    PvChain *chain = accounting_chain(cgroup, PV_CONTROLLER_MEMORY);
    if (chain == NULL)
        return -ENODATA;
    return public_error(chain->ops->read_memory(chain, want_swap, ret_memory));
}

int pv_cgroup_read_cpu_limits(PvCgroup *cgroup, PvCpuLimits *ret_limits)
{
    guint64 quota = PV_UNLIMITED, period = 100000;
    PvChain *cpu = accounting_chain(cgroup, PV_CONTROLLER_CPU);
    if (cpu != NULL) {
        int rc = cpu->ops->read_quota(cpu, &quota, &period);
        if (rc < 0)
            return rc;
    }

    /* The root's cpuset speaks too: it is where empty ones inherit from. */
    PvChain *cpuset = cgroup->controller[PV_CONTROLLER_CPUSET];
    int rc = cpuset != NULL ? cpuset->ops->read_cpus(cpuset, &ret_limits->effective_cpus) : -ENOENT;
    if (rc < 0 && rc != -ENOENT)
        return rc;
    ret_limits->has_cpus = rc == 0;
    if (!ret_limits->has_cpus)
        pv_cpu_set_clear(&ret_limits->effective_cpus);
    ret_limits->quota_usec = quota;
    ret_limits->period_usec = period;
    return 0;
}

/* The level whose throttled time counts. Reading the limits keeps it up to date; it is only looked
 * for here when that has not happened yet. */
static int quota_level(PvChain *chain, guint *ret_level)
{
    int level = atomic_load(&chain->quota_level);
    if (level < 0) {
        guint64 quota, period;
        int rc = chain->ops->read_quota(chain, &quota, &period);
        if (rc < 0)
            return rc;
        level = atomic_load(&chain->quota_level);
    }
    *ret_level = (guint)level;
    return 0;
}

/* own_nsec: what the file that told the usage says, or NULL when it does not tell. */
static int read_throttled(PvCgroup *cgroup, const guint64 *own_nsec, PvCpuUsage *usage)
{
    PvChain *chain = accounting_chain(cgroup, PV_CONTROLLER_CPU);
    if (chain == NULL)
        return 0;

    guint level;
    int rc = quota_level(chain, &level);
    if (rc < 0)
        return rc;
    usage->throttled_level = level;
    if (level == 0 && own_nsec != NULL && chain == cgroup->controller[PV_CONTROLLER_CPUACCT]) {
        usage->throttled_nsec = *own_nsec;
        return 0;
    }
    rc = chain->ops->read_throttled(chain, level, &usage->throttled_nsec);
    return rc == -ENOENT ? 0 : rc;
}

int pv_cgroup_read_cpu_usage(PvCgroup *cgroup, PvCpuUsageDetail detail, PvCpuUsage **ret_usage)
{
    PvChain *chain = accounting_chain(cgroup, PV_CONTROLLER_CPUACCT);
    if (chain == NULL)
        return -ENODATA;

    g_autofree PvCpuUsage *usage = NULL;
    gboolean has_own = FALSE;
    guint64 own_nsec = 0;
    int rc =
        chain->ops->read_cpu_usage(chain, detail == PV_CPU_USAGE_CPUS, &usage, &has_own, &own_nsec);
    if (rc == 0 && detail >= PV_CPU_USAGE_THROTTLED)
        rc = read_throttled(cgroup, has_own ? &own_nsec : NULL, usage);
    if (rc < 0)
        return public_error(rc);
    *ret_usage = g_steal_pointer(&usage);
    return 0;
}

int pv_cgroup_read_io(PvCgroup *cgroup, GArray *devices)
{
    PvChain *chain = accounting_chain(cgroup, PV_CONTROLLER_IO);
    if (chain == NULL)
        return -ENODATA;

    guint first = devices->len;
    int rc = chain->ops->read_io(chain, devices);
    if (rc < 0)
        g_array_set_size(devices, first);
    else
        pv_io_drop_idle(devices, first);
    return public_error(rc);
}

int pv_cgroup_read_pids(PvCgroup *cgroup, PvPids *ret_pids)
{
    PvChain *chain = accounting_chain(cgroup, PV_CONTROLLER_PIDS);
    if (chain == NULL)
        return -ENODATA;
    return public_error(chain->ops->read_pids(chain, ret_pids));
}

int pv_cgroup_read_hugetlb(PvCgroup *cgroup, guint64 page_kb, PvHugetlb *ret_hugetlb)
{
    PvChain *chain = accounting_chain(cgroup, PV_CONTROLLER_HUGETLB);
    if (chain == NULL)
        return -ENODATA;
    if (page_kb == 0)
        return -EINVAL;
    return public_error(chain->ops->read_hugetlb(chain, page_kb, ret_hugetlb));
}

int pv_cgroup_read_pressure(PvCgroup *cgroup, PvPressureKind kind, PvPressure *ret_pressure)
{
    PvChain *chain = accounting_chain(cgroup, PV_CONTROLLER_PRESSURE);
    if (chain == NULL || chain->ops->read_pressure == NULL)
        return -ENODATA;
    return public_error(chain->ops->read_pressure(chain, kind, ret_pressure));
}
