/*
 * The cgroup tree: the same answers as a cgroupfs that is mounted in a cgroup namespace, and
 * nothing of what is above or beside the container.
 */
#include "harness.h"

#include "procview/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static PvtDaemon *start_daemon(void)
{
    return pvt_daemon_start_with("--cgroup-tree=yes", NULL);
}

/* The path of a hierarchy in the tree: "" is v2's. */
static char *tree_path(PvtDaemon *daemon, const char *hierarchy)
{
    return g_strdup_printf("%s/cgroup%s%s", daemon->mountpoint, hierarchy[0] != '\0' ? "/" : "",
                           hierarchy);
}

/* The hierarchy that has pids, and that of v2, as the tree names them. */
static const char *pids_hierarchy(void)
{
    return pvt_cgroup_version("pids") == 1 ? "pids" : "";
}

static gboolean is_v1(void)
{
    return pvt_cgroup_version("memory") == 1;
}

static gboolean has_unified(void)
{
    return is_v1() && g_file_test("/sys/fs/cgroup/unified/cgroup.procs", G_FILE_TEST_EXISTS);
}

/* ---- the same answers ---- */

static void compare_lines(const char *hierarchy, const char *who, const char *real,
                          const char *tree)
{
    g_auto(GStrv) real_lines = g_strsplit(real, "\n", -1);
    g_auto(GStrv) tree_lines = g_strsplit(tree, "\n", -1);

    assert_true(g_strv_length(real_lines) > 200);
    for (guint i = 0; real_lines[i] != NULL && tree_lines[i] != NULL; i++) {
        if (strcmp(real_lines[i], tree_lines[i]) != 0)
            fail_msg("%s as %s, line %u after \"%s\":\n kernel: %s\n tree:   %s", hierarchy, who,
                     i + 1, i > 0 ? real_lines[i - 1] : "", real_lines[i], tree_lines[i]);
    }
    assert_int_equal(g_strv_length(real_lines), g_strv_length(tree_lines));
}

static void mount_real(PvtContainer *container, const char *hierarchy, const char *directory)
{
    g_autofree char *output = NULL;
    gboolean is_v2 = hierarchy[0] == '\0' || strcmp(hierarchy, "unified") == 0;

    if (is_v2)
        output = pvt_run(container, "mkdir -p %s; mount -t cgroup2 none %s", directory, directory);
    else
        output = pvt_run(container, "mkdir -p %s; mount -t cgroup -o %s none %s", directory,
                         hierarchy, directory);
}

static void compare_hierarchy(const char *hierarchy)
{
    static const char *const WHO[] = {"root", "owner", "other", "userns"};
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "real"), *other = pvt_cgroup_new(NULL, "tree");
    PvtContainer *real = pvt_container_start(daemon, cgroup, PVT_OWN_CGROUP_NS);
    PvtContainer *container = pvt_container_start(daemon, other, 0);
    g_autofree char *real_base = pvt_path("real");
    g_autofree char *tree_base = tree_path(daemon, hierarchy);
    int version = hierarchy[0] == '\0' || strcmp(hierarchy, "unified") == 0 ? 2 : 1;

    mount_real(real, hierarchy, real_base);
    for (guint i = 0; i < G_N_ELEMENTS(WHO); i++) {
        g_autofree char *expected =
            pvt_run(real, CGROUP_OPS " %s %d %s", real_base, version, WHO[i]);
        g_autofree char *seen =
            pvt_run(container, CGROUP_OPS " %s %d %s", tree_base, version, WHO[i]);
        compare_lines(hierarchy, WHO[i], expected, seen);
    }
    pvt_container_stop(container);
    pvt_container_stop(real);
    pvt_daemon_stop(daemon);
}

static void test_memory_answers_as_the_kernel(void **state)
{
    (void)state;
    compare_hierarchy(is_v1() ? "memory" : "");
}

static void test_pids_answers_as_the_kernel(void **state)
{
    (void)state;
    if (!is_v1()) {
        print_message("skip: pids has no hierarchy of its own\n");
        return;
    }
    compare_hierarchy("pids");
}

static void test_hybrids_v2_answers_as_the_kernel(void **state)
{
    (void)state;
    if (!has_unified()) {
        print_message("skip: no v2 hierarchy beside v1's\n");
        return;
    }
    compare_hierarchy("unified");
}

/* ---- a process that is alone in its container ---- */

typedef struct {
    const char *base;
    int socket;
    const char *script;
} Side;

static int be_shell(const void *data)
{
    const Side *side = data;
    if (chdir(side->base) < 0 || dup2(side->socket, 1) < 0 || dup2(side->socket, 2) < 0)
        return 1;
    execl("/bin/sh", "sh", "-c", side->script, NULL);
    return 2;
}

