//! Runs every file below `filetests`: a graph, its passes, and the expected result.
//!
//! ```text
//! ; passes: cse, dce                  the passes in order; without any, the graph is parsed and printed;
//!                                     `optimize inference` and `optimize training` run the whole pipeline
//! ; The purpose of the case.
//! graph name { … }
//! ; expect:                           or `; error: message`
//! graph name { … }
//! ```
//!
//! The expected graph must also parse to itself, verify, and compute the same as the input graph. `WINDLASS_BLESS=1`
//! rewrites the files to expect the actual results.

mod agreement;

use std::fs;
use std::path::{Path, PathBuf};

use agreement::{Agreement, assert_same_results};
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{Graph, verify};
use windlass_compiler::pass::{Mode, PassOptions, optimize};
use windlass_compiler::passes;

const EXPECT: &str = "; expect:\n";
const ERROR: &str = "; error: ";

#[test]
fn every_file_gives_what_it_expects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let files = graph_files(&root);
    assert!(files.len() >= passes::ALL.len(), "only {} files below {}", files.len(), root.display());
    let failures: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let name = file.strip_prefix(&root).unwrap_or(file).display();
            std::panic::catch_unwind(|| check(file)).err().map(|_| name.to_string())
        })
        .collect();
    assert!(failures.is_empty(), "failed: {}", failures.join(", "));
}

fn graph_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(graph_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "graph") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn check(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let header = text.lines().next().unwrap_or_default();
    let passes = header.strip_prefix("; passes:").expect("the first line is `; passes: …`");
    let passes: Vec<&str> = passes.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let end = [EXPECT, ERROR].iter().filter_map(|marker| text.find(marker)).min().unwrap_or(text.len());
    let (input, expected) = text.split_at(end);

    let got = match input.parse::<Graph>().and_then(|graph| Ok((run_passes(&graph, &passes)?, graph))) {
        Ok((after, before)) => {
            verify(&after).unwrap();
            assert_eq!(after.to_string().parse::<Graph>().unwrap(), after, "{}", file.display());
            assert_same_results(&before, &after, agreement(&passes));
            format!("{EXPECT}{after}")
        }
        Err(error) => format!("{ERROR}{error}\n"),
    };
    if got != expected && std::env::var_os("WINDLASS_BLESS").is_some_and(|value| value == "1") {
        fs::write(file, format!("{input}{got}")).unwrap();
    } else {
        assert_eq!(got, expected, "{}:\n{got}", file.display());
    }
}

fn run_passes(graph: &Graph, names: &[&str]) -> Result<Graph, GraphError> {
    let options = PassOptions::default();
    let mut graph = graph.clone();
    for &name in names {
        graph = match name {
            "optimize inference" => optimize(&graph, Mode::Inference, &options, &mut |_| {})?,
            "optimize training" => optimize(&graph, Mode::Training, &options, &mut |_| {})?,
            _ => {
                let (_, pass) = passes::ALL.iter().find(|(known, _)| *known == name).expect(name);
                pass(&graph)?
            }
        };
    }
    Ok(graph)
}

/// Folding batch normalisation multiplies in another order, with its epsilon in f32, and pooling first adds in another
/// order; every other pass is exact.
fn agreement(passes: &[&str]) -> Agreement {
    let rounds = |name: &&str| *name == "optimize inference" || passes::ROUNDING.contains(name);
    if passes.iter().any(rounds) { Agreement::Within(1e-9) } else { Agreement::Exact }
}
