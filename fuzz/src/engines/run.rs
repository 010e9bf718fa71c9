//! Runs compiled programs on the values of a case, through the executor and between guard pages, and evaluates plans.

use std::collections::BTreeMap;

use windlass_compiler::codegen::Program;
use windlass_compiler::interp::{Bindings, Data};
use windlass_compiler::plan::{EvaluatePlanError, Plan, Slot, SlotKind};
use windlass_compiler::shape::{DType, Sizes};
use windlass_runtime::executor::{Binding, Executor};

use super::guard::{Breach, Side, run_guarded};

/// The contents of every output, parameter and state after a run.
pub type Results = BTreeMap<String, Vec<f32>>;

/// The words of each slot before a run; outputs hold NaN.
fn slot_words(slot: &Slot, sizes: &Sizes, sources: &Bindings<f64>) -> Vec<u32> {
    match (slot.kind, sources.get(&slot.name).map(|array| &array.data)) {
        (SlotKind::Output, _) => vec![f32::NAN.to_bits(); slot.ty.shape.elements(sizes)],
        (_, Some(Data::Real(values))) => values.iter().map(|&value| (value as f32).to_bits()).collect(),
        (_, Some(Data::Int(values))) => values.iter().map(|&value| value.cast_unsigned()).collect(),
        (_, None) => panic!("no value for {}", slot.name),
    }
}

fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}

/// Lines of 64 bytes, whose address is a multiple of 64.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Elements whose first is at a given offset in words from a multiple of 64 bytes.
struct Elements {
    lines: Vec<Line>,
    first: usize,
    count: usize,
}

impl Elements {
    fn new(words: &[u32], misaligned: usize) -> Self {
        let mut lines = vec![Line([0.0; 16]); (words.len() + misaligned).div_ceil(16)];
        let places = lines.iter_mut().flat_map(|line| &mut line.0).skip(misaligned);
        for (place, &word) in places.zip(words) {
            *place = f32::from_bits(word);
        }
        Elements { lines, first: misaligned, count: words.len() }
    }

    fn as_mut(&mut self) -> &mut [f32] {
        let (first, count) = (self.first, self.count);
        // SAFETY: a `Line` is sixteen floats without padding, so the lines are a slice of sixteen times as many floats.
        let all = unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<f32>(), 16 * self.lines.len())
        };
        &mut all[first..first + count]
    }

    fn as_integers(&mut self) -> &[i32] {
        let floats = self.as_mut();
        // SAFETY: an `i32` has the size and alignment of an `f32`, and every bit pattern is valid.
        unsafe { std::slice::from_raw_parts(floats.as_ptr().cast::<i32>(), floats.len()) }
    }
}

/// Runs a program once through an executor. `misaligned` gives the offset of each slot's memory from a multiple of 64
/// bytes, in words.
///
/// # Panics
/// If a slot has no value, or if the executor refuses a binding.
pub fn run(
    executor: &Executor,
    sizes: &Sizes,
    sources: &Bindings<f64>,
    version: u64,
    misaligned: impl Fn(usize) -> usize,
) -> Results {
    let slots = executor.slots();
    let words: Vec<Vec<u32>> = slots.iter().map(|slot| slot_words(slot, sizes, sources)).collect();
    let mut values: Vec<Elements> =
        words.iter().enumerate().map(|(slot, words)| Elements::new(words, misaligned(slot))).collect();
    let mut bindings: Vec<Binding<'_>> = slots
        .iter()
        .zip(&mut values)
        .map(|(slot, elements)| match (slot.kind, slot.ty.dtype) {
            (SlotKind::Input, DType::I32) => Binding::Integers(elements.as_integers()),
            (SlotKind::Input, DType::F32) => Binding::Floats(elements.as_mut()),
            _ => Binding::Written(elements.as_mut()),
        })
        .collect();
    executor.run(&mut bindings, sizes, version).expect("the bindings are made for the slots");
    drop(bindings);
    let written = slots.iter().zip(&mut values).filter(|(slot, _)| slot.kind != SlotKind::Input);
    written.map(|(slot, elements)| (slot.name.clone(), elements.as_mut().to_vec())).collect()
}

/// Runs a program once between guard pages.
///
/// # Errors
/// A [`Breach`] if something was written outside its memory, or an input was written.
///
/// # Panics
/// If a slot has no value.
pub fn run_between_guards(
    program: &Program,
    sizes: &Sizes,
    sources: &Bindings<f64>,
    side: Side,
    reversed: bool,
) -> Result<Results, Breach> {
    let mut slots: Vec<(Slot, Vec<u32>)> =
        program.plan().slots.iter().map(|slot| (slot.clone(), slot_words(slot, sizes, sources))).collect();
    run_guarded(program, &mut slots, sizes, side, reversed)?;
    let mut results = Results::new();
    for (slot, words) in slots {
        if slot.kind != SlotKind::Input {
            results.insert(slot.name, floats(&words));
        } else if words != slot_words(&slot, sizes, sources) {
            return Err(Breach { place: format!("to the input `{}`", slot.name) });
        }
    }
    Ok(results)
}

/// Evaluates a plan once, without code.
///
/// # Errors
/// The [`EvaluatePlanError`] of a kernel that accesses memory which it must not use.
///
/// # Panics
/// If a slot has no value.
pub fn evaluate(plan: &Plan, sizes: &Sizes, sources: &Bindings<f64>) -> Result<Results, EvaluatePlanError> {
    let mut words: Vec<Vec<u32>> = plan.slots.iter().map(|slot| slot_words(slot, sizes, sources)).collect();
    plan.evaluate(sizes, &mut words)?;
    let written = plan.slots.iter().zip(&words).filter(|(slot, _)| slot.kind != SlotKind::Input);
    Ok(written.map(|(slot, words)| (slot.name.clone(), floats(words))).collect())
}

/// Whether two runs gave the same bits.
pub fn same_bits(results: &Results, others: &Results) -> bool {
    results.iter().zip(others).all(|((name, values), (other_name, others))| {
        name == other_name && values.iter().map(|x| x.to_bits()).eq(others.iter().map(|x| x.to_bits()))
    })
}
