//! The targets of a batch, and the check that they fit the loss.

use ndarray::{ArrayBase, ArrayView, Data, Dimension};
use windlass_compiler::autodiff::{Loss, class_axis};
use windlass_compiler::shape::{Dim, Shape, Sizes};

use crate::error::{Error, place_of};
use crate::network::{Element, Feed, IndexInput, Input, InputError, Samples};
use crate::trainer::sequences::LabelSequences;

/// The targets of a batch.
///
/// Several targets, of the losses of several outputs or of a loss of one's own, are given by name, in any order,
/// `[("class", Target::from(&labels)), ("place", Target::from(&places))]`, or in the order of their declaration,
/// `[Target::from(&labels), Target::from(&places)]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Target<'a> {
    /// A class for each sample, or for each step or pixel.
    Labels(IndexInput<'a>),
    /// A sequence of labels for each sample, for the CTC loss.
    Sequences(LabelSequences<'a>),
    /// Values of the output's shape.
    Values(Input<'a>),
    /// Several targets, by name.
    Named(Vec<(&'a str, Target<'a>)>),
    /// Several targets, in the order of their declaration.
    Ordered(Vec<Target<'a>>),
}

impl<'a, const COUNT: usize> From<[Target<'a>; COUNT]> for Target<'a> {
    fn from(targets: [Target<'a>; COUNT]) -> Self {
        Target::Ordered(targets.into())
    }
}

impl<'a> FromIterator<Target<'a>> for Target<'a> {
    fn from_iter<I: IntoIterator<Item = Target<'a>>>(targets: I) -> Self {
        Target::Ordered(targets.into_iter().collect())
    }
}

