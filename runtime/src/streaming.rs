//! Recurrent networks that process long sequences piece by piece and keep their state in between.

use windlass_compiler::graph::{Graph, with_states};
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::SlotKind;
use windlass_compiler::shape::{Dim, Shape, Sizes, Symbol};

use crate::error::Error;
use crate::executor::{Binding, Executor};
use crate::forward::{compile_executor, parameter_slots};
use crate::network::AnyNetwork;
use crate::network::ports::{Least, Port, Ports};
use crate::options::Options;
use crate::parameters::Parameters;

/// A network with recurrent layers, compiled to run a few steps at a time. Any number of [`Stream`]s share its weights.
///
/// ```
/// use windlass::{Binding, Builder, Cell, DType, Dim, Dynamic, Input, Layer, Recurrent, RnnActivation, Symbol};
///
/// let mut builder = Builder::new("net");
/// let steps: Symbol = "T".parse()?;
/// let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(3)])?;
/// let rnn = Recurrent::new(Cell::Rnn { activation: RnnActivation::Tanh }, 4);
/// let y = builder.layer("r", &Layer::Recurrent(rnn), x)?;
/// builder.output("y", y)?;
/// let model = Dynamic::new(builder.finish()?)?.model(42)?;
///
/// let streaming = model.streaming()?;
/// let mut stream = streaming.stream(1)?;
/// let mut y = [0.0; 4];
/// for frame in [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]] {
///     stream.run(&[Binding::Floats(&frame)], &mut [&mut y])?;
/// }
/// // The state after both frames is that of the whole sequence.
/// let whole = ndarray::array![[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]];
/// let whole = model.forward([("x", Input::from(&whole))])?.single()?;
/// assert!((whole[[0, 1, 0]] - y[0]).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Streaming {
    executor: Executor,
    parameters: Parameters,
    ports: Ports,
    /// The length symbol of the sequences, and the first input that determines its value.
    steps: Symbol,
    measured: usize,
    states: Vec<StateSlots>,
    /// The slots of the inputs and outputs, in declaration order; `None` for an unused input.
    inputs: Vec<Option<usize>>,
    outputs: Vec<usize>,
    parameter_slots: Vec<(usize, usize)>,
}

/// A state's size for each sample, and its slots before and after a run.
#[derive(Debug)]
struct StateSlots {
    elements: usize,
    before: usize,
    after: usize,
}

impl Streaming {
    pub(crate) fn new<N: AnyNetwork>(
        network: &N,
        parameters: &Parameters,
        options: &Options,
    ) -> Result<Self, Error> {
        let graph = network.graph();
        let ports = Ports::of(graph);
        let (steps, measured) = length(graph, &ports)?;
        let stateful = with_states(graph)?;
        let (executor, _) = compile_executor(&stateful.graph, Mode::Inference, options)?;
        let slot = |kind, name: &str| {
            executor.slot(kind, name).ok_or_else(|| Error::Binding {
                name: name.to_owned(),
                expected: "a slot of the program".to_owned(),
                got: "none".to_owned(),
            })
        };
        let mut states = Vec::with_capacity(stateful.states.len());
        for (name, sizes) in &stateful.states {
            let (before, after) = (slot(SlotKind::Input, name)?, slot(SlotKind::Output, name)?);
            states.push(StateSlots { elements: sizes.iter().product(), before, after });
        }
        let named = |ports: &[Port], kind| -> Vec<Option<usize>> {
            ports.iter().map(|(name, _)| executor.slot(kind, name)).collect()
        };
        let inputs = named(&ports.inputs, SlotKind::Input);
        let outputs =
            ports.outputs.iter().map(|(name, _)| slot(SlotKind::Output, name)).collect::<Result<_, _>>()?;
        let places = parameter_slots(&executor, parameters).enumerate();
        let parameter_slots = places.filter_map(|(place, slot)| slot.map(|slot| (slot, place))).collect();
        Ok(Streaming {
            parameters: parameters.clone(),
            ports,
            steps,
            measured,
            states,
            inputs,
            outputs,
            parameter_slots,
            executor,
        })
    }

    /// A new stream of a number of samples, whose states are zero.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] for no sample.
    pub fn stream(&self, samples: usize) -> Result<Stream<'_>, Error> {
        if samples == 0 {
            return Err(Error::EmptyBatch { network: self.network().to_owned() });
        }
        let zeros = || self.states.iter().map(|state| vec![0.0; samples * state.elements]).collect();
        Ok(Stream { streaming: self, samples, states: [zeros(), zeros()] })
    }

    fn network(&self) -> &str {
        &self.executor.program().plan().name
    }
}

/// The length symbol of a network's sequences, which is the only open size besides the batch, and the first input whose
/// number of elements determines it.
fn length(graph: &Graph, ports: &Ports) -> Result<(Symbol, usize), Error> {
    let mut symbols: Vec<Symbol> = ports.inputs.iter().flat_map(|(_, shape)| shape.symbols()).collect();
    symbols.retain(|symbol| *symbol != Symbol::BATCH);
    symbols.sort_unstable();
    symbols.dedup();
    let is_length =
        |shape: &Shape| shape.dims().iter().filter(|dim| **dim == Dim::from(symbols[0])).count() == 1;
    match symbols.len() {
        1 => ports.inputs.iter().position(|(_, shape)| is_length(shape)).map(|place| (symbols[0], place)),
        _ => None,
    }
    .ok_or_else(|| Error::Streaming { network: graph.name().to_owned(), open: symbols.len() })
}

