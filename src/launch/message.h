/*
 * What the launcher and the processes that it starts tell each other while a container comes up,
 * over a pair of sequenced-packet sockets.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef enum {
    PV_MESSAGE_GO = 1,   /* launcher: the next step may be taken */
    PV_MESSAGE_PID,      /* starter: value is the init's pid in the launcher's namespace */
    PV_MESSAGE_MOUNTED,  /* init: the file system is ready for the views */
    PV_MESSAGE_LISTENER, /* init: with the listener's descriptor, or value is a negative errno */
    PV_MESSAGE_STARTED,  /* init: COMMAND is running */
    PV_MESSAGE_STOPPED,  /* init: COMMAND was stopped by a signal */
    PV_MESSAGE_ERROR,    /* starter, init: text says what failed, value is the exit status for it */
} PvMessageType;

typedef struct {
    guint32 type;
    gint32 value;
    char text[1024]; /* ends with a NUL */
} PvMessage;

/* fd  passed along, -1 for none. Returns 0 or a negative errno. */
int pv_message_send(int sock, PvMessageType type, int value, const char *text, int fd);

/* Wait for a message. ret_fd may be NULL: a descriptor that comes along is closed then.
 * Returns 0, or a negative errno: -EPIPE when the other side is gone, -EPROTO for nonsense. */
int pv_message_receive(int sock, PvMessage *message, int *ret_fd);
