//! Programs with networks that build scripts compile, built with `rustc` as Cargo would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use windlass_build::{Build, Error, Graph};

/// The platform of this machine.
fn host() -> String {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(compiler).arg("-vV").output().unwrap();
    let text = String::from_utf8(version.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Compiles a program that includes a module of a folder, by the macro or by itself.
fn compile(source: &Path, folder: &Path, link: &[&str]) -> PathBuf {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let program = folder.join("program");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/src/lib.rs");
    let mut library = Command::new(&compiler);
    library.args(["--edition", "2024", "--crate-type", "rlib", "--crate-name", "windlass_include"]);
    printed(&library.arg(include).arg("--out-dir").arg(folder).output().unwrap());
    let external = format!("windlass_include={}", folder.join("libwindlass_include.rlib").display());
    let mut command = Command::new(compiler);
    command.args(["--edition", "2024", "-C", "opt-level=3", "-C", "strip=symbols", "-D", "warnings"]);
    command
        .args(["--extern", &external])
        .arg(source)
        .args(link)
        .arg("-o")
        .arg(&program)
        .env("OUT_DIR", folder);
    printed(&command.output().unwrap());
    program
}

/// The build script of `examples/build_rs`, and its program: no megabyte.
#[test]
fn a_build_script_compiles_its_network() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/build_rs");
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "windlass-build", "--examples", "--target-dir"])
        .arg(profile.parent().unwrap())
        .args(["--profile", if profile.ends_with("debug") { "dev" } else { "release" }])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    printed(&built);
    let folder = tempfile::tempdir().unwrap();
    let script = profile.join("examples/edges_build_script");
    let ran = Command::new(&script)
        .current_dir(&example)
        .env("OUT_DIR", folder.path())
        .env("TARGET", host())
        .output();
    let told = printed(&ran.unwrap());
    let search = format!("native={}", folder.path().display());
    assert!(told.contains(&format!("cargo::rustc-link-search={search}\n")), "{told}");
    assert!(told.contains("cargo::rustc-link-lib=static=windlass_edges\n"), "{told}");
    assert!(told.contains("cargo::rerun-if-changed=build.rs\n"), "{told}");
    let link = ["-L", &search, "-l", "static=windlass_edges"];
    let program = compile(&example.join("src/main.rs"), folder.path(), &link);
    let bytes = std::fs::metadata(&program).unwrap().len();
    assert!(bytes < 1 << 20, "the program has {bytes} bytes");
    let text = printed(&Command::new(&program).output().unwrap());
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 2 * 24 + 1, "{text}");
    // The disc is full, and its edges are not.
    assert_eq!((&rows[11][20..28], &rows[24 + 11][20..28]), ("########", "        "), "{text}");
    assert!(rows[24 + 11].contains('#'), "{text}");
    // A script outside of Cargo says what is missing.
    let alone = Command::new(&script).current_dir(&example).env_remove("OUT_DIR").output().unwrap();
    assert!(String::from_utf8_lossy(&alone.stderr).contains("OUT_DIR"));
}

/// The package of the example has only the macro in the program, and the compiler in the build script.
#[test]
fn programs_depend_on_one_macro() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = std::fs::read_to_string(root.join("examples/build_rs/Cargo.toml")).unwrap();
    // A copy, so that nothing is written to the repository; with the versions of the workspace.
    let manifest = manifest.replace("../..", root.to_str().unwrap());
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/main.rs"), "").unwrap();
    let tree = |edges: &str| {
        let arguments = ["tree", "--offline", "--prefix", "none", "--edges", edges];
        printed(&Command::new(env!("CARGO")).args(arguments).current_dir(folder.path()).output().unwrap())
    };
    let normal = tree("normal");
    let packages: Vec<&str> = normal.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(packages, ["edges", "windlass-include"], "{normal}");
    assert!(tree("build,normal").contains("cranelift-codegen"));
}

const GRAPH: &str = r#"graph Halves {
  %0 = input {name = "x", type = "f32[N, 3]"}
  %1 = parameter {name = "f.weight", shape = "[2, 3]", init = {constant = 0.5}}
  %2 = linear(%0, %1)
  output "y" = %2
}
"#;

