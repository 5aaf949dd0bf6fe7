/*
 * The control files of cgroup v2. A controller that is not enabled in a cgroup accounts for it in
 * the nearest ancestor where it is, so most readers look for that one first.
 *
 * Documentation/admin-guide/cgroup-v2.rst, Documentation/accounting/psi.rst
 */
#include "internal.h"

#include "procview/file.h"

#include <errno.h>
#include <string.h>

typedef enum {
    V2_MEMORY_STAT,
    V2_MEMORY_CURRENT,
    V2_MEMORY_MAX,
    V2_MEMORY_HIGH,
    V2_SWAP_CURRENT,
    V2_SWAP_MAX,
    V2_CPU_MAX,
    V2_CPU_STAT,
    V2_CPUSET_EFFECTIVE,
    V2_IO_STAT,
    V2_PIDS_MAX,
    V2_PIDS_CURRENT,
    V2_HUGETLB_MAX,
    V2_HUGETLB_CURRENT,
    V2_PRESSURE_FIRST, /* in the order of PvPressureKind */
    V2_FILE_COUNT = V2_PRESSURE_FIRST + 4
} V2File;

static const char *const FILE_NAMES[V2_FILE_COUNT] = {
    [V2_MEMORY_STAT] = "memory.stat",
    [V2_MEMORY_CURRENT] = "memory.current",
    [V2_MEMORY_MAX] = "memory.max",
    [V2_MEMORY_HIGH] = "memory.high",
    [V2_SWAP_CURRENT] = "memory.swap.current",
    [V2_SWAP_MAX] = "memory.swap.max",
    [V2_CPU_MAX] = "cpu.max",
    [V2_CPU_STAT] = "cpu.stat",
    [V2_CPUSET_EFFECTIVE] = "cpuset.cpus.effective",
    [V2_IO_STAT] = "io.stat",
    [V2_PIDS_MAX] = "pids.max",
    [V2_PIDS_CURRENT] = "pids.current",
    [V2_HUGETLB_MAX] = "hugetlb.*.max",
    [V2_HUGETLB_CURRENT] = "hugetlb.*.current",
    [V2_PRESSURE_FIRST + PV_PRESSURE_CPU] = "cpu.pressure",
    [V2_PRESSURE_FIRST + PV_PRESSURE_MEMORY] = "memory.pressure",
    [V2_PRESSURE_FIRST + PV_PRESSURE_IO] = "io.pressure",
    [V2_PRESSURE_FIRST + PV_PRESSURE_IRQ] = "irq.pressure",
};

/* ---- memory ---- */

