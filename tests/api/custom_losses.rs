//! Losses of one's own: declared after a network or built at run time, over several outputs and targets.

use windlass::data::TensorDataset;
use windlass::metrics::Metric;
use windlass::object::ObjectOptions;
use windlass::{
    Builder, Combination, DType, Dynamic, Error, EvaluationOptions, FitOptions, GradientOptions, Graph,
    Layer, Loss, LossGraph, Model, Optimizer, OutputLoss, Progress, Target, Trainer, TrainerOptions, network,
};
use windlass_compiler::interp::{self, Array, Bindings};
use windlass_compiler::shape::Sizes;

use crate::support::numbers::{Outcome, all_bits, noise};
use crate::support::serial;

network! {
    block squared(target_scale) { multiply(target_scale); square }

    network Detector<scale = 2>(image: [1, 4, 4]) -> (class: [3], corners: [4], mask: [1, 2, 2]) {
        c1: conv2d(2, kernel_size = 3); softplus; let maps = it;
        flatten; linear(3); class = it;
        from(maps); flatten; linear(4); corners = it;
        from(maps); conv2d(1, kernel_size = 1); mask = it;
    }
    loss(label: [] of index, place: [4], filled: [1, 2, 2], importance: []) {
        from(class); cross_entropy(label); let of_class = it;
        from(corners); subtract(place); squared(scale); mean((0)); let of_place = it;
        from(mask); binary_cross_entropy(filled); mean((0, 1, 2));
        add(of_place); multiply(0.5); add(of_class); multiply(importance)
    }

    network Tagger(frames: [T, 2]) -> [T, 3] { linear(4); tanh; linear(3) }
    loss(labels: [T] of index, weights: [T]) { cross_entropy(labels); multiply(weights) }

    network Classifier(point: [2]) -> [3] { f1: linear(3) }
    loss(label: [] of index) { cross_entropy(label) }

    network Pixels(image: [1, 3, 3]) -> [2, 3, 3] { conv2d(2, kernel_size = 3, padding = 1) }
    loss(label: [3, 3] of index) { cross_entropy(label) }

    network Plain(point: [2]) -> [2] { linear(2) }
    loss(target: [2]) { subtract(target); square }
}

fn adam(loss: Loss) -> TrainerOptions {
    TrainerOptions::default().loss(loss).optimizer(Optimizer::adam())
}

/// Compares the gradients of all parameters with central differences in double precision.
fn agrees_with_differences(
    graph: &Graph,
    model: &windlass::NamedTensors,
    given: &[(&str, Array<f64>)],
    sizes: &Sizes,
    gradients: &windlass::Gradients,
) -> Outcome {
    let real = |tensor: &ndarray::ArrayD<f32>| {
        Array::new(tensor.shape(), tensor.iter().map(|&x| f64::from(x)).collect())
    };
    let mut bindings: Bindings<f64> =
        model.iter().map(|(name, tensor)| (name.clone(), real(tensor))).collect();
    bindings.extend(given.iter().map(|(name, array)| ((*name).to_owned(), array.clone())));
    let loss = |bindings: &Bindings<f64>| -> Result<f64, Box<dyn std::error::Error>> {
        Ok(interp::run(graph, sizes.clone(), bindings)?.outputs["loss"].real()[0])
    };
    assert!((loss(&bindings)? - f64::from(gradients.loss)).abs() < 1e-5);
    for (name, gradient) in &gradients.parameters {
        let original = bindings[name].clone();
        for (place, &slope) in gradient.iter().enumerate() {
            let mut at = |offset: f64| {
                let mut values = original.real().to_vec();
                values[place] += offset;
                bindings.insert(name.clone(), Array::new(original.sizes.clone(), values));
                loss(&bindings)
            };
            let expected = (at(1e-5)? - at(-1e-5)?) / 2e-5;
            assert!((f64::from(slope) - expected).abs() < 1e-5, "{name}[{place}]: {slope}, not {expected}");
        }
        bindings.insert(name.clone(), original);
    }
    Ok(())
}

fn real(sizes: &[usize], values: &[f32]) -> Array<f64> {
    Array::new(sizes, values.iter().map(|&x| f64::from(x)).collect())
}

