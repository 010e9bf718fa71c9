//! A network that is known only at run time: its layers come from a JSON file.
//!
//! Look at `lenet.json`, which describes the network, at `description.rs`, which builds it, and at [`run`]: the network
//! is trained on images of clothing, saved, loaded again, and tested.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example from_json               # the network of lenet.json
//! cargo run --release -p windlass-examples --example from_json -- my.json    # another one for images of 28×28
//! ```

mod description;
#[path = "../failure/mod.rs"]
mod failure;
#[path = "../repository/mod.rs"]
mod repository;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use windlass::data::{Batch, DataLoader, FashionMnist, LoaderOptions, Normalization};
use windlass::metrics::argmax;
use windlass::{Dynamic, Optimizer, Options, Predictor, Trainer, TrainerOptions};

use description::Description;

use repository::repository;

fn main() -> ExitCode {
    failure::exit_code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let repository = repository();
    let file = match std::env::args_os().nth(1) {
        Some(file) => PathBuf::from(file),
        None => repository.join("examples/from_json/lenet.json"),
    };
    let network = Description::read(&file)?.build()?;
    println!("{}", network.summary());

    let FashionMnist { train, test } = FashionMnist::load(&repository.join("data/fashion-mnist"))?;
    let normalization = Normalization::of(&train)?;
    let train = DataLoader::new(&train, LoaderOptions::shuffled(64, normalization.clone(), 0))?;
    let test = DataLoader::new(&test, LoaderOptions::in_order(256, normalization))?;

    let options = TrainerOptions::default().optimizer(Optimizer::adam());
    let mut trainer = Trainer::new(network.model(0)?, options)?;
    let mut batch = Batch::default();
    let mut batches = train.epoch(0);
    while batches.next_into(&mut batch) {
        let report = trainer.step(&batch, batch.labels())?;
        if trainer.steps().is_multiple_of(25) {
            println!("step {:3}: loss {:.3}", trainer.steps(), report.loss);
        }
    }

    let directory = repository.join("target/from_json");
    fs::create_dir_all(&directory)
        .map_err(|error| format!("could not make the directory {}: {error}", directory.display()))?;
    let weights = directory.join("weights.safetensors");
    trainer.model().save(&weights)?;
    check(&network, &trainer, &weights, &test)
}

/// Loads the network again, and shows its predictions for the test images.
fn check(
    network: &Dynamic,
    trainer: &Trainer<Dynamic>,
    weights: &Path,
    test: &DataLoader<'_>,
) -> Result<(), Box<dyn Error>> {
    let predictor = Predictor::load_of(network.clone(), weights, &Options::default())?;
    let names = test.dataset().class_names();
    let (mut first, mut right) = (None, 0);
    for batch in test.epoch(0) {
        let scores = predictor.forward(&batch)?.single()?;
        if scores != trainer.model().forward(&batch)?.single()? {
            return Err("the reloaded network predicts something else than the saved one".into());
        }
        for (scores, &label) in scores.outer_iter().zip(batch.labels()) {
            let class = scores.as_slice().and_then(argmax).ok_or("the network's scores are no numbers")?;
            right += usize::from(class == label as usize);
            first.get_or_insert((class, label as usize));
        }
    }
    println!("{} holds the weights; reloaded, they predict the same", weights.display());
    if let Some((class, label)) = first
        && let (Some(taken_for), Some(is)) = (names.get(class), names.get(label))
    {
        println!("the first test image is taken for `{taken_for}`, and is `{is}`");
    }
    println!("test accuracy: {:.4}", right as f64 / test.dataset().len() as f64);
    Ok(())
}
