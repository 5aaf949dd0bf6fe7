/*
 * The FUSE server: libfuse's low-level callbacks over the tree and the handles.
 *
 * What makes a read cheap: entries and attributes are kept by the kernel for an hour (they never
 * change), FLUSH and POLL are answered ENOSYS once, ACCESS is the kernel's own business, and a text
 * is rendered when it is read at offset 0 and sliced otherwise.
 */
#define FUSE_USE_VERSION 314

#include "procview/server.h"

#include "handles.h"
#include "internal.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <string.h>
#include <sys/statvfs.h>

#define KEEP_SECONDS 3600.0 /* how long the kernel may keep what never changes */

G_STATIC_ASSERT(PV_SHARED_REQUEST_BYTES >= PV_FUSE_PIECE_BYTES + 8192);

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

/*
 * Take a handle for the caller. The container is looked for here, once, and not at each read. A
 * request that a worker died of, or before it could answer, is given the handle that it was given
 * then.
 */
static void open_node(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    PvServer *server = server_of(req);
    PvCaller caller = caller_of(req);
    const PvRequest *request = pv_request_current();
    g_autoptr(PvContainer) container = NULL;
    gboolean is_old;
    guint64 handle = 0;
    int r = 0;

    is_old = request->is_repeated &&
             pv_handles_find_opened(server->handles, ino, request->unique, &handle);
    if (!is_old) {
        r = pv_tree_find_container(server->tree, &caller, ino, &container);
        if (r == 0)
            r = pv_handles_open(server->handles, ino, container, request->unique, &handle);
    }
    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    fi->fh = handle;
    /* The kernel does not want the answer: there will be no RELEASE. But it may have had an earlier
     * one. */
    if (fuse_reply_open(req, fi) < 0 && !is_old)
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
 * Whose text is to be shown. The opener's container was found by an earlier worker, or the handle
 * is not known at all (its memory is lost): then it is mostly the reader's.
 */
static int find_owner(fuse_req_t req, fuse_ino_t ino, guint64 handle, gboolean *ret_has_handle,
                      PvContainer **ret_container)
{
    PvServer *server = server_of(req);
    PvCaller caller = caller_of(req);
    g_autoptr(PvContainer) container = NULL;
    PvHandleOwner owner;
    int r = pv_handles_get(server->handles, handle, ino, &owner);

    *ret_has_handle = r == 0;
    if (r == 0 && owner.is_known) {
        *ret_container = owner.container;
        return 0;
    }
    if (r < 0 || owner.share != 0) {
        int found = pv_tree_find_container(server->tree, &caller, ino, &container);
        if (found < 0)
            return found;
    }
    if (r == 0 && owner.share != 0 && (container == NULL || container->id != owner.share)) {
        PvContainer *opener = pv_tree_find_container_by_id(server->tree, owner.share);
        if (opener != NULL) {
            g_clear_pointer(&container, pv_container_unref);
            container = opener;
        }
    }
    if (r == 0)
        pv_handles_set_container(server->handles, handle, container);
    *ret_container = g_steal_pointer(&container);
    return 0;
}

/*
 * The opener's container turned out to be gone while its text was made, which is therefore the
 * kernel's own: make that of the container where the reader is now. There is none behind a path
 * below containers/.
 */
static int render_again(fuse_req_t req, fuse_ino_t ino, guint64 handle, MakeTextFunc make_text,
                        GString *out)
{
    PvServer *server = server_of(req);
    PvCaller caller = caller_of(req);
    g_autoptr(PvContainer) container = NULL;
    int r = pv_tree_find_container(server->tree, &caller, ino, &container);

    if (r < 0)
        return r;
    pv_handles_set_container(server->handles, handle, container);
    g_string_truncate(out, 0);
    return make_text(req, container, ino, out);
}

/* Make a node's text anew, and keep it in the handle, when there is one. */
static int render_text(fuse_req_t req, fuse_ino_t ino, guint64 handle, MakeTextFunc make_text,
                       GString *out)
{
    PvServer *server = server_of(req);
    g_autoptr(PvContainer) container = NULL;
    gboolean has_handle;
    int r = find_owner(req, ino, handle, &has_handle, &container);

    if (r == 0)
        r = make_text(req, container, ino, out);
    if (r == 0 && container != NULL && pv_container_is_gone(container))
        r = render_again(req, ino, handle, make_text, out);
    if (r == 0 && out->len > PV_SHARED_TEXT_BYTES)
        r = -EFBIG;
    if (r < 0 || !has_handle)
        return r;
    r = pv_handles_publish(server->handles, handle, pv_request_current()->unique, out->str,
                           out->len);
    return r == -ENOENT ? 0 : r;
}

/*
 * The text that a read is a slice of: at offset 0 a new one, which the handle keeps, else the one
 * that the handle has. A request that is served for the second time gets what it got: its reader
 * may have gone on with it.
 *
 * size     how much of it is wanted, from `offset` on
 * ret_at   where that begins in `out`
 */
static int get_text(fuse_req_t req, fuse_ino_t ino, guint64 handle, gsize offset, gsize size,
                    MakeTextFunc make_text, GString *out, gsize *ret_at)
{
    PvServer *server = server_of(req);
    const PvRequest *request = pv_request_current();
    int r = -ENODATA;

    *ret_at = 0;
    if (offset != 0 || (request->is_repeated &&
                        pv_handles_was_rendered_for(server->handles, handle, request->unique)))
        r = pv_handles_read(server->handles, handle, offset, size, out);
    if (r != -ENODATA && r != -ENOENT)
        return r;
    *ret_at = offset;
    return render_text(req, ino, handle, make_text, out);
}

static int make_file_text(fuse_req_t req, PvContainer *container, fuse_ino_t ino, GString *out)
{
    return pv_tree_render(server_of(req)->tree, container, ino, out);
}

static void reply_slice(fuse_req_t req, const GString *text, gsize at, gsize size)
{
    if (at >= text->len)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, text->str + at, MIN(size, text->len - at));
}

