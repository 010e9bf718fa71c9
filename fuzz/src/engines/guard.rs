//! Runs programs in memory between guard pages: accessing an element before or after any slot, any arena or the scratch
//! of any thread ends the process, and so does writing to read-only memory.
//!
//! This module works like the executor, with other memory.

use region::{Allocation, Protection, page};
use thiserror::Error;
use windlass_compiler::abi::entry::{self, FIXED, PREPACKED, PREPACKING, SCRATCH};
use windlass_compiler::abi::{scratch_start, table_entries};
use windlass_compiler::codegen::Program;
use windlass_compiler::plan::{Event, Plan, Slot};
use windlass_compiler::shape::Sizes;

/// Which end of the memory is next to a guard page; at the other end, there is room for detecting writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first element follows an inaccessible page.
    Start,
    /// An inaccessible page follows the last element.
    End,
}

/// A write to memory that must not be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("something was written {place}")]
pub struct Breach {
    /// The location: "outside `x`".
    pub place: String,
}

/// The contents of unwritten memory: a NaN that no computation gives.
const UNWRITTEN: u32 = 0xFFC0_BEEF;

/// Words on their own pages, between two inaccessible pages.
struct Guarded {
    allocation: Allocation,
    /// The words of the accessible pages, as a range of the allocation.
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
            // SAFETY: the word is inside the allocation, to which there are no other references yet.
            unsafe { base.add(word).write(UNWRITTEN) };
        }
        for guard in [0, open.end] {
            // SAFETY: the page is inside the allocation and unused; dropping the allocation unmaps it.
            unsafe { region::protect(base.add(guard), page::size(), Protection::NONE) }.unwrap();
        }
        Guarded { allocation, open, own }
    }

    fn address(&mut self) -> *mut f32 {
        // SAFETY: the buffer's first word is inside the allocation.
        unsafe { self.allocation.as_mut_ptr::<f32>().add(self.own.start) }
    }

    /// Makes all pages except the guards read-only, or writable.
    fn protect(&mut self, protection: Protection) {
        let words = self.open.len();
        // SAFETY: the pages are inside the allocation, and there are no references to them now.
        unsafe {
            let first = self.allocation.as_ptr::<u32>().add(self.open.start);
            region::protect(first, 4 * words, protection)
        }
        .unwrap();
    }

    fn write(&mut self, at: usize, words: &[u32]) {
        assert!(at + words.len() <= self.own.len());
        let start = self.own.start + at;
        for (index, &word) in words.iter().enumerate() {
            // SAFETY: checked above to be inside the buffer.
            unsafe { self.allocation.as_mut_ptr::<u32>().add(start + index).write(word) };
        }
    }

    fn word(&self, word: usize) -> u32 {
        assert!(self.open.contains(&word));
        // SAFETY: checked above to be in the accessible pages, all of which were written.
        unsafe { self.allocation.as_ptr::<u32>().add(word).read() }
    }

    fn words(&self) -> Vec<u32> {
        self.own.clone().map(|word| self.word(word)).collect()
    }

    /// Whether the words between the buffer and its far guard page are unchanged.
    fn is_sound(&self) -> bool {
        self.open.clone().filter(|word| !self.own.contains(word)).all(|word| self.word(word) == UNWRITTEN)
    }
}

