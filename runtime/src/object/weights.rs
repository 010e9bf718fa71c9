//! The weights of an object, prepacked for its plans.

use crc32fast::Hasher;
use windlass_compiler::codegen::object::{Object, WeightLayout};
use windlass_compiler::pipeline::assemble;
use windlass_compiler::plan::{EvaluatePlanError, Plan, Slot, SlotKind};
use windlass_compiler::target::available_vector_bits;

use super::ObjectError;
use crate::error::Error;
use crate::executor::Executor;
use crate::parameters::Parameters;

/// The weights of all plans, with their header.
pub(super) fn weights(object: &Object<'_>, parameters: &Parameters, network: &str) -> Result<Vec<u8>, Error> {
    let (starts, bytes) = object.weight_starts();
    let mut weights = vec![0; bytes];
    for (plan, start) in object.plans.iter().zip(starts) {
        let mut place = |at: usize, words: &[f32]| {
            let bytes: &[u8] = bytemuck::cast_slice(words);
            weights[start + at..start + at + bytes.len()].copy_from_slice(bytes);
        };
        place(0, &prepacked(plan, parameters, network)?);
        for (slot, at) in WeightLayout::of(plan).parameters {
            if let Some(values) = parameters.get(&plan.slots[slot].name) {
                place(at, &values.iter().copied().collect::<Vec<f32>>());
            }
        }
    }
    let mut checksum = Hasher::new();
    checksum.update(&weights[object.weights_header(0).len()..]);
    let header = object.weights_header(checksum.finalize());
    weights[..header.len()].copy_from_slice(&header);
    Ok(weights)
}

/// The prepacked memory of a plan: computed by its own kernels if this machine can run them, and without code otherwise.
fn prepacked(plan: &Plan, parameters: &Parameters, network: &str) -> Result<Vec<f32>, Error> {
    let is_here = plan.target.architecture == windlass_compiler::target::Architecture::HOST
        && available_vector_bits().contains(&plan.target.vectors.bits);
    if is_here {
        let failed = |reason| Error::Compile { network: network.to_owned(), reason: Box::new(reason) };
        let program = assemble(plan.clone()).map_err(failed)?;
        return Executor::new(program)?.prepacked(parameters);
    }
    let words = without_code(plan, parameters).map_err(|error| Error::Object {
        network: network.to_owned(),
        reason: ObjectError::Weights { reason: error.to_string() },
    })?;
    Ok(words.into_iter().map(f32::from_bits).collect())
}

/// The prepacked memory of a plan, computed element by element: this machine may lack the plan's instructions.
pub(super) fn without_code(plan: &Plan, parameters: &Parameters) -> Result<Vec<u32>, EvaluatePlanError> {
    let words = |slot: &Slot| match slot.kind {
        SlotKind::Parameter => parameters
            .get(&slot.name)
            .map_or_else(Vec::new, |values| values.iter().map(|value| value.to_bits()).collect()),
        SlotKind::Input | SlotKind::Output => Vec::new(),
    };
    plan.prepacked(&plan.slots.iter().map(words).collect::<Vec<_>>())
}
