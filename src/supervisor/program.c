/*
 * Where the program is installed: the next version will be there. It is the path by which it was
 * started, which may be a link that is to lead to another file by then; the file itself when it was
 * started otherwise.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_running_program(const char *path)
{
    struct stat running, named;

    return stat("/proc/self/exe", &running) == 0 && stat(path, &named) == 0 &&
           running.st_ino == named.st_ino && running.st_dev == named.st_dev;
}

/* directory/name, absolute, if that is the program that is running. */
static bool try_path(const char *directory, size_t length, const char *name, char *ret_path,
                     size_t size)
{
    char working[PATH_MAX] = "";
    bool is_relative = length == 0 || directory[0] != '/';
    int n;

    if (is_relative && getcwd(working, sizeof working) == NULL)
        return false;
    n = snprintf(ret_path, size, "%s%s%.*s%s%s", working, is_relative ? "/" : "", (int)length,
                 directory, length > 0 ? "/" : "", name);
    return n > 0 && (size_t)n < size && is_running_program(ret_path);
}

static bool find_by_name(const char *name, char *ret_path, size_t size)
{
    const char *at = getenv("PATH");

    if (name[0] == '/')
        return (size_t)snprintf(ret_path, size, "%s", name) < size && is_running_program(ret_path);
    if (strchr(name, '/') != NULL)
        return try_path("", 0, name, ret_path, size);
    while (at != NULL) {
        size_t length = strcspn(at, ":");
        if (try_path(at, length, name, ret_path, size))
            return true;
        at = at[length] == ':' ? at + length + 1 : NULL;
    }
    return false;
}

void pv_find_program(const char *name, char *ret_path, size_t size)
{
    static const char DELETED[] = " (deleted)";
    size_t length;
    ssize_t n;

    if (name != NULL && name[0] != '\0' && find_by_name(name, ret_path, size))
        return;
    n = readlink("/proc/self/exe", ret_path, size - 1);
    length = n > 0 ? (size_t)n : 0;
    ret_path[length] = '\0';
    if (length > strlen(DELETED) && strcmp(ret_path + length - strlen(DELETED), DELETED) == 0)
        ret_path[length - strlen(DELETED)] = '\0';
}
