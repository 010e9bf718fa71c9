//! `share(c1)` applies a layer or block again with the same parameters: they exist once, and their gradients add up.

use crate::support::numbers::Outcome;
use crate::support::serial;
use ndarray::{ArrayD, IxDyn};
use windlass::{
    Builder, Layer, Loss, Model, Optimizer, OutputLoss, Schedule, Trainer, TrainerOptions, network,
};
use windlass_compiler::ops::window::Window;

network! {
    /// Two inputs, seen by the same layers.
    network Siamese(left: [1, 6, 6], right: [1, 6, 6]) -> (near: [1]) {
        from(left); c1: conv2d(4, kernel_size = 3); relu; seen: tower(3);
        let a = it;
        from(right); share(c1); relu; again: share(seen);
        subtract(a); square; linear(1); near = it;
    }

    block tower(features) {
        c: conv2d(2, kernel_size = 3, bias = false); norm: batch_norm; flatten; f: linear(features)
    }

    /// The same layers with parameters of their own.
    network Separate(left: [1, 6, 6], right: [1, 6, 6]) -> (near: [1]) {
        from(left); c1: conv2d(4, kernel_size = 3); relu; seen: tower(3);
        let a = it;
        from(right); c2: conv2d(4, kernel_size = 3); relu; again: tower(3);
        subtract(a); square; linear(1); near = it;
    }

    /// A layer that is applied four times, from inside a `repeat` and a path too.
    network Recurrent(x: [5]) -> [10] {
        step: linear(5); tanh;
        repeat 2 { share(step); tanh }
        concat { { share(step) } it }
    }
}

#[test]
fn a_shared_layer_has_the_graph_of_the_builder() {
    let mut b = Builder::new("Recurrent");
    let mut x = b.input("x", &[5]).unwrap();
    x = b.layer("step", &Layer::linear(5), x).unwrap();
    x = b.layer("tanh1", &Layer::Tanh, x).unwrap();
    for iteration in 0..2 {
        let label = format!("repeat1.{iteration}.share1");
        b.share(&label, "step");
        x = b.layer(&label, &Layer::linear(5), x).unwrap();
        x = b.layer(&format!("repeat1.{iteration}.tanh1"), &Layer::Tanh, x).unwrap();
    }
    b.share("share1", "step");
    let y = b.layer("share1", &Layer::linear(5), x).unwrap();
    x = b.concat("concat1", &[y, x]).unwrap();
    b.output("output", x).unwrap();
    assert_eq!(*Recurrent::graph(), b.finish().unwrap());
}

#[test]
fn shared_parameters_are_listed_once() {
    let names: Vec<&str> = Siamese::PARAMETERS.iter().map(|(name, _)| *name).collect();
    let own =
        ["c1.weight", "c1.bias", "seen.c.weight", "seen.norm.weight", "seen.norm.bias", "seen.f.weight"];
    assert_eq!(names[..6], own);
    assert_eq!(names.len(), 9);
    let (summary, separate) = (Siamese::summary(), Separate::summary());
    let head = 3 + 1;
    assert_eq!(separate.totals.parameters - head, 2 * (summary.totals.parameters - head));
    assert_eq!(summary.totals.multiply_adds, separate.totals.multiply_adds);
    let of = |label: &str| summary.rows.iter().find(|row| row.label == label).unwrap().parameters;
    assert_eq!((of("c1"), of("share1"), of("again.f")), (40, 0, 0));
    let model = Siamese::model(1).unwrap();
    assert_eq!(model.parameters().names().len(), 9 + 2);
}

fn noise(sizes: &[usize], seed: u64) -> ArrayD<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    ArrayD::from_shape_simple_fn(IxDyn(sizes), || random.f32() * 2.0 - 1.0)
}

