//! The training loop: `fit` takes the steps that a loop by hand takes, resumes with the same bits, and does what its
//! options say.

use std::ops::ControlFlow;
use std::path::Path;

use crate::support::numbers::{Outcome, all_bits, noise};
use crate::support::{Images, Points, images, labels, serial};
use ndarray::{Array2, Array3, s};
use tempfile::TempDir;
use windlass::checkpoint::{Checkpoint, NonFinite};
use windlass::data::{
    Batches, Column, DataLoader, ImageDataset, LoaderOptions, Normalization, TensorDataset, from_fn,
};
use windlass::metrics::{Metric, argmax};
use windlass::{
    EarlyStopping, Error, EvaluationOptions, FitEnd, FitEvent, FitOptions, FitSchedule, LabelSequences, Loss,
    Model, Monitor, Optimizer, Options, OutputLoss, Plateau, Progress, RangeTest, Schedule, Target, Trainer,
    TrainerOptions, network,
};

network! {
    network Ends(point: [2]) -> [2] { f1: linear(2); softmax }

    network Line(x: [3]) -> [1] { f1: linear(1) }

    network Both(left: [2], right: [3]) -> (sum: [2], scores: [4]) {
        from(right); r1: linear(2);
        let seen = it;
        add(left); sum = it;
        from(seen); s1: linear(4); scores = it;
    }

    network Spoken(frames: [T, 4]) -> [T, 3] { f1: linear(3) }

    network Carries(frames: [5, 2]) -> [5, 3] { r1: gru(4); f1: linear(3) }
}

/// Options that show nothing.
fn silent(epochs: u64) -> FitOptions {
    FitOptions::epochs(epochs).progress(Progress::Silent)
}

fn adam() -> TrainerOptions {
    TrainerOptions::default().optimizer(Optimizer::adam())
}

fn trainer(options: &TrainerOptions) -> Result<Trainer<Images>, Error> {
    Trainer::new(Model::with_options(3, &serial())?, options.clone())
}

/// Random images with labels.
fn pictures(count: usize) -> TensorDataset {
    TensorDataset::new(images(count, 1), labels(count)).expect("as many labels")
}

/// Points, and whether they are in the circle.
fn circle(count: usize) -> TensorDataset {
    let points: Vec<f32> = noise(count * 2, 5);
    let labels: Vec<i32> = points.chunks(2).map(|point| i32::from(point[0].hypot(point[1]) < 0.8)).collect();
    TensorDataset::new(points, labels).expect("as many labels")
}

#[test]
fn fit_takes_the_steps_of_a_loop() -> Outcome {
    let (data, held_out) = (pictures(22), pictures(9));
    let train = data.shuffled(5, 7)?;
    let mut by_hand = trainer(&adam())?;
    let mut losses = Vec::new();
    for epoch in 0..3 {
        let (mut sum, mut refused) = (0.0, None);
        train.visit(epoch, &mut |batch| {
            let Target::Labels(labels) = &batch.target else { panic!("labels are integers") };
            let labels = labels.elements().to_vec();
            // The images of the labels' batch, again.
            let text = format!("{:?}", batch.inputs);
            assert!(text.contains("Numbers"));
            let inputs = numbers(&text);
            match by_hand.step(&inputs, &labels) {
                Ok(report) => sum += f64::from(report.loss) * labels.len() as f64,
                Err(error) => refused = Some(error),
            }
            ControlFlow::Continue(())
        })?;
        assert!(refused.is_none(), "{refused:?}");
        losses.push(sum / 22.0);
    }
    let mut fitted = trainer(&adam())?;
    let history = fitted.fit(&train, &held_out.in_order(4)?, silent(3))?;
    assert_eq!(all_bits(fitted.model()), all_bits(by_hand.model()));
    assert_eq!(history.epochs.iter().map(|epoch| epoch.training.loss).collect::<Vec<_>>(), losses);
    let last = history.last().ok_or("no epochs")?;
    assert_eq!((last.epoch, last.steps, last.learning_rate), (3, 15, 0.001));
    assert_eq!(last.training.examples, 22);
    let evaluation = fitted.model().evaluate(&held_out.in_order(4)?)?;
    assert_eq!(last.validation.as_ref(), Some(&evaluation));
    assert_eq!(fitted.evaluate(&held_out.in_order(4)?)?, evaluation);
    assert_eq!(history.end, Some(FitEnd::Epochs));
    Ok(())
}

