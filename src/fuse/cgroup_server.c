/*
 * The server of the cgroup tree: libfuse's low-level callbacks over procview/cgroup_tree.h.
 *
 * Nothing is kept by the kernel: what a name stands for, and what may be done to it, depends on who
 * asks and changes at any time. A request is served by the thread that read it, or waits for its
 * turn (procview/cgroup_tree.h).
 */
#define FUSE_USE_VERSION 314

#include "procview/server.h"

#include "internal.h"

#include "procview/error.h"
#include "procview/log.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILE_BYTES 65536              /* st_size */
#define TEXT_BYTES (16 * 1024 * 1024) /* of files of pids, the longest */

static PvCgroupTree *tree_of(fuse_req_t req)
{
    return ((PvServer *)fuse_req_userdata(req))->cgroup_tree;
}

static PvCgroupRequest request_of(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    const PvRequest *request = pv_request_current();

    return (PvCgroupRequest){.tid = ctx->pid,
                             .fsuid = ctx->uid,
                             .fsgid = ctx->gid,
                             .unique = request->unique & ~PV_UNIQUE_RESENT,
                             .is_repeated = request->is_repeated,
                             .turn = request->turn};
}

/* The answer of a request that failed, or none of one whose turn it is not yet: it is served again
 * from its start. */
static void reply_failure(fuse_req_t req, int r)
{
    if (r == PV_CGROUP_TREE_NOT_YET)
        fuse_reply_none(req);
    else
        fuse_reply_err(req, -r);
}

static void reply_result(fuse_req_t req, int r)
{
    fuse_reply_err(req, r < 0 ? -r : 0);
}

/*
 * cgroupfs has files of no size, and sendfile(2) would find nothing in ours (measure_rows()).
 * Nobody can say how long a text will be: longer than most, as some programs read no more than the
 * size; not longer than a block, which wc(1) and tail(1) then read to the end; and with blocks, as
 * cp(1) would take it for sparse, and copy no more than the size. Who asks for the end of a file
 * that he has open is told where it is (find_end()).
 */
static struct stat sized(const struct stat *st)
{
    struct stat shown = *st;

    if (S_ISREG(st->st_mode)) {
        shown.st_size = FILE_BYTES;
        shown.st_blocks = FILE_BYTES / 512;
        shown.st_blksize = FILE_BYTES;
    }
    return shown;
}

static void reply_entry(fuse_req_t req, int r, guint64 ino, const struct stat *st)
{
    struct fuse_entry_param param = {.ino = ino, .generation = 1, .attr = sized(st)};

    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_entry(req, &param);
}

static void reply_attr(fuse_req_t req, int r, const struct stat *st)
{
    if (r < 0)
        reply_failure(req, r);
    else
        fuse_reply_attr(req, st, 0);
}

/* The length of an open file's text, found by reading it; never 0, which the kernel would remember
 * for all who have it open. Returns 0 or PV_CGROUP_TREE_NOT_YET. */
static int find_end(fuse_req_t req, guint64 handle, off_t *ret_end)
{
    PvCgroupRequest request = request_of(req);
    g_autoptr(GString) text = g_string_new(NULL);
    gsize before;
    int r;

    do {
        before = text->len;
        r = pv_cgroup_tree_read(tree_of(req), &request, handle, PV_FUSE_PIECE_BYTES,
                                (goffset)before, text);
        if (r == PV_CGROUP_TREE_NOT_YET)
            return r;
    } while (r >= 0 && text->len > before && text->len < TEXT_BYTES);
    *ret_end = r < 0 ? FILE_BYTES : MAX((off_t)text->len, 1);
    return 0;
}

/* ---- names and attributes ---- */

/* Valid replies: fuse_reply_entry, fuse_reply_err. */
static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    PvCgroupRequest request = request_of(req);
    struct stat st = {0};
    guint64 ino = 0;
    int r = pv_cgroup_tree_lookup(tree_of(req), &request, parent, name, &ino, &st);

    reply_entry(req, r, ino, &st);
}

/* Valid replies: fuse_reply_attr, fuse_reply_err. */
static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    PvCgroupRequest request = request_of(req);
    struct stat st = {0};
    int r = pv_cgroup_tree_stat(tree_of(req), &request, ino, &st);

    st = sized(&st);
    if (r == 0 && S_ISREG(st.st_mode) && fi != NULL) /* lseek(2) to the end, and nothing else */
        r = find_end(req, fi->fh, &st.st_size);
    reply_attr(req, r, &st);
}

