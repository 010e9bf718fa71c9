//! The command line of the example, and its two training recipes.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use windlass::data::fashion_mnist::{FashionMnist, SYSTEM_DIRECTORY};
use windlass::{Error, FitOptions, FitSchedule, Optimizer, Schedule};

use crate::repository::repository;

/// Trains LeNet on images of clothing, and shows what it learned.
#[derive(Clone, Debug, Parser)]
#[command(name = "lenet", version)]
pub(crate) struct Arguments {
    /// How to train; `quick` unless the data are a whole set, then `book`
    #[arg(long, value_enum)]
    pub(crate) recipe: Option<Recipe>,
    /// Passes over the training images; 12 for `quick`, 10 for `book`
    #[arg(long, value_name = "COUNT")]
    pub(crate) epochs: Option<u64>,
    /// Images per step; 64 for `quick`, 256 for `book`
    #[arg(long, value_name = "COUNT")]
    pub(crate) batch: Option<usize>,
    /// Learning rate, the maximum one for `quick`; 0.01 for `quick`, 0.9 for `book`
    #[arg(long, value_name = "RATE")]
    pub(crate) learning_rate: Option<f64>,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    pub(crate) threads: Option<usize>,
    /// Seed of the initial weights and the order of the images
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Train on a whole Fashion-MNIST: the four IDX files in this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "full")]
    pub(crate) data: Option<PathBuf>,
    /// Train on the whole Fashion-MNIST that Debian's package `dataset-fashion-mnist` installs
    #[arg(long)]
    pub(crate) full: bool,
    /// Directory for weights and pictures; by default `target/lenet` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) output: Option<PathBuf>,
}

/// A way to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recipe {
    /// Adam with a one-cycle schedule: for few images
    Quick,
    /// Gradient descent with a constant rate, as in Dive into Deep Learning, section 7.6: for many images
    Book,
}

/// The complete training settings.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) recipe: Recipe,
    pub(crate) epochs: u64,
    pub(crate) batch_size: usize,
    pub(crate) learning_rate: f64,
    pub(crate) seed: u64,
}

impl Arguments {
    /// The recipe with the given arguments.
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let whole_set = self.full || self.data.is_some();
        let recipe = self.recipe.unwrap_or(if whole_set { Recipe::Book } else { Recipe::Quick });
        let (epochs, batch_size, learning_rate) = match recipe {
            Recipe::Quick => (12, 64, 0.01),
            Recipe::Book => (10, 256, 0.9),
        };
        let epochs = self.epochs.unwrap_or(epochs);
        if epochs == 0 {
            let (setting, value, expected) = ("epochs".into(), "0".into(), "at least 1".into());
            return Err(Error::Setting { setting, value, expected });
        }
        Ok(Plan {
            recipe,
            epochs,
            batch_size: self.batch.unwrap_or(batch_size),
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            seed: self.seed,
        })
    }

    /// The directory of the images: the given one, the installed one, or the bundled subset, which gives the same
    /// results everywhere.
    pub(crate) fn data_directory(&self) -> Result<PathBuf, Error> {
        match &self.data {
            Some(directory) => Ok(directory.clone()),
            None if self.full => FashionMnist::locate([SYSTEM_DIRECTORY]),
            None => Ok(repository().join("data/fashion-mnist")),
        }
    }

    /// The directory for weights and pictures.
    pub(crate) fn output_directory(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| repository().join("target/lenet"))
    }
}

impl Plan {
    /// The epochs, and the learning rate of each step.
    pub(crate) fn fit(&self) -> FitOptions {
        let schedule = match self.recipe {
            Recipe::Quick => FitSchedule::one_cycle(self.learning_rate),
            Recipe::Book => FitSchedule::OfTrainer,
        };
        FitOptions::epochs(self.epochs).schedule(schedule).stop_on_ctrl_c(true)
    }

    /// The constant learning rate, if there is one.
    pub(crate) fn schedule(&self) -> Result<Option<Schedule>, Error> {
        match self.recipe {
            Recipe::Quick => Ok(None),
            Recipe::Book => Schedule::constant(self.learning_rate).map(Some),
        }
    }

    /// The optimiser.
    pub(crate) fn optimizer(&self) -> Optimizer {
        match self.recipe {
            Recipe::Quick => Optimizer::adam(),
            Recipe::Book => Optimizer::sgd(),
        }
    }
}
