//! Networks of sequences, whose length is an open size. They give the same bits as a network with a fixed length, and
//! agree with the interpreter.

use crate::support::numbers::{Outcome, all_bits, bits, noise};
use ndarray::{Array2, Array3, ArrayD};
use windlass::{
    Builder, DType, Dim, Dynamic, Error, Graph, GraphError, Input, Layer, Loss, Model, Network,
    NetworkProblem, Options, Polynomial, Sizes, Symbol, Trainer, TrainerOptions, network,
};
use windlass_compiler::dump::Dump;
use windlass_compiler::interp::{Array, Bindings, run};
use windlass_compiler::ops::reduce::ReduceKind;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::compile;
use windlass_runtime::executor::{Binding, Executor};

/// A network of sequences of any length, and the same with 1, 2, 7 and 64 steps.
macro_rules! taggers {
    ($($name:ident of $steps:tt),*) => {$(
        network! {
            network $name(frames: [$steps, 12]) -> [$steps, 5] {
                f1: linear(20); relu;
                f2: linear(9); tanh;
                dropout(0.25);
                f3: linear(5)
            }
        }
    )*};
}

taggers!(Tagger of T, Tagger1 of 1, Tagger2 of 2, Tagger7 of 7, Tagger64 of 64);

fn frames(batch: usize, steps: usize, features: usize) -> Array3<f32> {
    let values = noise(batch * steps * features, 5);
    Array3::from_shape_vec((batch, steps, features), values).unwrap()
}

fn labels(count: usize) -> Vec<i32> {
    (0..count).map(|step| (step * 7 % 5) as i32).collect()
}

/// A network's predictions for frames, and its parameters after some training steps, for one seed.
fn results<N>(frames: &Array3<f32>, options: &Options) -> (ArrayD<f32>, Vec<(String, Vec<u32>)>)
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    let model = Model::<N>::with_options(3, options).unwrap();
    let predicted = model.forward(frames).unwrap();
    let training = TrainerOptions::default().seed(9);
    let mut trainer = Trainer::new(model, training).unwrap();
    let labels = labels(frames.shape()[0] * frames.shape()[1]);
    for _ in 0..3 {
        trainer.step(frames, &labels).unwrap();
    }
    (predicted, all_bits(trainer.model()))
}

#[test]
fn an_open_length_gives_the_bits_of_a_fixed_one() {
    for threads in [1, 2] {
        let options = Options::default().threads(threads);
        for (batch, steps) in [(1, 1), (3, 1), (1, 2), (3, 2), (1, 7), (3, 7), (1, 64), (3, 64)] {
            let frames = frames(batch, steps, 12);
            let open = results::<Tagger>(&frames, &options);
            assert_eq!(open.0.shape(), [batch, steps, 5]);
            let fixed = match steps {
                1 => results::<Tagger1>(&frames, &options),
                2 => results::<Tagger2>(&frames, &options),
                7 => results::<Tagger7>(&frames, &options),
                _ => results::<Tagger64>(&frames, &options),
            };
            assert_eq!(
                bits(&open.0),
                bits(&fixed.0),
                "{batch} sequences of {steps} steps, {threads} threads"
            );
            assert_eq!(open.1, fixed.1, "{batch} sequences of {steps} steps, {threads} threads");
        }
    }
}

/// Sums, means, maxima, softmax and norms along axes; permuted axes; concatenated, sliced and padded steps.
fn along_axes() -> Result<Graph, Box<dyn std::error::Error>> {
    let mut builder = Builder::new("Axes");
    let (t, s): (Symbol, Symbol) = ("T".parse()?, "S".parse()?);
    let x = builder.input_of("x", DType::F32, [Dim::from(t), Dim::from(6)])?;
    let z = builder.input_of("z", DType::F32, [Dim::from(s), Dim::from(6)])?;
    let f = builder.layer("f1", &Layer::linear(6), x)?;
    let joined = builder.concat_along("j", 1, &[f, z])?;
    builder.output("joined", joined)?;
    let turned = builder.transpose("t", joined, &[0, 2, 1])?;
    let norm = builder.normalize_along("n", turned, 2, 1e-5)?;
    builder.output("norm", norm)?;
    let features = builder.normalize_along("m", joined, 2, 1e-3)?;
    let tail = Polynomial::from(t).plus(&Polynomial::from(s)).minus(&Polynomial::from(1usize));
    let tail = builder.slice("s", features, 1, 1usize, tail)?;
    let padded = builder.pad("p", tail, 1, 2usize, Polynomial::from(s))?;
    builder.output("padded", padded)?;
    let soft = builder.softmax_along("a", padded, 2)?;
    let flat = builder.reshape("r", soft, "[N, T*6 + S*12 + 6]".parse()?)?;
    builder.output("flat", flat)?;
    for (name, kind) in [("sum", ReduceKind::Sum), ("mean", ReduceKind::Mean), ("max", ReduceKind::Max)] {
        let steps = builder.reduce(name, soft, kind, &[1])?;
        let both = builder.reduce(name, norm, kind, &[1, 2])?;
        let last = builder.reduce(name, norm, kind, &[2])?;
        let first = builder.reduce(name, norm, kind, &[1])?;
        for (axes, value) in [("steps", steps), ("both", both), ("last", last), ("first", first)] {
            builder.output(&format!("{name}_{axes}"), value)?;
        }
    }
    Ok(builder.finish()?)
}

