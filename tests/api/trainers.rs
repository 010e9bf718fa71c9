//! Trainers behave as documented: losses decrease, training resumes with the same bits, frozen parameters do not
//! change, and errors are found.

use std::collections::BTreeSet;

use crate::support::numbers::{Outcome, all_bits, noise};
use crate::support::{Images, Points, images, labels, serial};
use ndarray::{Array2, ArrayD, Axis};
use tempfile::TempDir;
use windlass::{
    Average, Error, Loss, Model, Optimizer, Options, ParameterGroup, Schedule, Stage, Trainer,
    TrainerOptions, network,
};

network! {
    network Normalized(point: [2]) -> [2] { f1: linear(3); n1: batch_norm; tanh; f2: linear(2) }
}

/// Trains without and with an interruption, and compares bits.
fn resumes(optimizer: Optimizer, threads: usize) -> Outcome {
    let options = Options::default().threads(threads);
    let schedule = Schedule::cosine_with_warm_up(0.05, 8, 2)?;
    let training = TrainerOptions::default().optimizer(optimizer).schedule(schedule).seed(11);
    let directory = TempDir::new()?;
    let path = directory.path().join("training.safetensors");
    let step = |trainer: &mut Trainer<Images>, number: u32| {
        let count = 5 + number as usize % 3;
        trainer.step(&images(count, 100 + number), &labels(count))
    };
    let mut whole = Trainer::new(Model::<Images>::with_options(3, &options)?, training.clone())?;
    let mut reports = Vec::new();
    for number in 0..4 {
        step(&mut whole, number)?;
    }
    whole.save(&path)?;
    for number in 4..8 {
        reports.push(step(&mut whole, number)?);
    }
    let mut resumed = Trainer::<Images>::resume(&path, training, &options)?;
    assert_eq!(resumed.steps(), 4);
    for number in 4..8 {
        assert_eq!(step(&mut resumed, number)?, reports[number as usize - 4]);
    }
    assert_eq!(all_bits(resumed.model()), all_bits(whole.model()));
    let last = |trainer: &Trainer<Images>| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        trainer.save(&path)?;
        Ok(std::fs::read(&path)?)
    };
    assert_eq!(last(&resumed)?, last(&whole)?);
    let loaded: Model<Images> = Model::load_with(&path, &options)?;
    assert_eq!(all_bits(&loaded), all_bits(whole.model()));
    Ok(())
}

#[test]
fn training_resumes_with_plain_gradient_descent() -> Outcome {
    resumes(Optimizer::sgd(), 1)
}

#[test]
fn training_resumes_with_momentum() -> Outcome {
    resumes(Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 }, 1)
}

#[test]
fn training_resumes_with_adam_on_two_threads() -> Outcome {
    resumes(Optimizer::adam(), 2)
}

#[test]
fn training_resumes_with_optimizers_that_scale_gradients() -> Outcome {
    let centred =
        Optimizer::RmsProp { alpha: 0.9, epsilon: 1e-6, momentum: 0.5, centered: true, weight_decay: 0.01 };
    let others = [Optimizer::rms_prop(), Optimizer::adagrad(), Optimizer::adadelta(), Optimizer::lion()];
    [centred].into_iter().chain(others).try_for_each(|optimizer| resumes(optimizer, 1))
}

#[test]
fn every_optimizer_lowers_the_loss_at_its_usual_rate() -> Outcome {
    for optimizer in [
        Optimizer::sgd(),
        Optimizer::momentum(0.9),
        Optimizer::nesterov(0.9),
        Optimizer::adam(),
        Optimizer::adam_w(),
        Optimizer::rms_prop(),
        Optimizer::adagrad(),
        Optimizer::adadelta(),
        Optimizer::lion(),
    ] {
        let options = TrainerOptions::default().optimizer(optimizer);
        let mut trainer = Trainer::new(Model::<Points>::with_options(1, &serial())?, options)?;
        let points = noise(2 * 64, 9);
        let labels: Vec<i32> = points.chunks(2).map(|point| i32::from(point[0] > point[1])).collect();
        let first = trainer.step(&points, &labels)?;
        for _ in 0..200 {
            trainer.step(&points, &labels)?;
        }
        let last = trainer.step(&points, &labels)?;
        assert!(last.loss < 0.95 * first.loss, "{}: {} to {}", optimizer.name(), first.loss, last.loss);
    }
    Ok(())
}

