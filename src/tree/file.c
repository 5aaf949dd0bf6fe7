/* Control files: opened by the kernel's leave, then read and written through its own descriptor. */
#include "internal.h"

#include "procview/fd.h"
#include "procview/file.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <unistd.h>

#define PIDS_TEXT_MAX 64 /* of what is written into a file of pids */
#define KERNEL_PAGE   4096

/* Its numbers are descriptors of the writer's process, which are others here. */
#define EVENT_CONTROL "cgroup.event_control"

/* ---- opening ---- */

/* Where the kernel looks at the opener's capabilities in whatever user namespace: for a trigger's
 * window (psi_trigger_create()). */
static guint64 caps_of_any_namespace(const char *name)
{
    return pv_tree_is_pressure_name(name) ? G_GUINT64_CONSTANT(1) << CAP_SYS_RESOURCE : 0;
}

static int open_inode(PvCgroupTree *tree, const PvTreeCaller *caller, const PvTreePlace *place,
                      const struct stat *st, int path_fd, int flags, PvTreeRecord *record)
{
    const guint64 extra = place->node.kind == PV_TREE_FILE
                              ? caps_of_any_namespace(pv_tree_name(tree, place->node.name))
                              : 0;
    PvTreeCreds creds = caller->creds;
    int fd;

    creds.caps |= caller->raw_caps & extra;
    fd = pv_tree_reopen(tree, &creds, path_fd, flags);

    /* By a capability only when it takes one: what is written is checked against it. */
    if (fd == -EACCES && caller->is_foreign) {
        creds = pv_tree_creds_over(caller, st);
        creds.caps |= creds.caps != 0 ? caller->raw_caps & extra : 0;
        record->needs_owner = creds.caps != 0;
        fd = creds.caps != 0 ? pv_tree_reopen(tree, &creds, path_fd, flags) : fd;
    }
    record->caps = creds.caps;
    record->euid = creds.euid;
    record->fsuid = creds.fsuid;
    record->egid = creds.egid;
    record->fsgid = creds.fsgid;
    return fd;
}

/* Whether writing is refused whatever the kernel would say. */
static gboolean is_refused(PvCgroupTree *tree, const PvTreeCaller *caller, const PvTreePlace *place)
{
    if (place->node.kind != PV_TREE_FILE || place->root.is_top)
        return FALSE;
    if (place->node.dir != place->root.id)
        return pv_tree_place_ends_at_root(tree, caller, place);
    return !pv_tree_is_delegatable(tree, place->node.hierarchy,
                                   pv_tree_name(tree, place->node.name));
}

static int open_place(PvCgroupTree *tree, const PvTreeCaller *caller, const PvTreePlace *place,
                      int flags, PvTreeRecord *record)
{
    pv_autofd int path_fd = -1;
    struct stat st;

    if ((flags & O_ACCMODE) != O_RDONLY && pv_tree_place_writable(place) < 0)
        return -EACCES;
    path_fd = pv_tree_place_open(tree, place);
    if (path_fd < 0)
        return path_fd;
    if (fstat(path_fd, &st) < 0)
        return -errno;
    if ((flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY && is_refused(tree, caller, place)) {
        record->refuses_writes = EPERM;
        flags &= ~O_TRUNC;
    }
    return open_inode(tree, caller, place, &st, path_fd,
                      flags & (O_ACCMODE | O_TRUNC | O_DIRECT | O_DIRECTORY), record);
}

int pv_cgroup_tree_open(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 ino, int flags,
                        guint64 *ret_handle)
{
    g_auto(PvTreeCaller) caller = {0};
    g_auto(PvTreePlace) place = {0};
    PvTreeRecord record = {.ino = ino, .opener = request->unique, .flags = (guint32)flags};
    int fd = -1, r;

    if (request->is_repeated && pv_tree_handle_find_opened(tree, ino, request->unique, ret_handle))
        return 0;
    r = pv_tree_caller_load(tree, request, &caller);
    if (r == 0)
        r = pv_tree_place_find(tree, &caller, ino, &place);
    if (r < 0)
        return r;
    if (place.node.kind == PV_TREE_LINK)
        return -ELOOP;
    record.owner = caller.container->owner_ino;
    record.root = place.root.id;
    if (place.dirfd >= 0) {
        fd = open_place(tree, &caller, &place, flags, &record);
        if (fd < 0)
            return fd;
    }
    r = pv_tree_handle_new(tree, &record, fd, ret_handle);
    if (r < 0)
        pv_clear_fd(&fd);
    return r;
}

/* ---- reading ---- */

static int read_kernel(int fd, gsize size, goffset offset, GString *out)
{
    gsize start = out->len;
    ssize_t n;

    g_string_set_size(out, start + size);
    do
        n = pread(fd, out->str + start, size, offset);
    while (n < 0 && errno == EINTR);
    g_string_set_size(out, start + (gsize)MAX(n, 0));
    return n < 0 ? -errno : 0;
}

static int render_pids(PvCgroupTree *tree, const PvTreeCaller *reader, const PvTreeNode *node,
                       PvTreeHandle *handle)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int r = pv_tree_pids_read(tree, reader, node->hierarchy, handle->fd, text);

    if (r < 0)
        return r;
    pv_tree_handle_drop_text(tree, handle);
    r = pv_tree_handle_set_text(tree, handle, text);
    if (r < 0)
        return r;
    g_steal_pointer(&text);
    handle->text_pidns = reader->pidns;
    return 0;
}

