//! Mixup: training on weighted means of two examples and of their labels.

use rand::distr::Distribution;
use rand::seq::SliceRandom;
use rand_distr::Beta;

use super::Batch;
use crate::error::Error;
use crate::random::{Purpose, stream};

/// Mixes every example of a batch with another one (Zhang, Cissé, Dauphin and Lopez-Paz 2018, arXiv:1710.09412): pixels
/// are `λ·own + (1 − λ)·partner`, and the targets likewise. One λ is drawn for each batch, from the distribution
/// Beta(α, α), and the partners are the examples of the batch in random order. Seed, epoch and step determine both.
///
/// Mixed targets are probabilities: use [`Loss::KlDivergence`](windlass_compiler::autodiff::Loss::KlDivergence) for a
/// network that ends with `log_softmax`. Its gradients are those of the cross-entropy with these probabilities.
///
/// ```
/// use windlass::{Builder, Dynamic, Layer, Loss, Trainer, TrainerOptions};
/// use windlass::data::{DataLoader, ImageDataset, LoaderOptions, Mixup, Normalization};
///
/// let pixels = vec![0, 51, 102, 153, 204, 255];
/// let dataset = ImageDataset::new(pixels, vec![0, 1, 0], [1, 1, 2], vec!["a".to_owned(), "b".to_owned()])?;
/// let loader = DataLoader::new(&dataset, LoaderOptions::in_order(3, Normalization::unit(1)?))?;
///
/// let mut builder = Builder::new("net");
/// let image = builder.input("image", &[1, 1, 2])?;
/// let x = builder.layer("", &Layer::Flatten, image)?;
/// let x = builder.layer("f1", &Layer::linear(2), x)?;
/// let x = builder.layer("", &Layer::LogSoftmax, x)?;
/// builder.output("class", x)?;
/// let options = TrainerOptions::default().loss(Loss::KlDivergence);
/// let mut trainer = Trainer::new(Dynamic::new(builder.finish()?)?.model(0)?, options)?;
///
/// let mixup = Mixup::new(0.2, 42)?;
/// for (step, mut batch) in loader.epoch(0).enumerate() {
///     let mixed = mixup.mix(&mut batch, 0, step as u64);
///     trainer.step(&batch, &mixed.targets(2))?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixup {
    alpha: f64,
    seed: u64,
}

/// The labels of a mixed batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// The share λ of each example's own pixels and label, 0 to 1.
    pub share: f32,
    /// The label of each example.
    pub labels: Vec<i32>,
    /// The label of its partner, which has the rest.
    pub partners: Vec<i32>,
}

impl Mixup {
    /// Mixup with shares from Beta(`alpha`, `alpha`): nearly always close to 0 or 1 for a small `alpha`, as in the
    /// paper, where it is 0.1 to 0.4 for images; uniform for 1.
    ///
    /// # Errors
    /// [`Error::Setting`] for an `alpha` that is not above 0 and finite.
    pub fn new(alpha: f64, seed: u64) -> Result<Self, Error> {
        if Beta::new(alpha, alpha).is_err() || !alpha.is_finite() {
            return Err(Error::setting("mixup.alpha", alpha, "above 0 and finite"));
        }
        Ok(Mixup { alpha, seed })
    }

    /// Mixes the images of a batch in place, and returns their labels.
    pub fn mix(&self, batch: &mut Batch, epoch: u64, step: u64) -> Mixed {
        let mut random = stream(self.seed, Purpose::Mix, epoch, step);
        // The settings were checked. A tiny `alpha` may give 0/0: then nothing is mixed.
        let share = Beta::new(self.alpha, self.alpha).map_or(1.0, |beta| beta.sample(&mut random));
        let share = if share.is_nan() { 1.0 } else { share as f32 };
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.shuffle(&mut random);
        let labels = batch.labels().to_vec();
        let partners = order.iter().map(|&partner| labels[partner]).collect();
        let own = batch.pixels().to_vec();
        let length = own.len() / labels.len().max(1);
        for (image, partner) in batch.pixels_mut().chunks_exact_mut(length.max(1)).zip(order) {
            for (pixel, other) in image.iter_mut().zip(&own[partner * length..]) {
                *pixel = share * *pixel + (1.0 - share) * other;
            }
        }
        Mixed { share, labels, partners }
    }
}

