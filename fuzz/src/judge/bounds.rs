//! The maximum error of each operator in single precision, given exact operands: the table that `TOLERANCES.md` states
//! and justifies. A new operator does not compile without a row.

mod functions;
mod several;

use windlass_compiler::interp::{Array, Data, Evaluate};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::batch_norm::{BatchNorm, BatchNormTraining};
use windlass_compiler::ops::conv::{Conv, ConvGradInput, ConvGradWeight};
use windlass_compiler::ops::elementwise::{BinaryKind, UnaryKind};
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::linear::Linear;
use windlass_compiler::ops::reduce::ReduceKind;
use windlass_compiler::ops::window::Window;
use windlass_compiler::plan::Accuracy;

use self::functions::{of_function, of_slope, passed};
use self::several::{adam, adaptive, batch_norm_grad, batch_norm_training, ctc};

/// The unit roundoff of f32: the relative error of one operation is at most this.
pub(super) const U: f64 = 1.0 / (1u32 << 24) as f64;

/// Results below this may be zero, and smaller errors do not count.
const FLOOR: f64 = f32::MIN_POSITIVE as f64;

/// The maximum error of Winograd's algorithm, relative to the largest result of a layer.
const WINOGRAD_OF_RESULT: f64 = 2e-5;

/// The same relative to the largest sum of the products' magnitudes, for sums that cancel.
const WINOGRAD_OF_MAGNITUDES: f64 = 4e-6;

/// The relative error of a sum of this many numbers, in any order, as a part of the sum of magnitudes.
pub(super) fn sum_part(count: usize) -> f64 {
    (count + 2) as f64 * U
}

/// Whether an intermediate number this large may overflow f32.
fn overflows(value: f64) -> bool {
    value.is_nan() || value.abs() >= f64::from(f32::MAX) / 64.0
}

fn reals<'a>(operands: &[&'a Array<f64>], index: usize) -> &'a [f64] {
    operands[index].real()
}

fn magnitudes(array: &Array<f64>) -> Array<f64> {
    match &array.data {
        Data::Real(values) => Array::new(array.sizes.clone(), values.iter().map(|x| x.abs()).collect()),
        Data::Int(values) => Array::ints(array.sizes.clone(), values.clone()),
    }
}

/// Applies a summing operator to the magnitudes of its operands: the condition of each sum.
fn condition(op: &impl Evaluate, operands: &[&Array<f64>], results: &[Array<f64>]) -> Vec<f64> {
    let operands: Vec<Array<f64>> = operands.iter().map(|operand| magnitudes(operand)).collect();
    let operands: Vec<&Array<f64>> = operands.iter().collect();
    let sizes: Vec<Vec<usize>> = results.iter().map(|result| result.sizes.clone()).collect();
    op.evaluate(&operands, &sizes)[0].real().to_vec()
}

fn scaled(values: &[f64], part: f64) -> Vec<f64> {
    values.iter().map(|value| part * value.abs()).collect()
}

/// Whether the product of an operator may use Winograd's algorithm, so that it is not exact.
pub(super) fn may_be_winograd(op: &Op, accuracy: Accuracy) -> bool {
    if let Op::Conv(Conv { window, .. }) | Op::ConvGradWeight(ConvGradWeight { window, .. }) = op {
        is_winograds(window, accuracy)
    } else if let Op::ConvGradInput(ConvGradInput { window, .. }) = op {
        is_winograds_backward(window, accuracy)
    } else {
        false
    }
}

fn is_finite(operand: &Array<f64>) -> bool {
    match &operand.data {
        Data::Real(values) => values.iter().all(|value| value.is_finite()),
        Data::Int(_) => true,
    }
}

/// Whether a product may use Winograd's algorithm: windows of 3×3 and 5×5 at stride 1.
fn is_winograds(window: &Window, accuracy: Accuracy) -> bool {
    accuracy == Accuracy::Default
        && window.axes() == 2
        && window.stride == [1, 1]
        && window.dilation == [1, 1]
        && (window.kernel_size == [3, 3] || window.kernel_size == [5, 5])
}

