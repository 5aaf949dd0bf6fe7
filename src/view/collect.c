/*
 * Fills a snapshot, section by section. Uptime and the CPUs' ticks are of the same moment: the
 * clock is read just before the use, and use that is counted after it waits for the next time.
 */
#include "collect.h"

#include "procview/sampler.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define NSEC_PER_SEC  G_GINT64_CONSTANT(1000000000)
#define NSEC_PER_USEC 1000

/* How old the CPU set, steal and iowait may be that idle time is counted with: one read of uptime
 * after another need not ask for them each time. */
#define CPUS_AGE_NSEC ((guint64)NSEC_PER_SEC)

/* cpuinfo's clock rates change all the time; to ask each CPU for its own is slow. */
#define CPUINFO_AGE_NSEC ((guint64)NSEC_PER_SEC)

/* Of stat and vmstat only the lines count, not the numbers. */
#define LINES_AGE_NSEC ((guint64)(60 * NSEC_PER_SEC))

/* How old a sample of the threads may be: the older the more there are, so that a container that
 * reads all the time costs some hundredth of a CPU (a thread is looked at in 20 us or so). One of
 * the sampler's own, which come each 5 s, may be missed, but not two. */
#define SAMPLE_AGE_PER_THREAD_MSEC 2
#define SAMPLE_AGE_MIN_MSEC        200
#define SAMPLE_AGE_MAX_MSEC        10000

/* The clock and the use that are read one after the other are of one moment when they are so close.
 */
#define USAGE_SKEW_NSEC ((guint64)(2 * NSEC_PER_SEC / 1000))
#define USAGE_TRIES     4

/* ---- memory of a collection ---- */

PvCollection *pv_collection_new(void)
{
    PvCollection *collection = g_new0(PvCollection, 1);
    collection->meminfo = g_string_new(NULL);
    collection->diskstats = g_string_new(NULL);
    collection->io = g_array_new(FALSE, FALSE, sizeof(PvIoDevice));
    return collection;
}

static void release_texts(PvCollection *collection)
{
    for (guint i = 0; i < collection->n_texts; i++)
        pv_text_unref(collection->texts[i]);
    collection->n_texts = 0;
}

void pv_collection_free(PvCollection *collection)
{
    if (collection == NULL)
        return;
    release_texts(collection);
    g_string_free(collection->meminfo, TRUE);
    g_string_free(collection->diskstats, TRUE);
    g_array_unref(collection->io);
    g_free(collection->ticks);
    g_free(collection);
}

static PvCpuTicks *ticks_room(PvCollection *collection, guint n_cpus)
{
    if (collection->n_ticks < n_cpus) {
        collection->ticks = g_renew(PvCpuTicks, collection->ticks, n_cpus);
        collection->n_ticks = n_cpus;
    }
    return collection->ticks;
}

static int share_text(const PvCollector *collector, PvHostFile file, guint64 max_age_nsec,
                      PvCollection *collection, const char **ret_str)
{
    PvText *text;
    int result = pv_texts_get(collector->texts, file, max_age_nsec, &text);

    if (result < 0)
        return result;
    g_assert(collection->n_texts < PV_COLLECTION_TEXTS);
    collection->texts[collection->n_texts++] = text;
    *ret_str = pv_text_str(text);
    return 0;
}

/* ---- CPUs ---- */

static guint64 quota_cpus(const PvCpuLimits *limits)
{
    if (limits->quota_usec == PV_UNLIMITED)
        return PV_CPU_MAX;
    guint64 period_usec = MAX(limits->period_usec, 1);
    return limits->quota_usec / period_usec + (limits->quota_usec % period_usec > 0);
}