#[test]
fn groups_have_rates_of_their_own() -> Outcome {
    let after_a_step = |groups| -> Result<_, Box<dyn std::error::Error>> {
        let options = TrainerOptions::default().groups(groups);
        let mut trainer = Trainer::new(Model::<Points>::with_options(1, &serial())?, options)?;
        trainer.step(noise(2 * 8, 9), &[0, 1, 0, 1, 1, 1, 0, 1])?;
        Ok(trainer.into_model())
    };
    let before = Model::<Points>::with_options(1, &serial())?;
    let plain = after_a_step(Vec::new())?;
    let grouped =
        after_a_step(vec![ParameterGroup::new("*.bias").rate(0.0), ParameterGroup::new("f*").rate(2.0)])?;
    let of = |model: &Model<Points>, name: &str| model.parameter(name).map(|tensor| tensor.to_owned());
    for name in ["f1.weight", "f2.weight"] {
        let [old, plain, twice] = [&before, &plain, &grouped].map(|model| of(model, name).ok_or(name));
        let (old, plain, twice) = (old?, plain?, twice?);
        let expected = &old + 2.0 * (&plain - &old);
        assert!((&twice - &expected).iter().all(|error| error.abs() < 1e-6), "{name}");
    }
    for name in ["f1.bias", "f2.bias"] {
        assert_eq!(of(&grouped, name), of(&before, name));
        assert_ne!(of(&plain, name), of(&before, name));
    }
    let error = after_a_step(vec![ParameterGroup::new("f3")]).unwrap_err().to_string();
    assert!(error.contains("the parameter group `f3` has no parameter; there are `f1.weight`"), "{error}");
    Ok(())
}

#[test]
fn averages_follow_the_parameters() -> Outcome {
    for average in [Average::Exponential { decay: 0.75 }, Average::Equal { from_step: 2 }] {
        let options = TrainerOptions::default().average(average).frozen(["f2.bias"]);
        let mut trainer = Trainer::new(Model::<Normalized>::with_options(1, &serial())?, options.clone())?;
        assert!(trainer.averaged().is_none());
        let mut expected = ArrayD::zeros(vec![3, 2]);
        for step in 0..6 {
            trainer.step(noise(2 * 8, step), &[0, 1, 0, 1, 1, 1, 0, 1])?;
            let share = match average {
                Average::Exponential { .. } => {
                    if step == 0 {
                        1.0
                    } else {
                        0.25
                    }
                }
                _ => 1.0 / (step.saturating_sub(2) + 1) as f32,
            };
            let new = trainer.model().parameter("f1.weight").ok_or("no weight")?.to_owned();
            expected = &expected + share * (&new - &expected);
        }
        let averaged = trainer.averaged().ok_or("no averages")?;
        let got = averaged.get("f1.weight").ok_or("no weight")?;
        assert!((&got - &expected).iter().all(|error| error.abs() < 1e-6), "{got} is not {expected}");
        for same in ["n1.running_mean", "f2.bias"] {
            assert_eq!(averaged.get(same), trainer.model().parameter(same));
        }
        let directory = TempDir::new()?;
        let path = directory.path().join("averages.safetensors");
        trainer.save(&path)?;
        let resumed = Trainer::<Normalized>::resume(&path, options, &serial())?;
        assert_eq!(resumed.averaged().ok_or("no averages")?, averaged);
        Model::<Normalized>::with_parameters(averaged, &serial())?;
    }
    let options = TrainerOptions::default().average(Average::Exponential { decay: 1.0 });
    assert!(matches!(Trainer::new(Points::model(0)?, options), Err(Error::Setting { .. })));
    Ok(())
}

#[test]
fn the_seed_of_dropout_decides_a_step() -> Outcome {
    let after_a_step = |seed| -> Result<_, Box<dyn std::error::Error>> {
        let options = TrainerOptions::default().seed(seed);
        let mut trainer = Trainer::new(Model::<Images>::with_options(3, &serial())?, options)?;
        trainer.step(&images(8, 1), &labels(8))?;
        Ok(all_bits(trainer.model()))
    };
    assert_eq!(after_a_step(1)?, after_a_step(1)?);
    assert_ne!(after_a_step(1)?, after_a_step(2)?);
    Ok(())
}

#[test]
fn frozen_parameters_stay_and_others_move() -> Outcome {
    let frozen = BTreeSet::from(["c1.weight".to_owned(), "f3.bias".to_owned()]);
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.1 };
    let options = TrainerOptions::default().optimizer(optimizer).frozen(frozen.clone());
    let model: Model<Images> = Model::with_options(3, &serial())?;
    let before = model.parameters().clone();
    let mut trainer = Trainer::new(model, options)?;
    for number in 0..3 {
        trainer.step(&images(8, number), &labels(8))?;
    }
    for (name, _) in Images::PARAMETERS {
        let stayed = trainer.model().parameter(name) == before.get(name);
        assert_eq!(stayed, frozen.contains(*name), "{name}");
    }
    assert_ne!(trainer.model().parameter("n1.running_mean"), before.get("n1.running_mean"));
    Ok(())
}

