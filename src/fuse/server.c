/*
 * The FUSE server: libfuse's low-level callbacks over the tree and the handles, and the threads
 * that read requests.
 *
 * Why a loop of our own: libfuse's drops, when it ends, requests that it has read, and a reader
 * whose request is lost waits for ever.
 *
 * What makes a read cheap: entries and attributes are kept by the kernel for an hour (they never
 * change), FLUSH and POLL are answered ENOSYS once, ACCESS is the kernel's own business, and a text
 * is rendered when it is read at offset 0 and sliced otherwise.
 */
#define FUSE_USE_VERSION 314

#include "procview/server.h"

#include "handles.h"
#include "tree.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/log.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_log.h>
#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define KEEP_SECONDS     3600.0       /* how long the kernel may keep what never changes */
#define WRITE_BYTES_MAX  (128 * 1024) /* bounds reads too */
#define REQUEST_BYTES    (WRITE_BYTES_MAX + 8192)
#define TEXT_BYTES_MAX   (4 * 1024 * 1024)
#define TEXTS_BYTES_MAX  (256 * 1024 * 1024)
#define HANDLES_MAX      16384
#define THREADS_MIN      2
#define THREADS_MAX      64
#define STOP_TIMEOUT_SEC 5

typedef enum { WORKER_IDLE, WORKER_BUSY, WORKER_ENDED } WorkerState;

typedef struct {
    PvServer *server;
    pthread_t thread;
    gint state;    /* atomic; a WorkerState. IDLE: about to read, or reading */
    char *request; /* [REQUEST_BYTES] */
} Worker;

struct PvServer {
    PvServerOptions options;
    PvTree *tree;
    PvHandles *handles;
    struct fuse_session *session;
    int fd;          /* closed by the session */
    Worker *workers; /* [n_workers] */
    guint n_workers;
    guint n_started;
    gint stopping; /* atomic */
    gint gone;     /* atomic: on_gone was called */
};

static PvServer *server_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static PvCaller caller_of(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);

    return (PvCaller){.tid = ctx->pid, .uid = ctx->uid};
}

/* ---- names and attributes ---- */

/* Valid replies: fuse_reply_entry, fuse_reply_err. */
static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    PvCaller caller = caller_of(req);
    struct fuse_entry_param param = {.generation = 1, .attr_timeout = KEEP_SECONDS};
    PvTreeEntry entry = {0};
    int r = pv_tree_lookup(server_of(req)->tree, &caller, parent, name, &entry);

    if (r < 0 && (r != -ENOENT || entry.differs)) {
        fuse_reply_err(req, -r);
        return;
    }
    /* Inode 0: there is no such name, and the kernel may remember that. */
    param.ino = r == 0 ? entry.ino : 0;
    param.attr = entry.stat;
    param.entry_timeout = entry.differs ? 0 : KEEP_SECONDS;
    fuse_reply_entry(req, &param);
}

/* Valid replies: fuse_reply_attr, fuse_reply_err. */
static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    PvCaller caller = caller_of(req);
    struct stat st;
    int r = pv_tree_stat(server_of(req)->tree, &caller, ino, &st);

    (void)fi;
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_attr(req, &st, KEEP_SECONDS);
}

/* Valid replies: fuse_reply_readlink, fuse_reply_err. */
static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    PvCaller caller = caller_of(req);
    g_autoptr(GString) target = g_string_new(NULL);
    int r = pv_tree_readlink(server_of(req)->tree, &caller, ino, target);

    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_readlink(req, target->str);
}

/* Valid replies: fuse_reply_statfs, fuse_reply_err. */
static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    const struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255};

    (void)ino;
    fuse_reply_statfs(req, &st);
}

/* ---- open files ---- */

/* Take a handle for the caller. The container is looked for here, once, and not at each read. */
static void open_node(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    PvServer *server = server_of(req);
    PvCaller caller = caller_of(req);
    g_autoptr(PvContainer) container = NULL;
    guint64 handle = 0;
    int r = pv_tree_find_container(server->tree, &caller, ino, &container);

    if (r == 0)
        r = pv_handles_open(server->handles, ino, container, &handle);
    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    fi->fh = handle;
    /* The opener was killed meanwhile: there will be no RELEASE. */
    if (fuse_reply_open(req, fi) < 0)
        pv_handles_close(server->handles, handle);
}

/* Valid replies: fuse_reply_open, fuse_reply_err. */
static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if ((fi->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(req, EACCES);
        return;
    }
    fi->direct_io = 1; /* the text depends on the caller: none of it may be kept by inode */
    open_node(req, ino, fi);
}

/* Valid replies: fuse_reply_open, fuse_reply_err. */
static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    open_node(req, ino, fi);
}

/* Valid replies: fuse_reply_err. */
static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    pv_handles_close(server_of(req)->handles, fi->fh);
    fuse_reply_err(req, 0);
}

/* What makes a node's text: of a file, or of a directory. */
typedef int (*MakeTextFunc)(fuse_req_t req, PvContainer *container, fuse_ino_t ino, GString *out);