/// The elements in the debugging form of a batch of numbers.
fn numbers(text: &str) -> Vec<f32> {
    let (_, elements) = text.split_once("elements: [").expect("a batch has elements");
    let (elements, _) = elements.split_once(']').expect("they end");
    elements.split(", ").map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn evaluation_is_the_loss_and_accuracy_of_predictions() -> Outcome {
    let model = Model::<Images>::with_options(3, &serial())?;
    let (x, y) = (images(11, 2), labels(11));
    let scores = model.forward(&x)?;
    let log_likelihood = |row: usize| {
        let scores: Vec<f64> = (0..3).map(|class| f64::from(scores[[row, class]])).collect();
        scores[y[row] as usize] - scores.iter().map(|score| score.exp()).sum::<f64>().ln()
    };
    let loss = -(0..11).map(log_likelihood).sum::<f64>() / 11.0;
    let is_right = |row: &usize| argmax(&scores.slice(s![*row, ..]).to_vec()) == Some(y[*row] as usize);
    let data = TensorDataset::new(x.clone(), y.clone())?;
    let evaluation = model.evaluate(&data.in_order(4)?)?;
    assert!((evaluation.loss - loss).abs() < 1e-6, "{} is not {loss}", evaluation.loss);
    assert_eq!(evaluation.accuracy(), Some((0..11).filter(is_right).count() as f64 / 11.0));
    assert_eq!(evaluation.examples, 11);
    let options =
        EvaluationOptions::default().loss(Loss::MeanSquaredError).metrics([Metric::MeanAbsoluteError]);
    let same = TensorDataset::new(x, scores.clone())?;
    let evaluation = model.evaluate_with(&same.in_order(20)?, &options)?;
    assert_eq!((evaluation.loss, evaluation.metric(Metric::MeanAbsoluteError)), (0.0, Some(0.0)));
    Ok(())
}

#[test]
fn a_softmax_under_the_cross_entropy_is_refused() -> Outcome {
    let data = circle(8);
    let model = Model::<Ends>::with_options(0, &serial())?;
    let message = model.evaluate(&data.in_order(8)?).unwrap_err().to_string();
    assert!(message.contains("remove `softmax` from the network"), "{message}");
    let message = Trainer::new(model, TrainerOptions::default()).unwrap_err().to_string();
    assert!(message.contains("remove `softmax` from the network"), "{message}");
    Ok(())
}

/// Everything in a trainer's file but the times of epochs.
fn contents(path: &Path) -> Result<Checkpoint, Box<dyn std::error::Error>> {
    let mut checkpoint = Checkpoint::load(path, NonFinite::Refuse)?;
    if let Some(metadata) = &mut checkpoint.metadata {
        for note in metadata.notes.values_mut() {
            let mut run: serde_json::Value = serde_json::from_str(note)?;
            let epochs = run["history"]["epochs"].as_array_mut().ok_or("no epochs")?;
            epochs.iter_mut().for_each(|epoch| epoch["seconds"] = 0.into());
            *note = run.to_string();
        }
    }
    Ok(checkpoint)
}

/// Fits without and with an interruption after some epochs, and compares bits.
fn resumes(training: &TrainerOptions, options: &FitOptions, interrupted: u64, threads: usize) -> Outcome {
    let directory = TempDir::new()?;
    let [whole_path, path] =
        ["whole", "parts"].map(|name| directory.path().join(format!("{name}.safetensors")));
    let (data, held_out) = (pictures(23), pictures(9));
    let (train, validation) = (data.shuffled(4, 11)?, held_out.in_order(5)?);
    let run = Options::default().threads(threads);
    let mut whole = Trainer::new(Model::<Images>::with_options(3, &run)?, training.clone())?;
    let saved = options.clone().save_last(whole_path.clone());
    let history = whole.fit(&train, &validation, saved)?;

    let saved = options.clone().save_last(path.clone());
    let mut first = Trainer::new(Model::<Images>::with_options(3, &run)?, training.clone())?;
    let stop = |_: &mut Trainer<Images>, event: FitEvent<'_>| match event {
        FitEvent::Epoch(report) if report.epoch == interrupted => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let begun = first.fit_with(&train, &validation, saved.clone(), stop)?;
    assert_eq!(begun.epochs.len() as u64, interrupted);
    drop(first);
    let mut resumed = Trainer::<Images>::resume(&path, training.clone(), &run)?;
    assert_eq!(resumed.history().epochs.len() as u64, interrupted);
    let resumed_history = resumed.fit(&train, &validation, saved)?;
    assert_eq!(all_bits(resumed.model()), all_bits(whole.model()));
    assert_eq!(contents(&path)?, contents(&whole_path)?);
    let results = |history: &windlass::History| {
        let results = |epoch: &windlass::EpochReport| {
            (epoch.epoch, epoch.steps, epoch.learning_rate, epoch.training.clone(), epoch.validation.clone())
        };
        history.epochs.iter().map(results).collect::<Vec<_>>()
    };
    assert_eq!(results(&resumed_history), results(&history));
    assert_eq!(resumed_history.end, history.end);
    Ok(())
}

#[test]
fn a_fit_resumes_with_the_same_bits() -> Outcome {
    resumes(&adam().seed(5), &silent(5), 2, 1)
}

#[test]
fn a_fit_resumes_with_one_cycle_on_two_threads() -> Outcome {
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 };
    let options = silent(4).schedule(FitSchedule::one_cycle(0.05));
    resumes(&TrainerOptions::default().optimizer(optimizer), &options, 1, 2)
}

