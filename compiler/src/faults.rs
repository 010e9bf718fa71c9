//! Deliberate faults, for tests of the tests: each is what a mistake in the compiler could look like. Without the feature
//! `seeded-faults`, which only tests switch on, none can be armed and no code for them is left.

/// A mistake that the compiler makes while it is armed.
#[cfg_attr(
    not(feature = "seeded-faults"),
    allow(unreachable_pub, reason = "the module is public with the feature alone")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Direct convolution reads the windows of a row one pixel too close to each other, where its stride is above 1.
    WrongStride,
    /// What whole blocks leave of a range is not computed.
    DroppedTail,
    /// The operands of a function of two elements change places.
    SwappedOperand,
    /// Gradients of ReLUs look at the bits of the batch's first item.
    StaleMask,
    /// A value may be placed over one that the kernel that computes it reads.
    ArenaOverlap,
    /// What is derived from parameters is not computed.
    MissingPrepare,
    /// The sums of the last thread are not added to those of the others.
    WrongPartialSum,
    /// A mask has a lane too many.
    LanePastEnd,
    /// A result is written over an operand that is read again later.
    OperandReusedTooEarly,
    /// The bias of a dense layer is added twice.
    EpilogueTwice,
    /// The last of the blocks that threads share begins one element early, so that two threads write it: the same number,
    /// which no result shows.
    SharedBlocksMeet,
}

#[cfg(feature = "seeded-faults")]
mod armed {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static ARMED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    impl Fault {
        /// Every fault.
        pub const ALL: [Fault; 11] = [
            Fault::WrongStride,
            Fault::DroppedTail,
            Fault::SwappedOperand,
            Fault::StaleMask,
            Fault::ArenaOverlap,
            Fault::MissingPrepare,
            Fault::WrongPartialSum,
            Fault::LanePastEnd,
            Fault::OperandReusedTooEarly,
            Fault::EpilogueTwice,
            Fault::SharedBlocksMeet,
        ];
    }

    /// Arms a fault for what this thread compiles, or none.
    pub fn arm(fault: Option<Fault>) {
        ARMED.set(fault);
    }

    pub(crate) fn armed(fault: Fault) -> bool {
        ARMED.get() == Some(fault)
    }
}

#[cfg(feature = "seeded-faults")]
pub use armed::arm;
#[cfg(feature = "seeded-faults")]
pub(crate) use armed::armed;

#[cfg(not(feature = "seeded-faults"))]
pub(crate) const fn armed(_: Fault) -> bool {
    false
}

/// Where [`Fault::EpilogueTwice`] is armed, repeats the last of some steps that each take an operand.
pub(crate) fn repeat_last<S: Clone, O: Clone>(steps: &mut Vec<S>, operands: &mut Vec<O>) {
    if armed(Fault::EpilogueTwice) && steps.len() == operands.len() {
        steps.extend(steps.last().cloned());
        operands.extend(operands.last().cloned());
    }
}
