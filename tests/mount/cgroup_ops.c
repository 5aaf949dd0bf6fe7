/*
 * Does everything that can be done to a cgroupfs, as one kind of user, and prints what the kernel
 * said to each: run once on a cgroupfs mounted in a cgroup namespace and once on the cgroup tree,
 * it is to print the same.
 *
 *     cgroup-ops BASE VERSION root|owner|other|userns
 *
 * BASE is the root of a container's cgroups in one hierarchy, with nothing below it. Prints a line
 * an operation: what, on what, the result or the errno's name. Numbers that differ between two runs
 * (pids, usage) are not printed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWNER_UID  1000
#define OTHER_UID  2000
#define USERNS_UID 100000
#define USERNS_IDS 65536

typedef struct {
    const char *base;
    int version;
    const char *who;
    char *own; /* a cgroup that the user owns */
} Run;

/* ---- printing ---- */

G_GNUC_PRINTF(2, 3) static void say(int r, const char *format, ...)
{
    int saved_errno = errno;
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    if (r < 0)
        printf(": %s\n", strerrorname_np(saved_errno));
    else
        printf(": %d\n", r);
}

static char *in(const char *dir, const char *name)
{
    return g_strdup_printf("%s/%s", dir, name);
}

/* A name without what differs between the two: the base. */
static const char *shown(const Run *run, const char *path)
{
    static char text[PATH_MAX * 2];
    gsize length = strlen(run->base);

    g_snprintf(text, sizeof text, "%s",
               strncmp(path, run->base, length) == 0 ? path + length : path);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '\n' ? '?' : *c;
    text[60] = '\0';
    return text;
}

/* ---- one operation each ---- */

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static GPtrArray *list(const char *path)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (dir == NULL) {
        g_ptr_array_unref(names);
        return NULL;
    }
    while ((entry = readdir(dir)) != NULL)
        g_ptr_array_add(names,
                        g_strdup_printf("%s%s", entry->d_name, entry->d_type == DT_DIR ? "/" : ""));
    closedir(dir);
    g_ptr_array_sort(names, compare_names);
    return names;
}

static void do_list(const Run *run, const char *path)
{
    g_autoptr(GPtrArray) names = list(path);

    say(names != NULL ? (int)names->len : -1, "list %s", shown(run, path));
    for (guint i = 0; names != NULL && i < names->len; i++)
        printf("  %s\n", (char *)g_ptr_array_index(names, i));
}

static void do_stat(const Run *run, const char *path)
{
    struct stat st;
    int r = lstat(path, &st);

    say(r, "stat %s", shown(run, path));
    /* Not the size of files: the kernel's have none, those of the tree must have one. */
    if (r == 0)
        printf("  mode %o owner %u:%u size %lld links %d\n", st.st_mode, st.st_uid, st.st_gid,
               S_ISREG(st.st_mode) ? 0 : (long long)st.st_size,
               S_ISDIR(st.st_mode) ? 0 : (int)st.st_nlink);
}

static void do_open(const Run *run, const char *path, int flags, const char *what)
{
    int fd = open(path, flags | O_CLOEXEC, 0644);

    say(fd < 0 ? -1 : 0, "open %s %s", what, shown(run, path));
    if (fd >= 0)
        close(fd);
}

static void do_write(const Run *run, const char *path, const char *text, gsize size,
                     const char *what)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        say(-1, "open to write %s %s", what, shown(run, path));
        return;
    }
    n = write(fd, text, size);
    say(n == (ssize_t)size ? 0 : (int)n, "write %s %s", what, shown(run, path));
    close(fd);
}

static void write_text(const Run *run, const char *dir, const char *name, const char *text)
{
    g_autofree char *path = in(dir, name);
    g_autofree char *what = g_strescape(text, NULL);

    do_write(run, path, text, strlen(text), what);
}

