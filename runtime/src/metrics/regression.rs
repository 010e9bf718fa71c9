//! Errors of predicted numbers: mean squared and absolute errors, and the coefficient of determination.

use crate::error::Error;

/// Mean squared error, mean absolute error and the coefficient of determination R², over all predicted numbers.
///
/// ```
/// use windlass::metrics::RegressionErrors;
/// let mut errors = RegressionErrors::default();
/// errors.record(&[2.5, 0.0, 2.0, 8.0], &[3.0, -0.5, 2.0, 7.0])?;
/// assert_eq!(errors.mean_squared(), Some(0.375));
/// assert_eq!(errors.mean_absolute(), Some(0.5));
/// assert!((errors.r_squared().unwrap() - 0.948608).abs() < 1e-6);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RegressionErrors {
    count: u64,
    squares: f64,
    absolutes: f64,
    /// The mean of the targets, and the sum of their squared deviations from it (Welford 1962).
    mean: f64,
    deviations: f64,
}

impl RegressionErrors {
    /// Adds predictions and as many targets.
    ///
    /// # Errors
    /// [`Error::Count`] if the numbers differ; nothing is added then.
    pub fn record(&mut self, predictions: &[f32], targets: &[f32]) -> Result<(), Error> {
        if predictions.len() != targets.len() {
            let expected = format!("{} targets", targets.len());
            return Err(Error::Count { what: "predictions", got: predictions.len(), expected });
        }
        for (&prediction, &target) in predictions.iter().zip(targets) {
            let (error, target) = (f64::from(prediction) - f64::from(target), f64::from(target));
            self.count += 1;
            self.squares += error * error;
            self.absolutes += error.abs();
            let deviation = target - self.mean;
            self.mean += deviation / self.count as f64;
            self.deviations += deviation * (target - self.mean);
        }
        Ok(())
    }

    /// The mean squared error; `None` without numbers.
    pub fn mean_squared(&self) -> Option<f64> {
        (self.count > 0).then(|| self.squares / self.count as f64)
    }

    /// The mean absolute error; `None` without numbers.
    pub fn mean_absolute(&self) -> Option<f64> {
        (self.count > 0).then(|| self.absolutes / self.count as f64)
    }

    /// R²: 1 minus the sum of squared errors over that of predicting the mean of all targets. 1 is perfect, and 0 no better
    /// than the mean. `None` if all targets are equal.
    pub fn r_squared(&self) -> Option<f64> {
        (self.deviations > 0.0).then(|| 1.0 - self.squares / self.deviations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_add_up_and_large_means_do_not_cancel() {
        let targets: Vec<f32> = (0..100).map(|index| 10_000.0 + (index % 7) as f32).collect();
        let predictions: Vec<f32> = targets.iter().map(|target| target + 0.5).collect();
        let (mut whole, mut parts) = (RegressionErrors::default(), RegressionErrors::default());
        whole.record(&predictions, &targets).unwrap();
        for (predictions, targets) in predictions.chunks(9).zip(targets.chunks(9)) {
            parts.record(predictions, targets).unwrap();
        }
        assert_eq!(whole, parts);
        let mean = targets.iter().map(|t| f64::from(*t)).sum::<f64>() / 100.0;
        let total: f64 = targets.iter().map(|t| (f64::from(*t) - mean).powi(2)).sum();
        assert!((whole.r_squared().unwrap() - (1.0 - 25.0 / total)).abs() < 1e-9);
        assert!(whole.clone().record(&[1.0], &[]).is_err());
    }

    #[test]
    fn without_numbers_or_deviation_there_is_none() {
        let mut errors = RegressionErrors::default();
        assert_eq!((errors.mean_squared(), errors.mean_absolute(), errors.r_squared()), (None, None, None));
        errors.record(&[1.0, 2.0], &[3.0, 3.0]).unwrap();
        assert_eq!((errors.mean_squared(), errors.r_squared()), (Some(2.5), None));
    }
}
