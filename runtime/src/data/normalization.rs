//! Converts pixels 0..=255 to floats: scaled to 0..=1, minus the mean, divided by the standard deviation of each
//! channel.

use serde::{Deserialize, Serialize};

use super::ImageDataset;
use crate::error::{DataSetProblem, Error};

/// Mean and standard deviation of each channel, for pixels scaled to 0..=1.
///
/// ```
/// use windlass::data::Normalization;
/// let normalization = Normalization::new(&[0.5], &[0.25])?;
/// let mut floats = [0.0; 3];
/// normalization.apply(&[0, 51, 255], &mut floats);
/// assert_eq!(floats, [-2.0, -1.2, 2.0]);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Moments", into = "Moments")]
pub struct Normalization {
    moments: Moments,
    /// The float for every pixel value, by channel.
    tables: Vec<[f32; 256]>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Moments {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Normalization {
    /// A normalisation with given moments, one of each per channel.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no channel, the lists differ in length, a number is not finite, a deviation is
    /// not positive, or a number is greater than 1, like the moments of pixels from 0 to 255.
    pub fn new(mean: &[f32], deviation: &[f32]) -> Result<Self, Error> {
        Moments { mean: mean.to_vec(), deviation: deviation.to_vec() }.try_into()
    }

    /// Pixels scaled to 0..=1 only.
    ///
    /// # Errors
    /// [`Error::Setting`] for zero channels.
    pub fn unit(channels: usize) -> Result<Self, Error> {
        Self::new(&vec![0.0; channels], &vec![1.0; channels])
    }

    /// The moments of all pixels of a data set. Usually those of the training set are also used for test images.
    ///
    /// # Errors
    /// [`Error::DataSet`] for a channel whose pixels are all equal.
    pub fn of(dataset: &ImageDataset) -> Result<Self, Error> {
        let [channels, height, width] = dataset.image_shape();
        let (mut mean, mut deviation) = (Vec::new(), Vec::new());
        for channel in 0..channels {
            let planes =
                dataset.pixels().chunks_exact(height * width).skip(channel).step_by(channels).flatten();
            let mut counts = [0u64; 256];
            planes.for_each(|&pixel| counts[usize::from(pixel)] += 1);
            let moment = |power: i32, center: f64| -> f64 {
                let sum: f64 =
                    (0u32..).zip(counts).map(|(v, n)| n as f64 * (f64::from(v) - center).powi(power)).sum();
                sum / counts.iter().sum::<u64>() as f64
            };
            let average = moment(1, 0.0);
            let variance = moment(2, average);
            if variance == 0.0 {
                let problem = DataSetProblem::ConstantChannel { channel, value: average as u8 };
                return Err(problem.in_memory());
            }
            mean.push((average / 255.0) as f32);
            deviation.push((variance.sqrt() / 255.0) as f32);
        }
        Self::new(&mean, &deviation)
    }

    /// Checks that it is for images with this number of channels.
    pub(crate) fn check_channels(&self, channels: usize) -> Result<(), Error> {
        let normalized = self.channels();
        if channels != normalized {
            return Err(DataSetProblem::ChannelsDiffer { channels, normalized }.in_memory());
        }
        Ok(())
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.tables.len()
    }

    /// The mean of each channel, for pixels scaled to 0..=1.
    pub fn mean(&self) -> &[f32] {
        &self.moments.mean
    }

    /// The standard deviation of each channel, for pixels scaled to 0..=1.
    pub fn deviation(&self) -> &[f32] {
        &self.moments.deviation
    }

    /// Converts one image `[channels, height, width]` to floats.
    ///
    /// # Panics
    /// If the slices differ in length or do not divide into the channels.
    pub fn apply(&self, pixels: &[u8], floats: &mut [f32]) {
        assert_eq!(pixels.len(), floats.len(), "as many floats as pixels");
        assert!(pixels.len().is_multiple_of(self.channels()), "planes of equal size");
        if pixels.is_empty() {
            return;
        }
        let plane = pixels.len() / self.channels();
        let planes = pixels.chunks_exact(plane).zip(floats.chunks_exact_mut(plane));
        for ((pixels, floats), table) in planes.zip(&self.tables) {
            for (float, &pixel) in floats.iter_mut().zip(pixels) {
                *float = table[usize::from(pixel)];
            }
        }
    }
}

impl TryFrom<Moments> for Normalization {
    type Error = Error;

    fn try_from(moments: Moments) -> Result<Self, Error> {
        let Moments { mean, deviation } = &moments;
        if mean.is_empty() || mean.len() != deviation.len() {
            let value = format!("{} and {} numbers", mean.len(), deviation.len());
            return Err(Error::setting("mean and deviation", value, "one number per channel"));
        }
        if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Error::setting("mean", mean, "finite"));
        }
        if let Some(deviation) =
            deviation.iter().find(|deviation| !deviation.is_normal() || **deviation < 0.0)
        {
            return Err(Error::setting("deviation", deviation, "finite and greater than 0"));
        }
        const SCALED: &str =
            "at most 1, since pixels are scaled to 0..=1 first: divide moments for 0..=255 by 255";
        for (setting, values) in [("mean", mean), ("deviation", deviation)] {
            if let Some(value) = values.iter().find(|value| value.abs() > 1.0) {
                return Err(Error::setting(setting, value, SCALED));
            }
        }
        let tables = mean
            .iter()
            .zip(deviation)
            .map(|(&mean, &deviation)| {
                std::array::from_fn(|pixel| {
                    ((pixel as f64 / 255.0 - f64::from(mean)) / f64::from(deviation)) as f32
                })
            })
            .collect();
        Ok(Normalization { tables, moments })
    }
}

