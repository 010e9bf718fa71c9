//! An encoder, a decoder and attention between them rewrite dates (Bahdanau et al. 2015; Dive into Deep Learning,
//! chapters 10.7 and 11.4): from "the 5th of march 1998" to "1998-03-05".
//!
//! The encoder reads the characters of a date in both directions. The decoder writes the date in the other form, one
//! character after another. Before each one, attention compares the decoder's state with all of the encoder's, and gives
//! their mean, weighted by how well they fit. The weights are an output of the network, and the picture shows which
//! characters were looked at for each that was written.
//!
//! ```text
//! source [S] → embedding → bidirectional GRU ──────────────┐ keys and values [S, 128]
//!                               │ backward state            ▼
//! written [T] → embedding → GRU [T, 128] ── queries → attention → concatenation → linear → next [T, vocabulary]
//! ```
//!
//! In training the decoder reads the right characters; in use, those that it has written.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example seq2seq
//! ```

mod failure;
mod picture;
mod repository;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use plotters::style::text_anchor::HPos;
use windlass::metrics::argmax;
use windlass::ndarray::{Array1, Array2, ArrayD, Axis, s};
use windlass::text::{Vocabulary, VocabularyOptions};
use windlass::{
    AttentionMask, Builder, Cell, DType, Dim, Dynamic, Graph, GruReset, Layer, Model, Optimizer, Options,
    Recurrent, RecurrentOperands, Schedule, Symbol, Trainer, TrainerOptions,
};

use picture::{Lettering, Picture, grey};
use repository::repository;

/// Rewrites dates.
#[derive(Debug, Parser)]
struct Arguments {
    /// Training steps, of 64 dates each
    #[arg(long, default_value_t = 400, value_name = "COUNT")]
    steps: u64,
    /// Seed of the weights and of the dates
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Directory for the picture; by default `target/seq2seq` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

const BATCH: usize = 64;
const TESTED: usize = 500;

/// Characters of a source, which are padded by spaces, and of a target.
const SOURCE: usize = 26;
const TARGET: usize = 10;

/// Features of an embedded character, and units of the encoder in each direction.
const FEATURES: usize = 32;
const UNITS: usize = 64;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let characters = VocabularyOptions::characters();
    let sources = Vocabulary::of(["abcdefghijklmnopqrstuvwxyz 0123456789,."], &characters)?;
    let targets = Vocabulary::of(["0123456789-"], &characters.reserving(&["<bos>"]))?;
    let options = match arguments.threads {
        Some(threads) => Options::default().threads(threads),
        None => Options::default(),
    };
    let network = Dynamic::new(network(&sources, &targets)?)?;
    let training = TrainerOptions::default()
        .optimizer(Optimizer::adam())
        .schedule(Schedule::cosine_with_warm_up(0.005, arguments.steps.max(2), 1)?)
        .clip_norm(1.0)
        .output("next");
    let mut trainer = Trainer::new(Model::of(network, arguments.seed, &options)?, training)?;
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let begin = targets.index("<bos>");
    for step in 1..=arguments.steps {
        let dates: Vec<Date> = (0..BATCH).map(|_| Date::any(&mut random)).collect();
        let (source, target) =
            (encoded(&sources, &dates, Date::source), encoded(&targets, &dates, Date::target));
        // The decoder reads each character behind the one that it should write.
        let mut read = Array2::from_elem((BATCH, TARGET), begin);
        read.slice_mut(s![.., 1..]).assign(&target.slice(s![.., ..-1]));
        let report = trainer.step([("source", &source), ("written", &read)], &target)?;
        if step % 50 == 0 {
            println!("step {step:4}  loss {:.4}", report.loss);
        }
    }

    let model = trainer.into_model();
    let dates: Vec<Date> = (0..TESTED).map(|_| Date::any(&mut random)).collect();
    let (written, weights) = rewritten(&model, &encoded(&sources, &dates, Date::source), begin)?;
    let expected = encoded(&targets, &dates, Date::target);
    let right = written.outer_iter().zip(expected.outer_iter()).filter(|(a, b)| a == b).count();
    for (date, row) in dates.iter().zip(written.outer_iter()).take(6) {
        println!("{:26} → {}", date.source, targets.decode(&row.to_vec())?);
    }

    let mut picture = Picture::new(24 + 3 * 352, 412);
    picture.text(
        "Where attention looks in the date above for each character at the left",
        (24, 28),
        Lettering::TITLE,
    )?;
    for (index, date) in dates.iter().take(6).enumerate() {
        let (left, top) = (44 + (index % 3) as i32 * 352, 84 + (index / 3) as i32 * 176);
        let written = targets.decode(&written.row(index).to_vec())?;
        draw(
            &mut picture,
            (left, top),
            &date.source,
            &written,
            &weights.index_axis(Axis(0), index).to_owned(),
        )?;
    }
    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| repository().join("target/seq2seq"));
    let path = output.join("attention.png");
    picture.save(&path)?;
    println!("{} shows the weights of attention", path.display());
    println!("test accuracy: {:.4}", right as f64 / TESTED as f64);
    Ok(())
}

