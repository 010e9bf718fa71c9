//! Models and trainers behave as documented: batches of any size, parameters that change, files, training that resumes.
//! What they say to input that does not fit is held in `tests/bad_input.rs`, how right the numbers are in the runtime's
//! `tests/agreement`.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use ndarray::{Array, Array2, Array4, ArrayD, Axis, s};
use tempfile::TempDir;
use windlass::data::{DataLoader, ImageDataset, LoaderOptions, Normalization};
use windlass::tuning::Cache;
use windlass::{
    Error, Loss, Model, Network, Optimizer, Options, Schedule, Stage, Trainer, TrainerOptions, Tuning,
    network,
};

network! {
    network Images(image: [2, 6, 6]) -> [3] {
        c1: conv2d(4, kernel_size = 3, padding = 1); n1: batch_norm; relu; max_pool2d(2);
        c2: conv2d(3, kernel_size = 3); relu; flatten; dropout(0.25);
        f3: linear(3)
    }

    network Normalized(point: [2]) -> [2] { f1: linear(3); n1: batch_norm; tanh; f2: linear(2) }

    network Points(point: [2]) -> [2] {
        f1: linear(16); tanh;
        f2: linear(2)
    }

    network Pair(left: [2], right: [3]) -> (sum: [2], scores: [4]) {
        from(right); r1: linear(2);
        let seen = it;
        add(left); sum = it;
        from(seen); s1: linear(4); softmax; scores = it;
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn serial() -> Options {
    Options::default().threads(1)
}

/// Numbers between −1 and 1 without a pattern that a network could share.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn images(count: usize, seed: u32) -> Array4<f32> {
    Array::from(noise(count * 72, seed)).into_shape_with_order((count, 2, 6, 6)).expect("72 numbers an image")
}

fn labels(count: usize) -> Vec<i32> {
    (0..count).map(|item| (item * 7 % 3) as i32).collect()
}

fn bits(values: &ArrayD<f32>) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn all_bits<N: Network>(model: &Model<N>) -> Vec<(String, Vec<u32>)> {
    model.parameters().to_named().into_iter().map(|(name, tensor)| (name, bits(&tensor))).collect()
}

#[test]
fn a_batch_gives_what_its_items_give_one_by_one() -> Outcome {
    let model: Model<Images> = Model::with_options(1, &serial())?;
    let all = images(64, 1);
    let together = model.forward(&all)?;
    assert_eq!(together.shape(), [64, 3]);
    assert!(together.iter().all(|value| value.is_finite()));
    for batch in [1, 3, 64] {
        for start in (0..64).step_by(batch).filter(|start| start + batch <= 64) {
            let some = model.forward(all.slice(s![start..start + batch, .., .., ..]))?;
            assert_eq!(some, together.slice_axis(Axis(0), (start..start + batch).into()));
        }
    }
    Ok(())
}

#[test]
fn slices_arrays_and_strided_views_are_the_same_input() -> Outcome {
    let model: Model<Images> = Model::with_options(1, &serial())?;
    let wide = images(5, 2);
    let expected = model.forward(&wide)?;
    assert_eq!(model.forward(wide.as_slice().ok_or("contiguous")?)?, expected);
    assert_eq!(model.forward(wide.iter().copied().collect::<Vec<f32>>())?, expected);
    assert_eq!(model.forward(wide.view())?, expected);
    assert_eq!(model.forward(&wide.clone().into_dyn())?, expected);
    let transposed = wide.view().permuted_axes([0, 1, 3, 2]).as_standard_layout().to_owned();
    let strided = transposed.view().permuted_axes([0, 1, 3, 2]);
    assert!(strided.as_slice().is_none());
    assert_eq!(model.forward(strided)?, expected);
    let single = model.forward(wide.index_axis(Axis(0), 2))?;
    assert_eq!(single, expected.slice_axis(Axis(0), (2..3).into()));
    Ok(())
}

#[test]
fn a_changed_parameter_changes_the_next_run() -> Outcome {
    let mut model: Model<Images> = Model::with_options(1, &serial())?;
    let input = images(3, 3);
    let first = model.forward(&input)?;
    // Scale and statistics of the batch normalisation are folded into weights, which must be computed again.
    for name in ["n1.weight", "n1.running_var", "n1.running_mean", "c1.weight", "f3.bias"] {
        let before = model.forward(&input)?;
        let old = model.parameter(name).ok_or("a parameter")?.to_owned();
        model.set_parameter(name, &(&old * 1.5 + 0.25))?;
        assert_ne!(model.forward(&input)?, before, "{name}");
        model.set_parameter(name, &old)?;
        assert_eq!(model.forward(&input)?, first, "{name}");
    }
    Ok(())
}

#[test]
fn parameters_of_one_model_can_take_the_place_of_another_s() -> Outcome {
    let mut first: Model<Images> = Model::with_options(1, &serial())?;
    let second: Model<Images> = Model::with_options(2, &serial())?;
    let input = images(3, 3);
    let expected = second.forward(&input)?;
    assert_ne!(first.forward(&input)?, expected);
    *first.parameters_mut() = second.parameters().clone();
    assert_eq!(first.forward(&input)?, expected);
    assert_eq!(first.parameters(), second.parameters());
    Ok(())
}

#[test]
fn a_saved_model_comes_back_bit_for_bit() -> Outcome {
    let directory = TempDir::new()?;
    let path = directory.path().join("images.safetensors");
    let model: Model<Images> = Model::with_options(7, &serial())?;
    model.save(&path)?;
    let loaded: Model<Images> = Model::load_with(&path, &serial())?;
    assert_eq!(all_bits(&loaded), all_bits(&model));
    let input = images(4, 4);
    assert_eq!(bits(&loaded.forward(&input)?), bits(&model.forward(&input)?));
    Ok(())
}

#[test]
fn a_seed_decides_the_first_parameters() -> Outcome {
    let model = |seed| Model::<Images>::with_options(seed, &serial());
    assert_eq!(all_bits(&model(5)?), all_bits(&model(5)?));
    assert_ne!(all_bits(&model(5)?), all_bits(&model(6)?));
    Ok(())
}

/// Trains in one go and with an interruption, and asks for the same bits.
fn resumes(optimizer: Optimizer, threads: usize) -> Outcome {
    let options = Options::default().threads(threads);
    let schedule = Schedule::cosine_with_warm_up(0.05, 8, 2)?;
    let training =
        TrainerOptions { optimizer, schedule: Some(schedule), seed: 11, ..TrainerOptions::default() };
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
fn the_seed_of_dropout_decides_a_step() -> Outcome {
    let after_a_step = |seed| -> Result<_, Box<dyn std::error::Error>> {
        let options = TrainerOptions { seed, ..TrainerOptions::default() };
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
    let options = TrainerOptions { optimizer, frozen: frozen.clone(), ..TrainerOptions::default() };
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
        let options = TrainerOptions { optimizer, frozen: frozen.clone(), ..TrainerOptions::default() };
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
    let options = TrainerOptions { frozen: BTreeSet::from(["n1".to_owned()]), ..TrainerOptions::default() };
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
fn frozen_training_resumes_with_what_is_frozen() -> Outcome {
    let directory = TempDir::new()?;
    let path = directory.path().join("training.safetensors");
    let options = |frozen: &[&str]| TrainerOptions {
        optimizer: Optimizer::adam(),
        frozen: frozen.iter().map(|&name| name.to_owned()).collect(),
        ..TrainerOptions::default()
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

    // Settings may change; what is frozen decides what is in the file.
    let slower = TrainerOptions {
        schedule: Some(Schedule::constant(1e-5)?),
        optimizer: Optimizer::Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.1 },
        clip_norm: Some(1.0),
        ..options(&["c1", "n1"])
    };
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
        let options = TrainerOptions { optimizer, ..TrainerOptions::default() };
        let mut trainer = Trainer::new(Model::<Points>::with_options(1, &serial())?, options)?;
        assert_eq!(trainer.step(&noise(8, 1), &vec![0; 4])?.learning_rate, rate);
    }
    Ok(())
}

#[test]
fn the_first_layer_that_makes_a_nan_is_named_and_its_step_undone() -> Outcome {
    let options = TrainerOptions { check_finite: true, ..TrainerOptions::default() };
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

    // Sums that leave the range of f32, in the forward pass.
    spoiled[3] = f32::MAX;
    spoiled[2] = f32::MAX;
    let mut large = Model::<Points>::with_options(1, &serial())?;
    large.set_parameter("f1.weight", &ArrayD::from_elem(vec![16, 2], 2.0))?;
    let forward = Trainer::new(large, options.clone())?;
    let found = forward.find_non_finite(&spoiled, &[0, 1, 0, 1])?.ok_or("a sum that is infinite")?;
    assert_eq!((found.stage, found.layer.as_str()), (Stage::Forward, "f1"));
    assert!(found.to_string().ends_with("at layer `f1` gives inf at [1, 0]"), "{found}");

    // An update that does: weight decay doubles what is large already.
    let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 2.0 };
    let mut large = Model::<Points>::with_options(1, &serial())?;
    large.set_parameter("f1.weight", &ArrayD::from_elem(vec![16, 2], 3e38))?;
    let mut update = Trainer::new(large, TrainerOptions { optimizer, ..options })?;
    let found = update.find_non_finite(&[0.0; 8], &[0, 1, 0, 1])?.ok_or("an update that is infinite")?;
    assert_eq!((found.stage, found.layer.as_str()), (Stage::Update, "f1.weight"), "{found}");
    let error = update.step(&[0.0; 8], &[0, 1, 0, 1]).unwrap_err().to_string();
    assert_eq!(
        error,
        "step 0 of `Points` made values that are NaN or infinite; first, the update of `f1.weight` by `sgd` is -inf at \
         [0, 0]"
    );

    // Nothing to find, and nothing looked for.
    assert!(trainer(&TrainerOptions::default())?.find_non_finite(&points, &[0, 1, 0, 1])?.is_none());
    let mut unchecked = trainer(&TrainerOptions::default())?;
    spoiled[2] = f32::NAN;
    assert!(unchecked.step(&spoiled, &[0, 1, 0, 1])?.loss.is_nan());
    Ok(())
}

#[test]
fn debugging_forms_are_short() -> Outcome {
    let model: Model<Images> = Model::with_options(3, &serial())?;
    let parameters = format!("{:?}", model.parameters());
    assert_eq!(parameters, "Parameters { tensors: 10, numbers: 215 }");
    let said = format!("{model:?}");
    assert!(said.starts_with("Model<Images> { Parameters { tensors: 10"), "{said}");
    let trainer = Trainer::new(model, TrainerOptions::default())?;
    let training = format!("{trainer:?}");
    assert!(training.starts_with("Trainer<Images> { step: 0, optimizer: SGD, "), "{training}");
    let predicting = format!("{:?}", trainer.into_model().into_predictor()?);
    assert!(predicting.starts_with("Predictor<Images> { "), "{predicting}");
    for text in [said, training, predicting] {
        assert!(text.len() < 250, "{text}");
    }
    Ok(())
}

#[test]
fn a_network_makes_and_loads_its_models() -> Outcome {
    let directory = TempDir::new()?;
    let path = directory.path().join("points.safetensors");
    let model = Points::model(5)?;
    assert_eq!(all_bits(&model), all_bits(&Model::<Points>::new(5)?));
    model.save(&path)?;
    assert_eq!(all_bits(&Points::load(&path)?), all_bits(&model));
    Ok(())
}

#[test]
fn memory_of_large_batches_is_given_back_on_request() -> Outcome {
    let model: Model<Images> = Model::with_options(1, &serial())?;
    let expected = model.forward(&images(64, 1))?;
    model.release_memory();
    assert_eq!(model.forward(&images(64, 1))?, expected);
    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    trainer.step(&images(8, 1), &labels(8))?;
    assert_eq!(trainer.outputs().len(), 24);
    trainer.release_memory();
    assert!(trainer.outputs().is_empty() && trainer.output("loss").is_none());
    trainer.step(&images(8, 1), &labels(8))?;
    assert_eq!(trainer.outputs().len(), 24);
    Ok(())
}

#[test]
fn tuned_models_and_trainers_compute_the_same() -> Outcome {
    let tuning = Tuning::default().budget(Duration::from_millis(50)).cache(Cache::none());
    let tuned = tuning.for_model::<Images>(&serial())?;
    let (input, labels) = (images(3, 1), labels(3));
    let expected = Model::<Images>::with_options(1, &serial())?.forward(&input)?;
    let got = Model::<Images>::with_options(1, &tuned.options)?.forward(&input)?;
    assert!(
        got.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs())),
        "{got} {expected}"
    );

    let training = TrainerOptions::default();
    let tuned = tuning.for_trainer::<Images>(&serial(), &training)?;
    let loss = |options: &Options| -> Result<f32, Error> {
        let mut trainer = Trainer::new(Model::<Images>::with_options(1, options)?, training.clone())?;
        Ok(trainer.step(&input, &labels)?.loss)
    };
    let (got, expected) = (loss(&tuned.options)?, loss(&serial())?);
    assert!((got - expected).abs() <= 1e-4 * expected, "{got} {expected}");
    Ok(())
}

