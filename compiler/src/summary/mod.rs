//! A summary of a network by layer, before compilation: parameters, multiply-adds, memory, complexity, receptive field.
//! `table` prints it.

mod receptive_field;
mod table;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use self::receptive_field::Field;
pub use self::receptive_field::ReceptiveField;
use crate::graph::{Graph, Node, source_name};
use crate::ops::source::{InputRole, Source};
use crate::ops::window::Window;
use crate::ops::{Move, Op, Operator, Reach, Rewrite, Role};
use crate::shape::{Shape, Type};

/// Bytes of an element: both element types have 32 bits.
const ELEMENT_BYTES: u64 = 4;

/// A network layer by layer, with totals. It prints as a table and serializes as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The name of the network.
    pub network: String,
    /// The inputs and the layers, in the order of their first operator.
    pub rows: Vec<Row>,
    /// Sums over the network.
    pub totals: Totals,
}

/// A layer: all operators with one label, or a single operator without a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The label: `c1`, `inception3a.path1`. For an input, its name; empty for an operator without a label.
    pub label: String,
    /// Its operators, in order: `conv`, `bias`, `relu`.
    pub operators: Vec<String>,
    /// The shape of its last result.
    pub output: Shape,
    /// The trainable scalars that it is the first layer to use.
    pub parameters: u64,
    /// The state scalars (running statistics, momentum) that it is the first layer to use.
    pub state: u64,
    /// Multiply-adds of products per sample. Bias, pooling and activations have none.
    pub multiply_adds: u64,
    /// The window of its first convolution or pooling.
    pub window: Option<Window>,
    /// The receptive field of its last result along each spatial axis. `None` if it is the whole input, or if the input
    /// has no spatial axes.
    pub receptive_field: Option<Vec<ReceptiveField>>,
    /// Bytes per sample of the values it computes that are used. An element-wise operator computes no new value if
    /// nothing else needs the old one; nor does a reshape.
    pub output_bytes: u64,
}

/// Sums over a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The number of trainable scalars, used or not.
    pub parameters: u64,
    /// Their bytes.
    pub parameter_bytes: u64,
    /// The number of state scalars.
    pub state: u64,
    /// Multiply-adds per sample.
    pub multiply_adds: u64,
    /// The sum of the rows' `output_bytes`: the memory to keep every value, which training nearly does. A compiled
    /// program needs less at its peak, because its plan reuses the memory of dead values.
    pub activation_bytes: u64,
}

/// Summarises a graph: the declared layers, or for an optimised graph the results of the passes. In a training graph,
/// the operators of a layer include its gradients, so its output may be a gradient.
///
/// ```
/// use windlass::{Builder, Layer, summary};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(2), x)?;
/// builder.output("y", y)?;
/// let summary = summary(&builder.finish()?);
/// assert_eq!(summary.totals.parameters, 2 * 4 + 2);
/// assert_eq!(summary.rows[1].operators, ["linear", "bias"]);
/// println!("{summary}");
/// # Ok::<(), windlass::GraphError>(())
/// ```
pub fn summary(graph: &Graph) -> Summary {
    let mut rows: Vec<Row> = Vec::new();
    let mut row_of_label: HashMap<&str, usize> = HashMap::new();
    let mut claimed = vec![false; graph.value_count()];
    let fields = receptive_field::fields(graph);
    let use_counts = graph.use_counts();
    for node in graph.nodes() {
        let label = match node.op.source() {
            Some(Source::Input(input)) if input.role == InputRole::Data => &input.name,
            Some(Source::Input(_) | Source::Parameter(_) | Source::State(_) | Source::Constant(_)) => {
                continue;
            }
            None => &node.label,
        };
        let next = rows.len();
        let is_input = node.op.source().is_some();
        let stands_alone = label.is_empty() || is_input;
        let index = if stands_alone { next } else { *row_of_label.entry(label).or_insert(next) };
        if index == next {
            rows.push(Row::new(label, &graph.ty(node.results[0]).shape));
        }
        let row = &mut rows[index];
        row.operators.extend(operator_names(&node.op));
        if let (None, Reach::Window(window)) = (&row.window, node.op.facts().reach) {
            row.window = Some(window.clone());
        }
        row.multiply_adds += multiply_adds(graph, node);
        for &operand in &node.operands {
            if !std::mem::replace(&mut claimed[operand.index()], true) {
                row.claim(&graph.producer(operand).op);
            }
        }
        let result = node.results[0];
        if graph.ty(result).shape.is_batched() || !row.output.is_batched() {
            row.output = graph.ty(result).shape.clone();
            row.receptive_field = match &fields[result.index()] {
                Field::Local(axes) => Some(axes.clone()),
                Field::Independent | Field::Global => None,
            };
        }
        if !is_input && !works_in_place(graph, node, &use_counts) {
            let used = node.results.iter().filter(|result| use_counts[result.index()] > 0);
            row.output_bytes += used.map(|&result| bytes_per_item(graph.ty(result))).sum::<u64>();
        }
    }
    let totals = totals(graph, &rows);
    Summary { network: graph.name().to_owned(), rows, totals }
}

impl Row {
    fn new(label: &str, output: &Shape) -> Self {
        Row {
            label: label.to_owned(),
            operators: Vec::new(),
            output: output.clone(),
            parameters: 0,
            state: 0,
            multiply_adds: 0,
            window: None,
            receptive_field: None,
            output_bytes: 0,
        }
    }

