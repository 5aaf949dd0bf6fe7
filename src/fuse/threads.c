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
#define THREADS_MAX      PV_SHARED_THREADS
#define STOP_TIMEOUT_SEC 5
#define NO_SLOT          G_MAXUINT
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

static void answer_error(PvServer *server, guint64 unique, int error)
{
    const struct fuse_out_header out = {.len = sizeof out, .error = -error, .unique = unique};
    ssize_t n = write(server->fd, &out, sizeof out);

    (void)n; /* the kernel has no use for it any more */
}

static void refuse(PvServer *server, guint64 unique)
{
    answer_error(server, unique, EIO);
    __atomic_add_fetch(&server->memory->status.n_refused, 1, __ATOMIC_RELAXED);
    pv_log_error("a request that %d workers have died of is answered with an error", DEATHS_MAX);
}

/* Serve the request in a slot. It is answered then, unless its turn is wanted. */
static void serve_request(PvThread *thread, guint slot_number)
{
    PvServer *server = thread->server;
    PvSharedMemory *memory = server->memory;
    PvSharedSlot *slot = &memory->slots[slot_number];
    const struct fuse_in_header *header = (const void *)slot->request;
    guint64 unique = pv_shared_slot_unique(slot);
    gboolean is_repeated = server->is_left[slot_number] || (unique & PV_UNIQUE_RESENT) != 0;

    thread->request = (PvRequest){.unique = unique,
                                  .is_repeated = is_repeated,
                                  .message = slot->request,
                                  .turn = &thread->turn};
    if (is_repeated)
        __atomic_add_fetch(&memory->status.n_resent, 1, __ATOMIC_RELAXED);
    if (is_repeated && pv_shared_poison_deaths(memory, unique) >= DEATHS_MAX) {
        refuse(server, unique);
    } else {
        if (server->tree != NULL)
            pv_fault_at_request(header->opcode, header->nodeid, server->options.is_safe);
        pv_server_process(server, slot->request, header->len);
    }
    thread->request.unique = 0;
}

static void finish_slot(PvThread *thread, guint slot_number)
{
    PvSharedMemory *memory = thread->server->memory;

    pv_shared_slot_clear(&memory->slots[slot_number]);
    thread->server->is_left[slot_number] = FALSE;
    /* Another thread of this worker counts in another slot. */
    __atomic_add_fetch(&memory->slots[thread->number].n_served, 1, __ATOMIC_RELAXED);
}

/* ---- slots ---- */

/* There is always one for a thread that has none: fewer than all wait in line, and a thread has two
 * at most, when it goes on from one to the next. */
static guint take_slot(PvServer *server)
{
    PvSharedMemory *memory = server->memory;
    guint number;

    g_mutex_lock(&server->slots_lock);
    g_assert(server->free_slots->len > 0);
    number = g_array_index(server->free_slots, guint, server->free_slots->len - 1);
    g_array_set_size(server->free_slots, server->free_slots->len - 1);
    if (number >= memory->n_slots)
        __atomic_store_n(&memory->n_slots, number + 1, __ATOMIC_RELEASE);
    g_mutex_unlock(&server->slots_lock);
    pv_shared_slot_prefault(&memory->slots[number]);
    return number;
}

static void give_slot_back(PvServer *server, guint number)
{
    g_mutex_lock(&server->slots_lock);
    g_array_append_val(server->free_slots, number);
    g_mutex_unlock(&server->slots_lock);
}

static gboolean take_left_slot(PvServer *server, guint *ret_number)
{
    gboolean is_taken;

    g_mutex_lock(&server->slots_lock);
    is_taken = server->left_slots->len > 0;
    if (is_taken) {
        *ret_number = g_array_index(server->left_slots, guint, server->left_slots->len - 1);
        g_array_set_size(server->left_slots, server->left_slots->len - 1);
    }
    g_mutex_unlock(&server->slots_lock);
    return is_taken;
}

/* What an earlier worker has left; and the lowest slots are used first. */
static void take_over_slots(PvServer *server)
{
    guint n_used = pv_shared_count_slots(server->memory);

    for (guint i = PV_SHARED_SLOTS; i-- > 0;) {
        PvSharedSlot *slot = &server->memory->slots[i];
        const struct fuse_in_header *header = (const void *)slot->request;
        gboolean is_left = i < n_used && pv_shared_slot_unique(slot) != 0;

        if (is_left)
            __atomic_store_n(&slot->is_waiting, 0, __ATOMIC_RELEASE);
        if (is_left && server->replays && header->len >= sizeof *header &&
            header->len <= PV_SHARED_REQUEST_BYTES) {
            server->is_left[i] = TRUE;
            g_array_append_val(server->left_slots, i);
            continue;
        }
        if (is_left)
            pv_shared_slot_clear(slot);
        g_array_append_val(server->free_slots, i);
    }
}

