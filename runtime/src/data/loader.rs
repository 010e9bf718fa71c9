//! Normalised batches of a data set, in a different order in each epoch.

use std::ops::ControlFlow;

use ndarray::ArrayView4;
use windlass_compiler::setters;

use super::{AsMinibatch, Augmentation, Batches, ImageDataset, Minibatch, Normalization, ahead, sampling};
use crate::error::Error;
use crate::network::{Feed, Input};

/// How a data set is divided into batches.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LoaderOptions {
    /// Examples per batch, at least 1; 32 by default.
    pub batch_size: usize,
    /// How pixels are converted to floats. By default, they are scaled to 0..=1.
    pub normalization: Option<Normalization>,
    /// Whether each epoch has its own random order; otherwise the order of the data set is used.
    pub shuffle: bool,
    /// Determines order and augmentation, together with the epoch number.
    pub seed: u64,
    /// Whether to leave out a last batch with fewer examples. Batch normalisation cannot be trained on a single
    /// example.
    pub drop_last: bool,
    /// Random changes to images.
    pub augmentation: Augmentation,
    /// How likely each example is, relative to the others: an epoch then draws as many examples as there are, with
    /// replacement, in random order. [`ImageDataset::balanced_weights`] are those with which all classes are equally likely.
    pub weights: Option<Vec<f64>>,
}

impl Default for LoaderOptions {
    /// Batches of 32 examples in the order of the data set, unchanged but scaled to 0..=1.
    fn default() -> Self {
        LoaderOptions {
            batch_size: 32,
            normalization: None,
            shuffle: false,
            seed: 0,
            drop_last: false,
            augmentation: Augmentation::NONE,
            weights: None,
        }
    }
}

impl LoaderOptions {
    setters! {
        batch_size: usize;
        normalization: impl Into<Option<Normalization>> = normalization.into();
        shuffle: bool;
        seed: u64;
        drop_last: bool;
        augmentation: Augmentation;
        weights: impl Into<Vec<f64>> = Some(weights.into());
    }

    /// The number of batches of an epoch.
    pub(super) fn batches(&self, examples: usize) -> usize {
        match self.drop_last {
            true => examples / self.batch_size,
            false => examples.div_ceil(self.batch_size),
        }
    }

    /// The examples of an epoch in order.
    pub(super) fn order(&self, examples: usize, epoch: u64) -> Vec<usize> {
        sampling::order(examples, self.shuffle, self.weights.as_deref(), self.seed, epoch)
    }

    /// Every example once, in the order of the data set and unchanged: for evaluation.
    pub fn in_order(batch_size: usize, normalization: Normalization) -> Self {
        LoaderOptions { batch_size, normalization: Some(normalization), ..LoaderOptions::default() }
    }

    /// Every example once, unchanged, in a random order for each epoch: for training.
    pub fn shuffled(batch_size: usize, normalization: Normalization, seed: u64) -> Self {
        LoaderOptions { shuffle: true, seed, ..Self::in_order(batch_size, normalization) }
    }
}

/// Divides a data set into batches, epoch by epoch.
///
/// ```
/// use windlass::data::{DataLoader, ImageDataset, LoaderOptions, Normalization};
/// let pixels = vec![0, 51, 102, 153, 204, 255];
/// let dataset = ImageDataset::new(pixels, vec![0, 1, 0], [1, 1, 2], vec!["a".to_owned(), "b".to_owned()])?;
/// let loader = DataLoader::new(&dataset, LoaderOptions::in_order(2, Normalization::unit(1)?))?;
/// let batches: Vec<_> = loader.epoch(0).collect();
/// assert_eq!(batches.len(), 2);
/// assert_eq!(batches[1].pixels(), [0.8, 1.0]);
/// assert_eq!(batches[1].labels(), [0]);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DataLoader<'a> {
    dataset: &'a ImageDataset,
    options: LoaderOptions,
    /// That of the options, or the default.
    normalization: Normalization,
}

/// The batches of one pass over a data set. As an iterator, it allocates memory for each batch; [`Epoch::next_into`]
/// reuses the same memory.
#[derive(Clone, Debug)]
pub struct Epoch<'a> {
    loader: &'a DataLoader<'a>,
    number: u64,
    /// The examples of all batches, in order.
    order: Vec<usize>,
    /// The number of examples returned so far.
    given: usize,
    /// The bytes of an image during augmentation.
    scratch: Vec<u8>,
}

/// Normalised images and their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pixels: Vec<f32>,
    labels: Vec<i32>,
    image_shape: [usize; 3],
}

