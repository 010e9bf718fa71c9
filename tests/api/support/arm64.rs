//! Runs objects for 64-bit ARM: compiled with Debian's `gcc-aarch64-linux-gnu`, run by `qemu-aarch64`.

use std::process::Command;

use windlass::object::{ObjectFiles, ObjectOptions};

/// What the objects are compiled for.
pub(crate) fn options(name: &str) -> ObjectOptions {
    ObjectOptions::default().name(name).embed(true).platform("aarch64-unknown-linux-gnu")
}

/// An object with its weights, and a run of it.
pub(crate) struct Run {
    pub(crate) files: ObjectFiles,
    /// The open sizes, the batch first.
    pub(crate) sizes: Vec<usize>,
    /// The bytes of each input.
    pub(crate) inputs: Vec<Vec<u8>>,
    /// The elements of each output.
    pub(crate) outputs: Vec<usize>,
    /// The learning rate of a training step, which is taken instead of a run. The state is one more output.
    pub(crate) train: Option<f32>,
}

const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";

/// Whether there are a compiler and an emulator; says so if not.
pub(crate) fn is_available() -> bool {
    let missing: Vec<&str> = [COMPILER, EMULATOR]
        .into_iter()
        .filter(|program| Command::new(program).arg("--version").output().is_err())
        .collect();
    if !missing.is_empty() {
        println!("skipped, because {} cannot be started: 64-bit ARM is not tested", missing.join(" and "));
    }
    missing.is_empty()
}

/// The C program that runs all objects one after another, twice each.
fn program(runs: &[Run]) -> String {
    let mut text = "#include <stdio.h>\n#include <stdlib.h>\n".to_owned();
    for run in runs {
        text += &format!("#include \"{}.h\"\n", run.files.name);
    }
    text += "static void *memory(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }\n\
             static void *content(size_t bytes) {\n\
               void *result = memory(bytes);\n  if (fread(result, 1, bytes, stdin) != bytes) exit(20);\n\
               return result;\n}\n\
             int main(void) {\n";
    for (index, Run { files, sizes, inputs, outputs, train }) in runs.iter().enumerate() {
        let (name, upper) = (&files.name, files.name.to_uppercase());
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        let sizes = sizes.join(", ");
        let step = if train.is_some() { "_step" } else { "" };
        text += &format!(
            "{{ size_t bytes = {name}{step}_arena_bytes({sizes});\n  char *arena = memory(bytes + 64);\n\
             for (int i = 0; i < 64; i++) arena[bytes + i] = 77;\n"
        );
        let mut ports = String::new();
        for (port, bytes) in inputs.iter().enumerate() {
            text += &format!("  void *i{port} = content({});\n", bytes.len());
            ports += &format!(", i{port}");
        }
        if let Some(rate) = train {
            ports += &format!(", {rate:?}f");
        }
        for (port, elements) in outputs.iter().enumerate() {
            text += &format!("  void *o{port} = memory({});\n", 4 * elements);
            ports += &format!(", o{port}");
        }
        text += &match train {
            None => format!(
                "  for (int i = 0; i < 2; i++) {{\n    int status = {name}_run(NULL, arena, {sizes}{ports});\n\
                 if (status) {{ fprintf(stderr, \"{name} returned %d\\n\", status); return 1; }}\n  }}\n"
            ),
            Some(_) => format!(
                "  void *state = memory({upper}_STATE_BYTES);\n  int status = {name}_init(state);\n\
                 if (!status) status = {name}_step(state, arena, {sizes}{ports});\n\
                 if (status) {{ fprintf(stderr, \"{name} returned %d\\n\", status); return 1; }}\n"
            ),
        };
        text += "  for (int i = 0; i < 64; i++) if (arena[bytes + i] != 77) return 30;\n";
        for (port, elements) in outputs.iter().enumerate() {
            text += &format!("  fwrite(o{port}, 4, {elements}, stdout);\n");
        }
        if train.is_some() {
            text += &format!("  fwrite(state, 1, {upper}_STATE_BYTES, stdout);\n");
        }
        text += &format!("  if ({name}_supported() != 128) return {}; }}\n", 40 + index % 80);
    }
    text + "  return 0;\n}\n"
}

/// The outputs of all runs.
pub(crate) fn run(runs: &[Run]) -> Vec<Vec<Vec<f32>>> {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = Vec::new();
    for run in runs {
        run.files.write(folder.path()).unwrap();
        inputs.extend(run.inputs.concat());
    }
    std::fs::write(folder.path().join("main.c"), program(runs)).unwrap();
    std::fs::write(folder.path().join("inputs"), inputs).unwrap();
    let compiled = Command::new(COMPILER)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-static", "main.c", "-o", "main"])
        .args(runs.iter().map(|run| format!("{}.o", run.files.name)))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(EMULATOR)
        .arg(folder.path().join("main"))
        .stdin(std::fs::File::open(folder.path().join("inputs")).unwrap())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    let mut numbers = ran.stdout.chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
    let outputs = runs.iter().map(|run| {
        let state = run.train.map(|_| state_bytes(&run.files) / 4);
        let all = run.outputs.iter().copied().chain(state);
        all.map(|elements| numbers.by_ref().take(elements).collect()).collect()
    });
    let outputs = outputs.collect();
    assert!(numbers.next().is_none());
    outputs
}

/// The bytes of the state, from the header.
fn state_bytes(files: &ObjectFiles) -> usize {
    let mut lines = files.header.lines();
    let bytes = lines.find_map(|line| line.strip_prefix("#define ")?.split_once("_STATE_BYTES "));
    bytes.expect("the header of an object that trains").1.parse().unwrap()
}