static const char *const STAT_KEYS[PV_MEMORY_STAT_COUNT] = {
    [PV_MEMORY_ANON] = "anon",
    [PV_MEMORY_FILE] = "file",
    [PV_MEMORY_KERNEL_STACK] = "kernel_stack",
    [PV_MEMORY_PAGETABLES] = "pagetables",
    [PV_MEMORY_SEC_PAGETABLES] = "sec_pagetables",
    [PV_MEMORY_PERCPU] = "percpu",
    [PV_MEMORY_SHMEM] = "shmem",
    [PV_MEMORY_ZSWAP] = "zswap",
    [PV_MEMORY_ZSWAPPED] = "zswapped",
    [PV_MEMORY_FILE_MAPPED] = "file_mapped",
    [PV_MEMORY_FILE_DIRTY] = "file_dirty",
    [PV_MEMORY_FILE_WRITEBACK] = "file_writeback",
    [PV_MEMORY_SWAPCACHED] = "swapcached",
    [PV_MEMORY_ANON_THP] = "anon_thp",
    [PV_MEMORY_FILE_THP] = "file_thp",
    [PV_MEMORY_SHMEM_THP] = "shmem_thp",
    [PV_MEMORY_INACTIVE_ANON] = "inactive_anon",
    [PV_MEMORY_ACTIVE_ANON] = "active_anon",
    [PV_MEMORY_INACTIVE_FILE] = "inactive_file",
    [PV_MEMORY_ACTIVE_FILE] = "active_file",
    [PV_MEMORY_UNEVICTABLE] = "unevictable",
    [PV_MEMORY_SLAB_RECLAIMABLE] = "slab_reclaimable",
    [PV_MEMORY_SLAB_UNRECLAIMABLE] = "slab_unreclaimable",
    [PV_MEMORY_SLAB] = "slab",
    [PV_MEMORY_WORKINGSET_REFAULT_ANON] = "workingset_refault_anon",
    [PV_MEMORY_WORKINGSET_REFAULT_FILE] = "workingset_refault_file",
    [PV_MEMORY_WORKINGSET_ACTIVATE_ANON] = "workingset_activate_anon",
    [PV_MEMORY_WORKINGSET_ACTIVATE_FILE] = "workingset_activate_file",
    [PV_MEMORY_WORKINGSET_RESTORE_ANON] = "workingset_restore_anon",
    [PV_MEMORY_WORKINGSET_RESTORE_FILE] = "workingset_restore_file",
    [PV_MEMORY_WORKINGSET_NODERECLAIM] = "workingset_nodereclaim",
    [PV_MEMORY_PGSCAN] = "pgscan",
    [PV_MEMORY_PGSTEAL] = "pgsteal",
    [PV_MEMORY_PGSCAN_KSWAPD] = "pgscan_kswapd",
    [PV_MEMORY_PGSCAN_DIRECT] = "pgscan_direct",
    [PV_MEMORY_PGSCAN_KHUGEPAGED] = "pgscan_khugepaged",
    [PV_MEMORY_PGSTEAL_KSWAPD] = "pgsteal_kswapd",
    [PV_MEMORY_PGSTEAL_DIRECT] = "pgsteal_direct",
    [PV_MEMORY_PGSTEAL_KHUGEPAGED] = "pgsteal_khugepaged",
    [PV_MEMORY_PGSCAN_PROACTIVE] = "pgscan_proactive",
    [PV_MEMORY_PGSTEAL_PROACTIVE] = "pgsteal_proactive",
    [PV_MEMORY_PGDEMOTE_KSWAPD] = "pgdemote_kswapd",
    [PV_MEMORY_PGDEMOTE_DIRECT] = "pgdemote_direct",
    [PV_MEMORY_PGDEMOTE_KHUGEPAGED] = "pgdemote_khugepaged",
    [PV_MEMORY_PGDEMOTE_PROACTIVE] = "pgdemote_proactive",
    [PV_MEMORY_PGPROMOTE_SUCCESS] = "pgpromote_success",
    [PV_MEMORY_PGFAULT] = "pgfault",
    [PV_MEMORY_PGMAJFAULT] = "pgmajfault",
    [PV_MEMORY_PGREFILL] = "pgrefill",
    [PV_MEMORY_PGACTIVATE] = "pgactivate",
    [PV_MEMORY_PGDEACTIVATE] = "pgdeactivate",
    [PV_MEMORY_PGLAZYFREE] = "pglazyfree",
    [PV_MEMORY_PGLAZYFREED] = "pglazyfreed",
    [PV_MEMORY_PSWPIN] = "pswpin",
    [PV_MEMORY_PSWPOUT] = "pswpout",
    [PV_MEMORY_ZSWPIN] = "zswpin",
    [PV_MEMORY_ZSWPOUT] = "zswpout",
    [PV_MEMORY_ZSWPWB] = "zswpwb",
    [PV_MEMORY_THP_FAULT_ALLOC] = "thp_fault_alloc",
    [PV_MEMORY_THP_COLLAPSE_ALLOC] = "thp_collapse_alloc",
    [PV_MEMORY_THP_SWPOUT] = "thp_swpout",
    [PV_MEMORY_THP_SWPOUT_FALLBACK] = "thp_swpout_fallback",
    [PV_MEMORY_PGPGIN] = "", /* v1's alone */
    [PV_MEMORY_PGPGOUT] = "",
};

static int read_stat(PvChain *chain, guint level, PvMemory *memory)
{
    char text[PV_CONTROL_FILE_MAX];
    ssize_t n = pv_chain_read(chain, level, V2_MEMORY_STAT, text, sizeof text);
    if (n < 0)
        return (int)n;
    pv_keys_parse(text, STAT_KEYS, PV_MEMORY_STAT_COUNT, memory->stat, memory->stat_valid);
    return pv_memory_check(memory);
}

