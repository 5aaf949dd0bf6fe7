/* Writing into a program's memory: only where it may write itself. */
#include "../../src/intercept/memory.h"

#include "procview/intercept.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096

static gboolean yes(gpointer data)
{
    (void)data;
    return TRUE;
}

static gboolean no(gpointer data)
{
    (void)data;
    return FALSE;
}

/* Three pages of our own with these protections (-1: unmapped). */
static char *pages(int first, int second, int third)
{
    const int protections[] = {first, second, third};
    char *start = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(start, MAP_FAILED);
    for (int i = 0; i < 3; i++) {
        if (protections[i] < 0)
            assert_int_equal(munmap(start + i * PAGE, PAGE), 0);
        else
            assert_int_equal(mprotect(start + i * PAGE, PAGE, protections[i]), 0);
    }
    return start;
}

static gboolean write_to(const char *address, PvMemoryValidFunc is_valid)
{
    int procfs_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    gboolean written = pv_memory_write(procfs_fd, getpid(), is_valid, NULL,
                                       (guint64)(uintptr_t)address, "12345678", 8);

    close(procfs_fd);
    return written;
}

static void test_writable_memory_is_written_over_mappings(void **state)
{
    char *start = pages(PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE | PROT_EXEC, -1);

    (void)state;
    assert_true(write_to(start + PAGE - 4, yes));
    assert_memory_equal(start + PAGE - 4, "12345678", 8);
    munmap(start, 3 * PAGE);
}

static void test_read_only_memory_is_left_alone(void **state)
{
    char *start = pages(PROT_READ | PROT_WRITE, PROT_READ, -1);

    (void)state;
    assert_false(write_to(start + PAGE, yes));
    assert_false(write_to(start + PAGE - 4, yes));
    assert_memory_equal(start + PAGE - 4, "\0\0\0\0\0\0\0\0", 8);
    munmap(start, 3 * PAGE);
}

static void test_memory_that_is_not_there_is_refused(void **state)
{
    char *start = pages(PROT_READ | PROT_WRITE, -1, PROT_READ | PROT_WRITE);

    (void)state;
    assert_false(write_to(start + PAGE, yes));
    assert_false(write_to(start + PAGE - 4, yes));
    assert_false(write_to(NULL, yes));
    assert_false(write_to((const char *)UINTPTR_MAX - 4, yes));
    munmap(start, 3 * PAGE);
}

static void test_nothing_is_written_to_one_who_does_not_wait_any_more(void **state)
{
    char *start = pages(PROT_READ | PROT_WRITE, -1, -1);

    (void)state;
    assert_false(write_to(start, no));
    assert_memory_equal(start, "\0\0\0\0\0\0\0\0", 8);
    munmap(start, 3 * PAGE);
}

static void test_mappings_are_told_by_their_text(void **state)
{
    static const char text[] = "1000-2000 rw-p 00000000 00:00 0 \n"
                               "2000-3000 rwxs 00000000 00:00 0 /a b\n"
                               "4000-5000 r--p 00000000 00:00 0 \n"
                               "5000-6000 rw-p 00000000 00:00 0";

    (void)state;
    assert_true(pv_memory_maps_writable(text, 0x1000, 0x3000));
    assert_true(pv_memory_maps_writable(text, 0x1ffc, 0x2004));
    assert_false(pv_memory_maps_writable(text, 0x0ffc, 0x1004));
    assert_false(pv_memory_maps_writable(text, 0x2ffc, 0x3004));
    assert_false(pv_memory_maps_writable(text, 0x4000, 0x4008));
    assert_false(pv_memory_maps_writable(text, 0x5000, 0x5008)); /* cut */
    assert_false(pv_memory_maps_writable("", 0x1000, 0x1008));
    assert_false(pv_memory_maps_writable("garbage\n", 0x1000, 0x1008));
    assert_false(pv_memory_maps_writable("1000-2000\n", 0x1000, 0x1008));
}

static int count_listeners(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int n = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char target[64] = "";
        if (readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1) > 0 &&
            strstr(target, "seccomp") != NULL)
            n++;
    }
    if (dir != NULL)
        closedir(dir);
    return n;
}

/* With a second one open nobody would learn that the first is gone. */
static void test_the_filter_has_one_listener(void **state)
{
    int status = -1;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        int listener = pv_intercept_install();
        if (listener < 0) {
            printf("    no listener on this kernel: %s\n", strerror(-listener));
            fflush(stdout);
            _exit(0);
        }
        _exit(count_listeners() == 1 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writable_memory_is_written_over_mappings),
        cmocka_unit_test(test_read_only_memory_is_left_alone),
        cmocka_unit_test(test_memory_that_is_not_there_is_refused),
        cmocka_unit_test(test_nothing_is_written_to_one_who_does_not_wait_any_more),
        cmocka_unit_test(test_mappings_are_told_by_their_text),
        cmocka_unit_test(test_the_filter_has_one_listener),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
