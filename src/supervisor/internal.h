/* What the supervisor's files share. */
#pragma once

#include "procview/mount.h"
#include "procview/supervisor.h"

#include <stdbool.h>

#define CRASHES_REMEMBERED 20

typedef struct {
    pid_t pid; /* 0: there is none */
    int pidfd;
    int control;   /* -1: of an adopted worker */
    bool is_ready; /* while it was the standby: whether it was when it was told to go */
    bool is_serving;
    bool is_told_to_go;
    bool is_new_program;   /* the one that is installed now, not the one that is running */
    bool is_retiring;      /* it was asked to end */
    uint64_t kill_at_msec; /* when it is killed for not ending; 0: never */
    bool was_hung;
    uint64_t since_msec;    /* when it was started, or told to go */
    uint64_t served_before; /* requests served by all when it was told to go */
} Worker;

/* A request that has been in its slot for some time, or the heartbeat. */
typedef struct {
    uint64_t value;
    uint64_t since_msec;
} Watch;

/* The supervisor of the cgroup tree. */
typedef struct {
    pid_t pid; /* 0: there is none */
    int pidfd;
    bool is_child; /* else it was started by a supervisor before us */
    int ready_fd;  /* its stdout, until it has said that it is ready; -1 */
    bool was_ready;
    uint64_t start_at_msec; /* when another one is started; 0: not */
} Companion;

typedef struct {
    const PvSuperviseOptions *options;
    char program[PATH_MAX]; /* where it is installed */
    char worker_file[PATH_MAX];
    PvMount mount;
    PvShared shared;
    int worker_file_fd; /* kept: what has the name may be another one by now, or nothing */
    int fuse_fd;
    int signal_fd;
    Worker active, standby;
    Companion companion;
    bool is_announced; /* it was said that we are ready */

    Worker helper;           /* attaches to containers; has only pid and pidfd */
    uint64_t helper_at_msec; /* when it is started again; 0: it runs, or there is to be none */
    uint64_t helper_start_msec, helper_pause_msec;

    bool has_served; /* since this supervisor was started */
    bool is_stopping;
    bool is_leaving;     /* ends without unmounting */
    bool wants_to_leave; /* as soon as somebody serves who can be left alone */
    bool is_upgrading;
    unsigned n_upgrade_tries;
    bool upgrades_blindly;  /* its workers cannot use our memory: it has to come first */
    bool wants_replacement; /* of the worker, as soon as the standby is ready */
    uint64_t told_manager_msec;
    int exit_status; /* -1 while it goes on */

    uint64_t stall_since_nsec; /* nobody serves since then, or what hangs; 0: somebody serves */
    uint64_t start_at_msec;    /* when a worker is started after a pause; 0: now */
    uint64_t standby_at_msec;  /* the same for the standby; 0: there is one, or will be */

    Watch slots[PV_SHARED_SLOTS];
    Watch heartbeat;

    bool is_safe;
    unsigned n_barren; /* workers in a row that died before they had served anything */
    uint64_t crash_msec[CRASHES_REMEMBERED]; /* a ring */
    unsigned n_crashes;
    uint64_t safe_until_msec;
    uint64_t safe_msec; /* how long the next time */
} Supervisor;

/* ---- say.c: the log, as the rest of procview writes it ---- */

