//! A bidirectional LSTM tells which of nine men said the vowels *ae* (Kudo, Toyama and Shimbo 1999).
//!
//! An utterance is a sequence of 7 to 29 frames. Those of a batch are padded to the longest; the layer gets their lengths
//! and ignores what is behind them, so that the last states of both directions are those of the utterance alone:
//!
//! ```text
//! frames [T, 12] and lengths → dropout → bidirectional LSTM → last states [128] → dropout → linear → speaker [9]
//! ```
//!
//! ```sh
//! cargo run --release -p windlass-examples --example japanese_vowels
//! ```

mod failure;
mod repository;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use windlass::checkpoint::{Checkpoint, NonFinite};
use windlass::metrics::ConfusionMatrix;
use windlass::ndarray::{Array2, Array3, Axis, Ix2, s};
use windlass::{
    Builder, Cell, DType, Dim, Dynamic, Feed, Graph, Layer, Model, Optimizer, Options, Recurrent,
    RecurrentOperands, Schedule, Symbol, Trainer, TrainerOptions,
};

use repository::repository;

/// Tells who said some vowels.
#[derive(Debug, Parser)]
struct Arguments {
    /// Passes over the 270 training utterances
    #[arg(long, default_value_t = 60, value_name = "COUNT")]
    epochs: u64,
    /// Seed of the weights and of the order of utterances
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

const BATCH: usize = 27;

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let path = repository().join("data/japanese-vowels/vowels.safetensors");
    let file = Checkpoint::load(&path, NonFinite::Refuse)?;
    let (mut train, test) = (utterances(&file, "train")?, utterances(&file, "test")?);
    println!("{} utterances to train on, {} to test", train.len(), test.len());
    let steps = arguments.epochs.max(1) * train.len().div_ceil(BATCH) as u64;
    let schedule = Some(Schedule::cosine_with_warm_up(0.005, steps, 1)?);
    let training = TrainerOptions::default().optimizer(Optimizer::adam()).schedule(schedule);
    let model = Model::of(Dynamic::new(network()?)?, arguments.seed, &Options::default())?;
    let mut trainer = Trainer::new(model, training)?;
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    for epoch in 1..=arguments.epochs {
        random.shuffle(&mut train);
        let mut loss = 0.0;
        for batch in train.chunks(BATCH) {
            let (frames, lengths, speakers) = padded(batch);
            let inputs = [("frames", Feed::from(&frames)), ("lengths", Feed::from(&lengths))];
            loss += trainer.step(inputs, &speakers)?.loss * batch.len() as f32;
        }
        println!("epoch {epoch:3}  loss {:.4}", loss / train.len() as f32);
    }
    let (frames, lengths, speakers) = padded(&test);
    let inputs = [("frames", Feed::from(&frames)), ("lengths", Feed::from(&lengths))];
    let scores = trainer.model().forward(inputs)?.single()?;
    let mut matrix = ConfusionMatrix::new(&["1", "2", "3", "4", "5", "6", "7", "8", "9"])?;
    matrix.record(scores.as_slice().ok_or("scores are contiguous")?, &speakers)?;
    println!("\n{matrix}\n\ntest accuracy: {:.4}", matrix.accuracy().unwrap_or(f64::NAN));
    Ok(())
}

/// The scores of the speakers of padded utterances.
fn network() -> Result<Graph, Box<dyn Error>> {
    let steps: Symbol = "T".parse()?;
    let mut builder = Builder::new("Speakers");
    let frames = builder.input_of("frames", DType::F32, [Dim::from(steps), Dim::from(12)])?;
    let lengths = builder.input_of("lengths", DType::I32, [])?;
    let lstm = Cell::Lstm { projection: 0, peepholes: false };
    let layer = Recurrent { bidirectional: true, ..Recurrent::new(lstm, 64) };
    let seen = builder.layer("seen", &Layer::Dropout { rate: 0.2 }, frames)?;
    let operands = RecurrentOperands { lengths: Some(lengths), ..RecurrentOperands::default() };
    // Of each direction the state and the memory cell.
    let last = builder.recurrent("lstm", &layer, seen, &operands)?.last;
    let states = builder.concat("states", &[last[0], last[2]])?;
    let states = builder.layer("dropout", &Layer::Dropout { rate: 0.5 }, states)?;
    let speakers = builder.layer("speakers", &Layer::linear(9), states)?;
    builder.output("speaker", speakers)?;
    Ok(builder.finish()?)
}

/// The frames of an utterance, `[T, 12]`, and who said it.
type Utterance = (Array2<f32>, i32);

fn utterances(file: &Checkpoint, part: &str) -> Result<Vec<Utterance>, Box<dyn Error>> {
    let tensor = |name: &str| file.tensors.get(&format!("{part}.{name}")).ok_or("the file lacks a tensor");
    let mut rest = tensor("frames")?.view().into_dimensionality::<Ix2>()?;
    let mut cut = Vec::new();
    for (&length, &speaker) in tensor("lengths")?.iter().zip(tensor("speakers")?) {
        let (own, behind) = rest.split_at(Axis(0), length as usize);
        cut.push((own.to_owned(), speaker as i32));
        rest = behind;
    }
    Ok(cut)
}

/// Utterances padded to the longest, their lengths, and who said them.
fn padded(utterances: &[Utterance]) -> (Array3<f32>, Vec<i32>, Vec<i32>) {
    let longest = utterances.iter().map(|(frames, _)| frames.nrows()).max().unwrap_or(0);
    let mut all = Array3::zeros((utterances.len(), longest, 12));
    for (index, (frames, _)) in utterances.iter().enumerate() {
        all.slice_mut(s![index, ..frames.nrows(), ..]).assign(frames);
    }
    let lengths = utterances.iter().map(|(frames, _)| frames.nrows() as i32).collect();
    (all, lengths, utterances.iter().map(|(_, speaker)| *speaker).collect())
}
