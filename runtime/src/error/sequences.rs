//! Why a sample's labels do not fit the CTC loss.

/// Why the labels of a sample, or their number, do not fit the CTC loss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceProblem {
    /// A label that is the class of the blank.
    #[error(
        "has the label {label} at place {place}, which is the blank; give labels other numbers, or name another class as \
         `blank` in `Loss::Ctc`"
    )]
    Blank {
        /// Its place among the sample's labels.
        place: usize,
        /// The label.
        label: i32,
    },
    /// A number of labels that its row does not have.
    #[error("has {length} labels, but rows of labels have {most}; give a number from 0 to {most}")]
    Labels {
        /// The number of labels.
        length: i32,
        /// The length of a row.
        most: usize,
    },
    /// A number of steps that the output does not have.
    #[error(
        "has {length} steps, but the output has {most}; give a number from 1 to {most}, of steps of the output, not of the \
         input"
    )]
    Steps {
        /// The number of steps.
        length: i32,
        /// The steps of the output.
        most: usize,
    },
    /// Fewer steps than labels and repeats.
    #[error(
        "has {steps} steps, but its {labels} labels need {needed}: one each, and a blank between equal ones; give it more \
         steps, or set `zero_infinity` in `Loss::Ctc` to leave such samples out"
    )]
    TooFewSteps {
        /// The number of labels.
        labels: usize,
        /// The number of steps that they need.
        needed: usize,
        /// The number of steps.
        steps: usize,
    },
}
