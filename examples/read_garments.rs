//! A network reads rows of garments as one reads words: convolutions, a recurrent layer over the columns, and the CTC loss
//! (Graves et al. 2006; Shi, Bai and Yao 2015).
//!
//! Each strip shows three to five garments of Fashion-MNIST at random places. The target is only which garments these are,
//! from left to right: the loss sums over all places where they may be. Look at the picture: below each strip is what was
//! read, and wrong garments are red.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example read_garments
//! ```

mod failure;
mod picture;
mod repository;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use windlass::data::{ImageDataset, fashion_mnist::FashionMnist};
use windlass::ndarray::{Array2, Axis};
use windlass::text::{log_probabilities, prefix_beam_search};
use windlass::{LabelSequences, Loss, Model, Optimizer, Options, Schedule, Trainer, TrainerOptions, network};

use picture::{BLACK, Lettering, Picture, RED, colors};
use repository::repository;

network! {
    /// Ten garments, and the blank, which is class 0. A step is four columns of the strip.
    network Reader(strip: [1, 28, 160]) -> [40, 11] {
        c1: conv_norm(16); max_pool2d(2);
        c2: conv_norm(32); max_pool2d(2);
        c3: conv_norm(32);
        permute((2, 0, 1)); reshape((40, 224));
        r: gru(64, bidirectional = true);
        f: linear(11)
    }

    block conv_norm(channels) { conv: conv2d(channels, kernel_size = 3, padding = 1, bias = false); norm: batch_norm; relu }
}

/// Reads rows of garments.
#[derive(Debug, Parser)]
struct Arguments {
    /// Training steps, of 32 strips each
    #[arg(long, default_value_t = 800, value_name = "COUNT")]
    steps: u64,
    /// Seed of the weights and of the strips
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Directory for the picture; by default `target/read_garments` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

const HEIGHT: usize = 28;
const WIDTH: usize = 160;
const AREA: usize = HEIGHT * WIDTH;
const TESTED: usize = 200;

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let repository = repository();
    let data = FashionMnist::load(&repository.join("data/fashion-mnist"))?;
    let training = TrainerOptions::default()
        .loss(Loss::ctc())
        .optimizer(Optimizer::adam())
        .schedule(Schedule::cosine_with_warm_up(0.004, arguments.steps.max(2), 1)?);
    let model = Model::<Reader>::with_options(arguments.seed, &Options::default())?;
    let mut trainer = Trainer::new(model, training)?;
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    for step in 1..=arguments.steps {
        let (strips, labels, lengths) = drawn(32, &data.train, &mut random);
        let report = trainer.step(&strips, LabelSequences::new(&labels, &lengths))?;
        if step % 50 == 0 {
            println!("step {step:4}  loss {:.4}", report.loss);
        }
    }

    let (strips, labels, lengths) = drawn(TESTED, &data.test, &mut random);
    let scores = trainer.into_model().forward(&strips)?;
    let mut picture = Picture::new(24 + 2 * 528, 64 + 5 * 120);
    picture.text("Rows of garments, and what was read", (24, 28), Lettering::TITLE)?;
    let (mut right, mut found, mut shown) = (0, 0, 0);
    for (index, scores) in (0..).zip(scores.axis_iter(Axis(0))) {
        let scores = log_probabilities(&scores.to_owned().into_dimensionality()?);
        let truth = &labels.row(index).to_vec()[..lengths[index] as usize];
        let read = prefix_beam_search(scores.view(), 0, 16)?.swap_remove(0).labels;
        right += usize::from(read == truth);
        found += read.iter().zip(truth).filter(|(read, truth)| read == truth).count();
        shown += truth.len();
        if index < 10 {
            let (left, top) = (24 + 528 * (index as i32 % 2), 56 + 120 * (index as i32 / 2));
            picture.image((left, top), 3, WIDTH, &colors(&strips[index * AREA..(index + 1) * AREA], 1));
            for (place, &label) in read.iter().enumerate() {
                let color = if truth.get(place) == Some(&label) { BLACK } else { RED };
                let at = (left + 96 * place as i32, top + 96);
                let name = &data.test.class_names()[label as usize - 1];
                picture.text(name, at, Lettering { color, ..Lettering::NOTE })?;
            }
        }
    }
    let output = arguments.output.clone().unwrap_or_else(|| repository.join("target/read_garments"));
    let path = output.join("strips.png");
    picture.save(&path)?;
    println!("{} shows ten of the test strips", path.display());
    println!("garments read at their place: {:.4}", found as f64 / shown as f64);
    println!("test accuracy: {:.4}", right as f64 / TESTED as f64);
    Ok(())
}

/// Strips of three to five garments at random places, with their labels, from 1.
fn drawn(count: usize, data: &ImageDataset, random: &mut fastrand::Rng) -> (Vec<f32>, Array2<i32>, Vec<i32>) {
    let mut strips = vec![0.0; count * AREA];
    let (mut labels, mut lengths) = (Array2::zeros((count, 5)), Vec::new());
    for (sample, strip) in strips.chunks_exact_mut(AREA).enumerate() {
        let garments = random.usize(3..=5);
        lengths.push(garments as i32);
        let mut left = 0;
        for place in 0..garments {
            // What is left of the width is divided at random.
            left += random.usize(..=(WIDTH - left - 28 * (garments - place)) / (garments - place));
            let garment = data.get(random.usize(..data.len())).expect("an index below the length");
            labels[[sample, place]] = garment.label + 1;
            for (row, pixels) in garment.pixels.chunks_exact(28).enumerate() {
                let to = &mut strip[row * WIDTH + left..][..28];
                to.iter_mut().zip(pixels).for_each(|(to, pixel)| *to = f32::from(*pixel) / 255.0);
            }
            left += 28;
        }
    }
    (strips, labels, lengths)
}
