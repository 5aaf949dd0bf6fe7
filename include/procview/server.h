/*
 * The FUSE server: answers the kernel's requests on a descriptor of /dev/fuse that somebody else
 * mounted.
 */
#pragma once

#include "procview/shared.h"
#include "procview/view.h"

typedef struct PvServer PvServer;

typedef struct {
    guint threads;        /* that answer requests; 0: chosen from the number of CPUs */
    PvServeOptions serve; /* not for the cgroup tree */

    /* The memory that outlives this server, with the recorded FUSE_INIT; must outlive it. No other
     * process may be serving with it once this one has been started. */
    const PvShared *shared;
    gboolean no_resend; /* serve what is in the slots again, though the kernel could resend */
    gboolean is_safe;   /* serve only what the kernel's own files say */

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

/* The same for the cgroup tree, on a mount that can be written. */
PvServer *pv_server_new_cgroup_tree(PvHost *host, PvHierarchies *hierarchies,
                                    PvContainers *containers, const PvServerOptions *options,
                                    int fuse_fd, GError **error);

/* The threads must have ended. Closes fuse_fd. */
void pv_server_free(PvServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvServer, pv_server_free)

/*
 * Have a crash of this process say in the shared memory which request it was in. pv_server_start()
 * does so, too; a process that others may signal earlier calls it before, once no other one serves.
 */
void pv_server_watch_crashes(PvServer *server);

/*
 * Take over what an earlier server has left unanswered, and start the threads; they end when the
 * mount goes away or pv_server_stop() is called. Installs an empty handler for SIGRTMIN, which
 * wakes them, and handlers that tell which request a crash was in.
 */
gboolean pv_server_start(PvServer *server, GError **error);

/*
 * Ask the threads to end after the request that each is serving, and join them: no request that was
 * read stays without an answer. Returns FALSE when one has not ended after 5 seconds: nothing that
 * it may use can be freed then.
 */
gboolean pv_server_stop(PvServer *server);

/* Open files and directories. */
guint pv_server_count_handles(PvServer *server);
