/* A file with the daemon's process id, for those who look for one. */
#pragma once

/* Write this process's id. Returns 0, or a negative errno: nothing depends on the file. */
int pv_pidfile_write(const char *path);

/* Remove the file when it still holds this process's id. */
void pv_pidfile_remove(const char *path);