void pv_say(char priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define say_error(...)   pv_say('3', __VA_ARGS__)
#define say_warning(...) pv_say('4', __VA_ARGS__)
#define say_info(...)    pv_say('6', __VA_ARGS__)

/* ---- worker.c: processes ---- */

uint64_t pv_now_msec(void);

/* Open the file by whose lock workers know who serves, if it is not open yet. Where it cannot be
 * made they have one without a name. Returns 0 or a negative errno. */
int pv_worker_open_file(Supervisor *self);
/* Start a worker; it waits to be told to go. `path`: the program, NULL for the one that is running.
 * Returns 0 or a negative errno. */
int pv_worker_start(Supervisor *self, const char *path, Worker *ret_worker);
/* Start a process of this program with `mode` before its arguments, which ends when we do. Returns
 * 0 or a negative errno. */
int pv_worker_spawn(Supervisor *self, const char *mode, Worker *ret_worker);
void pv_worker_signal(const Worker *worker, int signal_number);
/* Kill it, without more ado, and forget it. Nobody waits until it has ended. */
void pv_worker_drop(Worker *worker);
/* Take notice of the end of children that were forgotten. */
void pv_worker_reap_forgotten(const Supervisor *self);
void pv_worker_clear(Worker *worker);
/* Run the helper that takes the views out of containers, for some seconds at most. */
void pv_worker_detach_views(Supervisor *self);

/* ---- helper.c: the process that attaches to containers as they come ---- */

/* Start it, when there is to be one. */
void pv_helper_start(Supervisor *self);
/* It has ended: it is started again after a pause. */
void pv_helper_on_end(Supervisor *self);
/* Have it end, and wait for that. */
void pv_helper_stop(Supervisor *self);

/* ---- companion.c: the process that serves the cgroup tree ---- */

/* See to it that there is one, when there is to be one. */
void pv_companion_attend(Supervisor *self);
/* What poll(2) is to look at: it ended; it said something. */
int pv_companion_end_fd(const Supervisor *self);
void pv_companion_on_end(Supervisor *self);
void pv_companion_on_ready(Supervisor *self);
/* TRUE until it has said that it is ready, or has ended. */
bool pv_companion_is_starting(const Supervisor *self);
void pv_companion_signal(const Supervisor *self, int signal_number);
/* End it, and wait for that. leave: without unmounting. */
void pv_companion_stop(Supervisor *self, bool leave);

/* ---- adopt.c: what an earlier supervisor has left ---- */

/* 0: the connection (and maybe a worker) was taken over; -ENOENT: there is nothing; -EBUSY: its
 * supervisor lives, and is *ret_other; a negative errno. */
int pv_adopt(Supervisor *self, pid_t *ret_other);
/* Take a worker over that an earlier supervisor has started and that began to serve only now. FALSE
 * when there is none. */
bool pv_adopt_worker(Supervisor *self);
/* After pv_hand_over: TRUE when this process was somebody else before. */
bool pv_take_over(Supervisor *self);
/* Become the program that is installed. Returns only when that fails. */
void pv_hand_over(Supervisor *self);
void pv_store_fds(Supervisor *self);
void pv_unstore_fds(void);

/* ---- program.c ---- */

/* The path of the program that is running, by which its next version will be found. name: argv[0]
 */
void pv_find_program(const char *name, char *ret_path, size_t size);

/* ---- find.c: who serves, when no file says so ---- */

/* The worker that serves what is mounted there, or 0. Looks at every process. */
pid_t pv_find_worker(const char *mountpoint);
/* The supervisor that lives and owns this memory: the one that the memory tells of, or the parent
 * of its worker (0: unknown). 0 when there is none but us. */
pid_t pv_find_supervisor(int shared_fd, pid_t told, pid_t worker);

/* ---- watch.c: what is wrong with workers ---- */

/* Look at how long the worker has been at what it does, and the standby at its start; kill one that
 * hangs. */
void pv_watch(Supervisor *self);
void pv_watch_reset(Supervisor *self);
/* A worker has ended: count it, find out what it died of, and decide what is done. `status` is that
 * of waitid(2) with CLD_…; code 0 where it cannot be known. */
PvEndKind pv_watch_end(Supervisor *self, const Worker *worker, int code, int status);
/* For how long the kernel's own files are served: longer each time, until all went well for a
 * while. last_msec: the last time, 0 for none; quiet_msec: since that was over. */
uint64_t pv_watch_safe_msec(uint64_t last_msec, uint64_t quiet_msec);
/* Whether somebody else ended it, as far as can be known. */
bool pv_watch_is_outside(const Supervisor *self, const Worker *worker, PvEndKind kind);
/* Tell the log about it. */
void pv_watch_describe(const Worker *worker, PvEndKind kind, int code, int status);
