//! Errors of the typed interface for invalid input: a typed error that says what failed, where and what was needed, and
//! never a panic. `tests/ui` covers mistakes in the declaration of a network.

mod files;

use ndarray::{Array1, Array2, Array4, ArrayD};
use tempfile::TempDir;
use windlass::schedule::Rule;
use windlass::{
    AutodiffError, Error, InputError, Loss, Model, Optimizer, Options, Schedule, Target, Trainer,
    TrainerOptions, network,
};

network! {
    network Small(image: [1, 4, 4]) -> [3] {
        c1: conv2d(2, kernel_size = 3); relu; flatten;
        f2: linear(3)
    }

    network Wider(image: [1, 4, 4]) -> [3] {
        c1: conv2d(4, kernel_size = 3); relu; flatten;
        head: linear(3)
    }

    network One(point: [4]) -> [1] { f1: linear(1) }

    network Probabilities(point: [4]) -> [3] { f1: linear(3); s1: softmax }

    network Normalized(point: [4]) -> [3] { f1: linear(3); n1: batch_norm; relu; f2: linear(3) }

    /// Far more values per sample than its input has.
    network Huge(point: [1]) -> [2] { f1: linear(1000000); relu; f2: linear(2) }

    network Pair(left: [2], right: [3]) -> [2] {
        from(left); let a = it;
        from(right); let b = it;
        concat { a b }; linear(2)
    }

    network TwoOutputs(x: [4]) -> (class: [3], place: [2]) {
        let seen = it;
        linear(3); class = it;
        from(seen); linear(2); place = it;
    }
}

type Failure = Box<dyn std::error::Error>;

fn serial() -> Options {
    Options::default().threads(1)
}

fn small() -> Result<Model<Small>, Error> {
    Model::with_options(1, &serial())
}

fn trainer(loss: Loss) -> Result<Trainer<Small>, Error> {
    Trainer::new(small()?, TrainerOptions::default().loss(loss))
}

/// Asserts that a message contains every expected word.
#[track_caller]
fn says(error: &Error, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn an_image_of_another_shape() -> Result<(), Failure> {
    let error = small()?.forward(&Array4::<f32>::zeros((2, 3, 4, 4))).unwrap_err();
    assert!(matches!(
        &error,
        Error::Input { reason: InputError::Shape { expected, got }, .. } if expected == "[1, 4, 4]" && *got == [2, 3, 4, 4]
    ));
    says(&error, &["`image`", "`Small`", "[1, 4, 4]", "[2, 3, 4, 4]"]);
    Ok(())
}

#[test]
fn a_slice_that_holds_no_whole_number_of_items() -> Result<(), Failure> {
    let error = small()?.forward(&[0.0; 17]).unwrap_err();
    assert!(matches!(error, Error::Input { reason: InputError::Length { size: 16, got: 17, .. }, .. }));
    says(&error, &["`image`", "`Small`", "16 numbers", "17"]);
    Ok(())
}

#[test]
fn a_batch_of_no_items() -> Result<(), Failure> {
    let model = small()?;
    for error in [
        model.forward(&[]).unwrap_err(),
        model.forward(&Array4::<f32>::zeros((0, 1, 4, 4))).unwrap_err(),
        trainer(Loss::CrossEntropy)?.step(&[], &[0; 0]).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::EmptyBatch { network } if network == "Small"));
        says(&error, &["`Small`", "0 samples", "at least one"]);
    }
    Ok(())
}

#[test]
fn inputs_of_different_batch_sizes() -> Result<(), Failure> {
    let model: Model<Pair> = Model::with_options(1, &serial())?;
    let (left, right) = ([0.0; 4], [0.0; 9]);
    let error = model.forward(PairInputs::new(&left, &right)).unwrap_err();
    assert!(matches!(error, Error::UnequalBatches { left_batch: 2, right_batch: 3, .. }));
    says(&error, &["`Pair`", "`left` has 2", "`right` has 3"]);
    Ok(())
}

#[test]
fn labels_that_are_no_classes() -> Result<(), Failure> {
    let mut trainer = trainer(Loss::CrossEntropy)?;
    let before = trainer.model().parameters().clone();
    for label in [3, -1, i32::MAX, i32::MIN] {
        let error = trainer.step(&[0.5; 32], &[0, label]).unwrap_err();
        assert!(matches!(error, Error::Label { classes: 3, label: named, .. } if named == label));
        says(&error, &[&format!("label {label} of sample 1"), "3 classes", "`Small`", "0 to 2"]);
    }
    assert_eq!(trainer.steps(), 0);
    assert_eq!(*trainer.model().parameters(), before);
    Ok(())
}

#[test]
fn another_number_of_labels_than_items() -> Result<(), Failure> {
    let error = trainer(Loss::CrossEntropy)?.step(&[0.5; 32], &[0, 1, 2]).unwrap_err();
    assert!(matches!(error, Error::Target { .. }));
    says(&error, &["`Small`", "2 labels, one per sample", "3 labels"]);
    Ok(())
}