#[test]
fn what_works_along_axes_agrees_with_the_interpreter() -> Outcome {
    let graph = along_axes()?;
    let again: Graph = graph.to_string().parse()?;
    assert_eq!(graph, again);
    let model = Dynamic::new(graph.clone())?.model(1)?;
    for (batch, t, s) in [(1, 1, 1), (2, 1, 3), (1, 2, 1), (3, 7, 2), (2, 64, 33)] {
        let (x, z) = (frames(batch, t, 6), frames(batch, s, 6));
        let got = model.forward([("x", &x), ("z", &z)])?;
        let sizes = Sizes::from(batch).with("T".parse()?, t).with("S".parse()?, s);
        let mut bindings = Bindings::new();
        for (name, value) in model.parameters().to_named() {
            bindings.insert(name, Array::new(value.shape(), value.iter().map(|x| f64::from(*x)).collect()));
        }
        for (name, value) in [("x", &x), ("z", &z)] {
            let values = value.iter().map(|x| f64::from(*x)).collect();
            bindings.insert(name.to_owned(), Array::new(value.shape(), values));
        }
        let expected = run(&graph, sizes, &bindings)?.outputs;
        for (name, array) in got.iter() {
            let expected = &expected[name];
            assert_eq!(array.shape(), expected.sizes, "{name}");
            for (got, expected) in array.iter().zip(expected.real()) {
                let error = (f64::from(*got) - expected).abs();
                assert!(
                    error <= 2e-4 * (1.0 + expected.abs()),
                    "{name} at T = {t}, S = {s}: {got}, not {expected}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn inputs_agree_in_their_open_sizes() -> Outcome {
    let model = Dynamic::new(along_axes()?)?.model(1)?;
    let error =
        |x: &Array3<f32>, z: &Array3<f32>| model.forward([("x", x), ("z", z)]).unwrap_err().to_string();
    assert_eq!(
        error(&frames(2, 3, 6), &frames(1, 3, 6)),
        "the inputs of `Axes` differ in their batch size: `x` has 2, `z` has 1"
    );
    assert_eq!(
        error(&frames(2, 3, 5), &frames(2, 3, 6)),
        "the input `x` of `Axes` needs an array of shape [T, 6], or a batch of these along a first axis, but receives [2, 3, 5]"
    );
    let empty = Array3::zeros((2, 0, 6));
    assert!(error(&empty, &frames(2, 3, 6)).contains("needs an array of shape [T, 6]"));
    let tagger = Tagger::model(0)?;
    assert_eq!(
        tagger.forward(&[0.0; 24]).unwrap_err().to_string(),
        "the input `frames` of `Tagger` is a slice, which does not determine T in samples of shape [T, 12]; pass an array"
    );
    // A single sequence needs no batch axis.
    let one = Array2::zeros((4, 12));
    assert_eq!(tagger.forward(&one)?.shape(), [1, 4, 5]);
    Ok(())
}

#[test]
fn two_inputs_of_one_length_are_given_the_same() -> Outcome {
    let graph: Graph = r#"graph Both {
      %0 = input {name = "left", type = "f32[N, T, 2]"}
      %1 = input {name = "right", type = "f32[N, T, 2]"}
      %2 = binary(%0, %1) {kind = "add"}
      output "sum" = %2
    }"#
    .parse()?;
    let model = Dynamic::new(graph)?.model(0)?;
    let error = model.forward([("left", &frames(2, 3, 2)), ("right", &frames(2, 4, 2))]).unwrap_err();
    assert!(matches!(error, Error::UnequalSizes { left_size: 3, right_size: 4, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the inputs of `Both` differ in their size T: it is 3 in `left` and 4 in `right`; give both the same"
    );
    Ok(())
}

#[test]
fn a_size_that_no_input_tells_is_an_error() -> Outcome {
    let graph = |ty: &str| -> Result<Graph, GraphError> {
        let text =
            format!("graph Net {{\n%0 = input {{name = \"x\", type = \"{ty}\"}}\noutput \"y\" = %0\n}}");
        text.parse()
    };
    let error = Dynamic::new(graph("f32[N, T*2]")?).unwrap_err();
    assert!(matches!(error, Error::Network { problem: NetworkProblem::UnknownSize { .. }, .. }), "{error}");
    for ty in ["f32[T, 3]", "f32[N, N]", "f32[N, T - 1]", "f32[N + T, 3]", "f32[3, T]", "f32[N*N, 3]"] {
        assert!(graph(ty).is_err(), "{ty}");
    }
    Ok(())
}

#[test]
fn targets_of_steps_are_one_for_each() -> Outcome {
    let mut trainer = Trainer::new(Tagger::model(0)?, TrainerOptions::default())?;
    let frames = frames(2, 3, 12);
    let error = trainer.step(&frames, &labels(2)).unwrap_err();
    assert!(error.to_string().contains("6 labels, one per step"), "{error}");
    trainer.step(&frames, &labels(6))?;
    assert_eq!(trainer.output("output").ok_or("an output")?.shape(), [2, 3, 5]);
    // Values of every step, for the mean squared error.
    let options = TrainerOptions::default().loss(Loss::MeanSquaredError);
    let mut trainer = Trainer::new(Tagger::model(0)?, options)?;
    let first = trainer.step(&frames, &Array3::<f32>::zeros((2, 3, 5)))?.loss;
    assert!(trainer.step(&frames, &Array3::<f32>::zeros((2, 2, 5))).is_err());
    for _ in 0..200 {
        trainer.step(&frames, &Array3::<f32>::zeros((2, 3, 5)))?;
    }
    assert!(trainer.step(&frames, &Array3::<f32>::zeros((2, 3, 5)))?.loss < first / 2.0);
    Ok(())
}

#[test]
fn memory_is_told_for_every_length() -> Outcome {
    let model = Tagger::model(0)?;
    let of = |steps: usize| -> Result<usize, Box<dyn std::error::Error>> {
        Ok(model.memory(Sizes::from(2).with("T".parse()?, steps)).batched)
    };
    assert_eq!(of(70)?, 10 * of(7)?);
    Ok(())
}

#[test]
fn what_does_not_fit_along_axes_is_an_error() -> Outcome {
    let mut builder = Builder::new("Net");
    let steps: Symbol = "T".parse()?;
    let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(6)])?;
    let refused = |error: Result<_, GraphError>, message: &str| {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    let order = builder.transpose("t", x, &[1, 0, 2]);
    refused(order, "the order [1, 0, 2], but [N, T, 6] has the axes 0 to 2, and the batch must stay first");
    refused(builder.transpose("t", x, &[0, 1, 1]), "the order [0, 1, 1]");
    refused(builder.slice("s", x, 1, 0usize, 2usize), "takes 0..2 of axis 1, which [T, 6] does not have");
    refused(builder.slice("s", x, 1, 0usize, Polynomial::from(steps).scaled(2)), "takes 0..T*2 of axis 1");
    refused(builder.slice("s", x, 2, 1usize, 0usize), "empty");
    refused(builder.pad("p", x, 1, Polynomial::from(-1i64), 0usize), "has `before`");
    refused(builder.pad("p", x, 0, 1usize, 1usize), "has no axis 0");
    refused(builder.reduce("r", x, ReduceKind::Sum, &[0]), "has no axis 0");
    refused(builder.reduce("r", x, ReduceKind::Sum, &[1, 1]), "has no axis 1");
    refused(builder.softmax_along("s", x, 3), "has no axis 3");
    refused(builder.normalize_along("n", x, 1, 0.0), "has `epsilon` 0");
    refused(builder.reshape("r", x, "[N, T*5]".parse()?), "a different number of elements");
    refused(
        builder
            .concat_along("c", 2, &[x, x, x])
            .and_then(|x| builder.reshape("r", x, "[N, T]".parse().unwrap())),
        "a different number of elements",
    );
    // A ninth size in addition to N and seven others.
    for name in ["A", "B", "C", "D", "E", "F"] {
        let size: Symbol = name.parse()?;
        builder.input_of(&name.to_lowercase(), DType::F32, [Dim::from(size)])?;
    }
    let ninth = builder.input_of("g", DType::F32, [Dim::from("G".parse::<Symbol>()?)]);
    refused(ninth, "an open size beyond the 8 that a network may have");
    Ok(())
}

#[test]
fn runs_need_a_value_for_every_open_size() -> Outcome {
    let model = Tagger::model(0)?;
    let executor =
        Executor::new(compile(Tagger::graph(), Mode::Inference, &Default::default(), &Dump::none())?.0)?;
    let error = executor.start(2).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "a run of `Tagger` needs a size of at least 1 for T, which has none");
    let error = executor.start(Sizes::from(2).with("T".parse()?, 0)).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "a run of `Tagger` needs a size of at least 1 for T, not 0");
    let huge = Sizes::from(usize::MAX).with("T".parse()?, usize::MAX);
    assert_eq!(model.memory(&huge).batched, usize::MAX);
    let mut run = executor.start(huge)?;
    assert!(run.bind(0, Binding::Floats(&[0.0; 24])).is_err());
    let error = windlass_compiler::interp::run(Tagger::graph(), 1, &Bindings::<f32>::new()).unwrap_err();
    assert_eq!(error.to_string(), "the input `frames` needs a size of at least 1 for T");
    Ok(())
}
