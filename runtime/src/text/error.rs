//! Errors of texts and tokens.

/// Why a text, or the scores of its tokens, cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A vocabulary without a token of the texts.
    #[error(
        "no token occurs at least {minimum_frequency} times in the texts; lower `minimum_frequency`, or check that the \
         texts are not empty"
    )]
    NoTokens {
        /// The required number of occurrences.
        minimum_frequency: u64,
    },
    /// A token that a vocabulary would have twice.
    #[error("the vocabulary has the token {token:?} twice; list it once")]
    RepeatedToken {
        /// The token.
        token: String,
    },
    /// A vocabulary whose first token is not the unknown one.
    #[error("the first token of a vocabulary is `<unk>`, not {first:?}")]
    NoUnknownToken {
        /// The first token, if there is one.
        first: Option<String>,
    },
    /// More tokens than indices of 32 bits.
    #[error("a vocabulary of {tokens} tokens is larger than the 2^31 indices of 32-bit integers")]
    TooManyTokens {
        /// The number of tokens.
        tokens: usize,
    },
    /// An index without a token.
    #[error("index {index} at position {position} is outside the vocabulary of {vocabulary} tokens")]
    UnknownIndex {
        /// The index.
        index: i32,
        /// Its position among the decoded ones.
        position: usize,
        /// The number of tokens.
        vocabulary: usize,
    },
    /// A text that is too short for a batch.
    #[error(
        "a text of {tokens} tokens is too short: {batch_size} sequences of {steps} steps, from offset {offset}, need \
         {needed}; take fewer sequences or steps"
    )]
    TooShort {
        /// The tokens of the text.
        tokens: usize,
        /// Sequences in a batch.
        batch_size: usize,
        /// Steps of a sequence.
        steps: usize,
        /// The first token used.
        offset: usize,
        /// The tokens that one batch needs.
        needed: usize,
    },
    /// A sequence without tokens.
    #[error("sequence {index} is empty; leave empty sequences out")]
    EmptySequence {
        /// Its position.
        index: usize,
    },
    /// No sequences at all.
    #[error("there are no sequences to batch")]
    NoSequences,
    /// Scores that say nothing about the next token.
    #[error("the scores of the next token {problem}")]
    Scores {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// Log-probabilities of the wrong shape.
    #[error(
        "a beam search needs log-probabilities of shape [{prefixes}, vocabulary], one row per prefix, but got {got:?}"
    )]
    ScoresShape {
        /// The number of prefixes.
        prefixes: usize,
        /// The given shape.
        got: Vec<usize>,
    },
    /// A blank that the scores do not have.
    #[error("the blank {blank} is outside the {classes} classes that the scores have")]
    Blank {
        /// The blank.
        blank: usize,
        /// The number of classes.
        classes: usize,
    },
    /// An end token that the scores do not have.
    #[error("the end token {end} is outside the vocabulary of {vocabulary} that the scores have")]
    EndToken {
        /// The end token.
        end: i32,
        /// The number of scores.
        vocabulary: usize,
    },
}
