//! Trains a model: forward, backward and update are one compiled program.

mod controls;
mod non_finite;
mod options;
mod output;
mod target;

use std::fmt;
use std::path::Path;

use ndarray::ArrayViewD;
use windlass_compiler::autodiff::{Optimizer, names, training_graph};
use windlass_compiler::codegen::Program;
use windlass_compiler::graph::{Graph, Node};
use windlass_compiler::interp::{Array, Bindings};
use windlass_compiler::ops::Op;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileTimes;
use windlass_compiler::plan::SlotKind;
use windlass_compiler::shape::Sizes;

use self::controls::Controls;
pub use self::non_finite::{NonFiniteOrigin, Stage};
pub use self::options::TrainerOptions;
use self::output::Output;
pub use self::target::Target;
use crate::checkpoint::{Checkpoint, LoadOptions, Metadata, NonFinite};
use crate::error::Error;
use crate::executor::{Binding, Executor, Run};
use crate::forward::{bind_inputs, input_slots, stored_slots};
use crate::memory::{MemoryReport, bytes};
use crate::model::Model;
use crate::network::{AnyNetwork, Input, Network};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::profile::Profile;
use crate::tensor::shapes_of;

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

/// A model in training. Its debugging form is one line.
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
    /// A batch normalisation that has a single value for each channel of a single item.
    single_value: Option<String>,
}

impl<N: AnyNetwork> fmt::Debug for Trainer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels = self.program().plan().run.len();
        write!(
            f,
            "Trainer<{}> {{ step: {}, optimizer: {}, kernels: {kernels}, model: {:?} }}",
            self.network().name(),
            self.step,
            self.options.optimizer.name(),
            self.model
        )
    }
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

/// The graph of a training step.
pub(crate) fn step_graph<N: AnyNetwork>(network: &N, options: &TrainerOptions) -> Result<Graph, Error> {
    training_graph(network.graph(), &options.of_training())
        .map_err(|reason| Error::Autodiff { network: network.name().to_owned(), reason: Box::new(reason) })
}

/// The first batch normalisation of a step that takes the variance of one value for each channel where the batch is 1.
fn single_value(graph: &Graph) -> Option<String> {
    let is_one = |node: &&Node| match (&node.op, node.operands.first()) {
        (Op::BatchNormTraining(_), Some(&x)) => {
            graph.ty(x).shape.item().iter().skip(1).product::<usize>() == 1
        }
        _ => false,
    };
    graph.nodes().iter().find(is_one).map(|node| node.label.clone())
}

impl<N: Network> Trainer<N> {
    /// Continues from a file that [`Trainer::save`] wrote. Settings may be others than before; the optimiser, and what is
    /// frozen, must be the same.
    ///
    /// # Errors
    /// As [`Trainer::new`], and as [`Checkpoint::load_for`] for a file that cannot be read or does not fit;
    /// [`Error::CheckpointNetwork`] and [`Error::CheckpointOptimizer`] for a file of another network or optimiser.
    pub fn resume(path: impl AsRef<Path>, options: TrainerOptions, run: &Options) -> Result<Self, Error> {
        Self::resume_with(path, options, run, &LoadOptions::default())
    }

    /// Continues as [`Trainer::resume`] does, from a file whose network or layers have other names.
    ///
    /// # Errors
    /// As [`Trainer::resume`].
    pub fn resume_with(
        path: impl AsRef<Path>,
        options: TrainerOptions,
        run: &Options,
        loading: &LoadOptions,
    ) -> Result<Self, Error> {
        Self::resume_of(N::VALUE, path, options, run, loading)
    }
}

impl<N: AnyNetwork> Trainer<N> {
    /// Compiles a training step for a model, with its threads and options.
    ///
    /// # Errors
    /// [`Error::Autodiff`] for a network that cannot be trained so; [`Error::Compile`].
    pub fn new(model: Model<N>, options: TrainerOptions) -> Result<Self, Error> {
        let graph = step_graph(model.network(), &options)?;
        let (executor, times) = model.compile_beside(&graph, Mode::Training)?;
        let state = Parameters::initialized(&graph, 0)?.without(model.parameters());
        let slots = Slots {
            inputs: input_slots(&executor, model.ports()),
            parameters: stored_slots(&executor, model.parameters()).collect(),
            state: stored_slots(&executor, &state).collect(),
        };
        let outputs = executor.slots().iter().enumerate().filter(|(_, slot)| slot.kind == SlotKind::Output);
        let outputs = outputs.map(|(place, slot)| Output::new(place, slot)).collect();
        let single_value = single_value(&graph);
        Ok(Trainer { model, options, graph, executor, times, state, slots, step: 0, outputs, single_value })
    }

