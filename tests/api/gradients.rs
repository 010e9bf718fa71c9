//! Gradients of a model agree with central differences in double precision and with a trainer's step.

use ndarray::ArrayD;
use windlass::{
    AnyNetwork, Dynamic, Error, Feed, GradientOptions, Gradients, Loss, Model, Optimizer, OutputLoss,
    Schedule, Target, Trainer, TrainerOptions, network,
};
use windlass_compiler::interp::{self, Array, Bindings};
use windlass_compiler::shape::Sizes;

use crate::support::numbers::{Outcome, bits, noise};
use crate::support::{Images, images, labels, serial};

network! {
    /// Two inputs and two outputs, all smooth.
    network Pair(left: [3], right: [1, 4, 4]) -> (class: [3], place: [2]) {
        from(right); c1: conv2d(2, kernel_size = 3); softplus; flatten; r1: linear(4); let r = it;
        from(left); l1: linear(4); tanh; add(r); let both = it;
        linear(3); class = it;
        from(both); linear(2); place = it;
    }

    /// Steps of open number, looked up by indices and given as numbers.
    network Tagger(words: [T] of index, features: [T, 2]) -> [T, 3] {
        from(words); e1: embedding(5, 4); let e = it;
        from(features); f1: linear(4); tanh; add(e); f2: linear(3)
    }

    network Normalized(point: [2]) -> [2] { f1: linear(4); n1: batch_norm; tanh; dropout(0.5); f2: linear(2) }
}

/// Compares gradients with central differences of the loss, computed by the interpreter in double precision.
fn agrees_with_differences<N: AnyNetwork>(
    model: &Model<N>,
    loss: &windlass::Graph,
    sizes: &Sizes,
    given: &[(&str, Array<f64>)],
    gradients: &Gradients,
) -> Outcome {
    let mut bindings: Bindings<f64> = model
        .parameters()
        .to_named()
        .into_iter()
        .map(|(name, tensor)| {
            (name, Array::new(tensor.shape(), tensor.iter().map(|&x| f64::from(x)).collect()))
        })
        .collect();
    bindings.extend(given.iter().map(|(name, array)| ((*name).to_owned(), array.clone())));
    let loss_at = |bindings: &Bindings<f64>| -> Result<f64, Box<dyn std::error::Error>> {
        Ok(interp::run(loss, sizes.clone(), bindings)?.outputs["loss"].real()[0])
    };
    assert!((loss_at(&bindings)? - f64::from(gradients.loss)).abs() < 1e-5);
    let mut compared = 0;
    for (name, gradient) in gradients.inputs.iter().chain(&gradients.parameters) {
        let original = bindings[name].clone();
        assert_eq!(original.sizes, gradient.shape(), "{name}");
        for (place, &slope) in gradient.iter().enumerate() {
            let mut at = |offset: f64| {
                let mut values = original.real().to_vec();
                values[place] += offset;
                bindings.insert(name.clone(), Array::new(original.sizes.clone(), values));
                loss_at(&bindings)
            };
            let expected = (at(1e-5)? - at(-1e-5)?) / 2e-5;
            assert!((f64::from(slope) - expected).abs() < 1e-5, "{name}[{place}]: {slope}, not {expected}");
            compared += 1;
        }
        bindings.insert(name.clone(), original);
    }
    assert!(compared > 20, "{compared} elements");
    Ok(())
}

fn real(sizes: &[usize], values: &[f32]) -> Array<f64> {
    Array::new(sizes, values.iter().map(|&x| f64::from(x)).collect())
}

