//! Builder methods for recurrences written by hand.

use std::collections::HashMap;

use super::{Builder, Graph};
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::Op;
use crate::ops::fill::Fill;
use crate::ops::scan::Scan;
use crate::ops::source::{Input, InputRole, Source};
use crate::ops::steps::{FoldSteps, UnfoldSteps};
use crate::shape::{Dim, Shape, Type};

/// The values that the body of a recurrence works on, in one step.
#[derive(Clone, Debug)]
pub struct ScanInputs {
    /// The step of each sequence: `[N, …]`.
    pub steps: Vec<ValueId>,
    /// The carried values of the step before.
    pub carried: Vec<ValueId>,
    /// Values that are the same in every step.
    pub constants: Vec<ValueId>,
}

/// The results of one step of a recurrence.
#[derive(Clone, Debug)]
pub struct ScanOutputs {
    /// The new carried values, with the shapes of the old ones.
    pub carried: Vec<ValueId>,
    /// Values that are collected as sequences.
    pub collected: Vec<ValueId>,
}

/// The results of a recurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The sequences of the collected values: `[N, T, …]`.
    pub sequences: Vec<ValueId>,
    /// The carried values of the last step.
    pub last: Vec<ValueId>,
}

/// The operands of a recurrence.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanOperands<'o> {
    /// Sequences `[N, T, …]` of the same length, of which every step gets a slice; at least one.
    pub sequences: &'o [ValueId],
    /// The carried values before the first step.
    pub initial: &'o [ValueId],
    /// Values that are the same in every step. Those that the body does not use are left out of the graph.
    pub constants: &'o [ValueId],
    /// Whether the last step comes first.
    pub reverse: bool,
}

impl Builder {
    /// Adds a recurrence: `body` builds one step, with layers and operators. Parameters that it declares are shared by all
    /// steps.
    ///
    /// A leaky integrator, `h' = h + (tanh(W·x) − h)·0.5`:
    ///
    /// ```
    /// use windlass_compiler::graph::{Builder, Combination, Layer, ScanOperands, ScanOutputs};
    /// use windlass_compiler::interp::{Array, Bindings, run};
    /// use windlass_compiler::shape::{DType, Dim, Sizes, Symbol};
    ///
    /// let mut builder = Builder::new("leaky");
    /// let steps: Symbol = "T".parse()?;
    /// let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(3)])?;
    /// let h = builder.initial_state(x, &[4])?;
    /// let operands = ScanOperands { sequences: &[x], initial: &[h], ..ScanOperands::default() };
    /// let scanned = builder.scan("leaky", operands, |body, inputs| {
    ///     let input = body.layer("in", &Layer::linear(4), inputs.steps[0])?;
    ///     let input = body.layer("squash", &Layer::Tanh, input)?;
    ///     let difference = body.combine("", Combination::Subtract, input, inputs.carried[0])?;
    ///     let half = body.number(0.5)?;
    ///     let part = body.combine("", Combination::Multiply, difference, half)?;
    ///     let h = body.add("", inputs.carried[0], part)?;
    ///     Ok(ScanOutputs { carried: vec![h], collected: vec![h] })
    /// })?;
    /// builder.output("h", scanned.sequences[0])?;
    /// let graph = builder.finish()?;
    /// assert_eq!(graph.ty(scanned.sequences[0]).to_string(), "f32[N, T, 4]");
    /// assert_eq!(graph.parameters().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of `body`; [`GraphError::Shape`] for values that are no sequences or of different lengths, carried values
    /// that change their shape, and a body that declares states or inputs.
    pub fn scan(
        &mut self,
        label: &str,
        operands: ScanOperands<'_>,
        body: impl FnOnce(&mut Builder, &ScanInputs) -> Result<ScanOutputs, GraphError>,
    ) -> Result<Scanned, GraphError> {
        let at = |error| GraphError::Shape { at: label.to_owned(), error };
        let ScanOperands { sequences, initial, constants, reverse } = operands;
        for &value in sequences.iter().chain(initial).chain(constants) {
            self.graph().check_exists(label, value)?;
        }
        let of_sequence = |builder: &Builder, value: ValueId| {
            let shape = &builder.graph().ty(value).shape;
            match shape.is_batched() && shape.rank() >= 2 {
                true => Ok((shape.dims()[0].clone(), shape.dims()[1].clone())),
                false => Err(at(ShapeError::Rank {
                    expected: "a sequence [steps, …]".to_owned(),
                    got: shape.clone(),
                })),
            }
        };
        let Some(&first) = sequences.first() else {
            return Err(at(ShapeError::Arity { expected: "at least 1 sequence".to_owned(), got: 0 }));
        };
        let (batch, steps) = of_sequence(self, first)?;
        for &other in &sequences[1..] {
            if of_sequence(self, other)? != (batch.clone(), steps.clone()) {
                let [left, right] = [first, other].map(|value| self.graph().ty(value).shape.clone());
                return Err(at(ShapeError::UnequalShapes { left, right }));
            }
        }
        let mut inner = Builder::new("step");
        let mut folded = Vec::with_capacity(sequences.len());
        for &sequence in sequences {
            folded.push(self.op(FoldSteps {}, &[sequence], label)?);
        }
        let mut declared = 0;
        let mut declare = |inner: &mut Builder, ty: Type| {
            declared += 1;
            let name = format!("{INPUT}{declared}");
            inner.op(Input { name, role: InputRole::Data, ty }, &[], "")
        };
        let mut inputs = ScanInputs { steps: Vec::new(), carried: Vec::new(), constants: Vec::new() };
        for &value in constants {
            inputs.constants.push(declare(&mut inner, self.graph().ty(value).clone())?);
        }
        for &value in sequences {
            let Type { dtype, shape } = self.graph().ty(value).clone();
            let dims = [std::slice::from_ref(&batch), &shape.dims()[2..]].concat();
            inputs.steps.push(declare(&mut inner, Type { dtype, shape: Shape::new(dims) })?);
        }
        for &value in initial {
            inputs.carried.push(declare(&mut inner, self.graph().ty(value).clone())?);
        }
        let outputs = body(&mut inner, &inputs)?;
        if outputs.carried.len() != initial.len() {
            let expected = format!("{} new carried values, as many as initial ones,", initial.len());
            return Err(at(ShapeError::Arity { expected, got: outputs.carried.len() }));
        }
        for (index, &value) in outputs.carried.iter().chain(&outputs.collected).enumerate() {
            inner.output(&format!("y{index}"), value)?;
        }
        let uses = inner.graph().use_counts();
        let is_unused = |value: &ValueId| uses[value.index()] == 0;
        let unused: Vec<ValueId> = inputs.constants.iter().copied().filter(is_unused).collect();
        let used = constants.iter().zip(&inputs.constants).filter(|(_, inside)| !is_unused(inside));
        let used: Vec<ValueId> = used.map(|(value, _)| *value).collect();
        let (body, parameters) = self.without_parameters(inner.graph(), &unused, label)?;
        let operands = [&parameters[..], &used, &folded, initial].concat();
        let op = Scan::new(body, steps.polynomial(), sequences.len(), initial.len()).reversed(reverse);
        let mut results = self.ops(op, &operands, label)?;
        let collected = results.split_off(initial.len());
        let mut all = Vec::with_capacity(collected.len());
        for value in collected {
            let item = self.graph().ty(value).shape.item_dims().to_vec();
            let shape = Shape::new([vec![batch.clone(), steps.clone()], item].concat());
            all.push(self.op(UnfoldSteps { shape }, &[value], label)?);
        }
        Ok(Scanned { sequences: all, last: results })
    }

