/*
 * File descriptors that close themselves and change owner visibly.
 *
 *     pv_autofd int fd = open(...);
 *     ...
 *     return pv_steal_fd(&fd);
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Close *fd unless it is negative, keep errno, and set it to -1. */
static inline void pv_clear_fd(int *fd)
{
    if (*fd >= 0) {
        int saved_errno = errno;
        close(*fd);
        errno = saved_errno;
    }
    *fd = -1;
}

#define pv_autofd __attribute__((cleanup(pv_clear_fd)))

/* Hand the descriptor to the caller: *fd becomes -1. */
static inline int pv_steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

/* At the start of a program: what it opens must not become its stdin, stdout or stderr, where these
 * were closed. Returns 0 or a negative errno. */
static inline int pv_fd_open_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}