#[test]
fn batches_of_a_loader_are_inputs_with_a_shape() -> Outcome {
    // Two images of one channel are not one of two.
    let dataset = ImageDataset::new(vec![7; 2 * 36], vec![0, 1], [1, 6, 6], vec!["a".into(), "b".into()])?;
    let loader = DataLoader::new(&dataset, LoaderOptions::in_order(2, Normalization::unit(1)?))?;
    let batch = loader.epoch(0).next().ok_or("a batch")?;
    let model: Model<Images> = Model::with_options(1, &serial())?;
    assert!(matches!(model.forward(&batch), Err(Error::Input { .. })));
    let dataset = ImageDataset::new(vec![7; 2 * 72], vec![0, 1], [2, 6, 6], vec!["a".into(), "b".into()])?;
    let loader = DataLoader::new(&dataset, LoaderOptions::in_order(2, Normalization::unit(2)?))?;
    let batch = loader.epoch(0).next().ok_or("a batch")?;
    assert_eq!(model.forward(&batch)?, model.forward(batch.pixels())?);
    Ok(())
}

#[test]
fn clipping_reports_the_norm_and_bounds_the_step() -> Outcome {
    let bound = 1e-3;
    let options = TrainerOptions {
        clip_norm: Some(bound),
        schedule: Some(Schedule::constant(1.0)?),
        ..TrainerOptions::default()
    };
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
    // A rate of 1 moves by the clipped gradient; parameters near 1 round to 2⁻²⁴.
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
    let options = TrainerOptions {
        optimizer: Optimizer::adam(),
        schedule: Some(Schedule::constant(0.03)?),
        ..TrainerOptions::default()
    };
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
    let options = TrainerOptions {
        loss: Loss::MeanSquaredError,
        optimizer: Optimizer::adam(),
        schedule: Some(Schedule::constant(0.02)?),
        ..TrainerOptions::default()
    };
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
fn several_inputs_and_outputs_have_names() -> Outcome {
    let mut model: Model<Pair> = Model::with_options(1, &serial())?;
    model.set_parameter(
        "r1.weight",
        &ArrayD::from_shape_vec(vec![2, 3], vec![1.0, 0.0, 0.0, 0.0, 1.0, 1.0])?,
    )?;
    let left = Array2::from_shape_vec((2, 2), vec![1.0, 2.0, 3.0, 4.0])?;
    let right = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0];
    let PairOutputs { sum, scores } = model.forward(PairInputs::new(&left, &right))?;
    assert_eq!(sum, ndarray::array![[11.0, 52.0], [43.0, 114.0]].into_dyn());
    assert_eq!(scores.shape(), [2, 4]);
    for row in scores.rows() {
        assert!((row.sum() - 1.0).abs() < 1e-6, "{row}");
    }
    let options = TrainerOptions {
        loss: Loss::MeanSquaredError,
        output: Some("sum".to_owned()),
        schedule: Some(Schedule::constant(1e-4)?),
        ..TrainerOptions::default()
    };
    let mut trainer = Trainer::new(model, options)?;
    let target = [0.0; 4];
    let first = trainer.step(PairInputs::new(&left, &right), &target[..])?.loss;
    assert_eq!(first, (11.0f32.powi(2) + 52.0f32.powi(2) + 43.0f32.powi(2) + 114.0f32.powi(2)) / 4.0);
    assert_eq!(trainer.outputs(), [11.0, 52.0, 43.0, 114.0]);
    assert!(trainer.step(PairInputs::new(&left, &right), &target[..])?.loss < first);
    Ok(())
}

