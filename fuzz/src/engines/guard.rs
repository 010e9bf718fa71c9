//! Runs programs in memory between guard pages: touching one element before or behind any slot or arena ends the process.
//!
//! This module does what the executor does, with other memory.

use region::{Allocation, Protection, page};
use thiserror::Error;
use windlass_compiler::codegen::{Program, Step};
use windlass_compiler::plan::{Plan, Slot};

/// Which end of the memory lies at a guard page; the other end has pages of its own before or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first element follows a page that cannot be touched.
    Start,
    /// A page that cannot be touched follows the last element.
    End,
}

/// Something was written where it must not be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("something was written {place}")]
pub struct Breach {
    /// Where: "outside `x`".
    pub place: String,
}

/// Places of arenas in the table.
const PREPARED: usize = 2;
const PREPARING: usize = 3;

/// What memory holds that nobody has written: a NaN that no computation gives.
const UNWRITTEN: u32 = 0xFFC0_BEEF;

/// Words in pages of their own, between two pages that cannot be touched.
struct Guarded {
    allocation: Allocation,
    /// The words of the pages that can be touched, as a range of the allocation.
    open: std::ops::Range<usize>,
    /// The words that belong to the buffer.
    own: std::ops::Range<usize>,
}

impl Guarded {
    fn new(words: usize, side: Side) -> Self {
        let page_words = page::size() / 4;
        let open_words = words.max(1).next_multiple_of(page_words);
        let mut allocation =
            region::alloc(4 * (open_words + 2 * page_words), Protection::READ_WRITE).unwrap();
        let open = page_words..page_words + open_words;
        let own = match side {
            Side::Start => open.start..open.start + words,
            Side::End => open.end - words..open.end,
        };
        let base = allocation.as_mut_ptr::<u32>();
        for word in open.clone() {
            // SAFETY: the word lies inside the allocation, which nothing else refers to yet.
            unsafe { base.add(word).write(UNWRITTEN) };
        }
        for guard in [0, open.end] {
            // SAFETY: the page lies inside the allocation and holds nothing; dropping the allocation unmaps it.
            unsafe { region::protect(base.add(guard), page::size(), Protection::NONE) }.unwrap();
        }
        Guarded { allocation, open, own }
    }

    fn address(&mut self) -> *mut f32 {
        // SAFETY: the buffer's first word lies inside the allocation.
        unsafe { self.allocation.as_mut_ptr::<f32>().add(self.own.start) }
    }

    fn write(&mut self, at: usize, words: &[u32]) {
        assert!(at + words.len() <= self.own.len());
        let start = self.own.start + at;
        for (index, &word) in words.iter().enumerate() {
            // SAFETY: checked above to lie inside the buffer.
            unsafe { self.allocation.as_mut_ptr::<u32>().add(start + index).write(word) };
        }
    }

    fn word(&self, word: usize) -> u32 {
        assert!(self.open.contains(&word));
        // SAFETY: checked above to lie in the pages that can be touched, all of which were written.
        unsafe { self.allocation.as_ptr::<u32>().add(word).read() }
    }

    fn words(&self) -> Vec<u32> {
        self.own.clone().map(|word| self.word(word)).collect()
    }

    /// Whether nobody has written between the buffer and its far guard page.
    fn is_sound(&self) -> bool {
        self.open.clone().filter(|word| !self.own.contains(word)).all(|word| self.word(word) == UNWRITTEN)
    }
}

/// Runs a program once on the words of its slots, and writes back what it leaves in them.
///
/// Memory holds NaN before the run, so that reading what nobody has written shows. The threads of each step run one
/// after the other, the last one first where `reversed`: a step in which one thread needs another's part shows too.
///
/// # Errors
/// A [`Breach`] when something was written between the memory and its far guard page.
///
/// # Panics
/// When the system has no memory left.
pub fn run_guarded(
    program: &Program,
    slots: &mut [(Slot, Vec<u32>)],
    batch: usize,
    side: Side,
    reversed: bool,
) -> Result<(), Breach> {
    let Plan { memory, threads, prepare, run, .. } = program.plan();
    let sizes =
        [memory.batch * batch, memory.fixed, memory.prepared, memory.preparing, memory.scratch * threads];
    let mut arenas = sizes.map(|words| Guarded::new(words, side));
    for (buffer, values) in &program.plan().constants {
        let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        arenas[PREPARED].write(program.plan().prepared_offset(*buffer), &words);
    }
    let mut bound: Vec<Guarded> = slots
        .iter()
        .map(|(_, words)| {
            let mut guarded = Guarded::new(words.len(), side);
            guarded.write(0, words);
            guarded
        })
        .collect();
    let table: Vec<*mut f32> = arenas.iter_mut().chain(&mut bound).map(Guarded::address).collect();
    let phases = [(program.prepare_steps(), prepare), (program.run_steps(), run)];
    for (phase, (steps, kernels)) in phases.into_iter().enumerate() {
        // Null, which ends the process too, for what this phase has no claim to.
        let mut table = table.clone();
        let needed = program.plan().slots_of(kernels);
        for slot in (0..slots.len()).filter(|slot| !needed.contains(slot)) {
            table[sizes.len() + slot] = std::ptr::null_mut();
        }
        if phase > 0 {
            table[PREPARING] = std::ptr::null_mut();
        }
        for step in steps {
            run_step(step, &table, batch, *threads, reversed);
        }
    }
    for ((slot, words), guarded) in slots.iter_mut().zip(&bound) {
        if !guarded.is_sound() {
            return Err(Breach { place: format!("outside `{}`", slot.name) });
        }
        *words = guarded.words();
    }
    let names = ["batch", "fixed", "prepared", "preparing", "scratch"];
    match arenas.iter().zip(names).find(|(arena, _)| !arena.is_sound()) {
        Some((_, name)) => Err(Breach { place: format!("outside the {name} arena") }),
        None => Ok(()),
    }
}

fn run_step(step: &Step, table: &[*mut f32], batch: usize, threads: usize, reversed: bool) {
    for turn in 0..threads {
        let thread = if reversed { threads - 1 - turn } else { turn };
        // SAFETY: the program outlives this call; the table holds memory of the plan's sizes at this batch size, which
        // this thread alone uses, and slots of the sizes the caller made for their types.
        unsafe { step.run(table.as_ptr(), batch, thread, threads) };
    }
}
