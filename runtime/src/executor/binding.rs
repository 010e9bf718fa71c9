//! Bindings of a program's slots, and their checks.

use windlass_compiler::plan::{Size, Slot, SlotKind};
use windlass_compiler::shape::DType;

/// The memory that a slot of a program is bound to in one run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Binding<'a> {
    /// Read-only floats.
    Floats(&'a [f32]),
    /// Read-only integers.
    Integers(&'a [i32]),
    /// Writable floats.
    Written(&'a mut [f32]),
}

impl Binding<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Binding::Floats(elements) => elements.len(),
            Binding::Integers(elements) => elements.len(),
            Binding::Written(elements) => elements.len(),
        }
    }

    /// The same binding with a shorter lifetime.
    pub(super) fn reborrow(&mut self) -> Binding<'_> {
        match self {
            Binding::Floats(elements) => Binding::Floats(elements),
            Binding::Integers(elements) => Binding::Integers(elements),
            Binding::Written(elements) => Binding::Written(elements),
        }
    }

    pub(super) fn address(self) -> *mut f32 {
        match self {
            // Kernels only write to slots that were checked to be `Written`.
            Binding::Floats(elements) => elements.as_ptr().cast_mut(),
            Binding::Integers(elements) => elements.as_ptr().cast_mut().cast(),
            Binding::Written(elements) => elements.as_mut_ptr(),
        }
    }
}

/// The memory that a slot accepts.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) dtype: DType,
    pub(super) size: Size,
    is_written: bool,
}

impl Accepted {
    pub(super) fn of(slot: &Slot, writes_parameters: bool) -> Self {
        let is_written = match slot.kind {
            SlotKind::Output => true,
            SlotKind::Parameter => writes_parameters,
            SlotKind::Input => false,
        };
        Accepted { dtype: slot.ty.dtype, size: slot.size, is_written }
    }

    pub(super) fn fits(&self, binding: &Binding<'_>, values: &[usize]) -> bool {
        let kind_fits = match (binding, self.dtype) {
            (Binding::Integers(_), DType::I32) | (Binding::Floats(_), DType::F32) => !self.is_written,
            (Binding::Written(_), DType::F32) => true,
            _ => false,
        };
        kind_fits && Some(binding.len()) == self.size.at(values)
    }
}
