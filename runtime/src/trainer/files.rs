//! Saves trainers to files, and resumes from them.

use std::path::Path;

use windlass_compiler::autodiff::names;

use super::accumulation::{is_sum, read_accumulated};
use super::options::check_optimizer;
use super::{Trainer, TrainerOptions, fit};
use crate::checkpoint::{Checkpoint, LoadOptions, Metadata, NonFinite};
use crate::error::Error;
use crate::model::Model;
use crate::network::{AnyNetwork, Network};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::tensor::shapes_of;

impl<N: Network> Trainer<N> {
    /// Resumes from a file written by [`Trainer::save`]. Settings may differ; the optimiser and the frozen parameters
    /// must be the same.
    ///
    /// # Errors
    /// Those of [`Trainer::new`], and those of [`Checkpoint::load_for`] for a file that cannot be read or does not fit;
    /// [`Error::Checkpoint`] for a file of another network or optimiser.
    pub fn resume(path: impl AsRef<Path>, options: TrainerOptions, run: &Options) -> Result<Self, Error> {
        Self::resume_with(path, options, run, &LoadOptions::default())
    }

    /// Like [`Trainer::resume`], for a file whose network or layers have other names.
    ///
    /// # Errors
    /// Those of [`Trainer::resume`].
    pub fn resume_with(
        path: impl AsRef<Path>,
        options: TrainerOptions,
        run: &Options,
        loading: &LoadOptions,
    ) -> Result<Self, Error> {
        Self::resume_of(N::VALUE, path, options, run, loading)
    }
}

impl<N: AnyNetwork> Trainer<N> {
    /// Like [`Trainer::resume_with`], for a network given as a value.
    ///
    /// # Errors
    /// Those of [`Trainer::resume`].
    pub fn resume_of(
        network: N,
        path: impl AsRef<Path>,
        options: TrainerOptions,
        run: &Options,
        loading: &LoadOptions,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let metadata = Metadata::read(path)?.unwrap_or_default();
        check_optimizer(path, &metadata, &options.optimizer)?;
        let progress = fit::Run::read(path, &metadata)?;
        let accumulated = read_accumulated(path, &metadata, &options)?;
        let mut trainer = Self::new(Model::of(network, 0, run)?, options)?;
        let mut shapes = shapes_of(&trainer.graph);
        shapes.extend(shapes_of(trainer.state_graph()));
        if accumulated == 0 {
            shapes.retain(|name, _| !is_sum(name));
        }
        if progress.has_best {
            let tensors = trainer.model.parameters().iter();
            shapes.extend(tensors.map(|(name, tensor)| (best_name(name), tensor.shape().to_vec())));
        }
        let graph = trainer.network().graph();
        let checkpoint = Checkpoint::load_network(path, graph, &shapes, |_| false, loading)?;
        if progress.has_best {
            let mut best = trainer.model.parameters().clone();
            for name in trainer.model.parameters().names() {
                if let Some(tensor) = checkpoint.tensors.get(&best_name(name)) {
                    best.set(name, tensor)?;
                }
            }
            trainer.best = Some(best);
        }
        trainer.progress = progress;
        for name in trainer.model.parameters().names().to_vec() {
            if let Some(tensor) = checkpoint.tensors.get(&name) {
                trainer.model.set_parameter(&name, tensor)?;
            }
        }
        let mut tensors = trainer.state.to_named();
        tensors.extend(checkpoint.tensors);
        trainer.state =
            Parameters::from_named(trainer.state_graph(), tensors).without(trainer.model.parameters());
        trainer.accumulated = accumulated;
        trainer.step = checkpoint.metadata.map_or(0, |metadata| metadata.step);
        Ok(trainer)
    }

    /// Writes a safetensors file, atomically: parameters, the network's graph as text, the optimiser's state, the number of
    /// steps, gradients that wait for an update, and the history of [`Trainer::fit`]. A [`Model`] can load it too.
    ///
    /// # Errors
    /// Those of [`Checkpoint::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut tensors = self.state.to_named();
        if self.accumulated == 0 {
            // They are zeros.
            tensors.retain(|name, _| !is_sum(name));
        }
        tensors.extend(self.model.parameters().to_named());
        if let Some(best) = &self.best {
            tensors.extend(best.iter().map(|(name, tensor)| (best_name(name), tensor.clone())));
        }
        let optimizer = serde_json::to_value(self.options.optimizer).unwrap_or_default();
        let mut metadata = Metadata { step: self.step, optimizer, ..Metadata::of(self.network().graph()) };
        self.progress.write(&mut metadata, self.best.is_some());
        self.write_accumulated(&mut metadata);
        Checkpoint { tensors, metadata: Some(metadata) }.save(path.as_ref(), NonFinite::Refuse)
    }
}

/// The name in files of a parameter of the best epoch.
fn best_name(parameter: &str) -> String {
    names::optimizer_state("best", parameter)
}
