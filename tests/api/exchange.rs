//! Weights from other libraries: files like PyTorch's `state_dict`, whose layers have other names.

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use tempfile::TempDir;
use windlass::checkpoint::{Checkpoint, NonFinite};
use windlass::{Error, LoadOptions, Model, Options, Parameters, TensorMismatch, network};

network! {
    network Net(image: [1, 4, 4]) -> [2] {
        c1: conv2d(2, kernel_size = 3, bias = false); b1: batch_norm; relu; flatten;
        f2: linear(2)
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
    let Error::CheckpointMismatch { mismatches, .. } = error else { panic!("{error}") };
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
