/*
 * What it costs to list the processes of a large container: the cgroup tree's cgroup.procs beside
 * the kernel's own file, both read in the container's pid namespace. PV_BENCH_PIDS says how many
 * there are; fails when 100,000 would take a second.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PIDS       20000
#define STACK_BYTES        4096
#define SAMPLES            9
#define PIDLIST_USEC       1200000 /* v1 keeps a list that was read for a second */
#define LIMIT_NSEC_PER_PID 10000   /* 100,000 in a second */

static char *own_path; /* of this program */

/* ---- in the container ---- */

G_NORETURN static int be_process(void *data)
{
    (void)data;
    for (;;)
        pause();
}

/* Processes that share this one's memory: that many would not fit otherwise. */
static int start_processes(guint n)
{
    char *stacks = mmap(NULL, (gsize)n * STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (stacks == MAP_FAILED)
        return 1;
    for (guint i = 0; i < n; i++) {
        if (clone(be_process, stacks + (gsize)(i + 1) * STACK_BYTES, CLONE_VM | SIGCHLD, NULL) <
            0) {
            printf("%u processes, then %s\n", i, g_strerror(errno));
            return 1;
        }
    }
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}

static int compare(gconstpointer a, gconstpointer b)
{
    gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;

    return x < y ? -1 : x > y;
}

/* From open to close, in ns. */
static gint64 time_read(const char *path, GString *out)
{
    struct timespec begin, end;
    char piece[65536];
    ssize_t n;
    int fd;

    g_string_truncate(out, 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    while ((n = read(fd, piece, sizeof piece)) > 0)
        g_string_append_len(out, piece, n);
    close(fd);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return n < 0 ? -1
                 : (end.tv_sec - begin.tv_sec) * G_GINT64_CONSTANT(1000000000) + end.tv_nsec -
                       begin.tv_nsec;
}

/* Prints the medians of both, in ns, and how many pids there are; fails when they differ. */
static int compare_reads(const char *kernels, const char *trees)
{
    g_autoptr(GString) expected = g_string_new(NULL), seen = g_string_new(NULL);
    gint64 kernel_nsec[SAMPLES], tree_nsec[SAMPLES];
    guint n = 0;

    for (guint i = 0; i < SAMPLES; i++) {
        g_usleep(PIDLIST_USEC);
        kernel_nsec[i] = time_read(kernels, expected);
        tree_nsec[i] = time_read(trees, seen);
        if (kernel_nsec[i] < 0 || tree_nsec[i] < 0 || !g_string_equal(expected, seen))
            return 1;
    }
    qsort(kernel_nsec, SAMPLES, sizeof kernel_nsec[0], compare);
    qsort(tree_nsec, SAMPLES, sizeof tree_nsec[0], compare);
    for (const char *c = seen->str; *c != '\0'; c++)
        n += *c == '\n';
    printf("%" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %u\n", kernel_nsec[SAMPLES / 2],
           tree_nsec[SAMPLES / 2], n);
    return 0;
}

/* ---- outside ---- */

static guint wanted_pids(void)
{
    const char *text = g_getenv("PV_BENCH_PIDS");

    return text != NULL ? (guint)strtoul(text, NULL, 10) : DEFAULT_PIDS;
}

static void test_processes_of_a_large_container(void **state)
{
    PvtDaemon *daemon = pvt_daemon_start_with("--cgroup-tree=yes", NULL);
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "many"), 0);
    gboolean is_v1 = pvt_cgroup_version("pids") == 1;
    const char *hierarchy = is_v1 ? "/pids" : "";
    gint64 kernel_nsec, tree_nsec;
    guint n = wanted_pids(), n_seen;

    (void)state;
    g_autofree char *ready = pvt_run(container,
                                     "%s %u >%s/ready & while ! grep -s . %s/ready; do sleep 0.1; "
                                     "done",
                                     own_path, n, daemon->base, daemon->base);
    assert_string_equal(ready, "ready\n");
    g_autofree char *text =
        pvt_run(container, "%s /sys/fs/cgroup%s/%s-many/cgroup.procs %s/cgroup%s/cgroup.procs",
                own_path, hierarchy, pvt_prefix(), daemon->mountpoint, hierarchy);
    assert_int_equal(sscanf(text, "%" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %u", &kernel_nsec,
                            &tree_nsec, &n_seen),
                     3);
    printf("%u processes: kernel %.1f ms, tree %.1f ms, %.1f times, %.2f us a process\n", n_seen,
           (double)kernel_nsec / 1e6, (double)tree_nsec / 1e6,
           (double)tree_nsec / (double)kernel_nsec, (double)tree_nsec / 1e3 / n_seen);
    assert_true(n_seen > n);
    assert_true(tree_nsec <= (gint64)n_seen * LIMIT_NSEC_PER_PID);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_processes_of_a_large_container)};

    if (argc == 2)
        return start_processes((guint)strtoul(argv[1], NULL, 10));
    if (argc == 3)
        return compare_reads(argv[1], argv[2]);
    own_path = g_file_read_link("/proc/self/exe", NULL);
    return pvt_main(tests);
}
