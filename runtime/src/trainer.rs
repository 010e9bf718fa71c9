//! Trains a model: forward, backward and update are one compiled program.

use std::collections::BTreeSet;
use std::path::Path;

use ndarray::{ArrayViewD, Dimension, IxDyn};
use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, names, training_graph};
use windlass_compiler::codegen::Program;
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileTimes;
use windlass_compiler::plan::{Size, Slot, SlotKind};
use windlass_compiler::shape::DType;

use crate::checkpoint::{Checkpoint, Metadata, NonFinite, Unexpected};
use crate::error::Error;
use crate::executor::{Binding, Executor, Run};
use crate::forward::{batch_of, bind_inputs, stored_slots};
use crate::memory::{MemoryReport, bytes};
use crate::model::Model;
use crate::network::{Input, Network};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::profile::Profile;
use crate::schedule::Schedule;
use crate::tensor::shapes_of;

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainerOptions {
    /// What is made small.
    pub loss: Loss,
    /// How parameters move.
    pub optimizer: Optimizer,
    /// The learning rate of each step.
    pub schedule: Schedule,
    /// The largest global norm of the gradients; larger ones are scaled down to it.
    pub clip_norm: Option<f64>,
    /// The names of parameters that keep their value.
    pub frozen: BTreeSet<String>,
    /// The output the loss is taken of; the only one by default.
    pub output: Option<String>,
    /// Seed of the dropout masks.
    pub seed: u32,
}

impl Default for TrainerOptions {
    /// Cross-entropy and plain gradient descent at a rate of 0.1.
    fn default() -> Self {
        TrainerOptions {
            loss: Loss::CrossEntropy,
            optimizer: Optimizer::sgd(),
            schedule: Schedule::constant(0.1).expect("0.1 is a valid rate"),
            clip_norm: None,
            frozen: BTreeSet::new(),
            output: None,
            seed: 0,
        }
    }
}

/// What a batch should have given.
#[derive(Clone, Debug)]
pub enum Target<'a> {
    /// One class per item, for the cross-entropy.
    Labels(&'a [i32]),
    /// Values of the output's shape, for the mean squared error.
    Values(Input<'a>),
}

impl<'a> From<&'a [i32]> for Target<'a> {
    fn from(labels: &'a [i32]) -> Self {
        Target::Labels(labels)
    }
}

impl<'a, const LENGTH: usize> From<&'a [i32; LENGTH]> for Target<'a> {
    fn from(labels: &'a [i32; LENGTH]) -> Self {
        Target::Labels(labels)
    }
}

impl<'a> From<&'a Vec<i32>> for Target<'a> {
    fn from(labels: &'a Vec<i32>) -> Self {
        Target::Labels(labels)
    }
}

impl<'a> From<Input<'a>> for Target<'a> {
    fn from(values: Input<'a>) -> Self {
        Target::Values(values)
    }
}

impl<'a> From<&'a [f32]> for Target<'a> {
    fn from(values: &'a [f32]) -> Self {
        Target::Values(values.into())
    }
}

impl<'a> From<&'a Vec<f32>> for Target<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Target::Values(values.into())
    }
}

impl<'a, D: ndarray::Dimension> From<&'a ndarray::Array<f32, D>> for Target<'a> {
    fn from(values: &'a ndarray::Array<f32, D>) -> Self {
        Target::Values(values.into())
    }
}

impl<'a, D: ndarray::Dimension> From<ndarray::ArrayView<'a, f32, D>> for Target<'a> {
    fn from(values: ndarray::ArrayView<'a, f32, D>) -> Self {
        Target::Values(values.into())
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean loss of the batch, before the step.
    pub loss: f32,
    /// The learning rate used.
    pub learning_rate: f64,
    /// Global norm of the gradients before they were clipped; only with clipping.
    pub gradient_norm: Option<f32>,
}

/// A model in training.
#[derive(Debug)]
pub struct Trainer<N> {
    model: Model<N>,
    options: TrainerOptions,
    graph: Graph,
    executor: Executor,
    times: CompileTimes,
    /// What the training graph keeps beside the model's own: the optimiser's state.
    state: Parameters,
    slots: Slots,
    step: u64,
    outputs: Vec<Output>,
}

