/* The daemon's process id in a file, see pidfile.h. */
#include "pidfile.h"

#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* By rename: nobody ever reads half an id, and a link that stands there is replaced, not followed.
 */
int pv_pidfile_write(const char *path)
{
    char fresh[PATH_MAX];
    pv_autofd int fd = -1;
    int n = snprintf(fresh, sizeof fresh, "%s.new", path), saved_errno;

    if (n < 0 || (size_t)n >= sizeof fresh)
        return -ENAMETOOLONG;
    if (unlink(fresh) < 0 && errno != ENOENT)
        return -errno;
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    if (dprintf(fd, "%d\n", (int)getpid()) > 0 && rename(fresh, path) == 0)
        return 0;
    saved_errno = errno;
    unlink(fresh);
    return -saved_errno;
}

void pv_pidfile_remove(const char *path)
{
    pv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char text[32];
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;

    text[n > 0 ? n : 0] = '\0';
    if (n > 0 && atoi(text) == (int)getpid())
        unlink(path);
}
