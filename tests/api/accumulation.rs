//! Gradient accumulation: one update for several batches, with everything that applies to updates.

use std::error;

use tempfile::TempDir;
use windlass::data::TensorDataset;
use windlass::{
    Average, Error, FitOptions, FitSchedule, Model, Optimizer, ParameterGroup, Progress, RangeTest, Schedule,
    Stage, Trainer, TrainerOptions,
};

use crate::support::numbers::{Outcome, all_bits, noise};
use crate::support::{Images, Points, images, labels, serial};

fn points(options: TrainerOptions) -> Result<Trainer<Points>, Error> {
    Trainer::new(Model::with_options(3, &serial())?, options)
}

fn pictures(options: &TrainerOptions) -> Result<Trainer<Images>, Error> {
    Trainer::new(Model::with_options(3, &serial())?, options.clone())
}

/// A step on the batch with a number: five to seven images.
fn step(trainer: &mut Trainer<Images>, number: usize) -> Result<windlass::StepReport, Error> {
    let count = 5 + number % 3;
    trainer.step(&images(count, 100 + number as u32), &labels(count))
}

/// The largest difference of the parameters of two trainers.
fn difference(left: &Model<Points>, right: &Model<Points>) -> Result<f32, Box<dyn error::Error>> {
    let mut most = 0f32;
    for (name, left) in left.parameters().to_named() {
        let right = right.parameter(&name).ok_or("a parameter")?;
        most = left.iter().zip(right.iter()).map(|(left, right)| (left - right).abs()).fold(most, f32::max);
    }
    Ok(most)
}

/// Without layers that mix samples, four batches of three are one of twelve.
#[test]
fn equal_batches_are_one_large_batch() -> Outcome {
    let optimizers = [
        Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 },
        Optimizer::adam(),
        Optimizer::lion(),
    ];
    for optimizer in optimizers {
        let options = TrainerOptions::default()
            .optimizer(optimizer)
            .groups([ParameterGroup::new("*.bias").rate(2.0).weight_decay(0.0)])
            .average(Average::Exponential { decay: 0.5 })
            .schedule(Schedule::cosine_with_warm_up(0.05, 8, 2)?)
            .clip_value(0.3)
            .clip_norm(0.2);
        let (mut large, mut parts) = (points(options.clone())?, points(options.accumulate(4))?);
        for round in 0..4 {
            let (x, y) = (noise(24, round), labels(12).iter().map(|label| label % 2).collect::<Vec<i32>>());
            let whole = large.step(&x, &y)?;
            let mut mean = 0.0;
            for (part, (x, y)) in x.chunks(6).zip(y.chunks(3)).enumerate() {
                assert_eq!((parts.steps(), parts.accumulated()), (u64::from(round), part as u64));
                let report = parts.step(x, y)?;
                mean += report.loss / 4.0;
                assert_eq!(report.learning_rate, whole.learning_rate);
                assert_eq!(report.updated, part == 3);
                assert_eq!(report.gradient_norm.is_some(), part == 3);
                if let (Some(norm), Some(expected)) = (report.gradient_norm, whole.gradient_norm) {
                    assert!((norm - expected).abs() < 1e-5, "{norm} {expected}");
                }
            }
            assert!((mean - whole.loss).abs() < 1e-5);
            assert_eq!((parts.steps(), parts.accumulated()), (u64::from(round) + 1, 0));
        }
        // Lion moves by the sign of what is nearly zero as well.
        assert!(difference(large.model(), parts.model())? < 1e-4, "{optimizer:?}");
        let averages =
            [large.averaged(), parts.averaged()].map(|average| average.map(|average| average.to_named()));
        assert!(averages[0].is_some() && averages[1].is_some());
        assert!(parts.memory(3).parameters > large.memory(3).parameters);
    }
    Ok(())
}

#[test]
fn one_batch_makes_the_same_step_as_without() -> Outcome {
    let plain = points(TrainerOptions::default())?;
    let one = points(TrainerOptions::default().accumulate(1))?;
    assert_eq!(one.graph(), plain.graph());
    assert!(one.update_graph().is_none());
    let error = points(TrainerOptions::default().accumulate(0)).unwrap_err();
    assert_eq!(error.to_string(), "cannot train `Points`: `accumulate` is 0e0 but must be at least 1");
    Ok(())
}

fn adam() -> Result<TrainerOptions, Error> {
    Ok(TrainerOptions::default()
        .optimizer(Optimizer::adam())
        .schedule(Schedule::cosine_with_warm_up(0.05, 8, 2)?)
        .clip_norm(1.0)
        .seed(11))
}

