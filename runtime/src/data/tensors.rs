//! A data set of arrays in memory: numbers or indices of one shape for each example, and labels or targets.

mod column;

use std::ops::ControlFlow;

use ndarray::Dimension;
use rand::seq::SliceRandom;
use windlass_compiler::setters;

pub use self::column::Column;
use super::batches::{Batches, Minibatch};
use super::sampling;
use crate::error::{DataSetProblem, Error};
use crate::network::DynamicInputs;
use crate::random::{Purpose, stream};

/// Columns, each perhaps with a name.
type Columns = Vec<(Option<String>, Column)>;

/// A data set of arrays in memory: inputs of numbers or indices, and targets: labels or numbers.
///
/// ```
/// use ndarray::Array2;
/// use windlass::data::TensorDataset;
///
/// let points = Array2::from_shape_fn((100, 2), |(row, column)| (row * 2 + column) as f32 * 0.618 % 1.0);
/// let labels: Vec<i32> = points.rows().into_iter().map(|point| i32::from(point[0] > point[1])).collect();
/// let (train, test) = TensorDataset::new(points, labels)?.split_randomly(80, 0)?;
/// assert_eq!((train.len(), test.len()), (80, 20));
/// let batches = train.shuffled(32, 7)?; // for `Trainer::fit`
/// assert_eq!(batches.len(), 3);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TensorDataset {
    inputs: Columns,
    targets: Columns,
    examples: usize,
}

impl TensorDataset {
    /// A data set for a network with one input and one loss. Arrays have the examples along their first axis; a vector
    /// of targets without any array beside it has one for each example.
    ///
    /// # Errors
    /// [`Error::DataSet`] if there are no examples, or the numbers of examples differ.
    pub fn new(inputs: impl Into<Column>, targets: impl Into<Column>) -> Result<Self, Error> {
        Self::checked(vec![(None, inputs.into())], vec![(None, targets.into())])
    }

    /// A data set for a network with several inputs, or several losses, by name.
    ///
    /// ```
    /// use ndarray::Array2;
    /// use windlass::data::{Column, TensorDataset};
    ///
    /// let (left, right) = (Array2::<f32>::zeros((10, 3)), Array2::<i32>::zeros((10, 5)));
    /// let inputs = [("left", Column::from(left)), ("right", Column::from(right))];
    /// let data = TensorDataset::named(inputs, [("class", Column::from(vec![0; 10]))])?;
    /// assert_eq!(data.len(), 10);
    /// # Ok::<(), windlass::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`TensorDataset::new`].
    pub fn named<'n>(
        inputs: impl IntoIterator<Item = (&'n str, Column)>,
        targets: impl IntoIterator<Item = (&'n str, Column)>,
    ) -> Result<Self, Error> {
        let named = |(name, column): (&str, Column)| (Some(name.to_owned()), column);
        let inputs = inputs.into_iter().map(named).collect();
        let mut targets: Columns = targets.into_iter().map(named).collect();
        // A network with one loss takes a target without a name.
        if let [(name, _)] = &mut targets[..] {
            *name = None;
        }
        Self::checked(inputs, targets)
    }

    fn checked(inputs: Columns, targets: Columns) -> Result<Self, Error> {
        let columns = || inputs.iter().chain(&targets).map(|(_, column)| column);
        let shaped = columns().find_map(|column| column.shape.as_ref());
        let examples = match (shaped, targets.first()) {
            (Some(shape), _) => shape.slice().first().copied().unwrap_or(0),
            (None, Some((_, target))) => target.elements(),
            (None, None) => 0,
        };
        if examples == 0 {
            return Err(DataSetProblem::Empty.in_memory());
        }
        for (place, (name, column)) in inputs.iter().chain(&targets).enumerate() {
            let fits = match &column.shape {
                Some(shape) => shape.slice().first() == Some(&examples),
                None => column.elements().is_multiple_of(examples),
            };
            if !fits || column.elements() == 0 {
                let kind = if place < inputs.len() { "input" } else { "target" };
                let got = match &column.shape {
                    Some(shape) => format!("an array of shape {:?}", shape.slice()),
                    None => format!("{} numbers", column.elements()),
                };
                let column =
                    name.as_ref().map_or(format!("the {kind}"), |name| format!("the {kind} `{name}`"));
                return Err(DataSetProblem::ColumnsDiffer { column, got, examples }.in_memory());
            }
        }
        Ok(TensorDataset { inputs, targets, examples })
    }

    /// The number of examples, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.examples
    }