#[test]
fn a_target_of_another_kind_than_the_loss_needs() -> Result<(), Failure> {
    let error = trainer(Loss::CrossEntropy)?.step(&[0.5; 16], &vec![0.0; 3]).unwrap_err();
    assert!(matches!(error, Error::Target { .. }));
    says(&error, &["`Small`", "integer labels for the cross-entropy", "values"]);
    let error = trainer(Loss::MeanSquaredError)?.step(&[0.5; 16], &[1]).unwrap_err();
    assert!(matches!(error, Error::Target { .. }));
    says(&error, &["`Small`", "values for the mean squared error", "integer labels"]);
    Ok(())
}

#[test]
fn a_target_of_another_shape() -> Result<(), Failure> {
    let mut trainer = trainer(Loss::MeanSquaredError)?;
    let error = trainer.step(&[0.5; 32], &Array2::<f32>::zeros((2, 4))).unwrap_err();
    assert!(matches!(error, Error::Target { .. }));
    says(&error, &["needs targets of shape [2, 3] but was given an array of shape [2, 4]"]);
    let error = trainer.step(&[0.5; 32], &Array2::<f32>::zeros((3, 3))).unwrap_err();
    assert!(matches!(error, Error::Target { .. }));
    says(&error, &["2 targets, one per sample", "3 targets"]);
    let error = trainer.step(&[0.5; 32], Target::Values((&[0.0; 7]).into())).unwrap_err();
    assert!(matches!(error, Error::Target { .. }));
    says(&error, &["needs targets of shape [2, 3] but was given 7 numbers"]);

    // One number per sample, where each has a vector of length one.
    let model: Model<One> = Model::with_options(1, &serial())?;
    let options = TrainerOptions::default().loss(Loss::MeanSquaredError);
    let error = Trainer::new(model, options)?.step(&[0.5; 16], &Array1::<f32>::zeros(4)).unwrap_err();
    says(&error, &["`One` needs targets of shape [4, 1] but was given an array of shape [4]"]);
    Ok(())
}

#[test]
fn thread_counts_out_of_range() {
    for threads in [0, 1025, usize::MAX] {
        let error = Model::<Small>::with_options(1, &Options::default().threads(threads)).unwrap_err();
        assert!(matches!(error, Error::Compile { .. }));
        says(&error, &["`Small`", "`threads`", &threads.to_string(), "between 1 and 1024"]);
    }
}

#[test]
fn a_width_of_vectors_there_is_no_code_for() {
    let mut options = serial();
    options.compile.plan.vector_bits = Some(192);
    let error = Model::<Small>::with_options(1, &options).unwrap_err();
    assert!(matches!(error, Error::Compile { .. }));
    says(&error, &["`Small`", "192 bits", "`vector_bits`", "128"]);
}

#[test]
fn parameters_that_do_not_exist_or_fit() -> Result<(), Failure> {
    let mut model = small()?;
    assert!(model.parameter("c1.wieght").is_none());
    let error = model.set_parameter("c1.wieght", &ArrayD::zeros(vec![2, 1, 3, 3])).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownParameter { name, known } if name == "c1.wieght" && known.len() == 4)
    );
    says(&error, &["`c1.wieght`", "c1.weight, c1.bias, f2.weight, f2.bias"]);
    let error = model.set_parameter("c1.weight", &Array1::zeros(18).into_dyn()).unwrap_err();
    assert!(
        matches!(&error, Error::ParameterShape { expected, got, .. } if *expected == [2, 1, 3, 3] && *got == [18])
    );
    says(&error, &["`c1.weight`", "[2, 1, 3, 3]", "[18]"]);
    Ok(())
}

