//! A small U-Net finds discs and squares in noisy images, pixel by pixel (Ronneberger, Fischer and Brox 2015).
//!
//! The example draws its images itself, so that there is any number of them. The network has a score for each class at
//! each pixel, and the loss is the mean cross-entropy over all pixels. Look at the picture: the image, the truth and the
//! prediction; and at the intersection over union of each class.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example segmentation
//! ```

mod failure;
mod picture;
mod repository;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use plotters::style::RGBColor;
use windlass::metrics::argmax;
use windlass::{Model, Optimizer, Options, Schedule, Trainer, TrainerOptions, network};

use picture::{BLUE, LIGHT, Lettering, Picture, RED, colors};
use repository::repository;

network! {
    /// Convolutions at three resolutions, and back; each resolution also gets what was found at it on the way down.
    network UNet(image: [1, 48, 48]) -> [3, 48, 48] {
        d1: double(8);
        let fine = it;
        max_pool2d(2); d2: double(16);
        let coarse = it;
        max_pool2d(2); d3: double(32);
        u2: conv_transpose2d(16, kernel_size = 2, stride = 2); concat { coarse it } d4: double(16);
        u1: conv_transpose2d(8, kernel_size = 2, stride = 2); concat { fine it } d5: double(8);
        head: conv2d(3, kernel_size = 1)
    }

    /// Two convolutions at one resolution.
    block double(channels) { a: conv_norm(channels); b: conv_norm(channels) }

    /// A convolution with normalisation.
    block conv_norm(channels) {
        conv: conv2d(channels, kernel_size = 3, padding = 1, bias = false); norm: batch_norm; relu
    }
}

/// Finds shapes in images, pixel by pixel.
#[derive(Debug, Parser)]
struct Arguments {
    /// Training steps, of 16 images each
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    steps: u64,
    /// Seed of the weights and of the images
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Directory for the picture; by default `target/segmentation` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

const SIZE: usize = 48;
const BATCH: usize = 16;
const TESTED: usize = 200;
const CLASSES: [&str; 3] = ["background", "disc", "square"];

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let options = match arguments.threads {
        Some(threads) => Options::default().threads(threads),
        None => Options::default(),
    };
    let training = TrainerOptions::default()
        .optimizer(Optimizer::adam())
        .schedule(Schedule::cosine_with_warm_up(0.01, arguments.steps.max(2), 1)?);
    let mut trainer = Trainer::new(Model::<UNet>::with_options(arguments.seed, &options)?, training)?;
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    for step in 1..=arguments.steps {
        let (images, labels) = drawn(BATCH, &mut random);
        let report = trainer.step(&images, &labels)?;
        if step % 50 == 0 {
            println!("step {step:4}  loss {:.4}", report.loss);
        }
    }

    let (images, labels) = drawn(TESTED, &mut random);
    let scores = trainer.into_model().forward(&images)?;
    let scores: Vec<f32> = scores.into_iter().collect();
    let predicted = classes(&scores);
    let mut picture = Picture::new(24 + 6 * 160, 64 + 3 * 160);
    picture.text("Images, truth and predictions of a small U-Net", (24, 28), Lettering::TITLE)?;
    let area = SIZE * SIZE;
    for index in 0..6 {
        let (left, pixels) = (24 + 160 * index as i32, index * area..(index + 1) * area);
        picture.image((left, 56), 3, SIZE, &colors(&images[pixels.clone()], 1));
        picture.image((left, 216), 3, SIZE, &painted(&labels[pixels.clone()]));
        picture.image((left, 376), 3, SIZE, &painted(&predicted[pixels]));
    }
    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| repository().join("target/segmentation"));
    let path = output.join("segmentation.png");
    picture.save(&path)?;
    println!("{} shows six of the test images", path.display());

    let mut sum = 0.0;
    for (class, name) in (0..).zip(CLASSES) {
        let count = |holds: fn(bool, bool) -> bool| {
            labels.iter().zip(&predicted).filter(|(a, b)| holds(**a == class, **b == class)).count() as f64
        };
        let overlap = count(|truth, found| truth && found) / count(|truth, found| truth || found).max(1.0);
        println!("intersection over union, {name}: {overlap:.4}");
        sum += overlap / CLASSES.len() as f64;
    }
    println!("mean intersection over union: {sum:.4}");
    Ok(())
}

/// Images of a disc and a square on a noisy ground, in random order, and the class of each pixel.
fn drawn(count: usize, random: &mut fastrand::Rng) -> (Vec<f32>, Vec<i32>) {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let shape = |random: &mut fastrand::Rng| {
            let radius = 5.0 + 6.0 * random.f32();
            [
                radius,
                radius + (SIZE as f32 - 2.0 * radius) * random.f32(),
                radius + (SIZE as f32 - 2.0 * radius) * random.f32(),
            ]
        };
        let (disc, square) = (shape(random), shape(random));
        let (brightness, slope) =
            ([0.55 + 0.3 * random.f32(), 0.55 + 0.3 * random.f32()], random.f32() * 0.3);
        let disc_is_above = random.bool();
        for (y, x) in (0..SIZE).flat_map(|y| (0..SIZE).map(move |x| (y, x))) {
            let distances =
                |[_, top, left]: [f32; 3]| ((y as f32 + 0.5 - top).abs(), (x as f32 + 0.5 - left).abs());
            let ((dy, dx), (sy, sx)) = (distances(disc), distances(square));
            let class = match (dy.hypot(dx) < disc[0], sy.max(sx) < square[0]) {
                (true, false) => 1,
                (false, true) => 2,
                (true, true) => {
                    if disc_is_above {
                        1
                    } else {
                        2
                    }
                }
                (false, false) => 0,
            };
            let light = if class == 0 {
                0.2 + slope * x as f32 / SIZE as f32
            } else {
                brightness[class as usize - 1]
            };
            images.push(light + 0.35 * (random.f32() + random.f32() - 1.0));
            labels.push(class);
        }
    }
    (images, labels)
}

/// The class of each pixel, from the scores `[images, classes, height, width]`.
fn classes(scores: &[f32]) -> Vec<i32> {
    let area = SIZE * SIZE;
    let of_pixel = |image: &[f32], pixel: usize| {
        let scores: Vec<f32> = image.iter().skip(pixel).step_by(area).copied().collect();
        argmax(&scores).map_or(-1, |class| class as i32)
    };
    scores
        .chunks_exact(CLASSES.len() * area)
        .flat_map(|image| (0..area).map(move |pixel| of_pixel(image, pixel)))
        .collect()
}

/// The colour of each class.
fn painted(labels: &[i32]) -> Vec<RGBColor> {
    labels
        .iter()
        .map(|&class| match class {
            1 => RED,
            2 => BLUE,
            _ => LIGHT,
        })
        .collect()
}
