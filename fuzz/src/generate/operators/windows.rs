//! Generators of convolutions, their gradients and the operators after them, and of pooling windows.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::conv::{Conv, ConvGradInput};
use windlass_compiler::ops::elementwise::{Bias, Binary, BinaryKind, Unary, UnaryKind};
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::pool::{MaxPool, MaxPoolGrad};
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::shape::{DType, Shape, Type};

use super::{activation, image, vector};
use crate::generate::sizes::{self, pick};
use crate::generate::sketch::{Meaning, Sketch};

/// The maximum number of multiply-adds of a product per item.
const MAX_PRODUCTS: usize = 60_000;

/// The sizes of a convolution.
pub(super) struct ConvShape {
    pub(super) window: Window,
    pub(super) groups: usize,
    inputs: usize,
    outputs: usize,
    output_sizes: Vec<usize>,
}

impl ConvShape {
    /// A convolution for an image of some sizes.
    pub(super) fn draw(s: &mut Sketch<'_>, item: &[usize]) -> Self {
        let (inputs, sizes) = (item[0], &item[1..]);
        let divisors: Vec<usize> = (1..=inputs).filter(|groups| inputs.is_multiple_of(*groups)).collect();
        let groups = match s.numbers.u8(..8) {
            0..5 => 1,
            5..7 => inputs,
            _ => pick(s.numbers, &divisors),
        };
        let mut window = sizes::window(s.numbers, sizes, false);
        let mut outputs = match groups {
            1 => sizes::channels(s.numbers),
            _ => groups * pick(s.numbers, &[1, 1, 2, 3]),
        };
        let work = |window: &Window, outputs: usize| {
            let pixels: usize = window.output_sizes(sizes).iter().product();
            let weight = outputs * (inputs / groups) * window.elements();
            (pixels * weight).max(weight * 8).max(outputs * pixels * 8)
        };
        // Fewer results, then fewer windows.
        while work(&window, outputs) > MAX_PRODUCTS && outputs > groups {
            outputs = if groups == 1 { outputs.div_ceil(2) } else { outputs - groups };
        }
        while work(&window, outputs) > MAX_PRODUCTS && window.stride.iter().any(|&stride| stride < 100) {
            for stride in &mut window.stride {
                *stride *= 2;
            }
        }
        let output_sizes = window.output_sizes(sizes);
        ConvShape { window, groups, inputs, outputs, output_sizes }
    }

    /// The result for the batch of a shape.
    pub(super) fn result(&self, like: &Shape) -> Type {
        Type::f32(image(like, self.outputs, &self.output_sizes))
    }

    fn weight(&self) -> Type {
        let sizes = [&[self.outputs, self.inputs / self.groups], &self.window.kernel_size[..]].concat();
        Type::f32(Shape::fixed(&sizes))
    }
}

/// A convolution, perhaps followed by operators that passes fuse into it.
pub(crate) fn conv(s: &mut Sketch<'_>, x: ValueId) -> ValueId {
    let shape = ConvShape::draw(s, &s.item(x));
    let weight = s.of_type(&shape.weight());
    let result = shape.result(&s.ty(x).shape);
    if s.numbers.bool() {
        let (epilogue, operands) = epilogue(s, &result);
        let conv = Conv { window: shape.window, groups: shape.groups, epilogue };
        return s.op(conv, &[vec![x, weight], operands].concat())[0];
    }
    let conv = Conv { window: shape.window, groups: shape.groups, epilogue: vec![] };
    let mut y = s.op(conv, &[x, weight])[0];
    for _ in 0..s.numbers.usize(..4) {
        y = match s.numbers.u8(..4) {
            0 => {
                let bias = s.of_type(&vector(shape.outputs));
                s.op(Bias {}, &[y, bias])[0]
            }
            1 => {
                let addend = s.of_type(&result);
                let operands = if s.numbers.bool() { [y, addend] } else { [addend, y] };
                s.op(Binary { kind: BinaryKind::Add }, &operands)[0]
            }
            2 => {
                let kind =
                    pick(s.numbers, &[UnaryKind::Relu, UnaryKind::Relu, UnaryKind::Sigmoid, UnaryKind::Tanh]);
                s.op(Unary { kind }, &[y])[0]
            }
            _ => max_pool(s, y),
        };
        if s.ty(y) != result {
            break;
        }
    }
    y
}

