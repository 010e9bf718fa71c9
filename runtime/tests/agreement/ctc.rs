//! Connectionist temporal classification: every vector width, fixed and open lengths, labels and lengths of any value, and
//! whole training steps.

use windlass_compiler::autodiff::{Loss, TrainingOptions, names, training_graph};
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::interp::Array;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::shape::{DType, Dim, Sizes, Symbol};
use windlass_runtime::executor::Executor;

use crate::check::{Agreement, Expectation};
use crate::numbers::{Numbers, Sources, Values, sources};
use crate::run::run;

/// The operator with both results. Its logarithms need not be of probabilities.
fn operator(steps: &str, classes: usize, labels: &str, attributes: &str) -> Graph {
    let text = format!(
        r#"graph ctc {{
          %x = input {{name = "x", type = "f32[N, {steps}, {classes}]"}}
          %labels = input {{name = "labels", type = "i32[N, {labels}]"}}
          %counts = input {{name = "label_lengths", type = "i32[N]"}}
          %lengths = input {{name = "step_lengths", type = "i32[N]"}}
          %losses, %slopes = ctc(%x, %labels, %counts, %lengths) {{{attributes}}}
          output "losses" = %losses
          output "slopes" = %slopes
        }}"#
    );
    text.parse().unwrap()
}

fn sizes(batch: usize, steps: usize, labels: usize) -> Sizes {
    let symbol = |name: &str| -> Symbol { name.parse().unwrap() };
    Sizes::from(batch).with(symbol("T"), steps).with(symbol("S"), labels)
}

/// Labels among the classes, often the same ones, and lengths of which most fit.
fn with_labels(graph: &Graph, sizes: &Sizes, blank: usize, seed: u64) -> Sources {
    let mut bound = sources(graph, sizes.clone(), Values::Reals, seed);
    let mut numbers = Numbers::new(seed);
    let shape = graph.ty(graph.source("x").unwrap()).shape.concrete(sizes);
    let (batch, steps, classes) = (shape[0], shape[1], shape[2]);
    let most = bound["labels"].sizes[1];
    let mut label = || {
        let label = numbers.below(classes.min(4));
        let label = if label == blank { (blank + 1) % classes } else { label };
        label as i32
    };
    let labels = (0..batch * most).map(|_| label()).collect();
    let fitting = most.min(steps.div_ceil(2));
    let counts = (0..batch).map(|_| numbers.below(fitting + 1) as i32).collect();
    let lengths = (0..batch).map(|_| (steps - numbers.below(steps.div_ceil(4))) as i32).collect();
    bound.insert("labels".to_owned(), Array::ints([batch, most], labels));
    bound.insert("label_lengths".to_owned(), Array::ints([batch], counts));
    bound.insert("step_lengths".to_owned(), Array::ints([batch], lengths));
    bound
}

#[test]
fn fixed_and_open_lengths() {
    for (steps, labels) in [(1, 1), (4, 2), (9, 3), (21, 16), (40, 17)] {
        for (open_steps, open_labels) in [(false, false), (true, false), (false, true), (true, true)] {
            let dim =
                |open: bool, name: &str, size: usize| if open { name.to_owned() } else { size.to_string() };
            let (t, s) = (dim(open_steps, "T", steps), dim(open_labels, "S", labels));
            let (classes, blank) = (3 + steps % 7, steps % 3);
            let attributes = format!("blank = {blank}, per_label = {}", steps % 2 == 0);
            let graph = operator(&t, classes, &s, &attributes);
            let mut expectation = Expectation::of(&graph, Agreement::Within(1e-5));
            for batch in [1, 5] {
                let sizes = sizes(batch, steps, labels);
                expectation.add(sizes.clone(), with_labels(&graph, &sizes, blank, (batch + steps) as u64));
            }
            expectation.check_variants(Mode::Training, &format!("{t} steps, {s} labels"));
        }
    }
}

