/*
 * A server's life, whatever it serves: a session of libfuse on a descriptor that somebody else
 * mounted, fed by threads of our own.
 */
#define FUSE_USE_VERSION 314

#include "procview/server.h"

#include "handles.h"
#include "internal.h"
#include "tree.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/log.h"

#include <errno.h>
#include <fuse3/fuse_log.h>
#include <fuse3/fuse_lowlevel.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define TEXTS_BYTES_MAX (128 * 1024 * 1024)

/* libfuse has a word to say now and then; it goes where ours do. */
static void log_message(enum fuse_log_level level, const char *format, va_list args)
    G_GNUC_PRINTF(2, 0);

static void log_message(enum fuse_log_level level, const char *format, va_list args)
{
    g_autofree char *text = g_strchomp(g_strdup_vprintf(format, args));

    pv_log(level <= FUSE_LOG_ERR       ? PV_LOG_ERROR
           : level <= FUSE_LOG_WARNING ? PV_LOG_WARNING
           : level <= FUSE_LOG_INFO    ? PV_LOG_INFO
                                       : PV_LOG_DEBUG,
           "libfuse: %s", text);
}

/* ---- the server ---- */

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    (void)userdata;
    return writev(fd, iov, count);
}

static ssize_t io_read(int fd, void *buf, size_t size, void *userdata)
{
    (void)userdata;
    return read(fd, buf, size);
}

void pv_server_negotiate(struct fuse_conn_info *conn, unsigned int capabilities)
{
    conn->max_write = PV_FUSE_PIECE_BYTES;
    conn->want = conn->capable & capabilities;
    /* RELEASEs of many readers that close at once. */
    conn->max_background = 256;
    conn->congestion_threshold = 192;
}

PvServer *pv_server_new_empty(const PvServerOptions *options,
                              const struct fuse_lowlevel_ops *operations, gsize size, int fuse_fd,
                              GError **error)
{
    static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
    char *argv[] = {(char *)"procviewd", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    pv_autofd int fd = fuse_fd;
    g_autoptr(PvServer) server = g_new0(PvServer, 1);
    int r;

    fuse_set_log_func(log_message);
    server->options = *options;
    server->memory = options->shared->memory;
    server->fd = -1;
    server->session = fuse_session_new(&args, operations, size, server);
    fuse_opt_free_args(&args);
    if (server->session == NULL) {
        pv_error_set(error, PV_ERROR_FAILED, "libfuse: cannot make a session");
        return NULL;
    }
    r = fuse_session_custom_io(server->session, &io, fd);
    if (r < 0) {
        pv_error_set_errno(error, -r, "libfuse");
        return NULL;
    }
    server->fd = pv_steal_fd(&fd);
    pv_threads_prepare(server);
    return g_steal_pointer(&server);
}

void pv_server_free(PvServer *server)
{
    if (server == NULL)
        return;
    pv_threads_clear(server);
    if (server->session != NULL)
        fuse_session_destroy(server->session); /* closes the descriptor */
    pv_handles_free(server->handles);
    pv_tree_free(server->tree);
    pv_cgroup_tree_free(server->cgroup_tree);
    g_free(server);
}

/* The recorded FUSE_INIT goes first: libfuse wants it, and the kernel waits for the first worker's
 * answer; to a later one it says ENOENT. */
static void replay_init(PvServer *server)
{
    struct fuse_buf buf = {.mem = server->memory->init, .size = server->memory->init_bytes};

    fuse_session_process_buf(server->session, &buf);
}

gboolean pv_server_start(PvServer *server, GError **error)
{
    /* Only now: until here another worker may have been writing to the table. */
    if (server->tree != NULL)
        server->handles =
            pv_handles_new(server->options.shared, PV_SHARED_HANDLES, TEXTS_BYTES_MAX);
    else if (!pv_server_start_cgroup_tree(server, error))
        return FALSE;
    replay_init(server);
    return pv_threads_start(server, error);
}

void pv_server_process(PvServer *server, void *request, gsize size)
{
    struct fuse_buf buf = {.mem = request, .size = size};

    fuse_session_process_buf(server->session, &buf);
}

guint pv_server_count_handles(PvServer *server)
{
    if (server->cgroup_tree != NULL)
        return pv_cgroup_tree_count_handles(server->cgroup_tree);
    return server->handles != NULL ? pv_handles_count(server->handles) : 0;
}