/// The model after a step of plain gradient descent at rate 0.1.
macro_rules! stepped {
    ($model:expr, $inputs:ident) => {{
        let options = TrainerOptions::default()
            .losses([OutputLoss::new("near", Loss::MeanSquaredError)])
            .optimizer(Optimizer::sgd())
            .schedule(Schedule::constant(0.1)?);
        let mut trainer = Trainer::new($model, options)?;
        let (left, right) = (noise(&[3, 1, 6, 6], 1), noise(&[3, 1, 6, 6], 2));
        trainer.step($inputs::new(&left, &right), &noise(&[3, 1], 3))?;
        trainer.into_model()
    }};
}

/// Each gradient is the sum of those of two layers with equal parameters, and running statistics follow one use after
/// another.
#[test]
fn gradients_of_shared_parameters_add_up() -> Outcome {
    let start: Model<Siamese> = Model::with_options(5, &serial())?;
    let mut separate: Model<Separate> = Model::with_options(6, &serial())?;
    // The parameter of the shared layers for each of the separate ones.
    let owner = |name: &str| name.replace("c2.", "c1.").replace("again.", "seen.");
    for name in separate.parameters().names().to_vec() {
        let values = start.parameters().get(&owner(&name)).expect("the same layers").to_owned();
        separate.set_parameter(&name, &values)?;
    }
    let names = start.parameters().names().to_vec();
    let before = start.parameters().to_named();
    let shared = stepped!(start, SiameseInputs);
    let separate = stepped!(separate, SeparateInputs);
    for name in names {
        let get = |name: &str| separate.parameters().get(name).map(|values| values.to_owned());
        let first = get(&name).expect("the same layers");
        let other = name.replace("c1.", "c2.").replace("seen.", "again.");
        let expected = match get(&other).filter(|_| other != name) {
            // Momentum 0.1: the second use starts from what the first made.
            Some(second) if name.contains("running") => second + (&first - &before[&name]) * 0.9,
            Some(second) => first + second - &before[&name],
            None => first,
        };
        let got = shared.parameters().get(&name).expect("a parameter");
        let error = (&got - &expected).iter().fold(0.0_f32, |most, error| most.max(error.abs()));
        assert!(error < 2e-5, "{name}: {got} instead of {expected}");
        // Biases of the features cancel in their difference.
        assert!(name.contains("bias") || got != before[&name], "{name} did not change");
    }
    Ok(())
}

#[test]
fn checkpoints_have_shared_parameters_once() -> Outcome {
    let directory = tempfile::TempDir::new()?;
    let path = directory.path().join("siamese.safetensors");
    let model = Siamese::model(3)?;
    model.save(&path)?;
    let bytes = std::fs::read(&path)?;
    assert_eq!(safetensors::SafeTensors::deserialize(&bytes)?.names().len(), 11);
    assert_eq!(Siamese::load(&path)?.parameters(), model.parameters());
    Ok(())
}

/// A layer that does not fit its first use is an error with both shapes.
#[test]
fn builders_refuse_shared_layers_that_do_not_fit() {
    let mut b = Builder::new("net");
    let x = b.input("x", &[3, 4, 4]).unwrap();
    let y = b.layer("c1", &Layer::conv(2, Window::square(3, 1, 1)), x).unwrap();
    b.share("c2", "c1");
    let error = b.layer("c2", &Layer::conv(2, Window::square(3, 1, 1)), y).unwrap_err().to_string();
    assert_eq!(
        error,
        "`conv2d` needs the shared parameter `c1.weight` as [2, 2, 3, 3], but it is [2, 3, 3, 3]"
    );
    b.share("c3", "c9");
    let error = b.layer("c3", &Layer::linear(2), y).unwrap_err().to_string();
    assert!(error.contains("linear"), "{error}");
    let flat = b.layer("", &Layer::Flatten, y).unwrap();
    let error = b.layer("c3", &Layer::linear(2), flat).unwrap_err().to_string();
    assert_eq!(error, "`linear` needs the shared parameter `c9.weight` as [2, 32], but there is none");
}
