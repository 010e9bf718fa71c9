//! Weights from other libraries: files like PyTorch's `state_dict`, whose layers have other names.

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use tempfile::TempDir;
use windlass::checkpoint::{Checkpoint, NonFinite};
use windlass::{
    CheckpointError, Error, LoadOptions, Model, Optimizer, Options, Parameters, Schedule, TensorMismatch,
    Trainer, TrainerOptions, network,
};

network! {
    network Net(image: [1, 4, 4]) -> [2] {
        c1: conv2d(2, kernel_size = 3, bias = false); b1: batch_norm; relu; flatten;
        f2: linear(2)
    }
}

network! {
    /// Two convolutions and a shortcut, as in torchvision.
    block basic(channels, stride = 1) {
        let input = it;
        conv1: conv2d(channels, kernel_size = 3, stride = stride, padding = 1, bias = false); bn1: batch_norm; relu;
        conv2: conv2d(channels, kernel_size = 3, padding = 1, bias = false); bn2: batch_norm;
        let main = it;
        from(input);
        if stride > 1 || channels != it.channels {
            down: conv2d(channels, kernel_size = 1, stride = stride, bias = false); down_bn: batch_norm
        }
        add(main); relu
    }

    /// The network of `tests/golden/resnet.py`.
    network ResNet(image: [3, 8, 8]) -> [5] {
        conv1: conv2d(8, kernel_size = 3, padding = 1, bias = false); bn1: batch_norm; relu;
        layer1_0: basic(8);
        layer2_0: basic(16, stride = 2);
        layer2_1: basic(16);
        global_avg_pool2d; flatten; fc: linear(5)
    }

    /// The same with another head.
    network Fine(image: [3, 8, 8]) -> [3] {
        conv1: conv2d(8, kernel_size = 3, padding = 1, bias = false); bn1: batch_norm; relu;
        layer1_0: basic(8);
        layer2_0: basic(16, stride = 2);
        layer2_1: basic(16);
        global_avg_pool2d; flatten; head: linear(8); relu; fc: linear(3)
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Writes a file like `save_file(net.state_dict(), path)` for a network with these layer names. Every tensor counts up
/// from its index; the batch counter is an integer.
fn state_dict(path: &Path, conv: &str, norm: &str, linear: &str) -> Outcome {
    let shapes: [(String, &[usize]); 7] = [
        (format!("{conv}.weight"), &[2, 1, 3, 3]),
        (format!("{norm}.weight"), &[2]),
        (format!("{norm}.bias"), &[2]),
        (format!("{norm}.running_mean"), &[2]),
        (format!("{norm}.running_var"), &[2]),
        (format!("{linear}.weight"), &[2, 8]),
        (format!("{linear}.bias"), &[2]),
    ];
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .zip(1u8..)
        .map(|((_, shape), place)| {
            let count = shape.iter().product::<usize>() as u16;
            (0..count).flat_map(|i| (f32::from(place) + f32::from(i) / 16.0).to_le_bytes()).collect()
        })
        .collect();
    let counter = 17i64.to_le_bytes();
    let mut tensors =
        vec![(format!("{norm}.num_batches_tracked"), TensorView::new(Dtype::I64, vec![], &counter)?)];
    for ((name, shape), bytes) in shapes.into_iter().zip(&bytes) {
        tensors.push((name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?));
    }
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    Ok(serialize_to_file(tensors, metadata, path)?)
}

fn place(directory: &TempDir) -> PathBuf {
    directory.path().join("torch.safetensors")
}

fn serial() -> Options {
    Options::default().threads(1)
}

#[test]
fn a_state_dict_with_batch_normalization_loads() -> Outcome {
    let directory = TempDir::new()?;
    let path = place(&directory);
    state_dict(&path, "c1", "b1", "f2")?;
    let model: Model<Net> = Model::load_with(&path, &serial())?;
    assert_eq!(model.parameter("b1.running_var").ok_or("it has one")?.as_slice(), Some(&[5.0, 5.0625][..]));
    assert_eq!(model.parameter("f2.bias").ok_or("it has one")?.as_slice(), Some(&[7.0, 7.0625][..]));
    // Also without a network to load.
    assert_eq!(Checkpoint::load(&path, NonFinite::Refuse)?.tensors, model.parameters().to_named());
    Ok(())
}

#[test]
fn layers_of_a_sequential_are_renamed() -> Outcome {
    let directory = TempDir::new()?;
    let path = place(&directory);
    state_dict(&path, "c1", "b1", "f2")?;
    let expected = Parameters::load::<Net>(&path, &LoadOptions::new())?;
    state_dict(&path, "features.0", "features.1", "module.classifier")?;
    let names = LoadOptions::new()
        .rename("features.0", "c1")
        .rename("features.1", "b1")
        .rename("module", "")
        .rename("module.classifier", "f2");
    let error = Parameters::load::<Net>(&path, &names.clone().rename("features.7", "c7")).unwrap_err();
    assert!(error.to_string().contains("`features.7` is to be renamed, but no tensor"), "{error}");
    let loaded = Parameters::load::<Net>(&path, &names)?;
    assert_eq!(loaded, expected);
    let model: Model<Net> = Model::with_parameters(loaded, &serial())?;
    assert_eq!(model.forward(&[0.5; 16])?.shape(), [1, 2]);

    let error = Parameters::load::<Net>(&path, &LoadOptions::new().rename("features.0", "c1")).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("`b1.weight` [2] is missing from the file"), "{message}");
    assert!(message.contains("`features.1.weight` [2] is not in the network"), "{message}");
    assert!(!message.contains("num_batches_tracked") && !message.contains("c1.weight"), "{message}");

    let both = LoadOptions::new().rename("features.0", "b1").rename("features.1", "b1");
    let error = Parameters::load::<Net>(&path, &both).unwrap_err();
    let Error::Checkpoint(CheckpointError::Mismatch { mismatches, .. }) = error else { panic!("{error}") };
    assert!(mismatches.iter().any(|mismatch| matches!(
        mismatch,
        TensorMismatch::SameName { name, in_file } if name == "b1.weight" && in_file[1] == "features.1.weight"
    )));
    Ok(())
}

#[test]
fn parameters_of_another_network_make_no_model() -> Outcome {
    let directory = TempDir::new()?;
    let path = place(&directory);
    state_dict(&path, "c1", "b1", "f2")?;
    network! { network Other(x: [3]) -> [2] { f2: linear(2) } }
    let parameters = Parameters::load::<Net>(&path, &LoadOptions::new())?;
    let error = Model::<Other>::with_parameters(parameters, &serial()).unwrap_err();
    assert!(matches!(error, Error::ParameterShape { .. }), "{error}");
    Ok(())
}

#[test]
fn a_file_of_torch_save_is_recognized() -> Outcome {
    let directory = TempDir::new()?;
    let path = place(&directory);
    // A zip archive begins with the header of its first file.
    std::fs::write(&path, b"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00\x00\x00archive/data.pkl")?;
    let message = Model::<Net>::load(&path).unwrap_err().to_string();
    assert!(message.contains("zip archive, as `torch.save` writes"), "{message}");
    assert!(message.contains("`safetensors.torch.save_file`"), "{message}");
    Ok(())
}

/// The batch and results of `tests/golden/resnet.py`.
#[derive(serde::Deserialize)]
struct Torch {
    images: Vec<f32>,
    labels: Vec<i32>,
    logits: Vec<f32>,
    loss: f32,
}

impl Torch {
    fn read() -> Result<Self, Box<dyn std::error::Error>> {
        Ok(serde_json::from_str(&std::fs::read_to_string(golden("resnet.json"))?)?)
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The names of the blocks in the file of PyTorch.
fn of_torch() -> LoadOptions {
    LoadOptions::new()
        .rename("layer*.*.downsample.0", "layer*_*.down")
        .rename("layer*.*.downsample.1", "layer*_*.down_bn")
        .rename("layer*.*", "layer*_*")
}

fn assert_close(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0f32, |largest, number| largest.max(number.abs()));
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() < 2e-5 * largest, "{what}, {place}: {got} is not {expected}");
    }
}

