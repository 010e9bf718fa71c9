//! A network compiled for prediction, without its parameters: the common part of models and predictors.

use ndarray::{ArrayD, Dimension, IxDyn};
use windlass_compiler::codegen::Program;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileTimes, compile};
use windlass_compiler::plan::{Plan, SlotKind};
use windlass_compiler::shape::{Shape, Sizes};

use crate::available;
use crate::error::Error;
use crate::executor::{Binding, Executor, Run};
use crate::memory::MemoryReport;
use crate::network::ports::{Least, Ports};
use crate::network::{AnyNetwork, Feed};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::profile::Profile;

/// The slots of a prediction program.
#[derive(Debug)]
struct Slots {
    /// The slot of each input, in declaration order; `None` if it is unused.
    inputs: Vec<Option<usize>>,
    /// The slots of parameters and states, each with its index in [`Parameters`].
    parameters: Vec<(usize, usize)>,
    /// The slot of each output, in declaration order.
    outputs: Vec<Option<usize>>,
}

/// A network compiled for prediction. Each run receives its parameters.
pub(crate) struct Forward<N> {
    network: N,
    executor: Executor,
    ports: Ports,
    slots: Slots,
    options: Options,
    times: CompileTimes,
}

impl<N: AnyNetwork> Forward<N> {
    /// Compiles the network for parameters in this order.
    pub(crate) fn compile(network: N, parameters: &Parameters, options: &Options) -> Result<Self, Error> {
        let (executor, times) = compile_executor(network.graph(), Mode::Inference, options)?;
        let ports = Ports::of(network.graph());
        let outputs = ports.outputs.iter().map(|(name, _)| executor.slot(SlotKind::Output, name));
        let slots = Slots {
            inputs: input_slots(&executor, &ports),
            parameters: places(&executor, parameters),
            outputs: outputs.collect(),
        };
        Ok(Forward { network, executor, ports, slots, options: options.clone(), times })
    }

    /// Prepacks for parameters that will not change any more, and returns those that runs read.
    pub(crate) fn settle(&mut self, parameters: Parameters) -> Result<Parameters, Error> {
        let plan = self.executor.program().plan();
        let sizes = plan.sizes.symbols().into_iter().fold(Sizes::new(), |sizes, size| sizes.with(size, 1));
        let mut run = self.executor.start(sizes)?;
        self.bind_stored(&mut run, &parameters)?;
        run.prepack(parameters.version())?;
        let read = plan.slots_of(&plan.run);
        let is_read = |name: &str| {
            self.executor.slot(SlotKind::Parameter, name).is_some_and(|slot| read.contains(&slot))
        };
        let kept = parameters.keep(is_read);
        self.slots.parameters = places(&self.executor, &kept);
        Ok(kept)
    }

    /// Runs the network on a batch.
    pub(crate) fn run(&self, parameters: &Parameters, inputs: N::Inputs<'_>) -> Result<N::Outputs, Error> {
        let feeds = self.network.order_inputs(inputs)?;
        let sizes = self.ports.sizes(self.network.name(), feeds.as_ref(), Least::OneStep)?;
        let mut results = self.empty_outputs(&sizes)?;
        let elements = results.as_mut().iter_mut().map(ArrayD::as_slice_mut);
        self.start(parameters, feeds.as_ref(), elements.flatten(), sizes)?.execute(parameters.version())?;
        Ok(self.network.name_results(results))
    }

    /// Runs the network on a batch, and writes results to existing memory.
    pub(crate) fn run_into(
        &self,
        parameters: &Parameters,
        inputs: N::Inputs<'_>,
        outputs: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        let expected = self.ports.outputs.len();
        if outputs.len() != expected {
            return Err(Error::Binding {
                name: self.network.name().to_owned(),
                expected: format!("memory for {expected} outputs"),
                got: format!("memory for {}", outputs.len()),
            });
        }
        let feeds = self.network.order_inputs(inputs)?;
        let sizes = self.ports.sizes(self.network.name(), feeds.as_ref(), Least::OneStep)?;
        let outputs = outputs.iter_mut().map(|output| &mut **output);
        self.start(parameters, feeds.as_ref(), outputs, sizes)?.execute(parameters.version())
    }