#[test]
fn settings_that_cannot_be_trained_with() -> Result<(), Failure> {
    let unknown = TrainerOptions::default().frozen(["c1.wieght", "b9"]);
    let error = Trainer::new(small()?, unknown).unwrap_err();
    assert!(matches!(error, Error::Autodiff { .. }));
    says(
        &error,
        &["`Small`", "`b9`", "`c1.wieght`; did you mean `c1.weight`?", "parameters: c1.weight, c1.bias"],
    );

    let model: Model<Probabilities> = Model::with_options(1, &serial())?;
    let error = Trainer::new(model, TrainerOptions::default()).unwrap_err();
    assert!(matches!(
        &error,
        Error::Autodiff { reason, .. } if matches!(**reason, AutodiffError::SoftmaxBeforeLoss { .. })
    ));
    says(&error, &["`Probabilities`", "`softmax` at `s1`", "remove `softmax`"]);

    let model: Model<One> = Model::with_options(1, &serial())?;
    let error = Trainer::new(model, TrainerOptions::default()).unwrap_err();
    says(&error, &["`One`", "at least 2 classes", "has 1"]);

    let optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-50, weight_decay: 0.0 };
    let options = TrainerOptions::default().optimizer(optimizer);
    says(&Trainer::new(small()?, options).unwrap_err(), &["`epsilon` is 1e-50", "as an f32"]);

    let frozen = TrainerOptions::default().frozen(small()?.parameters().names());
    let error = Trainer::new(small()?, frozen).unwrap_err();
    assert!(matches!(error, Error::Autodiff { .. }));
    says(&error, &["`Small`", "nothing to train"]);

    let model: Model<TwoOutputs> = Model::with_options(1, &serial())?;
    let error = Trainer::new(model, TrainerOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Autodiff { .. }));
    says(&error, &["`TwoOutputs`", "\"class\"", "\"place\"", "name one"]);

    let model: Model<TwoOutputs> = Model::with_options(1, &serial())?;
    let error = Trainer::new(model, TrainerOptions::default().output("colour")).unwrap_err();
    assert!(matches!(error, Error::Autodiff { .. }));
    says(&error, &["`TwoOutputs`", "`colour`", "\"class\"", "\"place\""]);

    for clip_value in [0.0, -1.0, f64::NAN] {
        let clipped = TrainerOptions::default().clip_value(clip_value);
        let error = Trainer::new(small()?, clipped).unwrap_err();
        assert!(matches!(error, Error::Autodiff { .. }));
        says(&error, &["`Small`", "`clip_value`"]);
    }

    for clip_norm in [0.0, -1.0, f64::NAN] {
        let clipped = TrainerOptions::default().clip_norm(clip_norm);
        let error = Trainer::new(small()?, clipped).unwrap_err();
        assert!(matches!(error, Error::Autodiff { .. }));
        says(&error, &["`Small`", "`clip_norm`"]);
    }

    let momentum = Optimizer::Sgd { momentum: f64::NAN, nesterov: false, weight_decay: 0.0 };
    let error = Trainer::new(small()?, TrainerOptions::default().optimizer(momentum)).unwrap_err();
    assert!(matches!(error, Error::Autodiff { .. }));
    says(&error, &["`Small`", "momentum", "NaN"]);

    for rate in [-0.1, f64::INFINITY, f64::NAN, 1e300] {
        let error = Schedule::constant(rate).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
        says(&error, &["must be"]);
    }
    Ok(())
}

#[test]
fn a_batch_of_one_has_no_statistics() -> Result<(), Failure> {
    let model: Model<Normalized> = Model::with_options(1, &serial())?;
    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    let before = trainer.model().parameters().clone();
    let error = trainer.step(&[0.5; 4], &[0]).unwrap_err();
    assert!(matches!(&error, Error::SingleValue { layer, .. } if layer == "n1"));
    says(
        &error,
        &["`Normalized`", "more than 1 value for each channel at `n1`", "`drop_last`", "freeze `n1`"],
    );
    assert_eq!((trainer.steps(), trainer.model().parameters()), (0, &before));
    trainer.step(&[0.5; 8], &[0, 1])?;

    let frozen = TrainerOptions::default().frozen(["n1"]);
    Trainer::new(Model::<Normalized>::with_options(1, &serial())?, frozen)?.step(&[0.5; 4], &[0])?;
    Ok(())
}

#[test]
fn a_rate_that_grows_infinite() -> Result<(), Failure> {
    let schedule = Some(Schedule::new(Rule::Exponential { rate: 1e-3, factor: 1e21 })?);
    let options = TrainerOptions::default().schedule(schedule);
    let mut trainer = Trainer::new(small()?, options)?;
    let (image, label) = (&[0.0; 16], &[0]);
    trainer.step(image, label)?;
    trainer.step(image, label)?;
    let before = trainer.model().parameters().clone();
    let error = trainer.step(image, label).unwrap_err();
    assert!(matches!(error, Error::Setting { .. }));
    says(&error, &["`schedule at step 2` is ", "e39 but must be finite as an f32"]);
    assert_eq!(*trainer.model().parameters(), before);
    Ok(())
}

#[test]
fn more_memory_than_there_is() -> Result<(), Failure> {
    // A small number of samples, each with a million values.
    let (batch, model): (usize, Model<Huge>) = (4_000_000, Model::with_options(1, &serial())?);
    let points = vec![0.5; batch];
    let error = model.forward(&points).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { needed, .. } if needed >= 4 * 1_000_000 * batch));
    says(&error, &["a run of `Huge` on a batch of 4000000 needs ", " MiB of memory", "smaller batch"]);
    // It still runs batches that fit.
    assert_eq!(model.forward(&points[..2])?.shape(), [2, 2]);

    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    let labels = vec![0; batch];
    let error = trainer.step(&points, &labels).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }));
    trainer.step(&points[..2], &labels[..2])?;
    Ok(())
}

#[test]
fn causes_are_told_once() -> Result<(), Failure> {
    use std::error::Error as _;
    let path = TempDir::new()?.path().join("absent.safetensors");
    for error in [
        Model::<Small>::load(&path).unwrap_err(),
        small()?.forward(&[0.0; 17]).unwrap_err(),
        Model::<Small>::with_options(1, &Options::default().threads(0)).unwrap_err(),
    ] {
        assert!(
            error.source().is_none_or(|source| !error.to_string().contains(&source.to_string())),
            "{error}"
        );
    }
    Ok(())
}
