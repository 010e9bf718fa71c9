//! Recurrent layers: scans over the steps of a sequence. Parameters have PyTorch's names and shapes.

use super::pool::at;
use super::words::words;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::initializer::Initializer;
use crate::graph::{Builder, Graph};
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Bias, Binary, BinaryKind, Unary, UnaryKind};
use crate::ops::fill::Fill;
use crate::ops::linear::Linear;
use crate::ops::mask::{self, Mask, Masked};
use crate::ops::reduce::Expand;
use crate::ops::scan::Scan;
use crate::ops::source::{Input, InputRole};
use crate::ops::steps::{FoldSteps, UnfoldSteps};
use crate::ops::structure::{Concat, Slice};
use crate::shape::{Dim, Polynomial, Shape, Type};

words! {
    /// The activation of a plain recurrent cell.
    RnnActivation {
        /// Hyperbolic tangent.
        #[default]
        Tanh = "tanh",
        /// Rectified linear unit.
        Relu = "relu"
    }
}

words! {
    /// Where a GRU applies its reset gate.
    GruReset {
        /// To the product of weight and state, as in PyTorch and cuDNN.
        #[default]
        After = "after",
        /// To the state before the product (Cho et al. 2014, arXiv:1406.1078, equation 8).
        Before = "before"
    }
}

/// The cell of a recurrent layer: how a step computes the new state from an input and the state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// `h' = a(W_ih·x + b_ih + W_hh·h + b_hh)` (Elman 1990).
    Rnn {
        /// The activation a.
        activation: RnnActivation,
    },
    /// Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078).
    Gru {
        /// Where the reset gate is applied.
        reset: GruReset,
    },
    /// Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000 for the forget gate).
    Lstm {
        /// The length of the projected state (Sak et al. 2014, arXiv:1402.1128); 0 for no projection.
        projection: usize,
        /// Whether the gates also see the cell, each unit its own (Gers and Schmidhuber 2000).
        peepholes: bool,
    },
}

/// A recurrent layer: its cell, and how cells are combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recurrent {
    /// The cell.
    pub cell: Cell,
    /// The units of the cell's state.
    pub units: usize,
    /// The number of layers, each of which reads the sequence of the one before.
    pub layers: usize,
    /// Whether each layer also has a cell that reads the sequence backwards; both results are concatenated.
    pub bidirectional: bool,
    /// The probability that an element between two layers becomes zero in training.
    pub dropout: f64,
    /// Whether there are biases.
    pub bias: bool,
}

/// What a recurrent layer reads besides its sequences.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecurrentOperands<'o> {
    /// The states before the first step, `[N, length]` with the lengths of [`Recurrent::states`]; none at all for zeros.
    pub initial: &'o [ValueId],
    /// The number of steps of each sequence, `i32[N]`, if they differ; none for sequences that are not padded. Steps from
    /// a sequence's length on change no state and no gradient, whatever is stored there, and their results are zero. A
    /// length below 0 is 0; one above the number of steps is that number.
    pub lengths: Option<ValueId>,
}

/// The results of a recurrent layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    /// The state of the last layer after every step: `[N, T, units]`, twice as long if bidirectional.
    pub sequence: ValueId,
    /// The states after the last step, `[N, units]` each: for each layer and direction that of the cell, and for an LSTM
    /// also its memory cell.
    pub last: Vec<ValueId>,
}

impl Cell {
    /// The gates, each of which has a row of weights for each unit.
    fn gates(self) -> usize {
        match self {
            Cell::Rnn { .. } => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm { .. } => 4,
        }
    }

    /// The lengths of the carried values.
    fn states(self, units: usize) -> Vec<usize> {
        match self {
            Cell::Rnn { .. } | Cell::Gru { .. } => vec![units],
            Cell::Lstm { projection: 0, .. } => vec![units, units],
            Cell::Lstm { projection, .. } => vec![projection, units],
        }
    }
}

impl Recurrent {
    /// A layer of one cell in one direction, with biases.
    pub fn new(cell: Cell, units: usize) -> Self {
        Recurrent { cell, units, layers: 1, bidirectional: false, dropout: 0.0, bias: true }
    }

