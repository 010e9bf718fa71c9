//! Network in Network on Fashion-MNIST (Dive into Deep Learning, section 8.3; Lin, Chen and Yan 2014).
//!
//! No dense layers: 1×1 convolutions are small dense networks on each pixel, and the last block has a channel for each
//! class, whose mean is its score. Like in the book, the images are enlarged to 224×224 pixels. The layers have a quarter
//! of the book's channels, so that a run takes a minute or two on two cores; multiply `width` by 4 for the book's.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example nin
//! ```

mod classify;
mod failure;
mod picture;
mod repository;

use std::process::ExitCode;

use windlass::network;

network! {
    /// Network in Network for grey images and ten classes.
    network Nin(image: [1, 28, 28]) -> [10] { upsample2d(8, mode = linear); layers(8) }

    /// Four blocks of convolutions.
    block layers(width) {
        b1: nin_block(3 * width, 11, 4, 0); max_pool2d(3, stride = 2);
        b2: nin_block(8 * width, 5, 1, 2); max_pool2d(3, stride = 2);
        b3: nin_block(12 * width, 3, 1, 1); max_pool2d(3, stride = 2); dropout(0.5);
        b4: nin_block(10, 3, 1, 1); global_avg_pool2d; flatten
    }

    /// A convolution followed by a small dense network on each pixel.
    block nin_block(channels, kernel_size, stride, padding) {
        conv2d(channels, kernel_size = kernel_size, stride = stride, padding = padding, init = kaiming_normal); relu;
        repeat 2 { conv2d(channels, kernel_size = 1, init = kaiming_normal); relu; }
    }
}

fn main() -> ExitCode {
    classify::main::<Nin>(classify::Recipe { name: "nin", epochs: 6, batch: 64, learning_rate: 0.003 })
}