impl From<Normalization> for Moments {
    fn from(normalization: Normalization) -> Moments {
        normalization.moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(shape: [usize; 3], pixels: Vec<u8>) -> ImageDataset {
        let examples = pixels.len() / shape.iter().product::<usize>();
        ImageDataset::new(pixels, vec![0; examples], shape, vec!["all".to_owned()]).unwrap()
    }

    #[test]
    fn moments_are_taken_channel_by_channel() {
        // Two images of two channels of 1×2 pixels.
        let normalization =
            Normalization::of(&dataset([2, 1, 2], vec![0, 10, 255, 0, 20, 30, 0, 255])).unwrap();
        assert_eq!(normalization.mean(), [15.0 / 255.0, 0.5]);
        let deviations = [125f64.sqrt() as f32 / 255.0, 0.5];
        for (got, expected) in normalization.deviation().iter().zip(deviations) {
            assert!((got - expected).abs() < 1e-7, "{got} {expected}");
        }
    }

    #[test]
    fn normalised_by_its_own_moments_a_data_set_has_mean_0_and_variance_1() {
        let pixels: Vec<u8> = (0..600u32).map(|i| (i * i % 251) as u8).collect();
        let dataset = dataset([1, 10, 20], pixels.clone());
        let mut floats = vec![0.0; pixels.len()];
        Normalization::of(&dataset).unwrap().apply(&pixels, &mut floats);
        let mean = floats.iter().sum::<f32>() / 600.0;
        let variance = floats.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 600.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
    }

    #[test]
    fn each_channel_has_its_own_table() {
        let normalization = Normalization::new(&[0.0, 1.0], &[1.0, 0.5]).unwrap();
        let mut floats = [0.0; 4];
        normalization.apply(&[0, 255, 0, 255], &mut floats);
        assert_eq!(floats, [0.0, 1.0, -2.0, 0.0]);
    }

    #[test]
    fn a_constant_channel_is_refused() {
        let error = Normalization::of(&dataset([2, 1, 2], vec![0, 1, 7, 7])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the data set: every pixel of channel 1 is 7, so it has no deviation to divide by; give a normalisation"
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (mean, deviation) in [
            (&[][..], &[][..]),
            (&[0.0], &[1.0, 1.0]),
            (&[f32::NAN], &[1.0]),
            (&[0.0], &[0.0]),
            (&[0.0], &[-1.0]),
            (&[0.0], &[f32::NAN]),
            (&[0.0], &[f32::INFINITY]),
            (&[123.7], &[0.25]),
            (&[0.5], &[58.4]),
        ] {
            let result = Normalization::new(mean, deviation);
            assert!(matches!(result, Err(Error::Setting { .. })), "{mean:?} {deviation:?}: {result:?}");
        }
        let message = Normalization::new(&[123.7], &[58.4]).unwrap_err().to_string();
        assert!(message.starts_with("`mean` is 123.7 ") && message.contains("by 255"), "{message}");
        assert!(matches!(Normalization::unit(0), Err(Error::Setting { .. })));
    }

    #[test]
    fn serde_keeps_the_moments_and_checks_them() {
        let normalization = Normalization::new(&[0.25], &[0.5]).unwrap();
        let text = serde_json::to_string(&normalization).unwrap();
        assert_eq!(text, r#"{"mean":[0.25],"deviation":[0.5]}"#);
        assert_eq!(serde_json::from_str::<Normalization>(&text).unwrap(), normalization);
        assert!(serde_json::from_str::<Normalization>(r#"{"mean":[0.25],"deviation":[0.0]}"#).is_err());
    }
}
