//! Valid files of every kind, which mutations start from.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use windlass_compiler::autodiff::{Optimizer, TrainingOptions, training_graph};
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pipeline::CompileOptions;

use crate::FuzzTarget;

/// The seeds of a target.
pub fn of(target: FuzzTarget) -> Vec<Vec<u8>> {
    match target {
        FuzzTarget::GraphText => graphs().into_iter().map(String::into_bytes).collect(),
        FuzzTarget::KernelText => texts("kernel ").into_iter().map(String::into_bytes).collect(),
        FuzzTarget::GraphJson => graphs()
            .iter()
            .filter_map(|text| serde_json::to_vec(&text.parse::<Graph>().ok()?).ok())
            .filter(|json| json.len() < 8_000)
            .collect(),
        FuzzTarget::Checkpoint => checkpoints(),
        FuzzTarget::Idx => idx(),
        FuzzTarget::IdxGzip => idx().iter().map(|file| gzip(file)).collect(),
        FuzzTarget::Tuning => tuning(),
        FuzzTarget::Options => options(),
        FuzzTarget::Layers => layers(),
        FuzzTarget::Settings => settings(),
    }
}

/// The graphs of the compiler's own tests, and training steps.
fn graphs() -> Vec<String> {
    let mut texts = texts("graph ");
    texts.extend(training().into_iter().filter(|text| text.len() < LONG));
    texts
}

/// Longer texts are not used: they take long, and have little new syntax.
const LONG: usize = 4_000;

/// The texts in the compiler's own tests that begin with a word.
fn texts(start: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compiler/tests/filetests");
    collect(&root, start, &mut texts);
    texts.retain(|text| text.len() < LONG);
    texts
}

fn collect(directory: &Path, start: &str, texts: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, start, texts);
        } else if let Ok(text) = fs::read_to_string(&path) {
            texts.extend(blocks(&text, start));
        }
    }
}

/// The parts of a file that begin with a word, each up to its closing brace.
fn blocks(text: &str, start: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        if line.starts_with(start) {
            block = Some(String::new());
        }
        if let Some(open) = &mut block {
            open.push_str(line);
            open.push('\n');
            if line == "}" {
                blocks.extend(block.take());
            }
        }
    }
    blocks
}

fn training() -> Vec<String> {
    let network = || {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &[2, 6, 6])?;
        let x = builder.layer("c1", &Layer::conv(3, Window::square(3, 1, 1)), x)?;
        let x = builder.layer("n1", &Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, x)?;
        let x = builder.layer("c1", &Layer::Relu, x)?;
        let x = builder.layer("p1", &Layer::max_pool(Window::square(2, 2, 0)), x)?;
        let x = builder.layer("d1", &Layer::Dropout { rate: 0.5 }, x)?;
        let x = builder.layer("flat", &Layer::Flatten, x)?;
        let x = builder.layer("f1", &Layer::linear(4), x)?;
        builder.output("y", x)?;
        builder.finish()
    };
    let Ok(network) = network() else { return Vec::new() };
    let step = |optimizer| training_graph(&network, &TrainingOptions::default().optimizer(optimizer));
    let steps = [Optimizer::adam(), TrainingOptions::default().optimizer].map(step);
    steps.into_iter().flatten().map(|graph| graph.to_string()).chain([network.to_string()]).collect()
}

/// A safetensors file of a header and as many bytes as it describes.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn checkpoints() -> Vec<Vec<u8>> {
    let metadata = json!({
        "format": 1, "network": "net", "step": 100, "optimizer": {"kind": "adam", "beta1": 0.9},
        "notes": {"data": "none"},
        "graph": "graph net {\n  %0 = input {name = \"x\", type = \"f32[N, 3]\"}\n  output \"y\" = %0\n}",
    });
    let tensor = |shape: &[usize], start: usize| {
        let bytes = 4 * shape.iter().product::<usize>();
        json!({"dtype": "F32", "shape": shape, "data_offsets": [start, start + bytes]})
    };
    let floats = |count: usize| (0..count).flat_map(|x| (x as f32 - 2.5).to_le_bytes()).collect::<Vec<u8>>();
    [
        (json!({"__metadata__": {"windlass": metadata.to_string()}, "f1.weight": tensor(&[2, 3], 0), "f1.bias": tensor(&[2], 24)}), 8),
        (json!({"scalar": tensor(&[], 0), "empty": tensor(&[0, 4], 4)}), 1),
        (json!({"__metadata__": {"format": "pt"}, "w": tensor(&[1, 2, 2, 1], 0)}), 4),
        (json!({}), 0),
    ]
    .map(|(header, count)| safetensors(&header.to_string(), &floats(count)))
    .to_vec()
}

