/*
 * Messages between the launcher and its children.
 */
#include "message.h"

#include "procview/fd.h"

#include <string.h>
#include <sys/socket.h>

int pv_message_send(int sock, PvMessageType type, int value, const char *text, int fd)
{
    PvMessage message = {.type = type, .value = value};
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof message};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (text != NULL)
        g_strlcpy(message.text, text, sizeof message.text);
    if (fd >= 0) {
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
    }
    do
        n = sendmsg(sock, &header, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

int pv_message_receive(int sock, PvMessage *message, int *ret_fd)
{
    struct iovec iov = {.iov_base = message, .iov_len = sizeof *message};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    pv_autofd int fd = -1;
    ssize_t n;

    do
        n = recvmsg(sock, &header, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    if (n == 0)
        return -EPIPE;
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
    if (cmsg != NULL && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
        cmsg->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(cmsg), sizeof fd);
    if ((size_t)n != sizeof *message)
        return -EPROTO;
    message->text[sizeof message->text - 1] = '\0';
    if (ret_fd != NULL)
        *ret_fd = pv_steal_fd(&fd);
    return 0;
}
