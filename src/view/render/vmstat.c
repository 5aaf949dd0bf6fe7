/*
 * proc/vmstat: every key of the host's file in its order; those that have a row come from the
 * container's accounting, the others are 0. mm/vmstat.c.
 */
#include "procview/figures.h"
#include "procview/parse.h"
#include "render.h"
#include "text.h"

typedef struct {
    const char *key;
    enum {
        EVENTS,     /* a count, as memory.stat has it */
        PAGES,      /* bytes of memory.stat (the sum of two lines), in pages */
        KB,         /* bytes of memory.stat, in kB */
        HUGE_PAGES, /* bytes of memory.stat, in huge pages of the page tables' middle level */
        FREE_PAGES,
        READ_KB, /* from the block devices */
        WRITTEN_KB,
    } source;
    PvMemoryStat stats[2];
} Row;

#define NO_STAT PV_MEMORY_STAT_COUNT

#define ROW(name, source, stat)                                                                    \
    {                                                                                              \
        name, source,                                                                              \
        {                                                                                          \
            stat, NO_STAT                                                                          \
        }                                                                                          \
    }
#define PAGES2(name, a, b)                                                                         \
    {                                                                                              \
        name, PAGES,                                                                               \
        {                                                                                          \
            a, b                                                                                   \
        }                                                                                          \
    }

