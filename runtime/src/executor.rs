//! Runs a compiled program: its memory, and the threads of each run.

mod binding;
mod memory;
mod parallel;
mod run;
mod threads;

use std::marker::PhantomData;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use windlass_compiler::abi::{self, entry};
use windlass_compiler::codegen::{Program, Step};
use windlass_compiler::plan::{Event, Slot, SlotKind};
use windlass_compiler::shape::{Sizes, Symbol};

use self::binding::Accepted;
pub use self::binding::Binding;
use self::memory::AlignedFloats;
use self::parallel::ParallelSteps;
pub use self::run::Run;
use self::run::in_words;
use self::threads::Threads;
use crate::error::Error;
use crate::parameters::Parameters;

/// The memory of one run, kept for later runs so that these need not allocate any.
#[derive(Debug, Default)]
struct Workspace {
    /// The arenas of open sizes.
    open: SmallVec<[AlignedFloats; 1]>,
    fixed: AlignedFloats,
    scratch: AlignedFloats,
    table: Table,
    /// The values of the plan's open sizes.
    values: Vec<usize>,
    /// Which steps run on several threads, if that depends on more than the batch.
    is_parallel: Vec<bool>,
}

/// The addresses passed to a kernel ([`abi`]). Null if nothing is bound.
#[derive(Debug, Default)]
struct Table(Vec<*mut f32>);

// SAFETY: the addresses are not used between runs, and each run writes all of them before its kernels read them.
unsafe impl Send for Table {}
// SAFETY: threads only read the table; the steps divide the memory it points to among them.
unsafe impl Sync for Table {}

/// The results of `prepack`, and the version of the parameters they were computed from.
#[derive(Debug)]
struct Prepacked {
    memory: AlignedFloats,
    version: Option<u64>,
}

/// A sequence of kernels: those of `prepack`, or those of every run.
#[derive(Debug)]
struct Phase {
    parallel: ParallelSteps,
    /// The slots that its kernels read or write; no others need to be bound.
    slots: Vec<usize>,
}

/// The time of one step of a program over several runs.
#[derive(Clone, Debug, Default)]
pub struct StepTime {
    /// The total time of all runs.
    pub total: Duration,
    /// The number of runs.
    pub runs: usize,
}

/// A program with its memory and threads. Several threads may run one executor at once: each run has its own memory. A run
/// divides its steps among the executor's threads while these are free and the runs in progress leave cores to them; otherwise
/// it computes on the thread that called it. Its bits do not depend on that.
#[derive(Debug)]
pub struct Executor {
    program: Program,
    threads: Option<Arc<Threads>>,
    accepted: Vec<Accepted>,
    /// The open sizes, to which every run gives values.
    symbols: Vec<Symbol>,
    prepack: Phase,
    run: Phase,
    workspaces: Mutex<Vec<Workspace>>,
    prepacked: RwLock<Prepacked>,
}

impl Executor {
    /// Takes a program, and starts threads if its runs use several.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system refuses to start them; [`Error::OutOfMemory`].
    pub fn new(program: Program) -> Result<Self, Error> {
        let threads = match program.plan().threads {
            1 => None,
            count => Some(Arc::new(Threads::new(count, cores())?)),
        };
        Self::on_threads(program, threads)
    }

    /// Takes another program. It uses the threads of this executor if it has the same thread count; otherwise it starts its own threads.
    ///
    /// # Errors
    /// As [`Executor::new`].
    pub fn beside(&self, program: Program) -> Result<Self, Error> {
        match program.plan().threads == self.program.plan().threads {
            true => Self::on_threads(program, self.threads.clone()),
            false => Self::new(program),
        }
    }

    fn on_threads(program: Program, threads: Option<Arc<Threads>>) -> Result<Self, Error> {
        let plan = program.plan();
        let mut memory = AlignedFloats::default();
        memory.reserve(plan.memory.prepacked, || format!("prepacking `{}`", plan.name))?;
        for (buffer, values) in &plan.constants {
            memory.write(plan.prepacked_offset(*buffer), values);
        }
        let writes_parameters = plan.writes_parameters();
        Ok(Executor {
            symbols: plan.sizes.symbols(),
            accepted: plan.slots.iter().map(|slot| Accepted::of(slot, writes_parameters)).collect(),
            prepack: Phase {
                parallel: ParallelSteps::of(program.prepack_steps(), &plan.sizes),
                slots: plan.slots_of(&plan.prepack),
            },
            run: Phase {
                parallel: ParallelSteps::of(program.run_steps(), &plan.sizes),
                slots: plan.slots_of(&plan.run),
            },
            prepacked: RwLock::new(Prepacked { memory, version: None }),
            threads,
            workspaces: Mutex::new(Vec::new()),
            program,
        })
    }