pub(super) fn conv_grad_input(s: &mut Sketch<'_>) {
    let channels = sizes::channels(s.numbers);
    let axes = sizes::axes(s.numbers);
    let item = match s.find(|ty| ty.dtype == DType::F32 && ty.shape.is_batched() && ty.shape.rank() == 4) {
        Some(like) if s.numbers.bool() => s.item(like),
        _ => [vec![channels], sizes::spatial(s.numbers, axes, channels)].concat(),
    };
    let shape = ConvShape::draw(s, &item);
    let (g, weight) = (s.of_type(&shape.result(&s.batch_of(&[]))), s.of_type(&shape.weight()));
    let (epilogue, operands) = match s.numbers.bool() {
        true => epilogue(s, &Type::f32(image(&s.batch_of(&[]), item[0], &item[1..]))),
        false => (Vec::new(), Vec::new()),
    };
    let ConvShape { window, groups, .. } = shape;
    let op = ConvGradInput { window, groups, input_sizes: fixed_sizes(&item[1..]), epilogue };
    s.op(op, &[vec![g, weight], operands].concat());
}

/// Steps fused after an operator, and their operands.
pub(super) fn epilogue(s: &mut Sketch<'_>, result: &Type) -> (Vec<EpilogueStep>, Vec<ValueId>) {
    let channels = vector(result.shape.item()[0]);
    let (mut steps, mut operands) = (Vec::new(), Vec::new());
    for _ in 0..s.numbers.usize(..4) {
        let other = EpilogueStep::Activation(activation(s));
        let step = pick(
            s.numbers,
            &[
                EpilogueStep::Bias,
                EpilogueStep::Bias,
                EpilogueStep::Add,
                EpilogueStep::Relu,
                EpilogueStep::Relu,
                EpilogueStep::Sigmoid,
                EpilogueStep::Tanh,
                other,
            ],
        );
        match step {
            EpilogueStep::Bias => operands.push(s.of_type(&channels)),
            EpilogueStep::Add => operands.push(s.of_type(result)),
            EpilogueStep::Relu | EpilogueStep::Sigmoid | EpilogueStep::Tanh | EpilogueStep::Activation(_) => {
            }
        }
        steps.push(step);
    }
    (steps, operands)
}

/// A max pool, sometimes with its gradient.
pub(super) fn max_pool(s: &mut Sketch<'_>, x: ValueId) -> ValueId {
    let input_sizes = s.item(x)[1..].to_vec();
    let window = sizes::window(s.numbers, &input_sizes, true);
    let results = s.op(MaxPool { window: window.clone() }, &[x]);
    s.means(results[1], Some(Meaning::Argmax(window.elements())));
    if s.chance(3) {
        let g = s.of_type(&s.ty(results[0]));
        s.op(MaxPoolGrad { window, input_sizes: fixed_sizes(&input_sizes) }, &[g, results[1]]);
    }
    results[0]
}

/// The window of a pool's gradient, the sizes of the pool's input, and the type of its result.
pub(super) fn unpooled(s: &mut Sketch<'_>) -> (Window, Vec<usize>, Shape) {
    let channels = sizes::channels(s.numbers);
    let axes = sizes::axes(s.numbers);
    let sizes = sizes::spatial(s.numbers, axes, channels);
    let window = sizes::window(s.numbers, &sizes, true);
    let pooled = image(&s.batch_of(&[]), channels, &window.output_sizes(&sizes));
    (window, sizes, pooled)
}
