//! Means over batches, and numbers that may not be finite in files.

/// A mean of the mean losses of batches, weighted by their samples.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    sum: f64,
    examples: u64,
}

impl Mean {
    pub(crate) fn add(&mut self, loss: f32, examples: usize) {
        self.sum += f64::from(loss) * examples as f64;
        self.examples += examples as u64;
    }

    pub(crate) fn value(&self) -> Option<f64> {
        (self.examples > 0).then(|| self.sum / self.examples as f64)
    }

    pub(crate) fn examples(&self) -> u64 {
        self.examples
    }
}

/// JSON has no NaN and no infinity: both are null, which is read as NaN.
pub(crate) mod maybe_finite {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}
