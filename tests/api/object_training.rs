//! Training steps in object files, called from C: after several steps, the bits of the Rust trainer at every vector width.

use std::fmt::Write as _;

use windlass::object::{ObjectError, ObjectFiles, ObjectOptions, TrainedState};
use windlass::{
    AnyNetwork, Average, Error, LabelSequences, Loss, Model, Optimizer, Trainer, TrainerOptions,
    available_vector_bits, network,
};

use crate::objects::{bytes_of, bytes_of_tokens, options, run_c};
use crate::support::numbers::{Outcome, all_bits, noise};
use crate::support::{Images, Points, images, labels};

/// The steps of each test.
const STEPS: usize = 4;
const RATE: f32 = 0.05;

/// What a C program passes to a step.
struct Call {
    /// The open sizes, the batch first.
    sizes: Vec<usize>,
    /// For each input the bytes of all steps.
    inputs: Vec<Vec<u8>>,
    /// The elements of each output.
    outputs: Vec<usize>,
    /// After the steps: open sizes, the input's bytes, and the elements of the output of a run with the weights that were learned.
    run: (Vec<usize>, Vec<u8>, usize),
}

/// What it finds.
struct Trained {
    state: Vec<u8>,
    /// The elements of each output, of the last step.
    outputs: Vec<Vec<f32>>,
    run: Vec<f32>,
}

