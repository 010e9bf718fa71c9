//! The targets that the losses of a step declare: their names and types.

use std::sync::Arc;

use windlass_compiler::autodiff::{Loss, OutputLoss};
use windlass_compiler::shape::{DType, Sizes, Type};

use super::Target;
use crate::error::{Error, place_of};
use crate::network::ports::Ports;
use crate::network::{IndexInput, Input};

/// The targets of a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    /// The names of targets, in order; none if a single target needs no name.
    names: Vec<String>,
    /// The types of the targets of a loss of one's own, each with the exclusive limit of its indices.
    types: Vec<(Type, Option<usize>)>,
}

impl Declared {
    /// The targets of some losses, for a network with these outputs.
    pub(crate) fn of(loss: &Loss, losses: &[OutputLoss], ports: &Ports) -> Arc<Self> {
        let mut declared = Declared::default();
        if let (Loss::Custom(custom), true) = (loss, losses.is_empty()) {
            let is_output = |name: &str| ports.outputs.iter().any(|(output, _)| output == name);
            for (name, ty) in custom.targets(is_output) {
                declared.types.push((ty.clone(), custom.limit(name)));
                declared.names.push(name.to_owned());
            }
        }
        declared.names.extend(losses.iter().map(|loss| loss.output.clone()));
        Arc::new(declared)
    }

    /// The names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.iter().map(String::as_str)
    }

    /// A target whose parts have names, if it is given in order.
    pub(crate) fn named<'t>(&'t self, network: &str, target: Target<'t>) -> Result<Target<'t>, Error> {
        let Target::Ordered(targets) = target else { return Ok(target) };
        // A loss without declared targets has one.
        let expected = self.names.len().max(1);
        if targets.len() != expected {
            let listed = self.names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let expected = match self.names.len() {
                0 | 1 => "one target".to_owned(),
                count => format!("{count} targets, of {listed}"),
            };
            let (network, got) = (network.to_owned(), format!("{} in order", targets.len()));
            return Err(Error::Target { network, expected, got });
        }
        match (self.names.is_empty(), targets) {
            (true, targets) => Ok(targets.into_iter().next().unwrap_or(Target::Named(Vec::new()))),
            (false, targets) => Ok(self.names().zip(targets).collect()),
        }
    }

    /// Checks that targets are those of a loss of one's own, for a run of these sizes.
    pub(super) fn check(&self, network: &str, target: &Target<'_>, sizes: &Sizes) -> Result<(), Error> {
        target.check_names(network, self.names())?;
        for (name, (ty, limit)) in self.names().zip(&self.types) {
            let Some(own) = target.of(name) else { continue };
            let wrong = |expected: String, got: String| {
                let expected = format!("{expected} for the target `{name}`");
                Err(Error::Target { network: network.to_owned(), expected, got })
            };
            let whole = ty.shape.concrete(sizes);
            match (own, ty.dtype) {
                (Target::Values(values), DType::F32) => {
                    if let Err(got) = misfit(values, &whole) {
                        return wrong(format!("numbers of shape {whole:?}"), got);
                    }
                }
                (Target::Labels(labels), DType::I32) => {
                    if let Err(got) = misfit(labels, &whole) {
                        return wrong(format!("indices of shape {whole:?}"), got);
                    }
                    check_limit(network, labels, *limit, &whole)?;
                }
                (own, dtype) => {
                    let expected = if dtype == DType::I32 { "indices" } else { "numbers" };
                    return wrong(expected.to_owned(), own.kind().to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Samples whose shape can be compared with that of a target.
trait Given {
    fn elements(&self) -> usize;
    fn sizes(&self) -> Option<&[usize]>;
}

impl Given for Input<'_> {
    fn elements(&self) -> usize {
        Input::elements(self).len()
    }

    fn sizes(&self) -> Option<&[usize]> {
        self.shape()
    }
}

impl Given for IndexInput<'_> {
    fn elements(&self) -> usize {
        IndexInput::elements(self).len()
    }

    fn sizes(&self) -> Option<&[usize]> {
        self.shape()
    }
}

/// What was given instead of a batch of a shape, if it is another one. One sample may leave the batch out.
fn misfit(given: &impl Given, whole: &[usize]) -> Result<(), String> {
    let count = whole.iter().fold(1usize, |product, &size| product.saturating_mul(size));
    match given.sizes() {
        Some(got)
            if got == whole
                || whole.split_first().is_some_and(|(batch, item)| *batch == 1 && got == item) =>
        {
            Ok(())
        }
        Some(got) => Err(format!("an array of shape {got:?}")),
        None if given.elements() == count => Ok(()),
        None => Err(format!("{} elements", given.elements())),
    }
}

/// Checks that indices are below their limit.
fn check_limit(
    network: &str,
    labels: &IndexInput<'_>,
    limit: Option<usize>,
    whole: &[usize],
) -> Result<(), Error> {
    let Some(classes) = limit else { return Ok(()) };
    let labels = labels.elements();
    let is_class = |label: &i32| usize::try_from(*label).is_ok_and(|label| label < classes);
    match labels.iter().position(|label| !is_class(label)) {
        None => Ok(()),
        Some(index) => {
            let (network, place) = (network.to_owned(), place_of(index, whole.get(1..).unwrap_or(&[])));
            Err(Error::Label { network, place, label: labels[index], classes })
        }
    }
}