#[test]
fn a_frozen_backbone_stays_to_the_bit_while_the_head_is_trained() -> Outcome {
    let frozen = BTreeSet::from(["c1", "n1", "c2"].map(str::to_owned));
    let momentum = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.1 };
    for optimizer in [momentum, Optimizer::adam()] {
        let options = TrainerOptions::default().optimizer(optimizer).frozen(frozen.clone());
        let mut model: Model<Images> = Model::with_options(3, &serial())?;
        for (name, values) in
            [("n1.running_mean", [0.1, -0.2, 0.3, 0.0]), ("n1.running_var", [0.5, 1.5, 2.0, 0.9])]
        {
            model.set_parameter(name, &ndarray::arr1(&values).into_dyn())?;
        }
        let before = model.parameters().clone();
        let mut trainer = Trainer::new(model, options)?;
        for number in 0..3 {
            trainer.step(&images(8, number), &labels(8))?;
        }
        for name in before.names() {
            let stayed = trainer.model().parameter(name) == before.get(name);
            assert_eq!(stayed, !name.starts_with("f3"), "{name}");
        }
    }
    Ok(())
}

#[test]
fn frozen_batch_normalization_gives_what_the_network_predicts() -> Outcome {
    // Without dropout, the outputs of a step are those of the model before it.
    let options = TrainerOptions::default().frozen(["n1"]);
    let mut model: Model<Normalized> = Model::with_options(3, &serial())?;
    model.set_parameter("n1.running_mean", &ndarray::arr1(&[0.4, -0.3, 0.2]).into_dyn())?;
    model.set_parameter("n1.running_var", &ndarray::arr1(&[0.2, 3.0, 1.0]).into_dyn())?;
    let points = noise(20, 1);
    let predicted = model.forward(&points)?;
    let mut trainer = Trainer::new(model, options)?;
    trainer.step(&points, &vec![1; 10])?;
    for (trained, predicted) in trainer.outputs().iter().zip(&predicted) {
        assert!((trained - predicted).abs() <= 1e-5 * (1.0 + predicted.abs()), "{trained} and {predicted}");
    }
    assert_ne!(trainer.model().forward(&points)?, predicted);
    Ok(())
}

#[test]
fn a_frozen_layer_takes_what_another_trainer_learned() -> Outcome {
    let (points, labels) = (noise(2 * 4, 5), [0, 1, 1, 0]);
    let model = || Model::<Points>::with_options(2, &serial());
    let mut learner = Trainer::new(model()?, TrainerOptions::default())?;
    let first = learner.step(&points, &labels)?;
    let learned = learner.model().parameter("f1.weight").unwrap().to_owned();

    let options = TrainerOptions::default().frozen(["f1"]);
    let mut other = Trainer::new(model()?, options.clone())?;
    other.set_parameter("f1.weight", &learned)?;
    let mut with_it = model()?;
    with_it.set_parameter("f1.weight", &learned)?;
    let mut expected = Trainer::new(with_it, options)?;
    for _ in 0..2 {
        let report = other.step(&points, &labels)?;
        assert_eq!(report, expected.step(&points, &labels)?);
        assert!(report.loss < first.loss);
    }
    assert_eq!(other.model().parameters(), expected.model().parameters());
    assert_eq!(other.model().parameter("f1.weight").unwrap(), learned);
    assert!(matches!(other.set_parameter("f3.weight", &learned), Err(Error::UnknownParameter { .. })));
    assert!(matches!(other.set_parameter("f1.bias", &learned), Err(Error::ParameterShape { .. })));
    Ok(())
}

