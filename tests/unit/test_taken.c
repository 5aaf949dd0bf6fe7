/* Processes whose number was written for another one: what is told of where they were, and whether
 * a number is still of who had it. */
#include "../../src/tree/internal.h"

#include "procview/fd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void a_new_process_was_where_its_parent_is(void **state)
{
    const PvTaskPids pids = {.tgid = 70, .ppid = 7};

    (void)state;
    assert_int_equal(pv_tree_origin(70, &pids, FALSE, TRUE), 7);
    /* Be it the first of a container. */
    assert_int_equal(pv_tree_origin(70, &pids, FALSE, FALSE), 7);
    assert_int_equal(pv_tree_origin(70, &pids, TRUE, TRUE), 7);
}

static void a_new_thread_was_where_its_process_is(void **state)
{
    const PvTaskPids pids = {.tgid = 60, .ppid = 7};

    (void)state;
    assert_int_equal(pv_tree_origin(70, &pids, TRUE, TRUE), 60);
    assert_int_equal(pv_tree_origin(70, &pids, TRUE, FALSE), 60);
}

static void a_process_that_a_new_thread_moved_is_not_let_out_of_its_container(void **state)
{
    const PvTaskPids pids = {.tgid = 60, .ppid = 7};

    (void)state;
    assert_int_equal(pv_tree_origin(70, &pids, FALSE, TRUE), 7);
    assert_int_equal(pv_tree_origin(70, &pids, FALSE, FALSE), 0);
}

static void a_number_is_a_process_s_until_it_is_reaped(void **state)
{
    const PvCgroupTree tree = {.procfs = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    pid_t pid = fork();
    pv_autofd int fd = -1;
    siginfo_t info;

    (void)state;
    if (pid == 0) {
        pause();
        _exit(0);
    }
    fd = pv_tree_task_open(&tree, pid);
    assert_true(fd >= 0);
    assert_true(pv_tree_task_has_number(fd));
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_true(pv_tree_task_has_number(fd)); /* a zombie */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(pv_tree_task_has_number(fd));
    close(tree.procfs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_process_was_where_its_parent_is),
        cmocka_unit_test(a_new_thread_was_where_its_process_is),
        cmocka_unit_test(a_process_that_a_new_thread_moved_is_not_let_out_of_its_container),
        cmocka_unit_test(a_number_is_a_process_s_until_it_is_reaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