impl Mixed {
    /// The probabilities of every class for each example, `[count, classes]`. A label outside the classes has none.
    pub fn targets(&self, classes: usize) -> Vec<f32> {
        let mut targets = vec![0.0; self.labels.len() * classes];
        for (row, (own, partner)) in
            targets.chunks_exact_mut(classes.max(1)).zip(self.labels.iter().zip(&self.partners))
        {
            for (label, share) in [(own, self.share), (partner, 1.0 - self.share)] {
                if let Some(target) = usize::try_from(*label).ok().and_then(|class| row.get_mut(class)) {
                    *target += share;
                }
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataLoader, ImageDataset, LoaderOptions, Normalization};

    /// A batch of grey images of two pixels, whose label is their first pixel.
    fn batch() -> Batch {
        let pixels = (0..8).flat_map(|index| [index, 100]).collect();
        let names = (0..8).map(|index| index.to_string()).collect();
        let dataset = ImageDataset::new(pixels, (0..8).collect(), [1, 1, 2], names).unwrap();
        let options = LoaderOptions::in_order(8, Normalization::unit(1).unwrap());
        DataLoader::new(&dataset, options).unwrap().epoch(0).next().unwrap()
    }

    #[test]
    fn pixels_and_targets_are_mixed_alike() {
        let mut mixed_batch = batch();
        let mixed = Mixup::new(1.0, 3).unwrap().mix(&mut mixed_batch, 0, 0);
        assert!(mixed.share > 0.0 && mixed.share < 1.0, "{}", mixed.share);
        assert_eq!(mixed.labels, batch().labels());
        let mut sorted = mixed.partners.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, batch().labels(), "every example is a partner once");
        assert_ne!(mixed.partners, mixed.labels);
        for (image, row) in mixed_batch.pixels().chunks(2).zip(mixed.targets(8).chunks(8)) {
            // The first pixel is a multiple of the label, so its mixture is that of the labels.
            let label: f32 = row.iter().zip(0u8..).map(|(share, class)| share * f32::from(class)).sum();
            assert!((image[0] * 255.0 - label).abs() < 1e-4, "{image:?} {row:?}");
            assert!((image[1] * 255.0 - 100.0).abs() < 1e-4);
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn seed_epoch_and_step_determine_the_mixture() {
        let mix = |seed, epoch, step| {
            let mut batch = batch();
            let mixed = Mixup::new(0.4, seed).unwrap().mix(&mut batch, epoch, step);
            (batch, mixed)
        };
        assert_eq!(mix(1, 2, 3), mix(1, 2, 3));
        for other in [mix(0, 2, 3), mix(1, 0, 3), mix(1, 2, 0)] {
            assert_ne!(other, mix(1, 2, 3));
        }
    }

    #[test]
    fn shares_have_the_distribution_asked_for() {
        let near_an_end = |alpha| {
            let mixup = Mixup::new(alpha, 0).unwrap();
            let shares: Vec<f32> = (0..1000).map(|step| mixup.mix(&mut batch(), 0, step).share).collect();
            let mean = shares.iter().sum::<f32>() / 1000.0;
            assert!((mean - 0.5).abs() < 0.06, "{mean}"); // four standard deviations of the widest one
            shares.iter().filter(|share| !(0.1..0.9).contains(*share)).count()
        };
        assert!((150..250).contains(&near_an_end(1.0))); // uniform: a fifth
        assert!(near_an_end(0.1) > 700);
        assert!(near_an_end(8.0) < 30);
    }

    #[test]
    fn numbers_out_of_range_are_refused_and_strange_labels_have_no_target() {
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Mixup::new(alpha, 0).unwrap_err().to_string();
            assert_eq!(error, format!("`mixup.alpha` is {alpha} but must be above 0 and finite"));
        }
        let mixed = Mixed { share: 0.25, labels: vec![1, -1], partners: vec![1, 0] };
        assert_eq!(mixed.targets(2), [0.0, 1.0, 0.75, 0.0]);
        assert_eq!(mixed.targets(0), [0.0; 0]);
        let empty = Mixup::new(1.0, 0).unwrap().mix(&mut Batch::default(), 0, 0);
        assert!(empty.labels.is_empty());
    }
}
