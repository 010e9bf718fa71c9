//! Runs a compiled program: its memory, and the threads that share each run. What the numbers mean lives elsewhere.

mod memory;
mod threads;

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use windlass_compiler::codegen::{Program, Step};
use windlass_compiler::plan::{Slot, SlotKind};

use self::memory::Memory;
use self::threads::{Barrier, Threads};
use crate::error::Error;

/// What a slot of a program is bound to in one run.
#[derive(Debug)]
pub enum Binding<'a> {
    /// Floats that are only read.
    Floats(&'a [f32]),
    /// Integers that are only read.
    Integers(&'a [i32]),
    /// Floats that may be written.
    Written(&'a mut [f32]),
}

impl Binding<'_> {
    fn len(&self) -> usize {
        match self {
            Binding::Floats(elements) => elements.len(),
            Binding::Integers(elements) => elements.len(),
            Binding::Written(elements) => elements.len(),
        }
    }

    fn address(&mut self) -> *mut f32 {
        match self {
            // Kernels write only to slots that were checked to be bound to `Written`.
            Binding::Floats(elements) => elements.as_ptr().cast_mut(),
            Binding::Integers(elements) => elements.as_ptr().cast_mut().cast(),
            Binding::Written(elements) => elements.as_mut_ptr(),
        }
    }
}

/// Memory that one run needs to itself.
#[derive(Debug, Default)]
struct Workspace {
    batch: Memory,
    fixed: Memory,
    scratch: Memory,
}

/// What `prepare` computed, and from which version of the parameters.
#[derive(Debug)]
struct Prepared {
    memory: Memory,
    version: Option<u64>,
}

/// How long one step of a program took, over several runs.
#[derive(Clone, Debug, Default)]
pub struct StepTime {
    /// Time of all runs together.
    pub total: Duration,
    /// How many runs.
    pub runs: usize,
}

/// A program with its memory and threads. Runs of one executor from several threads are safe: each has memory of its
/// own, and those that share the executor's threads take turns.
#[derive(Debug)]
pub struct Executor {
    program: Program,
    threads: Option<Threads>,
    turn: Mutex<()>,
    workspaces: Mutex<Vec<Workspace>>,
    prepared: RwLock<Prepared>,
    writes_stored: bool,
}

impl Executor {
    /// Takes a program; starts its threads when it shares runs among several.
    ///
    /// # Errors
    /// [`Error::Threads`] when the system refuses to start them.
    pub fn new(program: Program) -> Result<Self, Error> {
        let threads = match program.plan().threads {
            1 => None,
            count => Some(Threads::new(count)?),
        };
        let mut memory = Memory::default();
        memory.reserve(program.plan().memory.prepared);
        for (buffer, values) in &program.plan().constants {
            memory.write(program.plan().prepared_offset(*buffer), values);
        }
        Ok(Executor {
            writes_stored: program.plan().writes_stored(),
            prepared: RwLock::new(Prepared { memory, version: None }),
            threads,
            turn: Mutex::new(()),
            workspaces: Mutex::new(Vec::new()),
            program,
        })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The slots to bind, in order.
    pub fn slots(&self) -> &[Slot] {
        &self.program.plan().slots
    }

    /// Runs the program once: one binding for each slot, in order. `version` tells versions of the parameters apart:
    /// what is computed from them alone is computed again when it changes.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`], and [`Error::Binding`] for a slot bound to another kind or number of elements.
    pub fn run(&self, bindings: &mut [Binding<'_>], batch: usize, version: u64) -> Result<(), Error> {
        self.run_observed(bindings, batch, version, None)
    }

    /// Runs the program once and adds each step's time to `times` (made as long as there are steps).
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn run_timed(
        &self,
        bindings: &mut [Binding<'_>],
        batch: usize,
        version: u64,
        times: &mut Vec<StepTime>,
    ) -> Result<(), Error> {
        times.resize(self.program.run_steps().len(), StepTime::default());
        self.run_observed(bindings, batch, version, Some(times))
    }

    fn run_observed(
        &self,
        bindings: &mut [Binding<'_>],
        batch: usize,
        version: u64,
        times: Option<&mut Vec<StepTime>>,
    ) -> Result<(), Error> {
        self.check(bindings, batch)?;
        let mut workspace = lock(&self.workspaces).pop().unwrap_or_default();
        let sizes = &self.program.plan().memory;
        workspace.batch.reserve(sizes.batch * batch);
        workspace.fixed.reserve(sizes.fixed);
        workspace.scratch.reserve(sizes.scratch * self.program.plan().threads);
        let mut table = vec![
            workspace.batch.address(),
            workspace.fixed.address(),
            std::ptr::null_mut(),
            workspace.scratch.address(),
        ];
        table.extend(bindings.iter_mut().map(Binding::address));
        if !self.program.prepare_steps().is_empty() {
            self.prepare(&mut table, batch, version);
        }
        let mut prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        while !self.program.prepare_steps().is_empty() && prepared.version != Some(version) {
            // Another run prepared another version in between.
            drop(prepared);
            self.prepare(&mut table, batch, version);
            prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        }
        table[2] = prepared.memory.address_shared();
        self.steps(self.program.run_steps(), &table, batch, times);
        drop(prepared);
        lock(&self.workspaces).push(workspace);
        Ok(())
    }

    fn prepare(&self, table: &mut [*mut f32], batch: usize, version: u64) {
        let mut prepared = self.prepared.write().unwrap_or_else(PoisonError::into_inner);
        if prepared.version != Some(version) {
            table[2] = prepared.memory.address();
            self.steps(self.program.prepare_steps(), table, batch, None);
            prepared.version = Some(version);
        }
    }

    fn check(&self, bindings: &[Binding<'_>], batch: usize) -> Result<(), Error> {
        if batch == 0 {
            return Err(Error::EmptyBatch { network: self.program.plan().name.clone() });
        }
        let slots = self.slots();
        if bindings.len() != slots.len() {
            return Err(Error::Binding {
                name: self.program.plan().name.clone(),
                expected: format!("{} bindings", slots.len()),
                got: format!("{}", bindings.len()),
            });
        }
        for (slot, binding) in slots.iter().zip(bindings) {
            let expected = slot.ty.shape.elements(batch);
            let is_written = match slot.kind {
                SlotKind::Output => true,
                SlotKind::Stored => self.writes_stored,
                SlotKind::Input => false,
            };
            let fits = match (binding, slot.ty.dtype) {
                (Binding::Integers(_), windlass_compiler::shape::DType::I32) => !is_written,
                (Binding::Floats(_), windlass_compiler::shape::DType::F32) => !is_written,
                (Binding::Written(_), windlass_compiler::shape::DType::F32) => true,
                _ => false,
            };
            if !fits || binding.len() != expected {
                return Err(Error::Binding {
                    name: slot.name.clone(),
                    expected: format!("{expected} elements of type {}", slot.ty.dtype),
                    got: format!("{} elements", binding.len()),
                });
            }
        }
        Ok(())
    }

    /// Runs steps one after the other, each on all threads.
    fn steps(&self, steps: &[Step], table: &[*mut f32], batch: usize, mut times: Option<&mut Vec<StepTime>>) {
        let count = self.program.plan().threads;
        let Some(threads) = &self.threads else {
            for (index, step) in steps.iter().enumerate() {
                let start = times.as_ref().map(|_| Instant::now());
                // SAFETY: `table` holds memory reserved for the plan's sizes at this batch size and bindings checked
                // against the plan's slots; all of it is this run's alone, but for what no kernel writes.
                unsafe { step.run(table.as_ptr(), batch, 0, 1) };
                note_time(times.as_deref_mut(), index, start);
            }
            return;
        };
        // Steps wait for each other within a run: two runs on the same threads would wait for ever.
        let turn = lock(&self.turn);
        let barrier = Barrier::new(count);
        let table = SharedTable(table.as_ptr());
        let times = Mutex::new(times);
        threads.each(|thread| {
            let table = &table;
            for (index, step) in steps.iter().enumerate() {
                let start = (thread == 0).then(Instant::now);
                // SAFETY: as above; threads work on disjoint shares of each step and on scratch of their own, and the
                // barrier keeps steps apart.
                unsafe { step.run(table.0, batch, thread, count) };
                barrier.wait();
                if thread == 0 {
                    note_time(lock(&times).as_deref_mut(), index, start);
                }
            }
        });
        drop(turn);
    }
}

/// The table of addresses, shared by the threads of one run.
struct SharedTable(*const *mut f32);

// SAFETY: threads only read the table; what it points to is divided among them by the steps.
unsafe impl Sync for SharedTable {}

fn note_time(times: Option<&mut Vec<StepTime>>, index: usize, start: Option<Instant>) {
    if let (Some(times), Some(start)) = (times, start) {
        times[index].total += start.elapsed();
        times[index].runs += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