    /// Continues the training of a network, as [`Trainer::resume_with`] does where the type says which network it is.
    ///
    /// # Errors
    /// As [`Trainer::resume`].
    pub fn resume_of(
        network: N,
        path: impl AsRef<Path>,
        options: TrainerOptions,
        run: &Options,
        loading: &LoadOptions,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        check_optimizer(path, &options.optimizer)?;
        let mut trainer = Self::new(Model::of(network, 0, run)?, options)?;
        let shapes = shapes_of(&trainer.graph);
        let name = trainer.network().name();
        let checkpoint = Checkpoint::load_network(path, name, &shapes, |_| false, loading)?;
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
        let metadata = Metadata {
            network: self.network().name().to_owned(),
            step: self.step,
            optimizer,
            ..Metadata::default()
        };
        Checkpoint { tensors, metadata: Some(metadata) }.save(path.as_ref(), NonFinite::Refuse)
    }

    /// One step of gradient descent on a batch of any size.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::UnequalBatches`], [`Error::EmptyBatch`] as [`Model::forward`]; [`Error::Label`] for a
    /// label that is no class; [`Error::Target`] for a target of another kind or number of items; [`Error::SingleValue`] for
    /// a batch of one where batch normalisation has one value for each channel; [`Error::Setting`] for a rate that has grown
    /// infinite; [`Error::OutOfMemory`]; and [`Error::NonFiniteStep`] with [`TrainerOptions::check_finite`]. After any of
    /// these, parameters are as they were.
    pub fn step<'a, 't>(
        &mut self,
        inputs: impl Into<N::Inputs<'a>>,
        target: impl Into<Target<'t>>,
    ) -> Result<StepReport, Error> {
        let feeds = self.network().order_inputs(inputs.into())?;
        let sizes = self.model.ports().sizes(self.network().name(), feeds.as_ref())?;
        let target = target.into();
        self.check_batch(&target, &sizes)?;
        self.step_with(feeds.as_ref(), &target, &sizes, |run, version| run.execute(version))
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
        let feeds = self.network().order_inputs(inputs.into())?;
        let sizes = self.model.ports().sizes(self.network().name(), feeds.as_ref())?;
        let target = target.into();
        self.check_batch(&target, &sizes)?;
        let mut measured = Vec::new();
        for _ in 0..=runs.max(1) {
            let mut times = Vec::new();
            self.step_with(feeds.as_ref(), &target, &sizes, |run, version| {
                run.execute_timed(version, &mut times)
            })?;
            measured.push(times);
        }
        Ok(Profile::of_runs(self.executor.program(), &sizes, &measured[1..]))
    }

    /// One step; `execute` runs the program.
    fn step_with(
        &mut self,
        feeds: &[Input<'_>],
        target: &Target<'_>,
        sizes: &Sizes,
        execute: impl FnOnce(Run<'_, '_>, u64) -> Result<(), Error>,
    ) -> Result<StepReport, Error> {
        let controls = self.options.controls(self.step)?;
        let before = self.options.check_finite.then(|| (self.model.parameters().clone(), self.state.clone()));
        self.run(feeds, target, &controls, sizes, execute)?;
        if let Some((parameters, state)) = before
            && self.is_spoiled()
        {
            *self.model.parameters_mut() = parameters;
            self.state = state;
            let origin = self.find_in_step(feeds, target, &controls, sizes)?.map(Box::new);
            return Err(Error::NonFiniteStep {
                network: self.network().name().to_owned(),
                step: self.step,
                origin,
            });
        }
        self.step += 1;
        let number = |name: &str| self.find_output(name).and_then(|output| output.elements.first().copied());
        Ok(StepReport {
            loss: number(names::LOSS).unwrap_or(f32::NAN),
            learning_rate: controls.exact_rate,
            gradient_norm: number(names::GRADIENT_NORM),
        })
    }

    /// Finds the first value of a step on a batch that is NaN or infinite, or has such an element: in what is given, the
    /// forward pass, the gradients or the updates. The step is run in the interpreter, which is slow, and trains nothing.
    /// [`TrainerOptions::check_finite`] does so for each step that goes wrong.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn find_non_finite<'a, 't>(
        &self,
        inputs: impl Into<N::Inputs<'a>>,
        target: impl Into<Target<'t>>,
    ) -> Result<Option<NonFiniteOrigin>, Error> {
        let feeds = self.network().order_inputs(inputs.into())?;
        let sizes = self.model.ports().sizes(self.network().name(), feeds.as_ref())?;
        let target = target.into();
        self.check_batch(&target, &sizes)?;
        self.find_in_step(feeds.as_ref(), &target, &self.options.controls(self.step)?, &sizes)
    }