/// The same for a gradient to the input. It is one convolution at stride 1 for each remainder of a position modulo the
/// stride, and the number of kernel elements for a remainder is the kernel size divided by the stride, rounded down or
/// up.
fn is_winograds_backward(window: &Window, accuracy: Accuracy) -> bool {
    let has = |size: usize| {
        (0..window.axes()).all(|axis| {
            let (kernel, stride) = (window.kernel_size[axis], window.stride[axis]);
            let period = stride / greatest_common_divisor(stride, window.dilation[axis]);
            [kernel / period, kernel.div_ceil(period)].contains(&size)
        })
    };
    accuracy == Accuracy::Default && window.axes() == 2 && (has(3) || has(5))
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

/// The error of a convolution or one of its gradients.
fn convolution(
    may_be_winograd: bool,
    count: usize,
    operands: &[&Array<f64>],
    condition: &[f64],
    result: &[f64],
) -> Vec<f64> {
    if !operands.iter().all(|operand| is_finite(operand)) {
        // Compiled code multiplies the zeros around an image; the interpreter leaves them out.
        return vec![f64::INFINITY; result.len()];
    }
    let mut errors = scaled(condition, sum_part(count));
    if may_be_winograd {
        let least = (WINOGRAD_OF_RESULT * largest(result)).max(WINOGRAD_OF_MAGNITUDES * largest(condition));
        errors.iter_mut().for_each(|error| *error = error.max(least));
    }
    errors
}

/// The error after an operator's epilogue, from its result before the epilogue and the error of that.
fn epilogue(
    steps: &[EpilogueStep],
    result: Array<f64>,
    mut errors: Vec<f64>,
    operands: &[&Array<f64>],
) -> Vec<f64> {
    let inner: usize = result.sizes[2..].iter().product();
    let channels = result.sizes[1];
    let mut values = result.real().to_vec();
    let mut operands = operands.iter();
    let mut next = || operands.next().map_or(&[][..], |operand| operand.real());
    for step in steps {
        match step {
            EpilogueStep::Bias => {
                let bias = next();
                for (index, value) in values.iter_mut().enumerate() {
                    *value += bias[index / inner % channels];
                    errors[index] += U * value.abs();
                }
            }
            EpilogueStep::Add => {
                for (index, addend) in next().iter().enumerate() {
                    values[index] += addend;
                    errors[index] += U * values[index].abs();
                }
            }
            EpilogueStep::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
            EpilogueStep::Sigmoid | EpilogueStep::Tanh | EpilogueStep::Activation(_) => {
                let Some(kind) = step.unary() else { continue };
                for (value, error) in values.iter_mut().zip(&mut errors) {
                    let x = *value;
                    *value = kind.apply(x);
                    *error = passed(kind, x, *error) + of_function(kind, x, *value);
                }
            }
        }
    }
    errors
}

/// The indices of a channel's elements in `[N, C, …]`.
fn channel(sizes: &[usize], channel: usize) -> impl Iterator<Item = usize> + Clone + use<> {
    let (batch, channels) = (sizes[0], sizes[1]);
    let inner: usize = sizes[2..].iter().product();
    (0..batch).flat_map(move |item| (0..inner).map(move |i| (item * channels + channel) * inner + i))
}

/// The indices of the channels at each position of each item of `[N, C, …]`.
fn places(sizes: &[usize]) -> Vec<Vec<usize>> {
    let (batch, channels) = (sizes[0], sizes[1]);
    let inner: usize = sizes[2..].iter().product();
    let index = move |item, place, channel| (item * channels + channel) * inner + place;
    (0..batch)
        .flat_map(|item| (0..inner).map(move |place| (item, place)))
        .map(|(item, place)| (0..channels).map(|channel| index(item, place, channel)).collect())
        .collect()
}

/// The error of `e^(x − max) / Σ` relative to each result, and of the logarithm of the sum.
fn softmax_parts(x: &[f64]) -> (Vec<f64>, Vec<f64>, f64) {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = x.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    let of_power = |x: f64| U * ((x - largest).abs() + 2.2);
    let of_sum =
        sum_part(x.len()) + x.iter().zip(&powers).map(|(&x, power)| power / sum * of_power(x)).sum::<f64>();
    let results: Vec<f64> = powers.iter().map(|power| power / sum).collect();
    // Exponentials below e⁻⁸⁰ are zero, and rounding decides about those next to it.
    let is_next_to_zero = |x: f64| (x - largest + 80.0).abs() < 1e-4;
    let of_zero = |x: f64| if is_next_to_zero(x) { 2e-35 } else { 0.0 };
    let errors = x.iter().zip(&results).map(|(&x, y)| y * (of_power(x) + of_sum + U) + of_zero(x)).collect();
    (results, errors, of_sum)
}

/// The error of `x − max − ln Σ`.
fn log_softmax_errors(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (.., of_sum) = softmax_parts(x);
    let logarithm = x.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
    x.iter().map(|x| U * (2.0 * (x - largest).abs() + 3.0 * logarithm.abs() + 1.0) + of_sum).collect()
}

/// The maximum error of each element of an operator's results; empty if elements are only moved or selected. `results`
/// are those in double precision.
pub(super) fn local_errors(
    op: &Op,
    operands: &[&Array<f64>],
    results: &[Array<f64>],
    accuracy: Accuracy,
) -> Vec<Option<Vec<f64>>> {
    let mut errors = of_operator(op, operands, results, accuracy);
    errors.resize(results.len(), None);
    for (errors, result) in errors.iter_mut().zip(results) {
        let (Some(errors), Data::Real(values)) = (errors, &result.data) else { continue };
        for (error, value) in errors.iter_mut().zip(values) {
            *error += FLOOR;
            // Beyond the range of f32 any result is allowed.
            if overflows(value.abs() + *error) {
                *error = f64::INFINITY;
            }
        }
    }
    errors
}

fn of_operator(
    op: &Op,
    operands: &[&Array<f64>],
    results: &[Array<f64>],
    accuracy: Accuracy,
) -> Vec<Option<Vec<f64>>> {
    let one = |errors: Vec<f64>| vec![Some(errors)];
    let y = || results[0].real();
    match op {
        Op::Input(_)
        | Op::Parameter(_)
        | Op::State(_)
        | Op::Constant(_)
        | Op::Reshape(_)
        | Op::Concat(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Transpose(_)
        | Op::Dropout(_)
        | Op::Fill(_)
        | Op::FoldSteps(_)
        | Op::UnfoldSteps(_)
        | Op::MaxPool(_)
        | Op::OneHot(_)
        | Op::Gather(_)
        | Op::SignMask(_)
        | Op::MaskedSelect(_) => vec![],
        // Scans are judged step by step (`analysis.rs`); fused operators are not drawn.
        Op::Scan(_) | Op::Fused(_) => {
            results.iter().map(|result| Some(vec![f64::INFINITY; result.elements()])).collect()
        }
        Op::Conv(conv) => {
            let bare = Conv { epilogue: vec![], ..conv.clone() };
            let product = bare.evaluate(&operands[..2], &[results[0].sizes.clone()]).remove(0);
            let count = operands[1].sizes[1..].iter().product();
            let condition = condition(&bare, &operands[..2], results);
            let errors =
                convolution(may_be_winograd(op, accuracy), count, &operands[..2], &condition, product.real());
            one(epilogue(&conv.epilogue, product, errors, &operands[2..]))
        }
        Op::ConvGradInput(conv) => {
            let bare = ConvGradInput { epilogue: vec![], ..conv.clone() };
            let product = bare.evaluate(&operands[..2], &[results[0].sizes.clone()]).remove(0);
            let weight = &operands[1].sizes;
            let count = weight[0] / conv.groups * weight[2..].iter().product::<usize>();
            let condition = condition(&bare, &operands[..2], results);
            let errors =
                convolution(may_be_winograd(op, accuracy), count, &operands[..2], &condition, product.real());
            one(epilogue(&conv.epilogue, product, errors, &operands[2..]))
        }
        Op::ConvGradWeight(conv) => {
            let g = &operands[0].sizes;
            let count = g[0] * g[2..].iter().product::<usize>();
            one(convolution(
                may_be_winograd(op, accuracy),
                count,
                operands,
                &condition(conv, operands, results),
                y(),
            ))
        }
        Op::Linear(linear) => {
            let bare = Linear { epilogue: vec![] };
            let product = bare.evaluate(&operands[..2], &[results[0].sizes.clone()]).remove(0);
            let errors = scaled(&condition(&bare, &operands[..2], results), sum_part(operands[1].sizes[1]));
            one(epilogue(&linear.epilogue, product, errors, &operands[2..]))
        }
        Op::LinearGradInput(op) => {
            one(scaled(&condition(op, operands, results), sum_part(operands[1].sizes[0])))
        }
        Op::LinearGradWeight(op) => {
            one(scaled(&condition(op, operands, results), sum_part(operands[0].sizes[0])))
        }
        Op::Matmul(op) => {
            let steps = operands[0].sizes[if op.transpose_left { 1 } else { 2 }];
            one(scaled(&condition(op, operands, results), sum_part(steps)))
        }
        // A table whose entries are at most 24 rotations by rounded sines and cosines, and a sum.
        Op::AddPositions(_) => {
            let x = reals(operands, 0).iter().zip(y());
            one(x.map(|(x, y)| 24.0 * 4.0 * U + U * (x.abs() + 1.0).max(y.abs())).collect())
        }
        Op::Mask(_) => vec![],
        Op::Reduce(reduce) => {
            let count = operands[0].elements() / results[0].elements();
            let condition = || condition(reduce, operands, results);
            match reduce.kind {
                ReduceKind::Sum => one(scaled(&condition(), sum_part(count))),
                // And a quotient.
                ReduceKind::Mean => one(scaled(&condition(), sum_part(count) + U)),
                ReduceKind::Max => vec![],
            }
        }
        Op::Expand(expand) if expand.divided => one(scaled(y(), U)),
        Op::Expand(_) => vec![],
        Op::MaxPoolGrad(pool) => {
            one(scaled(&condition(pool, operands, results), sum_part(pool.window.elements())))
        }
        Op::AvgPool(pool) => {
            one(scaled(&condition(pool, operands, results), sum_part(pool.window.elements())))
        }
        Op::AvgPoolGrad(pool) => {
            one(scaled(&condition(pool, operands, results), sum_part(pool.window.elements())))
        }
        Op::Unary(unary) => match unary.kind {
            UnaryKind::Relu | UnaryKind::Negate => vec![],
            kind => {
                let x = reals(operands, 0).iter().zip(y());
                one(x.map(|(&x, &y)| of_function(kind, x, y)).collect())
            }
        },
        Op::Binary(binary) => match binary.kind {
            BinaryKind::ReluGrad | BinaryKind::Maximum | BinaryKind::Minimum | BinaryKind::AtMost => vec![],
            BinaryKind::Add | BinaryKind::Subtract | BinaryKind::Multiply | BinaryKind::Divide => {
                one(scaled(y(), U))
            }
            BinaryKind::SigmoidGrad => one(scaled(y(), 4.0 * U)),
            BinaryKind::TanhGrad => {
                let (g, b) = (reals(operands, 0), reals(operands, 1));
                let b = |index: usize| if b.len() == 1 { b[0] } else { b[index] };
                let error =
                    |(index, y): (usize, &f64)| U * (3.0 * y.abs() + (g[index] * b(index).powi(2)).abs());
                one(y().iter().enumerate().map(error).collect())
            }
            BinaryKind::ActivationGrad(activation) => {
                let (g, b) = (reals(operands, 0), reals(operands, 1));
                let b = |index: usize| if b.len() == 1 { b[0] } else { b[index] };
                let error = |(index, y): (usize, &f64)| {
                    2.0 * U * y.abs() + g[index].abs() * of_slope(activation, b(index))
                };
                one(y().iter().enumerate().map(error).collect())
            }
        },
        Op::Bias(_) | Op::Scale(_) => one(scaled(y(), U)),
        Op::SumChannels(sum) => {
            let count = operands[0].elements() / operands[0].sizes[1];
            one(scaled(&condition(sum, operands, results), sum_part(count)))
        }
        Op::GatherGrad(op) => {
            one(scaled(&condition(op, operands, results), sum_part(operands[1].elements())))
        }
        Op::BatchNorm(norm) => {
            let x = reals(operands, 0);
            let mut errors = vec![0.0; x.len()];
            for c in 0..operands[0].sizes[1] {
                let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|index| reals(operands, index)[c]);
                let factor = gamma.abs() / (variance + norm.epsilon).sqrt();
                for i in channel(&operands[0].sizes, c) {
                    errors[i] = 8.0 * U * ((x[i].abs() + mean.abs()) * factor + beta.abs());
                }
            }
            let bare = BatchNorm { epilogue: vec![], ..norm.clone() };
            let y = bare.evaluate(&operands[..5], &[results[0].sizes.clone()]).remove(0);
            one(epilogue(&norm.epilogue, y, errors, &operands[5..]))
        }
        Op::BatchNormTraining(norm) => {
            let mut errors = batch_norm_training(norm.epsilon, norm.momentum, &operands[..5]);
            let bare = BatchNormTraining { epilogue: vec![], ..norm.clone() };
            let sizes: Vec<Vec<usize>> = results.iter().map(|result| result.sizes.clone()).collect();
            let y = bare.evaluate(&operands[..5], &sizes).remove(0);
            errors[0] = errors[0].take().map(|of_y| epilogue(&norm.epilogue, y, of_y, &operands[5..]));
            errors
        }
        Op::BatchNormGrad(_) => batch_norm_grad(operands),
        Op::DropoutTraining(_) => one(scaled(y(), 2.0 * U)),
        Op::Softmax(_) => one(by_place(operands[0], |x| softmax_parts(x).1)),
        Op::LogSoftmax(_) => one(by_place(operands[0], log_softmax_errors)),
        Op::SoftmaxGrad(_) => {
            let (g, y) = (reals(operands, 0), reals(operands, 1));
            let mut errors = vec![0.0; g.len()];
            for channels in places(&operands[0].sizes) {
                let sum: f64 = channels.iter().map(|&i| g[i] * y[i]).sum();
                let condition: f64 = channels.iter().map(|&i| (g[i] * y[i]).abs()).sum();
                for &i in &channels {
                    let of_sum = sum_part(channels.len()) * condition;
                    errors[i] = y[i].abs() * (of_sum + 3.0 * U * (g[i].abs() + sum.abs()));
                }
            }
            one(errors)
        }
        Op::LogSoftmaxGrad(_) => {
            let (g, y) = (reals(operands, 0), reals(operands, 1));
            let mut errors = vec![0.0; g.len()];
            for channels in places(&operands[0].sizes) {
                let sum: f64 = channels.iter().map(|&i| g[i]).sum();
                let condition: f64 = channels.iter().map(|&i| g[i].abs()).sum();
                for &i in &channels {
                    let power = y[i].exp();
                    let of_sum = sum_part(channels.len()) * condition;
                    errors[i] =
                        power * (of_sum + 5.0 * U * sum.abs()) + U * (g[i].abs() + (power * sum).abs());
                }
            }
            one(errors)
        }
        Op::CrossEntropy(_) => {
            let logits = operands[0];
            let errors = by_place(logits, log_softmax_errors);
            let items = logits.sizes[0];
            let labels = operands[1].int();
            let of_items: f64 =
                (0..items).map(|item| errors[item * logits.sizes[1] + labels[item] as usize]).sum();
            let terms = y()[0].abs() * items as f64;
            one(vec![(of_items + sum_part(items + 1) * terms) / items as f64])
        }
        Op::CrossEntropyGrad(_) => {
            let (g, items) = (reals(operands, 0)[0], operands[1].sizes[0] as f64);
            let errors = by_place(operands[1], |x| softmax_parts(x).1);
            let error = |(error, y): (&f64, &f64)| g.abs() / items * (error + 2.0 * U) + 4.0 * U * y.abs();
            one(errors.iter().zip(y()).map(error).collect())
        }
        Op::Ctc(_) => ctc(operands, results),
        Op::MeanSquaredError(_) => one(scaled(y(), sum_part(operands[0].elements() + 4))),
        Op::MeanSquaredErrorGrad(_) => one(scaled(y(), 5.0 * U)),
        Op::Sgd(sgd) => {
            let (w, g, rate) = (reals(operands, 0), reals(operands, 1), reals(operands, 2)[0]);
            let velocity = operands.get(3).map(|velocity| velocity.real());
            let (mut of_w, mut of_velocity) = (Vec::new(), Vec::new());
            for (i, (w, g)) in w.iter().zip(g).enumerate() {
                let mut magnitude = g.abs() + (sgd.weight_decay * w).abs();
                if let Some(velocity) = velocity {
                    magnitude += (sgd.momentum * velocity[i]).abs();
                    of_velocity.push(5.0 * U * magnitude);
                    if sgd.nesterov {
                        magnitude += sgd.momentum * magnitude + g.abs();
                    }
                }
                of_w.push(U * (2.0 * w.abs() + 8.0 * rate.abs() * magnitude));
            }
            vec![Some(of_w), Some(of_velocity)]
        }
        Op::Adam(_) => adam(op, operands, results),
        Op::Adaptive(step) => adaptive(step, operands),
        Op::ClipValue(_) => one(scaled(y(), U)),
        Op::ClipFactor(_) if overflows(results[1].real()[0].powi(2)) => vec![Some(vec![f64::INFINITY]); 2],
        Op::ClipFactor(_) => {
            let count: usize = operands.iter().map(|operand| operand.elements()).sum();
            let part = sum_part(count + 4);
            vec![Some(scaled(y(), part)), Some(scaled(results[1].real(), part))]
        }
    }
}

/// Errors of each position's channels, in their place.
fn by_place(x: &Array<f64>, errors_of: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut errors = vec![0.0; x.elements()];
    for channels in places(&x.sizes) {
        let numbers: Vec<f64> = channels.iter().map(|&i| x.real()[i]).collect();
        for (&i, error) in channels.iter().zip(errors_of(&numbers)) {
            errors[i] = error;
        }
    }
    errors
}
