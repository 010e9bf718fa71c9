//! Files that cannot be read, that do not fit, or that cannot be written.

use std::fs;

use ndarray::Array1;
use tempfile::TempDir;
use windlass::checkpoint::{Checkpoint, NonFinite};
use windlass::{CheckpointError, Error, LoadOptions, Model, Optimizer, Parameters, Trainer, TrainerOptions};

use super::{Failure, Small, Wider, says, serial, small};

mod twin {
    windlass::network! {
        /// `Small` with another name.
        pub(super) network Small2(image: [1, 4, 4]) -> [3] {
            c1: conv2d(2, kernel_size = 3); relu; flatten;
            f2: linear(3)
        }
    }
}

#[test]
fn a_file_that_is_not_there() -> Result<(), Failure> {
    let path = TempDir::new()?.path().join("absent.safetensors");
    let error = Model::<Small>::load(&path).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    says(&error, &["absent.safetensors", "could not open"]);
    Ok(())
}

#[test]
fn a_directory_that_is_not_there() -> Result<(), Failure> {
    let path = TempDir::new()?.path().join("nowhere/net.safetensors");
    let error = small()?.save(&path).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    says(&error, &["nowhere` does not exist"]);
    assert!(!error.to_string().contains("partial"), "{error}");
    Ok(())
}

#[test]
fn truncated_and_damaged_files() -> Result<(), Failure> {
    let directory = TempDir::new()?;
    let path = directory.path().join("net.safetensors");
    small()?.save(&path)?;
    let bytes = fs::read(&path)?;
    let header = u64::from_le_bytes(bytes[..8].try_into()?) as usize;
    for length in [0, 7, 8, 8 + header / 2, 8 + header, bytes.len() - 4, bytes.len() - 1] {
        fs::write(&path, &bytes[..length])?;
        let error = Model::<Small>::load(&path).unwrap_err();
        assert!(matches!(error, Error::Checkpoint(CheckpointError::Format { .. })), "{length}: {error}");
        says(&error, &["net.safetensors", "not a valid safetensors file"]);
    }
    let mut damaged = bytes.clone();
    damaged[8..8 + header].fill(b'{');
    fs::write(&path, damaged)?;
    let error = Model::<Small>::load(&path).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Format { .. })));
    Ok(())
}

#[test]
fn weights_that_are_not_numbers() -> Result<(), Failure> {
    let directory = TempDir::new()?;
    let path = directory.path().join("net.safetensors");
    small()?.save(&path)?;
    let mut checkpoint = Checkpoint::load(&path, NonFinite::Refuse)?;
    checkpoint.tensors.get_mut("f2.weight").ok_or("f2.weight is saved")?[[2, 5]] = f32::NAN;
    checkpoint.save(&path, NonFinite::Allow)?;
    let error = Model::<Small>::load(&path).unwrap_err();
    assert!(matches!(
        &error,
        Error::NonFinite { tensor, index, value, .. } if tensor == "f2.weight" && *index == [2, 5] && value.is_nan()
    ));
    says(&error, &["`f2.weight`", "NaN", "[2, 5]", "net.safetensors"]);

    let mut model = small()?;
    model.set_parameter("f2.bias", &Array1::from(vec![0.0, f32::INFINITY, 0.0]).into_dyn())?;
    let kept = fs::read(&path)?;
    let error = model.save(&path).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }));
    says(&error, &["`f2.bias`", "inf", "[1]"]);
    assert_eq!(fs::read(&path)?, kept);
    Ok(())
}

#[test]
fn the_file_of_another_network() -> Result<(), Failure> {
    let directory = TempDir::new()?;
    let path = directory.path().join("wider.safetensors");
    Model::<Wider>::with_options(1, &serial())?.save(&path)?;
    let error = Model::<Small>::load(&path).unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint(CheckpointError::Mismatch { mismatches, .. }) if mismatches.len() == 6),
        "{error}"
    );
    says(
        &error,
        &[
            "wider.safetensors",
            "`c1.weight` is [4, 1, 3, 3] in the file but [2, 1, 3, 3] in the network",
            "`c1.bias` is [4] in the file but [2] in the network",
            "`f2.weight` [3, 8] is missing from the file",
            "`f2.bias` [3] is missing from the file",
            "`head.weight` [3, 16] is not in the network",
            "`head.bias` [3] is not in the network",
        ],
    );
    Ok(())
}

#[test]
fn the_file_of_another_network_of_equal_shapes() -> Result<(), Failure> {
    let directory = TempDir::new()?;
    let path = directory.path().join("net.safetensors");
    let twin: Model<twin::Small2> = Model::with_options(1, &serial())?;
    twin.save(&path)?;
    let is_refused = |error: &Error| {
        assert!(matches!(error, Error::Checkpoint(CheckpointError::Network { .. })), "{error}");
        says(
            error,
            &["net.safetensors holds the network `Small2`, not `Small`", "`LoadOptions::any_network`"],
        );
    };
    is_refused(&Model::<Small>::load(&path).unwrap_err());
    let allowed = LoadOptions::new().any_network();
    let loaded = Parameters::load::<Small>(&path, &allowed)?;
    assert_eq!(loaded, *twin.parameters());

    let options = TrainerOptions::default();
    Trainer::new(twin, options.clone())?.save(&path)?;
    is_refused(&Trainer::<Small>::resume(&path, options.clone(), &serial()).unwrap_err());
    let resumed = Trainer::<Small>::resume_with(&path, options, &serial(), &allowed)?;
    assert_eq!(*resumed.model().parameters(), loaded);
    Ok(())
}

#[test]
fn a_training_of_another_optimizer() -> Result<(), Failure> {
    let directory = TempDir::new()?;
    let path = directory.path().join("net.safetensors");
    let options = |optimizer| TrainerOptions::default().optimizer(optimizer);
    let momentum = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
    for (written, resumed, words) in [
        (Optimizer::adam(), Optimizer::adam_w(), "written by Adam, but the options say AdamW"),
        (Optimizer::adam(), Optimizer::sgd(), "written by Adam, but the options say SGD"),
        (momentum, Optimizer::sgd(), "written by SGD with momentum, but the options say SGD:"),
        (Optimizer::sgd(), momentum, "written by SGD, but the options say SGD with momentum"),
    ] {
        Trainer::new(small()?, options(written))?.save(&path)?;
        let error = Trainer::<Small>::resume(&path, options(resumed), &serial()).unwrap_err();
        assert!(matches!(error, Error::Checkpoint(CheckpointError::Optimizer { .. })));
        says(&error, &["net.safetensors", words]);
    }
    Ok(())
}

#[test]
fn a_model_is_no_training_to_resume_with_momentum() -> Result<(), Failure> {
    let directory = TempDir::new()?;
    let path = directory.path().join("net.safetensors");
    small()?.save(&path)?;
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
    let options = TrainerOptions::default().optimizer(optimizer);
    let error = Trainer::<Small>::resume(&path, options, &serial()).unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint(CheckpointError::Mismatch { mismatches, .. }) if mismatches.len() == 4),
        "{error}"
    );
    says(&error, &["`optimizer.velocity.c1.weight` [2, 1, 3, 3] is missing from the file"]);
    Ok(())
}