/* What a script prints that is pid 1, in its container's root directory. */
static char *run_script(PvtCgroup *cgroup, const char *base, const char *script)
{
    Side side = {.base = base, .script = script};
    g_autoptr(GString) output = g_string_new(NULL);
    char text[1024];
    int out[2], go;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    side.socket = out[1];
    pid = pvt_run_function(cgroup, be_shell, &side, &go);
    close(out[1]);
    assert_int_equal(write(go, "g", 1), 1);
    close(go);
    while ((n = read(out[0], text, sizeof text)) > 0)
        g_string_append_len(output, text, n);
    close(out[0]);
    waitpid(pid, NULL, 0);
    return g_string_free(g_steal_pointer(&output), FALSE);
}

/* ---- programs ---- */

/* Those that send (sendfile(2), copy_file_range(2)), look at sizes, or read from the end. */
static void test_programs_read_what_the_kernels_file_has(void **state)
{
    static const char *const COMMANDS[] = {
        "busybox cat $f",
        "busybox cp $f $c; cat $c",
        "cp $f $c; cat $c",
        "python3 -c 'import shutil, sys; shutil.copyfile(*sys.argv[1:])' $f $c; cat $c",
        "tail -n 1 $f",
        "tail -c 4000 $f",
        "busybox tail -c 4000 $f",
        "cat <$f | cat",
    };
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    const char *controller = is_v1() ? "memory" : "pids";
    const char *name = is_v1() ? "memory.limit_in_bytes" : "pids.max";
    g_autofree char *base = tree_path(daemon, is_v1() ? "memory" : "");
    g_autofree char *path = g_strdup_printf("%s/%s", base, name);
    g_autofree char *copy = pvt_path("copy");
    g_autofree char *expected = pvt_cgroup_read(cgroup, controller, name);

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(COMMANDS); i++) {
        g_autofree char *output = pvt_run(container, "f=%s; c=%s; %s", path, copy, COMMANDS[i]);

        if (strcmp(output, expected) != 0)
            fail_msg("%s: \"%s\", the kernel has \"%s\"", COMMANDS[i], output, expected);
    }
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

