//! Replays the networks of `sample`, which `draw.py --networks 20 --seed 14 --small` drew: they agree with PyTorch,
//! cover every layer, and would disagree after any change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use windlass_compiler::autodiff::{Loss, Optimizer};
use windlass_fuzz_torch::Error;
use windlass_fuzz_torch::files::{Tensors, confirmed, networks, parts};
use windlass_fuzz_torch::runner::{Failure, Tally, check};
use windlass_fuzz_torch::settings::sets;
use windlass_fuzz_torch::stack::{Kind, Network};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

fn sample() -> Vec<Network> {
    let parts = parts(&folder()).unwrap();
    parts.iter().flat_map(|part| networks(part).unwrap()).collect()
}

/// Compares networks with a number of option sets each, in turn.
fn compare(networks: &[Network], count: usize) -> (Tally, Vec<Failure>) {
    let (all, confirmed) = (sets(), confirmed(&folder()).unwrap());
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for (at, network) in networks.iter().enumerate() {
        let tensors = Tensors::read(&folder().join(&network.file)).unwrap();
        let turn: Vec<_> =
            (0..count).map(|set| (at * count + set) % all.len()).map(|place| (place, all[place])).collect();
        let mut random = fastrand::Rng::with_seed(at as u64);
        let confirmed = confirmed.get(&network.name);
        check(network, &tensors, confirmed, &turn, &mut random, &mut tally, &mut failures).unwrap();
    }
    (tally, failures)
}

#[test]
fn the_sample_agrees_under_every_set() {
    let networks = sample();
    let (tally, failures) = compare(&networks, sets().len().div_ceil(networks.len()));
    assert!(failures.is_empty(), "{}", failures[0]);
    assert_eq!((tally.networks, tally.sets.len()), (20, sets().len()));
    assert!(tally.trained >= 15 && tally.near_kinks == 0, "{tally}");
}

/// The name of a layer in `draw.py`. A new layer must be added to `stacks.py` and `rounding.py`.
fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Conv2d { .. } => "conv2d",
        Kind::MaxPool2d { .. } => "max_pool2d",
        Kind::AvgPool2d { .. } => "avg_pool2d",
        Kind::GlobalAvgPool2d => "global_avg_pool2d",
        Kind::Linear { .. } => "linear",
        Kind::Flatten => "flatten",
        Kind::Dropout { .. } => "dropout",
        Kind::BatchNorm { .. } => "batch_norm",
        Kind::Relu => "relu",
        Kind::Sigmoid => "sigmoid",
        Kind::Tanh => "tanh",
        Kind::Softmax => "softmax",
        Kind::LogSoftmax => "log_softmax",
        Kind::Add => "add",
        Kind::Concat => "concat",
        Kind::Other(layer) => layer.name(),
    }
}

#[test]
fn the_sample_has_every_layer_loss_and_optimizer() {
    let sample = sample();
    let layers: BTreeSet<&str> =
        sample.iter().flat_map(|network| &network.layers).map(|layer| name(&layer.kind)).collect();
    for layer in [
        "conv2d",
        "max_pool2d",
        "avg_pool2d",
        "global_avg_pool2d",
        "linear",
        "flatten",
        "dropout",
        "batch_norm",
        "relu",
        "sigmoid",
        "tanh",
        "softmax",
        "log_softmax",
        "add",
        "concat",
    ] {
        assert!(layers.contains(layer), "{layer} is not among {layers:?}");
    }
    assert!(layers.len() >= 20, "some activations are among {layers:?}");
    let trained: Vec<_> = sample.iter().filter_map(|network| network.training.as_ref()).collect();
    for loss in [Loss::CrossEntropy, Loss::MeanSquaredError] {
        assert!(trained.iter().any(|options| options.loss == loss), "{loss:?}");
    }
    assert!(trained.iter().any(|options| matches!(options.optimizer, Optimizer::Sgd { .. })));
    assert!(trained.iter().any(|options| matches!(options.optimizer, Optimizer::Adam { .. })));
    assert!(trained.iter().any(|options| matches!(options.optimizer, Optimizer::AdamW { .. })));
    assert!(trained.iter().any(|options| options.clip_norm.is_some()));
    assert!(trained.iter().any(|options| !options.frozen.is_empty()));
}

