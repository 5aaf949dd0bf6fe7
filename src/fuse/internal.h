/*
 * What the server's two halves share: server.c knows FUSE's operations, threads.c reads requests
 * and sees to it that none is lost.
 */
#pragma once

#include "procview/cgroup_tree.h"
#include "procview/server.h"

#include "handles.h"
#include "tree.h"

#include <pthread.h>

struct fuse_conn_info;
struct fuse_session;
struct fuse_lowlevel_ops;

typedef enum { THREAD_IDLE, THREAD_BUSY, THREAD_ENDED } ThreadState;

/* The request that a thread is serving. */
typedef struct {
    guint64 unique;       /* as the kernel gave it; 0: none */
    gboolean is_repeated; /* an earlier worker may have served it, and may even have answered */
    const void *message;  /* as the kernel wrote it */
    PvCgroupTurn *turn;   /* of the thread */
} PvRequest;

typedef struct {
    PvServer *server;
    guint number;
    guint slot; /* that it reads into; none while a request is served */
    pthread_t thread;
    gint state; /* atomic; a ThreadState. IDLE: about to read, or reading */
    PvRequest request;
    PvCgroupTurn turn;
} PvThread;

struct PvServer {
    PvServerOptions options;
    PvSharedMemory *memory;
    PvTree *tree;              /* of the views' server … */
    PvHandles *handles;        /* … made at its start */
    PvCgroupTree *cgroup_tree; /* of the cgroup tree's */
    struct fuse_session *session;
    int fd;            /* closed by the session */
    PvThread *threads; /* [n_threads] */
    guint n_threads;
    guint n_started;
    gboolean replays; /* what an earlier worker left in the slots is to be served again, as the
                         kernel does not resend */
    GMutex slots_lock;
    GArray *free_slots;                /* of guint; protected by slots_lock */
    GArray *left_slots;                /* the same: those of an earlier worker */
    gboolean is_left[PV_SHARED_SLOTS]; /* the request is of an earlier worker */
    gint stopping;                     /* atomic */
    gint gone;                         /* atomic: on_gone was called */
};

/* The largest piece of a read, and of a write. Later workers go by what the first has negotiated.
 */
#define PV_FUSE_PIECE_BYTES (128 * 1024)

/* What is asked of the kernel. capabilities: FUSE_CAP_… that are wanted where there are. */
void pv_server_negotiate(struct fuse_conn_info *conn, unsigned int capabilities);

/* A server with these callbacks, and nothing behind them yet. fuse_fd: owned by it (also when this
 * fails). */
PvServer *pv_server_new_empty(const PvServerOptions *options,
                              const struct fuse_lowlevel_ops *operations, gsize size, int fuse_fd,
                              GError **error);

/* The request that the calling thread is serving. */
const PvRequest *pv_request_current(void);

/* Have libfuse serve a request. */
void pv_server_process(PvServer *server, void *request, gsize size);

/* Take over what an earlier server of the cgroup tree had open. */
gboolean pv_server_start_cgroup_tree(PvServer *server, GError **error);

void pv_threads_prepare(PvServer *server);
void pv_threads_clear(PvServer *server);
gboolean pv_threads_start(PvServer *server, GError **error);
