//! How an object trains its network, and `windlass export`: parameters from a state.

use std::error::Error;

use clap::{Args, ValueEnum};
use windlass::object::TrainedState;
use windlass::{Loss, Optimizer, TrainerOptions};

use crate::network::Source;
use crate::{File, at};

/// The optimiser, with its usual settings.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Gradient descent
    Sgd,
    /// Gradient descent with a momentum of 0.9
    Momentum,
    Adam,
    Adamw,
}

/// A loss without settings, or with its defaults.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LossKind {
    CrossEntropy,
    NegativeLogLikelihood,
    BinaryCrossEntropy,
    MeanSquaredError,
    MeanAbsoluteError,
    Huber,
    KlDivergence,
    Ctc,
}

impl LossKind {
    pub(crate) fn loss(self) -> Loss {
        match self {
            LossKind::CrossEntropy => Loss::CrossEntropy,
            LossKind::NegativeLogLikelihood => Loss::NegativeLogLikelihood { weights: Vec::new() },
            LossKind::BinaryCrossEntropy => Loss::BinaryCrossEntropy,
            LossKind::MeanSquaredError => Loss::MeanSquaredError,
            LossKind::MeanAbsoluteError => Loss::MeanAbsoluteError,
            LossKind::Huber => Loss::Huber { delta: 1.0 },
            LossKind::KlDivergence => Loss::KlDivergence,
            LossKind::Ctc => Loss::ctc(),
        }
    }
}

/// The training.
#[derive(Debug, Args)]
pub(crate) struct Training {
    /// A training step with this optimiser, instead of or beside predictions
    #[arg(long, value_name = "OPTIMIZER")]
    train: Option<Kind>,
    /// The loss of the training; cross-entropy by default
    #[arg(long, value_name = "LOSS", requires = "train")]
    loss: Option<LossKind>,
    /// The output that the loss is of, if there are several
    #[arg(long, value_name = "NAME", requires = "train")]
    loss_output: Option<String>,
    /// The largest global norm of the gradients
    #[arg(long, value_name = "NORM", requires = "train")]
    clip_norm: Option<f64>,
    /// Seed of dropout in training; 0 by default
    #[arg(long, value_name = "NUMBER", requires = "train")]
    dropout_seed: Option<u32>,
}

impl Training {
    pub(crate) fn options(&self) -> Option<TrainerOptions> {
        let optimizer = match self.train? {
            Kind::Sgd => Optimizer::sgd(),
            Kind::Momentum => Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 },
            Kind::Adam => Optimizer::adam(),
            Kind::Adamw => Optimizer::adam_w(),
        };
        let loss = self.loss.unwrap_or(LossKind::CrossEntropy).loss();
        let mut options = TrainerOptions::default()
            .optimizer(optimizer)
            .loss(loss)
            .clip_norm(self.clip_norm)
            .seed(self.dropout_seed.unwrap_or_default());
        options.output.clone_from(&self.loss_output);
        Some(options)
    }
}

/// The arguments of `windlass export`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// A file with the state of a training
    #[arg(long, value_name = "FILE")]
    state: File,
    #[command(flatten)]
    training: Training,
    /// The safetensors file
    #[arg(short, long, value_name = "FILE")]
    output: File,
}

pub(crate) fn export(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.source.network()?;
    let options =
        arguments.training.options().ok_or("say how the object trains, as it was built: `--train adam`")?;
    let bytes = std::fs::read(&arguments.state).map_err(|reason| at(&arguments.state, "read", &reason))?;
    let trained = TrainedState::read(&*network, &options, &bytes)?;
    trained.save(&arguments.output)?;
    println!("{}  parameters after {} steps", arguments.output.display(), trained.steps());
    Ok(())
}
