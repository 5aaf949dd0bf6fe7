/* Writing without waiting, see procview/nowait.h. */
#include "procview/nowait.h"

#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define LINE_BYTES PIPE_BUF /* a pipe takes it whole or not at all */

static int result_of(ssize_t n, size_t size)
{
    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : -EIO;
}

/* Between poll and write somebody else may fill it: so the write itself must not wait. */
static int write_pipe(int fd, const void *data, size_t size)
{
    const struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    ssize_t n = pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
    char path[32];
    pv_autofd int own_fd = -1;

    if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
        return result_of(n, size);
    /* Linux before 6.5. Opened again, it has flags of its own. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    own_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return result_of(write(own_fd >= 0 ? own_fd : fd, data, size), size);
}

int pv_write_nowait(int fd, const void *data, size_t size)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISSOCK(st.st_mode))
        return result_of(send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL), size);
    if (poll(&p, 1, 0) <= 0 || (p.revents & POLLOUT) == 0)
        return -EAGAIN;
    if (S_ISFIFO(st.st_mode))
        return write_pipe(fd, data, size);
    return result_of(write(fd, data, size), size);
}

static size_t make_line(char *line, char priority, const char *message)
{
    size_t start = 0, n;

    if (priority != '\0' && isatty(STDERR_FILENO) == 0)
        start = (size_t)snprintf(line, LINE_BYTES, "<%c>", priority);
    n = strnlen(message, LINE_BYTES - start - 1);
    memcpy(line + start, message, n);
    for (size_t i = start; i < start + n; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[start + n] = '\n';
    return start + n + 1;
}

void pv_log_line(char priority, const char *message)
{
    static unsigned int n_dropped; /* atomic */
    unsigned int n = __atomic_exchange_n(&n_dropped, 0, __ATOMIC_RELAXED);
    char line[LINE_BYTES], text[64];
    bool is_written = true;

    if (n > 0) {
        snprintf(text, sizeof text, "%u lines of the log were dropped: nobody read it", n);
        is_written = pv_write_nowait(STDERR_FILENO, line, make_line(line, '4', text)) != -EAGAIN;
    }
    if (is_written) {
        n = 0;
        is_written =
            pv_write_nowait(STDERR_FILENO, line, make_line(line, priority, message)) != -EAGAIN;
    }
    if (!is_written)
        __atomic_add_fetch(&n_dropped, n + 1, __ATOMIC_RELAXED);
}
