//! The names in a graph, found at once however many there are.

use std::collections::{HashMap, HashSet};

use crate::entity::ValueId;
use crate::shape::Symbol;

/// Which names are taken, and by which source.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names {
    sources: HashMap<String, ValueId>,
    outputs: HashSet<String>,
    updates: HashSet<String>,
    sizes: Vec<Symbol>,
}

/// The most open sizes of a graph.
pub(super) const MOST_SIZES: usize = 8;

impl Names {
    /// The value of an input, parameter or state.
    pub(super) fn source(&self, name: &str) -> Option<ValueId> {
        self.sources.get(name).copied()
    }

    /// Takes a name that no source has.
    pub(super) fn add_source(&mut self, name: &str, value: ValueId) {
        self.sources.insert(name.to_owned(), value);
    }

    /// Takes the names of open sizes, unless there are too many then.
    pub(super) fn add_sizes(&mut self, sizes: &[Symbol]) -> bool {
        let new = sizes.iter().filter(|size| !self.sizes.contains(size)).copied().collect::<Vec<_>>();
        let fits = self.sizes.len() + new.len() <= MOST_SIZES;
        self.sizes.extend(new.into_iter().filter(|_| fits));
        fits
    }

    /// Takes a name, unless an output has it.
    pub(super) fn add_output(&mut self, name: &str) -> bool {
        self.outputs.insert(name.to_owned())
    }

    /// Takes a name, unless an update has it.
    pub(super) fn add_update(&mut self, name: &str) -> bool {
        self.updates.insert(name.to_owned())
    }
}