    /// The time complexity, as textbooks define it: the multiply-adds of one sample. For a convolution it is M²·K²·C·D,
    /// for results of M×M pixels, a kernel of K×K, and C input and D output channels.
    ///
    /// A 3×3 convolution of 256 channels, and the bottleneck that replaces it in deep residual networks:
    ///
    /// ```
    /// use windlass::{Builder, Layer, Window, summary};
    ///
    /// let complexity = |layers: &[(usize, usize)]| {
    ///     let mut builder = Builder::new("net");
    ///     let mut x = builder.input("x", &[256, 100, 100])?;
    ///     for (index, &(kernel_size, channels)) in layers.iter().enumerate() {
    ///         let window = Window::square(kernel_size, 1, (kernel_size - 1) / 2);
    ///         x = builder.layer(&format!("c{index}"), &Layer::conv(channels, window), x)?;
    ///     }
    ///     builder.output("y", x)?;
    ///     let totals = summary(&builder.finish()?).totals;
    ///     Ok::<_, windlass::GraphError>((totals.time_complexity(), totals.space_complexity()))
    /// };
    /// assert_eq!(complexity(&[(3, 256)])?, (5_898_240_000, 3_150_080));
    /// assert_eq!(complexity(&[(1, 64), (3, 64), (1, 256)])?, (696_320_000, 3_910_016));
    /// # Ok::<(), windlass::GraphError>(())
    /// ```
    pub fn time_complexity(&self) -> u64 {
        self.multiply_adds
    }

    /// The space complexity, as textbooks define it: the numbers stored for its parameters and for the result of one
    /// sample. For a convolution it is K²·C·D + D + M²·D. Element-wise operators that overwrite their operand, and
    /// reshapes, store no result.
    pub fn space_complexity(&self) -> u64 {
        self.parameters + self.output_bytes / ELEMENT_BYTES
    }

    /// Counts the parameters and states that the row is the first to use.
    fn claim(&mut self, op: &Op) {
        match op.source() {
            Some(Source::Parameter(parameter)) => self.parameters += parameter.shape.item_elements() as u64,
            Some(Source::State(state)) => self.state += state.shape.item_elements() as u64,
            Some(Source::Input(_) | Source::Constant(_)) | None => {}
        }
    }
}

impl Totals {
    /// The multiply-adds of one sample.
    pub fn time_complexity(&self) -> u64 {
        self.multiply_adds
    }

    /// The numbers stored for all parameters and for every result of one sample.
    pub fn space_complexity(&self) -> u64 {
        self.parameters + self.activation_bytes / ELEMENT_BYTES
    }
}

fn totals(graph: &Graph, rows: &[Row]) -> Totals {
    let parameters = graph.parameters().map(|(_, parameter)| parameter.shape.item_elements() as u64).sum();
    Totals {
        parameters,
        parameter_bytes: parameters * ELEMENT_BYTES,
        state: graph.states().map(|(_, state)| state.shape.item_elements() as u64).sum(),
        multiply_adds: rows.iter().map(|row| row.multiply_adds).sum(),
        activation_bytes: rows.iter().map(|row| row.output_bytes).sum(),
    }
}

/// Bytes of one sample of a batched value; 0 for a value without a batch axis.
fn bytes_per_item(ty: &Type) -> u64 {
    if ty.shape.is_batched() { ty.shape.item_elements() as u64 * ELEMENT_BYTES } else { 0 }
}

/// Whether the result can overwrite an operand that nothing else uses.
fn works_in_place(graph: &Graph, node: &Node, use_counts: &[usize]) -> bool {
    match node.op.facts().role {
        Role::Identity | Role::Move(Move::Reshape) => true,
        Role::Elementwise(_) => node.operands.iter().any(|&operand| {
            use_counts[operand.index()] == 1
                && source_name(&graph.producer(operand).op).is_none()
                && graph.ty(operand) == graph.ty(node.results[0])
        }),
        Role::Source(_)
        | Role::Product(_)
        | Role::Move(Move::Join { .. } | Move::Part { .. } | Move::Copy)
        | Role::LossGradient
        | Role::Other => false,
    }
}

/// Multiply-adds of a product per sample.
fn multiply_adds(graph: &Graph, node: &Node) -> u64 {
    if let Op::Scan(scan) = &node.op {
        // Every open size counts as 1, and so do the steps of an open length.
        let body: u64 = scan.body.nodes().iter().map(|inner| multiply_adds(&scan.body, inner)).sum();
        return body.saturating_mul(scan.steps.at(&crate::shape::Sizes::new()) as u64);
    }
    let Role::Product(_) = node.op.facts().role else { return 0 };
    let mut product = node.op.clone();
    product.epilogue_mut().into_iter().for_each(Vec::clear);
    product.cost(&graph.types(&node.operands[..2]), &graph.types(&node.results)).per_sample() / 2
}

/// The names of an operator and the steps of its epilogue.
fn operator_names(op: &Op) -> Vec<String> {
    let own = if let Op::Unary(unary) = op {
        name_of(&unary.kind)
    } else if let Op::Binary(binary) = op {
        name_of(&binary.kind)
    } else {
        op.name().to_owned()
    };
    std::iter::once(own).chain(op.epilogue().into_iter().flatten().map(name_of)).collect()
}

/// The name of a kind in the text form.
fn name_of(kind: &impl Serialize) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
