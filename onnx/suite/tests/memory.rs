//! The memory of imports is bounded by the size of the file. One test in its own process, because it counts the memory of all threads.

#[path = "../../../tests/counting/mod.rs"]
mod counting;
mod models;

use std::sync::atomic::Ordering;

use fastrand::Rng;
use windlass_compiler::graph::{Builder, Layer};
use windlass_onnx::{ExportOptions, ImportOptions, export, import_bytes};

use counting::{HELD, PEAK};
use models::{damage, models, mutations};

/// The bytes that an import may hold beside those of the file and its tensors: room for constants that a model computes, of which
/// the import's own limit is 2^26 elements.
const CONSTANT: usize = 16 << 20;

/// The bytes of a tensor's element in memory, of which the file has at least one: integers have 64 bits.
const ELEMENT: usize = 8;

/// The bytes that an import holds at most, beyond those that were held before.
fn peak(bytes: &[u8]) -> usize {
    let before = HELD.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    // Panics are for the test of damaged models.
    let _ = std::panic::catch_unwind(|| import_bytes(bytes, &ImportOptions::new()).is_ok());
    PEAK.load(Ordering::SeqCst) - before
}

#[test]
fn imports_take_memory_in_proportion_to_the_file() {
    // The file once as bytes, and its elements once as those of a tensor and once as those of a parameter.
    let mut builder = Builder::new("large");
    let x = builder.input("x", &[2048]).unwrap();
    let y = builder.layer("f", &Layer::linear(2048), x).unwrap();
    builder.output("y", y).unwrap();
    let elements = vec![0.5; 2048 * 2048];
    let count = |name: &str| if name == "f.bias" { 2048 } else { 2048 * 2048 };
    let graph = builder.finish().unwrap();
    let file = export(&graph, |name| elements.get(..count(name)), &ExportOptions::new()).unwrap().model;
    assert!(file.len() > 4 * elements.len());
    let most = peak(&file);
    assert!(most < 2 * file.len() + 4 * elements.len() + (1 << 20), "{most} bytes for {}", file.len());

    // Messages of two bytes, nodes with attributes, are refused before they are decoded if they are many.
    for count in [1 << 10, 1 << 17, 1 << 21] {
        let attributes = [&[0x0a, 0x80, 0x01][..], &[0x2a, 0x00].repeat(64)].concat();
        let nodes = attributes.repeat(count / 64);
        let mut file = vec![0x3a];
        let mut length = nodes.len();
        while length >= 0x80 {
            file.push(length as u8 | 0x80);
            length >>= 7;
        }
        file.push(length as u8);
        file.extend(nodes);
        let most = peak(&file);
        // Lists grow by doubling, while the half is still there.
        assert!(most < 3 * ((64 << 20) + 16 * file.len()), "{most} bytes for {}", file.len());
    }

    let models = models();
    let mut random = Rng::with_seed(23);
    let count = mutations(20_000);
    let (mut largest, mut of) = (0, 0);
    for index in 0..count {
        let mut bytes = models[random.usize(..models.len())].clone();
        damage(&mut bytes, &mut random);
        let most = peak(&bytes);
        let bound = (2 + ELEMENT) * bytes.len() + CONSTANT;
        assert!(most < bound, "damaged model {index}: {most} bytes for a file of {}", bytes.len());
        if most > largest {
            (largest, of) = (most, bytes.len());
        }
    }
    println!("{count} damaged models: at most {largest} bytes, for a file of {of}");
}
