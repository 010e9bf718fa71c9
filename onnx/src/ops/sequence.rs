//! Functions of exported models that are operators of the graph: masks and encodings of positions.

use windlass_compiler::ops::Op;
use windlass_compiler::ops::mask::{Mask, Masked};
use windlass_compiler::ops::positions::AddPositions;

use super::one;
use crate::error::{Reason, unsupported};
use crate::export::functions::Function;
use crate::importer::Importer;
use crate::value::{Batch, Data, Meaning, Value};

/// A call of a function that an export declares.
pub(crate) fn function(
    importer: &mut Importer<'_>,
    function: Function,
    operands: &[Value],
) -> Result<Vec<Value>, Reason> {
    let x = importer.data(operands.first().ok_or(Reason::Missing { index: 0 })?)?;
    let x = importer.folded(&x)?;
    if x.batch != Batch::Axis(0) {
        return unsupported("its batch is not the first axis");
    }
    let (op, lengths): (Op, _) = match function.mask() {
        None => (AddPositions {}.into(), None),
        Some((masked, fill)) => (Mask { masked, fill }.into(), (masked == Masked::Lengths).then_some(1)),
    };
    let mut values = vec![x.value];
    if let Some(index) = lengths {
        match operands.get(index) {
            Some(Value::Data(data)) if data.meaning == Meaning::Index => {
                values.push(importer.folded(data)?.value);
            }
            Some(_) => return unsupported("its lengths must be an input of integers"),
            None => return Err(Reason::Missing { index }),
        }
    }
    let value = importer.op(op, &values)?;
    one(Data { meaning: Meaning::Float, ..x.replaced(value) })
}
