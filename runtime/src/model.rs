//! A network with its parameters, compiled to predict.

use std::marker::PhantomData;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, Dimension, IxDyn};
use windlass_compiler::codegen::Program;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileTimes, compile};
use windlass_compiler::plan::SlotKind;

use crate::checkpoint::{Checkpoint, Metadata, NonFinite};
use crate::error::Error;
use crate::executor::{Binding, Executor, Run};
use crate::network::{Input, Network};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::profile::Profile;

/// The slots of a model's program.
#[derive(Debug)]
struct Slots {
    /// Of each input, in the order of declaration; `None` for one that nothing uses.
    inputs: Vec<Option<usize>>,
    /// Of parameters and states, each with its place among the [`Parameters`] the model was made with.
    stored: Vec<(usize, usize)>,
    /// Of each output, in the order of declaration.
    outputs: Vec<Option<usize>>,
}

/// A network with its parameters, compiled to predict: any batch size, from any number of threads at once.
#[derive(Debug)]
pub struct Model<N> {
    parameters: Parameters,
    executor: Executor,
    slots: Slots,
    options: Options,
    times: CompileTimes,
    network: PhantomData<N>,
}

impl<N: Network> Model<N> {
    /// A model with first values drawn from the distributions the network declares.
    ///
    /// # Errors
    /// [`Error::Compile`] where no code can be made for it here, or an option is out of its range; [`Error::Setting`]
    /// for a distribution that cannot be drawn from.
    pub fn new(seed: u64) -> Result<Self, Error> {
        Self::with_options(seed, &Options::default())
    }

    /// A model as [`Model::new`] makes it, compiled and run as asked.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn with_options(seed: u64, options: &Options) -> Result<Self, Error> {
        Self::assemble(Parameters::initialized(N::graph(), seed)?, options)
    }

    /// A model with the parameters of a file, as [`Model::save`] or a trainer wrote it.
    ///
    /// # Errors
    /// As [`Model::new`], and as [`Checkpoint::load_for`] for a file that cannot be read or does not fit.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, &Options::default())
    }

    /// A model as [`Model::load`] makes it, compiled and run as asked.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let (parameters, _) = Parameters::load(N::graph(), path.as_ref())?;
        Self::assemble(parameters, options)
    }

    pub(crate) fn assemble(parameters: Parameters, options: &Options) -> Result<Self, Error> {
        let (executor, times) = compile_executor(N::graph(), Mode::Inference, options)?;
        let slots = Slots {
            inputs: N::INPUTS.iter().map(|(name, _)| executor.slot(SlotKind::Input, name)).collect(),
            stored: stored_slots(&executor, &parameters)
                .enumerate()
                .filter_map(|(place, slot)| slot.map(|slot| (slot, place)))
                .collect(),
            outputs: N::OUTPUTS.iter().map(|(name, _)| executor.slot(SlotKind::Output, name)).collect(),
        };
        Ok(Model { parameters, executor, slots, options: options.clone(), times, network: PhantomData })
    }

    /// Writes the parameters to a safetensors file: whole, or not at all.
    ///
    /// # Errors
    /// As [`Checkpoint::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let metadata = Metadata { network: N::NAME.to_owned(), ..Metadata::default() };
        let checkpoint = Checkpoint { tensors: self.parameters.to_named(), metadata: Some(metadata) };
        checkpoint.save(path.as_ref(), NonFinite::Refuse)
    }

    /// Runs the network on a batch of any size.
    ///
    /// # Errors
    /// [`Error::Input`] for an input of the wrong shape, [`Error::UnequalBatches`] for inputs of different batch sizes,
    /// [`Error::EmptyBatch`] for none.
    pub fn forward<'a>(&self, inputs: impl Into<N::Inputs<'a>>) -> Result<N::Outputs, Error> {
        let feeds = N::feeds(inputs.into());
        let batch = batch_of::<N>(feeds.as_ref())?;
        let mut results = N::results(|item| empty_output(batch, item));
        let elements = results.as_mut().iter_mut().map(ArrayD::as_slice_mut);
        self.start(feeds.as_ref(), elements.flatten(), batch)?.execute(self.parameters.version())?;
        Ok(N::outputs(results))
    }

    /// Runs the network on a batch of any size and writes the results to memory that is there already: for each output,
    /// in the order of declaration, the elements of all items, the last axis fastest.
    ///
    /// Once a batch of that size has been run, it asks for no memory.
    ///
    /// # Errors
    /// As [`Model::forward`], and [`Error::Binding`] for another number of outputs or of their elements.
    pub fn forward_into<'a>(
        &self,
        inputs: impl Into<N::Inputs<'a>>,
        outputs: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        if outputs.len() != N::OUTPUTS.len() {
            return Err(Error::Binding {
                name: N::NAME.to_owned(),
                expected: format!("memory for {} outputs", N::OUTPUTS.len()),
                got: format!("memory for {}", outputs.len()),
            });
        }
        let feeds = N::feeds(inputs.into());
        let batch = batch_of::<N>(feeds.as_ref())?;
        let outputs = outputs.iter_mut().map(|output| &mut **output);
        self.start(feeds.as_ref(), outputs, batch)?.execute(self.parameters.version())
    }

    /// Measures where the time of [`Model::forward`] goes, kernel by kernel, over `runs` runs on the same batch. The
    /// profile prints as a table.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn profile<'a>(&self, inputs: impl Into<N::Inputs<'a>>, runs: usize) -> Result<Profile, Error> {
        let feeds = N::feeds(inputs.into());
        let batch = batch_of::<N>(feeds.as_ref())?;
        let mut results = N::results(|item| empty_output(batch, item));
        Profile::measure(self.executor.program(), batch, runs, |times| {
            let elements = results.as_mut().iter_mut().map(ArrayD::as_slice_mut);
            let run = self.start(feeds.as_ref(), elements.flatten(), batch)?;
            run.execute_timed(self.parameters.version(), times)
        })
    }

    /// A run with everything bound.
    fn start<'b>(
        &'b self,
        feeds: &'b [Input<'_>],
        outputs: impl Iterator<Item = &'b mut [f32]>,
        batch: usize,
    ) -> Result<Run<'b, 'b>, Error> {
        let mut run = self.executor.start(batch)?;
        bind_inputs(&mut run, &self.slots.inputs, feeds)?;
        for &(slot, place) in &self.slots.stored {
            if let Some(values) = self.parameters.read(&self.executor.slots()[slot].name, place) {
                run.bind(slot, values)?;
            }
        }
        for (slot, output) in self.slots.outputs.iter().zip(outputs) {
            if let Some(slot) = *slot {
                run.bind(slot, Binding::Written(output))?;
            }
        }
        Ok(run)
    }

    /// The parameters and states.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The parameters and states, for changing them.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// A parameter or state by name.
    pub fn parameter(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        self.parameters.get(name)
    }

    /// Replaces a parameter or state.
    ///
    /// # Errors
    /// As [`Parameters::set`].
    pub fn set_parameter(&mut self, name: &str, values: &ArrayD<f32>) -> Result<(), Error> {
        self.parameters.set(name, values)
    }

    /// How it was compiled.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How long it took to compile.
    pub fn compile_times(&self) -> CompileTimes {
        self.times
    }

    /// The compiled program: its plan, memory and steps.
    pub fn program(&self) -> &Program {
        self.executor.program()
    }
}

