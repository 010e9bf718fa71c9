//! Scan: a loop over the steps of sequences. Its body is a graph of one step.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::facts::{Facts, InTraining, Reach, Rewrite, Role};
use super::{Cost, Operator};
use crate::error::ShapeError;
use crate::graph::Graph;
use crate::ops::epilogue::EpilogueStep;
use crate::ops::source::Source;
use crate::shape::{Dim, Polynomial, Shape, Sizes, Type};

/// The maximum nesting of scans.
const MOST_NESTED: usize = 8;

/// Runs its body once for each step of some sequences, as ONNX's `Scan`.
///
/// A sequence is a *folded* value `[N·T, …]` in time-major order: row `t·N + n` is step `t` of sample `n`, so that the
/// slice of a step, `[N, …]`, is contiguous. The inputs of the body are, in order:
///
/// - *constants*: the same value in every step;
/// - *slices* of sequences: one slice a step;
/// - *carried* values: given initially, then the result of the step before.
///
/// The outputs of the body are the new carried values, followed by *collected* values. The results of the scan are the
/// last carried values, followed by the sequences of the collected values.
///
/// Names of inputs and outputs have no meaning: only their order has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// The number of steps: fixed or open.
    pub steps: Polynomial,
    /// Whether the last step of the sequences comes first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reverse: bool,
    /// Whether its gradient is to compute values of the body again. No pass moves work out of it, because results of all
    /// steps would have to be kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recomputed: bool,
    /// The number of inputs of the body that are slices.
    pub slices: usize,
    /// The number of inputs of the body that are carried.
    pub carried: usize,
    /// The graph of one step.
    #[serde(serialize_with = "body_as_text", deserialize_with = "body_from_text")]
    pub body: Box<Graph>,
    /// The open sizes of a run, for the interpreter.
    #[serde(skip)]
    sizes: Option<Sizes>,
}

fn body_as_text<S: Serializer>(body: &Graph, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&body.to_string())
}

fn body_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Graph>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Box::new).map_err(serde::de::Error::custom)
}

impl Scan {
    /// A scan in the order of time.
    pub fn new(body: Graph, steps: impl Into<Polynomial>, slices: usize, carried: usize) -> Self {
        Scan {
            steps: steps.into(),
            reverse: false,
            recomputed: false,
            slices,
            carried,
            body: Box::new(body),
            sizes: None,
        }
    }

    /// The same scan, which begins with the last step if `reverse`.
    #[must_use]
    pub fn reversed(self, reverse: bool) -> Self {
        Scan { reverse, ..self }
    }

    /// The same scan, out of which nothing is moved if `recomputed`.
    #[must_use]
    pub fn recomputed(self, recomputed: bool) -> Self {
        Scan { recomputed, ..self }
    }

    /// The same scan of another number of steps.
    #[must_use]
    pub fn with_steps(&self, steps: impl Into<Polynomial>) -> Self {
        Scan { steps: steps.into(), ..self.clone() }
    }

    /// The same scan with another body.
    #[must_use]
    pub fn with_body(&self, body: Graph) -> Self {
        Scan { body: Box::new(body), ..self.clone() }
    }

    /// The number of inputs of the body that are constants.
    pub fn constants(&self) -> usize {
        self.body.inputs().count().saturating_sub(self.slices + self.carried)
    }

    /// The number of collected values.
    pub fn collected(&self) -> usize {
        self.body.outputs().len().saturating_sub(self.carried)
    }

    /// The shape of the sequence of a slice's shape.
    pub fn sequence(&self, slice: &Shape) -> Shape {
        let mut dims = slice.dims().to_vec();
        if let Some(first) = dims.first_mut() {
            *first = Dim::from(first.polynomial().times(&self.steps));
        }
        Shape::new(dims)
    }

    fn broken<T>(&self, reason: String) -> Result<T, ShapeError> {
        Err(ShapeError::Scan { reason })
    }

