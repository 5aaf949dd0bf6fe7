/*
 * CPU time on cgroup v1. cpuacct.usage and usage_percpu are exact; who used it, user or kernel,
 * is only sampled by ticks (usage_all, or cpuacct.stat before Linux 4.7), so that is taken as a
 * ratio.
 *
 * Documentation/admin-guide/cgroup-v1/cpuacct.rst; kernel/sched/cpuacct.c
 */
#include "v1.h"

#include <errno.h>
#include <string.h>

/* ---- the two tables of a line or number for each possible CPU, read side by side ---- */

typedef struct {
    const char *percpu; /* "NSEC NSEC …" */
    const char
        *all;      /* "ID USER SYSTEM" a line, behind a line of titles; NULL where there is none */
    guint next_id; /* where `all` does not tell the ids */
} CpuTable;

typedef struct {
    guint id;
    guint64 total_nsec, user_nsec, system_nsec;
} CpuRow;

static CpuTable cpu_table(const char *percpu, const char *all)
{
    CpuTable table = {.percpu = percpu, .all = all};
    if (all != NULL) {
        const char *titles_end = strchr(all, '\n');
        table.all = titles_end != NULL ? titles_end + 1 : "";
    }
    return table;
}

static gboolean parse_all_line(const char **cursor, guint64 *id, guint64 *user, guint64 *system)
{
    if (!pv_parse_u64(cursor, id) || !pv_parse_u64(cursor, user) || !pv_parse_u64(cursor, system) ||
        **cursor != '\n')
        return FALSE;
    (*cursor)++;
    return TRUE;
}

/* Returns 1 with a row, 0 at the end of both tables, -EINVAL when they do not fit together. */
static int next_row(CpuTable *table, CpuRow *ret_row)
{
    CpuRow row = {.id = table->next_id++};
    if (!pv_parse_u64(&table->percpu, &row.total_nsec)) {
        gboolean at_end = strspn(table->percpu, " \n") == strlen(table->percpu) &&
                          (table->all == NULL || *table->all == '\0');
        return at_end ? 0 : -EINVAL;
    }
    guint64 id = row.id;
    if (table->all != NULL && !parse_all_line(&table->all, &id, &row.user_nsec, &row.system_nsec))
        return -EINVAL;
    if (id >= PV_CPU_MAX)
        return -EINVAL;
    row.id = (guint)id;
    *ret_row = row;
    return 1;
}

static int count_cpus(const char *percpu, const char *all, guint *ret_count)
{
    CpuTable table = cpu_table(percpu, all);
    CpuRow row;
    int rc;
    guint count = 0;
    while ((rc = next_row(&table, &row)) > 0)
        count = MAX(count, row.id + 1);
    *ret_count = count;
    return rc < 0 || count > 0 ? rc : -EINVAL;
}

/* Fill cpu[] and add up the total; the sums of user and system are only of use as a ratio. */
static void fill_cpus(PvCpuUsage *usage, const char *percpu, const char *all, guint64 *ret_user,
                      guint64 *ret_system)
{
    CpuTable table = cpu_table(percpu, all);
    CpuRow row;
    *ret_user = *ret_system = 0;
    while (next_row(&table, &row) > 0) {
        usage->cpu[row.id].total_nsec = row.total_nsec;
        usage->cpu[row.id].user_nsec = row.user_nsec;
        usage->cpu[row.id].system_nsec = row.system_nsec;
        usage->total_nsec = pv_sat_add(usage->total_nsec, row.total_nsec);
        *ret_user = pv_sat_add(*ret_user, row.user_nsec);
        *ret_system = pv_sat_add(*ret_system, row.system_nsec);
    }
}

/* ---- totals ---- */

static void split_total(PvCpuUsage *usage, guint64 user, guint64 system)
{
    double sum = (double)user + (double)system;
    double part = sum > 0 ? (double)usage->total_nsec * ((double)system / sum) : 0;
    usage->system_nsec = part < (double)usage->total_nsec ? (guint64)part : usage->total_nsec;
    usage->user_nsec = usage->total_nsec - usage->system_nsec;
}

/* cpuacct.stat's ticks. */
static int read_stat_ratio(PvChain *chain, guint64 *ret_user, guint64 *ret_system)
{
    static const char *const KEYS[] = {"user", "system"};
    guint64 values[G_N_ELEMENTS(KEYS)] = {0}, valid[1] = {0};
    char text[256];
    ssize_t n = pv_chain_read(chain, 0, V1_CPUACCT_STAT, text, sizeof text);
    if (n < 0)
        return (int)n;
    pv_keys_parse(text, KEYS, G_N_ELEMENTS(KEYS), values, valid);
    *ret_user = values[0];
    *ret_system = values[1];
    return valid[0] == 3 ? 0 : -EINVAL;
}

static int read_total(PvChain *chain, PvCpuUsage **ret_usage)
{
    guint64 total_nsec;
    int rc = pv_chain_number(chain, 0, V1_CPUACCT_USAGE, &total_nsec);
    if (rc < 0)
        return rc;
    PvCpuUsage *usage = g_malloc0(sizeof *usage);
    usage->total_nsec = usage->user_nsec = total_nsec;
    *ret_usage = usage;
    return 0;
}

/* With the CPUs, the total is their sum, as the kernel computes cpuacct.usage too: then the parts
 * and the whole are of the same moment. */
static int read_table(PvChain *chain, PvCpuUsage **ret_usage)
{
    g_autofree char *percpu = NULL;
    g_autofree char *all = NULL;
    int rc = pv_chain_read_large(chain, 0, V1_CPUACCT_PERCPU, &percpu);
    if (rc < 0)
        return rc;
    rc = pv_chain_read_large(chain, 0, V1_CPUACCT_ALL, &all);
    if (rc < 0 && rc != -ENOENT)
        return rc;

    guint n_cpus;
    rc = count_cpus(percpu, all, &n_cpus);
    if (rc < 0)
        return rc;
    g_autofree PvCpuUsage *usage = g_malloc0(sizeof *usage + n_cpus * sizeof usage->cpu[0]);
    usage->n_cpus = n_cpus;

    guint64 user, system;
    fill_cpus(usage, percpu, all, &user, &system);
    if (all == NULL) {
        rc = read_stat_ratio(chain, &user, &system);
        if (rc < 0)
            return rc;
    }
    split_total(usage, user, system);
    *ret_usage = g_steal_pointer(&usage);
    return 0;
}

int pv_v1_read_cpu_usage(PvChain *chain, gboolean want_cpus, PvCpuUsage **ret_usage,
                         gboolean *ret_has_throttled, guint64 *ret_throttled_nsec)
{
    (void)ret_throttled_nsec; /* cpu.stat is the cpu controller's */
    *ret_has_throttled = FALSE;
    if (want_cpus) {
        int rc = read_table(chain, ret_usage);
        if (rc != -ENOENT)
            return rc;
    }
    return read_total(chain, ret_usage);
}

int pv_v1_read_throttled(PvChain *chain, guint level, guint64 *ret_nsec)
{
    static const char *const KEYS[] = {"throttled_time"};
    guint64 nsec = 0, valid = 0;
    char text[1024];
    ssize_t n = pv_chain_read(chain, level, V1_CPU_STAT, text, sizeof text);
    if (n < 0)
        return (int)n;
    pv_keys_parse(text, KEYS, G_N_ELEMENTS(KEYS), &nsec, &valid);
    if (valid == 0)
        return -EINVAL;
    *ret_nsec = nsec;
    return 0;
}