/// A graph in a file, weights in another, and a training step.
#[test]
fn a_graph_in_a_file_trains() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("halves.graph");
    std::fs::write(&path, GRAPH).unwrap();
    let loss = windlass_build::Loss::MeanSquaredError;
    let training = windlass_build::TrainerOptions::default().loss(loss);
    let build = Build::file(&path).unwrap().sizes(2).train(training).name("half");
    assert_eq!(build.compile_to(folder.path(), &host()).unwrap(), "windlass_half");
    std::fs::write(
        folder.path().join("main.rs"),
        "windlass_include::include_network!(half);\n\
         #[repr(align(64))] struct Aligned<const BYTES: usize>([u8; BYTES]);\n\
         fn main() {\n\
           let mut state = Aligned([0; half::STATE_BYTES]);\n\
           assert_eq!(half::init(&mut state.0), Ok(()));\n\
           let mut arena = Aligned([0; 1 << 16]);\n\
           let (x, mut y, mut loss) = ([1.0, 2.0, 3.0, 0.0, 1.0, 0.0], [0.0; 4], [0.0]);\n\
           assert_eq!(half::step(&mut state.0, &mut arena.0, 2, &x, &[3.0; 3], 0.1, &mut y, &mut loss), Err(half::Refused::Memory));\n\
           assert_eq!(half::step(&mut state.0, &mut arena.0, 2, &x, &[3.0, 3.0, 0.5, 0.5], 0.0, &mut y, &mut loss), Ok(()));\n\
           assert_eq!((y, loss), ([3.0, 3.0, 0.5, 0.5], [0.0]));\n\
           let mut weights = Aligned([0; half::WEIGHT_BYTES]);\n\
           assert_eq!(half::pack(&state.0, &mut weights.0, &mut arena.0), Ok(()));\n\
           let mut network = half::Network::new();\n\
           assert_eq!(network.run(&weights.0, &x, &mut y), Ok(()));\n\
           println!(\"{y:?}\");\n}\n",
    )
    .unwrap();
    let search = format!("native={}", folder.path().display());
    let link = ["-L", &search, "-l", "static=windlass_half"];
    let program = compile(&folder.path().join("main.rs"), folder.path(), &link);
    assert_eq!(printed(&Command::new(program).output().unwrap()), "[3.0, 3.0, 0.5, 0.5]\n");
}

/// Libraries of every format have an index of the functions.
#[test]
fn libraries_are_of_the_platform() {
    use object::read::archive::ArchiveFile;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("halves.graph"), GRAPH).unwrap();
    let build = Build::file(folder.path().join("halves.graph")).unwrap();
    for (target, file) in [
        ("x86_64-unknown-linux-gnu", "libwindlass_halves.a"),
        ("x86_64-apple-darwin", "libwindlass_halves.a"),
        ("x86_64-pc-windows-msvc", "windlass_halves.lib"),
    ] {
        build.compile_to(folder.path(), target).unwrap();
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        let archive = ArchiveFile::parse(&*bytes).unwrap();
        let symbols = archive.symbols().unwrap().unwrap();
        let names = symbols.map(|symbol| String::from_utf8_lossy(symbol.unwrap().name()).into_owned());
        let mut names: Vec<String> = names.map(|name| name.trim_start_matches('_').to_owned()).collect();
        names.sort();
        assert_eq!(names, ["halves_arena_bytes", "halves_run", "halves_supported"], "{target}");
    }
}

#[test]
fn mistakes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &str| Build::file(folder.path().join(path)).unwrap_err().to_string();
    assert!(message("absent.graph").contains("could not read"));
    std::fs::write(folder.path().join("broken.graph"), "graph {").unwrap();
    assert!(message("broken.graph").contains("could not read a graph from"));
    std::fs::write(folder.path().join("halves.graph"), GRAPH).unwrap();
    assert!(GRAPH.parse::<Graph>().is_ok());
    let build = Build::file(folder.path().join("halves.graph")).unwrap();
    assert!(build.compile_to(folder.path(), "pdp11").unwrap_err().to_string().contains("pdp11"));
    assert!(matches!(build.weights("absent.safetensors"), Err(Error::Network(_))));
}