    /// A carried value of zeros for the samples of a sequence: `[N, …]`.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the value has no batch.
    pub fn initial_state(&mut self, of: ValueId, sizes: &[usize]) -> Result<ValueId, GraphError> {
        let shape = self.graph().ty(of).shape.clone();
        if !shape.is_batched() {
            let expected = "a batch of sequences".to_owned();
            let error = ShapeError::Rank { expected, got: shape };
            return Err(GraphError::Shape { at: "initial_state".to_owned(), error });
        }
        let sizes = sizes.iter().map(|&size| Dim::Fixed(size));
        let shape = Shape::new(shape.dims()[..1].iter().cloned().chain(sizes).collect::<Vec<_>>());
        self.op(Fill::zeros(shape), &[], "")
    }

    /// A constant number.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn number(&mut self, value: f32) -> Result<ValueId, GraphError> {
        let shape = Shape::scalar();
        self.op(crate::ops::source::Constant { shape, values: vec![value] }, &[], "")
    }

    /// A body without its unused inputs, whose parameters are inputs before all others, and these parameters, which are
    /// declared here.
    fn without_parameters(
        &mut self,
        body: &Graph,
        unused: &[ValueId],
        label: &str,
    ) -> Result<(Graph, Vec<ValueId>), GraphError> {
        let mut result = Graph::new(body.name());
        let mut values: HashMap<ValueId, ValueId> = HashMap::new();
        let mut parameters = Vec::new();
        for (value, parameter) in body.parameters() {
            let name = format!("{label}.{}", parameter.name);
            let declared = crate::ops::source::Parameter { name, ..parameter.clone() };
            let own = body.producer(value).label.clone();
            parameters.push(self.op(declared, &[], &format!("{label}.{own}"))?);
            let input =
                Input { name: parameter.name.clone(), role: InputRole::Data, ty: body.ty(value).clone() };
            values.insert(value, result.add_single(input, &[], "")?);
        }
        for node in body.nodes() {
            match node.op.source() {
                Some(Source::Parameter(_)) => {}
                Some(Source::Input(_)) if node.results.iter().all(|value| unused.contains(value)) => {}
                Some(Source::State(state)) => {
                    let reason =
                        format!("has `{}` in the body of a scan, where no state may change", state.name);
                    return Err(GraphError::Shape {
                        at: label.to_owned(),
                        error: ShapeError::Scan { reason },
                    });
                }
                Some(Source::Input(input)) if !input.name.starts_with(INPUT) => {
                    let reason = format!("has the input `{}` in its body: pass it as a constant", input.name);
                    return Err(GraphError::Shape {
                        at: label.to_owned(),
                        error: ShapeError::Scan { reason },
                    });
                }
                _ => {
                    let mut node = node.clone();
                    if !node.label.is_empty() {
                        node.label = format!("{label}.{}", node.label);
                    }
                    result.copy_node(&node, &mut values)?;
                }
            }
        }
        result.copy_ends(body, &values)?;
        Ok((result, parameters))
    }
}

