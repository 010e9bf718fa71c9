//! The instruction sets code is generated for, and the errors of asking for what is not there.

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable, Flags};

use super::{CodegenError, wide};
use crate::plan::{Features, PlanOptions};

/// Widths of vectors, in bits, that there is code for: 128 everywhere, the others on x86-64 CPUs that have them.
pub const VECTOR_BITS: [usize; 3] = [128, 256, 512];

/// The widths of vectors, in bits, that this CPU has among [`VECTOR_BITS`], the narrowest first.
///
/// ```
/// assert_eq!(windlass_compiler::codegen::available_vector_bits()[0], 128);
/// ```
pub fn available_vector_bits() -> Vec<usize> {
    VECTOR_BITS.into_iter().filter(|&bits| missing(bits).is_none()).collect()
}

/// The widest vectors code may use by default.
pub(crate) fn widest(features: Features) -> usize {
    match features {
        Features::Baseline => 128,
        Features::Native => available_vector_bits().last().copied().unwrap_or(128),
    }
}

/// What this CPU lacks for a width.
#[cfg(target_arch = "x86_64")]
fn missing(bits: usize) -> Option<&'static str> {
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    match bits {
        256 if !fma => Some("AVX2 and FMA"),
        512 if !fma || !is_x86_feature_detected!("avx512f") => Some("AVX-512F"),
        _ => None,
    }
}

/// What this CPU lacks for a width.
#[cfg(not(target_arch = "x86_64"))]
fn missing(bits: usize) -> Option<&'static str> {
    (bits > 128).then_some("AVX2 or AVX-512F")
}

/// Checks that this CPU has the vectors asked for, in options that passed [`PlanOptions::check`].
///
/// # Errors
/// [`CodegenError::MissingVectors`] and [`CodegenError::BaselineVectors`].
pub(crate) fn check_vectors(options: &PlanOptions) -> Result<(), CodegenError> {
    let Some(bits) = options.vector_bits else { return Ok(()) };
    if let Some(needs) = missing(bits) {
        return Err(CodegenError::MissingVectors { bits, needs, widest: widest(Features::Native) });
    }
    if bits > 128 && options.features == Features::Baseline {
        return Err(CodegenError::BaselineVectors { bits });
    }
    Ok(())
}

/// What code is generated for.
pub(crate) struct Target {
    /// Compiles loops: with Cranelift's optimiser.
    pub(crate) loops: OwnedTargetIsa,
    /// Compiles leaves: in the order written, since the optimiser would move their arithmetic behind all their loads
    /// and so run out of registers.
    pub(crate) leaves: OwnedTargetIsa,
    /// Whether fused multiply-add is one instruction.
    pub(crate) fma: bool,
    /// The width of assembled leaves; `None` leaves them all to Cranelift.
    pub(crate) wide: Option<wide::Width>,
}

impl Target {
    pub(crate) fn new(options: &PlanOptions) -> Result<Self, CodegenError> {
        check_vectors(options)?;
        let loops = isa(options, "speed")?;
        let leaves = isa(options, "none")?;
        let fma = match loops.triple().architecture {
            target_lexicon::Architecture::X86_64 => {
                loops.isa_flags().iter().any(|flag| flag.name == "has_fma" && flag.as_bool() == Some(true))
            }
            target_lexicon::Architecture::Aarch64(_) => true,
            _ => false,
        };
        let wide = match options.vectors().lanes {
            8 => Some(wide::Width::Bits256),
            16 => Some(wide::Width::Bits512),
            _ => None,
        };
        Ok(Target { loops, leaves, fma, wide })
    }
}

fn isa(options: &PlanOptions, opt_level: &str) -> Result<OwnedTargetIsa, CodegenError> {
    let target = |reason: &dyn std::fmt::Display| CodegenError::Target { reason: reason.to_string() };
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", opt_level),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("enable_verifier", if options.verify_code { "true" } else { "false" }),
    ] {
        flags.set(name, value).map_err(|error| target(&error))?;
    }
    let native = options.features == Features::Native;
    let builder = cranelift_native::builder_with_options(native).map_err(|error| target(&error))?;
    builder.finish(Flags::new(flags)).map_err(|error| target(&error))
}
