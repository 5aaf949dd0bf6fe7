/* A reader, see latency.h. */
#include "latency.h"

#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 1000

static int compare(const void *a, const void *b)
{
    const guint64 *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static guint64 now_nsec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (guint64)now.tv_sec * 1000000000 + (guint64)now.tv_nsec;
}

int pvb_measure_latency(const char *path)
{
    static guint64 times[ROUNDS];
    static char buf[1 << 17];

    for (guint i = 0; i < ROUNDS; i++) {
        guint64 start = now_nsec();
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
            return 1;
        while (read(fd, buf, sizeof buf) > 0)
            ;
        close(fd);
        times[i] = now_nsec() - start;
    }
    qsort(times, ROUNDS, sizeof times[0], compare);
    printf("%.1f %.1f\n", (double)times[ROUNDS / 2] / 1e3, (double)times[ROUNDS * 99 / 100] / 1e3);
    return 0;
}
