/*
 * proc/diskstats and proc/partitions: the devices that the container used, under the host's names.
 * block/genhd.c, Documentation/admin-guide/iostats.rst.
 */
#include "render.h"
#include "text.h"

#define SECTOR_BYTES 512

/* The columns behind the name that are accounted; the others are 0. */
enum {
    READ_IOS = 0,
    READ_SECTORS = 2,
    WRITE_IOS = 4,
    WRITE_SECTORS = 6,
    QUEUE_MSEC = 10,
    DISCARD_IOS = 11,
    DISCARD_SECTORS = 13,
    N_COLUMNS = 17,
};

static const PvIoDevice *find_device(const GArray *devices, guint64 major, guint64 minor)
{
    for (guint i = 0; devices != NULL && i < devices->len; i++) {
        const PvIoDevice *device = &g_array_index(devices, PvIoDevice, i);
        if (device->major == major && device->minor == minor)
            return device;
    }
    return NULL;
}

/* n_columns  as many as the host's kernel has: 11, 15 or 17 */
static void append_line(const PvIoDevice *device, PvSpan name, guint n_columns, GString *out)
{
    const guint64 columns[N_COLUMNS] = {
        [READ_IOS] = device->read_ios,
        [READ_SECTORS] = device->read_bytes / SECTOR_BYTES,
        [WRITE_IOS] = device->write_ios,
        [WRITE_SECTORS] = device->write_bytes / SECTOR_BYTES,
        /* The sum over all requests of the time that each took, or rather of the part of it that
         * v1 accounts. */
        [QUEUE_MSEC] = device->service_nsec / 1000000,
        [DISCARD_IOS] = device->discard_ios,
        [DISCARD_SECTORS] = device->discard_bytes / SECTOR_BYTES,
    };

    g_string_append_printf(out, "%4u %7u %.*s", device->major, device->minor, (int)name.length,
                           name.start);
    for (guint i = 0; i < n_columns; i++)
        g_string_append_printf(out, " %" G_GUINT64_FORMAT, i < N_COLUMNS ? columns[i] : 0);
    g_string_append_c(out, '\n');
}

/* proc/partitions: of these devices only, for a size tells of the machine. block/genhd.c. */
void pv_render_partitions(const PvSnapshot *snapshot, GString *out)
{
    PvSpan line, word;

    for (const char *cursor = snapshot->host_partitions; pv_span_next_line(&cursor, &line);) {
        PvSpan rest = line;
        guint64 major, minor;
        gboolean is_device = pv_span_next_word(&rest, &word) && pv_span_parse_u64(word, &major);
        if (is_device && (!pv_span_next_word(&rest, &word) || !pv_span_parse_u64(word, &minor) ||
                          find_device(snapshot->io, major, minor) == NULL))
            continue;
        g_string_append_len(out, line.start, (gssize)line.length);
        g_string_append_c(out, '\n');
    }
}

void pv_render_diskstats(const PvSnapshot *snapshot, GString *out)
{
    PvSpan line, word, name;

    for (const char *cursor = snapshot->host_diskstats; pv_span_next_line(&cursor, &line);) {
        guint64 major, minor;
        if (!pv_span_next_word(&line, &word) || !pv_span_parse_u64(word, &major) ||
            !pv_span_next_word(&line, &word) || !pv_span_parse_u64(word, &minor) ||
            !pv_span_next_word(&line, &name))
            continue;
        const PvIoDevice *device = find_device(snapshot->io, major, minor);
        if (device == NULL)
            continue;

        guint n_columns = 0;
        while (pv_span_next_word(&line, &word))
            n_columns++;
        append_line(device, name, n_columns, out);
    }
}
