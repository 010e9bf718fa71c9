//! Optimisers with their settings, and groups of parameters with settings of their own.

use serde::{Deserialize, Serialize};

/// How parameters are updated. All settings have PyTorch's meaning and defaults. The learning rate is an input of each
/// step.
///
/// ```
/// use windlass::Optimizer;
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

    /// Gradient descent with momentum: the weight of the old velocity, usually 0.9.
    pub const fn momentum(momentum: f64) -> Self {
        Optimizer::Sgd { momentum, nesterov: false, weight_decay: 0.0 }
    }

    /// Gradient descent with Nesterov momentum.
    pub const fn nesterov(momentum: f64) -> Self {
        Optimizer::Sgd { momentum, nesterov: true, weight_decay: 0.0 }
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
    /// use windlass::Optimizer;
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
/// use windlass::ParameterGroup;
///
/// // No weight decay for biases, and small steps for a pretrained block.
/// let groups = [ParameterGroup::new("*.bias").weight_decay(0.0), ParameterGroup::new("stem").rate(0.1)];
/// assert!(groups[0].contains("stem.c1.bias") && groups[1].contains("stem.c1.weight"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParameterGroup {
    /// The names of the parameters: a pattern, see [`names::matches`](crate::autodiff::names::matches).
    pub pattern: String,
    /// What the learning rate is multiplied with; 1 by default.
    #[serde(default = "default_rate")]
    pub rate: f64,
    /// Weight decay in place of the optimiser's.
    #[serde(default)]
    pub weight_decay: Option<f64>,
}

const fn default_rate() -> f64 {
    1.0
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
        crate::autodiff::names::matches(&self.pattern, parameter)
    }
}
