//! Two networks train against each other: DCGAN (Radford, Metz and Chintala 2016; Dive into Deep Learning, section 20.2).
//!
//! A generator draws images of clothing from random numbers, and a discriminator says of an image whether it is real. The
//! discriminator learns to tell, the generator to be taken for real. Each has a trainer:
//!
//! - [`Discriminator`] is trained on images: real ones with the target 1, generated ones with 0.
//! - [`Adversary`] is the generator with the discriminator behind it, so that one backward pass takes the gradient through
//!   the discriminator to the generator. In its trainer the discriminator is frozen, and the target is always 1. Before
//!   each step it gets the discriminator's current weights. The discriminator has no batch normalisation, so that it
//!   computes the same in both trainers.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example gan
//! ```

mod failure;
mod picture;
mod repository;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use windlass::data::{DataLoader, FashionMnist, LoaderOptions, Normalization};
use windlass::{Loss, Model, Optimizer, Options, Schedule, Trainer, TrainerOptions, network};

use picture::{Lettering, Picture, colors};
use repository::repository;

network! {
    /// From random numbers to an image of numbers from -1 to 1.
    block generator {
        f1: linear(6272, bias = false, init = normal(0, 0.02)); reshape((128, 7, 7)); n1: batch_norm; relu;
        g2: conv_transpose2d(64, kernel_size = 4, stride = 2, padding = 1, bias = false, init = normal(0, 0.02));
        n2: batch_norm; relu;
        g3: conv_transpose2d(1, kernel_size = 4, stride = 2, padding = 1, init = normal(0, 0.02)); tanh
    }

    /// From an image to a logit: positive if it is taken for real.
    block discriminator {
        c1: conv2d(32, kernel_size = 4, stride = 2, padding = 1, init = normal(0, 0.02)); leaky_relu(slope = 0.2);
        c2: conv2d(64, kernel_size = 4, stride = 2, padding = 1, init = normal(0, 0.02)); leaky_relu(slope = 0.2);
        flatten; dropout(0.3);
        f3: linear(1, init = normal(0, 0.02))
    }

    /// The discriminator alone.
    network Discriminator(image: [1, 28, 28]) -> [1] { discriminator: discriminator }

    /// The generator with the discriminator behind it.
    network Adversary(noise: [64]) -> (image: [1, 28, 28], verdict: [1]) {
        generator: generator; image = it;
        discriminator: discriminator; verdict = it;
    }
}

/// Draws clothes that do not exist.
#[derive(Debug, Parser)]
struct Arguments {
    /// Passes over the training images
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    epochs: u64,
    /// The maximum number of steps per epoch
    #[arg(long, value_name = "COUNT")]
    steps: Option<usize>,
    /// Images per step
    #[arg(long, default_value_t = 64, value_name = "COUNT")]
    batch: usize,
    /// Learning rate of both
    #[arg(long, default_value_t = 0.0004, value_name = "RATE")]
    learning_rate: f64,
    /// Seed of weights and noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Directory for the picture; by default `target/gan` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let repository = repository();
    let FashionMnist { train, .. } = FashionMnist::load(&repository.join("data/fashion-mnist"))?;
    let from_minus_one_to_one = Normalization::new(&[0.5], &[0.5])?;
    let batches = LoaderOptions::shuffled(arguments.batch, from_minus_one_to_one, arguments.seed);
    let train = DataLoader::new(&train, batches.drop_last(true))?;

    let options = match arguments.threads {
        Some(threads) => Options::default().threads(threads),
        None => Options::default(),
    };
    let training = TrainerOptions::default()
        .loss(Loss::BinaryCrossEntropy)
        .optimizer(Optimizer::Adam { beta1: 0.5, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 })
        .schedule(Schedule::constant(arguments.learning_rate)?);
    let discriminator = Model::<Discriminator>::with_options(arguments.seed, &options)?;
    let mut discriminator = Trainer::new(discriminator, training.clone())?;
    let against = training.frozen(["discriminator"]).output("verdict");
    let adversary = Model::<Adversary>::with_options(arguments.seed, &options)?;
    let mut adversary = Trainer::new(adversary, against)?;

    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let (real, generated) = (vec![1.0; arguments.batch], vec![0.0; arguments.batch]);
    let targets = [&real[..], &generated].concat();
    for epoch in 0..arguments.epochs {
        let (start, mut losses, mut steps) = (Instant::now(), [0.0; 2], 0.0f32);
        for batch in train.epoch(epoch).take(arguments.steps.unwrap_or(usize::MAX)) {
            for (name, _) in Discriminator::PARAMETERS {
                let learned =
                    discriminator.model().parameter(name).ok_or("both have the same discriminator")?;
                adversary.set_parameter(name, &learned.to_owned())?;
            }
            let numbers = noise(arguments.batch, &mut random);
            let fooled = adversary.step(&numbers, &real)?;
            let images = adversary.output("image").ok_or("the adversary draws images")?;
            let both: Vec<f32> = batch.pixels().iter().chain(&images).copied().collect();
            let told = discriminator.step(&both, &targets)?;
            losses = [losses[0] + told.loss, losses[1] + fooled.loss];
            steps += 1.0;
        }
        println!(
            "epoch {:2}/{}  loss of the discriminator {:.3}, of the generator {:.3}  {:.1} s",
            epoch + 1,
            arguments.epochs,
            losses[0] / steps,
            losses[1] / steps,
            start.elapsed().as_secs_f64()
        );
    }

    let numbers = noise(80, &mut random);
    let samples = adversary.into_model().forward(&numbers)?.image;
    let samples: Vec<f32> = samples.iter().map(|pixel| (pixel + 1.0) / 2.0).collect();
    let mut picture = Picture::new(24 + 10 * 64, 56 + 8 * 64);
    picture.text("Clothes that do not exist", (24, 28), Lettering::TITLE)?;
    for (index, image) in (0..).zip(samples.chunks_exact(28 * 28)) {
        picture.image((24 + index % 10 * 64, 52 + index / 10 * 64), 2, 28, &colors(image, 1));
    }
    let output = arguments.output.clone().unwrap_or_else(|| repository.join("target/gan"));
    let path = output.join("samples.png");
    picture.save(&path)?;
    println!("{} shows 80 samples", path.display());
    Ok(())
}

/// Normally distributed numbers for some images.
fn noise(images: usize, random: &mut fastrand::Rng) -> Vec<f32> {
    // The sum of twelve uniform numbers is nearly normal, with variance 1.
    (0..64 * images).map(|_| (0..12).map(|_| random.f32()).sum::<f32>() - 6.0).collect()
}
