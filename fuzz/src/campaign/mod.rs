//! Long runs: graphs are divided among processes, so that a crash ends only one of them, and its case is known.

mod parent;
mod worker;

use std::collections::BTreeMap;
use std::panic;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use parent::{Campaign, Report};
pub use worker::Worker;

use crate::case::{Case, Setup};
use crate::corpus;
use crate::engines::{Failure, check, setups};

/// Statistics of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Graphs.
    pub graphs: u64,
    /// Graphs times the setups each was compiled under.
    pub runs: u64,
    /// Elements compared bit for bit.
    pub exact: u64,
    /// Elements compared within a tolerance.
    pub within: u64,
    /// Elements where single precision may overflow, which were not compared.
    pub open: u64,
    /// How often each operator was in a graph.
    pub operators: BTreeMap<String, u64>,
    /// How often each setting was in a setup.
    pub settings: BTreeMap<String, u64>,
}

impl Totals {
    /// Adds the statistics of another run.
    pub fn add(&mut self, other: &Totals) {
        self.graphs += other.graphs;
        self.runs += other.runs;
        self.exact += other.exact;
        self.within += other.within;
        self.open += other.open;
        for (own, others) in [(&mut self.operators, &other.operators), (&mut self.settings, &other.settings)]
        {
            for (name, count) in others {
                *own.entry(name.clone()).or_default() += count;
            }
        }
    }
}

/// A worker's messages, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// It starts a graph, or a setup of it after its cases are drawn and interpreted.
    Begin { graph: u64, setup: Option<usize> },
    /// A graph passed.
    Passed(Totals),
    /// A graph failed: the failure, and the shrunk case as a file.
    Failed { graph: u64, failure: String, file: String },
    /// All work is done.
    End,
}

/// Panics are reported, with their location, by the code that catches them.
pub fn quiet_panics() {
    panic::set_hook(Box::new(|_| {}));
}

/// Runs a file of the corpus with its own setups, or with the fixed ones if it has none.
///
/// # Errors
/// The failure, in words.
pub fn replay(path: &Path) -> Result<(), String> {
    let (case, own) = corpus::read(path).map_err(|error| error.to_string())?;
    let setups = if own.is_empty() { setups::fixed() } else { own };
    match check(&case, &setups) {
        Ok(_) => Ok(()),
        Err(found) => Err(describe(&found.0, found.1.as_ref())),
    }
}

fn describe(failure: &Failure, setup: Option<&Setup>) -> String {
    match setup {
        Some(setup) => format!("{failure}\nunder {}", corpus::print_setup(setup)),
        None => failure.to_string(),
    }
}

fn file(case: &Case, setup: Option<&Setup>, about: &str) -> String {
    corpus::print(case, setup.map(std::slice::from_ref).unwrap_or_default(), about)
}
