//! The training loop: steps, progress, and the evaluation after each epoch.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use windlass::Trainer;
use windlass::data::{Batch, DataLoader};
use windlass::metrics::Accuracy;
use windlass::ndarray::ArrayD;

use crate::LeNet;

/// The results of an epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    /// Mean loss of the training images, each at the time of its step.
    pub(crate) train_loss: f64,
    /// Accuracy on the training images, each at the time of its step.
    pub(crate) train_accuracy: f64,
    /// Mean loss of the test images after the epoch.
    pub(crate) test_loss: f64,
    /// Accuracy on the test images after the epoch.
    pub(crate) test_accuracy: f64,
}

/// The results of a network on a data set.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    /// A score for every image and class.
    pub(crate) scores: Vec<f32>,
    /// Mean cross-entropy.
    pub(crate) loss: f64,
    /// The fraction of correct predictions.
    pub(crate) accuracy: f64,
}

/// Trains for some epochs, and shows progress on standard error: a bar if it is a terminal, and a line after each
/// epoch.
pub(crate) fn train(
    trainer: &mut Trainer<LeNet>,
    train: &DataLoader<'_>,
    test: &DataLoader<'_>,
    epochs: u64,
) -> Result<Vec<Epoch>, Box<dyn Error>> {
    let classes = train.dataset().class_names().len();
    let images = epochs * train.dataset().len() as u64;
    let bar = progress_bar(images)?;
    let mut batch = Batch::default();
    let mut history = Vec::new();
    for epoch in 0..epochs {
        let start = Instant::now();
        let (mut loss, mut accuracy) = (0.0, Accuracy::new(classes)?);
        let mut batches = train.epoch(epoch);
        while batches.next_into(&mut batch) {
            let report = trainer.step(batch.pixels(), batch.labels())?;
            if !report.loss.is_finite() {
                let (step, rate) = (trainer.steps(), report.learning_rate);
                let message = format!(
                    "the loss is {} at step {step}; a learning rate of {rate:?} is too high",
                    report.loss
                );
                return Err(message.into());
            }
            loss += f64::from(report.loss) * batch.len() as f64;
            accuracy.record(trainer.outputs(), batch.labels())?;
            bar.inc(batch.len() as u64);
            bar.set_message(format!(
                "epoch {}/{epochs}  loss {:.3}  accuracy {:.3}",
                epoch + 1,
                loss / accuracy.total() as f64,
                accuracy.value().unwrap_or_default(),
            ));
        }
        let speed = accuracy.total() as f64 / start.elapsed().as_secs_f64();
        let Evaluation { loss: test_loss, accuracy: test_accuracy, .. } =
            evaluate(test, |pixels| trainer.model().forward(pixels))?;
        let done = Epoch {
            train_loss: loss / accuracy.total() as f64,
            train_accuracy: accuracy.value().unwrap_or_default(),
            test_loss,
            test_accuracy,
        };
        let line = format!(
            "epoch {:2}/{epochs}  train loss {:.3} accuracy {:.3}  test loss {:.3} accuracy {:.3}  {speed:.0} images/s",
            epoch + 1,
            done.train_loss,
            done.train_accuracy,
            done.test_loss,
            done.test_accuracy,
        );
        if bar.is_hidden() {
            eprintln!("{line}  {} left", time_left(bar.elapsed(), bar.position(), Some(images)));
        } else {
            bar.println(line);
        }
        history.push(done);
    }
    bar.finish_and_clear();
    Ok(history)
}

/// Runs a network on a whole data set; `forward` computes the scores of a batch of images.
pub(crate) fn evaluate(
    loader: &DataLoader<'_>,
    forward: impl Fn(&[f32]) -> Result<ArrayD<f32>, windlass::Error>,
) -> Result<Evaluation, Box<dyn Error>> {
    let classes = loader.dataset().class_names().len();
    let mut accuracy = Accuracy::new(classes)?;
    let mut scores = Vec::with_capacity(loader.dataset().len() * classes);
    for batch in loader.epoch(0) {
        scores.extend(forward(batch.pixels())?.iter());
    }
    let labels = loader.dataset().labels();
    accuracy.record(&scores, labels)?;
    let losses =
        scores.chunks_exact(classes).zip(labels).map(|(scores, &label)| -log_softmax(scores)[label as usize]);
    let loss = losses.sum::<f64>() / labels.len() as f64;
    Ok(Evaluation { scores, loss, accuracy: accuracy.value().unwrap_or_default() })
}

/// The logarithm of each class's probability.
pub(crate) fn log_softmax(scores: &[f32]) -> Vec<f64> {
    let largest = f64::from(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = scores.iter().map(|&score| (f64::from(score) - largest).exp()).sum();
    scores.iter().map(|&score| f64::from(score) - largest - sum.ln()).collect()
}

/// A bar over all images of all epochs.
fn progress_bar(images: u64) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{bar:24} {msg}  {speed} images/s  {left} left")?
        .with_key("speed", |state: &ProgressState, line: &mut dyn fmt::Write| {
            // Writing to a line of text does not fail, and a bar could not report it.
            let _ = write!(line, "{:.0}", state.per_sec());
        })
        .with_key("left", |state: &ProgressState, line: &mut dyn fmt::Write| {
            let _ = write!(line, "{}", time_left(state.elapsed(), state.pos(), state.len()));
        });
    Ok(ProgressBar::new(images).with_style(style))
}

/// The remaining time, at the mean speed so far.
fn time_left(elapsed: Duration, done: u64, total: Option<u64>) -> String {
    let left = total.unwrap_or(done).saturating_sub(done);
    match (elapsed.as_secs_f64() * left as f64 / done.max(1) as f64).round() as u64 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
