/*
 * sysinfo(2) and sched_getaffinity(2) tell a program of the machine without its reading a file;
 * busybox, musl, PHP, Go and nproc ask them. A seccomp filter hands these two calls to a thread
 * outside of the container, which answers from the snapshot that the files are made of.
 *
 * Whatever is doubtful is let through to the kernel: a wrong answer is worse than the host's.
 */
#include "procview/intercept.h"

#include "answer.h"
#include "memory.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/eventfd.h>

/* A mask for PV_CPU_MAX CPUs; a program may offer a longer buffer, of which the kernel fills no
 * more. */
#define AFFINITY_BYTES_MAX (PV_CPU_MAX / 8)

struct PvIntercept {
    int listener_fd;
    int stop_fd;
    PvHost *host;
    PvContainers *containers;
    PvViews *views;
    GThread *thread;
};

/* Some versions of libseccomp keep their own copy of the listener when the filter is released. In a
 * process that has the filter it is harmful: while it is open nobody learns that the listener is
 * gone, and calls wait for an answer for ever. Only for a process of one thread. */
static void release_filter(scmp_filter_ctx filter, int kept_fd)
{
    seccomp_release(filter);
    if (kept_fd >= 0 && fcntl(kept_fd, F_GETFD) >= 0)
        close(kept_fd);
}

int pv_intercept_install(void)
{
    int kept_fd = -1;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return -ENOMEM;

    /* no_new_privs is the caller's decision. */
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    /* A program of another architecture that the machine can run is none of our business. */
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
    if (r == 0 && seccomp_arch_native() == SCMP_ARCH_X86_64) {
        /* A 32-bit program has its own numbers for the same calls. */
        r = seccomp_arch_add(filter, SCMP_ARCH_X86);
        if (r == 0 || r == -EEXIST)
            r = seccomp_arch_add(filter, SCMP_ARCH_X32);
        if (r == -EEXIST)
            r = 0;
    }
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(sysinfo), 0);
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(sched_getaffinity), 0);
    if (r == 0)
        r = seccomp_load(filter);
    if (r == 0)
        r = kept_fd = seccomp_notify_fd(filter);
    if (r >= 0)
        r = fcntl(kept_fd, F_DUPFD_CLOEXEC, 3);
    if (r < 0)
        r = r == -1 ? -errno : r;
    release_filter(filter, kept_fd);
    return r == -EOPNOTSUPP || r == -EINVAL ? -ENOSYS : r;
}

typedef struct {
    int listener_fd;
    guint64 id;
} Notification;

static gboolean is_waiting(gpointer data)
{
    const Notification *notification = data;

    return seccomp_notify_id_valid(notification->listener_fd, notification->id) == 0;
}

/* Write an answer into the memory of the thread that waits for it. The host's procfs of PvHost is a
 * read-only mount: this is the one file that is opened for writing. */
static gboolean write_memory(PvIntercept *intercept, const struct seccomp_notif *request,
                             guint64 address, const void *data, size_t size)
{
    Notification notification = {.listener_fd = intercept->listener_fd, .id = request->id};
    pv_autofd int procfs_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return procfs_fd >= 0 && pv_memory_write(procfs_fd, (pid_t)request->pid, is_waiting,
                                             &notification, address, data, size);
}

/* Each handler returns TRUE with *ret_value set when it has answered, FALSE to let the call
 * through. */

static gboolean handle_sysinfo(PvIntercept *intercept, const struct seccomp_notif *request,
                               PvContainer *container, gint64 *ret_value)
{
    PvSnapshot *snapshot = NULL;
    if (pv_views_snapshot(intercept->views, container,
                          PV_SECTION_MEMORY | PV_SECTION_UPTIME | PV_SECTION_LOAD, &snapshot) < 0)
        return FALSE;

    PvSysinfo answer;
    size_t size = pv_answer_sysinfo(snapshot, request->data.arch == AUDIT_ARCH_I386, &answer);
    pv_snapshot_free(snapshot);
    *ret_value = 0;
    return write_memory(intercept, request, request->data.args[0], &answer, size);
}

/* Whether `pid` is what a thread calls itself. */
static gboolean is_own_number(PvIntercept *intercept, pid_t tid, pid_t pid)
{
    PvTaskPids pids;
    char path[32];

    g_snprintf(path, sizeof path, "%d/status", (int)tid);
    return pv_task_pids_read(pv_host_procfs(intercept->host), path, &pids) && pids.last_pid == pid;
}

/*
 * The thread that the program asks about, in our pid namespace; 0 when that cannot be told: before
 * Linux 6.11 that is so for all but the caller itself.
 * pid  as the program has it: 0 is the caller itself
 */