static int fill_cpus(const PvCollector *collector, PvContainer *container, PvCollection *collection)
{
    PvSnapshot *snapshot = &collection->snapshot;
    PvCpuLimits limits;
    PvCpuSet online, cpus;

    int result = pv_cgroup_read_cpu_limits(container->cgroup, &limits);
    if (result < 0 && result != -ENODATA)
        return result;
    if (result == -ENODATA)
        limits = (PvCpuLimits){.quota_usec = PV_UNLIMITED, .period_usec = 1};
    pv_host_online_cpus(collector->host, &online); /* has a fallback of its own */

    cpus = online;
    if (limits.has_cpus)
        pv_cpu_set_intersect(&cpus, &limits.effective_cpus);
    if (pv_cpu_set_count(&cpus) == 0) /* all of them have just gone offline: the kernel moves us */
        cpus = online;
    pv_cpu_set_keep_first(&cpus, (guint)CLAMP(quota_cpus(&limits), 1, PV_CPU_MAX));

    snapshot->cpus = snapshot->shown_cpus = cpus;
    snapshot->n_cpus = pv_cpu_set_count(&cpus);
    if (collector->options.dense_cpu_ids) {
        pv_cpu_set_clear(&snapshot->shown_cpus);
        for (guint i = 0; i < snapshot->n_cpus; i++)
            pv_cpu_set_add(&snapshot->shown_cpus, i);
    }
    return 0;
}

static int fill_host_cpus(const PvCollector *collector, PvContainer *container G_GNUC_UNUSED,
                          PvCollection *collection)
{
    collection->snapshot.host_possible = collector->host_possible;
    return pv_cpu_set_count(&collector->host_possible) > 0 ? 0 : -EIO;
}

/* ---- threads ---- */

static int take_sample(const PvCollector *collector, PvContainer *container)
{
    PvLoad load;
    pv_account_get_load(container->account, &load); /* no threads before the first sample */
    guint64 age_msec = (guint64)load.tasks.total * SAMPLE_AGE_PER_THREAD_MSEC;
    return pv_sampler_sample(collector->host, container,
                             (guint)CLAMP(age_msec, SAMPLE_AGE_MIN_MSEC, SAMPLE_AGE_MAX_MSEC));
}

static int fill_load(const PvCollector *collector, PvContainer *container, PvCollection *collection)
{
    int result = take_sample(collector, container);
    if (result < 0)
        return result;
    return pv_account_get_load(container->account, &collection->snapshot.load) ? 0 : -EAGAIN;
}

/* ---- CPU time ---- */

static guint64 read_iowait_nsec(PvContainer *container)
{
    PvPressure pressure;
    if (pv_cgroup_read_pressure(container->cgroup, PV_PRESSURE_IO, &pressure) < 0 ||
        !pressure.has_some || pressure.some.total_usec > G_MAXUINT64 / NSEC_PER_USEC)
        return 0;
    return pressure.some.total_usec * NSEC_PER_USEC;
}

/*
 * Read the use of CPU time, and the clock with it: when this thread lost its CPU in between, the
 * two do not belong together, and use would be shown on CPUs that had nothing of it.
 */
static int read_usage(const PvCollector *collector, PvContainer *container, PvCpuUsageDetail detail,
                      PvSnapshot *snapshot, PvCpuUsage **ret_usage)
{
    int result = 0;

    for (guint tries = 0; tries < USAGE_TRIES; tries++) {
        g_clear_pointer(ret_usage, g_free);
        snapshot->uptime_nsec = pv_container_uptime_nsec(container, collector->host);
        result = pv_cgroup_read_cpu_usage(container->cgroup, detail, ret_usage);
        if (result < 0 || pv_container_uptime_nsec(container, collector->host) <=
                              snapshot->uptime_nsec + USAGE_SKEW_NSEC)
            break;
    }
    /* It shares the root cgroup with the machine there: what it used is not known, and 0. */
    if (result == -ENODATA) {
        *ret_usage = g_new0(PvCpuUsage, 1);
        result = 0;
    }
    return result;
}

