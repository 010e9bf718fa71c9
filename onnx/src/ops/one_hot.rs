//! One-hot vectors.

use windlass_compiler::ops::elementwise::BinaryKind;
use windlass_compiler::ops::gather::Gather;
use windlass_compiler::ops::source::Constant;
use windlass_compiler::shape::{Dim, Shape};

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::Known;
use crate::node::{Node, resolve};
use crate::value::{Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[("OneHot", one_hot)];

fn one_hot<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let depth = match node.known(1)?.to_floats().as_deref() {
        Some([depth]) if *depth >= 1.0 && *depth <= 4096.0 => *depth as usize,
        _ => return unsupported("its depth must be one number from 1 to 4096"),
    };
    let values = node.known(2)?.to_floats().unwrap_or_default();
    let [off, on] = values[..] else { return unsupported("its values must be two numbers") };
    let indices = node.operand(0)?.clone();
    let rank = indices.rank();
    let axis = resolve(node.int("axis", -1), rank + 1)?;
    let unit: Vec<f32> = (0..depth * depth).map(|at| f32::from(u8::from(at / depth == at % depth))).collect();
    let rows = match &indices {
        Value::Known(known) => {
            let numbers = known.to_floats().unwrap_or_default();
            let mut rows = vec![0.0; numbers.len().saturating_mul(depth)];
            for (row, &number) in numbers.iter().enumerate() {
                let index = if number < 0.0 { number + depth as f32 } else { number };
                if index >= 0.0 && index < depth as f32 {
                    rows[row * depth + index as usize] = 1.0;
                }
            }
            let dims = [known.dims.clone(), vec![depth]].concat();
            Value::from(Known::floats(dims, rows))
        }
        Value::Data(data) if data.meaning == Meaning::Index => {
            let table = importer.op(Constant { shape: Shape::fixed(&[depth, depth]), values: unit }, &[])?;
            let rows = importer.op(Gather { rows: depth }, &[table, data.value])?;
            let mut dims = data.dims.clone();
            dims.push(Dim::Fixed(depth));
            data.with(rows, dims).meaning(Meaning::Float).into()
        }
        _ => return unsupported("its indices must be known, or an input"),
    };
    let mut order: Vec<usize> = (0..rank).collect();
    order.insert(axis, rank);
    let mut result = importer.transpose(&rows, &order)?;
    if [off, on] != [0.0, 1.0] {
        let span = Known::floats(Vec::new(), vec![on - off]);
        result = super::arithmetic::multiplied(importer, &result, &span.into())?;
        result = importer.binary(BinaryKind::Add, &result, &Known::floats(Vec::new(), vec![off]).into())?;
    }
    one(result)
}