/// The slots of a training step; `None` for what no kernel uses.
#[derive(Debug)]
struct Slots {
    /// Of the network's inputs, in the order of declaration.
    inputs: Vec<Option<usize>>,
    /// Of the model's parameters and states, in their order.
    parameters: Vec<Option<usize>>,
    /// Of the optimiser's state, in its order.
    state: Vec<Option<usize>>,
}

/// An output of the training step, kept from one step to the next.
#[derive(Debug)]
struct Output {
    name: String,
    slot: usize,
    /// Empty before the first step.
    elements: Vec<f32>,
    /// The sizes of the last batch.
    sizes: IxDyn,
    is_batched: bool,
}

impl Output {
    fn new(place: usize, slot: &Slot) -> Self {
        let shape = &slot.ty.shape;
        Output {
            name: slot.name.clone(),
            slot: place,
            elements: Vec::new(),
            sizes: IxDyn(&shape.concrete(0)),
            is_batched: shape.is_batched(),
        }
    }

    /// Makes room for a batch.
    fn resize(&mut self, batch: usize) {
        if self.is_batched {
            self.sizes[0] = batch;
        }
        self.elements.resize(self.sizes.size(), 0.0);
    }
}

/// The graph of a training step.
pub(crate) fn step_graph<N: Network>(options: &TrainerOptions) -> Result<Graph, Error> {
    let training = TrainingOptions {
        loss: options.loss,
        optimizer: options.optimizer,
        clip_norm: options.clip_norm,
        frozen: options.frozen.clone(),
        output: options.output.clone(),
    };
    training_graph(N::graph(), &training)
        .map_err(|source| Error::Autodiff { network: N::NAME.to_owned(), source: Box::new(source) })
}

impl<N: Network> Trainer<N> {
    /// Compiles a training step for a model, with its threads and options.
    ///
    /// # Errors
    /// [`Error::Autodiff`] for a network that cannot be trained so; [`Error::Compile`].
    pub fn new(model: Model<N>, options: TrainerOptions) -> Result<Self, Error> {
        let graph = step_graph::<N>(&options)?;
        let (executor, times) = model.compile_beside(&graph, Mode::Training)?;
        let state = Parameters::initialized(&graph, 0)?.without(model.parameters());
        let slots = Slots {
            inputs: N::INPUTS.iter().map(|(name, _)| executor.slot(SlotKind::Input, name)).collect(),
            parameters: stored_slots(&executor, model.parameters()).collect(),
            state: stored_slots(&executor, &state).collect(),
        };
        let outputs = executor.slots().iter().enumerate().filter(|(_, slot)| slot.kind == SlotKind::Output);
        let outputs = outputs.map(|(place, slot)| Output::new(place, slot)).collect();
        Ok(Trainer { model, options, graph, executor, times, state, slots, step: 0, outputs })
    }

    /// Continues from a file that [`Trainer::save`] wrote.
    ///
    /// # Errors
    /// As [`Trainer::new`], and as [`Checkpoint::load_for`] for a file that cannot be read or does not fit.
    pub fn resume(path: impl AsRef<Path>, options: TrainerOptions, run: &Options) -> Result<Self, Error> {
        let mut trainer = Self::new(Model::with_options(0, run)?, options)?;
        let shapes = shapes_of(&trainer.graph);
        let checkpoint = Checkpoint::load_for(path.as_ref(), &shapes, Unexpected::Refuse, NonFinite::Refuse)?;
        for name in trainer.model.parameters().names().to_vec() {
            trainer.model.set_parameter(&name, &checkpoint.tensors[&name])?;
        }
        trainer.state =
            Parameters::from_named(&trainer.graph, checkpoint.tensors).without(trainer.model.parameters());
        trainer.step = checkpoint.metadata.map_or(0, |metadata| metadata.step);
        Ok(trainer)
    }

