/*
 * Bounded reads and writes of small files.
 */
#include "procview/file.h"

#include "procview/fd.h"

#include "scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void text_is_read_and_terminated(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    scratch_put(&scratch, "f", "12345\n");
    char buf[16];
    memset(buf, 'x', sizeof buf);
    assert_int_equal(pv_read_text_at(scratch.fd, "f", buf, sizeof buf), 6);
    assert_string_equal(buf, "12345\n");
}

static void text_that_just_fits_is_read_and_one_byte_more_refused(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    scratch_put(&scratch, "f", "1234567");
    char buf[8];
    assert_int_equal(pv_read_text_at(scratch.fd, "f", buf, 8), 7);
    assert_int_equal(pv_read_text_at(scratch.fd, "f", buf, 7), -EFBIG);
    assert_int_equal(pv_read_text_at(scratch.fd, "f", buf, 0), -EFBIG);
}

static void text_is_read_again_from_its_start(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    scratch_put(&scratch, "f", "a\n");
    pv_autofd int fd = openat(scratch.fd, "f", O_RDWR | O_CLOEXEC);
    char buf[8];
    assert_int_equal(pv_pread_text(fd, buf, sizeof buf), 2);
    assert_int_equal(pwrite(fd, "bc\n", 3, 0), 3);
    assert_int_equal(pv_pread_text(fd, buf, sizeof buf), 3);
    assert_string_equal(buf, "bc\n");
}

static void empty_file_is_an_empty_text(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    scratch_put(&scratch, "f", "");
    char buf[8] = "x";
    assert_int_equal(pv_read_text_at(scratch.fd, "f", buf, sizeof buf), 0);
    assert_string_equal(buf, "");
}

static void missing_file_symlink_and_folder_are_errors(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    scratch_put(&scratch, "folder/f", "secret");
    assert_int_equal(symlinkat("folder/f", scratch.fd, "link"), 0);
    char buf[8];
    assert_int_equal(pv_read_text_at(scratch.fd, "none", buf, sizeof buf), -ENOENT);
    assert_int_equal(pv_read_text_at(scratch.fd, "link", buf, sizeof buf), -ELOOP);
    assert_int_equal(pv_read_text_at(scratch.fd, "folder", buf, sizeof buf), -EISDIR);
}

static void fifo_does_not_block(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    assert_int_equal(mkfifoat(scratch.fd, "fifo", 0600), 0);
    char buf[8];
    assert_int_equal(pv_read_text_at(scratch.fd, "fifo", buf, sizeof buf), -ESPIPE);
    assert_int_equal(pv_write_text_at(scratch.fd, "fifo", "x"), -ENXIO);
}

static void long_file_is_read_in_pieces(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    g_autofree char *text = g_strnfill(100000, 'a');
    text[99999] = 'z';
    scratch_put(&scratch, "f", text);
    g_autoptr(GString) out = g_string_new("before ");
    assert_int_equal(pv_read_all_at(scratch.fd, "f", out, 100000), 0);
    assert_int_equal(out->len, 100007);
    assert_true(g_str_has_prefix(out->str, "before a"));
    assert_true(g_str_has_suffix(out->str, "az"));
}

static void longer_than_allowed_leaves_out_as_before(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    g_autofree char *text = g_strnfill(50000, 'a');
    scratch_put(&scratch, "f", text);
    g_autoptr(GString) out = g_string_new("before");
    assert_int_equal(pv_read_all_at(scratch.fd, "f", out, 49999), -EFBIG);
    assert_string_equal(out->str, "before");
    assert_int_equal(pv_read_all_at(scratch.fd, "none", out, 10), -ENOENT);
    assert_string_equal(out->str, "before");
    assert_int_equal(pv_read_all_at(scratch.fd, "f", out, SIZE_MAX), 0);
    assert_int_equal(out->len, 50006);
}

static void kernel_file_of_many_records_arrives_whole(void **state)
{
    (void)state;
    pv_autofd int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(GString) out = g_string_new(NULL);
    assert_int_equal(pv_read_all_at(proc, "self/mountinfo", out, 16 << 20), 0);
    assert_true(out->len > 0 && out->str[out->len - 1] == '\n');
}

static void write_goes_to_existing_files_only(void **state)
{
    (void)state;
    g_auto(Scratch) scratch;
    scratch_make(&scratch);
    scratch_put(&scratch, "f", "old");
    assert_int_equal(pv_write_text_at(scratch.fd, "f", "new"), 0);
    char buf[8];
    assert_int_equal(pv_read_text_at(scratch.fd, "f", buf, sizeof buf), 3);
    assert_string_equal(buf, "new");
    assert_int_equal(pv_write_text_at(scratch.fd, "none", "x"), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_read_and_terminated),
        cmocka_unit_test(text_that_just_fits_is_read_and_one_byte_more_refused),
        cmocka_unit_test(text_is_read_again_from_its_start),
        cmocka_unit_test(empty_file_is_an_empty_text),
        cmocka_unit_test(missing_file_symlink_and_folder_are_errors),
        cmocka_unit_test(fifo_does_not_block),
        cmocka_unit_test(long_file_is_read_in_pieces),
        cmocka_unit_test(longer_than_allowed_leaves_out_as_before),
        cmocka_unit_test(kernel_file_of_many_records_arrives_whole),
        cmocka_unit_test(write_goes_to_existing_files_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
