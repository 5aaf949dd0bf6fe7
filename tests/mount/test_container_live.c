/*
 * Which container a process is in, with real namespaces and cgroups: needs root. The cgroups are
 * made below "pv-live-PID" of the memory controller's hierarchy (on v2: of the only one) and
 * removed at the end, by the
 * harness's guardian when the program is killed.
 */
#include "harness.h"

#include "../../src/container/internal.h"
#include "procview/container.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/syscalls.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define PROCESSES_MAX 64

/* Set up anew for each test. */
typedef struct {
    PvHost *host;
    PvHierarchies *hierarchies;
    PvContainers *containers;
    char *top;                     /* "/pv-test-PID-live" */
    char *top_path;                /* the same in the file system */
    pid_t children[PROCESSES_MAX]; /* ours, to be killed and waited for */
    guint n_children;
} Live;

/* ---- cgroups ---- */

static char *cgroup_file(const Live *live, const char *cgroup, const char *file)
{
    return g_build_filename(live->top_path, cgroup, file, NULL);
}

static void make_cgroup(const Live *live, const char *cgroup)
{
    g_autofree char *path = cgroup_file(live, cgroup, NULL);

    assert_int_equal(mkdir(path, 0755), 0);
}

/* A removed cgroup may be busy for a moment after its last process. */
static void remove_cgroup(const Live *live, const char *cgroup)
{
    g_autofree char *path = cgroup_file(live, cgroup, NULL);

    for (int i = 0; i < 200 && rmdir(path) < 0 && errno == EBUSY; i++)
        g_usleep(10 * 1000);
}

static void join_cgroup(const Live *live, const char *cgroup)
{
    g_autofree char *path = cgroup_file(live, cgroup, "cgroup.procs");
    pv_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "0", 1) != 1) {
        perror(path);
        _exit(1);
    }
}

/* ---- processes ---- */

typedef struct {
    const char *cgroup;      /* joined before the namespaces are made */
    const char *init_cgroup; /* joined by init afterwards; NULL: stays */
    unsigned long flags;     /* namespaces */
    const char *timens_offsets;
    gboolean mounts_cgroups; /* init mounts the cgroup file system where everybody expects it */
    pid_t join_pid;          /* enter the pid namespace of that process instead of making one */
} Spec;

static void wait_for_end(void)
{
    for (;;)
        pause();
}

static void mount_cgroups(const Live *live)
{
    int version = pv_hierarchies_version(live->hierarchies, PV_CONTROLLER_MEMORY);

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, NULL) < 0 ||
        mkdir("/sys/fs/cgroup/memory", 0755) < 0 ||
        (version == 1 ? mount("cgroup", "/sys/fs/cgroup/memory", "cgroup", 0, "memory")
                      : mount("cgroup2", "/sys/fs/cgroup/memory", "cgroup2", 0, NULL)) < 0) {
        perror("mount");
        _exit(1);
    }
}

/* Runs in a child of ours: become what the spec says, and fork init, which says its pid to
 * report_fd. */
static void run_outside(const Live *live, const Spec *spec, int report_fd)
{
    pid_t self = getpid(), pid;
    int ready[2];
    char byte;

    if (pipe2(ready, O_CLOEXEC) < 0)
        _exit(1);
    if (spec->cgroup != NULL)
        join_cgroup(live, spec->cgroup);
    if (spec->join_pid > 0) {
        g_autofree char *path = g_strdup_printf("/proc/%d/ns/pid", (int)spec->join_pid);
        pv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || setns(fd, CLONE_NEWPID) < 0)
            _exit(1);
    }
    if (unshare((int)spec->flags) < 0)
        _exit(1);
    if (spec->timens_offsets != NULL) {
        pv_autofd int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, spec->timens_offsets, strlen(spec->timens_offsets)) < 0)
            _exit(1);
    }
    pid = fork();
    if (pid == 0) {
        pvt_child_setup(self);
        if (spec->init_cgroup != NULL)
            join_cgroup(live, spec->init_cgroup);
        if (spec->mounts_cgroups)
            mount_cgroups(live);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        wait_for_end();
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1 || write(report_fd, &byte, 1) != 1 ||
        write(report_fd, &pid, sizeof(pid)) != sizeof(pid))
        _exit(1);
    wait_for_end();
}

