/*
 * The FUSE server: answers the kernel's requests on a descriptor of /dev/fuse that somebody else
 * mounted.
 */
#pragma once

#include "procview/view.h"

typedef struct PvServer PvServer;

typedef struct {
    guint threads; /* that answer requests; 0: chosen from the number of CPUs */

    /* Called once, from a thread of the server, when the mount has gone away. May be NULL. */
    void (*on_gone)(gpointer data);
    gpointer on_gone_data;
} PvServerOptions;

/*
 * fuse_fd  a mounted /dev/fuse, owned by the server from now on (also when this fails)
 * host, containers and views must outlive the server.
 */
PvServer *pv_server_new(PvHost *host, PvContainers *containers, PvViews *views,
                        const PvServerOptions *options, int fuse_fd, GError **error);

/* The threads must have ended. Closes fuse_fd. */
void pv_server_free(PvServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvServer, pv_server_free)

/*
 * Start the threads; they end when the mount goes away or pv_server_stop() is called. Installs an
 * empty handler for SIGRTMIN, which wakes them.
 */
gboolean pv_server_start(PvServer *server, GError **error);

/*
 * Ask the threads to end after the request that each is serving, and join them: no request that was
 * read stays without an answer. Returns FALSE when one has not ended after 5 seconds: nothing that
 * it may use can be freed then.
 */
gboolean pv_server_stop(PvServer *server);
