//! Trains a model: forward, backward and update are one compiled program.

mod accumulation;
mod batch;
mod carried;
mod controls;
mod declared;
mod files;
mod fit;
mod graph;
mod non_finite;
mod options;
mod output;
mod sequences;
mod target;

use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD};
use windlass_compiler::autodiff::names;
use windlass_compiler::codegen::Program;
use windlass_compiler::graph::{Graph, Stateful};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileTimes;
use windlass_compiler::plan::SlotKind;
use windlass_compiler::shape::Sizes;

use self::accumulation::Update;
pub(crate) use self::batch::{Targets, set_rows, single_value};
use self::carried::Carried;
pub(crate) use self::controls::Controls;
pub(crate) use self::declared::Declared;
pub use self::fit::{
    EarlyStopping, EpochReport, FitEnd, FitEvent, FitOptions, FitSchedule, History, Monitor, Plateau,
    Progress, RangeTest, RatePoint, RateSearch,
};
pub(crate) use self::graph::step_graph;
use self::graph::step_graphs;
pub use self::non_finite::{NonFiniteOrigin, Stage};
pub use self::options::{Average, TrainerOptions};
use self::output::Output;
pub use self::sequences::LabelSequences;
pub(crate) use self::sequences::{LabelRows, label_rows};
pub use self::target::Target;
use crate::error::Error;
use crate::executor::{Binding, Executor, Run};
use crate::forward::{bind_inputs, input_slots, parameter_slots};
use crate::memory::{MemoryReport, bytes};
use crate::model::Model;
use crate::network::ports::Least;
use crate::network::{AnyNetwork, Feed};
use crate::parameters::Parameters;
use crate::profile::Profile;
use crate::schedule::Schedule;

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean loss of the batch, before the update.
    pub loss: f32,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping; only with clipping, and of an update.
    pub gradient_norm: Option<f32>,
    /// Whether the parameters were updated: always, except for all but the last of the batches that
    /// [`TrainerOptions::accumulate`] says.
    pub updated: bool,
}

/// A model in training. Its debugging form is one line.
pub struct Trainer<N> {
    model: Model<N>,
    options: TrainerOptions,
    graph: Graph,
    executor: Executor,
    times: CompileTimes,
    /// The optimiser's state.
    state: Parameters,
    slots: Slots,
    step: u64,
    /// The update of the gradients of several batches, if it is a program of its own.
    update: Option<Update>,
    /// The batches whose gradients are summed.
    accumulated: u64,
    outputs: Vec<Output>,
    /// The states that are carried between steps, if the options say so.
    carried: Option<Carried>,
    /// A batch normalisation that has a single value per channel for a batch of one.
    single_value: Option<String>,
    /// The targets that the losses declare.
    declared: Arc<Declared>,
    /// The length of the rows of labels, for each CTC loss.
    rows: Vec<LabelRows>,
    /// Memory for the numbers of steps of a batch whose target gives none.
    all_steps: Vec<i32>,
    /// The state of fits between epochs.
    progress: fit::Run,
    /// The parameters of the best epoch, if fits keep them.
    best: Option<Parameters>,
    /// The schedule over all steps of the fit that runs, if it has one.
    fit_schedule: Option<Schedule>,
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

/// The slots of a training step; `None` for unused ones.
#[derive(Debug)]
struct Slots {
    /// The network's inputs, in declaration order.
    inputs: Vec<Option<usize>>,
    /// The model's parameters and states, in order.
    parameters: Vec<Option<usize>>,
    /// The optimiser's state, in order.
    state: Vec<Option<usize>>,
}

impl<N: AnyNetwork> Trainer<N> {
    /// Compiles a training step for a model, with its options and on its threads.
    ///
    /// # Errors
    /// [`Error::Autodiff`] for a network that cannot be trained this way; [`Error::Setting`]; [`Error::Compile`]; [`Error::Graph`] for a
    /// network whose states cannot be carried, if [`TrainerOptions::carry_states`] says so.
    pub fn new(model: Model<N>, options: TrainerOptions) -> Result<Self, Error> {
        if let Some(average) = options.average {
            average.check()?;
        }
        let (Stateful { graph, states }, update) = step_graphs(model.network(), &options)?;
        let (executor, mut times) = model.compile_beside(&graph, Mode::Training)?;
        let mut update = update.map(|graph| Update::new(&model, graph)).transpose()?.map(|(update, own)| {
            times.passes += own.passes;
            times.plan += own.plan;
            times.codegen += own.codegen;
            update
        });
        let of_state = update.as_ref().map_or(&graph, Update::graph);
        let state = Parameters::initialized(of_state, 0)?.without(model.parameters());
        if let Some(update) = &mut update {
            update.order(&state);
        }
        let slots = Slots {
            inputs: input_slots(&executor, model.ports()),
            parameters: parameter_slots(&executor, model.parameters()).collect(),
            state: parameter_slots(&executor, &state).collect(),
        };
        let outputs = executor.slots().iter().enumerate().filter(|(_, slot)| slot.kind == SlotKind::Output);
        let outputs = outputs.map(|(place, slot)| Output::new(place, slot)).collect();
        let carried = options.carry_states.then(|| Carried::new(states, &executor));
        let (single_value, rows) = (single_value(&graph), label_rows(&graph));
        let declared = Declared::of(&options.loss, &options.losses, model.ports());
        Ok(Trainer {
            model,
            options,
            graph,
            executor,
            times,
            state,
            slots,
            step: 0,
            update,
            accumulated: 0,
            outputs,
            carried,
            single_value,
            declared,
            rows,
            all_steps: Vec::new(),
            progress: fit::Run::default(),
            best: None,
            fit_schedule: None,
        })
    }

