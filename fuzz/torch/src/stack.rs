//! Networks as `draw.py` describes them, and their graphs.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_compiler::autodiff::{AutodiffError, TrainingOptions, training_graph};
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;

use crate::Error;

/// One network: its layers, its training, and the deviations of PyTorch's results by rounding.
#[derive(Clone, Debug, Deserialize)]
pub struct Network {
    /// Its name, the prefix of its tensors' names.
    pub name: String,
    /// The file of its tensors.
    pub file: String,
    /// Its batch size.
    pub batch: usize,
    /// Sizes of one sample of its input.
    pub input: Vec<usize>,
    /// Its layers. Value 0 is the input; layer `i` computes value `i + 1`.
    pub layers: Vec<Placed>,
    /// The values that are outputs, by name.
    pub outputs: BTreeMap<String, usize>,
    /// Its training, if there is any.
    pub training: Option<TrainingOptions>,
    /// Why it is not trained.
    pub untrained: Option<String>,
    /// The learning rate.
    pub learning_rate: f64,
    /// Steps taken before the first.
    pub steps_before: u64,
    /// Steps to take.
    pub steps: usize,
    /// The maximum deviation of each result by sampled rounding.
    pub deviations: BTreeMap<String, f64>,
}

/// A layer and its position.
#[derive(Clone, Debug, Deserialize)]
pub struct Placed {
    /// The layer's name, the prefix of its parameters' names.
    pub name: String,
    /// The values it is applied to.
    pub from: Vec<usize>,
    /// The layer.
    #[serde(flatten)]
    pub kind: Kind,
}

/// A layer's settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "layer", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the settings of `Layer`, by the same names")]
pub enum Kind {
    Conv2d {
        out_channels: usize,
        #[serde(flatten)]
        window: Window,
        groups: usize,
        bias: bool,
    },
    MaxPool2d {
        #[serde(flatten)]
        window: Window,
    },
    AvgPool2d {
        #[serde(flatten)]
        window: Window,
    },
    GlobalAvgPool2d,
    Linear {
        out_features: usize,
        bias: bool,
    },
    Flatten,
    Dropout {
        rate: f64,
    },
    BatchNorm {
        epsilon: f64,
        momentum: f64,
    },
    Relu,
    Sigmoid,
    Tanh,
    Softmax,
    LogSoftmax,
    /// The sum of two values.
    Add,
    /// Values concatenated along their channels.
    Concat,
    /// A layer with the settings of `Layer`, such as an activation.
    #[serde(untagged)]
    Other(Layer),
}

/// The effect of a layer.
enum Built {
    Layer(Layer),
    Add,
    Concat,
}

impl Kind {
    fn built(&self) -> Built {
        let init = Initializer::ZEROS;
        Built::Layer(match self.clone() {
            Kind::Conv2d { out_channels, window, groups, bias } => Layer::Conv {
                out_channels,
                window,
                groups,
                bias,
                init,
                rotated: false,
                connections: Vec::new(),
            },
            Kind::MaxPool2d { window } => Layer::max_pool(window),
            Kind::AvgPool2d { window } => Layer::avg_pool(window),
            Kind::GlobalAvgPool2d => Layer::GlobalAvgPool { axes: 2 },
            Kind::Linear { out_features, bias } => Layer::Linear { out_features, bias, init },
            Kind::Flatten => Layer::Flatten,
            Kind::Dropout { rate } => Layer::Dropout { rate },
            Kind::BatchNorm { epsilon, momentum } => Layer::BatchNorm { epsilon, momentum },
            Kind::Relu => Layer::Relu,
            Kind::Sigmoid => Layer::Sigmoid,
            Kind::Tanh => Layer::Tanh,
            Kind::Softmax => Layer::Softmax,
            Kind::LogSoftmax => Layer::LogSoftmax,
            Kind::Other(layer) => layer,
            Kind::Add => return Built::Add,
            Kind::Concat => return Built::Concat,
        })
    }
}

impl Network {
    /// The network as a graph, with its input named `x`.
    ///
    /// # Errors
    /// [`Error::Described`] for operands that do not exist or are too many, [`Error::Graph`] for layers that do not fit.
    pub fn graph(&self) -> Result<Graph, Error> {
        let at_graph =
            |reason: GraphError| Error::Graph { network: self.name.clone(), reason: Box::new(reason) };
        let mut builder = Builder::new(&self.name);
        let mut values = vec![builder.input("x", &self.input).map_err(at_graph)?];
        for layer in &self.layers {
            let operands = self.values(&values, &layer.name, &layer.from)?;
            let value = match (layer.kind.built(), &operands[..]) {
                (Built::Layer(kind), &[x]) => builder.layer(&layer.name, &kind, x),
                (Built::Add, &[left, right]) => builder.add(&layer.name, left, right),
                (Built::Concat, parts) => builder.concat(&layer.name, parts),
                (Built::Layer(_) | Built::Add, _) => {
                    return Err(self.refuse(&layer.name, format!("{} operands", operands.len())));
                }
            };
            values.push(value.map_err(at_graph)?);
        }
        for (name, &value) in &self.outputs {
            let value = self.values(&values, name, &[value])?[0];
            builder.output(name, value).map_err(at_graph)?;
        }
        builder.finish().map_err(at_graph)
    }

    /// Leaves out training that PyTorch accepts and Windlass refuses: that with a cross-entropy of probabilities.
    pub(crate) fn leave_refused_training_out(&mut self) {
        let Ok(graph) = self.graph() else { return };
        if let Some(Err(
            AutodiffError::SoftmaxBeforeLoss { .. }
            | AutodiffError::SigmoidBeforeLoss { .. }
            | AutodiffError::TooFewClasses { .. },
        )) = self.training.as_ref().map(|options| training_graph(&graph, options))
        {
            self.training = None;
            self.untrained = Some("a cross-entropy of probabilities is refused".to_owned());
        }
    }

    /// A training step of the network's graph, if it is trained.
    ///
    /// # Errors
    /// [`Error::Training`].
    pub fn step(&self, graph: &Graph) -> Result<Option<Graph>, Error> {
        let step = |options| training_graph(graph, options);
        self.training
            .as_ref()
            .map(step)
            .transpose()
            .map_err(|reason| Error::Training { network: self.name.clone(), reason: Box::new(reason) })
    }

    /// The maximum deviation of a result by sampled rounding.
    ///
    /// # Errors
    /// [`Error::Described`] if it is not given.
    pub fn deviation(&self, result: &str) -> Result<f64, Error> {
        let missing = || self.refuse(result, "no deviation is stated".to_owned());
        self.deviations.get(result).copied().ok_or_else(missing)
    }

    fn values(&self, values: &[ValueId], layer: &str, wanted: &[usize]) -> Result<Vec<ValueId>, Error> {
        let find = |&at: &usize| {
            let missing = || self.refuse(layer, format!("value {at} of {}", values.len()));
            values.get(at).copied().ok_or_else(missing)
        };
        wanted.iter().map(find).collect()
    }

    fn refuse(&self, part: &str, problem: String) -> Error {
        Error::Described { network: self.name.clone(), part: part.to_owned(), problem }
    }
}
