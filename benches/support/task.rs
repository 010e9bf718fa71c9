//! A graph with its inputs, and the memory of one compiled run.

use std::collections::HashMap;
use std::error::Error;

use windlass_compiler::autodiff::{Loss, TrainingOptions, class_axis, names, training_graph};
use windlass_compiler::graph::Graph;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::interp::{Array, Bindings, Data};
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::{Slot, SlotKind};
use windlass_compiler::shape::{DType, Sizes};
use windlass_runtime::executor::{Binding, Executor};
use windlass_runtime::initialize::{initial_value, initialize};
use windlass_runtime::large_pages::in_large_pages;

/// The measured part of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Forward.
    Infer,
    /// Forward, backward, and a step of gradient descent on the cross-entropy.
    Train,
}

impl Kind {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Infer => "infer",
            Kind::Train => "train",
        }
    }

    /// The mode to optimise for.
    pub(crate) fn mode(self) -> Mode {
        match self {
            Kind::Infer => Mode::Inference,
            Kind::Train => Mode::Training,
        }
    }
}

/// A graph to run, with values for its parameters and states.
pub(crate) struct Task {
    /// The network, or its training step.
    pub(crate) graph: Graph,
    /// Its kind.
    pub(crate) kind: Kind,
    /// The length of the network's output.
    classes: usize,
    stored: HashMap<String, Array<f32>>,
}

impl Task {
    /// Weights preserve the magnitude of activations (Kaiming's bound), and no bias is zero, so that errors show.
    pub(crate) fn new(network: &Graph, kind: Kind) -> Result<Self, Box<dyn Error>> {
        let mut task = Self::with_loss(network, kind, Loss::default())?;
        for (_, parameter) in task.graph.parameters() {
            let sizes = parameter.shape.item();
            let init =
                if sizes.len() > 1 { Initializer::KaimingUniform } else { Initializer::Uniform(-0.1, 0.1) };
            let value = initial_value(&parameter.name, &sizes, init, 1)?;
            let value = Array::new(value.shape(), value.iter().copied().collect());
            task.stored.insert(parameter.name.clone(), value);
        }
        Ok(task)
    }

    /// A task with the network's own initial values, and a loss for training.
    pub(crate) fn with_loss(network: &Graph, kind: Kind, loss: Loss) -> Result<Self, Box<dyn Error>> {
        let graph = match kind {
            Kind::Infer => network.clone(),
            Kind::Train => training_graph(network, &TrainingOptions::default().loss(loss))?,
        };
        let output = network.outputs().first().ok_or("the network has no output")?;
        let shape = &network.ty(output.value).shape;
        let classes = shape.dims()[class_axis(shape)].fixed().unwrap_or(1);
        let stored = initialize(&graph, 1)?
            .into_iter()
            .map(|(name, value)| (name, Array::new(value.shape(), value.iter().copied().collect())))
            .collect();
        Ok(Task { graph, kind, classes, stored })
    }

    /// Values for every source: `items` different samples, repeated up to the batch size.
    pub(crate) fn sources(&self, items: usize, batch: usize, learning_rate: f32) -> Bindings<f32> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut sources = self.stored.clone();
        for (value, input) in self.graph.inputs() {
            let ty = self.graph.ty(value);
            let (sizes, size) = (ty.shape.concrete(batch), ty.shape.item_elements());
            let array = match (input.name.as_str(), ty.dtype) {
                (names::LEARNING_RATE, _) => Array::scalar(learning_rate),
                (names::SEED, DType::I32) => Array::ints(sizes, vec![7, 3]),
                (_, DType::I32) => {
                    let labels = repeat(items * size, batch * size, || random.i32(0..self.classes as i32));
                    Array::ints(sizes, labels)
                }
                (_, DType::F32) => {
                    Array::new(sizes, repeat(items * size, batch * size, || random.f32() * 2.0 - 1.0))
                }
            };
            sources.insert(input.name.clone(), array);
        }
        sources
    }

    /// Whether samples of a batch are treated alike: no dropout draws a different mask for each.
    pub(crate) fn treats_items_alike(&self) -> bool {
        self.graph.source(names::SEED).is_none()
    }
}

/// `period` numbers, repeated to `count`.
fn repeat<T: Copy>(period: usize, count: usize, mut draw: impl FnMut() -> T) -> Vec<T> {
    let first: Vec<T> = (0..period.min(count)).map(|_| draw()).collect();
    first.iter().copied().cycle().take(count).collect()
}

/// The memory that a program's slots are bound to.
pub(crate) struct Bound {
    slots: Vec<(Slot, Data<f32>)>,
    sizes: Sizes,
}

impl Bound {
    /// Memory that holds the given sources.
    pub(crate) fn new(
        executor: &Executor,
        sources: &Bindings<f32>,
        sizes: impl Into<Sizes>,
    ) -> Result<Self, Box<dyn Error>> {
        let sizes = sizes.into();
        let slots = executor.slots().iter().map(|slot| {
            let data = match slot.kind {
                SlotKind::Output => Data::Real(vec![f32::NAN; slot.ty.shape.elements(&sizes)]),
                SlotKind::Input | SlotKind::Parameter => {
                    let source =
                        sources.get(&slot.name).ok_or_else(|| format!("no value for {}", slot.name))?;
                    match &source.data {
                        Data::Real(values) => Data::Real(in_large_pages(values)),
                        Data::Int(values) => Data::Int(values.clone()),
                    }
                }
            };
            Ok((slot.clone(), data))
        });
        let slots = slots.collect::<Result<_, Box<dyn Error>>>()?;
        Ok(Bound { slots, sizes })
    }

    /// One binding for each slot, in order.
    pub(crate) fn bindings(&mut self) -> Vec<Binding<'_>> {
        self.slots
            .iter_mut()
            .map(|(slot, data)| match (slot.kind, data) {
                (_, Data::Int(values)) => Binding::Integers(values),
                (SlotKind::Input, Data::Real(values)) => Binding::Floats(values),
                (SlotKind::Output | SlotKind::Parameter, Data::Real(values)) => Binding::Written(values),
            })
            .collect()
    }

    /// Runs the program once.
    pub(crate) fn run(&mut self, executor: &Executor) -> Result<(), Box<dyn Error>> {
        let sizes = self.sizes.clone();
        Ok(executor.run(&mut self.bindings(), sizes, 0)?)
    }

    /// Outputs, parameters and states after a run.
    pub(crate) fn results(&self) -> HashMap<&str, &[f32]> {
        let written = self.slots.iter().filter(|(slot, _)| slot.kind != SlotKind::Input);
        written
            .filter_map(|(slot, data)| match data {
                Data::Real(values) => Some((slot.name.as_str(), values.as_slice())),
                Data::Int(_) => None,
            })
            .collect()
    }
}
