//! AlexNet on Fashion-MNIST (Dive into Deep Learning, section 8.1; Krizhevsky, Sutskever and Hinton 2012).
//!
//! Like in the book, the images are enlarged to 224×224 pixels. The layers have a quarter of the book's channels, so
//! that a run takes a minute or two on two cores; multiply `width` by 4 for the book's.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example alexnet
//! ```

mod classify;
mod failure;
mod picture;
mod repository;

use std::process::ExitCode;

use windlass::network;

network! {
    /// AlexNet for grey images and ten classes.
    network AlexNet(image: [1, 28, 28]) -> [10] { upsample2d(8, mode = linear); layers(8) }

    /// Five convolutions, then three dense layers with dropout between them.
    block layers(width) {
        c1: conv2d(3 * width, kernel_size = 11, stride = 4, padding = 1); relu; max_pool2d(3, stride = 2);
        c2: conv2d(8 * width, kernel_size = 5, padding = 2); relu; max_pool2d(3, stride = 2);
        c3: conv2d(12 * width, kernel_size = 3, padding = 1); relu;
        c4: conv2d(12 * width, kernel_size = 3, padding = 1); relu;
        c5: conv2d(8 * width, kernel_size = 3, padding = 1); relu; max_pool2d(3, stride = 2);
        flatten;
        f6: linear(128 * width); relu; dropout(0.5);
        f7: linear(128 * width); relu; dropout(0.5);
        f8: linear(10)
    }
}

fn main() -> ExitCode {
    classify::main::<AlexNet>(classify::Recipe {
        name: "alexnet",
        epochs: 5,
        batch: 64,
        learning_rate: 0.001,
    })
}