#[test]
fn of_two_inputs_and_two_losses() -> Outcome {
    let model = Model::<Pair>::with_options(3, &serial())?;
    let losses = [
        OutputLoss::new("class", Loss::CrossEntropy),
        OutputLoss::new("place", Loss::MeanSquaredError).weighted(0.3),
    ];
    let differentiator = model.differentiate(&GradientOptions::default().losses(losses))?;
    let (left, right, place) = (noise(6, 1), noise(32, 2), noise(4, 3));
    let inputs = PairInputs { left: (&left).into(), right: (&right).into() };
    let targets = [("place", Target::from(&place)), ("class", Target::from(&[2, 0]))];
    let gradients = differentiator.run(&model, inputs, targets)?;
    let given = [
        ("left", real(&[2, 3], &left)),
        ("right", real(&[2, 1, 4, 4], &right)),
        ("labels.class", Array::ints(vec![2], vec![2, 0])),
        ("target.place", real(&[2, 2], &place)),
    ];
    assert_eq!(gradients.inputs.len(), 2);
    assert_eq!(gradients.parameters.len(), model.parameters().names().len());
    let outputs = model.forward(PairInputs { left: (&left).into(), right: (&right).into() })?;
    assert_eq!(gradients.outputs["class"].shape(), outputs.class.shape());
    agrees_with_differences(&model, differentiator.graph(), &Sizes::from(2), &given, &gradients)
}

#[test]
fn of_sequences_of_any_length_and_batch() -> Outcome {
    let model = Model::<Tagger>::with_options(5, &serial())?;
    let differentiator = model.differentiate(&GradientOptions::default())?;
    for (batch, steps) in [(1, 4), (3, 2)] {
        let count = batch * steps;
        let words =
            ndarray::Array2::from_shape_fn((batch, steps), |(row, step)| ((2 * row + step) % 5) as i32);
        let features = ArrayD::from_shape_vec(vec![batch, steps, 2], noise(2 * count, 7))?;
        let labels: Vec<i32> = (0..count).map(|step| (step % 3) as i32).collect();
        let inputs = TaggerInputs { words: (&words).into(), features: (&features).into() };
        let gradients = differentiator.run(&model, inputs, &labels)?;
        assert_eq!(gradients.inputs.keys().collect::<Vec<_>>(), ["features"]);
        let given = [
            ("words", Array::ints(vec![batch, steps], words.iter().copied().collect())),
            ("features", real(&[batch, steps, 2], features.as_slice().ok_or("contiguous")?)),
            ("labels", Array::ints(vec![batch, steps], labels)),
        ];
        let sizes = Sizes::from(batch).with("T".parse()?, steps);
        agrees_with_differences(&model, differentiator.graph(), &sizes, &given, &gradients)?;
    }
    Ok(())
}

/// A step of gradient descent moves each parameter by its gradient times the rate.
#[test]
fn in_training_mode_they_are_those_of_a_step() -> Outcome {
    let model = Model::<Images>::with_options(3, &serial())?;
    let before = model.parameters().clone();
    let options = GradientOptions::of_parameters().training(true).seed(9);
    let differentiator = model.differentiate(&options)?;
    let (batch, classes) = (images(5, 1), labels(5));
    let gradients = differentiator.run(&model, &batch, &classes)?;
    assert!(gradients.inputs.is_empty());
    assert_eq!(*model.parameters(), before, "running statistics too");
    let rate = 0.25;
    let training =
        TrainerOptions::default().optimizer(Optimizer::sgd()).schedule(Schedule::constant(rate)?).seed(9);
    let mut trainer = Trainer::new(model, training)?;
    let report = trainer.step(&batch, &classes)?;
    assert_eq!(report.loss, gradients.loss);
    for (name, gradient) in &gradients.parameters {
        let (old, new) = (before.get(name).ok_or("there")?, trainer.model().parameter(name).ok_or("there")?);
        for ((old, new), gradient) in old.iter().zip(new.iter()).zip(gradient) {
            let moved = f64::from(*new) - f64::from(*old) + rate * f64::from(*gradient);
            assert!(moved.abs() < 1e-6, "{name}: {old} to {new}, gradient {gradient}");
        }
    }
    // The same differentiator with what the trainer has learned.
    let next = differentiator.run(trainer.model(), &batch, &classes)?;
    assert_ne!(next.loss, gradients.loss);
    Ok(())
}

