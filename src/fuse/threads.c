/*
 * The threads that read requests and have them served.
 *
 * Why a loop of our own: libfuse's drops, when it ends, requests that it has read, and a reader
 * whose request is lost waits for ever. Here a request lies in shared memory from the moment that
 * the kernel writes it until it is answered. When this worker dies the next one has the kernel send
 * again what was not answered, or, where the kernel cannot, serves what it finds in the slots.
 */
#include "internal.h"

#include "fault.h"

#include "procview/error.h"
#include "procview/fd.h"
#include "procview/log.h"

#include <errno.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS_MIN      2
#define THREADS_MAX      PV_SHARED_SLOTS
#define STOP_TIMEOUT_SEC 5
#define CRASH_STACK_SIZE (16 * 1024)

/* Workers that may die of a request before it is answered EIO. */
#define DEATHS_MAX 3

/* <linux/fuse.h> of Linux 6.9 */
#define NOTIFY_RESEND 7

static const int CRASH_SIGNALS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};

/* What a signal handler can reach. */
static _Thread_local PvThread *this_thread;
static PvCrash *crash_report;

const PvRequest *pv_request_current(void)
{
    static const PvRequest none;

    return this_thread != NULL ? &this_thread->request : &none;
}

/* ---- the last word of a worker that crashes ---- */

/* Say which request it was, and die of the signal after all. */
static void on_crash(int signal_number, siginfo_t *info, void *context)
{
    gboolean is_ours = info->si_code > 0 || (info->si_code == SI_TKILL && info->si_pid == getpid());
    guint32 kind = PV_CRASH_OUTSIDE;

    (void)context;
    if (is_ours && this_thread != NULL && this_thread->request.unique != 0) {
        kind = PV_CRASH_REQUEST;
        crash_report->unique = this_thread->request.unique;
    } else if (is_ours) {
        kind = PV_CRASH_ELSEWHERE;
    }
    crash_report->pid = getpid();
    __atomic_store_n(&crash_report->kind, kind, __ATOMIC_RELEASE);
    /* The handler is gone (SA_RESETHAND): the instruction faults again, or this does it. */
    if (info->si_code <= 0)
        raise(signal_number);
}

void pv_server_watch_crashes(PvServer *server)
{
    struct sigaction action = {.sa_sigaction = on_crash,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND};

    crash_report = &server->memory->crash;
    for (guint i = 0; i < G_N_ELEMENTS(CRASH_SIGNALS); i++)
        sigaction(CRASH_SIGNALS[i], &action, NULL);
}

/* A stack that has run over cannot take the handler. */
static void set_crash_stack(void)
{
    stack_t stack = {.ss_size = CRASH_STACK_SIZE};

    stack.ss_sp =
        mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp != MAP_FAILED)
        sigaltstack(&stack, NULL);
}

static void drop_crash_stack(void)
{
    stack_t off = {.ss_flags = SS_DISABLE}, old;

    if (sigaltstack(&off, &old) == 0 && (old.ss_flags & SS_DISABLE) == 0)
        munmap(old.ss_sp, old.ss_size);
}

/* ---- one request ---- */

static void refuse(PvServer *server, guint64 unique)
{
    const struct fuse_out_header out = {.len = sizeof out, .error = -EIO, .unique = unique};
    ssize_t n = write(server->fd, &out, sizeof out);

    (void)n; /* the kernel has no use for it any more */
    __atomic_add_fetch(&server->memory->status.n_refused, 1, __ATOMIC_RELAXED);
    pv_log_error("a request that %d workers have died of is answered with an error", DEATHS_MAX);
}

static void serve_request(PvThread *thread, PvSharedSlot *slot, gsize size, gboolean is_replay)
{
    PvServer *server = thread->server;
    PvSharedMemory *memory = server->memory;
    const struct fuse_in_header *header = (const void *)slot->request;
    guint64 unique = pv_shared_slot_unique(slot);
    gboolean is_repeated = is_replay || (unique & PV_UNIQUE_RESENT) != 0;

    thread->request =
        (PvRequest){.unique = unique, .is_repeated = is_repeated, .message = slot->request};
    if (is_repeated)
        __atomic_add_fetch(&memory->status.n_resent, 1, __ATOMIC_RELAXED);
    if (is_repeated && pv_shared_poison_deaths(memory, unique) >= DEATHS_MAX) {
        refuse(server, unique);
    } else {
        if (server->tree != NULL)
            pv_fault_at_request(header->opcode, header->nodeid, server->options.is_safe);
        pv_server_process(server, slot->request, size);
    }
    thread->request.unique = 0;
    pv_shared_slot_clear(slot);
    /* Another thread of this worker has another slot of its own. */
    __atomic_add_fetch(&memory->slots[thread->number].n_served, 1, __ATOMIC_RELAXED);
}