#[test]
fn a_residual_network_predicts_and_trains_as_in_torch() -> Outcome {
    let torch = Torch::read()?;
    let parameters = Parameters::load::<ResNet>(golden("resnet.safetensors"), &of_torch())?;
    let model: Model<ResNet> = Model::with_parameters(parameters, &serial())?;
    let logits = model.forward(&torch.images)?;
    assert_close("logits", logits.as_slice().ok_or("contiguous")?, &torch.logits);

    let optimizer = Optimizer::momentum(0.9).with_weight_decay(0.01);
    let schedule = Some(Schedule::constant(0.1)?);
    let mut trainer = Trainer::new(model, TrainerOptions::default().optimizer(optimizer).schedule(schedule))?;
    let report = trainer.step(&torch.images, &torch.labels)?;
    assert_close("loss", &[report.loss], &[torch.loss]);
    let trained = Parameters::load::<ResNet>(golden("resnet_trained.safetensors"), &of_torch())?;
    for name in trained.names() {
        let (got, expected) =
            (trainer.model().parameter(name).ok_or("it has one")?, trained.get(name).ok_or("it has one")?);
        assert_close(name, got.as_slice().ok_or("contiguous")?, expected.as_slice().ok_or("contiguous")?);
    }
    Ok(())
}

#[test]
fn a_new_head_keeps_its_values_and_a_backbone_is_frozen_by_pattern() -> Outcome {
    let torch = Torch::read()?;
    let path = golden("resnet.safetensors");
    let mut model = Model::<Fine>::with_options(3, &serial())?;
    let before = model.parameters().clone();
    let message = model.load_parameters(&path, &of_torch()).unwrap_err().to_string();
    assert!(message.contains("`head.weight` [8, 16] is missing"), "{message}");
    assert!(message.contains("`fc.weight` is [5, 16] in the file but [3, 8] in the network"), "{message}");
    assert_eq!(*model.parameters(), before);
    let partial = of_torch().ignore_missing("head.*").ignore_missing("fc");
    model.load_parameters(&path, &partial)?;
    let resnet = Parameters::load::<ResNet>(&path, &of_torch())?;
    for name in model.parameters().names() {
        let is_head = name.starts_with("head.") || name.starts_with("fc.");
        let expected = if is_head { before.get(name) } else { resnet.get(name) };
        assert_eq!(model.parameter(name), expected, "{name}");
    }
    assert_eq!(Parameters::load::<Fine>(&path, &partial)?.get("conv1.weight"), resnet.get("conv1.weight"));

    let mut trainer = Trainer::new(model, TrainerOptions::default().frozen(["layer*", "*1"]))?;
    let labels: Vec<i32> = torch.labels.iter().map(|label| label % 3).collect();
    trainer.step(&torch.images, &labels)?;
    for name in trainer.model().parameters().names() {
        let is_head = name.starts_with("head.") || name.starts_with("fc.");
        let old = if is_head { before.get(name) } else { resnet.get(name) };
        assert_eq!(trainer.model().parameter(name) == old, !is_head, "{name}");
    }

    // The head of the file is of no use without one in the network.
    let renamed = LoadOptions::new().rename_with(|name| name.replace("fc", "classes")).ignore_missing("*");
    let message = Parameters::load::<ResNet>(&path, &renamed).unwrap_err().to_string();
    assert!(message.contains("`classes.weight` [5, 16] is not in the network"), "{message}");
    let skipped = renamed.ignore_unexpected("classes").ignore_unexpected("layer*");
    assert_eq!(Parameters::load::<ResNet>(&path, &skipped)?.get("bn1.weight"), resnet.get("bn1.weight"));
    Ok(())
}

