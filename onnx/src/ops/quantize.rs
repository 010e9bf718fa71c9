//! Integers of a scale and a zero point, which become floats when the model is imported.

use windlass_compiler::shape::Dim;

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::Known;
use crate::node::{Node, resolve};
use crate::value::Value;

pub(super) const RULES: &[(&str, Rule)] = &[("DequantizeLinear", dequantize)];

fn dequantize<'m>(_: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (values, scale) = (node.known(0)?, node.known(1)?);
    if node.int("block_size", 0) != 0 {
        return unsupported("scales for blocks are not supported");
    }
    node.ignore(&["output_dtype"]);
    let rank = values.dims.len();
    let axis = node.int("axis", 1);
    let shaped = |known: &Known| -> Result<Vec<f32>, Reason> {
        let floats = known.to_floats().unwrap_or_default();
        if floats.len() == 1 {
            return Ok(vec![floats[0]; values.len()]);
        }
        let axis = resolve(axis, rank)?;
        if values.dims[axis] != floats.len() {
            return unsupported("its scale does not fit the axis");
        }
        let mut dims = vec![1; rank];
        dims[axis] = floats.len();
        let target: Vec<Dim> = values.dims.iter().map(|&size| Dim::Fixed(size)).collect();
        let sizes = crate::movement::small(&target)?;
        Ok(Known::floats(dims, floats).broadcast(&sizes).to_floats().unwrap_or_default())
    };
    let scale = shaped(scale)?;
    let zero = match node.optional_known(2)? {
        Some(zero) => shaped(zero)?,
        None => vec![0.0; values.len()],
    };
    let Some(numbers) = values.to_floats() else { return unsupported("its operand depends on an open size") };
    let floats = numbers.iter().zip(&scale).zip(&zero).map(|((value, scale), zero)| (value - zero) * scale);
    one(Known::floats(values.dims.clone(), floats.collect()))
}
