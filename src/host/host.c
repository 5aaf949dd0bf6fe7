/*
 * The host's own /proc and /sys. The daemon's views may be mounted over /proc, in the daemon's own
 * mount namespace too, and a daemon that read itself would wait for itself for ever: so the files
 * are read from instances of procfs and sysfs that no path leads to.
 */
#include "procview/host.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"
#include "procview/parse.h"
#include "procview/syscalls.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sys/vfs.h>
#include <time.h>

/* cpuinfo of the largest machines is some MB long; so is the interrupt line of stat. */
#define HOST_FILE_MAX (16 * 1024 * 1024)

/* What one read asks for at first: more than all but the largest stat files have. */
#define SINGLE_READ_BYTES 8192

typedef enum {
    IN_PROCFS,
    IN_SYSFS,
} Filesystem;

typedef struct {
    const char *path; /* below procfs or sysfs */
    Filesystem filesystem;
    /* The kernel makes the whole text at a read at offset 0, whoever reads: one descriptor serves
     * all threads. The others are made record by record, where each read goes on from what the
     * last one left in the descriptor: these are opened for every reading. */
    gboolean single_record;
} HostFile;

static const HostFile HOST_FILES[PV_HOST_FILE_COUNT] = {
    [PV_HOST_MEMINFO] = {"meminfo", IN_PROCFS, TRUE},
    [PV_HOST_STAT] = {"stat", IN_PROCFS, TRUE},
    [PV_HOST_UPTIME] = {"uptime", IN_PROCFS, TRUE},
    [PV_HOST_LOADAVG] = {"loadavg", IN_PROCFS, TRUE},
    [PV_HOST_SWAPS] = {"swaps", IN_PROCFS, FALSE},
    [PV_HOST_DISKSTATS] = {"diskstats", IN_PROCFS, FALSE},
    [PV_HOST_VMSTAT] = {"vmstat", IN_PROCFS, FALSE},
    [PV_HOST_CPUINFO] = {"cpuinfo", IN_PROCFS, FALSE},
    [PV_HOST_PRESSURE_CPU] = {"pressure/cpu", IN_PROCFS, TRUE},
    [PV_HOST_PRESSURE_MEMORY] = {"pressure/memory", IN_PROCFS, TRUE},
    [PV_HOST_PRESSURE_IO] = {"pressure/io", IN_PROCFS, TRUE},
    [PV_HOST_INTERRUPTS] = {"interrupts", IN_PROCFS, FALSE},
    [PV_HOST_SOFTIRQS] = {"softirqs", IN_PROCFS, FALSE},
    [PV_HOST_SCHEDSTAT] = {"schedstat", IN_PROCFS, FALSE},
    [PV_HOST_PARTITIONS] = {"partitions", IN_PROCFS, FALSE},
    [PV_HOST_SLABINFO] = {"slabinfo", IN_PROCFS, FALSE},
    [PV_HOST_PID_MAX] = {"sys/kernel/pid_max", IN_PROCFS, FALSE},
    [PV_HOST_THREADS_MAX] = {"sys/kernel/threads-max", IN_PROCFS, FALSE},
    [PV_HOST_CPU_ONLINE] = {"devices/system/cpu/online", IN_SYSFS, TRUE},
    [PV_HOST_CPU_POSSIBLE] = {"devices/system/cpu/possible", IN_SYSFS, TRUE},
};

struct PvHost {
    int procfs_fd, sysfs_fd, root_fd;
    int mount_fds[2]; /* the detached mounts, by Filesystem: they live as long as these; or -1 */
    gboolean check_magic; /* the files are those of /proc and /sys, where anything may be mounted */
    gboolean is_captured; /* a copy in a directory: time stands still */
    guint ticks_per_second;
    guint64 page_bytes;
    int files[PV_HOST_FILE_COUNT]; /* of single records: descriptor, or the negative errno */
};

static glong filesystem_magic(Filesystem filesystem)
{
    return filesystem == IN_PROCFS ? PROC_SUPER_MAGIC : SYSFS_MAGIC;
}