/// The beginning of the names of a body's inputs.
const INPUT: &str = "#";

/// A network whose recurrent layers begin with given states: see [`with_states`].
#[derive(Clone, Debug, PartialEq)]
pub struct Stateful {
    /// The network, with an input and an output of the same name for each state.
    pub graph: Graph,
    /// The names of the states, `state.0` and so on, with their sizes for each sample.
    pub states: Vec<(String, Vec<usize>)>,
}

/// Gives a network inputs for the states that its recurrent layers begin with, and outputs for the states after the last
/// step, so that a long sequence can be processed piece by piece. States that already are values of the network stay as
/// they are.
///
/// ```
/// use windlass::{Builder, Cell, DType, Dim, Layer, Recurrent, RnnActivation, Symbol, with_states};
///
/// let mut builder = Builder::new("net");
/// let steps: Symbol = "T".parse()?;
/// let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(3)])?;
/// let rnn = Recurrent::new(Cell::Rnn { activation: RnnActivation::Tanh }, 8);
/// let y = builder.layer("r", &Layer::Recurrent(rnn), x)?;
/// builder.output("y", y)?;
/// let stateful = with_states(&builder.finish()?)?;
/// assert_eq!(stateful.states, [("state.0".to_owned(), vec![8])]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`GraphError::Shape`] for a layer that also reads sequences backwards, which needs all steps at once, for a state that
/// begins with another number than zero, and for a network without recurrent layers.
pub fn with_states(graph: &Graph) -> Result<Stateful, GraphError> {
    let mut result = Graph::new(graph.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    let mut states: Vec<(String, Vec<usize>)> = Vec::new();
    let mut lasts: Vec<ValueId> = Vec::new();
    for node in graph.nodes() {
        let Op::Scan(scan) = &node.op else {
            result.copy_node(node, &mut values)?;
            continue;
        };
        if scan.reverse {
            let reason = "reads its sequence backwards, which needs all steps at once".to_owned();
            return Err(GraphError::Shape { at: node.label.clone(), error: ShapeError::Scan { reason } });
        }
        let first = scan.constants() + scan.slices;
        let mut operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
        let mut carried = Vec::new();
        for index in 0..scan.carried {
            let initial = node.operands[first + index];
            if let Op::Fill(fill) = &graph.producer(initial).op {
                if fill.value != 0.0 {
                    let reason = format!(
                        "begins with {}, but streams begin with zeros: give the initial state as an input of the network",
                        fill.value
                    );
                    return Err(GraphError::Shape {
                        at: node.label.clone(),
                        error: ShapeError::Scan { reason },
                    });
                }
                let ty = graph.ty(initial).clone();
                let name = format!("state.{}", states.len());
                states.push((name.clone(), ty.shape.item()));
                let input = Input { name, role: InputRole::Data, ty };
                operands[first + index] = result.add_single(input, &[], &node.label)?;
                carried.push(index);
            }
        }
        let results = result.add(node.op.clone(), &operands, &node.label)?;
        lasts.extend(carried.into_iter().map(|index| results[index]));
        values.extend(node.results.iter().copied().zip(results));
    }
    if states.is_empty() {
        let reason = "has no recurrent layer whose state could be kept".to_owned();
        return Err(GraphError::Shape { at: graph.name().to_owned(), error: ShapeError::Scan { reason } });
    }
    result.copy_ends(graph, &values)?;
    for ((name, _), last) in states.iter().zip(lasts) {
        result.add_output(name, last)?;
    }
    Ok(Stateful { graph: result, states })
}
