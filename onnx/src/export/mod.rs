//! Exports graphs with the values of their parameters as ONNX models.

mod attribute;
mod emitter;
mod error;
pub(crate) mod functions;
mod ops;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Write};

use prost::Message;
use windlass_compiler::graph::Graph;
use windlass_compiler::ops::source::Source;
use windlass_compiler::shape::{DType, Polynomial, Shape, Symbol, Type};

use self::attribute::element;
use self::emitter::Emitter;
pub use self::error::{ExportError, Unsupported};
use crate::proto;

/// The version of the operators.
const OPSET: i64 = 20;

/// The version of the format that has these operators.
const IR_VERSION: i64 = 9;

/// The most bytes of weights in the model's own file: 2 GiB, the limit of its format, without a part for nodes and names.
const MOST_BYTES: u64 = (1 << 31) - (1 << 26);

/// Tensors of fewer bytes stay in the model's own file.
const LEAST_EXTERNAL: usize = 1024;

/// Tensors in a second file begin at multiples of the size of pages, so that programs can map them.
const PAGE: u64 = 4096;

/// How a network is exported.
///
/// ```
/// use windlass_onnx::ExportOptions;
/// let options = ExportOptions::new().external("digits.onnx.data");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportOptions {
    external: Option<String>,
}

impl ExportOptions {
    /// All weights are in the model's own file.
    pub fn new() -> Self {
        ExportOptions::default()
    }

    /// Weights of 1 KiB or more are in a second file of this name, in the folder of the model. Models of 2 GiB need that.
    #[must_use]
    pub fn external(mut self, file: &str) -> Self {
        self.external = Some(file.to_owned());
        self
    }
}

/// An exported model.
#[derive(Clone, Debug)]
pub struct Exported<'t> {
    /// The bytes of the `.onnx` file.
    pub model: Vec<u8>,
    /// The tensors of the second file, with their places.
    external: Vec<(u64, &'t [f32])>,
}

impl Exported<'_> {
    /// Whether there are weights for a second file.
    pub fn has_external(&self) -> bool {
        !self.external.is_empty()
    }

    /// Writes the second file.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_external(&self, writer: &mut dyn Write) -> io::Result<()> {
        let mut at = 0;
        for (start, values) in &self.external {
            io::copy(&mut io::Read::take(io::repeat(0), start - at), writer)?;
            for part in values.chunks(1 << 14) {
                let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
                writer.write_all(&bytes)?;
            }
            at = start + 4 * values.len() as u64;
        }
        Ok(())
    }
}

/// Exports a network as an ONNX model of opset 20: its graph as declared, and the values of its parameters and states,
/// which `values` gives by name, row-major.
///
/// Inputs, outputs, parameters and states keep their names; an output with the name of one of the others gets a suffix.
/// The axis of the batch is named `batch`, and other open sizes have their own names. Integers have 64 bits. Recurrent
/// layers become `Scan`, and masks and encodings of positions are functions of the model, of operators of ONNX.
///
/// ```
/// use windlass::{Builder, Layer};
/// use windlass_onnx::{ExportOptions, ImportOptions, export, import_bytes};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[2])?;
/// let y = builder.layer("f1", &Layer::linear(1), x)?;
/// builder.output("y", y)?;
/// let graph = builder.finish()?;
/// let values = |name: &str| Some(if name == "f1.weight" { &[1.0f32, 2.0][..] } else { &[3.0] });
/// let exported = export(&graph, values, &ExportOptions::new())?;
/// let imported = import_bytes(&exported.model, &ImportOptions::new())?;
/// assert_eq!(imported.graph.parameters().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ExportError`]: all operators that ONNX does not have, a parameter without values, and weights of 2 GiB without
/// [`ExportOptions::external`].
pub fn export<'t>(
    graph: &Graph,
    values: impl Fn(&str) -> Option<&'t [f32]>,
    options: &ExportOptions,
) -> Result<Exported<'t>, ExportError> {
    let mut emitter = Emitter::new(graph);
    let mut inputs = Vec::new();
    let mut stored = Vec::new();
    for node in graph.nodes() {
        let (Some(source), [value]) = (node.op.source(), &node.results[..]) else { continue };
        let Some(name) = source.name() else { continue };
        if source.is_stored() && !emitter.is_live(*value) {
            continue;
        }
        let name = emitter.fresh(name);
        emitter.set_name(*value, name.clone());
        match source {
            Source::Input(input) => inputs.push(value_info(&name, &input.ty)),
            _ => stored.push((name, graph.ty(*value).shape.item())),
        }
    }
    let wanted: Vec<String> = graph.outputs().iter().map(|output| emitter.fresh(&output.name)).collect();
    emitter.nodes();
    if !emitter.problems.is_empty() {
        return Err(ExportError::Operators { problems: emitter.problems });
    }
    let mut renamed: HashMap<String, String> = HashMap::new();
    let mut outputs = Vec::new();
    for (output, wanted) in graph.outputs().iter().zip(wanted) {
        if let Ok(name) = emitter.name(output.value) {
            if renamed.contains_key(&name) || !emitter.is_computed_here(&name) {
                let copy = emitter.node("Identity", &[&name], Vec::new());
                renamed.insert(copy, wanted.clone());
            } else {
                renamed.insert(name, wanted.clone());
            }
        }
        outputs.push(value_info(&wanted, graph.ty(output.value)));
    }
    let mut nodes = std::mem::take(&mut emitter.root);
    rename(&mut nodes, &renamed);
    let (initializers, external) = tensors(stored, values, options)?;
    let functions: Vec<proto::Function> =
        emitter.functions.iter().map(|function| function.declaration()).collect();
    let domains: &[_] = match functions.is_empty() {
        true => &[("", OPSET)],
        false => &[("", OPSET), (functions::DOMAIN, 1)],
    };
    let model = proto::Model {
        ir_version: IR_VERSION,
        producer: "Windlass".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        opset_import: opsets(domains),
        graph: Some(proto::Graph { nodes, name: graph.name().to_owned(), initializers, inputs, outputs }),
        functions,
    };
    Ok(Exported { model: model.encode_to_vec(), external })
}

