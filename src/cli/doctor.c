/*
 * What procview needs of a machine, each asked by trying it where trying does no harm.
 */
#include "doctor.h"

#include "common.h"
#include "procview/cgroup.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/syscalls.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define FSTYPE              "fuse.procview"
#define MOUNTINFO_MAX_BYTES (32u << 20)
#define ANSWER_WAIT_USEC    (2 * G_USEC_PER_SEC)
#define ANSWER_STEP_USEC    (5 * 1000)

void pv_check_free(PvCheck *check)
{
    if (check == NULL)
        return;
    g_free(check->name);
    g_free(check->message);
    g_free(check->advice);
    g_free(check);
}

void pv_check_add(GPtrArray *checks, PvCheckStatus status, const char *name, const char *advice,
                  const char *format, ...)
{
    PvCheck *check = g_new0(PvCheck, 1);
    va_list args;

    va_start(args, format);
    check->message = g_strdup_vprintf(format, args);
    va_end(args);
    check->status = status;
    check->name = g_strdup(name);
    check->advice = g_strdup(advice);
    g_ptr_array_add(checks, check);
}

/* ---- the kernel ---- */

static void check_fuse(GPtrArray *checks)
{
    pv_autofd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        pv_check_add(checks, PV_CHECK_OK, "fuse", NULL, "/dev/fuse can be opened");
    else
        pv_check_add(checks, PV_CHECK_FAIL, "fuse",
                     errno == ENOENT || errno == ENXIO || errno == ENODEV
                         ? "modprobe fuse; in a container, give it the device"
                         : "run procview doctor, and the daemon, as root",
                     "/dev/fuse: %s", g_strerror(errno));
}

static void check_mount_calls(GPtrArray *checks)
{
    pv_autofd int fs_fd = pv_sys_fsopen("tmpfs");
    pv_autofd int tree_fd = pv_sys_open_tree(AT_FDCWD, "/", 0);
    struct mount_attr nothing = {0};
    /* A bad descriptor: EBADF says that the call is there. */
    int setattr = pv_sys_mount_setattr(-1, "", AT_EMPTY_PATH, &nothing);

    if (fs_fd == -ENOSYS || tree_fd == -ENOSYS)
        pv_check_add(checks, PV_CHECK_FAIL, "mount calls",
                     "attach and run need Linux 5.10 and no seccomp filter in the way",
                     "fsopen or open_tree is missing");
    else if (fs_fd == -EPERM)
        pv_check_add(checks, PV_CHECK_WARN, "mount calls", "run procview doctor as root",
                     "fsopen: not permitted");
    else if (setattr == -ENOSYS)
        pv_check_add(checks, PV_CHECK_WARN, "mount calls",
                     "Linux 5.12 has it; without it mounts are protected one by one",
                     "fsopen, open_tree, move_mount; no mount_setattr");
    else
        pv_check_add(checks, PV_CHECK_OK, "mount calls", NULL,
                     "fsopen, open_tree, move_mount, mount_setattr");
}

/* Namespaces that the launcher uses, by their files. */
static void check_namespaces(GPtrArray *checks)
{
    static const struct {
        const char *name, *advice;
        PvCheckStatus status; /* when it is missing */
    } namespaces[] = {
        {"pid", "procview run needs it", PV_CHECK_FAIL},
        {"cgroup", "procview run needs it (Linux 4.6)", PV_CHECK_FAIL},
        {"time", "without it (Linux 5.6) the kernel's own uptime in a container is the host's",
         PV_CHECK_WARN},
        {"user", "procview run --user-ns needs it", PV_CHECK_WARN},
    };
    g_autoptr(GString) present = g_string_new(NULL);

    for (guint i = 0; i < G_N_ELEMENTS(namespaces); i++) {
        g_autofree char *path = g_build_filename("/proc/self/ns", namespaces[i].name, NULL);
        if (access(path, F_OK) == 0)
            g_string_append_printf(present, "%s%s", present->len > 0 ? ", " : "",
                                   namespaces[i].name);
        else
            pv_check_add(checks, namespaces[i].status, "namespaces", namespaces[i].advice,
                         "no %s namespaces in this kernel", namespaces[i].name);
    }
    pv_check_add(checks, PV_CHECK_OK, "namespaces", NULL, "%s", present->str);
}

static void check_seccomp(GPtrArray *checks)
{
    char text[1024];

    if (pv_read_text_at(AT_FDCWD, "/proc/sys/kernel/seccomp/actions_avail", text, sizeof text) >=
            0 &&
        strstr(text, "user_notif") != NULL)
        pv_check_add(checks, PV_CHECK_OK, "seccomp", NULL,
                     "system calls can be answered (user_notif)");
    else
        pv_check_add(checks, PV_CHECK_WARN, "seccomp",
                     "without it (Linux 5.0) sysinfo and sched_getaffinity show the host",
                     "no user_notif in this kernel");
}

static void check_pressure(GPtrArray *checks)
{
    char text[1024];

    if (pv_read_text_at(AT_FDCWD, "/proc/pressure/cpu", text, sizeof text) >= 0)
        pv_check_add(checks, PV_CHECK_OK, "pressure", NULL, "pressure stall information is on");
    else
        pv_check_add(checks, PV_CHECK_WARN, "pressure",
                     "boot with psi=1, or the pressure files show zeros",
                     "no pressure stall information");
}

void pv_checks_kernel(GPtrArray *checks)
{
    check_fuse(checks);
    check_mount_calls(checks);
    check_namespaces(checks);
    check_seccomp(checks);
    check_pressure(checks);
}

/* ---- cgroups ---- */