/* The text is made when it is read from its start, and by whom it was not made for. */
static int read_pids(PvCgroupTree *tree, const PvTreeCaller *reader, const PvTreeNode *node,
                     PvTreeHandle *handle, gsize size, goffset offset, GString *out)
{
    int r = 0;

    if (offset == 0 || handle->text == NULL || handle->text_pidns != reader->pidns)
        r = render_pids(tree, reader, node, handle);
    if (r < 0)
        return r;
    if ((gsize)offset < handle->text->len)
        g_string_append_len(out, handle->text->str + offset,
                            (gssize)MIN(size, handle->text->len - (gsize)offset));
    else
        pv_tree_handle_drop_text(tree, handle);
    return 0;
}

int pv_cgroup_tree_read(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 number,
                        gsize size, goffset offset, GString *out)
{
    g_auto(PvTreeCaller) reader = {0};
    PvTreeHandle *handle;
    PvTreeRecord *record;
    PvTreeNode node;
    const char *name;
    int r;

    if (offset < 0)
        return -EINVAL;
    r = pv_tree_handle_lock(tree, request, number, &handle, &record);
    if (r < 0)
        return r;
    pv_tree_node_decode(tree, record->ino, &node);
    name = pv_tree_name(tree, node.name);
    if (node.kind != PV_TREE_FILE || name == NULL) {
        r = -EISDIR;
    } else if (pv_tree_is_pids_name(name)) {
        r = pv_tree_caller_load(tree, request, &reader);
        if (r == 0)
            r = read_pids(tree, &reader, &node, handle, size, offset, out);
    } else {
        r = read_kernel(handle->fd, size, offset, out);
    }
    pv_tree_handle_unlock(handle);
    return r;
}

/* ---- writing ---- */

/*
 * One write by the thread that has become the writer: some controllers look at that.
 * task_fd  of the one whose number is written, which must still be its own; negative: of nobody
 */
static gssize write_as(PvCgroupTree *tree, const PvTreeCaller *writer, int fd, int task_fd,
                       const char *data, gsize size, goffset offset)
{
    ssize_t n = -ESRCH;

    pv_tree_assume(&writer->creds);
    if (task_fd < 0 || pv_tree_task_has_number(task_fd)) {
        n = pwrite(fd, data, size, offset);
        n = n < 0 ? -errno : n;
    }
    pv_tree_resume(tree);
    return n;
}

/*
 * The kernel wants the mover to be allowed to write the cgroup.procs of the cgroup above both.
 * Where a capability over ids of a user namespace opened the file, it must reach that one, too.
 */
