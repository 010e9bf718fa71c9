//! Functions of one element.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::elementwise::{Activation, BinaryKind, UnaryKind};
use windlass_compiler::ops::fill::Fill;

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::{Elements, Known};
use crate::node::Node;
use crate::value::Value;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Relu", |importer, node| plain(importer, node, UnaryKind::Relu, |x| x.max(0.0))),
    ("Sigmoid", |importer, node| plain(importer, node, UnaryKind::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()))),
    ("Tanh", |importer, node| plain(importer, node, UnaryKind::Tanh, f64::tanh)),
    ("Exp", |importer, node| plain(importer, node, UnaryKind::Exp, f64::exp)),
    ("Log", |importer, node| plain(importer, node, UnaryKind::Log, f64::ln)),
    ("Sqrt", |importer, node| plain(importer, node, UnaryKind::Sqrt, f64::sqrt)),
    ("Abs", |importer, node| plain(importer, node, UnaryKind::Activation(Activation::Abs), f64::abs)),
    ("Erf", |importer, node| activation(importer, node, Activation::Erf)),
    ("Softplus", |importer, node| activation(importer, node, Activation::Softplus)),
    ("HardSwish", |importer, node| activation(importer, node, Activation::HardSwish)),
    ("Neg", negate),
    ("Reciprocal", reciprocal),
    ("Floor", |importer, node| activation(importer, node, Activation::Floor)),
    ("Ceil", |importer, node| activation(importer, node, Activation::Ceil)),
    ("Round", |importer, node| activation(importer, node, Activation::Round)),
    ("Sign", sign),
    ("Sinh", hyperbolic_sine),
    ("Cosh", hyperbolic_cosine),
    ("Atanh", inverse_hyperbolic_tangent),
    ("Softsign", softsign),
    ("Mish", mish),
    ("LeakyRelu", leaky_relu),
    ("PRelu", prelu),
    ("Elu", elu),
    ("Celu", celu),
    ("Selu", selu),
    ("Gelu", gelu),
    ("Swish", swish),
    ("HardSigmoid", hard_sigmoid),
    ("ThresholdedRelu", thresholded_relu),
    ("Shrink", shrink),
    ("Clip", clip),
];

/// A function of known floats, computed in double precision.
fn known(value: &Value, function: impl Fn(f64) -> f64) -> Option<Value> {
    let Value::Known(known) = value else { return None };
    match &known.elements {
        Elements::Floats(values) if known.name.is_none() => {
            let values = values.iter().map(|&x| function(f64::from(x)) as f32).collect();
            Some(Known::floats(known.dims.clone(), values).into())
        }
        _ => None,
    }
}

fn plain(
    importer: &mut Importer<'_>,
    node: &Node<'_>,
    kind: UnaryKind,
    function: impl Fn(f64) -> f64,
) -> Result<Vec<Value>, Reason> {
    node.ignore(&["consumed_inputs"]);
    let value = node.operand(0)?;
    // Integers keep their type.
    if let Value::Known(known) = value
        && let Some(integers) = known.to_integers()
        && kind == UnaryKind::Activation(Activation::Abs)
    {
        let values = integers.into_iter().map(i64::wrapping_abs).collect();
        return one(Known::integers(known.dims.clone(), values));
    }
    match known(value, function) {
        Some(value) => one(value),
        None => one(importer.unary(kind, value)?),
    }
}

fn activation(
    importer: &mut Importer<'_>,
    node: &Node<'_>,
    activation: Activation,
) -> Result<Vec<Value>, Reason> {
    plain(importer, node, UnaryKind::Activation(activation), |x| activation.value(x))
}

fn negate<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    if let Value::Known(known) = node.operand(0)?
        && let Some(sizes) = known.to_sizes()
    {
        let values = sizes.iter().map(|size| size.scaled(-1)).collect();
        return one(Known::sizes(known.dims.clone(), values));
    }
    plain(importer, node, UnaryKind::Negate, |x| -x)
}

/// A number for every element of a value.
fn number(importer: &mut Importer<'_>, like: ValueId, value: f32) -> Result<ValueId, Reason> {
    let shape = importer.builder.graph().ty(like).shape.clone();
    importer.op(Fill { shape, value }, &[])
}

fn inverse(importer: &mut Importer<'_>, x: ValueId) -> Result<ValueId, Reason> {
    let ones = number(importer, x, 1.0)?;
    importer.binary_op(BinaryKind::Divide, ones, x)
}

fn reciprocal<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    match known(value, |x| 1.0 / x) {
        Some(value) => one(value),
        None => one(importer.map(value, inverse)?),
    }
}

