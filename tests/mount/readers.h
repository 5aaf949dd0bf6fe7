/*
 * Readers that check every byte while a daemon is killed in every way: small pieces, kept
 * descriptors, lseek to the beginning; texts must be whole and the container's own, no counter of
 * stat may decrease, no read may take seconds.
 */
#pragma once

#include "harness.h"

#define PVT_READERS          8
#define PVT_READERS_LIMIT_KB 65536 /* of their cgroup: MemTotal */
#define PVT_KILLS_MAX        1000

/* Shared with the readers, who are processes of their own. */
typedef struct {
    gint stop;
    gint n_kills;
    gint64 kill_nsec[PVT_KILLS_MAX + 1];
    gint64 stall_nsec[PVT_KILLS_MAX +
                      1];           /* from the kill to the end of the first read begun after it */
    gint64 worst_nsec[PVT_READERS]; /* of one read */
    guint64 n_texts[PVT_READERS];
    char failure[PVT_READERS][512]; /* "" */
} PvtArena;

typedef struct {
    PvtArena *arena;
    PvtDaemon *daemon;
    pid_t readers[PVT_READERS];
    gboolean read_at_once;
} PvtReaders;

/* Start them, in a cgroup of their own. */
void pvt_readers_start(PvtReaders *run, PvtDaemon *daemon);

/* They read each text by one read(2): for where a half-read text may go on with newer numbers. */
void pvt_readers_start_at_once(PvtReaders *run, PvtDaemon *daemon);

/* The same without a daemon of ours: on a folder that has proc/, in the cgroup where we are. */
void pvt_readers_start_on(PvtReaders *run, const char *folder);

/* Have them end. Fails when one has found something wrong, hangs, or has read nothing. Prints what
 * was read, and the stalls after kills. */
void pvt_readers_end(PvtReaders *run);

/* Something is about to be killed: the first read that begins from now on measures the stall. */
void pvt_readers_note_kill(PvtReaders *run);

/*
 * Kill n times, 5 to 30 ms apart: the worker by every signal that may end one, the supervisor (and
 * start the next one); or upgrade. The daemon is run->daemon afterwards. Prints how
 * often what was done.
 */
void pvt_kill_at_random(PvtReaders *run, guint n);

/* The worker that serves now, once it is another one than this (0: whichever). */
pid_t pvt_wait_for_worker(PvtDaemon *daemon, pid_t not_this_one);

/* What is done to the daemon in these tests may be in its log. */
void pvt_expect_ends(PvtDaemon *daemon);