    fn check(&self) -> Result<(), ShapeError> {
        for (argument, value) in [("units", self.units), ("layers", self.layers)] {
            if value == 0 {
                return Err(ShapeError::ZeroArgument { argument });
            }
        }
        let within = |argument, value: usize, most: usize, range| match value <= most {
            true => Ok(()),
            false => Err(ShapeError::NumberOutOfRange { argument, value: value as f64, range }),
        };
        within("units", self.units, 1 << 20, "at most 1048576")?;
        within("layers", self.layers, 256, "at most 256")?;
        if let Cell::Lstm { projection, .. } = self.cell
            && projection >= self.units
            && projection > 0
        {
            let range = "below the number of units, or 0 for no projection";
            return Err(ShapeError::NumberOutOfRange {
                argument: "projection",
                value: projection as f64,
                range,
            });
        }
        Ok(())
    }

    /// The lengths of the states that [`Builder::recurrent`] takes and gives, in order.
    pub fn states(&self) -> Vec<usize> {
        let directions = 1 + usize::from(self.bidirectional);
        self.cell.states(self.units).repeat(self.layers.saturating_mul(directions))
    }
}

impl Builder {
    /// Adds a recurrent layer on sequences `[N, T, features]`. Parameters are named as in PyTorch: `label.weight_ih_l0`,
    /// `label.weight_hh_l0_reverse`.
    ///
    /// ```
    /// use windlass_compiler::graph::{Builder, Cell, Recurrent, RecurrentOperands};
    /// use windlass_compiler::shape::{DType, Dim, Symbol};
    ///
    /// let mut builder = Builder::new("tagger");
    /// let steps: Symbol = "T".parse()?;
    /// let frames = builder.input_of("frames", DType::F32, [Dim::from(steps), Dim::from(40)])?;
    /// let lstm = Recurrent::new(Cell::Lstm { projection: 0, peepholes: false }, 256);
    /// let states = builder.recurrent("r1", &lstm, frames, &RecurrentOperands::default())?;
    /// assert_eq!(builder.graph().ty(states.sequence).to_string(), "f32[N, T, 256]");
    /// assert_eq!(states.last.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for another shape of the sequences or states, or an argument outside its range.
    pub fn recurrent(
        &mut self,
        label: &str,
        layer: &Recurrent,
        x: ValueId,
        operands: &RecurrentOperands<'_>,
    ) -> Result<Recurrence, GraphError> {
        let RecurrentOperands { initial, lengths: padded } = *operands;
        layer.check().map_err(|error| at(label, error))?;
        let shape = self.graph().ty(x).shape.clone();
        let [first, steps, Dim::Fixed(_)] = shape.dims() else {
            let expected = "a sequence [steps, features]".to_owned();
            return Err(at(label, ShapeError::Rank { expected, got: shape }));
        };
        if !shape.is_batched() {
            let expected = "a sequence [steps, features]".to_owned();
            return Err(at(label, ShapeError::Rank { expected, got: shape }));
        }
        let (first, steps) = (first.clone(), steps.clone());
        let lengths = layer.states();
        if !initial.is_empty() && initial.len() != lengths.len() {
            let expected = format!("{} initial states, or none,", lengths.len());
            return Err(at(label, ShapeError::Arity { expected, got: initial.len() }));
        }
        let mut states = initial.iter().copied();
        let mut all = Vec::with_capacity(lengths.len());
        for &length in &lengths {
            let shape = Shape::new([first.clone(), Dim::Fixed(length)]);
            let state = match states.next() {
                Some(state) => state,
                None => self.op(Fill::zeros(shape.clone()), &[], label)?,
            };
            crate::ops::expect_type("initial state", self.graph().ty(state), &Type::f32(shape))
                .map_err(|error| at(label, error))?;
            all.push(state);
        }
        let mut states = all.into_iter();
        let mut sequence = self.op(FoldSteps {}, &[x], label)?;
        let mask = match padded {
            Some(lengths) => {
                let mask = step_mask(self, label, &first, &steps, lengths)?;
                let shape = self.graph().ty(sequence).shape.clone();
                let whole = self.op(Expand { shape, axis: 1, count: 1, divided: false }, &[mask], label)?;
                sequence = self.op(Binary { kind: BinaryKind::ReluGrad }, &[sequence, whole], label)?;
                Some(mask)
            }
            None => None,
        };
        let mut last = Vec::with_capacity(lengths.len());
        for index in 0..layer.layers {
            if index > 0 && layer.dropout > 0.0 {
                sequence = self.op(Dropout::new(layer.dropout), &[sequence], label)?;
            }
            let mut results = Vec::new();
            for reverse in [false, true].into_iter().take(1 + usize::from(layer.bidirectional)) {
                let own: Vec<ValueId> = states.by_ref().take(layer.cell.states(layer.units).len()).collect();
                let suffix = format!("l{index}{}", if reverse { "_reverse" } else { "" });
                let direction = Direction { layer, suffix, reverse, steps: steps.polynomial(), mask };
                let (result, states) = direction.build(self, label, sequence, own)?;
                results.push(result);
                last.extend(states);
            }
            sequence = match results[..] {
                [only] => only,
                _ => self.op(Concat { axis: 1 }, &results, label)?,
            };
        }
        let length = self.graph().ty(sequence).shape.dims()[1].clone();
        let shape = Shape::new([first, steps, length]);
        let sequence = self.op(UnfoldSteps { shape }, &[sequence], label)?;
        Ok(Recurrence { sequence, last })
    }
}

