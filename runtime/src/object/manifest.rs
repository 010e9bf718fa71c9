//! The manifest of an object file: what it holds, as JSON.

use crc32fast::Hasher;
use serde_json::json;
use windlass_compiler::codegen::object::{Object, ObjectPort, Training, WeightLayout};
use windlass_compiler::graph::Graph;

use super::header::size_name;

fn checksum(bytes: &[u8]) -> String {
    let mut crc = Hasher::new();
    crc.update(bytes);
    format!("{:08x}", crc.finalize())
}

fn port(port: &ObjectPort) -> serde_json::Value {
    let most: Vec<String> = port.most.iter().map(ToString::to_string).collect();
    json!({ "name": port.name, "type": port.ty.to_string(), "least": port.least, "most": most })
}

/// The training step. `state` is its initial state.
fn training(training: &Training<'_>, state: &[u8]) -> serde_json::Value {
    let tensors = training.layout.tensors.iter();
    let tensors =
        tensors.map(|tensor| json!({ "name": tensor.name, "shape": tensor.shape, "start": tensor.start }));
    json!({
        "build": format!("{:08x}", training.id),
        "sizes": training.symbols().into_iter().map(size_name).collect::<Vec<_>>(),
        "inputs": training.inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": training.outputs.iter().map(port).collect::<Vec<_>>(),
        "state": {
            "bytes": state.len(),
            "crc32": checksum(state),
            "embedded": training.embedded.is_some(),
            "tensors": tensors.collect::<Vec<_>>(),
        },
    })
}

/// The manifest. `values` are the weights, or the initial state of the training.
pub(super) fn text(object: &Object<'_>, graph: &Graph, bytes: &[u8], values: &[u8]) -> String {
    let (starts, weight_bytes) = object.weight_starts();
    let variants = object.plans.iter().zip(starts).map(|(plan, start)| {
        let kernels =
            plan.run.iter().map(|kernel| json!({ "kernel": kernel.name, "algorithm": kernel.note }));
        json!({
            "vector_bits": plan.target.vectors.bits,
            "weights": { "start": start, "bytes": WeightLayout::of(plan).bytes },
            "arena": {
                "fixed_bytes": 4 * (plan.memory.fixed + plan.memory.scratch),
                "bytes_per_sample": 4 * plan.memory.per_sample(),
            },
            "kernels": kernels.collect::<Vec<_>>(),
        })
    });
    let weights = match &object.training {
        Some(_) => json!({ "bytes": weight_bytes }),
        None => json!({
            "bytes": weight_bytes,
            "crc32": checksum(values),
            "embedded": object.embedded.is_some(),
        }),
    };
    let mut manifest = json!({
        "format": 1,
        "network": graph.name(),
        "name": object.name,
        "platform": object.triple.to_string(),
        "build": format!("{:08x}", object.id),
        "threads": object.threads(),
        "sizes": object.symbols().into_iter().map(size_name).collect::<Vec<_>>(),
        "inputs": object.inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": object.outputs.iter().map(port).collect::<Vec<_>>(),
        "states": object.states.iter().map(port).collect::<Vec<_>>(),
        "object": { "bytes": bytes.len(), "crc32": checksum(bytes) },
        "weights": weights,
        "variants": variants.collect::<Vec<_>>(),
    });
    if let Some(own) = &object.training {
        manifest["training"] = training(own, values);
    }
    format!("{manifest:#}\n")
}
