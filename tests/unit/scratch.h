/*
 * A folder for one test, filled file by file and removed afterwards.
 */
#pragma once

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    char *path;
    int fd;
} Scratch;

static inline void scratch_make(Scratch *scratch)
{
    scratch->path = g_dir_make_tmp("procview-test-XXXXXX", NULL);
    g_assert(scratch->path != NULL);
    scratch->fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert(scratch->fd >= 0);
}

/* Write a file, with the folders that it needs. */
static inline void scratch_put(const Scratch *scratch, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(scratch->path, name, NULL);
    g_autofree char *folder = g_path_get_dirname(path);
    g_assert(g_mkdir_with_parents(folder, 0755) == 0);
    g_assert(g_file_set_contents(path, text, -1, NULL));
}

static inline void scratch_remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        struct stat st;
        if (g_lstat(child, &st) == 0 && S_ISDIR(st.st_mode))
            scratch_remove_tree(child);
        else
            g_unlink(child);
    }
    g_rmdir(path);
}

static inline void scratch_clear(Scratch *scratch)
{
    close(scratch->fd);
    scratch_remove_tree(scratch->path);
    g_free(scratch->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Scratch, scratch_clear)
