//! Runs the backend tests of ONNX: every model through the interpreter and through compiled code at every vector width, and
//! compares the results with those in the suite, and the passing tests with a list.
//!
//! The data is a part of the Python package `onnx`: `onnx/backend/test/data`.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use windlass_onnx_suite::{Case, Outcome};

/// Runs the backend tests of ONNX.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder `onnx/backend/test/data` of the Python package `onnx`
    data: PathBuf,
    /// The list of tests that are expected to pass, one a line
    #[arg(long, default_value = "onnx/suite/passing.txt", value_name = "FILE")]
    list: PathBuf,
    /// Write the tests that pass to the list
    #[arg(long)]
    update: bool,
    /// Run only tests whose names contain this text
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
    /// Print why tests do not pass
    #[arg(long)]
    reasons: bool,
}

/// The folders of the suite. The models of `real` are not in the package.
const FOLDERS: [&str; 5] = ["node", "pytorch-converted", "pytorch-operator", "simple", "light"];

/// Tests whose expected values are not those that the operator is defined to have: they wrap −236 to an `int8`, which saturates.
const WRAPPED: [&str; 1] = ["test_qlinearmatmul_2D_int8_float32"];

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The tests in a folder: folders of their own, or single models.
fn tests(path: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut folders = Vec::new();
    let entries =
        std::fs::read_dir(path).map_err(|error| format!("could not read {}: {error}", path.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_model = path.extension().is_some_and(|extension| extension == "onnx");
        if is_model || path.is_dir() && path.join("model.onnx").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let mut passing = BTreeSet::new();
    let mut wrong = 0;
    for folder in FOLDERS {
        let (mut passed, mut all) = (0, 0);
        for path in tests(&arguments.data.join(folder))? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if !name.contains(&arguments.only) {
                continue;
            }
            all += 1;
            let outcome = std::panic::catch_unwind(|| Case::read(&path).and_then(|case| case.run()))
                .unwrap_or_else(|_| Ok(Outcome::Wrong("it panics".to_owned())));
            match outcome {
                Ok(Outcome::Passes) => {
                    passed += 1;
                    passing.insert(format!("{folder}/{name}"));
                }
                Ok(Outcome::Wrong(_)) if WRAPPED.contains(&name.as_str()) => {
                    println!("left out: {folder}/{name}: its expected values wrap around");
                }
                Ok(Outcome::Wrong(reason)) => {
                    wrong += 1;
                    println!("wrong: {folder}/{name}: {reason}");
                }
                Ok(Outcome::Unsupported(reason)) if arguments.reasons => {
                    println!("unsupported: {folder}/{name}: {}", reason.replace('\n', " "));
                }
                Ok(Outcome::Unsupported(_)) => {}
                Err(error) => println!("unreadable: {folder}/{name}: {error}"),
            }
        }
        println!("{folder}: {passed} of {all} pass");
    }
    if arguments.update {
        let text: String = passing.iter().map(|name| format!("{name}\n")).collect();
        std::fs::write(&arguments.list, text)?;
        return Ok(wrong == 0);
    }
    let text = std::fs::read_to_string(&arguments.list)
        .map_err(|error| format!("could not read {}: {error}", arguments.list.display()))?;
    let expected: BTreeSet<String> =
        text.lines().filter(|line| line.contains(&arguments.only)).map(str::to_owned).collect();
    for name in passing.difference(&expected) {
        println!("newly passing: {name}");
    }
    let failing: Vec<&String> = expected.difference(&passing).collect();
    for name in &failing {
        println!("newly failing: {name}");
    }
    Ok(wrong == 0 && failing.is_empty())
}
