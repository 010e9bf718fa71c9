//! Sources: values that no operator computes. Inputs are given to each run; parameters and states are kept between
//! runs.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod numbers;
mod reference;

use serde::{Deserialize, Serialize};

pub(crate) use numbers::is_number_word;

use super::facts::{Facts, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity};
use crate::error::ShapeError;
use crate::graph::initializer::Initializer;
use crate::shape::{Shape, Type};

/// The purpose of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputRole {
    /// Examples and labels, given by the user.
    #[default]
    Data,
    /// Values that control a run, given by the trainer: learning rate, random seed.
    Control,
}

/// A value given to each run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The name, unique among the sources of a graph.
    pub name: String,
    /// Its purpose.
    #[serde(default)]
    pub role: InputRole,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
}

/// A trainable parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The name, unique among the sources of a graph: `c1.weight`.
    pub name: String,
    /// Its shape, without a batch axis.
    pub shape: Shape,
    /// The distribution of its initial values.
    pub init: Initializer,
}

/// Values kept between runs that have no gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The name, unique among the sources of a graph: `bn1.running_mean`.
    pub name: String,
    /// Its shape, without a batch axis.
    pub shape: Shape,
    /// The distribution of its initial values.
    pub init: Initializer,
}

/// Values known when the graph is built. Two constants are equal if all their elements are bitwise equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Constant {
    /// The shape, without a batch axis.
    pub shape: Shape,
    /// The elements in row-major order. In the text form, elements that are not finite are the strings `inf`, `-inf`
    /// and `nan`, or `nan.` and the bits of another NaN.
    #[serde(with = "numbers")]
    pub values: Vec<f32>,
}

/// A value that no operator computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source<'a> {
    /// A value given to each run.
    Input(&'a Input),
    /// A trainable parameter.
    Parameter(&'a Parameter),
    /// Values kept between runs.
    State(&'a State),
    /// Values known when the graph is built.
    Constant(&'a Constant),
}

impl<'a> Source<'a> {
    /// The name that binds it; constants have none.
    pub fn name(self) -> Option<&'a str> {
        match self {
            Source::Input(input) => Some(&input.name),
            Source::Parameter(parameter) => Some(&parameter.name),
            Source::State(state) => Some(&state.name),
            Source::Constant(_) => None,
        }
    }

    /// Whether it is kept between runs, and may be updated.
    pub fn is_stored(self) -> bool {
        match self {
            Source::Parameter(_) | Source::State(_) => true,
            Source::Input(_) | Source::Constant(_) => false,
        }
    }
}

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        let own = self.values.iter().map(|value| value.to_bits());
        self.shape == other.shape && own.eq(other.values.iter().map(|value| value.to_bits()))
    }
}

never_rewritten!(Input, Parameter, State, Constant);

impl Operator for Input {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 0)?;
        Ok(vec![self.ty.clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Source(Source::Input(self)), reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

fn unbatched(shape: &Shape) -> Result<Vec<Type>, ShapeError> {
    if shape.is_batched() {
        return Err(ShapeError::Rank {
            expected: "a shape without a batch axis".to_owned(),
            got: shape.clone(),
        });
    }
    Ok(vec![Type::f32(shape.clone())])
}

impl Operator for Parameter {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 0)?;
        self.init.check()?;
        unbatched(&self.shape)
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Source(Source::Parameter(self)), reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for State {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 0)?;
        self.init.check()?;
        unbatched(&self.shape)
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Source(Source::State(self)), reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for Constant {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 0)?;
        let types = unbatched(&self.shape)?;
        self.shape.check()?;
        if self.values.len() != self.shape.item_elements() {
            return Err(ShapeError::ElementsDiffer {
                from: Shape::fixed(&[self.values.len()]),
                to: self.shape.clone(),
            });
        }
        Ok(types)
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Source(Source::Constant(self)), reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}