/* ---- a request, and those that have waited for its end ---- */

/* The slot's request waits in line from now on, without this thread. Returns whether there is one
 * to be served instead. */
static gboolean wait_in_line(PvThread *thread, guint slot_number, guint *ret_next)
{
    PvServer *server = thread->server;
    PvSharedSlot *slot = &server->memory->slots[slot_number];
    guint64 unique = pv_shared_slot_unique(slot);
    gpointer next;

    __atomic_store_n(&slot->is_waiting, 1, __ATOMIC_RELEASE);
    if (!pv_cgroup_tree_wait_turn(server->cgroup_tree, &thread->turn,
                                  GUINT_TO_POINTER(slot_number + 1), &next)) {
        __atomic_store_n(&slot->is_waiting, 0, __ATOMIC_RELEASE);
        answer_error(server, unique, EAGAIN);
        finish_slot(thread, slot_number);
        thread->slot = slot_number;
    }
    *ret_next = GPOINTER_TO_UINT(next) - 1;
    return next != NULL;
}

/* Whether there is one to be served with the turn that this one has had, if it had one. */
static gboolean end_turn(PvThread *thread, guint *ret_next)
{
    gpointer next = pv_cgroup_tree_end_turn(thread->server->cgroup_tree, &thread->turn);

    *ret_next = GPOINTER_TO_UINT(next) - 1;
    return next != NULL;
}

/* Serve a slot's request, and those whose turn it is thereby. The last slot is kept for reading
 * when it is free. */
static void serve_slots(PvThread *thread, guint number)
{
    PvServer *server = thread->server;
    gboolean goes_on = TRUE;

    while (goes_on) {
        guint next;

        __atomic_store_n(&server->memory->slots[number].is_waiting, 0, __ATOMIC_RELEASE);
        serve_request(thread, number);
        if (thread->turn.is_wanted) {
            goes_on = wait_in_line(thread, number, &next);
        } else {
            finish_slot(thread, number);
            goes_on = end_turn(thread, &next);
            if (goes_on)
                give_slot_back(server, number);
            else
                thread->slot = number;
        }
        number = next;
    }
}

static void mount_gone(PvServer *server)
{
    if (g_atomic_int_compare_and_exchange(&server->gone, 0, 1) && server->options.on_gone != NULL &&
        !g_atomic_int_get(&server->stopping))
        server->options.on_gone(server->options.on_gone_data);
}

/* One request, and what follows from it. FALSE when there will be none any more. */
static gboolean read_and_serve(PvThread *thread)
{
    PvServer *server = thread->server;
    guint number;
    ssize_t n;

    if (thread->slot == NO_SLOT)
        thread->slot = take_slot(server);
    number = thread->slot;
    n = read(server->fd, server->memory->slots[number].request, PV_SHARED_REQUEST_BYTES);
    if (n > 0) {
        thread->slot = NO_SLOT;
        g_atomic_int_set(&thread->state, THREAD_BUSY);
        serve_slots(thread, number);
        g_atomic_int_set(&thread->state, THREAD_IDLE);
        return TRUE;
    }
    /* ENOENT: the request was interrupted before it was read. ENODEV: unmounted. */
    return n == 0 || errno == EINTR || errno == EAGAIN || errno == ENOENT;
}

static void *serve(void *data)
{
    PvThread *thread = data;
    PvServer *server = thread->server;
    guint left;

    this_thread = thread;
    set_crash_stack();
    g_atomic_int_set(&thread->state, THREAD_BUSY);
    while (take_left_slot(server, &left)) {
        serve_slots(thread, left);
        if (thread->slot != NO_SLOT)
            give_slot_back(server, thread->slot);
        thread->slot = NO_SLOT;
    }
    g_atomic_int_set(&thread->state, THREAD_IDLE);
    while (!g_atomic_int_get(&server->stopping)) {
        if (!read_and_serve(thread)) {
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
        server->threads[i] = (PvThread){.server = server, .number = i, .slot = NO_SLOT};
    g_mutex_init(&server->slots_lock);
    server->free_slots = g_array_sized_new(FALSE, FALSE, sizeof(guint), PV_SHARED_SLOTS);
    server->left_slots = g_array_new(FALSE, FALSE, sizeof(guint));
}

void pv_threads_clear(PvServer *server)
{
    g_clear_pointer(&server->threads, g_free);
    if (server->free_slots == NULL)
        return;
    g_clear_pointer(&server->free_slots, g_array_unref);
    g_clear_pointer(&server->left_slots, g_array_unref);
    g_mutex_clear(&server->slots_lock);
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
    take_over_slots(server);
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
