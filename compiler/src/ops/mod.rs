//! The operators: one folder per family with all its rules — shape rule (`mod.rs`), reference evaluation, gradient, and
//! lowering to kernels. [`Op`] is a closed enum, so the Rust compiler lists the missing rules of a new operator.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use crate::cost::Cost;
use crate::error::ShapeError;
use crate::shape::{DType, Sizes, Type};

pub mod batch_norm;
pub mod conv;
pub mod ctc;
pub mod dropout;
pub mod elementwise;
pub mod epilogue;
mod facts;
pub mod fill;
pub mod fused;
pub mod gather;
#[cfg(feature = "codegen")]
pub(crate) mod grid;
#[cfg(feature = "codegen")]
pub(crate) mod halo;
pub mod linear;
pub mod loss;
pub mod mask;
pub mod matmul;
pub mod optimizer;
pub mod pool;
pub mod positions;
pub mod reduce;
pub mod scan;
pub mod sign_mask;
pub mod softmax;
pub mod source;
pub mod steps;
pub mod structure;
pub mod window;
#[cfg(feature = "codegen")]
pub(crate) mod window_walk;

pub use facts::{Elementwise, Facts, InTraining, Indices, Move, Product, Reach, Rewrite, Role, Rows};

use batch_norm::{BatchNorm, BatchNormGrad, BatchNormTraining};
use conv::{Conv, ConvGradInput, ConvGradWeight};
use ctc::Ctc;
use dropout::{Dropout, DropoutTraining};
use elementwise::{Bias, Binary, Scale, SumChannels, Unary};
use epilogue::EpilogueStep;
use fill::Fill;
use fused::Fused;
use gather::{Gather, GatherGrad};
use linear::{Linear, LinearGradInput, LinearGradWeight};
use loss::{CrossEntropy, CrossEntropyGrad, MeanSquaredError, MeanSquaredErrorGrad, OneHot};
use mask::Mask;
use matmul::Matmul;
use optimizer::{Adam, Adaptive, ClipFactor, ClipValue, Sgd};
use pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use positions::AddPositions;
use reduce::{Expand, Reduce};
use scan::Scan;
use sign_mask::{MaskedSelect, SignMask};
use softmax::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
use source::{Constant, Input, Parameter, Source, State};
use steps::{FoldSteps, UnfoldSteps};
use structure::{Concat, Pad, Reshape, Slice, Transpose};

/// The rules of an operator that hold for every use of it.
pub trait Operator {
    /// The shape rule: computes the types of the results from the types of the operands.
    ///
    /// # Errors
    /// A [`ShapeError`] that names the violated rule.
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError>;

    /// Whether items may have open sizes. If not, the other methods are never called with open sizes.
    fn takes_open_items(&self) -> bool;

    /// The properties that other modules use without knowing the operator.
    fn facts(&self) -> Facts<'_>;

    /// The cost, for operands that satisfy the shape rule.
    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost;

    /// How results depend on the rows of batched operands: the indices of their first axis.
    fn rows(&self) -> Rows {
        Rows::Mixed
    }
}

/// Refuses values of open sizes other than sequences `[channels, length]`, for operators on images.
fn expect_sequences(operands: &[Type]) -> Result<(), ShapeError> {
    let other = operands.iter().find(|ty| ty.shape.has_open_item() && !ty.shape.is_open_sequence());
    other.map_or(Ok(()), |ty| Err(ShapeError::OpenSize { shape: ty.shape.clone() }))
}