/*
 * The text that a read is a slice of: at offset 0 a new one, which the handle keeps, else the one
 * that the handle has. A handle that is not known (it is of an earlier server) is as good as a new
 * one of the reader.
 */
static int get_text(fuse_req_t req, fuse_ino_t ino, guint64 handle, off_t offset,
                    MakeTextFunc make_text, GBytes **ret_text)
{
    PvServer *server = server_of(req);
    PvCaller caller = caller_of(req);
    g_autoptr(PvContainer) container = NULL;
    g_autoptr(GBytes) text = NULL;
    GString *out;
    int r = pv_handles_get(server->handles, handle, ino, &container, &text);

    if (r == 0 && offset != 0 && text != NULL) {
        *ret_text = g_steal_pointer(&text);
        return 0;
    }
    if (r < 0) {
        r = pv_tree_find_container(server->tree, &caller, ino, &container);
        if (r < 0)
            return r;
    }
    g_clear_pointer(&text, g_bytes_unref);
    out = g_string_sized_new(4096);
    r = make_text(req, container, ino, out);
    if (r == 0 && out->len > TEXT_BYTES_MAX)
        r = -EFBIG;
    if (r < 0) {
        g_string_free(out, TRUE);
        return r;
    }
    text = g_string_free_to_bytes(out);
    r = pv_handles_publish(server->handles, handle, text);
    if (r < 0 && r != -ENOENT)
        return r;
    *ret_text = g_steal_pointer(&text);
    return 0;
}

static int make_file_text(fuse_req_t req, PvContainer *container, fuse_ino_t ino, GString *out)
{
    return pv_tree_render(server_of(req)->tree, container, ino, out);
}

/* Valid replies: fuse_reply_buf, fuse_reply_err. */
static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    g_autoptr(GBytes) text = NULL;
    const char *data;
    gsize length;
    int r;

    /* A read without an owner is the kernel's own, to fill the page cache, which all containers
     * would share: for sendfile(2) since Linux 6.5, and for mmap(2). Who is refused that reads
     * instead. */
    if (offset < 0 || fi->lock_owner == 0)
        r = -EINVAL;
    else
        r = get_text(req, ino, fi->fh, offset, make_file_text, &text);
    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    data = g_bytes_get_data(text, &length);
    if ((guint64)offset >= length)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, data + offset, MIN(size, length - (gsize)offset));
}

/* ---- open directories: their text is the entries as the kernel wants them, an entry's offset its
 * place in it ---- */

typedef struct {
    fuse_req_t req;
    GString *out;
} DirText;

static void add_entry(const char *name, guint64 ino, mode_t mode, gpointer data)
{
    const DirText *text = data;
    const struct stat st = {.st_ino = ino, .st_mode = mode};
    gsize start = text->out->len;
    gsize size = fuse_add_direntry(text->req, NULL, 0, name, NULL, 0);

    g_string_set_size(text->out, start + size);
    fuse_add_direntry(text->req, text->out->str + start, size, name, &st, (off_t)(start + size));
}

static int make_dir_text(fuse_req_t req, PvContainer *container, fuse_ino_t ino, GString *out)
{
    PvCaller caller = caller_of(req);
    DirText text = {.req = req, .out = out};

    add_entry(".", ino, S_IFDIR, &text);
    add_entry("..", ino, S_IFDIR, &text);
    return pv_tree_list(server_of(req)->tree, &caller, container, ino, add_entry, &text);
}

/* How many bytes of whole entries lie from `offset` on and fit in `size`; 0 for an offset where
 * none begins. */
static gsize whole_entries(const char *data, gsize length, gsize offset, gsize size)
{
    gsize position = 0, taken = 0;

    while (position < length) {
        const gsize name_at =
            24; /* struct fuse_dirent: ino, off, namelen, type, name; padded to 8 */
        guint32 name_length;
        gsize entry;

        memcpy(&name_length, data + position + 16, sizeof name_length);
        entry = (name_at + name_length + 7) & ~(gsize)7;
        if (position >= offset) {
            if (position == offset + taken && taken + entry <= size)
                taken += entry;
            else
                break;
        }
        position += entry;
    }
    return taken;
}

/* Valid replies: fuse_reply_buf, fuse_reply_err. */
static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                       struct fuse_file_info *fi)
{
    g_autoptr(GBytes) text = NULL;
    const char *data;
    gsize length;
    int r = offset < 0 ? -EINVAL : get_text(req, ino, fi->fh, offset, make_dir_text, &text);

    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    data = g_bytes_get_data(text, &length);
    if ((guint64)offset >= length)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, data + offset, whole_entries(data, length, (gsize)offset, size));
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->max_write = WRITE_BYTES_MAX;
    conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
    /* RELEASEs of many readers that close at once. */
    conn->max_background = 256;
    conn->congestion_threshold = 192;
}

/* Those that are not here are answered ENOSYS: the kernel sends them once (FLUSH, POLL), or not on
 * a read-only mount. */