/// The scores of the next character of the target at each of its characters, and the weights of attention.
fn network(sources: &Vocabulary, targets: &Vocabulary) -> Result<Graph, Box<dyn Error>> {
    let gru = Cell::Gru { reset: GruReset::After };
    let steps: Symbol = "T".parse()?;
    let mut builder = Builder::new("Dates");
    let source = builder.input_of("source", DType::I32, [Dim::from(SOURCE)])?;
    let written = builder.input_of("written", DType::I32, [Dim::from(steps)])?;

    let source = builder.layer("characters", &Layer::embedding(sources.size(), FEATURES), source)?;
    let encoder = Recurrent { bidirectional: true, ..Recurrent::new(gru, UNITS) };
    let encoded = builder.recurrent("encoder", &encoder, source, &RecurrentOperands::default())?;
    // The direction that ends at the first character has read all of them.
    let first = builder.layer("first", &Layer::linear(2 * UNITS), encoded.last[1])?;
    let first = builder.layer("", &Layer::Tanh, first)?;

    let written =
        builder.layer("characters_written", &Layer::embedding(targets.size(), FEATURES), written)?;
    let from = RecurrentOperands { initial: &[first], lengths: None };
    let decoded = builder.recurrent("decoder", &Recurrent::new(gru, 2 * UNITS), written, &from)?.sequence;

    let keys = builder.layer("keys", &Layer::linear(2 * UNITS), encoded.sequence)?;
    let operands = [decoded, keys, encoded.sequence];
    let context = builder.attention("attention", operands, &AttentionMask::default())?;
    let weights = builder.attention_weights(context)?;

    let both = builder.concat_along("", 2, &[decoded, context])?;
    let hidden = builder.layer("hidden", &Layer::linear(2 * UNITS), both)?;
    let hidden = builder.layer("", &Layer::Tanh, hidden)?;
    let next = builder.layer("next", &Layer::linear(targets.size()), hidden)?;
    builder.output("next", next)?;
    builder.output("weights", weights)?;
    Ok(builder.finish()?)
}

/// A date as it is written by people, and as it is sorted by machines.
struct Date {
    source: String,
    target: String,
}

impl Date {
    /// A random date in one of several forms.
    fn any(random: &mut fastrand::Rng) -> Self {
        let (year, month, day) = (random.u32(1700..2100), random.usize(1..=12), random.u32(1..=28));
        let (name, short) = (MONTHS[month - 1], &MONTHS[month - 1][..3]);
        let ending = match day {
            1 | 21 => "st",
            2 | 22 => "nd",
            3 | 23 => "rd",
            _ => "th",
        };
        let source = match random.u32(..6) {
            0 => format!("{name} {day}, {year}"),
            1 => format!("{day} {name} {year}"),
            2 => format!("{day}. {short}. {year}"),
            3 => format!("the {day}{ending} of {name} {year}"),
            4 => format!("{year}, {short} {day}"),
            _ => format!("{day}.{month}.{year}"),
        };
        Date { source, target: format!("{year}-{month:02}-{day:02}") }
    }

    fn source(&self) -> String {
        format!("{:SOURCE$}", self.source)
    }

    fn target(&self) -> String {
        self.target.clone()
    }
}

/// A row of tokens for each date.
fn encoded(vocabulary: &Vocabulary, dates: &[Date], text: fn(&Date) -> String) -> Array2<i32> {
    let rows: Vec<Vec<i32>> = dates.iter().map(|date| vocabulary.encode(&text(date))).collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| rows[row][column])
}

/// What the network writes for each source, always taking the likeliest character; and its weights of attention.
fn rewritten(
    model: &Model<Dynamic>,
    source: &Array2<i32>,
    begin: i32,
) -> Result<(Array2<i32>, ArrayD<f32>), Box<dyn Error>> {
    let count = source.nrows();
    let mut read = Array2::from_elem((count, 1), begin);
    loop {
        let outputs = model.forward([("source", source), ("written", &read)])?;
        let scores = outputs.get("next")?;
        let likeliest =
            |row: usize| argmax(&scores.slice(s![row, -1, ..]).to_vec()).map_or(begin, |best| best as i32);
        read.push_column(Array1::from_shape_fn(count, likeliest).view())?;
        // Rows have to be contiguous again.
        read = read.as_standard_layout().to_owned();
        if read.ncols() > TARGET {
            return Ok((read.slice(s![.., 1..]).to_owned(), outputs.get("weights")?.clone()));
        }
    }
}

/// Draws the weights of one date: a row for each character that was written, a column for each that was read.
fn draw(
    picture: &mut Picture,
    (left, top): (i32, i32),
    source: &str,
    written: &str,
    weights: &ArrayD<f32>,
) -> Result<(), Box<dyn Error>> {
    const CELL: i32 = 12;
    let letter = Lettering { size: 11, align: HPos::Center, ..Lettering::NOTE };
    for (column, character) in (0..).zip(source.chars()) {
        picture.text(&character.to_string(), (left + CELL * column + CELL / 2, top - 10), letter)?;
    }
    for (row, character) in (0..).zip(written.chars()) {
        picture.text(&character.to_string(), (left - 10, top + CELL * row + CELL / 2), letter)?;
    }
    // Black is all of the attention.
    let colors: Vec<_> = weights.iter().map(|weight| grey(1.0 - weight)).collect();
    picture.cells((left, top), CELL, SOURCE, &colors)
}
