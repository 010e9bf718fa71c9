//! A generator for each operator: operands and attributes that satisfy its shape rule.

mod functions;
mod matrices;
mod moved;
mod scans;
mod sequences;
mod training;
mod windows;

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::OpKind;
use windlass_compiler::ops::batch_norm::{BatchNorm, BatchNormGrad, BatchNormTraining};
use windlass_compiler::ops::conv::ConvGradWeight;
use windlass_compiler::ops::ctc::Ctc;
use windlass_compiler::ops::dropout::{Dropout, DropoutTraining, MaskUnit};
use windlass_compiler::ops::elementwise::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind};
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::fill::Fill;
use windlass_compiler::ops::gather::{Gather, GatherGrad};
use windlass_compiler::ops::linear::{Linear, LinearGradInput, LinearGradWeight};
use windlass_compiler::ops::loss::{
    CrossEntropy, CrossEntropyGrad, MeanSquaredError, MeanSquaredErrorGrad, OneHot,
};
use windlass_compiler::ops::optimizer::{ClipFactor, ClipValue};
use windlass_compiler::ops::pool::{AvgPool, AvgPoolGrad, MaxPoolGrad};
use windlass_compiler::ops::sign_mask::{MaskedSelect, SignMask};
use windlass_compiler::ops::softmax::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::ops::steps::{FoldSteps, UnfoldSteps};
use windlass_compiler::ops::structure::{Concat, Reshape, Slice};
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::shape::{Dim, Shape, Type};

use self::functions::{activation, binary, unary};
pub(super) use self::windows::conv;
use self::windows::{ConvShape, conv_grad_input, epilogue, max_pool, unpooled};
use super::sizes::{self, MAX_ELEMENTS, pick};
use super::sketch::{Meaning, Sketch};