fn idx() -> Vec<Vec<u8>> {
    let file = |rank: u8, sizes: &[u32], count: u8| {
        let mut bytes = vec![0, 0, 8, rank];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(0..count);
        bytes
    };
    vec![file(3, &[2, 3, 4], 24), file(1, &[10], 10), file(3, &[0, 28, 28], 0), file(3, &[1, 1, 200], 200)]
}

/// Fast gzip compression.
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to a vector cannot fail; otherwise the uncompressed content would do.
    match encoder.write_all(content).and_then(|()| encoder.finish()) {
        Ok(bytes) => bytes,
        Err(_) => content.to_vec(),
    }
}

fn tuning() -> Vec<Vec<u8>> {
    let entries: BTreeMap<&str, serde_json::Value> =
        [("conv a", json!("direct")), ("conv b", json!({"winograd": 4})), ("conv c", json!("im2col"))].into();
    let file = |version: &str, format: u32| json!({"format": format, "windlass": version, "machines": {"a cpu": entries, "another": {}}});
    let version = env!("CARGO_PKG_VERSION");
    [file(version, 1), file("0.0.1", 1), file(version, 2)].map(|json| json.to_string().into_bytes()).to_vec()
}

fn options() -> Vec<Vec<u8>> {
    let mut options = CompileOptions::default();
    let plain = serde_json::to_vec(&options);
    options.plan.tuned.insert("conv".to_owned(), windlass_compiler::plan::Convolution::Winograd(4));
    options.plan.vector_bits = Some(128);
    options.plan.batch = Some(16);
    [plain, serde_json::to_vec(&options)].into_iter().flatten().collect()
}

fn layers() -> Vec<Vec<u8>> {
    [
        json!([
            {"layer": "conv2d", "out_channels": 4, "kernel_size": 3, "padding": [1, 0], "bias": false},
            {"layer": "batch_norm", "epsilon": 0.001},
            {"layer": "relu"},
            {"layer": "max_pool2d", "kernel_size": [2, 1], "stride": 2},
            {"layer": "flatten"},
            {"layer": "linear", "out_features": 3, "init": {"uniform": [-0.5, 0.5]}}
        ]),
        json!([
            {"layer": "conv2d", "out_channels": 6, "kernel_size": [1, 3], "dilation": 2, "groups": 3, "stride": [2, 1]},
            {"layer": "sigmoid"},
            {"layer": "avg_pool2d", "kernel_size": 2, "padding": 1},
            {"layer": "dropout", "rate": 0.25},
            {"layer": "global_avg_pool2d"}
        ]),
        json!([{"layer": "linear", "out_features": 5, "bias": false}, {"layer": "tanh"}, {"layer": "log_softmax"}]),
    ]
    .map(|json| json.to_string().into_bytes())
    .to_vec()
}

fn settings() -> Vec<Vec<u8>> {
    [
        json!({"mean": [0.5, 0.25, 0.125], "deviation": [0.5, 1.0, 2.0]}),
        json!([{"brightness": {"strength": 0.5}}, {"horizontal_flip": {"probability": 1}}, {"crop": {"padding": 2}}]),
        json!({"kind": "constant", "rate": 0.1}),
        json!({"kind": "step_decay", "rate": 1, "every": 10, "factor": 0.5}),
        json!({"kind": "warm_up", "steps": 10, "start_factor": 0.0, "then": {"kind": "cosine", "rate": 0.1, "final_rate": 0.0, "steps": 90}}),
    ]
    .map(|json| json.to_string().into_bytes())
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::FuzzTarget;
    use crate::judge::{Verdict, judge};

    /// Rejected seeds would be useless.
    #[test]
    fn most_seeds_are_accepted() {
        for target in FuzzTarget::ALL {
            let seeds = of(target);
            assert!(seeds.len() > 1, "{target:?}");
            let accepted =
                seeds.iter().filter(|seed| judge(target, seed, true) == Ok(Verdict::Accepted)).count();
            assert!(accepted > 0 && accepted * 3 >= seeds.len(), "{target:?}: {accepted} of {}", seeds.len());
        }
        assert!(of(FuzzTarget::GraphText).len() > 30);
        assert!(of(FuzzTarget::KernelText).len() > 30);
    }
}
