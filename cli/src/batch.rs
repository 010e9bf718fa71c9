//! The inputs and targets of a batch: from files, or drawn.

use std::error::Error;

use clap::Args;
use fastrand::Rng;
use windlass::{Dynamic, Graph, Shape, Sizes, Target};

use crate::ctc::{self, Ctc};
use crate::inputs::{Inputs, Values, check, data, drawn, from_file};
use crate::network::RunSizes;
use crate::{File, interpreter};

/// Where a batch comes from.
#[derive(Debug, Args)]
pub(crate) struct Examples {
    /// A safetensors file with an array for each input, by name, with the batch first; drawn by default
    #[arg(long, value_name = "FILE")]
    inputs: Option<File>,
    /// A safetensors file with the target: `labels` of classes, or `target` with numbers of the output's shape;
    /// drawn by default. For the CTC loss `labels`, `label_lengths` and `step_lengths`
    #[arg(long, value_name = "FILE")]
    targets: Option<File>,
    /// Seed of inputs and targets that are drawn
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    data_seed: u64,
    #[command(flatten)]
    sizes: RunSizes,
}

/// A batch.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The inputs of the network.
    pub(crate) inputs: Inputs,
    /// The inputs that a loss adds to them.
    targets: Inputs,
    pub(crate) sizes: Sizes,
}

impl Examples {
    /// A batch for a graph that adds a loss to a network.
    pub(crate) fn of(&self, network: &Dynamic, graph: &Graph) -> Result<Batch, Box<dyn Error>> {
        let own: Vec<(&str, &Shape)> = data(network.graph()).collect();
        let read = |path: &Option<File>, is_own: bool| {
            let is_wanted = |name: &str| own.iter().any(|(known, _)| *known == name) == is_own;
            let wanted = data(graph).filter(|(name, _)| is_wanted(name));
            path.as_ref().map(|path| from_file(wanted, path)).transpose()
        };
        let (inputs, targets) = (read(&self.inputs, true)?, read(&self.targets, false)?);
        let sizes = match &inputs {
            Some(inputs) => interpreter::sizes_of(own.iter().copied(), inputs)?,
            None => self.sizes.of(network)?,
        };
        let mut batch = Batch::drawn(network, graph, &sizes, self.data_seed);
        batch.inputs = inputs.unwrap_or(batch.inputs);
        batch.targets = targets.unwrap_or(batch.targets);
        batch.sizes = interpreter::sizes_of(data(graph), &batch.all())?;
        check(graph, &batch.all(), &batch.sizes)?;
        Ok(batch)
    }
}

impl Batch {
    /// A random batch. Numbers of targets are between 0 and 1, as probabilities are.
    pub(crate) fn drawn(network: &Dynamic, graph: &Graph, sizes: &Sizes, seed: u64) -> Batch {
        let ctc = Ctc::of(graph);
        let sizes = ctc.as_ref().map_or_else(|| sizes.clone(), |ctc| ctc.sizes(sizes));
        let mut inputs = drawn(graph, &sizes, seed);
        let mut targets = inputs.split_off(data(network.graph()).count());
        for (_, values) in &mut targets {
            if let Values::Numbers(numbers) = values {
                numbers.mapv_inplace(f32::abs);
            }
        }
        if let Some(ctc) = ctc {
            ctc.draw(&mut targets, &sizes, &mut Rng::with_seed(seed));
        }
        Batch { inputs, targets, sizes }
    }

    /// The inputs of the graph with the loss.
    pub(crate) fn all(&self) -> Inputs {
        self.inputs.iter().chain(&self.targets).cloned().collect()
    }

    /// The target of a loss of one output.
    pub(crate) fn target(&self) -> Result<Target<'_>, Box<dyn Error>> {
        match &self.targets[..] {
            [(_, Values::Numbers(values))] => Ok(Target::Values(values.into())),
            [(_, Values::Indices(labels))] => Ok(Target::Labels(labels.into())),
            several => ctc::target(several),
        }
    }
}
