//! The photograph of the examples.

use std::error::Error;

use crate::repository::repository;

/// The height of the photograph.
pub(crate) const HEIGHT: usize = 192;

/// The width of the photograph.
pub(crate) const WIDTH: usize = 288;

/// The photograph as an image `[3, HEIGHT, WIDTH]` of numbers from 0 to 1.
pub(crate) fn photo() -> Result<Vec<f32>, Box<dyn Error>> {
    let path = repository().join("data/photo/china.png");
    let image = image::open(&path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?
        .into_rgb8();
    if image.dimensions() != (WIDTH as u32, HEIGHT as u32) {
        return Err(format!("{} is not {WIDTH}×{HEIGHT} pixels", path.display()).into());
    }
    let channel = |channel: usize| image.pixels().map(move |pixel| f32::from(pixel.0[channel]) / 255.0);
    Ok((0..3).flat_map(channel).collect())
}