static int fill_ticks(const PvCollector *collector, PvContainer *container,
                      PvCollection *collection)
{
    PvSnapshot *snapshot = &collection->snapshot;
    g_autofree PvCpuUsage *usage = NULL;

    int result = read_usage(collector, container, PV_CPU_USAGE_CPUS, snapshot, &usage);
    if (result < 0)
        return result;
    /* Without a sample the split is a guess; the totals are exact all the same. */
    if (usage->n_cpus == 0)
        take_sample(collector, container);

    const PvAccountInput input = {
        .uptime_nsec = snapshot->uptime_nsec,
        .usage = usage,
        .has_waits = TRUE,
        .iowait_nsec = read_iowait_nsec(container),
        .cpus = &snapshot->cpus,
    };
    snapshot->ticks = ticks_room(collection, snapshot->n_cpus);
    pv_account_update(container->account, &input, snapshot->ticks, &snapshot->ticks_total);
    return 0;
}

static int fill_idle(const PvCollector *collector, PvContainer *container, PvCollection *collection)
{
    PvSnapshot *snapshot = &collection->snapshot;
    g_autofree PvCpuUsage *usage = NULL;
    gboolean is_known =
        pv_account_cpus_known(container->account, snapshot->uptime_nsec, CPUS_AGE_NSEC);

    int result = is_known ? 0 : fill_cpus(collector, container, collection);
    if (result == 0)
        result =
            read_usage(collector, container, is_known ? PV_CPU_USAGE_TOTAL : PV_CPU_USAGE_THROTTLED,
                       snapshot, &usage);
    if (result < 0)
        return result;
    const PvAccountInput input = {
        .uptime_nsec = snapshot->uptime_nsec,
        .usage = usage,
        .has_waits = !is_known,
        .iowait_nsec = is_known ? 0 : read_iowait_nsec(container),
        .cpus = is_known ? NULL : &snapshot->cpus,
    };
    snapshot->ticks_total.idle = pv_account_update_idle(container->account, &input);
    return 0;
}

