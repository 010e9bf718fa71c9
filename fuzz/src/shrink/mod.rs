//! Makes a failing case as small as possible while it still fails.

mod edit;

use std::collections::HashSet;

use serde_json::Value;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Graph, source_name};

use crate::case::{Case, Setup};
use crate::corpus::{parse_setup, print_setup};
use crate::values::Values;
use edit::Edit;

/// Shrinks a failing case: tries smaller ones, and continues with the first that still fails, until none does or the
/// limit of tries is reached.
pub fn shrink(
    case: Case,
    setup: Option<Setup>,
    most_attempts: usize,
    fails: &mut dyn FnMut(&Case, Option<&Setup>) -> bool,
) -> (Case, Option<Setup>) {
    let (mut case, mut setup) = (case, setup);
    let mut attempts = 0;
    // Edits may undo each other: no case is taken twice.
    let mut taken = HashSet::new();
    // Where the last smaller case was found: earlier edits have just failed, and are tried again at the end.
    let mut start = 0;
    loop {
        let candidates = candidates(&case, setup.as_ref());
        let count = candidates.len();
        let order = (0..count).map(|step| (start + step) % count.max(1));
        let mut found = None;
        for index in order {
            if attempts == most_attempts {
                return (case, setup);
            }
            let Some((smaller, smaller_setup)) = candidates[index].apply(&case, setup.as_ref()) else {
                continue;
            };
            attempts += 1;
            if fails(&smaller, smaller_setup.as_ref())
                && taken.insert(print(&smaller, smaller_setup.as_ref()))
            {
                found = Some((index, smaller, smaller_setup));
                break;
            }
        }
        match found {
            Some((index, smaller, smaller_setup)) => {
                (case, setup) = (smaller, smaller_setup);
                start = index;
            }
            None => return (case, setup),
        }
    }
}

/// All that distinguishes a case.
fn print(case: &Case, setup: Option<&Setup>) -> String {
    let setup = setup.map(print_setup).unwrap_or_default();
    format!("{} {:?} {:?} {setup}", case.graph, case.batches, case.values)
}

/// A way to make a case smaller.
enum Candidate {
    Graph(Edit),
    Batches(Vec<usize>),
    Values(Values),
    /// The setup without one of its differences from the default.
    Setup(Vec<String>),
}

impl Candidate {
    fn apply(&self, case: &Case, setup: Option<&Setup>) -> Option<(Case, Option<Setup>)> {
        let mut smaller = case.clone();
        match self {
            Candidate::Graph(edit) => {
                smaller.graph = edit.apply(&case.graph)?;
                if same_but_for_names(&smaller.graph, &case.graph) {
                    return None;
                }
            }
            Candidate::Batches(batches) => smaller.batches.clone_from(batches),
            Candidate::Values(values) => smaller.values = *values,
            Candidate::Setup(path) => return Some((smaller, Some(without(setup?, path)?))),
        }
        Some((smaller, setup.cloned()))
    }
}

fn candidates(case: &Case, setup: Option<&Setup>) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    if let [_, _, ..] = case.batches[..] {
        candidates.extend(case.batches.iter().map(|&batch| Candidate::Batches(vec![batch])));
    }
    candidates.extend(Edit::all(&case.graph).into_iter().map(Candidate::Graph));
    for (index, &batch) in case.batches.iter().enumerate() {
        for smaller in [1, 2, batch / 2, batch - 1] {
            if (1..batch).contains(&smaller) {
                let mut batches = case.batches.clone();
                batches[index] = smaller;
                candidates.push(Candidate::Batches(batches));
            }
        }
    }
    let simpler = Values::ALL.iter().take_while(|&&values| values != case.values);
    candidates.extend(simpler.map(|&values| Candidate::Values(values)));
    if let Some(setup) = setup {
        let differences: Value = serde_json::from_str(&print_setup(setup)).unwrap_or_default();
        let mut paths = Vec::new();
        leaves(&differences, &mut vec![], &mut paths);
        candidates.extend(paths.into_iter().map(Candidate::Setup));
    }
    candidates
}

/// The paths to every part of a value: whole objects before their contents.
fn leaves(value: &Value, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    if !path.is_empty() {
        paths.push(path.clone());
    }
    let Value::Object(fields) = value else { return };
    for (name, field) in fields {
        path.push(name.clone());
        leaves(field, path, paths);
        path.pop();
    }
}

fn without(setup: &Setup, path: &[String]) -> Option<Setup> {
    let mut differences: Value = serde_json::from_str(&print_setup(setup)).ok()?;
    let (last, parents) = path.split_last()?;
    let mut at = &mut differences;
    for name in parents {
        at = at.get_mut(name)?;
    }
    at.as_object_mut()?.remove(last)?;
    parse_setup(&differences.to_string()).ok()
}

/// The size of a graph: its operators, and the elements of their results.
pub fn size(graph: &Graph) -> (usize, usize) {
    let operators = graph.nodes().iter().filter(|node| node.op.source().is_none());
    let elements = graph
        .nodes()
        .iter()
        .flat_map(|node| &node.results)
        .map(|&value| graph.ty(value).shape.item_elements())
        .sum();
    (operators.count(), elements)
}

/// Whether two graphs differ only in the names of their sources: a smaller source may have been replaced by one of the
/// required size.
fn same_but_for_names(a: &Graph, b: &Graph) -> bool {
    let ends = |graph: &Graph| -> Vec<ValueId> {
        graph.outputs().iter().chain(graph.updates()).map(|named| named.value).collect()
    };
    a.nodes().len() == b.nodes().len()
        && ends(a) == ends(b)
        && a.outputs().len() == b.outputs().len()
        && a.nodes().iter().zip(b.nodes()).all(|(one, other)| {
            let is_named = source_name(&one.op).is_some() && one.op.kind() == other.op.kind();
            one.operands == other.operands
                && a.types(&one.results) == b.types(&other.results)
                && (is_named || one.op == other.op)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::setups;
    use crate::generate::Generator;
    use windlass_compiler::ops::OpKind;

    #[test]
    fn a_failure_of_one_operator_shrinks_to_it() {
        let generator = Generator::new(5, vec![]);
        let mut found = 0;
        for index in 0..80 {
            let mut numbers = generator.numbers(index);
            let case = generator.case(index, &mut numbers);
            let has = |case: &Case, kind| case.graph.nodes().iter().any(|node| node.op.kind() == kind);
            if !has(&case, OpKind::Conv) {
                continue;
            }
            found += 1;
            let setup = setups::draw(&case, &mut numbers);
            let (case, setup) = shrink(case, Some(setup), 50_000, &mut |case, _| has(case, OpKind::Conv));
            assert_eq!(size(&case.graph).0, 1, "{}", case.graph);
            assert!(size(&case.graph).1 <= 6, "{}", case.graph);
            assert_eq!((case.batches, setup), (vec![1], Some(Setup::default())));
        }
        assert!(found > 5);
    }
}