#[test]
fn a_fit_resumes_with_everything_that_depends_on_results() -> Outcome {
    // A rate that makes the results worse, so that the rate falls and training ends early.
    let options = silent(30)
        .plateau(Plateau::default().factor(0.5).patience(0))
        .early_stopping(EarlyStopping::after(4))
        .restore_best(true)
        .monitor(Monitor::Metric(Metric::Accuracy));
    let training = adam().schedule(Schedule::constant(0.03)?);
    for interrupted in [1, 3] {
        resumes(&training, &options, interrupted, 1)?;
    }
    Ok(())
}

#[test]
fn early_stopping_restores_the_best_epoch() -> Outcome {
    let directory = TempDir::new()?;
    let best = directory.path().join("best.safetensors");
    let (data, held_out) = (pictures(12), pictures(9));
    let options =
        silent(200).early_stopping(EarlyStopping::after(3)).restore_best(true).save_best(best.clone());
    let training = adam().schedule(Schedule::constant(0.05)?);
    let mut fitted = trainer(&training)?;
    let validation = held_out.in_order(9)?;
    let history = fitted.fit(&data.shuffled(4, 0)?, &validation, options)?;
    assert_eq!(history.end, Some(FitEnd::EarlyStopping));
    let report = history.best(Monitor::Loss).ok_or("no epoch")?;
    assert_eq!(history.epochs.len() as u64, report.epoch + 3);
    assert_eq!(report.validation.as_ref(), Some(&fitted.model().evaluate(&validation)?));
    let saved = Model::<Images>::load_with(&best, &serial())?;
    assert_eq!(all_bits(&saved), all_bits(fitted.model()));
    Ok(())
}

#[test]
fn callbacks_see_every_step_and_may_change_the_rate() -> Outcome {
    let data = circle(20);
    let mut trainer = Trainer::new(Model::<Points>::with_options(0, &serial())?, TrainerOptions::default())?;
    let mut rates = Vec::new();
    let history = trainer.fit_with(&data.shuffled(8, 0)?, &(), silent(9), |trainer, event| match event {
        FitEvent::Step { epoch: 3, .. } => ControlFlow::Break(()),
        FitEvent::Step { report, .. } => {
            rates.push(report.learning_rate);
            ControlFlow::Continue(())
        }
        FitEvent::Epoch(report) => {
            assert!(report.validation.is_none());
            trainer.set_learning_rate(0.02).map_or(ControlFlow::Break(()), ControlFlow::Continue)
        }
        _ => ControlFlow::Continue(()),
    })?;
    assert_eq!(rates, [0.1, 0.1, 0.1, 0.02, 0.02, 0.02]);
    assert_eq!((history.epochs.len(), history.end), (2, Some(FitEnd::Callback)));
    assert_eq!(trainer.steps(), 7);
    assert!(trainer.set_learning_rate(-0.1).is_err() && trainer.set_learning_rate(f64::INFINITY).is_err());
    let again = trainer.fit(&data.shuffled(8, 0)?, &(), silent(2))?;
    assert_eq!((again.epochs.len(), trainer.steps()), (2, 7));
    Ok(())
}

