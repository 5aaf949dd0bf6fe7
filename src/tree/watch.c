/*
 * Who waits in poll(2) on cgroup.events, memory.events or a pressure file waits in the kernel, for
 * a word from us. One thread waits for all of them on the kernel's own files.
 *
 * Most files have an event until they are read; the kernel's own answer is ours. An event of a
 * pressure trigger is told once: here it is told to the thread, which keeps it for the poll that
 * follows the word.
 */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STOP_NUMBER G_MAXUINT64
#define EVENTS      32 /* taken at a time */

static guint64 take_poller(PvTreeRecord *record)
{
    return __atomic_exchange_n(&record->poller, 0, __ATOMIC_ACQ_REL);
}

static void on_event(PvCgroupTree *tree, guint64 slot, guint32 events)
{
    guint64 poller;

    if (slot >= PV_TREE_HANDLES)
        return;
    g_atomic_int_or(&tree->handles[slot].pending, (guint)events & (POLLPRI | POLLERR));
    poller = take_poller(&tree->shared->records[slot]);
    if (poller != 0)
        tree->notify(poller, tree->notify_data);
}

/* Pass on the events that there are. Returns their number, or -1 when the thread is to end. */
static int take_events(PvCgroupTree *tree, int timeout_msec)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(tree->epoll_fd, events, EVENTS, timeout_msec);
    gboolean is_stopping = FALSE;

    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == STOP_NUMBER)
            is_stopping = TRUE;
        else
            on_event(tree, events[i].data.u64, events[i].events);
    }
    return is_stopping ? -1 : MAX(n, 0);
}

static void *watch(void *data)
{
    PvCgroupTree *tree = data;

    while (take_events(tree, -1) >= 0)
        continue;
    return NULL;
}

int pv_tree_watch_start(PvCgroupTree *tree)
{
    struct epoll_event stop = {.events = EPOLLIN, .data.u64 = STOP_NUMBER};
    sigset_t all, before;
    int r;

    tree->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    tree->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (tree->epoll_fd < 0 || tree->stop_fd < 0 ||
        epoll_ctl(tree->epoll_fd, EPOLL_CTL_ADD, tree->stop_fd, &stop) < 0)
        return -errno;
    /* The program's signals are not for this thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&tree->watcher, NULL, watch, tree);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    tree->has_watcher = r == 0;
    /* Those of an earlier server ask again. */
    for (guint i = 0; r == 0 && i < PV_TREE_HANDLES; i++) {
        PvTreeRecord *record = &tree->shared->records[i];
        guint64 poller = (record->generation & 1) != 0 ? take_poller(record) : 0;

        if (poller != 0)
            tree->notify(poller, tree->notify_data);
    }
    return -r;
}

void pv_tree_watch_stop(PvCgroupTree *tree)
{
    const guint64 one = 1;

    if (!tree->has_watcher)
        return;
    if (write(tree->stop_fd, &one, sizeof one) == sizeof one)
        pthread_join(tree->watcher, NULL);
    tree->has_watcher = FALSE;
}

/*
 * Have the thread wait for a file's events. One that the file has already is told by the poll that
 * this is for: it is taken before there is a poller, who would be woken up for it once more.
 */
static void begin_watch(PvCgroupTree *tree, PvTreeHandle *handle)
{
    struct epoll_event event = {.events = EPOLLPRI | EPOLLET,
                                .data.u64 = (guint64)(handle - tree->handles)};

    if (handle->is_watched || epoll_ctl(tree->epoll_fd, EPOLL_CTL_ADD, handle->fd, &event) < 0)
        return;
    handle->is_watched = TRUE;
    for (guint i = 0; i < PV_TREE_HANDLES / EVENTS && take_events(tree, 0) == EVENTS; i++)
        continue;
}

static gboolean has_triggers(PvCgroupTree *tree, const PvTreeRecord *record)
{
    PvTreeNode node;
    const char *name =
        pv_tree_node_decode(tree, record->ino, &node) ? pv_tree_name(tree, node.name) : NULL;

    return name != NULL && pv_tree_is_pressure_name(name);
}

int pv_cgroup_tree_poll(PvCgroupTree *tree, const PvCgroupRequest *request, guint64 number,
                        guint64 poller)
{
    PvTreeHandle *handle;
    PvTreeRecord *record;
    struct pollfd now = {.events = POLLIN | POLLOUT | POLLPRI};
    int r = pv_tree_handle_lock(tree, request, number, &handle, &record);

    if (r < 0)
        return r == -ENODEV ? POLLERR | POLLPRI : r;
    if (handle->fd < 0) {
        pv_tree_handle_unlock(handle);
        return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    }
    if (poller != 0) {
        begin_watch(tree, handle);
        __atomic_store_n(&record->poller, poller, __ATOMIC_RELEASE);
    }
    now.fd = handle->fd;
    r = poll(&now, 1, 0) < 0 ? -errno : now.revents;
    if (r >= 0) {
        guint kept = g_atomic_int_and(&handle->pending, 0);
        r |= has_triggers(tree, record) ? (int)kept : 0;
        if ((r & (POLLIN | POLLOUT)) != 0)
            r |= ((r & POLLIN) != 0 ? POLLRDNORM : 0) | ((r & POLLOUT) != 0 ? POLLWRNORM : 0);
    }
    pv_tree_handle_unlock(handle);
    return r;
}