/* What an earlier worker has left: its threads may have been more. */
static void take_over_slots(PvThread *thread)
{
    PvServer *server = thread->server;

    for (guint i = thread->number; i < PV_SHARED_SLOTS; i += server->n_threads) {
        PvSharedSlot *slot = &server->memory->slots[i];
        const struct fuse_in_header *header = (const void *)slot->request;

        if (pv_shared_slot_unique(slot) == 0)
            continue;
        if (server->replays && header->len >= sizeof *header &&
            header->len <= PV_SHARED_REQUEST_BYTES)
            serve_request(thread, slot, header->len, TRUE);
        else
            pv_shared_slot_clear(slot);
    }
}

static void mount_gone(PvServer *server)
{
    if (g_atomic_int_compare_and_exchange(&server->gone, 0, 1) && server->options.on_gone != NULL &&
        !g_atomic_int_get(&server->stopping))
        server->options.on_gone(server->options.on_gone_data);
}

static void *serve(void *data)
{
    PvThread *thread = data;
    PvServer *server = thread->server;
    PvSharedSlot *slot = &server->memory->slots[thread->number];

    this_thread = thread;
    set_crash_stack();
    g_atomic_int_set(&thread->state, THREAD_BUSY);
    take_over_slots(thread);
    g_atomic_int_set(&thread->state, THREAD_IDLE);
    while (!g_atomic_int_get(&server->stopping)) {
        ssize_t n = read(server->fd, slot->request, PV_SHARED_REQUEST_BYTES);

        if (n > 0) {
            g_atomic_int_set(&thread->state, THREAD_BUSY);
            serve_request(thread, slot, (gsize)n, FALSE);
            g_atomic_int_set(&thread->state, THREAD_IDLE);
        } else if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT) {
            /* ENOENT: the request was interrupted before it was read. ENODEV: unmounted. */
            mount_gone(server);
            break;
        }
    }
    drop_crash_stack();
    g_atomic_int_set(&thread->state, THREAD_ENDED);
    return NULL;
}

/* ---- all of them ---- */

void pv_threads_prepare(PvServer *server)
{
    guint wanted = server->options.threads;

    server->n_threads =
        wanted != 0 ? MIN(wanted, THREADS_MAX) : CLAMP(g_get_num_processors(), THREADS_MIN, 8);
    server->threads = g_new0(PvThread, server->n_threads);
    for (guint i = 0; i < server->n_threads; i++)
        server->threads[i] = (PvThread){.server = server, .number = i};
}

/* Have the kernel send again what was read and not answered. FALSE when it cannot. */
static gboolean resend(PvServer *server)
{
    const struct fuse_out_header out = {.len = sizeof out, .error = NOTIFY_RESEND, .unique = 0};

    return !server->options.no_resend && pv_shared_kernel_resends(server->memory) &&
           write(server->fd, &out, sizeof out) == sizeof out;
}

static void wake(int signal_number)
{
    (void)signal_number;
}

/* A thread is interrupted by what wakes it up and by its own faults. */
static void block_signals(sigset_t *ret_before)
{
    sigset_t set;

    sigfillset(&set);
    sigdelset(&set, SIGRTMIN);
    for (guint i = 0; i < G_N_ELEMENTS(CRASH_SIGNALS); i++)
        sigdelset(&set, CRASH_SIGNALS[i]);
    pthread_sigmask(SIG_SETMASK, &set, ret_before);
}

gboolean pv_threads_start(PvServer *server, GError **error)
{
    /* Without SA_RESTART: read() is to return. */
    struct sigaction action = {.sa_handler = wake};
    sigset_t before;
    int r = 0;

    sigaction(SIGRTMIN, &action, NULL);
    pv_server_watch_crashes(server);
    pv_fault_at_start(server->options.is_safe);
    /* One or the other: both together would serve requests twice at once. */
    server->replays = !resend(server);
    block_signals(&before);
    while (r == 0 && server->n_started < server->n_threads) {
        PvThread *thread = &server->threads[server->n_started];
        r = pthread_create(&thread->thread, NULL, serve, thread);
        if (r == 0)
            server->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        pv_server_stop(server);
        return pv_error_set_errno(error, r, "cannot start a thread");
    }
    return TRUE;
}

gboolean pv_server_stop(PvServer *server)
{
    gint64 until = g_get_monotonic_time() + STOP_TIMEOUT_SEC * G_USEC_PER_SEC;
    guint n_ended;

    g_atomic_int_set(&server->stopping, 1);
    do {
        n_ended = 0;
        for (guint i = 0; i < server->n_started; i++) {
            switch (g_atomic_int_get(&server->threads[i].state)) {
            case THREAD_IDLE:
                /* It may have looked at the flag just before: again until it has ended. */
                pthread_kill(server->threads[i].thread, SIGRTMIN);
                break;
            case THREAD_ENDED:
                n_ended++;
                break;
            }
        }
        if (n_ended < server->n_started) {
            if (g_get_monotonic_time() >= until)
                return FALSE;
            g_usleep(200);
        }
    } while (n_ended < server->n_started);
    for (guint i = 0; i < server->n_started; i++)
        pthread_join(server->threads[i].thread, NULL);
    server->n_started = 0;
    return TRUE;
}
