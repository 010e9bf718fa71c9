//! The options of plans.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Costs, Layouts, PlanError};
use crate::target::{Features, TargetError, VECTOR_BITS};

/// How convolutions gather their patches (im2col).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Im2col {
    /// The patches of a few rows, in a panel of at most this many bytes (at least one row).
    Tiled {
        /// The maximum size of the panel.
        panel_bytes: usize,
    },
    /// The patches of a whole image at once.
    Whole,
}

/// Optimisations of plans that save memory and traffic. All are on by default; turning one off shows its benefit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Savings {
    /// Convolutions pool their results before they store them.
    pub fused_pools: bool,
    /// Kernels that sum a gradient perform the plain SGD update.
    pub fused_updates: bool,
    /// Operands of a concatenation of channels are computed as parts of its result.
    pub concat_in_place: bool,
    /// Element-wise results, and sums in epilogues, overwrite an operand that is not needed afterwards.
    pub overwritten_operands: bool,
}

impl Default for Savings {
    fn default() -> Self {
        Savings { fused_pools: true, fused_updates: true, concat_in_place: true, overwritten_operands: true }
    }
}

impl Savings {
    /// No optimisation.
    pub const NONE: Savings = Savings {
        fused_pools: false,
        fused_updates: false,
        concat_in_place: false,
        overwritten_operands: false,
    };

    crate::setters! {
        fused_pools: bool;
        fused_updates: bool;
        concat_in_place: bool;
        overwritten_operands: bool;
    }
}

/// How closely results must follow the sums as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Accuracy {
    /// Products may be computed with Winograd's algorithm. Results differ from the sums by at most 2·10⁻⁵ of the
    /// largest result of a layer; sums in any order differ by about 10⁻⁶. An infinity or NaN in an image makes the
    /// results around it NaN, including results whose windows do not contain it.
    #[default]
    Default,
    /// Every result is a sum of the products as written, in some order.
    Strict,
}

/// The convolution algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Convolution {
    /// The algorithm with the least measured time ([`PlanOptions::tuned`]); without measurements, the one with the
    /// least time according to the planner's model.
    #[default]
    ByCost,
    /// Direct convolution.
    Direct,
    /// Im2col and products for images in NCHW layout; direct convolution for others.
    Im2col,
    /// Winograd's algorithm with this many results along each axis, one of [`WINOGRAD_RESULTS`], wherever possible:
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

/// The numbers of results along each axis that have Winograd transforms, for [`Convolution::Winograd`].
pub const WINOGRAD_RESULTS: [usize; 2] = [2, 4];

/// The maximum number of threads of a run.
pub const MAX_THREADS: usize = 1024;

/// Options of plans and code generation. They affect results only by rounding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Threads that share each run; 1 runs serially.
    pub threads: usize,
    /// The batch size to optimise for: small batches are divided into finer work units. Any batch size may be run.
    /// `None` stands for 1, or for 8 if parameters are updated.
    #[serde(default)]
    pub batch: Option<usize>,
    /// Width of vectors in bits: 128, 256 (AVX2 and FMA) or 512 (AVX-512F); `None` selects the widest that this CPU
    /// supports.
    pub vector_bits: Option<usize>,
    /// The CPU features that code may use.
    pub features: Features,
    /// The layouts of images in memory.
    pub layouts: Layouts,
    /// How convolutions gather their patches, for images in NCHW layout.
    pub im2col: Im2col,
    /// The convolution algorithm.
    pub convolution: Convolution,
    /// Optimisations that may be turned off.
    #[serde(default)]
    pub savings: Savings,
    /// How closely results must follow the sums as written.
    pub accuracy: Accuracy,
    /// The costs of operations on a core.
    #[serde(default)]
    pub costs: Costs,
    /// The measured convolution algorithms, by [`tuning_key`](super::tuning_key).
    #[serde(default)]
    pub tuned: BTreeMap<String, Convolution>,
    /// Whether Cranelift verifies its input.
    pub verify_code: bool,
    /// Whether to prove for every kernel that no thread reads or writes memory that another thread writes. A failure is
    /// a bug in Windlass. The proof takes about as long as planning, and is on by default if debug assertions are.
    #[serde(default)]
    pub verify_races: bool,
}

impl PlanOptions {
    crate::setters! {
        threads: usize;
        batch: impl Into<Option<usize>> = batch.into();
        vector_bits: impl Into<Option<usize>> = vector_bits.into();
        features: Features;
        layouts: Layouts;
        im2col: Im2col;
        convolution: Convolution;
        savings: Savings;
        accuracy: Accuracy;
        costs: Costs;
        tuned: BTreeMap<String, Convolution>;
        verify_code: bool;
        verify_races: bool;
    }

    /// Checks that every setting is in its range. It does not check whether this CPU supports the vector width.
    ///
    /// # Errors
    /// [`PlanError::Setting`], and [`TargetError::VectorWidth`] for an unsupported vector width.
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
            savings: Savings::default(),
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
            let error = refused(PlanOptions::default().threads(threads));
            assert!(matches!(error, PlanError::Setting { setting: "threads", .. }), "{error}");
        }
        for bits in [0, 31, 64, 192, 1024, usize::MAX] {
            let error = refused(PlanOptions::default().vector_bits(bits));
            assert_eq!(error, PlanError::Target(TargetError::VectorWidth { bits }));
        }
        for results in [0, 3, 7, usize::MAX] {
            let convolution = Convolution::Winograd(results);
            let error = refused(PlanOptions::default().convolution(convolution));
            assert!(matches!(error, PlanError::Setting { setting: "convolution.winograd", .. }), "{error}");
        }
        // Plans for vectors that this CPU may not support.
        for bits in VECTOR_BITS {
            plan(&network(), &PlanOptions::default(), &Target::x86_64(bits)).unwrap();
        }
    }
}
