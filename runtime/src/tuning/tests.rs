use windlass_compiler::autodiff::{TrainingOptions, training_graph};
use windlass_compiler::graph::{Builder, Layer};
use windlass_compiler::interp::{Array, Bindings, run};
use windlass_compiler::ops::window::Window;
use windlass_compiler::plan::{Accuracy, SlotKind, Verdict};

use super::*;
use crate::executor::Binding;
use crate::forward::compile_executor;

const DIRECT: Convolution = Convolution::Direct;
const TWO: Convolution = Convolution::Winograd(2);
const FOUR: Convolution = Convolution::Winograd(4);

/// Three convolutions with a choice, two of them equal, and one without.
fn network() -> Graph {
    let mut builder = Builder::new("net");
    let mut value = builder.input("x", &[8, 10, 9]).unwrap();
    for (label, kernel_size) in [("c1", 3), ("c2", 3), ("c3", 5), ("c4", 1)] {
        let layer = Layer::conv(8, Window::square(kernel_size, 1, kernel_size / 2));
        value = builder.layer(label, &layer, value).unwrap();
    }
    let value = builder.layer("f", &Layer::Flatten, value).unwrap();
    let value = builder.layer("f5", &Layer::linear(3), value).unwrap();
    builder.output("y", value).unwrap();
    builder.finish().unwrap()
}

fn long() -> Tuning {
    Tuning::default().budget(Duration::MAX).cache(Cache::none())
}

fn serial() -> Options {
    Options::default().threads(1)
}

fn algorithms(tuned: &Tuned) -> Vec<(&str, Convolution)> {
    tuned.findings.iter().map(|finding| (finding.key.as_str(), finding.algorithm)).collect()
}

/// The planner's decisions and their reasons.
fn taken(options: &Options) -> Vec<(Convolution, Verdict)> {
    let (_, plan) = plan_optimized(&network(), Mode::Inference, &options.compile).unwrap();
    let candidates = plan.choices.0.into_iter().flat_map(|choice| choice.candidates);
    let taken = candidates.filter(|candidate| candidate.verdict.is_taken());
    taken.map(|candidate| (candidate.algorithm, candidate.verdict)).collect()
}

#[test]
fn measures_each_distinct_convolution_once() {
    let tuned = long().for_graph(&network(), Mode::Inference, &serial()).unwrap();
    assert!(tuned.problems.is_empty());
    assert_eq!(tuned.findings.len(), 2, "{tuned}");
    for finding in &tuned.findings {
        let Source::Measured(times) = &finding.source else { panic!("{finding:?}") };
        assert_eq!(times.iter().map(|(algorithm, _)| *algorithm).collect::<Vec<_>>(), [DIRECT, TWO, FOUR]);
        assert!(times.iter().all(|(_, time)| *time > Duration::ZERO), "{finding:?}");
        assert!(finding.key.contains("weights prepacked"), "{}", finding.key);
    }
    let plan = &tuned.options.compile.plan;
    assert_eq!(plan.tuned.len(), 2);
    // Three of them, two equal.
    let taken = taken(&tuned.options);
    assert_eq!(taken.len(), 3);
    assert!(taken.iter().all(|(_, verdict)| *verdict == Verdict::MeasuredFastest), "{taken:?}");
    assert_eq!(taken[0], taken[1]);
}

#[test]
fn measures_gradients_of_training() {
    let graph = training_graph(&network(), &TrainingOptions::default()).unwrap();
    let tuned = long().batch(2).for_graph(&graph, Mode::Training, &serial()).unwrap();
    let of = |operator: &str| tuned.findings.iter().filter(|one| one.key.starts_with(operator)).count();
    // The first convolution needs no gradient to its input; the second has the shapes of the third's.
    assert_eq!((of("conv("), of("conv_grad_input("), of("conv_grad_weight(")), (2, 2, 2), "{tuned}");
    assert!(tuned.findings.iter().all(|finding| finding.key.contains("weights changing")), "{tuned:?}");
    assert!(tuned.findings.iter().all(|finding| matches!(finding.source, Source::Measured(_))), "{tuned}");
}

