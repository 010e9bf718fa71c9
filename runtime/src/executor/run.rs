//! One run of a program: its bindings and its memory.

use std::marker::PhantomData;
use std::sync::PoisonError;

use smallvec::SmallVec;
use windlass_compiler::abi::entry;
use windlass_compiler::shape::Sizes;

use super::binding::{Accepted, Binding};
use super::memory::{AlignedFloats, reserve};
use super::{Executor, StepTime, Workspace, lock};
use crate::error::Error;

/// A started run: its slots are bound in any order before it is executed.
///
/// ```
/// use windlass::{Binding, Builder, CompileOptions, Layer};
/// use windlass_compiler::dump::Dump;
/// use windlass_compiler::pass::Mode;
/// use windlass_compiler::pipeline::compile;
/// use windlass_runtime::executor::Executor;
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("r1", &Layer::Relu, x)?;
/// builder.output("y", y)?;
/// let (program, _) = compile(&builder.finish()?, Mode::Inference, &CompileOptions::default(), &Dump::none())?;
/// let executor = Executor::new(program)?;
/// let (x, mut y) = ([1.0, -1.0, 2.0, -2.0], [0.0; 4]);
/// let mut run = executor.start(1)?;
/// run.bind(0, Binding::Floats(&x))?;
/// run.bind(1, Binding::Written(&mut y))?;
/// run.execute(0)?;
/// assert_eq!(y, [1.0, 0.0, 2.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Run<'e, 'b> {
    pub(super) executor: &'e Executor,
    pub(super) workspace: Workspace,
    pub(super) sizes: Sizes,
    pub(super) bound: PhantomData<&'b mut [f32]>,
}

impl<'b> Run<'_, 'b> {
    /// Binds a slot, by its index in [`Executor::slots`], until the run ends.
    ///
    /// # Errors
    /// [`Error::Binding`] for the wrong type or number of elements, or a slot that does not exist.
    pub fn bind(&mut self, slot: usize, binding: Binding<'b>) -> Result<(), Error> {
        match self.executor.accepted.get(slot) {
            Some(accepted) if accepted.fits(&binding, &self.workspace.values) => {
                self.workspace.table.0[self.executor.entry_of(slot)] = binding.address();
                Ok(())
            }
            accepted => Err(self.misfit(slot, accepted, &binding)),
        }
    }

    #[cold]
    fn misfit(&self, slot: usize, accepted: Option<&Accepted>, binding: &Binding<'_>) -> Error {
        let got = format!("{} elements", binding.len());
        match accepted {
            Some(accepted) => Error::Binding {
                name: self.executor.slots()[slot].name.clone(),
                expected: match accepted.size.at(&self.workspace.values) {
                    Some(elements) => format!("{elements} elements of type {}", accepted.dtype),
                    None => format!("more elements than can be counted, for {}", in_words(&self.sizes)),
                },
                got,
            },
            None => Error::Binding {
                name: self.executor.program.plan().name.clone(),
                expected: format!("{} bindings", self.executor.accepted.len()),
                got: format!("one for slot {slot}"),
            },
        }
    }

    /// Reserves the memory of the kernels. Everything is bound by then, so the batch is no larger than its inputs.
    fn reserve(&mut self) -> Result<(), Error> {
        let Run { executor, ref mut workspace, ref sizes, .. } = *self;
        let plan = executor.program.plan();
        workspace.open.resize_with(plan.memory.open.len(), AlignedFloats::default);
        let open = workspace.open.iter_mut().zip(plan.memory.open_words(&workspace.values));
        let others = [
            (&mut workspace.fixed, plan.memory.fixed),
            (&mut workspace.scratch, plan.memory.scratch.saturating_mul(plan.threads)),
        ];
        let memories: SmallVec<[_; 16]> = open.chain(others).collect();
        reserve(memories, || format!("a run of `{}` on {}", plan.name, in_words(sizes)))?;
        let table = &mut workspace.table.0;
        for (arena, memory) in workspace.open.iter_mut().enumerate() {
            table[entry::arena(arena)] = memory.address();
        }
        table[entry::FIXED] = workspace.fixed.address();
        table[entry::SCRATCH] = workspace.scratch.address();
        Ok(())
    }

    /// Computes only what depends on the parameters, unless it exists for this version. This needs the slots that it is
    /// computed from; a run with the same version then needs only those that its own kernels read or write.
    ///
    /// # Errors
    /// [`Error::Binding`] if a needed slot is not bound.
    pub fn prepack(mut self, version: u64) -> Result<(), Error> {
        self.executor.check_bound(&self.executor.prepack, &self.workspace.table, &self.sizes)?;
        self.reserve()?;
        self.executor.prepack(&mut self.workspace, &self.sizes, version)
    }

    /// Runs the program; `version` as for [`Executor::run`].
    ///
    /// # Errors
    /// [`Error::Binding`] if a needed slot is not bound: one that `run` reads or writes, or one that `prepack` reads,
    /// unless its results exist for this version. [`Error::OutOfMemory`] for a batch that does not fit in memory.
    pub fn execute(self, version: u64) -> Result<(), Error> {
        self.execute_observed(version, None)
    }

    /// Runs the program and adds each step's time to `times`, which is resized to the number of steps.
    ///
    /// # Errors
    /// As [`Run::execute`].
    pub fn execute_timed(self, version: u64, times: &mut Vec<StepTime>) -> Result<(), Error> {
        times.resize(self.executor.program.run_steps().len(), StepTime::default());
        self.execute_observed(version, Some(times))
    }

    fn execute_observed(mut self, version: u64, times: Option<&mut [StepTime]>) -> Result<(), Error> {
        self.executor.check_bound(&self.executor.run, &self.workspace.table, &self.sizes)?;
        self.reserve()?;
        let Run { executor, ref mut workspace, ref sizes, .. } = self;
        let mut prepacked = executor.prepacked.read().unwrap_or_else(PoisonError::into_inner);
        while !executor.is_prepacked(&prepacked, version) {
            // Retries if another run prepacked another version in between.
            drop(prepacked);
            executor.prepack(workspace, sizes, version)?;
            prepacked = executor.prepacked.read().unwrap_or_else(PoisonError::into_inner);
        }
        workspace.table.0[entry::PREPACKED] = prepacked.memory.address_shared();
        executor.steps(executor.program.run_steps(), &executor.run.parallel, workspace, sizes, times, true);
        Ok(())
    }
}

impl Drop for Run<'_, '_> {
    fn drop(&mut self) {
        lock(&self.executor.workspaces).push(std::mem::take(&mut self.workspace));
    }
}

/// The sizes of a run in words: `a batch of 64`, followed by other open sizes.
pub(super) fn in_words(sizes: &Sizes) -> String {
    let others: String =
        sizes.iter().skip(1).map(|(size, value)| format!(" with {size} = {value}")).collect();
    format!("a batch of {}{others}", sizes.batch())
}