#[test]
fn gradients_of_several_outputs_and_targets() -> Outcome {
    let model = Model::<Detector>::with_options(3, &serial())?;
    let differentiator = model.differentiate(&GradientOptions::of_parameters().loss(Detector::loss()))?;
    let (image, place, importance) = (noise(32, 1), noise(8, 2), [0.5, 2.0]);
    let filled: Vec<f32> = noise(8, 3).iter().map(|x| 0.5 + 0.5 * x).collect();
    let targets =
        [Target::from(&[2, 0]), Target::from(&place), Target::from(&filled), Target::from(&importance)];
    let gradients = differentiator.run(&model, &image, targets)?;
    let given = [
        ("image", real(&[2, 1, 4, 4], &image)),
        ("labels.label", Array::ints(vec![2], vec![2, 0])),
        ("target.place", real(&[2, 4], &place)),
        ("target.filled", real(&[2, 1, 2, 2], &filled)),
        ("target.importance", real(&[2], &importance)),
    ];
    let parameters = model.parameters().to_named();
    assert_eq!(gradients.parameters.len(), parameters.len());
    agrees_with_differences(differentiator.graph(), &parameters, &given, &Sizes::from(2), &gradients)
}

#[test]
fn gradients_of_labels_for_each_step() -> Outcome {
    let model = Model::<Tagger>::with_options(3, &serial())?;
    let differentiator = model.differentiate(&GradientOptions::of_parameters().loss(Tagger::loss()))?;
    for (batch, steps) in [(2, 3), (1, 5)] {
        let count = batch * steps;
        let frames = ndarray::Array3::from_shape_vec((batch, steps, 2), noise(2 * count, 1))?;
        let labels: Vec<i32> = (0..count).map(|step| (step % 3) as i32).collect();
        let weights: Vec<f32> = (0..count).map(|step| step as f32).collect();
        let targets = [("weights", Target::from(&weights)), ("labels", Target::from(&labels))];
        let gradients = differentiator.run(&model, &frames, targets)?;
        let given = [
            ("frames", real(&[batch, steps, 2], frames.as_slice().ok_or("contiguous")?)),
            ("labels.labels", Array::ints(vec![batch, steps], labels.clone())),
            ("target.weights", real(&[batch, steps], &weights)),
        ];
        let (parameters, sizes) =
            (model.parameters().to_named(), Sizes::from(batch).with("T".parse()?, steps));
        agrees_with_differences(differentiator.graph(), &parameters, &given, &sizes, &gradients)?;
    }
    Ok(())
}

/// Losses that Windlass has: the values and steps are those of its own, up to rounding.
#[test]
fn what_is_built_in_can_be_declared() -> Outcome {
    let points = noise(24, 1);
    let labels: Vec<i32> = (0..12).map(|point| point % 3).collect();
    let mut losses = Vec::new();
    for loss in [Classifier::loss(), Loss::CrossEntropy] {
        let mut trainer = Trainer::new(Model::<Classifier>::with_options(3, &serial())?, adam(loss.clone()))?;
        let reports: Vec<f32> =
            (0..5).map(|_| Ok(trainer.step(&points, &labels)?.loss)).collect::<Result<_, Error>>()?;
        let data = TensorDataset::new(points.clone(), labels.clone())?;
        let options = EvaluationOptions::default().loss(loss);
        let evaluation = trainer.model().evaluate_with(&data.in_order(5)?, &options)?;
        let own = trainer.evaluate(&data.in_order(5)?)?;
        assert_eq!(own.loss, evaluation.loss);
        losses.push((reports, evaluation));
    }
    for (own, built_in) in losses[0].0.iter().zip(&losses[1].0) {
        assert!((own - built_in).abs() < 1e-5, "{own} {built_in}");
    }
    assert!((losses[0].1.loss - losses[1].1.loss).abs() < 1e-5);
    assert!(losses[0].1.metrics.is_empty() && losses[1].1.accuracy().is_some());

    let images = noise(18, 2);
    let labels: Vec<i32> = (0..18).map(|pixel| pixel % 2).collect();
    let [own, built_in] = [Pixels::loss(), Loss::CrossEntropy].map(|loss| {
        Trainer::new(Model::<Pixels>::with_options(3, &serial())?, adam(loss))?.step(&images, &labels)
    });
    assert!((own?.loss - built_in?.loss).abs() < 1e-5);
    let [own, built_in] = [Plain::loss(), Loss::MeanSquaredError].map(|loss| {
        Trainer::new(Model::<Plain>::with_options(3, &serial())?, adam(loss))?.step(noise(6, 1), &noise(6, 2))
    });
    assert!((own?.loss - built_in?.loss).abs() < 1e-6);
    Ok(())
}

