//! The drawing surface of the examples: a white picture with text, grids of coloured cells and images, saved as a PNG
//! file.

#![allow(dead_code, reason = "no example draws everything")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Once;

use image::{RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

/// Samples per pixel along each axis. Drawing more samples than the file has pixels smooths edges.
pub(crate) const SAMPLES: u32 = 2;

/// The name under which the font is registered.
pub(crate) const FONT: &str = "sans-serif";

pub(crate) const BLACK: RGBColor = RGBColor(24, 24, 27);
pub(crate) const GREY: RGBColor = RGBColor(113, 113, 122);
pub(crate) const LIGHT: RGBColor = RGBColor(228, 228, 231);
pub(crate) const BLUE: RGBColor = RGBColor(37, 99, 235);
pub(crate) const RED: RGBColor = RGBColor(220, 38, 38);

/// A picture being drawn. Positions and sizes are in pixels from the upper left corner.
pub(crate) struct Picture {
    width: u32,
    height: u32,
    samples: Vec<u8>,
}

/// The style of a line of text; its position is the middle of its height.
#[derive(Clone, Copy)]
pub(crate) struct Lettering {
    pub(crate) size: i32,
    pub(crate) color: RGBColor,
    pub(crate) bold: bool,
    /// The part of the line that is at its position.
    pub(crate) align: HPos,
}

impl Lettering {
    /// The title of a whole picture.
    pub(crate) const TITLE: Lettering = Lettering { size: 20, color: BLACK, bold: true, align: HPos::Left };
    /// The name of a part of a picture.
    pub(crate) const LABEL: Lettering =
        Lettering { size: 14, color: BLACK, bold: false, align: HPos::Center };
    /// The explanation of a part of a picture.
    pub(crate) const NOTE: Lettering = Lettering { size: 13, color: GREY, bold: false, align: HPos::Left };
}

impl Picture {
    /// A white picture.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        static FONTS: Once = Once::new();
        FONTS.call_once(|| {
            for (style, font) in
                [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())]
            {
                assert!(register_font(FONT, style, font).is_ok(), "the embedded font can be read");
            }
        });
        let samples = vec![255; (3 * width * height * SAMPLES * SAMPLES) as usize];
        Picture { width, height, samples }
    }

    /// The whole area, for drawing with `plotters`; its units are samples.
    pub(crate) fn area(&mut self) -> DrawingArea<BitMapBackend<'_>, Shift> {
        let size = (self.width * SAMPLES, self.height * SAMPLES);
        BitMapBackend::with_buffer(&mut self.samples, size).into_drawing_area()
    }

    /// Writes a line of text.
    pub(crate) fn text(
        &mut self,
        text: &str,
        at: (i32, i32),
        lettering: Lettering,
    ) -> Result<(), Box<dyn Error>> {
        let style = if lettering.bold { FontStyle::Bold } else { FontStyle::Normal };
        let style = (FONT, lettering.size * SAMPLES as i32, style)
            .into_text_style(&(0, 0))
            .color(&lettering.color)
            .pos(Pos::new(lettering.align, VPos::Center));
        Ok(self.area().draw_text(text, &style, in_samples(at))?)
    }

    /// Fills rows of square cells, `columns` per row, with a thin frame around them and, if cells are large, between
    /// them.
    pub(crate) fn cells(
        &mut self,
        corner: (i32, i32),
        cell: i32,
        columns: usize,
        colors: &[RGBColor],
    ) -> Result<(), Box<dyn Error>> {
        let size = (columns as i32 * cell, colors.len().div_ceil(columns) as i32 * cell);
        let gap = if cell >= 20 { 1 } else { 0 };
        let filled = cell - gap;
        self.rectangle((corner.0 - 1, corner.1 - 1), (size.0 + 2 - gap, size.1 + 2 - gap), LIGHT)?;
        for (index, &color) in colors.iter().enumerate() {
            let (row, column) = ((index / columns) as i32, (index % columns) as i32);
            self.rectangle((corner.0 + column * cell, corner.1 + row * cell), (filled, filled), color)?;
        }
        Ok(())
    }

    /// Draws an image, pixel by pixel, with `scale` pixels of the picture along each axis for each of its pixels.
    pub(crate) fn image(&mut self, corner: (i32, i32), scale: u32, width: usize, colors: &[RGBColor]) {
        let (scale, row_length) = (scale * SAMPLES, self.width * SAMPLES);
        for (index, color) in (0..).zip(colors) {
            let (column, row) = (index % width as u32, index / width as u32);
            let (left, top) =
                ((corner.0 as u32) * SAMPLES + column * scale, (corner.1 as u32) * SAMPLES + row * scale);
            for y in top..top + scale {
                let start = 3 * (y * row_length + left) as usize;
                let samples = self.samples.get_mut(start..start + 3 * scale as usize).unwrap_or_default();
                samples
                    .chunks_exact_mut(3)
                    .for_each(|sample| sample.copy_from_slice(&[color.0, color.1, color.2]));
            }
        }
    }

    /// Fills a rectangle.
    pub(crate) fn rectangle(
        &mut self,
        corner: (i32, i32),
        size: (i32, i32),
        color: RGBColor,
    ) -> Result<(), Box<dyn Error>> {
        let points = [in_samples(corner), in_samples((corner.0 + size.0, corner.1 + size.1))];
        Ok(self.area().draw(&Rectangle::new(points, color.filled()))?)
    }

    /// Writes the picture, and creates its directory if necessary.
    pub(crate) fn save(self, path: &Path) -> Result<(), Box<dyn Error>> {
        let (width, height) = (self.width * SAMPLES, self.height * SAMPLES);
        let samples = RgbImage::from_raw(width, height, self.samples).expect("as many samples as made");
        let pixels = imageops::thumbnail(&samples, self.width, self.height);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).map_err(Into::into);
        written
            .and_then(|()| pixels.save(path))
            .map_err(|error| format!("could not write {}: {error}", path.display()).into())
    }
}

fn in_samples((x, y): (i32, i32)) -> (i32, i32) {
    (x * SAMPLES as i32, y * SAMPLES as i32)
}

/// From black at 0 to white at 1.
pub(crate) fn grey(value: f32) -> RGBColor {
    let level = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    RGBColor(level, level, level)
}

/// The colours of an image `[channels, height, width]` of one or three channels, from 0 to 1.
pub(crate) fn colors(image: &[f32], channels: usize) -> Vec<RGBColor> {
    let area = image.len() / channels;
    let level = |channel: usize, pixel: usize| {
        (image[channel.min(channels - 1) * area + pixel].clamp(0.0, 1.0) * 255.0).round() as u8
    };
    (0..area).map(|pixel| RGBColor(level(0, pixel), level(1, pixel), level(2, pixel))).collect()
}

/// From blue at -1 over white at 0 to red at 1.
pub(crate) fn diverging(value: f32) -> RGBColor {
    let end = if value < 0.0 { BLUE } else { RED };
    let share = value.abs().min(1.0);
    let mix = |end: u8| (255.0 + (f32::from(end) - 255.0) * share).round() as u8;
    RGBColor(mix(end.0), mix(end.1), mix(end.2))
}
