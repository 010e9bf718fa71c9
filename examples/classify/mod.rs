//! Trains a network on Fashion-MNIST, evaluates it and draws its predictions: what the examples of the networks of Dive
//! into Deep Learning, chapters 8.1 to 8.6, share. Each of them is mostly its network.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use plotters::style::text_anchor::HPos;
use windlass::data::fashion_mnist::SYSTEM_DIRECTORY;
use windlass::data::{Batch, DataLoader, FashionMnist, ImageDataset, LoaderOptions, Normalization};
use windlass::metrics::{Accuracy, argmax};
use windlass::ndarray::ArrayD;
use windlass::schedule::{Rule, Schedule};
use windlass::{Input, Model, Network, Optimizer, Options, Trainer, TrainerOptions};

use crate::failure;
use crate::picture::{BLACK, Lettering, Picture, RED, grey};
use crate::repository::repository;

/// How a network is trained unless the arguments say otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    /// The name of the network, which is also that of its example.
    pub(crate) name: &'static str,
    /// Passes over the training images.
    pub(crate) epochs: u64,
    /// Images per step.
    pub(crate) batch: usize,
    /// The maximum learning rate of Adam.
    pub(crate) learning_rate: f64,
}

/// Trains a network of the book on images of clothing, and shows its predictions.
#[derive(Debug, Parser)]
struct Arguments {
    /// Training images, and at most as many test images; all by default
    #[arg(long, value_name = "COUNT")]
    images: Option<usize>,
    /// Passes over the training images
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Images per step
    #[arg(long, value_name = "COUNT")]
    batch: Option<usize>,
    /// Maximum learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Seed of the initial weights and the order of the images
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Train on the whole Fashion-MNIST that Debian's package `dataset-fashion-mnist` installs, not on a subset
    #[arg(long)]
    full: bool,
    /// Directory for the picture; by default one in `target` with the name of the network
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

/// The example of a network.
pub(crate) fn main<N>(recipe: Recipe) -> ExitCode
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    failure::exit_code(run::<N>(recipe, &Arguments::parse()))
}

fn run<N>(recipe: Recipe, arguments: &Arguments) -> Result<(), Box<dyn Error>>
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    let repository = repository();
    let directory = match arguments.full {
        true => FashionMnist::locate([SYSTEM_DIRECTORY])?,
        false => repository.join("data/fashion-mnist"),
    };
    let FashionMnist { train, test } = FashionMnist::load(&directory)?;
    let (train, test) = (first(&train, arguments.images)?, first(&test, arguments.images)?);
    let normalization = Normalization::of(&train)?;
    let batch_size = arguments.batch.unwrap_or(recipe.batch);
    let batches = LoaderOptions::shuffled(batch_size, normalization.clone(), arguments.seed);
    let train = DataLoader::new(&train, batches)?;
    let test = DataLoader::new(&test, LoaderOptions::in_order(64, normalization))?;

    println!("{}", windlass::summary(N::graph()));
    let options = match arguments.threads {
        Some(threads) => Options::default().threads(threads),
        None => Options::default(),
    };
    let epochs = arguments.epochs.unwrap_or(recipe.epochs);
    let steps = epochs * train.len() as u64;
    let training =
        TrainerOptions::default().optimizer(Optimizer::adam()).schedule(Schedule::new(Rule::OneCycle {
            peak_rate: arguments.learning_rate.unwrap_or(recipe.learning_rate),
            warm_up: (steps * 3 / 10).max(1),
            steps: steps.max(2),
            start_factor: 0.04,
            final_factor: 0.001,
        })?);
    let mut trainer = Trainer::new(Model::<N>::with_options(arguments.seed, &options)?, training)?;
    println!("{}\n", trainer.memory(batch_size));
    for epoch in 0..epochs {
        train_epoch(&mut trainer, &train, epoch, epochs)?;
        // Every epoch of a short run, and the last of any, is evaluated.
        if epochs <= 5 || epoch + 1 == epochs {
            println!("  test accuracy {:.4}", evaluate(trainer.model(), &test)?.0);
        }
    }
    let (accuracy, scores) = evaluate(trainer.model(), &test)?;
    let output = arguments.output.clone().unwrap_or_else(|| repository.join("target").join(recipe.name));
    let path = output.join("predictions.png");
    draw(recipe.name, test.dataset(), &scores, &path)?;
    println!("{} shows test images with their predicted classes", path.display());
    println!("test accuracy: {accuracy:.4}");
    Ok(())
}