#[test]
fn schedules_over_a_fit_end_with_its_last_step() -> Outcome {
    let data = circle(40);
    for (schedule, first, largest, last) in [
        (FitSchedule::one_cycle(0.5), 0.02, 0.5, 0.5 / 250_000.0),
        (FitSchedule::Cosine { rate: 0.25, warm_up: 0.25 }, 0.0, 0.25, 0.01),
    ] {
        let mut trainer =
            Trainer::new(Model::<Points>::with_options(0, &serial())?, TrainerOptions::default())?;
        let mut rates = Vec::new();
        let options = silent(4).schedule(schedule);
        trainer.fit_with(&data.shuffled(8, 0)?, &(), options, |_, event| {
            if let FitEvent::Step { report, .. } = event {
                rates.push(report.learning_rate);
            }
            ControlFlow::Continue(())
        })?;
        assert_eq!(rates.len(), 20);
        assert!((rates[0] - first).abs() < 1e-12 && rates[19] <= last, "{rates:?}");
        assert_eq!(rates.iter().copied().fold(0.0, f64::max), largest);
        assert_eq!(trainer.learning_rate(), 0.1);
    }
    Ok(())
}

#[test]
fn the_range_test_changes_nothing() -> Outcome {
    let data = pictures(20);
    let train = data.shuffled(4, 0)?;
    let mut searched = trainer(&adam())?;
    searched.fit(&train, &(), silent(1))?;
    let (before, rate) = (all_bits(searched.model()), searched.learning_rate());
    let search = searched.find_learning_rate(&train, RangeTest::default().steps(60))?;
    assert_eq!((all_bits(searched.model()), searched.learning_rate(), searched.steps()), (before, rate, 5));
    assert_eq!(searched.history().epochs.len(), 1);
    let mut other = trainer(&adam())?;
    other.fit(&train, &(), silent(2))?;
    searched.fit(&train, &(), silent(2))?;
    assert_eq!(all_bits(searched.model()), all_bits(other.model()));

    assert!(search.points.len() > 10 && search.points.len() <= 60);
    assert!(search.points.windows(2).all(|pair| pair[0].rate < pair[1].rate));
    assert_eq!(search.points[0].rate, 1e-7);
    let (steepest, careful) =
        (search.steepest().ok_or("no fall")?, search.below_minimum().ok_or("no minimum")?);
    assert!(steepest > 1e-7 && steepest < 10.0 && careful < 1.0, "{steepest} {careful}");
    for wrong in [
        RangeTest::default().from(0.0),
        RangeTest::default().to(1e-8),
        RangeTest::default().steps(2),
        RangeTest::default().divergence(1.0),
    ] {
        assert!(
            matches!(searched.find_learning_rate(&train, wrong), Err(Error::Setting { .. })),
            "{wrong:?}"
        );
    }
    Ok(())
}

#[test]
fn regression_has_its_metrics() -> Outcome {
    let x = Array2::from_shape_vec((64, 3), noise(192, 3))?;
    let y: Vec<f32> = x.rows().into_iter().map(|row| row[0] - 2.0 * row[1] + 0.5).collect();
    let (train, validation) = TensorDataset::new(x, y)?.split_randomly(48, 1)?;
    let training = TrainerOptions::default().loss(Loss::MeanSquaredError);
    let metrics = vec![Metric::MeanSquaredError, Metric::MeanAbsoluteError, Metric::RSquared];
    let mut trainer = Trainer::new(Model::<Line>::with_options(0, &serial())?, training)?;
    let options = silent(40).metrics(metrics).monitor(Monitor::Metric(Metric::RSquared));
    let history = trainer.fit(&train.shuffled(8, 0)?, &validation.in_order(16)?, options)?;
    let last = history.last().and_then(|last| last.validation.clone()).ok_or("no validation")?;
    assert!((last.metric(Metric::MeanSquaredError).ok_or("no error")? - last.loss).abs() < 1e-6 * last.loss);
    assert!(last.metric(Metric::RSquared) > Some(0.99), "{last}");
    assert!(last.metric(Metric::MeanAbsoluteError) < Some(0.1), "{last}");
    Ok(())
}