    /// Writes parameters, optimiser state and the number of steps to a safetensors file: whole, or not at all. A
    /// [`Model`] can load it too.
    ///
    /// # Errors
    /// As [`Checkpoint::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut tensors = self.state.to_named();
        tensors.extend(self.model.parameters().to_named());
        let optimizer = serde_json::to_value(self.options.optimizer).unwrap_or_default();
        let metadata =
            Metadata { network: N::NAME.to_owned(), step: self.step, optimizer, ..Metadata::default() };
        Checkpoint { tensors, metadata: Some(metadata) }.save(path.as_ref(), NonFinite::Refuse)
    }

    /// One step of gradient descent on a batch of any size.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::UnequalBatches`], [`Error::EmptyBatch`] as [`Model::forward`]; [`Error::Label`] for a
    /// label that is no class; [`Error::Target`] for a target of another kind or number of items.
    pub fn step<'a, 't>(
        &mut self,
        inputs: impl Into<N::Inputs<'a>>,
        target: impl Into<Target<'t>>,
    ) -> Result<StepReport, Error> {
        let feeds = N::feeds(inputs.into());
        let batch = batch_of::<N>(feeds.as_ref())?;
        let target = target.into();
        self.check_target(&target, batch)?;
        self.step_with(feeds.as_ref(), &target, batch, |run, version| run.execute(version))
    }

    /// Measures where the time of [`Trainer::step`] goes, kernel by kernel. It takes `runs` steps on the batch, and one
    /// more to warm up, which train the model as any others do. The profile prints as a table.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn profile<'a, 't>(
        &mut self,
        inputs: impl Into<N::Inputs<'a>>,
        target: impl Into<Target<'t>>,
        runs: usize,
    ) -> Result<Profile, Error> {
        let feeds = N::feeds(inputs.into());
        let batch = batch_of::<N>(feeds.as_ref())?;
        let target = target.into();
        self.check_target(&target, batch)?;
        let mut measured = Vec::new();
        for _ in 0..=runs.max(1) {
            let mut times = Vec::new();
            self.step_with(feeds.as_ref(), &target, batch, |run, version| {
                run.execute_timed(version, &mut times)
            })?;
            measured.push(times);
        }
        Ok(Profile::of_runs(self.executor.program(), batch, &measured[1..]))
    }

    /// One step; `execute` runs the program.
    fn step_with(
        &mut self,
        feeds: &[Input<'_>],
        target: &Target<'_>,
        batch: usize,
        execute: impl FnOnce(Run<'_, '_>, u64) -> Result<(), Error>,
    ) -> Result<StepReport, Error> {
        let learning_rate = self.options.schedule.rate(self.step);
        let correction = self.options.optimizer.correction(self.step + 1).unwrap_or_default();
        let controls = Controls {
            learning_rate: [learning_rate as f32],
            correction: correction.map(|factor| factor as f32),
            // The counter wraps after 2^32 steps; masks repeat from there.
            seed: [self.options.seed.cast_signed(), (self.step as u32).cast_signed()],
        };
        self.run(feeds, target, &controls, batch, execute)?;
        self.step += 1;
        let number = |name: &str| self.find_output(name).and_then(|output| output.elements.first().copied());
        Ok(StepReport {
            loss: number(names::LOSS).unwrap_or(f32::NAN),
            learning_rate,
            gradient_norm: number(names::GRADIENT_NORM),
        })
    }

    fn check_target(&self, target: &Target<'_>, batch: usize) -> Result<(), Error> {
        let name = self.loss_output();
        let item = N::OUTPUTS.iter().find(|(output, _)| *output == name).map_or(&[][..], |(_, item)| *item);
        let wrong =
            |expected: String, got: String| Err(Error::Target { network: N::NAME.to_owned(), expected, got });
        match (self.options.loss, target) {
            (Loss::CrossEntropy, Target::Labels(labels)) => {
                if labels.len() != batch {
                    return wrong(
                        format!("{batch} labels, one per item"),
                        format!("{} labels", labels.len()),
                    );
                }
                let classes = item.first().copied().unwrap_or(0);
                let is_class = |label: i32| usize::try_from(label).is_ok_and(|label| label < classes);
                match labels.iter().position(|&label| !is_class(label)) {
                    None => Ok(()),
                    Some(index) => Err(Error::Label {
                        network: N::NAME.to_owned(),
                        index,
                        label: labels[index],
                        classes,
                    }),
                }
            }
            (Loss::MeanSquaredError, Target::Values(values)) => match values.batch(item) {
                Ok(items) if items == batch => Ok(()),
                Ok(items) => wrong(format!("{batch} targets, one per item"), format!("{items} targets")),
                Err(error) => wrong(format!("targets of shape {item:?}"), error.to_string()),
            },
            (Loss::CrossEntropy, Target::Values(_)) => {
                wrong("integer labels for the cross-entropy".to_owned(), "values".to_owned())
            }
            (Loss::MeanSquaredError, Target::Labels(_)) => {
                wrong("values for the mean squared error".to_owned(), "integer labels".to_owned())
            }
        }
    }

    /// The output the loss is taken of.
    fn loss_output(&self) -> &str {
        let first = N::OUTPUTS.first().map_or("", |(name, _)| *name);
        self.options.output.as_deref().unwrap_or(first)
    }

    fn run(
        &mut self,
        feeds: &[Input<'_>],
        target: &Target<'_>,
        controls: &Controls,
        batch: usize,
        execute: impl FnOnce(Run<'_, '_>, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let version = self.model.parameters().version();
        let mut run = self.executor.start(batch)?;
        bind_inputs(&mut run, &self.slots.inputs, feeds)?;
        for (place, slot) in self.executor.slots().iter().enumerate() {
            if let Some(binding) = control(slot, controls, target) {
                run.bind(place, binding)?;
            }
        }
        let parameters = self.slots.parameters.iter().zip(self.model.parameters_mut().write_all());
        let state = self.slots.state.iter().zip(self.state.write_all());
        for (slot, values) in parameters.chain(state) {
            if let (Some(slot), Some(values)) = (*slot, values) {
                run.bind(slot, values)?;
            }
        }
        for output in &mut self.outputs {
            output.resize(batch);
            run.bind(output.slot, Binding::Written(&mut output.elements))?;
        }
        execute(run, version)
    }

    /// The memory that steps on batches of a size take, said before any: parameters, the optimiser's state, what the model
    /// keeps prepared, and the step's own, with the outputs that are kept from one step to the next. Runs of
    /// [`Trainer::model`] between steps take what its own report says of a run, and of preparing for it.
    pub fn memory(&self, batch: usize) -> MemoryReport {
        let (step, model) = (MemoryReport::of(self.program().plan(), batch), self.model.memory(batch));
        let outputs = self.outputs.iter().map(|output| &self.executor.slots()[output.slot]);
        let outputs = outputs.map(|slot| bytes(Size::of(&slot.ty), batch));
        MemoryReport {
            parameters: model.parameters + self.state.bytes(),
            prepared: model.prepared + step.prepared,
            batched: outputs.fold(step.batched, usize::saturating_add),
            ..step
        }
    }

    /// An output of the last step, by name; [`None`] before the first.
    pub fn output(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        let output = self.find_output(name)?;
        ArrayViewD::from_shape(output.sizes.clone(), &output.elements).ok()
    }

    /// What the network gave for the last step's batch, `[N, …]`: the output the loss is taken of. Empty before the
    /// first step.
    pub fn outputs(&self) -> &[f32] {
        self.find_output(self.loss_output()).map_or(&[], |output| &output.elements)
    }

    /// An output, once there was a step.
    fn find_output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name && !output.elements.is_empty())
    }

    /// The model, with its parameters as they are now.
    pub fn model(&self) -> &Model<N> {
        &self.model
    }

    /// Ends the training.
    pub fn into_model(self) -> Model<N> {
        self.model
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// How it is trained.
    pub fn options(&self) -> &TrainerOptions {
        &self.options
    }

    /// The graph of a whole step: forward, backward, update.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How long the step took to compile.
    pub fn compile_times(&self) -> CompileTimes {
        self.times
    }

    /// The compiled step.
    pub fn program(&self) -> &Program {
        self.executor.program()
    }
}

/// Numbers that steer one step.
struct Controls {
    learning_rate: [f32; 1],
    correction: [f32; 2],
    seed: [i32; 2],
}

/// The binding of an input that the training graph added; [`None`] for the network's own.
fn control<'b>(slot: &Slot, controls: &'b Controls, target: &'b Target<'_>) -> Option<Binding<'b>> {
    if slot.kind != SlotKind::Input {
        return None;
    }
    match (slot.name.as_str(), slot.ty.dtype, target) {
        (names::LEARNING_RATE, _, _) => Some(Binding::Floats(&controls.learning_rate)),
        (names::CORRECTION, _, _) => Some(Binding::Floats(&controls.correction)),
        (names::SEED, DType::I32, _) => Some(Binding::Integers(&controls.seed)),
        (names::LABELS, DType::I32, Target::Labels(labels)) => Some(Binding::Integers(labels)),
        (names::TARGET, DType::F32, Target::Values(values)) => Some(Binding::Floats(values.elements())),
        _ => None,
    }
}