fn listed(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A C program that takes steps and writes the state and all outputs to files.
fn program(files: &ObjectFiles, call: &Call) -> String {
    let (name, upper) = (&files.name, files.name.to_uppercase());
    let (sizes, run_sizes) = (listed(&call.sizes), listed(&call.run.0));
    let mut text = format!(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include \"{name}.h\"\n\
         static void *memory(size_t bytes) {{ return aligned_alloc(64, (bytes + 63) / 64 * 64); }}\n\
         static char *content(const char *path, size_t bytes) {{\n\
           FILE *file = fopen(path, \"rb\"); char *result = memory(bytes);\n\
           if (!file || fread(result, 1, bytes, file) != bytes) exit(20);\n  fclose(file); return result;\n}}\n\
         static void put(const char *path, const void *from, size_t bytes) {{\n\
           FILE *file = fopen(path, \"wb\"); fwrite(from, 1, bytes, file); fclose(file);\n}}\n\
         static char *guarded(size_t bytes) {{ char *result = memory(bytes + 64); memset(result, 77, bytes + 64); return result; }}\n\
         static void check(const char *memory, size_t bytes) {{ for (int i = 0; i < 64; i++) if (memory[bytes + i] != 77) exit(30); }}\n\
         int main(void) {{\n  char *state = guarded({upper}_STATE_BYTES);\n"
    );
    text += &match &files.state {
        Some(_) => {
            format!("  memcpy(state, content(\"{name}.state\", {upper}_STATE_BYTES), {upper}_STATE_BYTES);\n")
        }
        None => format!("  if ({name}_init(NULL) != 4 || {name}_init(state)) return 21;\n"),
    };
    let _ =
        writeln!(text, "  size_t bytes = {name}_step_arena_bytes({sizes});\n  char *arena = guarded(bytes);");
    let (mut inputs, mut outputs) = (String::new(), String::new());
    for (index, bytes) in call.inputs.iter().enumerate() {
        let each = bytes.len() / STEPS;
        let _ = writeln!(text, "  char *i{index} = content(\"i{index}\", {});", bytes.len());
        let _ = write!(inputs, ", (void *)(i{index} + step * {each})");
    }
    for (index, elements) in call.outputs.iter().enumerate() {
        let _ = writeln!(text, "  void *o{index} = memory({});", 4 * elements);
        let _ = write!(outputs, ", o{index}");
    }
    let step = |state: &str, arena: &str| {
        format!("{name}_step({state}, {arena}, {sizes}{inputs}, {RATE}f{outputs})")
    };
    let _ = writeln!(
        text,
        "  for (int step = 0; step < {STEPS}; step++) {{\n    int status = {};\n    if (status) return status;\n  }}\n\
           int step = 0;\n  if ({} != 4 || {} != 4) return 31;\n\
           state[12] ^= 1; if ({} != 2) return 32;\n  state[12] ^= 1;",
        step("state", "arena"),
        step("state + 4", "arena"),
        step("state", "NULL"),
        step("state", "arena"),
    );
    let (_, run_input, run_output) = &call.run;
    let _ = writeln!(
        text,
        "  check(state, {upper}_STATE_BYTES);\n  check(arena, bytes);\n  put(\"state\", state, {upper}_STATE_BYTES);\n\
           char *weights = guarded({upper}_WEIGHT_BYTES), *pack = guarded({upper}_PACK_ARENA_BYTES);\n\
           if ({name}_pack(weights, weights, pack) != 2) return 33;\n\
           if ({name}_pack(state, weights, pack)) return 34;\n\
           check(weights, {upper}_WEIGHT_BYTES);\n  check(pack, {upper}_PACK_ARENA_BYTES);\n\
           void *x = content(\"x\", {}), *y = memory({});\n\
           if ({name}_run(weights, memory({name}_arena_bytes({run_sizes})), {run_sizes}, x, y)) return 35;\n\
           put(\"y\", y, {});",
        run_input.len(),
        4 * run_output,
        4 * run_output
    );
    for (index, elements) in call.outputs.iter().enumerate() {
        let _ = writeln!(text, "  put(\"o{index}\", o{index}, {});", 4 * elements);
    }
    text + "  return 0;\n}\n"
}

/// Compiles and runs it; returns its status if that is not 0.
fn from_c(files: &ObjectFiles, call: &Call) -> Result<Trained, i32> {
    compiled(files, call, &program(files, call))
}

fn compiled(files: &ObjectFiles, call: &Call, text: &str) -> Result<Trained, i32> {
    let folder = tempfile::tempdir().unwrap();
    files.write(folder.path()).unwrap();
    for (index, bytes) in call.inputs.iter().enumerate() {
        std::fs::write(folder.path().join(format!("i{index}")), bytes).unwrap();
    }
    std::fs::write(folder.path().join("x"), &call.run.1).unwrap();
    let (status, _) = run_c(folder.path(), &files.name, text);
    if status != 0 {
        return Err(status);
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let numbers = |name: &str| -> Vec<f32> {
        read(name).chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    let outputs = (0..call.outputs.len()).map(|index| numbers(&format!("o{index}"))).collect();
    Ok(Trained { state: read("state"), outputs, run: numbers("y") })
}

/// Options whose learning rate is that of the C programs.
fn at_rate(options: TrainerOptions) -> TrainerOptions {
    let schedule = windlass::Schedule::constant(f64::from(RATE)).unwrap();
    options.schedule(schedule)
}

/// Compares a trainer after its steps with the state of a C program.
fn compare<N: AnyNetwork + Clone>(trainer: &Trainer<N>, trained: &Trained, what: &str) -> Outcome {
    let read = TrainedState::read(trainer.network(), trainer.options(), &trained.state)?;
    assert_eq!(read.steps(), STEPS as u64);
    let model = Model::of_parameters(trainer.network().clone(), read.parameters().clone(), &options(128))?;
    assert_eq!(all_bits(&model), all_bits(trainer.model()), "{what}");
    // The file is that of the trainer, with the optimiser's state.
    let folder = tempfile::tempdir()?;
    let (own, other) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    trainer.save(&own)?;
    read.save(&other)?;
    assert_eq!(std::fs::read(own)?, std::fs::read(other)?, "{what}");
    Ok(())
}

/// Every optimiser and clipping, with batch normalisation and dropout.
#[test]
fn steps_have_the_bits_of_the_trainer() -> Outcome {
    let sgd = |momentum, nesterov, weight_decay| Optimizer::Sgd { momentum, nesterov, weight_decay };
    let of = |optimizer| TrainerOptions::default().optimizer(optimizer).seed(5);
    let all = [
        of(Optimizer::sgd()),
        of(sgd(0.9, false, 0.0)),
        of(sgd(0.9, true, 0.01)),
        of(Optimizer::adam()),
        of(Optimizer::adam_w()),
        of(Optimizer::adam()).clip_norm(0.5).clip_value(0.1),
        of(sgd(0.5, false, 0.0)).frozen(["c2", "n1"]),
        of(Optimizer::sgd())
            .loss(Loss::CrossEntropyWith { label_smoothing: 0.1, weights: vec![1.0, 2.0, 0.5] }),
    ];
    let x = images(6 * STEPS, 3);
    let y = labels(6 * STEPS);
    for bits in available_vector_bits() {
        for (index, training) in all.iter().enumerate() {
            let model =
                Model::<Images>::with_parameters(Images::model(3)?.parameters().clone(), &options(bits))?;
            let embed = index % 2 == 1;
            let objects = ObjectOptions::default().vector_bits([bits]).embed(embed).train(training.clone());
            let files = model.object(&objects)?;
            assert_eq!((files.weights.is_none(), files.state.is_none()), (true, embed));
            let mut trainer = Trainer::new(model, at_rate(training.clone()))?;
            let mut last = None;
            for (x, y) in x.axis_chunks_iter(ndarray::Axis(0), 6).zip(y.chunks(6)) {
                last = Some(trainer.step(x, y)?);
            }
            let last = last.ok_or("there are steps")?;
            let norm = training.clip_norm.map(|_| 1);
            let call = Call {
                sizes: vec![6],
                inputs: vec![bytes_of(x.as_slice().unwrap()), bytes_of_tokens(&y)],
                outputs: [18, 1].into_iter().chain(norm).collect(),
                run: (vec![2], bytes_of(&x.as_slice().unwrap()[..144]), 6),
            };
            let what = format!("{bits} bits, {training:?}");
            let trained = from_c(&files, &call).map_err(|status| format!("{what}: status {status}"))?;
            compare(&trainer, &trained, &what)?;
            assert_eq!(trained.outputs[0], trainer.outputs(), "{what}");
            assert_eq!(trained.outputs[1], [last.loss], "{what}");
            assert_eq!(trained.outputs.get(2).map(|norm| norm[0]), last.gradient_norm, "{what}");
            let own = trainer.model().forward(&x.as_slice().unwrap()[..144])?;
            assert_eq!(trained.run, own.as_slice().unwrap(), "{what}");
        }
    }
    Ok(())
}

network! {
    /// Scores of five classes at each step.
    network Speech(frames: [T, 3]) -> [T, 5] { r: lstm(6); f: linear(5) }
}

/// Sequences of open length, and labels of another.
#[test]
fn sequences_are_aligned_as_by_the_trainer() -> Outcome {
    let training = TrainerOptions::default().loss(Loss::ctc()).optimizer(Optimizer::adam());
    let x = ndarray::Array4::from_shape_vec((STEPS, 2, 7, 3), noise(STEPS * 42, 5))?;
    let labels = ndarray::array![[1, 4, 4], [2, 3, 1]];
    let (lengths, steps) = ([3, 1], [7, 5]);
    for bits in available_vector_bits() {
        let model = Model::<Speech>::with_parameters(Speech::model(3)?.parameters().clone(), &options(bits))?;
        let files = model.object(&ObjectOptions::default().vector_bits([bits]).train(training.clone()))?;
        for limit in ["label_lengths_[batch], each from 0 to S", "step_lengths_[batch], each from 1 to T"] {
            assert!(files.header.contains(limit), "{}", files.header);
        }
        let mut trainer = Trainer::new(model, at_rate(training.clone()))?;
        for x in x.outer_iter() {
            trainer.step(x, LabelSequences::new(&labels, &lengths).with_steps(&steps))?;
        }
        let often = |values: &[i32]| bytes_of_tokens(&values.repeat(STEPS));
        let (labels, lengths) = (often(labels.as_slice().unwrap()), often(&lengths));
        let order = ["frames_", "labels_", "label_lengths_", "step_lengths_"];
        let places = order.map(|name| files.header.rfind(&format!("*{name},")).ok_or(name));
        assert!(places.is_sorted(), "{places:?} {}", files.header);
        let call = |steps: &[i32]| Call {
            sizes: vec![2, 7, 3],
            inputs: vec![bytes_of(x.as_slice().unwrap()), labels.clone(), lengths.clone(), often(steps)],
            outputs: vec![70, 1],
            run: (vec![2, 7], bytes_of(&x.as_slice().unwrap()[..42]), 70),
        };
        let trained = from_c(&files, &call(&steps)).map_err(|status| format!("status {status}"))?;
        compare(&trainer, &trained, &format!("{bits} bits"))?;
        assert_eq!(from_c(&files, &call(&[7, 8])).err(), Some(5));
    }
    Ok(())
}

/// States that recurrent layers carry from step to step are inputs and outputs of the step.
#[test]
fn states_are_carried_by_the_caller() -> Outcome {
    let training = TrainerOptions::default().carry_states(true);
    let model = Model::<Speech>::with_parameters(Speech::model(3)?.parameters().clone(), &options(128))?;
    let files = model.object(&ObjectOptions::default().vector_bits([128]).train(training.clone()))?;
    let x = ndarray::Array4::from_shape_vec((STEPS, 2, 7, 3), noise(STEPS * 42, 5))?;
    let labels = ndarray::Array2::from_shape_fn((2, 7), |(sample, step)| ((sample + 3 * step) % 5) as i32);
    let mut trainer = Trainer::new(model, at_rate(training))?;
    for x in x.outer_iter() {
        trainer.step(x, &labels)?;
    }
    let manifest: serde_json::Value = serde_json::from_str(&files.manifest)?;
    let names = |list: &str| -> Vec<String> {
        let list = manifest["training"][list].as_array().into_iter().flatten();
        list.map(|port| port["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (inputs, outputs) = (names("inputs"), names("outputs"));
    assert_eq!((inputs.len(), inputs.first().map(String::as_str)), (4, Some("frames")), "{inputs:?}");
    assert_eq!((outputs.len(), outputs.last().map(String::as_str)), (4, Some("loss")), "{outputs:?}");
    // The C program copies each state from the output to the input.
    let call = Call {
        sizes: vec![2, 7],
        inputs: inputs
            .iter()
            .map(|name| match name.as_str() {
                "frames" => bytes_of(x.as_slice().unwrap()),
                "labels" => bytes_of_tokens(&labels.as_slice().unwrap().repeat(STEPS)),
                _ => vec![0; STEPS * 2 * 6 * 4],
            })
            .collect(),
        outputs: outputs
            .iter()
            .map(|name| match name.as_str() {
                "loss" => 1,
                "output" => 70,
                _ => 12,
            })
            .collect(),
        run: (vec![2, 7], bytes_of(&x.as_slice().unwrap()[..42]), 70),
    };
    let mut text = program(&files, &call);
    for (input, name) in inputs.iter().enumerate().filter(|(_, name)| outputs.contains(name)) {
        let output = outputs.iter().position(|output| output == name).ok_or("a state")?;
        text = text.replace(&format!("(void *)(i{input} + step * 48)"), &format!("(void *)i{input}"));
        let end = "if (status) return status;\n";
        text = text.replace(end, &format!("{end}    memcpy(i{input}, o{output}, 48);\n"));
    }
    let trained = compiled(&files, &call, &text).map_err(|status| format!("status {status}"))?;
    compare(&trainer, &trained, "carried states")
}

#[test]
fn steps_refuse_what_they_cannot_use() -> Outcome {
    network! {
        network Normalized(x: [4]) -> [3] { f: linear(8); n: batch_norm; relu; g: linear(3) }
    }
    let model = Normalized::model(3)?;
    let files = model.object(&ObjectOptions::default().train(TrainerOptions::default()))?;
    let call = |batch: usize, label: i32| Call {
        sizes: vec![batch],
        inputs: vec![bytes_of(&noise(4 * batch * STEPS, 3)), bytes_of_tokens(&vec![label; batch * STEPS])],
        outputs: vec![3 * batch, 1],
        run: (vec![1], bytes_of(&[0.5; 4]), 3),
    };
    let status = |batch, label| from_c(&files, &call(batch, label)).err();
    assert_eq!([status(2, 2), status(2, 3), status(2, -1), status(1, 0)], [None, Some(5), Some(5), Some(6)]);
    let refused = |options: TrainerOptions| match model.object(&ObjectOptions::default().train(options)) {
        Err(Error::Object { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let checked = TrainerOptions::default().check_finite(true);
    assert_eq!(refused(checked), ObjectError::Training { setting: "check_finite" });
    let averaged = TrainerOptions::default().average(Average::Exponential { decay: 0.9 });
    assert_eq!(refused(averaged), ObjectError::Training { setting: "average" });
    let accumulated = TrainerOptions::default().accumulate(4);
    assert_eq!(refused(accumulated), ObjectError::Training { setting: "accumulate" });
    assert!(model.object(&ObjectOptions::default().train(TrainerOptions::default().accumulate(1))).is_ok());
    let softmax =
        TrainerOptions::default().loss(Loss::Ctc { blank: 0, per_label: true, zero_infinity: false });
    assert!(matches!(model.object(&ObjectOptions::default().train(softmax)), Err(Error::Autodiff { .. })));
    Ok(())
}

/// States of other trainings, or damaged ones, are not read.
#[test]
fn states_are_checked() -> Outcome {
    let model = Points::model(3)?;
    let adam = TrainerOptions::default().optimizer(Optimizer::adam());
    let state = model.object(&ObjectOptions::default().train(adam.clone()))?.state.ok_or("a state")?;
    let read = TrainedState::read(model.network(), &adam, &state)?;
    assert_eq!((read.steps(), read.parameters()), (0, model.parameters()));
    let message = |options: &TrainerOptions, state: &[u8]| {
        TrainedState::read(model.network(), options, state).unwrap_err().to_string()
    };
    assert!(message(&adam, &state[1..]).contains(&format!("{} bytes instead of", state.len() - 1)));
    assert!(message(&TrainerOptions::default(), &state).contains("bytes instead of"));
    let other = TrainerOptions::default().optimizer(Optimizer::adam_w());
    assert!(message(&other, &state).contains("another network, loss or optimiser"));
    let mut damaged = state.clone();
    damaged[100] ^= 1;
    assert!(message(&adam, &damaged).contains("checksum"));
    Ok(())
}