    /// The examples at these indices, in this order; indices may repeat.
    ///
    /// # Errors
    /// [`Error::DataSet`] for an index past the end or an empty list.
    pub fn select(&self, indices: &[usize]) -> Result<Self, Error> {
        if let Some(&index) = indices.iter().find(|index| **index >= self.examples) {
            return Err(DataSetProblem::IndexOutOfRange { index, examples: self.examples }.in_memory());
        }
        if indices.is_empty() {
            return Err(DataSetProblem::Empty.in_memory());
        }
        let mut chosen = self.empty();
        chosen.take(self, indices);
        Ok(chosen)
    }

    /// The first `first` examples, and the rest.
    ///
    /// # Errors
    /// [`Error::DataSet`] when either part would be empty.
    pub fn split_at(&self, first: usize) -> Result<(Self, Self), Error> {
        self.divide(first, &(0..self.examples).collect::<Vec<_>>())
    }

    /// `first` random examples, and the rest: for example a training and a validation set. The same seed gives the same
    /// split.
    ///
    /// # Errors
    /// [`Error::DataSet`] when either part would be empty.
    pub fn split_randomly(&self, first: usize, seed: u64) -> Result<(Self, Self), Error> {
        let mut order: Vec<usize> = (0..self.examples).collect();
        order.shuffle(&mut stream(seed, Purpose::Split, 0, 0));
        self.divide(first, &order)
    }

    fn divide(&self, first: usize, order: &[usize]) -> Result<(Self, Self), Error> {
        if first == 0 || first >= order.len() {
            return Err(DataSetProblem::EmptySplit { first, examples: order.len() }.in_memory());
        }
        let (head, tail) = order.split_at(first);
        Ok((self.select(head)?, self.select(tail)?))
    }

    /// Batches of every example once, in the order of the data set: for evaluation.
    ///
    /// # Errors
    /// Those of [`TensorLoader::new`].
    pub fn in_order(&self, batch_size: usize) -> Result<TensorLoader<'_>, Error> {
        TensorLoader::new(self, BatchOptions::in_order(batch_size))
    }

    /// Batches of every example once, in a random order for each epoch: for training.
    ///
    /// # Errors
    /// Those of [`TensorLoader::new`].
    pub fn shuffled(&self, batch_size: usize, seed: u64) -> Result<TensorLoader<'_>, Error> {
        TensorLoader::new(self, BatchOptions::shuffled(batch_size, seed))
    }

    /// The indices of the first target, if it has any.
    pub(super) fn target_labels(&self) -> Option<&[i32]> {
        self.targets.first().and_then(|(_, column)| column.indices())
    }

    /// A data set without examples, like this one: memory for batches.
    fn empty(&self) -> Self {
        let empty =
            |columns: &Columns| columns.iter().map(|(name, column)| (name.clone(), column.empty())).collect();
        TensorDataset { inputs: empty(&self.inputs), targets: empty(&self.targets), examples: 0 }
    }

    /// Replaces the examples by some of another data set with the same columns.
    fn take(&mut self, from: &TensorDataset, indices: &[usize]) {
        let pairs =
            self.inputs.iter_mut().zip(&from.inputs).chain(self.targets.iter_mut().zip(&from.targets));
        for ((_, to), (_, column)) in pairs {
            to.take(column, from.examples, indices);
        }
        self.examples = indices.len();
    }

    /// All examples as one batch.
    fn as_minibatch(&self) -> Minibatch<'_> {
        let inputs = match &self.inputs[..] {
            [(None, input)] => DynamicInputs::from(input.feed()),
            inputs => {
                inputs.iter().map(|(name, input)| (name.as_deref().unwrap_or(""), input.feed())).collect()
            }
        };
        let target = match &self.targets[..] {
            [(None, target)] => target.target(),
            targets => targets
                .iter()
                .map(|(name, target)| (name.as_deref().unwrap_or(""), target.target()))
                .collect(),
        };
        Minibatch { inputs, target }
    }
}