/* Start what the spec says. Returns the pid, in ours, of the process inside. */
static pid_t start(Live *live, const Spec *spec)
{
    int fds[2];
    pid_t self = getpid(), outside, inside = 0;
    char buf[sizeof(pid_t) + 1];
    size_t got = 0;

    assert_true(live->n_children < PROCESSES_MAX);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    outside = fork();
    assert_true(outside >= 0);
    if (outside == 0) {
        pvt_child_setup(self);
        run_outside(live, spec, fds[1]);
    }
    close(fds[1]);
    live->children[live->n_children++] = outside;
    while (got < sizeof(buf)) {
        ssize_t n = read(fds[0], buf + got, sizeof(buf) - got);

        assert_true(n > 0);
        got += (size_t)n;
    }
    close(fds[0]);
    memcpy(&inside, buf + 1, sizeof(inside));
    assert_int_equal(kill(inside, 0), 0);
    return inside;
}

/* End a process whose parent has ended: main() made us the one who reaps orphans. */
static void kill_and_wait(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void end_all(Live *live)
{
    for (guint i = 0; i < live->n_children; i++) {
        kill(live->children[i], SIGKILL);
        waitpid(live->children[i], NULL, 0);
    }
    live->n_children = 0;
}

/* End all, and those inside, who die with the ones that started them: all of our own group. */
static void end_everything(Live *live)
{
    end_all(live);
    while (waitpid(0, NULL, 0) > 0)
        ;
}

static int live_setup(void **state)
{
    Live *live = g_new0(Live, 1);
    g_autoptr(GError) error = NULL;

    live->host = pv_host_open(NULL, &error);
    if (live->host == NULL)
        fail_msg("%s", error->message);
    live->hierarchies =
        pv_hierarchies_load(pv_host_procfs(live->host), pv_host_root(live->host), &error);
    if (live->hierarchies == NULL)
        fail_msg("%s", error->message);
    live->containers = pv_containers_new(live->host, live->hierarchies, NULL);
    live->top = g_strdup_printf("/%s-live", pvt_prefix());
    live->top_path = g_build_filename(
        pv_hierarchies_mount_point(live->hierarchies, PV_CONTROLLER_MEMORY), live->top, NULL);
    make_cgroup(live, "");
    make_cgroup(live, "a");
    make_cgroup(live, "a/init.scope");
    make_cgroup(live, "b");
    *state = live;
    return 0;
}

static int live_teardown(void **state)
{
    Live *live = *state;

    end_everything(live);
    pv_containers_free(live->containers);
    pv_hierarchies_unref(live->hierarchies);
    pv_host_free(live->host);
    remove_cgroup(live, "b");
    remove_cgroup(live, "a/init.scope");
    remove_cgroup(live, "a");
    remove_cgroup(live, "");
    g_free(live->top);
    g_free(live->top_path);
    g_free(live);
    return 0;
}

static PvContainer *find(const Live *live, pid_t tid)
{
    g_autoptr(GError) error = NULL;
    PvContainer *container = pv_containers_find(live->containers, tid, &error);

    if (container == NULL)
        fail_msg("%s", error->message);
    return container;
}

static void expect_memory_cgroup(const Live *live, const PvContainer *container,
                                 const char *below_top)
{
    g_autofree char *expected = g_strdup_printf("%s/%s", live->top, below_top);

    assert_string_equal(pv_cgroup_path(container->cgroup, PV_CONTROLLER_MEMORY), expected);
}

/* ---- the tests ---- */

static void we_ourselves_are_in_the_hosts_pid_namespace(void **state)
{
    g_autoptr(PvContainer) container = find(*state, getpid());

    assert_true(container->is_host_pidns);
    assert_int_equal(container->init_pid, 1);
    assert_false(container->has_time_offset);
}

static void a_namespaced_init_is_the_container(void **state)
{
    Live *live = *state;
    pid_t init = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID});
    g_autoptr(PvContainer) container = find(live, init);
    g_autoptr(PvContainer) again = find(live, init);

    assert_ptr_equal(container, again);
    assert_int_equal(container->init_pid, init);
    assert_false(container->is_host_pidns);
    assert_false(container->has_time_offset);
    expect_memory_cgroup(live, container, "a");
    assert_string_equal(container->name, "a");
    assert_true(pv_container_uptime_nsec(container, live->host) < G_GUINT64_CONSTANT(60000000000));
}

