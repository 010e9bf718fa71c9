//! The targets of a batch, and the check that they fit the loss.

use windlass_compiler::autodiff::Loss;
use windlass_compiler::shape::{Dim, Shape, Sizes};

use crate::error::Error;
use crate::network::{Input, InputError};

/// The targets of a batch.
#[derive(Clone, Debug)]
pub enum Target<'a> {
    /// One class per sample, for the cross-entropy.
    Labels(&'a [i32]),
    /// Values of the output's shape, for the mean squared error.
    Values(Input<'a>),
}

impl<'a> From<&'a [i32]> for Target<'a> {
    fn from(labels: &'a [i32]) -> Self {
        Target::Labels(labels)
    }
}

impl<'a, const LENGTH: usize> From<&'a [i32; LENGTH]> for Target<'a> {
    fn from(labels: &'a [i32; LENGTH]) -> Self {
        Target::Labels(labels)
    }
}

impl<'a> From<&'a Vec<i32>> for Target<'a> {
    fn from(labels: &'a Vec<i32>) -> Self {
        Target::Labels(labels)
    }
}

impl<'a> From<Input<'a>> for Target<'a> {
    fn from(values: Input<'a>) -> Self {
        Target::Values(values)
    }
}

impl<'a> From<&'a [f32]> for Target<'a> {
    fn from(values: &'a [f32]) -> Self {
        Target::Values(values.into())
    }
}

impl<'a> From<&'a Vec<f32>> for Target<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Target::Values(values.into())
    }
}

impl<'a, D: ndarray::Dimension> From<&'a ndarray::Array<f32, D>> for Target<'a> {
    fn from(values: &'a ndarray::Array<f32, D>) -> Self {
        Target::Values(values.into())
    }
}

impl<'a, D: ndarray::Dimension> From<ndarray::ArrayView<'a, f32, D>> for Target<'a> {
    fn from(values: ndarray::ArrayView<'a, f32, D>) -> Self {
        Target::Values(values.into())
    }
}

impl Target<'_> {
    /// Checks that it fits a loss, for a run whose output has this shape.
    pub(super) fn check(&self, network: &str, loss: Loss, shape: &Shape, sizes: &Sizes) -> Result<(), Error> {
        let wrong =
            |expected: String, got: String| Err(Error::Target { network: network.to_owned(), expected, got });
        match self {
            Target::Values(_) if loss.takes_labels() => {
                wrong("integer labels for the cross-entropy".to_owned(), "values".to_owned())
            }
            Target::Labels(_) if !loss.takes_labels() => {
                wrong("values for the mean squared error".to_owned(), "integer labels".to_owned())
            }
            Target::Labels(labels) => {
                let dims = shape.dims();
                let Some((Dim::Fixed(classes), each)) = dims.split_last() else {
                    return wrong("an output with a fixed number of classes".to_owned(), shape.to_string());
                };
                let expected = each.iter().fold(1usize, |count, dim| count.saturating_mul(dim.at(sizes)));
                if labels.len() != expected {
                    let what = if each.len() > 1 { "step" } else { "sample" };
                    return wrong(
                        format!("{expected} labels, one per {what}"),
                        format!("{} labels", labels.len()),
                    );
                }
                let is_class = |label: i32| usize::try_from(label).is_ok_and(|label| label < *classes);
                match labels.iter().position(|&label| !is_class(label)) {
                    None => Ok(()),
                    Some(index) => {
                        let network = network.to_owned();
                        Err(Error::Label { network, index, label: labels[index], classes: *classes })
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
                    Err(error @ InputError::OpenSize { .. }) => {
                        wrong(format!("targets of shape {whole:?}"), error.to_string())
                    }
                }
            }
        }
    }
}