/// Maps run along the labels: the number of steps does not change the order of any sum.
#[test]
fn a_fixed_number_of_steps_gives_the_bits_of_an_open_one() {
    let graphs = ["13", "T"].map(|steps| operator(steps, 6, "S", "blank = 0"));
    let sizes = sizes(3, 13, 5);
    let bound = with_labels(&graphs[0], &sizes, 0, 4);
    for bits in available_vector_bits() {
        let mut options = CompileOptions::default();
        options.plan.vector_bits = Some(bits);
        let [fixed, open] = graphs.each_ref().map(|graph| {
            let program = compile(graph, Mode::Training, &options, &Dump::from_environment()).unwrap().0;
            run(&Executor::new(program).unwrap(), &sizes, &bound, 0)
        });
        assert_eq!(fixed, open, "{bits} bits");
    }
}

/// Programs are safe, and other samples right, whatever the labels and lengths of a sample are.
#[test]
fn labels_and_lengths_of_any_value() {
    let odd = [0, 1, -1, 5, 6, 7, i32::MIN, i32::MAX, 1 << 30];
    for attributes in ["blank = 0", "blank = 5, per_label = true, zero_infinity = true"] {
        for steps in ["6", "T"] {
            let graph = operator(steps, 6, "3", attributes);
            let sizes = sizes(odd.len() + 1, 6, 3);
            let mut expectation = Expectation::of(&graph, Agreement::Edges { part: 1e-5, floor: 1e-5 });
            for which in 0..3 {
                let mut bound = with_labels(&graph, &sizes, 5, 9);
                let name = ["labels", "label_lengths", "step_lengths"][which];
                let each = if which == 0 { 3 } else { 1 };
                let mut values = bound[name].int().to_vec();
                for (sample, &value) in odd.iter().enumerate() {
                    values[sample * each] = value;
                }
                bound.insert(name.to_owned(), Array::ints(bound[name].sizes.clone(), values));
                expectation.add(sizes.clone(), bound);
            }
            expectation.check_variants(Mode::Training, &format!("{steps} steps, {attributes}"));
        }
    }
}

/// Probabilities of 0: samples that they make impossible have infinite losses and no gradient, others are right.
#[test]
fn classes_without_probability() {
    let graph = operator("T", 5, "S", "blank = 0");
    let sizes = sizes(6, 7, 3);
    let mut bound = with_labels(&graph, &sizes, 0, 2);
    let mut x = bound["x"].real().to_vec();
    // No label 1 in any step of the first three samples, and no blank in the second half of the others.
    for (index, x) in x.iter_mut().enumerate() {
        let (sample, step, class) = (index / 35, index / 5 % 7, index % 5);
        if (sample < 3 && class == 1) || (sample >= 3 && step > 3 && class == 0) {
            *x = f64::NEG_INFINITY;
        }
    }
    bound.insert("x".to_owned(), Array::new([6, 7, 5], x));
    let mut expectation = Expectation::of(&graph, Agreement::Edges { part: 1e-5, floor: 1e-5 });
    expectation.add(sizes, bound);
    expectation.check_variants(Mode::Training, "classes without probability");
}

#[test]
fn whole_steps() {
    for steps in [Dim::from("T".parse::<Symbol>().unwrap()), Dim::from(11)] {
        let mut builder = Builder::new("reader");
        let x = builder.input_of("x", DType::F32, [steps, Dim::from(5)]).unwrap();
        let y = builder.layer("f", &Layer::linear(5), x).unwrap();
        builder.output("y", y).unwrap();
        let options = TrainingOptions::default().loss(Loss::ctc());
        let step = training_graph(&builder.finish().unwrap(), &options).unwrap();
        assert!(step.source(names::STEP_LENGTHS).is_some());
        let mut expectation = Expectation::of(&step, Agreement::WithinWhole(2e-5));
        for batch in [1, 4] {
            let sizes = sizes(batch, 11, 4);
            expectation.add(sizes.clone(), with_labels(&step, &sizes, 0, 3));
        }
        expectation.check_variants(Mode::Training, "whole steps");
    }
}