static const struct fuse_lowlevel_ops operations = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .readlink = op_readlink,
    .open = op_open,
    .read = op_read,
    .release = op_release,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .releasedir = op_release,
    .statfs = op_statfs,
};

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

/* ---- threads ---- */

static void mount_gone(PvServer *server)
{
    if (g_atomic_int_compare_and_exchange(&server->gone, 0, 1) && server->options.on_gone != NULL &&
        !g_atomic_int_get(&server->stopping))
        server->options.on_gone(server->options.on_gone_data);
}

static void *serve(void *data)
{
    Worker *worker = data;
    PvServer *server = worker->server;

    while (!g_atomic_int_get(&server->stopping)) {
        struct fuse_buf buf = {.mem = worker->request};
        ssize_t n = read(server->fd, worker->request, REQUEST_BYTES);

        if (n > 0) {
            g_atomic_int_set(&worker->state, WORKER_BUSY);
            buf.size = (size_t)n;
            fuse_session_process_buf(server->session, &buf);
            g_atomic_int_set(&worker->state, WORKER_IDLE);
        } else if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT) {
            /* ENOENT: the request was interrupted before it was read. ENODEV: unmounted. */
            mount_gone(server);
            break;
        }
    }
    g_atomic_int_set(&worker->state, WORKER_ENDED);
    return NULL;
}

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

static guint choose_threads(guint wanted)
{
    return CLAMP(wanted != 0 ? wanted : g_get_num_processors(), wanted != 0 ? 1 : THREADS_MIN,
                 wanted != 0 ? THREADS_MAX : 8);
}

PvServer *pv_server_new(PvHost *host, PvContainers *containers, PvViews *views,
                        const PvServerOptions *options, int fuse_fd, GError **error)
{
    static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
    char *argv[] = {(char *)"procviewd", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    pv_autofd int fd = fuse_fd;
    g_autoptr(PvServer) server = g_new0(PvServer, 1);
    int r;

    fuse_set_log_func(log_message);
    server->options = *options;
    server->fd = -1;
    server->tree = pv_tree_new(host, containers, views, error);
    if (server->tree == NULL)
        return NULL;
    server->handles = pv_handles_new(HANDLES_MAX, TEXTS_BYTES_MAX);
    server->session = fuse_session_new(&args, &operations, sizeof operations, server);
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
    server->n_workers = choose_threads(options->threads);
    server->workers = g_new0(Worker, server->n_workers);
    for (guint i = 0; i < server->n_workers; i++) {
        server->workers[i].server = server;
        server->workers[i].request = g_malloc(REQUEST_BYTES);
    }
    return g_steal_pointer(&server);
}

void pv_server_free(PvServer *server)
{
    if (server == NULL)
        return;
    for (guint i = 0; i < server->n_workers; i++)
        g_free(server->workers[i].request);
    g_free(server->workers);
    if (server->session != NULL)
        fuse_session_destroy(server->session); /* closes the descriptor */
    pv_handles_free(server->handles);
    pv_tree_free(server->tree);
    g_free(server);
}

static void wake(int signal_number)
{
    (void)signal_number;
}

gboolean pv_server_start(PvServer *server, GError **error)
{
    /* Without SA_RESTART: read() is to return. */
    struct sigaction action = {.sa_handler = wake};
    sigset_t all_but_wake, before;
    int r = 0;

    sigaction(SIGRTMIN, &action, NULL);
    sigfillset(&all_but_wake);
    sigdelset(&all_but_wake, SIGRTMIN);
    pthread_sigmask(SIG_SETMASK, &all_but_wake, &before);
    while (r == 0 && server->n_started < server->n_workers) {
        Worker *worker = &server->workers[server->n_started];
        r = pthread_create(&worker->thread, NULL, serve, worker);
        if (r == 0)
            server->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        pv_server_stop(server);
        return pv_error_set_errno(error, r, "cannot start a thread");
    }
    return TRUE;
}

gboolean pv_server_stop(PvServer *server)
{
    gint64 until = g_get_monotonic_time() + STOP_TIMEOUT_SEC * G_USEC_PER_SEC;
    guint n_ended;

    g_atomic_int_set(&server->stopping, 1);
    do {
        n_ended = 0;
        for (guint i = 0; i < server->n_started; i++) {
            switch (g_atomic_int_get(&server->workers[i].state)) {
            case WORKER_IDLE:
                /* It may have looked at the flag just before: again until it has ended. */
                pthread_kill(server->workers[i].thread, SIGRTMIN);
                break;
            case WORKER_ENDED:
                n_ended++;
                break;
            }
        }
        if (n_ended < server->n_started) {
            if (g_get_monotonic_time() >= until)
                return FALSE;
            g_usleep(1000);
        }
    } while (n_ended < server->n_started);
    for (guint i = 0; i < server->n_started; i++)
        pthread_join(server->workers[i].thread, NULL);
    server->n_started = 0;
    return TRUE;
}
