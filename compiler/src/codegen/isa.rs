//! Cranelift's ISA settings for a target.

use cranelift_codegen::isa::{self, Builder, LookupError, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, Flags};
use target_lexicon::Triple;

use super::{CodegenError, avx};
use crate::plan::Features;
use crate::target::{Architecture, Target};

/// The compilers of functions.
pub(crate) struct Isas {
    /// Compiles loops, with Cranelift's optimiser.
    pub(crate) loops: OwnedTargetIsa,
    /// Compiles leaves in the emitted order: the optimiser would move their arithmetic after all their loads and run
    /// out of registers.
    pub(crate) leaves: OwnedTargetIsa,
    /// Whether there is a fused multiply-add instruction.
    pub(crate) fma: bool,
    /// The vector width of assembled leaves; `None` if Cranelift compiles all leaves.
    pub(crate) avx: Option<avx::Width>,
}

impl Isas {
    /// The compilers for a target. `verify` turns on Cranelift's verifier.
    ///
    /// # Errors
    /// [`CodegenError::Target`] for a target other than the running CPU, or one that Cranelift does not support.
    pub(crate) fn new(target: &Target, verify: bool) -> Result<Self, CodegenError> {
        if target.architecture != Architecture::HOST {
            let reason = format!("{:?} is not that of this machine", target.architecture);
            return Err(CodegenError::Target { reason });
        }
        Ok(Isas {
            loops: isa(native(target)?, verify, "speed", false)?,
            leaves: isa(native(target)?, verify, "none", false)?,
            fma: target.fma,
            avx: avx::Width::of(target.vectors),
        })
    }

    /// The compilers for object files, which run on every CPU of a platform that has the target's vectors.
    ///
    /// # Errors
    /// [`CodegenError::Target`] for a platform that Cranelift does not support.
    pub(crate) fn portable(target: &Target, triple: &Triple) -> Result<Self, CodegenError> {
        Ok(Isas {
            loops: isa(portable(target, triple)?, false, "speed", true)?,
            leaves: isa(portable(target, triple)?, false, "none", true)?,
            fma: target.fma,
            avx: avx::Width::of(target.vectors),
        })
    }
}

/// The CPU that a target is for: this one.
fn native(target: &Target) -> Result<Builder, CodegenError> {
    let native = target.features == Features::Native;
    cranelift_native::builder_with_options(native)
        .map_err(|reason| CodegenError::Target { reason: reason.to_owned() })
}

/// Every CPU of a platform that has the target's vectors.
fn portable(target: &Target, triple: &Triple) -> Result<Builder, CodegenError> {
    let failed = |reason: &dyn std::fmt::Display| CodegenError::Target { reason: reason.to_string() };
    let mut builder = isa::lookup(triple.clone()).map_err(|error| match error {
        LookupError::SupportDisabled => {
            failed(&"its code generator is not built in; switch the feature `arm64` of `windlass` on")
        }
        LookupError::Unsupported => failed(&error),
    })?;
    if target.architecture == Architecture::X86_64 && target.vectors.bits > 128 {
        for feature in ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_avx", "has_avx2", "has_fma"] {
            builder.enable(feature).map_err(|error| failed(&error))?;
        }
    }
    Ok(builder)
}

fn isa(builder: Builder, verify: bool, opt_level: &str, pic: bool) -> Result<OwnedTargetIsa, CodegenError> {
    let failed = |reason: &dyn std::fmt::Display| CodegenError::Target { reason: reason.to_string() };
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", opt_level),
        ("is_pic", if pic { "true" } else { "false" }),
        ("use_colocated_libcalls", "false"),
        ("enable_verifier", if verify { "true" } else { "false" }),
    ] {
        flags.set(name, value).map_err(|error| failed(&error))?;
    }
    builder.finish(Flags::new(flags)).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_refused() {
        let other = match Architecture::HOST {
            Architecture::Aarch64 => Target::x86_64(128),
            _ => Target::aarch64(),
        };
        assert!(matches!(Isas::new(&other, false), Err(CodegenError::Target { .. })));
    }

    /// A target's features agree with what Cranelift detects on the running CPU.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn fused_multiply_add_is_what_cranelift_finds() {
        use crate::plan::PlanOptions;

        for features in [Features::Native, Features::Baseline] {
            let options = PlanOptions::default().features(features);
            let isas =
                Isas::new(&Target::host(options.features, options.vector_bits).unwrap(), false).unwrap();
            let has = |flag: &settings::Value| flag.name == "has_fma" && flag.as_bool() == Some(true);
            assert_eq!(isas.fma, isas.loops.isa_flags().iter().any(has), "{features:?}");
        }
    }
}
