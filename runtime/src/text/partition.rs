//! Batches of a long text for language models: each sequence with the tokens that follow its own.

use ndarray::Array2;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::TextError;
use crate::error::Error;
use crate::random::{Purpose, stream};

/// The order of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Sequences in random order: neighbours in the text are in unrelated batches.
    Random,
    /// Each sequence of a batch continues the same one of the batch before it, so that a network may keep its state.
    Sequential,
}

/// Cuts a long text into batches of sequences, as in Dive into Deep Learning 9.3. The targets of a sequence are its
/// inputs moved by one token.
///
/// ```
/// use windlass::text::Partition;
///
/// let corpus: Vec<i32> = (0..35).collect();
/// let partition = Partition::sequential(2, 5).offset(3);
/// let batches: Vec<_> = partition.batches(&corpus, 0)?.collect();
/// let (inputs, targets) = &batches[0];
/// assert_eq!(inputs.row(0).to_vec(), [3, 4, 5, 6, 7]);
/// assert_eq!(targets.row(0).to_vec(), [4, 5, 6, 7, 8]);
/// // The next batch continues each row.
/// assert_eq!(batches[1].0.row(0).to_vec(), [8, 9, 10, 11, 12]);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Sequences in a batch.
    pub batch_size: usize,
    /// Steps of a sequence.
    pub steps: usize,
    /// The order of sequences.
    pub order: Order,
    /// The first token; by default a random one below the number of steps in each epoch, so that epochs cut the text at
    /// different places.
    pub offset: Option<usize>,
    /// Seed of offsets and of the order.
    pub seed: u64,
}

impl Partition {
    /// Sequences in random order.
    pub fn random(batch_size: usize, steps: usize) -> Self {
        Partition { batch_size, steps, order: Order::Random, offset: None, seed: 0 }
    }

    /// Sequences that continue those of the batch before.
    pub fn sequential(batch_size: usize, steps: usize) -> Self {
        Partition { order: Order::Sequential, ..Partition::random(batch_size, steps) }
    }

    /// This partition from a fixed first token.
    #[must_use]
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// This partition with another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The batches of an epoch: pairs of inputs and targets, each `[batch_size, steps]`. The remainder of the text is
    /// left out. The same epoch always has the same batches.
    ///
    /// # Errors
    /// [`Error::Setting`] for a size of 0; [`Error::Text`] for a text that is too short for one batch.
    pub fn batches<'c>(&self, corpus: &'c [i32], epoch: u64) -> Result<PartitionBatches<'c>, Error> {
        let Partition { batch_size, steps, order, offset, seed } = *self;
        for (setting, size) in [("batch_size", batch_size), ("steps", steps)] {
            if size == 0 {
                return Err(Error::setting(setting, size, "at least 1"));
            }
        }
        let mut random = stream(seed, Purpose::Text, epoch, 0);
        let drawn = random.random_range(0..steps);
        let offset = offset.unwrap_or(drawn);
        let needed = batch_size.saturating_mul(steps).saturating_add(offset).saturating_add(1);
        if corpus.len() < needed {
            let tokens = corpus.len();
            return Err(TextError::TooShort { tokens, batch_size, steps, offset, needed }.into());
        }
        // Every token but the last has one that follows it.
        let pairs = corpus.len() - offset - 1;
        let starts = match order {
            Order::Random => {
                let mut starts: Vec<usize> = (0..pairs / steps).map(|index| offset + index * steps).collect();
                starts.shuffle(&mut random);
                starts.truncate(starts.len() / batch_size * batch_size);
                starts
            }
            Order::Sequential => {
                let row = pairs / batch_size;
                let of_batch =
                    |batch: usize| (0..batch_size).map(move |index| offset + index * row + batch * steps);
                (0..row / steps).flat_map(of_batch).collect()
            }
        };
        Ok(PartitionBatches { corpus, batch_size, steps, starts: starts.into_iter() })
    }
}