/// One cell of a layer, in one direction of time.
struct Direction<'l> {
    layer: &'l Recurrent,
    suffix: String,
    reverse: bool,
    steps: Polynomial,
    /// One for each step of a sequence, zero for those beyond its length.
    mask: Option<ValueId>,
}

/// One for each step of sequences of some lengths, and zero for those beyond them, in time-major order: `[N·T]`.
fn step_mask(
    builder: &mut Builder,
    label: &str,
    batch: &Dim,
    steps: &Dim,
    lengths: ValueId,
) -> Result<ValueId, GraphError> {
    let ones = Fill { shape: Shape::new([batch.clone(), steps.clone()]), value: 1.0 };
    let ones = builder.op(ones, &[], label)?;
    let mask = Mask { masked: Masked::Lengths, fill: mask::Fill::Zero };
    let mask = builder.op(mask, &[ones, lengths], label)?;
    builder.op(FoldSteps {}, &[mask], label)
}

/// A body under construction.
struct Body<'b> {
    graph: Graph,
    label: &'b str,
    /// The values outside that its constants are.
    operands: Vec<ValueId>,
}

impl Body<'_> {
    fn op(&mut self, op: impl Into<crate::ops::Op>, operands: &[ValueId]) -> Result<ValueId, GraphError> {
        self.graph.add_single(op, operands, self.label)
    }

    fn input(&mut self, name: &str, ty: Type) -> Result<ValueId, GraphError> {
        self.graph.add_single(Input { name: name.to_owned(), role: InputRole::Data, ty }, &[], "")
    }

    fn unary(&mut self, kind: UnaryKind, x: ValueId) -> Result<ValueId, GraphError> {
        self.op(Unary { kind }, &[x])
    }

    fn binary(&mut self, kind: BinaryKind, left: ValueId, right: ValueId) -> Result<ValueId, GraphError> {
        self.op(Binary { kind }, &[left, right])
    }

    /// Rows `first..first + length` of a weight, or elements of a vector, or columns of a batch of gates.
    fn part(&mut self, x: ValueId, axis: usize, first: usize, length: usize) -> Result<ValueId, GraphError> {
        self.op(Slice { axis, start: first.into(), length: length.into() }, &[x])
    }

    /// The `gate`-th of the gates.
    fn gate(&mut self, gates: ValueId, gate: usize, units: usize) -> Result<ValueId, GraphError> {
        self.part(gates, 1, gate * units, units)
    }

    /// The mask of each sample for all elements of a value.
    fn repeated(&mut self, mask: ValueId, of: ValueId) -> Result<ValueId, GraphError> {
        let shape = self.graph.ty(of).shape.clone();
        self.op(Expand { shape, axis: 1, count: 1, divided: false }, &[mask])
    }

    /// The new state of samples whose mask is one, and the old state of the others, bit for bit: a value plus −0 is the
    /// value.
    fn select(&mut self, mask: ValueId, new: ValueId, old: ValueId) -> Result<ValueId, GraphError> {
        let kept = self.repeated(mask, new)?;
        let one = crate::ops::source::Constant { shape: Shape::scalar(), values: vec![-1.0] };
        let one = self.op(one, &[])?;
        let sum = self.binary(BinaryKind::Add, kept, one)?;
        let other = self.unary(UnaryKind::Negate, sum)?;
        let part = |body: &mut Self, value: ValueId, mask: ValueId| {
            let negative = body.unary(UnaryKind::Negate, value)?;
            let cut = body.binary(BinaryKind::ReluGrad, negative, mask)?;
            body.unary(UnaryKind::Negate, cut)
        };
        let (new, old) = (part(self, new, kept)?, part(self, old, other)?);
        self.binary(BinaryKind::Add, new, old)
    }

    fn linear(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>) -> Result<ValueId, GraphError> {
        let y = self.op(Linear { epilogue: Vec::new() }, &[x, weight])?;
        bias.map_or(Ok(y), |bias| self.op(Bias {}, &[y, bias]))
    }
}