/// The first examples of a data set.
fn first(dataset: &ImageDataset, count: Option<usize>) -> Result<ImageDataset, windlass::Error> {
    let count = count.unwrap_or(dataset.len()).min(dataset.len());
    dataset.select(&(0..count).collect::<Vec<_>>())
}

/// Trains for an epoch, and prints the mean loss and the accuracy of each tenth of it.
fn train_epoch<N>(
    trainer: &mut Trainer<N>,
    train: &DataLoader<'_>,
    epoch: u64,
    epochs: u64,
) -> Result<(), Box<dyn Error>>
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    let (start, every) = (Instant::now(), train.len().div_ceil(10));
    let (mut batch, mut batches) = (Batch::default(), train.epoch(epoch));
    let (mut step, mut losses, mut accuracy) = (0, 0.0, Accuracy::new(train.dataset().class_names().len())?);
    while batches.next_into(&mut batch) {
        let report = trainer.step(&batch, batch.labels())?;
        if !report.loss.is_finite() {
            return Err(format!("the loss is {}: use a lower `--learning-rate`", report.loss).into());
        }
        (step, losses) = (step + 1, losses + f64::from(report.loss) * batch.len() as f64);
        accuracy.record(trainer.outputs(), batch.labels())?;
        if step % every == 0 || step == train.len() {
            println!(
                "epoch {}/{epochs}  {:3} %  loss {:.3}  accuracy {:.3}  {:.1} s",
                epoch + 1,
                100 * step / train.len(),
                losses / accuracy.total() as f64,
                accuracy.value().unwrap_or_default(),
                start.elapsed().as_secs_f64(),
            );
            if step < train.len() {
                (losses, accuracy) = (0.0, Accuracy::new(train.dataset().class_names().len())?);
            }
        }
    }
    Ok(())
}

/// The accuracy of a network, and its scores of every image and class.
fn evaluate<N>(model: &Model<N>, test: &DataLoader<'_>) -> Result<(f64, Vec<f32>), Box<dyn Error>>
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    let mut scores = Vec::new();
    for batch in test.epoch(0) {
        scores.extend(model.forward(&batch)?.iter());
    }
    let mut accuracy = Accuracy::new(test.dataset().class_names().len())?;
    accuracy.record(&scores, test.dataset().labels())?;
    Ok((accuracy.value().unwrap_or_default(), scores))
}

/// Draws the first test images with their predicted classes; errors are red, with the true class below.
fn draw(name: &str, test: &ImageDataset, scores: &[f32], path: &Path) -> Result<(), Box<dyn Error>> {
    let names = test.class_names();
    let [_, height, width] = test.image_shape();
    let mut picture = Picture::new(24 + 10 * 96, 64 + 4 * 112);
    picture.text(
        &format!("Predictions of {name}; the true class of errors is below"),
        (24, 28),
        Lettering::TITLE,
    )?;
    for (index, scores) in scores.chunks_exact(names.len()).take(40).enumerate() {
        let Some((example, predicted)) = test.get(index).zip(argmax(scores)) else { continue };
        let (left, top) = (24 + (index % 10) as i32 * 96, 56 + (index / 10) as i32 * 112);
        let shades: Vec<_> = example.pixels.iter().map(|&pixel| grey(f32::from(pixel) / 255.0)).collect();
        picture.image((left + 36 - width as i32, top), 2, width, &shades);
        let middle = (left + 36, top + 2 * height as i32 + 12);
        let is_right = predicted == example.label as usize;
        let lettering = Lettering { size: 11, color: if is_right { BLACK } else { RED }, ..Lettering::LABEL };
        picture.text(&names[predicted], middle, lettering)?;
        if !is_right {
            let note = Lettering { size: 11, align: HPos::Center, ..Lettering::NOTE };
            picture.text(&names[example.label as usize], (middle.0, middle.1 + 15), note)?;
        }
    }
    picture.save(path)
}