/* Without swap accounting (CONFIG_SWAP, swapaccount=0) the files are missing. */
static int read_swap(PvChain *chain, guint level, PvMemory *memory)
{
    int rc = pv_chain_number(chain, level, V2_SWAP_CURRENT, &memory->swap_usage_bytes);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return rc;
    memory->has_swap = TRUE;
    return pv_chain_min_limit(chain, level, V2_SWAP_MAX, &memory->swap_limit_bytes);
}

static int read_memory(PvChain *chain, gboolean want_swap, PvMemory *ret_memory)
{
    PvMemory memory = {.swap_limit_bytes = PV_UNLIMITED, .memsw_limit_bytes = PV_UNLIMITED};
    guint level;
    int rc = pv_chain_nearest_number(chain, V2_MEMORY_CURRENT, &level, &memory.usage_bytes);
    if (rc == 0)
        rc = pv_chain_min_limit(chain, level, V2_MEMORY_MAX, &memory.limit_bytes);
    if (rc == 0)
        rc = pv_chain_min_limit(chain, level, V2_MEMORY_HIGH, &memory.high_bytes);
    if (rc == 0)
        rc = read_stat(chain, level, &memory);
    if (rc == 0 && want_swap)
        rc = read_swap(chain, level, &memory);
    if (rc == 0)
        *ret_memory = memory;
    return rc;
}

/* ---- cpu, cpuset ---- */

/* "QUOTA PERIOD" or "max PERIOD" */
static int read_level_quota(PvChain *chain, guint level, guint64 *ret_quota_usec,
                            guint64 *ret_period_usec)
{
    char text[128];
    ssize_t n = pv_chain_read(chain, level, V2_CPU_MAX, text, sizeof text);
    if (n < 0)
        return (int)n;

    char *blank = strchr(text, ' ');
    if (blank == NULL)
        return -EINVAL;
    *blank = '\0';
    const char *p = blank + 1;
    guint64 quota, period;
    if (!pv_parse_limit(text, &quota) || !pv_parse_u64(&p, &period) || strcmp(p, "\n") != 0 ||
        period == 0)
        return -EINVAL;
    *ret_quota_usec = quota;
    *ret_period_usec = period;
    return 0;
}

static int read_quota(PvChain *chain, guint64 *ret_quota_usec, guint64 *ret_period_usec)
{
    return pv_chain_quota(chain, read_level_quota, ret_quota_usec, ret_period_usec);
}

static int read_cpus(PvChain *chain, PvCpuSet *ret_cpus)
{
    for (guint level = 0; level <= chain->n_levels; level++) {
        PvCpuSet cpus;
        int rc = pv_chain_cpus(chain, level, V2_CPUSET_EFFECTIVE, &cpus);
        if (rc < 0 && rc != -ENOENT)
            return rc;
        if (rc == 0 && pv_cpu_set_count(&cpus) > 0) {
            *ret_cpus = cpus;
            return 0;
        }
    }
    return -ENOENT;
}

enum { KEY_USAGE, KEY_USER, KEY_SYSTEM, KEY_NICE, KEY_THROTTLED, N_CPU_KEYS };

static int read_cpu_stat(PvChain *chain, guint level, guint64 nsec[N_CPU_KEYS], guint64 *valid)
{
    static const char *const KEYS[N_CPU_KEYS] = {"usage_usec", "user_usec", "system_usec",
                                                 "nice_usec", "throttled_usec"};
    char text[4096];
    ssize_t n = pv_chain_read(chain, level, V2_CPU_STAT, text, sizeof text);
    if (n < 0)
        return (int)n;
    guint64 usec[N_CPU_KEYS] = {0};
    *valid = 0;
    pv_keys_parse(text, KEYS, N_CPU_KEYS, usec, valid);
    for (guint i = 0; i < N_CPU_KEYS; i++) {
        if (usec[i] > G_MAXUINT64 / 1000)
            return -EINVAL;
        nsec[i] = usec[i] * 1000;
    }
    return 0;
}