/// Adds an operator of a kind to a graph, with what it needs.
pub(crate) fn add(s: &mut Sketch<'_>, kind: OpKind) {
    if !s.is_body() && s.chance(4) && sequences::add(s, kind) {
        return;
    }
    match kind {
        OpKind::Input => {
            let sizes = s.fixed_sizes();
            let batched = s.numbers.bool();
            let shape = if batched { s.batch_of(&sizes) } else { Shape::fixed(&sizes) };
            s.input("x", InputRole::Data, Type::f32(shape));
        }
        OpKind::Parameter => {
            let shape = Shape::fixed(&s.fixed_sizes());
            s.parameter("w", shape);
        }
        OpKind::State => {
            let shape = Shape::fixed(&s.fixed_sizes());
            s.state("s", shape);
        }
        OpKind::Constant => {
            let shape = Shape::fixed(&s.fixed_sizes());
            let positive = s.numbers.bool();
            s.constant(shape, positive);
        }
        OpKind::Conv => {
            let x = s.image();
            conv(s, x);
        }
        OpKind::ConvGradInput => conv_grad_input(s),
        OpKind::ConvGradWeight => {
            let x = s.image();
            let shape = ConvShape::draw(s, &s.item(x));
            let g = s.of_type(&shape.result(&s.ty(x).shape));
            s.op(ConvGradWeight { window: shape.window, groups: shape.groups }, &[g, x]);
        }
        OpKind::MaxPool => {
            let x = s.image();
            max_pool(s, x);
        }
        OpKind::MaxPoolGrad => {
            let (window, input_sizes, pooled) = unpooled(s);
            let g = s.of_type(&Type::f32(pooled.clone()));
            let places = s.integers(&pooled, Meaning::Argmax(window.elements()));
            s.op(MaxPoolGrad { window, input_sizes: fixed_sizes(&input_sizes) }, &[g, places]);
        }
        OpKind::AvgPool => {
            let x = s.image();
            let mut window = sizes::window(s.numbers, &s.item(x)[1..], true);
            if s.chance(4) {
                // Like global pooling.
                let sizes = s.item(x)[1..].to_vec();
                let axes = sizes.len();
                window = Window {
                    kernel_size: sizes,
                    stride: vec![1; axes],
                    padding: vec![0.into(); axes],
                    dilation: vec![1; axes],
                };
            }
            s.op(AvgPool { window }, &[x]);
        }
        OpKind::AvgPoolGrad => {
            let (window, input_sizes, pooled) = unpooled(s);
            let g = s.of_type(&Type::f32(pooled));
            s.op(AvgPoolGrad { window, input_sizes: fixed_sizes(&input_sizes) }, &[g]);
        }
        OpKind::Fill => {
            // Every open size is that of an input.
            let x = s.batched();
            let shape = s.ty(x).shape.clone();
            s.op(Fill { shape, value: -0.75 }, &[]);
        }
        OpKind::FoldSteps | OpKind::UnfoldSteps => {
            let x = s.batched();
            let shape = s.ty(x).shape.clone();
            let steps = s.op(FoldSteps {}, &[x]);
            if kind == OpKind::UnfoldSteps {
                s.op(UnfoldSteps { shape }, &steps);
            }
        }
        OpKind::Scan => scans::scan(s),
        // A pass makes fused operators.
        OpKind::Fused => {}
        OpKind::Linear => {
            let x = s.vector();
            let length = s.item(x)[0];
            let outputs = bounded(sizes::channels(s.numbers), MAX_ELEMENTS / length);
            let weight = s.of_type(&Type::f32(Shape::fixed(&[outputs, length])));
            let (epilogue, operands) = epilogue(s, &Type::f32(s.batch_of(&[outputs])));
            s.op(Linear { epilogue }, &[vec![x, weight], operands].concat());
        }
        OpKind::LinearGradInput => {
            let g = s.vector();
            let length = s.item(g)[0];
            let inputs = bounded(sizes::channels(s.numbers), MAX_ELEMENTS / length);
            let weight = s.of_type(&Type::f32(Shape::fixed(&[length, inputs])));
            s.op(LinearGradInput {}, &[g, weight]);
        }
        OpKind::LinearGradWeight => {
            let (g, x) = (s.vector(), s.vector());
            if s.item(g)[0] * s.item(x)[0] <= 2 * MAX_ELEMENTS {
                s.op(LinearGradWeight {}, &[g, x]);
            }
        }
        OpKind::Matmul => matrices::matmul(s),
        OpKind::Mask => matrices::mask(s),
        OpKind::AddPositions => matrices::positions(s),
        OpKind::Unary => unary(s),
        OpKind::Binary => binary(s),
        OpKind::Bias => {
            let x = s.batched();
            let bias = s.of_type(&vector(s.item(x)[0]));
            s.op(Bias {}, &[x, bias]);
        }
        OpKind::Scale => {
            let x = s.floats();
            let dims = s.ty(x).shape.dims().to_vec();
            let is_batched = s.ty(x).shape.is_batched();
            let first = s.numbers.usize(..dims.len().max(1));
            let most = if is_batched && first == 0 { 2 } else { dims.len() };
            let count = pick(s.numbers, &[1, 1, 2, 3]).min(most).min(dims.len() - first);
            let axes = dims[first..first + count].to_vec();
            let is_known =
                axes.iter().skip(usize::from(is_batched && first == 0)).all(|dim| dim.fixed().is_some());
            if count > 0 && is_known {
                let scale = s.of_type(&Type::f32(Shape::new(axes)));
                s.op(Scale { axis: first, count }, &[x, scale]);
            }
        }
        OpKind::SumChannels => {
            let x = s.batched();
            s.op(SumChannels {}, &[x]);
        }
        OpKind::SignMask => {
            let x = s.batched();
            let bits = s.op(SignMask {}, &[x])[0];
            s.means(bits, Some(Meaning::Bits));
        }
        OpKind::MaskedSelect => {
            let g = s.batched();
            let elements = s.ty(g).shape.item_elements();
            let bits = s.ty(g).shape.with_item(&[elements / 8 + elements % 8]);
            let bits = s.integers(&bits, Meaning::Bits);
            s.op(MaskedSelect {}, &[g, bits]);
        }
        OpKind::Reshape => reshape(s),
        OpKind::Concat => concat(s),
        OpKind::Slice => slice(s),
        OpKind::Pad => moved::pad(s),
        OpKind::Transpose => moved::transpose(s),
        OpKind::Reduce => moved::reduce(s),
        OpKind::Expand => moved::expand(s),
        OpKind::BatchNorm => {
            let (x, operands) = norm(s);
            let epsilon = epsilon(s);
            let (epilogue, further) = maybe_epilogue(s, x);
            s.op(BatchNorm { epsilon, momentum: 0.1, epilogue }, &[vec![x], operands, further].concat());
        }
        OpKind::BatchNormTraining => {
            let (x, operands) = norm(s);
            let momentum = pick(s.numbers, &[0.0, 0.1, 0.5, 1.0]);
            let epsilon = epsilon(s);
            let (epilogue, further) = maybe_epilogue(s, x);
            let op = BatchNormTraining { epsilon, momentum, epilogue };
            let operands = [vec![x], operands, further].concat();
            let results = s.op(op, &operands);
            if s.numbers.bool() {
                // Like the backward pass.
                let g = s.of_type(&s.ty(x));
                s.op(BatchNormGrad::default(), &[g, x, operands[1], results[1], results[2]]);
            }
        }
        OpKind::BatchNormGrad => {
            let x = s.batched();
            let g = s.of_type(&s.ty(x));
            let channels = vector(s.item(x)[0]);
            let (gamma, mean) = (s.of_type(&channels), s.of_type(&channels));
            let inverse = s.positive(&channels);
            s.op(BatchNormGrad::default(), &[g, x, gamma, mean, inverse]);
        }
        OpKind::Dropout => {
            let x = s.floats();
            let rate = rate(s);
            s.op(Dropout::new(rate), &[x]);
        }
        OpKind::DropoutTraining => {
            let x = s.floats();
            let seed = s.integers(&Shape::fixed(&[2]), Meaning::Seed);
            let stream = s.numbers.u32(..3);
            let rate = rate(s);
            let is_batch = s.ty(x).shape.is_batched() && s.ty(x).shape.rank() > 1;
            let unit = if is_batch { pick(s.numbers, &MaskUnit::ALL) } else { MaskUnit::Element };
            s.op(DropoutTraining { rate, stream, unit }, &[x, seed]);
        }
        OpKind::Softmax => {
            let x = s.batched();
            s.op(Softmax {}, &[x]);
        }
        OpKind::LogSoftmax => {
            let x = s.batched();
            s.op(LogSoftmax {}, &[x]);
        }
        OpKind::SoftmaxGrad => {
            let x = s.batched();
            let g = s.of_type(&s.ty(x));
            let y = if s.chance(3) { x } else { s.op(Softmax {}, &[x])[0] };
            s.op(SoftmaxGrad {}, &[g, y]);
        }
        OpKind::LogSoftmaxGrad => {
            let x = s.batched();
            let g = s.of_type(&s.ty(x));
            let y = s.op(LogSoftmax {}, &[x])[0];
            s.op(LogSoftmaxGrad {}, &[g, y]);
        }
        OpKind::CrossEntropy => {
            let logits = s.vector();
            let labels = s.integers(&s.batch_of(&[]), Meaning::Labels);
            s.op(CrossEntropy {}, &[logits, labels]);
        }
        OpKind::CrossEntropyGrad => {
            let logits = s.vector();
            let labels = s.integers(&s.batch_of(&[]), Meaning::Labels);
            let g = s.of_type(&scalar());
            s.op(CrossEntropyGrad {}, &[g, logits, labels]);
        }
        OpKind::OneHot => {
            let classes = sizes::channels(s.numbers);
            let labels = s.integers(&s.batch_of(&[]), Meaning::Labels);
            s.op(OneHot { classes }, &[labels]);
        }
        OpKind::Ctc => {
            let (steps, classes, most) =
                (s.numbers.usize(1..9), s.numbers.usize(2..6), s.numbers.usize(1..4));
            let logarithms = s.of_type(&Type::f32(s.batch_of(&[steps, classes])));
            let labels = s.integers(&s.batch_of(&[most]), Meaning::Labels);
            let lengths = [(); 2].map(|()| s.integers(&s.batch_of(&[]), Meaning::Labels));
            let (blank, per_label) = (s.numbers.usize(..classes), s.numbers.bool());
            let op = Ctc { blank, per_label, zero_infinity: s.numbers.bool() };
            s.op(op, &[logarithms, labels, lengths[0], lengths[1]]);
        }
        OpKind::Gather => {
            let (rows, features) = table(s);
            let indices = indices(s, rows);
            let table = s.of_type(&Type::f32(Shape::fixed(&[rows, features])));
            s.op(Gather { rows }, &[table, indices]);
        }
        OpKind::GatherGrad => {
            let (rows, features) = table(s);
            let indices = indices(s, rows);
            let mut dims = s.ty(indices).shape.dims().to_vec();
            dims.push(Dim::Fixed(features));
            let g = s.of_type(&Type::f32(Shape::new(dims)));
            s.op(GatherGrad { rows }, &[g, indices]);
        }
        OpKind::MeanSquaredError => {
            let prediction = s.batched();
            let target = s.of_type(&s.ty(prediction));
            s.op(MeanSquaredError {}, &[prediction, target]);
        }
        OpKind::MeanSquaredErrorGrad => {
            let prediction = s.batched();
            let target = s.of_type(&s.ty(prediction));
            let g = s.of_type(&scalar());
            s.op(MeanSquaredErrorGrad {}, &[g, prediction, target]);
        }
        OpKind::Sgd => training::sgd(s),
        OpKind::Adam => training::adam(s),
        OpKind::Adaptive => training::adaptive(s),
        OpKind::ClipValue => {
            let x = s.floats();
            let max = pick(s.numbers, &[0.25, 1.0, 1e6]);
            s.op(ClipValue { max }, &[x]);
        }
        OpKind::ClipFactor => {
            let gradients: Vec<ValueId> = (0..s.numbers.usize(1..4)).map(|_| s.floats()).collect();
            let max_norm = pick(s.numbers, &[0.01, 1.0, 1e6]);
            let factor = s.op(ClipFactor { max_norm }, &gradients)[0];
            let scaled = gradients[0];
            s.op(Binary { kind: BinaryKind::Multiply }, &[scaled, factor]);
        }
    }
}

