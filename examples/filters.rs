//! Filters of image processing are convolutions with weights that somebody chose (Dive into Deep Learning, section 7.2).
//!
//! Look at the kernels in [`KERNELS`] and at the picture: the photograph blurred, sharpened and embossed, its edges, and
//! its Gaussian pyramid.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example filters
//! ```

mod failure;
mod photo;
mod picture;
mod repository;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use windlass::ndarray::ArrayD;
use windlass::{Model, network};

use photo::{HEIGHT, WIDTH, photo};
use picture::{Lettering, Picture, colors};
use repository::repository;

network! {
    /// A 3×3 kernel on each colour alone; the edge of the image is repeated around it.
    network Filter(image: [3, 192, 288]) -> [3, 192, 288] {
        pad2d(1, mode = replicate);
        kernel: conv2d(3, kernel_size = 3, groups = 3, bias = false)
    }

    /// The strength of the edges: the length of the gradient of the grey image, which two kernels compute.
    network Sobel(image: [3, 192, 288]) -> [1, 192, 288] {
        grey: conv2d(1, kernel_size = 1, bias = false); pad2d(1, mode = replicate);
        let image = it;
        across: conv2d(1, kernel_size = 3, bias = false); square;
        let across = it;
        from(image); down: conv2d(1, kernel_size = 3, bias = false); square; add(across); sqrt
    }

    /// Half the resolution: a 5×5 kernel on every second pixel.
    block reduce { pad2d(2, mode = replicate); conv2d(3, kernel_size = 5, stride = 2, groups = 3, bias = false) }

    /// The levels of a Gaussian pyramid (Burt and Adelson 1983).
    network Pyramid(image: [3, 192, 288]) -> (half: [3, 96, 144], quarter: [3, 48, 72], eighth: [3, 24, 36]) {
        r1: reduce; half = it;
        r2: reduce; quarter = it;
        r3: reduce; eighth = it;
    }
}

/// The kernels of [`Filter`].
const KERNELS: [(&str, [f32; 9]); 4] = [
    ("blurred", [1.0 / 9.0; 9]),
    ("sharpened", [0.0, -1.0, 0.0, -1.0, 5.0, -1.0, 0.0, -1.0, 0.0]),
    ("embossed", [-2.0, -1.0, 0.0, -1.0, 1.0, 1.0, 0.0, 1.0, 2.0]),
    ("outlined", [-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0]),
];

/// The Sobel kernel for edges between left and right; transposed, it is that for edges between above and below.
const SOBEL: [f32; 9] = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];

/// Filters a photograph.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory for the picture; by default `target/filters` of the repository
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    failure::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let image = photo()?;
    let mut panels = vec![("the photograph", 3, image.clone())];

    let mut filter = Model::<Filter>::new(0)?;
    for (name, kernel) in KERNELS {
        filter.set_parameter("kernel.weight", &weight(3, 1, &kernel)?)?;
        panels.push((name, 3, filter.forward(&image)?.into_iter().collect()));
    }

    let mut sobel = Model::<Sobel>::new(0)?;
    let transposed: Vec<f32> = (0..9).map(|index| SOBEL[index % 3 * 3 + index / 3]).collect();
    sobel.set_parameter("grey.weight", &weight(1, 3, &[0.299, 0.587, 0.114])?)?;
    sobel.set_parameter("across.weight", &weight(1, 1, &SOBEL)?)?;
    sobel.set_parameter("down.weight", &weight(1, 1, &transposed)?)?;
    let edges = sobel.forward(&image)?;
    panels.push(("edges (Sobel)", 1, edges.iter().map(|strength| strength / 2.0).collect()));

    let mut pyramid = Model::<Pyramid>::new(0)?;
    let binomial = [1.0, 4.0, 6.0, 4.0, 1.0].map(|share| share / 16.0);
    let gaussian: Vec<f32> = binomial.iter().flat_map(|down| binomial.map(|across| down * across)).collect();
    for level in ["r1", "r2", "r3"] {
        pyramid.set_parameter(&format!("{level}.conv2d1.weight"), &weight(3, 1, &gaussian)?)?;
    }
    let levels = pyramid.forward(&image)?;

    let (width, height) = (WIDTH as i32, HEIGHT as i32);
    let mut picture = Picture::new(24 + 4 * (WIDTH as u32 + 16), 60 + 2 * (HEIGHT as u32 + 36));
    picture.text("Filters are convolutions with chosen weights", (24, 28), Lettering::TITLE)?;
    let corner = |index: i32| (24 + index % 4 * (width + 16), 56 + index / 4 * (height + 36));
    for (index, (name, channels, image)) in (0..).zip(&panels) {
        let (left, top) = corner(index);
        picture.image((left, top), 1, WIDTH, &colors(image, *channels));
        picture.text(name, (left + width / 2, top + height + 14), Lettering::LABEL)?;
    }
    let (mut left, top) = corner(panels.len() as i32);
    for level in [&levels.half, &levels.quarter, &levels.eighth] {
        let size = level.shape()[3];
        picture.image((left, top), 1, size, &colors(&level.iter().copied().collect::<Vec<_>>(), 3));
        left += size as i32 + 8;
    }
    let (left, top) = corner(panels.len() as i32);
    picture.text("Gaussian pyramid", (left + width / 4, top + height / 2 + 14), Lettering::LABEL)?;

    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| repository().join("target/filters"));
    let path = output.join("filters.png");
    picture.save(&path)?;
    println!("{} shows the photograph after each filter", path.display());
    Ok(())
}

/// The same kernel for each output channel.
fn weight(outputs: usize, inputs: usize, kernel: &[f32]) -> Result<ArrayD<f32>, Box<dyn Error>> {
    let size = (kernel.len() / inputs).isqrt();
    Ok(ArrayD::from_shape_vec(vec![outputs, inputs, size, size], kernel.repeat(outputs))?)
}
