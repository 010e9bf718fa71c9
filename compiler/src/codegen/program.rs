//! A program: the compiled kernels of a plan, in memory that is freed with it.

use super::isa::Isas;
use super::jit::{self, Callable, Loaded};
use super::memory::Code;
use super::{CodegenError, Step, perf_map};
use crate::kernel::Kernel;
use crate::plan::Plan;

/// The text of what was compiled, for those who want to look.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Cranelift's intermediate form of each function, with what of a kernel is narrow in comments before it.
    pub clif: Vec<(String, String)>,
    /// Machine code of each function.
    pub machine: Vec<(String, String)>,
}

/// The compiled kernels of a plan.
///
/// Several programs may live at once, and one may run on several threads at once; its code is freed when it is dropped.
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    prepare: Vec<Step>,
    run: Vec<Step>,
    /// Bytes of machine code.
    pub code_bytes: usize,
    #[expect(dead_code, reason = "keeps the code where it is as long as the steps that point into it")]
    code: Option<Code>,
}

impl Program {
    /// Compiles a plan, and writes down what was compiled, or its names for `perf`, when asked to. Only for plans as [`plan`](crate::plan::plan)
    /// made them: running a program trusts their sizes and places. `verify` lets Cranelift check what it is
    /// given.
    ///
    /// # Errors
    /// [`CodegenError`] for a target there is no code for.
    pub(crate) fn compile(
        plan: Plan,
        verify: bool,
        listing: Option<&mut Listing>,
        names_for_perf: bool,
    ) -> Result<Program, CodegenError> {
        let isas = Isas::new(&plan.target, verify)?;
        let Loaded { prepare, run, symbols, code } = jit::load(&plan, &isas, listing)?;
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
        let (prepare, run) = (steps(prepare, &plan.prepare), steps(run, &plan.run));
        let code_bytes = symbols.iter().map(|symbol| symbol.bytes).sum();
        Ok(Program { plan, prepare, run, code_bytes, code })
    }

    /// The plan it was compiled from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Kernels to run when parameters have changed.
    pub fn prepare_steps(&self) -> &[Step] {
        &self.prepare
    }

    /// Kernels to run for every batch.
    pub fn run_steps(&self) -> &[Step] {
        &self.run
    }
}
