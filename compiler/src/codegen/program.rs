//! A program: the compiled kernels of a plan, and their memory.

use super::isa::Isas;
use super::jit::{self, Callable, Loaded};
use super::memory::Code;
use super::{CodegenError, Step, perf_map};
use crate::kernel::Kernel;
use crate::plan::Plan;

/// The text of the compiled code.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Cranelift's IR of each function. Comments before a kernel list its leaves that fall back to Cranelift.
    pub clif: Vec<(String, String)>,
    /// Machine code of each function.
    pub machine: Vec<(String, String)>,
}

/// The compiled kernels of a plan.
///
/// Several programs can exist at once, and one program can run on several threads at once. Dropping it frees its code.
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    prepack: Vec<Step>,
    run: Vec<Step>,
    /// Bytes of machine code.
    pub code_bytes: usize,
    #[expect(dead_code, reason = "keeps the code where it is as long as the steps that point into it")]
    code: Option<Code>,
}

impl Program {
    /// Compiles a plan, and on request records the compiled code or its names for `perf`. The plan must come from
    /// [`plan`](crate::plan::plan): running a program trusts its sizes and addresses. `verify` turns on Cranelift's
    /// verifier.
    ///
    /// # Errors
    /// [`CodegenError`] for an unsupported target.
    pub(crate) fn compile(
        plan: Plan,
        verify: bool,
        listing: Option<&mut Listing>,
        names_for_perf: bool,
    ) -> Result<Program, CodegenError> {
        let isas = Isas::new(&plan.target, verify)?;
        let Loaded { prepack, run, symbols, code } = jit::load(&plan, &isas, listing)?;
        if names_for_perf {
            perf_map::write(&plan.name, &symbols);
        }
        let steps = |callables: Vec<Callable>, kernels: &[Kernel]| {
            callables
                .into_iter()
                .zip(kernels)
                .map(|(callable, kernel)| Step::new(kernel, &plan, callable))
                .collect()
        };
        let (prepack, run) = (steps(prepack, &plan.prepack), steps(run, &plan.run));
        let code_bytes = symbols.iter().map(|symbol| symbol.bytes).sum();
        Ok(Program { plan, prepack, run, code_bytes, code })
    }

    /// The plan it was compiled from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Kernels to run when parameters have changed.
    pub fn prepack_steps(&self) -> &[Step] {
        &self.prepack
    }

    /// Kernels to run for every batch.
    pub fn run_steps(&self) -> &[Step] {
        &self.run
    }
}