/* Valid replies: fuse_reply_attr, fuse_reply_err. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                       struct fuse_file_info *fi)
{
    PvCgroupRequest request = request_of(req);
    PvCgroupChange change = {.has_mode = (to_set & FUSE_SET_ATTR_MODE) != 0,
                             .has_uid = (to_set & FUSE_SET_ATTR_UID) != 0,
                             .has_gid = (to_set & FUSE_SET_ATTR_GID) != 0,
                             .has_size = (to_set & FUSE_SET_ATTR_SIZE) != 0,
                             .has_times = (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)),
                             .mode = attr->st_mode & 07777,
                             .uid = attr->st_uid,
                             .gid = attr->st_gid,
                             .times = {attr->st_atim, attr->st_mtim}};
    struct stat st = {0};
    int r;

    (void)fi;
    for (guint i = 0; i < 2; i++) {
        if ((to_set & (i == 0 ? FUSE_SET_ATTR_ATIME : FUSE_SET_ATTR_MTIME)) == 0)
            change.times[i].tv_nsec = UTIME_OMIT;
        else if ((to_set & (i == 0 ? FUSE_SET_ATTR_ATIME_NOW : FUSE_SET_ATTR_MTIME_NOW)) != 0)
            change.times[i].tv_nsec = UTIME_NOW;
    }
    r = pv_cgroup_tree_change(tree_of(req), &request, ino, &change, &st);
    st = sized(&st);
    reply_attr(req, r, &st);
}

/* Valid replies: fuse_reply_readlink, fuse_reply_err. */
static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    PvCgroupRequest request = request_of(req);
    g_autofree char *target = NULL;
    int r = pv_cgroup_tree_readlink(tree_of(req), &request, ino, &target);

    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_readlink(req, target);
}

/* Valid replies: fuse_reply_err. */
static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
    PvCgroupRequest request = request_of(req);

    reply_result(req, pv_cgroup_tree_access(tree_of(req), &request, ino, mask));
}

/* Valid replies: fuse_reply_statfs, fuse_reply_err. */
static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    PvCgroupRequest request = request_of(req);
    struct statvfs st;
    int r = pv_cgroup_tree_statfs(tree_of(req), &request, ino, &st);

    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_statfs(req, &st);
}

/* ---- cgroups come and go ---- */

/* Valid replies: fuse_reply_entry, fuse_reply_err. */
static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    PvCgroupRequest request = request_of(req);
    struct stat st = {0};
    guint64 ino = 0;
    int r = pv_cgroup_tree_mkdir(tree_of(req), &request, parent, name, mode, &ino, &st);

    reply_entry(req, r, ino, &st);
}

/* Valid replies: fuse_reply_err. */
static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    PvCgroupRequest request = request_of(req);

    reply_result(req, pv_cgroup_tree_rmdir(tree_of(req), &request, parent, name));
}

/* Valid replies: fuse_reply_err. */
static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                      const char *new_name, unsigned int flags)
{
    PvCgroupRequest request = request_of(req);

    reply_result(req, pv_cgroup_tree_rename(tree_of(req), &request, parent, name, new_parent,
                                            new_name, flags));
}

/* Valid replies: fuse_reply_err, as there is nothing that could be made. */
static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    PvCgroupRequest request = request_of(req);

    reply_result(req, pv_cgroup_tree_mknod(tree_of(req), &request, parent, name, mode, rdev));
}

/* The same. */
static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    (void)fi;
    op_mknod(req, parent, name, S_IFREG | (mode & 07777), 0);
}

/* The same. */
static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    PvCgroupRequest request = request_of(req);

    reply_result(req, pv_cgroup_tree_symlink(tree_of(req), &request, parent, name, target));
}

/* The same. */
static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
    PvCgroupRequest request = request_of(req);

    reply_result(req, pv_cgroup_tree_link(tree_of(req), &request, ino, new_parent, new_name));
}

/* Valid replies: fuse_reply_err. */
static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    PvCgroupRequest request = request_of(req);

    reply_result(req, pv_cgroup_tree_unlink(tree_of(req), &request, parent, name));
}

/* ---- open files and directories ---- */

static void open_node(fuse_req_t req, fuse_ino_t ino, int flags, struct fuse_file_info *fi)
{
    PvCgroupRequest request = request_of(req);
    guint64 handle;
    int r = pv_cgroup_tree_open(tree_of(req), &request, ino, flags, &handle);

    if (r < 0) {
        fuse_reply_err(req, -r);
        return;
    }
    fi->fh = handle;
    /* The kernel does not want the answer: there will be no RELEASE. But it may have had an earlier
     * one. */
    if (fuse_reply_open(req, fi) < 0 && !request.is_repeated)
        pv_cgroup_tree_close(tree_of(req), handle);
}

/* Valid replies: fuse_reply_open, fuse_reply_err. */
static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fi->direct_io = 1;
    fi->nonseekable = 0;
    open_node(req, ino, fi->flags & (O_ACCMODE | O_TRUNC | O_DIRECT), fi);
}

/* Valid replies: fuse_reply_open, fuse_reply_err. */
static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    open_node(req, ino, O_RDONLY | O_DIRECTORY, fi);
}

/* Valid replies: fuse_reply_err. Directories of cgroupfs cannot be synchronized; its files can. */
static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    (void)datasync;
    (void)fi;
    fuse_reply_err(req, EINVAL);
}

/* Valid replies: fuse_reply_err. */
static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    pv_cgroup_tree_close(tree_of(req), fi->fh);
    fuse_reply_err(req, 0);
}

