/*
 * The host: its own /proc and /sys, through file descriptors that no mount over /proc can
 * hide, and parsers of those of its files that views are made from.
 */
#pragma once

#include "procview/cpuset.h"

#include <glib.h>
#include <sys/types.h>

/* Files that are read again and again. Those whose text the kernel makes in one piece are kept
 * open. */
typedef enum {
    PV_HOST_MEMINFO,
    PV_HOST_STAT,
    PV_HOST_UPTIME,
    PV_HOST_LOADAVG,
    PV_HOST_SWAPS,
    PV_HOST_DISKSTATS,
    PV_HOST_VMSTAT,
    PV_HOST_CPUINFO,
    PV_HOST_PRESSURE_CPU,
    PV_HOST_PRESSURE_MEMORY,
    PV_HOST_PRESSURE_IO,
    PV_HOST_INTERRUPTS,
    PV_HOST_SOFTIRQS,
    PV_HOST_SCHEDSTAT,
    PV_HOST_PARTITIONS,
    PV_HOST_SLABINFO,
    PV_HOST_PID_MAX,
    PV_HOST_THREADS_MAX,
    PV_HOST_CPU_ONLINE,   /* /sys/devices/system/cpu/online */
    PV_HOST_CPU_POSSIBLE, /* /sys/devices/system/cpu/possible */
    PV_HOST_FILE_COUNT
} PvHostFile;

typedef struct PvHost PvHost;

/*
 * Open the host's procfs and sysfs.
 * root  NULL for the live system: procfs and sysfs are fresh mounts of their own that are attached
 * nowhere (fsopen, fsmount), so that the daemon can never read its own views; where the kernel
 * refuses that, /proc and /sys, if fstatfs says that they are what they should be. Else a directory
 * with captured "proc" and "sys".
 */
PvHost *pv_host_open(const char *root, GError **error);
void pv_host_free(PvHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PvHost, pv_host_free)

int pv_host_procfs(const PvHost *host); /* directory fds, owned by the host */
int pv_host_sysfs(const PvHost *host);
int pv_host_root(const PvHost *host);               /* "/", or the captured tree */
guint pv_host_ticks_per_second(const PvHost *host); /* USER_HZ */
guint64 pv_host_page_bytes(const PvHost *host);

/* CLOCK_BOOTTIME in ns; what the host's first field of /proc/uptime counts. Of a captured tree,
 * what its proc/uptime says. */
guint64 pv_host_boottime_nsec(const PvHost *host);

/* Append the text of a file of the host, whole. Returns 0 or a negative errno; out is as before
 * then. Any thread may call it; no lock of ours is held. */
int pv_host_read(const PvHost *host, PvHostFile file, GString *out);

/* The CPUs online, read anew. Returns 0 or a negative errno (then 0..n-1 of sysconf). */
int pv_host_online_cpus(const PvHost *host, PvCpuSet *ret_set);

/* /proc/PID/stat, the fields that are wanted. start_ticks is field 22, USER_HZ since boot. */
typedef struct {
    char state;           /* field 3 */
    pid_t ppid;           /* field 4 */
    guint64 user_ticks;   /* field 14 */
    guint64 system_ticks; /* field 15 */
    guint64 start_ticks;  /* field 22 */
    int processor;        /* field 39 */
} PvTaskStat;

/* Parse a stat line; the name may hold blanks and parentheses. FALSE when malformed. */
gboolean pv_task_stat_parse(const char *text, PvTaskStat *ret_stat);

/*
 * Read /proc/TID/task/TID/stat: the ticks are the thread's own (those of /proc/TID/stat are its
 * whole process's). Returns 0 or a negative errno (-ENOENT and -ESRCH: it has ended; -EBADMSG).
 */
int pv_host_read_task_stat(const PvHost *host, pid_t tid, PvTaskStat *ret_stat);

/* Pid namespaces nest 32 deep below the first (MAX_PID_NS_LEVEL). */
#define PV_PIDNS_LEVELS_MAX 33

/* /proc/PID/status, what it says of a thread's numbers. */
typedef struct {
    pid_t tgid;   /* its process; 0: not said */
    pid_t ppid;   /* 0: the parent is not visible from here, or not said */
    guint levels; /* numbers in NSpid: 1 in our own pid namespace, 2 in a child */
    pid_t pids[PV_PIDNS_LEVELS_MAX]; /* NSpid: from our namespace inwards; [levels] */
    pid_t last_pid;                  /* the innermost: what it calls itself */
} PvTaskPids;

/* Parse a status; the name holds no newline there. FALSE when NSpid is missing or malformed. */
gboolean pv_task_pids_parse(const char *text, PvTaskPids *ret_pids);

/* dirfd, path  of the status, which may be long: a process may have 65536 groups, and they stand
 *              before NSpid. FALSE when it cannot be read, too. */
gboolean pv_task_pids_read(int dirfd, const char *path, PvTaskPids *ret_pids);
