/*
 * Fills a snapshot with the sections that a view shows: the numbers of one container, and the
 * host's texts that they are put into.
 */
#pragma once

#include "procview/snapshot.h"
#include "procview/view.h"
#include "texts.h"

/* What the snapshots of all containers share. Read-only, but for the texts, which lock themselves.
 */
typedef struct {
    PvHost *host;
    PvTexts *texts;
    PvViewOptions options;
    PvCpuSet host_possible;
} PvCollector;

int pv_collector_init(PvCollector *collector, PvHost *host, const PvViewOptions *options);
void pv_collector_clear(PvCollector *collector);

#define PV_COLLECTION_TEXTS 3

/* A snapshot and the memory that it points to, which the next snapshot in the same place uses
 * again. */
typedef struct {
    PvSnapshot snapshot;

    /*< private >*/
    GString *meminfo, *diskstats;
    PvText *texts[PV_COLLECTION_TEXTS];
    guint n_texts;
    PvCpuTicks *ticks;
    guint n_ticks;
    GArray *io; /* of PvIoDevice */
} PvCollection;

PvCollection *pv_collection_new(void);
void pv_collection_free(PvCollection *collection);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvCollection, pv_collection_free)

/*
 * Fill collection->snapshot. It is valid until the next call with the same collection.
 * Returns 0 or a negative errno: that of the first section that could not be read. One that the
 * kernel does not account for this container, and that a text can do without, is left out: its bit
 * is cleared, and its numbers are 0.
 */
int pv_collect(const PvCollector *collector, PvContainer *container, PvSections sections,
               PvCollection *collection);

/* Wall clock at which a container's boot time was 0, in s since 1970: what btime of proc/stat says
 * in its time namespace, or on the host when it has none. fs/proc/stat.c */
guint64 pv_container_btime_sec(const PvContainer *container, const PvHost *host);
