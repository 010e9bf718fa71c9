//! Random, class-preserving changes to training images. They work on bytes, before normalisation, and depend only on
//! seed, epoch and example: not on the batch, the order or the thread.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::random::{Purpose, stream};

/// A random change to an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Mirrors the image horizontally.
    HorizontalFlip {
        /// The probability, 0 to 1.
        probability: f64,
    },
    /// Pads the image with black and crops it to its original size at a random position: a shift by up to `padding`
    /// pixels in each direction.
    Crop {
        /// The width of the padding, smaller than height and width.
        padding: usize,
    },
    /// Multiplies every pixel by one factor from `1 - strength` to `1 + strength`.
    Brightness {
        /// 0 to 1.
        strength: f64,
    },
    /// Multiplies every pixel's distance from the image's mean by one factor from `1 - strength` to `1 + strength`.
    Contrast {
        /// 0 to 1.
        strength: f64,
    },
}

/// A sequence of transforms.
///
/// ```
/// use windlass_runtime::data::{Augmentation, Transform};
/// let augmentation = Augmentation::new(vec![
///     Transform::HorizontalFlip { probability: 1.0 },
/// ])?;
/// let mut image = [1, 2, 3, 4, 5, 6];
/// augmentation.apply(&mut image, [1, 2, 3], 42, 0, 0);
/// assert_eq!(image, [3, 2, 1, 6, 5, 4]);
/// # Ok::<(), windlass_runtime::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Transform>", into = "Vec<Transform>")]
pub struct Augmentation {
    transforms: Vec<Transform>,
}

impl Augmentation {
    /// No changes.
    pub const NONE: Augmentation = Augmentation { transforms: Vec::new() };

    /// These transforms in order. They draw from one random stream, so each depends on those before it.
    ///
    /// # Errors
    /// [`Error::Setting`] for a probability or strength outside 0 to 1.
    pub fn new(transforms: Vec<Transform>) -> Result<Self, Error> {
        for transform in &transforms {
            let (setting, value) = match *transform {
                Transform::HorizontalFlip { probability } => ("horizontal_flip.probability", probability),
                Transform::Brightness { strength } => ("brightness.strength", strength),
                Transform::Contrast { strength } => ("contrast.strength", strength),
                Transform::Crop { .. } => continue,
            };
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::setting(setting, value, "from 0 to 1"));
            }
        }
        Ok(Augmentation { transforms })
    }

    /// The transforms, in order.
    pub fn transforms(&self) -> &[Transform] {
        &self.transforms
    }

    /// Whether images stay unchanged.
    pub fn is_none(&self) -> bool {
        self.transforms.is_empty()
    }

    /// Checks that the transforms fit images of `[channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a crop that could remove the whole image.
    pub fn check(&self, [_, height, width]: [usize; 3]) -> Result<(), Error> {
        let smaller = height.min(width);
        for transform in &self.transforms {
            if let Transform::Crop { padding } = *transform
                && padding >= smaller
            {
                let expected = format!("smaller than {smaller}, the smaller side of the images");
                return Err(Error::setting("crop.padding", padding, expected));
            }
        }
        Ok(())
    }

    /// Changes an image `[channels, height, width]` in place, determined by seed, epoch and example.
    ///
    /// # Panics
    /// If the image does not have this shape.
    pub fn apply(&self, image: &mut [u8], shape: [usize; 3], seed: u64, epoch: u64, example: usize) {
        assert_eq!(image.len(), shape.iter().product::<usize>(), "an image of {shape:?}");
        if self.is_none() || image.is_empty() {
            return;
        }
        let [_, height, width] = shape;
        let mut random = stream(seed, Purpose::Augment, epoch, example as u64);
        for transform in &self.transforms {
            match *transform {
                Transform::HorizontalFlip { probability } => {
                    if random.random_bool(probability) {
                        image.chunks_exact_mut(width).for_each(<[u8]>::reverse);
                    }
                }
                Transform::Crop { padding } => {
                    let top = random.random_range(0..=2 * padding as u64) as usize;
                    let left = random.random_range(0..=2 * padding as u64) as usize;
                    for plane in image.chunks_exact_mut(height * width) {
                        crop(plane, width, padding, top, left);
                    }
                }
                Transform::Brightness { strength } => {
                    let factor = random.random_range(1.0 - strength..=1.0 + strength);
                    scale_about(image, 0.0, factor);
                }
                Transform::Contrast { strength } => {
                    let factor = random.random_range(1.0 - strength..=1.0 + strength);
                    let sum: u64 = image.iter().map(|&pixel| u64::from(pixel)).sum();
                    scale_about(image, sum as f64 / image.len() as f64, factor);
                }
            }
        }
    }
}

