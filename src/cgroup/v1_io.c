/*
 * I/O on cgroup v1: tables of "MAJOR:MINOR OPERATION NUMBER", one file for bytes, one for
 * operations, one for time, each under the name that this kernel and I/O scheduler have it.
 *
 * Documentation/admin-guide/cgroup-v1/blkio-controller.rst
 */
#include "v1.h"

#include <errno.h>
#include <string.h>

/* The throttling layer counts whatever the I/O scheduler; its own cgroup without descendants is the
 * last resort. */
static const V1File BYTES_FILES[] = {
    V1_IO_BYTES_THROTTLE_RECURSIVE,
    V1_IO_BYTES_RECURSIVE,
    V1_IO_BYTES_BFQ_RECURSIVE,
    V1_IO_BYTES_THROTTLE,
};
static const V1File SERVICED_FILES[] = {
    V1_IO_SERVICED_THROTTLE_RECURSIVE,
    V1_IO_SERVICED_RECURSIVE,
    V1_IO_SERVICED_BFQ_RECURSIVE,
    V1_IO_SERVICED_THROTTLE,
};
static const V1File TIME_FILES[] = {V1_IO_TIME_RECURSIVE, V1_IO_TIME_BFQ_RECURSIVE};

typedef void (*StoreFunc)(PvIoDevice *device, const char *operation, size_t length, guint64 value);

static gboolean is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static void store_bytes(PvIoDevice *device, const char *operation, size_t length, guint64 value)
{
    if (is_word(operation, length, "Read"))
        device->read_bytes = value;
    else if (is_word(operation, length, "Write"))
        device->write_bytes = value;
    else if (is_word(operation, length, "Discard"))
        device->discard_bytes = value;
}

static void store_serviced(PvIoDevice *device, const char *operation, size_t length, guint64 value)
{
    if (is_word(operation, length, "Read"))
        device->read_ios = value;
    else if (is_word(operation, length, "Write"))
        device->write_ios = value;
    else if (is_word(operation, length, "Discard"))
        device->discard_ios = value;
}

static void store_time(PvIoDevice *device, const char *operation, size_t length, guint64 value)
{
    if (is_word(operation, length, "Total"))
        device->service_nsec = value;
}

/* The last line, the sum over all devices: "Total NUMBER". */
static gboolean is_sum_line(const char *line)
{
    guint64 value;
    const char *p = line + strlen("Total");
    return g_str_has_prefix(line, "Total ") && pv_parse_u64(&p, &value);
}

static gboolean parse_line(const char *line, GArray *devices, guint first, StoreFunc store)
{
    const char *p = line;
    guint64 major, minor, value;
    if (!g_ascii_isdigit(*p) || !pv_parse_u64(&p, &major) || *p++ != ':' || !g_ascii_isdigit(*p) ||
        !pv_parse_u64(&p, &minor) || *p++ != ' ')
        return FALSE;
    const char *operation = p;
    size_t length = strcspn(p, " \n");
    p += length;
    if (!pv_parse_u64(&p, &value) || *p != '\n')
        return FALSE;

    PvIoDevice *device = pv_io_device(devices, first, major, minor);
    if (device != NULL)
        store(device, operation, length, value);
    return TRUE;
}

/* Malformed lines are skipped; a text of nothing else is refused. */
static int parse_table(const char *text, GArray *devices, guint first, StoreFunc store)
{
    guint understood = 0;
    for (const char *line = text; *line != '\0';) {
        understood += is_sum_line(line) || parse_line(line, devices, first, store);
        const char *end = strchr(line, '\n');
        line = end != NULL ? end + 1 : line + strlen(line);
    }
    return understood > 0 ? 0 : -EINVAL;
}

/*
 * Read the first of the files that names a device: since Linux 6.10 the throttling layer counts
 * nothing until something is throttled, while the I/O scheduler may count. -ENOENT without a file.
 */
static int read_table(PvChain *chain, const V1File *files, guint n_files, GArray *devices,
                      guint first, StoreFunc store)
{
    gboolean any = FALSE, named = FALSE;

    for (guint i = 0; i < n_files && !named; i++) {
        g_autofree char *text = NULL;
        int rc = pv_chain_read_large(chain, 0, files[i], &text);
        if (rc == -ENOENT)
            continue;
        if (rc == 0)
            rc = parse_table(text, devices, first, store);
        if (rc < 0)
            return rc;
        any = TRUE;
        named = strchr(text, ':') != NULL;
    }
    return any ? 0 : -ENOENT;
}

int pv_v1_read_io(PvChain *chain, GArray *devices)
{
    guint first = devices->len;
    int rc = read_table(chain, BYTES_FILES, G_N_ELEMENTS(BYTES_FILES), devices, first, store_bytes);
    if (rc < 0)
        return rc;
    rc = read_table(chain, SERVICED_FILES, G_N_ELEMENTS(SERVICED_FILES), devices, first,
                    store_serviced);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    rc = read_table(chain, TIME_FILES, G_N_ELEMENTS(TIME_FILES), devices, first, store_time);
    return rc == -ENOENT ? 0 : rc;
}
