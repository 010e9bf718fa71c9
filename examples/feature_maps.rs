//! What each layer of LeNet sees: the results of all its layers for a test image.
//!
//! The network is trained for a few epochs, or reads the weights that the example `lenet` saved. Look at the picture: the
//! first maps still show the image, later ones only where a pattern is.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example feature_maps
//! cargo run --release -p windlass-examples --example feature_maps -- --weights target/lenet/lenet.safetensors --image 3
//! ```

mod failure;
mod picture;
mod repository;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use windlass::data::{DataLoader, FashionMnist, LoaderOptions, Normalization};
use windlass::metrics::{Accuracy, argmax};
use windlass::ndarray::ArrayD;
use windlass::{Model, Optimizer, Schedule, Trainer, TrainerOptions, network};

use picture::{Lettering, Picture, colors, diverging};
use repository::repository;

network! {
    /// LeNet, whose convolutions and poolings have labels.
    network LeNet(image: [1, 28, 28]) -> [10] {
        c1: conv2d(6, kernel_size = 5, padding = 2); maps1: sigmoid;
        pooled2: avg_pool2d(2);
        c3: conv2d(16, kernel_size = 5); maps3: sigmoid;
        pooled4: avg_pool2d(2);
        flatten;
        f5: linear(120); sigmoid;
        f6: linear(84); sigmoid;
        f7: linear(10)
    }
}

/// Shows what each layer of LeNet sees.
#[derive(Debug, Parser)]
struct Arguments {
    /// Passes over the training images, without `--weights`
    #[arg(long, default_value_t = 6, value_name = "COUNT")]
    epochs: u64,
    /// A file with weights of LeNet, instead of training
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// The number of the test image
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    image: usize,
    /// Directory for the picture; by default `target/feature_maps` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let repository = repository();
    let FashionMnist { train, test } = FashionMnist::load(&repository.join("data/fashion-mnist"))?;
    let normalization = Normalization::of(&train)?;
    let train = DataLoader::new(&train, LoaderOptions::shuffled(64, normalization.clone(), 0))?;
    let test = DataLoader::new(&test, LoaderOptions::in_order(1500, normalization))?;
    let model = match &arguments.weights {
        Some(file) => Model::<LeNet>::load(file)?,
        None => trained(&train, arguments.epochs)?,
    };

    let batch = test.epoch(0).next().ok_or("there are no test images")?;
    let layers = model.with_outputs(["maps1", "pooled2", "maps3", "pooled4", "f7"])?;
    let outputs = layers.forward(&batch)?;
    let mut accuracy = Accuracy::new(10)?;
    let scores: Vec<f32> = outputs.get("f7")?.iter().copied().collect();
    accuracy.record(&scores, batch.labels())?;

    let example = test.dataset().get(arguments.image).ok_or_else(|| {
        format!("`--image` is {}, but there are {} test images", arguments.image, test.dataset().len())
    })?;
    let names = test.dataset().class_names();
    let predicted = argmax(&scores[10 * arguments.image..][..10]).ok_or("the scores are no numbers")?;
    let title =
        format!("What LeNet sees: {}, predicted as {}", names[example.label as usize], names[predicted]);

    let mut picture = Picture::new(992, 560);
    picture.text(&title, (24, 28), Lettering::TITLE)?;
    let pixels: Vec<f32> = example.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    picture.image((24, 60), 4, 28, &colors(&pixels, 1));
    for (name, layer, scale, top) in [
        ("convolution 1", "maps1", 4, 60),
        ("pooling 2", "pooled2", 6, 200),
        ("convolution 3", "maps3", 4, 312),
        ("pooling 4", "pooled4", 7, 428),
    ] {
        draw_maps(&mut picture, name, outputs.get(layer)?, arguments.image, scale, top)?;
    }
    let note = "Each map relative to its mean: red above, blue below. Left: the image.";
    picture.text(note, (24, 530), Lettering::NOTE)?;
    let output = arguments.output.clone().unwrap_or_else(|| repository.join("target/feature_maps"));
    let path = output.join("feature_maps.png");
    picture.save(&path)?;
    println!("{} shows the maps of each layer", path.display());
    println!("test accuracy: {:.4}", accuracy.value().unwrap_or_default());
    Ok(())
}

fn trained(train: &DataLoader<'_>, epochs: u64) -> Result<Model<LeNet>, Box<dyn Error>> {
    let options = TrainerOptions::default().optimizer(Optimizer::adam()).schedule(Schedule::constant(0.005)?);
    let mut trainer = Trainer::new(Model::<LeNet>::new(0)?, options)?;
    for epoch in 0..epochs {
        let mut loss = 0.0;
        for batch in train.epoch(epoch) {
            loss += trainer.step(&batch, batch.labels())?.loss / train.len() as f32;
        }
        println!("epoch {}/{epochs}  loss {loss:.3}", epoch + 1);
    }
    Ok(trainer.into_model())
}

/// Draws the maps of a layer for an image in two rows at most.
fn draw_maps(
    picture: &mut Picture,
    name: &str,
    maps: &ArrayD<f32>,
    image: usize,
    scale: u32,
    top: i32,
) -> Result<(), Box<dyn Error>> {
    let [_, channels, height, width] = maps.shape() else { return Err("the maps are no images".into()) };
    let area = height * width;
    let all: Vec<f32> = maps.iter().skip(image * channels * area).take(channels * area).copied().collect();
    picture.text(name, (152, top + 8), Lettering::NOTE)?;
    let step = (*width as u32 * scale + 8) as i32;
    let columns = (*channels as i32).min(8);
    for (index, map) in (0..).zip(all.chunks_exact(area)) {
        let mean = map.iter().sum::<f32>() / area as f32;
        let most = map.iter().map(|value| (value - mean).abs()).fold(f32::MIN_POSITIVE, f32::max);
        let shades: Vec<_> = map.iter().map(|value| diverging((value - mean) / most)).collect();
        let (column, row) = (index % columns, index / columns);
        picture.image(
            (256 + column * step, top + row * (*height as i32 * scale as i32 + 8)),
            scale,
            *width,
            &shades,
        );
    }
    Ok(())
}
