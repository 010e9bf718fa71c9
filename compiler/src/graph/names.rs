//! An index of the names in a graph, with constant-time lookup.

use std::collections::{HashMap, HashSet};

use crate::entity::ValueId;
use crate::shape::Symbol;

/// The names in use, and the source of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names {
    sources: HashMap<String, ValueId>,
    outputs: HashSet<String>,
    updates: HashSet<String>,
    sizes: Vec<Symbol>,
}

/// The maximum number of open sizes of a graph.
pub(super) const MOST_SIZES: usize = 8;

impl Names {
    /// The value of an input, parameter or state.
    pub(super) fn source(&self, name: &str) -> Option<ValueId> {
        self.sources.get(name).copied()
    }

    /// Registers the name of a source. The name must be free.
    pub(super) fn add_source(&mut self, name: &str, value: ValueId) {
        self.sources.insert(name.to_owned(), value);
    }

    /// Registers names of open sizes; fails if there would be too many.
    pub(super) fn add_sizes(&mut self, sizes: &[Symbol]) -> bool {
        let new = sizes.iter().filter(|size| !self.sizes.contains(size)).copied().collect::<Vec<_>>();
        let fits = self.sizes.len() + new.len() <= MOST_SIZES;
        self.sizes.extend(new.into_iter().filter(|_| fits));
        fits
    }

    /// Registers the name of an output; fails if another output has it.
    pub(super) fn add_output(&mut self, name: &str) -> bool {
        self.outputs.insert(name.to_owned())
    }

    /// Frees the names of all outputs.
    pub(super) fn clear_outputs(&mut self) {
        self.outputs.clear();
    }

    /// Frees the names of all updates.
    pub(super) fn clear_updates(&mut self) {
        self.updates.clear();
    }

    /// Registers the name of an update; fails if another update has it.
    pub(super) fn add_update(&mut self, name: &str) -> bool {
        self.updates.insert(name.to_owned())
    }
}
