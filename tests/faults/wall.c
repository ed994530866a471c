/* Moves the wall clock of one process by the seconds that a file holds; every other clock stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*next)(clockid_t, struct timespec *);
    if (!next)
        next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = next(clock, at);
    const char *path = getenv("WALL_SECONDS");
    FILE *file = !failed && clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
    if (file) {
        long seconds = 0;
        if (fscanf(file, "%ld", &seconds) == 1)
            at->tv_sec += seconds;
        fclose(file);
    }
    return failed;
}
