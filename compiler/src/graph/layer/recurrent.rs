//! Recurrent layers: scans over the steps of a sequence. Parameters have PyTorch's names and shapes.

mod direction;

use self::direction::{Direction, step_mask};
use super::pool::at;
use super::words::words;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Binary, BinaryKind};
use crate::ops::fill::Fill;
use crate::ops::reduce::Expand;
use crate::ops::steps::{FoldSteps, UnfoldSteps};
use crate::ops::structure::Concat;
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
    /// a sequence's length on change no state and no gradient, whatever is stored there, and their results are zero.
    /// Models, predictors and trainers refuse a length outside 1 to the number of steps.
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
    /// use windlass::{Builder, Cell, DType, Dim, Recurrent, RecurrentOperands, Symbol};
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