static pid_t asked_thread(PvIntercept *intercept, const struct seccomp_notif *request, pid_t pid)
{
    if (pid == 0)
        return (pid_t)request->pid;
    if (pid < 0)
        return 0;
    char path[32];
    g_snprintf(path, sizeof path, "%d/ns/pid", (int)request->pid);
    pv_autofd int fd = openat(pv_host_procfs(intercept->host), path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    pid_t tid = pv_sys_pid_from_pidns(fd, pid);
    if (tid == -ENOTTY && is_own_number(intercept, (pid_t)request->pid, pid))
        return (pid_t)request->pid;
    return MAX(tid, 0);
}

static gboolean handle_getaffinity(PvIntercept *intercept, const struct seccomp_notif *request,
                                   PvContainer *container, gint64 *ret_value)
{
    guint8 mask[AFFINITY_BYTES_MAX] = {0};
    size_t word = request->data.arch == AUDIT_ARCH_I386 ? 4 : sizeof(long);
    size_t length = (guint32)request->data.args[1];
    pid_t tid = asked_thread(intercept, request, (pid_t)request->data.args[0]);
    if (tid == 0 || length % word != 0)
        return FALSE;

    /* Asked with the program's own length (whole longs of ours), the kernel says how much of it it
     * fills, or that it is too short: then it may say so to the program itself. */
    size_t asked = MIN((length + sizeof(long) - 1) / sizeof(long) * sizeof(long), sizeof mask);
    int filled = pv_sys_sched_getaffinity(tid, asked, mask);
    PvCpuSet real, shown;
    if (filled <= 0 || pv_views_cpus(intercept->views, container, &real, &shown) < 0)
        return FALSE;

    size_t size = MIN(length, (size_t)filled);
    pv_answer_affinity(&real, mask, size);
    *ret_value = (gint64)size;
    return write_memory(intercept, request, request->data.args[2], mask, size);
}

static void answer_request(PvIntercept *intercept, const struct seccomp_notif *request,
                           struct seccomp_notif_resp *response)
{
    response->id = request->id;
    response->val = 0;
    response->error = 0;
    response->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;

    g_autoptr(GError) error = NULL;
    g_autoptr(PvContainer) container =
        pv_containers_find(intercept->containers, (pid_t)request->pid, &error);
    if (!container || pv_container_is_host(container))
        return;

    /* Numbers differ between the architectures of one machine. */
    uint32_t arch = request->data.arch == AUDIT_ARCH_I386 ? SCMP_ARCH_X86 : SCMP_ARCH_NATIVE;
    int nr = request->data.nr;
    gint64 value = 0;
    gboolean answered = FALSE;
    if (nr == seccomp_syscall_resolve_name_arch(arch, "sysinfo"))
        answered = handle_sysinfo(intercept, request, container, &value);
    else if (nr == seccomp_syscall_resolve_name_arch(arch, "sched_getaffinity"))
        answered = handle_getaffinity(intercept, request, container, &value);
    if (answered) {
        response->flags = 0;
        response->val = value;
    }
}

static gpointer serve(gpointer data)
{
    PvIntercept *intercept = data;
    struct seccomp_notif *request = NULL;
    struct seccomp_notif_resp *response = NULL;
    if (seccomp_notify_alloc(&request, &response) != 0) {
        pv_log_warning("sysinfo and sched_getaffinity show the host: out of memory");
        return NULL;
    }

    for (;;) {
        struct pollfd fds[] = {
            {.fd = intercept->listener_fd, .events = POLLIN},
            {.fd = intercept->stop_fd, .events = POLLIN},
        };
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
            break;
        /* POLLHUP: the last task with the filter has ended. */
        if (fds[1].revents || (fds[0].revents && !(fds[0].revents & POLLIN)))
            break;
        if (!(fds[0].revents & POLLIN))
            continue;
        /* The kernel wants the request zeroed; a caller killed meanwhile gives an error: go on. */
        memset(request, 0, sizeof *request);
        if (seccomp_notify_receive(intercept->listener_fd, request) != 0)
            continue;
        answer_request(intercept, request, response);
        seccomp_notify_respond(intercept->listener_fd, response);
    }
    seccomp_notify_free(request, response);
    return NULL;
}

PvIntercept *pv_intercept_start(int listener_fd, PvHost *host, PvContainers *containers,
                                PvViews *views, GError **error)
{
    pv_autofd int listener = listener_fd;
    pv_autofd int stop_fd = eventfd(0, EFD_CLOEXEC);
    if (stop_fd < 0) {
        pv_error_set_errno(error, errno, "cannot make an eventfd");
        return NULL;
    }

    PvIntercept *intercept = g_new0(PvIntercept, 1);
    intercept->listener_fd = pv_steal_fd(&listener);
    intercept->stop_fd = pv_steal_fd(&stop_fd);
    intercept->host = host;
    intercept->containers = containers;
    intercept->views = views;
    intercept->thread = g_thread_new("intercept", serve, intercept);
    return intercept;
}

void pv_intercept_stop(PvIntercept *intercept)
{
    if (!intercept)
        return;
    eventfd_write(intercept->stop_fd, 1);
    g_thread_join(intercept->thread);
    close(intercept->listener_fd);
    close(intercept->stop_fd);
    g_free(intercept);
}
