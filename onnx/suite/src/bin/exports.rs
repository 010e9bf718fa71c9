//! Exports the networks of the zoo, and some on sequences, with inputs and outputs, for `compare.py`, which runs them in ONNX
//! Runtime. It also imports each model again, and compares its outputs.

#[allow(dead_code, reason = "the zoo is shared")]
#[path = "../../../../examples/zoo/mod.rs"]
mod zoo;

#[path = "../../../../tests/api/support/sequences.rs"]
mod sequences;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ndarray::ArrayD;
use windlass::checkpoint::{Checkpoint, NonFinite};
use windlass::{Dynamic, Graph, Model, Options, Parameters};

use self::sequences::{Drawn, difference, drawn, outputs_of, sizes_of};

/// Exports networks with inputs and outputs.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder for the models
    folder: PathBuf,
    /// Export only networks whose names contain this text
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&arguments.folder)?;
    let entries = zoo::NETWORKS.iter().chain(&zoo::SMALL_NETWORKS);
    let mut networks = sequences::networks();
    networks.extend(entries.map(|entry| (entry.name, (entry.graph)().clone())));
    let mut failed = 0;
    for (name, graph) in networks.into_iter().filter(|(name, _)| name.contains(&arguments.only)) {
        let path = arguments.folder.join(format!("{}.onnx", name.replace(' ', "_")));
        match exported(graph, &path) {
            Ok(result) => println!("{name}: {result}"),
            Err(error) => {
                failed += 1;
                println!("{name}: error: {error}");
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} networks were not exported").into()) }
}

/// Exports a network, and returns how its outputs differ from those of the imported model.
fn exported(graph: Graph, path: &Path) -> Result<String, Box<dyn Error>> {
    let noise = |count: usize, seed: u32| {
        let mut random = fastrand::Rng::with_seed(u64::from(seed));
        (0..count).map(|_| random.f32() * 2.0 - 1.0).collect()
    };
    let sizes = sizes_of(&graph);
    let inputs = drawn(&graph, &sizes, noise);
    let mut parameters = Parameters::initialized(&graph, 1)?;
    for (_, parameter) in graph.parameters() {
        // Kaiming's bound for weights, and biases other than zero, so that errors show.
        let sizes = parameter.shape.item();
        let inputs: usize = sizes.iter().skip(1).product();
        let bound = if sizes.len() > 1 { (6.0 / inputs as f32).sqrt() } else { 0.2 };
        let value = noise(sizes.iter().product(), 7).into_iter().map(|number: f32| bound * number);
        parameters.set(&parameter.name, &ArrayD::from_shape_vec(sizes, value.collect())?)?;
    }
    for (_, state) in graph.states() {
        // Statistics that batch normalisation has after training.
        let value = noise(state.shape.item_elements(), 5).into_iter().map(|number: f32| 1.0 + 0.25 * number);
        parameters.set(&state.name, &ArrayD::from_shape_vec(state.shape.item(), value.collect())?)?;
    }
    let model = Model::of_parameters(Dynamic::new(graph)?, parameters, &Options::default())?;
    model.to_onnx(path)?;
    let outputs = outputs_of(&model, &inputs)?;
    let mut file = Checkpoint::default();
    for (name, input) in &inputs {
        let numbers = match input {
            Drawn::Numbers(numbers) => numbers.clone(),
            Drawn::Indices(indices) => indices.mapv(|index| index as f32),
        };
        file.tensors.insert(format!("input {name}"), numbers);
    }
    for (name, output) in &outputs {
        file.tensors.insert(format!("output {name}"), output.clone());
    }
    file.save(&path.with_extension("safetensors"), NonFinite::Refuse)?;
    drop(model);
    let again = outputs_of(&Model::from_onnx(path)?, &inputs)?;
    let same = outputs.iter().zip(&again).all(|((_, a), (_, b))| a == b);
    let most = outputs.iter().zip(&again).map(|((_, a), (_, b))| difference(a, b)).fold(0.0, f32::max);
    Ok(format!("{}, differs by {most:.1e} of the largest output", if same { "equal" } else { "not equal" }))
}
