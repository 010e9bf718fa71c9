//! Cases as files: the text of the graph, after comments that describe its inputs and options.
//!
//! ```text
//! ; What the case is about.
//! ; case {"mode":"training","batches":[3],"values":"reals","seed":17}
//! ; setup {"options":{"plan":{"threads":2}},"guard":true}
//! graph fuzz {
//!   …
//! }
//! ```
//!
//! A setup lists only differences from the default. A case without setups is run with the fixed sets of options.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;

use crate::case::{Case, Setup};
use crate::values::Values;

/// Why a file is not a case.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The reason.
        error: std::io::Error,
    },
    /// There is not exactly one line `; case {…}`.
    #[error("needs one line `; case {{…}}` but has {got}")]
    Cases {
        /// The number of such lines.
        got: usize,
    },
    /// A line that does not parse.
    #[error("the line `; {line}` is not understood: {error}")]
    Line {
        /// The line.
        line: String,
        /// The reason.
        error: serde_json::Error,
    },
    /// The graph is not one.
    #[error("the graph is broken: {0}")]
    Graph(#[from] windlass_compiler::error::GraphError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    mode: CaseMode,
    batches: Vec<usize>,
    values: Values,
    seed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CaseMode {
    Inference,
    Training,
}

/// Merges the parts in `changes` into `value`.
fn overlay(value: &mut Value, changes: Value) {
    match (value, changes) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (name, change) in changes {
                match fields.get_mut(&name) {
                    Some(field) => overlay(field, change),
                    None => drop(fields.insert(name, change)),
                }
            }
        }
        (value, changes) => *value = changes,
    }
}

/// The differences from the default; `None` if there are none.
fn difference(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (value, default) if value == *default => None,
        (Value::Object(fields), Value::Object(defaults)) => Some(Value::Object(
            fields
                .into_iter()
                .filter_map(|(name, field)| {
                    let default = defaults.get(&name).unwrap_or(&Value::Null);
                    difference(field, default).map(|field| (name, field))
                })
                .collect(),
        )),
        (value, _) => Some(value),
    }
}

fn to_json(setup: &Setup) -> Value {
    serde_json::to_value(setup).expect("options are plain data")
}

/// Prints a setup in one line.
pub fn print_setup(setup: &Setup) -> String {
    difference(to_json(setup), &to_json(&Setup::default()))
        .unwrap_or_else(|| Value::Object(Default::default()))
        .to_string()
}

/// Reads a setup.
///
/// # Errors
/// If the text is not a setup.
pub fn parse_setup(text: &str) -> Result<Setup, serde_json::Error> {
    let mut value = to_json(&Setup::default());
    overlay(&mut value, serde_json::from_str(text)?);
    serde_json::from_value(value)
}

/// Prints a case with its setups.
pub fn print(case: &Case, setups: &[Setup], about: &str) -> String {
    let mut text = String::new();
    for line in about.lines() {
        let _ = writeln!(text, "; {line}");
    }
    let mode = match case.mode {
        Mode::Inference => CaseMode::Inference,
        Mode::Training => CaseMode::Training,
    };
    let header = Header { mode, batches: case.batches.clone(), values: case.values, seed: case.seed };
    let header = serde_json::to_string(&header).expect("plain data");
    let _ = writeln!(text, "; case {header}");
    for setup in setups {
        let _ = writeln!(text, "; setup {}", print_setup(setup));
    }
    let _ = write!(text, "{}", case.graph);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Parses a case and its setups.
///
/// # Errors
/// [`CorpusError`] for text that does not parse.
pub fn parse(text: &str) -> Result<(Case, Vec<Setup>), CorpusError> {
    let comments = text.lines().filter_map(|line| line.strip_prefix("; "));
    let (mut headers, mut setups) = (Vec::new(), Vec::new());
    for line in comments {
        let broken = |error| CorpusError::Line { line: line.to_owned(), error };
        if let Some(header) = line.strip_prefix("case ").filter(|rest| rest.starts_with('{')) {
            headers.push(serde_json::from_str::<Header>(header).map_err(broken)?);
        } else if let Some(setup) = line.strip_prefix("setup ").filter(|rest| rest.starts_with('{')) {
            setups.push(parse_setup(setup).map_err(broken)?);
        }
    }
    let got = headers.len();
    let (Some(header), 1) = (headers.pop(), got) else { return Err(CorpusError::Cases { got }) };
    let graph: Graph = text.parse()?;
    windlass_compiler::graph::verify(&graph)?;
    let mode = match header.mode {
        CaseMode::Inference => Mode::Inference,
        CaseMode::Training => Mode::Training,
    };
    let case = Case { graph, mode, batches: header.batches, values: header.values, seed: header.seed };
    Ok((case, setups))
}

/// Reads a case and its setups from a file.
///
/// # Errors
/// Those of [`parse`], and [`CorpusError::Read`].
pub fn read(path: &Path) -> Result<(Case, Vec<Setup>), CorpusError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CorpusError::Read { path: path.display().to_string(), error })?;
    parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::setups;
    use crate::generate::Generator;

    #[test]
    fn cases_print_and_parse() {
        let generator = Generator::new(3, vec![]);
        for index in 0..100 {
            let mut numbers = generator.numbers(index);
            let case = generator.case(index, &mut numbers);
            let setups: Vec<Setup> = (0..3).map(|_| setups::draw(&case, &mut numbers)).collect();
            let text = print(&case, &setups, "Anything; about it.");
            let (parsed, parsed_setups) = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!((parsed, parsed_setups), (case, setups), "{text}");
        }
    }

    #[test]
    fn what_is_no_case_is_named() {
        assert!(matches!(parse("graph g {\n}"), Err(CorpusError::Cases { got: 0 })));
        let error = parse("; case {\"mode\":\"sideways\"}\ngraph g {\n}").unwrap_err();
        assert!(error.to_string().contains("sideways"), "{error}");
    }
}
