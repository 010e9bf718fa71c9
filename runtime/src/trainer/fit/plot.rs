//! Pictures of a training: SVG files.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::{BLACK, PathElement};
use plotters::prelude::{
    BLUE, ChartBuilder, IntoDrawingArea, LineSeries, RED, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};

use super::history::History;
use crate::atomic_file;
use crate::error::Error;

/// Width and height in pixels.
const SIZE: (u32, u32) = (640, 400);

/// A named curve and its colour.
type Curve = (&'static str, RGBColor, Vec<(f64, f64)>);

impl History {
    /// Draws the losses of training and validation over the epochs, as an SVG file.
    ///
    /// ```
    /// # use windlass::{EpochReport, Evaluation, History};
    /// # let path = tempfile::tempdir()?.keep().join("curves.svg");
    /// let history = History::default(); // from `Trainer::fit`
    /// history.plot(&path)?;
    /// assert!(std::fs::read_to_string(&path)?.starts_with("<svg"));
    /// # std::fs::remove_dir_all(path.parent().unwrap())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn plot(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let curve = |of: &dyn Fn(&super::EpochReport) -> Option<f64>| {
            let points = self.epochs.iter().filter_map(|report| Some((report.epoch as f64, of(report)?)));
            points.filter(|(_, loss)| loss.is_finite()).collect::<Vec<_>>()
        };
        let curves = [
            ("training", BLUE, curve(&|report| Some(report.training.loss))),
            ("validation", RED, curve(&|report| Some(report.validation.as_ref()?.loss))),
        ];
        let mut text = String::new();
        draw(&mut text, &curves).map_err(|reason| Error::Io {
            action: "draw",
            path: path.to_owned(),
            reason: std::io::Error::other(reason),
        })?;
        atomic_file::write(path, |writer| writer.write_all(text.as_bytes())).map_err(Error::io("write", path))
    }
}

/// Draws curves over epochs.
fn draw(text: &mut String, curves: &[Curve]) -> Result<(), String> {
    let points = || curves.iter().flat_map(|(_, _, points)| points);
    let epochs = range(points().map(|(epoch, _)| *epoch));
    let losses = range(points().map(|(_, loss)| *loss).chain([0.0]));
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let refused = |reason: plotters::drawing::DrawingAreaErrorKind<std::io::Error>| reason.to_string();
    area.fill(&WHITE).map_err(refused)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .build_cartesian_2d(epochs, losses)
        .map_err(refused)?;
    chart.configure_mesh().x_desc("epoch").y_desc("loss").draw().map_err(refused)?;
    for (name, color, points) in curves.iter().filter(|(_, _, points)| !points.is_empty()) {
        let color = *color;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), &color))
            .map_err(refused)?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperRight).border_style(BLACK).draw().map_err(refused)?;
    area.present().map_err(refused)
}

/// The range of some numbers, not empty.
fn range(numbers: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for number in numbers {
        (least, most) = (least.min(number), most.max(number));
    }
    if least < most {
        least..most
    } else {
        let least = if least.is_finite() { least } else { 0.0 };
        least..least + 1.0
    }
}
