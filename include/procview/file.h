/*
 * Rooted, bounded reads of the small text files that the kernel serves.
 *
 * Functions on the read path return 0 or a length, or a negative errno; they allocate nothing
 * beyond the buffer that is given.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* No control file that we parse is longer; one that is, is refused with -EFBIG. */
#define PV_CONTROL_FILE_MAX 16384

/*
 * Read a file that the kernel renders in one piece (cgroup control files, /proc/meminfo,
 * /proc/PID/stat …) with ONE pread at offset 0, and end the text with a NUL.
 * size    of buf in bytes, with the NUL
 * Returns the text's length; -EFBIG when the file did not fit; else pread's negative errno.
 * EINTR is retried.
 */
ssize_t pv_pread_text(int fd, char *buf, size_t size);

/*
 * open + pv_pread_text + close of `path` under `dirfd`; symbolic links are not followed in its
 * last component.
 * Returns as pv_pread_text, or openat's negative errno.
 */
ssize_t pv_read_text_at(int dirfd, const char *path, char *buf, size_t size);

/*
 * Append a file to `out`, reading to its end (files of many records, such as /proc/cpuinfo and
 * /proc/diskstats, arrive in pieces).
 * max_bytes  the most to append; a longer file is refused with -EFBIG and out is as before
 * Returns 0 or a negative errno.
 */
int pv_pread_all(int fd, GString *out, size_t max_bytes);
int pv_read_all_at(int dirfd, const char *path, GString *out, size_t max_bytes);

/* Write all of `text` to an existing file under dirfd with one write. Returns 0 or -errno. */
int pv_write_text_at(int dirfd, const char *path, const char *text);
