//! LeNet learns in C: an object file with a training step, its initial state, and a short C program that trains it. Neither
//! Rust, Cranelift nor any library but C's own is in that program.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example train_in_c            # writes the files to target/train_in_c
//! make -C examples/train_in_c                         # compiles train.c, and trains
//! cargo run --release -p windlass-examples --example train_in_c -- --read  # reads what it has learned
//! ```

#[path = "../failure/mod.rs"]
mod failure;
#[path = "../repository/mod.rs"]
mod repository;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use windlass::data::{DataLoader, FashionMnist, ImageDataset, LoaderOptions, Normalization};
use windlass::metrics::Accuracy;
use windlass::object::{ObjectOptions, TrainedState};
use windlass::{Model, Network, Optimizer, Options, TrainerOptions, network};

use repository::repository;

network! {
    /// LeNet as in Dive into Deep Learning, with ReLU and max pooling.
    network LeNet(image: [1, 28, 28]) -> [10] {
        c1: conv2d(6, kernel_size = 5, padding = 2); relu; max_pool2d(2);
        c3: conv2d(16, kernel_size = 5); relu; max_pool2d(2);
        flatten;
        f5: linear(120); relu;
        f6: linear(84); relu;
        f7: linear(10)
    }
}

/// Writes LeNet as an object file that C programs train.
#[derive(Debug, Parser)]
struct Arguments {
    /// Read what the C program has learned, instead of writing the object
    #[arg(long)]
    read: bool,
    /// Put the initial state into the object instead of a file
    #[arg(long, conflicts_with = "read")]
    embed: bool,
    /// Directory for the files; by default `target/train_in_c` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

/// How it is trained.
fn training() -> TrainerOptions {
    TrainerOptions::default().optimizer(Optimizer::adam())
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let repository = repository();
    let output = arguments.output.clone().unwrap_or_else(|| repository.join("target/train_in_c"));
    let FashionMnist { train, test } = FashionMnist::load(&repository.join("data/fashion-mnist"))?;
    let normalization = Normalization::of(&train)?;
    match arguments.read {
        true => read(&output, &test, normalization),
        false => write(&output, [("train", &train), ("test", &test)], &normalization, arguments.embed),
    }
}

/// Writes the object and the images.
fn write(
    output: &Path,
    sets: [(&str, &ImageDataset); 2],
    normalization: &Normalization,
    embed: bool,
) -> Result<(), Box<dyn Error>> {
    let model = LeNet::model(0)?;
    let files = model.object(&ObjectOptions::default().name("lenet").embed(embed).train(training()))?;
    files.write(output)?;
    let (mean, deviation) = (normalization.mean()[0], normalization.deviation()[0]);
    let mut data = format!("#define MEAN {mean:?}f\n#define DEVIATION {deviation:?}f\n");
    for (name, set) in sets {
        data += &format!("#define {}_IMAGES {}\n", name.to_uppercase(), set.len());
        let mut bytes = Vec::new();
        for index in 0..set.len() {
            let image = set.get(index).ok_or("an image is missing")?;
            bytes.extend(image.pixels);
            bytes.push(u8::try_from(image.label)?);
        }
        std::fs::write(output.join(format!("{name}.images")), bytes)?;
    }
    std::fs::write(output.join("data.h"), data)?;
    println!("{}: {} bytes", output.join("lenet.o").display(), files.object.len());
    println!("train it with: make -C examples/train_in_c");
    Ok(())
}

/// Reads the state that the C program has written, and saves its parameters.
fn read(output: &Path, test: &ImageDataset, normalization: Normalization) -> Result<(), Box<dyn Error>> {
    let path = output.join("trained.state");
    let bytes =
        std::fs::read(&path).map_err(|error| format!("could not read {}: {error}", path.display()))?;
    let trained = TrainedState::read(&LeNet::VALUE, &training(), &bytes)?;
    let weights = output.join("lenet.safetensors");
    trained.save(&weights)?;
    println!("{}: parameters after {} steps", weights.display(), trained.steps());
    let model = Model::<LeNet>::with_parameters(trained.parameters().clone(), &Options::default())?;
    let mut accuracy = Accuracy::new(10)?;
    for batch in DataLoader::new(test, LoaderOptions::in_order(500, normalization))?.epoch(0) {
        accuracy.record(model.forward(&batch)?.as_slice().unwrap_or_default(), batch.labels())?;
    }
    println!("test accuracy: {:.4}", accuracy.value().unwrap_or_default());
    Ok(())
}