/* Whether a file says the same to everybody at any time. */
static gboolean is_steady(const char *name)
{
    static const char *const UNSTEADY[] = {"stat",      "usage",   "pressure", "current", "peak",
                                           "watermark", "cpuacct", "procs",    "tasks",   "threads",
                                           "force",     "failcnt", "events",   "numa",    NULL};

    for (guint i = 0; UNSTEADY[i] != NULL; i++) {
        if (strstr(name, UNSTEADY[i]) != NULL)
            return FALSE;
    }
    return TRUE;
}

static void read_all_files(const Run *run, const char *dir)
{
    g_autoptr(GPtrArray) names = list(dir);

    for (guint i = 0; names != NULL && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *path = in(dir, name);
        char text[8192];
        int fd;
        ssize_t n;

        if (g_str_has_suffix(name, "/"))
            continue;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            say(-1, "open to read %s", shown(run, path));
            continue;
        }
        n = read(fd, text, sizeof text - 1);
        if (n < 0)
            say(-1, "read %s", shown(run, path));
        else if (is_steady(name))
            printf("read %s: %.*s\n", shown(run, path), (int)n, text);
        /* In pieces, and from anywhere. */
        if (n > 3 && is_steady(name)) {
            char piece[4] = "";
            ssize_t m = pread(fd, piece, 2, 1);
            say(m == 2 && memcmp(piece, text + 1, 2) == 0, "piece of %s", shown(run, path));
            m = pread(fd, piece, 2, n + 100);
            say((int)m, "read behind %s", shown(run, path));
        }
        close(fd);
    }
}

static void open_all_files_to_write(const Run *run, const char *dir)
{
    g_autoptr(GPtrArray) names = list(dir);

    for (guint i = 0; names != NULL && i < names->len; i++) {
        g_autofree char *path = in(dir, g_ptr_array_index(names, i));

        if (!g_str_has_suffix(path, "/"))
            do_open(run, path, O_WRONLY, "w");
    }
}

/* What cgroupfs does not have, asked for where the user may write and where it may not. */
static void links_and_devices(const Run *run, const char *dir)
{
    g_autofree char *file = in(run->own, "cgroup.procs"), *new = in(dir, "new");

    say(link(file, new), "link %s", shown(run, new));
    say(symlink(file, new), "symlink %s", shown(run, new));
    say(mknod(new, S_IFIFO | 0644, 0), "mkfifo %s", shown(run, new));
    /* Above FUSE the kernel asks for CAP_MKNOD before anybody looks at the directory. */
    if (strcmp(run->who, "root") == 0)
        say(mknod(new, S_IFCHR | 0644, makedev(1, 3)), "mknod %s", shown(run, new));
}

static void do_sync(const Run *run, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    say(fd < 0 ? -1 : fsync(fd), "fsync %s", shown(run, path));
    say(fd < 0 ? -1 : fdatasync(fd), "fdatasync %s", shown(run, path));
    if (fd >= 0)
        close(fd);
}

static void check_access(const Run *run, const char *path)
{
    for (int mode = 0; mode < 8; mode++)
        say(access(path, mode), "access %d %s", mode, shown(run, path));
}

/* ---- names ---- */

static void do_mkdir(const Run *run, const char *path)
{
    say(mkdir(path, 0755), "mkdir %s", shown(run, path));
}

static void do_rmdir(const Run *run, const char *path)
{
    say(rmdir(path), "rmdir %s", shown(run, path));
}

