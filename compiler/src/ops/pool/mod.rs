//! Max and average pooling over any number of spatial axes, and their gradients.

#[cfg(feature = "codegen")]
mod cells;
#[cfg(feature = "codegen")]
mod channels_first;
#[cfg(feature = "codegen")]
mod channels_last;
#[cfg(feature = "codegen")]
pub(crate) mod fused;
mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;
#[cfg(feature = "codegen")]
mod sequences;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::epilogue::EpilogueStep;
use super::facts::{Facts, Indices, Reach, Role, never_rewritten};
use super::window::{Window, axis_name, sizes_at};
use super::{Cost, InTraining, Operator, Rewrite, expect_arity, expect_channels, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{DType, Dim, Polynomial, Sizes, Type};

/// Maximum of each window: operand `x` `[N, C, spatial…]`; results `y` `[N, C, spatial…]` and the argmax index of each
/// window, counted row by row (`i32`). Of equal values, the first is the maximum. A NaN is larger than every number,
/// and of several NaNs the last is the maximum. Padding counts as −∞, and the argmax index of a window without any
/// larger value is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPool {
    /// The window.
    #[serde(flatten)]
    pub window: Window,
}

/// Gradient of max pooling: operands `g` and the argmax indices of the forward pass; result `[N, C, input…]`, which
/// adds each `g` at its argmax index. If that position is padding, `g` is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPoolGrad {
    /// The window of the pooling.
    #[serde(flatten)]
    pub window: Window,
    /// Spatial sizes of the pooling's input, which may be open.
    pub input_sizes: Vec<Polynomial>,
}

/// Mean of each window, with padding counted as zeros: the sum, row by row, is always divided by the window's size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AvgPool {
    /// The window.
    #[serde(flatten)]
    pub window: Window,
}

/// Gradient of average pooling: operand `g`; result `[N, C, input…]`, at each element the sum of `g` over the windows
/// that contain it, divided once by the window's size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AvgPoolGrad {
    /// The window of the pooling.
    #[serde(flatten)]
    pub window: Window,
    /// Spatial sizes of the pooling's input, which may be open.
    pub input_sizes: Vec<Polynomial>,
}

fn pooled(window: &Window, x: &Type) -> Result<Type, ShapeError> {
    expect_float("input", x)?;
    window.check(&x.shape)?;
    for axis in 0..window.axes() {
        let padding = window.padding[axis].before.max(window.padding[axis].after);
        if padding >= window.kernel_size[axis] && padding > 0 {
            return Err(ShapeError::PaddingExceedsKernel {
                axis: axis_name(window.axes(), axis),
                padding,
                kernel_size: window.kernel_size[axis],
            });
        }
    }
    let dims = window.output_dims(&x.shape.dims()[2..]);
    let result = x.shape.with_image(x.shape.item()[0], dims);
    result.check()?;
    Ok(Type::f32(result))
}

fn unpooled(window: &Window, input_sizes: &[Polynomial], gradient: &Type) -> Result<Type, ShapeError> {
    expect_float("gradient", gradient)?;
    let sizes = input_sizes.iter().cloned().map(Dim::from);
    let result = Type::f32(gradient.shape.with_image(expect_channels(gradient)?, sizes));
    result.shape.check()?;
    expect_type("gradient", gradient, &pooled(window, &result)?)?;
    Ok(result)
}

fn window_cost(window: &Window, pooled: &Type) -> Cost {
    Cost::elementwise(pooled, window.elements() as u64)
}

never_rewritten!(MaxPool, AvgPool);

macro_rules! has_input_sizes {
    ($($op:ident),*) => {$(
        impl Rewrite for $op {
            fn epilogue(&self) -> Option<&[EpilogueStep]> {
                None
            }

            fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>> {
                None
            }

            fn at(&self, sizes: &Sizes) -> Cow<'_, Self> {
                Cow::Owned($op { input_sizes: sizes_at(&self.input_sizes, sizes), ..self.clone() })
            }

            fn in_training(&self, _: u32) -> Option<InTraining> {
                None
            }
        }
    )*};
}

has_input_sizes!(MaxPoolGrad, AvgPoolGrad);

impl Operator for MaxPool {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        let result = pooled(&self.window, &operands[0])?;
        let argmax = Type { dtype: DType::I32, shape: result.shape.clone() };
        Ok(vec![result, argmax])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Window(&self.window), indices: None }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        window_cost(&self.window, &results[0])
    }
}

impl Operator for MaxPoolGrad {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let result = unpooled(&self.window, &self.input_sizes, &operands[0])?;
        expect_type("argmax", &operands[1], &Type::i32(operands[0].shape.clone()))?;
        Ok(vec![result])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            role: Role::Other,
            reach: Reach::Everywhere,
            indices: Some(Indices::Below(self.window.elements())),
        }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        window_cost(&self.window, &operands[0])
    }
}

impl Operator for AvgPool {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        Ok(vec![pooled(&self.window, &operands[0])?])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Window(&self.window), indices: None }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        window_cost(&self.window, &results[0])
    }
}

impl Operator for AvgPoolGrad {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        Ok(vec![unpooled(&self.window, &self.input_sizes, &operands[0])?])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        window_cost(&self.window, &operands[0])
    }
}