static void test_roots_of_hierarchies_are_not_removed(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    g_autofree char *output = NULL;

    (void)state;
    if (is_v1()) {
        pvt_run_status(container, &output,
                       "cd %s/cgroup; export LC_ALL=C; rmdir pids; mv -T pids other; "
                       "setpriv --reuid=2000 --clear-groups rmdir pids",
                       daemon->mountpoint);
        assert_string_equal(output, "rmdir: failed to remove 'pids': Device or resource busy\n"
                                    "mv: cannot move 'pids' to 'other': Device or resource busy\n"
                                    "rmdir: failed to remove 'pids': Permission denied\n");
    } else {
        print_message("skip: the root is a mount point\n");
    }
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

/* ---- limits ---- */

static void test_own_limits_cannot_be_raised(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    PvtContainer *container;
    g_autofree char *base = tree_path(daemon, is_v1() ? "memory" : "");
    const char *file = is_v1() ? "memory.limit_in_bytes" : "memory.max";
    g_autofree char *before = NULL, *after = NULL, *output = NULL;

    (void)state;
    pvt_cgroup_limit_memory(cgroup, 64 << 20);
    before = pvt_cgroup_read(cgroup, "memory", file);
    container = pvt_container_start(daemon, cgroup, 0);
    pvt_run_status(
        container, &output,
        "python3 -c 'import os; os.write(os.open(\"%s/%s\", os.O_WRONLY), b\"900000000\")'", base,
        file);
    assert_non_null(strstr(output, "Errno 1]")); /* EPERM */
    after = pvt_cgroup_read(cgroup, "memory", file);
    assert_string_equal(before, after);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

/* v1's blkio throttles each cgroup by itself: what is below has no limit of what is above. */
static void test_limits_that_do_not_reach_down_are_not_left(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    PvtContainer *container;
    g_autofree char *base = tree_path(daemon, "blkio"), *output = NULL;
    g_autofree char *path = NULL, *below = NULL;

    (void)state;
    if (pvt_cgroup_version("blkio") != 1) {
        print_message("skip: blkio is not on v1 here\n");
        pvt_daemon_stop(daemon);
        return;
    }
    container = pvt_container_start(daemon, cgroup, 0);
    path = g_strstrip(pvt_run(container, "sed -n 's/.*:blkio://p' /proc/self/cgroup"));
    below = g_build_filename(base, path, "x", NULL);
    assert_int_equal(mkdir(below, 0755), 0); /* the operator may */
    output = pvt_run(container,
                     "cd %s && python3 -c 'import os\n"
                     "def attempt(f, *a):\n"
                     " try: f(*a); print(\"done\")\n"
                     " except OSError as e: print(e.errno)\n"
                     "def put(path, text): os.write(os.open(path, os.O_WRONLY), text)\n"
                     "attempt(os.mkdir, \"y\")\n"
                     "attempt(put, \"x/cgroup.procs\", b\"0\")\n"
                     "attempt(put, \"x/tasks\", b\"0\")\n"
                     "attempt(put, \"x/blkio.throttle.read_bps_device\", b\"8:0 1\")\n"
                     "attempt(put, \"cgroup.procs\", b\"0\")' && grep -c . x/cgroup.procs; :",
                     base);
    assert_string_equal(output, "1\n1\n1\n1\ndone\n0\n");
    pvt_container_stop(container);
    assert_int_equal(rmdir(below), 0);
    pvt_daemon_stop(daemon);
}

static void test_a_child_has_limits_of_its_own(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    g_autofree char *output = NULL;

    (void)state;
    output = run_script(cgroup, base,
                        "mkdir limited init.scope; echo 1 > init.scope/cgroup.procs;"
                        "[ -e cgroup.subtree_control ] && echo +pids > cgroup.subtree_control;"
                        "echo 1 > limited/pids.max && cat limited/pids.max;"
                        "sh -c 'echo 0 > limited/cgroup.procs; /bin/true; echo forked' 2>&1;"
                        "rmdir limited");
    assert_true(g_str_has_prefix(output, "1\n"));
    assert_non_null(strstr(output, "Cannot fork"));
    assert_null(strstr(output, "forked"));
    pvt_daemon_stop(daemon);
}

/* ---- the root ---- */

static void test_root_stays_when_init_moves_below_it(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    g_autofree char *output = NULL;

    (void)state;
    /* As systemd begins. */
    output =
        pvt_run(container,
                "cd %s && mkdir init.scope && echo 1 > init.scope/cgroup.procs && sleep 0.5 && "
                "grep -cx 1 init.scope/cgroup.procs && mkdir system.slice && ls -d */ && "
                "sh -c 'echo 0 > system.slice/cgroup.procs; ls -d */'; rmdir system.slice && "
                "echo 1 > cgroup.procs && rmdir init.scope && grep -cx 1 cgroup.procs",
                base);
    assert_string_equal(output, "1\ninit.scope/\nsystem.slice/\ninit.scope/\nsystem.slice/\n1\n");
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

/* What procview cgroup prints of a process for a line that begins so. */
static char *path_seen_by(pid_t pid, pid_t viewer, const char *head)
{
    g_autofree char *command =
        g_strdup_printf(PROCVIEW " cgroup %d --seen-by %d", (int)pid, (int)viewer);
    g_autofree char *output = NULL;
    g_auto(GStrv) lines = NULL;

    assert_true(g_spawn_command_line_sync(command, &output, NULL, NULL, NULL));
    lines = g_strsplit(output, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        const char *found = strstr(lines[i], head);
        if (found != NULL)
            return g_strdup(found + strlen(head));
    }
    return g_strdup(output);
}

/* As a cgroup namespace's would be. */
static void test_paths_begin_at_the_root_that_stayed(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    PvtContainer *joined = pvt_container_join(container, daemon, cgroup, 0);
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    g_autofree char *of_init = NULL, *of_joined = NULL;
    const char *head = is_v1() ? ":pids:" : "0::";

    (void)state;
    g_free(
        pvt_run(container, "cd %s && mkdir init.scope && echo 1 > init.scope/cgroup.procs", base));
    of_init = path_seen_by(container->init_pid, container->init_pid, head);
    of_joined = path_seen_by(joined->init_pid, container->init_pid, head);
    assert_string_equal(of_init, "/init.scope");
    assert_string_equal(of_joined, "/");
    g_free(pvt_run(container,
                   "cd %s && echo 1 > cgroup.procs && echo 0 > cgroup.procs && rmdir init.scope",
                   base));
    pvt_container_stop(joined);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

static void test_systemds_way_of_using_it(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    g_autofree char *base = tree_path(daemon, is_v1() ? "unified" : "");
    g_autofree char *output = NULL;

    (void)state;
    if (is_v1() && !has_unified()) {
        print_message("skip: no v2 hierarchy\n");
        return;
    }
    output = run_script(
        cgroup, base,
        "mkdir -p init.scope a.slice/b.service; echo 1 > init.scope/cgroup.procs; sleep 0.5;"
        "cat cgroup.procs; cat init.scope/cgroup.procs | head -1;"
        "for c in $(cat cgroup.controllers); do echo +$c > cgroup.subtree_control || echo no $c; "
        "done;"
        "sleep 1000 & echo $! > a.slice/b.service/cgroup.procs; grep -c . "
        "a.slice/b.service/cgroup.procs;"
        "grep populated a.slice/cgroup.events; if [ -e a.slice/cgroup.kill ]; then echo 1 > "
        "a.slice/cgroup.kill; else kill $!; fi; wait;"
        "grep populated a.slice/cgroup.events; rmdir a.slice/b.service a.slice;"
        "for c in $(cat cgroup.controllers); do echo -$c > cgroup.subtree_control || echo no $c; "
        "done;"
        "echo 1 > cgroup.procs; rmdir init.scope; ls -d */ 2>/dev/null; echo end");
    assert_string_equal(output, "1\n1\npopulated 1\npopulated 0\nend\n");
    pvt_daemon_stop(daemon);
}

/* ---- nothing above, nothing beside ---- */

static void test_names_lead_nowhere_else(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    PvtCgroup *beside = pvt_cgroup_new(NULL, "c10");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    PvtContainer *neighbour = pvt_container_start(daemon, beside, 0);
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    g_autofree char *output = NULL, *names = NULL;

    (void)state;
    g_free(pvt_run(neighbour, "mkdir %s/secret", base));
    names = pvt_run(container, "cd %s/cgroup && find . 2>&1", daemon->mountpoint);
    assert_null(strstr(names, "secret"));
    assert_null(strstr(names, "c10"));
    assert_null(strstr(names, "pv-test"));
    /* Up is out of the file system, or the list of hierarchies; never a cgroup above. */
    output = pvt_run(container,
                     "cd %s; for n in secret ../secret ../c10 ../../c10 ../*c10 ./../../*/secret "
                     "/secret .container:c10 ../.container:c10 'a\nb' ''; do "
                     "  [ -e \"./$n\" ] && [ -n \"$n\" ] && echo \"there is $n\"; done; "
                     "ls ../ | grep -e c10 -e pv-test; "
                     "ls -d %s/containers/* 2>/dev/null | grep cgroup; true",
                     base, daemon->mountpoint);
    assert_string_equal(output, "");
    output = (g_free(output),
              pvt_run(neighbour, "rmdir %s/secret; ls -d %s/*/ 2>&1 | wc -l", base, base));
    pvt_container_stop(neighbour);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

/* Links of another file system, absolute and relative, through the tree and up again. */
static void test_symlinks_lead_nowhere_else(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1"), *beside = pvt_cgroup_new(NULL, "c10");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    PvtContainer *neighbour = pvt_container_start(daemon, beside, 0);
    g_autofree char *base = tree_path(daemon, pids_hierarchy()), *links = pvt_path("links");
    g_autofree char *output = NULL;

    (void)state;
    g_free(pvt_run(neighbour, "mkdir %s/secret", base));
    output = pvt_run(
        container,
        "B=%s; mkdir %s && cd %s && mkdir $B/mine && ln -s $B whole && "
        "ln -s $(realpath --relative-to=. $B) relative && ln -s whole/.. up && "
        "ln -s relative/mine/../.. through && ln -s whole/mine/../../.. top && "
        "for at in whole relative up through top; do find $at/ -xdev -name secret; "
        "  cd $at/ && "
        "  find /proc/self/cwd/ /proc/self/cwd/.. -xdev -name secret; cd - >/dev/null; done; "
        "for to in / .. ../mine; do ln -s $to $B/link 2>/dev/null && echo made; done; "
        "ls -d whole/mine relative/mine; rmdir $B/mine && echo end",
        base, links, links);
    assert_string_equal(output, "relative/mine\nwhole/mine\nend\n");
    g_free(pvt_run(neighbour, "rmdir %s/secret", base));
    pvt_container_stop(neighbour);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

/* As cpu,cpuacct has on most v1 hosts; made of controllers that are not in use on this one. */
static void test_controllers_of_one_hierarchy_are_links_to_it(void **state)
{
    g_autofree char *real = pvt_path("net"), *own = g_build_filename(real, "c1", NULL);
    g_autofree char *procs = g_build_filename(own, "cgroup.procs", NULL), *output = NULL;
    g_autofree char *below = g_build_filename(own, "x", NULL);
    PvtDaemon *daemon;
    PvtContainer *container;
    FILE *file;

    (void)state;
    assert_int_equal(g_mkdir_with_parents(real, 0755), 0);
    if (mount("none", real, "cgroup", 0, "net_cls,net_prio") < 0) {
        print_message("skip: net_cls and net_prio cannot be had on v1: %s\n", g_strerror(errno));
        return;
    }
    daemon = start_daemon();
    container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "c1"), 0);
    assert_int_equal(mkdir(own, 0755), 0);
    assert_int_equal(mkdir(below, 0755), 0);
    file = fopen(procs, "we");
    assert_non_null(file);
    fprintf(file, "%d", (int)container->init_pid);
    assert_int_equal(fclose(file), 0);
    output =
        pvt_run(container,
                "cd %s/cgroup && readlink net_cls net_prio && cd net_prio && "
                "! mkdir y 2>/dev/null && ! echo 5 2>/dev/null >x/net_cls.classid && "
                "ls -d ../net_cls/x ../net_cls,net_prio/x && cat ../net_cls/x/net_prio.prioidx "
                ">/dev/null && rmdir ../net_cls/x && grep -cx 1 cgroup.procs",
                daemon->mountpoint);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
    for (guint i = 0; i < 500 && rmdir(own) < 0 && errno == EBUSY; i++)
        pvt_sleep_msec(10);
    pvt_sleep_msec(500); /* until what is removed is gone: else the hierarchy stays */
    assert_int_equal(umount2(real, MNT_DETACH), 0);
    assert_string_equal(output, "net_cls,net_prio\nnet_cls,net_prio\n"
                                "../net_cls,net_prio/x\n../net_cls/x\n1\n");
}

/* Their status is longer than a page. */
static void test_processes_with_many_groups_are_seen_and_moved(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "c1"), 0);
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    g_autofree char *output = NULL;

    (void)state;
    output = pvt_run(container,
                     "cd %s; mkdir x; python3 -c 'import os, signal\n"
                     "os.setgroups([1000000000 + i for i in range(20000)])\n"
                     "os.close(1)\nsignal.pause()' & sleep 0.5; until [ $(grep Groups "
                     "/proc/$!/status | wc -c) -gt 100000 ]; do sleep 0.1; done; "
                     "grep -cx $! cgroup.procs; echo $! >x/cgroup.procs && grep -cx $! "
                     "x/cgroup.procs; kill $!; wait $! 2>/dev/null; rmdir x && echo end",
                     base);
    assert_string_equal(output, "1\n1\nend\n");
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

static void test_processes_of_others_cannot_be_moved(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1"), *beside = pvt_cgroup_new(NULL, "c2");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    /* In the same pid namespace, but in another cgroup. */
    PvtContainer *joined = pvt_container_join(container, daemon, beside, 0);
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    g_autofree char *output = NULL, *inside = NULL;

    (void)state;
    inside = g_strstrip(pvt_run(joined, "sleep 1000 >/dev/null 2>&1 & echo $!"));
    output = pvt_run(
        container,
        "mkdir %s/x; for p in %d %d %s; do python3 -c 'import os,sys\n"
        "try:\n os.write(os.open(\"%s/x/cgroup.procs\", os.O_WRONLY), sys.argv[1].encode())\n"
        " print(\"moved\")\nexcept OSError as e: print(e.errno)' $p; done; rmdir %s/x",
        base, (int)getpid(), (int)daemon->pid, inside, base, base);
    /* ESRCH, twice: there are no such pids here. ENOENT: it is not below the root. */
    assert_string_equal(output, "3\n3\n2\n");
    pvt_container_stop(joined);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

/* ---- in two containers at once ---- */

static void send_fds(int socket, const int *fds, gsize n)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control = {0};
    char byte = 'f';
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * n)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * n);
    memcpy(CMSG_DATA(head), fds, sizeof(int) * n);
    if (sendmsg(socket, &message, 0) < 0)
        _exit(101);
}

static void receive_fds(int socket, int *fds, gsize n)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control = {0};
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};

    if (recvmsg(socket, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == NULL)
        _exit(102);
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int) * n);
}

