//! A recurrent network forecasts a noisy series (Dive into Deep Learning, section 9.1).
//!
//! The series is a sine with noise, which the example makes itself. At each step the network reads a value and forecasts
//! the next; the values before are in its state. A forecast of sixteen steps takes its own forecasts for the values that
//! it does not know yet, so that its errors add up. Two baselines show what is gained: the last value repeated, and a
//! linear autoregression, which is the book's first model.
//!
//! Nothing can forecast the noise. An error near its deviation, 0.2, is as good as possible.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example time_series
//! ```

mod failure;
mod picture;
mod repository;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use plotters::coord::Shift;
use plotters::prelude::*;
use windlass::ndarray::{Array2, Array3, ArrayD, Axis, concatenate, s};
use windlass::{
    Binding, Input, Loss, Model, Network, Optimizer, Options, Schedule, Trainer, TrainerOptions, network,
};

use picture::{BLACK, BLUE, FONT, GREY, LIGHT, Lettering, Picture, RED, SAMPLES};
use repository::repository;

network! {
    const LAGS = 16;

    /// The next value after each one.
    network WithGru(values: [T, 1]) -> [T, 1] { memory: gru(32); next: linear(1) }

    /// The same with an LSTM.
    network WithLstm(values: [T, 1]) -> [T, 1] { memory: lstm(32); next: linear(1) }

    /// The next value, as a weighted sum of some before it.
    network Autoregression(values: [LAGS]) -> [1] { next: linear(1) }
}

/// Forecasts a noisy series.
#[derive(Debug, Parser)]
struct Arguments {
    /// The recurrent layer
    #[arg(long, value_enum, default_value_t = Kind::Gru)]
    cell: Kind,
    /// Training steps, of 32 sequences each
    #[arg(long, default_value_t = 600, value_name = "COUNT")]
    steps: u64,
    /// Seed of the weights and of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Directory for the picture; by default `target/time_series` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Gru,
    Lstm,
}

/// Values to train on, and values after them to forecast.
const TRAINED: usize = 1000;
const TESTED: usize = 500;

/// Steps of the longest forecast.
const AHEAD: usize = 16;

/// Forecasts of the next [`AHEAD`] values after each value of the series: a row for each value.
type Forecasts = Array2<f32>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    failure::exit_code(match arguments.cell {
        Kind::Gru => run::<WithGru>(&arguments),
        Kind::Lstm => run::<WithLstm>(&arguments),
    })
}

fn run<N>(arguments: &Arguments) -> Result<(), Box<dyn Error>>
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let series: Vec<f32> =
        (0..TRAINED + TESTED).map(|time| (0.05 * time as f32).sin() + 0.2 * normal(&mut random)).collect();
    let options = match arguments.threads {
        Some(threads) => Options::default().threads(threads),
        None => Options::default(),
    };

    let recurrent = forecast(&trained::<N>(&series, arguments, &options, &mut random)?, &series)?;
    let linear = forecast_linearly(&autoregression(&series, arguments.seed, &options)?, &series)?;
    let last = Array2::from_shape_fn((series.len(), AHEAD), |(time, _)| series[time]);

    println!("root mean squared errors of forecasts    1 step  {AHEAD} steps");
    for (name, forecasts) in [
        ("last value repeated", &last),
        ("linear autoregression", &linear),
        ("recurrent network", &recurrent),
    ] {
        println!("{name:38} {:8.4} {:9.4}", error(&series, forecasts, 1), error(&series, forecasts, AHEAD));
    }

    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| repository().join("target/time_series"));
    let path = output.join("forecasts.png");
    draw(&series, &recurrent, &linear)?.save(&path)?;
    println!("{} shows the forecasts", path.display());
    Ok(())
}

/// A nearly normally distributed number: the sum of twelve uniform ones has variance 1.
fn normal(random: &mut fastrand::Rng) -> f32 {
    (0..12).map(|_| random.f32()).sum::<f32>() - 6.0
}

/// Trains the recurrent network on sequences from random places; the target at each step is the next value.
fn trained<N>(
    series: &[f32],
    arguments: &Arguments,
    options: &Options,
    random: &mut fastrand::Rng,
) -> Result<Model<N>, Box<dyn Error>>
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    const BATCH: usize = 32;
    const LENGTH: usize = 100;
    let training = TrainerOptions::default()
        .loss(Loss::MeanSquaredError)
        .optimizer(Optimizer::adam())
        .schedule(Schedule::cosine_with_warm_up(0.01, arguments.steps.max(2), 1)?)
        .clip_norm(1.0);
    let mut trainer = Trainer::new(Model::<N>::with_options(arguments.seed, options)?, training)?;
    for step in 1..=arguments.steps {
        let starts: [usize; BATCH] = std::array::from_fn(|_| random.usize(..TRAINED - LENGTH));
        let sequences = |shift: usize| {
            Array3::from_shape_fn((BATCH, LENGTH, 1), |(row, time, _)| series[starts[row] + time + shift])
        };
        let report = trainer.step(&sequences(0), &sequences(1))?;
        if step % 100 == 0 {
            println!("step {step:4}  loss {:.4}", report.loss);
        }
    }
    Ok(trainer.into_model())
}

