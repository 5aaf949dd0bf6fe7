/* Messages to the service manager, see notify.h. The protocol is a datagram to a local socket. */
#include "notify.h"

#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

/* sd_listen_fds(3): descriptors that are handed over begin here. */
#define LISTEN_FDS_START 3
#define LISTEN_FDS_MAX   64

static const struct timeval SEND_TIMEOUT = {.tv_usec = 100 * 1000};

static int notify_with_fd(const char *message, int sent_fd)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct iovec part = {.iov_base = (char *)message, .iov_len = strlen(message)};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof sent_fd)] = {0};
    struct msghdr header = {.msg_name = &address, .msg_iov = &part, .msg_iovlen = 1};
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
    header.msg_namelen =
        (socklen_t)(length + offsetof(struct sockaddr_un, sun_path) + (path[0] == '/' ? 1 : 0));
    if (sent_fd >= 0) {
        struct cmsghdr *head;

        header.msg_control = control;
        header.msg_controllen = sizeof control;
        head = CMSG_FIRSTHDR(&header);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof sent_fd);
        memcpy(CMSG_DATA(head), &sent_fd, sizeof sent_fd);
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* A manager that hangs must not hang us: readers are waiting. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &SEND_TIMEOUT, sizeof SEND_TIMEOUT) < 0 ||
        sendmsg(fd, &header, MSG_NOSIGNAL) < 0)
        return -errno;
    return 0;
}

int pv_notify(const char *message)
{
    return notify_with_fd(message, -1);
}

int pv_notify_can_store(void)
{
    /* $FDSTORE came with version 254; others are known by the unit's invocation. */
    return getenv("NOTIFY_SOCKET") != NULL &&
           (getenv("FDSTORE") != NULL || getenv("INVOCATION_ID") != NULL);
}

int pv_notify_store(const char *name, int fd)
{
    char message[128];

    /* FDPOLL=0: /dev/fuse is not to be given up when something happens on it. */
    snprintf(message, sizeof message, "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
    return notify_with_fd(message, fd);
}

void pv_notify_unstore(const char *name)
{
    char message[128];

    snprintf(message, sizeof message, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    pv_notify(message);
}

int pv_notify_stored(const char *name)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    int n = count != NULL ? atoi(count) : 0;

    if (pid == NULL || atoi(pid) != (int)getpid() || names == NULL)
        return -1;
    for (int i = 0; i < n && i < LISTEN_FDS_MAX; i++) {
        size_t length = strcspn(names, ":");
        if (length == strlen(name) && memcmp(names, name, length) == 0) {
            int fd = LISTEN_FDS_START + i;
            fcntl(fd, F_SETFD, FD_CLOEXEC);
            return fd;
        }
        if (names[length] == '\0')
            return -1;
        names += length + 1;
    }
    return -1;
}

unsigned int pv_notify_watchdog_msec(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (usec == NULL || (pid != NULL && atoi(pid) != (int)getpid()))
        return 0;
    return (unsigned int)(strtoull(usec, NULL, 10) / 2000);
}