/// The sizes of a table of rows.
fn table(s: &mut Sketch<'_>) -> (usize, usize) {
    let features = sizes::channels(s.numbers);
    (bounded(sizes::channels(s.numbers), MAX_ELEMENTS / features), features)
}

/// A batch of indices of a table: one for each sample or step, or several.
fn indices(s: &mut Sketch<'_>, rows: usize) -> ValueId {
    let few = [s.numbers.usize(1..6)];
    let several = s.numbers.bool();
    let plain = s.batch_of(if several { &few } else { &[] });
    let shape = if s.chance(3) { s.unfolded(&plain).unwrap_or(plain) } else { plain };
    s.integers(&shape, Meaning::Index(rows))
}

fn bounded(wanted: usize, most: usize) -> usize {
    wanted.min(most.max(1))
}

fn scalar() -> Type {
    Type::f32(Shape::scalar())
}

fn vector(length: usize) -> Type {
    Type::f32(Shape::fixed(&[length]))
}

fn image(like: &Shape, channels: usize, sizes: &[usize]) -> Shape {
    like.with_item(&[&[channels], sizes].concat())
}

fn epsilon(s: &mut Sketch<'_>) -> f64 {
    pick(s.numbers, &[0.1, 1e-3, 1e-5])
}

fn rate(s: &mut Sketch<'_>) -> f64 {
    pick(s.numbers, &[0.0, 0.1, 0.3, 0.5, 0.5, 0.75, 0.99])
}

