//! Attention between two sequences of open length: values and gradients compared with PyTorch, through the file that
//! `tests/golden/layers.py` writes, and with central differences; masks by length; and mistakes.

mod support;

use std::collections::BTreeMap;

use serde::Deserialize;
use support::{WEIGHTS, check_gradients, spaced_bindings, weighted_sum};
use windlass_compiler::autodiff::gradients;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{AttentionMask, Builder, Graph, Heads, Layer};
use windlass_compiler::interp::{Array, Bindings, run};
use windlass_compiler::shape::{DType, Dim, Sizes, Symbol};

#[derive(Deserialize)]
struct Golden {
    sizes: Vec<usize>,
    values: Vec<f64>,
}

impl Golden {
    fn array(&self) -> Array<f64> {
        Array::new(self.sizes.clone(), self.values.clone())
    }
}

/// Attention with its operands and results.
#[derive(Deserialize)]
struct Case {
    kind: String,
    #[serde(default)]
    heads: usize,
    #[serde(default)]
    hidden: usize,
    #[serde(default)]
    causal: bool,
    lengths: Option<Vec<i32>>,
    operands: [Golden; 3],
    parameters: BTreeMap<String, Golden>,
    y: Golden,
    gradient: Golden,
    operand_gradients: [Golden; 3],
    gradients: BTreeMap<String, Golden>,
}

/// Attention in a graph with the weighted sum of its result.
struct Built {
    graph: Graph,
    operands: [ValueId; 3],
    y: ValueId,
    loss: ValueId,
}

fn open(name: &str) -> Dim {
    Dim::from(name.parse::<Symbol>().unwrap())
}

impl Case {
    fn sizes(&self) -> Sizes {
        let sizes = Sizes::from(self.y.sizes[0]).with("T".parse().unwrap(), self.operands[0].sizes[1]);
        sizes.with("S".parse().unwrap(), self.operands[1].sizes[1])
    }