impl TryFrom<Vec<Transform>> for Augmentation {
    type Error = Error;

    fn try_from(transforms: Vec<Transform>) -> Result<Self, Error> {
        Augmentation::new(transforms)
    }
}

impl From<Augmentation> for Vec<Transform> {
    fn from(augmentation: Augmentation) -> Vec<Transform> {
        augmentation.transforms
    }
}

/// Crops a channel, padded with `padding` black pixels, at (`top`, `left`).
fn crop(plane: &mut [u8], width: usize, padding: usize, top: usize, left: usize) {
    let height = plane.len() / width;
    let shift_row = |row: &mut [u8]| {
        if left >= padding {
            row.copy_within(left - padding.., 0);
            row[width - (left - padding)..].fill(0);
        } else {
            row.copy_within(..width - (padding - left), padding - left);
            row[..padding - left].fill(0);
        }
    };
    plane.chunks_exact_mut(width).for_each(shift_row);
    if top >= padding {
        plane.copy_within((top - padding) * width.., 0);
        plane[(height - (top - padding)) * width..].fill(0);
    } else {
        plane.copy_within(..(height - (padding - top)) * width, (padding - top) * width);
        plane[..(padding - top) * width].fill(0);
    }
}

fn scale_about(image: &mut [u8], center: f64, factor: f64) {
    for pixel in image {
        // The conversion truncates and saturates at 0 and 255, so adding a half rounds.
        *pixel = (center + factor * (f64::from(*pixel) - center) + 0.5) as u8;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHAPE: [usize; 3] = [2, 3, 4];

    fn image() -> Vec<u8> {
        (1..=24).map(|pixel| pixel * 10).collect()
    }

    fn applied(transforms: Vec<Transform>, seed: u64, epoch: u64, example: usize) -> Vec<u8> {
        let mut image = image();
        Augmentation::new(transforms).unwrap().apply(&mut image, SHAPE, seed, epoch, example);
        image
    }

    /// The crop by its definition, on an image that is actually padded.
    fn cropped(image: &[u8], padding: usize, top: usize, left: usize) -> Vec<u8> {
        let [channels, height, width] = SHAPE;
        let mut result = Vec::new();
        for (channel, y, x) in
            (0..channels).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))))
        {
            let (y, x) = ((y + top).checked_sub(padding), (x + left).checked_sub(padding));
            result.push(match (y.filter(|&y| y < height), x.filter(|&x| x < width)) {
                (Some(y), Some(x)) => image[(channel * height + y) * width + x],
                _ => 0,
            });
        }
        result
    }

    #[test]
    fn every_window_is_cropped_as_defined() {
        for (padding, top, left) in
            (0..3).flat_map(|p| (0..=2 * p).flat_map(move |t| (0..=2 * p).map(move |l| (p, t, l))))
        {
            let mut got = image();
            for plane in got.chunks_exact_mut(12) {
                crop(plane, 4, padding, top, left);
            }
            assert_eq!(got, cropped(&image(), padding, top, left), "{padding} {top} {left}");
        }
    }

    #[test]
    fn crops_reach_every_window_and_no_other() {
        let windows: Vec<Vec<u8>> = (0..3)
            .flat_map(|top| (0..3).map(move |left| (top, left)))
            .map(|(top, left)| cropped(&image(), 1, top, left))
            .collect();
        let mut seen = [false; 9];
        for example in 0..200 {
            let got = applied(vec![Transform::Crop { padding: 1 }], 0, 0, example);
            seen[windows.iter().position(|window| *window == got).expect("a window of the padded image")] =
                true;
        }
        assert_eq!(seen, [true; 9]);
    }

    #[test]
    fn flips_happen_as_often_as_asked() {
        let flips = |probability| {
            let flipped =
                |example| applied(vec![Transform::HorizontalFlip { probability }], 3, 0, example) != image();
            (0..2000).filter(|&example| flipped(example)).count()
        };
        assert_eq!(flips(0.0), 0);
        assert_eq!(flips(1.0), 2000);
        let quarter = flips(0.25);
        assert!((420..580).contains(&quarter), "{quarter} of 2000"); // four standard deviations
    }

    #[test]
    fn brightness_scales_and_contrast_keeps_the_mean() {
        let mut image = [0, 100, 200, 255];
        scale_about(&mut image, 0.0, 1.5);
        assert_eq!(image, [0, 150, 255, 255]);
        let mut image = [50, 100, 150, 100];
        scale_about(&mut image, 100.0, 0.5);
        assert_eq!(image, [75, 100, 125, 100]);
        let mut image = [0, 200];
        scale_about(&mut image, 100.0, 2.0);
        assert_eq!(image, [0, 255]);
    }

    #[test]
    fn transforms_are_applied_in_order() {
        let strong = Transform::Brightness { strength: 1.0 };
        let weak = Transform::Contrast { strength: 0.5 };
        assert_ne!(applied(vec![strong, weak], 1, 2, 3), applied(vec![weak, strong], 1, 2, 3));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for value in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            for transform in [
                Transform::HorizontalFlip { probability: value },
                Transform::Brightness { strength: value },
                Transform::Contrast { strength: value },
            ] {
                let result = Augmentation::new(vec![transform]);
                assert!(matches!(result, Err(Error::Setting { .. })), "{transform:?}: {result:?}");
            }
        }
        let crop = Augmentation::new(vec![Transform::Crop { padding: 4 }]).unwrap();
        assert!(crop.check([1, 5, 5]).is_ok());
        assert_eq!(
            crop.check([1, 5, 4]).unwrap_err().to_string(),
            "`crop.padding` is 4 but must be smaller than 4, the smaller side of the images"
        );
        assert!(serde_json::from_str::<Augmentation>(r#"[{"brightness":{"strength":2.0}}]"#).is_err());
    }

    proptest! {
        #[test]
        fn the_same_seed_epoch_and_example_give_the_same_image(seed: u64, epoch: u64, example: usize) {
            let all = vec![
                Transform::HorizontalFlip { probability: 0.5 },
                Transform::Crop { padding: 2 },
                Transform::Brightness { strength: 0.5 },
                Transform::Contrast { strength: 0.5 },
            ];
            prop_assert_eq!(applied(all.clone(), seed, epoch, example), applied(all, seed, epoch, example));
        }
    }

    #[test]
    fn seed_epoch_and_example_each_change_the_image() {
        let count_of_different = |key: fn(usize) -> (u64, u64, usize)| {
            let mut images: Vec<Vec<u8>> = (0..50)
                .map(|i| {
                    let (seed, epoch, example) = key(i);
                    applied(vec![Transform::Brightness { strength: 1.0 }], seed, epoch, example)
                })
                .collect();
            images.sort();
            images.dedup();
            images.len()
        };
        assert!(count_of_different(|i| (i as u64, 0, 0)) > 40);
        assert!(count_of_different(|i| (0, i as u64, 0)) > 40);
        assert!(count_of_different(|i| (0, 0, i)) > 40);
    }
}