/* The microseconds of the three are rounded down one by one: user time takes the rest, so that
 * the parts add up to the total. The kernel counts nice time in user time too. */
static int read_cpu_usage(PvChain *chain, gboolean want_cpus, PvCpuUsage **ret_usage,
                          gboolean *ret_has_throttled, guint64 *ret_throttled_nsec)
{
    (void)want_cpus; /* v2 accounts no CPU on its own */
    guint64 nsec[N_CPU_KEYS], valid;
    int rc = read_cpu_stat(chain, 0, nsec, &valid);
    if (rc < 0)
        return rc;
    if (!pv_bit(&valid, KEY_USAGE))
        return -EINVAL;

    PvCpuUsage *usage = g_malloc0(sizeof *usage);
    usage->total_nsec = nsec[KEY_USAGE];
    usage->system_nsec = MIN(nsec[KEY_SYSTEM], usage->total_nsec);
    usage->nice_nsec = MIN(nsec[KEY_NICE], usage->total_nsec - usage->system_nsec);
    usage->user_nsec = usage->total_nsec - usage->system_nsec - usage->nice_nsec;
    *ret_usage = usage;
    *ret_has_throttled = TRUE; /* 0 where the cpu controller is not enabled */
    *ret_throttled_nsec = nsec[KEY_THROTTLED];
    return 0;
}

static int read_throttled(PvChain *chain, guint level, guint64 *ret_nsec)
{
    guint64 nsec[N_CPU_KEYS], valid;
    int rc = read_cpu_stat(chain, level, nsec, &valid);
    if (rc == 0)
        *ret_nsec = nsec[KEY_THROTTLED];
    return rc;
}

/* ---- io ---- */

static void store_io(PvIoDevice *device, const char *key, size_t length, guint64 value)
{
    static const struct {
        const char *key;
        size_t offset;
    } FIELDS[] = {
        {"rbytes", offsetof(PvIoDevice, read_bytes)},
        {"wbytes", offsetof(PvIoDevice, write_bytes)},
        {"rios", offsetof(PvIoDevice, read_ios)},
        {"wios", offsetof(PvIoDevice, write_ios)},
        {"dbytes", offsetof(PvIoDevice, discard_bytes)},
        {"dios", offsetof(PvIoDevice, discard_ios)},
    };
    for (guint i = 0; i < G_N_ELEMENTS(FIELDS); i++) {
        if (strlen(FIELDS[i].key) == length && memcmp(key, FIELDS[i].key, length) == 0)
            *(guint64 *)(void *)((char *)device + FIELDS[i].offset) = value;
    }
}

/* "MAJOR:MINOR" as one word; the outputs are untouched when it is none. */
static gboolean parse_device_number(const char *word, size_t length, guint64 *ret_major,
                                    guint64 *ret_minor)
{
    const char *p = word;
    guint64 major, minor;
    if (!g_ascii_isdigit(*p) || !pv_parse_u64(&p, &major) || *p++ != ':' || !g_ascii_isdigit(*p) ||
        !pv_parse_u64(&p, &minor) || p != word + length)
        return FALSE;
    *ret_major = major;
    *ret_minor = minor;
    return TRUE;
}

/*
 * Word by word: "MAJOR:MINOR KEY=NUMBER KEY=NUMBER …" to the end of a line. Kernels before 5.16 may
 * print the numbers of idle devices before that of a busy one on one line: the last is the one
 * meant. Unknown keys and words are skipped; a text in which no device is named is refused.
 */
static int parse_io(const char *text, GArray *devices)
{
    guint first = devices->len;
    gboolean any = FALSE, in_device = FALSE;
    guint64 major = 0, minor = 0;

    for (const char *p = text; *p != '\0';) {
        size_t length = strcspn(p, " \n");
        const char *equals = memchr(p, '=', length);
        if (parse_device_number(p, length, &major, &minor)) {
            any = in_device = TRUE;
        } else if (in_device && equals != NULL) {
            const char *number = equals + 1;
            guint64 value;
            PvIoDevice *device = NULL;
            if (g_ascii_isdigit(*number) && pv_parse_u64(&number, &value) && number == p + length)
                device = pv_io_device(devices, first, major, minor);
            if (device != NULL)
                store_io(device, p, (size_t)(equals - p), value);
        }
        p += length;
        in_device = in_device && *p == ' ';
        p += *p != '\0';
    }
    return any || text[0] == '\0' ? 0 : -EINVAL;
}

