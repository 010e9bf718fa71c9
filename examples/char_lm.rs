//! A language model of characters reads Newton's *Opticks*, and writes more of it (Dive into Deep Learning, chapters 9
//! and 10).
//!
//! The network sees the book one character at a time, and at each scores what the next one may be. All that it knows of
//! the characters before is in the state of its recurrent layer:
//!
//! ```text
//! tokens [T] → embedding [T, 64] → LSTM [T, 256] → linear [T, vocabulary]
//! ```
//!
//! The loss is the mean cross-entropy of the next characters. Its exponential is the perplexity: a model that gives k
//! characters the same probability has a perplexity of k. The last tenth of the book is not trained on; the perplexity
//! there shows what the model has learned about English, rather than by heart.
//!
//! Backpropagation goes through one sequence of some dozen steps. With the sequential partition each row of a batch
//! continues that of the batch before, and the state at its end is where the next sequence begins: the network remembers
//! more than it is trained through. With the random partition every sequence begins with zeros.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example char_lm
//! cargo run --release -p windlass-examples --example char_lm -- --cell gru --temperature 0.5 --prompt "The Sun"
//! ```

mod failure;
mod repository;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use windlass::metrics::Perplexity;
use windlass::ndarray::{Array2, ArrayView2};
use windlass::schedule::Rule;
use windlass::text::{
    Order, Partition, Sampler, SamplerOptions, Vocabulary, VocabularyOptions, log_probabilities,
};
use windlass::{
    Binding, Builder, Cell, DType, Dim, Dynamic, Graph, GruReset, Layer, Model, Optimizer, Options,
    Recurrent, RnnActivation, Schedule, Streaming, Symbol, Trainer, TrainerOptions,
};

use repository::repository;

/// Reads a book character by character, and writes more of it.
#[derive(Debug, Parser)]
struct Arguments {
    /// The recurrent layer
    #[arg(long, value_enum, default_value_t = Kind::Lstm)]
    cell: Kind,
    /// Units of its state
    #[arg(long, default_value_t = 256, value_name = "COUNT")]
    units: usize,
    /// How the book is cut into sequences
    #[arg(long, value_enum, default_value_t = Cut::Sequential)]
    partition: Cut,
    /// Characters of a sequence
    #[arg(long, default_value_t = 64, value_name = "COUNT")]
    length: usize,
    /// Sequences per step
    #[arg(long, default_value_t = 32, value_name = "COUNT")]
    batch: usize,
    /// Passes over the book
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// The maximum number of steps per epoch
    #[arg(long, value_name = "COUNT")]
    steps: Option<usize>,
    /// Maximum learning rate of Adam
    #[arg(long, default_value_t = 0.004, value_name = "RATE")]
    learning_rate: f64,
    /// What the sample continues
    #[arg(long, default_value = "The Light ", value_name = "TEXT")]
    prompt: String,
    /// Characters of the sample
    #[arg(long, default_value_t = 240, value_name = "COUNT")]
    sample: usize,
    /// Below 1, likely characters become likelier; 0 always takes the likeliest
    #[arg(long, default_value_t = 0.7, value_name = "NUMBER")]
    temperature: f64,
    /// Draw only among this many of the likeliest characters
    #[arg(long, value_name = "COUNT")]
    top_k: Option<usize>,
    /// Another text to read, in UTF-8
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Seed of weights, sequences and samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Rnn,
    Gru,
    Lstm,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Cut {
    /// In random order, each with a state of zeros
    Random,
    /// Each row of a batch continues that of the batch before, and keeps its state
    Sequential,
}

/// Length of the vector that stands for a character.
const FEATURES: usize = 64;

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let bundled = || repository().join("data/opticks/opticks.txt");
    let path = arguments.text.clone().unwrap_or_else(bundled);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let vocabulary = Vocabulary::of([text.as_str()], &VocabularyOptions::characters())?;
    if arguments.prompt.is_empty() {
        return Err("`--prompt` is empty, so that there is nothing to continue".into());
    }
    let corpus = vocabulary.encode(&text);
    let (train, held_out) = corpus.split_at(corpus.len() * 9 / 10);
    println!(
        "{} characters to train on, {} held out; {} different ones",
        train.len(),
        held_out.len(),
        vocabulary.size()
    );

    let partition = Partition {
        batch_size: arguments.batch,
        steps: arguments.length,
        order: match arguments.partition {
            Cut::Random => Order::Random,
            Cut::Sequential => Order::Sequential,
        },
        offset: None,
        seed: arguments.seed,
    };
    let Arguments { temperature, top_k, seed, .. } = *arguments;
    let mut sampler =
        Sampler::new(SamplerOptions::default().temperature(temperature).top_k(top_k).seed(seed))?;
    let limit = arguments.steps.unwrap_or(usize::MAX);
    let steps = arguments.epochs.saturating_mul(partition.batches(train, 0)?.len().min(limit) as u64);
    // A text that is too short to be evaluated is refused before it is trained on.
    pieces().batches(held_out, 0)?;
    let options = match arguments.threads {
        Some(threads) => Options::default().threads(threads),
        None => Options::default(),
    };
    let training = TrainerOptions::default()
        .optimizer(Optimizer::adam())
        .schedule(Schedule::new(Rule::OneCycle {
            peak_rate: arguments.learning_rate,
            warm_up: (steps / 10).max(1),
            steps: steps.max(2),
            start_factor: 0.1,
            final_factor: 0.01,
        })?)
        // Gradients through many steps may explode.
        .clip_norm(1.0)
        // Each sequence begins with the states at the end of the one that it continues.
        .carry_states(matches!(arguments.partition, Cut::Sequential));
    let network = Dynamic::new(network(arguments, vocabulary.size())?)?;
    let mut trainer = Trainer::new(Model::of(network, arguments.seed, &options)?, training)?;

