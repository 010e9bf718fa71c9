//! Batches of sequences of different lengths: similar lengths together, padded to the longest.

use ndarray::Array2;
use rand::seq::SliceRandom;

use super::TextError;
use crate::error::Error;
use crate::random::{Purpose, stream};

/// Sequences of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaddedBatch {
    /// The tokens, `[sequences, steps]`, with padding behind each sequence.
    pub tokens: Array2<i32>,
    /// The length of each sequence without padding, as layers with lengths take them.
    pub lengths: Vec<i32>,
    /// The position of each sequence among those that were batched.
    pub positions: Vec<usize>,
}

/// Pads sequences to the longest.
///
/// ```
/// use windlass::text::pad;
/// let batch = pad(&[vec![4, 5, 6], vec![7]], 1)?;
/// assert_eq!(batch.tokens, ndarray::array![[4, 5, 6], [7, 1, 1]]);
/// assert_eq!(batch.lengths, [3, 1]);
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// # Errors
/// [`Error::Text`] for no sequences, or an empty one.
pub fn pad(sequences: &[impl AsRef<[i32]>], padding: i32) -> Result<PaddedBatch, Error> {
    check(sequences)?;
    Ok(padded(sequences, (0..sequences.len()).collect(), padding))
}

fn check(sequences: &[impl AsRef<[i32]>]) -> Result<(), TextError> {
    if sequences.is_empty() {
        return Err(TextError::NoSequences);
    }
    match sequences.iter().position(|sequence| sequence.as_ref().is_empty()) {
        Some(index) => Err(TextError::EmptySequence { index }),
        None => Ok(()),
    }
}

fn padded(sequences: &[impl AsRef<[i32]>], positions: Vec<usize>, padding: i32) -> PaddedBatch {
    let lengths = positions.iter().map(|&position| sequences[position].as_ref().len());
    let steps = lengths.clone().max().unwrap_or(0);
    let token = |(row, step): (usize, usize)| {
        let sequence: &[i32] = sequences[positions[row]].as_ref();
        sequence.get(step).copied().unwrap_or(padding)
    };
    let tokens = Array2::from_shape_fn((positions.len(), steps), token);
    let lengths = lengths.map(|length| i32::try_from(length).unwrap_or(i32::MAX)).collect();
    PaddedBatch { tokens, lengths, positions }
}

/// Batches sequences of similar lengths, so that little is padded.
///
/// ```
/// use windlass::text::Buckets;
///
/// let sequences: Vec<Vec<i32>> = [3, 9, 4, 10, 3].map(|length| vec![7; length]).to_vec();
/// for batch in Buckets::new(2, 4).batches(&sequences, 0)? {
///     // Lengths of a batch differ by less than 4.
///     assert!(batch.lengths.iter().all(|length| length + 4 > batch.tokens.ncols() as i32));
/// }
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// The most sequences of a batch. The last batch of a bucket may have fewer.
    pub batch_size: usize,
    /// The number of lengths in a bucket: lengths of a batch differ by less than this.
    pub width: usize,
    /// The token behind shorter sequences.
    pub padding: i32,
    /// Seed of the order.
    pub seed: u64,
}

impl Buckets {
    /// Buckets with a padding of 0.
    pub fn new(batch_size: usize, width: usize) -> Self {
        Buckets { batch_size, width, padding: 0, seed: 0 }
    }

    /// The batches of an epoch, each sequence once. Sequences are shuffled within their bucket, and so are the batches.
    /// The same epoch always has the same batches.
    ///
    /// # Errors
    /// [`Error::Setting`] for a size of 0; [`Error::Text`] for no sequences, or an empty one.
    pub fn batches<'s, S: AsRef<[i32]>>(
        &self,
        sequences: &'s [S],
        epoch: u64,
    ) -> Result<impl ExactSizeIterator<Item = PaddedBatch> + use<'s, S>, Error> {
        let Buckets { batch_size, width, padding, seed } = *self;
        for (setting, size) in [("batch_size", batch_size), ("width", width)] {
            if size == 0 {
                return Err(Error::setting(setting, size, "at least 1"));
            }
        }
        check(sequences)?;
        let mut random = stream(seed, Purpose::Text, epoch, 1);
        let bucket = |position: &usize| (sequences[*position].as_ref().len() - 1) / width;
        let mut positions: Vec<usize> = (0..sequences.len()).collect();
        positions.shuffle(&mut random);
        positions.sort_by_key(bucket);
        let in_bucket = positions.chunk_by(|a, b| bucket(a) == bucket(b));
        let mut batches: Vec<Vec<usize>> =
            in_bucket.flat_map(|bucket| bucket.chunks(batch_size)).map(<[usize]>::to_vec).collect();
        batches.shuffle(&mut random);
        Ok(batches.into_iter().map(move |positions| padded(sequences, positions, padding)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences() -> Vec<Vec<i32>> {
        (0..50).map(|index| (0..1 + index * 7 % 23).map(|step| 100 * index + step).collect()).collect()
    }

    #[test]
    fn every_sequence_is_in_one_batch_of_similar_ones() {
        let sequences = sequences();
        let buckets = Buckets { padding: -1, ..Buckets::new(4, 5) };
        let batches = buckets.batches(&sequences, 3).unwrap();
        let count = batches.len();
        let batches: Vec<PaddedBatch> = batches.collect();
        assert_eq!(batches.len(), count);
        let mut seen: Vec<usize> = batches.iter().flat_map(|batch| batch.positions.clone()).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..50));
        for PaddedBatch { tokens, lengths, positions } in &batches {
            assert!(tokens.nrows() <= 4 && tokens.nrows() == lengths.len());
            let (shortest, longest) = (*lengths.iter().min().unwrap(), *lengths.iter().max().unwrap());
            assert!(longest as usize == tokens.ncols() && longest - shortest < 5);
            for ((row, &length), &position) in tokens.rows().into_iter().zip(lengths).zip(positions) {
                let length = length as usize;
                let (own, rest) = (row.iter().take(length), row.iter().skip(length));
                assert!(own.eq(&sequences[position]) && rest.copied().all(|token| token == -1));
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_repeat() {
        let sequences = sequences();
        let of = |seed, epoch| {
            let buckets = Buckets { seed, ..Buckets::new(3, 6) };
            buckets.batches(&sequences, epoch).unwrap().map(|batch| batch.positions).collect::<Vec<_>>()
        };
        assert_eq!(of(1, 2), of(1, 2));
        assert_ne!(of(1, 2), of(1, 3));
        assert_ne!(of(1, 2), of(2, 2));
    }

    #[test]
    fn mistakes_are_typed() {
        let told = |error: Error| error.to_string();
        assert_eq!(
            told(pad(&[vec![1], vec![]], 0).unwrap_err()),
            "sequence 1 is empty; leave empty sequences out"
        );
        assert_eq!(told(pad(&[[0; 0]; 0], 0).unwrap_err()), "there are no sequences to batch");
        let sequences = sequences();
        for (buckets, setting) in [(Buckets::new(0, 1), "batch_size"), (Buckets::new(1, 0), "width")] {
            let error = told(buckets.batches(&sequences, 0).err().unwrap());
            assert!(error.starts_with(&format!("`{setting}` is 0 but must be at least 1")), "{error}");
        }
    }
}
