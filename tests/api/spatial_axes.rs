//! Layers over one and three spatial axes, and convolution along an axis of open size.

use crate::support::numbers::{Outcome, all_bits, bits, noise};
use ndarray::{Array3, Array5, ArrayD};
use windlass::{
    AnyNetwork, Builder, DType, Dim, Dynamic, Error, Graph, Input, Layer, Loss, Model, Network, Options,
    Polynomial, Trainer, TrainerOptions, network,
};
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::interp::{Array, Bindings, run};
use windlass_compiler::ops::reduce::ReduceKind;

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
    let options = TrainerOptions::default().loss(Loss::MeanSquaredError);
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

/// Layers on sequences of 3 channels: windows with and without a halo, groups, dilation, pools that overlap, batch
/// normalisation; sequences of many, few and single channels.
const LAYERS: [&str; 15] = [
    r#"{"layer": "conv1d", "out_channels": 24, "kernel_size": 3, "padding": 2}"#,
    r#"{"layer": "batch_norm"}"#,
    r#"{"layer": "relu"}"#,
    r#"{"layer": "max_pool1d", "kernel_size": 3, "stride": 1, "padding": 1}"#,
    r#"{"layer": "conv1d", "out_channels": 24, "kernel_size": 3, "padding": 2, "dilation": 2, "groups": 24}"#,
    r#"{"layer": "sigmoid"}"#,
    r#"{"layer": "conv1d", "out_channels": 36, "kernel_size": 1, "groups": 4}"#,
    r#"{"layer": "batch_norm"}"#,
    r#"{"layer": "avg_pool1d", "kernel_size": 2, "stride": 1}"#,
    r#"{"layer": "conv1d", "out_channels": 4, "kernel_size": 9, "padding": 4}"#,
    r#"{"layer": "tanh"}"#,
    r#"{"layer": "batch_norm"}"#,
    r#"{"layer": "conv1d", "out_channels": 1, "kernel_size": 2, "padding": 1}"#,
    r#"{"layer": "max_pool1d", "kernel_size": 2, "stride": 1, "padding": 1}"#,
    r#"{"layer": "conv1d", "out_channels": 2, "kernel_size": 2}"#,
];

fn layered(length: &str) -> Result<Dynamic, Box<dyn std::error::Error>> {
    let mut builder = Builder::new("Net");
    let length = Dim::from(length.parse::<Polynomial>()?);
    let mut last = builder.input_of("x", DType::F32, [Dim::from(3), length])?;
    for (index, text) in LAYERS.into_iter().enumerate() {
        last = builder.layer(&format!("l{index}"), &serde_json::from_str::<Layer>(text)?, last)?;
    }
    builder.output("y", last)?;
    Ok(Dynamic::new(builder.finish()?)?)
}

/// Predictions before and after two training steps, and all parameters and states then.
fn bits_of(network: &Dynamic, x: &Array3<f32>, options: &Options) -> Result<Vec<Vec<u32>>, Error> {
    let model = Model::of(network.clone(), 5, options)?;
    let before = model.forward([("x", x)])?.single()?;
    let training = TrainerOptions::default().loss(Loss::MeanSquaredError);
    let mut trainer = Trainer::new(model, training)?;
    let target = ArrayD::from_elem(before.shape(), 0.5);
    for _ in 0..2 {
        trainer.step([("x", x)], &target)?;
    }
    let after = trainer.model().forward([("x", x)])?.single()?;
    let parameters = trainer.model().parameters().to_named();
    Ok([before, after].iter().chain(parameters.values()).map(bits).collect())
}

/// Every vector width, one and two threads; lengths below, at and above those of tiles and of the blocks of sums.
#[test]
fn layers_along_an_open_axis_have_the_bits_of_a_fixed_length() -> Outcome {
    let open = layered("T")?;
    for width in available_vector_bits() {
        for threads in [1, 2] {
            let mut options = Options::default().threads(threads);
            options.compile.plan.vector_bits = Some(width);
            for (batch, length) in [(1, 1), (3, 1), (2, 2), (3, 7), (1, 64), (2, 70), (3, 131)] {
                let x = noise(batch * 3 * length, length as u32);
                let x = Array3::from_shape_vec((batch, 3, length), x)?;
                let fixed = layered(&length.to_string())?;
                let (got, expected) = (bits_of(&open, &x, &options)?, bits_of(&fixed, &x, &options)?);
                let what = format!("{batch} of {length}, {width} bits, {threads} threads");
                for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert_eq!(got, expected, "array {index}: {what}");
                }
                assert_eq!(got.len(), expected.len());
            }
        }
    }
    Ok(())
}

/// A classifier of sequences, from means over their steps.
fn classifier(length: &str) -> Result<Dynamic, Box<dyn std::error::Error>> {
    let mut builder = Builder::new("Net");
    let length = Dim::from(length.parse::<Polynomial>()?);
    let x = builder.input_of("x", DType::F32, [Dim::from(5), length])?;
    let conv = r#"{"layer": "conv1d", "out_channels": 20, "kernel_size": 3, "padding": 1}"#;
    let y = builder.layer("c1", &serde_json::from_str::<Layer>(conv)?, x)?;
    let y = builder.layer("r1", &Layer::Relu, y)?;
    let y = builder.reduce("m", y, ReduceKind::Mean, &[2])?;
    let y = builder.layer("f2", &Layer::linear(3), y)?;
    builder.output("y", y)?;
    Ok(Dynamic::new(builder.finish()?)?)
}

#[test]
fn means_over_open_steps_have_the_bits_of_a_fixed_length() -> Outcome {
    let open = classifier("T")?;
    for (batch, length) in [(1, 1), (3, 2), (2, 7), (3, 64), (2, 131)] {
        let x = Array3::from_shape_vec((batch, 5, length), noise(batch * 5 * length, 2))?;
        let fixed = classifier(&length.to_string())?;
        let options = Options::default();
        let [got, expected] = [&open, &fixed].map(|network| bits_of(network, &x, &options));
        assert_eq!(got?, expected?, "{batch} of {length}");
    }
    Ok(())
}

/// A window that is longer than most sequences.
#[test]
fn long_windows_along_open_axes_are_those_of_a_fixed_length() -> Outcome {
    let network = |length: &str| -> Result<Dynamic, Box<dyn std::error::Error>> {
        let mut builder = Builder::new("Net");
        let x =
            builder.input_of("x", DType::F32, [Dim::from(8), Dim::from(length.parse::<Polynomial>()?)])?;
        let conv =
            r#"{"layer": "conv1d", "out_channels": 8, "kernel_size": 513, "padding": 256, "groups": 8}"#;
        let y = builder.layer("c", &serde_json::from_str::<Layer>(conv)?, x)?;
        builder.output("y", y)?;
        Ok(Dynamic::new(builder.finish()?)?)
    };
    let x = Array3::from_shape_vec((2, 8, 40), noise(640, 8))?;
    let [open, fixed] = [network("T")?, network("40")?].map(|net| bits_of(&net, &x, &Options::default()));
    assert_eq!(open?, fixed?);
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
