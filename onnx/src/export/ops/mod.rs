//! The operators of graphs in those of ONNX, one file for each kind.

mod elementwise;
mod movement;
mod product;
mod reduce;
mod scan;
mod sequence;
mod window;

use windlass_compiler::graph::Node;
use windlass_compiler::ops::{Op, Rewrite};

use super::attribute::{floats, tensor};
use super::emitter::{Emitter, Reason, unsupported};

/// Exports a node, and returns the names of its results; those behind the last one have none.
pub(super) fn export<'g>(emitter: &mut Emitter<'g>, node: &'g Node) -> Result<Vec<String>, Reason> {
    if node.op.epilogue().is_some_and(|steps| !steps.is_empty()) {
        return unsupported("it has fused steps: export the graph before passes");
    }
    let mut operands = Vec::with_capacity(node.operands.len());
    for &operand in &node.operands {
        let is_part = is_deferred(emitter, emitter.graph().producer(operand));
        operands.push(if is_part { String::new() } else { emitter.name(operand)? });
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let shapes: Vec<_> = node.operands.iter().map(|&operand| emitter.shape(operand)).collect();
    let one = |name: String| Ok(vec![name]);
    match &node.op {
        // They are declared before all nodes.
        Op::Input(_) | Op::Parameter(_) | Op::State(_) => Ok(Vec::new()),
        Op::Constant(constant) => {
            let value = floats(&constant.shape.item(), &constant.values);
            one(emitter.node("Constant", &[], vec![tensor("value", value)]))
        }
        _ if is_deferred(emitter, node) => Ok(Vec::new()),
        Op::Conv(conv) => one(window::conv(emitter, conv, &operands)),
        Op::ConvGradInput(conv) => {
            let given = emitter.shape(node.operands[0]).dims();
            one(window::transposed(emitter, conv, &operands, given)?)
        }
        Op::MaxPool(pool) => one(window::max_pool(emitter, pool, node, operands[0])?),
        Op::AvgPool(pool) => one(window::avg_pool(emitter, pool, operands[0])),
        Op::AvgPoolGrad(pool) => {
            let (given, own) = (shapes[0].dims(), emitter.shape(node.results[0]).dims());
            one(window::spread(emitter, pool, operands[0], given, own)?)
        }
        Op::Linear(_) => one(product::linear(emitter, &operands)),
        Op::Matmul(product) => one(product::matmul(emitter, *product, &operands)),
        Op::Unary(unary) => one(elementwise::unary(emitter, unary.kind, operands[0])),
        Op::Binary(binary) => one(elementwise::binary(emitter, binary.kind, operands[0], operands[1])?),
        Op::Bias(_) => one(elementwise::bias(emitter, node, &operands)?),
        Op::Scale(scale) => one(elementwise::scale(emitter, *scale, &operands, shapes[0].rank())),
        Op::BatchNorm(norm) => one(elementwise::batch_norm(emitter, norm, &operands)),
        Op::Dropout(_) => one(operands[0].to_owned()),
        Op::Softmax(_) => one(reduce::softmax(emitter, "Softmax", operands[0])),
        Op::LogSoftmax(_) => one(reduce::softmax(emitter, "LogSoftmax", operands[0])),
        Op::Reduce(reduce) => one(reduce::reduce(emitter, *reduce, operands[0])),
        Op::Expand(expand) => one(reduce::expand(emitter, expand, operands[0])?),
        Op::Fill(fill) => one(movement::fill(emitter, fill)?),
        Op::Reshape(reshape) => one(emitter.reshaped(operands[0], shapes[0].dims(), reshape.shape.dims())?),
        Op::Concat(concat) => one(movement::concat(emitter, *concat, &operands)),
        Op::Slice(slice) => one(movement::slice(emitter, slice, operands[0], shapes[0])?),
        Op::Pad(pad) => one(movement::pad(emitter, pad, operands[0])?),
        Op::Transpose(transpose) => one(movement::transpose(emitter, &transpose.order, operands[0])),
        Op::Gather(_) => one(movement::gather(emitter, &operands)),
        Op::OneHot(one_hot) => one(movement::one_hot(emitter, one_hot.classes, operands[0])),
        Op::FoldSteps(_) => one(sequence::fold(emitter, operands[0], shapes[0])?),
        Op::UnfoldSteps(unfold) => one(sequence::unfold(emitter, &unfold.shape, operands[0], shapes[0])?),
        Op::Mask(mask) => one(sequence::mask(emitter, *mask, &operands)),
        Op::AddPositions(_) => one(sequence::positions(emitter, operands[0])),
        Op::Scan(scan) => scan::scan(emitter, scan, &operands, &shapes),
        Op::ConvGradWeight(_)
        | Op::MaxPoolGrad(_)
        | Op::LinearGradInput(_)
        | Op::LinearGradWeight(_)
        | Op::SumChannels(_)
        | Op::SignMask(_)
        | Op::MaskedSelect(_)
        | Op::Fused(_)
        | Op::BatchNormTraining(_)
        | Op::BatchNormGrad(_)
        | Op::DropoutTraining(_)
        | Op::SoftmaxGrad(_)
        | Op::LogSoftmaxGrad(_)
        | Op::CrossEntropy(_)
        | Op::CrossEntropyGrad(_)
        | Op::MeanSquaredError(_)
        | Op::MeanSquaredErrorGrad(_)
        | Op::Ctc(_)
        | Op::GatherGrad(_)
        | Op::Sgd(_)
        | Op::Adam(_)
        | Op::Adaptive(_)
        | Op::ClipFactor(_)
        | Op::ClipValue(_) => {
            unsupported("ONNX has no such operator: export the network, before training and before passes")
        }
    }
}

/// Whether a node is a product whose only user adds a bias, which ONNX computes in the same node: that user exports both.
fn is_deferred<'g>(emitter: &Emitter<'g>, node: &'g Node) -> bool {
    let is_product = matches!(node.op, Op::Conv(_) | Op::ConvGradInput(_) | Op::Linear(_));
    is_product
        && emitter
            .only_user(node.results[0])
            .is_some_and(|user| matches!(user.op, Op::Bias(_)) && user.operands[0] == node.results[0])
}
