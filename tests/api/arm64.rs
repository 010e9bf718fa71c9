//! Networks as objects for 64-bit ARM, run in an emulator: all layers give the numbers of PyTorch, and other networks those of
//! the interpreter.

use std::collections::{BTreeMap, HashMap};

use ndarray::ArrayD;
use serde::Deserialize;
use windlass::object::ObjectOptions;
use windlass::{AnyNetwork, Builder, Dynamic, Layer, Model, Sizes, network};
use windlass_compiler::interp::{self, Array, Bindings, Data};

use crate::support::arm64::{Run, is_available, options, run};
use crate::support::numbers::noise;
use crate::support::serial;

/// An array in the format of `tests/golden/layers.py`.
#[derive(Deserialize)]
struct Golden {
    sizes: Vec<usize>,
    values: Vec<f64>,
}

/// A layer with its operand, parameters and result.
#[derive(Deserialize)]
struct Case {
    layer: Layer,
    x: Golden,
    parameters: BTreeMap<String, Golden>,
    y: Golden,
}

fn bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// The elements are within a part of the largest one.
fn assert_close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(*got) - expected).abs();
        assert!(error <= tolerance * scale, "{what}, element {index}: {got}, expected {expected}");
    }
}

#[test]
fn layers_agree_with_pytorch() {
    if !is_available() {
        return;
    }
    let files = [include_str!("../golden/layers.json"), include_str!("../golden/recurrent.json")];
    let cases: Vec<Case> =
        files.iter().flat_map(|file| serde_json::from_str::<Vec<Case>>(file).unwrap()).collect();
    let runs: Vec<Run> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| {
            let mut builder = Builder::new("layer");
            let x = builder.input("x", &case.x.sizes[1..]).unwrap();
            let y = builder.layer("l", &case.layer, x).unwrap();
            builder.output("y", y).unwrap();
            let network = Dynamic::new(builder.finish().unwrap()).unwrap();
            let mut model = Model::of(network, 0, &serial()).unwrap();
            for (name, Golden { sizes, values }) in &case.parameters {
                let values = values.iter().map(|value| *value as f32).collect();
                let array = ArrayD::from_shape_vec(sizes.clone(), values).unwrap();
                model.set_parameter(&format!("l.{name}"), &array).unwrap();
            }
            Run {
                files: model.object(&options(&format!("layer{index}"))).unwrap(),
                sizes: vec![case.x.sizes[0]],
                inputs: vec![bytes(case.x.values.iter().map(|value| *value as f32))],
                outputs: vec![case.y.values.len()],
                train: None,
            }
        })
        .collect();
    for (case, outputs) in cases.iter().zip(run(&runs)) {
        assert_close(&format!("{:?}", case.layer), &outputs[0], &case.y.values, 1e-5);
    }
}

/// Layers that the golden files do not have, on `[6, 5, 7]`.
const OTHERS: [&str; 34] = [
    r#"{"layer": "relu"}"#,
    r#"{"layer": "relu6"}"#,
    r#"{"layer": "leaky_relu", "slope": 0.2}"#,
    r#"{"layer": "elu"}"#,
    r#"{"layer": "selu"}"#,
    r#"{"layer": "prelu"}"#,
    r#"{"layer": "gelu"}"#,
    r#"{"layer": "gelu", "approximate": true}"#,
    r#"{"layer": "silu"}"#,
    r#"{"layer": "hard_swish"}"#,
    r#"{"layer": "hard_sigmoid"}"#,
    r#"{"layer": "softplus"}"#,
    r#"{"layer": "scaled_tanh"}"#,
    r#"{"layer": "sigmoid"}"#,
    r#"{"layer": "tanh"}"#,
    r#"{"layer": "softmax"}"#,
    r#"{"layer": "log_softmax"}"#,
    r#"{"layer": "maxout", "pieces": 3}"#,
    r#"{"layer": "huber", "delta": 0.5}"#,
    r#"{"layer": "abs"}"#,
    r#"{"layer": "exp"}"#,
    r#"{"layer": "log"}"#,
    r#"{"layer": "sqrt"}"#,
    r#"{"layer": "square"}"#,
    r#"{"layer": "negate"}"#,
    r#"{"layer": "dropout", "rate": 0.5}"#,
    r#"{"layer": "channel_dropout", "rate": 0.5}"#,
    r#"{"layer": "stochastic_depth", "rate": 0.5}"#,
    r#"{"layer": "flatten"}"#,
    r#"{"layer": "batch_norm"}"#,
    r#"{"layer": "global_avg_pool2d"}"#,
    r#"{"layer": "conv2d", "out_channels": 19, "kernel_size": 5, "padding": 2}"#,
    r#"{"layer": "conv2d", "out_channels": 6, "kernel_size": 3, "groups": 6}"#,
    r#"{"layer": "max_pool2d", "kernel_size": 3, "stride": 1, "padding": 1}"#,
];

network! {
    /// Sequences of tokens of any length: an embedding, recurrent layers, a scan and attention.
    network Sequences(tokens: [T] of index, steps: [] of index) -> [T, 5] {
        from(tokens); words: embedding(9, 8);
        r: gru(12, layers = 2, bidirectional = true, lengths = steps);
        s: scan reverse (h: [24]) { add(h); step: linear(24); tanh; h = it; }
        a: multi_head_attention(4, lengths = steps);
        n: layer_norm; f: linear(5); log_softmax
    }

    /// Layers that are fused, and sums.
    network Blocks(image: [5, 18, 18]) -> [10] {
        c1: conv2d(19, kernel_size = 5, padding = 2); n1: batch_norm; relu; max_pool2d(2);
        let shortcut = it;
        c2: conv2d(19, kernel_size = 3, padding = 1); n2: batch_norm; relu;
        c3: conv2d(19, kernel_size = 3, padding = 1); add(shortcut); relu;
        d: conv2d(19, kernel_size = 3, padding = 1, groups = 19); relu;
        flatten; f: linear(33); tanh; dropout(0.5); linear(10); softmax
    }
}

