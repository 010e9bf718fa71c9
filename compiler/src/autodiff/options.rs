//! Training options: the loss, the optimiser, clipping and frozen parameters.

mod optimizer;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::custom::LossGraph;

pub use self::optimizer::{Optimizer, ParameterGroup};

/// Training loss. Its settings have PyTorch's meaning and defaults.
///
/// Losses against labels take one for each row of classes: the output is `[N, C]` with labels `[N]`, `[N, C, H, W]` with
/// labels `[N, H, W]`, or a sequence `[N, T, C]` with labels `[N, T]`. [`Loss::Ctc`] takes sequences of labels of other
/// lengths. Other losses take a target of the output's type. All are means over the batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Loss {
    /// Cross-entropy of logits against labels.
    #[default]
    CrossEntropy,
    /// Cross-entropy of logits against labels, with smoothed labels or weighted classes.
    CrossEntropyWith {
        /// The part of a label's probability that all classes share equally; 0 by default.
        #[serde(default)]
        label_smoothing: f64,
        /// A weight for each class, or none for equal ones. The mean is weighted: it is divided by the sum of the labels'
        /// weights.
        #[serde(default)]
        weights: Vec<f32>,
    },
    /// Negative log-likelihood of labels by logarithms of probabilities, such as `log_softmax` gives.
    NegativeLogLikelihood {
        /// A weight for each class, or none for equal ones.
        #[serde(default)]
        weights: Vec<f32>,
    },
    /// Cross-entropy of independent logits, one for each element, against probabilities.
    BinaryCrossEntropy,
    /// Mean squared difference.
    MeanSquaredError,
    /// Mean absolute difference (L1).
    MeanAbsoluteError,
    /// Half the squared difference up to `delta`, and linear beyond; 1 by default.
    Huber {
        /// The largest difference that is squared.
        #[serde(default = "default_delta")]
        delta: f64,
    },
    /// Kullback–Leibler divergence of the logarithms of probabilities from target probabilities: summed over the classes,
    /// as PyTorch's `batchmean`, and averaged over the positions of an image.
    KlDivergence,
    /// Connectionist temporal classification: the negative log-likelihood of a sequence of labels by logits of each step
    /// `[N, T, C]`, summed over all alignments of labels and steps. The labels of a sample are padded to any length, and
    /// their number is given. Losses are means over the batch.
    Ctc {
        /// The class of the blank, which is no label; 0 by default.
        #[serde(default)]
        blank: usize,
        /// Whether the loss of each sample is divided by the number of its labels, if it has any, as in PyTorch's
        /// `mean`; on by default. Otherwise long sequences of labels weigh more.
        #[serde(default = "default_per_label")]
        per_label: bool,
        /// Whether a sample that no alignment fits has the loss 0 instead of infinity; off by default. Its gradient is
        /// 0 in both cases.
        #[serde(default)]
        zero_infinity: bool,
    },
    /// A loss of one's own, of any number of outputs and targets.
    Custom(LossGraph),
}

impl Loss {
    /// Connectionist temporal classification with its defaults.
    pub const fn ctc() -> Self {
        Loss::Ctc { blank: 0, per_label: default_per_label(), zero_infinity: false }
    }

    /// Whether targets are integer labels rather than values of the output's shape.
    pub const fn takes_labels(&self) -> bool {
        match self {
            Loss::CrossEntropy
            | Loss::CrossEntropyWith { .. }
            | Loss::NegativeLogLikelihood { .. }
            | Loss::Ctc { .. } => true,
            Loss::BinaryCrossEntropy
            | Loss::MeanSquaredError
            | Loss::MeanAbsoluteError
            | Loss::Huber { .. }
            | Loss::KlDivergence
            | Loss::Custom(_) => false,
        }
    }

    /// Its name in messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Loss::CrossEntropy | Loss::CrossEntropyWith { .. } => "cross-entropy",
            Loss::NegativeLogLikelihood { .. } => "negative log-likelihood",
            Loss::BinaryCrossEntropy => "binary cross-entropy",
            Loss::MeanSquaredError => "mean squared error",
            Loss::MeanAbsoluteError => "mean absolute error",
            Loss::Huber { .. } => "Huber loss",
            Loss::KlDivergence => "Kullback–Leibler divergence",
            Loss::Ctc { .. } => "CTC loss",
            Loss::Custom(_) => "custom loss",
        }
    }
}

const fn default_per_label() -> bool {
    true
}

const fn default_delta() -> f64 {
    1.0
}

/// The loss of one of several outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputLoss {
    /// The output.
    pub output: String,
    /// Its loss.
    pub loss: Loss,
    /// Its weight in the sum; 1 by default.
    #[serde(default = "default_weight")]
    pub weight: f64,
}

const fn default_weight() -> f64 {
    1.0
}

impl OutputLoss {
    /// A loss with the weight 1.
    pub fn new(output: impl Into<String>, loss: Loss) -> Self {
        OutputLoss { output: output.into(), loss, weight: 1.0 }
    }

    /// The same loss with another weight.
    #[must_use]
    pub fn weighted(self, weight: f64) -> Self {
        OutputLoss { weight, ..self }
    }
}

/// How a network is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrainingOptions {
    /// The loss of the only output, or of [`TrainingOptions::output`].
    pub loss: Loss,
    /// The losses of several outputs, which are weighted and summed. If there are any, they replace `loss`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<OutputLoss>,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Parameters with settings of their own. A parameter belongs to the first group that contains it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<ParameterGroup>,
    /// Whether running averages of the parameters are kept: states [`names::average`](super::names::average), which move
    /// towards the new parameters by the share of the control input [`names::AVERAGE_SHARE`](super::names::AVERAGE_SHARE).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub average: bool,
    /// The maximum magnitude of each element of the gradients; larger elements are set to it, before `clip_norm` applies.
    pub clip_value: Option<f64>,
    /// The maximum global norm of the gradients; larger gradients are scaled down to it.
    pub clip_norm: Option<f64>,
    /// What is not trained: names of parameters (`c1.weight`) or running statistics (`n1.running_mean`), or patterns, see
    /// [`names::matches`](super::names::matches): `c1` for `c1.weight` and `c1.bias`, `stem` for everything in a block
    /// labelled `stem`, `*.bias` for all biases.
    ///
    /// A batch normalisation with frozen statistics, or with both of its parameters frozen, computes as in prediction
    /// and keeps its running statistics. Dropout still draws masks.
    pub frozen: BTreeSet<String>,
    /// The output used for the loss; by default the only one.
    pub output: Option<String>,
    /// The length of a segment for recomputation (gradient checkpointing): the forward pass stores the states of recurrent
    /// layers, and other carried values of scans, only at the start of each segment of this many steps. The backward pass
    /// computes the other values again, one segment at a time. A length near the square root of the number of steps needs
    /// the least memory. Sequences must have a fixed length. Gradients may change by rounding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recompute: Option<usize>,
}

impl TrainingOptions {
    crate::setters! {
        loss: Loss;
        losses: impl Into<Vec<OutputLoss>> = losses.into();
        optimizer: Optimizer;
        groups: impl Into<Vec<ParameterGroup>> = groups.into();
        average: bool;
        clip_value: impl Into<Option<f64>> = clip_value.into();
        clip_norm: impl Into<Option<f64>> = clip_norm.into();
        frozen: impl IntoIterator<Item = impl Into<String>> = frozen.into_iter().map(Into::into).collect();
        output: impl Into<String> = Some(output.into());
        recompute: impl Into<Option<usize>> = recompute.into();
    }
}
