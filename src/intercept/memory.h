/*
 * Writing into the memory of a program, as the kernel does it for a system call.
 */
#pragma once

#include <glib.h>
#include <stddef.h>

/* TRUE when the descriptors that were opened are still those of the program that waits. */
typedef gboolean (*PvMemoryValidFunc)(gpointer data);

/*
 * Write to a process's memory, only where it may write itself.
 * procfs_fd  where its numbers are looked up: a /proc that may be written to
 * pid        of the process or a thread of it
 * is_valid   called once all is open; from then on it is that very process, whatever becomes of
 *            its number
 * Returns FALSE when not all was written: the kernel may then say why to the program itself.
 */
gboolean pv_memory_write(int procfs_fd, pid_t pid, PvMemoryValidFunc is_valid, gpointer data,
                         guint64 address, const void *bytes, size_t size);

/* The text of /proc/PID/maps: TRUE when all of [start, end) may be written. A mapping that is cut
 * at the end of the text counts for nothing. */
gboolean pv_memory_maps_writable(const char *text, guint64 start, guint64 end);
