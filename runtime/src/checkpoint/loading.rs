//! Maps the tensors of a file to those of a network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use safetensors::tensor::TensorInfo;
use windlass_compiler::autodiff::names::{OPTIMIZER_PREFIX, captures, matches};
use windlass_compiler::graph::Graph;

use super::is_batch_counter;
use crate::error::TensorMismatch;

/// Maps the tensors of a file to those of a network. By default, names are equal, the file must name this network, if it
/// names one, and have all its tensors and no others.
///
/// PyTorch files name layers by their index in a `Sequential`, `features.0.weight`, which is not a valid label here.
/// [`LoadOptions::rename`] maps these names to labels:
///
/// ```
/// use windlass::LoadOptions;
///
/// let options = LoadOptions::new()
///     .rename("features.0", "c1") // features.0.weight → c1.weight, features.0.bias → c1.bias
///     .rename("features.3", "c2")
///     .rename("layer*.*.downsample.0", "layer*_*.down") // layer2.0.downsample.0.weight → layer2_0.down.weight
///     .rename("module", ""); // module.f3.weight → f3.weight
/// assert_eq!(options.renamed("features.0.weight"), "c1.weight");
/// assert_eq!(options.renamed("layer2.0.downsample.0.weight"), "layer2_0.down.weight");
/// assert_eq!(options.renamed("module.f3.weight"), "f3.weight");
/// assert_eq!(options.renamed("features.01.weight"), "features.01.weight");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadOptions {
    renames: Vec<(String, String)>,
    rename_with: Option<Renaming>,
    is_in_order: bool,
    missing: Vec<String>,
    unexpected: Vec<String>,
    pub(super) any_network: bool,
}

