//! How the tensors of a file become those of a network: their names there, and whose they are.

use std::collections::BTreeMap;

use safetensors::tensor::TensorInfo;
use windlass_compiler::autodiff::names::OPTIMIZER_PREFIX;

use crate::error::TensorMismatch;

/// How the tensors of a file become those of a network. By default their names are the network's, and the file, if it says
/// whose it is, holds this network.
///
/// Files of PyTorch name layers by their place in a `Sequential`, `features.0.weight`, which no layer can be labelled here.
/// [`LoadOptions::rename`] tells which layer is which:
///
/// ```
/// use windlass_runtime::LoadOptions;
///
/// let options = LoadOptions::new()
///     .rename("features.0", "c1") // features.0.weight → c1.weight, features.0.bias → c1.bias
///     .rename("features.3", "c2")
///     .rename("module", ""); // module.f3.weight → f3.weight
/// assert_eq!(options.renamed("features.0.weight"), "c1.weight");
/// assert_eq!(options.renamed("module.f3.weight"), "f3.weight");
/// assert_eq!(options.renamed("features.01.weight"), "features.01.weight");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    renames: Vec<(String, String)>,
    pub(super) any_network: bool,
}

impl LoadOptions {
    /// The default: nothing is renamed, and a file of another network is refused.
    pub fn new() -> Self {
        LoadOptions::default()
    }

    /// Renames a tensor of the file, or all whose names begin with `in_file` and a dot. Of several that fit, the longest
    /// counts. An empty `in_network` leaves the beginning out; an empty `in_file` puts `in_network` before every name that
    /// nothing else fits.
    #[must_use]
    pub fn rename(mut self, in_file: impl Into<String>, in_network: impl Into<String>) -> Self {
        self.renames.push((in_file.into(), in_network.into()));
        self
    }

    /// Loads what fits also from a file that says it holds another network.
    #[must_use]
    pub fn any_network(mut self) -> Self {
        self.any_network = true;
        self
    }

    /// What a tensor of the file is called in the network. An optimiser's state goes by the parameter it belongs to.
    pub fn renamed(&self, name: &str) -> String {
        let state = name.strip_prefix(OPTIMIZER_PREFIX).and_then(|rest| rest.split_once('.'));
        if let Some((kind, parameter)) = state {
            return format!("{OPTIMIZER_PREFIX}{kind}.{}", self.renamed(parameter));
        }
        let fitting = self.renames.iter().filter_map(|(from, to)| Some((rest_behind(name, from)?, from, to)));
        match fitting.max_by_key(|(_, from, _)| from.len()) {
            None => name.to_owned(),
            Some((rest, _, to)) if rest.is_empty() || to.is_empty() => format!("{to}{rest}"),
            Some((rest, _, to)) => format!("{to}.{rest}"),
        }
    }

    /// The tensors of a file by their names in the network, and what cannot be renamed.
    pub(super) fn apply(
        &self,
        infos: BTreeMap<String, TensorInfo>,
    ) -> (BTreeMap<String, TensorInfo>, Vec<TensorMismatch>) {
        let is_there = |from: &str| infos.keys().any(|name| rest_behind(name, from).is_some());
        let absent = self.renames.iter().filter(|(from, _)| !is_there(from));
        let mut mismatches: Vec<TensorMismatch> =
            absent.map(|(from, _)| TensorMismatch::NothingToRename { name: from.clone() }).collect();
        let mut renamed = BTreeMap::new();
        let mut in_file: BTreeMap<String, String> = BTreeMap::new();
        for (name, info) in infos {
            let new = self.renamed(&name);
            if let Some(other) = in_file.insert(new.clone(), name.clone()) {
                mismatches.push(TensorMismatch::SameName { name: new.clone(), in_file: [other, name] });
            }
            renamed.insert(new, info);
        }
        (renamed, mismatches)
    }
}

/// What follows a name, or the first parts of one; without the dot.
fn rest_behind<'n>(name: &'n str, first: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(first)?;
    if rest.is_empty() || first.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}
