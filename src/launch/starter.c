/*
 * From the launcher to the init: user and time namespaces, which a process has to be in, or to have
 * made, before the init is born; then the init itself, already inside its cgroups, so that its
 * cgroup namespace begins there.
 */
#include "child.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define IDS_COUNT        65536
#define IDS_DEFAULT_BASE 100000
#define SUBIDS_MAX_BYTES (1u << 20)

#define NSEC_PER_SEC 1000000000

void pv_launch_child_fail(const PvLaunchChild *child, int status, const char *text)
{
    pv_message_send(child->sock, PV_MESSAGE_ERROR, status, text, -1);
    _exit(status);
}

int pv_launch_child_wait(const PvLaunchChild *child)
{
    PvMessage message;
    int fd = -1;

    if (pv_message_receive(child->sock, &message, &fd) < 0 || message.type != PV_MESSAGE_GO)
        _exit(125);
    return fd;
}

void pv_launch_child_close_fds(const PvLaunchChild *child)
{
    guint sock = (guint)child->sock;

    if (sock > STDERR_FILENO + 1)
        close_range(STDERR_FILENO + 1, sock - 1, 0);
    close_range(sock + 1, ~0u, 0);
}

/* ---- user namespace ---- */

/* The first id that a file like /etc/subuid gives to root: "root:100000:65536". */
static guint64 subid_base(const char *path)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (pv_read_all_at(AT_FDCWD, path, text, SUBIDS_MAX_BYTES) < 0)
        return IDS_DEFAULT_BASE;
    g_auto(GStrv) lines = g_strsplit(text->str, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", 3);
        guint64 base, count;
        if (g_strv_length(fields) == 3 &&
            (g_str_equal(fields[0], "root") || g_str_equal(fields[0], "0")) &&
            g_ascii_string_to_unsigned(fields[1], 10, 1, G_MAXUINT32 - IDS_COUNT, &base, NULL) &&
            g_ascii_string_to_unsigned(g_strchomp(fields[2]), 10, IDS_COUNT, G_MAXUINT32, &count,
                                       NULL))
            return base;
    }
    return IDS_DEFAULT_BASE;
}

gboolean pv_launch_map_ids(pid_t pid, GError **error)
{
    static const char *const files[][2] = {{"gid_map", "/etc/subgid"}, {"uid_map", "/etc/subuid"}};

    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, files[i][0]);
        g_autofree char *map =
            g_strdup_printf("0 %" G_GUINT64_FORMAT " %d\n", subid_base(files[i][1]), IDS_COUNT);
        int r = pv_write_text_at(AT_FDCWD, path, map);
        if (r < 0)
            return pv_error_set_errno(error, -r, "--user-ns: cannot map ids (%s \"%s\")",
                                      files[i][0], g_strchomp(map));
    }
    return TRUE;
}

static void become_root_inside(const PvLaunchChild *child)
{
    if (setresgid(0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresuid(0, 0, 0) < 0)
        pv_launch_child_fail(child, 125, "--user-ns: cannot become root inside");
    /* Both were lost with the ids; the second is for our own files in /proc. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 1);
}

/* ---- time namespace ---- */

/* The offset of our own boot clock, when we are in a time namespace ourselves: "boottime  -12 340".
 */
static gint64 own_offset_nsec(void)
{
    char text[256];
    long long sec = 0, nsec = 0;

    if (pv_read_text_at(AT_FDCWD, "/proc/self/timens_offsets", text, sizeof text) < 0)
        return 0;
    const char *line = strstr(text, "boottime");
    if (line == NULL || sscanf(line, "boottime %lld %lld", &sec, &nsec) != 2)
        return 0;
    return sec * NSEC_PER_SEC + nsec;
}

/* The container's boot is now: uptime, ps and everything else that counts from boot agree on it. */
static void make_time_namespace(void)
{
    gint64 offset_nsec = own_offset_nsec();
    struct timespec now;
    char text[64];

    if (unshare(CLONE_NEWTIME) < 0) {
        pv_log_debug("no time namespace: %s; uptime counts from the host's boot in what the kernel "
                     "shows itself",
                     g_strerror(errno));
        return;
    }
    clock_gettime(CLOCK_BOOTTIME, &now);
    offset_nsec -= (gint64)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
    gint64 sec = offset_nsec / NSEC_PER_SEC, nsec = offset_nsec % NSEC_PER_SEC;
    if (nsec < 0) {
        sec--;
        nsec += NSEC_PER_SEC;
    }
    g_snprintf(text, sizeof text, "boottime %" G_GINT64_FORMAT " %" G_GINT64_FORMAT "\n", sec,
               nsec);
    int r = pv_write_text_at(AT_FDCWD, "/proc/self/timens_offsets", text);
    if (r < 0)
        pv_log_debug("the container's boot time cannot be set: %s", g_strerror(-r));
}

/* ---- the starter ---- */

G_NORETURN static void starter(const PvLaunchChild *child)
{
    /* CLONE_PARENT: the init is the launcher's own child, and is killed with it. */
    struct clone_args args = {
        .flags = CLONE_PARENT | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                 (child->plan->cgroup_view_fuse ? 0 : CLONE_NEWCGROUP) |
                 (child->plan->net == PV_LAUNCH_NET_NONE ? CLONE_NEWNET : 0),
    };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (guint i = 0; i < G_N_ELEMENTS(child->parent_fds); i++)
        close(child->parent_fds[i]);
    pv_launch_child_wait(child);
    if (child->plan->user_ns)
        become_root_inside(child);
    make_time_namespace();
    pid_t pid = pv_sys_clone3(&args, sizeof args);
    if (pid == 0)
        pv_launch_init(child);
    if (pid < 0) {
        g_autofree char *text =
            g_strdup_printf("cannot make the namespaces: %s%s", g_strerror(-pid),
                            -pid == ENOSPC ? " (a limit under /proc/sys/user is reached)" : "");
        pv_launch_child_fail(child, 125, text);
    }
    pv_message_send(child->sock, PV_MESSAGE_PID, (int)pid, NULL, -1);
    _exit(0);
}

pid_t pv_launch_spawn_starter(const PvLaunchChild *child)
{
    struct clone_args args = {
        .flags = child->plan->user_ns ? CLONE_NEWUSER : 0,
        .exit_signal = SIGCHLD,
    };
    pid_t pid = pv_sys_clone3(&args, sizeof args);

    if (pid == 0)
        starter(child);
    return pid;
}
