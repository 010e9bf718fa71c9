//! The values of a model while it is imported.
//!
//! A network of Windlass computes each sample of a batch, `N`, on its own. The axis of an ONNX value that is the batch comes
//! first. If the sizes of a model are fixed, `N` is an axis before all those of the model: a whole run of the model is one
//! sample. A first axis of the model is then folded into the batch where operators on images need that.

use std::sync::Arc;

use windlass_compiler::entity::ValueId;
use windlass_compiler::shape::{Dim, Polynomial, Shape};

use crate::error::Reason;
use crate::known::Known;

/// Where the batch of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// Before all axes of the model.
    Outside,
    /// The axis of the model, which comes first.
    Axis(usize),
}

/// What the elements of a value mean in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Floats.
    Float,
    /// Integers, stored as floats.
    Whole,
    /// Truth values, stored as floats 0 and 1.
    Truth,
    /// Integers, stored as such: an input.
    Index,
}

/// A value that depends on inputs.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) value: ValueId,
    /// The axes in the order of the model.
    pub(crate) dims: Vec<Dim>,
    pub(crate) batch: Batch,
    pub(crate) meaning: Meaning,
    /// The name of the input that it is.
    pub(crate) input: Option<Arc<str>>,
}

/// A value that depends on parameters only.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    pub(crate) value: ValueId,
    pub(crate) dims: Vec<usize>,
    /// Its elements, if parameters were only moved: layers that arrange weights themselves read them.
    pub(crate) elements: Option<Known>,
}

impl Weight {
    pub(crate) fn new(value: ValueId, dims: Vec<usize>) -> Self {
        Weight { value, dims, elements: None }
    }
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Its elements are known.
    Known(Known),
    /// It depends on parameters only.
    Weight(Weight),
    /// It depends on inputs.
    Data(Data),
    /// It has no elements: an axis has the size 0.
    Empty(Vec<Dim>),
    /// An optional operand that is left out.
    Absent,
}

impl Value {
    /// The axes.
    pub(crate) fn dims(&self) -> Vec<Dim> {
        match self {
            Value::Known(known) => known.dims.iter().map(|&size| Dim::Fixed(size)).collect(),
            Value::Weight(weight) => weight.dims.iter().map(|&size| Dim::Fixed(size)).collect(),
            Value::Data(data) => data.dims.clone(),
            Value::Empty(dims) => dims.clone(),
            Value::Absent => Vec::new(),
        }
    }

    pub(crate) fn rank(&self) -> usize {
        match self {
            Value::Known(known) => known.dims.len(),
            Value::Weight(weight) => weight.dims.len(),
            Value::Data(data) => data.dims.len(),
            Value::Empty(dims) => dims.len(),
            Value::Absent => 0,
        }
    }

    /// The size of an axis, if it is fixed.
    pub(crate) fn fixed(&self, axis: usize) -> Result<usize, Reason> {
        match self.dims().get(axis).and_then(Dim::fixed) {
            Some(size) => Ok(size),
            None => {
                Err(Reason::Operand { index: 0, problem: format!("has no fixed size along axis {axis}") })
            }
        }
    }

    /// The elements, if they are known.
    pub(crate) fn known(&self) -> Result<&Known, Reason> {
        match self {
            Value::Known(known) => Ok(known),
            other => Err(Reason::NeedsKnown { index: 0, input: other.input() }),
        }
    }

    /// The elements of a parameter, or of one whose elements were moved, as those of a constant; none for a large one, which
    /// is not moved twice.
    pub(crate) fn stored_elements(&self) -> Option<Known> {
        let elements = match self {
            Value::Known(known) => Some(Known { name: None, ..known.clone() }),
            Value::Weight(weight) => weight.elements.clone(),
            _ => None,
        };
        elements.filter(|known| known.len() <= crate::importer::MOST_KNOWN)
    }

    /// A parameter whose elements are known beside it.
    pub(crate) fn with_elements(self, elements: Option<Value>) -> Value {
        match (self, elements) {
            (Value::Weight(weight), Some(Value::Known(known))) => {
                Weight { elements: Some(known), ..weight }.into()
            }
            (other, _) => other,
        }
    }

    /// The input that it is, if it is one.
    pub(crate) fn input(&self) -> Option<String> {
        match self {
            Value::Data(data) => data.input.as_deref().map(str::to_owned),
            _ => None,
        }
    }

    /// Whether it depends on inputs.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self, Value::Data(_))
    }

    /// What its elements mean.
    pub(crate) fn meaning(&self) -> Meaning {
        use crate::known::Elements;
        match self {
            Value::Known(known) => match known.elements {
                Elements::Floats(_) => Meaning::Float,
                Elements::Integers(_) | Elements::Sizes(_) => Meaning::Whole,
                Elements::Booleans(_) => Meaning::Truth,
            },
            Value::Weight(_) | Value::Empty(_) | Value::Absent => Meaning::Float,
            Value::Data(data) => data.meaning,
        }
    }
}

impl From<Known> for Value {
    fn from(known: Known) -> Self {
        Value::Known(known)
    }
}

impl From<Weight> for Value {
    fn from(weight: Weight) -> Self {
        Value::Weight(weight)
    }
}

impl From<Data> for Value {
    fn from(data: Data) -> Self {
        Value::Data(data)
    }
}

impl Data {
    /// The axis of the graph that is an axis of the model.
    pub(crate) fn axis(&self, axis: usize) -> usize {
        match self.batch {
            Batch::Outside => axis + 1,
            Batch::Axis(batch) if axis == batch => 0,
            Batch::Axis(batch) if axis < batch => axis + 1,
            Batch::Axis(_) => axis,
        }
    }

    /// The shape in the graph of a value with other axes and the same batch.
    pub(crate) fn shape_of(&self, dims: &[Dim]) -> Shape {
        shape(self.batch, dims)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape_of(&self.dims)
    }

    /// The same batch and meaning with another value.
    pub(crate) fn with(&self, value: ValueId, dims: Vec<Dim>) -> Data {
        Data { value, dims, batch: self.batch, meaning: self.meaning, input: None }
    }

    /// The same axes and batch with another value.
    pub(crate) fn replaced(&self, value: ValueId) -> Data {
        self.with(value, self.dims.clone())
    }

    pub(crate) fn meaning(self, meaning: Meaning) -> Data {
        Data { meaning, ..self }
    }
}

/// The shape in the graph of a value of the model.
pub(crate) fn shape(batch: Batch, dims: &[Dim]) -> Shape {
    match batch {
        Batch::Outside => Shape::batch_of(dims.iter().cloned()),
        Batch::Axis(axis) => {
            let size = dims[axis].polynomial();
            // With fixed sizes, the axis is one of each sample.
            let first = match size.as_number() {
                Some(_) => size.times(&Polynomial::from(windlass_compiler::shape::Symbol::BATCH)),
                None => size,
            };
            let others = dims.iter().enumerate().filter(|(other, _)| *other != axis);
            let dims: Vec<Dim> =
                std::iter::once(Dim::from(first)).chain(others.map(|(_, dim)| dim.clone())).collect();
            Shape::new(dims)
        }
    }
}