/* Gives away a directory, cgroup.procs to read, and cgroup.procs of a child to write. */
static int be_giver(const void *data)
{
    const Side *side = data;
    int fds[3];
    char byte;

    if (chdir(side->base) < 0 || mkdir("given", 0755) < 0)
        return 1;
    fds[0] = open("given", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds[1] = open("cgroup.procs", O_RDONLY | O_CLOEXEC);
    fds[2] = open("given/cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fds[0] < 0 || fds[1] < 0 || fds[2] < 0)
        return 2;
    send_fds(side->socket, fds, 3);
    if (read(side->socket, &byte, 1) != 1)
        return 3;
    return rmdir("given") < 0 ? 4 : 0;
}

static int be_taker(const void *data)
{
    const Side *side = data;
    int fds[3];
    char text[64] = "", path[64];
    struct stat st;
    ssize_t n;

    receive_fds(side->socket, fds, 3);
    /* Nothing can be named from the directory, however it is reached. */
    if (openat(fds[0], "cgroup.procs", O_RDONLY | O_CLOEXEC) >= 0 || errno != ESTALE)
        return 1;
    if (mkdirat(fds[0], "taken", 0755) == 0 || fstatat(fds[0], "cgroup.procs", &st, 0) == 0 ||
        fstatat(fds[0], "../given", &st, 0) == 0)
        return 2;
    snprintf(path, sizeof path, "/proc/self/fd/%d/cgroup.procs", fds[0]);
    if (access(path, F_OK) == 0)
        return 3;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fds[1]);
    if (open(path, O_RDONLY | O_CLOEXEC) >= 0)
        return 4;
    /* What is open stays so; the giver's pid is none that can be seen here. */
    n = pread(fds[1], text, sizeof text - 1, 0);
    if (n < 0 || strchr(text, '1') != NULL)
        return 5;
    /* It cannot take us to the giver's cgroup. */
    if (write(fds[2], "0", 1) >= 0 || errno != ENOENT)
        return 6;
    if (write(fds[2], "1", 1) >= 0 || errno != ENOENT)
        return 7;
    return write(side->socket, "d", 1) == 1 ? 0 : 8;
}

static void test_descriptors_given_away_open_nothing_new(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *first = pvt_cgroup_new(NULL, "c1"), *second = pvt_cgroup_new(NULL, "c2");
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    Side giver = {.base = base}, taker = {.base = base};
    int sockets[2], go[2];
    pid_t pids[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    giver.socket = sockets[0];
    taker.socket = sockets[1];
    pids[0] = pvt_run_function(first, be_giver, &giver, &go[0]);
    pids[1] = pvt_run_function(second, be_taker, &taker, &go[1]);
    assert_int_equal(write(go[0], "g", 1), 1);
    assert_int_equal(write(go[1], "g", 1), 1);
    pvt_expect_success(pids[1]);
    pvt_expect_success(pids[0]);
    pvt_daemon_stop(daemon);
}

/* Walks through the same names as its neighbour, and must always find its own. */
static int be_walker(const void *data)
{
    const Side *side = data;
    g_autofree char *path = g_strdup_printf("%s/common/cgroup.procs", side->base);
    g_autofree char *dir = g_strdup_printf("%s/common", side->base);

    for (guint i = 0; i < 300 / pvt_slow(10); i++) {
        char text[64] = "";
        int fd;

        if (mkdir(dir, 0755) < 0)
            return 1;
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 || read(fd, text, sizeof text) != 0)
            return 2;
        if (write(fd, "1", 1) != 1)
            return 3;
        close(fd); /* v1 shows an open file the same pids for a second */
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (pread(fd, text, sizeof text - 1, 0) != 2 || strcmp(text, "1\n") != 0)
            return 4;
        if (rmdir(dir) == 0 || errno != EBUSY)
            return 5;
        close(fd);
        g_autofree char *root = g_strdup_printf("%s/cgroup.procs", side->base);
        fd = open(root, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "1", 1) != 1)
            return 6;
        close(fd);
        if (rmdir(dir) < 0)
            return 7;
    }
    return 0;
}