/// How many of the changed networks disagree, with the interpreter and with compiled code.
fn disagreeing(change: impl Fn(&mut Network) -> bool) -> (usize, usize) {
    let mut changed: Vec<Network> = sample();
    changed.retain_mut(|network| change(network));
    let (_, failures) = compare(&changed, 1);
    let count = |engine: &str| failures.iter().filter(|failure| failure.at.contains(engine)).count();
    assert_eq!(count("interpreted"), count("compiled"), "{failures:?}");
    (count("compiled"), changed.len())
}

/// Whether some output depends on a value.
fn is_live(network: &Network, value: usize) -> bool {
    network.outputs.values().any(|&output| output == value)
        || network
            .layers
            .iter()
            .enumerate()
            .any(|(at, layer)| layer.from.contains(&value) && is_live(network, at + 1))
}

/// The first layer that satisfies a predicate and that some output depends on.
fn first_live(network: &mut Network, is_it: impl Fn(&Kind) -> bool) -> Option<&mut Kind> {
    let mut places = 0..network.layers.len();
    let at = places.find(|&at| is_it(&network.layers[at].kind) && is_live(network, at + 1))?;
    Some(&mut network.layers[at].kind)
}

#[test]
fn another_activation_disagrees() {
    let (found, changed) = disagreeing(|network| {
        // It ends in the softmax of a single element, which is always 1.
        if network.name == "n00009" {
            return false;
        }
        let relu = first_live(network, |kind| matches!(kind, Kind::Relu));
        relu.map(|relu| *relu = Kind::Tanh).is_some()
    });
    assert!(changed > 2 && found == changed, "{found} of {changed}");
}

#[test]
fn another_epsilon_disagrees() {
    let (found, changed) =
        disagreeing(|network| match first_live(network, |kind| matches!(kind, Kind::BatchNorm { .. })) {
            Some(Kind::BatchNorm { epsilon, .. }) => {
                *epsilon += 0.01;
                true
            }
            _ => false,
        });
    assert!(changed > 5 && found == changed, "{found} of {changed}");
}

#[test]
fn another_learning_rate_disagrees() {
    let (found, changed) = disagreeing(|network| {
        network.learning_rate *= 1.01;
        network.training.is_some() && network.learning_rate > 0.01
    });
    assert!(changed > 0 && found == changed, "{found} of {changed}");
}

#[test]
fn a_parameter_that_moves_though_it_is_frozen_in_pytorch_disagrees() {
    let (found, changed) = disagreeing(|network| {
        network.training.as_mut().is_some_and(|options| !std::mem::take(&mut options.frozen).is_empty())
    });
    assert!(changed > 0 && found == changed, "{found} of {changed}");
}

#[test]
fn faults_in_files_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let error = parts(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NoParts { .. }) && error.to_string().contains("draw.py"), "{error}");
    let part = folder.path().join("part-00000.jsonl");
    fs::write(&part, "\n{\"name\": 1}\n").unwrap();
    assert!(matches!(networks(&part).unwrap_err(), Error::Line { line: 2, .. }));
    fs::write(folder.path().join("t.safetensors"), "none").unwrap();
    assert!(matches!(Tensors::read(&folder.path().join("t.safetensors")), Err(Error::Tensors { .. })));
    assert!(matches!(Tensors::read(&folder.path().join("missing")), Err(Error::Read { .. })));
    fs::write(folder.path().join("confirmed.jsonl"), "{}").unwrap();
    assert!(matches!(confirmed(folder.path()), Err(Error::Line { line: 1, .. })));
}

#[test]
fn networks_without_their_numbers_are_errors() {
    let network = &sample()[0];
    let tensors = Tensors::read(&folder().join(&network.file)).unwrap();
    let run = |network: &Network| {
        let (mut random, mut tally) = (fastrand::Rng::with_seed(1), Tally::default());
        check(network, &tensors, None, &[], &mut random, &mut tally, &mut Vec::new()).unwrap_err()
    };
    let nobody = Network { name: "nobody".to_owned(), ..network.clone() };
    assert!(matches!(run(&nobody), Error::Tensor { tensor, .. } if tensor == "nobody/x"));
    let larger = Network { batch: network.batch + 1, ..network.clone() };
    assert!(matches!(run(&larger), Error::Tensor { .. }));
    let mut silent = network.clone();
    silent.deviations.clear();
    assert!(matches!(run(&silent), Error::Described { .. }));
    let mut beyond = network.clone();
    beyond.layers[0].from = vec![99];
    assert!(matches!(run(&beyond), Error::Described { .. }));
}