static void the_cgroup_namespaces_root_is_the_containers_cgroup(void **state)
{
    Live *live = *state;
    pid_t init = start(live, &(Spec){.cgroup = "a",
                                     .init_cgroup = "a/init.scope",
                                     .flags = CLONE_NEWPID | CLONE_NEWCGROUP});
    g_autoptr(PvContainer) container = find(live, init);

    expect_memory_cgroup(live, container, "a");
}

static void without_a_cgroup_namespace_inits_own_cgroup_is_the_containers(void **state)
{
    Live *live = *state;
    pid_t init =
        start(live, &(Spec){.cgroup = "a", .init_cgroup = "a/init.scope", .flags = CLONE_NEWPID});
    g_autoptr(PvContainer) container = find(live, init);

    expect_memory_cgroup(live, container, "a/init.scope");
}

/* In a child without CAP_SYS_ADMIN: 0 when the container's cgroup is as expected. */
static int find_without_admin(const Live *live, pid_t tid, const char *below_top)
{
    g_autofree char *expected = g_strdup_printf("%s/%s", live->top, below_top);
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        cap_value_t admin = CAP_SYS_ADMIN;
        cap_t caps = cap_get_proc();
        PvContainer *container;

        cap_set_flag(caps, CAP_EFFECTIVE, 1, &admin, CAP_CLEAR);
        cap_set_flag(caps, CAP_PERMITTED, 1, &admin, CAP_CLEAR);
        if (cap_set_proc(caps) < 0)
            _exit(2);
        container = pv_containers_find(live->containers, tid, NULL);
        _exit(container != NULL &&
                      g_str_equal(pv_cgroup_path(container->cgroup, PV_CONTROLLER_MEMORY), expected)
                  ? 0
                  : 1);
    }
    waitpid(child, &status, 0);
    return status;
}

static void without_the_privilege_to_enter_it_mounts_tell_the_namespaces_root(void **state)
{
    Live *live = *state;
    Spec spec = {
        .cgroup = "a", .init_cgroup = "a/init.scope", .flags = CLONE_NEWPID | CLONE_NEWCGROUP};
    pid_t init = start(live, &spec);

    assert_int_equal(find_without_admin(live, init, "a/init.scope"), 0); /* nothing tells */
    spec.mounts_cgroups = TRUE;
    init = start(live, &spec);
    assert_int_equal(find_without_admin(live, init, "a"), 0);
}

static void expect_setns_process_found(Live *live)
{
    pid_t init = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID});
    pid_t entered = start(live, &(Spec){.cgroup = "a", .join_pid = init});
    g_autoptr(PvContainer) of_entered = find(live, entered);
    g_autoptr(PvContainer) of_init = find(live, init);

    assert_int_equal(of_entered->init_pid, init);
    assert_ptr_equal(of_entered, of_init);
}

static void a_process_that_entered_is_in_the_container(void **state)
{
    expect_setns_process_found(*state);
}

static void the_same_on_a_kernel_that_does_not_tell_the_init(void **state)
{
    Live *live = *state;

    live->containers->vantage.use_ioctl = FALSE;
    expect_setns_process_found(live);
}

static void a_scan_of_proc_finds_the_init_of_another_cgroup(void **state)
{
    Live *live = *state;
    pid_t init, entered;
    g_autoptr(PvContainer) container = NULL;

    live->containers->vantage.use_ioctl = FALSE;
    init = start(live, &(Spec){.cgroup = "b", .flags = CLONE_NEWPID});
    entered = start(live, &(Spec){.cgroup = "a", .join_pid = init});
    container = find(live, entered);
    assert_int_equal(container->init_pid, init);
}

static void pods_that_share_a_pid_namespace_are_two_containers(void **state)
{
    Live *live = *state;
    pid_t init = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID});
    pid_t other = start(live, &(Spec){.cgroup = "b", .join_pid = init});
    g_autoptr(PvContainer) first = find(live, init);
    g_autoptr(PvContainer) second = find(live, other);

    assert_ptr_not_equal(first, second);
    assert_true(first->pidns_ino == second->pidns_ino);
    expect_memory_cgroup(live, first, "a");
    expect_memory_cgroup(live, second, "b");
    assert_int_equal(second->init_pid, init);
}

