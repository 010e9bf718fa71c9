//! The reads and writes of a kernel, as sums of variables with ranges.

use crate::kernel::{BufferId, Element};
use crate::plan::OpenSizes;
use crate::plan::bounds::{Count, Range};

/// The meaning of a variable of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An axis of the work units.
    Unit(usize),
    /// The thread index.
    Thread,
    /// Any variable within a unit.
    Inner,
}

/// A variable times a stride.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) role: Role,
    pub(super) stride: Count,
    pub(super) range: Range,
}

/// The elements that statements read or write in all iterations of the loops around them. Statements that differ only
/// by a constant are combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) buffer: BufferId,
    pub(super) element: Element,
    pub(super) writes: bool,
    pub(super) constants: Vec<i128>,
    pub(super) terms: Vec<Term>,
    /// The same sum, with sums of variables that a branch bounds in place of the variables.
    pub(super) bounded: Vec<Term>,
    /// The values of the axes of the work units in which the access happens; `None` for accesses before a thread's
    /// chunk.
    pub(super) units: Option<Vec<Range>>,
    /// The thread indices, if the kernel uses them.
    pub(super) thread: Option<Range>,
}

impl Access {
    /// Prints it with the names of the plan's symbols.
    pub(super) fn display(&self, sizes: &OpenSizes) -> String {
        let mut text = format!("b{}[", self.buffer.index());
        for Term { role, stride, range } in &self.terms {
            let values = match role {
                Role::Unit(axis) => format!("unit{axis}"),
                Role::Thread => "thread".to_owned(),
                Role::Inner if *range == Range::default() => continue,
                Role::Inner => {
                    format!("({} to {})", range.least.display(sizes), range.greatest.display(sizes))
                }
            };
            text.push_str(&format!("{values}*{} + ", stride.display(sizes)));
        }
        text.push_str(&match self.constants[..] {
            [constant] => format!("{constant}]"),
            [first, .., last] => format!("{first}, …, {last}]"),
            [] => "nothing]".to_owned(),
        });
        text
    }
}

/// Terms whose variables may have any value, with those of one stride combined.
pub(super) fn merged(terms: Vec<Term>) -> Vec<Term> {
    let mut merged: Vec<Term> = Vec::new();
    for term in terms.into_iter().filter(|term| term.stride != Count::default()) {
        let same = |known: &&mut Term| known.role == term.role && known.stride == term.stride;
        match merged.iter_mut().find(same) {
            Some(known) if term.role == Role::Inner => known.range = known.range.plus(&term.range),
            // The variable occurs twice.
            Some(known) => known.stride = known.stride.plus(&term.stride),
            None => merged.push(term),
        }
    }
    merged.retain(|term| {
        term.stride != Count::default() && (term.role != Role::Inner || term.range != Range::default())
    });
    merged
}

/// A variable within a work unit, times a stride.
pub(super) fn inner(stride: i64, range: Range) -> Term {
    Term { role: Role::Inner, stride: number(stride.into()), range }
}

/// A number that does not depend on open sizes.
pub(super) fn number(number: i128) -> Count {
    Count::number(number)
}

/// The quotient by a positive number, rounded up.
pub(super) fn ceil(number: i128, by: i128) -> i128 {
    -(-number).div_euclid(by)
}
