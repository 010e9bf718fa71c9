//! LeNet leaves Rust: an object file, a header and weights, which a short C program links with. Neither Rust, Cranelift
//! nor any library is in that program.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example c    # trains, and writes the files to target/c
//! make -C examples/c                                      # compiles classify.c, and tells the garment of garment.pgm
//! make -C examples/c IMAGE=photo.pgm                      # of an image of one's own
//! ```
//!
//! Images are binary PGM files of 28×28 grey pixels, a light garment on a dark background, as image editors write them.

#[path = "../failure/mod.rs"]
mod failure;
#[path = "../repository/mod.rs"]
mod repository;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use windlass::data::{DataLoader, FashionMnist, LoaderOptions, Normalization};
use windlass::metrics::Accuracy;
use windlass::object::ObjectOptions;
use windlass::{Model, Optimizer, Schedule, Trainer, TrainerOptions, network};

use repository::repository;

network! {
    /// LeNet as in Dive into Deep Learning, with ReLU and max pooling.
    block layers {
        c1: conv2d(6, kernel_size = 5, padding = 2); relu; max_pool2d(2);
        c3: conv2d(16, kernel_size = 5); relu; max_pool2d(2);
        flatten;
        f5: linear(120); relu;
        f6: linear(84); relu;
        f7: linear(10)
    }

    /// What is trained: the loss includes the softmax.
    network Trained(image: [1, 28, 28]) -> [10] { lenet: layers }

    /// What predicts, with the same parameters.
    network LeNet(image: [1, 28, 28]) -> [10] { lenet: layers; softmax }
}

/// Trains LeNet, and writes it as an object file for C programs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Passes over the training images
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    epochs: u64,
    /// Put the weights into the object instead of a file
    #[arg(long)]
    embed: bool,
    /// Directory for the files; by default `target/c` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let repository = repository();
    let output = arguments.output.clone().unwrap_or_else(|| repository.join("target/c"));
    let FashionMnist { train, test } = FashionMnist::load(&repository.join("data/fashion-mnist"))?;
    let normalization = Normalization::of(&train)?;
    let (mean, deviation) = (normalization.mean()[0], normalization.deviation()[0]);
    let loader = DataLoader::new(&train, LoaderOptions::shuffled(64, normalization.clone(), 0))?;
    let options = TrainerOptions::default().optimizer(Optimizer::adam()).schedule(Schedule::constant(0.002)?);
    let mut trainer = Trainer::new(Trained::model(0)?, options)?;
    for epoch in 0..arguments.epochs {
        let mut loss = 0.0;
        for batch in loader.epoch(epoch) {
            loss += trainer.step(&batch, batch.labels())?.loss / loader.len() as f32;
        }
        println!("epoch {}/{}  loss {loss:.3}", epoch + 1, arguments.epochs);
    }
    let parameters = trainer.into_model().parameters().clone();
    let model = Model::<LeNet>::with_parameters(parameters, &windlass::Options::default())?;
    let mut accuracy = Accuracy::new(10)?;
    for batch in DataLoader::new(&test, LoaderOptions::in_order(500, normalization))?.epoch(0) {
        accuracy.record(model.forward(&batch)?.as_slice().unwrap_or_default(), batch.labels())?;
    }

    let files = model.object(&ObjectOptions::default().name("lenet").embed(arguments.embed))?;
    files.write(&output)?;
    let mut data = format!("#define MEAN {mean:?}f\n#define DEVIATION {deviation:?}f\n");
    let names: Vec<String> = test.class_names().iter().map(|name| format!("{name:?}")).collect();
    writeln!(data, "static const char *const CLASSES[] = {{{}}};", names.join(", "))?;
    std::fs::write(output.join("data.h"), data)?;
    let embedded = if arguments.embed { "weights included" } else { "weights in lenet.weights" };
    println!("{}: {} bytes, {embedded}", output.join("lenet.o").display(), files.object.len());
    println!("compile the program that uses it with: make -C examples/c");
    println!("test accuracy: {:.4}", accuracy.value().unwrap_or_default());
    Ok(())
}
