//! The three pictures of a training: its curves, the filters of the first layer, and a sheet of predictions.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use windlass::data::{DataLoader, ImageDataset};
use windlass::metrics::argmax;
use windlass::{Evaluation, History, Model, network};

use crate::LeNet;
use crate::picture::{BLACK, BLUE, FONT, GREY, LIGHT, Lettering, Picture, RED, SAMPLES, diverging, grey};

network! {
    /// The first layer of [`LeNet`] alone.
    network FirstLayer(image: [1, 28, 28]) -> [6, 28, 28] {
        c1: conv2d(6, kernel_size = 5, padding = 2)
    }
}

/// One line of a chart.
struct Line {
    name: &'static str,
    color: RGBColor,
    /// A value for each epoch.
    values: Vec<f64>,
}

/// Draws loss and accuracy of training and test images over the epochs.
pub(crate) fn draw_curves(history: &History, path: &Path) -> Result<(), Box<dyn Error>> {
    let lines = |value: fn(&Evaluation) -> f64| {
        let train = history.epochs.iter().map(|epoch| value(&epoch.training)).collect();
        let test = history.epochs.iter().filter_map(|epoch| epoch.validation.as_ref().map(value)).collect();
        [("training", BLUE, train), ("test", RED, test)].map(|(name, color, values)| Line {
            name,
            color,
            values,
        })
    };
    let losses = lines(|results| results.loss);
    let accuracies = lines(|results| results.accuracy().unwrap_or_default());
    let largest_loss = losses.iter().flat_map(|line| &line.values).copied().fold(0.1, f64::max);

    let mut picture = Picture::new(1000, 420);
    picture.text("LeNet on Fashion-MNIST", (24, 28), Lettering::TITLE)?;
    let area = picture.area().margin(56 * SAMPLES, 12 * SAMPLES, 16 * SAMPLES, 16 * SAMPLES);
    let (left, right) = area.split_horizontally(484 * SAMPLES);
    draw_chart(&left, "loss", &losses, 0.0..largest_loss * 1.05)?;
    draw_chart(&right, "accuracy", &accuracies, 0.0..1.0)?;
    drop((left, right, area));
    picture.save(path)
}

fn draw_chart(
    area: &DrawingArea<BitMapBackend<'_>, Shift>,
    title: &str,
    lines: &[Line],
    range: Range<f64>,
) -> Result<(), Box<dyn Error>> {
    let samples = SAMPLES as i32;
    let epochs = lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    let style = |size: i32, color: RGBColor| (FONT, size * samples).into_font().color(&color);
    let mut chart = ChartBuilder::on(area)
        .margin(8 * SAMPLES)
        .caption(title, style(16, BLACK))
        .x_label_area_size(40 * SAMPLES)
        .y_label_area_size(48 * SAMPLES)
        .build_cartesian_2d(0.0..epochs as f64, range)?;
    chart
        .configure_mesh()
        .bold_line_style(LIGHT.stroke_width(SAMPLES))
        .light_line_style(TRANSPARENT)
        .axis_style(GREY.stroke_width(SAMPLES))
        .label_style(style(13, GREY))
        .axis_desc_style(style(13, GREY))
        .x_labels(epochs.min(10) + 1)
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_labels(6)
        .y_label_formatter(&|value| format!("{value:.1}"))
        .x_desc("epoch")
        .draw()?;
    for Line { name, color, values } in lines {
        let points: Vec<(f64, f64)> = (1..).map(f64::from).zip(values.iter().copied()).collect();
        let last = values.last().copied().unwrap_or_default();
        let (color, width) = (*color, 2 * SAMPLES);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(width)))?
            .label(format!("{name} {last:.3}"))
            .legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 20 * samples, y)], color.stroke_width(width))
            });
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3 * samples, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .legend_area_size(28 * SAMPLES)
        .margin(12 * SAMPLES)
        .label_font(style(14, BLACK))
        .background_style(WHITE)
        .draw()?;
    Ok(())
}

