//! Objects whose runs continue sequences, called from C and Rust: the bits of a `Stream`.

use std::process::Command;

use windlass::object::{ObjectError, ObjectOptions};
use windlass::{Binding, Error, Model, Sizes, available_vector_bits, network};

use crate::objects::{bytes_of, options, run_c};
use crate::support::numbers::{Outcome, noise};

network! {
    network Forecast(x: [T, 3], steps: [] of index) -> (y: [T, 2], z: [T, 4]) {
        from(x); a: lstm(6, layers = 2, lengths = steps); b: gru(4, lengths = steps);
        z = it;
        f: linear(2);
        y = it;
    }

    network Backwards(x: [T, 3]) -> [T, 8] { r: gru(4, bidirectional = true) }
}

/// The lengths of the pieces.
const PIECES: [usize; 4] = [3, 1, 4, 2];
const SAMPLES: usize = 2;

/// The inputs of all pieces, and what a stream of the model makes of them.
fn expected(model: &Model<Forecast>) -> Result<(Vec<f32>, Vec<f32>), Error> {
    let streaming = model.streaming()?;
    let mut stream = streaming.stream(SAMPLES)?;
    let (mut all, mut results) = (Vec::new(), Vec::new());
    for (piece, steps) in PIECES.into_iter().enumerate() {
        let x = noise(SAMPLES * steps * 3, piece as u32);
        let (mut y, mut z) = (vec![0.0; SAMPLES * steps * 2], vec![0.0; SAMPLES * steps * 4]);
        // The second sequence ends a step before each piece does, once with no step at all.
        let lengths = [steps as i32, steps as i32 - 1];
        stream.run(&[Binding::Floats(&x), Binding::Integers(&lengths)], &mut [&mut y, &mut z])?;
        all.extend(x);
        results.extend([y, z].concat());
    }
    Ok((all, results))
}

#[test]
fn runs_continue_sequences() -> Outcome {
    for bits in available_vector_bits() {
        let parameters = Forecast::model(3)?.parameters().clone();
        let model = Model::<Forecast>::with_parameters(parameters, &options(bits))?;
        let (x, expected) = expected(&model)?;
        let objects = ObjectOptions::default().name("net").vector_bits([bits]).embed(true).streaming(true);
        let files = model.object(&objects)?;
        let folder = tempfile::tempdir()?;
        files.write(folder.path())?;
        std::fs::write(folder.path().join("x"), bytes_of(&x))?;
        let pieces = PIECES.map(|steps| steps.to_string()).join(", ");
        let text = format!(
            "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include \"net.h\"\n\
             static void *memory(size_t bytes) {{ return aligned_alloc(64, (bytes + 63) / 64 * 64); }}\n\
             int main(void) {{\n\
               FILE *in = fopen(\"x\", \"rb\"), *out = fopen(\"y\", \"wb\");\n\
               size_t bytes = net_stream_bytes({SAMPLES});\n  char *stream = memory(bytes + 64);\n\
               memset(stream, 0, bytes); memset(stream + bytes, 77, 64);\n\
               size_t pieces[] = {{{pieces}}};\n\
               for (int i = 0; i < {count}; i++) {{\n\
                 size_t n = pieces[i];\n    float x[100], y[100], z[100];\n\
                 int32_t steps[] = {{(int32_t)n, (int32_t)n - 1}}, most[] = {{(int32_t)n + 1, 1}};\n\
                 if (fread(x, 12, {SAMPLES} * n, in) != {SAMPLES} * n) return 20;\n\
                 void *arena = memory(net_arena_bytes({SAMPLES}, n));\n\
                 if (net_run(NULL, stream + 4, arena, {SAMPLES}, n, x, steps, y, z) != 4) return 21;\n\
                 if (net_run(NULL, NULL, arena, {SAMPLES}, n, x, steps, y, z) != 4) return 22;\n\
                 if (net_run(NULL, stream, arena, {SAMPLES}, n, x, most, y, z) != 5) return 23;\n\
                 int status = net_run(NULL, stream, arena, {SAMPLES}, n, x, steps, y, z);\n\
                 if (status) return status;\n\
                 fwrite(y, 8, {SAMPLES} * n, out); fwrite(z, 16, {SAMPLES} * n, out);\n  }}\n\
               for (int i = 0; i < 64; i++) if (stream[bytes + i] != 77) return 24;\n\
               if (net_arena_bytes(SIZE_MAX / 2, 9) != SIZE_MAX || net_stream_bytes(SIZE_MAX / 64) != SIZE_MAX) return 25;\n\
               if (net_arena_bytes(1u << 20, 9) < 1u << 20) return 26;\n\
               return fclose(out);\n}}\n",
            count = PIECES.len()
        );
        assert_eq!(run_c(folder.path(), "net", &text).0, 0, "{bits} bits");
        assert_eq!(std::fs::read(folder.path().join("y"))?, bytes_of(&expected), "{bits} bits");
    }
    Ok(())
}

/// The Rust module has a type with the memory of a stream.
#[test]
fn rust_programs_keep_streams() -> Outcome {
    let model = Forecast::model(3)?;
    let sizes = Sizes::from(1).with("T".parse()?, 2);
    let files = model
        .object(&ObjectOptions::default().name("net").embed(true).streaming(true).threads(2).sizes(sizes))?;
    assert!(files.header.contains("#define NET_ARENA_BYTES "), "{}", files.header);
    let folder = tempfile::tempdir()?;
    files.write(folder.path())?;
    std::fs::write(
        folder.path().join("main.rs"),
        "#![deny(warnings)]\nmod net;\nfn main() {\n  let mut network = Box::new(net::Network::new());\n\
         let run = |network: &mut net::Network| {\n\
           let (mut y, mut z) = ([0.0; 4], [0.0; 8]);\n\
           network.run(None, &[0.5; 6], &[2], &mut y, &mut z).unwrap();\n    println!(\"{y:?} {z:?}\");\n  };\n\
         run(&mut network);\n  run(&mut network);\n  network.reset();\n  run(&mut network);\n}\n",
    )?;
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let compiled = Command::new(compiler)
        .args(["--edition", "2024", "main.rs", "-C", "link-arg=net.o", "-o", "main"])
        .current_dir(folder.path())
        .output()?;
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(folder.path().join("main")).output()?;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout)?;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 3 && lines[0] == lines[2] && lines[0] != lines[1], "{text}");
    Ok(())
}

#[test]
fn streams_need_networks_that_read_forwards() -> Outcome {
    let objects = ObjectOptions::default().streaming(true);
    let error = Backwards::model(3)?.object(&objects).unwrap_err();
    assert!(matches!(error, Error::Graph { .. }), "{error}");
    let sizes = |sizes: Sizes| match Forecast::model(3)?.object(&objects.clone().sizes(sizes)) {
        Err(Error::Object { reason: ObjectError::Sizes { size }, .. }) => Ok(size.to_string()),
        other => Err(format!("{other:?}").into()),
    };
    let of = |text: &str| -> Result<_, Box<dyn std::error::Error>> { Ok(text.parse()?) };
    let missing: Result<String, Box<dyn std::error::Error>> = sizes(Sizes::from(2));
    assert_eq!(missing?, "T");
    let large: Result<String, Box<dyn std::error::Error>> =
        sizes(Sizes::from(2).with(of("T")?, usize::MAX / 2));
    assert_eq!(large?, "T");
    Ok(())
}