    /// The same executor, which divides every step among all threads, even if one thread would be faster: to test that
    /// the chunks add up.
    #[must_use]
    pub fn parallelize_every_step(mut self) -> Self {
        self.prepack.parallel = ParallelSteps::always(self.program.prepack_steps());
        self.run.parallel = ParallelSteps::always(self.program.run_steps());
        self
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The slots to bind, in order.
    pub fn slots(&self) -> &[Slot] {
        &self.program.plan().slots
    }

    /// The index of a slot in [`Executor::slots`].
    pub fn slot(&self, kind: SlotKind, name: &str) -> Option<usize> {
        self.slots().iter().position(|slot| slot.kind == kind && slot.name == name)
    }

    /// Runs the program once, with one binding for each slot, in order. `sizes` are the values of the open sizes; if
    /// only the batch is open, it is the number of samples. `version` identifies the values of the parameters: what
    /// depends only on them is recomputed when it changes.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`], [`Error::OpenSize`] for a size without a value, [`Error::Binding`] for a slot bound to
    /// the wrong type or number of elements, and [`Error::OutOfMemory`] for a batch that does not fit in memory.
    pub fn run(
        &self,
        bindings: &mut [Binding<'_>],
        sizes: impl Into<Sizes>,
        version: u64,
    ) -> Result<(), Error> {
        self.bound(bindings, sizes.into())?.execute(version)
    }

    /// Runs the program once and adds each step's time to `times`, which is resized to the number of steps.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn run_timed(
        &self,
        bindings: &mut [Binding<'_>],
        sizes: impl Into<Sizes>,
        version: u64,
        times: &mut Vec<StepTime>,
    ) -> Result<(), Error> {
        self.bound(bindings, sizes.into())?.execute_timed(version, times)
    }

    fn bound<'b>(&self, bindings: &'b mut [Binding<'_>], sizes: Sizes) -> Result<Run<'_, 'b>, Error> {
        let mut run = self.start(sizes)?;
        if bindings.len() != self.accepted.len() {
            return Err(Error::Binding {
                name: self.program.plan().name.clone(),
                expected: format!("{} bindings", self.accepted.len()),
                got: format!("{}", bindings.len()),
            });
        }
        for (slot, binding) in bindings.iter_mut().enumerate() {
            run.bind(slot, binding.reborrow())?;
        }
        Ok(run)
    }

    /// Starts a run with values of the open sizes, or for a batch of the given number of samples. Then its slots are
    /// bound one by one, and it is executed. It allocates no memory until everything is bound.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`], [`Error::OpenSize`].
    pub fn start<'b>(&self, sizes: impl Into<Sizes>) -> Result<Run<'_, 'b>, Error> {
        let sizes = sizes.into();
        let plan = self.program.plan();
        if sizes.batch() == 0 {
            return Err(Error::EmptyBatch { network: plan.name.clone() });
        }
        for &size in &self.symbols {
            if sizes.get(size).is_none_or(|value| value == 0) {
                return Err(Error::OpenSize { network: plan.name.clone(), size, value: sizes.get(size) });
            }
        }
        let mut workspace = lock(&self.workspaces).pop().unwrap_or_default();
        plan.sizes.values_into(&sizes, &mut workspace.values);
        let table = &mut workspace.table.0;
        table.clear();
        let entries = abi::table_entries(plan.memory.open.len(), plan.slots.len(), plan.windows.len());
        table.resize(entries, std::ptr::null_mut());
        Ok(Run { executor: self, workspace, sizes, bound: PhantomData })
    }

    /// The index of a slot in the table of addresses.
    fn entry_of(&self, slot: usize) -> usize {
        entry::slot(self.program.plan().memory.open.len(), slot)
    }

    /// Frees the memory that finished runs keep for later ones, which allocate it again. Active runs keep theirs.
    pub fn release_memory(&self) {
        // Taken out of the lock first, because freeing takes time.
        let idle = std::mem::take(&mut *lock(&self.workspaces));
        drop(idle);
    }

    /// The prepacked memory for these parameters.
    pub(crate) fn prepacked(&self, parameters: &Parameters) -> Result<Vec<f32>, Error> {
        let plan = self.program.plan();
        let sizes = self.symbols.iter().fold(Sizes::new(), |sizes, &size| sizes.with(size, 1));
        let mut run = self.start(sizes)?;
        for (index, slot) in plan.slots.iter().enumerate() {
            if slot.kind == SlotKind::Parameter
                && let Some(values) = parameters.read(&slot.name, index)
            {
                run.bind(index, values)?;
            }
        }
        run.prepack(parameters.version())?;
        let prepacked = self.prepacked.read().unwrap_or_else(PoisonError::into_inner);
        Ok(prepacked.memory.to_vec(plan.memory.prepacked))
    }

    /// Whether the results of `prepack` for a version exist.
    fn is_prepacked(&self, prepacked: &Prepacked, version: u64) -> bool {
        self.program.prepack_steps().is_empty() || prepacked.version == Some(version)
    }

    /// Computes what depends only on the parameters. The memory of intermediates is freed afterwards.
    fn prepack(&self, workspace: &mut Workspace, sizes: &Sizes, version: u64) -> Result<(), Error> {
        self.check_bound(&self.prepack, &workspace.table, sizes)?;
        let mut prepacked = self.prepacked.write().unwrap_or_else(PoisonError::into_inner);
        if !self.is_prepacked(&prepacked, version) {
            // After a panic in between, nothing counts as prepacked.
            prepacked.version = None;
            let mut prepacking = AlignedFloats::default();
            let plan = self.program.plan();
            prepacking.reserve(plan.memory.prepacking, || format!("prepacking `{}`", plan.name))?;
            workspace.table.0[entry::PREPACKING] = prepacking.address();
            workspace.table.0[entry::PREPACKED] = prepacked.memory.address();
            self.steps(self.program.prepack_steps(), &self.prepack.parallel, workspace, sizes, None, false);
            workspace.table.0[entry::PREPACKING] = std::ptr::null_mut();
            prepacked.version = Some(version);
        }
        Ok(())
    }

    /// Checks that every slot which the kernels of a phase read or write is bound.
    fn check_bound(&self, phase: &Phase, table: &Table, sizes: &Sizes) -> Result<(), Error> {
        match phase.slots.iter().find(|&&slot| table.0[self.entry_of(slot)].is_null()) {
            None => Ok(()),
            Some(&slot) => Err(Error::Binding {
                name: self.slots()[slot].name.clone(),
                expected: format!("memory for {}", in_words(sizes)),
                got: "none".to_owned(),
            }),
        }
    }

    /// Runs steps in sequence, each on all threads or on this one. The slots of their phase are bound.
    fn steps(
        &self,
        steps: &[Step],
        parallel: &ParallelSteps,
        workspace: &mut Workspace,
        sizes: &Sizes,
        mut times: Option<&mut [StepTime]>,
        has_loops: bool,
    ) {
        let count = self.program.plan().threads;
        let Workspace { ref mut table, ref values, ref mut is_parallel, .. } = *workspace;
        let is_parallel = parallel.decide(sizes, values, is_parallel);
        // Steps on this thread need no turn: the run owns its memory, including the scratch of all its threads.
        let running = self.threads.as_ref().map(|threads| threads.begin());
        // Taken before the first step that is shared, so that the workers wake meanwhile.
        let mut turn = running.as_ref().filter(|_| is_parallel.any()).and_then(|running| running.turn(None));
        let plan = self.program.plan();
        let mut happen = |event: Event| {
            let index = match event {
                Event::Kernel(index) => index,
                Event::Move { window, position } => {
                    plan.move_window(&mut table.0, window, position, values);
                    return;
                }
            };
            let (table, step) = (&*table, &steps[index]);
            let start = times.as_ref().map(|_| Instant::now());
            let part = |thread: usize, threads: usize| {
                // SAFETY: `table` holds memory reserved for the plan's sizes at these values of its open sizes, and
                // bindings checked against the plan's slots, for every arena and slot that the steps of this phase
                // access. Only this run accesses it, apart from memory that no kernel writes. Threads work on disjoint
                // chunks and on their own scratch, each thread only once at a time, and a step starts after the
                // previous one has ended on all threads.
                unsafe { step.run(table.0.as_ptr(), values, thread, threads) }
            };
            let is_shared = is_parallel.of_step(index);
            if is_shared && let Some(running) = &running {
                turn = running.turn(turn.take());
            }
            match &mut turn {
                Some(turn) if is_shared => turn.each(&|thread| part(thread, count)),
                _ if step.is_per_thread => (0..count).for_each(|thread| part(thread, count)),
                _ => part(0, 1),
            }
            if let (Some(times), Some(start)) = (times.as_deref_mut(), start) {
                times[index].total += start.elapsed();
                times[index].runs += 1;
            }
        };
        match has_loops {
            true => plan.walk(values, &mut happen),
            false => (0..steps.len()).for_each(|index| happen(Event::Kernel(index))),
        }
    }
}

/// The cores that runs share. On a machine with one, a single run may still use several threads.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).max(2)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
