//! The names that a training graph adds to a network's own. Networks cannot use them.

/// Control input `f32[]`: the step size.
pub const LEARNING_RATE: &str = "learning_rate";

/// Control input `f32[2]` of Adam: `1 − β₁ᵗ` and `1 − β₂ᵗ` at step `t`, counted from 1.
pub const CORRECTION: &str = "correction";

/// Control input `i32[2]` of dropout: the seed and the step number.
pub const SEED: &str = "seed";

/// Data input `i32[N]` of the cross-entropy.
pub const LABELS: &str = "labels";

/// Data input of the mean squared error, of the output's type.
pub const TARGET: &str = "target";

/// Data input of the labels of one of several outputs.
pub fn labels_of(output: &str) -> String {
    format!("{LABELS}.{output}")
}

/// Data input of the target of one of several outputs.
pub fn target_of(output: &str) -> String {
    format!("{TARGET}.{output}")
}

/// The output whose labels or target an input of a training step is, if there are several.
pub fn output_of(input: &str) -> Option<&str> {
    let (kind, output) = input.split_once('.')?;
    [LABELS, TARGET].contains(&kind).then_some(output)
}

/// Output `f32[]`: the mean loss of the batch.
pub const LOSS: &str = "loss";

/// Output `f32[]`: the global norm of the gradients before they are clipped.
pub const GRADIENT_NORM: &str = "gradient_norm";

/// The prefix of the optimiser's states: `optimizer.velocity.c1.weight`.
pub const OPTIMIZER_PREFIX: &str = "optimizer.";

/// The name of the optimiser state of a parameter; the kind is `velocity`, `first_moment` or `second_moment`.
pub fn optimizer_state(kind: &str, parameter: &str) -> String {
    format!("{OPTIMIZER_PREFIX}{kind}.{parameter}")
}

pub(super) fn is_reserved_source(name: &str) -> bool {
    [LEARNING_RATE, CORRECTION, SEED, LABELS, TARGET].contains(&name)
        || name.starts_with(OPTIMIZER_PREFIX)
        || output_of(name).is_some()
}

pub(super) fn is_reserved_output(name: &str) -> bool {
    [LOSS, GRADIENT_NORM].contains(&name)
}