/* Valid replies: fuse_reply_buf, fuse_reply_err. */
static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    PvCgroupRequest request = request_of(req);
    g_autoptr(GString) text = g_string_sized_new(4096);
    int r;

    (void)ino;
    /* A read without an owner would fill the page cache, which all containers share. */
    r = fi->lock_owner == 0 ? -EINVAL
                            : pv_cgroup_tree_read(tree_of(req), &request, fi->fh,
                                                  MIN(size, PV_FUSE_PIECE_BYTES), offset, text);
    if (r < 0)
        reply_failure(req, r);
    else
        fuse_reply_buf(req, text->str, text->len);
}

/* Valid replies: fuse_reply_write, fuse_reply_err. */
static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
                     struct fuse_file_info *fi)
{
    PvCgroupRequest request = request_of(req);
    gssize n;

    (void)ino;
    n = fi->writepage ? -EIO
                      : pv_cgroup_tree_write(tree_of(req), &request, fi->fh, data, size, offset);
    if (n < 0)
        reply_failure(req, (int)n);
    else
        fuse_reply_write(req, (gsize)n);
}

typedef struct {
    fuse_req_t req;
    GString *out;
    gsize room;
} DirText;

static gboolean add_entry(const char *name, guint64 ino, mode_t mode, goffset next, gpointer data)
{
    const DirText *text = data;
    const struct stat st = {.st_ino = ino, .st_mode = mode};
    gsize start = text->out->len;
    gsize size = fuse_add_direntry(text->req, NULL, 0, name, NULL, 0);

    if (start + size > text->room)
        return FALSE;
    g_string_set_size(text->out, start + size);
    fuse_add_direntry(text->req, text->out->str + start, size, name, &st, next);
    return TRUE;
}

/* Valid replies: fuse_reply_buf, fuse_reply_err. */
static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                       struct fuse_file_info *fi)
{
    PvCgroupRequest request = request_of(req);
    g_autoptr(GString) out = g_string_sized_new(4096);
    DirText text = {.req = req, .out = out, .room = MIN(size, PV_FUSE_PIECE_BYTES)};
    int r;

    (void)ino;
    r = pv_cgroup_tree_list(tree_of(req), &request, fi->fh, offset, add_entry, &text);
    if (r < 0)
        reply_failure(req, r);
    else
        fuse_reply_buf(req, out->str, out->len);
}

/* Who is to be told when something happens: libfuse does not say it in a form that a later worker
 * could use. */
static guint64 poller_of(void)
{
    const char *message = pv_request_current()->message;
    struct fuse_poll_in in;

    memcpy(&in, message + sizeof(struct fuse_in_header), sizeof in);
    return in.kh;
}

/* Valid replies: fuse_reply_poll, fuse_reply_err. */
static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                    struct fuse_pollhandle *ph)
{
    PvCgroupRequest request = request_of(req);
    int r = pv_cgroup_tree_poll(tree_of(req), &request, fi->fh, ph != NULL ? poller_of() : 0);

    (void)ino;
    if (ph != NULL)
        fuse_pollhandle_destroy(ph);
    if (r < 0)
        reply_failure(req, r);
    else
        fuse_reply_poll(req, (unsigned int)r);
}

static void notify_poller(guint64 poller, gpointer data)
{
    const PvServer *server = data;
    const struct {
        struct fuse_out_header header;
        struct fuse_notify_poll_wakeup_out wakeup;
    } message = {.header = {.len = sizeof message, .error = FUSE_NOTIFY_POLL},
                 .wakeup = {.kh = poller}};
    ssize_t n = write(server->fd, &message, sizeof message);

    (void)n; /* it may have gone away */
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    pv_server_negotiate(conn,
                        FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC);
}

static const struct fuse_lowlevel_ops operations = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .access = op_access,
    .statfs = op_statfs,
    .mkdir = op_mkdir,
    .rmdir = op_rmdir,
    .rename = op_rename,
    .mknod = op_mknod,
    .create = op_create,
    .symlink = op_symlink,
    .link = op_link,
    .unlink = op_unlink,
    .open = op_open,
    .opendir = op_opendir,
    .release = op_release,
    .releasedir = op_release,
    .fsyncdir = op_fsyncdir,
    .read = op_read,
    .write = op_write,
    .readdir = op_readdir,
    .poll = op_poll,
};

/* ---- the server ---- */

PvServer *pv_server_new_cgroup_tree(PvHost *host, PvHierarchies *hierarchies,
                                    PvContainers *containers, const PvServerOptions *options,
                                    int fuse_fd, GError **error)
{
    g_autoptr(PvServer) server =
        pv_server_new_empty(options, &operations, sizeof operations, fuse_fd, error);

    if (server == NULL)
        return NULL;
    server->cgroup_tree = pv_cgroup_tree_new(host, hierarchies, containers, options->shared, error);
    return server->cgroup_tree != NULL ? g_steal_pointer(&server) : NULL;
}

gboolean pv_server_start_cgroup_tree(PvServer *server, GError **error)
{
    int r = pv_cgroup_tree_start(server->cgroup_tree, server->n_threads,
                                 PV_SHARED_SLOTS - 2 * PV_SHARED_THREADS, notify_poller, server);

    return r < 0 ? pv_error_set_errno(error, -r, "the cgroup tree cannot be served") : TRUE;
}
