//! Layers over one and three spatial axes, and convolution along an axis of open size.

#[path = "support/numbers.rs"]
mod numbers;

use ndarray::{Array3, Array5, ArrayD};
use numbers::{Outcome, all_bits, bits, noise};
use windlass::{
    AnyNetwork, Builder, DType, Dim, Dynamic, Error, Graph, Input, Layer, Loss, Model, Network, Options,
    Polynomial, Trainer, TrainerOptions, network,
};
use windlass_compiler::interp::{Array, Bindings, run};

/// A network on signals of any length, and networks on signals of 1, 2, 7 and 64 samples.
macro_rules! filters {
    ($($name:ident of $length:tt),*) => {$(
        network! {
            network $name(signal: [6, $length]) -> [5, $length] {
                c1: conv1d(12, kernel_size = 3, padding = 1); relu;
                c2: conv1d(8, kernel_size = 5, padding = 4, dilation = 2, groups = 4); tanh;
                c3: conv1d(5, kernel_size = 1, bias = false)
            }
        }
    )*};
}

filters!(Filter of T, Filter1 of 1, Filter2 of 2, Filter7 of 7, Filter64 of 64);

network! {
    network Volumes(volume: [2, 6, 9, 10]) -> [3] {
        c1: conv3d(12, kernel_size = 3, padding = (1, 0, 1)); relu;
        max_pool3d(2);
        c2: conv3d(16, kernel_size = (1, 2, 3), stride = (2, 1, 1), groups = 2); tanh;
        avg_pool3d(kernel_size = (1, 2, 1));
        global_avg_pool3d; flatten;
        f3: linear(3)
    }

    network Signals(signal: [3, 40]) -> [4] {
        c1: conv1d(16, kernel_size = 5, stride = 2); batch_norm; relu;
        max_pool1d(2);
        c2: conv1d(16, kernel_size = 3, padding = 1, groups = 16); relu;
        avg_pool1d(3, stride = 2, padding = 1);
        global_avg_pool1d; flatten;
        f3: linear(4)
    }
}

fn signal(batch: usize, length: usize) -> Array3<f32> {
    Array3::from_shape_vec((batch, 6, length), noise(batch * 6 * length, 5)).unwrap()
}

fn assert_close(got: &ArrayD<f32>, expected: &ArrayD<f32>, what: &str) {
    assert_eq!(got.shape(), expected.shape(), "{what}");
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-5 * largest, "{what}: {got}, not {expected}");
    }
}

type Tensors = Vec<(String, ArrayD<f32>)>;

/// The predictions and the parameters after three training steps with targets of zero.
fn results<N>(signal: &Array3<f32>) -> Result<(ArrayD<f32>, Tensors), Error>
where
    N: for<'a> Network<Inputs<'a> = Input<'a>, Outputs = ArrayD<f32>>,
{
    let model = Model::<N>::new(3)?;
    let predicted = model.forward(signal)?;
    let options = TrainerOptions { loss: Loss::MeanSquaredError, ..TrainerOptions::default() };
    let mut trainer = Trainer::new(model, options)?;
    for _ in 0..3 {
        trainer.step(signal, &Array3::<f32>::zeros((signal.shape()[0], 5, signal.shape()[2])))?;
    }
    Ok((predicted, trainer.model().parameters().to_named().into_iter().collect()))
}

#[test]
fn convolution_along_an_open_axis_is_that_of_a_fixed_length() -> Outcome {
    for (batch, length) in [(1, 1), (3, 1), (1, 2), (3, 2), (1, 7), (3, 7), (1, 64), (3, 64)] {
        let signal = signal(batch, length);
        let (predicted, trained) = results::<Filter>(&signal)?;
        let expected = match length {
            1 => results::<Filter1>(&signal)?,
            2 => results::<Filter2>(&signal)?,
            7 => results::<Filter7>(&signal)?,
            _ => results::<Filter64>(&signal)?,
        };
        let what = format!("{batch} signals of {length}");
        assert_eq!(bits(&predicted), bits(&expected.0), "{what}");
        for ((name, got), (other, expected)) in trained.iter().zip(&expected.1) {
            assert_eq!(name, other);
            assert_eq!(bits(got), bits(expected), "{name} after {what}");
        }
    }
    Ok(())
}

/// Sums of small integers are exact in any order.
#[test]
fn integers_give_the_same_bits_along_open_axes() -> Outcome {
    let (open, fixed) = (rectified("T")?, rectified("9")?);
    let mut signal = signal(2, 9);
    signal.mapv_inplace(|value| (value * 5.0).round());
    let (mut open, mut fixed) = (Dynamic::new(open)?.model(1)?, Dynamic::new(fixed)?.model(1)?);
    for name in open.parameters().names().to_vec() {
        let mut values = open.parameter(&name).ok_or("a parameter")?.to_owned();
        let integers = noise(values.len(), name.len() as u32);
        values.iter_mut().zip(integers).for_each(|(value, noise)| *value = (noise * 4.0).round());
        open.set_parameter(&name, &values)?;
        fixed.set_parameter(&name, &values)?;
    }
    let (got, expected) = (open.forward([("x", &signal)])?, fixed.forward([("x", &signal)])?);
    for (name, array) in got.iter() {
        assert_eq!(bits(array), bits(expected.get(name)?), "{name}");
        assert!(array.iter().any(|value| *value != 0.0));
    }
    Ok(())
}