#[test]
fn what_was_given_stays() {
    let first = long().for_graph(&network(), Mode::Inference, &serial()).unwrap();
    let graph = training_graph(&network(), &TrainingOptions::default()).unwrap();
    let both = long().budget(Duration::ZERO).for_graph(&graph, Mode::Training, &first.options).unwrap();
    assert_eq!(both.options, first.options);
    let again = long().for_graph(&network(), Mode::Inference, &first.options).unwrap();
    assert!(again.findings.iter().all(|finding| finding.source == Source::Remembered), "{again}");
    assert_eq!(again.options, first.options);
}

#[test]
fn without_time_the_model_chooses() {
    let tuning = long().budget(Duration::ZERO);
    let tuned = tuning.for_graph(&network(), Mode::Inference, &serial()).unwrap();
    assert!(tuned.findings.iter().all(|finding| finding.source == Source::OutOfTime), "{tuned}");
    assert_eq!(tuned.options, serial());
}

#[test]
fn a_file_remembers_from_one_time_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(directory.path().join("tuning.json"));
    let first = long().cache(cache.clone()).for_graph(&network(), Mode::Inference, &serial()).unwrap();
    assert!(first.problems.is_empty(), "{first}");
    let hurried = Tuning::default().budget(Duration::ZERO).cache(cache);
    let second = hurried.for_graph(&network(), Mode::Inference, &serial()).unwrap();
    assert!(second.findings.iter().all(|finding| finding.source == Source::Remembered), "{second}");
    assert_eq!(algorithms(&first), algorithms(&second));
    assert_eq!(first.options, second.options);
    // Other batch sizes and thread counts are separate entries.
    let others = [(hurried.clone().batch(2), serial()), (hurried, serial().threads(2))];
    for (tuning, options) in others {
        let other = tuning.for_graph(&network(), Mode::Inference, &options).unwrap();
        assert!(other.findings.iter().all(|finding| finding.source == Source::OutOfTime), "{other}");
    }
}

#[test]
fn a_broken_file_is_told_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tuning.json");
    std::fs::write(&path, "{").unwrap();
    let tuning = long().cache(Cache::at(&path));
    let tuned = tuning.for_graph(&network(), Mode::Inference, &serial()).unwrap();
    assert!(matches!(tuned.problems[..], [CacheProblem::Malformed { .. }]), "{:?}", tuned.problems);
    assert!(tuned.to_string().contains("holds no measurements"), "{tuned}");
    assert!(tuned.findings.iter().all(|finding| matches!(finding.source, Source::Measured(_))));
    let again = tuning.for_graph(&network(), Mode::Inference, &serial()).unwrap();
    assert!(again.problems.is_empty(), "{again}");
    assert_eq!(algorithms(&tuned), algorithms(&again));
}

/// A file may name an impossible algorithm: by manual edits, or by a key collision.
#[test]
fn an_impossible_memory_is_measured_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(directory.path().join("tuning.json"));
    let first = long().for_graph(&network(), Mode::Inference, &serial()).unwrap();
    let tuning = long().cache(cache.clone());
    for impossible in [Convolution::Winograd(7), Convolution::Im2col, Convolution::ByCost] {
        let entries = first.findings.iter().map(|finding| (tuning.cache_key(&finding.key), impossible));
        cache.add(&cpu_name(), &entries.collect()).unwrap();
        let tuned = tuning.for_graph(&network(), Mode::Inference, &serial()).unwrap();
        assert!(
            tuned.findings.iter().all(|finding| matches!(finding.source, Source::Measured(_))),
            "{tuned}"
        );
    }
}

#[test]
fn where_there_is_no_choice_there_is_nothing_to_tune() {
    let mut strict = serial();
    strict.compile.plan.accuracy = Accuracy::Strict;
    let mut forced = serial();
    forced.compile.plan.convolution = TWO;
    for options in [strict, forced] {
        let tuned = long().for_graph(&network(), Mode::Inference, &options).unwrap();
        assert!(tuned.findings.is_empty(), "{tuned}");
        assert_eq!(tuned.options, options);
    }
}

