//! Maps the tensors of a file to those of a network.

use std::collections::BTreeMap;

use safetensors::tensor::TensorInfo;
use windlass_compiler::autodiff::names::OPTIMIZER_PREFIX;

use crate::error::TensorMismatch;

/// Maps the tensors of a file to those of a network. By default, names are equal, and the file must name this network,
/// if it names one.
///
/// PyTorch files name layers by their index in a `Sequential`, `features.0.weight`, which is not a valid label here.
/// [`LoadOptions::rename`] maps these names to labels:
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
    /// The default: no renames, and a file of another network is refused.
    pub fn new() -> Self {
        LoadOptions::default()
    }

    /// Renames a tensor of the file, or all tensors whose names begin with `in_file` and a dot. If several renames
    /// match, the longest applies. An empty `in_network` removes the prefix; an empty `in_file` adds the prefix
    /// `in_network` to every name that no other rename matches.
    #[must_use]
    pub fn rename(mut self, in_file: impl Into<String>, in_network: impl Into<String>) -> Self {
        self.renames.push((in_file.into(), in_network.into()));
        self
    }

    /// Also loads a file that names another network.
    #[must_use]
    pub fn any_network(mut self) -> Self {
        self.any_network = true;
        self
    }

    /// The name in the network of a tensor in the file. An optimiser's state follows its parameter.
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

    /// The tensors of a file by their names in the network, and the errors of renaming.
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

/// The part of a name after a prefix and a dot; empty if they are equal.
fn rest_behind<'n>(name: &'n str, first: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(first)?;
    if rest.is_empty() || first.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}
