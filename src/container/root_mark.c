/*
 * The mark on a container's root.
 *
 * A container's root is the cgroup in which its init was when it began: a cgroup namespace made
 * then would have had it. When init moves to a cgroup below, through the cgroup tree (systemd does
 * so as the first thing), the root must stay where it was. So it is marked before, by an extended
 * attribute that only the host's root can set and see: the mark lives as long as the cgroup,
 * whatever becomes of the process that set it. An init that others have moved, and that had no mark
 * before, has its new cgroup as its root. One that has moved itself before keeps the root that is
 * marked, wherever below it others put it later, as it would with a cgroup namespace, whose root
 * stays where it was made.
 */
#include "internal.h"

#include "procview/fd.h"
#include "procview/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define MARK      "trusted.procview.root"
#define DEPTH_MAX 256

#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

static void mark_text(guint64 pidns_ino, guint64 start_ticks, char *text, gsize size)
{
    g_snprintf(text, (gulong)size, "%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, pidns_ino,
               start_ticks);
}

int pv_root_mark_set(int fd, guint64 pidns_ino, guint64 init_start_ticks)
{
    char text[64], path[64];

    mark_text(pidns_ino, init_start_ticks, text, sizeof text);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return setxattr(path, MARK, text, strlen(text), 0) < 0 ? -errno : 0;
}

static gboolean has_mark(int fd, const char *wanted)
{
    char text[64];
    ssize_t n = fgetxattr(fd, MARK, text, sizeof text - 1);

    text[n > 0 ? n : 0] = '\0';
    return n > 0 && strcmp(text, wanted) == 0;
}

void pv_root_mark_cut(int hierarchy_dirfd, guint64 pidns_ino, guint64 init_start_ticks, char *path)
{
    g_autofree char *candidate = g_strdup(path);
    char wanted[64];

    mark_text(pidns_ino, init_start_ticks, wanted, sizeof wanted);
    for (guint i = 0; i < DEPTH_MAX && candidate[0] == '/' && candidate[1] != '\0'; i++) {
        pv_autofd int fd =
            pv_sys_openat2(hierarchy_dirfd, candidate + 1, O_RDONLY | O_DIRECTORY, 0, BENEATH);

        if (fd >= 0 && has_mark(fd, wanted))
            strcpy(path, candidate); /* and go on: the outermost one */
        *strrchr(candidate, '/') = '\0';
    }
}

/* Cut the path of one line. */
static void cut_line(const PvHierarchies *hierarchies, guint64 pidns_ino, guint64 start_ticks,
                     char *line)
{
    for (guint i = 0; i < pv_hierarchies_count(hierarchies); i++) {
        g_autofree char *path = pv_hierarchies_path(hierarchies, i, line);
        gsize length = path != NULL ? strlen(path) : 0;
        PvHierarchyInfo info;

        if (path == NULL)
            continue;
        /* A mount may begin below the hierarchy's root: what is cut off is the same. */
        if (g_str_has_suffix(line, path)) {
            pv_hierarchies_info(hierarchies, i, &info);
            pv_root_mark_cut(info.dirfd, pidns_ino, start_ticks, path);
            line[strlen(line) - (length - strlen(path))] = '\0';
        }
        return;
    }
}

char *pv_container_tree_root_text(PvContainer *container, const PvHierarchies *hierarchies)
{
    guint64 start_ticks = 0;
    g_autofree char *text = pv_container_root_text(container, &start_ticks);
    g_auto(GStrv) lines = NULL;

    if (text == NULL)
        return NULL;
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++)
        cut_line(hierarchies, container->pidns_ino, start_ticks, lines[i]);
    return g_strjoinv("\n", lines);
}