impl Batch {
    /// Black images with labels, to be written.
    pub(super) fn zeros(image_shape: [usize; 3], labels: Vec<i32>) -> Self {
        let pixels = vec![0.0; labels.len() * image_shape.iter().product::<usize>()];
        Batch { pixels, labels, image_shape }
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether it is still empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The normalised images, `[count, channels, height, width]`, with the last axis contiguous. Pass the batch itself
    /// to a network: `model.forward(&batch)` checks the shape of the images, which a slice does not have.
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// The normalised images, mutable.
    pub fn pixels_mut(&mut self) -> &mut [f32] {
        &mut self.pixels
    }

    /// The normalised images as an array `[count, channels, height, width]`.
    pub fn images(&self) -> ArrayView4<'_, f32> {
        let [channels, height, width] = self.image_shape;
        ArrayView4::from_shape((self.len(), channels, height, width), &self.pixels)
            .expect("a batch holds whole images")
    }

    /// The label of each image.
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }
}

impl<'a> From<&'a Batch> for Input<'a> {
    /// The images with their shape, which a network checks; a slice of [`Batch::pixels`] has no shape.
    fn from(batch: &'a Batch) -> Self {
        batch.images().into()
    }
}

impl<'a> From<&'a Batch> for Feed<'a> {
    fn from(batch: &'a Batch) -> Self {
        Feed::Numbers(batch.into())
    }
}

impl<'a> DataLoader<'a> {
    /// A loader of a data set.
    ///
    /// # Errors
    /// [`Error::Setting`] for a batch size of 0, one larger than the data set if the last batch is left out, or an
    /// augmentation that does not fit the images; [`Error::DataSet`] for a normalisation with another number of
    /// channels.
    pub fn new(dataset: &'a ImageDataset, options: LoaderOptions) -> Result<Self, Error> {
        let normalization = ahead::check(&options, dataset.len(), dataset.image_shape())?;
        Ok(DataLoader { dataset, options, normalization })
    }

    /// The number of batches per epoch, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a loader has a batch at least")]
    pub fn len(&self) -> usize {
        self.options.batches(self.dataset.len())
    }

    /// The data set.
    pub fn dataset(&self) -> &'a ImageDataset {
        self.dataset
    }

    /// The options.
    pub fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// The batches of an epoch, counted from 0. The same number always gives the same batches, so that training can
    /// resume at any epoch.
    pub fn epoch(&self, number: u64) -> Epoch<'_> {
        let mut order = self.options.order(self.dataset.len(), number);
        if self.options.drop_last {
            order.truncate(self.len() * self.options.batch_size);
        }
        Epoch { loader: self, number, order, given: 0, scratch: Vec::new() }
    }
}