/// The parameters of a cell in its body.
struct Weights {
    input: ValueId,
    hidden: ValueId,
    /// The biases of both.
    biases: Option<[ValueId; 2]>,
    projection: Option<ValueId>,
    /// Weights of the memory cell in the input, forget and output gate.
    peepholes: Option<[ValueId; 3]>,
}

impl Direction<'_> {
    fn build(
        &self,
        builder: &mut Builder,
        label: &str,
        sequence: ValueId,
        initial: Vec<ValueId>,
    ) -> Result<(ValueId, Vec<ValueId>), GraphError> {
        let mut body = Body { graph: Graph::new("step"), label, operands: Vec::new() };
        let of_slice = {
            let dims = builder.graph().ty(sequence).shape.dims();
            let state = builder.graph().ty(initial[0]).shape.dims();
            Type::f32(Shape::new([state[0].clone(), dims[1].clone()]))
        };
        let features = of_slice.shape.item_elements();
        let weights = self.weights(builder, &mut body, label, features)?;
        let samples = of_slice.shape.dims()[0].clone();
        let x = body.input("x", of_slice)?;
        let mask = match self.mask {
            Some(_) => Some(body.input("mask", Type::f32(Shape::new([samples])))?),
            None => None,
        };
        let mut states = Vec::with_capacity(initial.len());
        for (name, &state) in ["h", "c"].into_iter().zip(&initial) {
            states.push(body.input(name, builder.graph().ty(state).clone())?);
        }
        let mut new = self.step(&mut body, x, &states, &weights)?;
        let mut result = new[0];
        if let Some(mask) = mask {
            for (new, &old) in new.iter_mut().zip(&states) {
                *new = body.select(mask, *new, old)?;
            }
            let whole = body.repeated(mask, result)?;
            result = body.binary(BinaryKind::ReluGrad, result, whole)?;
        }
        for (name, &value) in ["h", "c"].into_iter().zip(&new) {
            body.graph.add_output(name, value)?;
        }
        body.graph.add_output("y", result)?;
        let mut operands = body.operands;
        operands.push(sequence);
        operands.extend(self.mask);
        operands.extend(&initial);
        let slices = 1 + usize::from(self.mask.is_some());
        let scan = Scan::new(body.graph, self.steps.clone(), slices, initial.len()).reversed(self.reverse);
        let mut results = builder.ops(scan, &operands, label)?;
        let collected = results.pop().unwrap_or(sequence);
        Ok((collected, results))
    }

    /// Declares the parameters, and the constants of the body that they are.
    fn weights(
        &self,
        builder: &mut Builder,
        body: &mut Body<'_>,
        label: &str,
        features: usize,
    ) -> Result<Weights, GraphError> {
        let Recurrent { cell, units, bias, .. } = *self.layer;
        let rows = cell.gates() * units;
        let state = cell.states(units)[0];
        // As PyTorch.
        let bound = 1.0 / (units as f64).sqrt();
        let mut declare = |kind: &str, sizes: &[usize]| -> Result<ValueId, GraphError> {
            let init = Initializer::Uniform(-bound, bound);
            let parameter = builder.parameter(label, &format!("{kind}_{}", self.suffix), sizes, init)?;
            body.operands.push(parameter);
            body.input(kind, Type::f32(Shape::fixed(sizes)))
        };
        let input = declare("weight_ih", &[rows, features])?;
        let hidden = declare("weight_hh", &[rows, state])?;
        let biases = match bias {
            true => Some([declare("bias_ih", &[rows])?, declare("bias_hh", &[rows])?]),
            false => None,
        };
        let (mut projection, mut peepholes) = (None, None);
        if let Cell::Lstm { projection: length, peepholes: has_peepholes } = cell {
            if length > 0 {
                projection = Some(declare("weight_hr", &[length, units])?);
            }
            if has_peepholes {
                let mut peephole = |gate: &str| declare(&format!("weight_c{gate}"), &[units]);
                peepholes = Some([peephole("i")?, peephole("f")?, peephole("o")?]);
            }
        }
        Ok(Weights { input, hidden, biases, projection, peepholes })
    }

    /// The new states.
    fn step(
        &self,
        body: &mut Body<'_>,
        x: ValueId,
        states: &[ValueId],
        weights: &Weights,
    ) -> Result<Vec<ValueId>, GraphError> {
        match self.layer.cell {
            Cell::Rnn { activation } => {
                let gates = self.gates(body, x, states[0], weights)?;
                let kind = match activation {
                    RnnActivation::Tanh => UnaryKind::Tanh,
                    RnnActivation::Relu => UnaryKind::Relu,
                };
                Ok(vec![body.unary(kind, gates)?])
            }
            Cell::Gru { reset } => Ok(vec![self.gru(body, x, states[0], weights, reset)?]),
            Cell::Lstm { .. } => self.lstm(body, x, states[0], states[1], weights),
        }
    }

    /// The sum of both products and biases. Only the product with the state remains in the loop.
    fn gates(
        &self,
        body: &mut Body<'_>,
        x: ValueId,
        h: ValueId,
        weights: &Weights,
    ) -> Result<ValueId, GraphError> {
        let mut of_input = body.linear(x, weights.input, weights.biases.map(|[bias, _]| bias))?;
        if let Some([_, bias]) = weights.biases {
            of_input = body.op(Bias {}, &[of_input, bias])?;
        }
        let of_state = body.linear(h, weights.hidden, None)?;
        body.binary(BinaryKind::Add, of_state, of_input)
    }

    /// Gates in the order reset, update, new: `h' = n + z·(h − n)`, which is `(1 − z)·n + z·h`.
    fn gru(
        &self,
        body: &mut Body<'_>,
        x: ValueId,
        h: ValueId,
        weights: &Weights,
        reset: GruReset,
    ) -> Result<ValueId, GraphError> {
        let units = self.layer.units;
        let (update, of_new) = match reset {
            GruReset::After => {
                let of_input = body.linear(x, weights.input, weights.biases.map(|[bias, _]| bias))?;
                let of_state = body.linear(h, weights.hidden, weights.biases.map(|[_, bias]| bias))?;
                let gate = |body: &mut Body<'_>, gate: usize| {
                    let of_input = body.gate(of_input, gate, units)?;
                    let of_state = body.gate(of_state, gate, units)?;
                    let sum = body.binary(BinaryKind::Add, of_state, of_input)?;
                    body.unary(UnaryKind::Sigmoid, sum)
                };
                let (r, z) = (gate(body, 0)?, gate(body, 1)?);
                let of_state = body.gate(of_state, 2, units)?;
                let of_input = body.gate(of_input, 2, units)?;
                let scaled = body.binary(BinaryKind::Multiply, r, of_state)?;
                (z, body.binary(BinaryKind::Add, scaled, of_input)?)
            }
            GruReset::Before => {
                let mut of_input = body.linear(x, weights.input, weights.biases.map(|[bias, _]| bias))?;
                if let Some([_, bias]) = weights.biases {
                    of_input = body.op(Bias {}, &[of_input, bias])?;
                }
                let of_gates = body.part(weights.hidden, 0, 0, 2 * units)?;
                let of_new = body.part(weights.hidden, 0, 2 * units, units)?;
                let of_state = body.linear(h, of_gates, None)?;
                let both = body.part(of_input, 1, 0, 2 * units)?;
                let gates = body.binary(BinaryKind::Add, of_state, both)?;
                let gates = body.unary(UnaryKind::Sigmoid, gates)?;
                let (r, z) = (body.gate(gates, 0, units)?, body.gate(gates, 1, units)?);
                let kept = body.binary(BinaryKind::Multiply, r, h)?;
                let of_kept = body.linear(kept, of_new, None)?;
                let of_input = body.gate(of_input, 2, units)?;
                (z, body.binary(BinaryKind::Add, of_kept, of_input)?)
            }
        };
        let new = body.unary(UnaryKind::Tanh, of_new)?;
        let difference = body.binary(BinaryKind::Subtract, h, new)?;
        let kept = body.binary(BinaryKind::Multiply, update, difference)?;
        body.binary(BinaryKind::Add, new, kept)
    }

    /// Gates in the order input, forget, cell, output: `c' = f·c + i·g`, `h' = o·tanh(c')`.
    fn lstm(
        &self,
        body: &mut Body<'_>,
        x: ValueId,
        h: ValueId,
        c: ValueId,
        weights: &Weights,
    ) -> Result<Vec<ValueId>, GraphError> {
        let units = self.layer.units;
        let gates = self.gates(body, x, h, weights)?;
        let gate = |body: &mut Body<'_>, gate: usize, cell: ValueId, peephole: Option<usize>| {
            let mut sum = body.gate(gates, gate, units)?;
            if let (Some(peepholes), Some(index)) = (weights.peepholes, peephole) {
                let seen = body.op(crate::ops::elementwise::Scale::along(1), &[cell, peepholes[index]])?;
                sum = body.binary(BinaryKind::Add, sum, seen)?;
            }
            body.unary(if gate == 2 { UnaryKind::Tanh } else { UnaryKind::Sigmoid }, sum)
        };
        let (i, f, g) = (gate(body, 0, c, Some(0))?, gate(body, 1, c, Some(1))?, gate(body, 2, c, None)?);
        let kept = body.binary(BinaryKind::Multiply, f, c)?;
        let new = body.binary(BinaryKind::Multiply, i, g)?;
        let cell = body.binary(BinaryKind::Add, kept, new)?;
        let o = gate(body, 3, cell, Some(2))?;
        let squashed = body.unary(UnaryKind::Tanh, cell)?;
        let mut h = body.binary(BinaryKind::Multiply, o, squashed)?;
        if let Some(projection) = weights.projection {
            h = body.linear(h, projection, None)?;
        }
        Ok(vec![h, cell])
    }
}

/// The last step of sequences `[N, T, …]`.
pub(super) fn last_step(builder: &mut Builder, label: &str, x: ValueId) -> Result<ValueId, GraphError> {
    let shape = builder.graph().ty(x).shape.clone();
    if !shape.is_batched() || shape.rank() < 2 {
        let expected = "a sequence [steps, …]".to_owned();
        return Err(at(label, ShapeError::Rank { expected, got: shape }));
    }
    let last = shape.dims()[1].polynomial().minus(&Polynomial::from(1usize));
    let step = builder.slice(label, x, 1, last, 1usize)?;
    let dims = [&shape.dims()[..1], &shape.dims()[2..]].concat();
    builder.reshape(label, step, Shape::new(dims))
}