/// A function from names to names.
#[derive(Clone)]
struct Renaming(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl fmt::Debug for Renaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

impl PartialEq for Renaming {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Renaming {}

impl LoadOptions {
    /// The default: no renames, and a file of another network is refused.
    pub fn new() -> Self {
        LoadOptions::default()
    }

    /// Renames a tensor of the file, or all tensors whose names begin with `in_file` and a dot. If several renames
    /// match, the longest applies. An empty `in_network` removes the prefix; an empty `in_file` adds the prefix
    /// `in_network` to every name that no other rename matches.
    ///
    /// A `*` in `in_file` stands for any characters, as few as possible; each `*` in `in_network` is what the one at its
    /// place stands for.
    #[must_use]
    pub fn rename(mut self, in_file: impl Into<String>, in_network: impl Into<String>) -> Self {
        self.renames.push((in_file.into(), in_network.into()));
        self
    }

    /// Renames every tensor of the file by a function, before all other renames.
    ///
    /// ```
    /// use windlass::LoadOptions;
    /// let options = LoadOptions::new().rename_with(|name| name.replace("gamma", "weight"));
    /// assert_eq!(options.renamed("n1.gamma"), "n1.weight");
    /// ```
    #[must_use]
    pub fn rename_with(mut self, rename: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.rename_with = Some(Renaming(Arc::new(rename)));
        self
    }

    /// Maps the layers of the file to those of the network in order, whatever their names: for a PyTorch `Sequential`,
    /// whose layers are numbered. Layers without tensors do not count. Renames apply before; they can number what has
    /// words as names: `.rename("features", "0").rename("classifier", "1").in_order()`.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.is_in_order = true;
        self
    }

    /// Does not load the tensors of the network that a pattern stands for, if the file lacks them or has them in another
    /// shape: they keep the values that they have. Patterns are those of
    /// [`names::matches`](windlass_compiler::autodiff::names::matches): `head` or `head.*` for everything in the block or
    /// layer `head`.
    #[must_use]
    pub fn ignore_missing(mut self, pattern: impl Into<String>) -> Self {
        self.missing.push(pattern.into());
        self
    }

    /// Skips tensors of the file that the network does not have and that a pattern, as in
    /// [`LoadOptions::ignore_missing`], stands for. Names are those after renaming.
    #[must_use]
    pub fn ignore_unexpected(mut self, pattern: impl Into<String>) -> Self {
        self.unexpected.push(pattern.into());
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
        let name = match &self.rename_with {
            Some(Renaming(rename)) => rename(name),
            None => name.to_owned(),
        };
        let fitting =
            self.renames.iter().filter_map(|(from, to)| Some((rest_behind(&name, from)?, from, to)));
        match fitting.max_by_key(|(_, from, _)| from.len()) {
            None => name,
            Some(((captured, rest), _, to)) => {
                let mut captured = captured.into_iter();
                let to = to.split('*').enumerate().fold(String::new(), |text, (place, part)| match place {
                    0 => part.to_owned(),
                    _ => text + captured.next().unwrap_or("*") + part,
                });
                match rest {
                    "" => to,
                    rest if to.is_empty() => rest.to_owned(),
                    rest => format!("{to}.{rest}"),
                }
            }
        }
    }

    /// Whether a tensor of the network may be missing.
    pub(super) fn may_be_missing(&self, name: &str) -> bool {
        self.missing.iter().any(|pattern| matches(pattern, parameter_of(name)))
    }

    /// Whether a tensor of the file is skipped if the network does not have it.
    pub(super) fn is_skipped(&self, name: &str) -> bool {
        self.unexpected.iter().any(|pattern| matches(pattern, parameter_of(name)))
    }

    /// The tensors of a file by their names in the network, and the errors of renaming.
    pub(super) fn apply(
        &self,
        infos: BTreeMap<String, TensorInfo>,
        graph: &Graph,
    ) -> (BTreeMap<String, TensorInfo>, Vec<TensorMismatch>) {
        let is_there = |from: &str| {
            infos.keys().any(|name| match &self.rename_with {
                Some(Renaming(rename)) => rest_behind(&rename(name), from).is_some(),
                None => rest_behind(name, from).is_some(),
            })
        };
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
        if self.is_in_order {
            match in_order(renamed.keys(), graph) {
                Ok(layers) => {
                    let by_order = |name: String| match name.rsplit_once('.') {
                        Some((layer, last)) => {
                            layers.get(layer).map_or(name.clone(), |layer| format!("{layer}.{last}"))
                        }
                        None => name,
                    };
                    renamed = renamed.into_iter().map(|(name, info)| (by_order(name), info)).collect();
                }
                Err(mismatch) => mismatches.push(mismatch),
            }
        }
        (renamed, mismatches)
    }
}

/// The parameter of an optimiser's state, or the name itself.
fn parameter_of(name: &str) -> &str {
    let state = name.strip_prefix(OPTIMIZER_PREFIX).and_then(|rest| rest.split_once('.'));
    state.map_or(name, |(_, parameter)| parameter)
}

/// The layer of the network for each layer of a file, in the order of their numbers.
fn in_order<'n>(
    names: impl Iterator<Item = &'n String>,
    graph: &Graph,
) -> Result<BTreeMap<String, String>, TensorMismatch> {
    let layer = |name: &str| name.rsplit_once('.').map(|(layer, _)| layer.to_owned());
    let is_counted = |name: &&String| !is_batch_counter(name) && !name.starts_with(OPTIMIZER_PREFIX);
    let mut in_file: Vec<String> = names.filter(is_counted).filter_map(|name| layer(name)).collect();
    in_file.sort();
    in_file.dedup();
    let mut in_network: Vec<String> = Vec::new();
    for layer in graph.parameters().filter_map(|(_, parameter)| layer(&parameter.name)) {
        if !in_network.contains(&layer) {
            in_network.push(layer);
        }
    }
    // Common words before the numbers, such as `net.0`, do not matter.
    let words = |name: &str| name.split('.').take_while(|part| part.parse::<u64>().is_err()).count();
    let common = in_file.first().map_or(0, |first| words(first));
    let is_common = |name: &String| {
        in_file.first().is_some_and(|first| first.split('.').take(common).eq(name.split('.').take(common)))
    };
    let numbers = |name: &String| {
        name.split('.').skip(common).map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()
    };
    let mut numbered = Vec::new();
    for name in &in_file {
        match numbers(name).filter(|_| is_common(name)) {
            Some(numbers) => numbered.push((numbers, name.clone())),
            None => return Err(TensorMismatch::NoOrder { layer: name.clone() }),
        }
    }
    numbered.sort();
    if numbered.len() != in_network.len() {
        return Err(TensorMismatch::LayersDiffer { expected: in_network.len(), got: numbered.len() });
    }
    Ok(numbered.into_iter().map(|(_, name)| name).zip(in_network).collect())
}

/// What the `*` of a prefix stand for, and the part of a name after it and a dot; empty if they are equal.
fn rest_behind<'n>(name: &'n str, first: &str) -> Option<(Vec<&'n str>, &'n str)> {
    if first.is_empty() {
        return Some((Vec::new(), name));
    }
    captures(first, name).map(|(captured, rest)| (captured, rest.strip_prefix('.').unwrap_or(rest)))
}