    /// Runs the network on inputs in declaration order, and writes results to existing memory.
    pub(crate) fn run_feeds<'b>(
        &'b self,
        parameters: &'b Parameters,
        feeds: &'b [Feed<'_>],
        outputs: impl Iterator<Item = &'b mut [f32]>,
        sizes: &Sizes,
    ) -> Result<(), Error> {
        self.start(parameters, feeds, outputs, sizes.clone())?.execute(parameters.version())
    }

    /// Measures runs on the same batch, kernel by kernel.
    pub(crate) fn profile(
        &self,
        parameters: &Parameters,
        inputs: N::Inputs<'_>,
        runs: usize,
    ) -> Result<Profile, Error> {
        let feeds = self.network.order_inputs(inputs)?;
        let sizes = self.ports.sizes(self.network.name(), feeds.as_ref(), Least::OneStep)?;
        let mut results = self.empty_outputs(&sizes)?;
        Profile::measure(self.executor.program(), &sizes, runs, |times| {
            let elements = results.as_mut().iter_mut().map(ArrayD::as_slice_mut);
            let run = self.start(parameters, feeds.as_ref(), elements.flatten(), sizes.clone())?;
            run.execute_timed(parameters.version(), times)
        })
    }

    /// A run with everything bound.
    fn start<'b>(
        &'b self,
        parameters: &'b Parameters,
        feeds: &'b [Feed<'_>],
        outputs: impl Iterator<Item = &'b mut [f32]>,
        sizes: Sizes,
    ) -> Result<Run<'b, 'b>, Error> {
        let mut run = self.executor.start(sizes)?;
        bind_inputs(&mut run, &self.slots.inputs, feeds)?;
        self.bind_stored(&mut run, parameters)?;
        for (slot, output) in self.slots.outputs.iter().zip(outputs) {
            if let Some(slot) = *slot {
                run.bind(slot, Binding::Written(output))?;
            }
        }
        Ok(run)
    }

    fn bind_stored<'b>(&self, run: &mut Run<'_, 'b>, parameters: &'b Parameters) -> Result<(), Error> {
        for &(slot, place) in &self.slots.parameters {
            if let Some(values) = parameters.read(&self.executor.slots()[slot].name, place) {
                run.bind(slot, values)?;
            }
        }
        Ok(())
    }

    /// Compiles another graph with the same options, on the same threads.
    pub(crate) fn compile_beside(
        &self,
        graph: &Graph,
        mode: Mode,
    ) -> Result<(Executor, CompileTimes), Error> {
        let (program, times) = compile_program(graph, mode, &self.options)?;
        Ok((self.executor.beside(program)?, times))
    }

    /// The memory of runs with these parameters.
    pub(crate) fn memory(&self, parameters: &Parameters, sizes: &Sizes) -> MemoryReport {
        MemoryReport { parameters: parameters.bytes(), ..MemoryReport::of(self.plan(), sizes) }
    }

    pub(crate) fn release_memory(&self) {
        self.executor.release_memory();
    }

    /// A short form for debugging.
    pub(crate) fn in_short(&self) -> String {
        let plan = self.plan();
        format!("kernels: {}, threads: {}", plan.run.len(), plan.threads)
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Memory for the outputs of a run.
    pub(crate) fn empty_outputs(&self, sizes: &Sizes) -> Result<N::Results, Error> {
        let mut refused = None;
        let results = self.network.make_results(|place| {
            empty_output(self.network.name(), &self.ports.outputs[place].1, sizes).unwrap_or_else(|error| {
                refused = Some(error);
                ArrayD::zeros(IxDyn(&[0]))
            })
        });
        refused.map_or(Ok(results), Err)
    }

    pub(crate) fn network(&self) -> &N {
        &self.network
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn compile_times(&self) -> CompileTimes {
        self.times
    }

    pub(crate) fn program(&self) -> &Program {
        self.executor.program()
    }

    pub(crate) fn plan(&self) -> &Plan {
        self.program().plan()
    }
}

/// The slots of those parameters that a program uses, each with its index in the parameters.
fn places(executor: &Executor, parameters: &Parameters) -> Vec<(usize, usize)> {
    let slots = parameter_slots(executor, parameters).enumerate();
    slots.filter_map(|(place, slot)| slot.map(|slot| (slot, place))).collect()
}

/// Memory for an output of a run.
pub(crate) fn empty_output(network: &str, shape: &Shape, sizes: &Sizes) -> Result<ArrayD<f32>, Error> {
    let axes = concrete(shape, sizes);
    let count = axes.slice().iter().fold(1usize, |product, &size| product.saturating_mul(size));
    let what = || format!("an output of `{network}` on a batch of {}", sizes.batch());
    let elements = available::zeros(count, what)?;
    ArrayD::from_shape_vec(axes, elements).map_err(|_| available::refused(usize::MAX, what))
}

/// The sizes of a shape, without allocating for up to four axes.
pub(crate) fn concrete(shape: &Shape, sizes: &Sizes) -> IxDyn {
    let mut axes = IxDyn::zeros(shape.rank());
    for (axis, dim) in axes.slice_mut().iter_mut().zip(shape.dims()) {
        *axis = dim.at(sizes);
    }
    axes
}

/// The slot of each parameter and state, in order; `None` if it is unused.
pub(crate) fn parameter_slots(
    executor: &Executor,
    parameters: &Parameters,
) -> impl Iterator<Item = Option<usize>> {
    parameters.names().iter().map(|name| executor.slot(SlotKind::Parameter, name))
}

/// The slot of each input, in declaration order; `None` if it is unused.
pub(crate) fn input_slots(executor: &Executor, ports: &Ports) -> Vec<Option<usize>> {
    ports.inputs.iter().map(|(name, _)| executor.slot(SlotKind::Input, name)).collect()
}

/// Binds a network's inputs to their slots.
pub(crate) fn bind_inputs<'b>(
    run: &mut Run<'_, 'b>,
    slots: &[Option<usize>],
    feeds: &'b [Feed<'_>],
) -> Result<(), Error> {
    for (slot, input) in slots.iter().zip(feeds) {
        if let Some(slot) = *slot {
            let binding = match input {
                Feed::Numbers(samples) => Binding::Floats(samples.elements()),
                Feed::Indices(samples) => Binding::Integers(samples.elements()),
            };
            run.bind(slot, binding)?;
        }
    }
    Ok(())
}

/// Compiles a graph and creates its executor.
pub(crate) fn compile_executor(
    graph: &Graph,
    mode: Mode,
    options: &Options,
) -> Result<(Executor, CompileTimes), Error> {
    let (program, times) = compile_program(graph, mode, options)?;
    Ok((Executor::new(program)?, times))
}

fn compile_program(graph: &Graph, mode: Mode, options: &Options) -> Result<(Program, CompileTimes), Error> {
    compile(graph, mode, &options.compile, &Dump::from_environment())
        .map_err(|reason| Error::Compile { network: graph.name().to_owned(), reason: Box::new(reason) })
}
