/*
 * Errors, the log, and the conventions of the raw system calls.
 */
#include "procview/error.h"

#include "procview/fd.h"
#include "procview/log.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void errno_becomes_code_and_sentence(void **state)
{
    (void)state;
    static const struct {
        int errnum;
        PvError code;
    } CODES[] = {
        {ENOENT, PV_ERROR_NOT_FOUND},   {EPERM, PV_ERROR_PERMISSION},
        {EACCES, PV_ERROR_PERMISSION},  {EBUSY, PV_ERROR_BUSY},
        {ENOSYS, PV_ERROR_UNSUPPORTED}, {EOPNOTSUPP, PV_ERROR_UNSUPPORTED},
        {ENOTTY, PV_ERROR_UNSUPPORTED}, {ESRCH, PV_ERROR_GONE},
        {ENODEV, PV_ERROR_GONE},        {ESTALE, PV_ERROR_GONE},
        {EINVAL, PV_ERROR_INVALID},     {EIO, PV_ERROR_FAILED},
    };
    for (guint i = 0; i < G_N_ELEMENTS(CODES); i++) {
        g_autoptr(GError) error = NULL;
        assert_false(pv_error_set_errno(&error, CODES[i].errnum, "cannot open %s", "x"));
        assert_true(g_error_matches(error, PV_ERROR, (int)CODES[i].code));
        assert_true(g_str_has_prefix(error->message, "cannot open x: "));
        assert_non_null(strstr(error->message, g_strerror(CODES[i].errnum)));
    }
}

static void caller_without_interest_passes_null(void **state)
{
    (void)state;
    assert_false(pv_error_set_errno(NULL, EIO, "x"));
    assert_false(pv_error_set(NULL, PV_ERROR_BUSY, "x"));
}

static void log_levels_have_names(void **state)
{
    (void)state;
    PvLogLevel level = PV_LOG_ERROR;
    assert_true(pv_log_level_parse("debug", &level));
    assert_int_equal(level, PV_LOG_DEBUG);
    assert_false(pv_log_level_parse("verbose", &level));
    assert_int_equal(level, PV_LOG_DEBUG);
}

/* What a function writes to stderr. */
static char *captured(void (*func)(void))
{
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pv_autofd int saved = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
    func();
    dup2(saved, STDERR_FILENO);
    close(pipe_fds[1]);
    char buf[512];
    ssize_t n = read(pipe_fds[0], buf, sizeof buf - 1);
    close(pipe_fds[0]);
    return g_strndup(buf, n > 0 ? (gsize)n : 0);
}

static void log_some(void)
{
    pv_log_set_level(PV_LOG_WARNING);
    pv_log_info("not shown");
    pv_log_warning("cgroup %s", "a\n<0>forged\033[2J");
    pv_log_set_level(PV_LOG_INFO);
}

static void log_has_priorities_and_one_line_an_event(void **state)
{
    (void)state;
    g_autofree char *text = captured(log_some);
    assert_string_equal(text, "<4>cgroup a?<0>forged?[2J\n");
}

static void system_calls_return_negative_errnos(void **state)
{
    (void)state;
    assert_int_equal(pv_sys_pidfd_open(-1, 0), -EINVAL);
    assert_int_equal(pv_sys_pidfd_send_signal(-1, 0), -EBADF);
    int fd = pv_sys_openat2(AT_FDCWD, "/proc/self/no-such-file", O_RDONLY, 0, 0);
    assert_true(fd == -ENOENT || fd == -ENOSYS);
    assert_true(pv_sys_pid_from_pidns(-1, 1) == -EBADF);
}

static void own_pid_namespace_translates_own_pid_to_itself(void **state)
{
    (void)state;
    pv_autofd int ns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    assert_true(ns >= 0);
    pid_t pid = pv_sys_pid_from_pidns(ns, getpid());
    if (pid == -ENOTTY) {
        print_message("skipped: this kernel has no NS_GET_PID_FROM_PIDNS (Linux 6.11)\n");
        skip();
    }
    assert_int_equal(pid, getpid());
}

static void opened_descriptors_are_close_on_exec(void **state)
{
    (void)state;
    int fd = pv_sys_openat2(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
    if (fd == -ENOSYS) {
        print_message("skipped: this kernel has no openat2 (Linux 5.6)\n");
        skip();
    }
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errno_becomes_code_and_sentence),
        cmocka_unit_test(caller_without_interest_passes_null),
        cmocka_unit_test(log_levels_have_names),
        cmocka_unit_test(log_has_priorities_and_one_line_an_event),
        cmocka_unit_test(system_calls_return_negative_errnos),
        cmocka_unit_test(own_pid_namespace_translates_own_pid_to_itself),
        cmocka_unit_test(opened_descriptors_are_close_on_exec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
