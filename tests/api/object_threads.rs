//! Objects whose runs and steps are shared out among threads of a C program: the bits of one thread's, and of the trainer's.

use windlass::object::{ObjectOptions, TrainedState};
use windlass::{Model, Optimizer, Trainer, TrainerOptions, available_vector_bits, network};

use crate::objects::{bytes_of, bytes_of_tokens, options, run_c};
use crate::support::numbers::{Outcome, all_bits, noise};

network! {
    /// Large enough for threads, except for its last layer.
    network Shared(image: [3, 20, 20]) -> [4] {
        c1: conv2d(24, kernel_size = 3, padding = 1); n1: batch_norm; relu; max_pool2d(2);
        c2: conv2d(40, kernel_size = 5); gelu; dropout(0.3);
        flatten; f3: linear(96); tanh; f4: linear(4)
    }
}

const THREADS: usize = 3;
const BATCH: usize = 12;

/// Starts threads for each call: slow, and simple.
const POOL: &str = "
#include <pthread.h>
typedef struct { void (*part)(void *, size_t); void *argument; size_t i; } call;
static size_t calls;
static void *start(void *given) { call *own = given; own->part(own->argument, own->i); return NULL; }
static void each(void *context, void (*part)(void *, size_t), void *argument, size_t count) {
    if (context != &calls) exit(40);
    pthread_t threads[8];
    call own[8];
    calls++;
    for (size_t i = 0; i < count; i++) {
        own[i] = (call){part, argument, i};
        if (pthread_create(&threads[i], NULL, start, &own[i])) exit(41);
    }
    for (size_t i = 0; i < count; i++) pthread_join(threads[i], NULL);
}
";

#[test]
fn threads_of_the_caller_share_runs_and_steps() -> Outcome {
    let training = TrainerOptions::default().optimizer(Optimizer::adam()).seed(3);
    let x = noise(BATCH * 1200, 3);
    let labels: Vec<i32> = (0..BATCH).map(|sample| (sample * 7 % 4) as i32).collect();
    for bits in available_vector_bits() {
        let parameters = Shared::model(3)?.parameters().clone();
        let model = Model::<Shared>::with_parameters(parameters, &options(bits).threads(THREADS))?;
        let objects = ObjectOptions::default().name("net").vector_bits([bits]).embed(true).threads(THREADS);
        let files = model.object(&objects.train(training.clone()))?;
        let folder = tempfile::tempdir()?;
        files.write(folder.path())?;
        std::fs::write(folder.path().join("x"), bytes_of(&x))?;
        std::fs::write(folder.path().join("labels"), bytes_of_tokens(&labels))?;
        let text = format!(
            "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include \"net.h\"\n{POOL}\n\
             static void *memory(size_t bytes) {{ return aligned_alloc(64, (bytes + 63) / 64 * 64); }}\n\
             static void *content(const char *path, size_t bytes) {{\n\
               FILE *file = fopen(path, \"rb\"); void *result = memory(bytes);\n\
               if (!file || fread(result, 1, bytes, file) != bytes) exit(20);\n  fclose(file); return result;\n}}\n\
             static void put(const char *path, const void *from, size_t bytes) {{\n\
               FILE *file = fopen(path, \"wb\"); fwrite(from, 1, bytes, file); fclose(file);\n}}\n\
             int main(void) {{\n\
               float *x = content(\"x\", {}), y[{outputs}], alone[{outputs}], loss;\n\
               int32_t *labels = content(\"labels\", {});\n\
               net_pool pool = {{each, &calls}};\n\
               char *state = memory(NET_STATE_BYTES), *other = memory(NET_STATE_BYTES);\n\
               void *arena = memory(net_step_arena_bytes({BATCH}));\n\
               if (net_init(state) || net_init(other)) return 21;\n\
               for (int i = 0; i < 2; i++) {{\n\
                 if (net_step(state, arena, &pool, {BATCH}, x, labels, 0.001f, y, &loss)) return 22;\n\
                 if (net_step(other, arena, NULL, {BATCH}, x, labels, 0.001f, y, &loss)) return 23;\n  }}\n\
               if (memcmp(state, other, NET_STATE_BYTES)) return 24;\n\
               if (calls < 10) return 25;\n  size_t before = calls;\n\
               void *weights = memory(NET_WEIGHT_BYTES), *pack = memory(NET_PACK_ARENA_BYTES);\n\
               void *run = memory(net_arena_bytes({BATCH}));\n\
               if (net_pack(state, weights, pack)) return 26;\n\
               if (net_run(weights, run, &pool, {BATCH}, x, y) || net_run(weights, run, NULL, {BATCH}, x, alone)) return 27;\n\
               if (memcmp(y, alone, sizeof y) || calls == before) return 28;\n\
               put(\"state\", state, NET_STATE_BYTES); put(\"y\", y, sizeof y);\n  return 0;\n}}\n",
            4 * x.len(),
            4 * labels.len(),
            outputs = 4 * BATCH,
        );
        assert_eq!(run_c(folder.path(), "net", &text).0, 0, "{bits} bits");
        let mut trainer = Trainer::new(model, training.clone())?;
        for _ in 0..2 {
            trainer.step(&x[..], &labels[..])?;
        }
        let state = std::fs::read(folder.path().join("state"))?;
        let trained = TrainedState::read(trainer.network(), &training, &state)?;
        let own = Model::<Shared>::with_parameters(trained.parameters().clone(), &options(bits))?;
        assert_eq!(all_bits(&own), all_bits(trainer.model()), "{bits} bits");
        let expected = trainer.model().forward(&x[..])?;
        assert_eq!(
            std::fs::read(folder.path().join("y"))?,
            bytes_of(expected.as_slice().unwrap()),
            "{bits} bits"
        );
    }
    Ok(())
}
