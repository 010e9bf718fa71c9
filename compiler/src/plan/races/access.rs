//! What a kernel reads and writes, as sums of variables with ranges.

use crate::kernel::{BufferId, Element};
use crate::plan::OpenSizes;
use crate::plan::bounds::{Count, Range};

/// What a variable of an access stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An axis of the units of work.
    Unit(usize),
    /// The number of the thread.
    Thread,
    /// Anything within a unit.
    Inner,
}

/// A variable times a distance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) role: Role,
    pub(super) stride: Count,
    pub(super) range: Range,
}

/// Elements that statements read or write, of all turns of the loops around them: those of some statements that differ by
/// a constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) buffer: BufferId,
    pub(super) element: Element,
    pub(super) writes: bool,
    pub(super) constants: Vec<i128>,
    pub(super) terms: Vec<Term>,
    /// The same sum, with sums of variables that a branch bounds in the place of the variables.
    pub(super) bounded: Vec<Term>,
    /// The values of the axes of the units of work where it happens; none before a thread's chunk.
    pub(super) units: Option<Vec<Range>>,
    /// The numbers of threads, where the kernel knows them.
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

/// Terms whose variables may have any value, those of one stride together.
pub(super) fn merged(terms: Vec<Term>) -> Vec<Term> {
    let mut merged: Vec<Term> = Vec::new();
    for term in terms.into_iter().filter(|term| term.stride != Count::default()) {
        let same = |known: &&mut Term| known.role == term.role && known.stride == term.stride;
        match merged.iter_mut().find(same) {
            Some(known) if term.role == Role::Inner => known.range = known.range.plus(&term.range),
            // The same variable twice.
            Some(known) => known.stride = known.stride.plus(&term.stride),
            None => merged.push(term),
        }
    }
    merged.retain(|term| {
        term.stride != Count::default() && (term.role != Role::Inner || term.range != Range::default())
    });
    merged
}

/// A variable within a unit of work, times a distance.
pub(super) fn inner(stride: i64, range: Range) -> Term {
    Term { role: Role::Inner, stride: number(stride.into()), range }
}

/// A number that does not depend on open sizes.
pub(super) fn number(number: i128) -> Count {
    Count::number(number)
}

/// The quotient, rounded up, by a number above zero.
pub(super) fn ceil(number: i128, by: i128) -> i128 {
    -(-number).div_euclid(by)
}
