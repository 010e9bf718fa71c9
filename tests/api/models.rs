//! Models behave as documented: batches of any size, changing parameters, files, threads. `trainers.rs` covers
//! trainers, `bad_input.rs` the errors of both, and the runtime's `tests/agreement` their numerical results.

use std::thread;
use std::time::Duration;

use crate::support::numbers::{Outcome, all_bits, bits, noise};
use crate::support::pair::{Pair, PairInputs, PairOutputs};
use crate::support::{Images, Points, images, labels, serial};
use ndarray::{Array2, Array4, ArrayD, Axis, s};
use tempfile::TempDir;
use windlass::data::{DataLoader, ImageDataset, LoaderOptions, Normalization};
use windlass::tuning::Cache;
use windlass::{Error, Loss, Model, Options, Schedule, Trainer, TrainerOptions, Tuning};

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
    // Scale and statistics of the batch normalisation are folded into weights, which must be recomputed.
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
    // Two images with one channel are not one with two.
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
    let options = TrainerOptions::default()
        .loss(Loss::MeanSquaredError)
        .output("sum")
        .schedule(Schedule::constant(1e-4)?);
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
    // Every kernel reads or writes something.
    assert!(profile.kernels.iter().all(|kernel| kernel.bytes > 0), "{profile}");

    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    let profile = trainer.profile(&all, &labels, 4)?;
    assert_eq!((profile.runs, trainer.steps()), (4, 5));
    assert!(profile.kernels.iter().any(|kernel| kernel.name == "c2.conv_grad_weight"), "{profile}");
    Ok(())
}