static int read_io(PvChain *chain, GArray *devices)
{
    for (guint level = 0; level < chain->n_levels; level++) {
        g_autofree char *text = NULL;
        int rc = pv_chain_read_large(chain, level, V2_IO_STAT, &text);
        if (rc == 0)
            return parse_io(text, devices);
        if (rc != -ENOENT)
            return rc;
    }
    return -ENOENT;
}

/* ---- pids, hugetlb ---- */

static int read_pids(PvChain *chain, PvPids *ret_pids)
{
    PvPids pids;
    guint level;
    int rc = pv_chain_nearest_number(chain, V2_PIDS_CURRENT, &level, &pids.current);
    if (rc == 0)
        rc = pv_chain_min_limit(chain, level, V2_PIDS_MAX, &pids.max);
    if (rc == 0)
        *ret_pids = pids;
    return rc;
}

static int read_hugetlb(PvChain *chain, guint64 page_kb, PvHugetlb *ret_hugetlb)
{
    return pv_chain_hugetlb(chain, page_kb, V2_HUGETLB_MAX, V2_HUGETLB_CURRENT, ret_hugetlb);
}

/* ---- pressure ---- */

/* "NAME=12.34" at *cursor, with two digits behind the point. */
static gboolean parse_average(const char **cursor, const char *name, guint *ret_centi)
{
    const char *p = *cursor;
    guint64 whole, hundredths;
    if (!g_str_has_prefix(p, name))
        return FALSE;
    p += strlen(name);
    if (!pv_parse_u64(&p, &whole) || whole > 100 || *p++ != '.' || !g_ascii_isdigit(p[0]) ||
        !g_ascii_isdigit(p[1]) || !pv_parse_u64(&p, &hundredths) || hundredths > 99)
        return FALSE;
    *ret_centi = (guint)(whole * 100 + hundredths);
    *cursor = p;
    return TRUE;
}

/* "avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static gboolean parse_pressure_line(const char *p, PvPressureLine *ret_line)
{
    PvPressureLine line;
    if (!parse_average(&p, " avg10=", &line.avg_centi[0]) ||
        !parse_average(&p, " avg60=", &line.avg_centi[1]) ||
        !parse_average(&p, " avg300=", &line.avg_centi[2]) || !g_str_has_prefix(p, " total="))
        return FALSE;
    p += strlen(" total=");
    if (!pv_parse_u64(&p, &line.total_usec) || *p != '\n')
        return FALSE;
    *ret_line = line;
    return TRUE;
}

static int read_pressure(PvChain *chain, PvPressureKind kind, PvPressure *ret_pressure)
{
    char text[512];
    ssize_t n = pv_chain_read(chain, 0, V2_PRESSURE_FIRST + (guint)kind, text, sizeof text);
    if (n < 0)
        return (int)n;

    PvPressure pressure = {0};
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (g_str_has_prefix(line, "some "))
            pressure.has_some = parse_pressure_line(line + strlen("some"), &pressure.some);
        else if (g_str_has_prefix(line, "full "))
            pressure.has_full = parse_pressure_line(line + strlen("full"), &pressure.full);
    }
    if (!pressure.has_some && !pressure.has_full)
        return -EINVAL;
    *ret_pressure = pressure;
    return 0;
}

const PvCgroupOps pv_cgroup_v2 = {
    .file_names = FILE_NAMES,
    .n_files = V2_FILE_COUNT,
    .missing_retry_sec = 1, /* a controller may become enabled at any time */
    .threads_file = "cgroup.threads",
    .inspect = NULL,
    .read_memory = read_memory,
    .read_quota = read_quota,
    .read_cpus = read_cpus,
    .read_cpu_usage = read_cpu_usage,
    .read_throttled = read_throttled,
    .read_io = read_io,
    .read_pids = read_pids,
    .read_hugetlb = read_hugetlb,
    .read_pressure = read_pressure,
};
