//! Reads the output of `draw.py`: lines that describe networks, tensors, and the results of `--confirm`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings};
use windlass_compiler::shape::{DType, Type};

use crate::Error;
use crate::stack::Network;

/// The data of one part's networks.
#[derive(Debug)]
pub struct Tensors {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// The results of more rounding samples for a network.
#[derive(Clone, Debug, Deserialize)]
pub struct Confirmed {
    name: String,
    /// Whether some ReLU or max pooling may differ in single precision.
    pub near_kink: bool,
    /// As [`Network::deviations`].
    pub deviations: BTreeMap<String, f64>,
    /// The same for rounding to double precision.
    pub double_deviations: BTreeMap<String, f64>,
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|reason| Error::Read { path: path.to_owned(), reason })
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let bytes = read(path)?;
    let lines = bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(line, bytes)| {
            serde_json::from_slice(bytes).map_err(|reason| Error::Line {
                path: path.to_owned(),
                line: line + 1,
                reason,
            })
        })
        .collect()
}

/// The descriptions of a folder's parts, in order.
///
/// # Errors
/// [`Error::Read`], and [`Error::NoParts`] for a folder without any.
pub fn parts(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let refused = |reason| Error::Read { path: folder.to_owned(), reason };
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let is_part = path.file_stem().is_some_and(|name| name.to_string_lossy().starts_with("part-"));
        if is_part && path.extension().is_some_and(|extension| extension == "jsonl") {
            parts.push(path);
        }
    }
    parts.sort();
    match parts.is_empty() {
        true => Err(Error::NoParts { path: folder.to_owned() }),
        false => Ok(parts),
    }
}

/// The networks of a part, without refused training.
///
/// # Errors
/// [`Error::Read`] and [`Error::Line`].
pub fn networks(part: &Path) -> Result<Vec<Network>, Error> {
    let mut networks: Vec<Network> = lines(part)?;
    networks.iter_mut().for_each(Network::leave_refused_training_out);
    Ok(networks)
}

/// The confirmations of a folder's networks, by name; the last one for each network.
///
/// # Errors
/// [`Error::Read`] and [`Error::Line`].
pub fn confirmed(folder: &Path) -> Result<BTreeMap<String, Confirmed>, Error> {
    let path = folder.join("confirmed.jsonl");
    match path.exists() {
        true => Ok(lines::<Confirmed>(&path)?.into_iter().map(|line| (line.name.clone(), line)).collect()),
        false => Ok(BTreeMap::new()),
    }
}

impl Tensors {
    /// Reads a file of tensors.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Tensors`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let tensors = Tensors { path: path.to_owned(), bytes: read(path)? };
        tensors.all()?;
        Ok(tensors)
    }

    fn all(&self) -> Result<SafeTensors<'_>, Error> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|reason| Error::Tensors { path: self.path.clone(), reason })
    }

    fn refuse(&self, tensor: &str, problem: String) -> Error {
        Error::Tensor { tensor: tensor.to_owned(), path: self.path.clone(), problem }
    }

    /// The initial values of every source of a network's graphs; `step` is the graph of its training.
    ///
    /// # Errors
    /// [`Error::Tensors`], and [`Error::Tensor`] for one that is missing or of another type than its source.
    pub fn sources(
        &self,
        network: &Network,
        graph: &Graph,
        step: Option<&Graph>,
    ) -> Result<Bindings<f64>, Error> {
        let tensors = self.all()?;
        let mut bindings = Bindings::new();
        for graph in std::iter::once(graph).chain(step) {
            let inputs = graph.inputs().map(|(value, input)| (value, &input.name));
            let parameters = graph.parameters().map(|(value, parameter)| (value, &parameter.name));
            let states = graph.states().map(|(value, state)| (value, &state.name));
            for (value, name) in inputs.chain(parameters).chain(states) {
                // Control inputs are values of each step, not tensors.
                if !["learning_rate", "correction", "seed"].contains(&name.as_str()) {
                    let array = self.source(&tensors, network, name, graph.ty(value))?;
                    bindings.insert(name.clone(), array);
                }
            }
        }
        Ok(bindings)
    }

    fn source(
        &self,
        tensors: &SafeTensors<'_>,
        network: &Network,
        name: &str,
        ty: &Type,
    ) -> Result<Array<f64>, Error> {
        let name = format!("{}/{name}", network.name);
        let tensor = tensors.tensor(&name).map_err(|error| self.refuse(&name, error.to_string()))?;
        let sizes = ty.shape.concrete(network.batch);
        let words = tensor.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
        match (ty.dtype, tensor.dtype()) {
            _ if tensor.shape() != sizes => {
                let problem = format!("{:?} where the network has {sizes:?}", tensor.shape());
                Err(self.refuse(&name, problem))
            }
            (DType::F32, Dtype::F32) => {
                Ok(Array::new(sizes, words.map(|word| f64::from(f32::from_le_bytes(word))).collect()))
            }
            (DType::I32, Dtype::I32) => Ok(Array::ints(sizes, words.map(i32::from_le_bytes).collect())),
            (expected, got) => {
                Err(self.refuse(&name, format!("elements of {got:?} where the network has {expected:?}")))
            }
        }
    }

    /// PyTorch's results whose names start with `network/part/`, by the rest of their names.
    ///
    /// # Errors
    /// [`Error::Tensors`], and [`Error::Tensor`] for elements that are not in double precision.
    pub fn results(&self, network: &Network, part: &str) -> Result<BTreeMap<String, Vec<f64>>, Error> {
        let tensors = self.all()?;
        let prefix = format!("{}/{part}/", network.name);
        let mut results = BTreeMap::new();
        for name in tensors.names() {
            let Some(short) = name.strip_prefix(&prefix) else { continue };
            let tensor = tensors.tensor(name).map_err(|error| self.refuse(name, error.to_string()))?;
            if tensor.dtype() != Dtype::F64 {
                return Err(self.refuse(name, format!("elements of {:?}, not of F64", tensor.dtype())));
            }
            let mut bytes = [0; 8];
            let values = tensor.data().chunks_exact(8).map(|chunk| {
                bytes.copy_from_slice(chunk);
                f64::from_le_bytes(bytes)
            });
            results.insert(short.to_owned(), values.collect());
        }
        match results.is_empty() {
            true => Err(self.refuse(&prefix, "no results".to_owned())),
            false => Ok(results),
        }
    }
}