/// A power with the same exponent for all elements.
pub(super) fn power(importer: &mut Importer<'_>, value: &Value, exponent: f32) -> Result<Value, Reason> {
    /// Whole exponents up to this one are products.
    const MOST: f32 = 64.0;
    importer.map(value, |importer, x| {
        if exponent == 0.5 {
            return importer.unary_op(UnaryKind::Sqrt, x);
        }
        if exponent == -0.5 {
            return importer.unary_op(UnaryKind::Rsqrt, x);
        }
        if exponent == 0.0 {
            return number(importer, x, 1.0);
        }
        if exponent.fract() != 0.0 || exponent.abs() > MOST {
            if exponent.fract() == 0.0 {
                return unsupported(format!(
                    "the exponent {exponent} is not supported: whole ones are at most {MOST}"
                ));
            }
            // Of a negative number, it is NaN.
            let log = importer.unary_op(UnaryKind::Log, x)?;
            let factor = importer.scalar(exponent)?;
            let product = importer.binary_op(BinaryKind::Multiply, log, factor)?;
            return importer.unary_op(UnaryKind::Exp, product);
        }
        let (mut rest, mut square, mut product) = (exponent.abs() as u32, x, None);
        while rest > 0 {
            if rest % 2 == 1 {
                product = Some(match product {
                    None => square,
                    Some(product) => importer.binary_op(BinaryKind::Multiply, product, square)?,
                });
            }
            rest /= 2;
            if rest > 0 {
                square = importer.unary_op(UnaryKind::Square, square)?;
            }
        }
        let product = product.unwrap_or(x);
        if exponent < 0.0 { inverse(importer, product) } else { Ok(product) }
    })
}

fn sign<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    if let Value::Known(known) = value
        && let Some(integers) = known.to_integers()
    {
        return one(Known::integers(known.dims.clone(), integers.into_iter().map(i64::signum).collect()));
    }
    let of = |x: f64| if x == 0.0 || x.is_nan() { x } else { x.signum() };
    if let Some(value) = known(value, of) {
        return one(value);
    }
    // Whether it is at least 0, less whether it is at most 0.
    one(importer.map(value, |importer, x| {
        let zeros = number(importer, x, 0.0)?;
        let least = importer.binary_op(BinaryKind::AtMost, zeros, x)?;
        let most = importer.binary_op(BinaryKind::AtMost, x, zeros)?;
        importer.binary_op(BinaryKind::Subtract, least, most)
    })?)
}

fn hyperbolic_cosine<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    match known(value, f64::cosh) {
        Some(value) => one(value),
        None => one(importer.map(value, cosh)?),
    }
}

fn cosh(importer: &mut Importer<'_>, x: ValueId) -> Result<ValueId, Reason> {
    let power = importer.unary_op(UnaryKind::Exp, x)?;
    let negative = importer.unary_op(UnaryKind::Negate, x)?;
    let other = importer.unary_op(UnaryKind::Exp, negative)?;
    let sum = importer.binary_op(BinaryKind::Add, power, other)?;
    let half = importer.scalar(0.5)?;
    importer.binary_op(BinaryKind::Multiply, sum, half)
}

fn hyperbolic_sine<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    if let Some(value) = known(value, f64::sinh) {
        return one(value);
    }
    // A difference of powers would cancel near 0.
    one(importer.map(value, |importer, x| {
        let tanh = importer.unary_op(UnaryKind::Tanh, x)?;
        let cosh = cosh(importer, x)?;
        importer.binary_op(BinaryKind::Multiply, tanh, cosh)
    })?)
}

fn inverse_hyperbolic_tangent<'m>(
    importer: &mut Importer<'m>,
    node: &Node<'m>,
) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    if let Some(value) = known(value, f64::atanh) {
        return one(value);
    }
    one(importer.map(value, |importer, x| {
        let number = importer.scalar(1.0)?;
        let above = importer.binary_op(BinaryKind::Add, x, number)?;
        let ones = self::number(importer, x, 1.0)?;
        let below = importer.binary_op(BinaryKind::Subtract, ones, x)?;
        let ratio = importer.binary_op(BinaryKind::Divide, above, below)?;
        let log = importer.unary_op(UnaryKind::Log, ratio)?;
        let half = importer.scalar(0.5)?;
        importer.binary_op(BinaryKind::Multiply, log, half)
    })?)
}

fn softsign<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    one(importer.map(value, |importer, x| {
        let magnitude = importer.unary_op(UnaryKind::Activation(Activation::Abs), x)?;
        let number = importer.scalar(1.0)?;
        let below = importer.binary_op(BinaryKind::Add, magnitude, number)?;
        importer.binary_op(BinaryKind::Divide, x, below)
    })?)
}

fn mish<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    one(importer.map(value, |importer, x| {
        let softplus = importer.unary_op(UnaryKind::Activation(Activation::Softplus), x)?;
        let tanh = importer.unary_op(UnaryKind::Tanh, softplus)?;
        importer.binary_op(BinaryKind::Multiply, x, tanh)
    })?)
}

