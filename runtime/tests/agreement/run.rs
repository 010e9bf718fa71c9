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

/// Runs a program once through an executor.
pub(crate) fn run(executor: &Executor, batch: usize, sources: &Sources, version: u64) -> Results {
    let slots = executor.slots();
    let mut values: Vec<(Vec<f32>, Vec<i32>)> = slots
        .iter()
        .map(|slot| {
            let words = slot_words(slot, batch, sources);
            (floats(&words), words.iter().map(|word| word.cast_signed()).collect())
        })
        .collect();
    let mut bindings: Vec<Binding<'_>> = slots
        .iter()
        .zip(&mut values)
        .map(|(slot, (floats, integers))| match (slot.kind, slot.ty.dtype) {
            (SlotKind::Input, DType::I32) => Binding::Integers(integers),
            (SlotKind::Input, DType::F32) => Binding::Floats(floats),
            _ => Binding::Written(floats),
        })
        .collect();
    executor.run(&mut bindings, batch, version).unwrap();
    drop(bindings);
    let written = slots.iter().zip(values).filter(|(slot, _)| slot.kind != SlotKind::Input);
    written.map(|(slot, (floats, _))| (slot.name.clone(), floats)).collect()
}

/// Runs a program once between guard pages; inputs must come out as they went in.
fn run_between_guards(
    program: &Program,
    batch: usize,
    sources: &Sources,
    side: Side,
    reversed: bool,
) -> Results {
    let mut slots: Vec<(Slot, Vec<u32>)> =
        program.plan().slots.iter().map(|slot| (slot.clone(), slot_words(slot, batch, sources))).collect();
    run_guarded(program, &mut slots, batch, side, reversed);
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
/// either end. All runs must give the same bits.
#[track_caller]
pub(crate) fn run_every_way(
    executor: &Executor,
    batch: usize,
    sources: &Sources,
    version: u64,
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
        let guarded = run_between_guards(executor.program(), batch, sources, side, reversed);
        assert!(same(&guarded), "{what}, batch {batch}: the run between guard pages differs ({side:?})");
    }
    results
}