#[test]
fn mistakes_are_told() {
    let none = long().batch(0).for_graph(&network(), Mode::Inference, &serial());
    assert!(matches!(none, Err(Error::EmptyBatch { .. })), "{none:?}");
    let mut narrow = serial();
    narrow.compile.plan.vector_bits = Some(0);
    let refused = long().for_graph(&network(), Mode::Inference, &narrow);
    assert!(matches!(refused, Err(Error::Compile { .. })), "{refused:?}");
}

#[test]
fn the_model_is_right_unless_another_is_clearly_faster() {
    let times =
        |of: [u64; 3]| [DIRECT, TWO, FOUR].into_iter().zip(of.map(Duration::from_micros)).collect::<Vec<_>>();
    assert_eq!(fastest(&times([100, 96, 110]), DIRECT), DIRECT);
    assert_eq!(fastest(&times([100, 94, 110]), DIRECT), TWO);
    assert_eq!(fastest(&times([100, 90, 80]), DIRECT), FOUR);
    assert_eq!(fastest(&times([100, 90, 80]), FOUR), FOUR);
}

/// Pseudorandom numbers between −½ and ½.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    (0..count).map(next).collect()
}

/// Any measured algorithm is used and gives correct results, and strict accuracy overrides it.
#[test]
fn a_tuned_choice_is_obeyed_and_right() {
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[8, 10, 9]).unwrap();
    let y = builder.layer("c1", &Layer::conv(16, Window::square(3, 1, 1)), x).unwrap();
    builder.output("y", y).unwrap();
    let graph = builder.finish().unwrap();
    let (x, weight, bias) = (noise(2 * 8 * 90, 1), noise(16 * 8 * 9, 2), noise(16, 3));
    let bindings = Bindings::from([
        ("x".to_owned(), Array::new([2, 8, 10, 9], x.clone()).convert::<f64>()),
        ("c1.weight".to_owned(), Array::new([16, 8, 3, 3], weight.clone()).convert()),
        ("c1.bias".to_owned(), Array::new([16], bias.clone()).convert()),
    ]);
    let expected = run(&graph, 2, &bindings).unwrap().outputs.remove("y").unwrap();
    let largest = expected.real().iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));

    let hurried = long().budget(Duration::ZERO);
    let key = hurried.for_graph(&graph, Mode::Inference, &serial()).unwrap().findings.remove(0).key;
    for (accuracy, measured, note) in [
        (Accuracy::Default, DIRECT, "direct"),
        (Accuracy::Default, TWO, "Winograd F(2x2, 3x3)"),
        (Accuracy::Default, FOUR, "Winograd F(4x4, 3x3)"),
        (Accuracy::Strict, TWO, "direct"),
        (Accuracy::Strict, FOUR, "direct"),
    ] {
        let mut options = serial();
        options.compile.plan.accuracy = accuracy;
        options.compile.plan.tuned.insert(key.clone(), measured);
        let (executor, _) = compile_executor(&graph, Mode::Inference, &options).unwrap();
        let steps = executor.program().run_steps();
        assert!(steps.iter().any(|step| step.note.starts_with(note)), "{measured}: {steps:?}");
        let mut y = vec![0.0; 2 * 16 * 90];
        let mut started = executor.start(2).unwrap();
        for (place, slot) in executor.slots().iter().enumerate() {
            let values = match slot.name.as_str() {
                "x" => &x,
                "c1.weight" => &weight,
                "c1.bias" => &bias,
                _ => continue,
            };
            started.bind(place, Binding::Floats(values)).unwrap();
        }
        let place = executor.slot(SlotKind::Output, "y").unwrap();
        started.bind(place, Binding::Written(&mut y)).unwrap();
        started.execute(0).unwrap();
        // The bound that `Accuracy::Default` states.
        for (got, expected) in y.iter().zip(expected.real()) {
            let error = (f64::from(*got) - expected).abs();
            assert!(error <= 2e-5 * largest, "{measured}: {got} is not {expected}");
        }
    }
}