/// How a [`TensorDataset`] is divided into batches.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BatchOptions {
    /// Examples per batch, at least 1; 32 by default.
    pub batch_size: usize,
    /// Whether each epoch has its own random order; otherwise the order of the data set is used.
    pub shuffle: bool,
    /// Determines the order, together with the epoch number.
    pub seed: u64,
    /// Whether to leave out a last batch with fewer examples. Batch normalisation cannot be trained on a single
    /// example.
    pub drop_last: bool,
    /// How likely each example is, relative to the others: an epoch then draws as many examples as there are, with
    /// replacement, in random order. [`TensorDataset::balanced_weights`] are those with which all classes are equally likely.
    pub weights: Option<Vec<f64>>,
}

impl Default for BatchOptions {
    /// Batches of 32 examples in the order of the data set.
    fn default() -> Self {
        BatchOptions::in_order(32)
    }
}

impl BatchOptions {
    setters! {
        batch_size: usize;
        shuffle: bool;
        seed: u64;
        drop_last: bool;
        weights: impl Into<Vec<f64>> = Some(weights.into());
    }

    /// Every example once, in the order of the data set: for evaluation.
    pub fn in_order(batch_size: usize) -> Self {
        BatchOptions { batch_size, shuffle: false, seed: 0, drop_last: false, weights: None }
    }

    /// Every example once, in a random order for each epoch: for training.
    pub fn shuffled(batch_size: usize, seed: u64) -> Self {
        BatchOptions { shuffle: true, seed, ..Self::in_order(batch_size) }
    }
}

/// Divides a [`TensorDataset`] into batches, epoch by epoch.
#[derive(Clone, Debug)]
pub struct TensorLoader<'a> {
    dataset: &'a TensorDataset,
    options: BatchOptions,
}

impl<'a> TensorLoader<'a> {
    /// A loader of a data set.
    ///
    /// # Errors
    /// [`Error::Setting`] for a batch size of 0, one larger than the data set if the last batch is left out, or weights that
    /// do not fit.
    pub fn new(dataset: &'a TensorDataset, options: BatchOptions) -> Result<Self, Error> {
        check_batches(options.batch_size, options.drop_last, dataset.examples)?;
        sampling::check_weights(options.weights.as_deref(), dataset.examples)?;
        Ok(TensorLoader { dataset, options })
    }

    /// The number of batches per epoch, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a loader has a batch at least")]
    pub fn len(&self) -> usize {
        if self.options.drop_last {
            self.dataset.examples / self.options.batch_size
        } else {
            self.dataset.examples.div_ceil(self.options.batch_size)
        }
    }

    /// The data set.
    pub fn dataset(&self) -> &'a TensorDataset {
        self.dataset
    }

    /// The options.
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }
}

