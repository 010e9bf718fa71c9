/* Tells the garments of images with LeNet: binary PGM files of 28x28 grey pixels in, the class of each out. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "data.h"
#include "lenet.h"

#define PIXELS (28 * 28)

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(LENET_ALIGNMENT, (bytes + LENET_ALIGNMENT - 1) / LENET_ALIGNMENT * LENET_ALIGNMENT);
    if (!memory) {
        fprintf(stderr, "error: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

static int fail(const char *path, const char *reason)
{
    fprintf(stderr, "error: %s %s\n", path, reason);
    return 1;
}

/* A number of the header of a PGM file; lines from # on are comments. */
static int header_number(FILE *file)
{
    int number = -1, next;
    while (fscanf(file, "%d", &number) != 1 && fgetc(file) == '#')
        while ((next = fgetc(file)) != '\n' && next != EOF)
            ;
    return number;
}

static int read_image(const char *path, float *image)
{
    unsigned char pixels[PIXELS];
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail(path, "cannot be opened");
    int is_image = fgetc(file) == 'P' && fgetc(file) == '5';
    is_image = is_image && header_number(file) == 28 && header_number(file) == 28 && header_number(file) == 255;
    is_image = is_image && fgetc(file) != EOF && fread(pixels, 1, PIXELS, file) == PIXELS;
    fclose(file);
    if (!is_image)
        return fail(path, "is no binary PGM image of 28x28 pixels");
    for (int i = 0; i < PIXELS; i++)
        image[i] = (pixels[i] / 255.0f - MEAN) / DEVIATION;
    return 0;
}

int main(int count, char **paths)
{
    if (count < 3)
        return fail("usage:", "classify lenet.weights image.pgm ...");
    void *weights = aligned(LENET_WEIGHT_BYTES);
    FILE *file = fopen(paths[1], "rb");
    if (!file || fread(weights, 1, LENET_WEIGHT_BYTES, file) != LENET_WEIGHT_BYTES)
        return fail(paths[1], "is no file of weights");
    fclose(file);
    void *arena = aligned(lenet_arena_bytes(1));
    printf("vectors of %d bits, %zu bytes of memory\n", lenet_supported(), lenet_arena_bytes(1));

    float image[PIXELS], scores[10];
    for (int i = 2; i < count; i++) {
        if (read_image(paths[i], image))
            return 1;
        int status = lenet_run(weights, arena, 1, image, scores);
        if (status) {
            fprintf(stderr, "error: the network returns the status %d\n", status);
            return 1;
        }
        int best = 0;
        for (int class = 1; class < 10; class++)
            if (scores[class] > scores[best])
                best = class;
        printf("%s: %s (%.0f %%)\n", paths[i], CLASSES[best], 100 * scores[best]);
    }

    enum { RUNS = 2000 };
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < RUNS; i++)
        lenet_run(weights, arena, 1, image, scores);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    printf("%.1f microseconds for an image\n", 1e6 * seconds / RUNS);
    return 0;
}
