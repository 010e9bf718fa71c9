//! Functions of elements, biases, scales and batch normalisation.

use windlass_compiler::graph::Node;
use windlass_compiler::ops::Op;
use windlass_compiler::ops::batch_norm::BatchNorm;
use windlass_compiler::ops::elementwise::{Activation, BinaryKind, Scale, UnaryKind};

use super::{product, window};
use crate::export::attribute::{element, float, int, text};
use crate::export::emitter::{Emitter, Reason, unsupported};

pub(super) fn unary(emitter: &mut Emitter<'_>, kind: UnaryKind, x: &str) -> String {
    let mut plain = |operator: &str| emitter.node(operator, &[x], Vec::new());
    match kind {
        UnaryKind::Relu => plain("Relu"),
        UnaryKind::Sigmoid => plain("Sigmoid"),
        UnaryKind::Tanh => plain("Tanh"),
        UnaryKind::Exp => plain("Exp"),
        UnaryKind::Log => plain("Log"),
        UnaryKind::Sqrt => plain("Sqrt"),
        UnaryKind::Rsqrt => {
            let root = plain("Sqrt");
            emitter.node("Reciprocal", &[&root], Vec::new())
        }
        UnaryKind::Negate => plain("Neg"),
        UnaryKind::Square => emitter.node("Mul", &[x, x], Vec::new()),
        UnaryKind::Activation(kind) => activation(emitter, kind, x),
    }
}

fn activation(emitter: &mut Emitter<'_>, kind: Activation, x: &str) -> String {
    let mut with = |operator: &str, attributes| emitter.node(operator, &[x], attributes);
    match kind {
        Activation::Relu6 => {
            let bounds = [emitter.number(0.0), emitter.number(6.0)];
            emitter.node("Clip", &[x, &bounds[0], &bounds[1]], Vec::new())
        }
        Activation::LeakyRelu(slope) => with("LeakyRelu", vec![float("alpha", slope.get())]),
        Activation::Elu(alpha) => with("Elu", vec![float("alpha", alpha.get())]),
        // The defaults of ONNX are other roundings of the constants.
        Activation::Selu => with(
            "Selu",
            vec![float("alpha", 1.673_263_242_354_377_2), float("gamma", 1.050_700_987_355_480_5)],
        ),
        Activation::Gelu => with("Gelu", vec![text("approximate", "none")]),
        Activation::GeluTanh => with("Gelu", vec![text("approximate", "tanh")]),
        Activation::Silu => {
            let gate = with("Sigmoid", Vec::new());
            emitter.node("Mul", &[x, &gate], Vec::new())
        }
        Activation::HardSwish => with("HardSwish", Vec::new()),
        Activation::HardSigmoid => with("HardSigmoid", vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)]),
        Activation::Softplus => with("Softplus", Vec::new()),
        Activation::ScaledTanh => {
            let [slope, scale] = [emitter.number(2.0 / 3.0), emitter.number(1.7159)];
            let inner = emitter.node("Mul", &[x, &slope], Vec::new());
            let tanh = emitter.node("Tanh", &[&inner], Vec::new());
            emitter.node("Mul", &[&tanh, &scale], Vec::new())
        }
        Activation::Abs => with("Abs", Vec::new()),
        Activation::Erf => with("Erf", Vec::new()),
        Activation::Floor => with("Floor", Vec::new()),
        Activation::Ceil => with("Ceil", Vec::new()),
        Activation::Round => with("Round", Vec::new()),
        Activation::Huber(delta) => {
            // With m = min(|x|, δ): m·(|x| − m/2).
            let [most, half] = [emitter.number(delta.get()), emitter.number(0.5)];
            let magnitude = emitter.node("Abs", &[x], Vec::new());
            let within = emitter.node("Min", &[&magnitude, &most], Vec::new());
            let halved = emitter.node("Mul", &[&within, &half], Vec::new());
            let rest = emitter.node("Sub", &[&magnitude, &halved], Vec::new());
            emitter.node("Mul", &[&within, &rest], Vec::new())
        }
    }
}

pub(super) fn binary(
    emitter: &mut Emitter<'_>,
    kind: BinaryKind,
    a: &str,
    b: &str,
) -> Result<String, Reason> {
    let operator = match kind {
        BinaryKind::Add => "Add",
        BinaryKind::Subtract => "Sub",
        BinaryKind::Multiply => "Mul",
        BinaryKind::Divide => "Div",
        BinaryKind::Maximum => "Max",
        BinaryKind::Minimum => "Min",
        BinaryKind::AtMost => {
            let holds = emitter.node("LessOrEqual", &[a, b], Vec::new());
            let to_float = vec![int("to", i64::from(element::FLOAT))];
            return Ok(emitter.node("Cast", &[&holds], to_float));
        }
        // It selects elements.
        BinaryKind::ReluGrad => {
            let zero = emitter.number(0.0);
            let is_zero = emitter.node("LessOrEqual", &[b, &zero], Vec::new());
            return Ok(emitter.node("Where", &[&is_zero, &zero, a], Vec::new()));
        }
        BinaryKind::SigmoidGrad | BinaryKind::TanhGrad | BinaryKind::ActivationGrad(_) => {
            return unsupported("it is a gradient, which ONNX does not have");
        }
    };
    Ok(emitter.node(operator, &[a, b], Vec::new()))
}

/// A bias, together with the product before it if that has no other user.
pub(super) fn bias<'g>(
    emitter: &mut Emitter<'g>,
    node: &'g Node,
    operands: &[&str],
) -> Result<String, Reason> {
    let before = emitter.graph().producer(node.operands[0]);
    if super::is_deferred(emitter, before) {
        let mut names = Vec::with_capacity(3);
        for &operand in &before.operands {
            names.push(emitter.name(operand)?);
        }
        names.push(operands[1].to_owned());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match &before.op {
            Op::Conv(conv) => return Ok(window::conv(emitter, conv, &names)),
            Op::ConvGradInput(conv) => {
                let given = emitter.shape(before.operands[0]).dims();
                return window::transposed(emitter, conv, &names, given);
            }
            Op::Linear(_) => return Ok(product::linear(emitter, &names)),
            _ => {}
        }
    }
    let rank = emitter.shape(node.operands[0]).rank();
    let values = emitter.unsqueezed(operands[1], 1..rank - 1);
    Ok(emitter.node("Add", &[operands[0], &values], Vec::new()))
}

pub(super) fn scale(emitter: &mut Emitter<'_>, scale: Scale, operands: &[&str], rank: usize) -> String {
    let behind = rank - scale.axis - scale.count;
    let factors = emitter.unsqueezed(operands[1], scale.count..scale.count + behind);
    emitter.node("Mul", &[operands[0], &factors], Vec::new())
}

pub(super) fn batch_norm(emitter: &mut Emitter<'_>, norm: &BatchNorm, operands: &[&str]) -> String {
    // The share of the old statistics in ONNX, of the new ones here.
    let attributes = vec![float("epsilon", norm.epsilon), float("momentum", 1.0 - norm.momentum)];
    emitter.node("BatchNormalization", operands, attributes)
}
