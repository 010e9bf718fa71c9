//! Common parts of the gradient tests: operators on operands of given types, weighted sums as losses, and values that
//! avoid kinks.

#![allow(dead_code, reason = "each test crate that includes this module uses a part of it")]

use windlass_compiler::autodiff::gradients;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::Graph;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::interp::{Array, Bindings, Outcome, run};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::dropout::threefry::threefry2x32;
use windlass_compiler::ops::elementwise::{Bias, Binary, BinaryKind, SumChannels};
use windlass_compiler::ops::source::{Input, InputRole, Parameter};
use windlass_compiler::ops::structure::Reshape;
use windlass_compiler::shape::{DType, Shape, Sizes, Type};

/// The name of the weights of a result's elements in [`weighted_sum`].
pub(crate) const WEIGHTS: &str = "weights";

/// Adds a source: an input when it is batched or holds integers, else a parameter.
pub(crate) fn source(graph: &mut Graph, name: &str, ty: &Type) -> ValueId {
    let name = name.to_owned();
    let op: Op = if ty.shape.is_batched() || ty.dtype == DType::I32 {
        Input { name, role: InputRole::Data, ty: ty.clone() }.into()
    } else {
        Parameter { name, shape: ty.shape.clone(), init: Initializer::ZEROS }.into()
    };
    graph.add_single(op, &[], "").unwrap()
}

/// One operator on sources named `operand0`, `operand1` and so on: the graph, the sources, the results.
pub(crate) fn operator(op: &Op, operands: &[Type]) -> (Graph, Vec<ValueId>, Vec<ValueId>) {
    let mut graph = Graph::new(op.name());
    let sources: Vec<ValueId> = operands
        .iter()
        .enumerate()
        .map(|(index, ty)| source(&mut graph, &format!("operand{index}"), ty))
        .collect();
    let results = graph.add(op.clone(), &sources, "").unwrap();
    (graph, sources, results)
}

/// The sum of a value's elements, each times its own weight of the source [`WEIGHTS`], so that the elements contribute
/// differently. A scalar is its own loss.
pub(crate) fn weighted_sum(graph: &mut Graph, value: ValueId) -> ValueId {
    let ty = graph.ty(value).clone();
    if ty.shape == Shape::scalar() {
        return value;
    }
    let mut add = |op: Op, operands: &[ValueId]| graph.add_single(op, operands, "").unwrap();
    let value = if ty.shape.is_batched() {
        value
    } else {
        // Only a batch can be summed: one scalar per sample is added to a batch of constants.
        let flat = Shape::fixed(&[ty.shape.item_elements()]);
        let flat = add(Reshape { shape: flat }.into(), &[value]);
        let item = Type::f32(Shape::batched(&[ty.shape.item_elements()]));
        let input = Input { name: "anchor".to_owned(), role: InputRole::Data, ty: item };
        let anchor = add(input.into(), &[]);
        add(Bias {}.into(), &[anchor, flat])
    };
    let ty = graph.ty(value).clone();
    let weights = source(graph, WEIGHTS, &ty);
    let mut add = |op: Op, operands: &[ValueId]| graph.add_single(op, operands, "").unwrap();
    let products = add(Binary { kind: BinaryKind::Multiply }.into(), &[value, weights]);
    let folded = ty.shape.folded();
    let shape = folded.with_item(&[1, folded.item_elements()]);
    let flat = add(Reshape { shape }.into(), &[products]);
    let sum = add(SumChannels {}.into(), &[flat]);
    add(Reshape { shape: Shape::scalar() }.into(), &[sum])
}

/// Evenly spaced nonzero values between −1 and 1 in random order: no comparison among them, or with zero, changes with
/// a small step.
pub(crate) fn spaced(elements: usize, stream: u32) -> Vec<f64> {
    let mut order: Vec<usize> = (0..elements).collect();
    order.sort_by_key(|&index| threefry2x32([stream, 0], [index as u32, 0]));
    order.into_iter().map(|place| (place as f64 + 0.25) * 2.0 / elements as f64 - 1.0).collect()
}

