//! Convolution (cross-correlation) over any number of spatial axes, and its two gradients.

#[cfg(feature = "codegen")]
mod correlation;
mod gradient;
#[cfg(feature = "codegen")]
mod input_gradient;
#[cfg(feature = "codegen")]
mod lower;
#[cfg(feature = "codegen")]
mod packing;
#[cfg(feature = "codegen")]
mod phases;
mod reference;
#[cfg(feature = "codegen")]
mod schedules;
#[cfg(feature = "codegen")]
mod weight_gradient;

use serde::{Deserialize, Serialize};

use super::epilogue::EpilogueStep;
use super::window::Window;
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// Convolution: operands `x` `[N, C, spatial…]`, `weight` `[O, C/groups, kernel…]`, then one per epilogue step that
/// takes one; result `[N, O, spatial…]`. Padding counts as zeros; whether a weight that is infinite or NaN meets them (as
/// NaN) or nothing there is left open, in the gradients too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// The window.
    #[serde(flatten)]
    pub window: Window,
    /// Input and output channels are split into this many groups that do not see each other.
    pub groups: usize,
    /// Steps fused behind the product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<EpilogueStep>,
}

/// Gradient of a convolution to its input: operands `g` `[N, O, spatial…]` and `weight`; result `[N, C, input…]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvGradInput {
    /// The window of the convolution.
    #[serde(flatten)]
    pub window: Window,
    /// The groups of the convolution.
    pub groups: usize,
    /// Spatial sizes of the convolution's input.
    pub input_sizes: Vec<usize>,
}

/// Gradient of a convolution to its weight: operands `g` `[N, O, spatial…]` and `x`; result `[O, C/groups, kernel…]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvGradWeight {
    /// The window of the convolution.
    #[serde(flatten)]
    pub window: Window,
    /// The groups of the convolution.
    pub groups: usize,
}

/// The type of the weight between so many input and output channels in groups: `[O, C/groups, kernel…]`.
fn weight_type(window: &Window, groups: usize, [inputs, outputs]: [usize; 2]) -> Result<Type, ShapeError> {
    if groups == 0 {
        return Err(ShapeError::ZeroArgument { argument: "groups" });
    }
    if !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
        return Err(ShapeError::GroupsDoNotDivide { groups, inputs, outputs });
    }
    let mut sizes = vec![outputs, inputs / groups];
    sizes.extend_from_slice(&window.kernel_size);
    Ok(Type::f32(Shape::fixed(&sizes)))
}

fn batched_image(channels: usize, sizes: &[usize]) -> Type {
    let mut item = vec![channels];
    item.extend_from_slice(sizes);
    Type::f32(Shape::batched(&item))
}

/// Operations per item of a convolution whose result and weight have these types.
fn product_cost(result: &Type, weight: &Type) -> Cost {
    let reduction: usize = weight.shape.item()[1..].iter().product();
    Cost { flops_per_item: 2 * (result.shape.item_elements() * reduction) as u64, flops_fixed: 0 }
}

impl Conv {
    /// The type of the weight that makes so many output channels of an input.
    ///
    /// # Errors
    /// As [`Window::check`], and groups that do not divide the channels.
    pub(crate) fn weight_type(&self, input: &Shape, outputs: usize) -> Result<Type, ShapeError> {
        self.window.check(input)?;
        weight_type(&self.window, self.groups, [input.item()[0], outputs])
    }
}

impl Operator for Conv {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        if operands.len() < 2 {
            return Err(ShapeError::Arity { expected: "at least 2".to_owned(), got: operands.len() });
        }
        let (x, weight) = (&operands[0], &operands[1]);
        expect_float("input", x)?;
        let outputs = weight.shape.item().first().copied().unwrap_or(0);
        expect_type("weight", weight, &self.weight_type(&x.shape, outputs)?)?;
        let result = batched_image(outputs, &self.window.output_sizes(&x.shape.item()[1..]));
        EpilogueStep::check_all(&self.epilogue, &operands[2..], &result)?;
        Ok(vec![result])
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        let mut cost = product_cost(&results[0], &operands[1]);
        cost.flops_per_item += EpilogueStep::flops(&self.epilogue) * results[0].shape.item_elements() as u64;
        cost
    }
}

impl Operator for ConvGradInput {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let (gradient, weight) = (&operands[0], &operands[1]);
        expect_float("gradient", gradient)?;
        let outputs = super::expect_channels(gradient)?;
        let inputs = weight.shape.item().get(1).copied().unwrap_or(0).saturating_mul(self.groups);
        let result = batched_image(inputs, &self.input_sizes);
        result.shape.check()?;
        self.window.check(&result.shape)?;
        expect_type("weight", weight, &weight_type(&self.window, self.groups, [inputs, outputs])?)?;
        expect_type(
            "gradient",
            gradient,
            &batched_image(outputs, &self.window.output_sizes(&self.input_sizes)),
        )?;
        Ok(vec![result])
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        product_cost(&operands[0], &operands[1])
    }
}

impl Operator for ConvGradWeight {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let (gradient, x) = (&operands[0], &operands[1]);
        expect_float("gradient", gradient)?;
        expect_float("input", x)?;
        self.window.check(&x.shape)?;
        let item = x.shape.item();
        let outputs = super::expect_channels(gradient)?;
        let weight = weight_type(&self.window, self.groups, [item[0], outputs])?;
        expect_type("gradient", gradient, &batched_image(outputs, &self.window.output_sizes(&item[1..])))?;
        Ok(vec![weight])
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        product_cost(&operands[0], &results[0])
    }
}