static gint64 clock_nsec(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

guint64 pv_container_btime_sec(const PvContainer *container, const PvHost *host)
{
    gint64 boottime_nsec = (gint64)pv_host_boottime_nsec(host);
    if (container->has_time_offset)
        boottime_nsec += container->time_offset_nsec;
    gint64 btime_nsec = clock_nsec(CLOCK_REALTIME) - boottime_nsec;
    return btime_nsec > 0 ? (guint64)(btime_nsec / NSEC_PER_SEC) : 0;
}

static int fill_uptime(const PvCollector *collector, PvContainer *container,
                       PvCollection *collection)
{
    collection->snapshot.btime_sec = pv_container_btime_sec(container, collector->host);
    return 0; /* uptime_nsec is there already */
}

/* ---- memory ---- */

static int read_meminfo(const PvCollector *collector, PvCollection *collection)
{
    if (collection->snapshot.host_meminfo != NULL)
        return 0;
    g_string_truncate(collection->meminfo, 0);
    int result = pv_host_read(collector->host, PV_HOST_MEMINFO, collection->meminfo);
    if (result == 0)
        collection->snapshot.host_meminfo = collection->meminfo->str;
    return result;
}

/* A number of the host's meminfo; 0 when it has no such line. */
static guint64 meminfo_number(const PvCollection *collection, const char *key)
{
    guint64 value = 0, valid = 0;
    pv_keys_parse(collection->snapshot.host_meminfo, &key, 1, &value, &valid);
    return valid != 0 ? value : 0;
}

static int fill_memory(const PvCollector *collector, PvContainer *container,
                       PvCollection *collection)
{
    int result = read_meminfo(collector, collection);
    if (result < 0)
        return result;
    gboolean has_swap = meminfo_number(collection, "SwapTotal") > 0;
    collection->snapshot.swap_total = collector->options.swap_total;
    return pv_cgroup_read_memory(container->cgroup, has_swap, &collection->snapshot.memory);
}

static int fill_hugetlb(const PvCollector *collector, PvContainer *container,
                        PvCollection *collection)
{
    PvSnapshot *snapshot = &collection->snapshot;

    int result = read_meminfo(collector, collection);
    if (result < 0)
        return result;
    /* Nobody has huge pages where the host has none. */
    guint64 page_kb = meminfo_number(collection, "Hugepagesize");
    if (page_kb == 0 || meminfo_number(collection, "HugePages_Total") == 0)
        return -ENODATA;
    result = pv_cgroup_read_hugetlb(container->cgroup, page_kb, &snapshot->hugetlb);
    snapshot->has_hugetlb = result == 0;
    return result;
}

/* ---- I/O, pressure ---- */

static int fill_io(const PvCollector *collector G_GNUC_UNUSED, PvContainer *container,
                   PvCollection *collection)
{
    g_array_set_size(collection->io, 0);
    collection->snapshot.io = collection->io;
    return pv_cgroup_read_io(container->cgroup, collection->io);
}

static int fill_pressure(PvContainer *container, PvPressureKind kind, PvCollection *collection)
{
    return pv_cgroup_read_pressure(container->cgroup, kind, &collection->snapshot.pressure[kind]);
}

static int fill_pressure_cpu(const PvCollector *collector G_GNUC_UNUSED, PvContainer *container,
                             PvCollection *collection)
{
    return fill_pressure(container, PV_PRESSURE_CPU, collection);
}

static int fill_pressure_memory(const PvCollector *collector G_GNUC_UNUSED, PvContainer *container,
                                PvCollection *collection)
{
    return fill_pressure(container, PV_PRESSURE_MEMORY, collection);
}

static int fill_pressure_irq(const PvCollector *collector G_GNUC_UNUSED, PvContainer *container,
                             PvCollection *collection)
{
    return fill_pressure(container, PV_PRESSURE_IRQ, collection);
}

static int fill_pids(const PvCollector *collector G_GNUC_UNUSED, PvContainer *container,
                     PvCollection *collection)
{
    return pv_cgroup_read_pids(container->cgroup, &collection->snapshot.pids);
}

static int fill_pressure_io(const PvCollector *collector G_GNUC_UNUSED, PvContainer *container,
                            PvCollection *collection)
{
    return fill_pressure(container, PV_PRESSURE_IO, collection);
}

/* ---- the host's texts ---- */

/* Texts that readers share for a while. */
static const struct {
    PvSection section;
    PvHostFile file;
    guint64 max_age_nsec;
    gsize offset; /* of the text in a snapshot */
} HOST_TEXTS[] = {
#define TEXT(name, member, max_age_nsec)                                                           \
    {                                                                                              \
        PV_SECTION_HOST_##name, PV_HOST_##name, max_age_nsec, G_STRUCT_OFFSET(PvSnapshot, member)  \
    }
    TEXT(CPUINFO, host_cpuinfo, CPUINFO_AGE_NSEC),
    TEXT(STAT, host_stat, LINES_AGE_NSEC),
    TEXT(VMSTAT, host_vmstat, LINES_AGE_NSEC),
    TEXT(INTERRUPTS, host_interrupts, LINES_AGE_NSEC),
    TEXT(SOFTIRQS, host_softirqs, LINES_AGE_NSEC),
    TEXT(SCHEDSTAT, host_schedstat, LINES_AGE_NSEC),
    TEXT(SLABINFO, host_slabinfo, LINES_AGE_NSEC),
    TEXT(PARTITIONS, host_partitions, 0),
    TEXT(PID_MAX, host_pid_max, 0),
    TEXT(THREADS_MAX, host_threads_max, 0),
#undef TEXT
};

static int fill_host_texts(const PvCollector *collector, PvSections sections,
                           PvCollection *collection)
{
    for (guint i = 0; i < G_N_ELEMENTS(HOST_TEXTS); i++) {
        if (!(sections & HOST_TEXTS[i].section))
            continue;
        const char **str = G_STRUCT_MEMBER_P(&collection->snapshot, HOST_TEXTS[i].offset);
        int result =
            share_text(collector, HOST_TEXTS[i].file, HOST_TEXTS[i].max_age_nsec, collection, str);
        if (result < 0)
            return result;
        collection->snapshot.valid |= HOST_TEXTS[i].section;
    }
    return 0;
}

static int fill_host_diskstats(const PvCollector *collector, PvContainer *container G_GNUC_UNUSED,
                               PvCollection *collection)
{
    g_string_truncate(collection->diskstats, 0);
    int result = pv_host_read(collector->host, PV_HOST_DISKSTATS, collection->diskstats);
    collection->snapshot.host_diskstats = collection->diskstats->str;
    return result;
}

/* ---- all sections ---- */

typedef int (*FillFunc)(const PvCollector *collector, PvContainer *container,
                        PvCollection *collection);

/* In the order in which they are filled: one that another needs comes before it. */
static const struct {
    PvSection section;
    FillFunc fill;
    gboolean is_optional; /* a text can do without, where nothing is accounted */
} SECTIONS[] = {
    {PV_SECTION_CPUS, fill_cpus, FALSE},
    {PV_SECTION_HOST_CPUS, fill_host_cpus, FALSE},
    {PV_SECTION_CPU_TICKS, fill_ticks, FALSE},
    {PV_SECTION_IDLE, fill_idle, TRUE},
    {PV_SECTION_UPTIME, fill_uptime, FALSE},
    {PV_SECTION_LOAD, fill_load, TRUE},
    {PV_SECTION_MEMORY, fill_memory, FALSE},
    {PV_SECTION_HUGETLB, fill_hugetlb, TRUE},
    {PV_SECTION_IO, fill_io, TRUE},
    {PV_SECTION_PRESSURE_CPU, fill_pressure_cpu, TRUE},
    {PV_SECTION_PRESSURE_MEMORY, fill_pressure_memory, TRUE},
    {PV_SECTION_PRESSURE_IO, fill_pressure_io, TRUE},
    {PV_SECTION_PRESSURE_IRQ, fill_pressure_irq, TRUE},
    {PV_SECTION_PIDS, fill_pids, TRUE},
    {PV_SECTION_HOST_DISKSTATS, fill_host_diskstats, FALSE},
};

/* A load of which nothing is known is not a load of 0, where the load is all that is shown. */
static gboolean can_do_without(PvSections sections, guint i)
{
    return SECTIONS[i].is_optional && sections != PV_SECTION_LOAD;
}

int pv_collect(const PvCollector *collector, PvContainer *container, PvSections sections,
               PvCollection *collection)
{
    PvSnapshot *snapshot = &collection->snapshot;

    release_texts(collection);
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->ticks_per_second = pv_host_ticks_per_second(collector->host);
    snapshot->page_bytes = pv_host_page_bytes(collector->host);
    snapshot->uptime_nsec = pv_container_uptime_nsec(container, collector->host);
    if (sections & PV_SECTION_CPU_TICKS)
        sections |= PV_SECTION_CPUS;

    for (guint i = 0; i < G_N_ELEMENTS(SECTIONS); i++) {
        PvSection section = SECTIONS[i].section;
        if (!(sections & section))
            continue;
        int result = SECTIONS[i].fill(collector, container, collection);
        if (result == 0)
            snapshot->valid |= section;
        else if (result != -ENODATA || !can_do_without(sections, i))
            return result;
    }
    return fill_host_texts(collector, sections, collection);
}

int pv_collector_init(PvCollector *collector, PvHost *host, const PvViewOptions *options)
{
    g_autoptr(GString) possible = g_string_new(NULL);

    *collector = (PvCollector){.host = host, .texts = pv_texts_new(host)};
    if (options != NULL)
        collector->options = *options;
    int result = pv_host_read(host, PV_HOST_CPU_POSSIBLE, possible);
    if (result == 0 && !pv_cpu_set_parse_list(possible->str, &collector->host_possible))
        result = -EBADMSG;
    return result;
}

void pv_collector_clear(PvCollector *collector)
{
    pv_texts_free(collector->texts);
    collector->texts = NULL;
}