macro_rules! operators {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// An operator with its attributes. The serialised tag is the name in the text form.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "op")]
        pub enum Op {
            $($(#[$doc])* #[serde(rename = $name)] $variant($variant),)*
        }

        /// An operator without its attributes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OpKind {
            $($(#[$doc])* $variant,)*
        }

        impl OpKind {
            /// Every kind, in declaration order.
            pub const ALL: &'static [OpKind] = &[$(OpKind::$variant),*];

            /// The name in the text form.
            pub fn name(self) -> &'static str {
                match self { $(OpKind::$variant => $name,)* }
            }
        }

        impl Op {
            /// Every name of the text form.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The operator without its attributes.
            pub fn kind(&self) -> OpKind {
                match self { $(Op::$variant(_) => OpKind::$variant,)* }
            }

            /// The name in the text form.
            pub fn name(&self) -> &'static str {
                match self { $(Op::$variant(_) => $name,)* }
            }
        }

        impl Operator for Op {
            fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
                if !self.takes_open_items()
                    && let Some(open) = operands.iter().find(|operand| operand.shape.has_open_item())
                {
                    return Err(ShapeError::OpenSize { shape: open.shape.clone() });
                }
                let results = match self { $(Op::$variant(op) => op.infer(operands)?,)* };
                for result in &results {
                    result.shape.check()?;
                }
                Ok(results)
            }

            fn takes_open_items(&self) -> bool {
                match self { $(Op::$variant(op) => op.takes_open_items(),)* }
            }

            fn facts(&self) -> Facts<'_> {
                match self { $(Op::$variant(op) => op.facts(),)* }
            }

            fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
                match self { $(Op::$variant(op) => op.cost(operands, results),)* }
            }

            fn rows(&self) -> Rows {
                match self { $(Op::$variant(op) => op.rows(),)* }
            }
        }

        impl Rewrite for Op {
            fn epilogue(&self) -> Option<&[EpilogueStep]> {
                match self { $(Op::$variant(op) => op.epilogue(),)* }
            }

            fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>> {
                match self { $(Op::$variant(op) => op.epilogue_mut(),)* }
            }

            fn at(&self, sizes: &Sizes) -> Cow<'_, Self> {
                match self {
                    $(Op::$variant(op) => match op.at(sizes) {
                        Cow::Borrowed(_) => Cow::Borrowed(self),
                        Cow::Owned(op) => Cow::Owned(Op::$variant(op)),
                    },)*
                }
            }

            fn in_training(&self, stream: u32) -> Option<InTraining> {
                match self { $(Op::$variant(op) => op.in_training(stream),)* }
            }
        }

        $(impl From<$variant> for Op {
            fn from(op: $variant) -> Op { Op::$variant(op) }
        })*

        /// Calls the same method on any operator: `dispatch!(op, inner => inner.method())`.
        #[macro_export]
        #[doc(hidden)]
        macro_rules! dispatch_operator {
            ($value:expr, $inner:ident => $body:expr) => {
                match $value { $($crate::ops::Op::$variant($inner) => $body,)* }
            };
        }
        pub use dispatch_operator as dispatch;
    };
}

