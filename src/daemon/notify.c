/* Messages to the service manager, see notify.h. The protocol is a datagram to a local socket. */
#include "notify.h"

#include "procview/fd.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int pv_notify(const char *message)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length;
    pv_autofd int fd = -1;

    if (path == NULL || path[0] == '\0')
        return 0;
    length = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || length >= sizeof address.sun_path)
        return -EINVAL;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') /* an abstract socket: its name begins with a NUL and has none at the end */
        address.sun_path[0] = '\0';

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    length += offsetof(struct sockaddr_un, sun_path) + (path[0] == '/' ? 1 : 0);
    if (sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&address,
               (socklen_t)length) < 0)
        return -errno;
    return 0;
}
