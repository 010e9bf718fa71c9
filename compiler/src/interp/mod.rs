//! The interpreter: runs any graph with plain loops, in `f32` or `f64`. Compiled programs, gradients and passes are
//! tested against it, so it is written to be read, not to be fast.
//!
//! This module walks the graph and checks its inputs; each operator's computation is in `ops/<family>/reference.rs`.
//!
//! Every sum starts at `+0`, is accumulated in double precision and rounded once, to the type the interpreter runs in
//! (`total`). So each sum of the `f32` interpreter is within half a unit in the last place of the exact one, and can be
//! used to check compiled code, whose sums are accumulated in `f32`. Element-wise operations are rounded one by one, as
//! in compiled code.

mod array;
mod error;
mod total;
mod window_elements;

use std::collections::{BTreeMap, HashMap};

pub use array::{Array, Data, Real};
pub use error::InterpError;

pub(crate) use array::channel_sizes;
pub(crate) use total::Total;
pub(crate) use window_elements::{WindowElement, window_elements};

use crate::entity::ValueId;
use crate::graph::{Graph, Named, Node};
use crate::ops::source::Source;
use crate::ops::{Indices, Op, Operator, Rewrite, dispatch};
use crate::shape::{Sizes, Type};

/// The values of inputs, parameters and states, by name.
pub type Bindings<T> = HashMap<String, Array<T>>;

/// The reference semantics of an operator.
pub trait Evaluate {
    /// The results for operands that satisfy the shape rule; `results` holds the sizes of each result, including the
    /// batch.
    ///
    /// Inputs, parameters and states are not computed: they return no results, and [`run`] looks them up.
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>>;
}

impl Evaluate for Op {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        dispatch!(self, op => op.evaluate(operands, results))
    }
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<T> {
    /// The graph's outputs, by name.
    pub outputs: BTreeMap<String, Array<T>>,
    /// The new values of parameters and states, by the name of their source.
    pub updates: BTreeMap<String, Array<T>>,
    /// Every value of the graph, in the order of [`ValueId`], for debugging.
    pub values: Vec<Array<T>>,
}

impl<T> Outcome<T> {
    /// The value with this id.
    pub fn value(&self, value: ValueId) -> &Array<T> {
        &self.values[value.index()]
    }
}

/// Runs a graph on a batch of the given number of samples, or with the given values of its open sizes. Names in
/// `bindings` that the graph does not declare are ignored.
///
/// ```
/// use windlass_compiler::graph::{Builder, Layer};
/// use windlass_compiler::interp::{Array, Bindings, run};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[3])?;
/// let y = builder.layer("r", &Layer::Relu, x)?;
/// builder.output("y", y)?;
/// let graph = builder.finish()?;
///
/// let bindings = Bindings::from([("x".to_owned(), Array::new([1, 3], vec![-1.0f32, 0.0, 2.0]))]);
/// assert_eq!(run(&graph, 1, &bindings)?.outputs["y"].real(), [0.0, 0.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// An [`InterpError`] for an empty batch or one that is too large, a source without a value or with a value of the
/// wrong type, or a label outside the range of classes.
pub fn run<T: Real>(
    graph: &Graph,
    sizes: impl Into<Sizes>,
    bindings: &Bindings<T>,
) -> Result<Outcome<T>, InterpError> {
    let sizes = &sizes.into();
    if sizes.batch() == 0 {
        return Err(InterpError::EmptyBatch);
    }
    for (_, input) in graph.inputs() {
        let mut open = input.ty.shape.symbols().into_iter();
        if let Some(size) = open.find(|size| sizes.get(*size).is_none_or(|value| value == 0)) {
            return Err(InterpError::OpenSize { input: input.name.clone(), size });
        }
    }
    // No array may have more than `isize::MAX` bytes.
    let most = isize::MAX as usize / size_of::<T>();
    if (0..graph.value_count()).any(|value| graph.ty(ValueId::new(value)).shape.elements(sizes) > most) {
        return Err(InterpError::BatchTooLarge { batch: sizes.batch() });
    }
    let mut values: Vec<Array<T>> = Vec::with_capacity(graph.value_count());
    for node in graph.nodes() {
        let computed = match node.op.source() {
            Some(Source::Input(input)) => vec![bound("input", &input.name, graph, node, sizes, bindings)?],
            Some(Source::Parameter(parameter)) => {
                vec![bound("parameter", &parameter.name, graph, node, sizes, bindings)?]
            }
            Some(Source::State(state)) => vec![bound("state", &state.name, graph, node, sizes, bindings)?],
            Some(Source::Constant(_)) | None => {
                let operands: Vec<&Array<T>> =
                    node.operands.iter().map(|operand| &values[operand.index()]).collect();
                check_labels(&node.op, &operands)?;
                let concrete: Vec<Vec<usize>> =
                    node.results.iter().map(|&result| graph.ty(result).shape.concrete(sizes)).collect();
                match &node.op {
                    // The body of a scan may refuse its values.
                    Op::Scan(scan) => scan.run(&operands, sizes)?,
                    op => op.at(sizes).evaluate(&operands, &concrete),
                }
            }
        };
        values.extend(computed);
    }
    let collect = |named: &[Named]| {
        named.iter().map(|named| (named.name.clone(), values[named.value.index()].clone())).collect()
    };
    Ok(Outcome { outputs: collect(graph.outputs()), updates: collect(graph.updates()), values })
}

/// The value bound to a source, checked against the type the source declares.
fn bound<T: Real>(
    kind: &'static str,
    name: &str,
    graph: &Graph,
    node: &Node,
    sizes: &Sizes,
    bindings: &Bindings<T>,
) -> Result<Array<T>, InterpError> {
    let Type { dtype, shape } = graph.ty(node.results[0]);
    let sizes = shape.concrete(sizes);
    let Some(array) = bindings.get(name) else {
        return Err(InterpError::MissingBinding { kind, name: name.to_owned(), sizes });
    };
    if array.dtype() != *dtype {
        let (expected, got) = (*dtype, array.dtype());
        return Err(InterpError::WrongDType { name: name.to_owned(), expected, got });
    }
    if array.sizes != sizes {
        let got = array.sizes.clone();
        return Err(InterpError::WrongSizes { name: name.to_owned(), expected: sizes, got });
    }
    let (expected, got) = (sizes.iter().product(), array.elements());
    if expected != got {
        return Err(InterpError::WrongElementCount { name: name.to_owned(), sizes, expected, got });
    }
    Ok(array.clone())
}

/// Checks the labels of losses: the only rule that types cannot express.
fn check_labels<T>(op: &Op, operands: &[&Array<T>]) -> Result<(), InterpError> {
    let (Some(Indices::Channels), [.., logits, labels]) = (op.facts().indices, operands) else {
        return Ok(());
    };
    let classes = logits.sizes[1];
    let in_range = |label: i32| usize::try_from(label).is_ok_and(|label| label < classes);
    match labels.int().iter().position(|&label| !in_range(label)) {
        Some(item) => Err(InterpError::LabelOutOfRange { item, label: labels.int()[item], classes }),
        None => Ok(()),
    }
}
