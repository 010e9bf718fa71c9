//! Generators of operators on sequences of channels, along an axis of open size.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::batch_norm::{BatchNorm, BatchNormGrad, BatchNormTraining};
use windlass_compiler::ops::conv::{Conv, ConvGradInput, ConvGradWeight};
use windlass_compiler::ops::elementwise::{Bias, Scale, SumChannels};
use windlass_compiler::ops::pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use windlass_compiler::ops::window::Window;
use windlass_compiler::ops::{OpKind, Operator};
use windlass_compiler::shape::{DType, Dim, Polynomial, Shape, Type};

use super::super::sizes::{self, pick};
use super::super::sketch::{Meaning, Sketch};
use super::windows::epilogue;
use super::{epsilon, rate, vector};

/// Adds an operator of a kind along an axis of open size; `false` if the kind takes none.
pub(super) fn add(s: &mut Sketch<'_>, kind: OpKind) -> bool {
    match kind {
        OpKind::Conv => {
            let x = sequence(s);
            let (window, groups, weight) = conv(s, x);
            let plain = Conv { window: window.clone(), groups, epilogue: Vec::new() };
            let types = [s.ty(x), s.ty(weight)];
            let Some(result) = plain.infer(&types).ok().and_then(|types| types.into_iter().next()) else {
                return true;
            };
            let (steps, operands) = epilogue(s, &result);
            s.op(Conv { epilogue: steps, ..plain }, &[vec![x, weight], operands].concat());
        }
        OpKind::ConvGradInput | OpKind::ConvGradWeight => {
            let x = sequence(s);
            let (window, groups, weight) = conv(s, x);
            let plain = Conv { window: window.clone(), groups, epilogue: Vec::new() };
            let g = s.op(plain, &[x, weight])[0];
            let g = s.of_type(&s.ty(g));
            if kind == OpKind::ConvGradWeight {
                s.op(ConvGradWeight { window, groups }, &[g, x]);
                return true;
            }
            let (steps, operands) = epilogue(s, &s.ty(x));
            let op = ConvGradInput { window, groups, input_sizes: length(s, x), epilogue: steps };
            s.op(op, &[vec![g, weight], operands].concat());
        }
        OpKind::MaxPool | OpKind::MaxPoolGrad => {
            let x = sequence(s);
            let window = window(s, true);
            let results = s.op(MaxPool { window: window.clone() }, &[x]);
            s.means(results[1], Some(Meaning::Argmax(window.elements())));
            if kind == OpKind::MaxPoolGrad {
                let g = s.of_type(&s.ty(results[0]));
                s.op(MaxPoolGrad { window, input_sizes: length(s, x) }, &[g, results[1]]);
            }
        }
        OpKind::AvgPool | OpKind::AvgPoolGrad => {
            let x = sequence(s);
            let window = window(s, true);
            let y = s.op(AvgPool { window: window.clone() }, &[x])[0];
            if kind == OpKind::AvgPoolGrad {
                let g = s.of_type(&s.ty(y));
                s.op(AvgPoolGrad { window, input_sizes: length(s, x) }, &[g]);
            }
        }
        OpKind::Bias => {
            let x = sequence(s);
            let bias = s.of_type(&vector(s.item(x)[0]));
            s.op(Bias {}, &[x, bias]);
        }
        OpKind::Scale => {
            let x = sequence(s);
            let scale = s.of_type(&vector(s.item(x)[0]));
            s.op(Scale::along(1), &[x, scale]);
        }
        OpKind::SumChannels => {
            let x = sequence(s);
            s.op(SumChannels {}, &[x]);
        }
        OpKind::BatchNorm | OpKind::BatchNormTraining | OpKind::BatchNormGrad => {
            let x = sequence(s);
            let ty = vector(s.item(x)[0]);
            let [gamma, beta, mean] = [(); 3].map(|()| s.of_type(&ty));
            let variance = s.positive(&ty);
            let (epsilon, momentum) = (epsilon(s), rate(s));
            let operands = [x, gamma, beta, mean, variance];
            match kind {
                OpKind::BatchNorm => {
                    s.op(BatchNorm { epsilon, momentum, epilogue: Vec::new() }, &operands);
                }
                OpKind::BatchNormTraining => {
                    s.op(BatchNormTraining { epsilon, momentum, epilogue: Vec::new() }, &operands);
                }
                _ => {
                    let g = s.of_type(&s.ty(x));
                    s.op(BatchNormGrad::default(), &[g, x, gamma, mean, variance]);
                }
            }
        }
        _ => return false,
    }
    true
}

/// A sequence of channels of open length.
fn sequence(s: &mut Sketch<'_>) -> ValueId {
    let fits = |ty: &Type| ty.dtype == DType::F32 && ty.shape.is_open_sequence();
    if !s.chance(4)
        && let Some(value) = s.find(fits)
    {
        return value;
    }
    let channels = sizes::channels(s.numbers);
    let length = pick(s.numbers, &["T", "T", "T + 9", "T*5"]);
    let length = Dim::from(length.parse::<Polynomial>().expect("written as sizes are"));
    let batch = s.batch_of(&[]);
    // An open size must be the size of an input.
    let plain = Shape::new(
        [&batch.dims()[..1], &[Dim::Fixed(1), Dim::from("T".parse::<Polynomial>().expect("a symbol"))]]
            .concat(),
    );
    if length.polynomial().as_symbol().is_none() && !plain.symbols().iter().all(|symbol| s.knows(*symbol)) {
        s.of_type(&Type::f32(plain));
    }
    s.of_type(&Type::f32(Shape::new([&batch.dims()[..1], &[Dim::Fixed(channels), length]].concat())))
}

/// The length of a sequence, as an attribute.
fn length(s: &Sketch<'_>, x: ValueId) -> Vec<Polynomial> {
    s.ty(x).shape.dims()[2..].iter().map(Dim::polynomial).collect()
}

/// A window with so much padding that it fits a sequence of any length.
fn window(s: &mut Sketch<'_>, is_pool: bool) -> Window {
    let kernel_size: usize = pick(s.numbers, &[1, 2, 3, 3, 4, 5, 9]);
    let dilation = if is_pool { 1 } else { pick(s.numbers, &[1, 1, 2, 3]) };
    let least = ((kernel_size - 1) * dilation).div_ceil(2);
    let padding = if is_pool { least } else { least + s.numbers.usize(..3) };
    Window {
        kernel_size: vec![kernel_size],
        stride: vec![1],
        padding: vec![padding.into()],
        dilation: vec![dilation],
    }
}

/// The window, groups and weight of a convolution.
fn conv(s: &mut Sketch<'_>, x: ValueId) -> (Window, usize, ValueId) {
    let inputs = s.item(x)[0];
    let divisors: Vec<usize> = (1..=inputs).filter(|groups| inputs.is_multiple_of(*groups)).collect();
    let groups = match s.numbers.u8(..8) {
        0..4 => 1,
        4..6 => inputs,
        _ => pick(s.numbers, &divisors),
    };
    let outputs = match groups {
        1 => sizes::channels(s.numbers),
        _ => groups * pick(s.numbers, &[1, 1, 2, 3]),
    };
    let window = window(s, false);
    let weight = Shape::fixed(&[outputs, inputs / groups, window.kernel_size[0]]);
    (window, groups, s.of_type(&Type::f32(weight)))
}