#[test]
fn frozen_training_resumes_with_what_is_frozen() -> Outcome {
    let directory = TempDir::new()?;
    let path = directory.path().join("training.safetensors");
    let options = |frozen: &[&str]| {
        TrainerOptions::default().optimizer(Optimizer::adam()).frozen(frozen.iter().copied())
    };
    let mut trainer = Trainer::new(Model::<Images>::with_options(3, &serial())?, options(&["c1", "n1"]))?;
    trainer.step(&images(8, 1), &labels(8))?;
    trainer.save(&path)?;
    let mut resumed = Trainer::<Images>::resume(&path, options(&["c1", "n1"]), &serial())?;
    for number in 2..4 {
        assert_eq!(
            trainer.step(&images(8, number), &labels(8))?,
            resumed.step(&images(8, number), &labels(8))?
        );
    }
    assert_eq!(all_bits(resumed.model()), all_bits(trainer.model()));

    // Settings may change, but the frozen parameters determine the contents of the file.
    let slower = options(&["c1", "n1"])
        .schedule(Schedule::constant(1e-5)?)
        .optimizer(Optimizer::Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.1 })
        .clip_norm(1.0);
    let mut slowed = Trainer::<Images>::resume(&path, slower, &serial())?;
    assert_eq!((slowed.steps(), slowed.step(&images(8, 2), &labels(8))?.learning_rate), (1, 1e-5));
    let error = Trainer::<Images>::resume(&path, options(&[]), &serial()).unwrap_err().to_string();
    assert!(
        error.contains("`optimizer.first_moment.c1.weight` [4, 2, 3, 3] is missing from the file"),
        "{error}"
    );
    Ok(())
}

#[test]
fn each_optimizer_has_its_usual_rate() -> Outcome {
    for (optimizer, rate) in
        [(Optimizer::sgd(), 0.1), (Optimizer::adam(), 0.001), (Optimizer::adam_w(), 0.001)]
    {
        let options = TrainerOptions::default().optimizer(optimizer);
        let mut trainer = Trainer::new(Model::<Points>::with_options(1, &serial())?, options)?;
        assert_eq!(trainer.step(noise(8, 1), &vec![0; 4])?.learning_rate, rate);
    }
    Ok(())
}

#[test]
fn the_first_layer_that_makes_a_nan_is_named_and_its_step_undone() -> Outcome {
    let options = TrainerOptions::default().check_finite(true);
    let trainer = |options: &TrainerOptions| {
        Trainer::new(Model::<Points>::with_options(1, &serial())?, options.clone())
    };
    let mut checked = trainer(&options)?;
    let points = noise(8, 1);
    checked.step(&points, &[0, 1, 0, 1])?;
    let before = checked.model().parameters().clone();
    let mut step = |points: &[f32]| match checked.step(points, &[0, 1, 0, 1]).unwrap_err() {
        Error::NonFiniteStep { step: 1, origin: Some(origin), network } => {
            assert_eq!(
                (checked.steps(), checked.model().parameters(), network.as_str()),
                (1, &before, "Points")
            );
            (origin.stage, origin.layer.clone(), origin.index.clone())
        }
        other => panic!("{other}"),
    };
    let mut spoiled = points.clone();
    spoiled[3] = f32::NAN;
    assert_eq!(step(&spoiled), (Stage::Given, "point".to_owned(), vec![1, 1]));

    // Sums that overflow in the forward pass.
    spoiled[3] = f32::MAX;
    spoiled[2] = f32::MAX;
    let mut large = Model::<Points>::with_options(1, &serial())?;
    large.set_parameter("f1.weight", &ArrayD::from_elem(vec![16, 2], 2.0))?;
    let forward = Trainer::new(large, options.clone())?;
    let found = forward.find_non_finite(&spoiled, &[0, 1, 0, 1])?.ok_or("a sum that is infinite")?;
    assert_eq!((found.stage, found.layer.as_str()), (Stage::Forward, "f1"));
    assert!(found.to_string().ends_with("at layer `f1` gives inf at [1, 0]"), "{found}");

    // An update that overflows: weight decay doubles a value that is already large.
    let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 2.0 };
    let mut large = Model::<Points>::with_options(1, &serial())?;
    large.set_parameter("f1.weight", &ArrayD::from_elem(vec![16, 2], 3e38))?;
    let mut update = Trainer::new(large, options.optimizer(optimizer))?;
    let found = update.find_non_finite(&[0.0; 8], &[0, 1, 0, 1])?.ok_or("an update that is infinite")?;
    assert_eq!((found.stage, found.layer.as_str()), (Stage::Update, "f1.weight"), "{found}");
    let error = update.step(&[0.0; 8], &[0, 1, 0, 1]).unwrap_err().to_string();
    assert_eq!(
        error,
        "step 0 of `Points` produced NaN or infinite values; first, the update of `f1.weight` by `sgd` is -inf at \
         [0, 0]"
    );

    // Without `check_finite`, nothing is reported.
    assert!(trainer(&TrainerOptions::default())?.find_non_finite(&points, &[0, 1, 0, 1])?.is_none());
    let mut unchecked = trainer(&TrainerOptions::default())?;
    spoiled[2] = f32::NAN;
    assert!(unchecked.step(&spoiled, &[0, 1, 0, 1])?.loss.is_nan());
    Ok(())
}