static void directories(const Run *run, const char *dir)
{
    g_autofree char *x = in(dir, "x"), *y = in(dir, "x/y"), *moved = in(dir, "z");
    g_autofree char *file = in(dir, "x/cgroup.procs"), *deep = in(dir, "none/there");
    g_autofree char *newline = in(dir, "a\nb"), *other = in(dir, "x/cgroup.other");
    g_autofree char *blank = in(dir, " a b "), *dots = in(dir, "..."), *inner = in(dir, "x/w");
    char name[300];

    do_mkdir(run, x);
    do_mkdir(run, x);
    do_stat(run, x);
    do_mkdir(run, y);
    do_mkdir(run, deep);
    do_mkdir(run, file);
    do_mkdir(run, newline);
    do_rmdir(run, newline);
    do_mkdir(run, blank);
    do_rmdir(run, blank);
    do_mkdir(run, dots);
    do_rmdir(run, dots);
    for (guint length = 254; length <= 256; length++) {
        g_autofree char *path = NULL;
        memset(name, 'n', length);
        name[length] = '\0';
        path = in(dir, name);
        printf("%u: ", length);
        do_mkdir(run, path);
        do_rmdir(run, path);
    }
    do_rmdir(run, x);
    do_rmdir(run, file);
    say(unlink(file), "unlink %s", shown(run, file));
    say(unlink(x), "unlink %s", shown(run, x));
    say(symlink("/", other), "symlink %s", shown(run, other));
    say(link(file, other), "link %s", shown(run, other));
    say(mknod(other, S_IFIFO | 0644, 0), "mkfifo %s", shown(run, other));
    do_open(run, other, O_WRONLY | O_CREAT, "create");
    do_open(run, file, O_WRONLY | O_CREAT | O_EXCL, "create");
    do_open(run, file, O_RDONLY | O_CREAT, "create");
    do_open(run, file, O_WRONLY | O_TRUNC, "truncate");
    do_open(run, file, O_RDONLY | O_DIRECTORY, "directory");
    do_open(run, file, O_RDONLY | O_DIRECT, "direct");
    do_open(run, file, O_WRONLY | O_DIRECT, "direct");
    do_open(run, x, O_RDONLY | O_DIRECT, "direct");
    do_open(run, x, O_WRONLY, "w");
    do_open(run, x, O_RDONLY | O_DIRECTORY, "directory");
    say(truncate(file, 0), "truncate %s", shown(run, file));
    say(rename(file, other), "rename %s", shown(run, file));
    say(rename(x, moved), "rename %s", shown(run, x));
    say(rename(moved, x), "rename back %s", shown(run, x));
    say(rename(y, moved), "rename to another parent %s", shown(run, y));
    say(rename(y, inner), "rename %s", shown(run, y));
    say(rename(inner, y), "rename back %s", shown(run, y));
    say(renameat2(AT_FDCWD, x, AT_FDCWD, y, RENAME_EXCHANGE), "exchange %s", shown(run, x));
    do_rmdir(run, y);
    do_rmdir(run, x);
    do_rmdir(run, x);
}

/* ---- owners and modes ---- */

static void modes(const Run *run, const char *dir)
{
    g_autofree char *x = in(dir, "m"), *file = in(dir, "m/cgroup.procs");
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
    static const struct {
        mode_t mode;
        uid_t uid;
        gid_t gid;
    } STEPS[] = {{0700, (uid_t)-1, (gid_t)-1},
                 {01777, (uid_t)-1, (gid_t)-1},
                 {0, OTHER_UID, OTHER_UID},
                 {0, (uid_t)-1, OWNER_UID},
                 {0755, 0, 0},
                 {0, USERNS_UID, USERNS_UID},
                 {0755, 5, 5}};

    do_mkdir(run, x);
    for (guint i = 0; i < G_N_ELEMENTS(STEPS); i++) {
        for (guint k = 0; k < 2; k++) {
            const char *path = k == 0 ? x : file;
            if (STEPS[i].mode != 0)
                say(chmod(path, STEPS[i].mode), "chmod %o %s", STEPS[i].mode, shown(run, path));
            say(chown(path, STEPS[i].uid, STEPS[i].gid), "chown %d:%d %s", (int)STEPS[i].uid,
                (int)STEPS[i].gid, shown(run, path));
            do_stat(run, path);
        }
    }
    say(utimensat(AT_FDCWD, x, times, 0), "utimens %s", shown(run, x));
    do_rmdir(run, x);
    say(chmod(run->base, 0755), "chmod the root");
    say(chown(run->base, 0, 0), "chown the root");
}