    fn find_in_step(
        &self,
        feeds: &[Input<'_>],
        target: &Target<'_>,
        controls: &Controls,
        run: &Sizes,
    ) -> Result<Option<NonFiniteOrigin>, Error> {
        let mut bindings = Bindings::new();
        for (value, input) in self.graph.inputs() {
            let sizes = self.graph.ty(value).shape.concrete(run);
            let of_network = self.model.ports().inputs.iter().position(|(name, _)| *name == input.name);
            let array = match of_network {
                Some(place) => Array::new(sizes, feeds[place].elements().to_vec()),
                None => match controls.binding(&input.name, self.graph.ty(value).dtype, target) {
                    Some(Binding::Floats(elements)) => Array::new(sizes, elements.to_vec()),
                    Some(Binding::Integers(elements)) => Array::ints(sizes, elements.to_vec()),
                    Some(Binding::Written(_)) | None => continue,
                },
            };
            bindings.insert(input.name.clone(), array);
        }
        for (name, tensor) in self.model.parameters().iter().chain(self.state.iter()) {
            let array = Array::new(tensor.shape(), tensor.iter().copied().collect());
            bindings.insert(name.to_owned(), array);
        }
        non_finite::find(&self.graph, run, &bindings)
    }

    /// Whether the last step made the loss or anything that is kept NaN or infinite.
    fn is_spoiled(&self) -> bool {
        let loss = self.find_output(names::LOSS).and_then(|output| output.elements.first());
        loss.is_some_and(|loss| !loss.is_finite())
            || self.model.parameters().non_finite().is_some()
            || self.state.non_finite().is_some()
    }

    /// Checks what a step is given beside its inputs.
    fn check_batch(&self, target: &Target<'_>, sizes: &Sizes) -> Result<(), Error> {
        let name = self.loss_output();
        let mut outputs = self.model.ports().outputs.iter();
        if let Some((_, shape)) = outputs.find(|(output, _)| output == name) {
            target.check(self.network().name(), self.options.loss, shape, sizes)?;
        }
        match &self.single_value {
            Some(layer) if sizes.batch() == 1 => {
                Err(Error::SingleValue { network: self.network().name().to_owned(), layer: layer.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The output the loss is taken of.
    fn loss_output(&self) -> &str {
        let first = || self.model.ports().outputs.first().map_or("", |(name, _)| name);
        self.options.output.as_deref().unwrap_or_else(first)
    }

    fn run(
        &mut self,
        feeds: &[Input<'_>],
        target: &Target<'_>,
        controls: &Controls,
        sizes: &Sizes,
        execute: impl FnOnce(Run<'_, '_>, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let version = self.model.parameters().version();
        let mut run = self.executor.start(sizes)?;
        bind_inputs(&mut run, &self.slots.inputs, feeds)?;
        for (place, slot) in self.executor.slots().iter().enumerate() {
            let is_input = slot.kind == SlotKind::Input;
            if let Some(binding) =
                is_input.then(|| controls.binding(&slot.name, slot.ty.dtype, target)).flatten()
            {
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
            output.resize(sizes)?;
            run.bind(output.slot, Binding::Written(&mut output.elements))?;
        }
        execute(run, version)
    }

    /// The memory that steps on batches of a size take, said before any: parameters, the optimiser's state, what the model
    /// keeps prepared, and the step's own, with the outputs that are kept from one step to the next. Runs of
    /// [`Trainer::model`] between steps take what its own report says of a run, and of preparing for it.
    pub fn memory(&self, sizes: impl Into<Sizes>) -> MemoryReport {
        let (sizes, plan) = (sizes.into(), self.program().plan());
        let (step, model) = (MemoryReport::of(plan, &sizes), self.model.memory(&sizes));
        let mut values = Vec::new();
        plan.sizes.values_into(&sizes, &mut values);
        let outputs = self.outputs.iter().map(|output| &self.executor.slots()[output.slot]);
        let outputs = outputs.map(|slot| bytes(slot.size, &values));
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

    /// Gives back the memory that steps and runs have left for later ones, and the outputs of the last step: after a batch
    /// larger than those to come.
    pub fn release_memory(&mut self) {
        self.executor.release_memory();
        self.model.release_memory();
        self.outputs.iter_mut().for_each(|output| output.elements = Vec::new());
    }

    /// The network.
    pub fn network(&self) -> &N {
        self.model.network()
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

/// Refuses a file that a trainer with another optimiser wrote. A file that names none was written by a model.
fn check_optimizer(path: &Path, options: &Optimizer) -> Result<(), Error> {
    let metadata = Metadata::read(path)?.unwrap_or_default();
    match serde_json::from_value::<Optimizer>(metadata.optimizer) {
        Ok(written) if written.name() != options.name() => Err(Error::CheckpointOptimizer {
            path: path.to_owned(),
            expected: options.name(),
            got: written.name(),
        }),
        _ => Ok(()),
    }
}
