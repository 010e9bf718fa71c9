//! The state of an object's training: parameters, running statistics and optimiser states, in memory of the caller.

use std::path::Path;

use crc32fast::Hasher;
use ndarray::ArrayD;
use windlass_compiler::autodiff::Optimizer;
use windlass_compiler::codegen::object::{StateHeader, StateLayout};
use windlass_compiler::graph::{Graph, Stateful};

use super::ObjectError;
use crate::checkpoint::{Checkpoint, Metadata, NonFinite};
use crate::error::Error;
use crate::model::Model;
use crate::network::AnyNetwork;
use crate::parameters::Parameters;
use crate::trainer::{TrainerOptions, step_graph};

/// The training step of an object, after a check that objects have all that the options ask for.
pub(super) fn checked_step<N: AnyNetwork>(network: &N, options: &TrainerOptions) -> Result<Stateful, Error> {
    let refused = match options {
        TrainerOptions { check_finite: true, .. } => Some("check_finite"),
        TrainerOptions { average: Some(_), .. } => Some("average"),
        TrainerOptions { accumulate: Some(batches), .. } if *batches != 1 => Some("accumulate"),
        _ => None,
    };
    if let Some(setting) = refused {
        let reason = ObjectError::Training { setting };
        return Err(Error::Object { network: network.name().to_owned(), reason });
    }
    step_graph(network, options)
}

/// Identifies a step.
pub(super) fn identity(step: &Graph) -> u32 {
    checksum(step.to_string().as_bytes())
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut checksum = Hasher::new();
    checksum.update(bytes);
    checksum.finalize()
}

/// β₁ and β₂ of Adam.
pub(super) fn betas(optimizer: &Optimizer) -> Option<[f64; 2]> {
    match *optimizer {
        Optimizer::Adam { beta1, beta2, .. } | Optimizer::AdamW { beta1, beta2, .. } => Some([beta1, beta2]),
        _ => None,
    }
}

/// The state before the first step.
pub(super) fn initial<N: AnyNetwork>(
    model: &Model<N>,
    options: &TrainerOptions,
    step: &Stateful,
) -> Result<Vec<u8>, Error> {
    let layout = StateLayout::of(&step.graph);
    let others = Parameters::initialized(&step.graph, 0)?;
    let mut state = vec![0; layout.bytes];
    for tensor in &layout.tensors {
        let values = model.parameters().get(&tensor.name).or_else(|| others.get(&tensor.name));
        let bytes = values.into_iter().flatten().flat_map(|value| value.to_le_bytes());
        state[tensor.start..].iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    }
    let header = StateHeader {
        id: identity(&step.graph),
        checksum: checksum(&state[StateHeader::BYTES..]),
        seed: options.seed,
        steps: 0,
        powers: [1.0; 2],
    };
    state[..StateHeader::BYTES].copy_from_slice(&header.to_bytes());
    Ok(state)
}

/// What an object's training has learned: the content of its state.
///
/// ```no_run
/// use windlass::{Dynamic, Model, TrainerOptions};
/// use windlass::object::{ObjectOptions, TrainedState};
///
/// # fn example(model: Model<Dynamic>) -> Result<(), Box<dyn std::error::Error>> {
/// let options = TrainerOptions::default();
/// model.object(&ObjectOptions::default().name("net").train(options.clone()))?.write("target/net")?;
/// // … a C program takes steps, and writes the state to a file …
/// let trained = TrainedState::read(model.network(), &options, &std::fs::read("target/net/net.state")?)?;
/// trained.save("net.safetensors")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TrainedState {
    /// The name and graph of the network.
    network: Metadata,
    optimizer: Optimizer,
    steps: u64,
    parameters: Parameters,
    optimizer_state: Parameters,
}

impl TrainedState {
    /// Reads a state: the bytes that steps have updated, and the options that the object was built with.
    ///
    /// # Errors
    /// [`Error::Object`] for bytes that are not a state of this training; those of [`Model::object`] for its options.
    pub fn read<N: AnyNetwork>(network: &N, options: &TrainerOptions, bytes: &[u8]) -> Result<Self, Error> {
        let step = checked_step(network, options)?;
        let layout = StateLayout::of(&step.graph);
        let wrong = |problem: String| Error::Object {
            network: network.name().to_owned(),
            reason: ObjectError::State { problem },
        };
        if bytes.len() != layout.bytes {
            return Err(wrong(format!("the state has {} bytes instead of {}", bytes.len(), layout.bytes)));
        }
        let header = StateHeader::from_bytes(bytes)
            .filter(|header| header.id == identity(&step.graph))
            .ok_or_else(|| wrong("the state is that of another network, loss or optimiser".to_owned()))?;
        let content = checksum(&bytes[StateHeader::BYTES..]);
        if header.checksum != 0 && header.checksum != content {
            return Err(wrong("the state is damaged: its checksum is wrong".to_owned()));
        }
        let tensors = layout.tensors.into_iter().map(|tensor| {
            let words = bytes[tensor.start..].as_chunks().0.iter().map(|word| f32::from_le_bytes(*word));
            let values = words.take(tensor.shape.iter().product()).collect();
            let array = ArrayD::from_shape_vec(tensor.shape, values);
            (tensor.name, array.expect("the layout has room for the shape"))
        });
        let all = Parameters::from_named(&step.graph, tensors.collect());
        let own = Parameters::initialized(network.graph(), 0)?;
        Ok(TrainedState {
            network: Metadata::of(network.graph()),
            optimizer: options.optimizer,
            steps: header.steps,
            optimizer_state: all.clone().without(&own),
            parameters: all.keep(|name| own.get(name).is_some()),
        })
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The network's parameters and running statistics, for [`Model::with_parameters`] or [`Model::of_parameters`].
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Writes everything to a safetensors file, atomically: [`Model::load`] takes its parameters, and
    /// [`Trainer::resume`](crate::trainer::Trainer::resume) goes on with the training.
    ///
    /// # Errors
    /// Those of [`Checkpoint::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut tensors = self.optimizer_state.to_named();
        tensors.extend(self.parameters.to_named());
        let metadata = Metadata {
            step: self.steps,
            optimizer: serde_json::to_value(self.optimizer).unwrap_or_default(),
            ..self.network.clone()
        };
        Checkpoint { tensors, metadata: Some(metadata) }.save(path.as_ref(), NonFinite::Refuse)
    }
}
