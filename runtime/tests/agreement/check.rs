//! Runs a graph compiled and interpreted, on the same numbers, and compares every output and every update.

use std::collections::HashMap;

use windlass_compiler::codegen::Program;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings, Data, Real, run};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::SlotKind;
use windlass_compiler::shape::DType;
use windlass_runtime::executor::{Binding, Executor};

/// How the results must agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Agreement {
    /// Bit for bit with the f32 interpreter.
    Exact,
    /// Within a bound of the f64 interpreter, relative to the largest element of each result.
    Within(f64),
}

/// Numbers every source is bound to.
pub(crate) type Sources = Bindings<f64>;

/// A generator of small test numbers: 64-bit linear congruential, the upper bits.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// An integer between −3 and 3.
    pub(crate) fn integer(&mut self) -> f64 {
        self.below(7) as f64 - 3.0
    }

    /// A number between −1 and 1 that f32 holds exactly.
    pub(crate) fn real(&mut self) -> f64 {
        f64::from((self.below(1 << 23) as f32) / (1 << 22) as f32 - 1.0)
    }
}

/// Values for every source of a graph: integers or reals for floats, labels below the number of classes for `labels`.
pub(crate) fn sources(graph: &Graph, batch: usize, exact: bool, seed: u64) -> Sources {
    let mut numbers = Numbers::new(seed);
    let mut bindings: Sources = HashMap::new();
    let mut floats = |name: &str, sizes: Vec<usize>| {
        let count = sizes.iter().product();
        let values: Vec<f64> = (0..count)
            .map(|_| match (name, exact) {
                ("learning_rate", _) => 0.5,
                ("correction", _) => 0.25,
                (_, true) => numbers.integer(),
                _ if name.ends_with("running_var") || name.contains("second_moment") => {
                    numbers.real().abs() + 0.5
                }
                (_, false) => numbers.real(),
            })
            .collect();
        Array::new(sizes, values)
    };
    for (value, input) in graph.inputs() {
        let ty = graph.ty(value);
        let sizes = ty.shape.concrete(batch);
        let array = match (ty.dtype, input.name.as_str()) {
            (DType::F32, name) => floats(name, sizes),
            (DType::I32, "seed") => Array::ints(sizes, vec![7, 3]),
            (DType::I32, _) => {
                let classes = graph.outputs()[0].value;
                let classes = graph.ty(classes).shape.item()[0] as i32;
                let count: usize = sizes.iter().product();
                Array::ints(sizes, (0..count as i32).map(|index| (index * 7 + 1) % classes).collect())
            }
        };
        bindings.insert(input.name.clone(), array);
    }
    for (_, parameter) in graph.parameters() {
        bindings.insert(parameter.name.clone(), floats(&parameter.name, parameter.shape.item()));
    }
    for (_, state) in graph.states() {
        bindings.insert(state.name.clone(), floats(&state.name, state.shape.item()));
    }
    bindings
}

/// Every output and every updated source after a compiled run.
pub(crate) fn run_compiled(
    graph: &Graph,
    mode: Mode,
    options: &CompileOptions,
    batch: usize,
    sources: &Sources,
) -> HashMap<String, Vec<f32>> {
    let (program, _) = compile(graph, mode, options, &Dump::from_environment()).unwrap();
    run_program(program, batch, sources, 1).pop().unwrap()
}

/// Runs a program several times from the same sources; gives the results of each run.
pub(crate) fn run_program(
    program: Program,
    batch: usize,
    sources: &Sources,
    runs: usize,
) -> Vec<HashMap<String, Vec<f32>>> {
    let executor = Executor::new(program).unwrap();
    (0..runs)
        .map(|_| {
            let slots = executor.slots().to_vec();
            let mut floats: Vec<Vec<f32>> = Vec::new();
            let mut integers: Vec<Vec<i32>> = Vec::new();
            for slot in &slots {
                let (mut own, mut own_integers) = (Vec::new(), Vec::new());
                match (slot.kind, sources.get(&slot.name).map(|array| &array.data)) {
                    (SlotKind::Output, _) => own = vec![f32::NAN; slot.ty.shape.elements(batch)],
                    (_, Some(Data::Real(values))) => own = values.iter().map(|&value| value as f32).collect(),
                    (_, Some(Data::Int(values))) => own_integers.clone_from(values),
                    (_, None) => panic!("no value for {}", slot.name),
                }
                floats.push(own);
                integers.push(own_integers);
            }
            let mut bindings: Vec<Binding<'_>> = slots
                .iter()
                .zip(floats.iter_mut().zip(&integers))
                .map(|(slot, (floats, integers))| match (slot.kind, slot.ty.dtype) {
                    (SlotKind::Input, DType::I32) => Binding::Integers(integers),
                    (SlotKind::Input, DType::F32) => Binding::Floats(floats),
                    _ => Binding::Written(floats),
                })
                .collect();
            executor.run(&mut bindings, batch, 1).unwrap();
            drop(bindings);
            slots
                .iter()
                .zip(floats)
                .filter(|(slot, _)| slot.kind != SlotKind::Input)
                .map(|(slot, values)| (slot.name.clone(), values))
                .collect()
        })
        .collect()
}

/// What the interpreter computes: outputs and updates.
pub(crate) fn run_interpreted<T: Real>(
    graph: &Graph,
    batch: usize,
    sources: &Sources,
) -> HashMap<String, Vec<f64>> {
    let bindings: Bindings<T> =
        sources.iter().map(|(name, array)| (name.clone(), array.convert::<T>())).collect();
    let outcome = run(graph, batch, &bindings).unwrap();
    outcome
        .outputs
        .into_iter()
        .chain(outcome.updates)
        .map(|(name, array)| (name, array.real().iter().map(|&value| value.to_f64()).collect()))
        .collect()
}

/// Compares compiled and interpreted results of a graph; `what` names the case in a failure.
#[track_caller]
pub(crate) fn check(
    graph: &Graph,
    mode: Mode,
    options: &CompileOptions,
    batch: usize,
    agreement: Agreement,
    what: &str,
) {
    let sources = sources(graph, batch, agreement == Agreement::Exact, batch as u64 + 17);
    let compiled = run_compiled(graph, mode, options, batch, &sources);
    let expected = match agreement {
        Agreement::Exact => run_interpreted::<f32>(graph, batch, &sources),
        Agreement::Within(_) => run_interpreted::<f64>(graph, batch, &sources),
    };
    for (name, expected) in &expected {
        let got = &compiled[name];
        assert_eq!(got.len(), expected.len(), "{what}: {name}");
        match agreement {
            Agreement::Exact => {
                for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
                    assert!(
                        got.to_bits() == (expected as f32).to_bits(),
                        "{what}, batch {batch}: {name}[{index}] is {got} compiled, {expected} interpreted\n{graph}"
                    );
                }
            }
            Agreement::Within(bound) => {
                let scale = expected.iter().fold(1e-30_f64, |scale, value| scale.max(value.abs()));
                for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
                    let error = (f64::from(got) - expected).abs() / scale;
                    assert!(
                        error <= bound,
                        "{what}, batch {batch}: {name}[{index}] is {got} compiled, {expected} interpreted: {error:e}\n{graph}"
                    );
                }
            }
        }
    }
}
