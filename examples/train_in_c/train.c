/* Trains LeNet to classify images of clothing: batches of 64 images, Adam, a rate that falls to 0. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "data.h"
#include "lenet.h"

#define PIXELS (28 * 28)
#define BATCH 64

typedef struct {
    unsigned char pixels[PIXELS], label;
} Example;

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(LENET_ALIGNMENT, (bytes + LENET_ALIGNMENT - 1) / LENET_ALIGNMENT * LENET_ALIGNMENT);
    if (!memory) {
        fprintf(stderr, "error: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

static void read_file(const char *path, void *content, size_t bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file || fread(content, 1, bytes, file) != bytes) {
        fprintf(stderr, "error: %s cannot be read, or is too short\n", path);
        exit(1);
    }
    fclose(file);
}

static void check(int status)
{
    if (status) {
        fprintf(stderr, "error: the network returns the status %d\n", status);
        exit(1);
    }
}

static void normalize(const Example *example, float *image)
{
    for (int i = 0; i < PIXELS; i++)
        image[i] = (example->pixels[i] / 255.0f - MEAN) / DEVIATION;
}

static int best(const float *scores)
{
    int best = 0;
    for (int class = 1; class < 10; class++)
        if (scores[class] > scores[best])
            best = class;
    return best;
}

/* Numbers below a limit, from a linear congruential generator. */
static unsigned below(unsigned limit)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % limit);
}

static Example train[TRAIN_IMAGES], test[TEST_IMAGES];
static float images[BATCH * PIXELS], scores[BATCH * 10];

int main(int count, char **arguments)
{
    int epochs = count > 1 ? atoi(arguments[1]) : 6;
    if (epochs < 1) {
        fprintf(stderr, "error: usage: train [epochs]\n");
        return 1;
    }
    read_file("train.images", train, sizeof train);
    read_file("test.images", test, sizeof test);
    void *state = aligned(LENET_STATE_BYTES);
    read_file("lenet.state", state, LENET_STATE_BYTES);
    size_t arena_bytes = lenet_step_arena_bytes(BATCH);
    void *arena = aligned(arena_bytes);
    printf("%d images, vectors of %d bits, %zu bytes of state and %zu of memory\n", TRAIN_IMAGES, lenet_supported(),
           (size_t)LENET_STATE_BYTES, arena_bytes);

    int32_t labels[BATCH];
    int steps = TRAIN_IMAGES / BATCH;
    for (int epoch = 0; epoch < epochs; epoch++) {
        float sum = 0;
        for (unsigned i = TRAIN_IMAGES - 1; i > 0; i--) {
            unsigned other = below(i + 1);
            Example held = train[i];
            train[i] = train[other];
            train[other] = held;
        }
        for (int step = 0; step < steps; step++) {
            for (int i = 0; i < BATCH; i++) {
                const Example *example = &train[step * BATCH + i];
                normalize(example, images + i * PIXELS);
                labels[i] = example->label;
            }
            float loss, rate = 0.003f * (1 - (float)(epoch * steps + step) / (float)(epochs * steps));
            check(lenet_step(state, arena, BATCH, images, labels, rate, scores, &loss));
            sum += loss;
        }
        printf("epoch %d/%d  loss %.3f\n", epoch + 1, epochs, sum / (float)steps);
    }
    FILE *file = fopen("trained.state", "wb");
    if (!file || fwrite(state, 1, LENET_STATE_BYTES, file) != LENET_STATE_BYTES || fclose(file)) {
        fprintf(stderr, "error: trained.state cannot be written\n");
        return 1;
    }

    void *weights = aligned(LENET_WEIGHT_BYTES), *pack = aligned(LENET_PACK_ARENA_BYTES), *run = aligned(lenet_arena_bytes(1));
    check(lenet_pack(state, weights, pack));
    int right = 0;
    for (int i = 0; i < TEST_IMAGES; i++) {
        normalize(&test[i], images);
        check(lenet_run(weights, run, 1, images, scores));
        right += best(scores) == test[i].label;
    }
    printf("test accuracy: %.4f\n", (double)right / TEST_IMAGES);
    return 0;
}