void pv_checks_cgroups(GPtrArray *checks)
{
    static const struct {
        PvController controller;
        const char *name, *advice;
    } wanted[] = {
        {PV_CONTROLLER_CPU, "cpu", "--cpus, and CPU counts by quota, need it"},
        {PV_CONTROLLER_CPUACCT, "cpuacct", "proc/stat shows no use without it"},
        {PV_CONTROLLER_CPUSET, "cpuset", "--cpuset needs it"},
        {PV_CONTROLLER_MEMORY, "memory",
         "meminfo is the host's without it; on a Raspberry Pi boot with cgroup_enable=memory"},
        {PV_CONTROLLER_PIDS, "pids", "--pids needs it"},
        {PV_CONTROLLER_IO, "io", "diskstats shows no use without it"},
    };
    g_autoptr(GString) present = g_string_new(NULL);
    g_auto(PvCliContext) context = {NULL, NULL, NULL, NULL};
    g_autoptr(GError) error = NULL;

    if (!pv_cli_context_open(&context, &error)) {
        pv_check_add(
            checks, PV_CHECK_FAIL, "cgroups",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup, if nothing else manages cgroups here", "%s",
            error->message);
        return;
    }
    for (guint i = 0; i < G_N_ELEMENTS(wanted); i++) {
        int version = pv_hierarchies_version(context.hierarchies, wanted[i].controller);
        if (version > 0)
            g_string_append_printf(present, "%s%s v%d", present->len > 0 ? ", " : "",
                                   wanted[i].name, version);
        else
            pv_check_add(checks, PV_CHECK_WARN, "cgroups", wanted[i].advice,
                         "no mounted hierarchy has the %s controller", wanted[i].name);
    }
    pv_check_add(checks, PV_CHECK_OK, "cgroups", NULL, "%s", present->str);
}

/* ---- the daemon, and mounts that nobody serves ---- */

/* Wait for a child that may hang. Its exit status; EIO, ETIMEDOUT. */
static int wait_for_probe(pid_t pid)
{
    gint64 deadline = g_get_monotonic_time() + ANSWER_WAIT_USEC;
    int status;

    if (pid < 0)
        return errno;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (g_get_monotonic_time() > deadline) {
            kill(pid, SIGKILL);
            return ETIMEDOUT;
        }
        g_usleep(ANSWER_STEP_USEC);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

/* statfs reaches the server of a FUSE mount, so a child asks: one that hangs would hold us. */
int pv_check_probe(const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct statfs st;
        _exit(statfs(path, &st) == 0 ? 0 : errno);
    }
    return wait_for_probe(pid);
}

/* The mount that a descriptor is on; -1 where it is not told. */
static gint64 mount_id_of(int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", fd);
    char text[512];
    const char *line;

    if (pv_read_text_at(AT_FDCWD, path, text, sizeof text) < 0)
        return -1;
    line = strstr(text, "mnt_id:");
    return line != NULL ? g_ascii_strtoll(line + strlen("mnt_id:"), NULL, 10) : -1;
}

/* A path of a container: no link of its leads us anywhere else. */
static int probe_in(const char *pid, const char *path, gint64 mount_id)
{
    g_autofree char *root_path = g_strdup_printf("/proc/%s/root", pid);
    pv_autofd int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    pv_autofd int fd = -1;
    struct statfs st;

    if (root < 0)
        return ESTALE;
    fd = pv_sys_openat2(root, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0,
                        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    /* It may lie in a mount that is as dead. */
    if (fd < 0)
        return fd == -ENOTCONN ? ENOTCONN : ESTALE;
    if (mount_id_of(fd) != mount_id)
        return ESTALE;
    return fstatfs(fd, &st) == 0 ? 0 : errno;
}

int pv_check_probe_in(const char *pid, const char *path, gint64 mount_id)
{
    pid_t child = fork();

    if (child == 0)
        _exit(probe_in(pid, path, mount_id));
    return wait_for_probe(child);
}

/* The mount point of a line of mountinfo that is a mount of ours, or NULL. */
static char *our_mount(const char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", 6);

    if (strstr(line, " - " FSTYPE " ") == NULL || g_strv_length(fields) < 6)
        return NULL;
    return g_strcompress(fields[4]); /* the kernel's escapes are C's octal ones */
}

void pv_checks_mounts(GPtrArray *checks)
{
    g_autoptr(GString) mountinfo = g_string_new(NULL);
    gboolean is_served = FALSE;
    int r = pv_read_all_at(AT_FDCWD, "/proc/self/mountinfo", mountinfo, MOUNTINFO_MAX_BYTES);

    if (r < 0) {
        pv_check_add(checks, PV_CHECK_FAIL, "mounts", "mount /proc", "/proc/self/mountinfo: %s",
                     g_strerror(-r));
        return;
    }
    g_auto(GStrv) lines = g_strsplit(mountinfo->str, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        g_autofree char *path = our_mount(*line);
        if (path == NULL)
            continue;
        int errnum = pv_check_probe(path);
        if (errnum == 0) {
            is_served |= strcmp(path, PV_VIEWS_DIR) == 0;
            pv_check_add(checks, PV_CHECK_OK, "mounts", NULL, "%s is served", path);
            continue;
        }
        g_autofree char *advice =
            g_strdup_printf("umount -l %s, or start procviewd on it again", path);
        pv_check_add(checks, PV_CHECK_FAIL, "mounts", advice, "%s does not answer: %s", path,
                     g_strerror(errnum));
    }
    if (!is_served)
        pv_check_add(checks, PV_CHECK_WARN, "daemon",
                     "start procviewd to attach to containers; procview run starts its own",
                     "no procviewd serves " PV_VIEWS_DIR);
}