    /// Checks what does not depend on the operands.
    fn check_body(&self) -> Result<(), ShapeError> {
        let body = &self.body;
        if nesting(body) >= MOST_NESTED {
            return self.broken(format!("nests more than {MOST_NESTED} scans"));
        }
        if !self.steps.is_positive() || self.steps.symbols().contains(&crate::shape::Symbol::BATCH) {
            return self
                .broken(format!("takes {} steps, which must be at least 1 and not depend on N", self.steps));
        }
        if !body.updates().is_empty() {
            return self.broken("has a body with updates, which only a whole network may have".to_owned());
        }
        for node in body.nodes() {
            if let Some(Source::Parameter(_) | Source::State(_)) = node.op.source() {
                let name = crate::graph::source_name(&node.op).unwrap_or_default();
                return self
                    .broken(format!("has a body that declares `{name}`: give it as a constant operand"));
            }
        }
        let (inputs, outputs) = (body.inputs().count(), body.outputs().len());
        if self.slices.saturating_add(self.carried) > inputs || self.carried > outputs {
            return self.broken(format!(
                "has a body of {inputs} inputs and {outputs} outputs, too few for {} slices and {} carried values",
                self.slices, self.carried
            ));
        }
        Ok(())
    }
}

/// The nesting of scans in a graph.
fn nesting(graph: &Graph) -> usize {
    let scans = graph.nodes().iter().filter_map(|node| match &node.op {
        super::Op::Scan(scan) => Some(1 + nesting(&scan.body)),
        _ => None,
    });
    scans.max().unwrap_or(0)
}

impl Operator for Scan {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        self.check_body()?;
        let inputs: Vec<Type> = self.body.inputs().map(|(_, input)| input.ty.clone()).collect();
        if inputs.len() != operands.len() {
            let (expected, got) = (inputs.len().to_string(), operands.len());
            return Err(ShapeError::Arity { expected, got });
        }
        let constants = self.constants();
        let is_slice = |index: usize| (constants..constants + self.slices).contains(&index);
        for (index, (input, operand)) in inputs.iter().zip(operands).enumerate() {
            let expected = match is_slice(index) {
                true => Type { dtype: input.dtype, shape: self.sequence(&input.shape) },
                false => input.clone(),
            };
            if is_slice(index) && !input.shape.is_batched() {
                return self.broken(format!("slices {}, but slices must be batched", input.shape));
            }
            let kind = match index {
                _ if index < constants => "constant",
                _ if is_slice(index) => "sequence",
                _ => "initial value",
            };
            super::expect_type(kind, operand, &expected)?;
        }
        let outputs: Vec<&Type> =
            self.body.outputs().iter().map(|output| self.body.ty(output.value)).collect();
        let (carried, collected) = outputs.split_at(self.carried);
        for (new, old) in carried.iter().zip(&inputs[constants + self.slices..]) {
            super::expect_type("new carried value", new, old)?;
        }
        if let Some(flat) = collected.iter().find(|ty| !ty.shape.is_batched()) {
            return self.broken(format!("collects {}, but collected values must be batched", flat.shape));
        }
        let sequences = collected.iter().map(|ty| Type { dtype: ty.dtype, shape: self.sequence(&ty.shape) });
        Ok(carried.iter().map(|&ty| ty.clone()).chain(sequences).collect())
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        let body = &self.body;
        let cost = body.nodes().iter().fold(Cost::default(), |sum, node| {
            sum.plus(&node.op.cost(&body.types(&node.operands), &body.types(&node.results)))
        });
        Cost { flops: cost.flops.times(&self.steps) }
    }
}

impl Rewrite for Scan {
    fn epilogue(&self) -> Option<&[EpilogueStep]> {
        None
    }

    fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>> {
        None
    }

    fn at(&self, sizes: &Sizes) -> Cow<'_, Self> {
        Cow::Owned(Scan { sizes: Some(sizes.clone()), ..self.clone() })
    }

    fn in_training(&self, _: u32) -> Option<InTraining> {
        None
    }
}
