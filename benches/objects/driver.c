/* Times an object: `driver OUTPUT`, in a folder with net.weights. It prints the nanoseconds from before the file of weights is opened
 * until the first run begins, and until it ends, writes the outputs of that run, and then, for each count that it reads, prints the
 * nanoseconds of as many runs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

static float inputs[INPUTS], outputs[OUTPUTS];

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Zeros, aligned to a page; in large pages where the system has them, as the runtime of the library asks for too. */
static void *memory(size_t bytes)
{
    const size_t large = 1 << 21;
    char *start = mmap(NULL, bytes + large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        exit(10);
    start += (large - (size_t)start % large) % large;
#ifdef MADV_HUGEPAGE
    if (bytes >= large)
        madvise(start, bytes, MADV_HUGEPAGE);
#endif
    return start;
}

static const void *mapped(const char *path, size_t bytes)
{
    int file = open(path, O_RDONLY);
    int how = MAP_PRIVATE;
#ifdef MAP_POPULATE
    how |= MAP_POPULATE;
#endif
    void *content = file < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, how, file, 0);
    if (content == MAP_FAILED)
        exit(11);
    close(file);
    return content;
}

int main(int count, char **arguments)
{
    /* Values of both signs, which the benchmark computes too. */
    for (int i = 0; i < INPUTS; i++)
        inputs[i] = (float)(i * 37 % 101) / 101 - 0.5f;
    long long start = now();
    const void *weights = mapped("net.weights", NET_WEIGHT_BYTES);
    void *arena = memory(net_arena_bytes(1));
    long long ready = now();
    int status = net_run(weights, arena, 1, inputs, outputs);
    printf("%lld\n%lld\n", ready - start, now() - start);
    FILE *file = count == 2 ? fopen(arguments[1], "wb") : NULL;
    if (status || !file || fwrite(outputs, sizeof(float), OUTPUTS, file) != OUTPUTS || fclose(file))
        return 12;
    int runs;
    while (fflush(stdout), scanf("%d", &runs) == 1) {
        long long *times = calloc(runs, sizeof *times);
        for (int run = 0; times && run < runs; run++) {
            start = now();
            status |= net_run(weights, arena, 1, inputs, outputs);
            times[run] = now() - start;
        }
        if (!times || status)
            return 13;
        for (int run = 0; run < runs; run++)
            printf("%lld\n", times[run]);
        free(times);
    }
    return 0;
}