/// The batches of an epoch; see [`Partition::batches`].
#[derive(Clone, Debug)]
pub struct PartitionBatches<'c> {
    corpus: &'c [i32],
    batch_size: usize,
    steps: usize,
    /// The first token of each sequence left, batch after batch.
    starts: std::vec::IntoIter<usize>,
}

impl Iterator for PartitionBatches<'_> {
    type Item = (Array2<i32>, Array2<i32>);

    fn next(&mut self) -> Option<Self::Item> {
        let starts: Vec<usize> = self.starts.by_ref().take(self.batch_size).collect();
        (!starts.is_empty()).then(|| {
            let sequences = |shift: usize| {
                Array2::from_shape_fn((self.batch_size, self.steps), |(row, step)| {
                    self.corpus[starts[row] + shift + step]
                })
            };
            (sequences(0), sequences(1))
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.starts.len() / self.batch_size;
        (left, Some(left))
    }
}

impl ExactSizeIterator for PartitionBatches<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn corpus(tokens: i32) -> Vec<i32> {
        (0..tokens).collect()
    }

    #[test]
    fn random_batches_have_every_sequence_once() {
        let corpus = corpus(101);
        for epoch in 0..5 {
            let batches = Partition::random(4, 5).batches(&corpus, epoch).unwrap();
            let count = batches.len();
            let mut starts = BTreeSet::new();
            let mut seen = 0;
            for (inputs, targets) in batches {
                assert_eq!(inputs.shape(), [4, 5]);
                assert_eq!(&inputs + 1, targets);
                starts.extend(inputs.column(0).iter().copied());
                seen += 1;
            }
            // 100 pairs less an offset of up to 4 are 19 or 20 sequences.
            assert!(seen == count && (4..=5).contains(&count), "{count}");
            assert_eq!(starts.len(), 4 * count);
            let offset = starts.first().unwrap() % 5;
            assert!(starts.iter().all(|start| start % 5 == offset));
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_repeat() {
        let corpus = corpus(200);
        let of = |seed, epoch| {
            Partition::random(2, 7).seed(seed).batches(&corpus, epoch).unwrap().collect::<Vec<_>>()
        };
        assert_eq!(of(1, 2), of(1, 2));
        assert_ne!(of(1, 2), of(1, 3));
        assert_ne!(of(1, 2), of(2, 2));
    }

    #[test]
    fn sequential_batches_continue_each_row() {
        let corpus = corpus(100);
        for offset in [None, Some(0), Some(4)] {
            let partition = Partition { offset, ..Partition::sequential(3, 4) };
            let batches: Vec<_> = partition.batches(&corpus, 9).unwrap().collect();
            assert!(batches.len() >= 7, "{}", batches.len());
            for pair in batches.windows(2) {
                assert_eq!(pair[1].0.column(0), &pair[0].0.column(3) + 1);
            }
            assert!(batches.iter().all(|(inputs, targets)| (inputs + 1) == targets));
        }
    }

    #[test]
    fn one_batch_may_use_every_token() {
        let corpus = corpus(13);
        for partition in [Partition::random(3, 4).offset(0), Partition::sequential(3, 4).offset(0)] {
            assert_eq!(partition.batches(&corpus, 0).unwrap().len(), 1);
            let error = partition.batches(&corpus[..12], 0).unwrap_err();
            assert_eq!(
                error.to_string(),
                "a text of 12 tokens is too short: 3 sequences of 4 steps, from offset 0, need 13; take fewer sequences \
                 or steps"
            );
            assert!(partition.offset(1).batches(&corpus, 0).is_err());
            assert!(partition.offset(usize::MAX).batches(&corpus, 0).is_err());
        }
        for (partition, setting) in
            [(Partition::random(0, 4), "batch_size"), (Partition::random(3, 0), "steps")]
        {
            let error = partition.batches(&corpus, 0).unwrap_err();
            assert!(matches!(&error, Error::Setting { setting: found, .. } if found == setting), "{error}");
        }
    }
}
