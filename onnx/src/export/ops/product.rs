//! Dense layers and products of matrices.

use windlass_compiler::ops::matmul::Matmul;

use crate::export::attribute::{int, sizes};
use crate::export::emitter::Emitter;

/// A dense layer of an input, a weight and perhaps a bias.
pub(super) fn linear(emitter: &mut Emitter<'_>, operands: &[&str]) -> String {
    emitter.node("Gemm", operands, vec![int("transB", 1)])
}

pub(super) fn matmul(emitter: &mut Emitter<'_>, product: Matmul, operands: &[&str]) -> String {
    let mut factor = |index: usize, transposed: bool| match transposed {
        true => emitter.node("Transpose", &[operands[index]], vec![sizes("perm", [0, 2, 1])]),
        false => operands[index].to_owned(),
    };
    let (left, right) = (factor(0, product.transpose_left), factor(1, product.transpose_right));
    emitter.node("MatMul", &[&left, &right], Vec::new())
}