/* In the order of strcmp. */
static const Row ROWS[] = {
    ROW("nr_active_anon", PAGES, PV_MEMORY_ACTIVE_ANON),
    ROW("nr_active_file", PAGES, PV_MEMORY_ACTIVE_FILE),
    ROW("nr_anon_pages", PAGES, PV_MEMORY_ANON),
    ROW("nr_anon_transparent_hugepages", HUGE_PAGES, PV_MEMORY_ANON_THP),
    ROW("nr_dirty", PAGES, PV_MEMORY_FILE_DIRTY),
    ROW("nr_file_hugepages", HUGE_PAGES, PV_MEMORY_FILE_THP),
    PAGES2("nr_file_pages", PV_MEMORY_FILE, PV_MEMORY_SWAPCACHED),
    ROW("nr_free_pages", FREE_PAGES, NO_STAT),
    ROW("nr_inactive_anon", PAGES, PV_MEMORY_INACTIVE_ANON),
    ROW("nr_inactive_file", PAGES, PV_MEMORY_INACTIVE_FILE),
    ROW("nr_kernel_stack", KB, PV_MEMORY_KERNEL_STACK),
    ROW("nr_mapped", PAGES, PV_MEMORY_FILE_MAPPED),
    ROW("nr_page_table_pages", PAGES, PV_MEMORY_PAGETABLES),
    ROW("nr_sec_page_table_pages", PAGES, PV_MEMORY_SEC_PAGETABLES),
    ROW("nr_shmem", PAGES, PV_MEMORY_SHMEM),
    ROW("nr_shmem_hugepages", HUGE_PAGES, PV_MEMORY_SHMEM_THP),
    ROW("nr_slab_reclaimable", PAGES, PV_MEMORY_SLAB_RECLAIMABLE),
    ROW("nr_slab_unreclaimable", PAGES, PV_MEMORY_SLAB_UNRECLAIMABLE),
    ROW("nr_swapcached", PAGES, PV_MEMORY_SWAPCACHED),
    ROW("nr_unevictable", PAGES, PV_MEMORY_UNEVICTABLE),
    ROW("nr_writeback", PAGES, PV_MEMORY_FILE_WRITEBACK),
    ROW("nr_zone_active_anon", PAGES, PV_MEMORY_ACTIVE_ANON),
    ROW("nr_zone_active_file", PAGES, PV_MEMORY_ACTIVE_FILE),
    ROW("nr_zone_inactive_anon", PAGES, PV_MEMORY_INACTIVE_ANON),
    ROW("nr_zone_inactive_file", PAGES, PV_MEMORY_INACTIVE_FILE),
    ROW("nr_zone_unevictable", PAGES, PV_MEMORY_UNEVICTABLE),
    PAGES2("nr_zone_write_pending", PV_MEMORY_FILE_DIRTY, PV_MEMORY_FILE_WRITEBACK),
    ROW("pgactivate", EVENTS, PV_MEMORY_PGACTIVATE),
    ROW("pgdeactivate", EVENTS, PV_MEMORY_PGDEACTIVATE),
    ROW("pgdemote_direct", EVENTS, PV_MEMORY_PGDEMOTE_DIRECT),
    ROW("pgdemote_khugepaged", EVENTS, PV_MEMORY_PGDEMOTE_KHUGEPAGED),
    ROW("pgdemote_kswapd", EVENTS, PV_MEMORY_PGDEMOTE_KSWAPD),
    ROW("pgdemote_proactive", EVENTS, PV_MEMORY_PGDEMOTE_PROACTIVE),
    ROW("pgfault", EVENTS, PV_MEMORY_PGFAULT),
    ROW("pglazyfree", EVENTS, PV_MEMORY_PGLAZYFREE),
    ROW("pglazyfreed", EVENTS, PV_MEMORY_PGLAZYFREED),
    ROW("pgmajfault", EVENTS, PV_MEMORY_PGMAJFAULT),
    ROW("pgpgin", READ_KB, NO_STAT),
    ROW("pgpgout", WRITTEN_KB, NO_STAT),
    ROW("pgpromote_success", EVENTS, PV_MEMORY_PGPROMOTE_SUCCESS),
    ROW("pgrefill", EVENTS, PV_MEMORY_PGREFILL),
    ROW("pgscan_direct", EVENTS, PV_MEMORY_PGSCAN_DIRECT),
    ROW("pgscan_khugepaged", EVENTS, PV_MEMORY_PGSCAN_KHUGEPAGED),
    ROW("pgscan_kswapd", EVENTS, PV_MEMORY_PGSCAN_KSWAPD),
    ROW("pgscan_proactive", EVENTS, PV_MEMORY_PGSCAN_PROACTIVE),
    ROW("pgsteal_direct", EVENTS, PV_MEMORY_PGSTEAL_DIRECT),
    ROW("pgsteal_khugepaged", EVENTS, PV_MEMORY_PGSTEAL_KHUGEPAGED),
    ROW("pgsteal_kswapd", EVENTS, PV_MEMORY_PGSTEAL_KSWAPD),
    ROW("pgsteal_proactive", EVENTS, PV_MEMORY_PGSTEAL_PROACTIVE),
    ROW("pswpin", EVENTS, PV_MEMORY_PSWPIN),
    ROW("pswpout", EVENTS, PV_MEMORY_PSWPOUT),
    ROW("thp_collapse_alloc", EVENTS, PV_MEMORY_THP_COLLAPSE_ALLOC),
    ROW("thp_fault_alloc", EVENTS, PV_MEMORY_THP_FAULT_ALLOC),
    ROW("thp_swpout", EVENTS, PV_MEMORY_THP_SWPOUT),
    ROW("thp_swpout_fallback", EVENTS, PV_MEMORY_THP_SWPOUT_FALLBACK),
    ROW("workingset_activate_anon", EVENTS, PV_MEMORY_WORKINGSET_ACTIVATE_ANON),
    ROW("workingset_activate_file", EVENTS, PV_MEMORY_WORKINGSET_ACTIVATE_FILE),
    ROW("workingset_nodereclaim", EVENTS, PV_MEMORY_WORKINGSET_NODERECLAIM),
    ROW("workingset_refault_anon", EVENTS, PV_MEMORY_WORKINGSET_REFAULT_ANON),
    ROW("workingset_refault_file", EVENTS, PV_MEMORY_WORKINGSET_REFAULT_FILE),
    ROW("workingset_restore_anon", EVENTS, PV_MEMORY_WORKINGSET_RESTORE_ANON),
    ROW("workingset_restore_file", EVENTS, PV_MEMORY_WORKINGSET_RESTORE_FILE),
    ROW("zswpin", EVENTS, PV_MEMORY_ZSWPIN),
    ROW("zswpout", EVENTS, PV_MEMORY_ZSWPOUT),
    ROW("zswpwb", EVENTS, PV_MEMORY_ZSWPWB),
};

