//! Prints the figures of each class, paths, and errors with their causes.

use std::env;
use std::error::Error;
use std::path::Path;

use windlass::data::ImageDataset;
use windlass::metrics::ConfusionMatrix;

/// Prints the confusion matrix with the figures of each class, and the three most frequent errors in words.
pub(crate) fn print_classes(scores: &[f32], dataset: &ImageDataset) -> Result<(), Box<dyn Error>> {
    let names = dataset.class_names();
    let mut matrix = ConfusionMatrix::new(names)?;
    matrix.record(scores, dataset.labels())?;
    print!("\n{matrix}");

    let classes = matrix.classes();
    let mut errors: Vec<(u64, usize, usize)> = (0..classes)
        .flat_map(|class| (0..classes).map(move |predicted| (class, predicted)))
        .filter(|(class, predicted)| class != predicted)
        .map(|(class, predicted)| (matrix.count(class, predicted), class, predicted))
        .filter(|&(count, ..)| count > 0)
        .collect();
    errors.sort_unstable_by(|left, right| right.cmp(left));
    for (count, class, predicted) in errors.into_iter().take(3) {
        println!("{count} of class {} are predicted as {}", names[class], names[predicted]);
    }
    println!();
    Ok(())
}

/// The shortest form of a path, relative to the current directory if possible.
pub(crate) fn shown(path: &Path) -> String {
    let here = env::current_dir().ok();
    let inside = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    inside.as_deref().unwrap_or(path).display().to_string()
}