impl Batches for TensorLoader<'_> {
    fn count(&self) -> usize {
        self.len()
    }

    fn visit(
        &self,
        epoch: u64,
        visit: &mut dyn FnMut(Minibatch<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let BatchOptions { shuffle, seed, weights, .. } = &self.options;
        let order = sampling::order(self.dataset.examples, *shuffle, weights.as_deref(), *seed, epoch);
        let mut batch = self.dataset.empty();
        for indices in order.chunks(self.options.batch_size).take(self.len()) {
            batch.take(self.dataset, indices);
            if visit(batch.as_minibatch()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Checks the size of batches of a data set.
pub(super) fn check_batches(batch_size: usize, drop_last: bool, examples: usize) -> Result<(), Error> {
    if batch_size == 0 {
        return Err(Error::setting("batch_size", 0, "at least 1"));
    }
    if drop_last && batch_size > examples {
        let expected =
            format!("at most {examples}, the number of examples, so that `drop_last` leaves a batch");
        return Err(Error::setting("batch_size", batch_size, expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Array3};

    use super::*;
    use crate::trainer::Target;

    /// Examples that hold their own index.
    fn numbered(count: usize) -> TensorDataset {
        let inputs = Array2::from_shape_fn((count, 2), |(row, _)| row as f32);
        let labels = Array1::from_shape_fn(count, |row| row as i32);
        TensorDataset::new(inputs, labels).unwrap()
    }

    /// The labels of an epoch's batches, after checking that inputs follow them.
    fn labels(loader: &TensorLoader<'_>, epoch: u64) -> Vec<Vec<i32>> {
        let mut found = Vec::new();
        let visit = &mut |batch: Minibatch<'_>| {
            let Target::Labels(labels) = &batch.target else { panic!("labels are integers") };
            let text = format!("{:?}", batch.inputs);
            let inputs: Vec<f32> = labels.elements().iter().flat_map(|&label| [label as f32; 2]).collect();
            assert!(text.contains(&format!("{inputs:?}")), "{text}");
            found.push(labels.elements().to_vec());
            ControlFlow::Continue(())
        };
        loader.visit(epoch, visit).unwrap();
        found
    }

    #[test]
    fn every_epoch_has_every_example_once_in_its_own_order() {
        let data = numbered(10);
        let loader = data.shuffled(4, 3).unwrap();
        let (first, second) = (labels(&loader, 0), labels(&loader, 1));
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert_ne!(first, second);
        assert_eq!(first, labels(&loader, 0));
        let mut all = first.concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<i32>>());
        assert_eq!(labels(&data.in_order(4).unwrap(), 5), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
        let options = BatchOptions::in_order(4).drop_last(true);
        assert_eq!(labels(&TensorLoader::new(&data, options).unwrap(), 0).len(), 2);
    }

    #[test]
    fn splits_divide_the_examples() {
        let (head, tail) = numbered(10).split_randomly(7, 1).unwrap();
        assert_eq!((head.len(), tail.len()), (7, 3));
        let both = [labels(&head.in_order(7).unwrap(), 0), labels(&tail.in_order(7).unwrap(), 0)];
        let mut all = both.concat().concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<i32>>());
        assert_eq!(labels(&numbered(5).split_at(2).unwrap().1.in_order(9).unwrap(), 0), [[2, 3, 4]]);
        assert!(numbered(5).split_at(5).is_err());
        assert!(numbered(5).select(&[5]).is_err());
    }

    #[test]
    fn numbers_of_examples_must_agree() {
        let message = |result: Result<TensorDataset, Error>| result.unwrap_err().to_string();
        assert_eq!(
            message(TensorDataset::new(Array2::<f32>::zeros((4, 2)), vec![0, 1, 2])),
            "the data set: the target has 3 numbers, but there are 4 examples; give a value for each"
        );
        assert_eq!(
            message(TensorDataset::new(vec![0.0; 7], vec![0, 1, 2])),
            "the data set: the input has 7 numbers, but there are 3 examples; give a value for each"
        );
        let inputs = [
            ("a", Column::from(Array2::<f32>::zeros((4, 2)))),
            ("b", Array3::<f32>::zeros((3, 2, 1)).into()),
        ];
        assert_eq!(
            message(TensorDataset::named(inputs, [("y", vec![0; 4].into())])),
            "the data set: the input `b` has an array of shape [3, 2, 1], but there are 4 examples; give a value for each"
        );
        assert!(message(TensorDataset::new(Vec::<f32>::new(), Vec::<i32>::new())).contains("no examples"));
        assert!(numbered(3).shuffled(0, 0).is_err());
    }
}
