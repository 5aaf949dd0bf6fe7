/*
 * /proc/PID/mem writes to read-only mappings too, as debuggers want it: a program that passes the
 * address of its own code would have it overwritten, where the kernel answers EFAULT. So the
 * mappings are looked at first. (process_vm_writev(2) would respect them, but names the process by
 * a number that may become another's.)
 */
#include "memory.h"

#include "procview/fd.h"
#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

/* 65530 mappings, the default of vm.max_map_count, with short names. */
#define MAPS_BYTES_MAX (8u << 20)

/* linux/fs.h of Linux 6.11: ask for one mapping instead of reading the text of all. */
typedef struct {
    guint64 size;
    guint64 query_flags;
    guint64 query_addr;
    guint64 vma_start, vma_end, vma_flags, vma_page_size, vma_offset;
    guint64 inode;
    guint32 dev_major, dev_minor;
    guint32 vma_name_size, build_id_size;
    guint64 vma_name_addr, build_id_addr;
} MapQuery;

#define MAP_QUERY          _IOWR('f', 17, MapQuery)
#define MAP_QUERY_WRITABLE 2u

/* "START-END PERMS …", numbers hexadecimal. */
static gboolean parse_mapping(const char *line, guint64 *ret_start, guint64 *ret_end,
                              gboolean *ret_writable)
{
    char *end;

    if (!g_ascii_isxdigit(*line))
        return FALSE;
    *ret_start = g_ascii_strtoull(line, &end, 16);
    if (end[0] != '-' || !g_ascii_isxdigit(end[1]))
        return FALSE;
    *ret_end = g_ascii_strtoull(end + 1, &end, 16);
    if (end[0] != ' ' || end[1] == '\0')
        return FALSE;
    *ret_writable = end[2] == 'w';
    return TRUE;
}

gboolean pv_memory_maps_writable(const char *text, guint64 start, guint64 end)
{
    for (const char *line = text; *line != '\0' && start < end;) {
        const char *next = strchr(line, '\n');
        guint64 from, to;
        gboolean writable;

        if (next == NULL || !parse_mapping(line, &from, &to, &writable))
            return FALSE;
        if (from > start)
            return FALSE; /* they are sorted: there is a hole */
        if (to > start) {
            if (!writable)
                return FALSE;
            start = to;
        }
        line = next + 1;
    }
    return start >= end;
}

static gboolean is_writable_by_text(int maps_fd, guint64 start, guint64 end)
{
    g_autoptr(GString) text = g_string_new(NULL);

    return pv_pread_all(maps_fd, text, MAPS_BYTES_MAX) == 0 &&
           pv_memory_maps_writable(text->str, start, end);
}

static gboolean is_writable(int maps_fd, guint64 start, guint64 end)
{
    while (start < end) {
        MapQuery query = {
            .size = sizeof query, .query_flags = MAP_QUERY_WRITABLE, .query_addr = start};

        if (ioctl(maps_fd, MAP_QUERY, &query) < 0)
            return errno == ENOTTY && is_writable_by_text(maps_fd, start, end);
        if (query.vma_end <= start)
            return FALSE;
        start = query.vma_end;
    }
    return TRUE;
}

static int open_of(int procfs_fd, pid_t pid, const char *file, int flags)
{
    char path[32];

    g_snprintf(path, sizeof path, "%d/%s", (int)pid, file);
    return openat(procfs_fd, path, flags | O_CLOEXEC | O_NOFOLLOW);
}

gboolean pv_memory_write(int procfs_fd, pid_t pid, PvMemoryValidFunc is_valid, gpointer data,
                         guint64 address, const void *bytes, size_t size)
{
    pv_autofd int mem_fd = open_of(procfs_fd, pid, "mem", O_WRONLY);
    pv_autofd int maps_fd = open_of(procfs_fd, pid, "maps", O_RDONLY);

    if (mem_fd < 0 || maps_fd < 0 || !is_valid(data) || address > G_MAXINT64 - size ||
        !is_writable(maps_fd, address, address + size))
        return FALSE;
    return pwrite(mem_fd, bytes, size, (off_t)address) == (ssize_t)size;
}