    for epoch in 0..arguments.epochs {
        let (start, mut perplexity) = (Instant::now(), Perplexity::default());
        trainer.reset_states();
        for (inputs, targets) in partition.batches(train, epoch)?.take(limit) {
            let report = trainer.step(&inputs, &targets)?;
            if !report.loss.is_finite() {
                return Err(format!("the loss is {}: use a lower `--learning-rate`", report.loss).into());
            }
            perplexity.record(report.loss, targets.len());
        }
        let seconds = start.elapsed().as_secs_f64();
        let streaming = trainer.model().streaming()?;
        println!(
            "epoch {}/{}  training perplexity {:.3}  held-out perplexity {:.3}  {seconds:.1} s",
            epoch + 1,
            arguments.epochs,
            perplexity.value().unwrap_or(f64::NAN),
            evaluate(&streaming, held_out, vocabulary.size())?
        );
        println!("  {}", continued(&streaming, &vocabulary, &mut sampler, arguments)?.replace('\n', "\n  "));
    }
    Ok(())
}

/// Scores the next character at every step of a sequence of any length.
fn network(arguments: &Arguments, vocabulary: usize) -> Result<Graph, Box<dyn Error>> {
    let cell = match arguments.cell {
        Kind::Rnn => Cell::Rnn { activation: RnnActivation::Tanh },
        Kind::Gru => Cell::Gru { reset: GruReset::After },
        Kind::Lstm => Cell::Lstm { projection: 0, peepholes: false },
    };
    let steps: Symbol = "T".parse()?;
    let mut builder = Builder::new("CharacterModel");
    let tokens = builder.input_of("tokens", DType::I32, [Dim::from(steps)])?;
    let vectors = builder.layer("characters", &Layer::embedding(vocabulary, FEATURES), tokens)?;
    let memory =
        builder.layer("memory", &Layer::Recurrent(Recurrent::new(cell, arguments.units)), vectors)?;
    let scores = builder.layer("scores", &Layer::linear(vocabulary), memory)?;
    builder.output("next", scores)?;
    Ok(builder.finish()?)
}

/// How the held-out text is read: sixteen streams, each through its part from beginning to end.
fn pieces() -> Partition {
    Partition::sequential(16, 64).offset(0)
}

/// The perplexity of a text, read piece by piece.
fn evaluate(streaming: &Streaming, text: &[i32], vocabulary: usize) -> Result<f64, Box<dyn Error>> {
    let pieces = pieces();
    let mut stream = streaming.stream(pieces.batch_size)?;
    let mut scores = Array2::zeros((pieces.batch_size * pieces.steps, vocabulary));
    let mut perplexity = Perplexity::default();
    for (inputs, targets) in pieces.batches(text, 0)? {
        let tokens = inputs.as_slice().ok_or("batches are contiguous")?;
        let elements = scores.as_slice_mut().ok_or("scores are contiguous")?;
        stream.run(&[Binding::Integers(tokens)], &mut [elements])?;
        let loss = cross_entropy(scores.view(), targets.iter());
        perplexity.record(loss, targets.len());
    }
    perplexity.value().ok_or_else(|| "there is no text".into())
}

/// The mean cross-entropy of rows of scores.
fn cross_entropy<'t>(scores: ArrayView2<'_, f32>, targets: impl Iterator<Item = &'t i32>) -> f32 {
    let rows = log_probabilities(&scores);
    let sum: f32 = rows.outer_iter().zip(targets).map(|(row, target)| row[*target as usize]).sum();
    -sum / rows.nrows() as f32
}

/// The prompt and what the model writes after it: a stream reads the prompt, and then each character that was drawn.
fn continued(
    streaming: &Streaming,
    vocabulary: &Vocabulary,
    sampler: &mut Sampler,
    arguments: &Arguments,
) -> Result<String, Box<dyn Error>> {
    let mut stream = streaming.stream(1)?;
    let mut tokens = vocabulary.encode(&arguments.prompt);
    let mut scores = vec![0.0; vocabulary.size()];
    for &token in &tokens {
        stream.run(&[Binding::Integers(&[token])], &mut [&mut scores])?;
    }
    for _ in 0..arguments.sample {
        let token = sampler.sample(&scores)?;
        tokens.push(token);
        stream.run(&[Binding::Integers(&[token])], &mut [&mut scores])?;
    }
    Ok(vocabulary.decode(&tokens)?)
}
