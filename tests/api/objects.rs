//! Networks as object files, called from C: the same bits as the model's own code at every vector width.

use std::path::Path;
use std::process::Command;

use windlass::object::{ObjectError, ObjectFiles, ObjectOptions};
use windlass::{Error, Features, Model, Options, available_vector_bits, network};

use crate::support::numbers::noise;

network! {
    network Images(image: [1, 28, 28]) -> [10] {
        c1: conv2d(6, kernel_size = 5, padding = 2); relu; max_pool2d(2);
        c2: conv2d(16, kernel_size = 3, padding = 1); batch_norm; gelu; avg_pool2d(2);
        flatten; f: linear(32); tanh; linear(10); softmax
    }

    network Words(tokens: [T] of index, start: [12]) -> (scores: [T, 5], state: [12]) {
        from(tokens); embedding(9, 8);
        r: gru(12, layers = 2, initial = (start, start));
        s: scan reverse (h: [12]) { add(h); step: linear(12); tanh; h = it; }
        f: linear(5);
        scores = it;
        let (_first, last) = r.states;
        state = last;
    }
}

/// A C program that reads the inputs of a run from files, and writes the outputs to files.
fn driver(files: &ObjectFiles, sizes: &[usize], inputs: &[(&str, usize)], outputs: &[usize]) -> String {
    let name = &files.name;
    let sizes: String = sizes.iter().map(|size| format!(", {size}")).collect();
    let mut text = format!(
        "#include <stdio.h>\n#include <stdlib.h>\n#include \"{name}.h\"\n\
         static void *memory(size_t bytes) {{ return aligned_alloc(64, (bytes + 63) / 64 * 64); }}\n\
         static void *content(const char *path, size_t bytes) {{\n\
           FILE *file = fopen(path, \"rb\"); void *result = memory(bytes);\n\
           if (!file || fread(result, 1, bytes, file) != bytes) exit(20);\n\
           fclose(file); return result;\n}}\n\
         int main(void) {{\n  size_t bytes = {name}_arena_bytes({});\n  char *arena = memory(bytes + 64);\n\
         for (int i = 0; i < 64; i++) arena[bytes + i] = 77;\n",
        &sizes[2..]
    );
    let weights = match &files.weights {
        Some(bytes) => {
            assert!(files.header.contains(&format!("_WEIGHT_BYTES {}\n", bytes.len())));
            format!("content(\"{name}.weights\", {})", bytes.len())
        }
        None => "NULL".to_owned(),
    };
    let mut ports = String::new();
    for (index, (_, bytes)) in inputs.iter().enumerate() {
        text += &format!("  void *i{index} = content(\"i{index}\", {bytes});\n");
        ports += &format!(", i{index}");
    }
    for (index, bytes) in outputs.iter().enumerate() {
        text += &format!("  void *o{index} = memory({bytes});\n");
        ports += &format!(", o{index}");
    }
    text += &format!("  const void *weights = {weights};\n");
    text +=
        &format!("  int status = {name}_run(weights, arena{sizes}{ports});\n  if (status) return status;\n");
    // Again, with what the first run left in the arena.
    text += &format!("  status = {name}_run(weights, arena{sizes}{ports});\n  if (status) return status;\n");
    text += "  for (int i = 0; i < 64; i++) if (arena[bytes + i] != 77) return 30;\n";
    text += &format!("  if ({name}_run(weights, arena + 4{sizes}{ports}) != 4) return 31;\n");
    for (index, bytes) in outputs.iter().enumerate() {
        text += &format!(
            "  FILE *f{index} = fopen(\"o{index}\", \"wb\"); fwrite(o{index}, 1, {bytes}, f{index}); fclose(f{index});\n"
        );
    }
    text + &format!("  printf(\"%d\", {name}_supported());\n  return 0;\n}}\n")
}

