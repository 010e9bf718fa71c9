//! One cell of a recurrent layer in one direction of time: its scan, whose body is a step of the cell.

use super::{Cell, GruReset, Recurrent, RnnActivation};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::initializer::Initializer;
use crate::graph::{Builder, Graph};
use crate::ops::elementwise::{Bias, Binary, BinaryKind, Unary, UnaryKind};
use crate::ops::fill::Fill;
use crate::ops::linear::Linear;
use crate::ops::mask::{self, Mask, Masked};
use crate::ops::reduce::Expand;
use crate::ops::scan::Scan;
use crate::ops::source::{Input, InputRole};
use crate::ops::steps::FoldSteps;
use crate::ops::structure::Slice;
use crate::shape::{Dim, Polynomial, Shape, Type};

/// One cell of a layer, in one direction of time.
pub(super) struct Direction<'l> {
    pub(super) layer: &'l Recurrent,
    /// The end of the names of its parameters.
    pub(super) suffix: String,
    pub(super) reverse: bool,
    pub(super) steps: Polynomial,
    /// One for each step of a sequence, zero for those beyond its length.
    pub(super) mask: Option<ValueId>,
}

/// One for each step of sequences of some lengths, and zero for those beyond them, in time-major order: `[N·T]`.
pub(super) fn step_mask(
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
    /// Adds the scan after a sequence in time-major order; returns the states after every step, and the last states.
    pub(super) fn build(
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