/// By default, each sample is on its own: running statistics, no dropout.
#[test]
fn in_inference_mode_samples_are_independent() -> Outcome {
    let model = Model::<Normalized>::with_options(3, &serial())?;
    let differentiator = model.differentiate(&GradientOptions::of_inputs())?;
    let points = noise(6, 1);
    let whole = differentiator.run(&model, &points, &[0, 1, 1])?;
    assert!(whole.parameters.is_empty());
    for (sample, (point, label)) in points.chunks(2).zip([0, 1, 1]).enumerate() {
        let alone = differentiator.run(&model, point, &[label])?;
        for (own, shared) in
            alone.inputs["point"].iter().zip(whole.inputs["point"].outer_iter().nth(sample).ok_or("")?)
        {
            assert!((own / 3.0 - shared).abs() < 1e-7, "{own} {shared}");
        }
    }
    let again = differentiator.run(&model, &points, &[0, 1, 1])?;
    assert_eq!(bits(&again.inputs["point"]), bits(&whole.inputs["point"]));
    let training = model.differentiate(&GradientOptions::default().training(true))?;
    let error = training.run(&model, &points[..2], &[0]).unwrap_err();
    assert!(matches!(error, Error::SingleValue { .. }), "{error}");
    Ok(())
}

#[test]
fn of_some_parameters_of_a_dynamic_network() -> Outcome {
    let declared = Model::<Pair>::with_options(3, &serial())?;
    let network = Dynamic::new(Pair.graph().clone())?;
    let model = Model::of_parameters(network, declared.parameters().clone(), &serial())?;
    let options = GradientOptions::default().output("class").inputs(["left"]).parameters(["c1", "*.bias"]);
    let (left, right) = (noise(3, 1), noise(16, 2));
    let inputs = [("right", Feed::from(&right)), ("left", Feed::from(&left))];
    let gradients = model.differentiate(&options)?.run(&model, inputs, &[1])?;
    assert_eq!(gradients.inputs.keys().collect::<Vec<_>>(), ["left"]);
    let names: Vec<&str> = gradients.parameters.keys().map(String::as_str).collect();
    assert!(
        names.contains(&"c1.weight") && names.contains(&"r1.bias") && !names.contains(&"r1.weight"),
        "{names:?}"
    );
    // The loss of `class` does not depend on the layer of `place`.
    let zeros = gradients.parameters.values().filter(|gradient| gradient.iter().all(|&slope| slope == 0.0));
    assert_eq!(zeros.count(), 1);
    let typed = declared.differentiate(&options)?;
    let inputs = PairInputs { left: (&left).into(), right: (&right).into() };
    assert_eq!(typed.run(&declared, inputs, &[1])?, gradients);
    Ok(())
}

#[test]
fn what_has_no_gradient_is_named() -> Outcome {
    let model = Model::<Tagger>::with_options(5, &serial())?;
    let error = |options: GradientOptions| model.differentiate(&options).unwrap_err().to_string();
    assert_eq!(
        error(GradientOptions::default().inputs(["words"])),
        "cannot differentiate `Tagger`: the input `words` holds integers, which have no gradient: leave it out, or ask for \
         the gradient of the parameter that it indexes, such as the weight of an embedding"
    );
    assert_eq!(
        error(GradientOptions::default().inputs(["feature"])),
        "cannot differentiate `Tagger`: the network has no input `feature` (did you mean `features`?); it has `words`, \
         `features`"
    );
    assert_eq!(
        error(GradientOptions::default().parameters(["f1.weigth"])),
        "cannot differentiate `Tagger`: the network has no parameter `f1.weigth` (did you mean `f1.weight`?); it has \
         `e1.weight`, `f1.weight`, `f1.bias`, `f2.weight`, `f2.bias`"
    );
    let nothing = GradientOptions::of_inputs().inputs([""; 0]);
    assert!(error(nothing).contains("nothing to differentiate"));
    Ok(())
}
