//! Frozen parameters and running statistics, named individually or by their layer.

use std::collections::{BTreeSet, HashSet};

use super::AutodiffError;
use super::names::matches;
use crate::entity::ValueId;
use crate::graph::{Graph, Node};
use crate::ops::source::Source;

/// The maximum number of names in a message.
const LISTED: usize = 40;

/// The parameters and states that training does not change.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    names: HashSet<String>,
}

impl Frozen {
    /// Resolves names: each is a parameter, a state, or a prefix of such names.
    pub(super) fn of(graph: &Graph, wanted: &BTreeSet<String>) -> Result<Self, AutodiffError> {
        let parameters: Vec<&str> =
            graph.parameters().map(|(_, parameter)| parameter.name.as_str()).collect();
        let states: Vec<&str> = graph.states().map(|(_, state)| state.name.as_str()).collect();
        let all = || parameters.iter().chain(&states).copied();
        let unknown: Vec<UnknownName> = wanted
            .iter()
            .filter(|wanted| !all().any(|name| matches(wanted, name)))
            .map(|wanted| UnknownName::new(wanted, &parameters, &states))
            .collect();
        if !unknown.is_empty() {
            let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
            return Err(AutodiffError::UnknownFrozen {
                unknown,
                parameters: owned(parameters),
                states: owned(states),
            });
        }
        let is_frozen = |name: &str| wanted.iter().any(|wanted| matches(wanted, name));
        Ok(Frozen { names: all().filter(|name| is_frozen(name)).map(str::to_owned).collect() })
    }

    /// Whether a parameter or state is frozen.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether a batch normalisation uses and keeps its running statistics: if one of these is frozen, or all of its
    /// parameters are.
    pub(super) fn fixes(&self, graph: &Graph, node: &Node) -> bool {
        let is_frozen = |value: &ValueId| {
            let stored = graph.producer(*value).op.source().filter(|source| source.is_stored());
            stored.and_then(Source::name).is_some_and(|name| self.contains(name))
        };
        match &node.operands[..] {
            [_, gamma, beta, mean, variance] => {
                [mean, variance].into_iter().any(is_frozen) || [gamma, beta].into_iter().all(is_frozen)
            }
            _ => false,
        }
    }
}

/// A name to freeze that no parameter, state or layer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The given name.
    pub name: String,
    /// The nearest existing name.
    pub nearest: Option<String>,
}

impl UnknownName {
    fn new(name: &str, parameters: &[&str], states: &[&str]) -> Self {
        // Layers are names too: everything before a dot.
        let names: BTreeSet<&str> = parameters
            .iter()
            .chain(states)
            .flat_map(|full| full.match_indices('.').map(|(dot, _)| &full[..dot]).chain([*full]))
            .collect();
        let nearest = nearest(name, names.into_iter());
        UnknownName { name: name.to_owned(), nearest: nearest.map(str::to_owned) }
    }
}

/// The existing name that a mistyped one most likely means.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = |candidate: &&str| (strsim::damerau_levenshtein(name, candidate), candidate.len());
    known
        .min_by_key(near)
        .filter(|candidate| strsim::damerau_levenshtein(name, candidate) <= 1 + name.chars().count() / 4)
}

/// The message of [`AutodiffError::UnknownFrozen`].
pub(super) fn message(unknown: &[UnknownName], parameters: &[String], states: &[String]) -> String {
    let mut text = "`frozen` has names of no parameter, state or layer:".to_owned();
    for UnknownName { name, nearest } in unknown {
        text += &format!("\n  - `{name}`");
        if let Some(nearest) = nearest {
            let kind = if states.contains(nearest) { "the state " } else { "" };
            text += &format!("; did you mean {kind}`{nearest}`?");
        }
    }
    for (kind, names) in [("parameters", parameters), ("states", states)] {
        if !names.is_empty() {
            let listed: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
            let more = if names.len() > LISTED { ", …" } else { "" };
            text += &format!("\n  {kind}: {}{more}", listed.join(", "));
        }
    }
    text
}
