//! Random, class-preserving changes to training images. They work on bytes, before normalisation, and depend only on
//! seed, epoch and example: not on the batch, the order or the thread.

mod color;
mod geometry;

#[cfg(test)]
mod tests;

use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use self::color::{hue, saturate, scale_about};
use self::geometry::{crop, cut_out, resize, rotate};
use crate::error::Error;
use crate::random::{Purpose, stream};

/// A random change to an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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
    /// Crops a random rectangle and resizes it to the size of the image by bilinear interpolation (Szegedy et al. 2015,
    /// arXiv:1409.4842). Its share of the area is uniform from `min_area` to 1; its aspect ratio, relative to that of
    /// the image, is between `1 / max_aspect` and `max_aspect`, uniform in its logarithm. A rectangle that does not fit
    /// is drawn again, up to ten times; then the image stays whole.
    RandomResizedCrop {
        /// Above 0, at most 1; 0.08 in the paper.
        min_area: f64,
        /// At least 1; 4/3 in the paper.
        max_aspect: f64,
    },
    /// Rotates the image about its centre by an angle from `-degrees` to `degrees`, with bilinear interpolation and
    /// black corners (Simard, Steinkraus and Platt 2003, "Best practices for convolutional neural networks applied to
    /// visual document analysis").
    Rotation {
        /// 0 to 180.
        degrees: f64,
    },
    /// Changes brightness, contrast, saturation and hue, in random order (Howard 2013, arXiv:1312.5402). Brightness and
    /// contrast are those of the transforms of these names. Saturation multiplies the distance of every pixel from its
    /// grey. Hue turns the colours about the grey axis: by `hue` of the full circle at most, in either direction.
    ColorJitter {
        /// 0 to 1.
        brightness: f64,
        /// 0 to 1.
        contrast: f64,
        /// 0 to 1; above 0 only for images of three channels.
        saturation: f64,
        /// 0 to 0.5; above 0 only for images of three channels.
        hue: f64,
    },
    /// Fills a square of this size with black; its centre is a random pixel, and it may extend beyond the image
    /// (DeVries and Taylor 2017, arXiv:1708.04552).
    Cutout {
        /// The width of the square, at least 1; half the width of the images in the paper, for ten classes.
        size: usize,
    },
}

impl Transform {
    /// Its numbers: name, value, and the smallest and largest one.
    fn settings(&self) -> Vec<(&'static str, f64, [f64; 2])> {
        const UNIT: [f64; 2] = [0.0, 1.0];
        match *self {
            Transform::HorizontalFlip { probability } => {
                vec![("horizontal_flip.probability", probability, UNIT)]
            }
            Transform::Brightness { strength } => vec![("brightness.strength", strength, UNIT)],
            Transform::Contrast { strength } => vec![("contrast.strength", strength, UNIT)],
            Transform::RandomResizedCrop { min_area, max_aspect } => vec![
                ("random_resized_crop.min_area", min_area, [f64::MIN_POSITIVE, 1.0]),
                ("random_resized_crop.max_aspect", max_aspect, [1.0, f64::MAX]),
            ],
            Transform::Rotation { degrees } => vec![("rotation.degrees", degrees, [0.0, 180.0])],
            Transform::ColorJitter { brightness, contrast, saturation, hue } => vec![
                ("color_jitter.brightness", brightness, UNIT),
                ("color_jitter.contrast", contrast, UNIT),
                ("color_jitter.saturation", saturation, UNIT),
                ("color_jitter.hue", hue, [0.0, 0.5]),
            ],
            Transform::Cutout { size } => vec![("cutout.size", size as f64, [1.0, f64::MAX])],
            Transform::Crop { .. } => Vec::new(),
        }
    }
}

/// The range of a number in words.
fn words([least, most]: [f64; 2]) -> String {
    if least == f64::MIN_POSITIVE {
        format!("above 0, and at most {most}")
    } else if most == f64::MAX {
        format!("at least {least}")
    } else {
        format!("from {least} to {most}")
    }
}

