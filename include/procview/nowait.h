/*
 * The log without waiting for those who read it: a pipe that is full because its reader hangs, or
 * a terminal that is held, must not stop a process that others wait for. Links no library.
 */
#pragma once

#include <stddef.h>

/*
 * Write one line to stderr if that takes it now, else drop it. A line that is written after some
 * were dropped is preceded by one that says how many.
 * priority  as sd-daemon(3) has them, '0' to '7'; '\0' for none
 * message   without a newline; control characters in it become '?': they must not forge a line or
 *           drive a terminal
 */
void pv_log_line(char priority, const char *message);

/* Write this to the descriptor if it takes all of it now. Leaves the flags of the descriptor as
 * they are: others may share it. Returns 0, or a negative errno: -EAGAIN when it would wait. */
int pv_write_nowait(int fd, const void *data, size_t size);