static void test_two_containers_with_the_same_names(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroups[] = {pvt_cgroup_new(NULL, "c1"), pvt_cgroup_new(NULL, "c2")};
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    Side side = {.base = base};
    pid_t pids[2];
    int go[2];

    (void)state;
    for (guint i = 0; i < 2; i++)
        pids[i] = pvt_run_function(cgroups[i], be_walker, &side, &go[i]);
    for (guint i = 0; i < 2; i++)
        assert_int_equal(write(go[i], "g", 1), 1);
    for (guint i = 0; i < 2; i++)
        pvt_expect_success(pids[i]);
    pvt_daemon_stop(daemon);
}

/* ---- moved, mounted over, renamed ---- */

static int be_moved(const void *data)
{
    const Side *side = data;
    int dirfd, child;
    char byte, text[64] = "";

    if (chdir(side->base) < 0 || mkdir("before", 0755) < 0)
        return 1;
    dirfd = open("before", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    child = open("before/cgroup.procs", O_RDONLY | O_CLOEXEC);
    if (dirfd < 0 || child < 0)
        return 2;
    if (write(side->socket, "o", 1) != 1 || read(side->socket, &byte, 1) != 1)
        return 3;
    /* What is open stays open … */
    if (read(child, text, sizeof text) != 0)
        return 4;
    /* … and leads nowhere: neither the directory, nor the one that we are in. */
    if (openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC) >= 0 ||
        mkdirat(dirfd, "y", 0755) == 0 || open("before/cgroup.procs", O_RDONLY | O_CLOEXEC) >= 0 ||
        rmdir("before") == 0)
        return 5;
    if (chdir("/") < 0 || chdir(side->base) < 0 || access("before", F_OK) == 0)
        return 6;
    return mkdir("after", 0755) < 0 ? 7 : 0;
}