/* ---- processes ---- */

static pid_t start_sleeper(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    return pid;
}

/* How often a pid is in a file, and how many there are. */
static void find_pid(const Run *run, const char *dir, const char *name, pid_t pid)
{
    g_autofree char *path = in(dir, name), *text = NULL;
    g_auto(GStrv) lines = NULL;
    int n = 0;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        say(-1, "read %s", shown(run, path));
        return;
    }
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++)
        n += atoi(lines[i]) == (int)pid;
    say(n, "found in %s of %u", shown(run, path), g_strv_length(lines));
}

static void processes(const Run *run, const char *dir)
{
    static const char *const TEXTS[] = {"x", "-1", "99999999", "2147483648", "", "1x", "+", " \n"};
    g_autofree char *x = in(dir, "p");
    pid_t pid = start_sleeper();
    const char *threads = run->version == 1 ? "tasks" : "cgroup.threads";
    g_autofree char *number = g_strdup_printf(" %d\n", (int)pid);
    g_autofree char *hex = g_strdup_printf("0x%x", (unsigned int)pid);
    static const char *const FILES[] = {"cgroup.procs", "threads"};

    do_mkdir(run, x);
    for (guint k = 0; k < G_N_ELEMENTS(FILES); k++) {
        const char *name = k == 0 ? FILES[0] : threads;
        g_autofree char *path = in(x, name), *root = in(run->base, name), *own = in(dir, name);

        for (guint i = 0; i < G_N_ELEMENTS(TEXTS); i++) {
            if (TEXTS[i][0] != '\0') /* nothing is no request at all */
                do_write(run, path, TEXTS[i], strlen(TEXTS[i]), "no pid");
        }
        do_write(run, own, number, strlen(number), "pid");
        find_pid(run, dir, name, pid);
        do_write(run, path, number, strlen(number), "pid");
        find_pid(run, x, name, pid);
        do_write(run, root, hex, strlen(hex), "hex pid");
        do_write(run, path, hex, strlen(hex), "hex pid");
        do_write(run, own, number, strlen(number), "pid");
        do_write(run, path, "1", 1, "init");
        do_write(run, root, "1", 1, "init");
    }
    do_rmdir(run, x);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (guint i = 0; i < 500 && rmdir(x) < 0 && errno == EBUSY; i++)
        g_usleep(10000);
}

static void self(const Run *run)
{
    g_autofree char *procs = in(run->own, "cgroup.procs"), *root = in(run->base, "cgroup.procs");

    do_write(run, procs, "0", 1, "self");
    find_pid(run, run->own, "cgroup.procs", getpid());
    do_write(run, root, "0", 1, "self");
}

/* ---- values ---- */

static void values(const Run *run, const char *dir)
{
    g_autofree char *x = in(dir, "v"), *big = g_strnfill(5000, '1');
    g_autofree char *procs = in(x, "cgroup.procs");
    static const char *const FILES[] = {"pids.max",           "memory.limit_in_bytes",
                                        "memory.max",         "cpu.max",
                                        "cpu.shares",         "cgroup.freeze",
                                        "cgroup.type",        "cgroup.subtree_control",
                                        "cgroup.max.depth",   "cgroup.kill",
                                        "notify_on_release",  "cgroup.clone_children",
                                        "freezer.state",      "devices.deny",
                                        "cpuset.cpus",        "memory.pressure",
                                        "memory.oom_control", "cgroup.stat",
                                        "cgroup.events",      "cgroup.pressure"};
    static const char *const TEXTS[] = {"max",      "100000000", "1",  "0",
                                        "x",        "+pids",     "-1", "some 150000 2000000",
                                        "threaded", "THAWED"};

    do_mkdir(run, x);
    for (guint i = 0; i < G_N_ELEMENTS(FILES); i++) {
        g_autofree char *path = in(x, FILES[i]);

        if (access(path, F_OK) < 0)
            continue;
        for (guint k = 0; k < G_N_ELEMENTS(TEXTS); k++)
            write_text(run, x, FILES[i], TEXTS[k]);
        do_write(run, path, big, 4096, "4096 bytes");
        do_write(run, path, big, 5000, "5000 bytes");
    }
    do_write(run, procs, big, 5000, "5000 bytes");
    read_all_files(run, x);
    do_rmdir(run, x);
}

