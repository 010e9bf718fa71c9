//! Shows progress on the standard error: a bar on a terminal, and a line after each epoch.

#[cfg(feature = "progress")]
use std::time::{Duration, Instant};

#[cfg(feature = "progress")]
use indicatif::{ProgressBar, ProgressStyle};

use super::history::EpochReport;
use super::options::Progress;
use crate::evaluation::Mean;

/// The time between two changes of the bar's text.
#[cfg(feature = "progress")]
const PAUSE: Duration = Duration::from_millis(100);

/// Shows progress.
#[derive(Debug)]
pub(super) struct Reporter {
    progress: Progress,
    epochs: u64,
    #[cfg(feature = "progress")]
    bar: Option<Bar>,
}

/// A bar over the steps of an epoch.
#[cfg(feature = "progress")]
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    epoch: u64,
    shown: Instant,
}

impl Reporter {
    #[cfg_attr(not(feature = "progress"), expect(unused_variables, reason = "only a bar has a length"))]
    pub(super) fn new(progress: Progress, epochs: u64, steps: usize) -> Self {
        Reporter {
            progress,
            epochs,
            #[cfg(feature = "progress")]
            bar: Bar::new(progress, steps),
        }
    }

    /// Begins an epoch, counted from 1.
    #[cfg_attr(not(feature = "progress"), expect(unused_variables, reason = "only a bar shows it"))]
    pub(super) fn begin(&mut self, epoch: u64) {
        #[cfg(feature = "progress")]
        if let Some(bar) = &mut self.bar {
            bar.bar.reset();
            bar.epoch = epoch;
        }
    }

    /// Shows a step; `mean` is the loss of the epoch so far.
    #[cfg_attr(not(feature = "progress"), expect(unused_variables, reason = "only a bar shows steps"))]
    pub(super) fn step(&mut self, mean: &Mean) {
        #[cfg(feature = "progress")]
        if let Some(Bar { bar, epoch, shown }) = &mut self.bar {
            bar.inc(1);
            if shown.elapsed() >= PAUSE {
                *shown = Instant::now();
                let loss = mean.value().unwrap_or(f64::NAN);
                bar.set_message(format!("epoch {epoch:2}/{}: loss {loss:.4}", self.epochs));
            }
        }
    }

    /// Shows the results of an epoch.
    pub(super) fn epoch(&self, report: &EpochReport) {
        let line = || report.to_string().replacen(':', &format!("/{}:", self.epochs), 1);
        #[cfg(feature = "progress")]
        if let Some(Bar { bar, .. }) = &self.bar {
            bar.println(line());
            return;
        }
        if self.progress != Progress::Silent {
            eprintln!("{}", line());
        }
    }
}

#[cfg(feature = "progress")]
impl Bar {
    /// A bar, if it can be shown.
    fn new(progress: Progress, steps: usize) -> Option<Self> {
        if progress != Progress::Auto {
            return None;
        }
        let bar = ProgressBar::new(steps as u64);
        if bar.is_hidden() {
            return None;
        }
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left").ok()?;
        Some(Bar { bar: bar.with_style(style), epoch: 0, shown: Instant::now() })
    }
}

#[cfg(feature = "progress")]
impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