static void test_a_container_that_was_moved_leaves_its_old_place(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *first = pvt_cgroup_new(NULL, "c1"), *second = pvt_cgroup_new(NULL, "c2");
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    Side side = {.base = base};
    int sockets[2], go;
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    side.socket = sockets[0];
    pid = pvt_run_function(first, be_moved, &side, &go);
    assert_int_equal(write(go, "g", 1), 1);
    assert_int_equal(read(sockets[1], &byte, 1), 1);
    pvt_cgroup_enter(second, pid);
    pvt_sleep_msec(300); /* where init is may be known for a fifth of a second */
    assert_int_equal(write(sockets[1], "g", 1), 1);
    pvt_expect_success(pid);
    pvt_daemon_stop(daemon);
}

static void test_what_is_mounted_over_a_cgroup_is_not_seen(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    g_autofree char *path = g_strdup_printf("/sys/fs/cgroup%s%s/pv-test-%d-c1/over",
                                            is_v1() ? "/" : "", pids_hierarchy(), (int)getpid());
    g_autofree char *output = NULL;

    (void)state;
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(mount("none", path, "tmpfs", 0, NULL), 0);
    output = run_script(cgroup, base,
                        "mkdir over/in && ls over/in | grep -x cgroup.procs && rmdir over/in");
    assert_int_equal(umount2(path, MNT_DETACH), 0);
    assert_string_equal(output, "cgroup.procs\n");
    pvt_daemon_stop(daemon);
}

