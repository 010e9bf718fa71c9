//! Runs every file of `filetests/plan`: a graph, the settings it is planned with, and the plan and kernels it must give.
//!
//! ```text
//! ; plan: threads 2, panel 64         settings: `threads`, `panel` bytes or `whole`, `bits`, `strict`;
//!                                     `choices` expects these alone
//! ; What the case shows.
//! graph name { … }
//! ; expect:
//! plan name { … }
//! kernel … { … }
//! ```
//!
//! With the environment variable `WINDLASS_BLESS=1` the files are rewritten to expect what came out.

#![cfg(feature = "codegen")]

use std::fs;
use std::path::Path;

use windlass_compiler::graph::Graph;
use windlass_compiler::plan::{Accuracy, Im2col, PlanOptions, plan};

const EXPECT: &str = "; expect:\n";

/// The options, and whether only the choices are of interest.
fn settings(header: &str) -> (PlanOptions, bool) {
    let settings = header.strip_prefix("; plan:").expect("the first line is `; plan: …`");
    let mut choices = false;
    let mut options = PlanOptions::default();
    for setting in settings.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
        match setting.split_once(' ') {
            Some(("threads", count)) => options.threads = count.parse().unwrap(),
            Some(("panel", bytes)) => options.im2col = Im2col::Tiled { panel_bytes: bytes.parse().unwrap() },
            Some(("bits", bits)) => options.vector_bits = Some(bits.parse().unwrap()),
            None if setting == "strict" => options.accuracy = Accuracy::Strict,
            None if setting == "choices" => choices = true,
            None if setting == "whole" => options.im2col = Im2col::Whole,
            _ => panic!("no setting `{setting}`"),
        }
    }
    (options, choices)
}

fn check(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let (input, expected) = text.split_at(text.find(EXPECT).unwrap_or(text.len()));
    let graph: Graph = input.parse().unwrap();
    let (options, choices) = settings(text.lines().next().unwrap_or_default());
    let plan = plan(&graph, &options).unwrap();
    let kernels: String = plan.prepare.iter().chain(&plan.run).map(|kernel| format!("\n{kernel}")).collect();
    let got = if choices { format!("{EXPECT}{}", plan.choices) } else { format!("{EXPECT}{plan}{kernels}") };
    if got != expected && std::env::var_os("WINDLASS_BLESS").is_some_and(|value| value == "1") {
        fs::write(file, format!("{input}{got}")).unwrap();
    } else {
        assert_eq!(got, expected, "{}:\n{got}", file.display());
    }
}

#[test]
fn every_file_gives_the_plan_it_expects() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests/plan");
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4, "only {} files in {}", files.len(), directory.display());
    files.iter().for_each(|file| check(file));
}
