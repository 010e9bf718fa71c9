//! What can be chosen about training: the loss, the optimiser, clipping and frozen parameters.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What training makes small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Mean cross-entropy of logits `[N, C]` against the input `labels`, `i32[N]`.
    #[default]
    CrossEntropy,
    /// Mean squared difference from the input `target`, of the output's type.
    MeanSquaredError,
}

/// How parameters move, with PyTorch's meaning and defaults of every setting. The learning rate is given to each step.
///
/// ```
/// use windlass_compiler::autodiff::Optimizer;
/// let adam: Optimizer = serde_json::from_str(r#"{"kind": "adam", "beta1": 0.8}"#)?;
/// assert_eq!(adam, Optimizer::Adam { beta1: 0.8, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent; see [`Sgd`](crate::ops::optimizer::Sgd).
    Sgd {
        /// Weight of the old velocity; 0, the default, keeps none.
        #[serde(default)]
        momentum: f64,
        /// Whether the step looks ahead; off by default.
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
    /// Adam with weight decay apart from the gradient.
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

    /// The two numbers of the input `correction` at a step, counted from 1; `None` for an optimiser that takes none.
    pub fn correction(&self, step: u64) -> Option<[f64; 2]> {
        match self {
            Optimizer::Sgd { .. } => None,
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

/// How a network is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingOptions {
    /// What is made small.
    pub loss: Loss,
    /// How parameters move.
    pub optimizer: Optimizer,
    /// The largest global norm of the gradients; larger ones are scaled down to it.
    pub clip_norm: Option<f64>,
    /// The names of parameters that keep their value.
    pub frozen: BTreeSet<String>,
    /// The output the loss is taken of; the only one by default.
    pub output: Option<String>,
}
