//! A network doubles the resolution of a photograph: efficient sub-pixel convolution (Shi et al. 2016, arXiv:1609.05158).
//!
//! All convolutions run at the low resolution. The last has four channels for each colour, which `pixel_shuffle` puts
//! into the four pixels of each; they are added to the bilinear interpolation, so that the network learns only what that
//! misses. It is trained on patches of the left two thirds of the photograph, and compared with interpolation on the
//! right third, which it has never seen.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example super_resolution
//! ```

mod failure;
mod photo;
mod picture;
mod repository;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use windlass::{Loss, Model, Optimizer, Options, Schedule, Trainer, TrainerOptions, network};

use photo::{HEIGHT, WIDTH, photo};
use picture::{Lettering, Picture, colors};
use repository::repository;

network! {
    /// The details that interpolation misses, added to it.
    block enlarge {
        let small = it;
        c1: conv2d(32, kernel_size = 5, padding = 2); tanh;
        c2: conv2d(24, kernel_size = 3, padding = 1); tanh;
        c3: conv2d(12, kernel_size = 3, padding = 1, init = zeros); pixel_shuffle(2);
        let details = it;
        from(small); upsample2d(2, mode = linear); add(details)
    }

    /// On the patches of the training.
    network Patch(small: [3, 16, 16]) -> [3, 32, 32] { enlarge }

    /// On the right third of the photograph.
    network Third(small: [3, 96, 48]) -> [3, 192, 96] { enlarge }

    /// What it is compared with.
    network Nearest(small: [3, 96, 48]) -> [3, 192, 96] { upsample2d(2) }
    network Bilinear(small: [3, 96, 48]) -> [3, 192, 96] { upsample2d(2, mode = linear) }
}

/// Doubles the resolution of a photograph.
#[derive(Debug, Parser)]
struct Arguments {
    /// Training steps, of 16 patches each
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    steps: u64,
    /// Seed of the weights and of the choice of patches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Directory for the picture; by default `target/super_resolution` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

const BATCH: usize = 16;
const PATCH: usize = 32;
/// The width of the part for training.
const TRAINED: usize = WIDTH / 3 * 2;

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let image = photo()?;
    let options = match arguments.threads {
        Some(threads) => Options::default().threads(threads),
        None => Options::default(),
    };
    let training = TrainerOptions::default()
        .loss(Loss::MeanSquaredError)
        .optimizer(Optimizer::adam())
        .schedule(Schedule::cosine_with_warm_up(0.002, arguments.steps.max(2), 1)?);
    let mut trainer = Trainer::new(Model::<Patch>::with_options(arguments.seed, &options)?, training)?;
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let mut loss = 0.0;
    for step in 1..=arguments.steps {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for _ in 0..BATCH {
            let corner = (random.usize(..=HEIGHT - PATCH), random.usize(..=TRAINED - PATCH));
            let patch = part(&image, corner, [PATCH, PATCH]);
            small.extend(halved(&patch, PATCH));
            large.extend(patch);
        }
        loss += trainer.step(&small, &large)?.loss / 100.0;
        if step % 100 == 0 {
            println!("step {step:5}  PSNR of the patches {:.2} dB", decibels(f64::from(loss)));
            loss = 0.0;
        }
    }

    let truth = part(&image, (0, TRAINED), [HEIGHT, WIDTH - TRAINED]);
    let small = halved(&truth, WIDTH - TRAINED);
    let parameters = trainer.into_model().parameters().clone();
    let learned = Model::<Third>::with_parameters(parameters, &options)?.forward(&small)?;
    let panels = [
        ("pixels repeated", Model::<Nearest>::new(0)?.forward(&small)?.into_iter().collect()),
        ("bilinear", Model::<Bilinear>::new(0)?.forward(&small)?.into_iter().collect()),
        ("learned", learned.into_iter().collect()),
        ("the photograph", truth.clone()),
    ];
    let mut picture = Picture::new(24 + 4 * 312, 672);
    picture.text("Twice the resolution, in a part that was not trained on", (24, 28), Lettering::TITLE)?;
    for (index, (name, image)) in (0..).zip(&panels) {
        let image: &Vec<f32> = image;
        let error =
            image.iter().zip(&truth).map(|(a, b)| f64::from(a.clamp(0.0, 1.0) - b).powi(2)).sum::<f64>();
        let quality = decibels(error / truth.len() as f64);
        let label = if error > 0.0 { format!("{name}: PSNR {quality:.2} dB") } else { (*name).to_owned() };
        println!("{label}");
        picture.image((24 + index * 312, 56), 3, WIDTH - TRAINED, &colors(image, 3));
        picture.text(&label, (24 + index * 312 + 144, 652), Lettering::LABEL)?;
    }
    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| repository().join("target/super_resolution"));
    let path = output.join("super_resolution.png");
    picture.save(&path)?;
    println!("{} shows them side by side", path.display());
    Ok(())
}

/// The peak signal-to-noise ratio of a mean squared error, for values from 0 to 1.
fn decibels(error: f64) -> f64 {
    -10.0 * error.log10()
}

/// A part of the photograph, `[3, height, width]`.
fn part(image: &[f32], (top, left): (usize, usize), [height, width]: [usize; 2]) -> Vec<f32> {
    let rows = (0..3)
        .flat_map(|channel| (top..top + height).map(move |row| (channel * HEIGHT + row) * WIDTH + left));
    rows.flat_map(|start| &image[start..start + width]).copied().collect()
}

/// An image at half the resolution: the means of 2×2 pixels.
fn halved(image: &[f32], width: usize) -> Vec<f32> {
    let pairs = image.chunks_exact(2 * width);
    pairs
        .flat_map(|rows| {
            let (above, below) = rows.split_at(width);
            (0..width / 2)
                .map(move |x| (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]) / 4.0)
        })
        .collect()
}
