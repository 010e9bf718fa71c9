//! Deliberate bugs in the compiler: each is found within a bounded number of graphs, which pass without it.
//!
//! A bug may end the process, so each is tried in a separate process: this program, started again with the name of the
//! fault in `WINDLASS_SEEDED_FAULT`.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::faults::{Fault, arm};
use windlass_compiler::ops::OpKind;
use windlass_fuzz::case::{Case, Setup};
use windlass_fuzz::engines::{Failure, check, setups};
use windlass_fuzz::generate::Generator;

const VARIABLE: &str = "WINDLASS_SEEDED_FAULT";

/// The maximum number of graphs to try for a fault.
const GRAPHS: u64 = 400;

/// The signal for an inaccessible page.
const SEGMENTATION_FAULT: i32 = 11;

/// The check that finds a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    /// A result that must be exact is not.
    Exact,
    /// A result's error exceeds the bounds of its operators.
    Bounds,
    /// Two runs of the same program differ, including those between guard pages.
    OtherBits,
    /// A plan accesses memory that it must not use.
    Plan,
    /// The check of plans for data races.
    Races,
    /// A guard page ends the process.
    GuardPage,
}

impl By {
    const ALL: [By; 6] = [By::Exact, By::Bounds, By::OtherBits, By::Plan, By::Races, By::GuardPage];
}

/// The operators of the graphs for a fault; all if there are none.
fn operators(fault: Fault) -> Vec<OpKind> {
    match fault {
        Fault::WrongStride | Fault::MissingPrepack => vec![OpKind::Conv],
        Fault::DroppedTail => vec![OpKind::Linear, OpKind::Conv],
        Fault::SwappedOperand => vec![OpKind::Binary],
        Fault::StaleMask => vec![OpKind::SignMask, OpKind::MaskedSelect],
        Fault::WrongPartialSum => vec![OpKind::ConvGradWeight],
        Fault::LanePastEnd => vec![OpKind::Unary, OpKind::SignMask],
        Fault::EpilogueTwice => vec![OpKind::Linear],
        Fault::OverlappingBlocks => vec![OpKind::Linear, OpKind::Conv],
        Fault::ArenaOverlap | Fault::OperandReusedTooEarly => vec![],
    }
}

/// Whether a fault has code on this CPU.
fn is_possible(fault: Fault) -> bool {
    fault != Fault::LanePastEnd || available_vector_bits().iter().any(|&bits| bits > 128)
}

fn draw(generator: &Generator, graph: u64) -> (Case, Setup) {
    let mut numbers = generator.numbers(graph);
    let case = generator.case(graph, &mut numbers);
    let setup = setups::draw(&case, &mut numbers);
    (case, Setup { guard: true, ..setup })
}

fn by(failure: &Failure) -> By {
    match failure {
        Failure::Wrong { disagreement, .. } if disagreement.tolerance.is_none() => By::Exact,
        Failure::Wrong { .. } => By::Bounds,
        Failure::Unstable { .. } | Failure::Breach { .. } => By::OtherBits,
        Failure::Plan { .. } => By::Plan,
        Failure::Refused { message } if message.contains("the same elements") => By::Races,
        failure @ (Failure::Refused { .. } | Failure::Panic { .. } | Failure::Crash { .. }) => {
            panic!("a fault that shows in no result: {failure}")
        }
    }
}

/// Looks for a fault, in a separate process: prints which check found it, unless that ends the process.
#[test]
fn one_fault() {
    let Ok(name) = std::env::var(VARIABLE) else { return };
    let fault = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name).expect("a fault's name");
    let generator = Generator::new(1, operators(fault));
    for graph in 0..GRAPHS {
        let (case, setup) = draw(&generator, graph);
        // The graph is valid.
        arm(None);
        if let Err(found) = check(&case, std::slice::from_ref(&setup)) {
            panic!("graph {graph} fails without a fault: {}\n{}", found.0, case.graph);
        }
        arm(Some(fault));
        println!("trying graph {graph}");
        if let Err(found) = check(&case, &[setup]) {
            println!("found by {:?} at graph {graph}: {}", by(&found.0), found.0);
            return;
        }
    }
    println!("not found in {GRAPHS} graphs");
}

/// The check that finds a fault, and the last line about it.
fn find(fault: Fault) -> (Option<By>, String) {
    let this = std::env::current_exe().expect("a test has a program");
    let output = Command::new(this)
        .args(["--exact", "one_fault", "--nocapture", "--test-threads", "1"])
        .env(VARIABLE, format!("{fault:?}"))
        .output()
        .expect("the program of a test starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().find_map(|line| line.strip_prefix("found by "));
    let last = text.lines().rfind(|line| line.starts_with("trying")).unwrap_or_default();
    match (found, output.status.code()) {
        (Some(line), _) => {
            (By::ALL.into_iter().find(|by| line.starts_with(&format!("{by:?}"))), line.to_owned())
        }
        (None, None) if output.status.signal() == Some(SEGMENTATION_FAULT) => {
            (Some(By::GuardPage), format!("GuardPage at {last}: {}", output.status))
        }
        (None, _) => (None, format!("{last}\n{text}\n{}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[test]
fn every_seeded_fault_is_found() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut missed = Vec::new();
    for fault in Fault::ALL.into_iter().filter(|&fault| is_possible(fault)) {
        let (found, how) = find(fault);
        println!("{fault:?}: {how}");
        // An access out of bounds affects no result: it ends at a guard page. Nor does a duplicate write.
        let expected = match fault {
            Fault::LanePastEnd => Some(By::GuardPage),
            Fault::OverlappingBlocks => Some(By::Races),
            _ => found,
        };
        if found.is_none() || found != expected {
            missed.push(format!("{fault:?}: {how}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
