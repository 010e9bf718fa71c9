//! Scans written by hand: dropout in a body, attention of every step to a whole sequence, and loops in loops.

use windlass_compiler::autodiff::training_mode;
use windlass_compiler::graph::{
    AttentionMask, Builder, Combination, Graph, Layer, ScanInputs, ScanOperands, ScanOutputs,
};
use windlass_compiler::interp::{Array, Bindings, run};
use windlass_compiler::pass::Mode;
use windlass_compiler::shape::{DType, Dim, Shape, Sizes, Symbol};

use crate::check::{Agreement, Expectation};
use crate::numbers::{Numbers, Values, sources};
use crate::recurrent::check;

fn symbol(name: &str) -> Symbol {
    name.parse().unwrap()
}

fn input(
    builder: &mut Builder,
    name: &str,
    steps: &str,
    features: usize,
) -> windlass_compiler::entity::ValueId {
    builder.input_of(name, DType::F32, [Dim::from(symbol(steps)), Dim::from(features)]).unwrap()
}

/// `h' = tanh(W·dropout([x, h]))`, collected.
fn dropping(nested: bool) -> Graph {
    let mut builder = Builder::new("net");
    let x = input(&mut builder, "x", "T", 5);
    let h = builder.initial_state(x, &[6]).unwrap();
    let step = |body: &mut Builder, inputs: &ScanInputs| {
        let joined = body.concat("joined", &[inputs.steps[0], inputs.carried[0]])?;
        let kept = body.layer("drop", &Layer::Dropout { rate: 0.5 }, joined)?;
        let sum = body.layer("step", &Layer::linear(6), kept)?;
        let h = body.layer("squash", &Layer::Tanh, sum)?;
        Ok(ScanOutputs { carried: vec![h], collected: vec![h] })
    };
    let operands = ScanOperands { sequences: &[x], initial: &[h], ..ScanOperands::default() };
    let scanned = builder.scan("r", operands, |body, inputs| {
        if !nested {
            return step(body, inputs);
        }
        // Each step of the outer loop runs three steps on the same input.
        let repeated =
            body.reshape("", inputs.steps[0], Shape::new([Dim::batch(), 1usize.into(), 5usize.into()]))?;
        let repeated = body.concat("", &[repeated, repeated, repeated])?;
        let operands =
            ScanOperands { sequences: &[repeated], initial: &inputs.carried, ..ScanOperands::default() };
        let inner = body.scan("inner", operands, step)?;
        Ok(ScanOutputs { carried: inner.last.clone(), collected: inner.last })
    });
    let y = builder.layer("f", &Layer::linear(3), scanned.unwrap().sequences[0]).unwrap();
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

#[test]
fn dropout_in_a_body() {
    let mut numbers = Numbers::new(61);
    let sizes = [(1, 1), (3, 2), (2, 7)].map(|(n, t)| Sizes::from(n).with(symbol("T"), t));
    for nested in [false, true] {
        for _ in 0..3 {
            check(&dropping(nested), &sizes, &mut numbers, "dropout in a body");
        }
    }
}

#[test]
fn every_step_drops_other_elements() {
    let mut builder = Builder::new("net");
    let x = input(&mut builder, "x", "T", 64);
    let operands = ScanOperands { sequences: &[x], ..ScanOperands::default() };
    let scanned = builder.scan("r", operands, |body, inputs| {
        let kept = body.layer("drop", &Layer::Dropout { rate: 0.25 }, inputs.steps[0])?;
        Ok(ScanOutputs { carried: vec![], collected: vec![kept] })
    });
    builder.output("y", scanned.unwrap().sequences[0]).unwrap();
    let graph = training_mode(&builder.finish().unwrap()).unwrap();
    let bindings = Bindings::<f64>::from([
        ("x".to_owned(), Array::new([1, 8, 64], vec![3.0; 512])),
        ("seed".to_owned(), Array::ints([2], vec![5, 1])),
    ]);
    let sizes = Sizes::from(1).with(symbol("T"), 8);
    let results = run(&graph, &sizes, &bindings).unwrap();
    let y = &results.outputs["y"];
    let steps: Vec<Vec<bool>> =
        y.real().chunks(64).map(|step| step.iter().map(|y| *y == 0.0).collect()).collect();
    assert!(y.real().iter().all(|y| *y == 0.0 || *y == 4.0));
    for (index, step) in steps.iter().enumerate() {
        let dropped = step.iter().filter(|dropped| **dropped).count();
        assert!((4..=32).contains(&dropped), "{dropped} of 64");
        assert!(!steps[..index].contains(step));
    }
}

#[test]
fn every_step_attends_to_a_whole_sequence() {
    let mut builder = Builder::new("net");
    let (x, memory) = (input(&mut builder, "x", "T", 5), input(&mut builder, "memory", "S", 6));
    let h = builder.initial_state(x, &[6]).unwrap();
    let operands =
        ScanOperands { sequences: &[x], initial: &[h], constants: &[memory], ..ScanOperands::default() };
    let scanned = builder.scan("r", operands, |body, inputs| {
        let (memory, h) = (inputs.constants[0], inputs.carried[0]);
        let query = body.reshape("", h, Shape::new([Dim::batch(), 1usize.into(), 6usize.into()]))?;
        let context = body.attention("a", [query, memory, memory], &AttentionMask::default())?;
        let context = body.layer("flat", &Layer::Flatten, context)?;
        let joined = body.concat("joined", &[inputs.steps[0], context])?;
        let sum = body.layer("step", &Layer::linear(6), joined)?;
        let sum = body.combine("", Combination::Add, sum, h)?;
        let h = body.layer("squash", &Layer::Tanh, sum)?;
        Ok(ScanOutputs { carried: vec![h], collected: vec![context] })
    });
    let y = builder.layer("f", &Layer::linear(3), scanned.unwrap().sequences[0]).unwrap();
    builder.output("y", y).unwrap();
    let graph = builder.finish().unwrap();
    let mut numbers = Numbers::new(62);
    let sizes = [(1, 1, 1), (3, 2, 4), (2, 5, 17), (1, 9, 1)]
        .map(|(n, t, s)| Sizes::from(n).with(symbol("T"), t).with(symbol("S"), s));
    for _ in 0..4 {
        check(&graph, &sizes, &mut numbers, "attention in a body");
    }
}
/// A body may compute values of open sizes from nothing, once before the loop.
#[test]
fn a_fill_in_a_body() {
    let graph: Graph = r#"graph fill {
      %x = input {name = "x", type = "f32[N*T, 5]"}
      %h = fill {shape = "[N, 5]", value = 0.25}
      %last = scan(%x, %h) {steps = "T", slices = 1, carried = 1} body step {
        %x = input {name = "x", type = "f32[N, 5]"}
        %h = input {name = "h", type = "f32[N, 5]"}
        %f = fill {shape = "[N, 5]", value = 0.5}
        %p = binary(%x, %f) {kind = "multiply"}
        %q = binary(%h, %p) {kind = "add"}
        output "h" = %q
      }
      output "y" = %last
    }"#
    .parse()
    .unwrap();
    let mut numbers = Numbers::new(63);
    let mut expectation = Expectation::of(&graph, Agreement::WithinWhole(1e-6));
    for (seed, (n, t)) in [(1, 1), (3, 2), (20, 5)].into_iter().enumerate() {
        let sizes = Sizes::from(n).with(symbol("T"), t);
        expectation.add(sizes.clone(), sources(&graph, sizes, Values::Reals, seed as u64 + 5));
    }
    for _ in 0..3 {
        expectation.check_some(Mode::Inference, &mut numbers, "a fill in a body");
    }
}