/// Two convolutions with a ReLU between them.
fn rectified(length: &str) -> Result<Graph, Box<dyn std::error::Error>> {
    let mut builder = Builder::new("Net");
    let length = Dim::from(length.parse::<Polynomial>()?);
    let x = builder.input_of("x", DType::F32, [Dim::from(6), length])?;
    let mut last = x;
    for (name, text) in [
        ("c1", r#"{"layer": "conv1d", "out_channels": 8, "kernel_size": 3, "padding": 2}"#),
        ("r1", r#"{"layer": "relu"}"#),
        ("c2", r#"{"layer": "conv1d", "out_channels": 4, "kernel_size": 2, "padding": 1, "groups": 2}"#),
    ] {
        last = builder.layer(name, &serde_json::from_str::<Layer>(text)?, last)?;
    }
    builder.output("y", last)?;
    Ok(builder.finish()?)
}

/// A window that would take a node for each of very many positions is refused before it takes memory.
#[test]
fn huge_windows_along_open_axes_are_errors() -> Outcome {
    let mut builder = Builder::new("Net");
    let length = Dim::from("T".parse::<Polynomial>()?);
    let x = builder.input_of("x", DType::F32, [Dim::from(8), length])?;
    for (kernel_size, groups, fits) in [(513, 8, false), (1_000_001, 1, false), (511, 8, true)] {
        let text = format!(
            r#"{{"layer": "conv1d", "out_channels": 8, "kernel_size": {kernel_size}, "padding": {}, "groups": {groups}}}"#,
            kernel_size / 2
        );
        let built = builder.layer(&format!("c{kernel_size}"), &serde_json::from_str::<Layer>(&text)?, x);
        match built {
            Ok(_) => assert!(fits, "{kernel_size} positions"),
            Err(error) => {
                assert!(!fits, "{error}");
                assert!(error.to_string().contains(&format!("`kernel_size` {kernel_size}")), "{error}");
            }
        }
    }
    Ok(())
}

#[test]
fn volumes_and_signals_agree_with_the_interpreter() -> Outcome {
    let volume = Array5::from_shape_vec((3, 2, 6, 9, 10), noise(3 * 2 * 6 * 9 * 10, 2))?.into_dyn();
    let signal = Array3::from_shape_vec((3, 3, 40), noise(360, 3))?.into_dyn();
    let got = Volumes::model(4)?;
    assert_close(&got.forward(&volume)?, &interpreted(&got, &volume)?, "volumes");
    let got = Signals::model(4)?;
    assert_close(&got.forward(&signal)?, &interpreted(&got, &signal)?, "signals");
    Ok(())
}

/// The interpreter's outputs.
fn interpreted<N: AnyNetwork>(
    model: &Model<N>,
    input: &ArrayD<f32>,
) -> Result<ArrayD<f32>, Box<dyn std::error::Error>> {
    let graph = model.network().graph();
    let mut bindings = Bindings::new();
    let array =
        |value: &ArrayD<f32>| Array::new(value.shape(), value.iter().map(|x| f64::from(*x)).collect());
    for (name, value) in model.parameters().to_named() {
        bindings.insert(name, array(&value));
    }
    let (_, name) = graph.inputs().next().ok_or("an input")?;
    bindings.insert(name.name.clone(), array(input));
    let outputs = run(graph, input.shape()[0], &bindings)?.outputs;
    let output = outputs.values().next().ok_or("an output")?;
    let values = output.real().iter().map(|value| *value as f32).collect();
    Ok(ArrayD::from_shape_vec(output.sizes.clone(), values)?)
}

#[test]
fn volumes_train_to_the_same_bits_on_any_number_of_threads() -> Outcome {
    let volume = Array5::from_shape_vec((4, 2, 6, 9, 10), noise(4 * 2 * 6 * 9 * 10, 2))?;
    let mut trained = Vec::new();
    for threads in [1, 2, 3] {
        let model = Model::<Volumes>::with_options(4, &Options::default().threads(threads))?;
        let mut trainer = Trainer::new(model, TrainerOptions::default())?;
        let first = trainer.step(&volume, &[0, 1, 2, 0])?.loss;
        for _ in 0..200 {
            trainer.step(&volume, &[0, 1, 2, 0])?;
        }
        assert!(trainer.step(&volume, &[0, 1, 2, 0])?.loss < first / 2.0);
        trained.push(all_bits(trainer.model()));
    }
    assert!(trained.iter().all(|parameters| *parameters == trained[0]));
    Ok(())
}
