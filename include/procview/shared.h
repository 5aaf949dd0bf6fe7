/*
 * What outlives a worker: a piece of memory (a memfd) that the supervisor makes and every worker
 * maps. It holds the recorded FUSE_INIT, the requests that are being served, the open files with
 * their texts, and what procview status tells.
 *
 * One worker at a time writes to it, and any of its instructions may be its last. So there are no
 * locks in here: each change becomes visible by one atomic store, and what a worker needs besides
 * (free lists, sums) it makes anew from what it finds.
 *
 * Texts are not mapped, but for those of a line or two: they are read and written as the file's
 * bytes, in places of fixed size that take no memory before they are used.
 *
 * Links neither glib nor libfuse.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Tests build a program of another version. */
#ifndef PV_SHARED_VERSION
#define PV_SHARED_VERSION 2
#endif

#define PV_SHARED_THREADS       64
#define PV_SHARED_SLOTS         512 /* requests being served, and those that wait for it */
#define PV_SHARED_REQUEST_BYTES (128 * 1024 + 8192) /* as the kernel wants it for its max_write */
#define PV_SHARED_HANDLES       16384
#define PV_SHARED_TEXT_BYTES    (4 * 1024 * 1024) /* of one text */
#define PV_SHARED_SHORT_BYTES   64                /* of a text that is kept in the handle itself */
#define PV_SHARED_POISONS       64
#define PV_SHARED_CAUSE_BYTES   256

/* Unique numbers of requests that the kernel sends again have this bit. */
#define PV_UNIQUE_RESENT ((uint64_t)1 << 63)

/* How a worker ended. */
typedef enum {
    PV_END_KILLED,   /* SIGKILL, not ours: somebody's, or the kernel's for want of memory */
    PV_END_CRASHED,  /* by a signal that says that something is wrong */
    PV_END_HUNG,     /* the watchdog killed it */
    PV_END_EXITED,   /* by itself */
    PV_END_REPLACED, /* by a new one, as it was asked to */
    PV_END_KINDS
} PvEndKind;

/* An open file or directory. */
typedef struct {
    uint32_t generation; /* atomic; odd while the handle is in use */
    uint32_t share; /* the container's id, or 0: the handle counts for its share of the table */
    uint64_t ino;
    uint64_t opener;        /* unique number of the OPEN, without PV_UNIQUE_RESENT */
    uint64_t text;          /* atomic: number of the text << 32 | its length; 0: there is none.
                               Odd numbers are in the second place, even ones in the first */
    uint64_t renderer[2];   /* unique number of the READ that each text was made for */
    uint64_t owner_ino;     /* whose share the container counts for, see PvContainer.owner_ino */
    uint32_t is_host_pidns; /* of the container */
    uint32_t reserved;
    char short_text[2][PV_SHARED_SHORT_BYTES]; /* the two places of a text that fits in */
} PvSharedHandle;

/* A request being served, or waiting in line for it. */
typedef struct {
    char request[PV_SHARED_REQUEST_BYTES]; /* as the kernel wrote it; its unique number is 0 when
                                              there is none */
    uint64_t n_served;   /* atomic: requests answered by the thread of this number, of all workers;
                            in the first PV_SHARED_THREADS */
    uint32_t is_waiting; /* atomic: no thread is busy with it */
    char pad[4096 - sizeof(uint64_t) - sizeof(uint32_t)];
} PvSharedSlot;

/* A request in the midst of which workers died. */
typedef struct {
    uint64_t unique; /* atomic; 0: a free entry */
    uint64_t deaths; /* atomic */
} PvPoison;

/* The numbers of procview status. Each is written by one process only. */
typedef struct {
    /* by the supervisor */
    uint64_t supervisor_start_nsec; /* CLOCK_BOOTTIME, like all times here */
    uint64_t worker_start_nsec;     /* when the worker began to serve; 0: there is none just now */
    uint64_t ends[PV_END_KINDS];
    uint64_t n_stalls; /* times without a worker */
    uint64_t last_stall_nsec, worst_stall_nsec, sum_stall_nsec;
    uint64_t n_upgrades;
    int32_t supervisor_pid, worker_pid, standby_pid;
    int32_t is_safe;                   /* the worker serves only what the kernel's own files say */
    int32_t shows_host;                /* atomic: everybody is to see them, until it is 0 again */
    char cause[PV_SHARED_CAUSE_BYTES]; /* why; "" */
    uint32_t n_upgrades_refused;       /* atomic: given up, as the new program did not start */
    /* by the worker */
    uint64_t heartbeat; /* atomic: when it last moved, which it does each second */
    uint64_t n_resent;  /* atomic: requests of a dead worker that were served again */
    uint64_t n_refused; /* atomic: requests answered EIO, as workers had died of them */
    uint64_t containers, handles, renders, fallbacks;
} PvStatus;