/// Samples whose sequences are processed piece by piece: each run continues where the last one ended.
///
/// After the first run of a length, runs allocate no memory.
#[derive(Debug)]
pub struct Stream<'s> {
    streaming: &'s Streaming,
    samples: usize,
    /// The states before the next run, and memory for those after it.
    states: [Vec<Vec<f32>>; 2],
}

impl Stream<'_> {
    /// Processes the next steps of all samples. Inputs and outputs are in declaration order, each with the elements of all
    /// samples; the first input with an open length determines the number of steps.
    ///
    /// # Errors
    /// [`Error::Binding`] for the wrong number of inputs, outputs or elements, [`Error::Token`] for an index outside its
    /// vocabulary, and [`Error::Length`] for a length outside 0 to the number of steps: 0 is for a sequence that has ended
    /// before. The states then stay as they are.
    pub fn run(&mut self, inputs: &[Binding<'_>], outputs: &mut [&mut [f32]]) -> Result<(), Error> {
        let Streaming { executor, parameters, ports, .. } = self.streaming;
        let wrong = |name: &str, expected: String, got: usize| Error::Binding {
            name: name.to_owned(),
            expected,
            got: got.to_string(),
        };
        if inputs.len() != ports.inputs.len() {
            let expected = format!("{} inputs", ports.inputs.len());
            return Err(wrong(self.streaming.network(), expected, inputs.len()));
        }
        if outputs.len() != ports.outputs.len() {
            let expected = format!("{} outputs", ports.outputs.len());
            return Err(wrong(self.streaming.network(), expected, outputs.len()));
        }
        let sizes = self.sizes(inputs)?;
        for (place, input) in inputs.iter().enumerate() {
            if let Binding::Integers(tokens) = input {
                let item = || ports.inputs[place].1.concrete(sizes.clone())[1..].to_vec();
                let network = self.streaming.network();
                ports.check_integers(network, place, tokens, (&sizes, Least::NoStep), item)?;
            }
        }
        let [before, after] = &mut self.states;
        let mut run = executor.start(sizes)?;
        for (slot, input) in self.streaming.inputs.iter().zip(inputs) {
            if let Some(slot) = *slot {
                run.bind(
                    slot,
                    match *input {
                        Binding::Floats(values) => Binding::Floats(values),
                        Binding::Integers(values) => Binding::Integers(values),
                        Binding::Written(ref values) => Binding::Floats(values),
                    },
                )?;
            }
        }
        for &(slot, place) in &self.streaming.parameter_slots {
            if let Some(values) = parameters.read(&executor.slots()[slot].name, place) {
                run.bind(slot, values)?;
            }
        }
        for (state, values) in self.streaming.states.iter().zip(&*before) {
            run.bind(state.before, Binding::Floats(values))?;
        }
        for (state, values) in self.streaming.states.iter().zip(&mut *after) {
            run.bind(state.after, Binding::Written(values))?;
        }
        for (&slot, output) in self.streaming.outputs.iter().zip(outputs) {
            run.bind(slot, Binding::Written(output))?;
        }
        run.execute(parameters.version())?;
        std::mem::swap(before, after);
        Ok(())
    }

    /// The sizes of a run: as many steps as the measured input has.
    fn sizes(&self, inputs: &[Binding<'_>]) -> Result<Sizes, Error> {
        let Streaming { steps, measured, ref ports, .. } = *self.streaming;
        let (name, shape) = &ports.inputs[measured];
        let sizes = Sizes::from(self.samples);
        let of_one = shape.elements(sizes.clone().with(steps, 1));
        let count = inputs[measured].len();
        if count == 0 || of_one == 0 || !count.is_multiple_of(of_one) {
            return Err(Error::Binding {
                name: name.clone(),
                expected: format!("a multiple of {of_one} elements, {shape} for {} samples", self.samples),
                got: format!("{count} elements"),
            });
        }
        Ok(sizes.with(steps, count / of_one))
    }

    /// Sets all states to zero: the next run begins new sequences.
    pub fn reset(&mut self) {
        self.states[0].iter_mut().for_each(|state| state.fill(0.0));
    }

    /// The states after the last run: for each layer and direction the elements of all samples.
    pub fn states(&self) -> &[Vec<f32>] {
        &self.states[0]
    }

    /// Continues from other states, such as those of another stream.
    ///
    /// # Errors
    /// [`Error::Binding`] for another number of states or elements.
    pub fn set_states(&mut self, states: &[Vec<f32>]) -> Result<(), Error> {
        let fits = states.len() == self.states[0].len()
            && states.iter().zip(&self.states[0]).all(|(new, old)| new.len() == old.len());
        if !fits {
            let lengths =
                |states: &[Vec<f32>]| format!("{:?}", states.iter().map(Vec::len).collect::<Vec<_>>());
            return Err(Error::Binding {
                name: "states".to_owned(),
                expected: format!("the lengths {}", lengths(&self.states[0])),
                got: lengths(states),
            });
        }
        self.states[0].clone_from_slice(states);
        Ok(())
    }
}
