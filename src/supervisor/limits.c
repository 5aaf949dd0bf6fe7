/* What the process may use is looked at before anything is mounted, see procview/mount.h. */
#include "procview/mount.h"

#include <stdio.h>
#include <sys/resource.h>

#define MIN_FILES 256 /* a worker's threads, the kernel's files, some containers */

typedef struct {
    int resource;
    rlim_t needed;
    const char *name, *command, *unit;
} Need;

/* Raise it as far as that is ours to do. TRUE (1) when it suffices. */
static int provide(const Need *need, struct rlimit *ret_limit)
{
    struct rlimit wanted;

    if (getrlimit(need->resource, ret_limit) < 0 || ret_limit->rlim_cur >= need->needed)
        return 1;
    wanted = (struct rlimit){.rlim_cur = need->needed, .rlim_max = ret_limit->rlim_max};
    if (wanted.rlim_max < need->needed) /* takes CAP_SYS_RESOURCE */
        wanted.rlim_max = need->needed;
    return setrlimit(need->resource, &wanted) == 0;
}

int pv_mount_check_limits(PvMount *mount)
{
    const Need needs[] = {
        /* The shared memory counts as a file: a sparse one. */
        {RLIMIT_FSIZE, (rlim_t)pv_shared_text_offset(PV_SHARED_HANDLES, 0), "the size of files",
         "ulimit -f unlimited", "LimitFSIZE=infinity"},
        {RLIMIT_NOFILE, MIN_FILES, "the number of open files", "ulimit -n 1024",
         "LimitNOFILE=1024"},
    };

    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        struct rlimit limit;

        if (provide(&needs[i], &limit))
            continue;
        snprintf(mount->message, sizeof mount->message,
                 "%s is limited to %llu, and procviewd needs %llu: %s, or %s in the unit",
                 needs[i].name, (unsigned long long)limit.rlim_cur,
                 (unsigned long long)needs[i].needed, needs[i].command, needs[i].unit);
        return 0;
    }
    return 1;
}
