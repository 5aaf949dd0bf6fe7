/*
 * Where an account's numbers live: in a file that outlives the daemon, or on the heap. A file is
 * believed only when everything in it fits together; whatever is wrong with it, the account starts
 * anew instead of failing.
 */
#include "state.h"

#include "load.h"
#include "procview/fd.h"
#include "procview/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define STATE_MAGIC   "pvstate"
#define STATE_VERSION 3

/* Copies begin at multiples of a cache line. */
#define ALIGN_BYTES 64

/* Tries to read a file that is being written; each fails only if two changes were made meanwhile.
 */
#define READ_TRIES 16

/* What rounding may put between the ticks shown and the time given, see ticks.c. */
#define ROUNDING_TICKS 4

#define NSEC_PER_SEC G_GUINT64_CONSTANT(1000000000)

/* Sums over CPUs can pass 2^64 ns. */
__extension__ typedef unsigned __int128 Wide;

struct PvStateHeader {
    char magic[8];
    guint32 version;
    guint32 n_cpus;
    guint32 ticks_per_sec;
    guint32 reserved;
    guint64 size;    /* of the file */
    guint64 changes; /* made so far; the lowest bit names the current copy */
};

static gsize round_up(gsize size)
{
    return (size + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

static gsize copy_size(guint n_cpus)
{
    return round_up(sizeof(PvAccountState) + n_cpus * sizeof(PvCpuState));
}

static gsize whole_size(guint n_cpus)
{
    return round_up(sizeof(struct PvStateHeader)) + 2 * copy_size(n_cpus);
}

static PvAccountState *nth_copy(const struct PvStateHeader *header, guint64 n)
{
    guint8 *first = (guint8 *)(guintptr)header + round_up(sizeof *header);
    return (PvAccountState *)(void *)(first + (n & 1) * copy_size(header->n_cpus));
}

static guint64 n_changes(const struct PvStateHeader *header)
{
    return __atomic_load_n(&header->changes, __ATOMIC_ACQUIRE);
}

static struct PvStateHeader make_header(guint n_cpus, guint ticks_per_sec)
{
    return (struct PvStateHeader){
        .magic = STATE_MAGIC,
        .version = STATE_VERSION,
        .n_cpus = n_cpus,
        .ticks_per_sec = ticks_per_sec,
        .size = whole_size(n_cpus),
    };
}

/* ---- is it plausible? ---- */

static Wide sum_nsec(const guint64 nsec[PV_SHARE_COUNT])
{
    Wide sum = 0;
    for (guint i = 0; i < PV_SHARE_COUNT; i++)
        sum += nsec[i];
    return sum;
}

static gboolean ticks_fit(guint64 ticks, guint64 nsec, guint64 tick_nsec)
{
    return ticks <= nsec / tick_nsec + ROUNDING_TICKS;
}

static gboolean cpu_is_plausible(const PvCpuState *cpu, guint64 uptime_nsec, guint64 tick_nsec)
{
    const PvCpuTicks *ticks = &cpu->ticks;
    guint64 limit = uptime_nsec / tick_nsec + ROUNDING_TICKS;

    if (ticks->user > limit || ticks->nice > limit || ticks->system > limit)
        return FALSE;
    return sum_nsec(cpu->nsec) <= uptime_nsec && cpu->own_nsec <= cpu->nsec[PV_SHARE_USE] &&
           ticks_fit(ticks->user + ticks->nice + ticks->system, cpu->nsec[PV_SHARE_USE],
                     tick_nsec) &&
           ticks_fit(ticks->steal, cpu->nsec[PV_SHARE_STEAL], tick_nsec) &&
           ticks_fit(ticks->iowait, cpu->nsec[PV_SHARE_IOWAIT], tick_nsec) &&
           ticks_fit(ticks->idle, cpu->nsec[PV_SHARE_IDLE], tick_nsec) &&
           ticks->user + ticks->nice + ticks->system + ticks->steal + ticks->iowait + ticks->idle <=
               uptime_nsec / tick_nsec;
}

static gboolean load_is_plausible(const PvAccountState *state)
{
    for (guint i = 0; i < 3; i++) {
        if (state->average[i] > (guint64)G_MAXUINT32 << PV_LOAD_SHIFT)
            return FALSE;
    }
    return state->last_pid >= 0;
}

static gboolean state_is_plausible(const PvAccountState *state, guint n_cpus, guint64 tick_nsec)
{
    Wide given = sum_nsec(state->pool_nsec);

    if (state->uptime_nsec > G_MAXINT64 || state->uptime_nsec % tick_nsec != 0 ||
        state->cpus_uptime_nsec > state->uptime_nsec + tick_nsec ||
        pv_cpu_set_next(&state->cpus, n_cpus) >= 0 || !load_is_plausible(state))
        return FALSE;
    for (guint i = 0; i < n_cpus; i++) {
        if (!cpu_is_plausible(&state->cpu[i], state->uptime_nsec, tick_nsec))
            return FALSE;
        if (pv_cpu_set_has(&state->cpus, i))
            given += sum_nsec(state->cpu[i].nsec);
    }
    return given == (Wide)state->uptime_nsec * pv_cpu_set_count(&state->cpus);
}

static gboolean is_plausible(const struct PvStateHeader *header,
                             const struct PvStateHeader *expected)
{
    return memcmp(header->magic, expected->magic, sizeof header->magic) == 0 &&
           header->version == expected->version && header->n_cpus == expected->n_cpus &&
           header->ticks_per_sec == expected->ticks_per_sec && header->size == expected->size &&
           state_is_plausible(nth_copy(header, n_changes(header)), header->n_cpus,
                              NSEC_PER_SEC / header->ticks_per_sec);
}

/* ---- files ---- */

static gboolean has_size(int fd, gsize size)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)size;
}

