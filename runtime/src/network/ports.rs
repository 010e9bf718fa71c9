//! The inputs and outputs of a network, and the open sizes of a run's inputs.

use smallvec::SmallVec;
use windlass_compiler::graph::Graph;
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::shape::{DType, Dim, Shape, Sizes, Symbol};

use super::{Feed, InputError};
use crate::error::{Error, OutsideVocabulary, place_of};

/// An input or output: its name and shape.
pub(crate) type Port = (String, Shape);

/// The inputs and outputs of a network, in declaration order.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    /// For each input of indices, their exclusive upper limit, if anything looks them up; `None` for inputs of numbers.
    indices: Vec<Option<Limit>>,
}

/// The exclusive upper limit of indices.
type Limit = Option<usize>;

impl Ports {
    pub(crate) fn of(graph: &Graph) -> Self {
        let named = |(name, shape): (&str, &Shape)| (name.to_owned(), shape.clone());
        let limits = graph.index_limits();
        let data = graph.inputs().filter(|(_, input)| input.role == InputRole::Data);
        let indices =
            data.map(|(value, input)| (input.ty.dtype == DType::I32).then(|| limits[value.index()]));
        Ports {
            indices: indices.collect(),
            inputs: inputs(graph).map(named).collect(),
            outputs: outputs(graph).map(named).collect(),
        }
    }

    /// Checks that an input has the elements of its place, and that indices are below their limit.
    fn check_elements(&self, network: &str, place: usize, feed: &Feed<'_>) -> Result<(), Error> {
        let (name, shape) = &self.inputs[place];
        let kind = |expected, got| Error::Input {
            network: network.to_owned(),
            input: name.clone(),
            reason: InputError::Kind { expected, got },
        };
        match (feed, self.indices[place]) {
            (Feed::Numbers(_), None) | (Feed::Indices(_), Some(None)) => Ok(()),
            (Feed::Numbers(_), Some(_)) => Err(kind("indices, of type i32", "numbers")),
            (Feed::Indices(_), None) => Err(kind("numbers, of type f32", "indices")),
            (Feed::Indices(samples), Some(Some(_))) => {
                // A slice has only fixed sizes; an array may be a batch or a single sample.
                self.check_indices(network, place, samples.elements(), || match feed.shape() {
                    Some(sizes) => sizes[sizes.len() - shape.item_dims().len()..].to_vec(),
                    None => shape.item(),
                })
            }
        }
    }

    /// Checks that the indices of an input are below their limit. `item` gives the sizes of an item, for the message.
    pub(crate) fn check_indices(
        &self,
        network: &str,
        place: usize,
        tokens: &[i32],
        item: impl FnOnce() -> Vec<usize>,
    ) -> Result<(), Error> {
        let Some(Some(vocabulary)) = self.indices[place] else { return Ok(()) };
        let is_known = |token: &i32| usize::try_from(*token).is_ok_and(|token| token < vocabulary);
        let Some(position) = tokens.iter().position(|token| !is_known(token)) else { return Ok(()) };
        let (network, input) = (network.to_owned(), self.inputs[place].0.clone());
        let (token, place) = (tokens[position], place_of(position, &item()));
        Err(Error::Token(OutsideVocabulary { network, input, place, token, vocabulary }))
    }

    /// The open sizes of a run with these inputs.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Token`], [`Error::UnequalBatches`], [`Error::UnequalSizes`], [`Error::EmptyBatch`].
    pub(crate) fn sizes(&self, network: &str, feeds: &[Feed<'_>]) -> Result<Sizes, Error> {
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
        feeds.iter().enumerate().try_for_each(|(place, feed)| self.check_elements(network, place, feed))?;
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
