/*
 * Bounded reads of kernel files through directory descriptors, so that the same code runs on the
 * real /proc and /sys and on captured copies of them.
 */
#include "procview/file.h"

#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* O_NONBLOCK: a fifo in the place of the file must not stop the reader. */
#define READ_FLAGS  (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)
#define WRITE_FLAGS (O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)

#define CHUNK_BYTES 16384

static ssize_t pread_retry(int fd, void *buf, size_t size, off_t offset)
{
    for (;;) {
        ssize_t n = pread(fd, buf, size, offset);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return -errno;
    }
}

ssize_t pv_pread_text(int fd, char *buf, size_t size)
{
    if (size == 0)
        return -EFBIG;

    /* The byte kept for the NUL is asked for too: if it is filled, the file is too long. */
    ssize_t n = pread_retry(fd, buf, size, 0);
    if (n < 0)
        return n;
    if ((size_t)n == size)
        return -EFBIG;
    buf[n] = '\0';
    return n;
}

ssize_t pv_read_text_at(int dirfd, const char *path, char *buf, size_t size)
{
    pv_autofd int fd = openat(dirfd, path, READ_FLAGS);
    if (fd < 0)
        return -errno;
    return pv_pread_text(fd, buf, size);
}

int pv_pread_all(int fd, GString *out, size_t max_bytes)
{
    gsize start = out->len;
    off_t offset = 0;

    for (;;) {
        /* One byte more than is allowed tells a file of exactly max_bytes from a longer one. */
        size_t want = MIN(CHUNK_BYTES - 1, max_bytes - (size_t)offset) + 1;
        gsize end = out->len;
        g_string_set_size(out, end + want);
        ssize_t n = pread_retry(fd, out->str + end, want, offset);
        g_string_set_size(out, end + (gsize)MAX(n, 0));
        if (n == 0)
            return 0;

        offset += n;
        if (n < 0 || (size_t)offset > max_bytes) {
            g_string_set_size(out, start);
            return n < 0 ? (int)n : -EFBIG;
        }
    }
}

int pv_read_all_at(int dirfd, const char *path, GString *out, size_t max_bytes)
{
    pv_autofd int fd = openat(dirfd, path, READ_FLAGS);
    if (fd < 0)
        return -errno;
    return pv_pread_all(fd, out, max_bytes);
}

int pv_write_text_at(int dirfd, const char *path, const char *text)
{
    pv_autofd int fd = openat(dirfd, path, WRITE_FLAGS);
    if (fd < 0)
        return -errno;

    size_t length = strlen(text);
    ssize_t n;
    do
        n = write(fd, text, length);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == length ? 0 : -EIO;
}