/* Enter a namespace and make another one inside it. */
static void nested_pid_namespaces_are_containers_of_their_own(void **state)
{
    Live *live = *state;
    pid_t outer = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID});
    pid_t self = getpid(), child = fork();

    if (child == 0) {
        g_autofree char *path = g_strdup_printf("/proc/%d/ns/pid", (int)outer);
        pv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

        pvt_child_setup(self);
        if (fd < 0 || setns(fd, CLONE_NEWPID) < 0 || fork() != 0)
            wait_for_end();
        if (unshare(CLONE_NEWPID) < 0)
            _exit(1);
        fork();
        wait_for_end();
    }
    assert_true(child > 0);
    live->children[live->n_children++] = child;

    for (int i = 0; i < 200; i++) {
        g_autoptr(GPtrArray) found = pv_containers_scan(live->containers);

        for (guint j = 0; j < found->len; j++) {
            PvContainer *container = g_ptr_array_index(found, j);

            if (container->priv->pidns->is_nested &&
                container->priv->pidns->owner_ino != container->pidns_ino) {
                g_autoptr(PvContainer) parent = find(live, outer);

                assert_true(container->priv->pidns->owner_ino == parent->pidns_ino);
                return;
            }
        }
        g_usleep(10 * 1000);
    }
    fail_msg("the nested container was not found");
}

static void a_time_namespace_gives_the_uptime(void **state)
{
    Live *live = *state;
    g_autoptr(PvContainer) container = NULL;
    pid_t init;

    if (live->containers->vantage.time_ns_ino == 0) {
        print_message("skipped: this kernel has no time namespaces\n");
        skip();
    }
    init = start(live, &(Spec){.cgroup = "a",
                               .flags = CLONE_NEWPID | CLONE_NEWTIME,
                               .timens_offsets = "boottime 1000000 5\n"});
    container = find(live, init);
    assert_true(container->has_time_offset);
    assert_true(container->time_offset_nsec == G_GINT64_CONSTANT(1000000000000005));
    assert_true(pv_container_uptime_nsec(container, live->host) >
                G_GUINT64_CONSTANT(1000000000000000));
}

static void an_init_that_moves_is_followed(void **state)
{
    Live *live = *state;
    pid_t init = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID});
    g_autofree char *procs = cgroup_file(live, "b", "cgroup.procs");
    g_autofree char *text = g_strdup_printf("%d", (int)init);
    g_autoptr(PvContainer) before = find(live, init);
    g_autoptr(PvContainer) after = NULL;
    g_autoptr(GPtrArray) list = NULL;
    pv_autofd int fd = open(procs, O_WRONLY | O_CLOEXEC);

    expect_memory_cgroup(live, before, "a");
    assert_true(fd >= 0);
    assert_true(write(fd, text, strlen(text)) > 0);
    after = find(live, init); /* its own text has changed too: no need to wait */
    expect_memory_cgroup(live, after, "b");
    list = pv_containers_list(live->containers);
    assert_int_equal(list->len, 1);
}

static void an_ended_container_is_gone_and_its_inode_not_reused_before(void **state)
{
    Live *live = *state;
    pid_t init = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID});
    g_autoptr(PvContainer) container = find(live, init);
    g_autoptr(GPtrArray) list = NULL;
    g_autoptr(GError) error = NULL;
    gboolean dead;

    end_all(live);
    kill_and_wait(init);
    assert_null(pv_containers_find(live->containers, init, &error));
    assert_true(g_error_matches(error, PV_ERROR, PV_ERROR_NOT_FOUND) ||
                g_error_matches(error, PV_ERROR, PV_ERROR_GONE));
    for (int i = 0; i < 20; i++) {
        pid_t next = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID});
        guint64 ino;

        assert_int_equal(pv_identify_pidns(&live->containers->vantage, next, &ino), 0);
        assert_true(ino != container->pidns_ino);
        end_all(live);
        kill_and_wait(next);
    }
    pv_pidns_poll(&container->priv->pidns, 1, &dead);
    assert_true(dead);
    pv_containers_collect_garbage(live->containers);
    list = pv_containers_list(live->containers);
    assert_int_equal(list->len, 0);
}

