//! Rows of a table by index, and the sums of gradients into them.

use windlass_compiler::autodiff::Optimizer;
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::interp::Array;
use windlass_compiler::ops::gather::{Gather, GatherGrad};
use windlass_compiler::ops::source::{Input, InputRole};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::shape::{DType, Shape, Type};
use windlass_runtime::executor::Executor;

use crate::check::{Agreement, Expectation};
use crate::graphs::{Ops, training};
use crate::numbers::{Numbers, Sources, Values, sources};
use crate::run::run_every_way;

fn indices(ops: &mut Ops, item: &[usize]) -> ValueId {
    let ty = Type::i32(Shape::batched(item));
    ops.op(Input { name: "indices".to_owned(), role: InputRole::Data, ty }, &[])
}

/// Rows of a table for indices of this shape, and the gradient of the table.
fn graph(rows: usize, features: usize, item: &[usize]) -> Graph {
    let mut ops = Ops::new();
    let indices = indices(&mut ops, item);
    let (table, g) =
        (ops.parameter("table", &[rows, features]), ops.input("g", &[item, &[features]].concat()));
    let y = ops.op(Gather { rows }, &[table, indices]);
    let dtable = ops.op(GatherGrad { rows }, &[g, indices]);
    ops.output("y", y).output("dtable", dtable).finish()
}

/// Features that fill vectors of each width, partial ones, and several blocks of each thread.
#[test]
fn rows_of_every_width() {
    for (rows, features, item) in [
        (7, 1, &[][..]),
        (5, 3, &[4]),
        (300, 8, &[3]),
        (9, 16, &[2, 3]),
        (4, 37, &[5]),
        (3, 100, &[]),
        (2, 259, &[3]),
    ] {
        let graph = graph(rows, features, item);
        let expectation = Expectation::new(&graph, &[1, 2, 7], Values::Integers, Agreement::Exact);
        expectation
            .check_variants(Mode::Training, &format!("{rows} rows of {features}, indices of {item:?}"));
    }
}

/// Programs are safe even if nobody has checked the indices: no access leaves the guarded memory.
#[test]
fn indices_outside_the_table_read_and_write_nothing() {
    for features in [3, 16, 37] {
        let graph = graph(4, features, &[6]);
        let mut numbers = sources(&graph, 2, Values::Integers, 5);
        let outside = vec![0, -1, 4, i32::MIN, i32::MAX, 3, 1 << 30, -4, 2, 5, 1, -1 << 31];
        numbers.insert("indices".to_owned(), Array::ints([2, 6], outside));
        let expectation = Expectation::on(&graph, 2, numbers, Agreement::Exact);
        expectation.check_variants(Mode::Training, &format!("rows of {features}"));
    }
}

/// Each thread adds to its own features, so that the number of threads does not show in sums that round.
#[test]
fn gradients_have_the_same_bits_for_any_number_of_threads() {
    let graph = graph(3, 130, &[50]);
    let numbers: Sources = sources(&graph, 4, Values::Reals, 1);
    for bits in available_vector_bits() {
        let mut first = None;
        for threads in [1, 2, 3, 5] {
            let mut options = CompileOptions::default();
            options.plan.threads = threads;
            options.plan.vector_bits = Some(bits);
            let (program, _) = compile(&graph, Mode::Training, &options, &Dump::from_environment()).unwrap();
            let executor = Executor::new(program).unwrap().parallelize_every_step();
            let results = run_every_way(&executor, &4.into(), &numbers, 0, &format!("{threads} threads"));
            let bits: Vec<u32> = results["dtable"].iter().map(|value| value.to_bits()).collect();
            assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{threads} threads");
        }
    }
}

/// Embeddings between inputs and layers, with a step of training: features that are vectors, channels of a sequence, and
/// shared by two inputs.
#[test]
fn networks_of_tokens() {
    let mut numbers = Numbers::new(11);
    for (features, steps) in [(4, 5), (16, 8), (37, 3)] {
        let mut builder = Builder::new("tokens");
        let tokens = builder.input_of("tokens", DType::I32, [steps.into()]).unwrap();
        let one = builder.input_of("one", DType::I32, []).unwrap();
        let rows = builder.layer("words", &Layer::embedding(11, features), tokens).unwrap();
        builder.share("again", "words");
        let row = builder.layer("again", &Layer::embedding(11, features), one).unwrap();
        let channels = builder.layer("", &Layer::Permute { order: vec![1, 0] }, rows).unwrap();
        let window = Window::cube(1, 3, 1, 1);
        let x = builder.layer("c1", &Layer::conv(features, window), channels).unwrap();
        let x = builder.layer("", &Layer::GlobalMaxPool { axes: 1 }, x).unwrap();
        let x = builder.layer("", &Layer::Flatten, x).unwrap();
        let x = builder.add("sum", x, row).unwrap();
        let x = builder.layer("f2", &Layer::linear(3), x).unwrap();
        builder.output("y", x).unwrap();
        let graph = builder.finish().unwrap();
        let what = format!("{steps} tokens of {features} features");
        let batches = &[1, 4];
        let mut check = |graph: &Graph, mode| {
            let expectation = Expectation::new(graph, batches, Values::Reals, Agreement::Within(1e-5));
            expectation.check_some(mode, &mut numbers, &what);
        };
        check(&graph, Mode::Inference);
        check(&training(&graph, Optimizer::sgd()), Mode::Training);
        check(&training(&graph, Optimizer::adam()), Mode::Training);
    }
}
