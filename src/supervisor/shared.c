/* The memory that outlives a worker, see procview/shared.h. */
#include "procview/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME  "procview"
#define MAGIC "pvshare"

/* <linux/fuse.h> of Linux 6.9. */
#define FLAG_INIT_EXT    (1u << 30)
#define FLAG2_HAS_RESEND (1u << 7)

/* Pages of each slot that are there before the kernel writes to them: a request of ours is short.
 */
#define PREFAULT_BYTES 8192

_Static_assert(sizeof MAGIC == sizeof((PvSharedMemory *)NULL)->magic, "magic");
_Static_assert(sizeof(PvSharedHandle) % 64 == 0, "whole cache lines");
_Static_assert(sizeof(PvSharedSlot) % 4096 == 0, "whole pages");

off_t pv_shared_text_offset(uint32_t handle, unsigned int which)
{
    const off_t start =
        ((off_t)sizeof(PvSharedMemory) + PV_SHARED_TEXT_BYTES) & -(off_t)PV_SHARED_TEXT_BYTES;

    return start + ((off_t)handle * 2 + which) * PV_SHARED_TEXT_BYTES;
}

uint64_t pv_shared_now_nsec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int map(int fd, int protection, PvShared *ret_shared)
{
    void *memory = mmap(NULL, sizeof(PvSharedMemory), protection, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED)
        return -errno;
    /* A core dump is not to take seconds, nor to hold what containers read. */
    madvise(memory, sizeof(PvSharedMemory), MADV_DONTDUMP);
    *ret_shared = (PvShared){.fd = fd, .memory = memory};
    return 0;
}

void pv_shared_slot_prefault(PvSharedSlot *slot)
{
    volatile char *request = slot->request;

    for (int offset = 0; offset < PREFAULT_BYTES; offset += 4096)
        request[offset] = request[offset];
}

int pv_shared_new(PvShared *ret_shared)
{
    int fd = memfd_create(NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, pv_shared_text_offset(PV_SHARED_HANDLES, 0)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        r = -errno;
    else
        r = map(fd, PROT_READ | PROT_WRITE, ret_shared);
    if (r < 0) {
        close(fd);
        return r;
    }
    memcpy(ret_shared->memory->magic, MAGIC, sizeof MAGIC);
    ret_shared->memory->version = PV_SHARED_VERSION;
    for (int i = 0; i < PV_SHARED_THREADS; i++)
        pv_shared_slot_prefault(&ret_shared->memory->slots[i]);
    return 0;
}

int pv_shared_is_one(int fd)
{
    char path[64], target[64];
    ssize_t n;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    return strncmp(target, "/memfd:" NAME, strlen("/memfd:" NAME)) == 0;
}

/* 0, -EPROTO, -EINVAL */
static int check(int fd)
{
    char head[offsetof(PvSharedMemory, init_bytes)];
    struct stat st;
    uint32_t version;

    if (!pv_shared_is_one(fd) || pread(fd, head, sizeof head, 0) != sizeof head ||
        memcmp(head, MAGIC, sizeof MAGIC) != 0 || fstat(fd, &st) < 0)
        return -EINVAL;
    memcpy(&version, head + offsetof(PvSharedMemory, version), sizeof version);
    return version == PV_SHARED_VERSION && st.st_size == pv_shared_text_offset(PV_SHARED_HANDLES, 0)
               ? 0
               : -EPROTO;
}

int pv_shared_map(int fd, PvShared *ret_shared)
{
    int r = check(fd);

    return r < 0 ? r : map(fd, PROT_READ | PROT_WRITE, ret_shared);
}

int pv_shared_map_read_only(int fd, PvShared *ret_shared)
{
    int r = check(fd);

    return r < 0 ? r : map(fd, PROT_READ, ret_shared);
}

void pv_shared_clear(PvShared *shared)
{
    if (shared->memory != NULL)
        munmap(shared->memory, sizeof *shared->memory);
    if (shared->fd >= 0)
        close(shared->fd);
    *shared = (PvShared){.fd = -1};
}

int pv_shared_salvage(int fd, PvSharedMemory *into)
{
    const size_t kept = offsetof(PvSharedMemory, mount_sec) + sizeof into->mount_sec;

    if (check(fd) == -EINVAL || pread(fd, into, kept, 0) != (ssize_t)kept ||
        into->init_bytes > sizeof into->init)
        return -EINVAL;
    into->version = PV_SHARED_VERSION;
    into->mountpoint[sizeof into->mountpoint - 1] = '\0';
    return 0;
}

/* ---- requests ---- */

uint64_t pv_shared_slot_unique(const PvSharedSlot *slot)
{
    const struct fuse_in_header *header = (const void *)slot->request;

    return __atomic_load_n(&header->unique, __ATOMIC_RELAXED);
}

uint64_t pv_shared_slot_busy_unique(const PvSharedSlot *slot)
{
    return __atomic_load_n(&slot->is_waiting, __ATOMIC_ACQUIRE) == 0 ? pv_shared_slot_unique(slot)
                                                                     : 0;
}

unsigned int pv_shared_count_slots(const PvSharedMemory *memory)
{
    unsigned int n = __atomic_load_n(&memory->n_slots, __ATOMIC_ACQUIRE);

    return n < PV_SHARED_SLOTS ? n : PV_SHARED_SLOTS;
}

void pv_shared_slot_clear(PvSharedSlot *slot)
{
    struct fuse_in_header *header = (void *)slot->request;

    __atomic_store_n(&header->unique, 0, __ATOMIC_RELEASE);
}

uint64_t pv_shared_poison_add(PvSharedMemory *memory, uint64_t unique)
{
    PvPoison *free_one = &memory->poisons[0];

    unique &= ~PV_UNIQUE_RESENT;
    for (int i = 0; i < PV_SHARED_POISONS; i++) {
        PvPoison *poison = &memory->poisons[i];
        if (poison->unique == unique)
            return __atomic_add_fetch(&poison->deaths, 1, __ATOMIC_RELAXED);
        /* The least deadly makes room; numbers that are smaller are older. */
        if (poison->deaths < free_one->deaths ||
            (poison->deaths == free_one->deaths && poison->unique < free_one->unique))
            free_one = poison;
    }
    __atomic_store_n(&free_one->deaths, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&free_one->unique, unique, __ATOMIC_RELEASE);
    return 1;
}

uint64_t pv_shared_poison_deaths(const PvSharedMemory *memory, uint64_t unique)
{
    unique &= ~PV_UNIQUE_RESENT;
    for (int i = 0; i < PV_SHARED_POISONS; i++) {
        if (__atomic_load_n(&memory->poisons[i].unique, __ATOMIC_ACQUIRE) == unique)
            return __atomic_load_n(&memory->poisons[i].deaths, __ATOMIC_RELAXED);
    }
    return 0;
}

int pv_shared_kernel_resends(const PvSharedMemory *memory)
{
    const struct fuse_init_in *init = (const void *)(memory->init + sizeof(struct fuse_in_header));

    return memory->init_bytes >= sizeof(struct fuse_in_header) + sizeof *init &&
           (init->flags & FLAG_INIT_EXT) != 0 && (init->flags2 & FLAG2_HAS_RESEND) != 0;
}