impl<'a, T: Into<Target<'a>>, const COUNT: usize> From<[(&'a str, T); COUNT]> for Target<'a> {
    fn from(targets: [(&'a str, T); COUNT]) -> Self {
        targets.into_iter().collect()
    }
}

impl<'a, T: Into<Target<'a>>> FromIterator<(&'a str, T)> for Target<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, T)>>(targets: I) -> Self {
        Target::Named(targets.into_iter().map(|(name, target)| (name, target.into())).collect())
    }
}

/// Indices are labels, numbers are values.
impl<'a, E: Element> From<Samples<'a, E>> for Target<'a> {
    fn from(target: Samples<'a, E>) -> Self {
        match target.into() {
            Feed::Numbers(values) => Target::Values(values),
            Feed::Indices(labels) => Target::Labels(labels),
        }
    }
}

/// What borrows its elements converts to a target as it does to samples.
macro_rules! target_from {
    ($([$($generics:tt)*] $from:ty;)*) => {$(
        impl<'a, E: Element, $($generics)*> From<$from> for Target<'a> {
            fn from(target: $from) -> Self {
                Samples::from(target).into()
            }
        }
    )*};
}

target_from! {
    [] &'a [E];
    [const LENGTH: usize] &'a [E; LENGTH];
    [] &'a Vec<E>;
    [S: Data<Elem = E>, D: Dimension] &'a ArrayBase<S, D>;
    [D: Dimension] ArrayView<'a, E, D>;
}

/// Names in a list of words.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Target<'_> {
    /// The target of an output.
    pub(crate) fn of(&self, output: &str) -> Option<&Self> {
        match self {
            Target::Named(targets) => {
                targets.iter().find(|(name, _)| *name == output).map(|(_, target)| target)
            }
            single => Some(single),
        }
    }

    /// What it holds, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Target::Labels(_) => "indices",
            Target::Sequences(_) => "sequences of labels",
            Target::Values(_) => "numbers",
            Target::Named(_) | Target::Ordered(_) => "several targets",
        }
    }

    /// Checks that there is one target for each of some names.
    pub(super) fn check_names<'n>(
        &self,
        network: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Result<(), Error> {
        let wrong =
            |expected: String, got: String| Err(Error::Target { network: network.to_owned(), expected, got });
        let Target::Named(targets) = self else {
            return match names.clone().count() {
                1 => Ok(()),
                _ => wrong(format!("targets by name for {}", listed(names)), "one without a name".to_owned()),
            };
        };
        for (index, (name, _)) in targets.iter().enumerate() {
            if !names.clone().any(|known| known == *name) {
                return wrong(format!("targets for {}", listed(names)), format!("one for `{name}`"));
            }
            if targets[..index].iter().any(|(other, _)| other == name) {
                return wrong("one target for each name".to_owned(), format!("several for `{name}`"));
            }
        }
        match names.clone().find(|name| self.of(name).is_none()) {
            Some(missing) => {
                let given = listed(targets.iter().map(|(name, _)| *name));
                wrong(format!("a target for `{missing}`"), format!("targets for {given}"))
            }
            None => Ok(()),
        }
    }

    /// Checks that it fits a loss, for a run whose output has this shape.
    pub(super) fn check(
        &self,
        network: &str,
        loss: &Loss,
        shape: &Shape,
        sizes: &Sizes,
    ) -> Result<(), Error> {
        let wrong =
            |expected: String, got: String| Err(Error::Target { network: network.to_owned(), expected, got });
        match self {
            Target::Named(targets) => {
                let given = listed(targets.iter().map(|(name, _)| *name));
                wrong("one target without a name".to_owned(), format!("targets for {given}"))
            }
            Target::Ordered(targets) => wrong("one target".to_owned(), format!("{} in order", targets.len())),
            Target::Sequences(sequences) => match loss {
                Loss::Ctc { blank, zero_infinity, .. } => {
                    sequences.check(network, *blank, !zero_infinity, &shape.concrete(sizes))
                }
                _ => wrong(format!("targets of the {}", loss.name()), "sequences of labels".to_owned()),
            },
            Target::Labels(_) if matches!(loss, Loss::Ctc { .. }) => wrong(
                "sequences of labels with their lengths, `LabelSequences`, for the CTC loss".to_owned(),
                "labels without lengths".to_owned(),
            ),
            Target::Values(_) if loss.takes_labels() => {
                wrong(format!("integer labels for the {}", loss.name()), "values".to_owned())
            }
            Target::Labels(_) if !loss.takes_labels() => {
                wrong(format!("values for the {}", loss.name()), "integer labels".to_owned())
            }
            Target::Labels(labels) => {
                let (dims, axis) = (shape.dims(), class_axis(shape));
                let Some(Dim::Fixed(classes)) = dims.get(axis) else {
                    return wrong("an output with a fixed number of classes".to_owned(), shape.to_string());
                };
                // Steps allocate nothing.
                let each = || dims[..axis].iter().chain(&dims[axis + 1..]).map(|dim| dim.at(sizes));
                let expected = each().fold(1usize, usize::saturating_mul);
                let what = match dims.len() {
                    2 => "sample",
                    _ if axis + 1 < dims.len() => "pixel",
                    _ => "step",
                };
                if let Some(got) = labels.shape() {
                    let fits = got.iter().copied().eq(each())
                        || sizes.batch() == 1 && got.iter().copied().eq(each().skip(1));
                    if !fits {
                        return wrong(
                            format!("labels of shape {:?}, one per {what}", each().collect::<Vec<_>>()),
                            format!("an array of shape {got:?}"),
                        );
                    }
                }
                let labels = labels.elements();
                if labels.len() != expected {
                    return wrong(
                        format!("{expected} labels, one per {what}"),
                        format!("{} labels", labels.len()),
                    );
                }
                let is_class = |label: i32| usize::try_from(label).is_ok_and(|label| label < *classes);
                match labels.iter().position(|&label| !is_class(label)) {
                    None => Ok(()),
                    Some(index) => {
                        let item: Vec<usize> = each().skip(1).collect();
                        let (network, place) = (network.to_owned(), place_of(index, &item));
                        Err(Error::Label { network, place, label: labels[index], classes: *classes })
                    }
                }
            }
            Target::Values(values) => {
                let whole = shape.concrete(sizes);
                let (items, item) = (whole.first().copied().unwrap_or(1), whole.get(1..).unwrap_or(&[]));
                match values.batch(item) {
                    Ok(got) if got == items => Ok(()),
                    Ok(got) => wrong(format!("{items} targets, one per sample"), format!("{got} targets")),
                    Err(InputError::Shape { got, .. }) => {
                        wrong(format!("targets of shape {whole:?}"), format!("an array of shape {got:?}"))
                    }
                    Err(InputError::Length { got, .. }) => {
                        wrong(format!("targets of shape {whole:?}"), format!("{got} numbers"))
                    }
                    Err(error @ (InputError::OpenSize { .. } | InputError::Kind { .. })) => {
                        wrong(format!("targets of shape {whole:?}"), error.to_string())
                    }
                }
            }
        }
    }
}