#[test]
fn a_builder_makes_the_same_loss() -> Outcome {
    let mut builder = Builder::new("Tagger");
    let steps: windlass::Symbol = "T".parse()?;
    let output = builder.input_of("output", DType::F32, [steps.into(), windlass::Dim::from(3)])?;
    let labels = builder.input_of("labels", DType::I32, [steps.into()])?;
    let weights = builder.input_of("weights", DType::F32, [steps.into()])?;
    let each = builder.cross_entropy("cross_entropy1", output, labels)?;
    let weighted = builder.combine("multiply1", Combination::Multiply, each, weights)?;
    builder.output("loss", weighted)?;
    let loss = Loss::Custom(LossGraph::new(builder.finish()?)?);
    assert_eq!(loss, Tagger::loss());
    let text = serde_json::to_string(&loss)?;
    assert_eq!(serde_json::from_str::<Loss>(&text)?, loss);

    // For a network that is known only at run time.
    let declared = Model::<Tagger>::with_options(3, &serial())?;
    let dynamic = Model::of_parameters(
        Dynamic::new(Tagger::graph().clone())?,
        declared.parameters().clone(),
        &serial(),
    )?;
    let (mut declared, mut dynamic) =
        (Trainer::new(declared, adam(loss.clone()))?, Trainer::new(dynamic, adam(loss))?);
    let frames = ndarray::Array3::from_shape_vec((1, 2, 2), noise(4, 1))?;
    let targets = || [Target::from(&[0, 2]), Target::from(&[1.0, 0.5])];
    assert_eq!(declared.step(&frames, targets())?, dynamic.step(&frames, targets())?);
    assert_eq!(all_bits(declared.model()), all_bits(dynamic.model()));
    assert!(declared.find_non_finite(&frames, targets())?.is_none());
    Ok(())
}

#[test]
fn a_fit_takes_batches_with_several_targets() -> Outcome {
    let frames = ndarray::Array3::from_shape_vec((2, 4, 2), noise(16, 1))?;
    let (labels, weights) = ([0, 1, 2, 0, 2, 1, 0, 1], [1.0; 8]);
    let batch = || {
        let targets: Target<'_> =
            [("labels", Target::from(&labels)), ("weights", Target::from(&weights))].into();
        targets
    };
    let mut trainer = Trainer::new(Model::<Tagger>::with_options(3, &serial())?, adam(Tagger::loss()))?;
    let first = trainer.step(&frames, batch())?.loss;
    for _ in 0..60 {
        trainer.step(&frames, batch())?;
    }
    assert!(trainer.step(&frames, batch())?.loss < first);

    let data = TensorDataset::new(noise(24, 1), noise(24, 2))?;
    let mut trainer = Trainer::new(Model::<Plain>::with_options(3, &serial())?, adam(Plain::loss()))?;
    let options = FitOptions::epochs(3).progress(Progress::Silent);
    let history = trainer.fit(&data.shuffled(4, 0)?, &data.in_order(6)?, options)?;
    let last = history.last().ok_or("three epochs")?;
    assert!(last.training.loss < history.epochs[0].training.loss);
    assert!(last.validation.is_some());
    let options = FitOptions::epochs(4).metrics([Metric::Accuracy]);
    assert!(matches!(trainer.fit(&data.shuffled(4, 0)?, &(), options), Err(Error::Setting { .. })));
    assert!(
        !Trainer::new(Model::<Plain>::with_options(3, &serial())?, adam(Plain::loss()).accumulate(2))?
            .step(noise(4, 1), &noise(4, 2))?
            .updated
    );
    Ok(())
}

