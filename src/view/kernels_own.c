/*
 * The kernel's own texts, for those whom nothing limits, and for all when the container's numbers
 * cannot be read.
 */
#include "kernels_own.h"

#include "collect.h"
#include "procview/fd.h"
#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* cpuinfo and stat of the largest machines. */
#define TEXT_MAX (16 * 1024 * 1024)

#define NSEC_PER_CENTISEC 10000000

/* Files that the host keeps open. */
static const struct {
    const char *path;
    PvHostFile file;
} KEPT[] = {
    {"proc/cpuinfo", PV_HOST_CPUINFO},
    {"proc/diskstats", PV_HOST_DISKSTATS},
    {"proc/loadavg", PV_HOST_LOADAVG},
    {"proc/meminfo", PV_HOST_MEMINFO},
    {"proc/pressure/cpu", PV_HOST_PRESSURE_CPU},
    {"proc/pressure/io", PV_HOST_PRESSURE_IO},
    {"proc/pressure/memory", PV_HOST_PRESSURE_MEMORY},
    {"proc/stat", PV_HOST_STAT},
    {"proc/swaps", PV_HOST_SWAPS},
    {"proc/uptime", PV_HOST_UPTIME},
    {"proc/vmstat", PV_HOST_VMSTAT},
    {"sys/devices/system/cpu/online", PV_HOST_CPU_ONLINE},
    {"sys/devices/system/cpu/possible", PV_HOST_CPU_POSSIBLE},
};

gboolean pv_row_is_on_host(const PvRow *row, const PvHost *host)
{
    gboolean in_proc = g_str_has_prefix(row->host_path, "proc/");
    const char *path = row->host_path + strlen(in_proc ? "proc/" : "sys/");
    pv_autofd int fd = openat(in_proc ? pv_host_procfs(host) : pv_host_sysfs(host), path,
                              O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char byte;

    return fd >= 0 && pread(fd, &byte, 1, 0) >= 0;
}

static int read_text(const PvHost *host, const char *path, GString *out)
{
    for (guint i = 0; i < G_N_ELEMENTS(KEPT); i++) {
        if (strcmp(path, KEPT[i].path) == 0)
            return pv_host_read(host, KEPT[i].file, out);
    }
    if (g_str_has_prefix(path, "proc/"))
        return pv_read_all_at(pv_host_procfs(host), path + strlen("proc/"), out, TEXT_MAX);
    if (g_str_has_prefix(path, "sys/"))
        return pv_read_all_at(pv_host_sysfs(host), path + strlen("sys/"), out, TEXT_MAX);
    return -ENOENT;
}

static void replace(GString *text, gsize start, gsize length, const char *with)
{
    g_string_erase(text, (gssize)start, (gssize)length);
    g_string_insert(text, (gssize)start, with);
}

/* "12.34 56.78": the first is of the reader's time namespace, the second is not. */
static void shift_uptime(GString *text, gsize start, const PvContainer *container,
                         const PvHost *host)
{
    guint64 centisec = pv_container_uptime_nsec(container, host) / NSEC_PER_CENTISEC;
    char field[48];

    g_snprintf(field, sizeof field, "%" G_GUINT64_FORMAT ".%02u", centisec / 100,
               (guint)(centisec % 100));
    replace(text, start, strcspn(text->str + start, " \n"), field);
}

static void shift_btime(GString *text, gsize start, const PvContainer *container,
                        const PvHost *host)
{
    static const char KEY[] = "\nbtime ";
    const char *line = strstr(text->str + start, KEY);
    char number[24];

    if (line == NULL)
        return;
    gsize value = (gsize)(line - text->str) + strlen(KEY);
    g_snprintf(number, sizeof number, "%" G_GUINT64_FORMAT,
               pv_container_btime_sec(container, host));
    replace(text, value, strcspn(text->str + value, "\n"), number);
}

int pv_kernels_own(const PvHost *host, const PvContainer *container, const PvRow *row, GString *out)
{
    gsize start = out->len;

    int result = read_text(host, row->host_path, out);
    if (result < 0 || container == NULL || !container->has_time_offset)
        return result;
    if (strcmp(row->host_path, "proc/uptime") == 0)
        shift_uptime(out, start, container, host);
    else if (strcmp(row->host_path, "proc/stat") == 0)
        shift_btime(out, start, container, host);
    return 0;
}
