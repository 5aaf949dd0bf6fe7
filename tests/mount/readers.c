/* Readers that check every byte, see readers.h. */
#include "readers.h"

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX     (256 * 1024)
#define HANG_MSEC    5000 /* a read that takes longer */
#define NSEC_PER_SEC G_GINT64_CONSTANT(1000000000)

static gint64 now_nsec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* ---- readers ---- */

typedef struct {
    PvtArena *arena;
    guint number;
    guint32 random;
    const char *mountpoint;
    gint last_kill;
    guint64 cpu[10]; /* of stat, so far */
    gboolean reads_at_once;
} Reader;

/* Files that are served under the name lxcfs, too; not swaps, of which workers die in tests. */
static const char *const FILES[] = {
    "proc/meminfo", "proc/stat",    "proc/cpuinfo",
    "proc/uptime",  "proc/loadavg", "sys/devices/system/cpu/online",
};

G_NORETURN static void reader_fail(Reader *reader, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void reader_fail(Reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_vsnprintf(reader->arena->failure[reader->number], 512, format, args);
    va_end(args);
    _exit(1);
}

static guint next_random(Reader *reader, guint below)
{
    reader->random = reader->random * 1664525u + 1013904223u;
    return (reader->random >> 8) % below;
}

static void note_stall(Reader *reader, gint64 begin, gint64 end)
{
    gint kills = g_atomic_int_get(&reader->arena->n_kills);

    if (end - begin > reader->arena->worst_nsec[reader->number])
        reader->arena->worst_nsec[reader->number] = end - begin;
    if (end - begin > pvt_timeout_msec(HANG_MSEC) * G_GINT64_CONSTANT(1000000))
        reader_fail(reader, "a read took %d ms", (int)((end - begin) / 1000000));
    if (reader->number == 0 && kills > reader->last_kill &&
        begin > reader->arena->kill_nsec[kills]) {
        reader->arena->stall_nsec[kills] = end - reader->arena->kill_nsec[kills];
        reader->last_kill = kills;
    }
}

/* Read on to the end, in pieces of `piece` bytes or less; or all by one read. */
static gsize read_whole(Reader *reader, int fd, const char *path, guint piece, char *text)
{
    gsize length = 0;

    for (;;) {
        guint size = reader->reads_at_once ? TEXT_MAX : 1 + next_random(reader, piece);
        gint64 begin = now_nsec();
        ssize_t n = read(fd, text + length, MIN(size, TEXT_MAX - 1 - length));

        note_stall(reader, begin, now_nsec());
        if (n < 0)
            reader_fail(reader, "%s: read: %s", path, g_strerror(errno));
        length += n > 0 ? (gsize)n : 0;
        if (n == 0 || reader->reads_at_once)
            break;
    }
    text[length] = '\0';
    return length;
}

static guint64 field(const char *text, const char *key)
{
    const char *line = text;

    while (line != NULL && !g_str_has_prefix(line, key)) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return line != NULL ? g_ascii_strtoull(line + strlen(key), NULL, 10) : G_MAXUINT64;
}

/* Lines of one width, the first and the last one, the container's own limit. */
static void check_meminfo(Reader *reader, const char *text, gsize length)
{
    const char *end;

    if (field(text, "MemTotal:") != PVT_READERS_LIMIT_KB)
        reader_fail(reader, "meminfo: not the container's: %.40s", text);
    for (const char *line = text; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (end == NULL || strchr(line, ':') == NULL || strchr(line, ':') > end)
            reader_fail(reader, "meminfo: a torn line: %.40s", line);
    }
    if (!g_str_has_prefix(text, "MemTotal:") || text[length - 1] != '\n' ||
        field(text, "SwapTotal:") == G_MAXUINT64 || field(text, "Slab:") == G_MAXUINT64)
        reader_fail(reader, "meminfo: incomplete: %" G_GSIZE_FORMAT " bytes", length);
}

/* The sum is that of the CPUs in the same text: a text of two would differ. No number decreases. */
static void check_stat(Reader *reader, const char *text, gsize length)
{
    guint64 sum[10] = {0}, total[10] = {0};
    const char *softirq = strstr(text, "\nsoftirq ");

    for (const char *line = text; g_str_has_prefix(line, "cpu"); line = strchr(line, '\n') + 1) {
        gboolean is_total = line[3] == ' ';
        char *cursor = (char *)line + strcspn(line, " ");

        if (strchr(line, '\n') == NULL)
            reader_fail(reader, "stat: a torn line: %s", line);
        for (guint i = 0; i < 10; i++)
            (is_total ? total : sum)[i] += g_ascii_strtoull(cursor, &cursor, 10);
    }
    for (guint i = 0; i < 10; i++) {
        if (total[i] != sum[i])
            reader_fail(reader,
                        "stat: torn: field %u is %" G_GUINT64_FORMAT ", not %" G_GUINT64_FORMAT
                        ": %.300s",
                        i, total[i], sum[i], text);
        if (total[i] < reader->cpu[i])
            reader_fail(reader,
                        "stat: field %u went from %" G_GUINT64_FORMAT " back to %" G_GUINT64_FORMAT,
                        i, reader->cpu[i], total[i]);
        reader->cpu[i] = total[i];
    }
    if (softirq == NULL || text[length - 1] != '\n')
        reader_fail(reader, "stat: incomplete: %" G_GSIZE_FORMAT " bytes", length);
}

static void check_other(Reader *reader, const char *path, const char *text, gsize length)
{
    if (length == 0 || text[length - 1] != '\n' || strlen(text) != length)
        reader_fail(reader, "%s: incomplete: %" G_GSIZE_FORMAT " bytes", path, length);
    if (strcmp(path, "proc/cpuinfo") == 0 &&
        (!g_str_has_prefix(text, "processor") || !g_str_has_suffix(text, "\n\n")))
        reader_fail(reader, "cpuinfo: torn");
}

static void check_text(Reader *reader, const char *path, const char *text, gsize length)
{
    if (strcmp(path, "proc/meminfo") == 0)
        check_meminfo(reader, text, length);
    else if (strcmp(path, "proc/stat") == 0)
        check_stat(reader, text, length);
    else
        check_other(reader, path, text, length);
    reader->arena->n_texts[reader->number]++;
}

static int open_file(Reader *reader, const char *path)
{
    g_autofree char *full = g_build_filename(reader->mountpoint, path, NULL);
    int fd = open(full, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        reader_fail(reader, "%s: open: %s", path, g_strerror(errno));
    return fd;
}

static void list_directory(Reader *reader, const char *path)
{
    g_autofree char *full = g_build_filename(reader->mountpoint, path, NULL);
    GDir *dir = g_dir_open(full, 0, NULL);
    guint n = 0;

    while (dir != NULL && g_dir_read_name(dir) != NULL)
        n++;
    if (n < 5)
        reader_fail(reader, "%s: %u entries", path, n);
    g_dir_close(dir);
}

/* Half of the readers keep their files open and go back to their beginning. */
G_NORETURN static void reader_main(Reader *reader)
{
    char *text = g_malloc(TEXT_MAX);
    int kept[G_N_ELEMENTS(FILES)];
    gboolean keeps = reader->number % 2 == 1;

    for (guint i = 0; i < G_N_ELEMENTS(FILES); i++)
        kept[i] = open_file(reader, FILES[i]);
    while (!g_atomic_int_get(&reader->arena->stop)) {
        /* stat changes all the time: it shows best what is torn. */
        guint which = MIN(next_random(reader, 10), G_N_ELEMENTS(FILES)) % G_N_ELEMENTS(FILES);
        guint piece = reader->number == 0 ? 65536 : next_random(reader, 3) == 0 ? 4096 : 400;
        const char *path = reader->number == 0 ? "proc/stat" : FILES[which];
        int fd = keeps ? kept[which] : open_file(reader, path);
        gsize length;

        if (keeps && lseek(fd, 0, SEEK_SET) != 0)
            reader_fail(reader, "%s: lseek: %s", path, g_strerror(errno));
        length = read_whole(reader, fd, path, piece, text);
        check_text(reader, path, text, length);
        if (!keeps)
            close(fd);
        if (reader->number == 2 && next_random(reader, 20) == 0)
            list_directory(reader, "proc");
    }
    _exit(0);
}

/* ---- a run ---- */

/* procs: open files that take a process into the cgroup; may be empty. */
static void fork_readers(PvtReaders *run, const char *folder, const GArray *procs)
{
    run->arena =
        mmap(NULL, sizeof *run->arena, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run->arena == MAP_FAILED)
        pvt_fail("no memory");
    for (guint i = 0; i < PVT_READERS; i++) {
        pid_t parent = getpid();

        run->readers[i] = fork();
        if (run->readers[i] == 0) {
            Reader reader = {.arena = run->arena,
                             .number = i,
                             .random = i * 7919 + 1,
                             .mountpoint = folder,
                             .reads_at_once = run->read_at_once};
            pvt_child_setup(parent);
            for (guint k = 0; k < procs->len; k++) {
                if (write(g_array_index(procs, int, k), "0", 1) < 0)
                    reader_fail(&reader, "cannot enter the cgroup: %s", g_strerror(errno));
            }
            reader_main(&reader);
        }
    }
}

static void start_in_cgroup(PvtReaders *run)
{
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "readers");
    GArray *procs;

    pvt_cgroup_limit_memory(cgroup, (guint64)PVT_READERS_LIMIT_KB * 1024);
    procs = pvt_cgroup_open_procs(cgroup);
    fork_readers(run, run->daemon->mountpoint, procs);
    for (guint i = 0; i < procs->len; i++)
        close(g_array_index(procs, int, i));
    g_array_unref(procs);
}

void pvt_readers_start(PvtReaders *run, PvtDaemon *daemon)
{
    *run = (PvtReaders){.daemon = daemon};
    start_in_cgroup(run);
}

void pvt_readers_start_at_once(PvtReaders *run, PvtDaemon *daemon)
{
    *run = (PvtReaders){.daemon = daemon, .read_at_once = TRUE};
    start_in_cgroup(run);
}

void pvt_readers_start_on(PvtReaders *run, const char *folder)
{
    g_autoptr(GArray) procs = g_array_new(FALSE, FALSE, sizeof(int));

    *run = (PvtReaders){.daemon = NULL};
    fork_readers(run, folder, procs);
}

static int compare(gconstpointer a, gconstpointer b)
{
    gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;

    return x < y ? -1 : x > y;
}

static void print_stalls(PvtReaders *run)
{
    gint64 stalls[PVT_KILLS_MAX];
    guint n = 0;

    for (gint i = 1; i <= run->arena->n_kills; i++) {
        if (run->arena->stall_nsec[i] > 0)
            stalls[n++] = run->arena->stall_nsec[i];
    }
    if (n == 0)
        return;
    qsort(stalls, n, sizeof stalls[0], compare);
    print_message("stall seen by a reader after %u kills: median %.1f ms, 95 %% %.1f ms, "
                  "worst %.1f ms\n",
                  n, (double)stalls[n / 2] / 1e6, (double)stalls[n * 95 / 100] / 1e6,
                  (double)stalls[n - 1] / 1e6);
}

/* A busy machine may not have let one read yet. */
static void wait_for_first_texts(const PvtReaders *run)
{
    for (guint i = 0; i < PVT_READERS; i++) {
        guint waited;

        for (waited = 0; run->arena->n_texts[i] == 0 && run->arena->failure[i][0] == '\0';
             waited += 5) {
            if (waited > pvt_timeout_msec(10000))
                pvt_fail("reader %u has read nothing", i);
            pvt_sleep_msec(5);
        }
    }
}

/* Every reader must end by itself, without a complaint, and must have read something. */
void pvt_readers_end(PvtReaders *run)
{
    gint64 worst_nsec = 0;
    guint64 n_texts = 0;

    wait_for_first_texts(run);
    g_atomic_int_set(&run->arena->stop, 1);
    for (guint i = 0; i < PVT_READERS; i++) {
        guint waited;
        int status = 0;

        for (waited = 0; waitpid(run->readers[i], &status, WNOHANG) == 0; waited += 5) {
            if (waited > pvt_timeout_msec(10000))
                pvt_fail("reader %u hangs", i);
            pvt_sleep_msec(5);
        }
        if (status != 0)
            pvt_fail("reader %u: %s (status %d)", i, run->arena->failure[i], status);
        n_texts += run->arena->n_texts[i];
        worst_nsec = MAX(worst_nsec, run->arena->worst_nsec[i]);
    }
    print_message("%" G_GUINT64_FORMAT " texts read and checked, the slowest read %.1f ms\n",
                  n_texts, (double)worst_nsec / 1e6);
    print_stalls(run);
    munmap(run->arena, sizeof *run->arena);
}

void pvt_readers_note_kill(PvtReaders *run)
{
    gint n = g_atomic_int_get(&run->arena->n_kills) + 1;

    if (n > PVT_KILLS_MAX)
        return;
    run->arena->kill_nsec[n] = now_nsec();
    g_atomic_int_set(&run->arena->n_kills, n);
}

/* What the tests do to it is in its log. */
void pvt_expect_ends(PvtDaemon *daemon)
{
    pvt_daemon_expect(daemon, "another one goes on");
    pvt_daemon_expect(daemon, "it is killed");
    pvt_daemon_expect(daemon, "have died of");
    pvt_daemon_expect(daemon, "kernel's own file");
}

pid_t pvt_wait_for_worker(PvtDaemon *daemon, pid_t not_this_one)
{
    for (guint i = 0; i < pvt_timeout_msec(10000) / 2; i++) {
        pid_t pid = pvt_daemon_worker(daemon);
        if (pid > 0 && pid != not_this_one)
            return pid;
        pvt_sleep_msec(2);
    }
    pvt_fail("there is no worker");
}

/* What may happen to a daemon. A hang is not among them: it lasts as long as the watchdog waits. */
enum { TO_SUPERVISOR = 1000, TO_UPGRADE };

static const struct {
    int way; /* a signal to the worker, or one of the above */
    const char *name;
} WAYS[] = {
    {SIGKILL, "SIGKILL"},     {SIGSEGV, "SIGSEGV"}, {SIGABRT, "SIGABRT"},
    {SIGKILL, "SIGKILL"},     {SIGBUS, "SIGBUS"},   {SIGTERM, "SIGTERM"},
    {SIGILL, "SIGILL"},       {SIGKILL, "SIGKILL"}, {SIGABRT, "SIGABRT"},
    {TO_UPGRADE, "upgrades"}, {SIGSEGV, "SIGSEGV"}, {TO_SUPERVISOR, "supervisors killed"},
};

static void next_supervisor(PvtReaders *run)
{
    pvt_daemon_kill_supervisor(run->daemon);
    run->daemon = pvt_daemon_start_after(run->daemon);
    pvt_expect_ends(run->daemon);
}

static void kill_once(PvtReaders *run, int way, pid_t worker)
{
    switch (way) {
    case TO_UPGRADE:
        kill(run->daemon->pid, SIGUSR1);
        break;
    case TO_SUPERVISOR:
        next_supervisor(run);
        break;
    default:
        kill(worker, way);
        break;
    }
}

void pvt_kill_at_random(PvtReaders *run, guint n)
{
    g_autoptr(GHashTable) counts = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GString) text = g_string_new(NULL);
    GHashTableIter iter;
    gpointer name, count;
    guint32 random = 12345;
    pid_t pid = 0;

    for (guint i = 0; i < n; i++) {
        random = random * 1664525u + 1013904223u;
        guint which = (random >> 10) % G_N_ELEMENTS(WAYS);

        pid = pvt_wait_for_worker(run->daemon, pid);
        pvt_readers_note_kill(run);
        kill_once(run, WAYS[which].way, pid);
        if (WAYS[which].way >= TO_SUPERVISOR) /* the same worker may go on for a while */
            pid = 0;
        count = g_hash_table_lookup(counts, WAYS[which].name);
        g_hash_table_insert(counts, (gpointer)WAYS[which].name,
                            GUINT_TO_POINTER(GPOINTER_TO_UINT(count) + 1));
        pvt_sleep_msec(pvt_slow(10) * (5 + (random >> 16) % 26));
    }
    g_hash_table_iter_init(&iter, counts);
    while (g_hash_table_iter_next(&iter, &name, &count))
        g_string_append_printf(text, ", %u %s", GPOINTER_TO_UINT(count), (char *)name);
    print_message("%u times: %s\n", n, text->len > 2 ? text->str + 2 : "");
}
