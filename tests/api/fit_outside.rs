//! What a fit shares with the world outside: event files, Ctrl-C, and checkpoints that are read without their program.

use std::path::PathBuf;

use tempfile::TempDir;
use windlass::checkpoint::{Checkpoint, Metadata, NonFinite};
use windlass::data::TensorDataset;
use windlass::{Dynamic, Error, FitOptions, Model, Options, Progress, Trainer, TrainerOptions};

use crate::support::numbers::{Outcome, bits};
use crate::support::{Images, images, labels, serial};

fn trainer() -> Result<Trainer<Images>, Error> {
    Trainer::new(Model::with_options(3, &serial())?, TrainerOptions::default())
}

fn silent(epochs: u64) -> FitOptions {
    FitOptions::epochs(epochs).progress(Progress::Silent)
}

#[test]
fn event_files_are_written() -> Outcome {
    let directory = TempDir::new()?;
    let data = TensorDataset::new(images(12, 1), labels(12))?;
    let options = silent(2).tensorboard(directory.path().join("runs/first"));
    trainer()?.fit(&data.shuffled(4, 0)?, &data.in_order(6)?, options)?;
    let files: Vec<PathBuf> = directory
        .path()
        .join("runs/first")
        .read_dir()?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    assert_eq!(files.len(), 1);
    let bytes = std::fs::read(&files[0])?;
    let count = |tag: &str| bytes.windows(tag.len()).filter(|window| *window == tag.as_bytes()).count();
    assert_eq!((count("brain.Event:2"), count("step/loss"), count("validation/accuracy")), (1, 6, 2));
    let file = directory.path().join("file");
    std::fs::write(&file, "")?;
    let error =
        trainer()?.fit(&data.in_order(4)?, &(), silent(1).tensorboard(file.join("runs"))).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    Ok(())
}

/// The signal arrives while the steps go on; the fit has no other end in reach.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_fit_after_a_step() -> Outcome {
    use std::ops::ControlFlow;
    use windlass::{FitEnd, FitEvent};

    let directory = TempDir::new()?;
    let path = directory.path().join("training.safetensors");
    let data = TensorDataset::new(images(8, 1), labels(8))?;
    let train = data.shuffled(4, 0)?;
    let options = |epochs| silent(epochs).save_last(path.clone());
    let mut is_sent = false;
    let history = trainer()?.fit_with(&train, &(), options(1_000_000).stop_on_ctrl_c(true), |_, event| {
        if let (FitEvent::Step { epoch: 3, .. }, false) = (event, is_sent) {
            let status =
                std::process::Command::new("kill").args(["-INT", &std::process::id().to_string()]).status();
            is_sent = status.is_ok_and(|status| status.success());
            if !is_sent {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    assert_eq!(history.end, Some(FitEnd::Interrupted));
    assert!(history.epochs.len() >= 2);
    let resumed = Trainer::<Images>::resume(&path, TrainerOptions::default(), &serial())?;
    assert_eq!(resumed.history().epochs, history.epochs);
    Ok(())
}

#[test]
fn checkpoints_hold_their_network() -> Outcome {
    let directory = TempDir::new()?;
    let [model, training] = ["model", "training"].map(|name| directory.path().join(name));
    let mut trainer = trainer()?;
    trainer.step(&images(4, 1), &labels(4))?;
    trainer.model().save(&model)?;
    trainer.save(&training)?;
    let expected = trainer.model().forward(&images(2, 5))?;
    for path in [&model, &training] {
        let network = Dynamic::of_checkpoint(path)?;
        assert_eq!(network.graph(), Images::graph());
        let read = Model::load_of(network, path, &Options::default().threads(1))?;
        assert_eq!(bits(&read.forward(&images(2, 5))?.single()?), bits(&expected));
    }

    let write = |graph: Option<&str>| -> Result<String, Error> {
        let metadata = Metadata { graph: graph.map(str::to_owned), ..Metadata::default() };
        let path = directory.path().join("other");
        Checkpoint { metadata: Some(metadata), ..Checkpoint::default() }.save(&path, NonFinite::Refuse)?;
        Ok(Dynamic::of_checkpoint(&path).unwrap_err().to_string())
    };
    assert!(write(None)?.contains("no graph of their network"));
    let hostile = [
        "graph",
        "graph g {\n  %0 = unary(%9) {kind = \"relu\"}\n}",
        "graph g {\n  %0 = input {name = \"x\", type = \"f32[N, 0]\"}\n  output \"y\" = %0\n}",
        "graph g {\n  %0 = input {name = \"x\", type = \"f32[N, 4294967296, 4294967296]\"}\n  output \"y\" = %0\n}",
    ];
    for text in hostile {
        assert!(write(Some(text))?.contains("its graph: "), "{text}");
    }
    assert!(write(Some("graph g {\n}"))?.contains("is not a network"));
    Ok(())
}
