//! Compiles a network that finds edges: two Sobel filters, and the length of the gradient that they give.

use std::error::Error;

use windlass_build::ndarray::{ArrayD, IxDyn};
use windlass_build::{Build, Builder, Dynamic, Layer, Model, Options, Window};

fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = Builder::new("edges");
    let mut x = builder.input("image", &[1, 24, 48])?;
    for (label, layer) in [
        ("sobel", Layer::conv(2, Window::square(3, 1, 1))),
        ("square", Layer::Square),
        ("sum", Layer::conv(1, Window::square(1, 1, 0))),
        ("root", Layer::Sqrt),
    ] {
        x = builder.layer(label, &layer, x)?;
    }
    builder.output("strength", x)?;
    let mut model = Model::of(Dynamic::new(builder.finish()?)?, 0, &Options::default())?;
    let along = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];
    let down = [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0];
    let filters = ArrayD::from_shape_vec(IxDyn(&[2, 1, 3, 3]), [along, down].concat())?;
    model.set_parameter("sobel.weight", &filters)?;
    model.set_parameter("sum.weight", &ArrayD::ones(IxDyn(&[1, 2, 1, 1])))?;
    for bias in ["sobel.bias", "sum.bias"] {
        let zeros = model.parameter(bias).map(|bias| ArrayD::zeros(bias.raw_dim()));
        model.set_parameter(bias, &zeros.ok_or("a convolution has a bias")?)?;
    }
    // Runs are on one image; the program needs no other size.
    Ok(Build::of(model).sizes(1).compile()?)
}