/// Draws the filters of the first layer, and their responses to a test image.
pub(crate) fn draw_filters(
    model: &Model<LeNet>,
    test: &DataLoader<'_>,
    path: &Path,
) -> Result<(), Box<dyn Error>> {
    let parameter = |name| model.parameter(name).ok_or_else(|| format!("LeNet has no {name}"));
    let (weight, bias) = (parameter("c1.weight")?.to_owned(), parameter("c1.bias")?.to_owned());
    let mut first_layer = Model::<FirstLayer>::with_options(0, model.options())?;
    first_layer.set_parameter("c1.weight", &weight)?;
    first_layer.set_parameter("c1.bias", &bias)?;
    let batch = test.epoch(0).next().ok_or("there are no test images")?;
    let [_, height, width] = test.dataset().image_shape();
    let found = first_layer.forward(&batch.pixels()[..height * width])?;
    let strongest =
        |values: &mut dyn Iterator<Item = &f32>| values.fold(0.0f32, |most, value| most.max(value.abs()));
    let (most_weight, most_found) = (strongest(&mut weight.iter()), strongest(&mut found.iter()));

    const COLUMN: i32 = 132;
    let mut picture = Picture::new(964, 400);
    picture.text("Filters of LeNet's first layer", (24, 28), Lettering::TITLE)?;
    let column = |index: usize| 24 + COLUMN * index as i32;
    let below = |index: usize, y: i32| (column(index) + 56, y);
    let filters = weight
        .outer_iter()
        .map(|filter| filter.iter().map(|&w| diverging(w / most_weight)).collect::<Vec<_>>());
    let responses = found.iter().map(|&value| diverging(value / most_found)).collect::<Vec<_>>();
    for (index, (filter, response)) in filters.zip(responses.chunks_exact(height * width)).enumerate() {
        picture.text(&format!("filter {index}"), below(index + 1, 68), Lettering::LABEL)?;
        picture.cells((column(index + 1) + 1, 86), 22, 5, &filter)?;
        picture.cells((column(index + 1), 232), 4, width, response)?;
    }
    let shades: Vec<_> =
        test.dataset().pixels()[..height * width].iter().map(|&p| grey(f32::from(p) / 255.0)).collect();
    picture.cells((column(0), 232), 4, width, &shades)?;

    let scale: Vec<_> = (0..=10).map(|step| diverging(1.0 - step as f32 / 5.0)).collect();
    picture.cells((column(0), 86), 10, 1, &scale)?;
    for (note, y) in [("positive", 91), ("zero", 141), ("negative", 191)] {
        picture.text(note, (column(0) + 20, y), Lettering::NOTE)?;
    }
    let note = "Above: the 5×5 weights of each filter. Below: a test image and the output of each filter.";
    picture.text(note, (24, 374), Lettering::NOTE)?;
    picture.save(path)
}

/// Draws the first test images, each with its predicted and its true class; errors are marked.
pub(crate) fn draw_predictions(
    dataset: &ImageDataset,
    scores: &[f32],
    path: &Path,
) -> Result<(), Box<dyn Error>> {
    const COLUMNS: usize = 8;
    const ROWS: usize = 5;
    const CELL: i32 = 3;
    let names = dataset.class_names();
    let [_, height, width] = dataset.image_shape();
    let size = (width as i32 * CELL, height as i32 * CELL);
    let (column, row) = (124, size.1 + 58);
    let mut picture = Picture::new(24 + COLUMNS as u32 * column as u32, 84 + ROWS as u32 * row as u32);
    picture.text("Predictions of LeNet on test images", (24, 28), Lettering::TITLE)?;
    let note = "Bold: the predicted class and its probability. Below: the true class. Red: errors.";
    picture.text(note, (24, 54), Lettering::NOTE)?;
    for (index, scores) in scores.chunks_exact(names.len()).take(COLUMNS * ROWS).enumerate() {
        let Some((example, predicted)) = dataset.get(index).zip(argmax(scores)) else { continue };
        let truth = example.label as usize;
        let corner = (24 + (index % COLUMNS) as i32 * column, 80 + (index / COLUMNS) as i32 * row);
        let corner = (corner.0 + (column - 24 - size.0) / 2, corner.1);
        let color = if predicted == truth { BLACK } else { RED };
        if predicted != truth {
            picture.rectangle((corner.0 - 4, corner.1 - 4), (size.0 + 8, size.1 + 8), RED)?;
        }
        let shades: Vec<_> = example.pixels.iter().map(|&pixel| grey(f32::from(pixel) / 255.0)).collect();
        picture.cells(corner, CELL, width, &shades)?;
        let sure = 100.0 / scores.iter().map(|score| (score - scores[predicted]).exp()).sum::<f32>();
        let middle = corner.0 + size.0 / 2;
        let seen = Lettering { color, bold: true, size: 12, ..Lettering::LABEL };
        picture.text(&format!("{} {sure:.0} %", names[predicted]), (middle, corner.1 + size.1 + 16), seen)?;
        let is = Lettering { size: 12, align: HPos::Center, ..Lettering::NOTE };
        picture.text(&names[truth], (middle, corner.1 + size.1 + 33), is)?;
    }
    picture.save(path)
}