/// Runs a program once on the words of its slots, and writes the results back to them.
///
/// Memory holds NaN before the run, to detect reads of unwritten memory. The threads of each step run in sequence, in
/// reverse order if `reversed`, to detect steps in which one thread needs another's results.
///
/// # Errors
/// A [`Breach`] if something was written between the memory and its far guard page.
///
/// # Panics
/// If the system has no memory left.
pub fn run_guarded(
    program: &Program,
    slots: &mut [(Slot, Vec<u32>)],
    sizes: impl Into<Sizes>,
    side: Side,
    reversed: bool,
) -> Result<(), Breach> {
    let plan = program.plan();
    let Plan { memory, threads, prepack, run, windows, .. } = plan;
    let mut values = Vec::new();
    program.plan().sizes.values_into(&sizes.into(), &mut values);
    let words = [memory.fixed, memory.prepacked, memory.prepacking];
    let mut arenas = words.map(|words| Guarded::new(words, side));
    let mut open: Vec<Guarded> = memory.open_words(&values).map(|words| Guarded::new(words, side)).collect();
    let mut scratch: Vec<Guarded> = (0..*threads).map(|_| Guarded::new(memory.scratch, side)).collect();
    for (buffer, values) in &program.plan().constants {
        let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        arenas[PREPACKED].write(program.plan().prepacked_offset(*buffer), &words);
    }
    let mut bound: Vec<Guarded> = slots
        .iter()
        .map(|(_, words)| {
            let mut guarded = Guarded::new(words.len(), side);
            guarded.write(0, words);
            guarded
        })
        .collect();
    for prepacking in [true, false] {
        let (steps, kernels) =
            if prepacking { (program.prepack_steps(), prepack) } else { (program.run_steps(), run) };
        // Null, which also ends the process, for memory that this phase must not use.
        let mut table = vec![std::ptr::null_mut(); table_entries(open.len(), slots.len(), windows.len())];
        let arenas_of_phase: &[usize] =
            if prepacking { &[PREPACKED, PREPACKING] } else { &[FIXED, PREPACKED] };
        for &place in arenas_of_phase {
            table[place] = arenas[place].address();
        }
        for (place, arena) in open.iter_mut().enumerate().filter(|_| !prepacking) {
            table[entry::arena(place)] = arena.address();
        }
        if !prepacking {
            arenas[PREPACKED].protect(Protection::READ);
        }
        let written = program.plan().slots_written(kernels);
        for slot in program.plan().slots_of(kernels) {
            let is_written = written.contains(&slot);
            bound[slot].protect(if is_written { Protection::READ_WRITE } else { Protection::READ });
            table[entry::slot(open.len(), slot)] = bound[slot].address();
        }
        let mut run = |event| match event {
            Event::Kernel(index) => {
                for turn in 0..*threads {
                    let thread = if reversed { threads - 1 - turn } else { turn };
                    // Each thread's scratch follows that of the previous threads: here it is a separate allocation.
                    table[SCRATCH] =
                        scratch[thread].address().wrapping_sub(scratch_start(memory.scratch, thread));
                    // SAFETY: the program outlives this call; the table holds memory of the plan's sizes at these values,
                    // which only this thread uses, and slots of the sizes the caller made for their types.
                    unsafe { steps[index].run(table.as_ptr(), &values, thread, *threads) };
                }
            }
            Event::Move { window, position } => {
                plan.move_window(&mut table, window, position, &values);
            }
        };
        match prepacking {
            true => (0..steps.len()).for_each(|step| run(Event::Kernel(step))),
            false => plan.walk(&values, &mut run),
        }
    }
    for ((slot, words), guarded) in slots.iter_mut().zip(&bound) {
        if !guarded.is_sound() {
            return Err(Breach { place: format!("outside `{}`", slot.name) });
        }
        *words = guarded.words();
    }
    let of_arenas = arenas.iter().zip(["fixed", "prepacked", "prepacking"]);
    let of_open = open.iter().map(|arena| (arena, "open"));
    let of_threads = scratch.iter().map(|scratch| (scratch, "scratch"));
    match of_arenas.chain(of_open).chain(of_threads).find(|(arena, _)| !arena.is_sound()) {
        Some((_, name)) => Err(Breach { place: format!("outside the {name} arena") }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use region::Protection;

    use super::{Guarded, Side};

    /// The word to access, in the process that ends by it.
    const TOUCHED: &str = "WINDLASS_TOUCHED";

    /// Accesses forbidden memory, if the environment requests it.
    #[test]
    fn touch() {
        let Ok(touched) = std::env::var(TOUCHED) else { return };
        let (side, word, writes) = match touched.as_str() {
            "before" => (Side::Start, -1, false),
            "behind" => (Side::End, 10, false),
            "read-only" => (Side::Start, 0, true),
            "read" => (Side::Start, 0, false),
            other => panic!("there is nothing called {other} to touch"),
        };
        let mut guarded = Guarded::new(10, side);
        guarded.protect(Protection::READ);
        let place = guarded.address().wrapping_offset(word);
        // SAFETY: this memory belongs to nobody else, and accessing the guard pages ends the process.
        unsafe {
            match writes {
                true => place.write_volatile(1.0),
                false => drop(place.read_volatile()),
            }
        }
    }

    #[test]
    fn touching_what_is_guarded_ends_the_process() {
        let touch = |touched: &str| {
            let mut process = std::process::Command::new(std::env::current_exe().unwrap());
            let outcome = process
                .args(["--exact", "engines::guard::tests::touch"])
                .env(TOUCHED, touched)
                .output()
                .unwrap();
            outcome.status.code()
        };
        assert_eq!(touch("read"), Some(0));
        for touched in ["before", "behind", "read-only"] {
            // Ended by a signal, which has no exit code, or on other systems with a code that no test uses.
            let code = touch(touched);
            assert!(!matches!(code, Some(0 | 1 | 101)), "{touched}: {code:?}");
        }
    }
}