#[test]
fn options_out_of_range_are_refused() -> Outcome {
    let data = circle(8);
    let mut trainer = Trainer::new(Model::<Points>::with_options(0, &serial())?, TrainerOptions::default())?;
    let batches = data.shuffled(8, 0)?;
    for (options, setting) in [
        (silent(1).early_stopping(EarlyStopping::after(0)), "early_stopping.patience"),
        (silent(1).monitor(Monitor::Metric(Metric::F1)), "monitor"),
        (silent(1).metrics([Metric::RSquared]), "metrics"),
        (silent(1).metrics([Metric::TopK(3)]), "k"),
        (silent(1).plateau(Plateau::default().factor(1.0)), "plateau.factor"),
        (silent(1).schedule(FitSchedule::OneCycle { peak_rate: 0.1, warm_up: 1.0 }), "one_cycle.warm_up"),
        (silent(1).schedule(FitSchedule::one_cycle(-0.1)), "one_cycle.peak_rate"),
    ] {
        let message = trainer.fit(&batches, &(), options).unwrap_err().to_string();
        assert!(message.starts_with(&format!("`{setting}` is ")), "{message}");
    }
    assert!(trainer.fit(&(), &(), silent(1)).unwrap_err().to_string().contains("without batches"));
    assert_eq!(trainer.steps(), 0);
    Ok(())
}

#[test]
fn a_loss_that_is_not_finite_ends_the_fit() -> Outcome {
    let x = Array2::from_elem((4, 3), 1e20f32);
    let data = TensorDataset::new(x, vec![0.0f32; 4])?;
    let training = TrainerOptions::default().loss(Loss::MeanSquaredError);
    let mut trainer = Trainer::new(Model::<Line>::with_options(0, &serial())?, training)?;
    let message = trainer.fit(&data.in_order(4)?, &(), silent(1)).unwrap_err().to_string();
    assert!(
        message.starts_with("the loss of `Line` is inf at step 0, at a learning rate of 1e-1"),
        "{message}"
    );
    Ok(())
}

#[test]
fn several_inputs_and_losses_have_names() -> Outcome {
    let (left, right) =
        (Array2::from_shape_vec((10, 2), noise(20, 1))?, Array2::from_shape_vec((10, 3), noise(30, 2))?);
    let sums = Array2::<f32>::zeros((10, 2));
    let labels: Vec<i32> = (0..10).map(|index| index % 4).collect();
    // In another order than that of the network.
    let data = TensorDataset::named(
        [("right", Column::from(right.clone())), ("left", Column::from(left.clone()))],
        [("sum", Column::from(sums)), ("scores", Column::from(labels.clone()))],
    )?;
    let training = TrainerOptions::default().losses([
        OutputLoss::new("scores", Loss::CrossEntropy),
        OutputLoss::new("sum", Loss::MeanSquaredError).weighted(0.5),
    ]);
    let mut trainer = Trainer::new(Model::<Both>::with_options(0, &serial())?, training)?;
    let model = trainer.model();
    let outputs = model.forward(BothInputs { left: (&left).into(), right: (&right).into() })?;
    let evaluation = trainer.evaluate(&data.in_order(10)?)?;
    let squares = outputs.sum.iter().map(|x| f64::from(x * x)).sum::<f64>() / 20.0;
    let entropies = (0..10).map(|row| {
        let scores: Vec<f64> = (0..4).map(|class| f64::from(outputs.scores[[row, class]])).collect();
        scores.iter().map(|score| score.exp()).sum::<f64>().ln() - scores[row % 4]
    });
    let loss = entropies.sum::<f64>() / 10.0 + 0.5 * squares;
    assert!((evaluation.loss - loss).abs() < 1e-6, "{} is not {loss}", evaluation.loss);
    let history = trainer.fit(&data.shuffled(3, 0)?, &data.in_order(10)?, silent(30))?;
    assert!(history.epochs[29].training.loss < history.epochs[0].training.loss);
    assert!(history.last().is_some_and(|last| last.training.accuracy().is_some()));
    let unnamed = TensorDataset::new(left, labels)?;
    assert!(matches!(trainer.evaluate(&unnamed.in_order(10)?), Err(Error::UnnamedInput { .. })));
    Ok(())
}