    /// One step of gradient descent on a batch of any size. With [`TrainerOptions::accumulate`], several calls make one step.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Token`], [`Error::UnequalBatches`], [`Error::EmptyBatch`] as in [`Model::forward`]; [`Error::Label`]
    /// for a label outside the range of classes; [`Error::LabelSequence`] for labels that the CTC loss cannot align with
    /// the steps; [`Error::Target`] for a target of the wrong kind or batch size, or without the name
    /// of an output;
    /// [`Error::CarriedStates`] for another number of samples than that whose states are carried;
    /// [`Error::SingleValue`] for a batch of one if batch normalisation has a single value per channel;
    /// [`Error::Setting`] for a rate that has become infinite; [`Error::OutOfMemory`]; and [`Error::NonFiniteStep`]
    /// with [`TrainerOptions::check_finite`]. After any of these errors, parameters are unchanged.
    pub fn step<'a, 't>(
        &mut self,
        inputs: impl Into<N::Inputs<'a>>,
        target: impl Into<Target<'t>>,
    ) -> Result<StepReport, Error> {
        let feeds = self.network().order_inputs(inputs.into())?;
        let declared = Arc::clone(&self.declared);
        let target = declared.named(self.network().name(), target.into())?;
        let sizes = self.checked_sizes(feeds.as_ref(), &target)?;
        self.step_with(feeds.as_ref(), &target, &sizes, |run, version| run.execute(version))
    }

