//! Runs compiled programs on the numbers of a test: through the executor, and between guard pages.

use std::collections::BTreeMap;

use windlass_compiler::codegen::Program;
use windlass_compiler::interp::Data;
use windlass_compiler::plan::{Slot, SlotKind};
use windlass_compiler::shape::DType;
use windlass_runtime::executor::{Binding, Executor};

use crate::guard::{Side, run_guarded};
use crate::numbers::Sources;

/// What every output, parameter and state holds after a run.
pub(crate) type Results = BTreeMap<String, Vec<f32>>;

/// The words each slot holds before a run; outputs hold NaN.
fn slot_words(slot: &Slot, batch: usize, sources: &Sources) -> Vec<u32> {
    match (slot.kind, sources.get(&slot.name).map(|array| &array.data)) {
        (SlotKind::Output, _) => vec![f32::NAN.to_bits(); slot.ty.shape.elements(batch)],
        (_, Some(Data::Real(values))) => values.iter().map(|&value| (value as f32).to_bits()).collect(),
        (_, Some(Data::Int(values))) => values.iter().map(|&value| value.cast_unsigned()).collect(),
        (_, None) => panic!("no value for {}", slot.name),
    }
}

fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}

/// Elements of a cache line.
const LINE: usize = 16;

/// Elements that start at a given place within a cache line.
struct Placed<T> {
    elements: Vec<T>,
    own: std::ops::Range<usize>,
}

impl<T: Copy + Default> Placed<T> {
    fn new(values: impl ExactSizeIterator<Item = T>, place: usize) -> Self {
        let count = values.len();
        let mut elements = vec![T::default(); count + 2 * LINE];
        let first = elements.as_ptr().align_offset(4 * LINE) + place % LINE;
        let own = first..first + count;
        elements[own.clone()].iter_mut().zip(values).for_each(|(element, value)| *element = value);
        Placed { elements, own }
    }

    fn own(&mut self) -> &mut [T] {
        &mut self.elements[self.own.clone()]
    }
}

/// Runs a program once through an executor.
pub(crate) fn run(executor: &Executor, batch: usize, sources: &Sources, version: u64) -> Results {
    run_at(executor, batch, sources, version, |_| 0)
}

/// The same with slots at given places within a cache line, in elements.
pub(crate) fn run_at(
    executor: &Executor,
    batch: usize,
    sources: &Sources,
    version: u64,
    place: impl Fn(usize) -> usize,
) -> Results {
    let slots = executor.slots();
    let mut values: Vec<(Placed<f32>, Placed<i32>)> = slots
        .iter()
        .enumerate()
        .map(|(index, slot)| {
            let words = slot_words(slot, batch, sources);
            let floats = words.iter().map(|&word| f32::from_bits(word));
            let integers = words.iter().map(|word| word.cast_signed());
            (Placed::new(floats, place(index)), Placed::new(integers, place(index)))
        })
        .collect();
    let mut bindings: Vec<Binding<'_>> = slots
        .iter()
        .zip(&mut values)
        .map(|(slot, (floats, integers))| match (slot.kind, slot.ty.dtype) {
            (SlotKind::Input, DType::I32) => Binding::Integers(integers.own()),
            (SlotKind::Input, DType::F32) => Binding::Floats(floats.own()),
            _ => Binding::Written(floats.own()),
        })
        .collect();
    executor.run(&mut bindings, batch, version).unwrap();
    drop(bindings);
    let written = slots.iter().zip(&mut values).filter(|(slot, _)| slot.kind != SlotKind::Input);
    written.map(|(slot, (floats, _))| (slot.name.clone(), floats.own().to_vec())).collect()
}

/// Runs a program once between guard pages; inputs must come out as they went in.
fn run_between_guards(
    program: &Program,
    batch: usize,
    sources: &Sources,
    updates: &dyn Fn(&str) -> bool,
    side: Side,
    reversed: bool,
) -> Results {
    let mut slots: Vec<(Slot, Vec<u32>)> =
        program.plan().slots.iter().map(|slot| (slot.clone(), slot_words(slot, batch, sources))).collect();
    run_guarded(program, &mut slots, updates, batch, side, reversed);
    let mut results = Results::new();
    for (slot, words) in slots {
        if slot.kind == SlotKind::Input {
            assert_eq!(words, slot_words(&slot, batch, sources), "the input `{}` was written", slot.name);
        } else {
            results.insert(slot.name, floats(&words));
        }
    }
    results
}

/// Runs a program in every way there is: twice through an executor with the same parameters, and between guard pages at
/// either end. All runs must give the same bits. `updates` says of a parameter or state whether a run gives it another value.
#[track_caller]
pub(crate) fn run_every_way(
    executor: &Executor,
    batch: usize,
    sources: &Sources,
    version: u64,
    updates: &dyn Fn(&str) -> bool,
    what: &str,
) -> Results {
    let results = run(executor, batch, sources, version);
    let same = |other: &Results| {
        results.iter().zip(other).all(|((name, values), (other_name, others))| {
            name == other_name && values.iter().map(|x| x.to_bits()).eq(others.iter().map(|x| x.to_bits()))
        })
    };
    assert!(same(&run(executor, batch, sources, version)), "{what}, batch {batch}: the second run differs");
    for (side, reversed) in [(Side::End, true), (Side::Start, false)] {
        let guarded = run_between_guards(executor.program(), batch, sources, updates, side, reversed);
        assert!(same(&guarded), "{what}, batch {batch}: the run between guard pages differs ({side:?})");
    }
    results
}
