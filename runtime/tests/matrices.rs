//! Compiled products, masks, softmax and encodings of positions along axes of open size, and the training step of a
//! transformer block, compared with the interpreter at
//! every vector width, on one and two threads and between guard pages.

use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, training_graph};
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{AttentionMask, Builder, Graph, Heads, Layer};
use windlass_compiler::interp::{Array, Bindings, Real, run as interpret};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::Features;
use windlass_compiler::shape::{DType, Dim, Sizes, Symbol};
use windlass_fuzz::engines::guard::Side;
use windlass_fuzz::engines::run::{run, run_between_guards, same_bits};
use windlass_fuzz::values::{Values, sources};
use windlass_runtime::executor::Executor;

/// Every available width, and code without fused multiply-adds, on one and two threads.
fn variants() -> Vec<CompileOptions> {
    let widths = available_vector_bits().into_iter().map(|bits| (Some(bits), Features::Native));
    let all = widths.chain([(Some(128), Features::Baseline)]);
    let threads = |(vector_bits, features)| {
        [1, 2].map(|threads| {
            let mut options = CompileOptions::default();
            options.plan.vector_bits = vector_bits;
            options.plan.features = features;
            options.plan.threads = threads;
            options
        })
    };
    all.flat_map(threads).collect()
}

fn sizes(batch: usize, open: &[(&str, usize)]) -> Sizes {
    open.iter().fold(Sizes::from(batch), |sizes, (name, size)| sizes.with(name.parse().unwrap(), *size))
}

/// Numbers for the inputs of a graph: `number` gets a counter. Integers are at most `largest`.
fn numbers(graph: &Graph, sizes: &Sizes, largest: usize, number: impl Fn(usize) -> f64) -> Bindings<f64> {
    let mut bindings = Bindings::new();
    for (value, input) in graph.inputs() {
        let ty = graph.ty(value);
        let extents = ty.shape.concrete(sizes);
        let count: usize = extents.iter().product();
        let seed = 31 * bindings.len();
        let array = match ty.dtype {
            DType::I32 => {
                Array::ints(extents, (0..count).map(|i| ((i * 5 + 3) % (largest + 2)) as i32 - 1).collect())
            }
            DType::F32 => Array::new(extents, (0..count).map(|i| number(i + seed)).collect()),
        };
        bindings.insert(input.name.clone(), array);
    }
    bindings
}

/// Integers between −3 and 3: sums of their products are exact.
fn integer(index: usize) -> f64 {
    (index * index * 7 + index * 3) as f64 % 7.0 - 3.0
}

/// Numbers between −2 and 2, exact in f32.
fn real(index: usize) -> f64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 41;
    mixed as f64 / (1u64 << 21) as f64 - 2.0
}

fn outputs<T: Real>(graph: &Graph, sizes: &Sizes, sources: &Bindings<f64>) -> Vec<(String, Vec<f64>)> {
    let bindings: Bindings<T> = sources.iter().map(|(name, array)| (name.clone(), array.convert())).collect();
    let outcome = interpret(graph, sizes.clone(), &bindings).unwrap();
    let reals = |array: Array<T>| array.real().iter().map(|&number| number.to_f64()).collect();
    outcome.outputs.into_iter().map(|(name, array)| (name, reals(array))).collect()
}

/// Compiles a graph with every variant and runs it at all sizes, twice: as it is and between guard pages. `bound` is `None`
/// for exact results.
#[track_caller]
fn check(text: &str, runs: &[Sizes], largest: usize, bound: Option<f64>) {
    let graph: Graph = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    let number = if bound.is_some() { real } else { integer };
    let cases: Vec<_> = runs
        .iter()
        .map(|sizes| {
            let sources = numbers(&graph, sizes, largest, number);
            let expected = match bound {
                Some(_) => outputs::<f64>(&graph, sizes, &sources),
                None => outputs::<f32>(&graph, sizes, &sources),
            };
            (sizes, sources, expected)
        })
        .collect();
    for options in variants() {
        let what = format!(
            "{:?} bits, {:?}, {} threads",
            options.plan.vector_bits, options.plan.features, options.plan.threads
        );
        let (program, _) = compile(&graph, Mode::Inference, &options, &Dump::from_environment())
            .unwrap_or_else(|error| panic!("{what}: {error}\n{text}"));
        let executor = Executor::new(program).unwrap().parallelize_every_step();
        for (sizes, sources, expected) in &cases {
            let results = run(&executor, sizes, sources, 0, |slot| slot % 3);
            let side = if options.plan.threads == 1 { Side::End } else { Side::Start };
            let guarded = run_between_guards(executor.program(), sizes, sources, side, true)
                .unwrap_or_else(|breach| panic!("{what} at {sizes:?}: {breach}"));
            assert!(same_bits(&results, &guarded), "{what} at {sizes:?}: other bits between guard pages");
            for (name, expected) in expected {
                for (index, (&got, &expected)) in results[name].iter().zip(expected).enumerate() {
                    let agrees = match bound {
                        None => f64::from(got) == expected,
                        Some(bound) => (f64::from(got) - expected).abs() <= bound,
                    };
                    assert!(
                        agrees,
                        "{what} at {sizes:?}: {name}[{index}] is {got:?}, not {expected:?}\n{text}"
                    );
                }
            }
        }
    }
}