#[test]
fn targets_that_do_not_fit() -> Outcome {
    let mut trainer = Trainer::new(Model::<Detector>::with_options(3, &serial())?, adam(Detector::loss()))?;
    let (image, place, filled, importance) = (noise(32, 1), noise(8, 2), [0.5; 8], [1.0; 2]);
    let mut error = |targets: Target<'_>| match trainer.step(&image, targets) {
        Err(error) => error.to_string(),
        Ok(report) => format!("{report:?}"),
    };
    let all = |labels: &'static [i32], place: &'static [f32]| -> Target<'static> {
        static FILLED: [f32; 8] = [0.5; 8];
        static IMPORTANCE: [f32; 2] = [1.0; 2];
        [Target::from(labels), Target::from(place), Target::from(&FILLED), Target::from(&IMPORTANCE)].into()
    };
    assert_eq!(
        error([Target::from(&place)].into()),
        "training `Detector` needs 4 targets, of `label`, `place`, `filled`, `importance` but was given 1 in order"
    );
    assert_eq!(
        error(Target::from(&place)),
        "training `Detector` needs targets by name for `label`, `place`, `filled`, `importance` but was given one \
         without a name"
    );
    assert_eq!(
        error([("label", Target::from(&[0, 1])), ("size", Target::from(&filled))].into()),
        "training `Detector` needs targets for `label`, `place`, `filled`, `importance` but was given one for `size`"
    );
    assert_eq!(
        error(all(&[0, 3], &[0.0; 8])),
        "label 3 of sample 1 is outside the 3 classes of `Detector`, 0 to 2"
    );
    assert_eq!(
        error(all(&[0, 1, 1], &[0.0; 8])),
        "training `Detector` needs indices of shape [2] for the target `label` but was given 3 elements"
    );
    assert_eq!(
        error(all(&[0, 1], &[0.0; 7])),
        "training `Detector` needs numbers of shape [2, 4] for the target `place` but was given 7 elements"
    );
    let named = [
        ("label", Target::from(&importance)),
        ("place", Target::from(&place)),
        ("filled", Target::from(&filled)),
        ("importance", Target::from(&importance)),
    ];
    assert_eq!(
        error(named.into()),
        "training `Detector` needs indices for the target `label` but was given numbers"
    );
    Ok(())
}

#[test]
fn losses_that_do_not_fit_the_network() -> Outcome {
    let with = |loss: Loss| match Trainer::new(Model::<Classifier>::with_options(3, &serial())?, adam(loss)) {
        Err(error) => Ok(error.to_string()),
        Ok(_) => Ok::<_, Error>("accepted".to_owned()),
    };
    assert_eq!(
        with(Plain::loss())?,
        "cannot train `Classifier`: the loss takes the output `output` as f32[N, 2], but the network computes f32[N, 3]: \
         declare it like the output"
    );
    assert!(
        with(Detector::loss())?
            .ends_with("reads no output of the network: name an input of it after one of `output`")
    );
    let list = TrainerOptions::default().losses([OutputLoss::new("output", Classifier::loss())]);
    let error = Trainer::new(Model::<Classifier>::with_options(3, &serial())?, list).unwrap_err().to_string();
    assert!(error.ends_with("give it alone, as `loss`"), "{error}");

    let mut builder = Builder::new("loss");
    let output = builder.input("output", &[3])?;
    let scaled = builder.layer("f1", &Layer::linear(1), output)?;
    builder.output("loss", scaled)?;
    let error = LossGraph::new(builder.finish()?).unwrap_err().to_string();
    assert!(error.starts_with("a loss has no parameters or states, but this one has `f1.weight`"), "{error}");
    Ok(())
}

/// Objects know the targets by their names, and the limits of labels.
#[test]
fn objects_train_with_them() -> Outcome {
    let model = Model::<Detector>::with_options(3, &serial())?;
    let files = model.object(&ObjectOptions::default().train(adam(Detector::loss())))?;
    assert!(!files.object.is_empty());
    Ok(())
}
