//! The classes of image files, in one call.

use std::path::Path;

use windlass_compiler::shape::Sizes;

use crate::data::{Normalization, folder};
use crate::error::Error;
use crate::forward::Forward;
use crate::metrics::argmax;
use crate::model::Model;
use crate::network::{AnyNetwork, Feed};
use crate::parameters::Parameters;
use crate::predictor::Predictor;

/// The scores of an image for each class.
///
/// ```
/// use windlass::data::Classification;
///
/// let found = Classification { scores: vec![0.0, 2.0, 1.0] };
/// assert_eq!(found.class(), Some(1));
/// let top = found.top(2);
/// assert_eq!((top[0].0, top[1].0), (1, 2));
/// assert!((top[0].1 - 0.665).abs() < 0.001); // the probability
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// The output of the network: a score (logit) for each class.
    pub scores: Vec<f32>,
}

impl Classification {
    /// The class with the highest score; [`None`] if scores are NaN.
    pub fn class(&self) -> Option<usize> {
        argmax(&self.scores)
    }

    /// The probability of each class: the softmax of the scores. For a network that ends with a softmax, the scores are the
    /// probabilities already.
    pub fn probabilities(&self) -> Vec<f32> {
        let largest = self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f64> = self.scores.iter().map(|&score| f64::from(score - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| (power / sum) as f32).collect()
    }

    /// The likeliest classes with their probabilities, the likeliest first; the first of equal ones.
    pub fn top(&self, count: usize) -> Vec<(usize, f32)> {
        let mut classes: Vec<(usize, f32)> = self.probabilities().into_iter().enumerate().collect();
        classes.sort_by(|(_, left), (_, right)| right.total_cmp(left));
        classes.truncate(count);
        classes
    }
}

impl<N: AnyNetwork> Model<N> {
    /// Classifies an image file, PNG or JPEG. It is resized to the network's input `[channels, height, width]`, and normalised
    /// like the images that the network was trained on.
    ///
    /// ```no_run
    /// use windlass::Model;
    /// use windlass::data::Normalization;
    ///
    /// windlass::network! {
    ///     network Small(image: [3, 32, 32]) -> [10] { conv2d(8, kernel_size = 3); relu; flatten; linear(10) }
    /// }
    ///
    /// let model = Model::<Small>::load("small.safetensors")?;
    /// let found = model.classify("cat.jpg", &Normalization::unit(3)?)?;
    /// println!("{:?}", found.top(5));
    /// # Ok::<(), windlass::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoClassifier`] for a network with other inputs or outputs, [`Error::Io`] and [`Error::DataFile`] for the file,
    /// [`Error::DataSet`] for a normalisation with another number of channels.
    pub fn classify(
        &self,
        path: impl AsRef<Path>,
        normalization: &Normalization,
    ) -> Result<Classification, Error> {
        self.compiled().classify(self.parameters(), path.as_ref(), normalization)
    }
}

impl<N: AnyNetwork> Predictor<N> {
    /// Classifies an image file, like [`Model::classify`].
    ///
    /// # Errors
    /// Those of [`Model::classify`].
    pub fn classify(
        &self,
        path: impl AsRef<Path>,
        normalization: &Normalization,
    ) -> Result<Classification, Error> {
        self.compiled().classify(self.kept(), path.as_ref(), normalization)
    }
}

impl<N: AnyNetwork> Forward<N> {
    fn classify(
        &self,
        parameters: &Parameters,
        path: &Path,
        normalization: &Normalization,
    ) -> Result<Classification, Error> {
        let (inputs, outputs) = (&self.ports().inputs, &self.ports().outputs);
        let ([(_, image)], [(_, scores)]) = (&inputs[..], &outputs[..]) else {
            return Err(self.no_classifier());
        };
        let fixed = |dims: &[windlass_compiler::shape::Dim]| -> Option<Vec<usize>> {
            dims.iter().map(windlass_compiler::shape::Dim::fixed).collect()
        };
        let (Some(image), Some(classes)) = (fixed(image.item_dims()), fixed(scores.item_dims())) else {
            return Err(self.no_classifier());
        };
        let (Ok(shape), [classes]) = (<[usize; 3]>::try_from(image), &classes[..]) else {
            return Err(self.no_classifier());
        };
        let pixels = folder::read_image(path, shape)?;
        normalization.check_channels(shape[0])?;
        let mut elements = vec![0.0; pixels.len()];
        normalization.apply(&pixels, &mut elements);
        let mut scores = vec![0.0; *classes];
        let feeds = [Feed::from(&elements)];
        self.run_feeds(parameters, &feeds, std::iter::once(&mut scores[..]), &Sizes::from(1))?;
        Ok(Classification { scores })
    }

    fn no_classifier(&self) -> Error {
        let list = |ports: &[crate::network::ports::Port]| {
            let each = ports.iter().map(|(name, shape)| format!("`{name}` {}", shape.display_item()));
            each.collect::<Vec<_>>().join(", ")
        };
        Error::NoClassifier {
            network: self.network().name().to_owned(),
            inputs: list(&self.ports().inputs),
            outputs: list(&self.ports().outputs),
        }
    }
}