/* 0 when the descriptor is of a file of procfs or sysfs, else a negative errno. */
static int check_filesystem(int fd, Filesystem filesystem)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return -errno;
    return (glong)fs.f_type == filesystem_magic(filesystem) ? 0 : -EXDEV;
}

/*
 * Make an instance of procfs or sysfs that is attached nowhere.
 * ret_mount_fd  keeps it alive: the kernel takes the mount apart when this one is closed
 * Returns a descriptor of its root that can be read, or a negative errno.
 */
static int mount_detached(const char *fs_name, int *ret_mount_fd)
{
    pv_autofd int fs_fd = pv_sys_fsopen(fs_name);
    if (fs_fd < 0)
        return fs_fd;
    int result = pv_sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (result < 0)
        return result;
    pv_autofd int mount_fd = pv_sys_fsmount(fs_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                                       MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (mount_fd < 0)
        return mount_fd;

    int fd = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_mount_fd = pv_steal_fd(&mount_fd);
    return fd;
}

static int open_directory(int dirfd, const char *path, GError **error)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        pv_error_set_errno(error, errno, "cannot open %s", path);
    return fd;
}

/* /proc or /sys as it is mounted, for kernels and sandboxes that refuse another instance. */
static int open_attached(const char *path, Filesystem filesystem, GError **error)
{
    pv_autofd int fd = open_directory(AT_FDCWD, path, error);
    if (fd < 0)
        return -1;
    int result = check_filesystem(fd, filesystem);
    if (result < 0) {
        pv_error_set_errno(error, -result, "%s is not the kernel's own", path);
        return -1;
    }
    return pv_steal_fd(&fd);
}

static gboolean open_live(PvHost *host, GError **error)
{
    host->root_fd = open_directory(AT_FDCWD, "/", error);
    if (host->root_fd < 0)
        return FALSE;

    host->procfs_fd = mount_detached("proc", &host->mount_fds[IN_PROCFS]);
    if (host->procfs_fd >= 0)
        host->sysfs_fd = mount_detached("sysfs", &host->mount_fds[IN_SYSFS]);
    if (host->procfs_fd >= 0 && host->sysfs_fd >= 0)
        return TRUE;

    /* Both or none: two instances of different age are harder to reason about. */
    pv_clear_fd(&host->procfs_fd);
    pv_clear_fd(&host->mount_fds[IN_PROCFS]);
    host->check_magic = TRUE;
    host->procfs_fd = open_attached("/proc", IN_PROCFS, error);
    if (host->procfs_fd < 0)
        return FALSE;
    host->sysfs_fd = open_attached("/sys", IN_SYSFS, error);
    return host->sysfs_fd >= 0;
}

static gboolean open_captured(PvHost *host, const char *root, GError **error)
{
    host->is_captured = TRUE;
    host->root_fd = open_directory(AT_FDCWD, root, error);
    if (host->root_fd < 0)
        return FALSE;
    host->procfs_fd = open_directory(host->root_fd, "proc", error);
    if (host->procfs_fd < 0)
        return FALSE;
    host->sysfs_fd = open_directory(host->root_fd, "sys", error);
    return host->sysfs_fd >= 0;
}