    fn built(&self) -> Built {
        let mut builder = Builder::new("attention");
        let mut operands = Vec::new();
        for (name, golden) in ["q", "k", "v"].into_iter().zip(&self.operands) {
            let steps = open(if name == "q" { "T" } else { "S" });
            let item = [steps, Dim::from(golden.sizes[2])];
            operands.push(builder.input_of(name, DType::F32, item).unwrap());
        }
        let operands: [ValueId; 3] = operands.try_into().unwrap();
        let lengths = self.lengths.as_ref().map(|_| builder.input_of("lengths", DType::I32, []).unwrap());
        let mask = AttentionMask { causal: self.causal, lengths };
        let y = match self.kind.as_str() {
            "attention" => builder.attention("l", operands, &mask),
            "additive_attention" => builder.additive_attention("l", operands, self.hidden, &mask),
            _ => builder.multi_head_attention("l", operands, &Heads::new(self.heads), &mask),
        };
        let y = y.unwrap();
        builder.output("y", y).unwrap();
        let mut graph = builder.finish().unwrap();
        let loss = weighted_sum(&mut graph, y);
        Built { graph, operands, y, loss }
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../tests/golden/attention.json")).unwrap()
}

#[test]
fn attention_agrees_with_pytorch() {
    for case in cases() {
        let Built { graph, operands, y, loss } = case.built();
        let parameters: Vec<(ValueId, String)> =
            graph.parameters().map(|(value, own)| (value, own.name[2..].to_owned())).collect();
        let towards: Vec<ValueId> =
            operands.into_iter().chain(parameters.iter().map(|(value, _)| *value)).collect();
        let (graph, found) = gradients(&graph, loss, &towards).unwrap();
        let mut bindings: Bindings<f64> = Bindings::new();
        for (name, golden) in
            ["q", "k", "v", WEIGHTS].into_iter().zip(case.operands.iter().chain([&case.gradient]))
        {
            bindings.insert(name.to_owned(), golden.array());
        }
        for (name, golden) in &case.parameters {
            bindings.insert(format!("l.{name}"), golden.array());
        }
        assert_eq!(parameters.len(), case.parameters.len(), "{}", case.kind);
        if let Some(lengths) = &case.lengths {
            bindings.insert("lengths".to_owned(), Array::ints([lengths.len()], lengths.clone()));
        }
        let outcome = run(&graph, case.sizes(), &bindings).unwrap();
        let of_parameters = parameters.iter().map(|(_, name)| &case.gradients[name]);
        let expected = [&case.y].into_iter().chain(&case.operand_gradients).chain(of_parameters);
        for (index, (value, expected)) in [y].into_iter().chain(found).zip(expected).enumerate() {
            let got = outcome.value(value);
            assert_eq!(got.sizes, expected.sizes);
            // The scale of scores is a constant in single precision.
            for (got, expected) in got.real().iter().zip(&expected.values) {
                assert!((got - expected).abs() < 5e-7, "{} {index}: {got}, not {expected}", case.kind);
            }
        }
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    for case in cases() {
        let Built { graph, loss, .. } = case.built();
        let mut bindings = spaced_bindings(&graph, case.sizes());
        if let Some(lengths) = &case.lengths {
            bindings.insert("lengths".to_owned(), Array::ints([lengths.len()], lengths.clone()));
        }
        check_gradients(&graph, loss, case.sizes(), bindings);
    }
}

/// Keys and values beyond a length affect neither results nor gradients, and a sample without positions has only zeros.
#[test]
fn masked_positions_do_not_matter() {
    for case in cases().into_iter().filter(|case| case.lengths.is_some()) {
        let Built { graph, operands, y, loss } = case.built();
        let (graph, found) = gradients(&graph, loss, &operands).unwrap();
        let mut bindings = spaced_bindings(&graph, case.sizes());
        bindings.insert("lengths".to_owned(), Array::ints([2], vec![0, 2]));
        let positions = case.operands[1].sizes[1];
        let mut outcomes = Vec::new();
        for fill in [0.25, -1e6] {
            for name in ["k", "v"] {
                let Array { sizes, .. } = bindings[name].clone();
                let mut values = bindings[name].real().to_vec();
                values[(positions + 2) * sizes[2]..].fill(fill);
                bindings.insert(name.to_owned(), Array::new(sizes, values));
            }
            outcomes.push(run(&graph, case.sizes(), &bindings).unwrap());
        }
        for value in [y].into_iter().chain(found.iter().copied()) {
            let [first, second] = [0, 1].map(|index| outcomes[index].value(value));
            assert_eq!(first, second, "{}", case.kind);
            let none = &first.real()[..first.elements() / 2];
            // A projection's bias remains.
            let is_result_of_heads = value == y && case.kind == "multi_head_attention";
            assert!(is_result_of_heads || none.iter().all(|&number| number == 0.0), "{}", case.kind);
        }
        for (&gradient, name) in found[1..].iter().zip(["k", "v"]) {
            let width = bindings[name].sizes[2];
            let beyond = &outcomes[0].value(gradient).real()[(positions + 2) * width..];
            assert!(beyond.iter().all(|&number| number == 0.0), "{}: {name}", case.kind);
        }
    }
}

#[test]
fn mistakes_name_the_operand_and_the_fix() {
    let mut builder = Builder::new("mistakes");
    let mut input = |name: &str, steps: Dim, features: usize| {
        builder.input_of(name, DType::F32, [steps, Dim::from(features)]).unwrap()
    };
    let [q, k, v] = [("q", "T", 8), ("k", "S", 6), ("v", "U", 8)]
        .map(|(name, steps, features)| input(name, open(steps), features));
    let vector = builder.input("vector", &[8]).unwrap();
    let open_features = builder.input_of("open", DType::F32, [Dim::from(8), open("T")]).unwrap();
    let mask = AttentionMask::default();
    let message = |error: GraphError| match error {
        GraphError::Shape { error, .. } => format!("{error}; {:?}", error.help()),
        other => panic!("{other}"),
    };
    let error = message(builder.attention("a", [q, k, k], &mask).unwrap_err());
    assert!(error.starts_with("needs f32[N, S, 8] for its keys but receives f32[N, S, 6]"), "{error}");
    let error = message(builder.multi_head_attention("b", [q, k, v], &Heads::new(2), &mask).unwrap_err());
    assert!(error.starts_with("needs f32[N, S, 8] for its values but receives f32[N, U, 8]"), "{error}");
    let error = message(builder.multi_head_attention("c", [q, q, q], &Heads::new(3), &mask).unwrap_err());
    assert!(error.starts_with("has 3 heads") && error.contains("`heads` can be"), "{error}");
    let error = message(builder.multi_head_attention("d", [q, q, q], &Heads::new(0), &mask).unwrap_err());
    assert!(error.starts_with("has `heads` 0, which must be at least 1"), "{error}");
    let error = message(builder.additive_attention("e", [q, k, k], 0, &mask).unwrap_err());
    assert!(error.starts_with("has `hidden` 0"), "{error}");
    let layer = Layer::MultiHeadAttention { heads: 2, bias: true, causal: false, init: Heads::new(2).init };
    for x in [vector, open_features] {
        let error = message(builder.layer("f", &layer, x).unwrap_err());
        assert!(error.starts_with("needs a sequence [steps, features] but receives"), "{error}");
        assert!(builder.layer("g", &Layer::PositionalEncoding, x).is_err());
    }
    let lengths = builder.input("wrong", &[1]).unwrap();
    let mask = AttentionMask { lengths: Some(lengths), ..mask };
    let error = message(builder.attention("h", [q, q, q], &mask).unwrap_err());
    assert!(error.starts_with("needs i32[N] for its lengths but receives f32[N, 1]"), "{error}");
}