fn reshape(s: &mut Sketch<'_>) {
    let x = match s.any_integers() {
        Some(value) if s.chance(5) => value,
        _ => s.any_floats(),
    };
    let (shape, meaning) = (s.ty(x).shape, s.meaning(x));
    let steps = if shape.has_open_item() { Some(shape.folded()) } else { s.unfolded(&shape) };
    if let Some(shape) = steps.filter(|_| shape.has_open_item() || s.numbers.bool()) {
        let y = s.op(Reshape { shape }, &[x])[0];
        return s.means(y, meaning);
    }
    let mut left = shape.item_elements();
    let mut sizes = Vec::new();
    for _ in 0..s.numbers.usize(..4) {
        let divisors: Vec<usize> = (1..=left.min(40)).filter(|size| left.is_multiple_of(*size)).collect();
        let size = pick(s.numbers, &divisors);
        sizes.push(size);
        left /= size;
    }
    sizes.insert(s.numbers.usize(..=sizes.len()), left);
    let shape = shape.with_item(&sizes);
    let y = s.op(Reshape { shape }, &[x])[0];
    s.means(y, meaning);
}

/// An axis that is not the batch, and its size.
fn an_axis(s: &mut Sketch<'_>, value: ValueId) -> Option<(usize, usize)> {
    let shape = s.ty(value).shape;
    let first = usize::from(shape.is_batched());
    if shape.rank() == first {
        return None;
    }
    // Mostly channels.
    let axis = if s.chance(3) { s.numbers.usize(first..shape.rank()) } else { first };
    Some((axis, shape.item()[axis - first]))
}

