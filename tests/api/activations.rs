//! Every activation as a declared layer: the same graph as a built one, its values, and training.

use windlass::ndarray::arr1;
use windlass::{Activation, Builder, Initializer, Layer, Model, Optimizer, Trainer, TrainerOptions, network};

network! {
    network Every(x: [4]) -> [6] {
        f1: linear(24);
        relu6; leaky_relu; leaky_relu(slope = 0.25); elu; elu(alpha = 0.5); selu; gelu; gelu(approximate = true);
        silu; hard_swish; hard_sigmoid; softplus; scaled_tanh; huber; huber(delta = 1 / 4); abs; erf;
        floor; ceil; round;
        square; sqrt; exp; log; negate;
        prelu; prelu(shared = true, init = constant(0.5)); maxout(4)
    }

    network Images(image: [6, 5, 5]) -> [3, 5, 5] {
        conv2d(12, kernel_size = 3, padding = 1); prelu; maxout(2); gelu; maxout(2)
    }

    network Steps(frames: [T, 6]) -> [T, 3] { linear(6); silu; prelu; maxout(2) }

    network Prelu(x: [3]) -> [3] { prelu }

    network Maxout(image: [4, 1, 2]) -> [2, 1, 2] { maxout(2) }
}

#[test]
fn declared_activations_are_those_that_are_built() {
    let layers = [
        ("f1", Layer::linear(24)),
        ("relu61", Layer::Activation(Activation::Relu6)),
        ("leaky_relu1", Layer::Activation(Activation::leaky_relu(0.01))),
        ("leaky_relu2", Layer::Activation(Activation::leaky_relu(0.25))),
        ("elu1", Layer::Activation(Activation::elu(1.0))),
        ("elu2", Layer::Activation(Activation::elu(0.5))),
        ("selu1", Layer::Activation(Activation::Selu)),
        ("gelu1", Layer::Activation(Activation::Gelu)),
        ("gelu2", Layer::Activation(Activation::GeluTanh)),
        ("silu1", Layer::Activation(Activation::Silu)),
        ("hard_swish1", Layer::Activation(Activation::HardSwish)),
        ("hard_sigmoid1", Layer::Activation(Activation::HardSigmoid)),
        ("softplus1", Layer::Activation(Activation::Softplus)),
        ("scaled_tanh1", Layer::Activation(Activation::ScaledTanh)),
        ("huber1", Layer::Activation(Activation::huber(1.0))),
        ("huber2", Layer::Activation(Activation::huber(0.25))),
        ("abs1", Layer::Activation(Activation::Abs)),
        ("erf1", Layer::Activation(Activation::Erf)),
        ("floor1", Layer::Activation(Activation::Floor)),
        ("ceil1", Layer::Activation(Activation::Ceil)),
        ("round1", Layer::Activation(Activation::Round)),
        ("square1", Layer::Square),
        ("sqrt1", Layer::Sqrt),
        ("exp1", Layer::Exp),
        ("log1", Layer::Log),
        ("negate1", Layer::Negate),
        ("prelu1", Layer::prelu()),
        ("prelu2", Layer::Prelu { shared: true, init: Initializer::Constant(0.5) }),
        ("maxout1", Layer::Maxout { pieces: 4 }),
    ];
    let mut builder = Builder::new("Every");
    let mut x = builder.input("x", &[4]).unwrap();
    for (label, layer) in &layers {
        x = builder.layer(label, layer, x).unwrap();
    }
    builder.output("output", x).unwrap();
    assert_eq!(*Every::graph(), builder.finish().unwrap());
    // Graphs with activations are parsed from their text.
    assert_eq!(Every::graph().to_string().parse::<windlass::Graph>().unwrap(), *Every::graph());
}

#[test]
fn a_prelu_has_a_slope_for_each_channel() {
    let mut model = Model::<Prelu>::new(0).unwrap();
    let y = model.forward(&[1.0, -2.0, -4.0]).unwrap();
    assert_eq!(y.as_slice().unwrap(), [1.0, -0.5, -1.0]);
    model.set_parameter("prelu1.weight", &arr1(&[0.0, 1.0, -2.0]).into_dyn()).unwrap();
    let y = model.forward(&[1.0, -2.0, -4.0]).unwrap();
    assert_eq!(y.as_slice().unwrap(), [1.0, -2.0, 8.0]);
}

#[test]
fn maxout_groups_neighbouring_channels() {
    let model = Model::<Maxout>::new(0).unwrap();
    let y = model.forward(&[1.0, 2.0, 3.0, -4.0, -5.0, -6.0, -7.0, 8.0]).unwrap();
    assert_eq!(y.as_slice().unwrap(), [3.0, 2.0, -5.0, 8.0]);
}

#[test]
fn activations_on_images_and_steps_run() {
    let model = Images::model(3).unwrap();
    assert_eq!(model.forward(&[0.5; 2 * 150]).unwrap().shape(), [2, 3, 5, 5]);
    let model = Steps::model(3).unwrap();
    let frames = windlass::ndarray::Array3::from_elem((2, 7, 6), 0.25);
    assert_eq!(model.forward(&frames).unwrap().shape(), [2, 7, 3]);
}

network! {
    network Deep(x: [2]) -> [2] {
        linear(16); gelu; linear(16); prelu; linear(16); silu; linear(8); maxout(2); linear(2)
    }
}

#[test]
fn networks_of_activations_learn() {
    let points: Vec<f32> =
        (0..256).flat_map(|i| [i as f32 * 0.7549 % 1.0, i as f32 * 0.5698 % 1.0]).collect();
    let labels: Vec<i32> = points.chunks(2).map(|p| i32::from(p[0].hypot(p[1]) < 0.8)).collect();
    let options = TrainerOptions::default().optimizer(Optimizer::adam());
    let mut trainer = Trainer::new(Model::<Deep>::new(0).unwrap(), options).unwrap();
    let first = trainer.step(&points, &labels).unwrap().loss;
    let mut last = first;
    for _ in 0..300 {
        last = trainer.step(&points, &labels).unwrap().loss;
    }
    assert!(last < 0.3 * first, "{first} to {last}");
}