operators! {
    /// Data or control values given to each run.
    Input = "input",
    /// A trainable parameter.
    Parameter = "parameter",
    /// Values kept between runs that have no gradient: running statistics, momentum.
    State = "state",
    /// Values known when the graph is built.
    Constant = "constant",
    /// Convolution (cross-correlation), with a fused epilogue.
    Conv = "conv",
    /// Gradient of a convolution with respect to its input.
    ConvGradInput = "conv_grad_input",
    /// Gradient of a convolution with respect to its weight.
    ConvGradWeight = "conv_grad_weight",
    /// Maximum of each window, and its argmax index.
    MaxPool = "max_pool",
    /// Gradient of max pooling.
    MaxPoolGrad = "max_pool_grad",
    /// Mean of each window.
    AvgPool = "avg_pool",
    /// Gradient of average pooling.
    AvgPoolGrad = "avg_pool_grad",
    /// Dense layer `x·Wᵀ`, with a fused epilogue.
    Linear = "linear",
    /// Gradient of a dense layer with respect to its input.
    LinearGradInput = "linear_grad_input",
    /// Gradient of a dense layer with respect to its weight.
    LinearGradWeight = "linear_grad_weight",
    /// Product of two matrices for each item.
    Matmul = "matmul",
    /// A function of each element.
    Unary = "unary",
    /// A function of two elements at the same position.
    Binary = "binary",
    /// Adds one value per channel.
    Bias = "bias",
    /// Multiplies by one value per index of an axis.
    Scale = "scale",
    /// Sums over all axes except the channel axis.
    SumChannels = "sum_channels",
    /// One bit for each element: whether it is above zero or NaN.
    SignMask = "sign_mask",
    /// The elements whose bit is set; zero for the others.
    MaskedSelect = "masked_select",
    /// The same elements with another shape.
    Reshape = "reshape",
    /// Concatenates values along an axis.
    Concat = "concat",
    /// A part of an axis.
    Slice = "slice",
    /// Adds zeros before and after the indices of an axis.
    Pad = "pad",
    /// The same elements with the axes in another order.
    Transpose = "transpose",
    /// Sum, mean or maximum over neighbouring axes.
    Reduce = "reduce",
    /// Repeats every element for all indices of new axes.
    Expand = "expand",
    /// Element-wise functions that one kernel computes.
    Fused = "fused",
    /// One number for every element.
    Fill = "fill",
    /// The steps of sequences as a batch in time-major order.
    FoldSteps = "fold_steps",
    /// Sequences from their steps in time-major order.
    UnfoldSteps = "unfold_steps",
    /// A loop over the steps of sequences.
    Scan = "scan",
    /// Batch normalisation with running statistics.
    BatchNorm = "batch_norm",
    /// Batch normalisation with the statistics of the batch.
    BatchNormTraining = "batch_norm_training",
    /// Gradient of batch normalisation.
    BatchNormGrad = "batch_norm_grad",
    /// Dropout as declared; the identity at inference.
    Dropout = "dropout",
    /// Dropout with a mask drawn from a counter-based generator.
    DropoutTraining = "dropout_training",
    /// Replaces the elements of masked positions along the last axis.
    Mask = "mask",
    /// Adds sinusoidal encodings of the positions in a sequence.
    AddPositions = "add_positions",
    /// Softmax over the channel axis.
    Softmax = "softmax",
    /// Logarithm of softmax over the channel axis.
    LogSoftmax = "log_softmax",
    /// Gradient of softmax.
    SoftmaxGrad = "softmax_grad",
    /// Gradient of the logarithm of softmax.
    LogSoftmaxGrad = "log_softmax_grad",
    /// Mean cross-entropy of logits and integer labels.
    CrossEntropy = "cross_entropy",
    /// Gradient of the cross-entropy with respect to the logits.
    CrossEntropyGrad = "cross_entropy_grad",
    /// Mean squared error.
    MeanSquaredError = "mean_squared_error",
    /// Gradient of the mean squared error with respect to the prediction.
    MeanSquaredErrorGrad = "mean_squared_error_grad",
    /// Labels as rows of zeros and ones.
    OneHot = "one_hot",
    /// Negative log-likelihood of sequences of labels, summed over all alignments, and its gradient.
    Ctc = "ctc",
    /// Rows of a table by index.
    Gather = "gather",
    /// Gradient of rows with respect to their table.
    GatherGrad = "gather_grad",
    /// One step of stochastic gradient descent.
    Sgd = "sgd",
    /// One step of Adam or AdamW.
    Adam = "adam",
    /// One step of RMSprop, Adagrad, Adadelta or Lion.
    Adaptive = "adaptive",
    /// The factor that limits the global norm of the gradients.
    ClipFactor = "clip_factor",
    /// The elements of a gradient, limited to a magnitude.
    ClipValue = "clip_value",
}

impl Op {
    /// The source, if no operator computes the value.
    pub fn source(&self) -> Option<Source<'_>> {
        if let Role::Source(source) = self.facts().role { Some(source) } else { None }
    }
}

/// Checks the number of operands.
pub(crate) fn expect_arity(operands: &[Type], expected: usize) -> Result<(), ShapeError> {
    if operands.len() == expected {
        Ok(())
    } else {
        Err(ShapeError::Arity { expected: expected.to_string(), got: operands.len() })
    }
}

/// Checks that an operand has exactly the given type.
pub(crate) fn expect_type(operand: &'static str, got: &Type, expected: &Type) -> Result<(), ShapeError> {
    if got == expected {
        Ok(())
    } else {
        Err(ShapeError::Operand { operand, expected: expected.to_string(), got: got.clone() })
    }
}

/// Checks that an operand holds floats.
pub(crate) fn expect_float(operand: &'static str, got: &Type) -> Result<(), ShapeError> {
    if got.dtype == DType::F32 {
        Ok(())
    } else {
        Err(ShapeError::Operand { operand, expected: "f32 numbers".to_owned(), got: got.clone() })
    }
}

/// The number of channels of a batched value `[N, C, …]`.
pub(crate) fn expect_channels(got: &Type) -> Result<usize, ShapeError> {
    let item = got.shape.item();
    match item.first() {
        Some(&channels) if got.shape.is_batched() => Ok(channels),
        _ => Err(ShapeError::Rank {
            expected: "a batch of values with channels".to_owned(),
            got: got.shape.clone(),
        }),
    }
}
