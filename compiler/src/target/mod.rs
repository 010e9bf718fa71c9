//! The target of compilation, as a value. It is looked up once and passed to the planner and the code generator;
//! neither queries the CPU.

pub(crate) mod registers;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use registers::{TileRegisters, VectorUnit};

/// The instructions code may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Features {
    /// Everything the running CPU has.
    #[default]
    Native,
    /// Only what every CPU of the architecture has (on x86-64: SSE2, no fused multiply-add).
    Baseline,
}

/// Supported vector widths in bits: 128 everywhere, the others on x86-64 CPUs that have them.
pub const VECTOR_BITS: [usize; 3] = [128, 256, 512];

/// The widths of [`VECTOR_BITS`] that this CPU supports, in ascending order.
///
/// ```
/// assert_eq!(windlass::available_vector_bits()[0], 128);
/// ```
pub fn available_vector_bits() -> Vec<usize> {
    VECTOR_BITS.into_iter().filter(|&bits| missing(bits).is_none()).collect()
}

/// A family of instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// Any other that the code generator supports.
    Other,
}

impl Architecture {
    /// The architecture of the running CPU.
    pub const HOST: Architecture = if cfg!(target_arch = "x86_64") {
        Architecture::X86_64
    } else if cfg!(target_arch = "aarch64") {
        Architecture::Aarch64
    } else {
        Architecture::Other
    };
}

/// What a program is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The instruction set.
    pub architecture: Architecture,
    /// The vector unit.
    pub vectors: VectorUnit,
    /// Whether there is a fused multiply-add instruction, which rounds once.
    pub fma: bool,
    /// The other instructions that code may use.
    pub features: Features,
}

/// Why the requested target is not available.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// An unsupported vector width.
    #[error(
        "there is no code for vectors of {bits} bits; leave `vector_bits` unset or use one of {VECTOR_BITS:?}"
    )]
    VectorWidth {
        /// The requested width.
        bits: usize,
    },
    /// A vector width that this CPU lacks.
    #[error(
        "this CPU has no vectors of {bits} bits (they need {needs}); leave `vector_bits` unset to get {widest}"
    )]
    MissingVectors {
        /// The requested width.
        bits: usize,
        /// The instructions that the width needs.
        needs: &'static str,
        /// The widest width available.
        widest: usize,
    },
    /// Wide vectors together with baseline instructions only.
    #[error(
        "every CPU has vectors of 128 bits only: `features` must be `Native` for a `vector_bits` of {bits}"
    )]
    BaselineVectors {
        /// The requested width.
        bits: usize,
    },
}

impl Target {
    /// The running CPU, with these instructions and a vector width in bits; by default the widest one.
    ///
    /// ```
    /// use windlass_compiler::target::{Features, Target};
    /// assert_eq!(Target::host(Features::Native, Some(128))?.vectors.lanes(), 4);
    /// # Ok::<(), windlass_compiler::target::TargetError>(())
    /// ```
    ///
    /// # Errors
    /// [`TargetError`] for an unsupported vector width, or one that the CPU or the requested features lack.
    pub fn host(features: Features, vector_bits: Option<usize>) -> Result<Target, TargetError> {
        let widest = available_vector_bits().last().copied().unwrap_or(128);
        let bits = match (vector_bits, features) {
            (Some(bits), _) if !VECTOR_BITS.contains(&bits) => {
                return Err(TargetError::VectorWidth { bits });
            }
            (Some(bits), features) => match missing(bits) {
                Some(needs) => return Err(TargetError::MissingVectors { bits, needs, widest }),
                None if bits > 128 && features == Features::Baseline => {
                    return Err(TargetError::BaselineVectors { bits });
                }
                None => bits,
            },
            (None, Features::Baseline) => 128,
            (None, Features::Native) => widest,
        };
        let architecture = Architecture::HOST;
        Ok(match architecture {
            Architecture::X86_64 => {
                let fma = features == Features::Native && has_fma();
                Target { architecture, vectors: VectorUnit::x86_64(bits), fma, features }
            }
            Architecture::Aarch64 => Target { features, ..Target::aarch64() },
            Architecture::Other => {
                Target { architecture, vectors: VectorUnit::x86_64(128), fma: false, features }
            }
        })
    }

    /// An x86-64 CPU with a vector width from [`VECTOR_BITS`]: for plans that must not depend on the host CPU.
    pub const fn x86_64(bits: usize) -> Target {
        Target {
            architecture: Architecture::X86_64,
            vectors: VectorUnit::x86_64(bits),
            fma: bits > 128,
            features: Features::Native,
        }
    }

    /// A 64-bit ARM CPU.
    pub const fn aarch64() -> Target {
        Target {
            architecture: Architecture::Aarch64,
            vectors: VectorUnit::aarch64(),
            fma: true,
            features: Features::Native,
        }
    }
}

/// The CPU feature that a width needs and this CPU lacks.
#[cfg(target_arch = "x86_64")]
fn missing(bits: usize) -> Option<&'static str> {
    let fma = is_x86_feature_detected!("avx2") && has_fma();
    match bits {
        256 if !fma => Some("AVX2 and FMA"),
        512 if !fma || !is_x86_feature_detected!("avx512f") => Some("AVX-512F"),
        _ => None,
    }
}

/// The CPU feature that a width needs and this CPU lacks.
#[cfg(not(target_arch = "x86_64"))]
fn missing(bits: usize) -> Option<&'static str> {
    (bits > 128).then_some("AVX2 or AVX-512F")
}

#[cfg(target_arch = "x86_64")]
fn has_fma() -> bool {
    is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_fma() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_what_is_asked_for_or_says_what_is_missing() {
        let of = |vector_bits, features| Target::host(features, vector_bits);
        assert_eq!(of(Some(100), Features::Native), Err(TargetError::VectorWidth { bits: 100 }));
        let widest = of(None, Features::Native).unwrap();
        assert_eq!(Some(widest.vectors.bits), available_vector_bits().last().copied());
        let baseline = of(None, Features::Baseline).unwrap();
        assert_eq!((baseline.vectors.bits, baseline.architecture), (128, Architecture::HOST));
        assert!(!baseline.fma || Architecture::HOST == Architecture::Aarch64);
        for bits in VECTOR_BITS {
            let target = of(Some(bits), Features::Native);
            match available_vector_bits().contains(&bits) {
                true => assert_eq!(target.unwrap().vectors.bits, bits),
                false => assert!(matches!(target, Err(TargetError::MissingVectors { .. }))),
            }
        }
    }
}
