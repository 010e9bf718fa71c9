//! Test graphs: single operators on sources, and networks of layers.

use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, training_graph};
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::source::{Input, InputRole, Parameter};
use windlass_compiler::shape::{Shape, Type};

/// A graph built operator by operator, without error handling.
pub(crate) struct Ops(Graph);

impl Ops {
    pub(crate) fn new() -> Self {
        Ops(Graph::new("ops"))
    }

    /// A batch of inputs.
    pub(crate) fn input(&mut self, name: &str, item: &[usize]) -> ValueId {
        let ty = Type::f32(Shape::batched(item));
        self.op(Input { name: name.to_owned(), role: InputRole::Data, ty }, &[])
    }

    pub(crate) fn parameter(&mut self, name: &str, sizes: &[usize]) -> ValueId {
        let shape = Shape::fixed(sizes);
        self.op(Parameter { name: name.to_owned(), shape, init: Initializer::ZEROS }, &[])
    }

    /// Adds an operator; returns its first result.
    #[track_caller]
    pub(crate) fn op(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> ValueId {
        self.ops(op, operands)[0]
    }

    /// Adds an operator; returns all its results.
    #[track_caller]
    pub(crate) fn ops(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Vec<ValueId> {
        self.0.add(op, operands, "").unwrap()
    }

    pub(crate) fn item(&self, value: ValueId) -> Vec<usize> {
        self.0.ty(value).shape.item()
    }

    /// Makes a value an output with this name.
    #[track_caller]
    pub(crate) fn output(mut self, name: &str, value: ValueId) -> Self {
        self.0.add_output(name, value).unwrap();
        self
    }

    pub(crate) fn finish(self) -> Graph {
        self.0
    }
}

/// A network of these layers, flattened at the end.
pub(crate) fn network(item: &[usize], layers: &[Layer]) -> Graph {
    let build = || -> Result<Graph, GraphError> {
        let mut builder = Builder::new("net");
        let mut x = builder.input("x", item)?;
        for (index, layer) in layers.iter().enumerate() {
            x = builder.layer(&format!("l{index}"), layer, x)?;
        }
        let x = builder.layer("end", &Layer::Flatten, x)?;
        builder.output("y", x)?;
        builder.finish()
    };
    build().unwrap()
}

/// A training step with the mean squared error.
pub(crate) fn training(graph: &Graph, optimizer: Optimizer) -> Graph {
    let options = TrainingOptions::default().loss(Loss::MeanSquaredError).optimizer(optimizer);
    training_graph(graph, &options).unwrap()
}
