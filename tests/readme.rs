//! Texts in the README and in the book are the compiler's output: an error message in the README, and a small network at
//! every stage in the book's chapter on the compiler. Their programs run as documentation tests of the crate.

use windlass_compiler::graph::Graph;
use windlass_compiler::pass::{Mode, PassOptions, optimize};
use windlass_compiler::plan::{Plan, PlanOptions, plan};
use windlass_compiler::target::Target;

const README: &str = include_str!("../README.md");
const STAGES: &str = include_str!("../docs/book/src/compiler.md");

windlass::network! {
    network Tiny(image: [1, 6, 6]) -> [3] {
        c1: conv2d(2, kernel_size = 3); relu;
        flatten;
        f2: linear(3)
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Asserts that a document has a text in a block of its own.
#[track_caller]
fn shows(document: &str, text: &str) {
    let block = format!("```text\n{}\n```\n", text.trim_end());
    assert!(document.contains(&block), "the document should show\n\n{block}");
}

fn optimized() -> Result<Graph, Box<dyn std::error::Error>> {
    Ok(optimize(Tiny::graph(), Mode::Inference, &PassOptions::default(), &mut |_| {})?)
}

fn planned() -> Result<Plan, Box<dyn std::error::Error>> {
    // For x86-64 with 128 bits, because the README must not depend on the CPU.
    Ok(plan(&optimized()?, &PlanOptions::default(), &Target::x86_64(128))?)
}

#[test]
fn the_network_is_the_one_declared_there() {
    let source = include_str!("readme.rs");
    let start = source.find("windlass::network! {").expect("a network stands above");
    let declaration = &source[start..start + source[start..].find("\n}\n").expect("it ends") + 3];
    assert!(STAGES.contains(&format!("```rust\n{declaration}```\n")));
}

#[test]
fn the_graph() {
    shows(STAGES, &Tiny::graph().to_string());
}

#[test]
fn the_graph_after_all_passes() -> Outcome {
    shows(STAGES, &optimized()?.to_string());
    Ok(())
}

#[test]
fn the_plan() -> Outcome {
    shows(STAGES, &planned()?.to_string());
    Ok(())
}

#[test]
fn the_kernel_of_the_convolution() -> Outcome {
    shows(STAGES, &planned()?.run[0].to_string());
    Ok(())
}

#[test]
fn the_message_of_a_mistake() {
    let messages = include_str!("ui/linear_on_image.stderr");
    let first = messages.split("\n\n").next().unwrap_or_default();
    shows(README, first);
}