fn scaled(importer: &mut Importer<'_>, x: ValueId, factor: f32) -> Result<ValueId, Reason> {
    let factor = importer.scalar(factor)?;
    importer.binary_op(BinaryKind::Multiply, x, factor)
}

/// The part of a value below zero, with its sign changed.
fn negative_part(importer: &mut Importer<'_>, x: ValueId) -> Result<ValueId, Reason> {
    let negative = importer.unary_op(UnaryKind::Negate, x)?;
    importer.unary_op(UnaryKind::Relu, negative)
}

fn leaky_relu<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["consumed_inputs"]);
    let slope = node.float("alpha", 0.01);
    let value = node.operand(0)?;
    if slope >= 0.0 {
        return one(importer.unary(UnaryKind::Activation(Activation::leaky_relu(f64::from(slope))), value)?);
    }
    one(importer.map(value, |importer, x| {
        let above = importer.unary_op(UnaryKind::Relu, x)?;
        let below = negative_part(importer, x)?;
        let below = scaled(importer, below, -slope)?;
        importer.binary_op(BinaryKind::Add, above, below)
    })?)
}

fn prelu<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["consumed_inputs"]);
    let (value, slope) = (node.operand(0)?.clone(), node.operand(1)?.clone());
    let (rank, own) = (value.rank(), slope.rank());
    // Before version 7, one slope for each channel.
    let slope = if node.opset < 7 && own == 1 && rank > 2 {
        let dims = [slope.dims(), vec![windlass_compiler::shape::Dim::Fixed(1); rank - 2]].concat();
        importer.reshape(&slope, &dims)?
    } else {
        slope
    };
    let above = importer.unary(UnaryKind::Relu, &value)?;
    let below = importer.map(&value, negative_part)?;
    let below = importer.binary(BinaryKind::Multiply, &below, &slope)?;
    one(importer.binary(BinaryKind::Subtract, &above, &below)?)
}

fn elu<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["consumed_inputs"]);
    let kind = UnaryKind::Activation(Activation::elu(f64::from(node.float("alpha", 1.0))));
    one(importer.unary(kind, node.operand(0)?)?)
}

fn celu<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let alpha = node.float("alpha", 1.0);
    if alpha <= 0.0 || alpha.is_nan() {
        return unsupported(format!("its alpha is {alpha}, but must be above 0"));
    }
    // max(0, x) + min(0, α·(e^(x/α) − 1))
    one(importer.map(node.operand(0)?, |importer, x| {
        let number = importer.scalar(alpha)?;
        let inner = importer.binary_op(BinaryKind::Divide, x, number)?;
        let elu = importer.unary_op(UnaryKind::Activation(Activation::elu(1.0)), inner)?;
        importer.binary_op(BinaryKind::Multiply, elu, number)
    })?)
}

fn selu<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    /// The constants of Klambauer et al. (2017).
    const ALPHA: f32 = 1.673_263_2;
    const GAMMA: f32 = 1.050_701;
    node.ignore(&["consumed_inputs"]);
    let (default_alpha, default_gamma) = if node.opset < 6 { (1.6732, 1.0507) } else { (ALPHA, GAMMA) };
    let (alpha, gamma) = (node.float("alpha", default_alpha), node.float("gamma", default_gamma));
    let value = node.operand(0)?;
    if (alpha - ALPHA).abs() < 1e-6 && (gamma - GAMMA).abs() < 1e-6 {
        return one(importer.unary(UnaryKind::Activation(Activation::Selu), value)?);
    }
    let elu = importer.unary(UnaryKind::Activation(Activation::elu(f64::from(alpha))), value)?;
    one(importer.with_number(BinaryKind::Multiply, &elu, gamma)?)
}

fn gelu<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let kind = match node.text("approximate").unwrap_or("none") {
        "none" => Activation::Gelu,
        "tanh" => Activation::GeluTanh,
        other => {
            let (name, value) = ("approximate", other.to_owned());
            return Err(Reason::AttributeValue { name, value, needed: "`none` or `tanh`".to_owned() });
        }
    };
    one(importer.unary(UnaryKind::Activation(kind), node.operand(0)?)?)
}

fn swish<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let alpha = node.float("alpha", 1.0);
    let value = node.operand(0)?;
    if alpha == 1.0 {
        return one(importer.unary(UnaryKind::Activation(Activation::Silu), value)?);
    }
    one(importer.map(value, |importer, x| {
        let inner = scaled(importer, x, alpha)?;
        let sigmoid = importer.unary_op(UnaryKind::Sigmoid, inner)?;
        importer.binary_op(BinaryKind::Multiply, x, sigmoid)
    })?)
}