static void a_removed_cgroup_is_collected(void **state)
{
    Live *live = *state;
    pid_t process = start(live, &(Spec){.cgroup = "b"});
    g_autoptr(PvContainer) container = find(live, process);
    g_autoptr(GPtrArray) list = NULL;

    expect_memory_cgroup(live, container, "b");
    pv_containers_collect_garbage(live->containers);
    list = pv_containers_list(live->containers);
    assert_int_equal(list->len, 1);
    g_clear_pointer(&list, g_ptr_array_unref);

    end_all(live);
    kill_and_wait(process);
    remove_cgroup(live, "b");
    pv_containers_collect_garbage(live->containers);
    list = pv_containers_list(live->containers);
    assert_int_equal(list->len, 0);
}

typedef struct {
    Live *live;
    pid_t tid;
    gint stop;
    gint n_found, n_failed;
} Finder;

static gpointer find_again_and_again(gpointer data)
{
    Finder *finder = data;

    while (!g_atomic_int_get(&finder->stop)) {
        g_autoptr(GError) error = NULL;
        g_autoptr(PvContainer) container =
            pv_containers_find(finder->live->containers, finder->tid, &error);

        if (container != NULL) {
            g_atomic_int_inc(&finder->n_found);
        } else {
            g_atomic_int_inc(&finder->n_failed);
            if (error->code != PV_ERROR_GONE && error->code != PV_ERROR_NOT_FOUND)
                return g_strdup(error->message);
        }
    }
    return NULL;
}

static void containers_may_end_while_four_threads_look_them_up(void **state)
{
    Live *live = *state;

    for (int round = 0; round < 8; round++) {
        pid_t init = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID | CLONE_NEWCGROUP});
        Finder finder = {.live = live, .tid = init};
        GThread *threads[4];

        for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
            threads[i] = g_thread_new("find", find_again_and_again, &finder);
        while (g_atomic_int_get(&finder.n_found) < 100)
            g_usleep(1000);
        kill(init, SIGKILL);
        if (round % 2 == 0)
            pv_containers_collect_garbage(live->containers);
        end_all(live);
        while (g_atomic_int_get(&finder.n_failed) < 10)
            g_usleep(1000);
        g_atomic_int_set(&finder.stop, 1);
        for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
            g_autofree char *message = g_thread_join(threads[i]);

            if (message != NULL)
                fail_msg("%s", message);
        }
        pv_containers_collect_garbage(live->containers);
    }
    assert_int_equal(pv_cache_n_aliases(live->containers->cache), 0);
}

static void a_scan_finds_a_container_that_has_read_nothing(void **state)
{
    Live *live = *state;
    pid_t init = start(live, &(Spec){.cgroup = "a", .flags = CLONE_NEWPID});
    g_autoptr(GPtrArray) found = pv_containers_scan(live->containers);
    gboolean is_there = FALSE;

    for (guint i = 0; i < found->len; i++)
        is_there |= ((PvContainer *)g_ptr_array_index(found, i))->init_pid == init;
    assert_true(is_there);
}

#define live_test(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        live_test(we_ourselves_are_in_the_hosts_pid_namespace),
        live_test(a_namespaced_init_is_the_container),
        live_test(the_cgroup_namespaces_root_is_the_containers_cgroup),
        live_test(without_a_cgroup_namespace_inits_own_cgroup_is_the_containers),
        live_test(without_the_privilege_to_enter_it_mounts_tell_the_namespaces_root),
        live_test(a_process_that_entered_is_in_the_container),
        live_test(the_same_on_a_kernel_that_does_not_tell_the_init),
        live_test(a_scan_of_proc_finds_the_init_of_another_cgroup),
        live_test(pods_that_share_a_pid_namespace_are_two_containers),
        live_test(nested_pid_namespaces_are_containers_of_their_own),
        live_test(a_time_namespace_gives_the_uptime),
        live_test(an_init_that_moves_is_followed),
        live_test(an_ended_container_is_gone_and_its_inode_not_reused_before),
        live_test(a_removed_cgroup_is_collected),
        live_test(containers_may_end_while_four_threads_look_them_up),
        live_test(a_scan_finds_a_container_that_has_read_nothing),
    };

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return pvt_main(tests);
}
