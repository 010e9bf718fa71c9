//! The learning rate range test.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use windlass_compiler::setters;

use super::super::{Carried, Trainer};
use crate::data::Batches;
use crate::error::Error;
use crate::evaluation::maybe_finite;
use crate::metrics::Tallies;
use crate::network::AnyNetwork;

/// The weight of the mean before a loss in the smoothed losses.
const SMOOTHING: f64 = 0.95;

/// How [`Trainer::find_learning_rate`] searches.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RangeTest {
    /// The first rate; 1e-7 by default.
    pub from: f64,
    /// The last rate; 10 by default.
    pub to: f64,
    /// The number of steps; 100 by default.
    pub steps: u64,
    /// The search ends when the smoothed loss is this many times the least one; 4 by default.
    pub divergence: f64,
}

impl RangeTest {
    setters! {
        from: f64;
        to: f64;
        steps: u64;
        divergence: f64;
    }
}

impl Default for RangeTest {
    fn default() -> Self {
        RangeTest { from: 1e-7, to: 10.0, steps: 100, divergence: 4.0 }
    }
}

/// The loss at a learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatePoint {
    /// The learning rate of the step.
    pub rate: f64,
    /// Its loss.
    #[serde(with = "maybe_finite")]
    pub loss: f64,
    /// The mean of the losses so far, in which later ones weigh more.
    #[serde(with = "maybe_finite")]
    pub smoothed: f64,
}

/// The losses of a learning rate range test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateSearch {
    /// A point for each step, with ascending rates.
    pub points: Vec<RatePoint>,
}

impl RateSearch {
    /// The rate at which the smoothed loss falls most steeply, per factor of the rate; [`None`] if it never falls. It is
    /// a rate to train with, or the peak of one cycle.
    pub fn steepest(&self) -> Option<f64> {
        let slope = |points: &[RatePoint]| {
            let (first, last) = (&points[0], &points[2]);
            (last.smoothed - first.smoothed) / (last.rate / first.rate).ln()
        };
        let slopes = self.points.windows(3).map(|points| (slope(points), points[1].rate));
        let falling = slopes.filter(|(slope, _)| *slope < 0.0);
        falling.min_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, rate)| rate)
    }

    /// A tenth of the rate with the least smoothed loss: a careful choice.
    pub fn below_minimum(&self) -> Option<f64> {
        let finite = self.points.iter().filter(|point| point.smoothed.is_finite());
        let least = finite.min_by(|left, right| left.smoothed.total_cmp(&right.smoothed));
        least.map(|point| point.rate / 10.0)
    }
}

impl<N: AnyNetwork> Trainer<N> {
    /// Finds a learning rate by a range test (Smith 2017, arXiv:1506.01186): steps on the batches of `train`, with rates
    /// that grow by the same factor from step to step, until the loss diverges. Afterwards, parameters, optimiser and
    /// steps are as before.
    ///
    /// ```
    /// # use windlass::{Builder, Layer};
    /// use windlass::RangeTest;
    /// use windlass::data::TensorDataset;
    /// # use windlass::{Dynamic, Trainer, TrainerOptions};
    /// #
    /// # let mut builder = Builder::new("Larger");
    /// # let x = builder.input("point", &[2])?;
    /// # let y = builder.layer("f1", &Layer::linear(2), x)?;
    /// # builder.output("class", y)?;
    /// # let model = Dynamic::new(builder.finish()?)?.model(0)?;
    /// # let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    /// # let points: Vec<f32> = (0..400).map(|i| i as f32 * 0.618 % 1.0).collect();
    /// # let labels: Vec<i32> = points.chunks(2).map(|point| i32::from(point[0] > point[1])).collect();
    /// # let data = TensorDataset::new(points, labels)?;
    /// let search = trainer.find_learning_rate(&data.shuffled(32, 0)?, RangeTest::default())?;
    /// assert_eq!(trainer.steps(), 0);
    /// let rate = search.steepest().ok_or("the loss does not fall")?;
    /// trainer.set_learning_rate(rate)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for settings outside their range, or no batches; those of [`Trainer::step`], except that steps
    /// that diverge end the search.
    pub fn find_learning_rate<B: Batches>(
        &mut self,
        train: &B,
        options: RangeTest,
    ) -> Result<RateSearch, Error> {
        let RangeTest { from, to, steps, divergence } = options;
        for (setting, rate, least) in [("from", from, 0.0), ("to", to, from)] {
            if !(rate > least && (rate as f32).is_finite()) {
                let expected = if setting == "to" {
                    "above `from`, and finite as an f32"
                } else {
                    "above 0, and finite"
                };
                return Err(Error::setting(setting, rate, expected));
            }
        }
        if steps < 3 {
            return Err(Error::setting("steps", steps, "at least 3"));
        }
        if divergence.is_nan() || divergence <= 1.0 {
            return Err(Error::setting("divergence", divergence, "above 1"));
        }
        if train.count() == 0 {
            return Err(Error::setting("train", "without batches", "of one batch at least"));
        }
        let parameters = self.model.parameters().clone();
        let accumulated = self.accumulated;
        let before = (self.state.clone(), self.step, self.progress.clone(), self.carried.take());
        self.forget_gradients();
        // Sequences begin anew, and those of the training continue afterwards.
        self.carried = before.3.as_ref().map(Carried::fresh);
        let found = self.search(train, options);
        *self.model.parameters_mut() = parameters;
        (self.state, self.step, self.progress, self.carried) = before;
        self.accumulated = accumulated;
        found
    }

    fn search<B: Batches>(&mut self, train: &B, options: RangeTest) -> Result<RateSearch, Error> {
        let RangeTest { from, to, steps, divergence } = options;
        let growth = (to / from).powf(1.0 / (steps - 1) as f64);
        let (mut points, mut sum, mut least) = (Vec::new(), 0.0, f64::INFINITY);
        let (mut is_done, mut refused) = (false, None);
        self.progress.rate_factor = 1.0;
        for epoch in 0.. {
            self.reset_states();
            let before = points.len();
            train.visit(epoch, &mut |batch| {
                let rate = from * growth.powf(points.len() as f64);
                self.progress.rate = Some(rate);
                let loss = match self.fit_batch(batch, &mut Tallies::default()) {
                    Ok((report, _)) => f64::from(report.loss),
                    Err(Error::Diverged { .. } | Error::NonFiniteStep { .. }) => f64::NAN,
                    Err(error) => {
                        refused = Some(error);
                        return ControlFlow::Break(());
                    }
                };
                if loss.is_finite() {
                    sum = SMOOTHING * sum + (1.0 - SMOOTHING) * loss;
                    let smoothed = sum / (1.0 - SMOOTHING.powf((points.len() + 1) as f64));
                    points.push(RatePoint { rate, loss, smoothed });
                    least = least.min(smoothed);
                    is_done = smoothed > divergence * least;
                }
                is_done |= !loss.is_finite() || points.len() as u64 == steps;
                if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if let Some(error) = refused {
                return Err(error);
            }
            if is_done {
                break;
            }
            if points.len() == before {
                return Err(Error::setting("train", "without batches", "of one batch at least"));
            }
        }
        Ok(RateSearch { points })
    }
}
