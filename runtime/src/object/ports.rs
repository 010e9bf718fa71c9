//! The inputs and outputs of an object's functions, and the limits of their integers.

use windlass_compiler::autodiff::{class_axis, names};
use windlass_compiler::codegen::object::ObjectPort;
use windlass_compiler::graph::{Graph, Stateful};
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::shape::{DType, Dim, Polynomial, Shape, Type};

use crate::trainer::TrainerOptions;

fn port(name: &str, ty: &Type) -> ObjectPort {
    ObjectPort { name: name.to_owned(), ty: ty.clone(), least: 0, most: Vec::new() }
}

/// The inputs and outputs of a network, in order.
pub(super) fn ports(graph: &Graph) -> (Vec<ObjectPort>, Vec<ObjectPort>) {
    let (indices, lengths) = (graph.index_limits(), graph.length_limits());
    let data = graph.inputs().filter(|(_, input)| input.role == InputRole::Data);
    let inputs = data.map(|(value, input)| {
        let own = port(&input.name, &input.ty);
        match (&lengths[value.index()][..], indices[value.index()]) {
            ([], limit) => {
                let most = limit.map(|limit| Polynomial::from(limit.saturating_sub(1)));
                ObjectPort { most: most.into_iter().collect(), ..own }
            }
            (lengths, _) => {
                ObjectPort { least: 1, most: lengths.iter().map(Dim::polynomial).collect(), ..own }
            }
        }
    });
    let outputs = graph.outputs().iter().map(|output| port(&output.name, graph.ty(output.value)));
    (inputs.collect(), outputs.collect())
}

/// The inputs and outputs of a training step, without the inputs that a step controls itself.
pub(super) fn step_ports(step: &Stateful, options: &TrainerOptions) -> (Vec<ObjectPort>, Vec<ObjectPort>) {
    let (mut inputs, outputs) = ports(&step.graph);
    for input in inputs.iter_mut().filter(|input| input.ty.dtype == DType::I32) {
        let kind = input.name.split('.').next().unwrap_or_default();
        let Some(shape) = loss_shape(&step.graph, &input.name, options) else { continue };
        match kind {
            names::LABELS => {
                let classes = &shape.dims()[class_axis(shape)];
                input.most = vec![classes.polynomial().plus(&Polynomial::from(-1i64))];
            }
            names::LABEL_LENGTHS => {
                let labels = match names::output_of(&input.name) {
                    Some(output) => names::labels_of(output),
                    None => names::LABELS.to_owned(),
                };
                let labels = step.graph.source(&labels).map(|labels| &step.graph.ty(labels).shape);
                let length = labels.and_then(|labels| labels.dims().get(1));
                (input.least, input.most) = (0, length.map(Dim::polynomial).into_iter().collect());
            }
            names::STEP_LENGTHS => {
                (input.least, input.most) =
                    (1, shape.dims().get(1).map(Dim::polynomial).into_iter().collect());
            }
            _ => {}
        }
    }
    (inputs, outputs)
}

/// The shape of the output whose loss has an input.
fn loss_shape<'g>(graph: &'g Graph, input: &str, options: &TrainerOptions) -> Option<&'g Shape> {
    let name = names::output_of(input).or(options.output.as_deref());
    let output = match name {
        Some(name) => graph.outputs().iter().find(|output| output.name == name),
        None => graph.outputs().first(),
    };
    output.map(|output| &graph.ty(output.value).shape)
}
