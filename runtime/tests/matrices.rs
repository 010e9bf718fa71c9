//! Compiled products, masks, softmax and encodings of positions along axes of open size, compared with the interpreter at
//! every vector width, on one and two threads and between guard pages.

use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings, Real, run as interpret};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::Features;
use windlass_compiler::shape::{DType, Sizes};
use windlass_fuzz::engines::guard::Side;
use windlass_fuzz::engines::run::{run, run_between_guards, same_bits};
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
        for extents in [["T", "T", "T"], ["T", "9", "T"], ["T", "T", "20"], ["12", "T", "33"]] {
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
