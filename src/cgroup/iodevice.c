/*
 * The devices of one reading of io accounting: lines of one device need not be neighbours, and how
 * many devices there are is bounded.
 */
#include "internal.h"

PvIoDevice *pv_io_device(GArray *devices, guint first, guint64 major, guint64 minor)
{
    if (major > G_MAXUINT32 || minor > G_MAXUINT32)
        return NULL;

    /* From the end: a device's lines nearly always follow each other. */
    for (guint i = devices->len; i-- > first;) {
        PvIoDevice *device = &g_array_index(devices, PvIoDevice, i);
        if (device->major == major && device->minor == minor)
            return device;
    }
    if (devices->len - first >= PV_IO_DEVICES_MAX)
        return NULL;
    PvIoDevice added = {.major = (guint)major, .minor = (guint)minor};
    g_array_append_val(devices, added);
    return &g_array_index(devices, PvIoDevice, devices->len - 1);
}

static gboolean is_idle(const PvIoDevice *device)
{
    return (device->read_bytes | device->write_bytes | device->discard_bytes | device->read_ios |
            device->write_ios | device->discard_ios) == 0;
}

void pv_io_drop_idle(GArray *devices, guint first)
{
    guint kept = first;
    for (guint i = first; i < devices->len; i++) {
        PvIoDevice device = g_array_index(devices, PvIoDevice, i);
        if (!is_idle(&device))
            g_array_index(devices, PvIoDevice, kept++) = device;
    }
    g_array_set_size(devices, kept);
}