#[test]
fn numbered_layers_load_in_order() -> Outcome {
    let directory = TempDir::new()?;
    let path = place(&directory);
    state_dict(&path, "c1", "b1", "f2")?;
    let expected = Parameters::load::<Net>(&path, &LoadOptions::new())?;
    for (conv, norm, linear) in
        [("0", "1", "10"), ("net.2", "net.3", "net.11"), ("net.0.0", "net.0.1", "net.1")]
    {
        state_dict(&path, conv, norm, linear)?;
        assert_eq!(Parameters::load::<Net>(&path, &LoadOptions::new().in_order())?, expected, "{conv}");
    }
    state_dict(&path, "features.0", "features.1", "classifier.0")?;
    let message = Parameters::load::<Net>(&path, &LoadOptions::new().in_order()).unwrap_err().to_string();
    assert!(message.contains("has no number, so that the order of the layers is unknown"), "{message}");
    let numbered = LoadOptions::new().rename("features", "0").rename("classifier", "1").in_order();
    assert_eq!(Parameters::load::<Net>(&path, &numbered)?, expected);
    let error = Parameters::load::<ResNet>(&path, &numbered).unwrap_err().to_string();
    assert!(
        error.contains("3 layers of the file are to be loaded in order, but the network has 17"),
        "{error}"
    );
    Ok(())
}
