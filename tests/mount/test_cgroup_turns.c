/* Many writers in a container: none is refused what the kernel would not refuse, and another
 * container's reads do not wait for them. */
#include "harness.h"

#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOVERS 64

typedef struct {
    gint n_ready, n_done; /* movers; atomic, like all of these */
    gint n_writes, n_reads;
} Counts;

typedef struct {
    char *base;
    Counts *counts;
    guint n_movers, rounds;
} Side;

static char *tree_path(const PvtDaemon *daemon)
{
    gboolean is_v1 = pvt_cgroup_version("pids") == 1;

    return g_strdup_printf("%s/cgroup%s", daemon->mountpoint, is_v1 ? "/pids" : "");
}

static pid_t start(PvtCgroup *cgroup, int (*func)(const void *), const Side *side)
{
    int go;
    pid_t pid = pvt_run_function(cgroup, func, side, &go);

    assert_int_equal(write(go, "g", 1), 1);
    close(go);
    return pid;
}

static int move_to(const char *path)
{
    pv_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, "0", 1) == 1 ? 0 : errno;
}

/* Moves itself from one cgroup to another and back. */
static int be_mover(const Side *side, guint number)
{
    g_autofree char *own = g_strdup_printf("%s/m%u/cgroup.procs", side->base, number % 8);
    g_autofree char *root = g_strdup_printf("%s/cgroup.procs", side->base);
    int r = 0;

    g_atomic_int_inc(&side->counts->n_ready);
    while (g_atomic_int_get(&side->counts->n_ready) < (gint)side->n_movers)
        usleep(1000);
    for (guint i = 0; r == 0 && i < side->rounds; i++) {
        r = move_to(own);
        if (r == 0)
            r = move_to(root);
        g_atomic_int_add(&side->counts->n_writes, 2);
    }
    g_atomic_int_inc(&side->counts->n_done);
    return r;
}

static int be_movers(const void *data)
{
    const Side *side = data;
    int result = 0;

    for (guint i = 0; i < 8; i++) {
        g_autofree char *path = g_strdup_printf("%s/m%u", side->base, i);
        if (mkdir(path, 0755) < 0)
            return errno;
    }
    for (guint i = 0; i < side->n_movers; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(be_mover(side, i));
        if (pid < 0)
            return errno;
    }
    for (guint i = 0; i < side->n_movers; i++) {
        int status;
        if (wait(&status) > 0 && status != 0)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 101;
    }
    return result;
}

/* Reads while the others move. */
static int be_reader(const void *data)
{
    const Side *side = data;
    g_autofree char *path = g_strdup_printf("%s/cgroup.procs", side->base);

    while (g_atomic_int_get(&side->counts->n_ready) < (gint)side->n_movers)
        usleep(1000);
    while (g_atomic_int_get(&side->counts->n_done) < (gint)side->n_movers) {
        pv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
        char text[64];

        if (fd < 0 || read(fd, text, sizeof text) != 2)
            return errno != 0 ? errno : 102;
        g_atomic_int_inc(&side->counts->n_reads);
    }
    return 0;
}

static Counts *new_counts(void)
{
    Counts *counts =
        mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(counts != MAP_FAILED);
    return counts;
}

static void kill_tree_workers(PvtDaemon *daemon, const Side *side)
{
    pvt_daemon_expect(daemon, "another one goes on");
    for (guint i = 0; i < 5; i++) {
        pid_t pid = pvt_daemon_tree_worker(daemon);

        if (pid > 0 && g_atomic_int_get(&side->counts->n_done) < (gint)side->n_movers)
            kill(pid, SIGKILL);
        pvt_sleep_msec(50);
    }
}

static void move_many(guint n_movers, gboolean kills)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--cgroup-tree=yes", NULL);
    PvtCgroup *writing = pvt_cgroup_new(NULL, "movers"), *reading = pvt_cgroup_new(NULL, "reader");
    g_autofree char *base = tree_path(daemon);
    Side side = {.base = base,
                 .counts = new_counts(),
                 .n_movers = n_movers,
                 .rounds = MAX(640 / n_movers / pvt_slow(5), 2)};
    pid_t movers = start(writing, be_movers, &side);
    pid_t reader = start(reading, be_reader, &side);

    if (kills)
        kill_tree_workers(daemon, &side);
    pvt_expect_success(movers);
    pvt_expect_success(reader);
    /* Each read is an open, a read and a close: behind all the writers there would be one in that
     * many writes. */
    print_message("%u movers: %d writes, meanwhile %d reads elsewhere\n", n_movers,
                  side.counts->n_writes, side.counts->n_reads);
    if (!kills)
        assert_true(side.counts->n_reads > side.counts->n_writes / (gint)n_movers);
    munmap(side.counts, sizeof *side.counts);
    pvt_daemon_stop(daemon);
}

static void test_eight_movers_are_not_refused(void **state)
{
    (void)state;
    move_many(8, FALSE);
}

static void test_sixty_four_movers_are_not_refused_and_let_others_read(void **state)
{
    (void)state;
    move_many(MOVERS, FALSE);
}

/* Those that wait in line are not lost. */
static void test_movers_in_line_do_not_notice_that_workers_are_killed(void **state)
{
    (void)state;
    move_many(MOVERS, TRUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eight_movers_are_not_refused),
        cmocka_unit_test(test_sixty_four_movers_are_not_refused_and_let_others_read),
        cmocka_unit_test(test_movers_in_line_do_not_notice_that_workers_are_killed),
    };

    return pvt_main(tests);
}
