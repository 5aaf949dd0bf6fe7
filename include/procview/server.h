/*
 * The FUSE server: answers the kernel's requests on a descriptor of /dev/fuse that somebody else mounted.
 */
#pragma once

#include "procview/view.h"

typedef struct PvServer PvServer;

typedef struct {
    guint threads; /* that answer requests; 0: chosen from the number of CPUs */
} PvServerOptions;

/*
 * fuse_fd  a mounted /dev/fuse, owned by the server from now on
 */
PvServer *pv_server_new(PvHost *host, PvContainers *containers, PvViews *views,
                        const PvServerOptions *options, int fuse_fd, GError **error);
void pv_server_free(PvServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvServer, pv_server_free)

/* Start the threads; they end when the mount goes away or pv_server_stop() is called. */
gboolean pv_server_start(PvServer *server, GError **error);

/* Ask the threads to end after the request that each is serving, and join them. */
void pv_server_stop(PvServer *server);
