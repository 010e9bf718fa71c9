//! A network with its parameters, compiled to predict.

use std::marker::PhantomData;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use windlass_compiler::codegen::Program;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileTimes, compile};
use windlass_compiler::plan::SlotKind;

use crate::checkpoint::{Checkpoint, Metadata, NonFinite};
use crate::error::Error;
use crate::executor::{Binding, Executor};
use crate::network::{Input, Network};
use crate::options::Options;
use crate::parameters::Parameters;

/// A network with its parameters, compiled to predict: any batch size, from any number of threads at once.
#[derive(Debug)]
pub struct Model<N> {
    parameters: Parameters,
    executor: Executor,
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
        Ok(Model { parameters, executor, options: options.clone(), times, network: PhantomData })
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
        let batch = batch_of::<N>(&feeds)?;
        let mut outputs: Vec<ArrayD<f32>> = N::OUTPUTS
            .iter()
            .map(|(_, item)| {
                let mut sizes = vec![batch];
                sizes.extend_from_slice(item);
                ArrayD::zeros(sizes)
            })
            .collect();
        self.run(&feeds, batch, &mut outputs, |bindings| {
            self.executor.run(bindings, batch, self.parameters.version())
        })?;
        Ok(N::outputs(outputs))
    }

    fn run(
        &self,
        feeds: &[(&'static str, Input<'_>)],
        batch: usize,
        outputs: &mut [ArrayD<f32>],
        run: impl FnOnce(&mut [Binding<'_>]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut results: Vec<Option<&mut [f32]>> =
            outputs.iter_mut().map(|output| output.as_slice_mut()).collect();
        let mut bindings = Vec::with_capacity(self.executor.slots().len());
        for slot in self.executor.slots() {
            let binding = match slot.kind {
                SlotKind::Input => feed(feeds, &slot.name).map(|input| Binding::Floats(input.elements())),
                SlotKind::Stored => self.parameters.read(&slot.name),
                SlotKind::Output => N::OUTPUTS
                    .iter()
                    .position(|(name, _)| *name == slot.name)
                    .and_then(|place| results[place].take())
                    .map(Binding::Written),
            };
            bindings.push(binding.ok_or_else(|| unbound(&slot.name, batch))?);
        }
        run(&mut bindings)
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
pub(crate) fn batch_of<N: Network>(feeds: &[(&'static str, Input<'_>)]) -> Result<usize, Error> {
    let mut first: Option<(&'static str, usize)> = None;
    for (name, input) in feeds {
        let item = N::INPUTS.iter().find(|(declared, _)| declared == name).map_or(&[][..], |(_, item)| *item);
        let batch = input.batch(item).map_err(|source| Error::Input {
            network: N::NAME.to_owned(),
            input: (*name).to_owned(),
            source,
        })?;
        match first {
            None => first = Some((name, batch)),
            Some((other, expected)) if expected != batch => {
                return Err(Error::UnequalBatches {
                    network: N::NAME.to_owned(),
                    left: other.to_owned(),
                    left_batch: expected,
                    right: (*name).to_owned(),
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

/// The input of a name.
pub(crate) fn feed<'f, 'a>(feeds: &'f [(&'static str, Input<'a>)], name: &str) -> Option<&'f Input<'a>> {
    feeds.iter().find(|(declared, _)| *declared == name).map(|(_, input)| input)
}

pub(crate) fn unbound(name: &str, batch: usize) -> Error {
    Error::Binding {
        name: name.to_owned(),
        expected: format!("memory for a batch of {batch}"),
        got: "none (a fault in Windlass; please report it)".to_owned(),
    }
}