fn with_axis(ty: &Type, axis: usize, size: usize) -> Type {
    let mut dims = ty.shape.dims().to_vec();
    dims[axis] = Dim::Fixed(size);
    Type { dtype: ty.dtype, shape: Shape::new(dims) }
}

fn concat(s: &mut Sketch<'_>) {
    if s.chance(4) {
        return moved::concat_open(s);
    }
    let x = s.floats();
    let Some((axis, _)) = an_axis(s, x) else { return };
    let ty = s.ty(x);
    let mut operands = vec![x];
    let others = MAX_ELEMENTS * 2 / (ty.shape.item_elements() / ty.shape.dims().len().max(1)).max(1);
    for _ in 0..s.numbers.usize(..3).min(others) {
        let mates = |other: &Type| {
            other.shape.rank() == ty.shape.rank()
                && other.shape.dims()[axis].fixed().is_some()
                && with_axis(other, axis, 1) == with_axis(&ty, axis, 1)
        };
        let size = sizes::channels(s.numbers);
        let fits = with_axis(&ty, axis, size).shape.item_elements() <= MAX_ELEMENTS;
        let operand = match s.find(mates) {
            Some(mate) if s.chance(2) || !fits => mate,
            _ if fits => match s.chance(3) && s.ty(x).shape.rank() == 4 && axis == 1 {
                // An element-wise chain that is computed in place.
                true => {
                    let kind = pick(s.numbers, &[UnaryKind::Relu, UnaryKind::Negate]);
                    s.op(Unary { kind }, &[x])[0]
                }
                false => s.of_type(&with_axis(&ty, axis, size)),
            },
            _ => break,
        };
        operands.insert(s.numbers.usize(..=operands.len()), operand);
    }
    let total: usize = operands.iter().map(|&operand| s.ty(operand).shape.item_elements()).sum();
    if total <= 2 * MAX_ELEMENTS {
        s.op(Concat { axis }, &operands);
    }
}

fn slice(s: &mut Sketch<'_>) {
    if s.chance(4) {
        return moved::slice_open(s);
    }
    let x = match s.any_integers() {
        Some(value) if s.chance(5) => value,
        _ => s.floats(),
    };
    let meaning = s.meaning(x);
    let Some((axis, size)) = an_axis(s, x) else { return };
    let length = pick(s.numbers, &[1, 2, 3, 8, 16, size / 2, size - 1, size]).clamp(1, size);
    let start = s.numbers.usize(..=size - length);
    let y = s.op(Slice::new(axis, start, length), &[x])[0];
    s.means(y, meaning);
}

/// Steps fused after an operator with a result like `x`, in half of the cases.
fn maybe_epilogue(s: &mut Sketch<'_>, x: ValueId) -> (Vec<EpilogueStep>, Vec<ValueId>) {
    let ty = s.ty(x);
    if s.numbers.bool() { epilogue(s, &ty) } else { Default::default() }
}

/// Operands of batch normalisation: `x`, and gamma, beta, mean and variance.
fn norm(s: &mut Sketch<'_>) -> (ValueId, Vec<ValueId>) {
    // After a convolution it is folded.
    let x = match s.chance(3) {
        true => {
            let image = s.image();
            conv(s, image)
        }
        false => s.batched(),
    };
    let channels = vector(s.item(x)[0]);
    let mut operands: Vec<ValueId> = (0..3).map(|_| s.of_type(&channels)).collect();
    operands.push(s.positive(&channels));
    (x, operands)
}