/// Gives the outputs their names.
fn rename(nodes: &mut [proto::Node], names: &HashMap<String, String>) {
    for node in nodes {
        for name in node.inputs.iter_mut().chain(&mut node.outputs) {
            if let Some(new) = names.get(name) {
                name.clone_from(new);
            }
        }
        for graph in node.attributes.iter_mut().filter_map(|attribute| attribute.graph.as_mut()) {
            rename(&mut graph.nodes, names);
        }
    }
}

/// Tensors of parameters, and those in the second file.
type Stored<'t> = (Vec<proto::Tensor>, Vec<(u64, &'t [f32])>);

fn tensors<'t>(
    stored: Vec<(String, Vec<usize>)>,
    values: impl Fn(&str) -> Option<&'t [f32]>,
    options: &ExportOptions,
) -> Result<Stored<'t>, ExportError> {
    let mut all = Vec::with_capacity(stored.len());
    for (name, dims) in stored {
        let needed: usize = dims.iter().product();
        match values(&name) {
            Some(values) if values.len() == needed => all.push((name, dims, values)),
            other => return Err(ExportError::Parameter { name, needed, got: other.map(<[f32]>::len) }),
        }
    }
    let bytes: u64 = all.iter().map(|(_, _, values)| size_of_val(*values) as u64).sum();
    if options.external.is_none() && bytes > MOST_BYTES {
        return Err(ExportError::TooLarge { bytes });
    }
    let (mut tensors, mut external, mut at) = (Vec::with_capacity(all.len()), Vec::new(), 0u64);
    for (name, dims, values) in all {
        let bytes = size_of_val(values);
        let tensor = match &options.external {
            Some(file) if bytes >= LEAST_EXTERNAL => {
                let start = at.next_multiple_of(PAGE);
                external.push((start, values));
                at = start + bytes as u64;
                let entry = |key: &str, value: String| proto::Entry { key: key.to_owned(), value };
                proto::Tensor {
                    dims: dims.iter().map(|&size| size as i64).collect(),
                    element: element::FLOAT,
                    external: vec![
                        entry("location", file.clone()),
                        entry("offset", start.to_string()),
                        entry("length", bytes.to_string()),
                    ],
                    location: 1,
                    ..Default::default()
                }
            }
            _ => attribute::floats(&dims, values),
        };
        tensors.push(proto::Tensor { name, ..tensor });
    }
    Ok((tensors, external))
}

fn opsets(domains: &[(&str, i64)]) -> Vec<proto::OperatorSet> {
    let set = |&(domain, version): &(&str, i64)| proto::OperatorSet { domain: domain.to_owned(), version };
    domains.iter().map(set).collect()
}

/// The name and type of a value.
fn value_info(name: &str, ty: &Type) -> proto::ValueInfo {
    let element = match ty.dtype {
        DType::F32 => element::FLOAT,
        DType::I32 => element::INT64,
    };
    let tensor = proto::TensorType { element, shape: Some(axes(&ty.shape)) };
    proto::ValueInfo { name: name.to_owned(), ty: Some(proto::Type { tensor: Some(tensor) }) }
}

fn axes(shape: &Shape) -> proto::TensorShape {
    let axis = |size: Polynomial| match size.as_number() {
        Some(number) => proto::Axis { value: Some(number), name: None },
        None if size.as_symbol() == Some(Symbol::BATCH) => {
            proto::Axis { value: None, name: Some("batch".to_owned()) }
        }
        None => proto::Axis { value: None, name: Some(size.to_string()) },
    };
    proto::TensorShape { axes: shape.dims().iter().map(|dim| axis(dim.polynomial())).collect() }
}
