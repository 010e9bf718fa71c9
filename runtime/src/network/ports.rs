//! The inputs and outputs of a network, and the open sizes of a run's inputs.

use smallvec::SmallVec;
use windlass_compiler::graph::Graph;
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::shape::{DType, Dim, Shape, Sizes, Symbol};

use super::{Feed, InputError};
use crate::error::{Error, OutsideSteps, OutsideVocabulary, place_of};

/// An input or output: its name and shape.
pub(crate) type Port = (String, Shape);

/// The inputs and outputs of a network, in declaration order.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    /// For each input of integers, what limits them; `None` for inputs of numbers.
    integers: Vec<Option<Limits>>,
}

/// The limits of the integers of an input.
#[derive(Clone, Debug)]
struct Limits {
    /// The exclusive upper limit of indices, if anything looks them up.
    indices: Option<usize>,
    /// The axes of which they are lengths.
    lengths: Vec<Dim>,
}

/// The least length of a padded sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Least {
    /// A whole sequence has at least one step.
    OneStep,
    /// A piece of a sequence that has ended before has none.
    NoStep,
}

impl Ports {
    pub(crate) fn of(graph: &Graph) -> Self {
        let named = |(name, shape): (&str, &Shape)| (name.to_owned(), shape.clone());
        let (indices, lengths) = (graph.index_limits(), graph.length_limits());
        let data = graph.inputs().filter(|(_, input)| input.role == InputRole::Data);
        let integers = data.map(|(value, input)| {
            let place = value.index();
            let limits = || Limits { indices: indices[place], lengths: lengths[place].clone() };
            (input.ty.dtype == DType::I32).then(limits)
        });
        Ports {
            integers: integers.collect(),
            inputs: inputs(graph).map(named).collect(),
            outputs: outputs(graph).map(named).collect(),
        }
    }

    /// Checks that an input has the elements of its place, and that integers are within their limits.
    fn check_elements(
        &self,
        network: &str,
        place: usize,
        feed: &Feed<'_>,
        sizes: (&Sizes, Least),
    ) -> Result<(), Error> {
        let (name, shape) = &self.inputs[place];
        let kind = |expected, got| Error::Input {
            network: network.to_owned(),
            input: name.clone(),
            reason: InputError::Kind { expected, got },
        };
        match (feed, &self.integers[place]) {
            (Feed::Numbers(_), None) => Ok(()),
            (Feed::Numbers(_), Some(_)) => Err(kind("indices, of type i32", "numbers")),
            (Feed::Indices(_), None) => Err(kind("numbers, of type f32", "indices")),
            (Feed::Indices(samples), Some(_)) => {
                // A slice has only fixed sizes; an array may be a batch or a single sample.
                self.check_integers(network, place, samples.elements(), sizes, || match feed.shape() {
                    Some(sizes) => sizes[sizes.len() - shape.item_dims().len()..].to_vec(),
                    None => shape.item(),
                })
            }
        }
    }

    /// Checks that the integers of an input are below the limit of indices, and within the lengths of sequences in a run
    /// of these sizes. `item` gives the sizes of an item, for the message.
    pub(crate) fn check_integers(
        &self,
        network: &str,
        place: usize,
        values: &[i32],
        (sizes, least): (&Sizes, Least),
        item: impl FnOnce() -> Vec<usize>,
    ) -> Result<(), Error> {
        let Some(limits) = &self.integers[place] else { return Ok(()) };
        let outside = |least: i32, most: usize| {
            let fits =
                |value: &i32| *value >= least && usize::try_from(*value).is_ok_and(|value| value <= most);
            values.iter().position(|value| !fits(value))
        };
        let names = || (network.to_owned(), self.inputs[place].0.clone());
        if let Some(vocabulary) = limits.indices
            && let Some(position) = outside(0, vocabulary.saturating_sub(1))
        {
            let ((network, input), token, place) = (names(), values[position], place_of(position, &item()));
            return Err(Error::Token(OutsideVocabulary { network, input, place, token, vocabulary }));
        }
        let least = i32::from(least == Least::OneStep);
        if let Some(steps) = limits.lengths.iter().map(|dim| dim.at(sizes)).min()
            && let Some(position) = outside(least, steps)
        {
            let ((network, input), length, place) = (names(), values[position], place_of(position, &item()));
            return Err(Error::Length(OutsideSteps { network, input, place, length, least, steps }));
        }
        Ok(())
    }