#[test]
fn a_model_serves_several_threads_at_once() -> Outcome {
    for threads in [1, 2] {
        let model: Model<Images> = Model::with_options(1, &Options::default().threads(threads))?;
        let inputs: Vec<Array4<f32>> = (0..4).map(|number| images(3 + number as usize, number)).collect();
        let expected = inputs.iter().map(|input| model.forward(input)).collect::<Result<Vec<_>, _>>()?;
        thread::scope(|scope| {
            for (input, expected) in inputs.iter().zip(&expected) {
                let model = &model;
                scope.spawn(move || {
                    for _ in 0..25 {
                        assert_eq!(bits(&model.forward(input).expect("the input fits")), bits(expected));
                    }
                });
            }
        });
    }
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

#[test]
fn results_go_into_memory_that_is_there() -> Outcome {
    let model: Model<Pair> = Model::with_options(5, &serial())?;
    let (left, right) = (noise(6, 1), noise(9, 2));
    let expected = model.forward(PairInputs::new(&left, &right))?;
    let (mut sum, mut scores) = (vec![f32::NAN; 6], vec![f32::NAN; 12]);
    model.forward_into(PairInputs::new(&left, &right), &mut [&mut sum, &mut scores])?;
    assert_eq!((expected.sum.as_slice(), expected.scores.as_slice()), (Some(&sum[..]), Some(&scores[..])));

    let refused = |outputs: &mut [&mut [f32]]| {
        model.forward_into(PairInputs::new(&left, &right), outputs).expect_err("it does not fit").to_string()
    };
    assert_eq!(refused(&mut [&mut sum]), "`Pair` needs memory for 2 outputs but was given memory for 1");
    let message = refused(&mut [&mut sum, &mut scores[..11]]);
    assert_eq!(message, "`scores` needs 12 elements of type f32 but was given 11 elements");
    Ok(())
}

#[test]
fn a_profile_names_every_kernel_and_profiling_a_trainer_trains() -> Outcome {
    let model: Model<Images> = Model::with_options(3, &serial())?;
    let (all, labels) = (images(5, 4), labels(5));
    let profile = model.profile(&all, 3)?;
    assert_eq!((profile.batch, profile.threads, profile.runs), (5, 1, 3));
    let names: Vec<&str> = profile.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    let steps: Vec<&str> = model.program().run_steps().iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, steps);
    assert!(profile.to_string().contains("c1.conv"), "{profile}");
    // Whatever else happens, every kernel reads or writes something.
    assert!(profile.kernels.iter().all(|kernel| kernel.bytes > 0), "{profile}");

    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    let profile = trainer.profile(&all, &labels, 4)?;
    assert_eq!((profile.runs, trainer.steps()), (4, 5));
    assert!(profile.kernels.iter().any(|kernel| kernel.name == "c2.conv_grad_weight"), "{profile}");
    Ok(())
}