/// A product of matrices `[rows, steps]` and `[steps, columns]`, stored as the flags say.
fn product([rows, steps, columns]: [&str; 3], [left, right]: [bool; 2]) -> String {
    let matrix = |transposed: bool, first: &str, second: &str| match transposed {
        false => format!("f32[2*N, {first}, {second}]"),
        true => format!("f32[2*N, {second}, {first}]"),
    };
    format!(
        "graph product {{
            %0 = input {{name = \"a\", type = \"{}\"}}
            %1 = input {{name = \"b\", type = \"{}\"}}
            %2 = matmul(%0, %1) {{transpose_left = {left}, transpose_right = {right}}}
            output \"c\" = %2
        }}",
        matrix(left, rows, steps),
        matrix(right, steps, columns)
    )
}

const TRANSPOSED: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

#[test]
fn products_of_fixed_sizes() {
    for flags in TRANSPOSED {
        for extents in
            [["1", "1", "1"], ["5", "3", "7"], ["17", "16", "33"], ["33", "65", "16"], ["64", "20", "50"]]
        {
            check(&product(extents, flags), &[sizes(1, &[]), sizes(3, &[])], 0, None);
        }
    }
}

#[test]
fn products_of_open_sizes() {
    let lengths = [1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 50, 64, 65];
    let square: Vec<Sizes> = lengths.iter().map(|&t| sizes(1 + t % 2, &[("T", t)])).collect();
    let both: Vec<Sizes> =
        lengths.iter().map(|&t| sizes(1, &[("T", t), ("S", (t * 7 + 4) % 40 + 1)])).collect();
    for flags in TRANSPOSED {
        for extents in [
            ["T", "T", "T"],
            ["T", "9", "T"],
            ["T", "T", "20"],
            ["12", "T", "33"],
            ["31", "5", "T"],
            ["37", "T", "T"],
        ] {
            check(&product(extents, flags), &square, 0, None);
        }
        for extents in [["T", "8", "S"], ["T", "S", "8"], ["S", "T", "T"], ["T", "S", "T + S"]] {
            check(&product(extents, flags), &both, 0, None);
        }
    }
}

#[test]
fn fixed_and_open_sizes_give_the_same_bits() {
    for flags in TRANSPOSED {
        let open: Graph = product(["T", "19", "T"], flags).parse().unwrap();
        let fixed: Graph = product(["37", "19", "37"], flags).parse().unwrap();
        let open_steps: Graph = product(["37", "T", "9"], flags).parse().unwrap();
        let fixed_steps: Graph = product(["37", "37", "9"], flags).parse().unwrap();
        for options in variants() {
            for [open, fixed] in [[&open, &fixed], [&open_steps, &fixed_steps]] {
                let sizes = sizes(2, &[("T", 37)]);
                let sources = numbers(fixed, &sizes, 0, real);
                let results = [open, fixed].map(|graph| {
                    let (program, _) = compile(graph, Mode::Inference, &options, &Dump::none()).unwrap();
                    run(&Executor::new(program).unwrap(), &sizes, &sources, 0, |_| 0)
                });
                assert!(same_bits(&results[0], &results[1]), "{options:?}");
            }
        }
    }
}

#[test]
fn masks_of_any_length() {
    for (rows, positions) in [("T", "S"), ("T", "T"), ("5", "17"), ("T", "12")] {
        let text = format!(
            "graph masks {{
                %0 = input {{name = \"x\", type = \"f32[N, 3, {rows}, {positions}]\"}}
                %1 = input {{name = \"lengths\", type = \"i32[N]\"}}
                %2 = mask(%0) {{masked = \"causal\", fill = \"lowest\"}}
                %3 = mask(%0, %1) {{masked = \"lengths\", fill = \"zero\"}}
                output \"causal\" = %2
                output \"padded\" = %3
            }}"
        );
        let runs: Vec<Sizes> = [(1, 1), (2, 5), (7, 16), (16, 17), (65, 33)]
            .map(|(t, s)| sizes(4, &[("T", t), ("S", s)]))
            .into();
        check(&text, &runs, 20, None);
    }
}

#[test]
fn softmax_of_open_length() {
    for op in ["softmax", "log_softmax"] {
        let text = format!(
            "graph softmax {{
                %0 = input {{name = \"x\", type = \"f32[N*T, S]\"}}
                %1 = input {{name = \"g\", type = \"f32[N*T, S]\"}}
                %4 = input {{name = \"t\", type = \"f32[N, T]\"}}
                %5 = input {{name = \"s\", type = \"f32[N, S]\"}}
                %2 = {op}(%0)
                %3 = {op}_grad(%1, %2)
                output \"y\" = %2
                output \"dx\" = %3
                output \"t again\" = %4
                output \"s again\" = %5
            }}"
        );
        let runs: Vec<Sizes> = [1, 2, 3, 7, 16, 17, 33, 65].map(|s| sizes(2, &[("T", 3), ("S", s)])).into();
        check(&text, &runs, 0, Some(4e-5));
    }
}

#[test]
fn positions_of_any_length() {
    for (steps, features) in [("T", 1), ("T", 16), ("T", 37), ("9", 8)] {
        let text = format!(
            "graph positions {{
                %0 = input {{name = \"x\", type = \"f32[N, {steps}, {features}]\"}}
                %1 = add_positions(%0)
                output \"y\" = %1
            }}"
        );
        let runs: Vec<Sizes> = [1, 2, 17, 64, 65, 1000].map(|t| sizes(2, &[("T", t)])).into();
        check(&text, &runs, 0, Some(2e-6));
    }
}

/// An encoder block and a decoder block that attends to it, on sequences of open lengths.
fn transformer() -> Graph {
    let build = || -> Result<Graph, GraphError> {
        let mut builder = Builder::new("transformer");
        let open = |name: &str| Dim::from(name.parse::<Symbol>().unwrap());
        let x = builder.input_of("x", DType::F32, [open("T"), Dim::from(12)])?;
        let y = builder.input_of("y", DType::F32, [open("S"), Dim::from(12)])?;
        let lengths = builder.input_of("lengths", DType::I32, [])?;
        let encoded = builder.layer("positions", &Layer::PositionalEncoding, x)?;
        let padded = AttentionMask { causal: false, lengths: Some(lengths) };
        let seen = builder.multi_head_attention("own", [encoded; 3], &Heads::new(3), &padded)?;
        let sum = builder.add("", seen, encoded)?;
        let norm = Layer::LayerNorm { epsilon: 1e-5, affine: true };
        let normal = builder.layer("norm", &norm, sum)?;
        let up = builder.layer("up", &Layer::linear(20), normal)?;
        let up = builder.layer("", &Layer::Relu, up)?;
        let down = builder.layer("down", &Layer::linear(12), up)?;
        let memory = builder.add("", down, normal)?;
        let causal = AttentionMask { causal: true, lengths: None };
        let own = builder.multi_head_attention("decoder", [y; 3], &Heads::new(2), &causal)?;
        let context =
            builder.multi_head_attention("cross", [own, memory, memory], &Heads::new(4), &padded)?;
        let added = builder.additive_attention("additive", [context, memory, memory], 5, &padded)?;
        builder.output("scores", added)?;
        builder.finish()
    };
    build().unwrap()
}

#[test]
fn a_transformer_and_its_training_step_at_any_length() {
    let network = transformer();
    let training = TrainingOptions::default().loss(Loss::MeanSquaredError).optimizer(Optimizer::sgd());
    let step = training_graph(&network, &training).unwrap();
    let runs: Vec<Sizes> = [(1, 1), (2, 3), (7, 5), (16, 17), (33, 9), (5, 64), (65, 65)]
        .map(|(t, s)| sizes(3, &[("T", t), ("S", s)]))
        .into();
    for (graph, mode) in [(&network, Mode::Inference), (&step, Mode::Training)] {
        let cases: Vec<_> = runs
            .iter()
            .map(|sizes| {
                let mut sources = sources(graph, sizes, Values::Reals, 11);
                let lengths = [sizes.get("T".parse().unwrap()).unwrap() as i32, 1, 0];
                sources.insert("lengths".to_owned(), Array::ints([3], lengths.to_vec()));
                let outcome = interpret(graph, sizes.clone(), &sources).unwrap();
                let expected: Vec<(String, Vec<f64>)> = outcome
                    .outputs
                    .into_iter()
                    .chain(outcome.updates)
                    .map(|(name, array)| (name, array.real().to_vec()))
                    .collect();
                (sizes, sources, expected)
            })
            .collect();
        for options in variants() {
            let what = format!("{:?} bits, {} threads", options.plan.vector_bits, options.plan.threads);
            let (program, _) = compile(graph, mode, &options, &Dump::from_environment())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let executor = Executor::new(program).unwrap().parallelize_every_step();
            for (sizes, sources, expected) in &cases {
                let results = run(&executor, sizes, sources, 0, |slot| slot % 2);
                let guarded = run_between_guards(executor.program(), sizes, sources, Side::End, false)
                    .unwrap_or_else(|breach| panic!("{what} at {sizes:?}: {breach}"));
                assert!(same_bits(&results, &guarded), "{what} at {sizes:?}: other bits between guard pages");
                for (name, expected) in expected {
                    let scale = expected.iter().fold(1.0, |scale: f64, number| scale.max(number.abs()));
                    for (index, (&got, expected)) in results[name].iter().zip(expected).enumerate() {
                        let error = (f64::from(got) - expected).abs();
                        let what = || format!("{what} at {sizes:?}: {name}[{index}]");
                        assert!(error <= 1e-4 * scale, "{} is {got}, not {expected}", what());
                    }
                }
            }
        }
    }
}