/// Values for every source of a graph: [`spaced`] floats, and integers 0, 1, 2, 0, …
pub(crate) fn spaced_bindings(graph: &Graph, run: impl Into<Sizes>) -> Bindings<f64> {
    let run = run.into();
    let inputs = graph.inputs().map(|(value, input)| (value, &input.name));
    let parameters = graph.parameters().map(|(value, parameter)| (value, &parameter.name));
    let states = graph.states().map(|(value, state)| (value, &state.name));
    inputs
        .chain(parameters)
        .chain(states)
        .enumerate()
        .map(|(stream, (value, name))| {
            let sizes = graph.ty(value).shape.concrete(&run);
            let elements = sizes.iter().product();
            let array = match graph.ty(value).dtype {
                DType::F32 => Array::new(sizes, spaced(elements, stream as u32)),
                DType::I32 => Array::ints(sizes, (0..elements as i32).map(|i| i % 3).collect()),
            };
            (name.clone(), array)
        })
        .collect()
}

/// Runs a graph that must run.
#[track_caller]
pub(crate) fn outcome(graph: &Graph, sizes: impl Into<Sizes>, bindings: &Bindings<f64>) -> Outcome<f64> {
    run(graph, sizes, bindings).unwrap_or_else(|error| panic!("{error}\n{graph}"))
}

/// Checks the derivative of a scalar with respect to a bound value, element by element, against central differences.
#[track_caller]
pub(crate) fn check_derivative(
    bindings: &mut Bindings<f64>,
    name: &str,
    elements: impl Iterator<Item = usize>,
    derivative: &[f64],
    number: impl Fn(&Bindings<f64>) -> f64,
) {
    const STEP: f64 = 1e-6;
    let original = bindings[name].clone();
    for element in elements {
        let mut at = |offset: f64| {
            let mut values = original.real().to_vec();
            values[element] += offset;
            bindings.insert(name.to_owned(), Array::new(original.sizes.clone(), values));
            number(bindings)
        };
        let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        let error = (derivative[element] - expected).abs();
        assert!(
            error <= 1e-8 + 1e-5 * expected.abs(),
            "{name}[{element}]: gradient {}, central difference {expected}",
            derivative[element]
        );
    }
    bindings.insert(name.to_owned(), original);
}

/// Checks the gradient of `loss` with respect to every float source of a graph against central differences.
#[track_caller]
pub(crate) fn check_gradients(
    graph: &Graph,
    loss: ValueId,
    sizes: impl Into<Sizes>,
    mut bindings: Bindings<f64>,
) {
    let sizes = sizes.into();
    let inputs = graph.inputs().map(|(value, input)| (value, input.name.clone()));
    let parameters = graph.parameters().map(|(value, parameter)| (value, parameter.name.clone()));
    let sources: Vec<(ValueId, String)> =
        inputs.chain(parameters).filter(|(value, _)| graph.ty(*value).dtype == DType::F32).collect();
    let values: Vec<ValueId> = sources.iter().map(|(value, _)| *value).collect();
    let (differentiated, to_sources) =
        gradients(graph, loss, &values).unwrap_or_else(|error| panic!("{error}\n{graph}"));
    windlass_compiler::graph::verify(&differentiated).unwrap();
    let found = outcome(&differentiated, &sizes, &bindings);
    for ((value, name), gradient) in sources.iter().zip(to_sources) {
        let gradient = found.value(gradient);
        assert_eq!(gradient.sizes, graph.ty(*value).shape.concrete(&sizes), "{name}");
        check_derivative(&mut bindings, name, 0..gradient.elements(), gradient.real(), |bindings| {
            outcome(graph, &sizes, bindings).value(loss).real()[0]
        });
    }
}
