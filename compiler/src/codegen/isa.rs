//! The instruction sets code is generated for, and the errors of asking for what is not there.

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable, Flags};

use super::CodegenError;
use crate::plan::{Features, PlanOptions};

/// Widths of vectors, in bits, that there is code for.
pub const VECTOR_BITS: [usize; 1] = [128];

/// What code is generated for.
pub(crate) struct Target {
    /// Compiles loops: with Cranelift's optimiser.
    pub(crate) loops: OwnedTargetIsa,
    /// Compiles leaves: in the order written, since the optimiser would move their arithmetic behind all their loads
    /// and so run out of registers.
    pub(crate) leaves: OwnedTargetIsa,
    /// Whether fused multiply-add is one instruction.
    pub(crate) fma: bool,
}

impl Target {
    pub(crate) fn new(options: &PlanOptions) -> Result<Self, CodegenError> {
        if let Some(bits) = options.vector_bits
            && !VECTOR_BITS.contains(&bits)
        {
            return Err(CodegenError::VectorWidth { bits });
        }
        let loops = isa(options, "speed")?;
        let leaves = isa(options, "none")?;
        let fma = match loops.triple().architecture {
            target_lexicon::Architecture::X86_64 => {
                loops.isa_flags().iter().any(|flag| flag.name == "has_fma" && flag.as_bool() == Some(true))
            }
            target_lexicon::Architecture::Aarch64(_) => true,
            _ => false,
        };
        Ok(Target { loops, leaves, fma })
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
