//! The names that a training graph adds to a network's own. Networks cannot use them.

/// Control input `f32[]`: the step size.
pub const LEARNING_RATE: &str = "learning_rate";

/// Control input `f32[2]` of Adam: `1 − β₁ᵗ` and `1 − β₂ᵗ` at step `t`, counted from 1.
pub const CORRECTION: &str = "correction";

/// Control input `f32[]` of running averages: how far they move towards the new parameters, from 0 to 1.
pub const AVERAGE_SHARE: &str = "average_share";

/// Control input `i32[2]` of dropout: the seed and the step number.
pub const SEED: &str = "seed";

/// Data input `i32[N]` of the cross-entropy.
pub const LABELS: &str = "labels";

/// Data input of the mean squared error, of the output's type.
pub const TARGET: &str = "target";

/// Data input `i32[N]` of the CTC loss: the number of labels of each sample.
pub const LABEL_LENGTHS: &str = "label_lengths";

/// Data input `i32[N]` of the CTC loss: the number of steps of each sample.
pub const STEP_LENGTHS: &str = "step_lengths";

/// Data input of the labels of one of several outputs.
pub fn labels_of(output: &str) -> String {
    format!("{LABELS}.{output}")
}

/// Data input of the target of one of several outputs.
pub fn target_of(output: &str) -> String {
    format!("{TARGET}.{output}")
}

/// Data input of the numbers of labels of one of several outputs.
pub fn label_lengths_of(output: &str) -> String {
    format!("{LABEL_LENGTHS}.{output}")
}

/// Data input of the numbers of steps of one of several outputs.
pub fn step_lengths_of(output: &str) -> String {
    format!("{STEP_LENGTHS}.{output}")
}

/// Data input of an output, in the graph of the losses alone.
pub fn evaluated(output: &str) -> String {
    format!("evaluated.{output}")
}

/// The kinds of data inputs of losses.
const OF_LOSSES: [&str; 4] = [LABELS, TARGET, LABEL_LENGTHS, STEP_LENGTHS];

/// The output whose labels, target or lengths an input of a training step is, if there are several.
pub fn output_of(input: &str) -> Option<&str> {
    let (kind, output) = input.split_once('.')?;
    OF_LOSSES.contains(&kind).then_some(output)
}

/// Output `f32[]`: the mean loss of the batch.
pub const LOSS: &str = "loss";

/// Output `f32[]`: the global norm of the gradients before they are clipped.
pub const GRADIENT_NORM: &str = "gradient_norm";

/// Output of a gradient graph: the gradient of the loss with respect to an input or parameter, of its type.
pub fn gradient_of(source: &str) -> String {
    format!("gradient.{source}")
}

/// The prefix of the optimiser's states: `optimizer.velocity.c1.weight`.
pub const OPTIMIZER_PREFIX: &str = "optimizer.";

/// The name of the optimiser state of a parameter; the kind is `velocity`, `first_moment`, `second_moment`,
/// `square_average`, `gradient_average`, `update_average`, `square_sum`, `average` or `accumulated`.
pub fn optimizer_state(kind: &str, parameter: &str) -> String {
    format!("{OPTIMIZER_PREFIX}{kind}.{parameter}")
}

/// The name of the running average of a parameter.
pub fn average(parameter: &str) -> String {
    optimizer_state("average", parameter)
}

/// The name of the state that sums the gradients of a parameter over several batches.
pub fn accumulated(parameter: &str) -> String {
    optimizer_state("accumulated", parameter)
}

/// Whether a pattern stands for a name. A pattern is a name, or what stands before a dot in it: a layer or block, for
/// everything in it. A `*` stands for any characters, dots too.
///
/// ```
/// use windlass_compiler::autodiff::names::matches;
/// assert!(matches("c1", "c1.weight") && matches("c1.weight", "c1.weight") && !matches("c1", "c10.weight"));
/// assert!(matches("*.bias", "stem.c1.bias") && !matches("*.bias", "c1.weight"));
/// assert!(matches("stem.*.weight", "stem.c1.weight") && matches("stem*", "stem2.c1.weight"));
/// ```
pub fn matches(pattern: &str, name: &str) -> bool {
    captures(pattern, name).is_some()
}

/// What the `*` of a pattern stand for in a name, and what follows the pattern in it: nothing, or a dot and more. Each `*`
/// stands for as little as possible.
///
/// ```
/// use windlass_compiler::autodiff::names::captures;
/// assert_eq!(captures("layer*.*.conv1", "layer2.0.conv1.weight"), Some((vec!["2", "0"], ".weight")));
/// assert_eq!(captures("layer*.conv2", "layer2.0.conv1.weight"), None);
/// ```
pub fn captures<'n>(pattern: &str, name: &'n str) -> Option<(Vec<&'n str>, &'n str)> {
    let Some((literal, after)) = pattern.split_once('*') else {
        let rest = name.strip_prefix(pattern)?;
        return (rest.is_empty() || rest.starts_with('.')).then(|| (Vec::new(), rest));
    };
    let behind = name.strip_prefix(literal)?;
    let ends = behind.char_indices().map(|(end, _)| end).chain([behind.len()]);
    ends.into_iter().find_map(|end| {
        let (mut others, rest) = captures(after, &behind[end..])?;
        others.insert(0, &behind[..end]);
        Some((others, rest))
    })
}

pub(super) fn is_reserved_source(name: &str) -> bool {
    [LEARNING_RATE, CORRECTION, AVERAGE_SHARE, SEED].contains(&name)
        || OF_LOSSES.contains(&name)
        || name.starts_with(OPTIMIZER_PREFIX)
        || output_of(name).is_some()
}

pub(super) fn is_reserved_output(name: &str) -> bool {
    [LOSS, GRADIENT_NORM].contains(&name)
}
