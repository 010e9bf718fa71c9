//! How a program is to be compiled.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Costs, Layouts, PlanError};
use crate::target::{Features, TargetError, VECTOR_BITS};

/// How convolutions get their patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Im2col {
    /// The patches of a few rows at a time, in a panel of at most so many bytes (one row at least).
    Tiled {
        /// Bound on the panel.
        panel_bytes: usize,
    },
    /// The patches of a whole image at once.
    Whole,
}

/// How closely results must follow the sums as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accuracy {
    /// Products may be made by Winograd's method: results differ from the sums by at most 2·10⁻⁵ of the largest result of
    /// a layer, where those of a sum in any order differ by about 10⁻⁶. An infinity or NaN in an image makes the results
    /// about it NaN, also such as do not meet it.
    #[default]
    Default,
    /// Every result is a sum of the products as written, in some order.
    Strict,
}

/// The algorithm of convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Convolution {
    /// The one that was measured to take the least time ([`PlanOptions::tuned`]); where none was, the one that takes the
    /// least by the planner's model.
    #[default]
    ByCost,
    /// Direct convolution.
    Direct,
    /// On images with their channels first, products on gathered patches; direct convolution on others.
    Im2col,
    /// Winograd's method with so many results along each axis, one of [`WINOGRAD_RESULTS`], wherever it is possible:
    /// windows of 3×3 and 5×5 at stride 1.
    Winograd(usize),
}

impl fmt::Display for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Convolution::ByCost => f.write_str("by cost"),
            Convolution::Direct => f.write_str("direct"),
            Convolution::Im2col => f.write_str("im2col"),
            Convolution::Winograd(results) => write!(f, "Winograd {results}x{results}"),
        }
    }
}

/// Results along each axis that there are Winograd transforms for: what [`Convolution::Winograd`] may ask for.
pub const WINOGRAD_RESULTS: [usize; 2] = [2, 4];

/// The maximum number of threads of a run.
pub const MAX_THREADS: usize = 1024;

/// How plans are made and code is generated. Options affect results only by rounding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlanOptions {
    /// Threads that share each run; 1 is truly serial.
    pub threads: usize,
    /// Items of the batch that the plan is to be quick for: work on single items is divided more finely than work on many.
    /// Any number may be run. `None` stands for 1, and for 8 where parameters are updated.
    #[serde(default)]
    pub batch: Option<usize>,
    /// Width of vectors in bits: 128, 256 (AVX2 and FMA) or 512 (AVX-512F); `None` takes the widest this CPU has.
    pub vector_bits: Option<usize>,
    /// The instructions code may use.
    pub features: Features,
    /// The order of images in memory.
    pub layouts: Layouts,
    /// How convolutions get their patches, on images with their channels first.
    pub im2col: Im2col,
    /// The algorithm of convolutions.
    pub convolution: Convolution,
    /// How closely results must follow the sums as written.
    pub accuracy: Accuracy,
    /// What a core takes for what.
    #[serde(default)]
    pub costs: Costs,
    /// The algorithms of convolutions that were measured, by [`tuning_key`](super::tuning_key).
    #[serde(default)]
    pub tuned: BTreeMap<String, Convolution>,
    /// Whether Cranelift checks the code it is given.
    pub verify_code: bool,
    /// Whether it is proved of every kernel that what one thread writes no other reads or writes. A failure is a fault of
    /// Windlass; the proof takes about as long as planning. By default where debug assertions are on.
    #[serde(default)]
    pub verify_races: bool,
}

impl PlanOptions {
    /// Checks that every setting is in its range. Whether this CPU has the vectors asked for is not a question of plans.
    ///
    /// # Errors
    /// [`PlanError::Setting`], and [`TargetError::VectorWidth`] for a width of vectors there is no code for.
    pub fn check(&self) -> Result<(), PlanError> {
        let refuse = |setting, value, expected| Err(PlanError::Setting { setting, value, expected });
        if !(1..=MAX_THREADS).contains(&self.threads) {
            return refuse("threads", self.threads, "between 1 and 1024");
        }
        if let Some(batch) = self.batch.filter(|batch| !(1..=1 << 20).contains(batch)) {
            return refuse("batch", batch, "between 1 and 1048576");
        }
        if let Some(bits) = self.vector_bits.filter(|bits| !VECTOR_BITS.contains(bits)) {
            return Err(TargetError::VectorWidth { bits }.into());
        }
        match self.convolution {
            Convolution::Winograd(results) if !WINOGRAD_RESULTS.contains(&results) => {
                refuse("convolution.winograd", results, "2 or 4")
            }
            Convolution::ByCost | Convolution::Direct | Convolution::Im2col | Convolution::Winograd(_) => {
                Ok(())
            }
        }
    }
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions {
            threads: 1,
            batch: None,
            vector_bits: None,
            features: Features::Native,
            layouts: Layouts::ByChannels,
            im2col: Im2col::Tiled { panel_bytes: 64 * 1024 },
            convolution: Convolution::ByCost,
            accuracy: Accuracy::Default,
            costs: Costs::default(),
            tuned: BTreeMap::new(),
            verify_code: cfg!(debug_assertions),
            verify_races: cfg!(debug_assertions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Graph, Layer};
    use crate::ops::window::Window;
    use crate::plan::plan;
    use crate::target::Target;

    fn network() -> Graph {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &[8, 6, 6]).unwrap();
        let y = builder.layer("c1", &Layer::conv(8, Window::square(3, 1, 1)), x).unwrap();
        builder.output("y", y).unwrap();
        builder.finish().unwrap()
    }

    #[test]
    fn settings_out_of_range_are_errors_wherever_plans_are_made() {
        let refused = |options: PlanOptions| plan(&network(), &options, &Target::x86_64(128)).unwrap_err();
        for threads in [0, MAX_THREADS + 1, usize::MAX] {
            let error = refused(PlanOptions { threads, ..PlanOptions::default() });
            assert!(matches!(error, PlanError::Setting { setting: "threads", .. }), "{error}");
        }
        for bits in [0, 31, 64, 192, 1024, usize::MAX] {
            let error = refused(PlanOptions { vector_bits: Some(bits), ..PlanOptions::default() });
            assert_eq!(error, PlanError::Target(TargetError::VectorWidth { bits }));
        }
        for results in [0, 3, 7, usize::MAX] {
            let convolution = Convolution::Winograd(results);
            let error = refused(PlanOptions { convolution, ..PlanOptions::default() });
            assert!(matches!(error, PlanError::Setting { setting: "convolution.winograd", .. }), "{error}");
        }
        // Plans for vectors that this CPU may not have.
        for bits in VECTOR_BITS {
            plan(&network(), &PlanOptions::default(), &Target::x86_64(bits)).unwrap();
        }
    }
}
