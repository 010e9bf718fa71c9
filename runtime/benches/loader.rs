//! The throughput of a data loader in images per second: `cargo bench -p windlass-runtime --bench loader`. The batches
//! are checked against the definition of normalisation before anything is timed.

use std::path::Path;
use std::time::{Duration, Instant};

use windlass_runtime::data::{
    Augmentation, Batch, DataLoader, FashionMnist, ImageDataset, LoaderOptions, Normalization, Transform,
};

fn main() -> Result<(), windlass_runtime::Error> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/fashion-mnist");
    let dataset = FashionMnist::load(&directory)?.train;
    let normalization = Normalization::of(&dataset)?;
    check(&dataset, &normalization)?;

    let flip = Transform::HorizontalFlip { probability: 0.5 };
    let crop = Transform::Crop { padding: 4 };
    let colour = [Transform::Brightness { strength: 0.2 }, Transform::Contrast { strength: 0.2 }];
    for (name, transforms) in [
        ("shuffled", vec![]),
        ("flipped and cropped", vec![flip, crop]),
        ("with brightness and contrast", vec![flip, crop, colour[0], colour[1]]),
    ] {
        for batch_size in [10, 64, 256] {
            let augmentation = Augmentation::new(transforms.clone())?;
            let options =
                LoaderOptions::shuffled(batch_size, normalization.clone(), 1).augmentation(augmentation);
            let rate = images_per_second(&DataLoader::new(&dataset, options)?);
            println!("{name:<30} batch {batch_size:>3}  {:>7.2} million images/s", rate / 1e6);
        }
    }
    Ok(())
}

/// Panics on a batch that differs from the definition.
fn check(dataset: &ImageDataset, normalization: &Normalization) -> Result<(), windlass_runtime::Error> {
    let loader = DataLoader::new(dataset, LoaderOptions::in_order(100, normalization.clone()))?;
    let floats: Vec<f32> = loader.epoch(0).flat_map(|batch| batch.pixels().to_vec()).collect();
    assert_eq!(floats.len(), dataset.pixels().len());
    let (mean, deviation) = (normalization.mean()[0], normalization.deviation()[0]);
    for (float, &pixel) in floats.iter().zip(dataset.pixels()) {
        let expected = (f32::from(pixel) / 255.0 - mean) / deviation;
        assert!((float - expected).abs() < 1e-5, "{pixel} became {float}, not {expected}");
    }
    Ok(())
}

/// The best of several epochs.
fn images_per_second(loader: &DataLoader) -> f64 {
    let mut batch = Batch::default();
    let mut best = Duration::MAX;
    for number in 0..10 {
        let start = Instant::now();
        let mut epoch = loader.epoch(number);
        while epoch.next_into(&mut batch) {
            std::hint::black_box(&batch);
        }
        best = best.min(start.elapsed());
    }
    loader.dataset().len() as f64 / best.as_secs_f64()
}