#[test]
fn clipping_reports_the_norm_and_bounds_the_step() -> Outcome {
    let bound = 1e-3;
    let options = TrainerOptions::default().clip_norm(bound).schedule(Schedule::constant(1.0)?);
    let model: Model<Points> = Model::with_options(3, &serial())?;
    let before = model.parameters().to_named();
    let mut trainer = Trainer::new(model, options)?;
    let report = trainer.step(noise(16, 1), &vec![1; 8])?;
    let norm = report.gradient_norm.ok_or("the norm is reported with clipping")?;
    assert!(f64::from(norm) > 10.0 * bound, "{norm}");
    let moved: f64 = trainer
        .model()
        .parameters()
        .to_named()
        .iter()
        .flat_map(|(name, now)| now.iter().zip(&before[name]).map(|(a, b)| f64::from(a - b).powi(2)))
        .sum();
    // A rate of 1 applies the clipped gradient; parameters near 1 round to 2⁻²⁴.
    assert!((moved.sqrt() - bound).abs() < 1e-3 * bound, "{}", moved.sqrt());

    let mut unclipped =
        Trainer::new(Model::<Points>::with_options(3, &serial())?, TrainerOptions::default())?;
    assert_eq!(unclipped.step(noise(16, 1), &vec![1; 8])?.gradient_norm, None);
    Ok(())
}

#[test]
fn points_inside_and_outside_a_ring_are_told_apart() -> Outcome {
    let points = noise(2 * 200, 9);
    let inside = |point: &[f32]| i32::from(point[0] * point[0] + point[1] * point[1] < 0.6);
    let classes: Vec<i32> = points.chunks(2).map(inside).collect();
    let options = TrainerOptions::default().optimizer(Optimizer::adam()).schedule(Schedule::constant(0.03)?);
    let mut trainer = Trainer::new(Model::<Points>::with_options(1, &serial())?, options)?;
    let first = trainer.step(&points, &classes)?.loss;
    for _ in 0..300 {
        trainer.step(&points, &classes)?;
    }
    let last = trainer.step(&points, &classes)?;
    assert!(last.loss < 0.2 * first, "{first} to {}", last.loss);
    assert_eq!(last.learning_rate, 0.03);
    assert_eq!(trainer.steps(), 302);
    let scores = trainer.into_model().forward(&points)?;
    let hits = scores
        .axis_iter(Axis(0))
        .zip(&classes)
        .filter(|(score, class)| i32::from(score[1] > score[0]) == **class)
        .count();
    assert!(hits >= 190, "{hits} of 200");
    Ok(())
}

#[test]
fn a_line_is_learned_by_the_mean_squared_error() -> Outcome {
    let points = Array2::from_shape_vec((50, 2), noise(100, 4))?;
    let values = Array2::from_shape_fn((50, 2), |(row, column)| {
        let (x, y) = (points[[row, 0]], points[[row, 1]]);
        if column == 0 { 0.5 * x - y } else { 0.25 + y }
    });
    let options = TrainerOptions::default()
        .loss(Loss::MeanSquaredError)
        .optimizer(Optimizer::adam())
        .schedule(Schedule::constant(0.02)?);
    let mut trainer = Trainer::new(Model::<Points>::with_options(1, &serial())?, options)?;
    for _ in 0..400 {
        trainer.step(&points, &values)?;
    }
    let loss = trainer.step(&points, &values)?.loss;
    assert!(loss < 1e-3, "{loss}");
    let outputs = trainer.outputs();
    let mean = outputs.iter().zip(&values).map(|(got, wanted)| (got - wanted).powi(2)).sum::<f32>() / 100.0;
    assert!((mean - loss).abs() <= 1e-5 * loss, "{mean} and {loss}");
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_more_than_rounding() -> Outcome {
    let train = |threads| -> Result<Vec<f32>, Box<dyn std::error::Error>> {
        let model = Model::<Images>::with_options(3, &Options::default().threads(threads))?;
        let mut trainer = Trainer::new(model, TrainerOptions::default())?;
        (0..3).map(|number| Ok(trainer.step(&images(8, number), &labels(8))?.loss)).collect()
    };
    let (one, three) = (train(1)?, train(3)?);
    assert_eq!(three, train(3)?);
    for (one, three) in one.iter().zip(&three) {
        assert!((one - three).abs() <= 1e-5 * one.abs(), "{one} and {three}");
    }
    Ok(())
}