/* Valid replies: fuse_reply_buf, fuse_reply_err. */
static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    g_autoptr(GString) text = g_string_sized_new(4096);
    gsize at = 0;
    int r;

    /* A read without an owner is the kernel's own, to fill the page cache, which all containers
     * would share: for sendfile(2) since Linux 6.5, and for mmap(2). Who is refused that reads
     * instead. */
    if (offset < 0 || fi->lock_owner == 0)
        r = -EINVAL;
    else
        r = get_text(req, ino, fi->fh, (gsize)offset, MIN(size, PV_FUSE_PIECE_BYTES),
                     make_file_text, text, &at);
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        reply_slice(req, text, at, size);
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
    g_autoptr(GString) text = g_string_sized_new(4096);
    gsize start = (gsize)offset;
    int r = -ENODATA;

    if (offset < 0) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    /* Where an entry begins is told by those before it: all of them are wanted. */
    if (offset != 0)
        r = pv_handles_read(server_of(req)->handles, fi->fh, 0, PV_SHARED_TEXT_BYTES, text);
    if (r == -ENODATA || r == -ENOENT)
        r = render_text(req, ino, fi->fh, make_dir_text, text);
    if (r < 0)
        fuse_reply_err(req, -r);
    else if (start >= text->len)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, text->str + start, whole_entries(text->str, text->len, start, size));
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    pv_server_negotiate(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
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

/* ---- the server ---- */

PvServer *pv_server_new(PvHost *host, PvContainers *containers, PvViews *views,
                        const PvServerOptions *options, int fuse_fd, GError **error)
{
    g_autoptr(PvServer) server =
        pv_server_new_empty(options, &operations, sizeof operations, fuse_fd, error);

    if (server == NULL)
        return NULL;
    server->tree = pv_tree_new(host, containers, views, &options->serve, error);
    if (server->tree == NULL)
        return NULL;
    pv_tree_set_time(server->tree, server->memory->mount_sec);
    pv_tree_set_switch(server->tree, &server->memory->status.shows_host);
    if (options->is_safe)
        pv_tree_show_host(server->tree);
    return g_steal_pointer(&server);
}