impl Batches for DataLoader<'_> {
    fn count(&self) -> usize {
        self.len()
    }

    fn visit(
        &self,
        epoch: u64,
        visit: &mut dyn FnMut(Minibatch<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut batches = self.epoch(epoch);
        let mut batch = Batch::default();
        while batches.next_into(&mut batch) {
            if visit(batch.as_minibatch()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl AsMinibatch for Batch {
    fn as_minibatch(&self) -> Minibatch<'_> {
        Minibatch::new(self, self.labels())
    }
}

impl Epoch<'_> {
    /// Fills `batch` with the next batch, reusing its memory. Returns whether there was one.
    pub fn next_into(&mut self, batch: &mut Batch) -> bool {
        let DataLoader { dataset, options, normalization } = self.loader;
        let Some(indices) = self.order.chunks(options.batch_size).nth(self.given) else {
            return false;
        };
        self.given += 1;
        let (shape, length) = (dataset.image_shape(), dataset.image_len());
        batch.image_shape = shape;
        batch.labels.clear();
        batch.labels.extend(indices.iter().map(|&index| dataset.labels()[index]));
        batch.pixels.resize(indices.len() * length, 0.0);
        for (floats, &index) in batch.pixels.chunks_exact_mut(length).zip(indices) {
            let image = &dataset.pixels()[index * length..(index + 1) * length];
            if options.augmentation.is_none() {
                normalization.apply(image, floats);
            } else {
                self.scratch.clear();
                self.scratch.extend_from_slice(image);
                options.augmentation.apply(&mut self.scratch, shape, options.seed, self.number, index);
                normalization.apply(&self.scratch, floats);
            }
        }
        true
    }
}

impl Iterator for Epoch<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        self.next_into(&mut batch).then_some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.loader.len() - self.given;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::Transform;

    /// Images of 1×2×2 pixels that hold their own index.
    fn numbered(count: usize) -> ImageDataset {
        let pixels = (0..count).flat_map(|index| [index as u8; 4]).collect();
        let labels = (0..count).map(|index| (index % 3) as i32).collect();
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        ImageDataset::new(pixels, labels, [1, 2, 2], names).unwrap()
    }

    fn unit() -> Normalization {
        Normalization::unit(1).unwrap()
    }

    /// The indices of an epoch's examples, read back from their pixels.
    fn indices(loader: &DataLoader, epoch: u64) -> Vec<usize> {
        let of_batch = |batch: Batch| -> Vec<usize> {
            batch.pixels().iter().step_by(4).map(|&pixel| (pixel * 255.0).round() as usize).collect()
        };
        loader.epoch(epoch).flat_map(of_batch).collect()
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let dataset = numbered(5);
        let message = |options| DataLoader::new(&dataset, options).unwrap_err().to_string();
        assert_eq!(message(LoaderOptions::in_order(0, unit())), "`batch_size` is 0 but must be at least 1");
        assert_eq!(
            message(LoaderOptions::in_order(6, unit()).drop_last(true)),
            "`batch_size` is 6 but must be at most 5, the number of examples, so that `drop_last` leaves a batch"
        );
        assert_eq!(
            message(LoaderOptions::in_order(2, Normalization::unit(3).unwrap())),
            "the data set: images have 1 channels but the normalisation is for 3"
        );
        let augmentation = Augmentation::new(vec![Transform::Crop { padding: 2 }]).unwrap();
        assert!(
            message(LoaderOptions::in_order(2, unit()).augmentation(augmentation)).contains("crop.padding")
        );
    }

    #[test]
    fn a_batch_is_shaped_and_labelled() {
        let dataset = numbered(5);
        let loader = DataLoader::new(&dataset, LoaderOptions::in_order(3, unit())).unwrap();
        let batches: Vec<Batch> = loader.epoch(0).collect();
        assert_eq!(batches[0].images().shape(), [3, 1, 2, 2]);
        assert_eq!(batches[0].labels(), [0, 1, 2]);
        assert_eq!(batches[1].images().shape(), [2, 1, 2, 2]);
        assert_eq!(batches[1].images()[[1, 0, 1, 1]], 4.0 / 255.0);
        assert_eq!(batches[1].labels(), [0, 1]);
    }

    #[test]
    fn memory_is_used_again() {
        let dataset = numbered(8);
        let loader = DataLoader::new(&dataset, LoaderOptions::shuffled(3, unit(), 1)).unwrap();
        let mut batch = Batch::default();
        let mut epoch = loader.epoch(4);
        assert!(epoch.next_into(&mut batch));
        let memory = batch.pixels().as_ptr();
        let mut batches = vec![batch.clone()];
        while epoch.next_into(&mut batch) {
            assert_eq!(batch.pixels().as_ptr(), memory);
            batches.push(batch.clone());
        }
        assert_eq!(batches, loader.epoch(4).collect::<Vec<_>>());
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let dataset = numbered(50);
        let loader = |seed| DataLoader::new(&dataset, LoaderOptions::shuffled(7, unit(), seed)).unwrap();
        let order = indices(&loader(1), 0);
        assert_eq!(order, indices(&loader(1), 0));
        assert_ne!(order, indices(&loader(1), 1));
        assert_ne!(order, indices(&loader(2), 0));
        assert_ne!(order, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn the_order_of_a_seed_never_changes() {
        let dataset = numbered(8);
        let loader = DataLoader::new(&dataset, LoaderOptions::shuffled(8, unit(), 42)).unwrap();
        assert_eq!(indices(&loader, 0), [0, 2, 4, 7, 1, 5, 3, 6]);
    }

    #[test]
    fn augmentation_does_not_depend_on_the_batch() {
        let names = vec!["all".to_owned()];
        let pixels = (0..200u8).collect();
        let dataset = ImageDataset::new(pixels, vec![0; 8], [1, 5, 5], names).unwrap();
        let transforms = vec![Transform::Crop { padding: 2 }, Transform::Brightness { strength: 0.9 }];
        let pixels = |batch_size, epoch| -> Vec<f32> {
            let augmentation = Augmentation::new(transforms.clone()).unwrap();
            let options = LoaderOptions::in_order(batch_size, unit()).augmentation(augmentation);
            let loader = DataLoader::new(&dataset, options).unwrap();
            loader.epoch(epoch).flat_map(|batch| batch.pixels().to_vec()).collect()
        };
        assert_eq!(pixels(3, 0), pixels(8, 0));
        assert_ne!(pixels(3, 0), pixels(3, 1));
    }

    proptest! {
        #[test]
        fn an_epoch_holds_every_example_once(
            count in 1usize..100,
            batch_size in 1usize..40,
            shuffle: bool,
            drop_last: bool,
            seed: u64,
        ) {
            let dataset = numbered(count);
            let options = LoaderOptions::in_order(batch_size, unit()).shuffle(shuffle).drop_last(drop_last).seed(seed);
            let Ok(loader) = DataLoader::new(&dataset, options) else {
                prop_assert!(drop_last && batch_size > count);
                return Ok(());
            };
            let epoch = loader.epoch(seed);
            prop_assert_eq!(epoch.len(), loader.len());
            let sizes: Vec<usize> = epoch.map(|batch| batch.len()).collect();
            prop_assert_eq!(sizes.len(), loader.len());
            let whole = sizes.iter().filter(|&&size| size == batch_size).count();
            prop_assert!(whole == sizes.len() || (whole + 1 == sizes.len() && !drop_last));

            let mut seen = indices(&loader, seed);
            let expected = if drop_last { count - count % batch_size } else { count };
            prop_assert_eq!(seen.len(), expected);
            if !shuffle {
                prop_assert!(seen.is_sorted());
            }
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), expected);
        }
    }
}
