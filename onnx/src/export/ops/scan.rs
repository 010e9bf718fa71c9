//! Loops over the steps of sequences.

use windlass_compiler::ops::scan::Scan;
use windlass_compiler::shape::{Dim, Shape};

use crate::export::attribute::{graph, int, sizes};
use crate::export::emitter::{Emitter, Reason, unsupported};
use crate::export::value_info;
use crate::proto;

/// The axes of the steps of a folded sequence, `[T, N, …]`, from those of a slice, `[N, …]`.
fn apart(scan: &Scan, slice: &Shape) -> Vec<Dim> {
    [&[Dim::from(scan.steps.clone())], slice.dims()].concat()
}

pub(super) fn scan<'g>(
    emitter: &mut Emitter<'g>,
    scan: &'g Scan,
    operands: &[&str],
    shapes: &[&Shape],
) -> Result<Vec<String>, Reason> {
    if scan.slices == 0 {
        return unsupported("it reads no sequence, which `Scan` of ONNX needs");
    }
    let body = &*scan.body;
    let (constants, rest) = operands.split_at(scan.constants());
    let (sequences, initial) = rest.split_at(scan.slices);
    let slices: Vec<&Shape> =
        body.inputs().skip(constants.len()).take(scan.slices).map(|(_, input)| &input.ty.shape).collect();
    let mut inputs: Vec<String> = initial.iter().map(|&name| name.to_owned()).collect();
    for (index, &sequence) in sequences.iter().enumerate() {
        let from = shapes[constants.len() + index].dims();
        inputs.push(emitter.reshaped(sequence, from, &apart(scan, slices[index]))?);
    }
    let ((given, results), nodes) = emitter.nested(body, |emitter| {
        let mut given = Vec::new();
        for (index, (value, input)) in body.inputs().enumerate() {
            if let Some(&constant) = constants.get(index) {
                // A body sees the values of the graphs around it.
                emitter.set_name(value, constant.to_owned());
                continue;
            }
            let name = emitter.fresh(&format!("{}.{index}", body.name()));
            emitter.set_name(value, name.clone());
            given.push(value_info(&name, &input.ty));
        }
        // States come first in ONNX.
        given.rotate_left(scan.slices);
        emitter.nodes();
        let mut results: Vec<proto::ValueInfo> = Vec::new();
        for output in body.outputs() {
            let mut name = emitter.name(output.value)?;
            let is_named = results.iter().any(|result| result.name == name);
            if is_named || !emitter.is_computed_here(&name) {
                name = emitter.node("Identity", &[&name], Vec::new());
            }
            results.push(value_info(&name, body.ty(output.value)));
        }
        Ok((given, results))
    })?;
    let attributes = vec![
        graph(
            "body",
            proto::Graph {
                nodes,
                name: body.name().to_owned(),
                inputs: given,
                outputs: results,
                ..Default::default()
            },
        ),
        int("num_scan_inputs", scan.slices as i64),
    ];
    let direction = |name: &str, count: usize| sizes(name, std::iter::repeat_n(1, count));
    let directions = match scan.reverse {
        true => vec![
            direction("scan_input_directions", scan.slices),
            direction("scan_output_directions", scan.collected()),
        ],
        false => Vec::new(),
    };
    let attributes =
        attributes.into_iter().chain(directions).filter(|it| it.kind != 7 || !it.ints.is_empty());
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let mut names = emitter.add("Scan", &inputs, attributes.collect(), body.outputs().len());
    for (name, output) in names.iter_mut().zip(body.outputs()).skip(scan.carried) {
        let slice = &body.ty(output.value).shape;
        *name = emitter.reshaped(name, &apart(scan, slice), scan.sequence(slice).dims())?;
    }
    Ok(names)
}