/* Bound over the cgroups that a container has: at stop it has these again, as whoever had files of
 * the views. A bind elsewhere is not ours to take out. */
static void test_stop_takes_the_tree_out_of_containers(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtContainer *container = pvt_container_start(daemon, pvt_cgroup_new(NULL, "c1"), PVT_NO_VIEWS);
    static const char TYPE[] = "stat -f -c %T /sys/fs/cgroup";
    g_autofree char *before = pvt_run(container, "%s", TYPE);
    g_autofree char *bound = NULL;
    g_autofree char *after = NULL;
    g_autofree char *output = NULL;

    (void)state;
    bound = pvt_run(container,
                    "mkdir -p %s/elsewhere && mount --bind %s/cgroup %s/elsewhere && "
                    "mount --bind %s/cgroup /sys/fs/cgroup && stat -f -c %%T /sys/fs/cgroup",
                    daemon->base, daemon->mountpoint, daemon->base, daemon->mountpoint);
    assert_string_not_equal(bound, before);
    pvt_daemon_stop(daemon);
    after = pvt_run(container, "%s", TYPE);
    assert_string_equal(after, before);
    assert_int_not_equal(
        pvt_run_status(container, &output, "LC_ALL=C ls %s/elsewhere", daemon->base), 0);
    assert_non_null(strstr(output, "Transport endpoint is not connected"));
}

/* A directory changes its name all the time while its neighbours are walked through. */
static void test_renames_lead_nowhere_else(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    g_autofree char *output = NULL;

    (void)state;
    if (!is_v1()) {
        print_message("skip: v2 has no rename\n");
        return;
    }
    output =
        run_script(cgroup, base,
                   "mkdir -p a/deep b; (i=0; while [ $i -lt 200 ]; do mv a c; mv c a; i=$((i+1)); "
                   "done) & for i in $(seq 100); do for d in a c a/deep c/deep; do "
                   "ls $d/../.. 2>/dev/null | grep -e pv-test -e docker; "
                   "ls $d/.. 2>/dev/null | grep -e pv-test -e docker; done; done; wait; "
                   "rmdir a/deep a b && echo end");
    assert_string_equal(output, "end\n");
    pvt_daemon_stop(daemon);
}

static void test_the_operator_finds_a_container_by_name(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "named");
    PvtContainer *container = pvt_container_start(daemon, cgroup, 0);
    g_autofree char *pattern = g_strdup_printf("%s/containers", daemon->mountpoint);
    g_autofree char *name = NULL, *path = NULL, *text = NULL, *inside = NULL, *pid = NULL;
    GDir *dir = g_dir_open(pattern, 0, NULL);
    const char *entry;

    (void)state;
    assert_non_null(dir);
    while ((entry = g_dir_read_name(dir)) != NULL) {
        if (strstr(entry, "named") != NULL && name == NULL)
            name = g_strdup(entry);
    }
    g_dir_close(dir);
    assert_non_null(name);
    path = g_strdup_printf("%s/%s/cgroup/%s%scgroup.procs", pattern, name, pids_hierarchy(),
                           is_v1() ? "/" : "");
    text = pvt_read_file(path);
    pid = g_strdup_printf("%d\n", (int)container->init_pid);
    if (strstr(text, pid) == NULL)
        fail_msg("%s does not have %d: %s", path, (int)container->init_pid, text);
    /* It is nothing that a container could say. */
    assert_int_not_equal(pvt_run_status(container, &inside, "ls '%s/cgroup/.container:%s'",
                                        daemon->mountpoint, name),
                         0);
    pvt_container_stop(container);
    pvt_daemon_stop(daemon);
}

