//! LeNet learns to classify clothes: from images on disk to a trained network with figures and pictures.
//!
//! Look at the network below, which is the whole declaration; at [`run`], which has all steps in order; and then at
//! `target/lenet`: the curves of loss and accuracy, the filters of the first layer, and the wrong predictions.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example lenet             # 8,000 images bundled with the repository, some seconds
//! cargo run --release -p windlass-examples --example lenet -- --full   # all 60,000, where Debian's package installs them
//! cargo run --release -p windlass-examples --example lenet -- --help
//! ```

mod arguments;
#[path = "../failure/mod.rs"]
mod failure;
#[path = "../picture/mod.rs"]
mod picture;
mod pictures;
mod report;
#[path = "../repository/mod.rs"]
mod repository;

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use clap::Parser;
use windlass::data::{Batch, DataLoader, FashionMnist, LoaderOptions, Normalization};
use windlass::ndarray::ArrayD;
use windlass::{Loss, Model, Options, Predictor, Trainer, TrainerOptions, network};

use arguments::Arguments;

network! {
    /// LeNet (LeCun and others 1998) for grey images of 28×28 pixels and ten classes.
    network LeNet(image: [1, 28, 28]) -> [10] {
        c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
        c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
        flatten;
        f5: linear(120); sigmoid;
        f6: linear(84); sigmoid;
        f7: linear(10)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            // Help and version are messages too, and not failures. Nothing can be done if printing fails.
            let _ = message.print();
            return if message.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    failure::exit_code(run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let plan = arguments.plan()?;
    let mut options = Options::default();
    if let Some(threads) = arguments.threads {
        options = options.threads(threads);
    }

    let output = arguments.output_directory();
    fs::create_dir_all(&output)
        .map_err(|error| format!("could not make the directory {}: {error}", output.display()))?;

    let directory = arguments.data_directory()?;
    let FashionMnist { train, test } = FashionMnist::load(&directory)?;
    println!("{} training and {} test images from {}", train.len(), test.len(), report::shown(&directory));
    let normalization = Normalization::of(&train)?;
    let train =
        DataLoader::new(&train, LoaderOptions::shuffled(plan.batch_size, normalization.clone(), plan.seed))?;
    let test = DataLoader::new(&test, LoaderOptions::in_order(256, normalization))?;

    println!("{}", LeNet::summary());
    let model = Model::<LeNet>::with_options(plan.seed, &options)?;
    let training = TrainerOptions::default()
        .loss(Loss::CrossEntropy)
        .optimizer(plan.optimizer())
        .schedule(plan.schedule()?);
    let mut trainer = Trainer::new(model, training)?;
    println!("{}\n", trainer.memory(plan.batch_size));
    let history = trainer.fit(&train, &test, plan.fit())?;
    let model = trainer.into_model();

    let scores = scores(&test, |batch| model.forward(batch))?;
    report::print_classes(&scores, test.dataset())?;

    let weights = output.join("lenet.safetensors");
    model.save(&weights)?;
    let predictor = Predictor::<LeNet>::load_with(&weights, &options)?;
    if self::scores(&test, |batch| predictor.forward(batch))? != scores {
        return Err("the reloaded network predicts something else than the saved one".into());
    }
    println!("{} holds the weights; reloaded, they predict the same", report::shown(&weights));

    let curves = output.join("curves.png");
    pictures::draw_curves(&history, &curves)?;
    println!("{} shows loss and accuracy, epoch by epoch", report::shown(&curves));
    let filters = output.join("filters.png");
    pictures::draw_filters(&model, &test, &filters)?;
    println!("{} shows the filters of the first layer", report::shown(&filters));
    let predictions = output.join("predictions.png");
    pictures::draw_predictions(test.dataset(), &scores, &predictions)?;
    println!("{} shows test images with their true and predicted classes", report::shown(&predictions));

    println!("test accuracy: {:.4}", model.evaluate(&test)?.accuracy().unwrap_or_default());
    Ok(())
}

/// A score for each image and class; `forward` computes those of a batch.
fn scores(
    loader: &DataLoader<'_>,
    forward: impl Fn(&Batch) -> Result<ArrayD<f32>, windlass::Error>,
) -> Result<Vec<f32>, windlass::Error> {
    let mut scores = Vec::new();
    for batch in loader.epoch(0) {
        scores.extend(forward(&batch)?);
    }
    Ok(scores)
}
