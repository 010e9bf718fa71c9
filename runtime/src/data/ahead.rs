//! Batches of images that threads read, decode and augment ahead of the training.

use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::loader::Batch;
use super::tensors::check_batches;
use super::{AsMinibatch, Batches, ImageDataset, LoaderOptions, Minibatch, Normalization, sampling};
use crate::error::{DataSetProblem, Error};

/// Where images come from, one by one: memory ([`ImageDataset`]) or files (`ImageFolder`).
pub trait ImageSource: Sync {
    /// The number of images.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels, height and width of every image.
    fn image_shape(&self) -> [usize; 3];

    /// The label of an image.
    fn label(&self, index: usize) -> i32;

    /// Writes the bytes of an image, `[channels, height, width]`, to `pixels`.
    ///
    /// # Errors
    /// Those of reading it, which name the file.
    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<(), Error>;
}

impl ImageSource for ImageDataset {
    fn len(&self) -> usize {
        self.labels().len()
    }

    fn image_shape(&self) -> [usize; 3] {
        ImageDataset::image_shape(self)
    }

    fn label(&self, index: usize) -> i32 {
        self.labels()[index]
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<(), Error> {
        let length = self.image_len();
        pixels.copy_from_slice(&self.pixels()[index * length..(index + 1) * length]);
        Ok(())
    }
}

/// Divides images into batches like a [`DataLoader`](super::DataLoader), with the same bits, but reads, augments and normalises
/// them on threads of its own, ahead of the training.
///
/// ```
/// use std::ops::ControlFlow;
/// use windlass::data::{Batches, ImageDataset, ImageLoader, LoaderOptions};
///
/// let data = ImageDataset::new((0..20).collect(), vec![0; 5], [1, 2, 2], vec!["all".to_owned()])?;
/// let loader = ImageLoader::new(&data, LoaderOptions::default().batch_size(2).shuffle(true), 2)?;
/// let mut batches = 0;
/// loader.visit(0, &mut |_| {
///     batches += 1;
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(batches, 3);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageLoader<'a, S> {
    source: &'a S,
    options: LoaderOptions,
    normalization: Normalization,
    threads: usize,
}

impl<'a, S: ImageSource> ImageLoader<'a, S> {
    /// A loader that prepares batches on this many threads, each of them one batch ahead.
    ///
    /// # Errors
    /// Those of [`DataLoader::new`](super::DataLoader::new), and [`Error::Setting`] for no threads.
    pub fn new(source: &'a S, options: LoaderOptions, threads: usize) -> Result<Self, Error> {
        if !(1..=1024).contains(&threads) {
            return Err(Error::setting("threads", threads, "between 1 and 1024"));
        }
        if source.is_empty() {
            return Err(DataSetProblem::Empty.in_memory());
        }
        let normalization = check(&options, source.len(), source.image_shape())?;
        Ok(ImageLoader { source, options, normalization, threads })
    }

    /// Reads a batch.
    fn batch(&self, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
        let shape = self.source.image_shape();
        let mut batch = Batch::zeros(shape, indices.iter().map(|&index| self.source.label(index)).collect());
        let length = shape.iter().product();
        let mut image = vec![0; length];
        for (floats, &index) in batch.pixels_mut().chunks_exact_mut(length).zip(indices) {
            image.resize(length, 0);
            self.source.read(index, &mut image)?;
            if !self.options.augmentation.is_none() {
                self.options.augmentation.apply(&mut image, shape, self.options.seed, epoch, index);
            }
            self.normalization.apply(&image, floats);
        }
        Ok(batch)
    }
}

impl<S: ImageSource> Batches for ImageLoader<'_, S> {
    fn count(&self) -> usize {
        self.options.batches(self.source.len())
    }

    fn visit(
        &self,
        epoch: u64,
        visit: &mut dyn FnMut(Minibatch<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let order = self.options.order(self.source.len(), epoch);
        let batches: Vec<&[usize]> = order.chunks(self.options.batch_size).take(self.count()).collect();
        thread::scope(|scope| {
            let threads = self.threads.min(batches.len());
            let receivers: Vec<_> = (0..threads)
                .map(|first| {
                    // A thread waits until its batch is taken: so there is one ahead for each thread.
                    let (sender, receiver) = sync_channel(0);
                    let batches = &batches;
                    scope.spawn(move || {
                        for indices in batches.iter().skip(first).step_by(threads) {
                            // The end of the receiver is the end of the epoch.
                            if sender.send(self.batch(epoch, indices)).is_err() {
                                break;
                            }
                        }
                    });
                    receiver
                })
                .collect();
            for index in 0..batches.len() {
                // A thread that panicked sends nothing more; its panic goes on when the scope ends.
                let Ok(batch) = receivers[index % threads].recv() else { break };
                if visit(batch?.as_minibatch()).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// Checks the options of a loader of images; returns the normalisation.
pub(super) fn check(
    options: &LoaderOptions,
    examples: usize,
    image_shape: [usize; 3],
) -> Result<Normalization, Error> {
    check_batches(options.batch_size, options.drop_last, examples)?;
    sampling::check_weights(options.weights.as_deref(), examples)?;
    options.augmentation.check(image_shape)?;
    let channels = image_shape[0];
    let normalization = match &options.normalization {
        Some(normalization) => normalization.clone(),
        None => Normalization::unit(channels)?,
    };
    normalization.check_channels(channels)?;
    Ok(normalization)
}
