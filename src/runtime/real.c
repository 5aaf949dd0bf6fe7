/* The real runtime, see real.h. */
#include "real.h"

#include "json.h"
#include "procview/error.h"
#include "procview/fd.h"
#include "procview/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Managers start runtimes with whatever PATH they have, or without one. */
#define USUAL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#define FEATURES_MAX_BYTES 65536
#define FEATURES_WAIT_MSEC 3000

static gboolean is_self(const char *path)
{
    struct stat self, other;

    return stat("/proc/self/exe", &self) == 0 && stat(path, &other) == 0 &&
           self.st_dev == other.st_dev && self.st_ino == other.st_ino;
}

static char *find_in(const char *directories, const char *name)
{
    g_auto(GStrv) parts = g_strsplit(directories, ":", -1);

    for (char **part = parts; *part != NULL; part++) {
        g_autofree char *path = g_build_filename(*part, name, NULL);
        if ((*part)[0] == '/' && g_file_test(path, G_FILE_TEST_IS_REGULAR) &&
            access(path, X_OK) == 0 && !is_self(path))
            return g_steal_pointer(&path);
    }
    return NULL;
}

static char *find_name(const char *name)
{
    const char *directories = g_getenv("PATH");
    char *path = directories != NULL ? find_in(directories, name) : NULL;

    return path != NULL ? path : find_in(USUAL_PATH, name);
}

char *pv_real_find(const char *wanted, GError **error)
{
    static const char *const names[] = {"runc", "crun"};
    char *path = NULL;

    if (wanted != NULL && strchr(wanted, '/') != NULL) {
        if (access(wanted, X_OK) == 0 && !is_self(wanted))
            return g_canonicalize_filename(wanted, NULL);
    } else if (wanted != NULL) {
        path = find_name(wanted);
    } else {
        for (guint i = 0; path == NULL && i < G_N_ELEMENTS(names); i++)
            path = find_name(names[i]);
    }
    if (path == NULL)
        pv_error_set(error, PV_ERROR_NOT_FOUND,
                     wanted != NULL ? "the real runtime %s is not found"
                                    : "no real runtime (%s) is found in PATH",
                     wanted != NULL ? wanted : "runc, crun");
    return path;
}

/* ---- what it can ---- */

gboolean pv_real_parse_features(const char *text, gsize length)
{
    g_autoptr(PvJson) json = pv_json_parse(text, length, NULL);

    if (json == NULL)
        return FALSE;
    const PvJsonValue *section = pv_json_member(json, pv_json_root(json), "linux", NULL, NULL);
    const PvJsonValue *list = pv_json_member(json, section, "namespaces", NULL, NULL);
    for (const PvJsonValue *v = list != NULL ? pv_json_first(json, list) : NULL; v != NULL;
         v = pv_json_after(json, list, v)) {
        if (pv_json_equals(json, v, "time"))
            return TRUE;
    }
    return FALSE;
}

G_NORETURN static void execute_features(const char *path, int out_fd)
{
    pv_autofd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    alarm(FEATURES_WAIT_MSEC / 1000 + 1);
    if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0 ||
        dup2(null_fd, STDERR_FILENO) < 0)
        _exit(126);
    execl(path, path, "features", NULL);
    _exit(127);
}

/* Run PATH features. FALSE when it does not answer in time, or does not know the command. */
static gboolean ask(const char *path, GString *out)
{
    gint64 deadline = g_get_monotonic_time() + FEATURES_WAIT_MSEC * 1000;
    int fds[2], status = -1;
    ssize_t n = -1;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return FALSE;
    pid_t pid = fork();
    if (pid == 0)
        execute_features(path, fds[1]);
    close(fds[1]);
    while (pid > 0 && n != 0 && out->len < FEATURES_MAX_BYTES) {
        char buf[4096];
        struct pollfd poll_fd = {.fd = fds[0], .events = POLLIN};
        gint64 left = deadline - g_get_monotonic_time();
        if (left <= 0 || poll(&poll_fd, 1, (int)(left / 1000)) <= 0)
            break;
        n = read(fds[0], buf, sizeof buf);
        if (n > 0)
            g_string_append_len(out, buf, n);
    }
    close(fds[0]);
    if (pid < 0)
        return FALSE;
    if (n != 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return n == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* What is remembered is about one file: "time" or "none" after these numbers. */
static char *describe(const char *path)
{
    struct stat buf;

    if (stat(path, &buf) < 0)
        return NULL;
    return g_strdup_printf("%lu:%lu:%ld:%ld.%ld ", (gulong)buf.st_dev, (gulong)buf.st_ino,
                           (glong)buf.st_size, (glong)buf.st_mtim.tv_sec,
                           (glong)buf.st_mtim.tv_nsec);
}

/* A file for each runtime, so that a machine with two does not ask each time. */
static char *cache_path(const char *path, const char *cache_dir)
{
    g_autofree char *name = g_strdelimit(g_strdup(path), "/", '-');
    return g_strconcat(cache_dir, "/features", name, NULL);
}

static gboolean recall(const char *file, const char *description, gboolean *ret_answer)
{
    char text[256];

    if (pv_read_text_at(AT_FDCWD, file, text, sizeof text) <= 0 ||
        !g_str_has_prefix(text, description))
        return FALSE;
    *ret_answer = strcmp(text + strlen(description), "time\n") == 0;
    return *ret_answer || strcmp(text + strlen(description), "none\n") == 0;
}

gboolean pv_real_has_time_namespace(const char *path, const char *cache_dir)
{
    g_autofree char *description = describe(path);
    g_autofree char *file = cache_path(path, cache_dir);
    g_autoptr(GString) features = g_string_new(NULL);
    gboolean answer = FALSE;

    if (description == NULL || access("/proc/self/ns/time", F_OK) < 0)
        return FALSE;
    if (recall(file, description, &answer))
        return answer;
    answer = ask(path, features) && pv_real_parse_features(features->str, features->len);
    /* Not being able to remember costs the next start some milliseconds. */
    g_autofree char *text = g_strconcat(description, answer ? "time\n" : "none\n", NULL);
    if (g_mkdir_with_parents(cache_dir, 0755) == 0)
        g_file_set_contents_full(file, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, NULL);
    return answer;
}