static int check_common(PvCgroupTree *tree, const PvTreeCaller *writer, const PvTreeNode *node,
                        pid_t pid)
{
    char path[64], text[PV_CONTROL_FILE_MAX];
    g_autofree char *source = NULL;
    pv_autofd int source_fd = -1;
    pv_autofd int fd = pv_tree_open_dir(tree, node->hierarchy, node->dir);
    struct stat st;

    g_snprintf(path, sizeof path, "%d/cgroup", (int)pid);
    if (pv_read_text_at(tree->procfs, path, text, sizeof text) < 0)
        return -ESRCH;
    source = pv_hierarchies_path(tree->hierarchies, node->hierarchy, text);
    if (source == NULL || fd < 0)
        return -EACCES;
    source_fd =
        pv_sys_openat2(tree->hierarchy[node->hierarchy].dirfd, source[1] != '\0' ? source + 1 : ".",
                       O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    while (source_fd >= 0 && fstat(fd, &st) == 0 &&
           !pv_tree_is_beneath(tree, node->hierarchy, source_fd, st.st_ino)) {
        int up = pv_sys_openat2(fd, "..", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_XDEV);
        if (up < 0)
            return -EACCES;
        pv_clear_fd(&fd);
        fd = up;
    }
    if (source_fd < 0 || fstatat(fd, "cgroup.procs", &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !pv_tree_caller_maps(writer, &st))
        return -EACCES;
    return 0;
}

static gssize write_pids(PvCgroupTree *tree, const PvTreeCaller *writer, const PvTreeNode *node,
                         const PvTreeRecord *record, int fd, const char *data, gsize size,
                         gboolean may_be_done)
{
    const char *name = pv_tree_name(tree, node->name);
    gboolean is_thread = strcmp(name, "cgroup.procs") != 0;
    g_autofree char *text = g_strndup(data, size);
    char translated[PIDS_TEXT_MAX];
    pv_autofd int task_fd = -1;
    PvTreeRoot root;
    pid_t pid = 0;
    gssize n;
    int r;

    if (size >= KERNEL_PAGE + 1)
        return -E2BIG;
    r = pv_tree_pids_translate(tree, writer, node->hierarchy, record->root, is_thread, text,
                               translated, sizeof translated, &pid, &task_fd);
    if (r == 0 && pid != 0 && record->needs_owner)
        r = check_common(tree, writer, node, pid);
    if (r < 0)
        return r;
    if (pid != 0 && may_be_done && pv_tree_pid_is_in(tree, node->hierarchy, pid, node->dir))
        return (gssize)size;
    if (pid != 0 && writer->root_text != NULL && pid == writer->container->init_pid &&
        pv_tree_root_find(tree, writer, node->hierarchy, &root) == 0 &&
        root.access == PV_TREE_WRITABLE)
        pv_tree_root_mark(tree, writer, node->hierarchy, root.id);
    n = write_as(tree, writer, fd, task_fd, translated, strlen(translated), 0);
    if (n >= 0 && pid != 0 && !pv_tree_task_has_number(task_fd)) {
        pv_tree_give_back(tree, writer, node->hierarchy, record->root, node->dir, name, pid);
        return -ESRCH;
    }
    return n < 0 ? n : (gssize)size;
}

static gssize write_file(PvCgroupTree *tree, const PvTreeCaller *writer, PvTreeRecord *record,
                         int fd, const char *data, gsize size, goffset offset, gboolean may_be_done)
{
    PvTreeNode node;
    const char *name;
    gssize n;

    pv_tree_node_decode(tree, record->ino, &node);
    name = pv_tree_name(tree, node.name);
    if (node.kind != PV_TREE_FILE || name == NULL)
        return -EBADF;
    if (record->refuses_writes != 0)
        return -(gssize)record->refuses_writes;
    if (strcmp(name, EVENT_CONTROL) == 0)
        return -EOPNOTSUPP;
    if (pv_tree_is_pids_name(name))
        return write_pids(tree, writer, &node, record, fd, data, size, may_be_done);
    if (may_be_done)
        return -EINTR;
    n = write_as(tree, writer, fd, -1, data, size, offset);
    if (n > 0 && pv_tree_is_pressure_name(name) && size < sizeof record->trigger) {
        memcpy(record->trigger, data, size);
        record->trigger[size] = '\0';
    }
    return n;
}

/*
 * What was written is never written a second time. When a server died in the midst of it, it may or
 * may not have been done: of a process that is in its place that can be seen; else the writer is
 * told that it was interrupted.
 */
static gssize write_once(PvCgroupTree *tree, const PvCgroupRequest *request,
                         const PvTreeCaller *writer, guint64 number, const char *data, gsize size,
                         goffset offset)
{
    PvTreeHandle *handle;
    PvTreeRecord *record;
    PvTreeDone *done;
    gboolean is_again;
    gssize n;
    int r = pv_tree_handle_lock(tree, request, number, &handle, &record);

    if (r < 0)
        return r;
    is_again = pv_tree_journal_begin(tree, request, &done);
    if (is_again && done->result != PV_TREE_UNDER_WAY) {
        n = (gssize)done->result;
    } else {
        n = write_file(tree, writer, record, handle->fd, data, size, offset, is_again);
        pv_tree_journal_end(done, n);
    }
    pv_tree_handle_unlock(handle);
    return n;
}

gssize pv_cgroup_tree_write(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 number,
                            const char *data, gsize size, goffset offset)
{
    g_auto(PvTreeCaller) writer = {0};
    int r = pv_tree_caller_load(tree, request, &writer);

    if (r < 0)
        return r;
    if (!pv_tree_take_turn(tree, request, writer.container->owner_ino))
        return PV_CGROUP_TREE_NOT_YET;
    return write_once(tree, request, &writer, number, data, size, offset);
}
