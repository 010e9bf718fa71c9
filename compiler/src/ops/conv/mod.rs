//! Convolution (cross-correlation) over any number of spatial axes, and its two gradients.

mod affine;
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

use std::borrow::Cow;

pub use affine::{AffineMap, affine_map};
use serde::{Deserialize, Serialize};

use super::epilogue::EpilogueStep;
use super::facts::{Facts, Product, Reach, Role, Rows, never_rewritten, takes_epilogue};
use super::window::{Window, sizes_at};
use super::{Cost, InTraining, Operator, Rewrite, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Dim, Polynomial, Shape, Sizes, Type};

/// Convolution: operands `x` `[N, C, spatial…]`, `weight` `[O, C/groups, kernel…]`, then one for each epilogue step
/// that takes an operand; result `[N, O, spatial…]`. Padding counts as zeros. It is undefined whether an infinite or
/// NaN weight is multiplied by these zeros (which gives NaN) or skips them; the same holds for the gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// The window.
    #[serde(flatten)]
    pub window: Window,
    /// Input and output channels are split into this many independent groups.
    pub groups: usize,
    /// Steps fused into the product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<EpilogueStep>,
}

/// Gradient of a convolution with respect to its input, or transposed convolution: operands `g` `[N, O, spatial…]` and
/// `weight`, then one for each epilogue step that takes an operand; result `[N, C, input…]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvGradInput {
    /// The window of the convolution.
    #[serde(flatten)]
    pub window: Window,
    /// The groups of the convolution.
    pub groups: usize,
    /// Spatial sizes of the convolution's input, which may be open.
    pub input_sizes: Vec<Polynomial>,
    /// Steps fused into the product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<EpilogueStep>,
}

/// Gradient of a convolution with respect to its weight: operands `g` `[N, O, spatial…]` and `x`; result
/// `[O, C/groups, kernel…]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvGradWeight {
    /// The window of the convolution.
    #[serde(flatten)]
    pub window: Window,
    /// The groups of the convolution.
    pub groups: usize,
}

/// The type of a weight from `inputs` to `outputs` channels in groups: `[O, C/groups, kernel…]`.
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

/// The cost of a convolution whose output and weight have these types, with an epilogue applied to a result.
fn product_cost(output: &Type, weight: &Type, epilogue: &[EpilogueStep], result: &Type) -> Cost {
    let reduction: usize = weight.shape.item()[1..].iter().product();
    let behind = Cost::elementwise(result, EpilogueStep::flops(epilogue));
    Cost::elementwise(output, 2 * reduction as u64).plus(&behind)
}

/// The error for a node without its first two operands.
fn too_few(operands: &[Type]) -> ShapeError {
    ShapeError::Arity { expected: "at least 2".to_owned(), got: operands.len() }
}

impl Conv {
    /// The type of the weight from an input to `outputs` channels.
    ///
    /// # Errors
    /// Those of [`Window::check`], and groups that do not divide the channels.
    pub(crate) fn weight_type(&self, input: &Shape, outputs: usize) -> Result<Type, ShapeError> {
        self.window.check(input)?;
        weight_type(&self.window, self.groups, [input.item()[0], outputs])
    }
}

never_rewritten!(ConvGradWeight);
takes_epilogue!(Conv);

impl Rewrite for ConvGradInput {
    fn epilogue(&self) -> Option<&[EpilogueStep]> {
        Some(&self.epilogue)
    }

    fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>> {
        Some(&mut self.epilogue)
    }

    fn at(&self, sizes: &Sizes) -> Cow<'_, Self> {
        Cow::Owned(ConvGradInput { input_sizes: sizes_at(&self.input_sizes, sizes), ..self.clone() })
    }

    fn in_training(&self, _: u32) -> Option<InTraining> {
        None
    }
}

impl Operator for Conv {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        let [x, weight, rest @ ..] = operands else { return Err(too_few(operands)) };
        expect_float("input", x)?;
        let outputs = weight.shape.item().first().copied().unwrap_or(0);
        expect_type("weight", weight, &self.weight_type(&x.shape, outputs)?)?;
        let result = Type::f32(x.shape.with_image(outputs, self.window.output_dims(&x.shape.dims()[2..])));
        EpilogueStep::check_all(&self.epilogue, rest, &result)?;
        Ok(vec![result])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Product(Product::ByRows), reach: Reach::Window(&self.window), indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        product_cost(&results[0], &operands[1], &self.epilogue, &results[0])
    }
}

impl Operator for ConvGradInput {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        let [gradient, weight, rest @ ..] = operands else { return Err(too_few(operands)) };
        expect_float("gradient", gradient)?;
        let outputs = super::expect_channels(gradient)?;
        let inputs = weight.shape.item().get(1).copied().unwrap_or(0).saturating_mul(self.groups);
        let sizes: Vec<Dim> = self.input_sizes.iter().cloned().map(Dim::from).collect();
        let result = Type::f32(gradient.shape.with_image(inputs, sizes.iter().cloned()));
        result.shape.check()?;
        self.window.check(&result.shape)?;
        expect_type("weight", weight, &weight_type(&self.window, self.groups, [inputs, outputs])?)?;
        let pooled = gradient.shape.with_image(outputs, self.window.output_dims(&sizes));
        expect_type("gradient", gradient, &Type::f32(pooled))?;
        EpilogueStep::check_all(&self.epilogue, rest, &result)?;
        Ok(vec![result])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Product(Product::Other), reach: Reach::Everywhere, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        product_cost(&operands[0], &operands[1], &self.epilogue, &results[0])
    }
}

impl Operator for ConvGradWeight {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let (gradient, x) = (&operands[0], &operands[1]);
        expect_float("gradient", gradient)?;
        expect_float("input", x)?;
        self.window.check(&x.shape)?;
        let outputs = super::expect_channels(gradient)?;
        let weight = weight_type(&self.window, self.groups, [x.shape.item()[0], outputs])?;
        let dims = self.window.output_dims(&x.shape.dims()[2..]);
        expect_type("gradient", gradient, &Type::f32(x.shape.with_image(outputs, dims)))?;
        Ok(vec![weight])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Product(Product::Other), reach: Reach::Everywhere, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Summed
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        product_cost(&operands[0], &results[0], &[], &results[0])
    }
}