    /// Measures the time of [`Trainer::step`] by kernel. It takes `runs` steps on the batch, and one more for warming
    /// up; all of them train the model. The profile prints as a table. It does not show updates that are programs of their own
    /// ([`TrainerOptions::accumulate`]).
    ///
    /// # Errors
    /// Those of [`Trainer::step`].
    pub fn profile<'a, 't>(
        &mut self,
        inputs: impl Into<N::Inputs<'a>>,
        target: impl Into<Target<'t>>,
        runs: usize,
    ) -> Result<Profile, Error> {
        let feeds = self.network().order_inputs(inputs.into())?;
        let declared = Arc::clone(&self.declared);
        let target = declared.named(self.network().name(), target.into())?;
        let sizes = self.checked_sizes(feeds.as_ref(), &target)?;
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

    /// The least length of a sequence: those whose states are carried may have ended in a step before.
    fn least(&self) -> Least {
        if self.carried.is_some() { Least::NoStep } else { Least::OneStep }
    }

    /// One step; `execute` runs the program.
    fn step_with(
        &mut self,
        feeds: &[Feed<'_>],
        target: &Target<'_>,
        sizes: &Sizes,
        execute: impl FnOnce(Run<'_, '_>, u64) -> Result<(), Error>,
    ) -> Result<StepReport, Error> {
        let mut controls = self.options.controls(self.step, self.batches(), self.learning_rate())?;
        controls.all_steps = std::mem::take(&mut self.all_steps);
        self.count_all_steps(&mut controls, sizes);
        let before = self.options.check_finite.then(|| (self.model.parameters().clone(), self.state.clone()));
        self.run(feeds, target, &controls, sizes, execute)?;
        let norm = self.update(&controls)?;
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
        if let Some(carried) = &mut self.carried {
            carried.take(&self.outputs, sizes.batch());
        }
        self.all_steps = controls.all_steps;
        let updated = self.is_due();
        (self.step, self.accumulated) = match updated {
            true => (self.step + 1, 0),
            false => (self.step, self.accumulated + 1),
        };
        let number = |name: &str| self.find_output(name).and_then(|output| output.elements.first().copied());
        Ok(StepReport {
            loss: number(names::LOSS).unwrap_or(f32::NAN),
            learning_rate: controls.exact_rate,
            gradient_norm: norm.or_else(|| number(names::GRADIENT_NORM)),
            updated,
        })
    }

    /// Finds the first NaN or infinite value of a step on a batch: in the inputs, the forward pass, the gradients or
    /// the updates. It runs the step in the interpreter, which is slow, and does not train.
    /// [`TrainerOptions::check_finite`] does this for every failed step.
    ///
    /// # Errors
    /// Those of [`Trainer::step`].
    pub fn find_non_finite<'a, 't>(
        &self,
        inputs: impl Into<N::Inputs<'a>>,
        target: impl Into<Target<'t>>,
    ) -> Result<Option<NonFiniteOrigin>, Error> {
        let feeds = self.network().order_inputs(inputs.into())?;
        let declared = Arc::clone(&self.declared);
        let target = declared.named(self.network().name(), target.into())?;
        let sizes = self.checked_sizes(feeds.as_ref(), &target)?;
        let mut controls = self.options.controls(self.step, self.batches(), self.learning_rate())?;
        self.count_all_steps(&mut controls, &sizes);
        self.find_in_step(feeds.as_ref(), &target, &controls, &sizes)
    }

    /// Whether the last step made the loss, a parameter or a state NaN or infinite.
    fn is_spoiled(&self) -> bool {
        let loss = self.find_output(names::LOSS).and_then(|output| output.elements.first());
        loss.is_some_and(|loss| !loss.is_finite())
            || self.model.parameters().non_finite().is_some()
            || self.state.non_finite().is_some()
    }

    /// The output used for the loss, or for the first of several losses.
    fn loss_output(&self) -> &str {
        let first = || self.model.ports().outputs.first().map_or("", |(name, _)| name);
        let listed = self.options.losses.first().map(|loss| loss.output.as_str());
        listed.or(self.options.output.as_deref()).unwrap_or_else(first)
    }

    fn run(
        &mut self,
        feeds: &[Feed<'_>],
        target: &Target<'_>,
        controls: &Controls,
        sizes: &Sizes,
        execute: impl FnOnce(Run<'_, '_>, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let version = self.model.parameters().version();
        if let Some(carried) = &mut self.carried {
            carried.prepare(sizes.batch())?;
        }
        let mut run = self.executor.start(sizes)?;
        if let Some(carried) = &self.carried {
            carried.bind(&mut run)?;
        }
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

    /// The memory of steps with a batch size, known before any step: parameters, the optimiser's state, the model's
    /// prepacked weights, and the memory of the step itself, including outputs that are kept between steps. Runs of
    /// [`Trainer::model`] between steps take what its own report says of a run and its prepacking. With a CTC loss, rows of
    /// labels are an open size of the step's [`graph`](Trainer::graph), `S` if the network has none of this name.
    pub fn memory(&self, sizes: impl Into<Sizes>) -> MemoryReport {
        let (sizes, plan) = (sizes.into(), self.program().plan());
        let (step, model) = (MemoryReport::of(plan, &sizes), self.model.memory(&sizes));
        let mut values = Vec::new();
        plan.sizes.values_into(&sizes, &mut values);
        let outputs = self.outputs.iter().map(|output| &self.executor.slots()[output.slot]);
        let outputs = outputs.map(|slot| bytes(slot.size, &values));
        let carried = self.carried.as_ref().map_or(0, |carried| carried.bytes(sizes.batch()));
        let mut report = MemoryReport {
            parameters: model.parameters
                + self.state.bytes()
                + self.best.as_ref().map_or(0, Parameters::bytes),
            prepacked: model.prepacked + step.prepacked,
            batched: outputs.fold(step.batched, usize::saturating_add).saturating_add(carried),
            ..step
        };
        if let Some(update) = &self.update {
            update.add_memory(&mut report);
        }
        report
    }

    /// An output of the last step, by name; [`None`] before the first.
    pub fn output(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        let output = self.find_output(name)?;
        ArrayViewD::from_shape(output.sizes.clone(), &output.elements).ok()
    }

    /// The network's output for the last step's batch, `[N, …]`: the one used for the loss. Empty before the first
    /// step.
    pub fn outputs(&self) -> &[f32] {
        self.find_output(self.loss_output()).map_or(&[], |output| &output.elements)
    }

    /// An output, after at least one step.
    fn find_output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name && !output.elements.is_empty())
    }

    /// Begins new sequences: recurrent layers begin the next step with zeros, and the batch may have another size. Without
    /// [`TrainerOptions::carry_states`] every step does.
    pub fn reset_states(&mut self) {
        if let Some(carried) = &mut self.carried {
            carried.reset();
        }
    }

    /// Frees the memory that finished steps and runs keep for later ones, and the outputs of the last step. Call this
    /// after an unusually large batch.
    pub fn release_memory(&mut self) {
        self.executor.release_memory();
        self.update.iter().for_each(Update::release_memory);
        self.model.release_memory();
        self.outputs.iter_mut().for_each(|output| output.elements = Vec::new());
    }

    /// The network.
    pub fn network(&self) -> &N {
        self.model.network()
    }

    /// The model, with its current parameters.
    pub fn model(&self) -> &Model<N> {
        &self.model
    }

    /// Replaces a parameter or state of the model between two steps, for example by what another trainer has learned:
    /// each of two networks that train against each other holds the other as frozen layers.
    ///
    /// # Errors
    /// Those of [`Model::set_parameter`].
    pub fn set_parameter(&mut self, name: &str, values: &ArrayD<f32>) -> Result<(), Error> {
        self.model.set_parameter(name, values)
    }

    /// The running averages of the parameters, with the present running statistics and frozen parameters:
    /// [`Model::with_parameters`] makes a model of them. [`None`] without [`TrainerOptions::average`], or before the first
    /// step.
    pub fn averaged(&self) -> Option<Parameters> {
        self.options.average.filter(|_| self.step > 0)?;
        let mut averaged = self.model.parameters().clone();
        for name in self.model.parameters().names() {
            if let Some(average) = self.state.get(&names::average(name)) {
                averaged.set(name, &average.to_owned()).ok()?;
            }
        }
        Some(averaged)
    }

    /// Ends the training.
    pub fn into_model(self) -> Model<N> {
        self.model
    }

    /// The number of steps taken: updates of the parameters.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The training options.
    pub fn options(&self) -> &TrainerOptions {
        &self.options
    }

    /// The graph of a whole step: forward, backward, update. With [`TrainerOptions::accumulate`], it sums gradients, and
    /// [`Trainer::update_graph`] updates.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph of the update by the gradients of several batches, with [`TrainerOptions::accumulate`].
    pub fn update_graph(&self) -> Option<&Graph> {
        self.update.as_ref().map(Update::graph)
    }

    /// The time that compiling the step took.
    pub fn compile_times(&self) -> CompileTimes {
        self.times
    }

    /// The compiled step.
    pub fn program(&self) -> &Program {
        self.executor.program()
    }
}