/* What the rows' sources need. */
typedef struct {
    const PvMemory *memory;
    guint64 page_bytes, huge_page_bytes;
    guint64 free_bytes, read_bytes, written_bytes;
} Values;

/*
 * The page tables' middle level maps as many pages as a table of 8-byte entries has. Where that
 * level is smaller (s390x), Hugepagesize tells; that one may have been chosen larger at boot.
 */
static guint64 huge_page_bytes(const PvSnapshot *snapshot)
{
    static const char *const KEY[] = {"Hugepagesize"};
    guint64 bytes = snapshot->page_bytes / 8 * snapshot->page_bytes;
    guint64 kb, valid = 0;

    if (snapshot->host_meminfo != NULL)
        pv_keys_parse(snapshot->host_meminfo, KEY, 1, &kb, &valid);
    if (valid != 0 && kb > 0 && kb <= G_MAXUINT32)
        bytes = MIN(bytes, kb * 1024);
    return bytes;
}

static void init_values(const PvSnapshot *snapshot, Values *values)
{
    PvMemoryFigures figures;
    pv_memory_figures(snapshot, &figures);

    *values = (Values){
        .memory = &snapshot->memory,
        .page_bytes = MAX(snapshot->page_bytes, 1),
        .huge_page_bytes = MAX(huge_page_bytes(snapshot), 1),
        .free_bytes = figures.free_bytes,
    };
    for (guint i = 0; snapshot->io != NULL && i < snapshot->io->len; i++) {
        const PvIoDevice *device = &g_array_index(snapshot->io, PvIoDevice, i);
        values->read_bytes = pv_sat_add(values->read_bytes, device->read_bytes);
        values->written_bytes = pv_sat_add(values->written_bytes, device->write_bytes);
    }
}

static guint64 stat_sum(const Values *values, const Row *row)
{
    guint64 sum = 0;
    for (guint i = 0; i < G_N_ELEMENTS(row->stats); i++) {
        if (row->stats[i] != NO_STAT)
            sum = pv_sat_add(sum, pv_memory_stat(values->memory, row->stats[i]));
    }
    return sum;
}

static guint64 value_of(const Values *values, PvSpan key)
{
    const Row *row = pv_span_find_row(key, ROWS, G_N_ELEMENTS(ROWS), sizeof ROWS[0]);
    if (row == NULL)
        return 0;

    switch (row->source) {
    case EVENTS:
        return stat_sum(values, row);
    case PAGES:
        return stat_sum(values, row) / values->page_bytes;
    case KB:
        return stat_sum(values, row) / 1024;
    case HUGE_PAGES:
        return stat_sum(values, row) / values->huge_page_bytes;
    case FREE_PAGES:
        return values->free_bytes / values->page_bytes;
    case READ_KB:
        return values->read_bytes / 1024;
    case WRITTEN_KB:
        return values->written_bytes / 1024;
    }
    return 0;
}

void pv_render_vmstat(const PvSnapshot *snapshot, GString *out)
{
    Values values;
    PvSpan line, key, word;

    init_values(snapshot, &values);
    for (const char *cursor = snapshot->host_vmstat; pv_span_next_line(&cursor, &line);) {
        guint64 host_value;
        if (!pv_span_next_word(&line, &key) || !pv_span_next_word(&line, &word) ||
            !pv_span_parse_u64(word, &host_value) || line.length > 0)
            continue;
        g_string_append_len(out, key.start, (gssize)key.length);
        g_string_append_printf(out, " %" G_GUINT64_FORMAT "\n", value_of(&values, key));
    }
}