/// With batch normalisation and dropout.
#[test]
fn resumes_between_two_batches_with_the_same_bits() -> Outcome {
    let directory = TempDir::new()?;
    let path = directory.path().join("training.safetensors");
    let options = adam()?.accumulate(4);
    let mut whole = pictures(&options)?;
    for number in 0..6 {
        step(&mut whole, number)?;
    }
    assert_eq!((whole.steps(), whole.accumulated()), (1, 2));
    whole.save(&path)?;
    let mut reports = Vec::new();
    for number in 6..13 {
        reports.push(step(&mut whole, number)?);
    }
    let mut resumed = Trainer::<Images>::resume(&path, options.clone(), &serial())?;
    assert_eq!((resumed.steps(), resumed.accumulated()), (1, 2));
    for (number, report) in (6..13).zip(&reports) {
        assert_eq!(step(&mut resumed, number)?, *report);
    }
    assert_eq!(all_bits(resumed.model()), all_bits(whole.model()));
    let file = |trainer: &Trainer<Images>| -> Result<Vec<u8>, Box<dyn error::Error>> {
        trainer.save(&path)?;
        Ok(std::fs::read(&path)?)
    };
    assert_eq!(file(&resumed)?, file(&whole)?);
    let model: Model<Images> = Model::load_with(&path, &serial())?;
    assert_eq!(all_bits(&model), all_bits(whole.model()));

    // The file has the gradients of one batch.
    let other = adam()?.accumulate(3);
    let error = Trainer::<Images>::resume(&path, other.clone(), &serial()).unwrap_err().to_string();
    assert!(error.ends_with("has the gradients of 1 of 4 batches of an update, but the options say 3: resume with `accumulate` 4"), "{error}");
    for number in 13..16 {
        step(&mut whole, number)?;
    }
    whole.save(&path)?;
    // After an update, any number may follow.
    assert_eq!(Trainer::<Images>::resume(&path, other, &serial())?.steps(), 4);
    assert_eq!(Trainer::<Images>::resume(&path, adam()?, &serial())?.steps(), 4);
    Ok(())
}

/// Seven batches in an epoch, three for an update: the first epoch ends in the middle of one.
#[test]
fn a_fit_resumes_in_the_middle_of_an_update() -> Outcome {
    let directory = TempDir::new()?;
    let path = directory.path().join("training.safetensors");
    let data = TensorDataset::new(images(35, 1), labels(35))?;
    let train = data.shuffled(5, 7)?;
    let options = adam()?.accumulate(3);
    let fit = |epochs| {
        FitOptions::epochs(epochs)
            .schedule(FitSchedule::one_cycle(0.02))
            .save_last(path.clone())
            .progress(Progress::Silent)
    };
    let mut whole = pictures(&options)?;
    // The schedule is over all three epochs.
    let mut epochs = 0;
    whole.fit_with(&train, &(), fit(3), |_, event| match event {
        windlass::FitEvent::Epoch(_) if epochs == 0 => {
            epochs += 1;
            std::ops::ControlFlow::Break(())
        }
        _ => std::ops::ControlFlow::Continue(()),
    })?;
    assert_eq!((whole.steps(), whole.accumulated()), (2, 1));
    let mut resumed = Trainer::<Images>::resume(&path, options, &serial())?;
    let history = resumed.fit(&train, &(), fit(3))?;
    assert_eq!(history.last().map(|report| report.steps), Some(7));
    whole.fit(&train, &(), fit(3))?;
    assert_eq!(all_bits(resumed.model()), all_bits(whole.model()));
    assert_eq!(resumed.accumulated(), 0);

    let before = all_bits(resumed.model());
    resumed.step(&images(5, 1), &labels(5))?;
    let before_search = all_bits(resumed.model());
    resumed.find_learning_rate(&train, RangeTest::default().steps(9))?;
    assert_eq!((all_bits(resumed.model()), resumed.accumulated()), (before_search, 1));
    assert_ne!(all_bits(resumed.model()), before, "running statistics");
    Ok(())
}

/// The first batch only sums; the update by the second one overflows, and both are as before it.
#[test]
fn an_update_that_overflows_is_undone_and_named() -> Outcome {
    let options = TrainerOptions::default()
        .optimizer(Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 1e3 })
        .schedule(Schedule::constant(3e38)?)
        .check_finite(true);
    let mut trainer = points(options.accumulate(2))?;
    let (x, y) = (noise(8, 1), [0, 1, 1, 1]);
    trainer.step(&x, &y)?;
    let before = all_bits(trainer.model());
    for _ in 0..2 {
        let Error::NonFiniteStep { origin: Some(origin), step: 0, .. } = trainer.step(&x, &y).unwrap_err()
        else {
            return Err("the first such value is known".into());
        };
        assert_eq!((origin.stage, origin.op), (Stage::Update, "sgd"));
        assert_eq!((all_bits(trainer.model()), trainer.accumulated()), (before.clone(), 1));
    }
    Ok(())
}