/* All of the file's blocks are there: else a write to the mapping could be a SIGBUS. */
static struct PvStateHeader *map_file(int fd, gsize size)
{
    int error = posix_fallocate(fd, 0, (off_t)size);
    if (error != 0) {
        errno = error;
        return NULL;
    }
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return map != MAP_FAILED ? map : NULL;
}

static struct PvStateHeader *map_old(int dirfd, const char *name,
                                     const struct PvStateHeader *expected)
{
    pv_autofd int fd = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || !has_size(fd, expected->size))
        return NULL;
    struct PvStateHeader *header = map_file(fd, expected->size);
    if (header == NULL || is_plausible(header, expected))
        return header;
    munmap(header, expected->size);
    return NULL;
}

/* The file appears under its name when it is whole. Returns NULL with errno set. */
static struct PvStateHeader *map_new(int dirfd, const char *name,
                                     const struct PvStateHeader *expected)
{
    g_autofree char *new_name = g_strconcat(name, ".new", NULL);

    unlinkat(dirfd, new_name, 0);
    pv_autofd int fd = openat(dirfd, new_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return NULL;
    struct PvStateHeader *header = map_file(fd, expected->size);
    if (header != NULL) {
        *header = *expected;
        if (renameat(dirfd, new_name, dirfd, name) == 0)
            return header;
        munmap(header, expected->size);
    }
    int saved_errno = errno;
    unlinkat(dirfd, new_name, 0);
    errno = saved_errno;
    return NULL;
}

/* A copy on the heap of a file that another process may be writing; NULL when there is none that
 * fits. */
static struct PvStateHeader *read_old(int dirfd, const char *name,
                                      const struct PvStateHeader *expected)
{
    pv_autofd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || !has_size(fd, expected->size))
        return NULL;

    g_autofree struct PvStateHeader *header = g_malloc(expected->size);
    struct PvStateHeader after;
    for (guint i = 0; i < READ_TRIES; i++) {
        if (pread(fd, header, expected->size, 0) != (ssize_t)expected->size ||
            pread(fd, &after, sizeof after, 0) != (ssize_t)sizeof after)
            return NULL;
        if (after.changes == header->changes)
            return is_plausible(header, expected) ? g_steal_pointer(&header) : NULL;
    }
    return NULL;
}

static gboolean is_file_name(const char *name)
{
    return name != NULL && name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

/* Two threads may find a container at the same time, and each opens its file before one of the two
 * is dropped: it must be the same file. */
static GMutex open_lock;

void pv_state_open(PvStateMemory *memory, guint n_cpus, guint ticks_per_sec, int dirfd,
                   const char *name, gboolean writable)
{
    struct PvStateHeader expected = make_header(n_cpus, ticks_per_sec);

    *memory = (PvStateMemory){.size = expected.size};
    if (dirfd >= 0 && is_file_name(name)) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&open_lock);

        memory->header =
            writable ? map_old(dirfd, name, &expected) : read_old(dirfd, name, &expected);
        memory->is_old = memory->header != NULL;
        if (writable && memory->header == NULL) {
            memory->header = map_new(dirfd, name, &expected);
            if (memory->header == NULL)
                pv_log_warning("cannot make state file %s: %s; CPU times and load averages of this "
                               "container will not outlive the daemon",
                               name, g_strerror(errno));
        }
        memory->is_mapped = writable && memory->header != NULL;
    }
    if (memory->header == NULL) {
        memory->header = g_malloc0(expected.size);
        *memory->header = expected;
    }
}

void pv_state_close(PvStateMemory *memory)
{
    if (memory->is_mapped)
        munmap(memory->header, memory->size);
    else
        g_free(memory->header);
    memory->header = NULL;
}

/* ---- changes ---- */

const PvAccountState *pv_state_current(const PvStateMemory *memory)
{
    return nth_copy(memory->header, n_changes(memory->header));
}

PvAccountState *pv_state_begin(PvStateMemory *memory)
{
    PvAccountState *next = nth_copy(memory->header, n_changes(memory->header) + 1);
    memcpy(next, pv_state_current(memory), copy_size(memory->header->n_cpus));
    return next;
}

void pv_state_commit(PvStateMemory *memory)
{
    __atomic_store_n(&memory->header->changes, n_changes(memory->header) + 1, __ATOMIC_RELEASE);
}
