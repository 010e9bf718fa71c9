//! VGG-11 on Fashion-MNIST (Dive into Deep Learning, section 8.2; Simonyan and Zisserman 2015).
//!
//! A network of blocks: 3×3 convolutions of one width, then half the resolution. The images are enlarged to 112×112
//! pixels, half the book's, and the layers have an eighth of the paper's channels (the book takes a quarter), so that a
//! run takes a minute or two on two cores; multiply `width` by 8 for the paper's.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example vgg
//! ```

mod classify;
mod failure;
mod picture;
mod repository;

use std::process::ExitCode;

use windlass::network;

network! {
    /// VGG with eight convolutions and three dense layers, for grey images and ten classes.
    network Vgg(image: [1, 28, 28]) -> [10] { upsample2d(4, mode = linear); layers(8) }

    /// Five blocks, then dense layers.
    block layers(width) {
        b1: vgg_block(1, width);
        b2: vgg_block(1, 2 * width);
        b3: vgg_block(2, 4 * width);
        b4: vgg_block(2, 8 * width);
        b5: vgg_block(2, 8 * width);
        flatten;
        f6: linear(64 * width); relu; dropout(0.5);
        f7: linear(64 * width); relu; dropout(0.5);
        f8: linear(10)
    }

    /// Convolutions of one width, then half the resolution.
    block vgg_block(convolutions, channels) {
        repeat convolutions { conv2d(channels, kernel_size = 3, padding = 1, init = kaiming_normal); relu; }
        max_pool2d(2)
    }
}

fn main() -> ExitCode {
    classify::main::<Vgg>(classify::Recipe { name: "vgg", epochs: 5, batch: 64, learning_rate: 0.001 })
}