/// Compiles and runs a C program in a folder; returns its exit code and what it printed.
pub(crate) fn run_c(folder: &Path, name: &str, text: &str) -> (i32, String) {
    std::fs::write(folder.join("main.c"), text).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let object = format!("{name}.o");
    let compiled = Command::new(compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "main.c", &object, "-o", "main"])
        .current_dir(folder)
        .output()
        .expect("a C compiler, which Rust links with too");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(folder.join("main")).current_dir(folder).output().unwrap();
    (ran.status.code().unwrap_or(-1), String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// The outputs of a C program that runs the object on these inputs, or its status.
fn from_c(
    files: &ObjectFiles,
    sizes: &[usize],
    inputs: &[(&str, Vec<u8>)],
    outputs: &[usize],
) -> Result<(Vec<Vec<f32>>, String), i32> {
    let folder = tempfile::tempdir().unwrap();
    files.write(folder.path()).unwrap();
    for (index, (_, bytes)) in inputs.iter().enumerate() {
        std::fs::write(folder.path().join(format!("i{index}")), bytes).unwrap();
    }
    let inputs: Vec<(&str, usize)> = inputs.iter().map(|(name, bytes)| (*name, bytes.len())).collect();
    let bytes: Vec<usize> = outputs.iter().map(|elements| 4 * elements).collect();
    match run_c(folder.path(), &files.name, &driver(files, sizes, &inputs, &bytes)) {
        (0, printed) => {
            let read = |index: usize| {
                let bytes = std::fs::read(folder.path().join(format!("o{index}"))).unwrap();
                bytes.chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
            };
            Ok(((0..outputs.len()).map(read).collect(), printed))
        }
        (status, _) => Err(status),
    }
}

pub(crate) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn bytes_of_tokens(tokens: &[i32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

/// The options of a model whose code has the bits of an object's.
pub(crate) fn options(bits: usize) -> Options {
    let mut options = Options::default().threads(1);
    options.compile.plan.vector_bits = Some(bits);
    if bits == 128 {
        options.compile.plan.features = Features::Baseline;
    }
    options
}

#[test]
fn images_have_the_bits_of_the_model() {
    let model = Images::model(3).unwrap();
    for bits in available_vector_bits() {
        let own = Model::<Images>::with_parameters(model.parameters().clone(), &options(bits)).unwrap();
        for (batch, embed) in [(1, false), (5, true)] {
            let x = noise(batch * 784, 7);
            let expected = own.forward(&x[..]).unwrap();
            let files = model.object(&ObjectOptions::default().vector_bits([bits]).embed(embed)).unwrap();
            let inputs = [("image", bytes_of(&x))];
            let (outputs, supported) = from_c(&files, &[batch], &inputs, &[10 * batch]).unwrap();
            assert_eq!(outputs[0], expected.as_slice().unwrap(), "{bits} bits");
            assert_eq!(supported, bits.to_string());
        }
    }
}

#[test]
fn sequences_have_the_bits_of_the_model() {
    let model = Words::model(3).unwrap();
    for bits in available_vector_bits() {
        let own = Model::<Words>::with_parameters(model.parameters().clone(), &options(bits)).unwrap();
        for (batch, steps) in [(1, 1), (3, 8)] {
            let tokens: Vec<i32> = (0..batch * steps).map(|index| (index * 5 % 9) as i32).collect();
            let start = noise(batch * 12, 5);
            let array = ndarray::Array2::from_shape_vec((batch, steps), tokens.clone()).unwrap();
            let expected = own.forward(WordsInputs::new(&array, &start[..])).unwrap();
            let files = model.object(&ObjectOptions::default().vector_bits([bits])).unwrap();
            let inputs = [("tokens", bytes_of_tokens(&tokens)), ("start", bytes_of(&start))];
            let elements = [batch * steps * 5, batch * 12];
            let (outputs, _) = from_c(&files, &[batch, steps], &inputs, &elements).unwrap();
            assert_eq!(outputs[0], expected.scores.as_slice().unwrap(), "{bits} bits");
            assert_eq!(outputs[1], expected.state.as_slice().unwrap(), "{bits} bits");
        }
    }
}

network! {
    network Padded(x: [T, 3], steps: [] of index) -> [T, 4] { from(x); gru(4, lengths = steps) }
}

#[test]
fn lengths_of_sequences_are_checked() {
    let model = Padded::model(3).unwrap();
    let files = model.object(&ObjectOptions::default()).unwrap();
    assert!(files.header.contains("steps_[batch], each from 1 to T"), "{}", files.header);
    let x = noise(2 * 5 * 3, 4);
    let run = |lengths: [i32; 2]| {
        let inputs = [("x", bytes_of(&x)), ("steps", bytes_of_tokens(&lengths))];
        from_c(&files, &[2, 5], &inputs, &[40]).map(|(mut outputs, _)| outputs.remove(0))
    };
    let padded = run([5, 2]).unwrap();
    assert!(padded[28..].iter().all(|y| *y == 0.0) && padded[..28].iter().all(|y| *y != 0.0));
    for wrong in [[0, 5], [5, 6], [-1, 5], [i32::MIN, i32::MAX]] {
        assert_eq!(run(wrong), Err(5), "{wrong:?}");
    }
}

/// A Rust program without Windlass calls the same functions.
#[test]
fn rust_programs_call_objects() {
    let model = Padded::model(3).unwrap();
    let x = noise(2 * 5 * 3, 4);
    let mut printed = Vec::new();
    for embed in [false, true] {
        let files = model.object(&ObjectOptions::default().embed(embed)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        files.write(folder.path()).unwrap();
        let (declared, weights) = match embed {
            true => ("", ""),
            false => (
                "let mut weights = Aligned([0; 1 << 16]);\n\
                 let bytes = std::fs::read(\"padded.weights\").unwrap();\n\
                 weights.0[..padded::WEIGHT_BYTES].copy_from_slice(&bytes);\n",
                "&weights.0[..padded::WEIGHT_BYTES], ",
            ),
        };
        let text = format!(
            "#![deny(warnings)]\nmod padded;\n#[repr(align(64))] struct Aligned([u8; 1 << 16]);\n\
             fn main() {{\n{declared}let mut arena = Aligned([0; 1 << 16]);\n\
             let x = {x:?};\nlet mut y = [0f32; 40];\n\
             assert!(padded::vector_bits() >= 128 && padded::arena_bytes(2, 5) <= 1 << 16);\n\
             let mut run = |steps: &[i32], x: &[f32]| padded::run({weights}&mut arena.0, 2, 5, x, steps, &mut y);\n\
             assert_eq!(run(&[5, 6], &x), Err(padded::Refused::Index));\n\
             assert_eq!(run(&[5], &x), Err(padded::Refused::Memory));\n\
             assert_eq!(run(&[5, 2], &x[1..]), Err(padded::Refused::Memory));\n\
             assert_eq!(run(&[5, 2], &x), Ok(()));\nprintln!(\"{{y:?}}\");\n}}\n"
        );
        std::fs::write(folder.path().join("main.rs"), text).unwrap();
        let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let compiled = Command::new(compiler)
            .args(["--edition", "2024", "main.rs", "-C", "link-arg=padded.o", "-o", "main"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let ran = Command::new(folder.path().join("main")).current_dir(folder.path()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        printed.push(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    }
    let files = model.object(&ObjectOptions::default()).unwrap();
    let inputs = [("x", bytes_of(&x)), ("steps", bytes_of_tokens(&[5, 2]))];
    let (outputs, _) = from_c(&files, &[2, 5], &inputs, &[40]).unwrap();
    assert_eq!(printed, [format!("{:?}", outputs[0]), format!("{:?}", outputs[0])]);
}

/// One object has code for every CPU, and uses the widest vectors.
#[test]
fn an_object_chooses_its_vectors() {
    let model = Images::model(3).unwrap();
    let files = model.object(&ObjectOptions::default().name("every_cpu")).unwrap();
    let x = noise(2 * 784, 9);
    let (outputs, supported) = from_c(&files, &[2], &[("image", bytes_of(&x))], &[20]).unwrap();
    let widest = available_vector_bits().last().copied().unwrap();
    assert_eq!(supported, widest.to_string());
    let own = Model::<Images>::with_parameters(model.parameters().clone(), &options(widest)).unwrap();
    assert_eq!(outputs[0], own.forward(&x[..]).unwrap().as_slice().unwrap());
}

#[test]
fn runs_refuse_what_they_cannot_use() {
    let model = Words::model(3).unwrap();
    let files = model.object(&ObjectOptions::default()).unwrap();
    let run = |files: &ObjectFiles, token: i32, steps: usize| {
        let inputs = [("tokens", bytes_of_tokens(&[1, token])), ("start", bytes_of(&[0.0; 12]))];
        from_c(files, &[1, steps], &inputs, &[10, 12]).map(|_| ())
    };
    assert_eq!(run(&files, 8, 2), Ok(()));
    assert_eq!(run(&files, 9, 2), Err(5));
    assert_eq!(run(&files, -1, 2), Err(5));
    assert_eq!(run(&files, 1, 0), Err(3));
    // Weights of a network with other layers, but the same size.
    let mut other = files.clone();
    if let Some(weights) = &mut other.weights {
        weights[12] ^= 1;
    }
    assert_eq!(run(&other, 1, 2), Err(2));
}

#[test]
fn options_are_checked() {
    let model = Images::model(3).unwrap();
    let error = |options: ObjectOptions| match model.object(&options) {
        Err(Error::Object { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(ObjectOptions::default().name("2net")), ObjectError::Name { name: "2net".to_owned() });
    assert_eq!(error(ObjectOptions::default().name("")), ObjectError::Name { name: String::new() });
    for bits in [vec![100], vec![128, 128]] {
        assert!(matches!(error(ObjectOptions::default().vector_bits(bits)), ObjectError::VectorWidth { .. }));
    }
    let platform = |triple: &str| error(ObjectOptions::default().platform(triple)).to_string();
    assert!(platform("pdp11").contains("pdp11"));
    assert!(platform("riscv64gc-unknown-linux-gnu").contains("objects are for x86-64 and aarch64"));
}

/// Objects for other systems are made, and import nothing either.
#[test]
fn objects_for_other_systems() {
    use object::{Object, ObjectSymbol};
    let model = Images::model(3).unwrap();
    for triple in ["x86_64-unknown-linux-gnu", "x86_64-apple-darwin", "x86_64-pc-windows-msvc"] {
        let files = model.object(&ObjectOptions::default().platform(triple).embed(true)).unwrap();
        let file = object::File::parse(&*files.object).unwrap();
        let undefined = file.symbols().filter(|symbol| symbol.is_undefined());
        let undefined: Vec<&str> = undefined.map(|symbol| symbol.name().unwrap()).collect();
        assert!(undefined.iter().all(|name| name.is_empty()), "{triple}: {undefined:?}");
        let exported = file.symbols().filter(|symbol| symbol.is_global() && symbol.is_definition());
        let mut exported: Vec<&str> =
            exported.map(|symbol| symbol.name().unwrap().trim_start_matches('_')).collect();
        exported.sort_unstable();
        assert_eq!(exported, ["images_arena_bytes", "images_run", "images_supported"], "{triple}");
        let manifest: serde_json::Value = serde_json::from_str(&files.manifest).unwrap();
        assert_eq!(manifest["variants"].as_array().unwrap().len(), 3);
        assert_eq!(manifest["weights"]["embedded"], true);
    }
}
