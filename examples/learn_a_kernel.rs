//! Learning a convolution from examples of what it does (Dive into Deep Learning, section 6.2).
//!
//! A kernel of `[1, -1]` finds the vertical edges of an image. Here a network with one convolution, whose kernel starts
//! as two random numbers, is given the image and its edges. Gradient descent on the squared error finds the kernel.
//!
//! Look at the loss as it falls, at the kernel in the last line, and at the picture.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example learn_a_kernel
//! ```

mod failure;
mod picture;
mod repository;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;
use windlass::ndarray::{Array, ArrayD};
use windlass::{Loss, Model, Optimizer, Schedule, Trainer, TrainerOptions, network};

use picture::{Lettering, Picture, diverging, grey};
use repository::repository;

network! {
    /// One convolution: a pixel times the first number of the kernel plus its right neighbour times the second.
    network Edges(image: [1, 6, 8]) -> [1, 6, 7] {
        kernel: conv2d(1, kernel_size = (1, 2), bias = false)
    }
}

fn main() -> ExitCode {
    failure::exit_code(learn())
}

fn learn() -> Result<(), Box<dyn Error>> {
    // A white image of 6×8 pixels with a black stripe: columns 2 to 5.
    let image =
        Array::from_shape_fn((1, 1, 6, 8), |(.., column)| if (2..6).contains(&column) { 0.0 } else { 1.0 });

    // Its edges: 1 from white to black, -1 from black to white, 0 everywhere else.
    let mut teacher = Model::<Edges>::new(0)?;
    teacher.set_parameter("kernel.weight", &ArrayD::from_shape_vec(vec![1, 1, 1, 2], vec![1.0, -1.0])?)?;
    let edges = teacher.forward(&image)?;

    // The same network, which is given only the image and the edges.
    let options = TrainerOptions::default()
        .loss(Loss::MeanSquaredError)
        .optimizer(Optimizer::sgd())
        .schedule(Schedule::constant(1.0)?);
    let mut trainer = Trainer::new(Model::<Edges>::new(42)?, options)?;
    println!("the kernel starts as {}", numbers(kernel(trainer.model())?));
    for step in 1..=20 {
        let report = trainer.step(&image, &edges)?;
        if step % 2 == 0 {
            println!("step {step:2}: loss {:.6}", report.loss);
        }
    }

    let model = trainer.into_model();
    let learned = kernel(&model)?;
    let path = repository().join("target/learn_a_kernel/edges.png");
    let image_colors = image.iter().map(|&value| grey(value)).collect();
    let edge_colors = |edges: &ArrayD<f32>| edges.iter().map(|&value| diverging(value)).collect();
    let panels = [
        ("the image", "white is 1, black 0".to_owned(), 8, image_colors),
        ("its edges", "by [1, -1]; red is 1, blue -1".to_owned(), 7, edge_colors(&edges)),
        ("what was learned", format!("by {}", numbers(learned)), 7, edge_colors(&model.forward(&image)?)),
    ];
    draw(&panels, &path)?;
    println!("the picture is {}", path.display());

    if (learned[0] - 1.0).abs() > 0.01 || (learned[1] + 1.0).abs() > 0.01 {
        return Err(format!("the kernel is {}, not near [1, -1]", numbers(learned)).into());
    }
    println!("learned the kernel {}; the edges were made with [1, -1]", numbers(learned));
    Ok(())
}

/// The two numbers of the network's kernel.
fn kernel(model: &Model<Edges>) -> Result<[f32; 2], Box<dyn Error>> {
    let weight = model.parameter("kernel.weight").ok_or("the network has no kernel")?;
    Ok([weight[[0, 0, 0, 0]], weight[[0, 0, 0, 1]]])
}

fn numbers([left, right]: [f32; 2]) -> String {
    format!("[{left:.3}, {right:.3}]")
}

/// Draws panels side by side: each has a title, a note, and rows of cells with a number of columns.
fn draw(panels: &[(&str, String, i32, Vec<RGBColor>)], path: &Path) -> Result<(), Box<dyn Error>> {
    const CELL: i32 = 28;
    const GAP: i32 = 40;
    let mut picture = Picture::new(776, 320);
    picture.text("A kernel learned from what it does", (GAP, 32), Lettering::TITLE)?;
    let mut left = GAP;
    for (title, note, columns, colors) in panels {
        let middle = left + columns * CELL / 2;
        picture.text(title, (middle, 76), Lettering::LABEL)?;
        picture.cells((left, 96), CELL, *columns as usize, colors)?;
        picture.text(note, (middle, 286), Lettering { align: HPos::Center, ..Lettering::NOTE })?;
        left += columns * CELL + GAP;
    }
    picture.save(path)
}