#[test]
fn data_of_an_iterator_and_sequences_of_open_length() -> Outcome {
    let batches = from_fn(4, |epoch| {
        (0..4).map(move |batch| {
            let steps = 2 + batch;
            let frames = noise(3 * steps * 4, (epoch * 4) as u32 + batch as u32);
            let frames = Array3::from_shape_vec((3, steps, 4), frames).expect("four numbers a frame");
            let labels = Array2::from_shape_fn((3, steps), |(row, step)| {
                argmax(&frames.slice(s![row, step, ..3]).to_vec()).map_or(0, |class| class as i32)
            });
            (frames, labels)
        })
    });
    let mut trainer = Trainer::new(Model::<Spoken>::with_options(0, &serial())?, TrainerOptions::default())?;
    let history = trainer.fit(&batches, &batches, silent(20))?;
    let last = history.last().ok_or("no epoch")?;
    assert_eq!((last.steps, last.training.examples), (80, 12));
    assert!(last.validation.as_ref().and_then(|results| results.accuracy()) > Some(0.6), "{last}");
    Ok(())
}

#[test]
fn the_ctc_loss_is_evaluated_as_it_is_trained() -> Outcome {
    let frames = Array3::from_shape_vec((2, 6, 4), noise(48, 1))?;
    let (labels, lengths) = (ndarray::array![[1, 2], [2, 0]], [2, 1]);
    struct Sequences(Array3<f32>, Array2<i32>, [i32; 2]);
    impl windlass::data::AsMinibatch for Sequences {
        fn as_minibatch(&self) -> windlass::data::Minibatch<'_> {
            windlass::data::Minibatch::new(&self.0, LabelSequences::new(&self.1, &self.2))
        }
    }
    let data = from_fn(1, |_| [Sequences(frames.clone(), labels.clone(), lengths)]);
    let training = TrainerOptions::default().loss(Loss::ctc());
    let mut trainer = Trainer::new(Model::<Spoken>::with_options(0, &serial())?, training)?;
    let evaluation = trainer.evaluate(&data)?;
    let report = trainer.step(&frames, LabelSequences::new(&labels, &lengths))?;
    assert!((evaluation.loss - f64::from(report.loss)).abs() < 1e-5, "{evaluation} and {report:?}");
    assert!(evaluation.metrics.is_empty());
    let history = trainer.fit(&data, &data, silent(30))?;
    assert!(history.last().is_some_and(|last| last.training.loss < evaluation.loss));
    Ok(())
}

#[test]
fn carried_states_begin_anew_with_every_epoch() -> Outcome {
    let frames = Array3::from_shape_vec((8, 5, 2), noise(80, 4))?;
    let labels = Array2::from_shape_fn((8, 5), |(row, step)| ((row + step) % 3) as i32);
    let data = TensorDataset::new(frames.clone(), labels.clone())?;
    let options = TrainerOptions::default().carry_states(true);
    let new = || Trainer::new(Model::<Carries>::with_options(0, &serial())?, options.clone());
    let (mut by_hand, mut fitted) = (new()?, new()?);
    for _ in 0..3 {
        by_hand.reset_states();
        for start in [0, 4] {
            let rows = start..start + 4;
            by_hand.step(frames.slice(s![rows.clone(), .., ..]), labels.slice(s![rows, ..]))?;
        }
    }
    let batches = data.in_order(4)?;
    fitted.fit(&batches, &(), silent(2))?;
    fitted.find_learning_rate(&batches, RangeTest::default().steps(7))?;
    fitted.fit(&batches, &(), silent(3))?;
    assert_eq!(all_bits(fitted.model()), all_bits(by_hand.model()));
    Ok(())
}

#[test]
fn images_are_fitted_and_files_written() -> Outcome {
    let directory = TempDir::new()?;
    let csv = directory.path().join("history.csv");
    let pixels: Vec<u8> = (0..20 * 72).map(|index| (index * 37 % 251) as u8).collect();
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let dataset = ImageDataset::new(pixels, labels(20), [2, 6, 6], names)?;
    let loader = DataLoader::new(&dataset, LoaderOptions::shuffled(6, Normalization::unit(2)?, 0))?;
    let mut trainer = trainer(&adam())?;
    let options = silent(2).csv(csv.clone()).metrics([Metric::Accuracy, Metric::TopK(2)]);
    let history = trainer.fit(&loader, &loader, options)?;
    let text = std::fs::read_to_string(&csv)?;
    assert_eq!(text, history.to_csv());
    let titles = "epoch,steps,learning_rate,seconds,loss,accuracy,top2,validation_loss,validation_accuracy,validation_top2";
    assert_eq!(text.lines().next(), Some(titles));
    assert_eq!(text.lines().count(), 3);
    let read: windlass::History = serde_json::from_str(&serde_json::to_string(&history)?)?;
    assert_eq!(read, history);
    Ok(())
}
