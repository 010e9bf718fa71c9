//! Gradients of elementwise functions. They use the function's result instead of its operand if the result is
//! sufficient.

use super::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind};
use crate::autodiff::{AutodiffError, Backward, Differentiate, not_differentiable};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::ops::reduce::{Reduce, ReduceKind};

impl Differentiate for Unary {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let (x, y) = (node.operands[0], node.results[0]);
        if let Some((kind, takes_result)) = self.kind.gradient() {
            return Ok(vec![Some(backward.binary(kind, g, if takes_result { y } else { x })?)]);
        }
        let to_x = match self.kind {
            UnaryKind::Exp => backward.binary(BinaryKind::Multiply, g, y)?,
            UnaryKind::Log => backward.binary(BinaryKind::Divide, g, x)?,
            UnaryKind::Sqrt => {
                // 1 / (2y)
                let half = scaled(backward, g, 0.5)?;
                backward.binary(BinaryKind::Divide, half, y)?
            }
            UnaryKind::Rsqrt => {
                // −y³ / 2
                let square = backward.unary(UnaryKind::Square, y)?;
                let cube = backward.binary(BinaryKind::Multiply, square, y)?;
                let slope = scaled(backward, cube, -0.5)?;
                backward.binary(BinaryKind::Multiply, g, slope)?
            }
            UnaryKind::Negate => backward.unary(UnaryKind::Negate, g)?,
            UnaryKind::Square => {
                let slope = scaled(backward, x, 2.0)?;
                backward.binary(BinaryKind::Multiply, g, slope)?
            }
            UnaryKind::Relu | UnaryKind::Sigmoid | UnaryKind::Tanh | UnaryKind::Activation(_) => {
                unreachable!("activations have a kind of gradient")
            }
        };
        Ok(vec![Some(to_x)])
    }
}

fn scaled(backward: &mut Backward, x: ValueId, factor: f32) -> Result<ValueId, AutodiffError> {
    let factor = backward.constant(factor)?;
    backward.binary(BinaryKind::Multiply, x, factor)
}

impl Differentiate for Binary {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let (a, b, y) = (node.operands[0], node.operands[1], node.results[0]);
        if self.kind == BinaryKind::AtMost {
            // It is constant between jumps.
            return Ok(vec![None, None]);
        }
        let to_a = backward.towards(a, |backward| match self.kind {
            BinaryKind::Add | BinaryKind::Subtract => Ok(g),
            BinaryKind::Multiply => backward.binary(BinaryKind::Multiply, g, b),
            BinaryKind::Divide => backward.binary(BinaryKind::Divide, g, b),
            BinaryKind::Maximum | BinaryKind::Minimum => {
                // Where both are equal, the result is `a`.
                let is_a = is_first(backward, self.kind, a, y)?;
                backward.binary(BinaryKind::ReluGrad, g, is_a)
            }
            BinaryKind::AtMost
            | BinaryKind::ReluGrad
            | BinaryKind::SigmoidGrad
            | BinaryKind::TanhGrad
            | BinaryKind::ActivationGrad(_) => {
                // These are linear in the gradient that they multiply.
                backward.binary(self.kind, g, b)
            }
        })?;
        let to_b = backward.towards(b, |backward| {
            let each = match self.kind {
                BinaryKind::Add => g,
                BinaryKind::Subtract => backward.unary(UnaryKind::Negate, g)?,
                BinaryKind::Multiply => backward.binary(BinaryKind::Multiply, g, a)?,
                BinaryKind::Divide => {
                    // −a / b², computed from the result.
                    let slope = backward.binary(BinaryKind::Multiply, g, y)?;
                    let slope = backward.binary(BinaryKind::Divide, slope, b)?;
                    backward.unary(UnaryKind::Negate, slope)?
                }
                BinaryKind::Maximum | BinaryKind::Minimum => {
                    let is_a = is_first(backward, self.kind, a, y)?;
                    let negative = backward.unary(UnaryKind::Negate, is_a)?;
                    let one = backward.constant(1.0)?;
                    let is_b = backward.binary(BinaryKind::Add, negative, one)?;
                    backward.binary(BinaryKind::ReluGrad, g, is_b)?
                }
                BinaryKind::AtMost
                | BinaryKind::ReluGrad
                | BinaryKind::SigmoidGrad
                | BinaryKind::TanhGrad
                | BinaryKind::ActivationGrad(_) => {
                    return Err(not_differentiable(node, "the slope of the activation"));
                }
            };
            sum_to(backward, node, each, b)
        })?;
        Ok(vec![to_a, to_b])
    }
}

/// 1 where the result `y` of a maximum or minimum is its first operand, else 0.
fn is_first(
    backward: &mut Backward,
    kind: BinaryKind,
    a: ValueId,
    y: ValueId,
) -> Result<ValueId, AutodiffError> {
    let [least, most] = if kind == BinaryKind::Maximum { [y, a] } else { [a, y] };
    backward.binary(BinaryKind::AtMost, least, most)
}

/// The gradient with respect to an operand that may be a scalar: then it is the sum over all elements.
fn sum_to(
    backward: &mut Backward,
    node: &Node,
    each: ValueId,
    operand: ValueId,
) -> Result<ValueId, AutodiffError> {
    if backward.ty(each) == backward.ty(operand) {
        Ok(each)
    } else if backward.ty(each).shape.is_batched() {
        backward.sum_all(each)
    } else {
        Err(not_differentiable(node, "a single number that meets a value without a batch"))
    }
}

impl Differentiate for Bias {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let to_bias = backward.towards(node.operands[1], |backward| backward.single(SumChannels {}, &[g]))?;
        Ok(vec![Some(g), to_bias])
    }
}

impl Differentiate for Scale {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let (x, scale) = (node.operands[0], node.operands[1]);
        let to_x = backward.towards(x, |backward| backward.single(*self, &[g, scale]))?;
        let to_scale = backward.towards(scale, |backward| {
            let shape = &backward.ty(x).shape;
            let (is_batched, rest) = (shape.is_batched(), shape.rank() - self.count);
            if !is_batched || self.axis > 1 || self.axis + self.count > 2 {
                return Err(not_differentiable(node, "a scale along other axes than samples and channels"));
            }
            let products = backward.binary(BinaryKind::Multiply, g, x)?;
            match self.axis {
                1 => backward.single(SumChannels {}, &[products]),
                _ if rest == 0 => Ok(products),
                _ => {
                    let sum = Reduce { kind: ReduceKind::Sum, axis: self.count, count: rest };
                    backward.single(sum, &[products])
                }
            }
        })?;
        Ok(vec![to_x, to_scale])
    }
}

impl Differentiate for SumChannels {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let zeros = backward.zeros_like(node.operands[0])?;
        Ok(vec![Some(backward.single(Bias {}, &[zeros, g])?)])
    }
}