    /// The open sizes of a run with these inputs.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Token`], [`Error::Length`], [`Error::UnequalBatches`], [`Error::UnequalSizes`],
    /// [`Error::EmptyBatch`].
    pub(crate) fn sizes(&self, network: &str, feeds: &[Feed<'_>], least: Least) -> Result<Sizes, Error> {
        let mut sizes = Sizes::new();
        let mut from: SmallVec<[(Symbol, usize); 4]> = SmallVec::new();
        // Inputs with a shape come first, because they determine all sizes.
        for has_shape in [true, false] {
            for (place, ((name, shape), input)) in self.inputs.iter().zip(feeds).enumerate() {
                if input.shape().is_some() != has_shape {
                    continue;
                }
                let found = input.sizes(shape, &sizes).map_err(|reason| Error::Input {
                    network: network.to_owned(),
                    input: name.clone(),
                    reason,
                })?;
                for (size, value) in found {
                    match sizes.get(size) {
                        None => {
                            sizes.set(size, value);
                            from.push((size, place));
                        }
                        Some(known) if known != value => {
                            let other = from.iter().find(|(known, _)| *known == size);
                            let other = other.map_or(place, |(_, other)| *other);
                            return Err(self.unequal(network, size, (other, known), (place, value)));
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        if sizes.get(Symbol::BATCH).is_none_or(|batch| batch == 0) {
            return Err(Error::EmptyBatch { network: network.to_owned() });
        }
        // Their shapes are known to be right.
        for (place, feed) in feeds.iter().enumerate() {
            self.check_elements(network, place, feed, (&sizes, least))?;
        }
        Ok(sizes)
    }

    fn unequal(
        &self,
        network: &str,
        size: Symbol,
        (left, left_size): (usize, usize),
        (right, right_size): (usize, usize),
    ) -> Error {
        let network = network.to_owned();
        let [left, right] = [left, right].map(|place| self.inputs[place].0.clone());
        if size == Symbol::BATCH {
            let (left_batch, right_batch) = (left_size, right_size);
            return Error::UnequalBatches { network, left, left_batch, right, right_batch };
        }
        Error::UnequalSizes { network, size, left, left_size, right, right_size }
    }
}

/// The data inputs of a graph, with their shapes.
pub(super) fn inputs(graph: &Graph) -> impl Iterator<Item = (&str, &Shape)> {
    let inputs = graph.inputs().filter(|(_, input)| input.role == InputRole::Data);
    inputs.map(|(_, input)| (input.name.as_str(), &input.ty.shape))
}

/// The outputs of a graph, with their shapes.
pub(super) fn outputs(graph: &Graph) -> impl Iterator<Item = (&str, &Shape)> {
    graph.outputs().iter().map(|output| (output.name.as_str(), &graph.ty(output.value).shape))
}

impl Feed<'_> {
    /// The open sizes of a shape, determined by an input. Sizes that are already known are determined too.
    ///
    /// # Errors
    /// [`InputError`] if the input is not a batch of the shape.
    pub(crate) fn sizes(
        &self,
        shape: &Shape,
        known: &Sizes,
    ) -> Result<SmallVec<[(Symbol, usize); 2]>, InputError> {
        let item = shape.item_dims();
        match self.shape() {
            Some(got) => {
                // One sample, or a batch of them.
                let (batch, rest) = match got {
                    [batch, rest @ ..] if rest.len() == item.len() => (*batch, rest),
                    _ => (1, got),
                };
                let wrong = || InputError::Shape { expected: shape.display_item(), got: got.to_vec() };
                if rest.len() != item.len() {
                    return Err(wrong());
                }
                let mut found = SmallVec::from_slice(&[(Symbol::BATCH, batch)]);
                for (dim, &size) in item.iter().zip(rest) {
                    match (dim, symbol(dim)) {
                        (Dim::Fixed(expected), _) if *expected != size => return Err(wrong()),
                        (Dim::Fixed(_), _) => {}
                        (Dim::Open(_), Some(symbol)) if size > 0 => found.push((symbol, size)),
                        (Dim::Open(_), _) => return Err(wrong()),
                    }
                }
                Ok(found)
            }
            None => {
                if shape.has_open_item()
                    && let Some(size) =
                        shape.symbols().into_iter().skip(1).find(|size| known.get(*size).is_none())
                {
                    return Err(InputError::OpenSize { item: shape.display_item(), size });
                }
                let size = shape.elements(known.clone().with(Symbol::BATCH, 1));
                let got = self.len();
                if size > 0 && got.is_multiple_of(size) {
                    Ok(SmallVec::from_slice(&[(Symbol::BATCH, got / size)]))
                } else {
                    Err(InputError::Length { item: shape.display_item(), size, got })
                }
            }
        }
    }
}

/// The symbol, if a size is a single one.
pub(super) fn symbol(dim: &Dim) -> Option<Symbol> {
    match dim {
        Dim::Fixed(_) => None,
        Dim::Open(size) => size.as_symbol(),
    }
}