fn hard_sigmoid<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["consumed_inputs"]);
    let (alpha, beta) = (node.float("alpha", 0.2), node.float("beta", 0.5));
    let value = node.operand(0)?;
    if (alpha - 1.0 / 6.0).abs() < 1e-7 && beta == 0.5 {
        return one(importer.unary(UnaryKind::Activation(Activation::HardSigmoid), value)?);
    }
    one(importer.map(value, |importer, x| {
        let scaled = scaled(importer, x, alpha)?;
        let beta = importer.scalar(beta)?;
        let shifted = importer.binary_op(BinaryKind::Add, scaled, beta)?;
        let least = importer.unary_op(UnaryKind::Relu, shifted)?;
        let number = importer.scalar(1.0)?;
        importer.binary_op(BinaryKind::Minimum, least, number)
    })?)
}

fn thresholded_relu<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let alpha = node.float("alpha", 1.0);
    one(importer.map(node.operand(0)?, |importer, x| {
        let number = importer.scalar(alpha)?;
        let above = importer.binary_op(BinaryKind::Subtract, x, number)?;
        importer.binary_op(BinaryKind::ReluGrad, x, above)
    })?)
}

fn shrink<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (bias, lambda) = (node.float("bias", 0.0), node.float("lambd", 0.5));
    one(importer.map(node.operand(0)?, |importer, x| {
        let (bias, bound) = (importer.scalar(bias)?, importer.scalar(lambda)?);
        let above = importer.binary_op(BinaryKind::Subtract, x, bound)?;
        let sum = importer.binary_op(BinaryKind::Add, x, bound)?;
        let below = importer.unary_op(UnaryKind::Negate, sum)?;
        let lower = importer.binary_op(BinaryKind::Subtract, x, bias)?;
        let higher = importer.binary_op(BinaryKind::Add, x, bias)?;
        let first = importer.binary_op(BinaryKind::ReluGrad, lower, above)?;
        let second = importer.binary_op(BinaryKind::ReluGrad, higher, below)?;
        importer.binary_op(BinaryKind::Add, first, second)
    })?)
}

fn clip<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["consumed_inputs"]);
    let value = node.operand(0)?.clone();
    if node.opset < 11 {
        let (low, high) = (node.float("min", f32::MIN), node.float("max", f32::MAX));
        return one(clipped(importer, &value, low, high)?);
    }
    let bound = |index: usize| match node.optional(index) {
        None => Ok(None),
        Some(Value::Known(known)) => match known.to_floats().as_deref() {
            Some([number]) => Ok(Some(*number)),
            _ => Err(Reason::Operand { index, problem: "must be one number".to_owned() }),
        },
        Some(_) => Ok(Some(f32::NAN)),
    };
    let (low, high) = (bound(1)?, bound(2)?);
    let is_computed = |bound: Option<f32>| bound.is_some_and(f32::is_nan);
    if let Value::Known(known) = &value
        && let Some(integers) = known.to_integers()
    {
        let (low, high) =
            (node.optional(1).map(|_| node.integers(1)), node.optional(2).map(|_| node.integers(2)));
        let low = low.transpose()?.and_then(|it| it.first().copied()).unwrap_or(i64::MIN);
        let high = high.transpose()?.and_then(|it| it.first().copied()).unwrap_or(i64::MAX);
        let values = integers.into_iter().map(|value| value.max(low).min(high)).collect();
        return one(Known::integers(known.dims.clone(), values));
    }
    if !is_computed(low) && !is_computed(high) {
        return one(clipped(importer, &value, low.unwrap_or(f32::MIN), high.unwrap_or(f32::MAX))?);
    }
    let mut value = value;
    for (index, kind) in [(1, BinaryKind::Maximum), (2, BinaryKind::Minimum)] {
        if let Some(bound) = node.optional(index) {
            value = importer.binary(kind, &value, bound)?;
        }
    }
    one(value)
}

/// A value between two numbers.
pub(super) fn clipped(
    importer: &mut Importer<'_>,
    value: &Value,
    low: f32,
    high: f32,
) -> Result<Value, Reason> {
    if let Some(value) = known(value, |x| x.max(f64::from(low)).min(f64::from(high))) {
        return Ok(value);
    }
    if low == 0.0 && high == 6.0 {
        return importer.unary(UnaryKind::Activation(Activation::Relu6), value);
    }
    let value = match low {
        0.0 => importer.unary(UnaryKind::Relu, value)?,
        _ if low > f32::MIN => importer.with_number(BinaryKind::Maximum, value, low)?,
        _ => value.clone(),
    };
    match high < f32::MAX {
        true => importer.with_number(BinaryKind::Minimum, &value, high),
        false => Ok(value),
    }
}