/* ---- what is removed while it is open ---- */

static void list_open(int dirfd)
{
    DIR *dir = fdopendir(fcntl(dirfd, F_DUPFD_CLOEXEC, 0));
    struct dirent *entry;

    say(dir != NULL ? 0 : -1, "list when removed");
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        printf("  %s\n", entry->d_name);
    if (dir != NULL)
        closedir(dir);
}

static void removed(const Run *run, const char *dir)
{
    g_autofree char *x = in(dir, "r"), *file = in(x, "cgroup.procs");
    int dirfd, fd, writable;
    char text[64];
    struct stat st;

    do_mkdir(run, x);
    dirfd = open(x, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = open(file, O_RDONLY | O_CLOEXEC);
    writable = open(file, O_WRONLY | O_CLOEXEC);
    do_rmdir(run, x);
    if (dirfd < 0)
        return;
    say((int)read(fd, text, sizeof text), "read when removed");
    say((int)write(writable, "1", 1), "write when removed");
    say(fstat(fd, &st), "fstat of a file when removed");
    printf("  mode %o owner %u:%u\n", st.st_mode, st.st_uid, st.st_gid);
    say(fstat(dirfd, &st), "fstat of a directory when removed");
    printf("  mode %o owner %u:%u\n", st.st_mode, st.st_uid, st.st_gid);
    list_open(dirfd);
    say(openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC) < 0 ? -1 : 0, "open when removed");
    say(mkdirat(dirfd, "s", 0755), "mkdir when removed");
    say(fstatat(dirfd, "cgroup.procs", &st, 0), "stat when removed");
    close(dirfd);
    close(fd);
    close(writable);
}

/* ---- file systems, events ---- */

static void whole(const Run *run)
{
    struct statvfs st;

    say(statvfs(run->base, &st), "statfs");
    printf("  block %lu name %lu blocks %lu free %lu\n", st.f_bsize, st.f_namemax, st.f_blocks,
           st.f_bfree);
}

/* Whether an event is told of which nothing is read, and not again and again. One that comes
 * between the question of poll and its answer may be told twice by a FUSE file. */
static void edges(int fd, const char *when)
{
    struct epoll_event event = {.events = EPOLLPRI | EPOLLET}, told;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC), n = 0;

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        say(-1, "epoll");
    while (n < 10 && epoll_wait(epoll_fd, &told, 1, 200) > 0)
        n++;
    say(n > 2 ? n : n > 0, "events %s", when);
    close(epoll_fd);
}

static void events(const Run *run)
{
    g_autofree char *x = in(run->own, "e"), *path = in(x, "cgroup.events"),
                    *procs = in(x, "cgroup.procs");
    struct pollfd p = {.events = POLLPRI};
    gboolean moved;
    char text[256];
    pid_t pid;

    do_mkdir(run, x);
    p.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (p.fd >= 0) {
        g_autofree char *number = NULL;
        say((int)read(p.fd, text, sizeof text) > 0, "read events");
        say(poll(&p, 1, 0), "poll events");
        pid = start_sleeper();
        number = g_strdup_printf("%d", (int)pid);
        do_write(run, procs, number, strlen(number), "pid");
        g_usleep(50000); /* it is told a little later */
        say(poll(&p, 1, 0), "poll events");
        printf("  %x\n", (unsigned int)p.revents);
        moved = p.revents != 0;
        say((int)pread(p.fd, text, sizeof text, 0) > 0, "read events");
        say(poll(&p, 1, 0), "poll events");
        edges(p.fd, "before");
        kill(pid, SIGKILL);
        if (moved) {
            say(poll(&p, 1, 60000), "wait for events");
            printf("  %x\n", (unsigned int)p.revents);
            edges(p.fd, "after");
            say((int)pread(p.fd, text, sizeof text, 0) > 0, "read events");
            say(poll(&p, 1, 0), "poll events");
        }
        waitpid(pid, NULL, 0);
        close(p.fd);
    }
    for (guint i = 0; i < 500 && rmdir(x) < 0 && errno == EBUSY; i++)
        g_usleep(10000);
}

