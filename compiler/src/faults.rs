//! Deliberate bugs that test the tests. They can only be armed with the feature `seeded-faults`, which only tests
//! enable; without it no code for them remains.

/// A bug that the compiler has while it is armed.
#[cfg_attr(
    not(feature = "seeded-faults"),
    allow(unreachable_pub, reason = "the module is public with the feature alone")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Direct convolution reads neighbouring windows one pixel too close together when the stride is above 1.
    WrongStride,
    /// The tail of a blocked range is not computed.
    DroppedTail,
    /// The operands of a binary function are swapped.
    SwappedOperand,
    /// Gradients of ReLUs read the mask of the batch's first item.
    StaleMask,
    /// A value may be placed over one that its own kernel reads.
    ArenaOverlap,
    /// Values derived from parameters are not computed.
    MissingPrepack,
    /// The sums of the last thread are not added to those of the others.
    WrongPartialSum,
    /// A mask has one lane too many.
    LanePastEnd,
    /// A result is written over an operand that is read again later.
    OperandReusedTooEarly,
    /// The bias of a dense layer is added twice.
    EpilogueTwice,
    /// The last block of a range divided among threads starts one element early, so that two threads write the same
    /// number to it. No result shows this.
    OverlappingBlocks,
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
            Fault::MissingPrepack,
            Fault::WrongPartialSum,
            Fault::LanePastEnd,
            Fault::OperandReusedTooEarly,
            Fault::EpilogueTwice,
            Fault::OverlappingBlocks,
        ];
    }

    /// Arms a fault for everything this thread compiles, or disarms it.
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

/// Repeats the last of some steps that take an operand, if [`Fault::EpilogueTwice`] is armed.
pub(crate) fn repeat_last<S: Clone, O: Clone>(steps: &mut Vec<S>, operands: &mut Vec<O>) {
    if armed(Fault::EpilogueTwice) && steps.len() == operands.len() {
        steps.extend(steps.last().cloned());
        operands.extend(operands.last().cloned());
    }
}