/* How a worker crashed, said by itself in its last moment. */
typedef enum {
    PV_CRASH_UNKNOWN,
    PV_CRASH_OUTSIDE, /* a signal that somebody sent */
    PV_CRASH_REQUEST, /* in a thread that was serving `unique` */
    PV_CRASH_ELSEWHERE,
} PvCrashKind;

typedef struct {
    uint32_t kind; /* atomic: a PvCrashKind */
    int32_t pid;   /* whose: a standby may crash, too */
    uint64_t unique;
} PvCrash;

#define PV_SHARED_INIT_BYTES 256

typedef struct {
    /* These stay where they are in every version. */
    char magic[8];
    uint32_t version;
    uint32_t init_bytes;
    char init[PV_SHARED_INIT_BYTES]; /* FUSE_INIT as the kernel sent it */
    char mountpoint[PATH_MAX];
    int64_t mount_sec; /* when it was mounted, CLOCK_REALTIME */

    PvStatus status;
    PvCrash crash;
    PvPoison poisons[PV_SHARED_POISONS];
    uint32_t n_slots; /* atomic: those behind have never been used */
    _Alignas(64) PvSharedHandle handles[PV_SHARED_HANDLES];
    _Alignas(4096) PvSharedSlot slots[PV_SHARED_SLOTS];
} PvSharedMemory;

typedef struct {
    int fd; /* the memfd; owned */
    PvSharedMemory *memory;
} PvShared;

/* Make one, empty. Returns 0 or a negative errno. */
int pv_shared_new(PvShared *ret_shared);

/*
 * Map one that another process made.
 * fd  owned by it from now on; still the caller's when this fails
 * Returns 0; -EINVAL when it is none, -EPROTO when it is of another version; a negative errno.
 */
int pv_shared_map(int fd, PvShared *ret_shared);

/* The same, to look at only. */
int pv_shared_map_read_only(int fd, PvShared *ret_shared);

/* Unmap and close. Does nothing for {-1, NULL}. */
void pv_shared_clear(PvShared *shared);

/* What every version has: copies the recorded INIT and the mount point from one that is of another
 * version. Returns 0, or -EINVAL when it is none at all. */
int pv_shared_salvage(int fd, PvSharedMemory *into);

/* Whether this file is one: told by its name, as no other process could make it so. */
int pv_shared_is_one(int fd);

/* ---- requests ---- */

/* The unique number of the request in a slot, 0 for none. */
uint64_t pv_shared_slot_unique(const PvSharedSlot *slot);
/* The same of one that a thread is busy with: 0 for one that waits, too. */
uint64_t pv_shared_slot_busy_unique(const PvSharedSlot *slot);
/* How many slots there is anything to look for in. */
unsigned int pv_shared_count_slots(const PvSharedMemory *memory);
void pv_shared_slot_clear(PvSharedSlot *slot);
/* Have the first pages of a free slot mapped before the kernel writes to them: it answers EIO when
 * the worker is killed just when one is missing. */
void pv_shared_slot_prefault(PvSharedSlot *slot);

/* Count a death in the midst of a request. Returns how many there were now. */
uint64_t pv_shared_poison_add(PvSharedMemory *memory, uint64_t unique);
/* How many there were. */
uint64_t pv_shared_poison_deaths(const PvSharedMemory *memory, uint64_t unique);

/* Whether the kernel sends requests again when it is asked to: from the recorded INIT. */
int pv_shared_kernel_resends(const PvSharedMemory *memory);

/* ---- texts ---- */

/* Where one of a handle's two texts is in the file. */
off_t pv_shared_text_offset(uint32_t handle, unsigned int which);

/* Time for PvStatus. */
uint64_t pv_shared_now_nsec(void);