/// Memory for an output of a batch.
fn empty_output(batch: usize, item: &[usize]) -> ArrayD<f32> {
    let mut sizes = IxDyn::zeros(item.len() + 1);
    sizes[0] = batch;
    sizes.slice_mut()[1..].copy_from_slice(item);
    ArrayD::zeros(sizes)
}

/// The slot of each parameter and state, in their order; `None` for one that nothing uses.
pub(crate) fn stored_slots(
    executor: &Executor,
    parameters: &Parameters,
) -> impl Iterator<Item = Option<usize>> {
    parameters.names().iter().map(|name| executor.slot(SlotKind::Stored, name))
}

/// Binds a network's inputs to their slots.
pub(crate) fn bind_inputs<'b>(
    run: &mut Run<'_, 'b>,
    slots: &[Option<usize>],
    feeds: &'b [Input<'_>],
) -> Result<(), Error> {
    for (slot, input) in slots.iter().zip(feeds) {
        if let Some(slot) = *slot {
            run.bind(slot, Binding::Floats(input.elements()))?;
        }
    }
    Ok(())
}

/// Compiles a graph and gives it memory and threads.
pub(crate) fn compile_executor(
    graph: &Graph,
    mode: Mode,
    options: &Options,
) -> Result<(Executor, CompileTimes), Error> {
    let (program, times) = compile(graph, mode, &options.compile, &Dump::from_environment())
        .map_err(|source| Error::Compile { network: graph.name().to_owned(), source: Box::new(source) })?;
    Ok((Executor::new(program)?, times))
}

/// The number of items every input has.
pub(crate) fn batch_of<N: Network>(feeds: &[Input<'_>]) -> Result<usize, Error> {
    let mut first: Option<(&'static str, usize)> = None;
    for (&(name, item), input) in N::INPUTS.iter().zip(feeds) {
        let batch = input.batch(item).map_err(|source| Error::Input {
            network: N::NAME.to_owned(),
            input: name.to_owned(),
            source,
        })?;
        match first {
            None => first = Some((name, batch)),
            Some((other, expected)) if expected != batch => {
                return Err(Error::UnequalBatches {
                    network: N::NAME.to_owned(),
                    left: other.to_owned(),
                    left_batch: expected,
                    right: name.to_owned(),
                    right_batch: batch,
                });
            }
            Some(_) => {}
        }
    }
    match first {
        Some((_, batch)) if batch > 0 => Ok(batch),
        _ => Err(Error::EmptyBatch { network: N::NAME.to_owned() }),
    }
}