/// The forecasts of the recurrent network. One stream reads the series; after each value, another continues from its
/// state with the forecasts themselves.
fn forecast<N>(model: &Model<N>, series: &[f32]) -> Result<Forecasts, Box<dyn Error>>
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    let streaming = model.streaming()?;
    let (mut known, mut ahead) = (streaming.stream(1)?, streaming.stream(1)?);
    let mut forecasts = Array2::zeros((series.len(), AHEAD));
    for (value, mut row) in series.iter().zip(forecasts.rows_mut()) {
        let mut next = [0.0];
        known.run(&[Binding::Floats(&[*value])], &mut [&mut next])?;
        ahead.set_states(known.states())?;
        row[0] = next[0];
        for forecast in row.iter_mut().skip(1) {
            let last = next;
            ahead.run(&[Binding::Floats(&last)], &mut [&mut next])?;
            *forecast = next[0];
        }
    }
    Ok(forecasts)
}

/// The linear autoregression with the least squared error on the values to train on.
fn autoregression(
    series: &[f32],
    seed: u64,
    options: &Options,
) -> Result<Model<Autoregression>, Box<dyn Error>> {
    let training = TrainerOptions::default()
        .loss(Loss::MeanSquaredError)
        .optimizer(Optimizer::adam())
        .schedule(Schedule::cosine_with_warm_up(0.05, 1000, 1)?);
    let mut trainer = Trainer::new(Model::with_options(seed, options)?, training)?;
    let (values, next) = (windows(&series[..TRAINED - 1]), &series[LAGS..TRAINED]);
    for _ in 0..1000 {
        trainer.step(&values, next)?;
    }
    Ok(trainer.into_model())
}

/// The forecasts of the autoregression, for all windows at once. The first values have too few before them: zeros.
fn forecast_linearly(model: &Model<Autoregression>, series: &[f32]) -> Result<Forecasts, Box<dyn Error>> {
    let mut values = windows(&[&[0.0; LAGS - 1], series].concat());
    for _ in 0..AHEAD {
        let known = values.slice(s![.., -(LAGS as isize)..]).as_standard_layout().to_owned();
        let next = model.forward(&known)?.into_shape_with_order((series.len(), 1))?;
        values = concatenate(Axis(1), &[values.view(), next.view()])?;
    }
    Ok(values.slice(s![.., LAGS..]).to_owned())
}

/// All neighbouring values of a series, a row for each of its windows.
fn windows(series: &[f32]) -> Array2<f32> {
    Array2::from_shape_fn((series.len() - LAGS + 1, LAGS), |(row, column)| series[row + column])
}

/// The root mean squared error of the forecasts of some steps, over the values that no model was trained on.
fn error(series: &[f32], forecasts: &Forecasts, steps: usize) -> f32 {
    let times = TRAINED..TRAINED + TESTED;
    let squares = times.map(|time| (series[time] - forecasts[[time - steps, steps - 1]]).powi(2));
    (squares.sum::<f32>() / TESTED as f32).sqrt()
}

/// Draws the series and the forecasts of its values, one step before and sixteen steps before.
fn draw(series: &[f32], recurrent: &Forecasts, linear: &Forecasts) -> Result<Picture, Box<dyn Error>> {
    let mut picture = Picture::new(1000, 680);
    picture.text("Forecasts of a noisy series", (24, 28), Lettering::TITLE)?;
    {
        let area = picture.area();
        let (_, charts) = area.split_vertically(48 * SAMPLES);
        for (chart, steps) in charts.split_evenly((2, 1)).iter().zip([1, AHEAD]) {
            let unit = if steps == 1 { "step" } else { "steps" };
            draw_chart(chart, &format!("{steps} {unit} ahead"), series, recurrent, linear, steps)?;
        }
    }
    Ok(picture)
}

/// Values of the series that are drawn.
const DRAWN: std::ops::Range<usize> = TRAINED..TRAINED + 300;

fn draw_chart(
    area: &DrawingArea<BitMapBackend<'_>, Shift>,
    title: &str,
    series: &[f32],
    recurrent: &Forecasts,
    linear: &Forecasts,
    steps: usize,
) -> Result<(), Box<dyn Error>> {
    let samples = SAMPLES as i32;
    let style = |size: i32, color: RGBColor| (FONT, size * samples).into_font().color(&color);
    let mut chart = ChartBuilder::on(area)
        .margin(8 * SAMPLES)
        .margin_right(24 * SAMPLES)
        .caption(title, style(16, BLACK))
        .x_label_area_size(24 * SAMPLES)
        .y_label_area_size(40 * SAMPLES)
        .build_cartesian_2d(DRAWN.start as f32..DRAWN.end as f32, -1.6f32..1.6)?;
    chart
        .configure_mesh()
        .bold_line_style(LIGHT.stroke_width(SAMPLES))
        .light_line_style(TRANSPARENT)
        .axis_style(GREY.stroke_width(SAMPLES))
        .label_style(style(13, GREY))
        .x_label_formatter(&|time| format!("{time:.0}"))
        .y_label_formatter(&|value| format!("{value:.1}"))
        .draw()?;
    let points = DRAWN.map(|time| Circle::new((time as f32, series[time]), 2 * samples, GREY.filled()));
    chart
        .draw_series(points)?
        .label("series")
        .legend(move |(x, y)| Circle::new((x + 10 * samples, y), 2 * samples, GREY.filled()));
    for (name, color, forecasts) in
        [("linear autoregression", RED, linear), ("recurrent network", BLUE, recurrent)]
    {
        let line = color.stroke_width(2 * SAMPLES);
        let points = DRAWN.map(|time| (time as f32, forecasts[[time - steps, steps - 1]]));
        chart
            .draw_series(LineSeries::new(points, line))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20 * samples, y)], line));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .legend_area_size(28 * SAMPLES)
        .label_font(style(13, BLACK))
        .background_style(WHITE)
        .draw()?;
    Ok(())
}