/// A sequence of transforms.
///
/// ```
/// use windlass::data::{Augmentation, Transform};
/// let augmentation = Augmentation::new(vec![
///     Transform::HorizontalFlip { probability: 1.0 },
/// ])?;
/// let mut image = [1, 2, 3, 4, 5, 6];
/// augmentation.apply(&mut image, [1, 2, 3], 42, 0, 0);
/// assert_eq!(image, [3, 2, 1, 6, 5, 4]);
/// # Ok::<(), windlass::Error>(())
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
    /// [`Error::Setting`] for a number outside the range that its transform states.
    pub fn new(transforms: Vec<Transform>) -> Result<Self, Error> {
        for (setting, value, [least, most]) in transforms.iter().flat_map(Transform::settings) {
            if !(least..=most).contains(&value) {
                return Err(Error::setting(setting, value, words([least, most])));
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
    /// [`Error::Setting`] for a crop that could remove the whole image, and for a change of colours that the images do
    /// not have.
    pub fn check(&self, [channels, height, width]: [usize; 3]) -> Result<(), Error> {
        let smaller = height.min(width);
        for transform in &self.transforms {
            match *transform {
                Transform::Crop { padding } if padding >= smaller => {
                    let expected = format!("smaller than {smaller}, the smaller side of the images");
                    return Err(Error::setting("crop.padding", padding, expected));
                }
                Transform::ColorJitter { saturation, hue, .. } if channels != 3 => {
                    let colored = [("color_jitter.saturation", saturation), ("color_jitter.hue", hue)];
                    if let Some((setting, value)) = colored.into_iter().find(|(_, value)| *value > 0.0) {
                        let expected = format!("0 for images of {channels} channels: colours have 3");
                        return Err(Error::setting(setting, value, expected));
                    }
                }
                _ => {}
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
        let [channels, height, width] = shape;
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
                    Tone::Brightness(strength).apply(image, channels, &mut random)
                }
                Transform::Contrast { strength } => {
                    Tone::Contrast(strength).apply(image, channels, &mut random)
                }
                Transform::RandomResizedCrop { min_area, max_aspect } => {
                    let part = resized_part([height, width], min_area, max_aspect, &mut random);
                    for plane in image.chunks_exact_mut(height * width) {
                        resize(plane, width, part);
                    }
                }
                Transform::Rotation { degrees } => {
                    let angle = random.random_range(-degrees..=degrees).to_radians();
                    for plane in image.chunks_exact_mut(height * width) {
                        rotate(plane, width, angle);
                    }
                }
                Transform::ColorJitter { brightness, contrast, saturation, hue } => {
                    let mut tones = [
                        Tone::Brightness(brightness),
                        Tone::Contrast(contrast),
                        Tone::Saturation(saturation),
                        Tone::Hue(hue),
                    ];
                    tones.shuffle(&mut random);
                    for tone in tones {
                        tone.apply(image, channels, &mut random);
                    }
                }
                Transform::Cutout { size } => {
                    let center = [height, width].map(|size| random.random_range(0..size as u64) as usize);
                    for plane in image.chunks_exact_mut(height * width) {
                        cut_out(plane, width, center, size);
                    }
                }
            }
        }
    }
}

/// A change of every pixel by one random number, with its strength.
#[derive(Clone, Copy, Debug)]
enum Tone {
    Brightness(f64),
    Contrast(f64),
    Saturation(f64),
    Hue(f64),
}

impl Tone {
    fn apply(self, image: &mut [u8], channels: usize, random: &mut impl RngExt) {
        let mut around =
            |center: f64, strength: f64| random.random_range(center - strength..=center + strength);
        match self {
            Tone::Brightness(strength) => scale_about(image, 0.0, around(1.0, strength)),
            Tone::Contrast(strength) => {
                let sum: u64 = image.iter().map(|&pixel| u64::from(pixel)).sum();
                scale_about(image, sum as f64 / image.len() as f64, around(1.0, strength));
            }
            Tone::Saturation(strength) if strength > 0.0 && channels == 3 => {
                saturate(image, around(1.0, strength))
            }
            Tone::Hue(strength) if strength > 0.0 && channels == 3 => hue(image, around(0.0, strength)),
            Tone::Saturation(_) | Tone::Hue(_) => {}
        }
    }
}

/// A random rectangle of an image: its corner and its size.
fn resized_part(
    image: [usize; 2],
    min_area: f64,
    max_aspect: f64,
    random: &mut impl RngExt,
) -> ([usize; 2], [usize; 2]) {
    let stretch = max_aspect.ln();
    for _ in 0..10 {
        let area = random.random_range(min_area..=1.0);
        let aspect = random.random_range(-stretch..=stretch).exp();
        let shares = [(area / aspect).sqrt(), (area * aspect).sqrt()];
        let sizes = [0, 1].map(|axis| (image[axis] as f64 * shares[axis]).round().max(1.0) as usize);
        if sizes[0] <= image[0] && sizes[1] <= image[1] {
            let corner =
                [0, 1].map(|axis| random.random_range(0..=(image[axis] - sizes[axis]) as u64) as usize);
            return (corner, sizes);
        }
    }
    ([0, 0], image)
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