/* Open one file. Returns the descriptor or a negative errno. */
static int open_file(const PvHost *host, PvHostFile file)
{
    const HostFile *row = &HOST_FILES[file];
    int dirfd = row->filesystem == IN_PROCFS ? host->procfs_fd : host->sysfs_fd;

    pv_autofd int fd = openat(dirfd, row->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int result = host->check_magic ? check_filesystem(fd, row->filesystem) : 0;
    return result < 0 ? result : pv_steal_fd(&fd);
}

PvHost *pv_host_open(const char *root, GError **error)
{
    g_autoptr(PvHost) host = g_new0(PvHost, 1);
    host->procfs_fd = host->sysfs_fd = host->root_fd = -1;
    host->mount_fds[IN_PROCFS] = host->mount_fds[IN_SYSFS] = -1;
    for (guint i = 0; i < PV_HOST_FILE_COUNT; i++)
        host->files[i] = -EBADF;
    host->ticks_per_second = (guint)MAX(sysconf(_SC_CLK_TCK), 1);
    host->page_bytes = (guint64)MAX(sysconf(_SC_PAGESIZE), 1024);

    if (!(root != NULL ? open_captured(host, root, error) : open_live(host, error)))
        return NULL;
    for (guint i = 0; i < PV_HOST_FILE_COUNT; i++) {
        if (HOST_FILES[i].single_record)
            host->files[i] = open_file(host, (PvHostFile)i);
    }
    return g_steal_pointer(&host);
}

void pv_host_free(PvHost *host)
{
    if (host == NULL)
        return;
    for (guint i = 0; i < PV_HOST_FILE_COUNT; i++)
        pv_clear_fd(&host->files[i]);
    pv_clear_fd(&host->procfs_fd);
    pv_clear_fd(&host->sysfs_fd);
    pv_clear_fd(&host->root_fd);
    pv_clear_fd(&host->mount_fds[IN_PROCFS]);
    pv_clear_fd(&host->mount_fds[IN_SYSFS]);
    g_free(host);
}

int pv_host_procfs(const PvHost *host)
{
    return host->procfs_fd;
}

int pv_host_sysfs(const PvHost *host)
{
    return host->sysfs_fd;
}

int pv_host_root(const PvHost *host)
{
    return host->root_fd;
}

guint pv_host_ticks_per_second(const PvHost *host)
{
    return host->ticks_per_second;
}

guint64 pv_host_page_bytes(const PvHost *host)
{
    return host->page_bytes;
}

/* The first field of a captured uptime ("12.34 …") in ns, or 0. */
static guint64 captured_uptime_nsec(const PvHost *host)
{
    char text[128];
    const char *cursor = text;
    guint64 sec, centi;
    ssize_t n = pv_pread_text(host->files[PV_HOST_UPTIME], text, sizeof text);

    if (n < 0 || !pv_parse_u64(&cursor, &sec) || *cursor++ != '.' || !pv_parse_u64(&cursor, &centi))
        return 0;
    return sec * G_GUINT64_CONSTANT(1000000000) + centi * 10000000;
}

guint64 pv_host_boottime_nsec(const PvHost *host)
{
    if (host->is_captured)
        return captured_uptime_nsec(host);

    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (guint64)now.tv_sec * G_GUINT64_CONSTANT(1000000000) + (guint64)now.tv_nsec;
}

/* Append a file of a single record, which has to come with one read. */
static int read_single(int fd, GString *out)
{
    gsize start = out->len;

    for (gsize size = SINGLE_READ_BYTES; size <= HOST_FILE_MAX; size *= 4) {
        g_string_set_size(out, start + size);
        ssize_t n = pv_pread_text(fd, out->str + start, size);
        g_string_set_size(out, start + (gsize)MAX(n, 0));
        if (n != -EFBIG)
            return n < 0 ? (int)n : 0;
    }
    return -EFBIG;
}

int pv_host_read(const PvHost *host, PvHostFile file, GString *out)
{
    if (HOST_FILES[file].single_record)
        return host->files[file] < 0 ? host->files[file] : read_single(host->files[file], out);

    pv_autofd int fd = open_file(host, file);
    return fd < 0 ? fd : pv_pread_all(fd, out, HOST_FILE_MAX);
}

int pv_host_online_cpus(const PvHost *host, PvCpuSet *ret_set)
{
    char text[PV_CONTROL_FILE_MAX];
    int fd = host->files[PV_HOST_CPU_ONLINE];
    ssize_t result = fd < 0 ? fd : pv_pread_text(fd, text, sizeof text);
    PvCpuSet set;

    if (result >= 0 && pv_cpu_set_parse_list(text, &set) && pv_cpu_set_count(&set) > 0) {
        *ret_set = set;
        return 0;
    }
    pv_cpu_set_clear(ret_set);
    glong n_cpus = CLAMP(sysconf(_SC_NPROCESSORS_ONLN), 1, PV_CPU_MAX);
    for (guint cpu = 0; cpu < (guint)n_cpus; cpu++)
        pv_cpu_set_add(ret_set, cpu);
    return result < 0 ? (int)result : -EBADMSG;
}