/// The run of a model's object, and what the interpreter finds in double precision.
fn compared<N: AnyNetwork>(
    model: &Model<N>,
    name: &str,
    sizes: Sizes,
    inputs: &[(&str, Data<f64>)],
) -> (Run, Vec<Vec<f64>>) {
    let graph = model.network().graph();
    let mut sources: Bindings<f64> = HashMap::new();
    for (name, tensor) in model.parameters().to_named() {
        let values = tensor.iter().map(|&value| f64::from(value)).collect();
        sources.insert(name, Array::new(tensor.shape(), values));
    }
    let mut memory = Vec::new();
    for (name, data) in inputs {
        let shape = &graph.ty(graph.source(name).unwrap()).shape;
        sources.insert((*name).to_owned(), Array { sizes: shape.concrete(&sizes), data: data.clone() });
        memory.push(match data {
            Data::Real(values) => bytes(values.iter().map(|value| *value as f32)),
            Data::Int(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
    }
    let files = model.object(&options(name)).unwrap();
    let outcome = interp::run(graph, sizes.clone(), &sources).unwrap();
    let outputs = graph.outputs().iter().map(|output| outcome.outputs[&output.name].real().to_vec());
    let expected: Vec<Vec<f64>> = outputs.collect();
    let sizes = sizes.iter().map(|(_, size)| size).collect();
    let outputs = expected.iter().map(Vec::len).collect();
    (Run { files, sizes, inputs: memory, outputs, train: None }, expected)
}

fn real(count: usize, seed: u32) -> Data<f64> {
    Data::Real(noise(count, seed).into_iter().map(f64::from).collect())
}

#[test]
fn other_layers_and_networks_agree_with_the_interpreter() {
    if !is_available() {
        return;
    }
    let mut all = Vec::new();
    for (index, text) in OTHERS.iter().enumerate() {
        let mut builder = Builder::new("layer");
        let x = builder.input("x", &[6, 5, 7]).unwrap();
        let y = builder.layer("l", &serde_json::from_str(text).unwrap(), x).unwrap();
        builder.output("y", y).unwrap();
        let model = Model::of(Dynamic::new(builder.finish().unwrap()).unwrap(), 3, &serial()).unwrap();
        let x = match real(3 * 210, 5) {
            Data::Real(values) if text.contains("log\"") || text.contains("sqrt") => {
                Data::Real(values.iter().map(|value| value.abs() + 0.1).collect())
            }
            other => other,
        };
        all.push((*text, compared(&model, &format!("other{index}"), 3.into(), &[("x", x)])));
    }
    let model = Sequences::model(3).unwrap();
    let tokens = Data::Int((0..21).map(|index| index * 5 % 9).collect());
    let steps = Data::Int(vec![7, 3, 1]);
    let sizes = Sizes::from(3).with("T".parse().unwrap(), 7);
    all.push(("sequences", compared(&model, "sequences", sizes, &[("tokens", tokens), ("steps", steps)])));
    let model = Blocks::model(3).unwrap();
    all.push(("blocks", compared(&model, "blocks", 3.into(), &[("image", real(3 * 5 * 324, 8))])));
    let (mut runs, mut others) = (Vec::new(), Vec::new());
    for (name, (run, expected)) in all {
        runs.push(run);
        others.push((name, expected));
    }
    for ((name, expected), outputs) in others.into_iter().zip(run(&runs)) {
        for (got, expected) in outputs.iter().zip(expected) {
            assert_close(name, got, &expected, 1e-5);
        }
    }
}

/// Objects for Linux and macOS import nothing.
#[test]
fn objects_for_other_systems_import_nothing() {
    use object::{Object, ObjectSymbol};
    let model = Blocks::model(3).unwrap();
    for (triple, format) in [
        ("aarch64-unknown-linux-gnu", object::BinaryFormat::Elf),
        ("aarch64-apple-darwin", object::BinaryFormat::MachO),
    ] {
        let files = model.object(&ObjectOptions::default().platform(triple).embed(true)).unwrap();
        let file = object::File::parse(&*files.object).unwrap();
        assert_eq!((file.format(), file.architecture()), (format, object::Architecture::Aarch64));
        let undefined = file.symbols().filter(|symbol| symbol.is_undefined());
        assert!(undefined.into_iter().all(|symbol| symbol.name().is_ok_and(str::is_empty)), "{triple}");
        let exported = file.symbols().filter(|symbol| symbol.is_global() && symbol.is_definition());
        let mut exported: Vec<&str> =
            exported.map(|symbol| symbol.name().unwrap().trim_start_matches('_')).collect();
        exported.sort_unstable();
        assert_eq!(exported, ["blocks_arena_bytes", "blocks_run", "blocks_supported"], "{triple}");
    }
    let error = model.object(&ObjectOptions::default().platform("aarch64-pc-windows-msvc")).unwrap_err();
    assert!(error.to_string().contains("for Linux or macOS"), "{error}");
    let wide = ObjectOptions::default().platform("aarch64-apple-darwin").vector_bits([256]);
    assert!(model.object(&wide).unwrap_err().to_string().contains("[128]"));
}