/* ---- the server dies ---- */

static void kill_workers(PvtDaemon *daemon, guint times)
{
    for (guint i = 0; i < times; i++) {
        pid_t pid = pvt_daemon_tree_worker(daemon);
        if (pid > 0)
            kill(pid, SIGKILL);
        pvt_sleep_msec(20);
    }
}

static void test_a_worker_that_is_killed_is_not_noticed(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    Side side = {.base = base};
    int go;
    pid_t pid = pvt_run_function(cgroup, be_walker, &side, &go);

    (void)state;
    pvt_daemon_expect(daemon, "another one goes on");
    assert_int_equal(write(go, "g", 1), 1);
    kill_workers(daemon, 20);
    pvt_expect_success(pid);
    pvt_daemon_stop(daemon);
}

static int be_holder(const void *data)
{
    const Side *side = data;
    char text[64] = "", byte;
    int fd, writable;

    if (chdir(side->base) < 0)
        return 1;
    fd = open("cgroup.procs", O_RDONLY | O_CLOEXEC);
    writable = open("cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || writable < 0 || read(fd, text, 1) != 1)
        return 2;
    if (write(side->socket, "o", 1) != 1 || read(side->socket, &byte, 1) != 1)
        return 3;
    if (read(fd, text + 1, 62) != 1 || strcmp(text, "1\n") != 0)
        return 4;
    if (write(writable, "1", 1) != 1)
        return 5;
    return access("cgroup.procs", R_OK) < 0 ? 6 : 0;
}

static void test_open_files_go_on_with_the_next_worker(void **state)
{
    PvtDaemon *daemon = start_daemon();
    PvtCgroup *cgroup = pvt_cgroup_new(NULL, "c1");
    g_autofree char *base = tree_path(daemon, pids_hierarchy());
    Side side = {.base = base};
    int sockets[2], go;
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    side.socket = sockets[0];
    pid = pvt_run_function(cgroup, be_holder, &side, &go);
    pvt_daemon_expect(daemon, "another one goes on");
    assert_int_equal(write(go, "g", 1), 1);
    assert_int_equal(read(sockets[1], &byte, 1), 1);
    kill_workers(daemon, 1);
    assert_int_equal(write(sockets[1], "g", 1), 1);
    pvt_expect_success(pid);
    pvt_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_answers_as_the_kernel),
        cmocka_unit_test(test_pids_answers_as_the_kernel),
        cmocka_unit_test(test_hybrids_v2_answers_as_the_kernel),
        cmocka_unit_test(test_programs_read_what_the_kernels_file_has),
        cmocka_unit_test(test_roots_of_hierarchies_are_not_removed),
        cmocka_unit_test(test_own_limits_cannot_be_raised),
        cmocka_unit_test(test_limits_that_do_not_reach_down_are_not_left),
        cmocka_unit_test(test_a_child_has_limits_of_its_own),
        cmocka_unit_test(test_root_stays_when_init_moves_below_it),
        cmocka_unit_test(test_paths_begin_at_the_root_that_stayed),
        cmocka_unit_test(test_systemds_way_of_using_it),
        cmocka_unit_test(test_names_lead_nowhere_else),
        cmocka_unit_test(test_symlinks_lead_nowhere_else),
        cmocka_unit_test(test_controllers_of_one_hierarchy_are_links_to_it),
        cmocka_unit_test(test_processes_with_many_groups_are_seen_and_moved),
        cmocka_unit_test(test_processes_of_others_cannot_be_moved),
        cmocka_unit_test(test_descriptors_given_away_open_nothing_new),
        cmocka_unit_test(test_two_containers_with_the_same_names),
        cmocka_unit_test(test_a_container_that_was_moved_leaves_its_old_place),
        cmocka_unit_test(test_what_is_mounted_over_a_cgroup_is_not_seen),
        cmocka_unit_test(test_stop_takes_the_tree_out_of_containers),
        cmocka_unit_test(test_renames_lead_nowhere_else),
        cmocka_unit_test(test_the_operator_finds_a_container_by_name),
        cmocka_unit_test(test_a_worker_that_is_killed_is_not_noticed),
        cmocka_unit_test(test_open_files_go_on_with_the_next_worker),
    };

    return pvt_main(tests);
}