/* ---- users ---- */

static void write_map(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);
    g_autofree char *map = g_strdup_printf("0 %d %d", USERNS_UID, USERNS_IDS);
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, map, strlen(map)) < 0)
        perror(path);
    close(fd);
}

static void become(uid_t uid)
{
    if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        perror("become");
}

static void enter_user_namespace(void)
{
    pid_t parent = getpid(), pid;
    int go[2];
    char byte;

    if (pipe2(go, O_CLOEXEC) < 0)
        return;
    pid = fork();
    if (pid == 0) {
        if (read(go[0], &byte, 1) == 1) {
            write_map(parent, "uid_map");
            write_map(parent, "gid_map");
        }
        _exit(0);
    }
    if (unshare(CLONE_NEWUSER) < 0)
        perror("unshare");
    if (write(go[1], "g", 1) != 1)
        perror("write");
    waitpid(pid, NULL, 0);
    become(0);
}

/* A cgroup for the user, made by root: as a manager delegates. */
static void delegate(Run *run)
{
    uid_t uid = strcmp(run->who, "userns") == 0 ? USERNS_UID
                : strcmp(run->who, "root") == 0 ? 0
                                                : OWNER_UID;
    static const char *const FILES[] = {"", "cgroup.procs", "tasks", "cgroup.threads",
                                        "cgroup.subtree_control"};

    run->own = in(run->base, "own");
    if (mkdir(run->own, 0755) < 0)
        perror(run->own);
    for (guint i = 0; i < G_N_ELEMENTS(FILES); i++) {
        g_autofree char *path = in(run->own, FILES[i]);
        if (chown(path, uid, uid) < 0 && errno != ENOENT)
            perror(path);
    }
}

static void do_all(const Run *run)
{
    g_autofree char *unowned = in(run->base, "un");
    g_autofree char *procs = in(run->own, "cgroup.procs");

    whole(run);
    do_stat(run, run->base);
    do_stat(run, run->own);
    do_stat(run, procs);
    do_list(run, run->base);
    do_list(run, run->own);
    do_list(run, unowned);
    read_all_files(run, run->own);
    open_all_files_to_write(run, run->own);
    open_all_files_to_write(run, run->base);
    check_access(run, run->base);
    check_access(run, run->own);
    check_access(run, procs);
    directories(run, run->own);
    directories(run, run->base);
    links_and_devices(run, run->own);
    links_and_devices(run, run->base);
    do_sync(run, run->own);
    do_sync(run, procs);
    modes(run, run->own);
    modes(run, run->base);
    values(run, run->own);
    values(run, run->base);
    processes(run, run->own);
    processes(run, run->base);
    removed(run, run->own);
    self(run);
    if (run->version == 2)
        events(run);
}

int main(int argc, char **argv)
{
    Run run = {0};

    if (argc != 4)
        return 2;
    run = (Run){.base = argv[1], .version = atoi(argv[2]), .who = argv[3]};
    umask(022);
    delegate(&run);
    fflush(stdout);
    if (fork() == 0) {
        if (strcmp(run.who, "userns") == 0)
            enter_user_namespace();
        else if (strcmp(run.who, "root") != 0)
            become(strcmp(run.who, "owner") == 0 ? OWNER_UID : OTHER_UID);
        do_all(&run);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    for (guint i = 0; i < 500 && rmdir(run.own) < 0 && errno == EBUSY; i++)
        g_usleep(10000);
    g_free(run.own);
    return 0;
}
