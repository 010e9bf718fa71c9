//! Training options: the loss, the optimiser, clipping and frozen parameters.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

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
            | Loss::KlDivergence => false,
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

/// How parameters are updated. All settings have PyTorch's meaning and defaults. The learning rate is an input of each
/// step.
///
/// ```
/// use windlass_compiler::autodiff::Optimizer;
/// let adam: Optimizer = serde_json::from_str(r#"{"kind": "adam", "beta1": 0.8}"#)?;
/// assert_eq!(adam, Optimizer::Adam { beta1: 0.8, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent; see [`Sgd`](crate::ops::optimizer::Sgd).
    Sgd {
        /// Weight of the old velocity; 0, the default, keeps none.
        #[serde(default)]
        momentum: f64,
        /// Whether to use Nesterov momentum; off by default.
        #[serde(default)]
        nesterov: bool,
        /// L2 penalty; 0 by default.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam; see [`Adam`](crate::ops::optimizer::Adam).
    Adam {
        /// Decay of the first moment; 0.9 by default.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// Decay of the second moment; 0.999 by default.
        #[serde(default = "default_beta2")]
        beta2: f64,
        /// Added to the denominator; 1e-8 by default.
        #[serde(default = "default_epsilon")]
        epsilon: f64,
        /// L2 penalty; 0 by default.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay.
    AdamW {
        /// Decay of the first moment; 0.9 by default.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// Decay of the second moment; 0.999 by default.
        #[serde(default = "default_beta2")]
        beta2: f64,
        /// Added to the denominator; 1e-8 by default.
        #[serde(default = "default_epsilon")]
        epsilon: f64,
        /// Decay of the parameter, times the learning rate; 0.01 by default.
        #[serde(default = "default_decoupled_weight_decay")]
        weight_decay: f64,
    },
    /// RMSprop; see [`AdaptiveRule::RmsProp`](crate::ops::optimizer::AdaptiveRule::RmsProp).
    RmsProp {
        /// Decay of the mean of squares; 0.99 by default.
        #[serde(default = "default_alpha")]
        alpha: f64,
        /// Added to the denominator; 1e-8 by default.
        #[serde(default = "default_epsilon")]
        epsilon: f64,
        /// Weight of the old velocity; 0, the default, keeps none.
        #[serde(default)]
        momentum: f64,
        /// Whether the variance of the gradient replaces its mean square; off by default.
        #[serde(default)]
        centered: bool,
        /// L2 penalty; 0 by default.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adagrad; see [`AdaptiveRule::Adagrad`](crate::ops::optimizer::AdaptiveRule::Adagrad).
    Adagrad {
        /// Added to the denominator; 1e-10 by default.
        #[serde(default = "default_adagrad_epsilon")]
        epsilon: f64,
        /// L2 penalty; 0 by default.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adadelta; see [`AdaptiveRule::Adadelta`](crate::ops::optimizer::AdaptiveRule::Adadelta).
    Adadelta {
        /// Decay of the means of squares; 0.9 by default.
        #[serde(default = "default_rho")]
        rho: f64,
        /// Added below the roots; 1e-6 by default.
        #[serde(default = "default_adadelta_epsilon")]
        epsilon: f64,
        /// L2 penalty; 0 by default.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Lion; see [`AdaptiveRule::Lion`](crate::ops::optimizer::AdaptiveRule::Lion). Its rates are usually 3 to 10 times
    /// smaller than those of AdamW, and its weight decay as many times larger.
    Lion {
        /// Weight of the old moment in the direction; 0.9 by default.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// Decay of the moment; 0.99 by default.
        #[serde(default = "default_lion_beta2")]
        beta2: f64,
        /// Decay of the parameter, times the learning rate; 0 by default.
        #[serde(default)]
        weight_decay: f64,
    },
}

const fn default_alpha() -> f64 {
    0.99
}

const fn default_adagrad_epsilon() -> f64 {
    1e-10
}

const fn default_rho() -> f64 {
    0.9
}

const fn default_adadelta_epsilon() -> f64 {
    1e-6
}

const fn default_lion_beta2() -> f64 {
    0.99
}

const fn default_beta1() -> f64 {
    0.9
}

const fn default_beta2() -> f64 {
    0.999
}

const fn default_epsilon() -> f64 {
    1e-8
}

const fn default_decoupled_weight_decay() -> f64 {
    0.01
}

impl Optimizer {
    /// Plain gradient descent: no momentum, no weight decay.
    pub const fn sgd() -> Self {
        Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// Adam with its defaults.
    pub const fn adam() -> Self {
        Optimizer::Adam {
            beta1: default_beta1(),
            beta2: default_beta2(),
            epsilon: default_epsilon(),
            weight_decay: 0.0,
        }
    }

    /// AdamW with its defaults.
    pub const fn adam_w() -> Self {
        Optimizer::AdamW {
            beta1: default_beta1(),
            beta2: default_beta2(),
            epsilon: default_epsilon(),
            weight_decay: default_decoupled_weight_decay(),
        }
    }

    /// Gradient descent with momentum: `velocity` is the weight of the old velocity, usually 0.9.
    pub const fn momentum(velocity: f64) -> Self {
        Optimizer::Sgd { momentum: velocity, nesterov: false, weight_decay: 0.0 }
    }

    /// Gradient descent with Nesterov momentum.
    pub const fn nesterov(velocity: f64) -> Self {
        Optimizer::Sgd { momentum: velocity, nesterov: true, weight_decay: 0.0 }
    }

    /// RMSprop with its defaults.
    pub const fn rms_prop() -> Self {
        Optimizer::RmsProp {
            alpha: default_alpha(),
            epsilon: default_epsilon(),
            momentum: 0.0,
            centered: false,
            weight_decay: 0.0,
        }
    }

    /// Adagrad with its defaults.
    pub const fn adagrad() -> Self {
        Optimizer::Adagrad { epsilon: default_adagrad_epsilon(), weight_decay: 0.0 }
    }

    /// Adadelta with its defaults.
    pub const fn adadelta() -> Self {
        Optimizer::Adadelta { rho: default_rho(), epsilon: default_adadelta_epsilon(), weight_decay: 0.0 }
    }

    /// Lion with its defaults.
    pub const fn lion() -> Self {
        Optimizer::Lion { beta1: default_beta1(), beta2: default_lion_beta2(), weight_decay: 0.0 }
    }

    /// The weight decay.
    pub const fn weight_decay(&self) -> f64 {
        match *self {
            Optimizer::Sgd { weight_decay, .. }
            | Optimizer::Adam { weight_decay, .. }
            | Optimizer::AdamW { weight_decay, .. }
            | Optimizer::RmsProp { weight_decay, .. }
            | Optimizer::Adagrad { weight_decay, .. }
            | Optimizer::Adadelta { weight_decay, .. }
            | Optimizer::Lion { weight_decay, .. } => weight_decay,
        }
    }

    /// The same optimiser with another weight decay.
    #[must_use]
    pub const fn with_weight_decay(mut self, decay: f64) -> Self {
        match &mut self {
            Optimizer::Sgd { weight_decay, .. }
            | Optimizer::Adam { weight_decay, .. }
            | Optimizer::AdamW { weight_decay, .. }
            | Optimizer::RmsProp { weight_decay, .. }
            | Optimizer::Adagrad { weight_decay, .. }
            | Optimizer::Adadelta { weight_decay, .. }
            | Optimizer::Lion { weight_decay, .. } => *weight_decay = decay,
        }
        self
    }

    /// The usual learning rate: 0.1 for gradient descent, 0.001 for Adam and AdamW, 0.01 for RMSprop and Adagrad, 1 for
    /// Adadelta, 0.0001 for Lion.
    ///
    /// ```
    /// use windlass_compiler::autodiff::Optimizer;
    /// assert_eq!(Optimizer::sgd().usual_rate(), 0.1);
    /// assert_eq!(Optimizer::adam().usual_rate(), 0.001);
    /// ```
    pub const fn usual_rate(&self) -> f64 {
        match self {
            Optimizer::Sgd { .. } => 0.1,
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => 0.001,
            Optimizer::RmsProp { .. } | Optimizer::Adagrad { .. } => 0.01,
            Optimizer::Adadelta { .. } => 1.0,
            Optimizer::Lion { .. } => 0.0001,
        }
    }

    /// Its name. Optimisers with the same name have the same state.
    pub fn name(&self) -> &'static str {
        match self {
            Optimizer::Sgd { momentum: 0.0, .. } => "SGD",
            Optimizer::Sgd { .. } => "SGD with momentum",
            Optimizer::Adam { .. } => "Adam",
            Optimizer::AdamW { .. } => "AdamW",
            Optimizer::RmsProp { momentum: 0.0, centered: false, .. } => "RMSprop",
            Optimizer::RmsProp { centered: false, .. } => "RMSprop with momentum",
            Optimizer::RmsProp { momentum: 0.0, .. } => "centred RMSprop",
            Optimizer::RmsProp { .. } => "centred RMSprop with momentum",
            Optimizer::Adagrad { .. } => "Adagrad",
            Optimizer::Adadelta { .. } => "Adadelta",
            Optimizer::Lion { .. } => "Lion",
        }
    }

    /// The two values of the input `correction` at a step, counted from 1; `None` if the optimiser has no such input.
    pub fn correction(&self, step: u64) -> Option<[f64; 2]> {
        match self {
            Optimizer::Sgd { .. }
            | Optimizer::RmsProp { .. }
            | Optimizer::Adagrad { .. }
            | Optimizer::Adadelta { .. }
            | Optimizer::Lion { .. } => None,
            Optimizer::Adam { beta1, beta2, .. } | Optimizer::AdamW { beta1, beta2, .. } => {
                Some([beta1, beta2].map(|beta| 1.0 - beta.powf(step as f64)))
            }
        }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::sgd()
    }
}

/// Parameters with a learning rate or weight decay of their own, like PyTorch's parameter groups.
///
/// ```
/// use windlass_compiler::autodiff::ParameterGroup;
///
/// // No weight decay for biases, and small steps for a pretrained block.
/// let groups = [ParameterGroup::new("*.bias").weight_decay(0.0), ParameterGroup::new("stem").rate(0.1)];
/// assert!(groups[0].contains("stem.c1.bias") && groups[1].contains("stem.c1.weight"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterGroup {
    /// The names of the parameters: a pattern, see [`names::matches`](super::names::matches).
    pub pattern: String,
    /// What the learning rate is multiplied with; 1 by default.
    #[serde(default = "default_weight")]
    pub rate: f64,
    /// Weight decay in place of the optimiser's.
    #[serde(default)]
    pub weight_decay: Option<f64>,
}

impl ParameterGroup {
    /// The parameters of a pattern, with the settings of all others.
    pub fn new(pattern: impl Into<String>) -> Self {
        ParameterGroup { pattern: pattern.into(), rate: 1.0, weight_decay: None }
    }

    /// The same parameters, whose learning rate is multiplied.
    #[must_use]
    pub fn rate(self, rate: f64) -> Self {
        ParameterGroup { rate, ..self }
    }

    /// The same parameters with a weight decay of their own.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        ParameterGroup { weight_decay: Some(weight_decay), ..self }
    }

    /// Whether a parameter is in the group.
    pub fn contains(&self, parameter: &str) -> bool {
        super::names::matches(&self.pattern, parameter)
    }
}

/// How a network is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
